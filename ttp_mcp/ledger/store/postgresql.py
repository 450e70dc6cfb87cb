"""A store in one table of a PostgreSQL database, shared by replicas.

A commit holds the lock of its scope for one transaction, so what it checks can't change before it commits. It takes two round trips.
"""

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar

import anyio
import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from ttp_mcp.config import SettingProblem
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
    reject_malformed,
    to_milliseconds,
)

T = TypeVar("T")
Connection = psycopg.AsyncConnection[TupleRow]

# With the version of the format: another format gets a table of its own.
TABLE = "ttp_mcp_state_1"
# Commits of one scope wait for each other, so more connections would only serve reads and other users.
CONNECTIONS = 4
CONNECT_SECONDS, ANSWER_SECONDS = 3, 5.0
# Attempts of a transaction that conflicts with another one or loses its connection.
ATTEMPTS = 5

_SCHEMA = (
    f"""CREATE TABLE IF NOT EXISTS {TABLE} (
        scope text NOT NULL,
        kind text NOT NULL,
        -- SHA-256 of the key: an index takes no long values, and text no zero characters.
        id bytea NOT NULL,
        key bytea NOT NULL,
        version text NOT NULL,
        at bigint NOT NULL,
        expires bigint NOT NULL,
        number bigint GENERATED ALWAYS AS IDENTITY,
        value text NOT NULL,
        PRIMARY KEY (scope, kind, id)
    )""",
    f"CREATE INDEX IF NOT EXISTS {TABLE}_at ON {TABLE} (scope, kind, at)",
    f"CREATE INDEX IF NOT EXISTS {TABLE}_expires ON {TABLE} (expires)",
)
# For one transaction only: a pooler may give the session to another client afterwards.
_PREPARE = (
    "SELECT set_config('statement_timeout', %s, true), CASE current_setting('synchronous_commit') "
    "WHEN 'off' THEN set_config('synchronous_commit', 'on', true) END"
)
_LOCK = "SELECT pg_advisory_xact_lock(%s)"
_VERSION = f"SELECT version FROM {TABLE} WHERE scope = %s AND kind = %s AND id = %s AND expires > %s"  # noqa: S608 - a constant
_COUNT = f"SELECT count(*) FROM {TABLE} WHERE scope = %s AND kind = %s AND expires > %s AND at >= %s"  # noqa: S608 - a constant
_DROP = f"DELETE FROM {TABLE} WHERE scope = %s AND kind = %s AND id = %s"  # noqa: S608 - a constant
_PUT = (
    f"INSERT INTO {TABLE} AS old (scope, kind, id, key, version, at, expires, value) "  # noqa: S608 - a constant
    "VALUES (%s, %s, %s, %s, %s, %s, %s, %s) "
    "ON CONFLICT (scope, kind, id) DO UPDATE SET version = excluded.version, value = excluded.value, "
    "at = CASE WHEN old.expires <= excluded.at THEN excluded.at ELSE old.at END, expires = excluded.expires"
)
# The later of two clocks never decides: a replica's clock that is ahead must not remove rows that others need.
_PRUNE = (
    f"DELETE FROM {TABLE} WHERE (scope, kind, id) IN (SELECT scope, kind, id FROM {TABLE} "  # noqa: S608 - a constant
    "WHERE expires <= least(%s, extract(epoch FROM now()) * 1000) - %s LIMIT %s FOR UPDATE SKIP LOCKED)"
)
_GET = f"SELECT key, value, version, at FROM {TABLE} WHERE scope = %s AND kind = %s AND id = ANY(%s) AND expires > %s"  # noqa: S608 - a constant
_RECENT = (
    f"SELECT key, value, version, at FROM {TABLE} WHERE scope = %s AND kind = %s AND at >= %s AND expires > %s "  # noqa: S608 - a constant
    "ORDER BY at DESC, number DESC"
)

