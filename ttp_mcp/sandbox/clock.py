"""The sandbox's present: real, moved or frozen, and the same for every process over one folder."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from ttp_mcp.sandbox.store import Store


class Clock(Protocol):
    """Anything that tells the present as aware UTC."""

    def now(self) -> datetime:
        """The present, aware UTC."""
        ...


class ManualClock:
    """A clock that stands still until a test moves it."""

    def __init__(self, start: datetime) -> None:
        """Begin at an aware instant."""
        self._now = start.astimezone(UTC)

    def now(self) -> datetime:
        """The present, aware UTC."""
        return self._now

    def move(self, seconds: float) -> None:
        """Go forward (or back) by seconds."""
        self._now += timedelta(seconds=seconds)


class StoredClock:
    """The machine's clock, moved by what the data folder says: `clock_offset_ms`, or stopped at `clock_frozen_ms`."""

    def __init__(self, store: Store) -> None:
        """Read the setting from this store at each call, so that all processes agree."""
        self._store = store

    def now(self) -> datetime:
        """The present, aware UTC."""
        with self._store.reading() as db:
            meta = dict(
                db.execute("SELECT key, value FROM meta WHERE key IN ('clock_offset_ms', 'clock_frozen_ms')").fetchall()
            )
        if "clock_frozen_ms" in meta:
            return from_ms(int(meta["clock_frozen_ms"]))
        return from_ms(time.time_ns() // 1_000_000 + int(meta.get("clock_offset_ms", "0")))

    def move(self, seconds: float) -> None:
        """Go forward (or back) by seconds, for every process."""
        by = round(seconds * 1000)
        with self._store.writing() as db:
            frozen = db.execute("SELECT value FROM meta WHERE key = 'clock_frozen_ms'").fetchone()
            key = "clock_frozen_ms" if frozen else "clock_offset_ms"
            db.execute(
                "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + ?",
                (key, str(by), by),
            )

    def stop_at(self, instant: datetime) -> None:
        """Stand still at an instant."""
        with self._store.writing() as db:
            db.execute("INSERT OR REPLACE INTO meta VALUES ('clock_frozen_ms', ?)", (str(to_ms(instant)),))

    def set(self, instant: datetime) -> None:
        """Run on from an instant."""
        offset = to_ms(instant) - time.time_ns() // 1_000_000
        with self._store.writing() as db:
            db.execute("DELETE FROM meta WHERE key = 'clock_frozen_ms'")
            db.execute("INSERT OR REPLACE INTO meta VALUES ('clock_offset_ms', ?)", (str(offset),))

    def real(self) -> None:
        """Follow the machine's clock again."""
        with self._store.writing() as db:
            db.execute("DELETE FROM meta WHERE key IN ('clock_frozen_ms', 'clock_offset_ms')")


def to_ms(instant: datetime) -> int:
    """Milliseconds since 1970, as the store keeps instants."""
    return round(instant.timestamp() * 1000)


def from_ms(milliseconds: int) -> datetime:
    """An instant of the store as aware UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def iso(milliseconds: int | None) -> str | None:
    """An instant of the store as the API writes it."""
    if milliseconds is None:
        return None
    return from_ms(milliseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")
