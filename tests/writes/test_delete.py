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
async def test_delete_reports_its_outcome(world, fault: str, outcome: str, still_there: bool) -> None:
    """A lost response is resolved by reading the post; nothing is sent twice."""
    post = await world.api.posts.create(world.post())
    world.faults.writes.clear()
    world.faults.script = [fault]

    deleted = await world.writes.delete(post.id, tool="delete_post")

    assert (deleted.cause is None) == (fault in ("none", "404"))
    assert deleted == Deleted(outcome, START, deleted.post, still_there, cause=deleted.cause)
    assert deleted.post is not None
    assert deleted.post.raw == post.raw
    assert world.faults.writes == ["DELETE"]
    assert await world.outcomes() == [outcome]


@pytest.mark.requirement("writes.delete")
async def test_delete_is_unknown_while_the_api_is_unavailable(world) -> None:
    """An unreadable post isn't necessarily deleted."""
    post = await world.api.posts.create(world.post())
    world.faults.script = ["lost after commit"]
    world.faults.reads_fail = True

    deleted = await world.writes.delete(post.id, tool="delete_post", post=post)

    assert (deleted.outcome, deleted.still_there) == ("unknown", False)


@pytest.mark.requirement("writes.delete")
@pytest.mark.parametrize("fault", ["lost before commit", "404 page"])
async def test_gateway_page_does_not_count_as_deleted(world, fault: str) -> None:
    """The gateway responds to every path with 404, while the post would still be published."""
    post = await world.api.posts.create(world.post())
    world.faults.script = [fault]
    world.faults.gateway_lost = True

    deleted = await world.writes.delete(post.id, tool="delete_post", post=post)

    world.faults.gateway_lost = False
    assert (deleted.outcome, deleted.still_there) == ("unknown", False)
    assert await world.outcomes() == ["unknown"]
    assert (await world.api.posts.get(post.id)).status == "scheduled"


@pytest.mark.requirement("writes.delete")
async def test_delete_that_the_api_refuses_raises_and_is_recorded(world) -> None:
    """The post doesn't count as deleted."""
    post = await world.api.posts.create(world.post())
    world.faults.script = ["409"]

    with pytest.raises(ValidationFailed):
        await world.writes.delete(post.id, tool="delete_post")

    assert await world.outcomes() == ["not_done"]
    assert await world.ledger.find_deleted_post(post.id) is None


@pytest.mark.requirement("writes.delete")
async def test_second_delete_reports_gone_and_an_unknown_id_not_found(world) -> None:
    """The ledger keeps a post that was deleted through this server in full."""
    post = await world.api.posts.create(world.post())
    await world.writes.delete(post.id, tool="delete_post")

    again = await world.writes.delete(post.id, tool="delete_post")
    with pytest.raises(NotFound):
        await world.writes.delete("cmb8nothing", tool="delete_post")

    assert again == Deleted("already_gone", START, again.post)
    assert again.post is not None
    assert again.post.raw == post.raw
