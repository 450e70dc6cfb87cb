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

import anyio

from ttp_mcp.ledger.store.base import (
    CLEAR_AFTER,
    CommitResult,
    Delete,
    Entry,
    LedgerProblem,
    Put,
    RateCap,
    decode_value,
    encodable_keys,
    to_milliseconds,
)

FILE = "ledger.db"
SCHEMA_VERSION = 1
# A commit takes milliseconds. A process that holds the file longer is stuck, or the file is on a dead network drive.
BUSY_SECONDS = 5.0
# Reading goes on without the ledger, so it doesn't wait long.
READ_SECONDS = 0.2
# Some commits also remove expired rows, few enough to stay fast. A sandbox's clock that is ahead of the machine's doesn't count:
# it would remove what a real ledger in the same file still needs.
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


class SqliteStore:
    """`ledger.db` in a folder. One connection writes and one reads, each opened on first use and used by one thread at a time.

    The file must not be moved or replaced while a server runs.
    """

    def __init__(self, folder: Path, *, busy_seconds: float = BUSY_SECONDS) -> None:
        """Use this folder; `busy_seconds` is how long to wait for another process."""
        self.path = folder / FILE
        self._busy_seconds = busy_seconds
        self._write_lock, self._read_lock = threading.Lock(), threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
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

    async def recent(self, scope: str, kind: str, since: datetime, now: datetime) -> list[Entry]:
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
        with _hold_briefly(self._read_lock):
            try:
                if self._reader is None:
                    if not self.path.exists():
                        # Reading must not create the file.
                        return []
                    self._reader = self._connect(READ_SECONDS)
                if not _check_version(self._reader):
                    # Another process is still creating the file.
                    return []
                return [decode_value(*row) for row in self._reader.execute(query, values)]
            except (sqlite3.Error, OSError) as error:
                self._close_reader()
                raise _to_problem(error) from error

    def _commit_in_thread(
        self, scope: str, steps: Sequence[Put | Delete], now: datetime, cap: RateCap | None
    ) -> CommitResult:
        with self._write_lock:
            try:
                # The transaction commits at the end, and rolls back on an error.
                with self._writer or self._open_writer() as db:
                    db.execute("BEGIN IMMEDIATE")
                    refused = _check_steps(db, scope, steps, to_milliseconds(now), cap)
                    if refused is None:
                        _apply_steps(db, scope, steps, to_milliseconds(now))
                        if self._commits % PRUNE_EVERY == 0:
                            _prune(db, now)
                self._commits += refused is None
                return refused or "done"
            except LedgerProblem:
                self._close_writer()
                raise
            except (sqlite3.Error, OSError) as error:
                # The next call opens the file again: by then there may be room, or another file.
                self._close_writer()
                raise _to_problem(error) from error

    def _connect(self, busy_seconds: float) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)

    def _open_writer(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
        _make_private(self.path)
        self._writer = self._connect(self._busy_seconds)
        self._prepare(self._writer)
        return self._writer

    def _prepare(self, db: sqlite3.Connection) -> None:
        self._use_wal(db)
        db.execute("PRAGMA synchronous = FULL")
        if _check_version(db) == SCHEMA_VERSION:
            return
        db.execute("BEGIN IMMEDIATE")
        for step in range(_check_version(db), SCHEMA_VERSION):
            for statement in MIGRATIONS[step].split(";"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("COMMIT")

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
            self._close_writer()
            self._close_reader()

    def _close_reader(self) -> None:
        db, self._reader = self._reader, None
        if db is not None:
            db.close()

    def _close_writer(self) -> None:
        db, self._writer = self._writer, None
        if db is not None:
            db.close()


def _check_steps(
    db: sqlite3.Connection, scope: str, steps: Sequence[Put | Delete], now: int, cap: RateCap | None
) -> CommitResult | None:
    """Return why the steps must not be carried out, or None. `done`: they were carried out before."""
    is_changed = False
    for step in steps:
        row = db.execute(
            "SELECT version FROM entries WHERE scope = ? AND kind = ? AND key = ? AND expires > ?",
            (scope, step.kind, step.key, now),
        ).fetchone()
        version = row[0] if row else ""
        if isinstance(step, Put) and step.version == version:
            return "done"
        is_changed |= step.expected not in (None, version)
    if is_changed:
        return "changed"
    return "full" if cap is not None and _is_full(db, scope, cap, now) else None


def _is_full(db: sqlite3.Connection, scope: str, cap: RateCap, now: int) -> bool:
    (count,) = db.execute(
        "SELECT count(*) FROM entries WHERE scope = ? AND kind = ? AND expires > ? AND at >= ?",
        (scope, cap.kind, now, to_milliseconds(cap.since)),
    ).fetchone()
    return count >= cap.limit


def _apply_steps(db: sqlite3.Connection, scope: str, steps: Sequence[Put | Delete], now: int) -> None:
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


def _prune(db: sqlite3.Connection, now: datetime) -> None:
    db.execute(
        "DELETE FROM entries WHERE rowid IN (SELECT rowid FROM entries WHERE expires <= ? LIMIT ?)",
        (to_milliseconds(_earlier_clock(now) - CLEAR_AFTER), PRUNE_ROWS),
    )


@contextmanager
def _hold_briefly(lock: threading.Lock) -> Generator[None]:
    """Hold a lock for reading, which goes on without the ledger if it doesn't get it soon."""
    if not lock.acquire(timeout=READ_SECONDS):
        raise LedgerProblem(_render_problem(_BUSY))
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
            f"the ledger ({FILE} in TTP_STATE_DIR) was written by a newer ttp-mcp. Nothing is sent without it; "
            f"reading goes on. Upgrade ttp-mcp, {_ELSEWHERE}."
        )
    return version


def _earlier_clock(now: datetime) -> datetime:
    """Return the caller's time, or this machine's if the caller's clock is ahead."""
    return min(now, datetime.now(UTC))


def _result_code(error: Exception) -> int:
    """Return SQLite's primary result code, or 0."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _to_problem(error: Exception) -> LedgerProblem:
    code = sqlite3.SQLITE_CANTOPEN if isinstance(error, OSError) else _result_code(error)
    return LedgerProblem(_render_problem(_PROBLEMS.get(code, _OTHER_PROBLEM)))


def _render_problem(problem: tuple[str, str]) -> str:
    cause, next_step = problem
    return f"the ledger ({FILE} in TTP_STATE_DIR) can't be used: {cause}. Nothing is sent without it; reading goes on. {next_step}."
