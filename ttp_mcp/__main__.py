"""`python -m ttp_mcp`."""

import sys

from ttp_mcp.cli import main

sys.exit(main())
