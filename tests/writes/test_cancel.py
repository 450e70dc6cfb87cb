"""Cancelled calls, drains and abandoned writes."""

import asyncio
import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from ttp_mcp.config import Settings
from ttp_mcp.factory import create_server
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import scope_of
from ttp_mcp.ledger.store.base import Delete, Put, RateCap, Store
from ttp_mcp.times import find_zone
from ttp_mcp.writes.outcomes import Created, Deleted, Published, WriteRefused
from ttp_mcp.writes.writer import Writer

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


@pytest.mark.requirement("writes.cancel")
async def test_cancelled_create_records_its_outcome(world) -> None:
    """The request was in flight, so it continues in its own task."""
    async with world.held_create() as (answers, caller):
        assert world.writes.in_flight.count == 1
        caller.cancel()
        world.faults.release.set()

    assert answers == []
    assert world.writes.in_flight.count == 0
    assert await world.outcomes() == ["created"]
    assert len(await world.equal_posts(world.post())) == 1


@pytest.mark.requirement("writes.cancel")
async def test_write_survives_two_cancellations_of_its_task(world) -> None:
    """An event loop that stops cancels tasks like this. The drain waits for the write instead."""
    world.faults.script = ["held, then committed"]
    caller = asyncio.get_running_loop().create_task(world.writes.create(world.post(), tool="create_post"))
    await world.faults.held.wait()
    for _ in range(2):
        caller.cancel()
        await anyio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert world.writes.in_flight.count == 1
    world.faults.release.set()

    assert await world.writes.in_flight.drain(5) is True
    assert await world.outcomes() == ["created"]


@pytest.mark.requirement("writes.cancel")
@pytest.mark.parametrize("kind", ["create", "delete"])
async def test_write_that_hangs_after_a_cancellation_ends_as_unknown(world, kind: str) -> None:
    """After the grace period the write is abandoned, and the ledger has an unknown outcome."""
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
    assert await world.ledger.list_unfinished() == []
    assert writes.in_flight.count == 0


@pytest.mark.requirement("writes.cancel")
@pytest.mark.parametrize("kind", ["create", "delete"])
async def test_search_for_a_lost_response_is_abandoned_by_the_drain(world, kind: str) -> None:
    """A drain that times out during the search leaves an unknown outcome, which a waiting caller gets."""
    searching = anyio.Event()

    async def sleep(seconds: float) -> None:
        searching.set()
        await anyio.sleep_forever()

    post = await world.api.posts.create(world.post("To be deleted"))
    writes = Writer(world.api, world.ledger, monotonic=world.time.monotonic, sleep=sleep, now=world.time.clock.now)
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
        assert await writes.in_flight.drain(0) is False

    (answer,) = answers
    assert answer.cause is not None
    if kind == "create":
        assert answer == Created("unknown", START, cause=answer.cause)
    else:
        assert answer == Deleted("unknown", START, post, cause=answer.cause)
    assert await world.outcomes() == ["unknown"]


@pytest.mark.requirement("writes.cancel")
@pytest.mark.parametrize("kind", ["create", "delete", "publish"])
async def test_write_abandoned_while_it_is_sent_is_unknown(world, kind: str) -> None:
    """There is no search, since the time is up."""
    writes, old = world.writes, await world.api.posts.create(world.post(at=None))
    world.faults.script = ["held, then committed"]
    begin, expected = {
        "create": (lambda: writes.create(world.post(), tool="create_post"), Created("unknown", START)),
        "delete": (lambda: writes.delete(old.id, tool="delete_post", post=old), Deleted("unknown", START, old)),
        "publish": (lambda: writes.publish(old, tool="publish_post"), Published("unknown", START, old)),
    }[kind]
    done: list[object] = []

    async def run() -> None:
        done.append(await begin())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await world.faults.held.wait()
        assert await writes.in_flight.abandon() is False

    assert done == [expected]
    assert await world.outcomes() == ["unknown"]
    assert world.time.monotonic() == 0


def cancel_while_recorded(world, kind: str, monkeypatch: pytest.MonkeyPatch) -> anyio.CancelScope:
    """Return a scope that is cancelled while the ledger records the next write of a kind."""
    scope, record = anyio.CancelScope(), getattr(world.ledger, f"begin_{kind}")

    async def record_slowly(*args: object, **options: object) -> object:
        scope.cancel()
        await anyio.sleep(0)
        return await record(*args, **options)

    monkeypatch.setattr(world.ledger, f"begin_{kind}", record_slowly)
    return scope


@pytest.mark.requirement("writes.cancel")
@pytest.mark.parametrize("kind", ["create", "delete", "publish"])
async def test_write_cancelled_before_its_request_is_not_sent(world, kind: str, monkeypatch, caplog) -> None:
    """Until then only the ledger was busy."""
    caplog.set_level(logging.INFO, logger="ttp_mcp.writes.writer")
    scope = cancel_while_recorded(world, kind, monkeypatch)
    with scope:
        await begin(world.writes, kind, world)

    assert scope.cancelled_caught
    assert world.faults.writes == []
    assert await world.outcomes() == ["not_done"]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "ttp_mcp.writes.writer"]
    assert json.loads(line.removeprefix("write "))["why"] == "cancelled"


