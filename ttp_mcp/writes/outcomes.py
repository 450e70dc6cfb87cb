"""Outcomes of a write, and the errors that stop one."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ttp_mcp.api import ApiError, Post
from ttp_mcp.config import Settings
from ttp_mcp.times import to_wire


class WriteRefused(Exception):
    """Nothing was sent. The text says why and what to do; it goes after `<what>: `."""


class LimitReached(WriteRefused):
    """A limit an hour of this server's configuration is used up. `frees_up_at` is aware UTC; None means never."""

    def __init__(self, setting: str, most: int, noun: str, frees_up_at: datetime | None) -> None:
        """Name the setting, its value, and when there is room again."""
        later = f"The next one is allowed at {to_wire(frees_up_at)}" if frees_up_at else "None is allowed"
        super().__init__(
            f"{setting} allows {most} {noun} an hour and that is used up. {later}; nothing was sent. "
            "Only the person who configured the server can change the limit."
        )
        self.frees_up_at = frees_up_at


class EarlierAttempt(WriteRefused):
    """An equal post is being created right now (`under_way`), or may have been created by an attempt whose answer was lost."""

    def __init__(self, text: str, *, under_way: bool = False) -> None:
        """The text as in `WriteRefused`."""
        super().__init__(text)
        self.under_way = under_way


@dataclass(frozen=True, slots=True)
class Created:
    """What became of a create.

    `unknown` means that `cause` came instead of an answer and no post could be told to be the one; `candidates` are ids of equal
    posts that may be. `recorded` is False when the ledger could not take the outcome. `lacking` are ids of accounts for which
    nothing was created before, where `already_created` speaks for some of those asked about; `beside` are ids of further posts that
    the others have.
    """

    outcome: Literal["created", "already_created", "unknown"]
    at: datetime
    post: Post | None = None
    post_id: str | None = None
    reconciled: bool = False
    candidates: tuple[str, ...] = ()
    recorded: bool = True
    cause: ApiError | None = None
    lacking: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of a delete; `post` is what was known of it before. `still_there` and `cause` only speak for `unknown`."""

    outcome: Literal["deleted", "already_gone", "unknown"]
    at: datetime
    post: Post | None = None
    still_there: bool = False
    recorded: bool = True
    cause: ApiError | None = None


@dataclass(frozen=True, slots=True)
class HourlyLimits:
    """How many writes an hour are allowed; None for any number."""

    posts: int | None = None
    deletes: int | None = None
    uploads: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> "HourlyLimits":
        """The limits that are configured."""
        return cls(settings.max_posts_per_hour, settings.max_deletes_per_hour, settings.max_uploads_per_hour)
