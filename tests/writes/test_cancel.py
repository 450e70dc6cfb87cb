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
async def test_cancelled_create_records_its_outcome(harness) -> None:
    """The request was in flight, so it continues in its own task."""
    async with harness.hold_create() as (answers, caller):
        assert harness.writes.in_flight.count == 1
        caller.cancel()
        harness.faults.release.set()

    assert answers == []
    assert harness.writes.in_flight.count == 0
    assert await harness.outcomes() == ["created"]
    assert len(await harness.equal_posts(harness.post())) == 1


@pytest.mark.requirement("writes.cancel")
async def test_write_survives_two_cancellations_of_its_task(harness) -> None:
    """An event loop that stops cancels tasks like this. The drain waits for the write instead."""
    harness.faults.script = ["held, then committed"]
    caller = asyncio.get_running_loop().create_task(harness.writes.create(harness.post(), tool="create_post"))
    await harness.faults.held.wait()
    for _ in range(2):
        caller.cancel()
        await anyio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert harness.writes.in_flight.count == 1
    harness.faults.release.set()

    assert await harness.writes.in_flight.drain(5) is True
    assert await harness.outcomes() == ["created"]


@pytest.mark.requirement("writes.cancel")
@pytest.mark.parametrize("kind", ["create", "delete"])
async def test_write_that_hangs_after_a_cancellation_ends_as_unknown(harness, kind: str) -> None:
    """After the grace period the write is abandoned, and the ledger has an unknown outcome."""
    post = await harness.api.posts.create(harness.post("To be deleted"))
    writes = harness.make_writer(grace_seconds=0.01)
    harness.faults.script = ["held, then committed"]

    async def call() -> None:
        if kind == "create":
            await writes.create(harness.post(), tool="create_post")
        else:
            await writes.delete(post.id, tool="delete_post", post=post)
        raise AssertionError("no answer may be invented")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await harness.faults.held.wait()
        tasks.cancel_scope.cancel()

    assert await harness.outcomes() == ["unknown"]
    assert await harness.ledger.list_unfinished() == []
    assert writes.in_flight.count == 0


@pytest.mark.requirement("writes.cancel")
@pytest.mark.parametrize("kind", ["create", "delete"])
async def test_search_for_a_lost_response_is_abandoned_by_the_drain(harness, kind: str) -> None:
    """A drain that times out during the search leaves an unknown outcome, which a waiting caller gets."""
    searching = anyio.Event()

    async def sleep(seconds: float) -> None:
        searching.set()
        await anyio.sleep_forever()

    post = await harness.api.posts.create(harness.post("To be deleted"))
    writes = Writer(
        harness.api, harness.ledger, monotonic=harness.time.monotonic, sleep=sleep, now=harness.time.clock.now
    )
    harness.faults.script = ["lost before commit"]
    answers: list[Created | Deleted] = []

    async def call() -> None:
        if kind == "create":
            answers.append(await writes.create(harness.post(), tool="create_post"))
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
    assert await harness.outcomes() == ["unknown"]


@pytest.mark.requirement("writes.cancel")
@pytest.mark.parametrize("kind", ["create", "delete", "publish"])
async def test_write_abandoned_while_it_is_sent_is_unknown(harness, kind: str) -> None:
    """There is no search, since the time is up."""
    writes, old = harness.writes, await harness.api.posts.create(harness.post(at=None))
    harness.faults.script = ["held, then committed"]
    begin, expected = {
        "create": (lambda: writes.create(harness.post(), tool="create_post"), Created("unknown", START)),
        "delete": (lambda: writes.delete(old.id, tool="delete_post", post=old), Deleted("unknown", START, old)),
        "publish": (lambda: writes.publish(old, tool="publish_post"), Published("unknown", START, old)),
    }[kind]
    done: list[object] = []

    async def run() -> None:
        done.append(await begin())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await harness.faults.held.wait()
        assert await writes.in_flight.abandon() is False
        assert writes.in_flight.count == 0

    assert done == [expected]
    assert await harness.outcomes() == ["unknown"]
    assert harness.time.monotonic() == 0


def cancel_while_recorded(harness, kind: str, monkeypatch: pytest.MonkeyPatch) -> anyio.CancelScope:
    """Return a scope that is cancelled while the ledger records the next write of a kind."""
    scope, record = anyio.CancelScope(), getattr(harness.ledger, f"begin_{kind}")

    async def record_slowly(*args: object, **options: object) -> object:
        scope.cancel()
        await anyio.sleep(0)
        return await record(*args, **options)

    monkeypatch.setattr(harness.ledger, f"begin_{kind}", record_slowly)
    return scope


@pytest.mark.requirement("writes.cancel")
@pytest.mark.parametrize("kind", ["create", "delete", "publish"])
async def test_write_cancelled_before_its_request_is_not_sent(harness, kind: str, monkeypatch, caplog) -> None:
    """Until then only the ledger was busy."""
    caplog.set_level(logging.INFO, logger="ttp_mcp.writes.writer")
    scope = cancel_while_recorded(harness, kind, monkeypatch)
    with scope:
        await begin_write(harness.writes, kind, harness)

    assert scope.cancelled_caught
    assert harness.faults.writes == []
    assert await harness.outcomes() == ["not_done"]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "ttp_mcp.writes.writer"]
    assert json.loads(line.removeprefix("write "))["why"] == "cancelled"


