"""Move the machine's clock by MOVED_CLOCK_DAYS days, in this process and its child processes.

Python imports a module of this name at startup if its folder is on PYTHONPATH. `.ci/clock` uses it.
"""

import os
from datetime import UTC, datetime, timedelta

if days := os.environ.get("MOVED_CLOCK_DAYS"):
    import time_machine

    time_machine.travel(datetime.now(UTC) + timedelta(days=int(days)), tick=True).start()