@pytest.mark.requirement("writes.cancel")
async def test_cancelled_duplicate_leaves_no_trace(world, monkeypatch, caplog) -> None:
    """Nothing was recorded for it."""
    await world.writes.create(world.post(), tool="create_post")
    scope = cancel_while_recorded(world, "create", monkeypatch)
    with scope:
        await world.writes.create(world.post(), tool="create_post")

    assert scope.cancelled_caught
    assert await world.outcomes() == ["created"]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


class SlowState:
    """A store whose commit after the first `passes` waits for `release`, even if its caller is cancelled."""

    def __init__(self, state: Store) -> None:
        self._state = state
        self.get, self.list_recent = state.get, state.list_recent
        self.reached, self.release = anyio.Event(), anyio.Event()
        self.passes = 0

    async def commit(self, scope: str, steps: Sequence[Put | Delete], now: datetime, cap: RateCap | None = None) -> str:
        self.passes -= 1
        if self.passes == -1:
            self.reached.set()
            with anyio.CancelScope(shield=True):
                await self.release.wait()
        return await self._state.commit(scope, steps, now, cap)


def slowed(world, passes: int, **options: float) -> tuple[SlowState, Writer]:
    """Create the writer of a process whose commit after the first `passes` is slow."""
    state = SlowState(world.state)
    state.passes = passes
    ledger = Ledger(state, scope_of(world.api.base_url, world.api.token, None), world.time.clock.now)
    time = world.time
    return state, Writer(world.api, ledger, monotonic=time.monotonic, sleep=time.sleep, now=time.clock.now, **options)


async def begin(writes: Writer, kind: str, world) -> object:
    """Begin a write of a kind; return its result or its error."""
    try:
        if kind == "create":
            return await writes.create(world.post(), tool="create_post")
        post = await world.api.posts.create(world.post("Of before", at=None))
        world.faults.writes.clear()
        if kind == "publish":
            return await writes.publish(post, tool="publish_post")
        return await writes.delete(post.id, tool="delete_post", post=post)
    except WriteRefused as refused:
        return refused


