"""State in one SQLite file, shared by every process of this user."""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import anyio

from ttp_mcp.ledger.store.base import (
    CLEAR_AFTER,
    Applied,
    Delete,
    Entry,
    LedgerProblem,
    Put,
    RateCap,
    decode_value,
    encodable_keys,
    to_milliseconds,
)

T = TypeVar("T")

FILE = "ledger.db"
SCHEMA_VERSION = 1
# A commit takes milliseconds; whoever holds the file for so long is stuck or on a dead network drive.
BUSY_SECONDS = 5.0
# Reading goes on without the ledger, so it is not worth waiting for.
READ_SECONDS = 0.2
# Expired rows go in passing, so many at a time that no write gets slow; a day late, and never by a clock that is ahead of the
# machine's: a sandbox's may be moved, and would lose what a real ledger in the same file still needs.
PRUNE_EVERY, PRUNE_ROWS = 200, 500

_SCHEMA = """
CREATE TABLE entries (
    scope TEXT NOT NULL,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    version TEXT NOT NULL,
    at INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (scope, kind, key)
);
CREATE INDEX entries_at ON entries (scope, kind, at);
CREATE INDEX entries_expires ON entries (expires)
"""
# Statements that bring a file from version N to N + 1; 0 is a new file.
MIGRATIONS: dict[int, str] = {0: _SCHEMA}

_ELSEWHERE = "or set TTP_STATE_DIR to another folder"
_BUSY = ("another program holds the file", "Call again in a moment; if it stays so, end the other ttp-mcp")
_DAMAGED = ("the file is damaged", f"Move it and those beside it ({FILE}-…) away to start a new one, {_ELSEWHERE}")
# Why, and what to do.
_WORDS = {
    sqlite3.SQLITE_FULL: ("the disk is full", "Free some space, then call again"),
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_READONLY: ("the file is read-only", f"Make it writable, {_ELSEWHERE}"),
    sqlite3.SQLITE_CANTOPEN: ("the file can't be opened or made", f"Check the folder's rights, {_ELSEWHERE}"),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_IOERR: ("the disk reported an error", f"Check the disk, {_ELSEWHERE}"),
}
_UNFORESEEN = ("SQLite reported an error", f"Move the file and those beside it ({FILE}-…) away, {_ELSEWHERE}")


class _Connection(sqlite3.Connection):
    """Knows which file it is open on, whatever stands at the path by now."""

    file: tuple[int, int] | None = None


