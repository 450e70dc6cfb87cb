"""Move the machine's clock by MOVED_CLOCK_DAYS days, in this process and in all that it starts.

Python imports a module of this name at start when its folder is on PYTHONPATH. `.ci/clock` uses it.
"""

import os
from datetime import UTC, datetime, timedelta

if days := os.environ.get("MOVED_CLOCK_DAYS"):
    import time_machine

    time_machine.travel(datetime.now(UTC) + timedelta(days=int(days)), tick=True).start()
