"""Records of the ledger, how long they are kept, and how they are keyed."""

import hashlib
import json
import secrets
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from ttp_mcp.api import PostCreate
from ttp_mcp.credentials import Token
from ttp_mcp.ledger.store.base import Entry, JsonObject

Kind = Literal["create", "delete", "upload"]
Outcome = Literal["created", "deleted", "already_gone", "uploaded", "not_done", "unknown"]

KEEP_WRITES = timedelta(days=400)
KEEP_PLANS = timedelta(days=60)
# An intent without an outcome is reported for so long; then it has told all it can.
KEEP_UNFINISHED = timedelta(days=7)
DUPLICATE_WINDOW = timedelta(hours=24)
# A write has its outcome after 80 s at the very most; one that is older belongs to a process that is gone.
LONGEST_WRITE = timedelta(seconds=90)
# A create, a delete, and at worst a second delete.
LONGEST_REPLACEMENT = 3 * LONGEST_WRITE


@dataclass(frozen=True, slots=True)
class Write:
    """A write that was noted and has no outcome yet."""

    id: str
    kind: Kind
    tool: str
    at: datetime
    digest: str
    post: PostCreate | None = None
    # Accounts that it reaches beside those that the post names.
    targets: tuple[str, ...] = ()
    post_id: str | None = None
    raw: JsonObject | None = None
    # Id of the post in whose place it is made.
    replaces: str | None = None
    # Its claims to its targets, as it left them.
    reserved: dict[str, Entry] = field(default_factory=dict[str, Entry])


@dataclass(frozen=True, slots=True)
class PriorCreate:
    """An equal create of before that may stand. `state` is pending, unknown or created; `keys` are its targets, `tool` is who asked.

    `lacking` are ids of accounts that were asked about and that no equal create is known to be for; `beside` are others that were
    created, for some of those asked about.
    """

    keys: list[str]
    write_id: str
    tool: str
    state: str
    at: datetime
    post_id: str | None
    lacking: tuple[str, ...] = ()
    beside: "tuple[PriorCreate, ...]" = ()

    @property
    def digest(self) -> str:
        """The digest that its keys begin with."""
        return self.keys[0].partition(" ")[0]

    @property
    def account_ids(self) -> tuple[str, ...]:
        """The accounts that it is for."""
        return self._named("account")

    def as_sent(self, post: PostCreate) -> PostCreate:
        """An equal post of now, to whom this one was sent: the two have a target in common, not all."""
        platforms = self._named("platform")
        return replace(post, account_ids=() if platforms else self.account_ids, platforms=platforms)

    def _named(self, kind: str) -> tuple[str, ...]:
        parts = [key.split(" ", 2) for key in self.keys]
        return tuple(name for _, each, name in parts if each == kind)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A write that was noted and never got an outcome: its process ended, or could not note it."""

    kind: str
    tool: str
    at: datetime
    content: str | None
    post_id: str | None


@dataclass(frozen=True, slots=True)
class PendingReplacement:
    """A post whose replacement was begun and not ended. `new_id` is the replacement, where one is known to have been made.

    `moved` says that the replacement was itself replaced since; `new_id` is then what stands at the end.
    """

    old_id: str
    at: datetime
    new_id: str | None
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A write as the history tells it; `outcome` is None while there is none."""

    write_id: str
    kind: str
    tool: str
    at: datetime
    outcome: str | None
    post_id: str | None


@dataclass(frozen=True, slots=True)
class PlanRecord:
    """A plan that was agreed, and what became of each of its steps, by the step's name."""

    id: str
    document: JsonObject
    at: datetime
    steps: dict[str, JsonObject]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A code that allows one call with exactly these arguments, once."""

    code: str
    expires_at: datetime


def scope_of(base_url: str, token: Token | None, org_id: str | None) -> str:
    """Name of one user's part of the state: nothing of the token can be learned from it."""
    secret = hashlib.sha256(token.reveal().encode()).hexdigest() if token else ""
    return digest_of([base_url, secret, org_id or ""])[:32]


def digest_of(parts: list[Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def make_id() -> str:
    return secrets.token_hex(8)
