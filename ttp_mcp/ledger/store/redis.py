"""State in Redis, shared by replicas.

All keys of a scope carry one hash tag, so that a cluster keeps them on one node. A document is a hash. Beside the documents of
a kind lie two sorted sets, by the time of the put and by expiry, so that counting reads no document.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import quote

from redis import asyncio as redis_client
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

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

log = logging.getLogger(__name__)
T = TypeVar("T")

# The number is that of the format: another one would read these and write its own.
PREFIX = "ttp-mcp:1"
CONNECTIONS = 8
CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 5.0
# Documents read in one go.
BATCH = 500
_FIELDS = ("value", "version", "at", "expires", "number")

# KEYS: the scope's counter; for the limit its two sets, or the counter twice; for each step the document and its two sets.
# ARGV: now, since, most (-1 for no limit), then for each step 7: put or drop, whether a version is expected, that version,
# the new version, expiry, how long to keep, the value; and one more, the document's key.
_APPLY = """
local now, since, most = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local steps = (#KEYS - 3) / 3

local function version_of(document)
  local got = redis.call('HMGET', document, 'version', 'expires')
  if got[1] and tonumber(got[2]) > now then return got[1] end
  return ''
end

local function keep(key, milliseconds)
  if redis.call('PTTL', key) < milliseconds then redis.call('PEXPIRE', key, milliseconds) end
end

for step = 1, steps do
  local a = 3 + (step - 1) * 8
  local there = version_of(KEYS[1 + step * 3])
  -- These very steps were committed by an attempt whose answer was lost.
  if ARGV[a + 1] == 'put' and there == ARGV[a + 4] then return 'done' end
end
for step = 1, steps do
  local a = 3 + (step - 1) * 8
  if ARGV[a + 2] == '1' and version_of(KEYS[1 + step * 3]) ~= ARGV[a + 3] then return 'changed' end
end
if most >= 0 and redis.call('ZCOUNT', KEYS[2], since, '+inf') >= most then
  local live = 0
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], since, '+inf')) do
    if tonumber(redis.call('ZSCORE', KEYS[3], member) or 0) > now then live = live + 1 end
  end
  if live >= most then return 'full' end
end

for step = 1, steps do
  local a, k = 3 + (step - 1) * 8, 1 + step * 3
  local document, by_time, by_expiry, member = KEYS[k], KEYS[k + 1], KEYS[k + 2], ARGV[a + 8]
  if ARGV[a + 1] == 'drop' then
    redis.call('DEL', document)
    redis.call('ZREM', by_time, member)
    redis.call('ZREM', by_expiry, member)
  else
    local milliseconds = tonumber(ARGV[a + 6])
    if version_of(document) == '' then
      redis.call('HSET', document, 'at', ARGV[1], 'number', redis.call('INCR', KEYS[1]))
      redis.call('ZADD', by_time, ARGV[1], member)
    end
    redis.call('HSET', document, 'version', ARGV[a + 4], 'expires', ARGV[a + 5], 'value', ARGV[a + 7])
    redis.call('PEXPIRE', document, milliseconds)
    redis.call('ZADD', by_expiry, ARGV[a + 5], member)
    for _, key in ipairs({KEYS[1], by_time, by_expiry}) do keep(key, milliseconds) end
  end
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', by_expiry, '-inf', ARGV[1], 'LIMIT', 0, 100)) do
    redis.call('ZREM', by_time, member)
    redis.call('ZREM', by_expiry, member)
  end