@pytest.mark.requirement("writes.cancel")
@pytest.mark.parametrize("kind", ["create", "delete", "publish"])
async def test_write_abandoned_while_its_intent_is_recorded_is_not_sent(
    world, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The commit can't be undone, so it is awaited and then corrected. The same write is possible afterwards."""
    state, writes = slowed(world, 0)
    caller = asyncio.create_task(begin(writes, kind, world))
    await state.reached.wait()
    assert await writes.in_flight.abandon() is False
    state.release.set()

    assert "the server is shutting down and abandoned this call" in str(await caller)
    assert await world.outcomes() == ["not_done"]
    assert world.faults.writes == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    world.time.clock.move(100)
    assert await world.ledger.list_unfinished() == []
    expected = {"create": "created", "delete": "deleted", "publish": "queued"}[kind]
    assert (await begin(world.another(), kind, world)).outcome == expected


@pytest.mark.requirement("writes.cancel")
@pytest.mark.parametrize(("kind", "outcome"), [("create", "created"), ("delete", "deleted")])
async def test_write_abandoned_while_its_outcome_is_recorded_keeps_it(world, kind: str, outcome: str) -> None:
    """A known outcome is recorded and returned."""
    state, writes = slowed(world, 1)
    caller = asyncio.create_task(begin(writes, kind, world))
    await state.reached.wait()
    assert await writes.in_flight.abandon() is False
    state.release.set()
    told = await caller

    assert isinstance(told, Created | Deleted)
    assert (told.outcome, told.recorded) == (outcome, True)
    assert await world.outcomes() == [outcome]


@pytest.mark.requirement("writes.cancel")
async def test_post_found_while_the_write_is_abandoned_stays_found(world) -> None:
    """Claiming a post after a lost response is a commit like any other."""
    world.faults.script = ["lost after commit"]
    state, writes = slowed(world, 1)
    caller = asyncio.create_task(begin(writes, "create", world))
    await state.reached.wait()
    assert await writes.in_flight.abandon() is False
    state.release.set()
    told = await caller

    assert isinstance(told, Created)
    assert (told.outcome, told.reconciled) == ("created", True)
    assert await world.outcomes() == ["created"]


@pytest.mark.requirement("writes.drain")
async def test_no_write_begins_after_writes_were_abandoned(world) -> None:
    """A call of several writes fails at its next one, which is neither sent nor recorded."""
    post = await world.api.posts.create(world.post("To be deleted"))
    world.faults.writes.clear()
    assert await world.writes.in_flight.abandon() is True

    with pytest.raises(WriteRefused, match=r"^the server is shutting down .* Safe to retry\.$"):
        await world.writes.create(world.post(), tool="create_post")
    with pytest.raises(WriteRefused):
        await world.writes.delete(post.id, tool="delete_post")
    with pytest.raises(WriteRefused):
        async with world.writes.upload(tool="upload_media"):
            pass
    assert world.faults.writes == []
    assert await world.outcomes() == []
    assert world.writes.in_flight.unresolved == 0


@pytest.mark.requirement("writes.drain")
@pytest.mark.parametrize(("ends", "outcome"), [(False, "unknown"), (True, "uploaded")])
async def test_abandoned_upload_ends_with_a_recorded_outcome(world, ends: bool, outcome: str) -> None:
    """If it finishes at that moment, it counts as uploaded."""
    begun = anyio.Event()

    async def upload() -> str:
        try:
            async with world.writes.upload(tool="upload_media"):
                begun.set()
                with anyio.CancelScope(shield=ends):
                    await (released.wait() if ends else anyio.sleep_forever())
        except WriteRefused as refused:
            return str(refused)
        return "uploaded"

    released = anyio.Event()
    caller = asyncio.create_task(upload())
    await begun.wait()
    assert world.writes.in_flight.unresolved == 1
    assert await world.writes.in_flight.abandon() is False
    released.set()

    assert (await caller == "uploaded") is ends
    assert await world.outcomes() == [outcome]
    assert (world.writes.in_flight.count, world.writes.in_flight.unresolved) == (0, 0)


@pytest.mark.requirement("writes.drain")
async def test_drain_waits_for_everything_in_flight(world) -> None:
    """Uploads and plans count as well as writes."""
    assert await world.writes.in_flight.drain(0) is True
    async with anyio.create_task_group() as tasks:
        with world.writes.in_flight.track(), world.writes.in_flight.track():
            assert world.writes.in_flight.count == 2
            assert await world.writes.in_flight.drain(0) is False
            answers: list[bool] = []

            async def drain() -> None:
                answers.append(await world.writes.in_flight.drain(5))

            tasks.start_soon(drain)
            await anyio.sleep(0)

    assert answers == [True]
    assert world.writes.in_flight.count == 0


@pytest.mark.requirement("writes.drain")
async def test_drain_waits_for_the_last_of_several(world) -> None:
    in_flight = world.writes.in_flight
    answers: list[bool] = []

    async def drain() -> None:
        answers.append(await in_flight.drain(5))

    async with anyio.create_task_group() as tasks:
        with in_flight.track():
            with in_flight.track():
                tasks.start_soon(drain)
                await anyio.wait_all_tasks_blocked()
            await anyio.wait_all_tasks_blocked()
            assert answers == []

    assert answers == [True]


@pytest.mark.requirement("writes.drain")
async def test_drain_keeps_the_time_to_record_outcomes_within_its_seconds(world) -> None:
    """A write that ends after that is abandoned, even if it would have ended within the seconds."""
    in_flight = world.writes.in_flight

    async def work() -> None:
        with in_flight.track():
            await anyio.sleep(0.5)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        assert await in_flight.drain(0.5) is False


@pytest.mark.requirement("writes.cancel")
async def test_search_of_a_cancelled_write_ends_after_the_grace_period(world) -> None:
    searching = anyio.Event()

    async def sleep(_: float) -> None:
        searching.set()
        await anyio.sleep_forever()

    time = world.time
    writes = Writer(
        world.api, world.ledger, grace_seconds=0.01, monotonic=time.monotonic, sleep=sleep, now=time.clock.now
    )
    world.faults.script = ["lost before commit"]
    caller = asyncio.create_task(writes.create(world.post(), tool="create_post"))
    await searching.wait()
    caller.cancel()

    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await world.outcomes() == ["unknown"]


@pytest.mark.requirement("writes.cancel")
async def test_cancelled_caller_does_not_wait_for_a_ledger_that_hangs(world) -> None:
    """The write continues to record its outcome after the caller left."""
    state, writes = slowed(world, 1, grace_seconds=0.01)
    caller = asyncio.create_task(writes.create(world.post(), tool="create_post"))
    await state.reached.wait()
    caller.cancel()

    with pytest.raises(asyncio.CancelledError):
        await caller
    assert (await world.outcomes(), writes.in_flight.unresolved) == ([None], 1)
    state.release.set()
    assert await writes.in_flight.drain(5) is True
    assert await world.outcomes() == ["created"]


@pytest.mark.requirement("writes.drain")
async def test_closing_the_server_leaves_no_write_without_an_outcome(world, tmp_path: Path) -> None:
    """Writes still running after the drain are recorded as unknown before the connections close."""
    world.sandbox.app = world.faults
    settings = Settings(zone=find_zone("UTC"), state_dir=tmp_path / "own")
    assembly = create_server(settings, world.sandbox, now=world.time.clock.now)
    world.faults.script = ["held, then committed"]
    answers: list[Created] = []

    async def call() -> None:
        answers.append(await assembly.app.writer.create(world.post(), tool="create_post"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await world.faults.held.wait()
        await assembly.aclose()
        noted = [record.outcome for record in await assembly.app.ledger.read_history(START)]
        told = [answer.outcome for answer in answers]
        tasks.cancel_scope.cancel()

    # At this time, not at the end of the search for the response.
    assert (noted, told) == (["unknown"], ["unknown"])
    await assembly.state.aclose()
