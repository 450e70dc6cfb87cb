"""A reschedule whose process ends halfway: nothing is lost, both ids are reported, and the same call finishes it."""

from contextlib import asynccontextmanager

import anyio
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.ledgers import fail_to_record
from tests.tools.conftest import Fault
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.replacements import Replacements
from ttp_mcp.writes.replacement import Replacer

pytestmark = pytest.mark.requirement("replacing.half-done")

DUE = "2026-11-26T10:00"
LATER = "2026-11-27T10:00"


class Crash(Exception):
    """Simulates the end of the process: no code of the call runs after it."""


def crash_at(monkeypatch, name):
    """End the process at one step of reschedule_post."""

    async def crash(*_, **__):
        raise Crash

    monkeypatch.setattr(Replacer, name, crash)


async def schedule_post(agent):
    """Schedule a post for the 26th."""
    _, data = await agent.expect_ok(
        "create_post", content="Doors open at ten", platforms=["linkedin"], scheduled_at=DUE
    )
    return data["post_id"]


async def crash_reschedule(agent, monkeypatch, step, **arguments):
    """Reschedule with a crash at one step; return the ids of the posts that exist then."""
    with monkeypatch.context() as broken:
        crash_at(broken, step)
        await agent.expect_error("reschedule_post", **arguments)
    _, data = await agent.expect_ok("list_posts")
    return [post["id"] for post in data["posts"]]


async def list_reports(agent):
    """Return the findings of check_setup about half-done replacements."""
    _, data = await agent.expect_ok("check_setup")
    return [item["text"] for item in data["items"] if item["name"] == "half replaced"]


async def test_crash_between_create_and_delete_is_reported_with_both_ids(empty_agent, clock, monkeypatch):
    """Not while a process may still be replacing the post; after that until one of the two is gone."""
    old = await schedule_post(empty_agent)
    standing = await crash_reschedule(empty_agent, monkeypatch, "_swap", post_id=old, scheduled_at=LATER)
    (new,) = set(standing) - {old}

    assert await list_reports(empty_agent) == []
    clock.move(271)
    (said,) = await list_reports(empty_agent)
    assert old in said
    assert new in said
    await empty_agent.expect_ok("delete_post", post_id=new)
    assert await list_reports(empty_agent) == []


@pytest.mark.parametrize("seconds", [0, 271])
async def test_same_call_again_finishes_a_half_done_replacement(empty_agent, clock, monkeypatch, seconds):
    """Immediately or later, the existing replacement is used, and the old post is deleted."""
    old = await schedule_post(empty_agent)
    standing = await crash_reschedule(empty_agent, monkeypatch, "_swap", post_id=old, scheduled_at=LATER)
    clock.move(seconds)

    _, data = await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at=LATER)

    assert {old, data["post_id"]} == set(standing)
    _, left = await empty_agent.expect_ok("list_posts")
    assert [post["id"] for post in left["posts"]] == [data["post_id"]]
    clock.move(271)
    assert await list_reports(empty_agent) == []


async def test_other_call_reports_the_half_done_replacement(empty_agent, clock, monkeypatch):
    """Another replacement would leave two new posts."""
    old = await schedule_post(empty_agent)
    standing = await crash_reschedule(empty_agent, monkeypatch, "_swap", post_id=old, scheduled_at=LATER)
    (new,) = set(standing) - {old}

    assert "right now" in await empty_agent.expect_error(
        "reschedule_post", post_id=old, scheduled_at="2026-11-28T10:00"
    )
    clock.move(271)
    said = await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at="2026-11-28T10:00")
    assert new in said
    assert old in said
    await empty_agent.expect_ok("delete_post", post_id=new)
    await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at="2026-11-28T10:00")


async def test_crash_before_the_create_leaves_only_the_old_post(empty_agent, clock, monkeypatch):
    """Nothing was created, so the next call may do something else."""
    old = await schedule_post(empty_agent)
    assert await crash_reschedule(empty_agent, monkeypatch, "_create", post_id=old, scheduled_at=LATER) == [old]

    clock.move(271)
    (said,) = await list_reports(empty_agent)
    assert f"a replacement of {old} may have been made" in said
    await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at="2026-11-28T10:00")
    assert len(empty_agent.list_posts()) == 1


async def test_crash_after_the_delete_is_reported_with_the_id_that_exists(empty_agent, monkeypatch):
    """Only the record of its end is missing; the next call adds it."""
    old = await schedule_post(empty_agent)
    (new,) = await crash_reschedule(empty_agent, monkeypatch, "_confirm", post_id=old, scheduled_at=LATER)

    assert await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=LATER) == (
        f"Post not rescheduled: {old} is gone: an earlier call, which was interrupted, replaced it by {new}. "
        "Check that one with get_post, and call again with its id to change it."
    )
    assert new in await empty_agent.expect_error("get_post", post_id=old)
    assert f"was replaced by {new}" in await empty_agent.expect_error(
        "reschedule_post", post_id=old, scheduled_at=LATER
    )


