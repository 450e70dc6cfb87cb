"""Writes happen at most once and none is lost silently: through the API client and the sandbox, with faults in between."""

import json
import logging
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import httpx2
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ttp_mcp.api import ApiClient, NotFound, NotReached, Post, PostCreate, ValidationFailed
from ttp_mcp.config import Settings
from ttp_mcp.credentials import Token
from ttp_mcp.ledger import Ledger, LedgerProblem, scope_of
from ttp_mcp.sandbox import Sandbox
from ttp_mcp.sandbox.clock import ManualClock
from ttp_mcp.state import Applied, AtMost, Drop, Entry, Put
from ttp_mcp.state.files import FileState
from ttp_mcp.times import zone_named
from ttp_mcp.writes import Caps, Created, Deleted, EarlierAttempt, LimitReached, Writes, is_equal

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
DUE = START + timedelta(days=2)


class VirtualTime:
    """One time for the sandbox, the client and the writes; sleeping moves it, and what is planned happens on the way."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self._planned: list[tuple[float, Callable[[], Awaitable[None]]]] = []

    def monotonic(self) -> float:
        return (self.clock.now() - START).total_seconds()

    def plan(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        self._planned.append((self.monotonic() + seconds, action))

    async def sleep(self, seconds: float) -> None:
        end = self.monotonic() + seconds
        for at, action in sorted(self._planned, key=lambda each: each[0]):
            if at <= end:
                self._planned.remove((at, action))
                self.clock.move(at - self.monotonic())
                await action()
        self.clock.move(end - self.monotonic())
        await anyio.sleep(0)


class Faults:
    """Stands before the sandbox: `script` holds what happens to each write in turn, `hidden` what its answers leave out."""

    def __init__(self, app: ASGIApp, time: VirtualTime) -> None:
        self._app = app
        self._time = time
        self.script: list[str] = []
        self.reads_fail = False
        self.without_date = False
        self.hidden: tuple[str, ...] = ()
        self.writes: list[str] = []
        self.release = anyio.Event()
        self.held = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"]
        if method == "GET":
            if self.reads_fail:
                raise ConnectionResetError
            await self._app(scope, receive, self._tidied(send))
            return
        self.writes.append(method)
        fault = self.script.pop(0) if self.script else "none"
        message = await receive()
        body: list[Message] = [{"type": "http.request", "body": message.get("body", b""), "more_body": False}]

        async def commit() -> None:
            messages = list(body)

            async def again() -> Message:
                return messages.pop(0) if messages else {"type": "http.disconnect"}

            await self._app(scope, again, _nowhere)

        await self._fail(fault, commit, scope, receive, send, body)

    async def _fail(
        self,
        fault: str,
        commit: Callable[[], Awaitable[None]],
        scope: Scope,
        receive: Receive,
        send: Send,
        body: list[Message],
    ) -> None:
        match fault:
            case "none":

                async def first() -> Message:
                    return body.pop(0) if body else await receive()

                await self._app(scope, first, self._tidied(send))
            case "lost before commit":
                raise ConnectionResetError
            case "lost after commit":
                await commit()
                raise ConnectionResetError
            case "commits late":
                self._time.plan(3, commit)
                raise ConnectionResetError
            case "502 after commit":
                await commit()
                await _answer(send, 502, b"")
            case "page after commit":
                await commit()
                await _answer(send, 200, b"<html>")
            case "not connected":
                raise httpx2.ConnectError("")
            case "crash":
                raise RuntimeError("a bug")
            case "404":
                await _answer(send, 404, b"{}")
            case "409":
                await _answer(send, 409, b'{"success": false, "message": "busy"}')
            case "held, then committed":
                self.held.set()
                await self.release.wait()
                await commit()
                raise ConnectionResetError
            case _:
                raise AssertionError(fault)

    def _tidied(self, send: Send) -> Send:
        async def tidied(message: Message) -> None:
            if message["type"] == "http.response.start":
                left_out = {b"content-length"} | ({b"date"} if self.without_date else set())
                headers = [pair for pair in message["headers"] if pair[0].lower() not in left_out]
                message = {**message, "headers": headers}
            elif self.hidden and message.get("body"):
                message = {**message, "body": self._without_hidden(message["body"])}
            await send(message)

        return tidied

    def _without_hidden(self, body: bytes) -> bytes:
        def hide(value: object) -> object:
            if isinstance(value, dict):
                return {key: hide(inner) for key, inner in value.items() if key not in self.hidden}
            return [hide(inner) for inner in value] if isinstance(value, list) else value

        return json.dumps(hide(json.loads(body))).encode()


async def _nowhere(message: Message) -> None:
    pass


async def _answer(send: Send, status: int, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


@dataclass
class World:
    """A sandbox, the faults before it, and everything that stands on them."""

    time: VirtualTime
    sandbox: Sandbox
    faults: Faults
    api: ApiClient
    state: FileState
    ledger: Ledger
    writes: Writes
    accounts: dict[str, str] = field(default_factory=dict[str, str])

    def another(self, **options: object) -> Writes:
        """The writes of another process over the same state."""
        time = self.time
        return Writes(
            self.api,
            self.ledger,
            monotonic=time.monotonic,
            sleep=time.sleep,
            now=time.clock.now,
            **options,  # pyright: ignore[reportArgumentType] # options of a test
        )

    def client(self) -> ApiClient:
        """A client that has not heard anything from the API yet."""
        return _client(self.sandbox, self.faults, self.time)

    def post(
        self, content: str = "Doors open at ten", account: str = "linkedin", at: datetime | None = DUE
    ) -> PostCreate:
        return PostCreate(content, account_ids=(self.accounts[account],), scheduled_at=at)

    async def equal_posts(self, post: PostCreate) -> list[Post]:
        return [each for each in await self.api.posts.list() if is_equal(post, each)]

    async def outcomes(self) -> list[str | None]:
        return [record.outcome for record in await self.ledger.history(START - timedelta(days=1))]


def _client(sandbox: Sandbox, faults: Faults, time: VirtualTime) -> ApiClient:
    return ApiClient(
        base_url=sandbox.api_url,
        token=Token(sandbox.token),
        app=faults,
        monotonic=time.monotonic,
        sleep=time.sleep,
        jitter=lambda: 0.5,
        now=time.clock.now,
    )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    """Everything in one process and in virtual time."""
    time = VirtualTime()
    with Sandbox(tmp_path / "sandbox", clock=time.clock) as sandbox:
        faults = Faults(sandbox.app, time)
        api = _client(sandbox, faults, time)
        state = FileState(tmp_path / "state")
        ledger = Ledger(state, scope_of(api.base_url, api.token, None), time.clock.now)
        writes = Writes(api, ledger, monotonic=time.monotonic, sleep=time.sleep, now=time.clock.now)
        found = World(time, sandbox, faults, api, state, ledger, writes)
        for account in await api.integrations.list():
            found.accounts.setdefault(account.platform, account.id)
        yield found
        await api.aclose()
        await state.aclose()


@pytest.mark.requirement("writes.once")
async def test_create_sends_one_request_and_returns_the_post(world: World) -> None:
    """The normal path."""
    created = await world.writes.create(world.post(), tool="create_post")

    assert created.outcome == "created"
    assert created.post is not None
    assert created.post_id == created.post.id
    assert created.at == START
    assert (created.reconciled, created.recorded, created.candidates) == (False, True, ())
    assert world.faults.writes == ["POST"]
    assert await world.outcomes() == ["created"]


@pytest.mark.requirement("writes.lost-answers")
@pytest.mark.parametrize("fault", ["lost after commit", "502 after commit", "page after commit", "commits late"])
async def test_create_whose_answer_is_lost_is_found_and_never_sent_again(world: World, fault: str) -> None:
    """A lost answer ends as created, with the id of the one post there is."""
    world.faults.script = [fault]

    created = await world.writes.create(world.post(), tool="create_post")

    assert (created.outcome, created.reconciled) == ("created", True)
    assert [post.id for post in await world.equal_posts(world.post())] == [created.post_id]
    assert world.faults.writes == ["POST"]
    assert await world.outcomes() == ["created"]


@pytest.mark.requirement("writes.lost-answers")
async def test_create_that_never_arrived_is_unknown_after_the_deadline(world: World) -> None:
    """Nothing is claimed and nothing is sent again; the search ends with the 30 s of the call."""
    world.faults.script = ["lost before commit"]

    created = await world.writes.create(world.post(), tool="create_post")

    assert (created.outcome, created.post_id, created.candidates) == ("unknown", None, ())
    assert world.faults.writes == ["POST"]
    assert 25 < world.time.monotonic() <= 30
    assert await world.outcomes() == ["unknown"]


@pytest.mark.requirement("writes.lost-answers")
async def test_create_is_unknown_while_the_api_can_not_be_asked(world: World) -> None:
    """An API that stays away leaves the outcome unknown."""
    world.faults.script = ["lost after commit"]
    world.faults.reads_fail = True

    created = await world.writes.create(world.post(), tool="create_post")

    assert created.outcome == "unknown"


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_equal_post_from_before_is_not_taken_for_the_new_one(world: World) -> None:
    """A post that somebody else made earlier has an older date, so it is not even a candidate."""
    await world.api.posts.create(world.post())
    world.time.clock.move(60)
    world.faults.script = ["lost before commit"]

    created = await world.writes.create(world.post(), tool="create_post")

    assert (created.outcome, created.candidates) == ("unknown", ())


@pytest.mark.requirement("writes.no-mistaken-identity")
@pytest.mark.parametrize("missing", ["createdAt", "Date"])
async def test_without_dates_an_equal_post_is_only_a_candidate(world: World, missing: str) -> None:
    """Where the API does not date its posts, or its own clock, an old post can't be told from a new one."""
    old = await world.api.posts.create(world.post())
    await world.api.aclose()
    world.time.clock.move(60)
    world.faults.script = ["lost before commit"]
    world.faults.hidden = ("createdAt",) if missing == "createdAt" else ()
    world.faults.without_date = missing == "Date"
    world.api = world.client()

    created = await world.another().create(world.post(), tool="create_post")
    await world.api.aclose()

    assert (created.outcome, created.candidates) == ("unknown", (old.id,))


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_a_list_from_before_tells_the_new_post_even_without_dates(world: World) -> None:
    """A caller that has just listed the posts passes them on: what was not there then is new."""
    await world.api.posts.create(world.post())
    before = await world.api.posts.list()
    world.faults.hidden = ("createdAt",)
    world.faults.script = ["lost after commit", "lost before commit"]

    created = await world.writes.create(world.post(), tool="create_post", before=before)
    nothing = await world.writes.create(world.post("Another"), tool="create_post", before=before)

    assert (created.outcome, created.reconciled) == ("created", True)
    assert created.post_id not in {post.id for post in before}
    assert (nothing.outcome, nothing.candidates) == ("unknown", ())


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_several_new_equal_posts_leave_the_outcome_unknown_and_are_named(world: World) -> None:
    """Somebody else created the same at the same moment: nobody can tell which is ours."""
    other = await world.api.posts.create(world.post())
    world.faults.script = ["lost after commit"]

    created = await world.writes.create(world.post(), tool="create_post")

    assert created.outcome == "unknown"
    assert len(created.candidates) == 2
    assert other.id in created.candidates


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_post_of_another_write_is_never_claimed(world: World) -> None:
    """A second, wanted duplicate that got lost does not end up with the first one's id."""
    await world.writes.create(world.post(), tool="create_post")
    world.faults.script = ["lost before commit"]

    second = await world.writes.create(world.post(), tool="create_post", allow_duplicate=True)

    assert (second.outcome, second.candidates) == ("unknown", ())


