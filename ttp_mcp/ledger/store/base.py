"""What outlives a call: small JSON documents that several processes share.

Everything is inside a scope, so that users of one store never see each other. Three operations are enough for the ledger,
plans and confirmations, and each store (files, Redis, PostgreSQL) can do them atomically.
"""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol
from uuid import uuid4

JsonObject = dict[str, Any]

# What is expired is kept for so long: to a clock that is behind it may still be of use.
CLEAR_AFTER = timedelta(days=1)

# done; changed: an entry was not as expected; full: the limit is reached. In the last two nothing was changed.
Applied = Literal["done", "changed", "full"]


class LedgerProblem(Exception):
    """The state can't be used. The text says what does not happen, why and what to do; it goes after `<what>: `."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A document. `version` is an opaque mark that each change replaces; `at` is when it was put."""

    key: str
    value: JsonObject
    version: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Put:
    """Write a document.

    `expected` is the version that must be there: an empty text for none at all, None for whatever there is.
    """

    kind: str
    key: str
    value: JsonObject
    expires_at: datetime
    expected: str | None = None
    version: str = field(default_factory=lambda: uuid4().hex)


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a document, if it is there; `expected` as in `Put`."""

    kind: str
    key: str
    expected: str | None = None


@dataclass(frozen=True, slots=True)
class RateCap:
    """A condition: fewer than `most` documents of the kind were put since then."""

    kind: str
    since: datetime
    most: int


class Store(Protocol):
    """A store. Every method may raise `LedgerProblem`; nothing is opened before the first call.

    An expired document is as good as absent. Instants are aware UTC; `now` is given by the caller.
    """

    async def get(self, scope: str, kind: str, keys: Sequence[str], now: datetime) -> dict[str, Entry]:
        """The documents that there are, by key."""
        ...

    async def recent(self, scope: str, kind: str, since: datetime, now: datetime) -> list[Entry]:
        """The documents put since then, newest first."""
        ...

    async def apply(
        self, scope: str, steps: Sequence[Put | Delete], now: datetime, at_most: RateCap | None = None
    ) -> Applied:
        """All the steps or none, in one durable commit. `at` of a document that is replaced stays.

        A version that is there already tells that these very steps were committed before: `done`, and nothing is changed.
        """
        ...

    async def aclose(self) -> None:
        """Close what is open."""
        ...


def to_milliseconds(instant: datetime) -> int:
    """An instant as stores keep it: milliseconds since 1970."""
    return round(instant.timestamp() * 1000)


@contextmanager
def reject_malformed() -> Generator[None]:
    """For what reads documents: one that we did not write makes the ledger unusable, and is no mistake of the program.

    Raises:
        LedgerProblem: A field is missing, or is not what it should be.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise LedgerProblem(
            "the ledger can't be used: it is damaged, an entry can't be understood. Nothing is sent without it; reading goes "
            "on. Move ledger.db away from TTP_STATE_DIR to start a new one, or the entry out of the store of TTP_STATE_URL."
        ) from error


def decode_value(key: str, value: str | bytes, version: str | bytes, at: int | bytes) -> Entry:
    """An entry as a store keeps it; `at` in milliseconds since 1970.

    Raises:
        LedgerProblem: It is not one of ours.
    """
    with reject_malformed():
        document = dict[str, Any](json.loads(value).items())
        mark = version.decode() if isinstance(version, bytes) else version
        return Entry(key=key, value=document, version=mark, at=datetime.fromtimestamp(int(at) / 1000, tz=UTC))


def encodable_keys(keys: Sequence[str]) -> list[str]:
    """Without keys with half a surrogate pair, as an agent may make one up: nothing is kept under those."""
    return [key for key in keys if key.encode(errors="ignore").decode() == key]