@pytest.mark.requirement("writes.cancel")
async def test_cancelled_duplicate_leaves_no_trace(harness, monkeypatch, caplog) -> None:
    """Nothing was recorded for it."""
    await harness.writes.create(harness.post(), tool="create_post")
    scope = cancel_while_recorded(harness, "create", monkeypatch)
    with scope:
        await harness.writes.create(harness.post(), tool="create_post")

    assert scope.cancelled_caught
    assert await harness.outcomes() == ["created"]
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


def make_slow_writer(harness, passes: int, **options: float) -> tuple[SlowState, Writer]:
    """Create the writer of a process whose commit after the first `passes` is slow."""
    state = SlowState(harness.state)
    state.passes = passes
    ledger = Ledger(state, scope_of(harness.api.base_url, harness.api.token, None), harness.time.clock.now)
    time = harness.time
    return state, Writer(harness.api, ledger, monotonic=time.monotonic, sleep=time.sleep, now=time.clock.now, **options)


async def begin_write(writes: Writer, kind: str, harness) -> object:
    """Begin a write of a kind; return its result or its error."""
    try:
        if kind == "create":
            return await writes.create(harness.post(), tool="create_post")
        post = await harness.api.posts.create(harness.post("Of before", at=None))
        harness.faults.writes.clear()
        if kind == "publish":
            return await writes.publish(post, tool="publish_post")
        return await writes.delete(post.id, tool="delete_post", post=post)
    except WriteRefused as refused:
        return refused


