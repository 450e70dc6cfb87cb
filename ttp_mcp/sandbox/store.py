"""The SQLite database: a connection for each thread, transactions, durability and schema versions."""

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
# Wait this long for another process's write. A write takes a few milliseconds, on a slow disk seconds.
BUSY_SECONDS = 30.0

# Statements that bring a file from version N to N + 1.
MIGRATIONS: dict[int, str] = {
    1: "ALTER TABLE tokens ADD COLUMN capability TEXT NOT NULL DEFAULT 'publish';\n",
}


_UNREADABLE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


class StoreProblem(Exception):
    """Raised when the data can't be used. `str()` says why and what to do.

    Attributes:
        is_unreadable: The file itself is the cause (not a database, damaged, or newer), so a retry is pointless.
    """

    def __init__(self, message: str, *, is_unreadable: bool = False) -> None:
        """Keep the message."""
        super().__init__(message)
        self.is_unreadable = is_unreadable


class _ThreadConnection:
    """The connection of one thread, closed when the thread ends. `in_use` is held during a transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.in_use = threading.RLock()

    def __del__(self) -> None:
        self.db.close()

    def close(self) -> None:
        """Close it after its transaction: Python crashes if a connection is closed while another thread uses it."""
        with self.in_use:
            self.db.close()


class Store:
    """The data of one sandbox. Any number of threads and processes may have the same folder open."""

    def __init__(self, path: Path) -> None:
        """Open the file, creating or migrating it.

        Raises:
            StoreProblem: The file is newer than this program, damaged, or not a database.
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
        # Read the version first: opening a current file must not need a write, which a full disk would refuse.
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
        """Return the schema version of the file; 0 for a new file."""
        return self.connection().execute("PRAGMA user_version").fetchone()[0]

    def connection(self) -> sqlite3.Connection:
        """Return this thread's connection, in autocommit mode."""
        return self._hold().db

    def _hold(self) -> _ThreadConnection:
        held: _ThreadConnection | None = getattr(self._local, "held", None)
        if held is None:
            held = self._local.held = _ThreadConnection(_connect(self.path))
            with self._lock:
                self._opened.add(held)
        return held

    @contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """Open a consistent view; inside a write it is part of that write."""
        held = self._hold()
        db = held.db
        if db.in_transaction:
            yield db
            return
        with held.in_use:
            db.execute("BEGIN")
            try:
                yield db
            finally:
                _end_transaction(db, "COMMIT")

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """Open a transaction that holds the write lock from its start; nested ones join it.

        An error of the commit itself leaves open whether the disk has it, as with any database.
        """
        held = self._hold()
        db = held.db
        if db.in_transaction:
            yield db
            return
        with held.in_use:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                _end_transaction(db, "ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connections of all threads, after the transactions that these have begun."""
        with self._lock:
            opened, self._opened = list(self._opened), WeakSet()
        for held in opened:
            held.close()
        self._local = threading.local()


def _make_private(path: Path) -> None:
    """Create the file before SQLite does, with a private mode that SQLite copies to its log."""
    # Never open an existing file: closing it would release the locks of this process's connections.
    # If it can't be created, SQLite reports the cause.
    with suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _end_transaction(db: sqlite3.Connection, how: str) -> None:
    """End a transaction, unless SQLite rolled it back itself, as it does on a full or failing disk."""
    if db.in_transaction:
        db.execute(how)


def _suggest_fix(code: int) -> str:
    """Return the next step after an error on opening. Only unreadable data should be moved away."""
    if code & 0xFF in _UNREADABLE:
        return "Move it away, or run `ttp-mcp sandbox reset`."
    if code & 0xFF == sqlite3.SQLITE_ERROR:
        # A database with other tables, perhaps another program's.
        return "Move it away, or name another folder."
    return "Check the folder's rights and free space, and whether a process holds the file; then try again."


def _connect(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        db.row_factory = sqlite3.Row
        _use_wal(db)
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        # The error refers to the connection, which would keep a file open that the user should move away.
        db.close()
        raise
    return db


def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to the write-ahead log. SQLite doesn't wait while other processes open a new file, so this does."""
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
    """Yield the statements of a script. `executescript` would commit the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
