"""Which posts a list shows: filters, order, and a cursor that stays right when posts come and go meanwhile."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ttp_mcp.api import Integration, Post
from ttp_mcp.errors import Refusal
from ttp_mcp.toolkit.account_directory import platform_key

Order = Literal["newest", "soonest"]

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Filter:
    """What a post must be to be listed; None leaves a property open. `text` is case-folded.

    `accounts` are ids. A post that names no accounts is listed for them if it is for one of `account_platforms`, their platforms.
    """

    status: str | None = None
    platform: str | None = None
    accounts: frozenset[str] | None = None
    account_platforms: frozenset[str] = frozenset()
    after: datetime | None = None
    before: datetime | None = None
    text: str | None = None

    def matches(self, post: Post) -> bool:
        """Whether a post is to be listed. A window asks for the scheduled time, else for the published one."""
        if self.status and post.status != self.status:
            return False
        if self.platform and self.platform not in (platform.casefold() for platform in post.platforms):
            return False
        if self.accounts is not None and not self._may_be_for(post, self.accounts):
            return False
        if self.text and self.text not in post.content.casefold():
            return False
        return self._in_window(post)

    def _may_be_for(self, post: Post, accounts: frozenset[str]) -> bool:
        if named := target_ids(post):
            return not accounts.isdisjoint(named)
        return not self.account_platforms.isdisjoint(map(platform_key, post.platforms))

    def _in_window(self, post: Post) -> bool:
        if not (self.after or self.before):
            return True
        when = time_of_post(post)
        if when is None:
            return False
        return not (self.after and when < self.after) and not (self.before and when > self.before)

    def mark(self, order: Order) -> str:
        """Names filter and order in a cursor, so that it can't be carried over to another question."""
        facts = [self.status, self.platform, sorted(self.accounts or ()), str(self.after), str(self.before), self.text]
        return hashlib.sha256(json.dumps([order, *facts]).encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: its posts, how many fit the filter, how many of those come after the page, and how to get them."""

    posts: list[Post]
    matched: int
    left: int
    cursor: str | None


def time_of_post(post: Post) -> datetime | None:
    """When a post is due, else when it went out."""
    return post.scheduled_at or post.published_at


def target_ids(post: Post) -> set[str]:
    """Ids of a post's accounts, from wherever the API names them."""
    return {*post.account_ids, *(result.account_id for result in post.results if result.account_id)}


def may_be_for_account(post: Post, accounts: Sequence[Integration]) -> list[Integration]:
    """Those of the accounts that a post is for. One that names none may be for each account of its platforms.

    The reference promises the platforms of a post, not its accounts.
    """
    if named := target_ids(post):
        return [account for account in accounts if account.id in named]
    platforms = {platform_key(platform) for platform in post.platforms}
    return [account for account in accounts if platform_key(account.platform) in platforms]


def read_page(posts: Sequence[Post], wanted: Filter, order: Order, limit: int, cursor: str | None) -> Page:
    """Filter, order and cut.

    Args:
        posts: All posts, newest first as the API lists them.
        wanted: What to keep.
        order: `newest` keeps the API's order; `soonest` is by time, earliest first, those without a time last.
        limit: Most posts on the page.
        cursor: Where the page before ended.

    Raises:
        Refusal: The cursor can't be used.
    """
    found = [post for post in posts if wanted.matches(post)]
    if order == "soonest":
        found.sort(key=_soonest)
    start = _start(posts, found, order, _read(cursor, wanted.mark(order))) if cursor else 0
    shown = found[start : start + limit]
    left = len(found) - start - len(shown)
    return Page(
        posts=shown,
        matched=len(found),
        left=left,
        cursor=_write(shown, order, wanted.mark(order)) if left else None,
    )


def _soonest(post: Post) -> tuple[datetime, str]:
    return time_of_post(post) or _NEVER, post.id


def _start(posts: Sequence[Post], found: Sequence[Post], order: Order, ended: "_End") -> int:
    """The position after the post that the last page ended with; if that is gone, after those shown before it.

    It is looked for among all posts: one that no longer fits the filter, as a scheduled one that went out, is still a place.
    """
    if order == "soonest":
        return next((at for at, post in enumerate(found) if _soonest(post) > (ended.at, ended.ids[0])), len(found))
    place = {post.id: at for at, post in enumerate(posts)}
    last = next((place[post_id] for post_id in ended.ids if post_id in place), None)
    if last is not None:
        return next((at for at, post in enumerate(found) if place[post.id] > last), len(found))
    older = (at for at, post in enumerate(found) if (made := post.created_at) and made <= ended.at)
    start = next(older, None)
    if start is None:
        raise Refusal("Posts not listed: the posts of the last page are gone. Call list_posts again without cursor.")
    return start


@dataclass(frozen=True, slots=True)
class _End:
    """How a page ended: its last post's id, those before it, and the last one's time in the order's own terms."""

    ids: tuple[str, ...]
    at: datetime


def _write(shown: Sequence[Post], order: Order, mark: str) -> str:
    last = shown[-1]
    at = time_of_post(last) if order == "soonest" else last.created_at
    ids = [post.id for post in list(shown)[-1:-6:-1]]
    # Earlier ids stand in when the last post is deleted before the next page is asked for.
    text = json.dumps([mark, ids, (at or _NEVER).isoformat()], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(cursor: str, mark: str) -> _End:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        found_mark, ids, at = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        ended = _End(ids=tuple(_strings(ids)), at=datetime.fromisoformat(at))
        usable = bool(ended.ids) and ended.at.tzinfo is not None
    except (ValueError, TypeError):
        raise Refusal(
            "Posts not listed: cursor is not one that list_posts gave. Pass its next_cursor unchanged, or leave cursor out."
        ) from None
    if not usable or found_mark != mark:
        raise Refusal(
            "Posts not listed: cursor belongs to another filter or order. Repeat the same arguments, or leave cursor out."
        )
    return ended


def _strings(values: object) -> Iterator[str]:
    if not isinstance(values, list):
        raise TypeError
    for value in values:  # pyright: ignore[reportUnknownVariableType] # raw JSON
        if not isinstance(value, str):
            raise TypeError
        yield value