class StaleLedger(Ledger):
    """Does not yet see what another process is just noting."""

    async def known_posts(self, post_ids: Sequence[str]) -> set[str]:
        return set()


@pytest.mark.requirement("writes.no-mistaken-identity")
async def test_of_two_searches_that_find_one_post_only_one_gets_it(world: World) -> None:
    """Claiming a post is atomic, so a view that is a moment old does no harm."""
    await world.writes.create(world.post(), tool="create_post")
    world.ledger = StaleLedger(world.state, scope_of(world.api.base_url, world.api.token, None), world.time.clock.now)
    world.faults.script = ["lost before commit"]

    second = await world.another().create(world.post(), tool="create_post", allow_duplicate=True)

    assert second.outcome == "unknown"


@pytest.mark.requirement("writes.no-mistaken-identity")
@pytest.mark.parametrize("rival", [True, False])
async def test_without_account_ids_two_open_writes_of_one_text_are_kept_apart(world: World, rival: bool) -> None:
    """Where the API does not say which account a post is for, another open write of the same text forbids a guess."""
    world.faults.hidden = ("accountIds", "results")
    if rival:
        await world.ledger.begin_create(world.post(account="twitter"), tool="create_post")
    world.faults.script = ["lost after commit"]

    created = await world.writes.create(world.post(account="linkedin"), tool="create_post")

    assert created.outcome == ("unknown" if rival else "created")
    assert len(created.candidates) == (1 if rival else 0)


