"""Outcomes of a write, and the errors that prevent one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ttp_mcp.api import ApiError, Post
from ttp_mcp.config import Settings
from ttp_mcp.ledger.ledger import LimitUsedUp
from ttp_mcp.times import to_wire

# Setting and noun of the limit for each kind.
_LIMITS = {
    "create": ("TTP_MAX_POSTS_PER_HOUR", "new posts"),
    "delete": ("TTP_MAX_DELETES_PER_HOUR", "deletions"),
    "upload": ("TTP_MAX_UPLOADS_PER_HOUR", "uploads"),
}


class WriteRefused(Exception):
    """Raised when nothing was sent. `str()` has the cause and the next step; it follows `<what failed>: `."""


class LimitReached(WriteRefused):
    """Raised when a configured limit an hour is used up. `allowed_at` is aware UTC, or None for never."""

    def __init__(self, limit: LimitUsedUp) -> None:
        """Name the setting, its value, and when the next write is allowed."""
        setting, noun = _LIMITS[limit.kind]
        later = f"The next one is allowed at {to_wire(limit.allowed_at)}" if limit.allowed_at else "None is allowed"
        super().__init__(
            f"{setting} allows {limit.max_per_hour} {noun} an hour and that is used up. {later}; nothing was sent. "
            "Only the person who configured the server can change the limit."
        )
        self.allowed_at = limit.allowed_at


class EarlierAttempt(WriteRefused):
    """Raised when an equal post is being created right now (`in_progress`), or when an earlier response was lost."""

    def __init__(self, text: str, *, in_progress: bool = False) -> None:
        """Use the text as in `WriteRefused`."""
        super().__init__(text)
        self.in_progress = in_progress


@dataclass(frozen=True, slots=True)
class Created:
    """The outcome of a create.

    For `unknown`, `cause` is the error instead of a response, and `candidates` are ids of equal posts that may be the one. For
    `already_created`, `missing_accounts` are ids of accounts that have no such post yet, and `other_post_ids` further posts that
    some of the accounts have. `recorded` is False if the ledger couldn't take the outcome.
    """

    outcome: Literal["created", "already_created", "unknown"]
    at: datetime
    post: Post | None = None
    post_id: str | None = None
    reconciled: bool = False
    candidates: tuple[str, ...] = ()
    recorded: bool = True
    cause: ApiError | None = None
    missing_accounts: tuple[str, ...] = ()
    other_post_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deleted:
    """The outcome of a delete, and the post as it was. `still_there` and `cause` are set for `unknown` only."""

    outcome: Literal["deleted", "already_gone", "unknown"]
    at: datetime
    post: Post | None = None
    still_there: bool = False
    recorded: bool = True
    cause: ApiError | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome of a publish.

    `queued`: the API takes it up at its next tick, or did already. `already_queued`: another request to publish it is recent, so
    nothing was sent; `at` and `state` are that request's. `post` is the post as it was last seen, `cause` the error instead of a
    response.
    """

    outcome: Literal["queued", "already_queued", "unknown"]
    at: datetime
    post: Post
    state: str | None = None
    recorded: bool = True
    cause: ApiError | None = None


@dataclass(frozen=True, slots=True)
class HourlyLimits:
    """How many writes an hour are allowed; None for any number."""

    posts: int | None = None
    deletes: int | None = None
    uploads: int | None = None

    @classmethod
    def from_settings(cls, settings: Settings) -> "HourlyLimits":
        """Return the configured limits."""
        return cls(settings.max_posts_per_hour, settings.max_deletes_per_hour, settings.max_uploads_per_hour)
