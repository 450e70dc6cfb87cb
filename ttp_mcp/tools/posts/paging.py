"""Filters, orders and pages of a list of posts. Pages stay right while posts are added and removed."""

import hashlib
import json
import re
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Literal

from ttp_mcp.api import Integration, Post
from ttp_mcp.errors import Refusal
from ttp_mcp.text import fold_text
from ttp_mcp.toolkit.account_directory import may_be_for_account, platform_key

Order = Literal["latest", "soonest", "created"]
# A post in an order: True without a time, its time in milliseconds (negated for `latest`), and a checksum of its id.
Place = tuple[bool, int, int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CURSOR = re.compile(r"([0-9a-f]{6})\.(-?[0-9a-f]{1,12}|)\.([0-9a-f]{8})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions for a post to be listed; None matches every post. `text` is folded.

    A post that names no accounts matches if it is for one of the platforms of `accounts`. Both bounds are included.
    """

    statuses: frozenset[str] | None = None
    platform: str | None = None
    accounts: Sequence[Integration] | None = None
    after: datetime | None = None
    before: datetime | None = None
    text: str | None = None

    def matches(self, post: Post) -> bool:
        """Check a post against every condition."""
        if self.statuses is not None and post.status not in self.statuses:
            return False
        if self.platform and self.platform not in map(platform_key, post.platforms):
            return False
        if self.accounts is not None and not may_be_for_account(post, self.accounts):
            return False
        if self.text and not any(self.text in fold_text(part) for part in (post.content, *post.thread)):
            return False
        if not (self.after or self.before):
            return True
        when = time_of_post(post)
        return when is not None and not ((self.after and when < self.after) or (self.before and when > self.before))

    def digest(self, order: Order) -> str:
        """Identify filter and order in a cursor, so that it can't be used with others."""
        statuses, accounts = sorted(self.statuses or ()), sorted(map(attrgetter("id"), self.accounts or ()))
        facts = [order, statuses, accounts, self.platform, str(self.after), str(self.before), self.text]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:6]


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


def read_page(posts: Sequence[Post], wanted: Filter, order: Order, limit: int, cursor: str | None) -> Page:
    """Return one page of the posts that match.

    `posts` are all, newest first as the API lists them. The orders `latest` and `soonest` are by time, those without a time last;
    `created` is the API's order.

    Raises:
        Refusal: The cursor can't be used.
    """
    found = list(posts) if wanted == Filter() else [post for post in posts if wanted.matches(post)]
    place_of = partial(_find_place, order=order)
    if order != "created":
        found.sort(key=place_of)
    digest, start = wanted.digest(order), 0
    if cursor:
        end = _parse_cursor(cursor, digest, order)
        start = _skip_created(found, posts, end) if order == "created" else bisect_right(found, end, key=place_of)
    shown = found[start : start + limit]
    left = len(found) - start - len(shown)
    return Page(shown, len(found), left, _to_cursor(place_of(shown[-1]), digest, order) if left else None)


def _find_place(post: Post, order: Order) -> Place:
    when = post.created_at if order == "created" else time_of_post(post)
    milliseconds = (when - _EPOCH) // timedelta(milliseconds=1) if when else 0
    checksum = zlib.crc32(post.id.encode(errors="surrogatepass"))
    return when is None, -milliseconds if order == "latest" else milliseconds, checksum


def _skip_created(found: Sequence[Post], everything: Sequence[Post], end: Place) -> int:
    """Return the position after the last post of a page, or after its creation time if it is gone.

    Among all posts: one that no longer matches, such as a scheduled one that went out, still marks a position.
    """
    has_no_time, milliseconds, checksum = end
    checksums = [_find_place(post, "created")[2] for post in everything]
    if checksum in checksums:
        later = {post.id for post in everything[checksums.index(checksum) + 1 :]}
        return next((at for at, post in enumerate(found) if post.id in later), len(found))
    if has_no_time:
        raise Refusal(
            "Posts not listed: the last post of the page before is gone. Call list_posts again without cursor."
        )
    made = _EPOCH + timedelta(milliseconds=milliseconds)
    older = (at for at, post in enumerate(found) if post.created_at and post.created_at <= made)
    return next(older, len(found))


def _to_cursor(end: Place, digest: str, order: Order) -> str:
    """Return a short text that a model can repeat without errors. Its time isn't negated."""
    has_no_time, milliseconds, checksum = end
    milliseconds = -milliseconds if order == "latest" else milliseconds
    return f"{digest}.{'' if has_no_time else f'{milliseconds:x}'}.{checksum:08x}"


def _parse_cursor(cursor: str, digest: str, order: Order) -> Place:
    found = _CURSOR.fullmatch(cursor.strip())
    if not found:
        raise Refusal(
            "Posts not listed: cursor is not one that list_posts returned. Pass its next_cursor unchanged, or leave cursor out."
        )
    if found[1] != digest:
        raise Refusal(
            "Posts not listed: cursor belongs to another filter or order. Repeat the same arguments, or leave cursor out."
        )
    milliseconds = int(found[2] or "0", 16)
    return not found[2], -milliseconds if order == "latest" else milliseconds, int(found[3], 16)
