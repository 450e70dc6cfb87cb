"""A store in one SQLite file, shared by every process of this user."""

import json
import os
import sqlite3
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import anyio

from ttp_mcp.ledger.store.base import (
    CLEAR_AFTER,
    PRUNE_EVERY,
    PRUNE_ROWS,
    CommitResult,
    Delete,
    Entry,
    LedgerProblem,
    Put,
    RateCap,
    check_steps,
    decode_value,
    describe_unusable,
    encodable_keys,
    to_milliseconds,
)

FILE = "ledger.db"
_PLACE = f" ({FILE} in TTP_STATE_DIR)"
SCHEMA_VERSION = 1
# A commit takes milliseconds. A process that holds the file longer is stuck, or the file is on a dead network drive.
BUSY_SECONDS = 5.0
# Reading goes on without the ledger, so it doesn't wait long.
READ_SECONDS = 0.2

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
# Statements that upgrade a file from version N to N + 1; 0 is a new file.
MIGRATIONS: dict[int, str] = {0: _SCHEMA}

_ELSEWHERE = "or set TTP_STATE_DIR to another folder"
_BUSY = ("another program holds the file", "Call again in a moment; if that doesn't help, stop the other ttp-mcp")
_MOVE = f"Stop every ttp-mcp server, then move {FILE} and {FILE}-… away to start a new one"
_DAMAGED = ("the file is damaged", f"{_MOVE}, {_ELSEWHERE}")
# Cause and next step.
_PROBLEMS = {
    sqlite3.SQLITE_FULL: ("the disk is full", "Free some space, then call again"),
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_READONLY: ("the file is read-only", f"Make it writable, {_ELSEWHERE}"),
    sqlite3.SQLITE_CANTOPEN: ("the file can't be opened or created", f"Check the folder's permissions, {_ELSEWHERE}"),
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_IOERR: ("the disk reported an error", f"Check the disk, {_ELSEWHERE}"),
}
_OTHER_PROBLEM = ("SQLite reported an error", f"{_MOVE}, {_ELSEWHERE}")


_Use = Literal["read", "write"]


