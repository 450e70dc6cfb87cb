"""Create, publish, delete and upload at most once: recorded before it is sent, never sent again, searched for if a response is lost."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from time import monotonic as real_monotonic
from typing import Any, Literal

import anyio

from ttp_mcp.api import ApiError, NotFound, Post, PostCreate, retry
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import utc_now
from ttp_mcp.api.http import encode_body
from ttp_mcp.ledger.ledger import Ledger, LimitUsedUp, PostTaken
from ttp_mcp.ledger.publications import PriorPublication
from ttp_mcp.ledger.records import Outcome, PriorCreate, Write
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.times import to_wire
from ttp_mcp.writes.duplicates import Duplicates
from ttp_mcp.writes.in_flight import GRACE_SECONDS, Caller, InFlight, T, run_to_completion
from ttp_mcp.writes.outcomes import Created, Deleted, HourlyLimits, LimitReached, Published, WriteRefused
from ttp_mcp.writes.reconcile import DEADLINE_SECONDS, MIN_SEARCH_SECONDS, Reconciler, Search

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LostResponse:
    """No response to a write that may have happened; `cause` is None if it was cancelled."""

    cause: ApiError | None = None


class Writer:
    """Creates, publishes and deletes posts. Nothing else does."""

    def __init__(
        self,
        api: ApiClient,
        ledger: Ledger,
        *,
        limits: HourlyLimits | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
        min_search_seconds: float = MIN_SEARCH_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        monotonic: Callable[[], float] = real_monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Set up.

        Args:
            deadline_seconds: How long a write may take, including the search after a lost response.
            min_search_seconds: How long such a search takes at least.
            grace_seconds: How long a write goes on after its caller was cancelled.
            now: Clock of this machine, aware UTC; the same as the API client's.
        """
        self._api = api
        self._ledger = ledger
        self._limits = limits or HourlyLimits()
        self._monotonic = monotonic
        self._now = now
        self._reconciler = Reconciler(api, ledger, deadline_seconds, min_search_seconds, monotonic, sleep)
        self.in_flight = InFlight(grace_seconds)
        self.duplicates = Duplicates(api, ledger, self._reconciler, now)
        self.replacing: set[str] = set()
        """Ids of the posts that calls of this process are replacing right now."""

    async def create(
        self,
        post: PostCreate,
        *,
        tool: str,
        allow_duplicate: bool = False,
        existing: Collection[Post] | None = None,
        target_ids: Sequence[str] = (),
        replaces: str | None = None,
        retries: str | None = None,
    ) -> Created:
        """Create a post, at most once.

        Args:
            allow_duplicate: Send it even if an equal post was created before.
            existing: All current posts, if the caller has them: they tell an old equal post from a new one.
            target_ids: The accounts that it reaches, if it names platforms: the same post to one of them is a duplicate.
            replaces: Id of the post in whose place it is made; it doesn't duplicate that one.
            retries: Id of the post that it sends again to accounts where that failed, once for each of them.

        Raises:
            ApiError: It was not created.
            WriteRefused: Nothing was sent.
            LedgerProblem: Nothing was sent, because it can't be recorded.
        """
        try:
            # Failing during the send would leave an unresolved write in the ledger.
            encode_body(post.to_body())
        except (ValueError, RecursionError):
            raise WriteRefused("it can't be written as JSON. Nothing was sent. Retrying doesn't help.") from None
        begin = partial(
            self._ledger.begin_create,
            post,
            tool=tool,
            max_per_hour=self._limits.posts,
            allow_duplicate=allow_duplicate,
            target_ids=target_ids,
            replaces=replaces,
            retries=retries,
        )
        return await self.in_flight.run_detached(partial(self._create, post, begin, existing, replaces))

    async def publish(self, post: Post, *, tool: str) -> Published:
        """Publish a post, as it was read just now, at the API's next tick, at most once.

        Raises:
            ApiError: It was not published.
            WriteRefused: Nothing was sent.
            LedgerProblem: Nothing was sent, because it can't be recorded.
        """
        return await self.in_flight.run_detached(lambda caller: self._publish(post, tool, caller))

    async def delete(self, post_id: str, *, tool: str, post: Post | None = None, limited: bool = True) -> Deleted:
        """Delete a post.

        Args:
            post: The post, if the caller has just read it.
            limited: Apply the limit an hour. It must not keep a call from removing what it created itself.

        Raises:
            NotFound: It can't be read, and isn't known to have existed.
            ApiError: It was not deleted.
            WriteRefused: Nothing was sent.
            LedgerProblem: Nothing was sent, because it can't be recorded.
        """
        if post is None:
            try:
                post = await self._api.posts.get(post_id)
            except NotFound:
                if deleted := await self._ledger.find_deleted_post(post_id):
                    return Deleted("already_gone", self._now(), deleted)
                raise
        known, max_per_hour = post, self._limits.deletes if limited else None
        return await self.in_flight.run_detached(
            lambda caller: self._delete(post_id, tool, known, max_per_hour, caller)
        )

    @asynccontextmanager
    async def upload(self, *, tool: str) -> AsyncGenerator[None]:
        """Count an upload against its limit, and record it, while the block runs.

        Raises:
            WriteRefused: The limit is used up, or the upload was abandoned.
            LedgerProblem: It can't be recorded.
        """
        with self.in_flight.cancellable() as scope:
            write = await self._begin(self._ledger.begin_upload(tool=tool, max_per_hour=self._limits.uploads))
            outcome: Outcome = "not_done"
            try:
                yield
                outcome = "uploaded"
            finally:
                if scope.cancel_called and outcome == "not_done":
                    outcome = "unknown"
                await self._record(write, outcome)

    async def _create(
        self,
        post: PostCreate,
        begin: Callable[[], Coroutine[Any, Any, Write | PriorCreate]],
        existing: Collection[Post] | None,
        replaces: str | None,
        caller: Caller,
    ) -> Created:
        while not isinstance(write := await self._begin(begin(), caller), Write):
            answer = await self.duplicates.answer(write, post)
            # An unresolved create that turns out to be the replaced post isn't a duplicate in the next attempt.
            if answer is not None and (replaces is None or answer.post_id != replaces):
                return answer
        started = self._monotonic()
        created = await self._send(write, self._api.posts.create(post))
        if isinstance(created, LostResponse):
            if created.cause is None:
                return Created("unknown", write.at, recorded=await self._record(write, "unknown"))
            before = None if existing is None else frozenset(each.id for each in existing)
            search = Search(post, write.id, write.digest, write.at, before)
            return replace(await self._reconcile(write, search, started), cause=created.cause)
        recorded = await self._record(write, "created", created)
        return Created("created", write.at, created, created.id, recorded=recorded)

    async def _publish(self, post: Post, tool: str, caller: Caller) -> Published:
        begin = self._ledger.begin_publish(post.id, tool=tool, max_per_hour=self._limits.posts)
        write = await self._begin(begin, caller)
        if isinstance(write, PriorPublication):
            return Published("already_queued", write.at, post, write.state)
        started = self._monotonic()
        published = await self._send(write, self._api.posts.publish(post.id))
        if not isinstance(published, LostResponse):
            return Published("queued", write.at, published or post, recorded=await self._record(write, "queued"))
        has_started = False
        if published.cause is not None:
            has_started, post = await self._reconciler.find_published(post, started)
        outcome = "queued" if has_started else "unknown"
        recorded = await self._record(write, outcome)
        return Published(outcome, write.at, post, recorded=recorded, cause=published.cause)

    async def _delete(self, post_id: str, tool: str, post: Post, max_per_hour: int | None, caller: Caller) -> Deleted:
        begin = self._ledger.begin_delete(post_id, post, tool=tool, max_per_hour=max_per_hour)
        write = await self._begin(begin, caller)
        started = self._monotonic()
        outcome = await self._send(write, self._delete_if_there(post_id))
        if not isinstance(outcome, LostResponse):
            return Deleted(outcome, write.at, post, recorded=await self._record(write, outcome))
        is_deleted = still_there = False
        if outcome.cause is not None:
            is_deleted, still_there = await self._reconciler.is_deleted(post_id, started)
        found = "deleted" if is_deleted else "unknown"
        return Deleted(found, write.at, post, still_there, await self._record(write, found), outcome.cause)

    async def _delete_if_there(self, post_id: str) -> Literal["deleted", "already_gone"]:
        try:
            await self._api.posts.delete(post_id)
        except NotFound:
            return "already_gone"
        return "deleted"

    async def _reconcile(self, write: Write, search: Search, started: float) -> Created:
        """Search for the post of a create whose response was lost."""

        async def claim(found: Post) -> Created | None:
            try:
                recorded = await self._record(write, "created", found, "reconciled", claim=True)
            except PostTaken:
                return None
            return Created("created", write.at, found, found.id, reconciled=True, recorded=recorded)

        created, candidates = await self._reconciler.find_created(search, started, claim)
        if created is not None:
            return created
        return Created("unknown", write.at, candidates=candidates, recorded=await self._record(write, "unknown"))

    async def _begin(self, begin: Coroutine[Any, Any, T], caller: Caller | None = None) -> T:
        """Record the intent, by `Ledger.begin_…`.

        Raises:
            LimitReached: The limit is used up.
            CancelledError: The call was cancelled or abandoned by then.
            LedgerProblem: It can't be recorded.
        """
        try:
            begun, cancelled = await run_to_completion(begin)
        except LimitUsedUp as limit:
            raise LimitReached(limit) from None
        if caller is not None and (cancelled or caller.gone):
            await self._stop_cancelled(begun)
        return begun

    async def _stop_cancelled(self, begun: object) -> None:
        """Stop a call at the last moment before anything is sent."""
        if isinstance(begun, Write):
            await self._record(begun, "not_done", why="cancelled")
        raise asyncio.CancelledError

    async def _send(self, write: Write, request: Coroutine[Any, Any, T]) -> T | LostResponse:
        """Send a write once.

        Raises:
            ApiError: It didn't happen.
        """
        try:
            return await request
        except ApiError as error:
            if retry.classify_failure(error) in ("ambiguous", "bad_answer"):
                return LostResponse(error)
            await self._record(write, "not_done", why=type(error).__name__)
            raise
        except asyncio.CancelledError:
            return LostResponse()
        except BaseException:
            await self._record(write, "unknown")
            raise

    async def _record(
        self, write: Write, outcome: Outcome, post: Post | None = None, why: str | None = None, *, claim: bool = False
    ) -> bool:
        """Record an outcome. False if the ledger can't take it: the call doesn't fail, because the write has happened.

        Raises:
            PostTaken: The post to `claim` belongs to another write.
        """
        try:
            await run_to_completion(self._ledger.finish(write, outcome, post, claim=claim))
        except LedgerProblem as problem:
            self.in_flight.unrecorded += 1
            log.error("The outcome of write %s (%s) could not be recorded: %s", write.id, outcome, problem)
            return False
        if log.isEnabledFor(logging.INFO):
            self._log(write, outcome, post.id if post else write.post_id, why)
        return True

    def _log(self, write: Write, outcome: str, post_id: str | None, why: str | None) -> None:
        """Log one line for each write, with ids and digests and without content."""
        token = self._api.token
        line = {
            "write": write.id,
            "kind": write.kind,
            "tool": write.tool,
            "at": to_wire(write.at),
            "token": token.fingerprint if token else None,
            "digest": write.digest[:16],
            "outcome": outcome,
            "post_id": post_id,
            "why": why,
            "milliseconds": round((self._now() - write.at).total_seconds() * 1000),
        }
        log.info("write %s", json.dumps(line))
