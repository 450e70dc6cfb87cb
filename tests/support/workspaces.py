"""Sandboxes over copied folders: filling a folder takes thirty times as long as copying it."""

import atexit
import shutil
import tempfile
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from ttp_mcp.sandbox import ManualClock, Sandbox


def open_workspace(folder: Path, clock: ManualClock, *, empty: bool = False, **options: Any) -> Sandbox:
    """Open a sandbox in a new folder, filled as `Sandbox` does at this time."""
    shutil.copytree(_fill_workspace(clock.now(), empty=empty), folder)
    return Sandbox(folder, clock=clock, **options)


@cache
def _fill_workspace(now: datetime, *, empty: bool) -> Path:
    """Fill a folder to copy from."""
    folder = Path(tempfile.mkdtemp(prefix="ttp-workspace-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Sandbox(folder, clock=ManualClock(now), empty=empty).close()
    return folder