async def test_replacement_that_was_refused_leaves_no_trace(connect_agent, clock):
    """Nothing was created, so nothing is reported or blocked."""
    async with connect_agent(demo_posts=False, max_posts_per_hour=1) as agent:
        old = await schedule_post(agent)
        assert "TTP_MAX_POSTS_PER_HOUR" in await agent.expect_error("reschedule_post", post_id=old, scheduled_at=LATER)

        assert await agent.runtime.app.ledger.replacements.find_pending(old) is None


async def test_replacement_that_the_api_refused_leaves_no_trace(connect_agent):
    """The same call can be repeated at once."""
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, methods=("POST",), how=400)) as agent:
        old = await schedule_post(agent)
        agent.sandbox.app.turn, agent.sandbox.app.count = 0, 0
        assert "(400)" in await agent.expect_error("reschedule_post", post_id=old, scheduled_at=LATER)
        assert await agent.runtime.app.ledger.replacements.find_pending(old) is None
        await agent.expect_ok("reschedule_post", post_id=old, scheduled_at="2026-11-28T10:00")


async def test_replacement_that_could_not_be_recorded_leaves_no_trace(empty_agent, monkeypatch):
    """Nothing was sent."""
    old = await schedule_post(empty_agent)

    with monkeypatch.context() as full:
        full.setattr(Ledger, "begin_create", fail_to_record)
        assert "the disk is full" in await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=LATER)
    assert await empty_agent.runtime.app.ledger.replacements.find_pending(old) is None
    await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at="2026-11-28T10:00")


@pytest.mark.parametrize("lost", [False, True])
async def test_old_post_is_deleted_without_another_read(connect_agent, lost):
    """One that fails would leave both posts. Here no read of the old post has a response once the first delete was sent."""
    seen, faults = [], []

    def through(app):
        faults.append(Fault(app, methods=("DELETE",)))

        async def note(scope, receive, send):
            deleted = "DELETE" in seen
            seen.append(scope["method"])
            if deleted and scope["method"] == "GET" and scope["path"].endswith(old):
                raise ConnectionResetError
            await faults[0](scope, receive, send)

        return note

    old = "/posts"
    async with connect_agent(demo_posts=False, through=through) as agent:
        old = await schedule_post(agent)
        seen.clear()
        faults[0].turn = 0 if lost else None
        await agent.expect_ok("reschedule_post", post_id=old, scheduled_at=LATER)
        assert [each for each in seen if each != "GET"] == ["POST", *["DELETE"] * (2 if lost else 1)]
        # After the create both posts are read, and the old one is deleted.
        assert seen[seen.index("POST") :][1:4] == ["GET", "GET", "DELETE"]
        assert len(agent.list_posts()) == 1


async def test_post_whose_record_another_process_ended_is_not_taken_for_its_own(empty_agent, monkeypatch):
    """Both were started with the same call."""
    there = await schedule_post(empty_agent)
    _, other = await empty_agent.expect_ok(
        "create_post", content="Doors open at ten", platforms=["linkedin"], scheduled_at=LATER
    )

    async def find_nothing(*_):
        return None

    monkeypatch.setattr(Replacements, "find_pending", find_nothing)
    words = await empty_agent.expect_error("reschedule_post", post_id=other["post_id"], scheduled_at=DUE)
    assert f"the same text is at that time already, as {there}" in words


async def test_replacement_whose_create_cannot_be_noted_still_replaces_the_post(empty_agent, monkeypatch):
    """It isn't taken for an equal post of the user."""
    old = await schedule_post(empty_agent)

    monkeypatch.setattr(Ledger, "finish", fail_to_record)
    _, data = await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at=LATER)
    assert empty_agent.read_row(old) is None
    assert empty_agent.read_row(data["post_id"])["status"] == "scheduled"


async def test_unclear_replacement_is_reported_after_the_old_post_is_gone(empty_agent, clock, monkeypatch):
    """A replacement may exist, of which no id is known."""
    old = await schedule_post(empty_agent)
    await crash_reschedule(empty_agent, monkeypatch, "_create", post_id=old, scheduled_at=LATER)
    await empty_agent.runtime.app.api.posts.delete(old)
    assert "not found (404)" in await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=LATER)
    clock.move(271)
    assert await empty_agent.runtime.app.ledger.replacements.find_pending(old) is not None


async def test_reschedule_without_a_change_leaves_no_trace(empty_agent):
    """Its own create is found, so nothing is replaced."""
    old = await schedule_post(empty_agent)
    assert "like that already" in await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=DUE)

    assert await empty_agent.runtime.app.ledger.replacements.find_pending(old) is None


