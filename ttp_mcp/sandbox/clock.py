"""The sandbox's clock: real, moved or stopped, and shared by every process that uses the same folder."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ttp_mcp.sandbox.store import Store

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class Clock(Protocol):
    """A source of the current time."""

    def now(self) -> datetime:
        """Return the current time as aware UTC."""
        ...


class ManualClock:
    """A clock that only moves when a test moves it."""

    def __init__(self, start: datetime) -> None:
        """Start at an aware instant."""
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """Return the current time as aware UTC."""
        return self._now

    def move(self, seconds: float) -> None:
        """Move by `seconds`; negative moves back."""
        self._now += timedelta(seconds=seconds)


class StoredClock:
    """The machine's clock, moved by the stored `clock_offset_ms` or stopped at `clock_frozen_ms`."""

    def __init__(self, store: Store) -> None:
        """Use this store's settings, read on every call so that all processes agree."""
        self._store = store

    def now(self) -> datetime:
        """Return the current time as aware UTC."""
        with self._store.reading() as db:
            meta = dict(
                db.execute("SELECT key, value FROM meta WHERE key IN ('clock_offset_ms', 'clock_frozen_ms')").fetchall()
            )
        if "clock_frozen_ms" in meta:
            return from_ms(int(meta["clock_frozen_ms"]))
        return from_ms(time.time_ns() // 1_000_000 + int(meta.get("clock_offset_ms", "0")))

    def move(self, seconds: float) -> None:
        """Move by `seconds` for every process; negative moves back."""
        by = round(seconds * 1000)
        with self._store.writing() as db:
            frozen = db.execute("SELECT value FROM meta WHERE key = 'clock_frozen_ms'").fetchone()
            key = "clock_frozen_ms" if frozen else "clock_offset_ms"
            db.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + ?",
                (key, str(by), by),
            )

    def stop_at(self, instant: datetime) -> None:
        """Stop at an instant."""
        with self._store.writing() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('clock_frozen_ms', ?)", (str(to_ms(instant)),))

    def set(self, instant: datetime) -> None:
        """Run from an instant."""
        offset = to_ms(instant) - time.time_ns() // 1_000_000
        with self._store.writing() as db:
            db.execute("DELETE FROM meta WHERE key = 'clock_frozen_ms'")
            db.execute("INSERT OR REPLACE INTO meta VALUES ('clock_offset_ms', ?)", (str(offset),))

    def follow_machine(self) -> None:
        """Follow the machine's clock again."""
        with self._store.writing() as db:
            db.execute("DELETE FROM meta WHERE key IN ('clock_frozen_ms', 'clock_offset_ms')")


def to_ms(instant: datetime) -> int:
    """Return milliseconds since 1970, the form in which the store keeps instants."""
    # Integers throughout: the float of `timestamp()` loses microseconds.
    return (instant - EPOCH + _MILLISECOND / 2) // _MILLISECOND


def from_ms(milliseconds: int) -> datetime:
    """Return an instant of the store as aware UTC."""
    return EPOCH + milliseconds * _MILLISECOND


def to_iso(milliseconds: int | None) -> str | None:
    """Return an instant of the store as the API writes it."""
    if milliseconds is None:
        return None
    return from_ms(milliseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")
