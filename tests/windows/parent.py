"""Start a server that replays its handshake, and exit without closing its input; runs on Windows."""

import os
import sys

from tests.windows.client import Server

server = Server([sys.executable], stderr=None)
print("answered", flush=True)  # noqa: T201 - the smoke test waits for it
sys.stdin.read()
os._exit(0)