end
return 'done'
"""

_LATER = "Call again in a moment; if it stays so, look at the store"
# The first that fits; why, and what to do.
_WORDS: tuple[tuple[type[Exception], str, str], ...] = (
    (exceptions.AuthenticationError, "it refuses the user or the password", "Correct TTP_STATE_URL"),
    (
        exceptions.NoPermissionError,
        "its user has not all the rights needed",
        "Let the user read, write and run scripts",
    ),
    (exceptions.ReadOnlyError, "it is a replica that only reads", "Let TTP_STATE_URL name the primary"),
    (exceptions.OutOfMemoryError, "its memory is full", "Give it more memory, then call again"),
    (exceptions.BusyLoadingError, "it is still loading its data", "Call again in a moment"),
    (exceptions.TimeoutError, "it does not answer in time", _LATER),
    (exceptions.ConnectionError, "it can't be reached", "Start it or correct TTP_STATE_URL, then call again"),
    (OSError, "it can't be reached", "Start it or correct TTP_STATE_URL, then call again"),
)
_UNFORESEEN = ("it reported an error", "Look at the store's log, then call again")


class RedisStore:
    """A Redis server of version 6 or later. Connections are made on the first use, and made anew when they break."""

    def __init__(
        self, url: str, *, connect_seconds: float = CONNECT_SECONDS, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        """Remember where.

        Args:
            url: `redis://` or, with TLS, `rediss://`.
            connect_seconds: How long to wait for a connection.
            answer_seconds: How long to wait for an answer, or for a free connection.

        Raises:
            SettingProblem: The URL can't be used.
        """
        try:
            make_pool: Callable[..., redis_client.BlockingConnectionPool] = redis_client.BlockingConnectionPool.from_url  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - has untyped keywords
            pool = make_pool(
                url,
                max_connections=CONNECTIONS,
                timeout=answer_seconds,
                socket_connect_timeout=connect_seconds,
                socket_timeout=answer_seconds,
                # What may be repeated is decided here.
                retry=Retry(NoBackoff(), 0),
            )
        except (ValueError, TypeError, exceptions.RedisError):
            # Without its cause, which may quote the password.
            raise SettingProblem(
                "TTP_STATE_URL must be redis://user:password@host:port/number, or rediss:// for TLS, with special characters of "
                "the password percent-encoded."
            ) from None
        self._client = redis_client.Redis(connection_pool=pool)
        self._script: Any = self._client.register_script(_APPLY)
        self._looked = False

    async def get(self, scope: str, kind: str, keys: Sequence[str], now: datetime) -> dict[str, Entry]:
        """See `State`."""
        return {entry.key: entry for entry in await self._read(scope, kind, encodable_keys(keys), now)}

    async def recent(self, scope: str, kind: str, since: datetime, now: datetime) -> list[Entry]:
        """See `State`."""
        client: Any = self._client
        found = await self._use(lambda: client.zrangebyscore(_by_time(scope, kind), to_milliseconds(since), "+inf"))
        return await self._read(scope, kind, [member.decode() for member in found], now)

    async def apply(
        self, scope: str, steps: Sequence[Put | Delete], now: datetime, at_most: RateCap | None = None
    ) -> Applied:
        """See `State`."""
        keys, arguments = _call(scope, steps, now, at_most)
        applied = await self._use(lambda: self._script(keys=keys, args=arguments))
        await self._look()
        return applied.decode()

    async def aclose(self) -> None:
        """See `State`."""
        await self._client.aclose()
        await self._client.connection_pool.disconnect()

    async def _read(self, scope: str, kind: str, keys: Sequence[str], now: datetime) -> list[Entry]:
        """The documents that there are and that are not expired, newest first."""
        found: list[tuple[int, int, Entry]] = []
        for start in range(0, len(keys), BATCH):
            batch = keys[start : start + BATCH]
            for key, row in zip(
                batch, await self._use(lambda batch=batch: self._rows(scope, kind, batch)), strict=True
            ):
                with reject_malformed():
                    if row[0] is not None and int(row[3]) > to_milliseconds(now):
                        found.append((int(row[2]), int(row[4]), _entry(key, row)))
        return [entry for _, _, entry in sorted(found, key=lambda each: each[:2], reverse=True)]

    async def _rows(self, scope: str, kind: str, keys: Sequence[str]) -> list[list[Any]]:
        pipeline: Any = self._client.pipeline(transaction=False)
        async with pipeline:
            for key in keys:
                pipeline.hmget(_document(scope, kind, key), _FIELDS)
            return await pipeline.execute()

    async def _use(self, work: Callable[[], Awaitable[T]]) -> T:
        try:
            try:
                return await work()
            except exceptions.ConnectionError as error:
                if isinstance(error, exceptions.AuthenticationError | exceptions.BusyLoadingError):
                    raise
                # The server may have been started anew, and what was open before is of no use; steps may be repeated.
                await self._client.connection_pool.disconnect(inuse_connections=False)
                return await work()
        except (exceptions.RedisError, OSError) as error:
            raise LedgerProblem(_words(error)) from error

    async def _look(self) -> None:
        """Say once what of the store's configuration makes it forget."""
        if self._looked:
            return
        self._looked = True
        client: Any = self._client
        try:
            info: dict[str, Any] = await self._use(client.info)
        except LedgerProblem:
            # Not everybody may ask, and what was to be done is done.
            return
        if not info.get("aof_enabled"):
            log.warning(
                "The Redis of TTP_STATE_URL keeps no append-only file: what it forgets when it ends can be posted twice. "
                "Set appendonly yes and appendfsync always."
            )
        if info.get("maxmemory") and info.get("maxmemory_policy") != "noeviction":
            log.warning(
                "The Redis of TTP_STATE_URL may throw entries away when its memory is full, and they can be posted twice. "
                "Set maxmemory-policy noeviction."
            )


