"""Writes that happen at most once: noted before they leave, never sent again, and looked for when the answer is lost.

A write runs in a task of its own. Cancelling its caller does not stop it half way: it gets a few seconds to learn its outcome,
the outcome is noted, and the caller hears nothing, as the protocol asks.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from time import monotonic as real_monotonic
from typing import Any, Literal

import anyio

from ttp_mcp.api import ApiError, NotFound, Post, PostCreate, retry
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import utc_now
from ttp_mcp.api.http import encode_body
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import LONGEST_WRITE, Outcome, PriorCreate, Write
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.text import show_id
from ttp_mcp.times import to_wire
from ttp_mcp.writes.in_flight import ENDING, GRACE_SECONDS, NOTING_SECONDS, Caller, T, run_to_completion
from ttp_mcp.writes.outcomes import Created, Deleted, EarlierAttempt, HourlyLimits, LimitReached, WriteRefused
from ttp_mcp.writes.reconcile import (
    CLOCK_MARGIN,
    DEADLINE_SECONDS,
    FIRST_LOOK_SECONDS,
    LEAST_LOOK_SECONDS,
    LONGEST_LOOK_SECONDS,
    Search,
    accounts_of_post,
    is_equal,
)

log = logging.getLogger(__name__)


# Notes in the ledger that a post is about to be created.
_BeginCreate = Callable[[], Coroutine[Any, Any, Write | PriorCreate | Literal["full"]]]


class Writer:
    """The only way in which posts are created and deleted."""

    def __init__(
        self,
        api: ApiClient,
        ledger: Ledger,
        *,
        caps: HourlyLimits | None = None,
        deadline_seconds: float = DEADLINE_SECONDS,
        least_look_seconds: float = LEAST_LOOK_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        monotonic: Callable[[], float] = real_monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        """Set up.

        Args:
            api: The API.
            ledger: Where writes are noted.
            caps: Limits an hour.
            deadline_seconds: How long a create may take in all, looking for a lost answer included.
            least_look_seconds: How long to look at least.
            grace_seconds: How long a write goes on after its caller was cancelled.
            monotonic: Seconds of a clock that never goes back.
            sleep: How to wait.
            now: This machine's present, aware UTC; the same that the API client has.
        """
        self._api = api
        self._ledger = ledger
        self._caps = caps or HourlyLimits()
        self._deadline_seconds = deadline_seconds
        self._least_look_seconds = least_look_seconds
        self._grace_seconds = grace_seconds
        self._monotonic = monotonic
        self._sleep = sleep
        self._now = now
        self._in_flight = 0
        self._idle = anyio.Event()
        self._idle.set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._uploads: set[anyio.CancelScope] = set()
        self._not_recorded = 0
        self.replacing: set[str] = set()
        """Ids of the posts that calls of this process are replacing right now."""
        self._ended = False

    async def create(
        self,
        post: PostCreate,
        *,
        tool: str,
        allow_duplicate: bool = False,
        before: Collection[Post] | None = None,
        targets: Sequence[str] = (),
        replaces: str | None = None,
    ) -> Created:
        """Create a post, at most once.

        Args:
            post: What is sent.
            tool: Who asks.
            allow_duplicate: Send it even if an equal post was created before.
            before: All posts as they were just now, where the caller has them: tells an old equal post from a new one.
            targets: The accounts that it reaches, where it names platforms: the same post to one of them is a duplicate.
            replaces: Id of the post in whose place it is made, which is no duplicate of it.

        Raises:
            ApiError: It was not created.
            WriteRefused: Nothing was sent.
            LedgerProblem: Nothing was sent, since it can't be noted.
        """
        try:
            encode_body(post.body())
        except (ValueError, RecursionError):
            # Found only while sending, it would stand in the ledger as a write that may have happened.
            raise WriteRefused("it can't be written as JSON. Nothing was sent; repeating does not help.") from None
        ids = frozenset(each.id for each in before) if before is not None else None

        def begin() -> Coroutine[Any, Any, Write | PriorCreate | Literal["full"]]:
            return self._ledger.begin_create(
                post,
                tool=tool,
                most=self._caps.posts,
                allow_duplicate=allow_duplicate,
                targets=targets,
                replaces=replaces,
            )

        return await self._settled(lambda caller: self._create(post, begin, ids, caller, replaces))

    async def earlier(
        self, post: PostCreate, there: Collection[Post] | None, targets: Sequence[str] = ()
    ) -> PriorCreate | None:
        """An equal create of before, for which `create` would send nothing. Nothing is noted, and nothing looked for.

        Args:
            post: What would be sent.
            there: All posts as they were just now, where the caller has them: one that is gone stands in nobody's way.
            targets: The accounts that it would reach, where it names platforms.

        Raises:
            LedgerProblem: It is not known.
        """
        found = await self._ledger.earlier(post, targets)
        if found is None or there is None:
            return found
        ids = {each.id for each in there}
        missing = {each.post_id for each in (found, *found.beside) if each.post_id and each.post_id not in ids}
        return await self._ledger.earlier(post, targets, gone=missing) if missing else found

    async def delete(self, post_id: str, *, tool: str, post: Post | None = None, limited: bool = True) -> Deleted:
        """Delete a post.

        Args:
            post_id: Its id.
            tool: Who asks.
            post: The post, where the caller has just read it; read here otherwise.
            limited: Whether the limit of an hour holds. It must not keep a call from taking back what it made itself.

        Raises:
            NotFound: It can't be read, and is not known to have been there.
            ApiError: It was not deleted.
            WriteRefused: Nothing was sent.
            LedgerProblem: Nothing was sent, since it can't be noted.
        """
        if post is None:
            try:
                post = await self._api.posts.get(post_id)
            except NotFound:
                if gone := await self._ledger.removed(post_id):
                    return Deleted("already_gone", self._now(), gone)
                raise
        known = post
        most = self._caps.deletes if limited else None
        return await self._settled(lambda caller: self._delete(post_id, tool, known, most, caller))

    @asynccontextmanager
    async def upload(self, *, tool: str) -> AsyncGenerator[None]:
        """Count an upload against its limit, and as in flight, while the block runs.

        Raises:
            WriteRefused: The limit is used up, or the upload was given up.
            LedgerProblem: It can't be noted.
        """
        self._refuse_at_the_end()
        with self.track(), anyio.CancelScope() as scope:
            self._uploads.add(scope)
            try:
                write, _ = await run_to_completion(self._ledger.begin_upload(tool=tool, most=self._caps.uploads))
                if write == "full":
                    raise await self._limit("upload", "TTP_MAX_UPLOADS_PER_HOUR", self._caps.uploads, "uploads")
                outcome: Outcome = "not_done"
                try:
                    yield
                    outcome = "uploaded"
                finally:
                    if scope.cancel_called and outcome == "not_done":
                        outcome = "unknown"
                    await self._note(write, outcome)
            finally:
                self._uploads.discard(scope)
        if scope.cancelled_caught:
            raise WriteRefused(ENDING)

    @property
    def in_flight(self) -> int:
        """How many writes, and steps that belong to one, are under way."""
        return self._in_flight

    @property
    def unresolved(self) -> int:
        """How many writes have no outcome in the ledger: under way, or ended without that it could be noted."""
        return len(self._tasks) + len(self._uploads) + self._not_recorded

    @contextmanager
    def track(self) -> Generator[None]:
        """Count something that should be waited for before the process ends."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    async def drain(self, seconds: float) -> bool:
        """Wait until nothing is in flight; what is left when so many seconds are over is given up.

        Returns:
            Whether everything came to its end.
        """
        with anyio.move_on_after(max(0.0, seconds - NOTING_SECONDS)):
            await self._idle.wait()
        return await self.abandon()

    async def abandon(self) -> bool:
        """Stop the writes that are in flight; each notes that its outcome is unknown, and no other is begun.

        Takes 0.4 s at most; a note that takes longer goes on meanwhile.

        Returns:
            Whether there were none.
        """
        self._ended = True
        if not self._in_flight:
            return True
        for given_up in (*self._tasks, *self._uploads):
            given_up.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=NOTING_SECONDS)
        return False

    async def _settled(self, write: Callable[[Caller], Coroutine[Any, Any, T]]) -> T:
        """Run a write to its outcome, whatever becomes of the caller."""
        self._refuse_at_the_end()
        caller = Caller()
        # Not a child of the caller's scopes: nothing that cancels the caller may reach it.
        task = asyncio.get_running_loop().create_task(write(caller))
        self._tasks.add(task)
        self._enter()
        task.add_done_callback(self._done)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            caller.gone = True
            with anyio.CancelScope(shield=True):
                await asyncio.wait({task}, timeout=self._grace_seconds)
                task.cancel()
                await asyncio.wait({task}, timeout=NOTING_SECONDS)
            raise
        if task.cancelled():
            raise WriteRefused(ENDING)
        return task.result()

    def _refuse_at_the_end(self) -> None:
        """A call of several writes must not begin the next one when the one before was given up."""
        if self._ended:
            raise WriteRefused(ENDING)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._leave()
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ApiError | WriteRefused | LedgerProblem):
            # The caller may be gone; a bug must be seen all the same.
            log.error("A write ended with a bug", exc_info=error)

    def _enter(self) -> None:
        self._in_flight += 1
        if self._idle.is_set():
            self._idle = anyio.Event()

    def _leave(self) -> None:
        self._in_flight -= 1
        if not self._in_flight:
            self._idle.set()

    async def _create(
        self,
        post: PostCreate,
        begin: _BeginCreate,
        before: frozenset[str] | None,
        caller: Caller,
        replaces: str | None,
    ) -> Created:
        write = await self._reserve(post, begin, caller, replaces)
        if isinstance(write, Created):
            return write
        started = self._monotonic()
        try:
            created = await self._api.posts.create(post)
        except ApiError as error:
            if not _ambiguous(error):
                await self._note(write, "not_done", why=type(error).__name__)
                raise
            search = Search(post, write.id, write.digest, write.at, before)
            return replace(await self._reconciled(write, search, started), cause=error)
        except asyncio.CancelledError:
            return await self._unknown(write)
        except BaseException:
            await self._note(write, "unknown")
            raise
        recorded = await self._note(write, "created", created)
        return Created("created", write.at, created, created.id, recorded=recorded)

    async def _reserve(
        self, post: PostCreate, begin: _BeginCreate, caller: Caller, replaces: str | None
    ) -> Write | Created:
        while True:
            write = await self._begun(begin(), caller)
            if write == "full":
                raise await self._limit("create", "TTP_MAX_POSTS_PER_HOUR", self._caps.posts, "new posts")
            if isinstance(write, Write):
                return write
            answer = await self._earlier(write, post)
            # Found to be the one that is replaced, it is known as that from now on.
            if answer is not None and (replaces is None or answer.post_id != replaces):
                return answer

    async def _begun(self, begin: Coroutine[Any, Any, T], caller: Caller) -> T:
        """Let the ledger note what is about to be sent; nothing is sent when it was cancelled or given up meanwhile."""
        begun, cancelled = await run_to_completion(begin)
        await self._stop_if_gone(begun, cancelled=cancelled or caller.gone)
        return begun

    async def _stop_if_gone(self, begun: object, *, cancelled: bool) -> None:
        """The last moment at which a cancelled call costs nothing."""
        if cancelled:
            if isinstance(begun, Write):
                await self._note(begun, "not_done", why="cancelled")
            raise asyncio.CancelledError

    async def _earlier(self, earlier: PriorCreate, post: PostCreate) -> Created | None:
        """What an equal create of before means for this one; None when its post is gone and the way is free."""
        known = await self.recall(earlier, post)
        if known is None or known.outcome != "unknown":
            return known and await self._with_those_beside(known, earlier, post)
        if self._is_under_way(earlier):
            raise EarlierAttempt(
                f"an equal post is being created right now, since {to_wire(earlier.at)}. Call list_posts in a minute to see it; "
                "nothing was sent by this call.",
                under_way=True,
            )
        named = ", ".join(show_id(post_id) for post_id in known.candidates[:3])
        listed = f" ({named})" if named else ""
        raise EarlierAttempt(
            f"an attempt at {to_wire(earlier.at)} may have created an equal post{listed}, its answer was lost. Check list_posts; "
            "create_post with allow_duplicate=true sends it anyway. Nothing was sent by this call."
        )

    async def recall(self, earlier: PriorCreate, post: PostCreate) -> Created | None:
        """What became of an equal create of before, by looking; None when its post is gone. Sends nothing."""
        if earlier.state == "created":
            return await self._earlier_created(earlier, post)
        if self._is_under_way(earlier):
            return Created("unknown", earlier.at)
        post = earlier.as_sent(post)
        search = Search(post, earlier.write_id, earlier.digest, earlier.at, None)
        found = await self._look(search, self._monotonic() + self._least_look_seconds)
        if found is not None and await self._ledger.settle(earlier, post, found):
            return Created(
                "already_created",
                earlier.at,
                found,
                found.id,
                reconciled=True,
                lacking=earlier.lacking,
                beside=_ids(earlier.beside),
            )
        return Created("unknown", earlier.at, candidates=search.candidates)

    async def _with_those_beside(self, known: Created, earlier: PriorCreate, post: PostCreate) -> Created | None:
        """The answer, once the posts that are to be there for the other accounts are; None to look again when one is gone."""
        for other in earlier.beside:
            if await self._earlier_created(other, post) is None:
                return None
        return known

    def _is_under_way(self, earlier: PriorCreate) -> bool:
        return earlier.state == "pending" and self._now() < earlier.at + LONGEST_WRITE

    async def _earlier_created(self, earlier: PriorCreate, post: PostCreate) -> Created | None:
        there: Post | None = None
        try:
            there = await self._api.posts.get(earlier.post_id or "")
        except NotFound:
            if await self._is_gone(earlier):
                await self._ledger.settle(earlier, post, None)
                return None
        except ApiError:
            # The ledger knows enough.
            pass
        return Created(
            "already_created", earlier.at, there, earlier.post_id, lacking=earlier.lacking, beside=_ids(earlier.beside)
        )

    async def _is_gone(self, earlier: PriorCreate) -> bool:
        """Whether a post that was created and is not found is really gone: a copy of the API that lags can say so too."""
        if self._now() < earlier.at + LONGEST_WRITE:
            return False
        try:
            return all(each.id != earlier.post_id for each in await self._api.posts.list())
        except ApiError:
            return False

    async def _reconciled(self, write: Write, search: Search, started: float) -> Created:
        """Look for the post of a create whose answer was lost, until the deadline."""
        deadline = max(started + self._deadline_seconds, self._monotonic() + self._least_look_seconds)
        try:
            for wait in self._looks(deadline):
                await self._sleep(wait)
                found = await self._look(search, deadline)
                if found is not None and (recorded := await self._claim(write, found)) is not None:
                    return Created("created", write.at, found, found.id, reconciled=True, recorded=recorded)
        except asyncio.CancelledError:
            pass
        return await self._unknown(write, search.candidates)

    def _looks(self, deadline: float) -> Generator[float]:
        """Waits before each look, doubling, as long as there is time."""
        wait = FIRST_LOOK_SECONDS
        while self._monotonic() + wait <= deadline:
            yield wait
            wait = min(LONGEST_LOOK_SECONDS, wait * 2)

    def _left(self, deadline: float) -> float:
        return max(1.0, deadline - self._monotonic())

    async def _look(self, search: Search, deadline: float) -> Post | None:
        """List once; the post if exactly one is new, equal and nobody else's."""
        posts: list[Post] = []
        try:
            with anyio.move_on_after(self._left(deadline)):
                posts = await self._api.posts.list()
            return await self._match(search, posts)
        except (ApiError, LedgerProblem):
            # Without either nobody can tell; the next look may.
            return None

    async def _match(self, search: Search, posts: Sequence[Post]) -> Post | None:
        equal = [each for each in posts if is_equal(search.post, each) and each.id not in (search.before or ())]
        known = await self._ledger.known_posts([each.id for each in equal])
        equal = [each for each in equal if each.id not in known]
        since = self._since(search.started_at)
        # Nor is it ours when it was made so late that somebody else must have done it.
        until = since + LONGEST_WRITE + 2 * CLOCK_MARGIN if since else None
        dated = [
            each
            for each in equal
            if not (since and until and each.created_at and not since <= each.created_at <= until)
        ]
        search.candidates = tuple(each.id for each in dated)
        if len(dated) != 1:
            return None
        sure = search.before is not None or (since is not None and dated[0].created_at is not None)
        if sure and search.post.account_ids and not accounts_of_post(dated[0]):
            sure = not await self._ledger.has_rivals(search.write_id, search.digest)
        return dated[0] if sure else None

    def _since(self, started_at: datetime) -> datetime | None:
        """The API's time before which a post can't be ours; None while its clock is not known."""
        skew = self._api.clock.skew_seconds
        return None if skew is None else started_at + timedelta(seconds=skew) - CLOCK_MARGIN

    async def _claim(self, write: Write, found: Post) -> bool | None:
        """Note the post as this write's; None when it is another's."""
        try:
            noted, _ = await run_to_completion(self._ledger.finish(write, "created", found, claim=True))
            if not noted:
                return None
        except LedgerProblem as problem:
            return self._not_noted(write, "created", problem)
        self._audit(write, "created", found.id, "reconciled")
        return True

    async def _unknown(self, write: Write, candidates: Sequence[str] = ()) -> Created:
        recorded = await self._note(write, "unknown")
        return Created("unknown", write.at, candidates=tuple(candidates), recorded=recorded)

    async def _delete(self, post_id: str, tool: str, post: Post, most: int | None, caller: Caller) -> Deleted:
        write = await self._begun(self._ledger.begin_delete(post_id, post, tool=tool, most=most), caller)
        if write == "full":
            raise await self._limit("delete", "TTP_MAX_DELETES_PER_HOUR", self._caps.deletes, "deletions")
        outcome: Literal["deleted", "already_gone", "unknown"] = "deleted"
        still_there = False
        cause: ApiError | None = None
        started = self._monotonic()
        try:
            await self._api.posts.delete(post_id)
        except NotFound:
            outcome = "already_gone"
        except ApiError as error:
            if not _ambiguous(error):
                await self._note(write, "not_done", why=type(error).__name__)
                raise
            cause = error
            outcome, still_there = await self._gone(post_id, started)
        except asyncio.CancelledError:
            outcome = "unknown"
        except BaseException:
            await self._note(write, "unknown")
            raise
        recorded = await self._note(write, outcome)
        return Deleted(outcome, write.at, post, still_there, recorded, cause)

    async def _gone(self, post_id: str, started: float) -> tuple[Literal["deleted", "unknown"], bool]:
        """Whether a post is gone after a delete whose answer was lost, and whether it was still seen."""
        deadline = max(started + self._deadline_seconds, self._monotonic() + self._least_look_seconds)
        still_there = False
        try:
            for wait in self._looks(deadline):
                await self._sleep(wait)
                try:
                    with anyio.move_on_after(self._left(deadline)):
                        await self._api.posts.get(post_id)
                        still_there = True
                except NotFound:
                    return "deleted", False
                except ApiError:
                    continue
        except asyncio.CancelledError:
            pass
        return "unknown", still_there

    async def _limit(
        self, kind: Literal["create", "delete", "upload"], setting: str, most: int | None, noun: str
    ) -> LimitReached:
        most = most or 0
        return LimitReached(setting, most, noun, await self._ledger.frees_up_at(kind, most))

    async def _note(self, write: Write, outcome: Outcome, post: Post | None = None, why: str | None = None) -> bool:
        """Note an outcome; False when the ledger can't take it. What happened has happened: that is no error of the call."""
        try:
            await run_to_completion(self._ledger.finish(write, outcome, post))
        except LedgerProblem as problem:
            return self._not_noted(write, outcome, problem)
        self._audit(write, outcome, post.id if post else write.post_id, why)
        return True

    def _not_noted(self, write: Write, outcome: str, problem: LedgerProblem) -> bool:
        self._not_recorded += 1
        log.error("The outcome of write %s (%s) could not be noted: %s", write.id, outcome, problem)
        return False

    def _audit(self, write: Write, outcome: str, post_id: str | None, why: str | None) -> None:
        """One line for each write, with ids and digests and nothing of what was written."""
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


def _ids(creates: Sequence[PriorCreate]) -> tuple[str, ...]:
    return tuple(each.post_id for each in creates if each.post_id)


def _ambiguous(error: ApiError) -> bool:
    return retry.classify_failure(error) in ("ambiguous", "bad_answer")
