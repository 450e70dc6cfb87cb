"""Deletes: their outcome, the deleted post in the ledger, and lost responses."""

from datetime import UTC, datetime

import pytest

from ttp_mcp.api import NotFound, ValidationFailed
from ttp_mcp.writes.outcomes import Deleted

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


@pytest.mark.requirement("writes.delete")
@pytest.mark.parametrize(
    ("fault", "outcome", "still_there"),
    [
        ("none", "deleted", False),
        ("404", "already_gone", False),
        ("lost after commit", "deleted", False),
        ("commits late", "deleted", False),
        ("502 after commit", "deleted", False),
        ("404 page after commit", "deleted", False),
        ("404 page", "unknown", True),
        ("lost before commit", "unknown", True),
    ],
)
async def test_delete_reports_its_outcome(harness, fault: str, outcome: str, still_there: bool) -> None:
    """A lost response is resolved by reading the post; nothing is sent twice."""
    post = await harness.api.posts.create(harness.post())
    harness.faults.writes.clear()
    harness.faults.script = [fault]

    deleted = await harness.writes.delete(post.id, tool="delete_post")

    assert (deleted.cause is None) == (fault in ("none", "404"))
    assert deleted == Deleted(outcome, START, deleted.post, still_there, cause=deleted.cause)
    assert deleted.post is not None
    assert deleted.post.raw == post.raw
    assert harness.faults.writes == ["DELETE"]
    assert await harness.outcomes() == [outcome]


@pytest.mark.requirement("writes.delete")
async def test_delete_is_unknown_while_the_api_is_unavailable(harness) -> None:
    """An unreadable post isn't necessarily deleted."""
    post = await harness.api.posts.create(harness.post())
    harness.faults.script = ["lost after commit"]
    harness.faults.reads_fail = True

    deleted = await harness.writes.delete(post.id, tool="delete_post", post=post)

    assert (deleted.outcome, deleted.still_there) == ("unknown", False)


@pytest.mark.requirement("writes.delete")
@pytest.mark.parametrize("fault", ["lost before commit", "404 page"])
async def test_gateway_page_does_not_count_as_deleted(harness, fault: str) -> None:
    """The gateway responds to every path with 404, while the post would still be published."""
    post = await harness.api.posts.create(harness.post())
    harness.faults.script = [fault]
    harness.faults.gateway_lost = True

    deleted = await harness.writes.delete(post.id, tool="delete_post", post=post)

    harness.faults.gateway_lost = False
    assert (deleted.outcome, deleted.still_there) == ("unknown", False)
    assert await harness.outcomes() == ["unknown"]
    assert (await harness.api.posts.get(post.id)).status == "scheduled"


@pytest.mark.requirement("writes.delete")
async def test_delete_that_the_api_refuses_raises_and_is_recorded(harness) -> None:
    """The post doesn't count as deleted."""
    post = await harness.api.posts.create(harness.post())
    harness.faults.script = ["409"]

    with pytest.raises(ValidationFailed):
        await harness.writes.delete(post.id, tool="delete_post")

    assert await harness.outcomes() == ["not_done"]
    assert await harness.ledger.find_deleted_post(post.id) is None


@pytest.mark.requirement("writes.delete")
async def test_second_delete_reports_gone_and_an_unknown_id_not_found(harness) -> None:
    """The ledger keeps a post that was deleted through this server in full."""
    post = await harness.api.posts.create(harness.post())
    await harness.writes.delete(post.id, tool="delete_post")

    again = await harness.writes.delete(post.id, tool="delete_post")
    with pytest.raises(NotFound):
        await harness.writes.delete("cmb8nothing", tool="delete_post")

    assert again == Deleted("already_gone", START, again.post)
    assert again.post is not None
    assert again.post.raw == post.raw
