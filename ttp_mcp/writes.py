"""Writes that happen at most once: noted before they leave, never sent again, and looked for when the answer is lost.

A write runs in a task of its own. Cancelling its caller does not stop it half way: it gets a few seconds to learn its outcome,
the outcome is noted, and the caller hears nothing, as the protocol asks.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic as real_monotonic
from typing import Any, Literal, TypeVar

import anyio

from ttp_mcp.api import ApiClient, ApiError, NotFound, Post, PostCreate, retry
from ttp_mcp.api.http import encoded, utc_now
from ttp_mcp.config import Settings
from ttp_mcp.ledger import LONGEST_WRITE, Earlier, Ledger, LedgerProblem, Outcome, Write
from ttp_mcp.text import shown_id
from ttp_mcp.times import to_wire

log = logging.getLogger(__name__)
T = TypeVar("T")

# How long a lost answer is looked for: to the end of the call's 30 s, and 8 s at least.
DEADLINE_SECONDS, LEAST_LOOK_SECONDS = 30.0, 8.0
FIRST_LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.25, 4.0
# How long a write goes on after its caller was cancelled.
GRACE_SECONDS = 10.0
# How long a write that is given up has to note that.
NOTING_SECONDS = 0.4
# The API's `Date` has whole seconds and travels for a while.
CLOCK_MARGIN = timedelta(seconds=2)

_ENDING = "the server is ending and gave this up before it was done. Call again when it runs; repeating is safe."


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
class Caps:
    """How many writes an hour are allowed; None for any number."""

    posts: int | None = None
    deletes: int | None = None
    uploads: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Caps":
        """The limits that are configured."""
        return cls(settings.max_posts_per_hour, settings.max_deletes_per_hour, settings.max_uploads_per_hour)


# Notes in the ledger that a post is about to be created.
_BeginCreate = Callable[[], Coroutine[Any, Any, Write | Earlier | Literal["full"]]]


@dataclass(slots=True)
class _Caller:
    """What a write knows of whoever waits for it."""

    gone: bool = False


@dataclass(slots=True)
class _Search:
    """What a look through the posts is for, and what it found so far."""

    post: PostCreate
    write_id: str
    digest: str
    started_at: datetime
    before: frozenset[str] | None
    candidates: tuple[str, ...] = ()


class Writes:
    """The only way in which posts are created and deleted."""

    def __init__(
        self,
        api: ApiClient,
        ledger: Ledger,
        *,
        caps: Caps | None = None,
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
        self._caps = caps or Caps()
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
            encoded(post.body())
        except (ValueError, RecursionError):
            # Found only while sending, it would stand in the ledger as a write that may have happened.
            raise WriteRefused("it can't be written as JSON. Nothing was sent; repeating does not help.") from None
        ids = frozenset(each.id for each in before) if before is not None else None

        def begin() -> Coroutine[Any, Any, Write | Earlier | Literal["full"]]:
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
    ) -> Earlier | None:
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
        with self.flight(), anyio.CancelScope() as scope:
            self._uploads.add(scope)
            try:
                write, _ = await _whole(self._ledger.begin_upload(tool=tool, most=self._caps.uploads))
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
            raise WriteRefused(_ENDING)

    @property
    def in_flight(self) -> int:
        """How many writes, and steps that belong to one, are under way."""
        return self._in_flight

    @property
    def without_outcome(self) -> int:
        """How many writes have no outcome in the ledger: under way, or ended without that it could be noted."""
        return len(self._tasks) + len(self._uploads) + self._not_recorded

    @contextmanager
    def flight(self) -> Generator[None]:
        """Count something that should be waited for before the process ends."""
        self._enter()
        try:
            yield
        finally:
            self._leave()

    async def drained(self, seconds: float) -> bool:
        """Wait until nothing is in flight; what is left when so many seconds are over is given up.

        Returns:
            Whether everything came to its end.
        """
        with anyio.move_on_after(max(0.0, seconds - NOTING_SECONDS)):
            await self._idle.wait()
        return await self.give_up()

    async def give_up(self) -> bool:
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

    async def _settled(self, write: Callable[[_Caller], Coroutine[Any, Any, T]]) -> T:
        """Run a write to its outcome, whatever becomes of the caller."""
        self._refuse_at_the_end()
        caller = _Caller()
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
            raise WriteRefused(_ENDING)
        return task.result()

    def _refuse_at_the_end(self) -> None:
        """A call of several writes must not begin the next one when the one before was given up."""
        if self._ended:
            raise WriteRefused(_ENDING)

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
        caller: _Caller,
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
            search = _Search(post, write.id, write.digest, write.at, before)
            return replace(await self._reconciled(write, search, started), cause=error)
        except asyncio.CancelledError:
            return await self._unknown(write)
        except BaseException:
            await self._note(write, "unknown")
            raise
        recorded = await self._note(write, "created", created)
        return Created("created", write.at, created, created.id, recorded=recorded)

    async def _reserve(
        self, post: PostCreate, begin: _BeginCreate, caller: _Caller, replaces: str | None
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

    async def _begun(self, begin: Coroutine[Any, Any, T], caller: _Caller) -> T:
        """Let the ledger note what is about to be sent; nothing is sent when it was cancelled or given up meanwhile."""
        begun, cancelled = await _whole(begin)
        await self._stop_if_gone(begun, cancelled=cancelled or caller.gone)
        return begun

    async def _stop_if_gone(self, begun: object, *, cancelled: bool) -> None:
        """The last moment at which a cancelled call costs nothing."""
        if cancelled:
            if isinstance(begun, Write):
                await self._note(begun, "not_done", why="cancelled")
            raise asyncio.CancelledError

    async def _earlier(self, earlier: Earlier, post: PostCreate) -> Created | None:
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
        named = ", ".join(shown_id(post_id) for post_id in known.candidates[:3])
        listed = f" ({named})" if named else ""
        raise EarlierAttempt(
            f"an attempt at {to_wire(earlier.at)} may have created an equal post{listed}, its answer was lost. Check list_posts; "
            "create_post with allow_duplicate=true sends it anyway. Nothing was sent by this call."
        )

    async def recall(self, earlier: Earlier, post: PostCreate) -> Created | None:
        """What became of an equal create of before, by looking; None when its post is gone. Sends nothing."""
        if earlier.state == "created":
            return await self._earlier_created(earlier, post)
        if self._is_under_way(earlier):
            return Created("unknown", earlier.at)
        post = earlier.as_sent(post)
        search = _Search(post, earlier.write_id, earlier.digest, earlier.at, None)
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

    async def _with_those_beside(self, known: Created, earlier: Earlier, post: PostCreate) -> Created | None:
        """The answer, once the posts that are to be there for the other accounts are; None to look again when one is gone."""
        for other in earlier.beside:
            if await self._earlier_created(other, post) is None:
                return None
        return known

    def _is_under_way(self, earlier: Earlier) -> bool:
        return earlier.state == "pending" and self._now() < earlier.at + LONGEST_WRITE

    async def _earlier_created(self, earlier: Earlier, post: PostCreate) -> Created | None:
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

    async def _is_gone(self, earlier: Earlier) -> bool:
        """Whether a post that was created and is not found is really gone: a copy of the API that lags can say so too."""
        if self._now() < earlier.at + LONGEST_WRITE:
            return False
        try:
            return all(each.id != earlier.post_id for each in await self._api.posts.list())
        except ApiError:
            return False

    async def _reconciled(self, write: Write, search: _Search, started: float) -> Created:
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

    async def _look(self, search: _Search, deadline: float) -> Post | None:
        """List once; the post if exactly one is new, equal and nobody else's."""
        posts: list[Post] = []
        try:
            with anyio.move_on_after(self._left(deadline)):
                posts = await self._api.posts.list()
            return await self._match(search, posts)
        except (ApiError, LedgerProblem):
            # Without either nobody can tell; the next look may.
            return None

    async def _match(self, search: _Search, posts: Sequence[Post]) -> Post | None:
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
        if sure and search.post.account_ids and not _accounts(dated[0]):
            sure = not await self._ledger.has_rivals(search.write_id, search.digest)
        return dated[0] if sure else None

    def _since(self, started_at: datetime) -> datetime | None:
        """The API's time before which a post can't be ours; None while its clock is not known."""
        skew = self._api.clock.skew_seconds
        return None if skew is None else started_at + timedelta(seconds=skew) - CLOCK_MARGIN

    async def _claim(self, write: Write, found: Post) -> bool | None:
        """Note the post as this write's; None when it is another's."""
        try:
            noted, _ = await _whole(self._ledger.finish(write, "created", found, claim=True))
            if not noted:
                return None
        except LedgerProblem as problem:
            return self._not_noted(write, "created", problem)
        self._audit(write, "created", found.id, "reconciled")
        return True

    async def _unknown(self, write: Write, candidates: Sequence[str] = ()) -> Created:
        recorded = await self._note(write, "unknown")
        return Created("unknown", write.at, candidates=tuple(candidates), recorded=recorded)

    async def _delete(self, post_id: str, tool: str, post: Post, most: int | None, caller: _Caller) -> Deleted:
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
            await _whole(self._ledger.finish(write, outcome, post))
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


