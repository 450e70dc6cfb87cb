"""The interface of a store: small JSON documents that several processes share.

Everything is inside a scope, so users of one store never see each other. Three operations are enough for the ledger, plans and
confirmations, and each store (a SQLite file, PostgreSQL) does them atomically.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, Protocol

JsonObject = dict[str, Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Keep expired documents this long, in case another machine's clock is behind.
CLEAR_AFTER = timedelta(days=1)
# Attempts of a commit that another process made impossible by changing the same entry first, before `Contention` is raised.
MAX_ATTEMPTS = 50
# Some commits also remove expired rows, few enough to stay fast.
PRUNE_EVERY, PRUNE_ROWS = 200, 500

# `changed`: an entry wasn't as expected. `full`: the cap is reached. Both change nothing.
CommitResult = Literal["done", "changed", "full"]


class LedgerProblem(Exception):
    """Raised when the store can't be used. `str()` has the cause, the consequence and the next step; it follows `<what failed>: `."""


def describe_unusable(cause: str, next_step: str, place: str = "") -> str:
    """Describe a ledger that can't be used; `place` is a space and where it is kept, in brackets."""
    return f"the ledger{place} can't be used: {cause}. Nothing is sent without it; reading goes on. {next_step}."


class Contention(LedgerProblem):
    """Raised after too many attempts of a commit."""

    def __init__(self) -> None:
        """Name the cause."""
        super().__init__(describe_unusable("other processes keep changing the same entry", "Call again in a moment"))


@dataclass(frozen=True, slots=True)
class Entry:
    """A document. Each change gives it a new opaque `version`; `at` is when it was first put."""

    key: str
    value: JsonObject
    version: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Put:
    """Write a document. `expected` is the version it must have: "" if it must not exist, None for any."""

    kind: str
    key: str
    value: JsonObject
    expires_at: datetime
    expected: str | None = None
    version: str = field(default_factory=partial(secrets.token_hex, 16))


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a document, if it exists; `expected` as in `Put`."""

    kind: str
    key: str
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class RateCap:
    """A condition: fewer than `limit` documents of the kind were put since then."""

    kind: str
    since: datetime
    limit: int


class Store(Protocol):
    """A store. Every method may raise `LedgerProblem`; the first call opens it.

    An expired document counts as absent. Times are aware UTC; the caller passes `now`.
    """

    async def get(self, scope: str, kind: str, keys: Sequence[str], now: datetime) -> dict[str, Entry]:
        """Return the documents that exist, by key."""
        ...

    async def list_recent(self, scope: str, kind: str, since: datetime, now: datetime) -> list[Entry]:
        """Return the documents first put since then, newest first."""
        ...

    async def commit(
        self, scope: str, steps: Sequence[Put | Delete], now: datetime, cap: RateCap | None = None
    ) -> CommitResult:
        """Carry out all steps or none, in one durable commit. A document that is replaced keeps its `at`.

        If a step's own version exists already, these steps were committed before: the result is `done`, and nothing changes.
        """
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


class ScopedStore:
    """One user's part of a store, read and written by one clock."""

    __slots__ = ("_scope", "_store", "now")

    def __init__(self, store: Store, scope: str, now: Callable[[], datetime]) -> None:
        """Use a store; `now` returns the present as aware UTC."""
        self._store = store
        self._scope = scope
        self.now = now

    async def get(self, kind: str, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the entries that exist, by key."""
        return await self._store.get(self._scope, kind, keys, self.now())

    async def get_one(self, kind: str, key: str) -> Entry | None:
        """Return one entry, or None."""
        return (await self._store.get(self._scope, kind, [key], self.now())).get(key)

    async def list_recent(self, kind: str, since: datetime) -> list[Entry]:
        """Return the entries first put since then, newest first."""
        return await self._store.list_recent(self._scope, kind, since, self.now())

    async def commit(
        self, steps: Sequence[Put | Delete], at: datetime | None = None, cap: RateCap | None = None
    ) -> CommitResult:
        """Carry out all steps or none, durably, at `at` (default: now)."""
        return await self._store.commit(self._scope, steps, at or self.now(), cap)


def digest_of(parts: list[Any]) -> str:
    """Digest JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def to_milliseconds(instant: datetime) -> int:
    """Convert a time to milliseconds since 1970, as stores keep it."""
    return round(instant.timestamp() * 1000)


def parse_time(text: str) -> datetime:
    """Parse a time of a document.

    Raises:
        ValueError: It isn't a time, or has no offset, without which it is another instant on each machine.
    """
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError
    return instant


@contextmanager
def reject_malformed() -> Generator[None]:
    """Report errors while reading a document as damage of the ledger, not as a bug.

    Raises:
        LedgerProblem: A field is missing or has the wrong type.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        next_step = "Stop every ttp-mcp server and move ledger.db out of TTP_STATE_DIR, or remove the entry from the store of TTP_STATE_URL"
        raise LedgerProblem(describe_unusable("it is damaged, an entry can't be read", next_step)) from error


def check_steps(
    steps: Sequence[Put | Delete], versions: Sequence[str], cap: RateCap | None, counted: int
) -> CommitResult | None:
    """Return why the steps of a commit must not be carried out, or None. `done`: an earlier attempt carried them out.

    `versions` are those that each step's document has, "" without one; `counted` is how many documents `cap` counts.
    """
    is_changed = False
    for step, version in zip(steps, versions, strict=True):
        if isinstance(step, Put) and step.version == version:
            return "done"
        is_changed |= step.expected not in (None, version)
    if is_changed:
        return "changed"
    return "full" if cap is not None and counted >= cap.limit else None


def decode_value(key: str, value: str, version: str, at: int) -> Entry:
    """Parse an entry as a store keeps it, with `at` in milliseconds since 1970.

    Raises:
        LedgerProblem: It isn't a JSON object.
    """
    with reject_malformed():
        document = dict[str, Any](json.loads(value).items())
        return Entry(key=key, value=document, version=version, at=_EPOCH + timedelta(milliseconds=int(at)))


def encodable_keys(keys: Sequence[str]) -> list[str]:
    """Leave out keys with an unpaired surrogate, which an agent may make up: no document has such a key."""
    return [key for key in keys if key.encode(errors="ignore").decode() == key]