async def test_same_text_for_other_accounts_is_another_replacement(empty_agent, monkeypatch):
    """Finishing it as the first one would leave an unknown second post."""
    twitter, berlin = (
        await empty_agent.find_account("twitter @harborcafe"),
        await empty_agent.find_account("twitter @harborcafe_berlin"),
    )
    old = await schedule_post(empty_agent)
    await crash_reschedule(empty_agent, monkeypatch, "_swap", post_id=old, account_ids=[twitter])
    assert "right now" in await empty_agent.expect_error("reschedule_post", post_id=old, account_ids=[berlin])
    assert len(empty_agent.list_posts()) == 2


async def test_replacement_of_another_post_is_not_confused_with_this_one(empty_agent, clock, monkeypatch):
    """Two posts with the same text may move to the same time."""
    twitter = await empty_agent.find_account("twitter @harborcafe")
    _, other = await empty_agent.expect_ok(
        "create_post", content="Doors open at ten", account_ids=[twitter], scheduled_at=DUE
    )
    old = await schedule_post(empty_agent)
    await crash_reschedule(empty_agent, monkeypatch, "_create", post_id=old, scheduled_at=LATER)
    _, moved = await empty_agent.expect_ok("reschedule_post", post_id=other["post_id"], scheduled_at=LATER)
    clock.move(271)
    (said,) = await list_reports(empty_agent)
    assert old in said
    assert moved["post_id"] not in said


async def test_deleting_one_half_names_the_other(empty_agent, clock, monkeypatch):
    """The other one would still be published."""
    old = await schedule_post(empty_agent)
    standing = await crash_reschedule(empty_agent, monkeypatch, "_swap", post_id=old, scheduled_at=LATER)
    (new,) = set(standing) - {old}
    clock.move(271)
    text, _ = await empty_agent.expect_ok("delete_post", post_id=old)
    assert text.startswith(f"Deleted: {old} for ")
    assert (
        f"\nAn unfinished reschedule had already created {new} as its replacement. Call delete_post for it too if the user wants "
        "neither.\n"
    ) in text


async def test_replacement_that_was_rescheduled_is_still_the_other_half(empty_agent, clock, monkeypatch):
    """Under its current id."""
    old = await schedule_post(empty_agent)
    standing = await crash_reschedule(empty_agent, monkeypatch, "_swap", post_id=old, scheduled_at=LATER)
    (new,) = set(standing) - {old}
    clock.move(271)
    _, moved = await empty_agent.expect_ok("reschedule_post", post_id=new, scheduled_at="2026-11-29T10:00")
    (said,) = await list_reports(empty_agent)
    assert moved["post_id"] in said
    assert moved["post_id"] in await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=LATER)
    assert len(empty_agent.list_posts()) == 2
    await empty_agent.expect_ok("delete_post", post_id=moved["post_id"])
    await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at="2026-11-28T10:00")
    assert len(empty_agent.list_posts()) == 1


class HoldAfterCreate:
    """Hold the first read of a post after a reschedule created its replacement."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._posts = 0
        self.held, self.release = anyio.Event(), anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_check = scope["method"] == "GET" and "/posts/" in scope["path"]
        self._posts += scope["method"] == "POST"
        if is_check and self._posts == 2 and not self.held.is_set():
            self.held.set()
            await self.release.wait()
        await self._app(scope, receive, send)


@asynccontextmanager
async def connect_held(connect_agent):
    """Connect an agent whose reschedule is held between create and delete."""
    holds: list[HoldAfterCreate] = []

    def hold(app: ASGIApp) -> ASGIApp:
        holds.append(HoldAfterCreate(app))
        return holds[-1]

    async with connect_agent(demo_posts=False, through=hold) as agent:
        yield agent, holds[-1]


async def test_shutdown_between_create_and_delete_waits_for_both(connect_agent):
    """The create has ended and the delete hasn't begun; without waiting, both posts would exist."""
    async with connect_held(connect_agent) as (agent, hold):
        old = await schedule_post(agent)
        drained: list[bool] = []

        async def drain() -> None:
            drained.append(await agent.runtime.app.writer.in_flight.drain(60))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: agent.call("reschedule_post", post_id=old, scheduled_at=LATER))
            await hold.held.wait()
            tasks.start_soon(drain)
            await anyio.wait_all_tasks_blocked()
            hold.release.set()

        assert drained == [True]
        assert len(agent.list_posts()) == 1
        assert not agent.read_row(old)


async def test_cancelled_reschedule_ends_with_one_post(connect_agent):
    """The create has ended and the delete hasn't begun; stopping there would leave both posts."""
    async with connect_held(connect_agent) as (agent, hold):
        old = await schedule_post(agent)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: agent.call("reschedule_post", post_id=old, scheduled_at=LATER))
            await hold.held.wait()
            tasks.cancel_scope.cancel()
            hold.release.set()

        assert await agent.runtime.app.writer.in_flight.drain(60) is True
        assert len(agent.list_posts()) == 1
        assert not agent.read_row(old)