@pytest.mark.requirement("writes.once")
@pytest.mark.parametrize("fault", ["409", "not connected"])
async def test_create_that_was_refused_or_not_sent_raises_and_can_be_repeated(world: World, fault: str) -> None:
    """What certainly did not happen leaves no reservation, and does not count."""
    world.faults.script = [fault, fault]

    with pytest.raises((ValidationFailed, NotReached)):
        await world.writes.create(world.post(), tool="create_post")
    world.faults.script = []
    created = await world.writes.create(world.post(), tool="create_post")

    assert created.outcome == "created"
    assert await world.outcomes() == ["created", "not_done"] or await world.outcomes() == ["not_done", "created"]
    assert await world.ledger.count("create", START) == 1


@pytest.mark.requirement("writes.once")
async def test_bug_during_a_write_is_noted_as_unknown_and_raised(world: World) -> None:
    """An exception that nobody foresaw still leaves an outcome."""
    post = await world.api.posts.create(world.post("To be deleted"))
    world.faults.script = ["crash", "crash"]

    with pytest.raises(RuntimeError):
        await world.writes.create(world.post(), tool="create_post")
    with pytest.raises(RuntimeError):
        await world.writes.delete(post.id, tool="delete_post")

    assert await world.outcomes() == ["unknown", "unknown"]


