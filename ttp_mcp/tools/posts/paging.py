"""Filters, orders and pages of a list of posts. Pages stay right while posts are added and removed."""

import hashlib
import json
import re
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

from ttp_mcp.api import Integration, Post
from ttp_mcp.errors import Refusal
from ttp_mcp.text import fold_text
from ttp_mcp.toolkit.account_directory import may_be_for_account, platform_key

Order = Literal["latest", "soonest", "created"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"([0-9a-f]{6})\.(-?[0-9a-f]{1,12}|)\.([0-9a-f]{8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions for a post to be listed; None matches every post. `text` is folded.

    `accounts` are by id. A post that names no accounts matches if it is for one of their platforms. Both bounds are included.
    """

    statuses: frozenset[str] | None = None
    platform: str | None = None
    accounts: dict[str, Integration] | None = None
    after: datetime | None = None
    before: datetime | None = None
    text: str | None = None

    def matches(self, post: Post) -> bool:
        """Check a post against every condition."""
        if self.statuses is not None and post.status not in self.statuses:
            return False
        if self.platform and self.platform not in map(platform_key, post.platforms):
            return False
        if self.accounts is not None and not may_be_for_account(post, self.accounts.values()):
            return False
        if self.text and not any(self.text in fold_text(part) for part in (post.content, *post.thread)):
            return False
        return not (self.after or self.before) or self._is_in_range(post)

    def digest(self, order: Order) -> str:
        """Identify filter and order in a cursor, so that it can't be used with others."""
        statuses, accounts = sorted(self.statuses or ()), sorted(self.accounts or ())
        facts = [order, statuses, accounts, self.platform, str(self.after), str(self.before), self.text]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:6]

    def _is_in_range(self, post: Post) -> bool:
        when = time_of_post(post)
        if when is None:
            return False
        return not (self.after and when < self.after) and not (self.before and when > self.before)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: its posts, how many match the filter, how many of these come later, and the cursor for them."""

    posts: list[Post]
    matched: int
    left: int
    cursor: str | None


def time_of_post(post: Post) -> datetime | None:
    """Return the scheduled time, else the published one."""
    return post.scheduled_at or post.published_at


@dataclass(frozen=True, slots=True)
class PageEnd:
    """The last post of a page: its time in milliseconds (None without one) and a checksum of its id."""

    milliseconds: int | None
    checksum: int

    @classmethod
    def of_post(cls, post: Post, when: datetime | None) -> "PageEnd":
        """Describe a post by its time in the order of the list."""
        milliseconds = None if when is None else (when - _EPOCH) // timedelta(milliseconds=1)
        return cls(milliseconds, zlib.crc32(post.id.encode(errors="surrogatepass")))

    def to_cursor(self, digest: str) -> str:
        """Return a short text that a model can repeat without errors."""
        when = "" if self.milliseconds is None else f"{self.milliseconds:x}"
        return f"{digest}.{when}.{self.checksum:08x}"


class PostOrder(Protocol):
    """Posts in an order."""

    posts: list[Post]

    def position_after(self, end: PageEnd) -> int:
        """Return the position of the first post after the end of a page."""
        ...

    def end_at(self, post: Post) -> PageEnd:
        """Describe a post as the end of a page."""
        ...


class TimeOrder:
    """By time, those without a time last."""

    def __init__(self, found: Sequence[Post], *, latest_first: bool) -> None:
        """Sort the posts that match."""
        self._sign = -1 if latest_first else 1
        self.posts = sorted(found, key=self._sort_key)

    def position_after(self, end: PageEnd) -> int:
        """Return the position by time, which needs none of the posts of the last page."""
        return bisect_right(self.posts, self._end_key(end), key=self._sort_key)

    def end_at(self, post: Post) -> PageEnd:
        """Describe a post by its time."""
        return PageEnd.of_post(post, time_of_post(post))

    def _sort_key(self, post: Post) -> tuple[bool, int, int]:
        return self._end_key(self.end_at(post))

    def _end_key(self, end: PageEnd) -> tuple[bool, int, int]:
        return end.milliseconds is None, self._sign * (end.milliseconds or 0), end.checksum


class CreationOrder:
    """The API's order: newest first."""

    def __init__(self, everything: Sequence[Post], found: Sequence[Post]) -> None:
        """Keep all posts: one that no longer matches, such as a scheduled one that went out, still marks a position."""
        self._everything = everything
        self.posts = list(found)

    def position_after(self, end: PageEnd) -> int:
        """Return the position after the last post, or after its creation time if it is gone."""
        place = {post.id: at for at, post in enumerate(self._everything)}
        checksums = [self.end_at(post).checksum for post in self._everything]
        last = checksums.index(end.checksum) if end.checksum in checksums else None
        if last is not None:
            return next((at for at, post in enumerate(self.posts) if place[post.id] > last), len(self.posts))
        if end.milliseconds is None:
            raise Refusal(
                "Posts not listed: the last post of the page before is gone. Call list_posts again without cursor."
            )
        made = _EPOCH + timedelta(milliseconds=end.milliseconds)
        older = (at for at, post in enumerate(self.posts) if post.created_at and post.created_at <= made)
        return next(older, len(self.posts))

    def end_at(self, post: Post) -> PageEnd:
        """Describe a post by its creation time."""
        return PageEnd.of_post(post, post.created_at)


def read_page(posts: Sequence[Post], wanted: Filter, order: Order, limit: int, cursor: str | None) -> Page:
    """Return one page of the posts that match.

    Args:
        posts: All posts, newest first as the API lists them.
        wanted: The filter.
        order: `latest` and `soonest` are by time, `created` is the API's order.
        limit: Maximum number of posts.
        cursor: The cursor of the page before.

    Raises:
        Refusal: The cursor can't be used.
    """
    found = list(posts) if wanted == Filter() else [post for post in posts if wanted.matches(post)]
    ordered: PostOrder = (
        CreationOrder(posts, found) if order == "created" else TimeOrder(found, latest_first=order == "latest")
    )
    digest = wanted.digest(order)
    start = ordered.position_after(_parse_cursor(cursor, digest)) if cursor else 0
    shown = ordered.posts[start : start + limit]
    left = len(found) - start - len(shown)
    return Page(shown, len(found), left, ordered.end_at(shown[-1]).to_cursor(digest) if left else None)


def _parse_cursor(cursor: str, digest: str) -> PageEnd:
    found = _CURSOR.fullmatch(cursor.strip())
    if not found:
        raise Refusal(
            "Posts not listed: cursor is not one that list_posts returned. Pass its next_cursor unchanged, or leave cursor out."
        )
    if found[1] != digest:
        raise Refusal(
            "Posts not listed: cursor belongs to another filter or order. Repeat the same arguments, or leave cursor out."
        )
    return PageEnd(int(found[2], 16) if found[2] else None, int(found[3], 16))
