"""SQLite: one connection for each thread, transactions, durability, and the version of the schema."""

import os
import sqlite3
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from weakref import WeakSet

SCHEMA_VERSION = 2
# How long a writer waits for another process's write. One takes a few milliseconds; a slow disk may take seconds.
BUSY_SECONDS = 30.0

# Statements that bring a file from version N to N + 1.
MIGRATIONS: dict[int, str] = {
    1: "ALTER TABLE tokens ADD COLUMN capability TEXT NOT NULL DEFAULT 'publish';\n",
}


_UNREADABLE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


class StoreProblem(Exception):
    """The data can't be used; the text says why and what to do.

    Attributes:
        is_unreadable: Whether the file itself is why (no database, damaged, of a newer version), so that trying again is in vain.
    """

    def __init__(self, words: str, *, is_unreadable: bool = False) -> None:
        """Say why."""
        super().__init__(words)
        self.is_unreadable = is_unreadable


class _ThreadConnection:
    """The connection of one thread. It is closed with the thread: a server's threads come and go."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db

    def __del__(self) -> None:
        self.db.close()


class Store:
    """The data of one sandbox. Any number of threads and processes may have the same folder open."""

    def __init__(self, path: Path) -> None:
        """Open the file, creating or migrating it.

        Raises:
            StoreProblem: It is from a newer version, or is no database.
        """
        self.path = path
        self._local = threading.local()
        self._opened: WeakSet[_ThreadConnection] = WeakSet()
        self._lock = threading.Lock()
        try:
            _make_private(path)
            self._prepare()
        except BaseException as error:
            self.close()
            if not isinstance(error, sqlite3.DatabaseError):
                raise
            raise StoreProblem(
                f"{path.name} can't be opened as sandbox data ({error}). {_suggest_fix(error.sqlite_errorcode)}",
                is_unreadable=error.sqlite_errorcode & 0xFF in _UNREADABLE,
            ) from error

    def _prepare(self) -> None:
        # A look first: a file that is up to date is opened without a write, even where there is no room for one.
        if self._version() == SCHEMA_VERSION:
            return
        with self.writing() as db:
            version = self._version()
            if version > SCHEMA_VERSION:
                raise StoreProblem(
                    "The sandbox data were written by a newer ttp-mcp. Upgrade it, or set another TTP_STATE_DIR.",
                    is_unreadable=True,
                )
            if version == 0:
                steps = [files("ttp_mcp.sandbox").joinpath("schema.sql").read_text(encoding="utf-8")]
            else:
                steps = [MIGRATIONS[step] for step in range(version, SCHEMA_VERSION)]
            for step in steps:
                for statement in _split_statements(step):
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _version(self) -> int:
        """The version of the file's schema; 0 for a new file."""
        return self.connection().execute("PRAGMA user_version").fetchone()[0]

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, in autocommit mode."""
        held: _ThreadConnection | None = getattr(self._local, "held", None)
        if held is None:
            held = _ThreadConnection(
                sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            )
            held.db.row_factory = sqlite3.Row
            _use_wal(held.db)
            held.db.execute("PRAGMA synchronous = FULL")
            held.db.execute("PRAGMA foreign_keys = ON")
            self._local.held = held
            with self._lock:
                self._opened.add(held)
        return held.db

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """A consistent view; nested in a write it is part of that write."""
        db = self.connection()
        if db.in_transaction:
            yield db
            return
        db.execute("BEGIN")
        try:
            yield db
        finally:
            _end_transaction(db, "COMMIT")

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start; nested ones join it.

        An error of the commit itself leaves open whether the disk has it, as with any database.
        """
        db = self.connection()
        if db.in_transaction:
            yield db
            return
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
            db.execute("COMMIT")
        except BaseException:
            _end_transaction(db, "ROLLBACK")
            raise

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            opened, self._opened = list(self._opened), WeakSet()
        for held in opened:
            held.db.close()
        self._local = threading.local()


def _make_private(path: Path) -> None:
    """Make the file before SQLite does, so that its mode is ours from the start; the log beside it copies the mode."""
    # One that is there is not even opened: to close it would end the locks that a connection of this process has on it.
    # Where it can't be made, SQLite says why.
    with suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _end_transaction(db: sqlite3.Connection, how: str) -> None:
    """End a transaction, unless SQLite has done so by itself: it does on a full or a failing disk."""
    if db.in_transaction:
        db.execute(how)


def _suggest_fix(code: int) -> str:
    """What to do about an error on opening. Only data that are no longer of use are to be moved away."""
    if code & 0xFF in _UNREADABLE:
        return "Move it away, or run `ttp-mcp sandbox reset`."
    if code & 0xFF == sqlite3.SQLITE_ERROR:
        # A database, but with other tables: perhaps another program's.
        return "Move it away, or name another folder."
    return "Check the folder's rights and free space, and whether a process holds the file; then try again."


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. While others open a new file too SQLite refuses at once instead of waiting, so we wait."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _split_statements(script: str) -> Iterator[str]:
    """The statements of a script; `executescript` would end the transaction it runs in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