@pytest.mark.requirement("writes.duplicates")
async def test_same_post_again_is_answered_with_the_first_one(world: World) -> None:
    """Within the window the second call sends nothing."""
    first = await world.writes.create(world.post(), tool="create_post")
    world.time.clock.move(3600)
    second = await world.another().create(world.post(at=DUE + timedelta(seconds=20)), tool="create_post")

    assert (second.outcome, second.post_id, second.at) == ("already_created", first.post_id, START)
    assert second.post is not None
    assert world.faults.writes == ["POST"]


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("change", ["content", "minute", "account", "thread", "media", "data", "draft"])
async def test_a_post_that_differs_is_no_duplicate(world: World, change: str) -> None:
    """Text, time, account, thread, media and platform data make a post."""
    post = world.post(account="twitter")
    other = {
        "content": replace(post, content="Doors open at eleven"),
        "minute": replace(post, scheduled_at=DUE + timedelta(minutes=1)),
        "account": replace(post, account_ids=(world.accounts["linkedin"],)),
        "thread": replace(post, thread=("And close at six",)),
        "media": replace(post, media_urls=("https://example.com/a.png",)),
        "data": replace(post, platform_data={"twitter": {"reply": 1}}),
        "draft": replace(post, scheduled_at=None),
    }[change]
    await world.writes.create(post, tool="create_post")

    assert (await world.writes.create(other, tool="create_post")).outcome == "created"


@pytest.mark.requirement("writes.duplicates")
async def test_one_account_in_common_makes_a_duplicate(world: World) -> None:
    """The same post to more accounts would reach the common one twice."""
    both = replace(world.post(), account_ids=(world.accounts["twitter"], world.accounts["linkedin"]))
    first = await world.writes.create(world.post(), tool="create_post")

    assert (await world.writes.create(both, tool="create_post")).post_id == first.post_id


@pytest.mark.requirement("writes.duplicates")
async def test_a_post_to_a_platform_covers_the_accounts_that_the_answer_names(world: World) -> None:
    """Targeting the platform and then its account is the same."""
    first = await world.writes.create(
        PostCreate("Hello", platforms=("linkedin",), scheduled_at=DUE), tool="create_post"
    )
    second = await world.writes.create(world.post("Hello"), tool="create_post")

    assert (second.outcome, second.post_id) == ("already_created", first.post_id)


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize(
    ("at", "hours", "outcome"), [(None, 23, "already_created"), (None, 25, "created"), (DUE, 25, "already_created")]
)
async def test_the_window_is_a_day_and_for_a_scheduled_post_until_its_time(
    world: World, at: datetime | None, hours: int, outcome: str
) -> None:
    """A draft may be written again the next day; what is scheduled is not scheduled twice."""
    await world.writes.create(world.post(at=at), tool="create_post")
    world.time.clock.move(hours * 3600)

    assert (await world.writes.create(world.post(at=at), tool="create_post")).outcome == outcome


@pytest.mark.requirement("writes.duplicates")
async def test_a_wanted_duplicate_is_sent(world: World) -> None:
    """`allow_duplicate` sends it; what comes after is measured against the newest."""
    first = await world.writes.create(world.post(), tool="create_post")
    second = await world.writes.create(world.post(), tool="create_post", allow_duplicate=True)
    third = await world.writes.create(world.post(), tool="create_post")

    assert second.outcome == "created"
    assert second.post_id != first.post_id
    assert third.post_id == second.post_id


@pytest.mark.requirement("writes.duplicates")
async def test_a_wanted_duplicate_that_was_refused_leaves_the_first_one_known(world: World) -> None:
    """The reservation of the first post comes back."""
    first = await world.writes.create(world.post(), tool="create_post")
    world.faults.script = ["409"]
    with pytest.raises(ValidationFailed):
        await world.writes.create(world.post(), tool="create_post", allow_duplicate=True)

    assert (await world.writes.create(world.post(), tool="create_post")).post_id == first.post_id


@pytest.mark.requirement("writes.duplicates")
@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_deleted_post_can_be_created_again(world: World, elsewhere: bool) -> None:
    """Whether it was deleted through us or in the dashboard."""
    first = await world.writes.create(world.post(), tool="create_post")
    if elsewhere:
        await world.api.posts.delete(first.post_id or "")
    else:
        await world.writes.delete(first.post_id or "", tool="delete_post")

    assert (await world.writes.create(world.post(), tool="create_post")).outcome == "created"


@pytest.mark.requirement("writes.duplicates")
async def test_a_duplicate_is_told_while_the_api_is_away(world: World) -> None:
    """The ledger knows the id; the post itself is missing from the answer."""
    first = await world.writes.create(world.post(), tool="create_post")
    world.faults.reads_fail = True

    second = await world.writes.create(world.post(), tool="create_post")

    assert (second.outcome, second.post_id, second.post) == ("already_created", first.post_id, None)


