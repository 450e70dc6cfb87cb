"""Limits an hour of creates, deletes and uploads."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ttp_mcp.api import ValidationFailed
from ttp_mcp.config import Settings
from ttp_mcp.times import find_zone
from ttp_mcp.writes.outcomes import HourlyLimits, LimitReached

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


@pytest.mark.requirement("writes.limits")
async def test_limits_an_hour_refuse_with_the_time_of_the_next_write(harness) -> None:
    """The refusal names the setting of each of the three limits."""
    settings = Settings(
        zone=find_zone("UTC"), state_dir=Path(), max_posts_per_hour=1, max_deletes_per_hour=1, max_uploads_per_hour=1
    )
    writes = harness.make_writer(limits=HourlyLimits.from_settings(settings))
    first = await writes.create(harness.post("One"), tool="create_post")
    spare = await harness.api.posts.create(harness.post("Spare"))
    await writes.delete(first.post_id or "", tool="delete_post")
    async with writes.upload(tool="upload_media"):
        pass
    harness.faults.writes.clear()

    async def upload() -> None:
        async with writes.upload(tool="upload_media"):
            pass

    for setting, noun, write in (
        ("TTP_MAX_POSTS_PER_HOUR", "new posts", writes.create(harness.post("Two"), tool="create_post")),
        ("TTP_MAX_DELETES_PER_HOUR", "deletions", writes.delete(spare.id, tool="delete_post")),
        ("TTP_MAX_UPLOADS_PER_HOUR", "uploads", upload()),
    ):
        with pytest.raises(LimitReached) as raised:
            await write
        assert raised.value.allowed_at == START + timedelta(hours=1)
        assert str(raised.value) == (
            f"{setting} allows 1 {noun} an hour and that is used up. The next one is allowed at 2026-11-24T11:00:00.000Z; "
            "nothing was sent. Only the person who configured the server can change the limit."
        )
    assert harness.faults.writes == []

    harness.time.clock.move(3601)
    assert (await writes.create(harness.post("Two"), tool="create_post")).outcome == "created"


@pytest.mark.requirement("writes.limits")
def test_each_limit_has_its_own_setting() -> None:
    settings = Settings(
        zone=find_zone("UTC"), state_dir=Path(), max_posts_per_hour=1, max_deletes_per_hour=2, max_uploads_per_hour=3
    )
    assert HourlyLimits.from_settings(settings) == HourlyLimits(posts=1, deletes=2, uploads=3)


@pytest.mark.requirement("writes.limits")
async def test_limit_of_0_allows_nothing(harness) -> None:
    """0 is a valid limit that never frees up."""
    with pytest.raises(LimitReached, match=r"used up\. None is allowed; nothing was sent") as raised:
        await harness.make_writer(limits=HourlyLimits(posts=0)).create(harness.post(), tool="create_post")

    assert raised.value.allowed_at is None


@pytest.mark.requirement("writes.limits")
async def test_refused_and_failed_writes_do_not_count(harness) -> None:
    """Only writes that may have happened count towards a limit."""
    writes = harness.make_writer(limits=HourlyLimits(posts=1, uploads=1))
    harness.faults.script = ["409"]
    with pytest.raises(ValidationFailed):
        await writes.create(harness.post(), tool="create_post")
    with pytest.raises(RuntimeError):
        async with writes.upload(tool="upload_media"):
            raise RuntimeError

    assert (await writes.create(harness.post(), tool="create_post")).outcome == "created"
    async with writes.upload(tool="upload_media"):
        assert writes.in_flight.count == 1
    assert sorted(str(outcome) for outcome in await harness.outcomes()) == [
        "created",
        "not_done",
        "not_done",
        "uploaded",
    ]


@pytest.mark.requirement("writes.limits")
async def test_limit_does_not_keep_a_call_from_removing_what_it_created(harness) -> None:
    """Otherwise a reschedule that fails would leave two posts."""
    post = await harness.api.posts.create(harness.post())
    writes = harness.make_writer(limits=HourlyLimits(deletes=0))

    with pytest.raises(LimitReached):
        await writes.delete(post.id, tool="delete_post")
    assert (await writes.delete(post.id, tool="reschedule_post", limited=False)).outcome == "deleted"
