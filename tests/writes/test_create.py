"""Creates: one request, one outcome, and a search after a lost response."""

import logging
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ttp_mcp.api import NotReached, ValidationFailed
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.writes.outcomes import Created, HourlyLimits, LimitReached, WriteRefused

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def nested(depth: int) -> list[object]:
    """Nest lists."""
    found: list[object] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.requirement("writes.once")
async def test_create_sends_one_request_and_returns_the_post(world) -> None:
    created = await world.writes.create(world.post(), tool="create_post")

    assert created.post is not None
    assert created == Created("created", START, created.post, created.post.id)
    assert created.post.raw == (await world.api.posts.get(created.post.id)).raw
    assert world.faults.writes == ["POST"]
    assert await world.outcomes() == ["created"]


@pytest.mark.requirement("writes.once")
async def test_each_write_is_recorded_with_its_tool(world) -> None:
    """A replacement is recorded with the id of the post that it replaces."""
    created = await world.writes.create(world.post(), tool="apply_plan", replaces="cm0")
    await world.writes.delete(created.post_id, tool="undo_plan")
    async with world.writes.upload(tool="upload_media"):
        pass
    draft = await world.api.posts.create(world.post(at=None))
    await world.writes.publish(draft, tool="publish_post")

    history = {(each.kind, each.tool, each.post_id, each.replaces) for each in await world.ledger.read_history(START)}
    assert history == {
        ("create", "apply_plan", created.post_id, "cm0"),
        ("delete", "undo_plan", created.post_id, None),
        ("upload", "upload_media", None, None),
        ("publish", "publish_post", draft.id, None),
    }


@pytest.mark.requirement("writes.once")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", nested(100_000)])
async def test_post_that_json_cannot_express_is_refused_before_it_is_recorded(world, value: object) -> None:
    """If it were recorded first, it would count as a write that may have happened."""
    post = replace(world.post(), platform_data={"tiktok": value})
    for _ in range(2):
        with pytest.raises(
            WriteRefused, match=r"^it can't be written as JSON\. Nothing was sent\. Retrying doesn't help\.$"
        ):
            await world.writes.create(post, tool="create_post")
    assert world.faults.writes == []
    assert await world.outcomes() == []


@pytest.mark.requirement("writes.lost-answers")
@pytest.mark.parametrize("fault", ["lost after commit", "502 after commit", "page after commit", "commits late"])
async def test_create_with_a_lost_response_is_found_and_never_resent(world, fault: str) -> None:
    """The outcome is `created`, with the id of the only post."""
    world.faults.script = [fault]

    created = await world.writes.create(world.post(), tool="create_post")

    (post,) = await world.equal_posts(world.post())
    assert created.cause is not None
    assert created == Created("created", START, created.post, post.id, reconciled=True, cause=created.cause)
    assert created.post is not None
    assert created.post.raw == post.raw
    assert world.faults.writes == ["POST"]
    assert await world.outcomes() == ["created"]


@pytest.mark.requirement("writes.lost-answers")
async def test_create_that_never_arrived_is_unknown_after_the_deadline(world) -> None:
    """Nothing is claimed or resent; the search ends with the call's 30 s."""
    world.faults.script = ["lost before commit"]

    created = await world.writes.create(world.post(), tool="create_post")

    assert created.cause is not None
    assert created == Created("unknown", START, cause=created.cause)
    assert world.faults.writes == ["POST"]
    assert 25 < world.time.monotonic() <= 30
    assert await world.outcomes() == ["unknown"]


@pytest.mark.requirement("writes.lost-answers")
async def test_create_is_unknown_while_the_api_is_unavailable(world) -> None:
    world.faults.script = ["lost after commit"]
    world.faults.reads_fail = True

    created = await world.writes.create(world.post(), tool="create_post")

    assert created.outcome == "unknown"


@pytest.mark.requirement("writes.once")
@pytest.mark.parametrize("fault", ["409", "not connected"])
async def test_create_that_was_refused_or_not_sent_raises_and_can_be_retried(
    world, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A write that certainly didn't happen leaves no reservation and doesn't count."""
    world.faults.script = [fault, fault]

    with pytest.raises((ValidationFailed, NotReached)):
        await world.writes.create(world.post(), tool="create_post")
    world.faults.script = []
    created = await world.writes.create(world.post(), tool="create_post")

    assert created.outcome == "created"
    assert sorted(str(outcome) for outcome in await world.outcomes()) == ["created", "not_done"]
    assert list_errors(caplog) == []
    assert world.writes.in_flight.unresolved == 0


def list_errors(caplog: pytest.LogCaptureFixture) -> list[tuple[str, type[BaseException] | None]]:
    """Return the message and exception of each error in the log."""
    return [
        (record.getMessage(), record.exc_info[0] if record.exc_info else None)
        for record in caplog.records
        if record.levelno >= logging.ERROR
    ]


@pytest.mark.requirement("writes.once")
async def test_write_that_was_not_sent_is_not_a_bug(world, monkeypatch, caplog) -> None:
    """The limit is used up, or the ledger can't record it."""
    with pytest.raises(LimitReached):
        await world.another(limits=HourlyLimits(posts=0)).create(world.post(), tool="create_post")

    async def fail(*_: object) -> str:
        raise LedgerProblem("the disk is full")

    monkeypatch.setattr(world.state, "commit", fail)
    with pytest.raises(LedgerProblem):
        await world.writes.create(world.post(), tool="create_post")

    assert list_errors(caplog) == []


@pytest.mark.requirement("writes.once")
async def test_bug_during_a_write_is_recorded_as_unknown_and_raised(world, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception still leaves an outcome."""
    post = await world.api.posts.create(world.post("To be deleted"))
    world.faults.script = ["crash", "crash"]

    with pytest.raises(RuntimeError):
        await world.writes.create(world.post(), tool="create_post")
    with pytest.raises(RuntimeError):
        await world.writes.delete(post.id, tool="delete_post")

    assert await world.outcomes() == ["unknown", "unknown"]
    assert list_errors(caplog) == [("A write ended with a bug", RuntimeError)] * 2
    assert world.writes.in_flight.unresolved == 0