@pytest.mark.requirement("writes.duplicates")
async def test_of_two_processes_at_the_same_moment_one_sends(world: World) -> None:
    """The second is told while the first is under way."""
    world.faults.script = ["held, then committed"]
    results: list[Created] = []

    async def first() -> None:
        results.append(await world.writes.create(world.post(), tool="create_post"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await world.faults.held.wait()
        with pytest.raises(EarlierAttempt, match="is being created right now, since 2026-11-24T10:00"):
            await world.another().create(world.post(), tool="create_post")
        world.faults.release.set()

    assert [result.outcome for result in results] == ["created"]
    assert world.faults.writes == ["POST"]


@pytest.mark.requirement("writes.unknown-blocks")
async def test_after_an_unknown_outcome_the_same_post_is_not_sent_again(world: World) -> None:
    """The earlier attempt is told with its time, and how to send it all the same."""
    world.faults.script = ["lost before commit"]
    await world.writes.create(world.post(), tool="create_post")

    with pytest.raises(
        EarlierAttempt, match=r"attempt at 2026-11-24T10:00:00.000Z may have created .*allow_duplicate=true"
    ):
        await world.writes.create(world.post(), tool="create_post")
    wanted = await world.writes.create(world.post(), tool="create_post", allow_duplicate=True)

    assert wanted.outcome == "created"
    assert world.faults.writes == ["POST", "POST"]


@pytest.mark.requirement("writes.unknown-blocks")
async def test_candidates_of_an_unknown_outcome_are_named(world: World) -> None:
    """What could be the post is listed in the refusal."""
    world.faults.hidden = ("createdAt",)
    old = await world.api.posts.create(world.post())
    world.faults.script = ["lost before commit"]
    await world.writes.create(world.post(), tool="create_post")

    with pytest.raises(EarlierAttempt, match=old.id):
        await world.writes.create(world.post(), tool="create_post")


@pytest.mark.requirement("writes.unknown-blocks")
async def test_an_unknown_outcome_is_settled_when_its_post_turns_up(world: World) -> None:
    """The next call finds the post and answers with it, once for every account of it."""
    both = replace(world.post(), account_ids=(world.accounts["twitter"], world.accounts["linkedin"]))
    world.faults.script = ["lost after commit"]
    world.faults.reads_fail = True
    await world.writes.create(both, tool="create_post")
    world.faults.reads_fail = False

    second = await world.writes.create(both, tool="create_post")
    third = await world.writes.create(world.post(), tool="create_post")

    assert (second.outcome, second.reconciled) == ("already_created", True)
    assert (third.outcome, third.post_id) == ("already_created", second.post_id)
    assert world.faults.writes == ["POST"]


@pytest.mark.requirement("writes.unknown-blocks")
async def test_a_create_whose_process_ended_is_looked_for_by_the_next(world: World) -> None:
    """An intent without an outcome, old enough, is treated as a lost answer."""
    await world.ledger.begin_create(world.post(), tool="create_post")
    post = await world.api.posts.create(world.post())
    world.time.clock.move(120)

    assert [each.content for each in await world.ledger.unfinished()] == ["Doors open at ten"]
    found = await world.writes.create(world.post(), tool="create_post")

    assert (found.outcome, found.post_id) == ("already_created", post.id)
    assert await world.ledger.unfinished() == []


@pytest.mark.requirement("writes.limits")
async def test_limits_an_hour_refuse_what_is_too_much_and_say_when_there_is_room(world: World) -> None:
    """Each of the three limits is told by its setting."""
    settings = Settings(
        zone=zone_named("UTC"), state_dir=Path(), max_posts_per_hour=1, max_deletes_per_hour=1, max_uploads_per_hour=1
    )
    writes = world.another(caps=Caps.of(settings))
    first = await writes.create(world.post("One"), tool="create_post")
    spare = await world.api.posts.create(world.post("Spare"))
    await writes.delete(first.post_id or "", tool="delete_post")
    async with writes.upload(tool="upload_media"):
        pass
    world.faults.writes.clear()

    with pytest.raises(
        LimitReached, match=r"^TTP_MAX_POSTS_PER_HOUR allows 1 .*2026-11-24T11:00:00.000Z; nothing was sent"
    ):
        await writes.create(world.post("Two"), tool="create_post")
    with pytest.raises(LimitReached, match="TTP_MAX_DELETES_PER_HOUR"):
        await writes.delete(spare.id, tool="delete_post")
    with pytest.raises(LimitReached, match="TTP_MAX_UPLOADS_PER_HOUR"):
        async with writes.upload(tool="upload_media"):
            pass
    assert world.faults.writes == []

    world.time.clock.move(3601)
    assert (await writes.create(world.post("Two"), tool="create_post")).outcome == "created"


@pytest.mark.requirement("writes.limits")
async def test_a_limit_of_none_allows_nothing(world: World) -> None:
    """0 is a limit too, and never frees up."""
    with pytest.raises(LimitReached, match="None is allowed") as raised:
        await world.another(caps=Caps(posts=0)).create(world.post(), tool="create_post")

    assert raised.value.frees_up_at is None


@pytest.mark.requirement("writes.limits")
async def test_what_was_refused_or_failed_does_not_count(world: World) -> None:
    """Only what may have happened uses up a limit."""
    writes = world.another(caps=Caps(posts=1, uploads=1))
    world.faults.script = ["409"]
    with pytest.raises(ValidationFailed):
        await writes.create(world.post(), tool="create_post")
    with pytest.raises(RuntimeError):
        async with writes.upload(tool="upload_media"):
            raise RuntimeError

    assert (await writes.create(world.post(), tool="create_post")).outcome == "created"
    async with writes.upload(tool="upload_media"):
        assert writes.in_flight == 1
    assert await world.ledger.count("upload", START) == 1


@pytest.mark.requirement("writes.delete")
@pytest.mark.parametrize(
    ("fault", "outcome", "still_there"),
    [
        ("none", "deleted", False),
        ("404", "already_gone", False),
        ("lost after commit", "deleted", False),
        ("commits late", "deleted", False),
        ("502 after commit", "deleted", False),
        ("lost before commit", "unknown", True),
    ],
)
async def test_delete_tells_what_became_of_the_post(world: World, fault: str, outcome: str, still_there: bool) -> None:
    """A lost answer is settled by reading the post; nothing is sent twice."""
    post = await world.api.posts.create(world.post())
    world.faults.writes.clear()
    world.faults.script = [fault]

    deleted = await world.writes.delete(post.id, tool="delete_post")

    assert (deleted.outcome, deleted.still_there) == (outcome, still_there)
    assert deleted.post is not None
    assert deleted.post.content == "Doors open at ten"
    assert world.faults.writes == ["DELETE"]
    assert await world.outcomes() == [outcome]


@pytest.mark.requirement("writes.delete")
async def test_delete_is_unknown_while_the_api_can_not_be_asked(world: World) -> None:
    """Not seen is not the same as gone."""
    post = await world.api.posts.create(world.post())
    world.faults.script = ["lost after commit"]
    world.faults.reads_fail = True

    deleted = await world.writes.delete(post.id, tool="delete_post", post=post)

    assert (deleted.outcome, deleted.still_there) == ("unknown", False)


@pytest.mark.requirement("writes.delete")
async def test_delete_that_the_api_refuses_raises_and_is_noted(world: World) -> None:
    """The post is not among the removed ones."""
    post = await world.api.posts.create(world.post())
    world.faults.script = ["409"]

    with pytest.raises(ValidationFailed):
        await world.writes.delete(post.id, tool="delete_post")

    assert await world.outcomes() == ["not_done"]
    assert await world.ledger.removed(post.id) is None


@pytest.mark.requirement("writes.delete")
async def test_deleting_again_says_that_it_is_gone_and_an_unknown_id_is_not_found(world: World) -> None:
    """What was deleted through us is remembered, whole."""
    post = await world.api.posts.create(world.post())
    await world.writes.delete(post.id, tool="delete_post")

    again = await world.writes.delete(post.id, tool="delete_post")
    with pytest.raises(NotFound):
        await world.writes.delete("cmb8nothing", tool="delete_post")

    assert again == Deleted("already_gone", START, again.post)
    assert again.post is not None
    assert again.post.raw == post.raw


@pytest.mark.requirement("writes.cancel")
async def test_cancelled_create_gets_its_outcome_and_the_caller_no_answer(world: World) -> None:
    """The request was under way: it goes on in a task of its own."""
    world.faults.script = ["held, then committed"]
    answers: list[Created] = []

    async def call() -> None:
        answers.append(await world.writes.create(world.post(), tool="create_post"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await world.faults.held.wait()
        assert world.writes.in_flight == 1
        tasks.cancel_scope.cancel()
        world.faults.release.set()

    assert answers == []
    assert world.writes.in_flight == 0
    assert await world.outcomes() == ["created"]
    assert len(await world.equal_posts(world.post())) == 1


@pytest.mark.requirement("writes.cancel")
@pytest.mark.parametrize("kind", ["create", "delete"])
async def test_write_that_hangs_after_cancelling_ends_as_unknown(world: World, kind: str) -> None:
    """After the grace period the write is given up, and says so in the ledger."""
    post = await world.api.posts.create(world.post("To be deleted"))
    writes = world.another(grace_seconds=0.01)
    world.faults.script = ["held, then committed"]

    async def call() -> None:
        if kind == "create":
            await writes.create(world.post(), tool="create_post")
        else:
            await writes.delete(post.id, tool="delete_post", post=post)
        raise AssertionError("no answer may be invented")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await world.faults.held.wait()
        tasks.cancel_scope.cancel()

    assert await world.outcomes() == ["unknown"]
    assert await world.ledger.unfinished() == []
    assert writes.in_flight == 0


@pytest.mark.requirement("writes.cancel")
@pytest.mark.parametrize("kind", ["create", "delete"])
async def test_search_for_a_lost_answer_can_be_given_up(world: World, kind: str) -> None:
    """A drain that runs out during the search leaves unknown, told to a caller who still waits."""
    searching = anyio.Event()

    async def sleep(seconds: float) -> None:
        searching.set()
        await anyio.sleep_forever()

    post = await world.api.posts.create(world.post("To be deleted"))
    writes = Writes(world.api, world.ledger, monotonic=world.time.monotonic, sleep=sleep, now=world.time.clock.now)
    world.faults.script = ["lost before commit"]
    answers: list[Created | Deleted] = []

    async def call() -> None:
        if kind == "create":
            answers.append(await writes.create(world.post(), tool="create_post"))
        else:
            answers.append(await writes.delete(post.id, tool="delete_post", post=post))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await searching.wait()
        assert await writes.drained(0) is False

    assert [answer.outcome for answer in answers] == ["unknown"]
    assert await world.outcomes() == ["unknown"]


@pytest.mark.requirement("writes.cancel")
async def test_create_cancelled_before_it_leaves_is_not_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While only the ledger was busy, cancelling costs nothing."""
    scope = anyio.CancelScope()
    begin = world.ledger.begin_create

    async def cancelled_meanwhile(*args: object, **options: object) -> object:
        scope.cancel()
        await anyio.sleep(0)
        return await begin(*args, **options)  # pyright: ignore[reportArgumentType] # passed on

    monkeypatch.setattr(world.ledger, "begin_create", cancelled_meanwhile)
    with scope:
        await world.writes.create(world.post(), tool="create_post")

    assert scope.cancelled_caught
    assert world.faults.writes == []
    assert await world.outcomes() == ["not_done"]


@pytest.mark.requirement("writes.drain")
async def test_drain_waits_for_what_is_in_flight(world: World) -> None:
    """Uploads and plans count as well as writes."""
    assert await world.writes.drained(0) is True
    async with anyio.create_task_group() as tasks:
        with world.writes.flight(), world.writes.flight():
            assert world.writes.in_flight == 2
            assert await world.writes.drained(0) is False
            answers: list[bool] = []

            async def drain() -> None:
                answers.append(await world.writes.drained(5))

            tasks.start_soon(drain)
            await anyio.sleep(0)

    assert answers == [True]
    assert world.writes.in_flight == 0


class BrokenState(FileState):
    """A ledger that takes so many commits and then none."""

    commits_left = 0

    async def apply(self, scope: str, steps: list[Put | Drop], now: datetime, at_most: AtMost | None = None) -> object:  # pyright: ignore[reportIncompatibleMethodOverride] # a stand-in
        if not self.commits_left:
            raise LedgerProblem("the ledger can't be used: the disk is full.")
        self.commits_left -= 1
        return await super().apply(scope, steps, now, at_most)


class CountingState(FileState):
    """Counts what it is asked."""

    commits = 0
    looks = 0

    async def apply(
        self, scope: str, steps: Sequence[Put | Drop], now: datetime, at_most: AtMost | None = None
    ) -> Applied:
        self.commits += 1
        return await super().apply(scope, steps, now, at_most)

    async def get(self, scope: str, kind: str, keys: Sequence[str], now: datetime) -> dict[str, Entry]:
        self.looks += 1
        return await super().get(scope, kind, keys, now)


@pytest.mark.requirement("writes.price")
async def test_a_write_costs_one_commit_before_and_one_after_and_no_look(world: World, tmp_path: Path) -> None:
    """And one request: no list comes before a create."""
    state = CountingState(tmp_path / "counting")
    world.ledger = Ledger(state, "scope", world.time.clock.now)
    writes = world.another(caps=Caps(posts=100, deletes=100))

    created = await writes.create(world.post(), tool="create_post")
    assert (state.commits, state.looks) == (2, 0)
    await writes.delete(created.post_id or "", tool="delete_post", post=created.post)
    assert (state.commits, state.looks) == (4, 0)
    assert world.faults.writes == ["POST", "DELETE"]
    await state.aclose()


KILLED = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
import anyio
from ttp_mcp.api import ApiClient, PostCreate
from ttp_mcp.credentials import Token
from ttp_mcp.ledger import Ledger
from ttp_mcp.state.files import FileState
from ttp_mcp.writes import Writes
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
async def app(scope, receive, send):
    os._exit(9)
async def main():
    api = ApiClient(base_url="http://sandbox.localhost/api", token=Token("ttp_" + "0" * 48), app=app)
    ledger = Ledger(FileState(Path(sys.argv[1])), "scope", lambda: NOW)
    await Writes(api, ledger, now=lambda: NOW).create(PostCreate("Last words", platforms=("twitter",)), tool="create_post")
anyio.run(main)
"""


@pytest.mark.requirement("writes.ledger-faults")
async def test_process_that_is_killed_during_a_write_leaves_a_trace(tmp_path: Path) -> None:
    """The next process reports what was being sent."""
    killed = await anyio.run_process([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    state = FileState(tmp_path)
    ledger = Ledger(state, "scope", lambda: START + timedelta(minutes=5))

    assert killed.returncode == 9
    assert [(each.kind, each.tool, each.content, each.at) for each in await ledger.unfinished()] == [
        ("create", "create_post", "Last words", START)
    ]
    await state.aclose()


@pytest.mark.requirement("writes.ledger-faults")
async def test_what_can_not_be_noted_is_not_sent(world: World, tmp_path: Path) -> None:
    """No ledger, no write."""
    world.ledger = Ledger(BrokenState(tmp_path / "broken"), "scope", world.time.clock.now)

    with pytest.raises(LedgerProblem):
        await world.another().create(world.post(), tool="create_post")

    assert world.faults.writes == []


@pytest.mark.requirement("writes.ledger-faults")
@pytest.mark.parametrize("fault", ["none", "lost after commit"])
async def test_outcome_that_can_not_be_noted_is_still_answered(
    world: World, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What happened has happened; the intent stays behind and is reported."""
    state = BrokenState(tmp_path / "broken")
    state.commits_left = 1
    world.ledger = Ledger(state, "scope", world.time.clock.now)
    world.faults.script = [fault]

    created = await world.another().create(world.post(), tool="create_post")
    world.time.clock.move(120)

    assert (created.outcome, created.recorded) == ("created", False)
    assert [each.tool for each in await world.ledger.unfinished()] == ["create_post"]
    assert "could not be noted" in caplog.text
    await state.aclose()


@pytest.mark.requirement("writes.audit")
async def test_each_write_leaves_one_line_without_its_content(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Ids and digests, never the text or the token."""
    caplog.set_level(logging.INFO, logger="ttp_mcp.writes")
    world.faults.script = ["lost after commit"]
    created = await world.writes.create(world.post("A secret surprise"), tool="create_post")
    await world.writes.delete(created.post_id or "", tool="delete_post")

    lines = [
        json.loads(record.getMessage().removeprefix("write "))
        for record in caplog.records
        if record.name == "ttp_mcp.writes"
    ]
    assert [(line["kind"], line["outcome"], line["post_id"], line["why"]) for line in lines] == [
        ("create", "created", created.post_id, "reconciled"),
        ("delete", "deleted", created.post_id, None),
    ]
    assert lines[0]["token"] == Token(world.sandbox.token).fingerprint
    assert "secret" not in caplog.text
    assert world.sandbox.token not in caplog.text


SENT = PostCreate(
    "Hello\nworld",
    account_ids=("a", "b"),
    media_urls=("https://example.com/1.png",),
    thread=("two",),
    scheduled_at=DUE,
    platform_data={"pinterest": {"boardId": "7"}},
)
FOUND = {
    "id": "p",
    "content": "Hello\r\nworld ",
    "accountIds": ["b", "a"],
    "mediaUrls": ["https://example.com/1.png"],
    "thread": ["two"],
    "scheduledAt": "2026-11-26T10:00:00.900Z",
    "platformData": {"pinterest": {"boardId": "7"}, "added": 1},
}


@pytest.mark.requirement("writes.matching")
@pytest.mark.parametrize("missing", ["accountIds", "thread", "platformData"])
def test_what_the_api_does_not_show_is_not_compared(missing: str) -> None:
    """The reference promises neither accounts, thread nor platform data."""
    assert is_equal(SENT, Post(FOUND))
    assert is_equal(SENT, Post({key: value for key, value in FOUND.items() if key != missing}))


@pytest.mark.requirement("writes.matching")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content", "Hello world"),
        ("accountIds", ["a"]),
        ("mediaUrls", []),
        ("thread", ["three"]),
        ("scheduledAt", "2026-11-26T10:00:01Z"),
        ("scheduledAt", None),
        ("platformData", {"pinterest": {"boardId": "8"}}),
    ],
)
def test_what_the_api_shows_has_to_agree(name: str, value: object) -> None:
    """One difference is enough."""
    assert not is_equal(SENT, Post({**FOUND, name: value}))


@pytest.mark.requirement("writes.matching")
def test_accounts_are_read_from_the_results_too_and_platforms_by_name() -> None:
    """Either place tells the accounts; a post to platforms is compared by them."""
    results = {**FOUND, "accountIds": None, "results": [{"accountId": "a"}, {"accountId": "c"}]}
    to_platform = replace(SENT, account_ids=(), platforms=("Pinterest",))

    assert not is_equal(SENT, Post(results))
    assert is_equal(to_platform, Post({**FOUND, "platforms": ["pinterest"]}))
    assert not is_equal(to_platform, Post({**FOUND, "platforms": ["twitter"]}))