def _call(
    scope: str, steps: Sequence[Put | Delete], now: datetime, at_most: RateCap | None
) -> tuple[list[str], list[str | int]]:
    """Keys and arguments of the script."""
    counter = f"{_tag(scope)}:number"
    limited = [_by_time(scope, at_most.kind), _by_expiry(scope, at_most.kind)] if at_most else [counter, counter]
    keys = [counter, *limited]
    arguments: list[str | int] = [
        to_milliseconds(now),
        to_milliseconds(at_most.since) if at_most else 0,
        at_most.most if at_most else -1,
    ]
    for step in steps:
        keys += [_document(scope, step.kind, step.key), _by_time(scope, step.kind), _by_expiry(scope, step.kind)]
        expected = [0 if step.expected is None else 1, step.expected or ""]
        if isinstance(step, Delete):
            arguments += ["drop", *expected, "", 0, 0, "", step.key]
        else:
            # Expiry is decided by the caller's clock; Redis clears away later, by its own.
            kept = max(step.expires_at - now, timedelta()) + CLEAR_AFTER
            kept_ms, expires_ms = round(kept.total_seconds() * 1000), to_milliseconds(step.expires_at)
            arguments += ["put", *expected, step.version, expires_ms, kept_ms, json.dumps(step.value), step.key]
    return keys, arguments


def _tag(scope: str) -> str:
    """The beginning of all keys of a scope. What is in braces decides about the node of a cluster."""
    return f"{PREFIX}:{{{quote(scope, safe='')}}}"


def _document(scope: str, kind: str, key: str) -> str:
    return f"{_tag(scope)}:document:{quote(kind, safe='')}:{key}"


def _by_time(scope: str, kind: str) -> str:
    return f"{_tag(scope)}:time:{quote(kind, safe='')}"


def _by_expiry(scope: str, kind: str) -> str:
    return f"{_tag(scope)}:expiry:{quote(kind, safe='')}"


def _entry(key: str, row: Sequence[Any]) -> Entry:
    value, version, at = row[:3]
    return decode_value(key, value, version, at)


def _words(error: Exception) -> str:
    why, what_to_do = next(((why, what) for kind, why, what in _WORDS if isinstance(error, kind)), _UNFORESEEN)
    return f"the ledger (the Redis of TTP_STATE_URL) can't be used: {why}. Nothing is sent without it; reading goes on. {what_to_do}."
