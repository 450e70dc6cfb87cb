"""Open the sandbox for one control command."""

import argparse
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ttp_mcp import config, times


class Refused(Exception):
    """Nothing was changed; the text says why and what to do."""


# Facts for --json, and the same in words.
CommandOutput = tuple[dict[str, Any], Sequence[str]]
Control = Callable[[argparse.Namespace, "SandboxSession"], CommandOutput]


class SandboxSession:
    """The open data folder: the data, the media beside them, and the clock shared by all processes."""

    def __init__(self, folder: Path) -> None:
        """Open, and fill a new folder with the demo workspace."""
        from ttp_mcp.sandbox import Sandbox

        self.sandbox = Sandbox(folder)
        self.folder = folder
        self.store = self.sandbox.store
        self.storage = self.sandbox.storage
        self.clock = self.sandbox.stored_clock


def parse_instant(text: str, now: datetime) -> datetime:
    return times.parse_when(text, zone_of(), now, date_ok=True)


def zone_of() -> ZoneInfo:
    """Return the user's time zone; other settings don't apply to the sandbox."""
    return config.load_settings({"TTP_TIMEZONE": config.read_environment().get("TTP_TIMEZONE", "")}).zone


def run_state(opened: SandboxSession) -> bool:
    with opened.store.reading() as db:
        return db.execute("SELECT 1 FROM meta WHERE key = 'clock_frozen_ms'").fetchone() is None