# Cause and next step; the first match counts.
_PROBLEMS = {
    errors.InsufficientPrivilege: ("its user lacks a privilege", f"Let the user create and use the table {TABLE}"),
    errors.InvalidSchemaName: ("its user has no schema for tables", "Let the user create tables in a schema"),
    errors.ReadOnlySqlTransaction: ("it is read-only", "Let TTP_STATE_URL name the primary"),
    errors.DiskFull: ("its disk is full", "Free some space, then call again"),
    (errors.SerializationFailure, errors.DeadlockDetected): (
        "too many clients write to it at once",
        "Call again in a moment",
    ),
    (errors.QueryCanceled, TimeoutError): (
        "it doesn't respond in time",
        "Call again in a moment; if that doesn't help, check the database",
    ),
}
_UNREACHABLE = ("it can't be reached", "Start it or correct TTP_STATE_URL, then call again")
_REFUSED = ("it refuses the connection", "Check user, password and database in TTP_STATE_URL")
_OTHER_PROBLEM = ("it reported an error", "Check the database's log, then call again")


class PostgresqlStore:
    """A PostgreSQL server of version 12 or later. It connects on first use, and again when a connection breaks."""

    def __init__(
        self, url: str, *, connect_seconds: int = CONNECT_SECONDS, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        """Parse the URL; nothing is opened.

        Args:
            url: `postgresql://`, with parameters of libpq (`sslmode=verify-full`).
            connect_seconds: Timeout for a connection to each host, unless the URL has one; at least 2.
            answer_seconds: Timeout of a statement; a call takes at most twice as long.

        Raises:
            SettingProblem: The URL can't be used.
        """
        try:
            given = conninfo_to_dict(url)
        except psycopg.Error:
            # The cause may quote the password.
            raise SettingProblem(
                "TTP_STATE_URL must be postgresql://user:password@host:port/database, with special characters of the password "
                "percent-encoded."
            ) from None
        # Its logger warns about consequences of an error that is reported anyway.
        logging.getLogger("psycopg").setLevel(logging.ERROR)
        defaults = {"connect_timeout": connect_seconds, "application_name": "ttp-mcp"}
        self._parameters: dict[str, Any] = {**defaults, **given, "client_encoding": "utf8"}
        self._answer_seconds = answer_seconds
        self._idle: list[Connection] = []
        self._slots = anyio.Semaphore(CONNECTIONS)
        self._commits = 0

    async def get(self, scope: str, kind: str, keys: Sequence[str], now: datetime) -> dict[str, Entry]:
        """See `Store`."""
        ids = [_hash_key(key) for key in encodable_keys(keys)]
        return {entry.key: entry for entry in await self._select(_GET, scope, kind, ids, to_milliseconds(now))}

    async def list_recent(self, scope: str, kind: str, since: datetime, now: datetime) -> list[Entry]:
        """See `Store`."""
        return await self._select(_RECENT, scope, kind, to_milliseconds(since), to_milliseconds(now))

    async def commit(
        self, scope: str, steps: Sequence[Put | Delete], now: datetime, cap: RateCap | None = None
    ) -> CommitResult:
        """See `Store`."""
        prune = self._commits % PRUNE_EVERY == 0

        async def write(db: Connection) -> CommitResult:
            async with db.pipeline(), db.transaction():
                await db.execute(_PREPARE, (str(round(self._answer_seconds * 1000)),))
                await db.execute(_LOCK, (_lock_number(scope),))
                refused = await _check_steps(db, scope, steps, to_milliseconds(now), cap)
                if refused is None:
                    await _carry_out(db, scope, steps, to_milliseconds(now), prune=prune)
            return refused or "done"

        result = await self._run(write)
        self._commits += result == "done"
        return result

    async def aclose(self) -> None:
        """See `Store`."""
        while self._idle:
            await self._idle.pop().close()

    async def _select(self, statement: str, *arguments: object) -> list[Entry]:
        async def read(db: Connection) -> list[Entry]:
            try:
                rows = await db.execute(statement, arguments)  # pyright: ignore[reportArgumentType] - ours, in constants
            except errors.UndefinedTable:
                # Reading must not create the table.
                return []
            return [_parse_row(row) for row in await rows.fetchall()]

        return await self._run(read)

    async def _run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            with anyio.fail_after(2 * self._answer_seconds):
                async with self._slots:
                    return await self._retry(work)
        except (psycopg.Error, OSError) as error:
            raise LedgerProblem(_describe_error(error)) from error

    async def _retry(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        for _ in range(ATTEMPTS - 1):
            db = self._idle.pop() if self._idle else await self._connect()
            try:
                return await self._run_once(db, work)
            except errors.UndefinedTable:
                await self._run_once(await self._connect(), _create_table)
            except (errors.SerializationFailure, errors.DeadlockDetected):
                continue
            except psycopg.OperationalError as error:
                if not _is_closed(db, error):
                    raise
                # After a restart of the server no open connection works any more. Steps may be repeated.
                await self.aclose()
        return await self._run_once(await self._connect(), work)

    async def _run_once(self, db: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Work with a connection, and keep it open unless that fails."""
        try:
            done = await work(db)
        except BaseException:
            # Its state is unknown, above all after a cancellation.
            await db.close()
            raise
        self._idle.append(db)
        return done

    async def _connect(self) -> Connection:
        try:
            # No prepared statements: a pooler may give each transaction another session.
            db = await psycopg.AsyncConnection.connect(**self._parameters, autocommit=True, prepare_threshold=None)
            # Whatever the server's default: after the lock each statement must see what was committed before.
            await db.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
        except psycopg.OperationalError as error:
            raise _NoConnection(answered="FATAL" in str(error)) from error
        return db


class _NoConnection(OSError):
    """The database can't be reached; `answered` if a server refused the connection."""

    def __init__(self, *, answered: bool) -> None:
        self.answered = answered


def _is_closed(db: Connection, error: psycopg.Error) -> bool:
    """Check whether the connection is closed, or about to be."""
    return db.broken or str(error.sqlstate).startswith("57P")


async def _check_steps(
    db: Connection, scope: str, steps: Sequence[Put | Delete], now: int, cap: RateCap | None
) -> CommitResult | None:
    lookups = [await db.execute(_VERSION, (scope, step.kind, _hash_key(step.key), now)) for step in steps]
    limit = await db.execute(_COUNT, (scope, cap.kind, now, to_milliseconds(cap.since))) if cap else None
    there = [str(row[0]) if (row := await cursor.fetchone()) else "" for cursor in lookups]
    counted = await limit.fetchone() if limit else None
    return check_steps(steps, there, cap, counted[0] if counted else 0)


async def _carry_out(db: Connection, scope: str, steps: Sequence[Put | Delete], now: int, *, prune: bool) -> None:
    for step in steps:
        where = (scope, step.kind, _hash_key(step.key))
        if isinstance(step, Delete):
            await db.execute(_DROP, where)
        else:
            value = json.dumps(step.value)
            await db.execute(
                _PUT, (*where, step.key.encode(), step.version, now, to_milliseconds(step.expires_at), value)
            )
    if prune:
        await db.execute(_PRUNE, (now, round(CLEAR_AFTER.total_seconds() * 1000), PRUNE_ROWS))


async def _create_table(db: Connection) -> None:
    async with db.transaction():
        # Creating one table twice at the same time fails, even with IF NOT EXISTS.
        await db.execute(_LOCK, (_lock_number(""),))
        for statement in _SCHEMA:
            await db.execute(statement)  # pyright: ignore[reportArgumentType] - ours, in constants


def _lock_number(scope: str) -> int:
    """Return the number of a scope's lock; two scopes with the same number only wait for each other."""
    return int.from_bytes(hashlib.sha256(f"{TABLE} {scope}".encode()).digest()[:8], signed=True)


def _hash_key(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _parse_row(row: TupleRow) -> Entry:
    with reject_malformed():
        key, *others = row
        return decode_value(key.decode(), *others)


def _describe_error(error: Exception) -> str:
    if isinstance(error, _NoConnection):
        problem = _REFUSED if error.answered else _UNREACHABLE
    elif isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        problem = _UNREACHABLE
    else:
        problem = next((each for kind, each in _PROBLEMS.items() if isinstance(error, kind)), _OTHER_PROBLEM)
    return describe_unusable(*problem, " (the PostgreSQL of TTP_STATE_URL)")