class SqliteStore:
    """`ledger.db` in a folder. One connection writes and one reads, each used by one thread at a time, opened on the first use.

    A file that was moved away or replaced is left at the next use: every process goes on with the one at the path.
    """

    def __init__(self, folder: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        """Remember where; `busy_seconds` is how long to wait for another process."""
        self.path = folder / FILE
        self._busy_seconds = busy_seconds
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._db: _Connection | None = None
        self._reader: _Connection | None = None
        # Writes wait for their turn here, so that they take no thread away from reads.
        self._turn = anyio.CapacityLimiter(1)
        self._commits = 0

    async def get(self, scope: str, kind: str, keys: Sequence[str], now: datetime) -> dict[str, Entry]:
        """See `State`."""
        keys = encodable_keys(keys)
        marks = ", ".join("?" * len(keys))

        def read(db: sqlite3.Connection) -> dict[str, Entry]:
            rows = db.execute(
                "SELECT key, value, version, at FROM entries WHERE scope = ? AND kind = ? AND expires > ? "  # noqa: S608 - only marks
                f"AND key IN ({marks})",
                (scope, kind, to_milliseconds(now), *keys),
            )
            return {row[0]: _entry(row) for row in rows}

        return await self._read(read, {})

    async def recent(self, scope: str, kind: str, since: datetime, now: datetime) -> list[Entry]:
        """See `State`."""

        def read(db: sqlite3.Connection) -> list[Entry]:
            rows = db.execute(
                "SELECT key, value, version, at FROM entries WHERE scope = ? AND kind = ? AND expires > ? AND at >= ? "
                "ORDER BY at DESC, rowid DESC",
                (scope, kind, to_milliseconds(now), to_milliseconds(since)),
            )
            return [_entry(row) for row in rows]

        return await self._read(read, [])

    async def apply(
        self, scope: str, steps: Sequence[Put | Delete], now: datetime, at_most: RateCap | None = None
    ) -> Applied:
        """See `State`."""

        def write(db: sqlite3.Connection) -> Applied:
            db.execute("BEGIN IMMEDIATE")
            try:
                applied = _apply(db, scope, steps, to_milliseconds(now), at_most)
                if applied == "done":
                    self._prune(db, now)
                db.execute("COMMIT" if applied == "done" else "ROLLBACK")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return applied

        return await anyio.to_thread.run_sync(lambda: self._write(write), limiter=self._turn)

    async def aclose(self) -> None:
        """See `State`."""
        await anyio.to_thread.run_sync(self._close, limiter=self._turn)

    async def _read(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        # A thread that is left behind is back within twice `READ_SECONDS`.
        return await anyio.to_thread.run_sync(lambda: self._look(work, nothing), abandon_on_cancel=True)

    def _look(self, work: Callable[[sqlite3.Connection], T], nothing: T) -> T:
        if self._is_elsewhere():
            with _soon(self._lock):
                self._leave_if_elsewhere()
        with _soon(self._reading):
            try:
                if self._reader is None:
                    if _file_at(self.path) is None:
                        # To look must not leave a file behind.
                        return nothing
                    self._reader = self._connect(READ_SECONDS)
                # A file of version 0 is just being made by somebody else.
                return work(self._reader) if _usable_version(self._reader) else nothing
            except (sqlite3.Error, OSError) as error:
                self._drop_reader()
                raise LedgerProblem(_words(error)) from error

    def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            try:
                self._leave_if_elsewhere()
                return work(self._connection())
            except LedgerProblem:
                self._drop_connection()
                raise
            except (sqlite3.Error, OSError) as error:
                # The next call opens the file anew: by then there may be room, or another file.
                self._drop_connection()
                raise LedgerProblem(_words(error)) from error

    def _is_elsewhere(self) -> bool:
        """Whether a connection is open on a file that is not the one at the path."""
        files = {db.file for db in (self._db, self._reader) if db is not None}
        return bool(files) and files != {_file_at(self.path)}

    def _leave_if_elsewhere(self) -> None:
        """Only with `_lock`."""
        if self._is_elsewhere():
            self._leave()

    def _leave(self) -> None:
        """Close both, only with `_lock`.

        Never one alone: SQLite finds the log's index by its name, so a new one could empty what an old one maps.
        """
        with self._reading:
            self._drop_connection()
            self._drop_reader()

    def _connect(self, busy_seconds: float) -> _Connection:
        # Before it is opened: a file that is replaced in between is left at the next use instead of never.
        file = _file_at(self.path)
        db = sqlite3.connect(
            self.path, timeout=busy_seconds, isolation_level=None, check_same_thread=False, factory=_Connection
        )
        db.file = file
        return db

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self.path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            _make_private(self.path)
            self._db = self._connect(self._busy_seconds)
            self._prepare(self._db)
        return self._db

    def _prepare(self, db: sqlite3.Connection) -> None:
        self._use_wal(db)
        db.execute("PRAGMA synchronous = FULL")
        if _usable_version(db) == SCHEMA_VERSION:
            return
        db.execute("BEGIN IMMEDIATE")
        for step in range(_usable_version(db), SCHEMA_VERSION):
            for statement in MIGRATIONS[step].split(";"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")

    def _use_wal(self, db: sqlite3.Connection) -> None:
        """Switch to the write-ahead log. While others do the same SQLite may refuse at once instead of waiting, so we wait."""
        deadline = time.monotonic() + 2 * self._busy_seconds
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def _prune(self, db: sqlite3.Connection, now: datetime) -> None:
        self._commits += 1
        if self._commits % PRUNE_EVERY == 1:
            db.execute(
                "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires <= ? LIMIT ?)",
                (to_milliseconds(min(now, datetime.now(UTC)) - CLEAR_AFTER), PRUNE_ROWS),
            )

    def _close(self) -> None:
        with self._lock:
            self._leave()

    def _drop_reader(self) -> None:
        db, self._reader = self._reader, None
        if db is not None:
            db.close()

    def _drop_connection(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            db.close()


def _apply(
    db: sqlite3.Connection, scope: str, steps: Sequence[Put | Delete], now: int, at_most: RateCap | None
) -> Applied:
    there = [_version_of(db, scope, step, now) for step in steps]
    if any(isinstance(step, Put) and step.version == version for step, version in zip(steps, there, strict=True)):
        return "done"
    if any(step.expected not in (None, version) for step, version in zip(steps, there, strict=True)):
        return "changed"
    if at_most is not None:
        (count,) = db.execute(
            "SELECT count(*) FROM entries WHERE scope = ? AND kind = ? AND expires > ? AND at >= ?",
            (scope, at_most.kind, now, to_milliseconds(at_most.since)),
        ).fetchone()
        if count >= at_most.most:
            return "full"
    for step in steps:
        if isinstance(step, Delete):
            db.execute("DELETE FROM entries WHERE scope = ? AND kind = ? AND key = ?", (scope, step.kind, step.key))
        else:
            db.execute(
                "INSERT INTO entries (scope, kind, key, version, at, expires, value) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (scope, kind, key) DO UPDATE SET version = excluded.version, value = excluded.value, "
                "at = CASE WHEN expires <= excluded.at THEN excluded.at ELSE at END, expires = excluded.expires",
                (
                    scope,
                    step.kind,
                    step.key,
                    step.version,
                    now,
                    to_milliseconds(step.expires_at),
                    json.dumps(step.value),
                ),
            )
    return "done"


def _version_of(db: sqlite3.Connection, scope: str, step: Put | Delete, now: int) -> str:
    row = db.execute(
        "SELECT version FROM entries WHERE scope = ? AND kind = ? AND key = ? AND expires > ?",
        (scope, step.kind, step.key, now),
    ).fetchone()
    return row[0] if row else ""


@contextmanager
def _soon(lock: threading.Lock) -> Generator[None]:
    """Hold a lock for reading: whoever does not get it soon goes on without the ledger."""
    if not lock.acquire(timeout=READ_SECONDS):
        raise LedgerProblem(_told(_BUSY))
    try:
        yield
    finally:
        lock.release()


def _file_at(path: Path) -> tuple[int, int] | None:
    """Which file stands there, whatever it is called; None when there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise LedgerProblem(_words(error)) from error
    return found.st_dev, found.st_ino


def _make_private(path: Path) -> None:
    """Make the file before SQLite does, so that its mode is ours from the start; the log beside it copies the mode."""
    # One that is there is not even opened: to close it would end the locks that a connection of this process has on it.
    with suppress(FileExistsError):
        # Through a link, which may lead to a file that is still to be made.
        os.close(os.open(os.path.realpath(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _usable_version(db: sqlite3.Connection) -> int:
    """The file's version, unless it is one that only a later program knows."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise LedgerProblem(
            f"the ledger ({FILE} in TTP_STATE_DIR) was written by a newer ttp-mcp. Nothing is sent without it; "
            f"reading goes on. Upgrade ttp-mcp, {_ELSEWHERE}."
        )
    return version


def _entry(row: tuple[str, str, str, int]) -> Entry:
    return decode_value(*row)


def _code(error: Exception) -> int:
    """SQLite's primary result code; 0 when there is none."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _words(error: Exception) -> str:
    return _told(_WORDS.get(sqlite3.SQLITE_CANTOPEN if isinstance(error, OSError) else _code(error), _UNFORESEEN))


def _told(words: tuple[str, str]) -> str:
    why, what_to_do = words
    return f"the ledger ({FILE} in TTP_STATE_DIR) can't be used: {why}. Nothing is sent without it; reading goes on. {what_to_do}."