async def _whole(noting: Coroutine[Any, Any, T]) -> tuple[T, bool]:
    """Do something with the ledger to its end, which is bounded, and say whether it was cancelled meanwhile.

    A commit that was begun can't be taken back: whoever left it would not know what the ledger says.
    """
    task = asyncio.get_running_loop().create_task(noting)
    cancelled = False
    # A cancelled scope would repeat itself all the time.
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                cancelled = True
    return task.result(), cancelled


def _ids(creates: Sequence[Earlier]) -> tuple[str, ...]:
    return tuple(each.post_id for each in creates if each.post_id)


def is_equal(sent: PostCreate, found: Post) -> bool:
    """Whether a post of the API is what was sent, as far as the API shows it.

    The reference promises only some fields: what is not there is not compared.
    """
    if _plain(sent.content) != _plain(found.content) or list(sent.media_urls) != found.media_urls:
        return False
    if "thread" in found.raw and [_plain(part) for part in sent.thread] != [_plain(part) for part in found.thread]:
        return False
    if _second(sent.scheduled_at) != _second(found.scheduled_at):
        return False
    data = found.platform_data
    if data and any(data.get(name) != value for name, value in sent.platform_data.items()):
        return False
    return _same_targets(sent, found)


def _same_targets(sent: PostCreate, found: Post) -> bool:
    if sent.account_ids:
        accounts = _accounts(found)
        return not accounts or accounts == set(sent.account_ids)
    return {name.lower() for name in sent.platforms} == {name.lower() for name in found.platforms}


def _accounts(found: Post) -> set[str]:
    return set(found.account_ids) or {result.account_id for result in found.results if result.account_id}


def _plain(text: str) -> str:
    """A text without what an API may tidy: line ends and space around it."""
    return text.replace("\r\n", "\n").strip()


def _second(instant: datetime | None) -> datetime | None:
    return instant.replace(microsecond=0) if instant else None


def _ambiguous(error: ApiError) -> bool:
    return retry.classify(error) in ("ambiguous", "bad_answer")