class SqliteStore:
    """`ledger.db` in a folder. One connection writes and one reads, each opened on first use and used by one thread at a time.

    The file must not be moved or replaced while a server runs.
    """

    def __init__(self, folder: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        """Use this folder; `busy_seconds` is how long to wait for another process."""
        self.path = folder / FILE
        self._busy_seconds = busy_seconds
        self._write_lock, self._read_lock = threading.Lock(), threading.Lock()
        self._open: dict[_Use, sqlite3.Connection] = {}
        # Commits wait here rather than in a thread that a read could use.
        self._one_commit = anyio.CapacityLimiter(1)
        self._commits = 0

    async def get(self, scope: str, kind: str, keys: Sequence[str], now: datetime) -> dict[str, Entry]:
        """See `Store`."""
        keys = encodable_keys(keys)
        entries = await self._read(
            "SELECT key, value, version, at FROM entries WHERE scope = ? AND kind = ? AND expires > ? "  # noqa: S608 - only marks
            f"AND key IN ({', '.join('?' * len(keys))})",
            (scope, kind, to_milliseconds(now), *keys),
        )
        return {entry.key: entry for entry in entries}

    async def list_recent(self, scope: str, kind: str, since: datetime, now: datetime) -> list[Entry]:
        """See `Store`."""
        return await self._read(
            "SELECT key, value, version, at FROM entries WHERE scope = ? AND kind = ? AND expires > ? AND at >= ? "
            "ORDER BY at DESC, rowid DESC",
            (scope, kind, to_milliseconds(now), to_milliseconds(since)),
        )

    async def commit(
        self, scope: str, steps: Sequence[Put | Delete], now: datetime, cap: RateCap | None = None
    ) -> CommitResult:
        """See `Store`."""
        return await anyio.to_thread.run_sync(self._commit_in_thread, scope, steps, now, cap, limiter=self._one_commit)

    async def aclose(self) -> None:
        """See `Store`."""
        await anyio.to_thread.run_sync(self._close, limiter=self._one_commit)

    async def _read(self, query: str, values: tuple[str | int, ...]) -> list[Entry]:
        # A thread that is abandoned ends within twice `READ_SECONDS`.
        return await anyio.to_thread.run_sync(self._read_in_thread, query, values, abandon_on_cancel=True)

    def _read_in_thread(self, query: str, values: tuple[str | int, ...]) -> list[Entry]:
        with _hold_briefly(self._read_lock), self._close_on_error("read"):
            db = self._open.get("read")
            if db is None:
                if not self.path.exists():
                    # Reading must not create the file.
                    return []
                db = self._connect("read", READ_SECONDS)
            # Without a version, another process is still creating the file.
            return [decode_value(*row) for row in db.execute(query, values)] if _check_version(db) else []

    def _commit_in_thread(
        self, scope: str, steps: Sequence[Put | Delete], now: datetime, cap: RateCap | None
    ) -> CommitResult:
        with self._write_lock, self._close_on_error("write"):
            # The transaction commits at the end, and rolls back on an error.
            with self._open.get("write") or self._open_writer() as db:
                db.execute("BEGIN IMMEDIATE")
                refused = _check_steps(db, scope, steps, to_milliseconds(now), cap)
                if refused is None:
                    _apply_steps(db, scope, steps, to_milliseconds(now))
                    if self._commits % PRUNE_EVERY == 0:
                        _prune(db, now)
            self._commits += refused is None
            return refused or "done"

    @contextmanager
    def _close_on_error(self, use: _Use) -> Generator[None]:
        """Close a connection after an error. The next call opens the file again: by then there may be room, or another file."""
        try:
            yield
        except (sqlite3.Error, OSError, LedgerProblem) as error:
            self._close_connection(use)
            if isinstance(error, LedgerProblem):
                raise
            raise _to_problem(error) from error

    def _connect(self, use: _Use, busy_seconds: float) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
        self._open[use] = db
        return db

    def _open_writer(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        _make_private(self.path)
        db = self._connect("write", self._busy_seconds)
        self._use_wal(db)
        db.execute("PRAGMA synchronous = FULL")
        if _check_version(db) < SCHEMA_VERSION:
            db.execute("BEGIN IMMEDIATE")
            for step in range(_check_version(db), SCHEMA_VERSION):
                for statement in MIGRATIONS[step].split(";"):
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            db.execute("COMMIT")
        return db

    def _use_wal(self, db: sqlite3.Connection) -> None:
        """Switch to the write-ahead log. While another process does the same, SQLite may fail at once, so we wait and retry."""
        deadline = time.monotonic() + 2 * self._busy_seconds
        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if _result_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                    raise
                time.sleep(0.01)
            else:
                return

    def _close(self) -> None:
        with self._write_lock, self._read_lock:
            self._close_connection("write")
            self._close_connection("read")

    def _close_connection(self, use: _Use) -> None:
        if db := self._open.pop(use, None):
            db.close()


def _check_steps(
    db: sqlite3.Connection, scope: str, steps: Sequence[Put | Delete], now: int, cap: RateCap | None
) -> CommitResult | None:
    version = "SELECT version FROM entries WHERE scope = ? AND kind = ? AND key = ? AND expires > ?"
    versions: list[str] = []
    for step in steps:
        row = db.execute(version, (scope, step.kind, step.key, now)).fetchone()
        versions.append(row[0] if row else "")
    counted = 0
    if cap is not None:
        count = "SELECT count(*) FROM entries WHERE scope = ? AND kind = ? AND expires > ? AND at >= ?"
        (counted,) = db.execute(count, (scope, cap.kind, now, to_milliseconds(cap.since))).fetchone()
    return check_steps(steps, versions, cap, counted)


def _apply_steps(db: sqlite3.Connection, scope: str, steps: Sequence[Put | Delete], now: int) -> None:
    for step in steps:
        where = (scope, step.kind, step.key)
        if isinstance(step, Delete):
            db.execute("DELETE FROM entries WHERE scope = ? AND kind = ? AND key = ?", where)
        else:
            db.execute(
                "INSERT INTO entries (scope, kind, key, version, at, expires, value) VALUES (?, ?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (scope, kind, key) DO UPDATE SET version = excluded.version, value = excluded.value, "
                "at = CASE WHEN expires <= excluded.at THEN excluded.at ELSE at END, expires = excluded.expires",
                (*where, step.version, now, to_milliseconds(step.expires_at), json.dumps(step.value)),
            )


def _prune(db: sqlite3.Connection, now: datetime) -> None:
    db.execute(
        "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires <= ? LIMIT ?)",
        (to_milliseconds(_earlier_clock(now) - CLEAR_AFTER), PRUNE_ROWS),
    )


@contextmanager
def _hold_briefly(lock: threading.Lock) -> Generator[None]:
    """Hold a lock for reading, which goes on without the ledger if it doesn't get it soon."""
    if not lock.acquire(timeout=READ_SECONDS):
        raise LedgerProblem(describe_unusable(*_BUSY, _PLACE))
    try:
        yield
    finally:
        lock.release()


def _make_private(path: Path) -> None:
    """Create the file before SQLite does, so that it is private from the start; SQLite's other files copy its mode."""
    # A file that exists isn't even opened: closing it would release the locks of this process's connections.
    with suppress(FileExistsError):
        # Follow a link, whose target may not exist yet.
        os.close(os.open(os.path.realpath(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _check_version(db: sqlite3.Connection) -> int:
    """Return the file's version, and refuse one of a later ttp-mcp."""
    version = int(db.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise LedgerProblem(
            f"the ledger{_PLACE} was written by a newer ttp-mcp. Nothing is sent without it; "
            f"reading goes on. Upgrade ttp-mcp, {_ELSEWHERE}."
        )
    return version


def _earlier_clock(now: datetime) -> datetime:
    """Return the caller's time, or this machine's if the caller's clock is ahead.

    A sandbox's clock that is ahead would remove what a real ledger in the same file still needs.
    """
    return min(now, datetime.now(UTC))


def _result_code(error: Exception) -> int:
    """Return SQLite's primary result code, or 0."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _to_problem(error: Exception) -> LedgerProblem:
    code = sqlite3.SQLITE_CANTOPEN if isinstance(error, OSError) else _result_code(error)
    return LedgerProblem(describe_unusable(*_PROBLEMS.get(code, _OTHER_PROBLEM), _PLACE))
