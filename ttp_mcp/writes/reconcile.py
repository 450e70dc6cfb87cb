"""Find out whether a write happened when its response was lost."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeVar

import anyio

from ttp_mcp.api import ApiError, NotFound, Post, PostCreate
from ttp_mcp.api.client import ApiClient
from ttp_mcp.ledger.claims import normalize_text
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import LONGEST_WRITE
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.writes.publication import has_started

T = TypeVar("T")

# A search lasts until the call's 30 s are over, and at least 8 s.
DEADLINE_SECONDS, MIN_SEARCH_SECONDS = 30.0, 8.0
FIRST_DELAY_SECONDS, MAX_DELAY_SECONDS = 0.25, 4.0
# The API's `Date` has whole seconds and takes a while to arrive.
CLOCK_MARGIN = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Search:
    """The post of a create to search for; `before` are ids of the posts that existed before it, if known."""

    post: PostCreate
    write_id: str
    digest: str
    started_at: datetime
    before: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """The post that was found for certain, and the ids of all posts that may be it."""

    post: Post | None = None
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Searches for the post of a create whose response was lost, and checks whether a deleted post is gone.

    `Writer` describes its fields.
    """

    api: ApiClient
    ledger: Ledger
    deadline_seconds: float
    min_search_seconds: float
    monotonic: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]

    async def find_created(
        self, search: Search, started: float, accept: Callable[[Post], Awaitable[T | None]]
    ) -> tuple[T | None, tuple[str, ...]]:
        """Search until a post matches and `accept` takes it, until the deadline, or until cancelled.

        Returns:
            What `accept` returned, and the candidates of the last search.
        """
        candidates: tuple[str, ...] = ()

        async def look() -> T | None:
            nonlocal candidates
            match = await self._match(search, await self.api.posts.list())
            candidates = match.candidates
            return await accept(match.post) if match.post else None

        return await self._poll(look, started), candidates

    async def find_once(self, search: Search) -> Match:
        """Search now, for as long as one search may take at least."""
        with (
            suppress(ApiError, LedgerProblem),
            anyio.move_on_after(self._time_left(self.monotonic() + self.min_search_seconds)),
        ):
            return await self._match(search, await self.api.posts.list())
        return Match()

    async def is_deleted(self, post_id: str, started: float) -> tuple[bool, bool]:
        """Check until the deadline whether a post is gone. Returns whether it is, and whether it was seen in between."""
        seen = False

        async def look() -> Literal[True] | None:
            nonlocal seen
            try:
                await self.api.posts.get(post_id)
            except NotFound:
                return True
            seen = True
            return None

        is_gone = await self._poll(look, started) is not None
        return is_gone, seen and not is_gone

    async def find_published(self, before: Post, started: float) -> tuple[bool, Post]:
        """Check until the deadline whether a request to publish a post had its effect. Returns that, and the post as last seen."""
        seen = before

        async def look() -> Literal[True] | None:
            nonlocal seen
            seen = await self.api.posts.get(before.id)
            return True if has_started(before, seen, self.api.clock.now()) else None

        return await self._poll(look, started) is not None, seen

    async def _poll(self, look: Callable[[], Awaitable[T | None]], started: float) -> T | None:
        """Look after delays that double, until that returns something, until the deadline, or until cancelled.

        A look that fails is made again: the next one may succeed.
        """
        deadline = max(started + self.deadline_seconds, self.monotonic() + self.min_search_seconds)
        delay = FIRST_DELAY_SECONDS
        with suppress(asyncio.CancelledError):
            while self.monotonic() + delay <= deadline:
                await self.sleep(delay)
                delay = min(MAX_DELAY_SECONDS, delay * 2)
                with suppress(ApiError, LedgerProblem), anyio.move_on_after(self._time_left(deadline)):
                    if (found := await look()) is not None:
                        return found
        return None

    def _time_left(self, deadline: float) -> float:
        return max(1.0, deadline - self.monotonic())

    async def _match(self, search: Search, posts: Sequence[Post]) -> Match:
        """Take the post for the one that was sent if exactly one is equal, new and no other write's."""
        since = self._earliest_creation(search.started_at)
        equal = [post for post in posts if is_equal(search.post, post)]
        new = [post for post in equal if post.id not in (search.before or ()) and _is_created_in_time(post, since)]
        claimed = await self.ledger.find_claimed_posts([post.id for post in new])
        free = [post for post in new if post.id not in claimed]
        is_found = len(free) == 1 and await self._is_certain(search, free[0], since)
        return Match(free[0] if is_found else None, tuple(post.id for post in free))

    def _earliest_creation(self, started_at: datetime) -> datetime | None:
        """Return the API's time before which our post can't have been created. None while its clock isn't known."""
        skew = self.api.clock.skew_seconds
        return None if skew is None else started_at + timedelta(seconds=skew) - CLOCK_MARGIN

    async def _is_certain(self, search: Search, post: Post, since: datetime | None) -> bool:
        """Check that the post is known to be new, and that no other write of this content may have made it."""
        if search.before is None and (since is None or post.created_at is None):
            return False
        if search.post.account_ids and not post.target_ids:
            return not await self.ledger.has_unresolved_twin(search.write_id, search.digest)
        return True


def _is_created_in_time(post: Post, since: datetime | None) -> bool:
    """Check that our write may have made the post, as far as its creation time is known."""
    if since is None or post.created_at is None:
        return True
    return since <= post.created_at <= since + LONGEST_WRITE + 2 * CLOCK_MARGIN


def is_equal(sent: PostCreate, found: Post) -> bool:
    """Check whether a post of the API is the one that was sent, as a reader sees it.

    The reference promises only some fields, so fields that the API doesn't show aren't compared.
    """
    if normalize_text(sent.content) != normalize_text(found.content) or list(sent.media_urls) != found.media_urls:
        return False
    if "thread" in found.raw and list(map(normalize_text, sent.thread)) != list(map(normalize_text, found.thread)):
        return False
    if _drop_fraction(sent.scheduled_at) != _drop_fraction(found.scheduled_at):
        return False
    data = found.platform_data
    if data and any(data.get(name) != value for name, value in sent.platform_data.items()):
        return False
    return _has_same_targets(sent, found)


def _has_same_targets(sent: PostCreate, found: Post) -> bool:
    if sent.account_ids:
        accounts = set(found.target_ids)
        return not accounts or accounts == set(sent.account_ids)
    return {name.lower() for name in sent.platforms} == {name.lower() for name in found.platforms}


def _drop_fraction(instant: datetime | None) -> datetime | None:
    return instant.replace(microsecond=0) if instant else None
