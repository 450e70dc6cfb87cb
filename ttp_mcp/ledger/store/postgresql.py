"""State in one table of a PostgreSQL database, shared by replicas.

A write takes the lock of its scope for one transaction: so what it checks can't change until it commits. Two round trips.
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
    Applied,
    Delete,
    Entry,
    LedgerProblem,
    Put,
    RateCap,
    decode_value,
    encodable_keys,
    reject_malformed,
    to_milliseconds,
)

T = TypeVar("T")
Connection = psycopg.AsyncConnection[TupleRow]

# The number is that of the format: another one would read this table and write its own.
TABLE = "ttp_mcp_state_1"
# Writes of one scope wait for each other; more connections would serve reads and other users.
CONNECTIONS = 4
CONNECT_SECONDS, ANSWER_SECONDS = 3, 5.0
# How often a transaction is begun anew that another one, or the end of a connection, stood in the way of.
ATTEMPTS = 5
# Expired rows go in passing, so many at a time that no write gets slow; a day late, and never by a clock that is
# ahead of the server's, so that no clock of a replica loses anything.
PRUNE_EVERY, PRUNE_ROWS = 200, 500

_SCHEMA = (
    f"""CREATE TABLE IF NOT EXISTS {TABLE} (
        scope text NOT NULL,
        kind text NOT NULL,
        -- SHA-256 of the key: an index takes no long ones, and text takes no zero characters.
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
# Set for one transaction only, since a pooler in between may give the session to somebody else afterwards.
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
_PRUNE = (
    f"DELETE FROM {TABLE} WHERE (scope, kind, id) IN (SELECT scope, kind, id FROM {TABLE} "  # noqa: S608 - a constant
    "WHERE expires <= least(%s, extract(epoch FROM now()) * 1000) - %s LIMIT %s FOR UPDATE SKIP LOCKED)"
)
_GET = f"SELECT key, value, version, at FROM {TABLE} WHERE scope = %s AND kind = %s AND id = ANY(%s) AND expires > %s"  # noqa: S608 - a constant
_RECENT = (
    f"SELECT key, value, version, at FROM {TABLE} WHERE scope = %s AND kind = %s AND at >= %s AND expires > %s "  # noqa: S608 - a constant
    "ORDER BY at DESC, number DESC"
)

_LATER = "Call again in a moment; if it stays so, look at the database"
# The first that fits; why, and what to do.
_WORDS: tuple[tuple[type[Exception], str, str], ...] = (
    (errors.InsufficientPrivilege, "its user has not all the rights needed", f"Let the user create or use {TABLE}"),
    (errors.InvalidSchemaName, "its user has no place for tables", "Let the user create tables in a schema"),
    (errors.ReadOnlySqlTransaction, "it only reads", "Let TTP_STATE_URL name the primary"),
    (errors.DiskFull, "its disk is full", "Free some space, then call again"),
    (errors.SerializationFailure, "too many write to it at once", "Call again in a moment"),
    (errors.DeadlockDetected, "too many write to it at once", "Call again in a moment"),
    (errors.QueryCanceled, "it does not answer in time", _LATER),
    (TimeoutError, "it does not answer in time", _LATER),
)
_UNREACHED = ("it can't be reached", "Start it or correct TTP_STATE_URL, then call again")
_REFUSED = ("it refuses the connection", "Check user, password and database in TTP_STATE_URL")
_UNFORESEEN = ("it reported an error", "Look at the database's log, then call again")


class PostgresqlStore:
    """A PostgreSQL server of version 12 or later. Connections are made on the first use, and made anew when they break."""

    def __init__(
        self, url: str, *, connect_seconds: int = CONNECT_SECONDS, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        """Remember where.

        Args:
            url: `postgresql://`, with parameters as libpq knows them (`sslmode=verify-full`).
            connect_seconds: How long to wait for a connection to each host, unless the URL says it; at least 2.
            answer_seconds: How long the server may take for a statement; a call ends at twice that at the latest.

        Raises:
            SettingProblem: The URL can't be used.
        """
        try:
            given = conninfo_to_dict(url)
        except psycopg.Error:
            # Without its cause, which may quote the password.
            raise SettingProblem(
                "TTP_STATE_URL must be postgresql://user:password@host:port/database, with special characters of the password "
                "percent-encoded."
            ) from None
        # It warns of what else an error broke off; that the error itself is told is enough.
        logging.getLogger("psycopg").setLevel(logging.ERROR)
        defaults = {"connect_timeout": connect_seconds, "application_name": "ttp-mcp"}
        self._parameters: dict[str, Any] = {**defaults, **given, "client_encoding": "utf8"}
        self._answer_seconds = answer_seconds
        self._idle: list[Connection] = []
        self._places = anyio.Semaphore(CONNECTIONS)
        self._commits = 0

    async def get(self, scope: str, kind: str, keys: Sequence[str], now: datetime) -> dict[str, Entry]:
        """See `State`."""
        ids = [_id(key) for key in encodable_keys(keys)]
        return {entry.key: entry for entry in await self._select(_GET, scope, kind, ids, to_milliseconds(now))}

    async def recent(self, scope: str, kind: str, since: datetime, now: datetime) -> list[Entry]:
        """See `State`."""
        return await self._select(_RECENT, scope, kind, to_milliseconds(since), to_milliseconds(now))

    async def apply(
        self, scope: str, steps: Sequence[Put | Delete], now: datetime, at_most: RateCap | None = None
    ) -> Applied:
        """See `State`."""
        prune = self._commits % PRUNE_EVERY == 0

        async def write(db: Connection) -> Applied:
            async with db.pipeline(), db.transaction():
                await db.execute(_PREPARE, (str(round(self._answer_seconds * 1000)),))
                await db.execute(_LOCK, (_lock(scope),))
                refused = await _checked(db, scope, steps, to_milliseconds(now), at_most)
                if refused is None:
                    await _carry_out(db, scope, steps, to_milliseconds(now), prune=prune)
            return refused or "done"

        applied = await self._use(write)
        self._commits += applied == "done"
        return applied

    async def aclose(self) -> None:
        """See `State`."""
        while self._idle:
            await self._idle.pop().close()

    async def _select(self, statement: str, *arguments: object) -> list[Entry]:
        async def read(db: Connection) -> list[Entry]:
            try:
                rows = await db.execute(statement, arguments)  # pyright: ignore[reportArgumentType] - ours, in constants
            except errors.UndefinedTable:
                # To look must not leave anything behind.
                return []
            return [_entry(row) for row in await rows.fetchall()]

        return await self._use(read)

    async def _use(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            with anyio.fail_after(2 * self._answer_seconds):
                async with self._places:
                    return await self._attempts(work)
        except (psycopg.Error, OSError) as error:
            raise LedgerProblem(_words(error)) from error

    async def _attempts(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        for _ in range(ATTEMPTS - 1):
            db = self._idle.pop() if self._idle else await self._connect()
            try:
                return await self._once(db, work)
            except errors.UndefinedTable:
                await self._once(await self._connect(), _make_table)
            except (errors.SerializationFailure, errors.DeadlockDetected):
                continue
            except psycopg.OperationalError as error:
                if not _ended(db, error):
                    raise
                # The server may have been started anew, and what was open before is of no use; steps may be repeated.
                await self.aclose()
        return await self._once(await self._connect(), work)

    async def _once(self, db: Connection, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Do something with a connection, and keep it if it is as it was."""
        try:
            done = await work(db)
        except BaseException:
            # Its state may be anything, above all after a cancellation.
            await db.close()
            raise
        self._idle.append(db)
        return done

    async def _connect(self) -> Connection:
        try:
            # Statements are not prepared: a pooler in between may give each transaction another session.
            db = await psycopg.AsyncConnection.connect(**self._parameters, autocommit=True, prepare_threshold=None)
            # Whatever the server's default is: after the lock each statement must see what was committed before it.
            await db.set_isolation_level(psycopg.IsolationLevel.READ_COMMITTED)
        except psycopg.OperationalError as error:
            raise _NoConnection(answered="FATAL" in str(error)) from error
        return db


class _NoConnection(OSError):
    """There is no connection. `answered` tells a server that refuses from none at all."""

    def __init__(self, *, answered: bool) -> None:
        super().__init__()
        self.answered = answered


def _ended(db: Connection, error: psycopg.Error) -> bool:
    """Whether the connection came to its end, or the server said that it is about to."""
    return db.broken or (error.sqlstate or "").startswith("57P")


async def _checked(
    db: Connection, scope: str, steps: Sequence[Put | Delete], now: int, at_most: RateCap | None
) -> Applied | None:
    """Why the steps are not carried out; None when they are to be. `done` when they were, by an attempt whose answer was lost."""
    asked = [await db.execute(_VERSION, (scope, step.kind, _id(step.key), now)) for step in steps]
    limit = await db.execute(_COUNT, (scope, at_most.kind, now, to_milliseconds(at_most.since))) if at_most else None
    there = [str(row[0]) if (row := await cursor.fetchone()) else "" for cursor in asked]
    if any(isinstance(step, Put) and step.version == version for step, version in zip(steps, there, strict=True)):
        return "done"
    if any(step.expected not in (None, version) for step, version in zip(steps, there, strict=True)):
        return "changed"
    counted = await limit.fetchone() if limit else None
    return "full" if at_most and counted and counted[0] >= at_most.most else None


async def _carry_out(db: Connection, scope: str, steps: Sequence[Put | Delete], now: int, *, prune: bool) -> None:
    for step in steps:
        where = (scope, step.kind, _id(step.key))
        if isinstance(step, Delete):
            await db.execute(_DROP, where)
        else:
            value = json.dumps(step.value)
            await db.execute(
                _PUT, (*where, step.key.encode(), step.version, now, to_milliseconds(step.expires_at), value)
            )
    if prune:
        await db.execute(_PRUNE, (now, round(CLEAR_AFTER.total_seconds() * 1000), PRUNE_ROWS))


async def _make_table(db: Connection) -> None:
    async with db.transaction():
        # Two that create the same table at once get in each other's way, even with IF NOT EXISTS.
        await db.execute(_LOCK, (_lock(""),))
        for statement in _SCHEMA:
            await db.execute(statement)  # pyright: ignore[reportArgumentType] - ours, in constants


def _lock(scope: str) -> int:
    """The number of a scope's lock; two scopes that share one by chance only wait for each other."""
    return int.from_bytes(hashlib.sha256(f"{TABLE} {scope}".encode()).digest()[:8], signed=True)


def _id(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _entry(row: TupleRow) -> Entry:
    with reject_malformed():
        return decode_value(row[0].decode(), *row[1:4])


def _words(error: Exception) -> str:
    if isinstance(error, _NoConnection):
        why, what_to_do = _REFUSED if error.answered else _UNREACHED
    elif isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        why, what_to_do = _UNREACHED
    else:
        why, what_to_do = next(((why, what) for kind, why, what in _WORDS if isinstance(error, kind)), _UNFORESEEN)
    return (
        f"the ledger (the PostgreSQL of TTP_STATE_URL) can't be used: {why}. Nothing is sent without it; reading goes on. "
        f"{what_to_do}."
    )
