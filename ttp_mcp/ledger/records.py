"""Records of the ledger, how long they are kept, and how they are keyed."""

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from ttp_mcp.api import PostCreate
from ttp_mcp.credentials import Token
from ttp_mcp.ledger.store.base import JsonObject, Put, digest_of

Kind = Literal["create", "delete", "upload", "publish"]
Outcome = Literal["created", "deleted", "already_gone", "uploaded", "queued", "not_done", "unknown"]
# Kind under which a write is recorded and counted by the limits an hour; a publish counts as a post.
COUNTED_AS: dict[Kind, Kind] = {"create": "create", "publish": "create", "delete": "delete", "upload": "upload"}

KEEP_WRITES = timedelta(days=400)
KEEP_PLANS = timedelta(days=60)
# Report unresolved writes for a week; older ones can't be acted on.
KEEP_UNFINISHED = timedelta(days=7)
DUPLICATE_WINDOW = timedelta(hours=24)
# A write has its outcome within 80 s. The process of an older one without an outcome has ended.
LONGEST_WRITE = timedelta(seconds=90)
# A create, a delete and, at worst, a second delete.
LONGEST_REPLACEMENT = 3 * LONGEST_WRITE


@dataclass(frozen=True, slots=True)
class Write:
    """A write that was recorded before it is sent."""

    id: str
    kind: Kind
    tool: str
    at: datetime
    digest: str
    account_ids: tuple[str, ...] = ()
    """Known ids of the accounts that it reaches."""
    # Of a create.
    post: PostCreate | None = None
    keys: tuple[str, ...] = ()
    """Keys of its claims: content and minute with each account and platform that it reaches."""
    replaces: str | None = None
    """Id of the post in whose place it is made."""
    claimed: dict[str, Put] = field(default_factory=dict[str, Put])
    """How it claimed each of its keys."""
    # Of a delete and of a publish.
    post_id: str | None = None
    # Of a delete.
    raw: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class PriorCreate:
    """An earlier create of the same post for at least one of the same accounts.

    `state` is pending, unknown or created. `missing_accounts` are ids of accounts that were asked for and that no create is known
    to have reached; `other_creates` reached some of the accounts that were asked for and that this one didn't.
    """

    keys: tuple[str, ...]
    write_id: str
    tool: str
    state: str
    at: datetime
    post_id: str | None
    missing_accounts: tuple[str, ...] = ()
    other_creates: "tuple[PriorCreate, ...]" = ()

    @property
    def digest(self) -> str:
        """Digest of its content and minute."""
        return self.keys[0].partition(" ")[0]

    @property
    def other_post_ids(self) -> tuple[str, ...]:
        """Ids of the posts of `other_creates`."""
        return tuple(each.post_id for each in self.other_creates if each.post_id)

    def as_sent(self, post: PostCreate) -> PostCreate:
        """Return the post with the targets that this create was sent to."""
        platforms = read_targets(self.keys, "platform")
        account_ids = () if platforms else read_targets(self.keys, "account")
        return replace(post, account_ids=account_ids, platforms=platforms)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A write without an outcome. `is_open`: a running process may still be at it."""

    kind: str
    tool: str
    at: datetime
    content: str | None
    post_id: str | None
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A write of the history.

    `outcome` is None while there is none. `targets` are the ids of accounts, or platforms, as far as they were known; `replaces`
    is the post in whose place one was created.
    """

    write_id: str
    kind: str
    tool: str
    at: datetime
    outcome: str | None
    post_id: str | None
    targets: tuple[str, ...] = ()
    replaces: str | None = None


def read_targets(keys: "tuple[str, ...] | list[str]", kind: Literal["account", "platform"]) -> tuple[str, ...]:
    """Return the accounts or platforms that keys of claims name."""
    named: list[str] = []
    for key in keys:
        _, each, name = key.split(" ", 2)
        if each == kind:
            named.append(name)
    return tuple(named)


def scope_of(base_url: str, token: Token | None, org_id: str | None) -> str:
    """Name one user's part of a store, without revealing anything about the token."""
    secret = hashlib.sha256(token.reveal().encode()).hexdigest() if token else ""
    return digest_of([base_url, secret, org_id or ""])[:32]