@pytest.mark.requirement("writes.cancel")
@pytest.mark.parametrize("kind", ["create", "delete", "publish"])
async def test_write_abandoned_while_its_intent_is_recorded_is_not_sent(
    harness, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The commit can't be undone, so it is awaited and then corrected. The same write is possible afterwards."""
    state, writes = make_slow_writer(harness, 0)
    caller = asyncio.create_task(begin_write(writes, kind, harness))
    await state.reached.wait()
    assert await writes.in_flight.abandon() is False
    state.release.set()

    assert "the server is shutting down and abandoned this call" in str(await caller)
    assert await harness.outcomes() == ["not_done"]
    assert harness.faults.writes == []
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []
    harness.time.clock.move(100)
    assert await harness.ledger.list_unfinished() == []
    expected = {"create": "created", "delete": "deleted", "publish": "queued"}[kind]
    assert (await begin_write(harness.make_writer(), kind, harness)).outcome == expected


@pytest.mark.requirement("writes.cancel")
@pytest.mark.parametrize(("kind", "outcome"), [("create", "created"), ("delete", "deleted")])
async def test_write_abandoned_while_its_outcome_is_recorded_keeps_it(harness, kind: str, outcome: str) -> None:
    """A known outcome is recorded and returned."""
    state, writes = make_slow_writer(harness, 1)
    caller = asyncio.create_task(begin_write(writes, kind, harness))
    await state.reached.wait()
    assert await writes.in_flight.abandon() is False
    state.release.set()
    reported = await caller

    assert isinstance(reported, Created | Deleted)
    assert (reported.outcome, reported.recorded) == (outcome, True)
    assert await harness.outcomes() == [outcome]


@pytest.mark.requirement("writes.cancel")
async def test_post_found_while_the_write_is_abandoned_stays_found(harness) -> None:
    """Claiming a post after a lost response is a commit like any other."""
    harness.faults.script = ["lost after commit"]
    state, writes = make_slow_writer(harness, 1)
    caller = asyncio.create_task(begin_write(writes, "create", harness))
    await state.reached.wait()
    assert await writes.in_flight.abandon() is False
    state.release.set()
    reported = await caller

    assert isinstance(reported, Created)
    assert (reported.outcome, reported.reconciled) == ("created", True)
    assert await harness.outcomes() == ["created"]


@pytest.mark.requirement("writes.drain")
async def test_no_write_begins_after_writes_were_abandoned(harness) -> None:
    """A call of several writes fails at its next one, which is neither sent nor recorded."""
    post = await harness.api.posts.create(harness.post("To be deleted"))
    harness.faults.writes.clear()
    assert await harness.writes.in_flight.abandon() is True

    with pytest.raises(WriteRefused, match=r"^the server is shutting down .* Safe to retry\.$"):
        await harness.writes.create(harness.post(), tool="create_post")
    with pytest.raises(WriteRefused):
        await harness.writes.delete(post.id, tool="delete_post")
    with pytest.raises(WriteRefused):
        async with harness.writes.upload(tool="upload_media"):
            pass
    assert harness.faults.writes == []
    assert await harness.outcomes() == []
    assert harness.writes.in_flight.unresolved == 0


@pytest.mark.requirement("writes.drain")
@pytest.mark.parametrize(("ends", "outcome"), [(False, "unknown"), (True, "uploaded")])
async def test_abandoned_upload_ends_with_a_recorded_outcome(harness, ends: bool, outcome: str) -> None:
    """If it finishes at that moment, it counts as uploaded."""
    begun = anyio.Event()

    async def upload() -> str:
        try:
            async with harness.writes.upload(tool="upload_media"):
                begun.set()
                with anyio.CancelScope(shield=ends):
                    await (released.wait() if ends else anyio.sleep_forever())
        except WriteRefused as refused:
            return str(refused)
        return "uploaded"

    released = anyio.Event()
    caller = asyncio.create_task(upload())
    await begun.wait()
    assert harness.writes.in_flight.unresolved == 1
    assert await harness.writes.in_flight.abandon() is False
    released.set()

    assert (await caller).startswith("uploaded" if ends else "the server is shutting down ")
    assert await harness.outcomes() == [outcome]
    assert (harness.writes.in_flight.count, harness.writes.in_flight.unresolved) == (0, 0)


@pytest.mark.requirement("writes.drain")
async def test_drain_waits_for_everything_in_flight(harness) -> None:
    """Uploads and plans count as well as writes."""
    assert await harness.writes.in_flight.drain(0) is True
    async with anyio.create_task_group() as tasks:
        with harness.writes.in_flight.track(), harness.writes.in_flight.track():
            assert harness.writes.in_flight.count == 2
            assert await harness.writes.in_flight.drain(0) is False
            answers: list[bool] = []

            async def drain() -> None:
                answers.append(await harness.writes.in_flight.drain(5))

            tasks.start_soon(drain)
            await anyio.sleep(0)

    assert answers == [True]
    assert harness.writes.in_flight.count == 0


@pytest.mark.requirement("writes.drain")
async def test_drain_waits_for_the_last_of_several(harness) -> None:
    in_flight = harness.writes.in_flight
    answers: list[bool] = []

    async def drain() -> None:
        answers.append(await in_flight.drain(3600))

    async with anyio.create_task_group() as tasks:
        with in_flight.track():
            with in_flight.track():
                tasks.start_soon(drain)
                await anyio.wait_all_tasks_blocked()
            await anyio.wait_all_tasks_blocked()
            assert answers == []

    assert answers == [True]


@pytest.mark.requirement("writes.drain")
async def test_drain_keeps_the_time_to_record_outcomes_within_its_seconds(harness) -> None:
    """A write that ends after that is abandoned, even if it would have ended within the seconds."""
    in_flight = harness.writes.in_flight

    async def work() -> None:
        with in_flight.track():
            await anyio.sleep(0.5)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await anyio.wait_all_tasks_blocked()
        assert await in_flight.drain(0.5) is False


@pytest.mark.requirement("writes.cancel")
async def test_search_of_a_cancelled_write_ends_after_the_grace_period(harness) -> None:
    searching = anyio.Event()

    async def sleep(_: float) -> None:
        searching.set()
        await anyio.sleep_forever()

    time = harness.time
    writes = Writer(
        harness.api, harness.ledger, grace_seconds=0.01, monotonic=time.monotonic, sleep=sleep, now=time.clock.now
    )
    harness.faults.script = ["lost before commit"]
    caller = asyncio.create_task(writes.create(harness.post(), tool="create_post"))
    await searching.wait()
    caller.cancel()

    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await harness.outcomes() == ["unknown"]


@pytest.mark.requirement("writes.cancel")
async def test_cancelled_caller_does_not_wait_for_a_ledger_that_hangs(harness) -> None:
    """The write continues to record its outcome after the caller left."""
    state, writes = make_slow_writer(harness, 1, grace_seconds=0.01)
    caller = asyncio.create_task(writes.create(harness.post(), tool="create_post"))
    await state.reached.wait()
    caller.cancel()

    with pytest.raises(asyncio.CancelledError):
        await caller
    assert (await harness.outcomes(), writes.in_flight.unresolved) == ([None], 1)
    state.release.set()
    assert await writes.in_flight.drain(5) is True
    assert await harness.outcomes() == ["created"]


@pytest.mark.requirement("writes.drain")
async def test_closing_the_server_leaves_no_write_without_an_outcome(harness, tmp_path: Path) -> None:
    """Writes still running after the drain are recorded as unknown before the connections close."""
    harness.sandbox.app = harness.faults
    settings = Settings(zone=find_zone("UTC"), state_dir=tmp_path / "own")
    runtime = create_server(settings, harness.sandbox, now=harness.time.clock.now)
    harness.faults.script = ["held, then committed"]
    answers: list[Created] = []

    async def call() -> None:
        answers.append(await runtime.app.writer.create(harness.post(), tool="create_post"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await harness.faults.held.wait()
        await runtime.aclose()
        noted = [record.outcome for record in await runtime.app.ledger.read_history(START)]
        reported = [answer.outcome for answer in answers]
        tasks.cancel_scope.cancel()

    # At this time, not at the end of the search for the response.
    assert (noted, reported) == (["unknown"], ["unknown"])
    await runtime.state.aclose()
