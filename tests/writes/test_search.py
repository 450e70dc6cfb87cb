"""The search after a lost response: when it reads, for how long, and by which clock."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import anyio
import anyio.lowlevel
import pytest

from tests.virtual_time import START
from tests.writes.conftest import advance_loop_clock
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import Clocks
from ttp_mcp.api.http import Http
from ttp_mcp.credentials import Token
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import scope_of
from ttp_mcp.writes.writer import Writer

pytestmark = pytest.mark.requirement("writes.lost-answers")

KINDS = ("create", "delete", "publish")


async def begin_each(harness) -> dict[str, Callable[[Writer], Awaitable[object]]]:
    """Begin one write of each kind."""
    old = await harness.api.posts.create(harness.post("To be deleted"))
    draft = await harness.api.posts.create(harness.post("To be published", at=None))
    return {
        "create": lambda writes: writes.create(harness.post(), tool="create_post"),
        "delete": lambda writes: writes.delete(old.id, tool="delete_post", post=old),
        "publish": lambda writes: writes.publish(draft, tool="publish_post"),
    }


@pytest.mark.parametrize("kind", KINDS)
async def test_search_reads_at_doubling_intervals_until_its_deadline(harness, kind: str) -> None:
    """The last read is at the deadline."""
    delays: list[float] = []

    async def sleep(seconds: float) -> None:
        delays.append(seconds)
        await harness.time.sleep(seconds)

    time = harness.time
    writes = Writer(
        harness.api, harness.ledger, deadline_seconds=27.75, monotonic=time.monotonic, sleep=sleep, now=time.clock.now
    )
    begin = (await begin_each(harness))[kind]
    harness.faults.script = ["lost before commit"]

    done = await begin(writes)

    assert done.outcome == "unknown"
    assert done.cause is not None
    assert delays == [0.25, 0.5, 1, 2, 4, 4, 4, 4, 4, 4]


async def test_search_after_a_late_loss_takes_eight_seconds_at_least(harness) -> None:
    """The request itself took almost all of the call's 30 s."""
    async with harness.hold_create() as (created, _):
        harness.faults.reads_fail = True
        harness.time.clock.move(29)
        harness.faults.release.set()

    assert (created[0].outcome, created[0].candidates) == ("unknown", ())
    assert 29 + 4 < harness.time.monotonic() <= 29 + 8


@pytest.mark.parametrize(("kind", "outcome"), [("create", "created"), ("delete", "deleted"), ("publish", "queued")])
async def test_search_continues_after_a_failed_read(harness, kind: str, outcome: str) -> None:
    begin = (await begin_each(harness))[kind]
    harness.faults.script = ["lost after commit"]
    harness.faults.reads_fail = True

    async def recover() -> None:
        harness.faults.reads_fail = False

    # A read retries its request for a few seconds.
    harness.time.plan(10, recover)

    assert (await begin(harness.writes)).outcome == outcome
    assert await harness.outcomes() == [outcome]


async def test_read_that_hangs_is_abandoned(harness) -> None:
    """Other processes rely on an outcome within 80 s."""
    harness.time.clock.move(100)
    writes = harness.make_writer(deadline_seconds=0, min_search_seconds=0.25)
    begins = await begin_each(harness)
    harness.faults.script = ["lost after commit"] * 3
    harness.faults.reads_hang = True
    outcomes: dict[str, str] = {}

    async def run(kind: str) -> None:
        outcomes[kind] = (await begins[kind](writes)).outcome

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for kind in KINDS:
                tasks.start_soon(run, kind)

    assert outcomes == dict.fromkeys(KINDS, "unknown")


@pytest.mark.parametrize("hours", [-1, 1])
async def test_post_is_found_by_the_clock_of_the_api(harness, hours: int) -> None:
    """With a wrong clock on this machine, an equal post of a minute ago still isn't taken for the new one."""
    old = await harness.api.posts.create(harness.post())
    await harness.api.aclose()
    time = harness.time
    time.clock.move(60)

    def now():
        return time.clock.now() + timedelta(hours=hours)

    clocks = Clocks(monotonic=time.monotonic, sleep=time.sleep, jitter=lambda: 0.5, now=now)
    token = Token(harness.sandbox.token)
    harness.api = ApiClient(Http(base_url=harness.sandbox.api_url, token=token, app=harness.faults, clocks=clocks))
    ledger = Ledger(harness.state, scope_of(harness.api.base_url, token, None), now)
    writes = Writer(harness.api, ledger, monotonic=time.monotonic, sleep=time.sleep, now=now)
    harness.faults.script = ["lost after commit"]

    created = await writes.create(harness.post(), tool="create_post")
    await harness.api.aclose()

    assert (created.outcome, created.reconciled) == ("created", True)
    assert created.at == START + timedelta(hours=hours, seconds=60)
    assert created.post is not None
    assert created.post_id != old.id
    assert created.post.created_at == START + timedelta(seconds=60)


async def test_search_by_a_later_call_waits_for_a_slow_list(harness) -> None:
    harness.faults.script = ["lost after commit"]
    harness.faults.reads_fail = True
    first = await harness.writes.create(harness.post(), tool="create_post")
    harness.faults.reads_fail = False
    harness.faults.read_seconds = 1.2

    again = await harness.writes.create(harness.post(), tool="create_post")

    assert (first.outcome, again.outcome, again.reconciled) == ("unknown", "already_created", True)


async def test_post_that_is_found_at_the_last_moment_is_recorded_and_returned(harness, monkeypatch) -> None:
    """The time for a read ends while the ledger records what it found."""
    commit = harness.state.commit

    async def commit_slowly(*arguments: object) -> object:
        advance_loop_clock(60)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        return await commit(*arguments)

    monkeypatch.setattr(harness.state, "commit", commit_slowly)
    harness.faults.script = ["lost after commit"]

    created = await harness.writes.create(harness.post(), tool="create_post")

    assert (created.outcome, created.recorded) == ("created", True)
    assert await harness.outcomes() == ["created"]
