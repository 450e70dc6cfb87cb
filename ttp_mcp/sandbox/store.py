"""SQLite: one connection for each thread, transactions, durability, and the version of the schema."""

import sqlite3
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

SCHEMA_VERSION = 1
# How long a writer waits for another process's write. One takes a few milliseconds; a slow disk may take seconds.
BUSY_SECONDS = 30.0

# Statements that bring a file from version N to N + 1, for N from 1 on. There is one version so far.
MIGRATIONS: dict[int, str] = {}


class StoreProblem(Exception):
    """The data can't be used; the text says why and what to do."""


class Store:
    """The data of one sandbox. Any number of threads and processes may have the same folder open."""

    def __init__(self, path: Path) -> None:
        """Open the file, creating or migrating it.

        Raises:
            StoreProblem: It is from a newer version, or is no database.
        """
        self.path = path
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self.close()
            raise StoreProblem(
                f"{path.name} can't be opened as sandbox data ({error}). Move it away, or run `ttp-mcp sandbox reset`."
            ) from error

    def _prepare(self) -> None:
        with self.writing() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise StoreProblem(
                    "The sandbox data were written by a newer ttp-mcp. Upgrade it, or set another TTP_STATE_DIR."
                )
            if version == 0:
                script = files("ttp_mcp.sandbox").joinpath("schema.sql").read_text(encoding="utf-8")
                steps = [script]
            else:
                steps = [MIGRATIONS[step] for step in range(version, SCHEMA_VERSION)]
            for step in steps:
                for statement in _statements(step):
                    db.execute(statement)
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, in autocommit mode."""
        db: sqlite3.Connection | None = getattr(self._local, "db", None)
        if db is None:
            db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            self._local.db = db
            with self._lock:
                self._opened.append(db)
        return db

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
            db.execute("COMMIT")

    @contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """A transaction that holds the write lock from its start; nested ones join it."""
        db = self.connection()
        if db.in_transaction:
            yield db
            return
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def close(self) -> None:
        """Close the connections of all threads."""
        with self._lock:
            opened, self._opened = self._opened, []
        for db in opened:
            db.close()
        self._local = threading.local()


def _statements(script: str) -> Iterator[str]:
    """The statements of a script; `executescript` would end the transaction it runs in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
