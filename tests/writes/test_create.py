"""Creates: one request, one outcome, and a search after a lost response."""

import logging
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from ttp_mcp.api import NotReached, Post, ValidationFailed
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.writes.outcomes import Created, HourlyLimits, LimitReached, WriteRefused

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


def nest_lists(depth: int) -> list[object]:
    """Nest lists."""
    found: list[object] = []
    for _ in range(depth):
        found = [found]
    return found


@pytest.mark.requirement("writes.once")
async def test_create_sends_one_request_and_returns_the_post(harness) -> None:
    created = await harness.writes.create(harness.post(), tool="create_post")

    assert created.post is not None
    assert created == Created("created", START, created.post, created.post.id)
    assert created.post.raw == (await harness.api.posts.get(created.post.id)).raw
    assert harness.faults.writes == ["POST"]
    assert await harness.outcomes() == ["created"]


@pytest.mark.requirement("writes.once")
async def test_each_write_is_recorded_with_its_tool(harness) -> None:
    """A replacement is recorded with the id of the post that it replaces."""
    created = await harness.writes.create(harness.post(), tool="apply_plan", replaces="cm0")
    await harness.writes.delete(created.post_id, tool="undo_plan")
    async with harness.writes.upload(tool="upload_media"):
        pass
    draft = await harness.api.posts.create(harness.post(at=None))
    await harness.writes.publish(draft, tool="publish_post")

    history = {(each.kind, each.tool, each.post_id, each.replaces) for each in await harness.ledger.read_history(START)}
    assert history == {
        ("create", "apply_plan", created.post_id, "cm0"),
        ("delete", "undo_plan", created.post_id, None),
        ("upload", "upload_media", None, None),
        ("publish", "publish_post", draft.id, None),
    }


@pytest.mark.requirement("writes.once")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", nest_lists(100_000)])
async def test_post_that_json_cannot_express_is_refused_before_it_is_recorded(harness, value: object) -> None:
    """If it were recorded first, it would count as a write that may have happened."""
    post = replace(harness.post(), platform_data={"tiktok": value})
    for _ in range(2):
        with pytest.raises(
            WriteRefused, match=r"^it can't be written as JSON\. Nothing was sent\. Retrying doesn't help\.$"
        ):
            await harness.writes.create(post, tool="create_post")
    assert harness.faults.writes == []
    assert await harness.outcomes() == []


@pytest.mark.requirement("writes.lost-answers")
@pytest.mark.parametrize("fault", ["lost after commit", "502 after commit", "page after commit", "commits late"])
async def test_create_with_a_lost_response_is_found_and_never_resent(harness, fault: str) -> None:
    """The outcome is `created`, with the id of the only post."""
    harness.faults.script = [fault]

    created = await harness.writes.create(harness.post(), tool="create_post")

    (post,) = await harness.equal_posts(harness.post())
    assert created.cause is not None
    assert created == Created("created", START, created.post, post.id, reconciled=True, cause=created.cause)
    assert created.post is not None
    assert created.post.raw == post.raw
    assert harness.faults.writes == ["POST"]
    assert await harness.outcomes() == ["created"]


@pytest.mark.requirement("writes.once")
async def test_post_of_a_response_is_recorded_even_if_a_search_took_it(harness) -> None:
    """Another write that looked for its own post can only have guessed."""
    other = await harness.ledger.begin_create(harness.post("Other"), tool="create_post")
    await harness.ledger.finish(other, "created", Post({"id": "p1"}), claim=True)
    harness.faults.script = ["done as p1"]

    created = await harness.writes.create(harness.post(), tool="create_post")

    assert (created.outcome, created.post_id, created.recorded) == ("created", "p1", True)
    assert await harness.outcomes() == ["created", "created"]


@pytest.mark.requirement("writes.lost-answers")
async def test_create_that_never_arrived_is_unknown_after_the_deadline(harness) -> None:
    """Nothing is claimed or resent; the search ends with the call's 30 s."""
    harness.faults.script = ["lost before commit"]

    created = await harness.writes.create(harness.post(), tool="create_post")

    assert created.cause is not None
    assert created == Created("unknown", START, cause=created.cause)
    assert harness.faults.writes == ["POST"]
    assert 25 < harness.time.monotonic() <= 30
    assert await harness.outcomes() == ["unknown"]


@pytest.mark.requirement("writes.lost-answers")
async def test_create_is_unknown_while_the_api_is_unavailable(harness) -> None:
    harness.faults.script = ["lost after commit"]
    harness.faults.reads_fail = True

    created = await harness.writes.create(harness.post(), tool="create_post")

    assert created.outcome == "unknown"


@pytest.mark.requirement("writes.once")
@pytest.mark.parametrize("fault", ["409", "not connected"])
async def test_create_that_was_refused_or_not_sent_raises_and_can_be_retried(
    harness, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A write that certainly didn't happen leaves no reservation and doesn't count."""
    harness.faults.script = [fault, fault]

    with pytest.raises((ValidationFailed, NotReached)):
        await harness.writes.create(harness.post(), tool="create_post")
    harness.faults.script = []
    created = await harness.writes.create(harness.post(), tool="create_post")

    assert created.outcome == "created"
    assert sorted(str(outcome) for outcome in await harness.outcomes()) == ["created", "not_done"]
    assert list_errors(caplog) == []
    assert harness.writes.in_flight.unresolved == 0


def list_errors(caplog: pytest.LogCaptureFixture) -> list[tuple[str, type[BaseException] | None]]:
    """Return the message and exception of each error in the log."""
    return [
        (record.getMessage(), record.exc_info[0] if record.exc_info else None)
        for record in caplog.records
        if record.levelno >= logging.ERROR
    ]


@pytest.mark.requirement("writes.once")
async def test_write_that_was_not_sent_is_not_a_bug(harness, monkeypatch, caplog) -> None:
    """The limit is used up, or the ledger can't record it."""
    with pytest.raises(LimitReached):
        await harness.make_writer(limits=HourlyLimits(posts=0)).create(harness.post(), tool="create_post")

    async def fail(*_: object) -> str:
        raise LedgerProblem("the disk is full")

    monkeypatch.setattr(harness.state, "commit", fail)
    with pytest.raises(LedgerProblem):
        await harness.writes.create(harness.post(), tool="create_post")

    assert list_errors(caplog) == []


@pytest.mark.requirement("writes.once")
async def test_bug_during_a_write_is_recorded_as_unknown_and_raised(harness, caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception still leaves an outcome."""
    post = await harness.api.posts.create(harness.post("To be deleted"))
    harness.faults.script = ["crash", "crash"]

    with pytest.raises(RuntimeError):
        await harness.writes.create(harness.post(), tool="create_post")
    with pytest.raises(RuntimeError):
        await harness.writes.delete(post.id, tool="delete_post")

    assert await harness.outcomes() == ["unknown", "unknown"]
    assert list_errors(caplog) == [("A write ended with a bug", RuntimeError)] * 2
    assert harness.writes.in_flight.unresolved == 0
