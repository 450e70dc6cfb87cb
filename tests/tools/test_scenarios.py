"""Everyday requests as an agent handles them: the calls are counted, then the sandbox is checked."""

import json
import os
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.support.media_files import build_png

pytestmark = pytest.mark.requirement("tools.scenarios")

PARIS = ZoneInfo("Europe/Paris")
PNG = build_png(1080, 1080, padding=200_000)


class Calls:
    """An agent that counts its calls."""

    def __init__(self, agent):
        self._agent = agent
        self.count = 0

    async def __call__(self, tool, **arguments):
        self.count += 1
        return await self._agent.expect_ok(tool, **arguments)


def read_due_time(row):
    """Return the time of a post of the sandbox, in Paris."""
    return datetime.fromtimestamp(row["scheduled_at"] / 1000, UTC).astimezone(PARIS)


def read_rows(agent, where="1 = 1"):
    """Return posts of the sandbox, oldest first."""
    with agent.sandbox.store.reading() as db:
        query = f"SELECT * FROM posts WHERE organization_id = 'org_harbor_cafe' AND {where} ORDER BY sequence"
        return [dict(row) for row in db.execute(query)]


async def test_post_this_local_photo_to_instagram_tomorrow_at_18_paris_time(connect_agent, tmp_path):
    """Upload and create: two calls."""
    photo = tmp_path / "latte.png"
    photo.write_bytes(PNG)
    os.utime(photo, ns=(10**9, 10**9))
    async with connect_agent(media_dirs=(tmp_path,)) as agent:
        before = len(read_rows(agent))
        call = Calls(agent)
        _, uploaded = await call("upload_media", source="latte.png")
        text, created = await call(
            "create_post",
            content="Latte of the day",
            platforms=["instagram"],
            media_urls=[uploaded["public_url"]],
            scheduled_at="2026-11-25T18:00",
        )
        row = agent.read_row(created["post_id"])
        assert call.count <= 3
        assert len(read_rows(agent)) == before + 1
        assert (row["status"], read_due_time(row)) == ("scheduled", datetime(2026, 11, 25, 18, tzinfo=PARIS))
        assert json.loads(row["media_urls"]) == [uploaded["public_url"]]
        assert (
            "Wed 25 Nov 2026 18:00 Europe/Paris (17:00Z), in 33 h, to instagram @harbor.cafe, with 1 media file" in text
        )
        agent.sandbox.clock.move(34 * 3600)
        agent.sandbox.tick()
        assert agent.read_row(created["post_id"])["status"] == "published"


async def test_schedule_these_five_posts_at_my_best_times_next_week(agent):
    """Plan, and apply once the user agreed: two calls."""
    contents = [f"Post {number} of next week" for number in range(1, 6)]
    call = Calls(agent)
    _, plan = await call(
        "plan_posts",
        posts=[{"content": content, "platforms": ["linkedin"]} for content in contents],
        start="2026-11-30",
        end="2026-12-06",
    )
    _, applied = await call("apply_plan", plan_id=plan["plan_id"])
    found = read_rows(agent, "content LIKE 'Post % of next week'")
    assert call.count <= 3
    assert applied["complete"]
    assert sorted(row["content"] for row in found) == contents
    assert {row["status"] for row in found} == {"scheduled"}
    assert all(
        datetime(2026, 11, 30, tzinfo=PARIS) <= read_due_time(row) <= datetime(2026, 12, 7, tzinfo=PARIS)
        for row in found
    )
    assert len({read_due_time(row) for row in found}) == 5


async def test_move_thursdays_post_to_friday_nine(agent):
    """Find it and move it: two calls."""
    before = read_rows(agent, "status = 'scheduled'")
    call = Calls(agent)
    _, found = await call("list_posts", status="scheduled", after="2026-11-26", before="2026-11-26")
    (thursday,) = found["posts"]
    _, moved = await call("reschedule_post", post_id=thursday["id"], scheduled_at="2026-11-27T09:00")
    row = agent.read_row(moved["post_id"])
    assert call.count <= 2
    assert agent.read_row(thursday["id"]) is None
    assert (row["status"], read_due_time(row)) == ("scheduled", datetime(2026, 11, 27, 9, tzinfo=PARIS))
    old = next(each for each in before if each["id"] == thursday["id"])
    assert [row[name] for name in ("content", "media_urls", "thread")] == [
        old[name] for name in ("content", "media_urls", "thread")
    ]
    assert len(read_rows(agent, "status = 'scheduled'")) == len(before)


async def test_what_failed_this_week_and_why(agent):
    """The list has accounts and reasons: one call for each of the two statuses."""
    call = Calls(agent)
    week = {"after": "2026-11-18", "before": "2026-11-24"}
    partial, first = await call("list_posts", status="partial", **week)
    failed, second = await call("list_posts", status="failed", **week)
    really = read_rows(agent, "status IN ('partial', 'failed') AND scheduled_at >= 1795046400000")
    assert call.count <= 2
    assert {post["id"] for data in (first, second) for post in data["posts"]} == {row["id"] for row in really}
    for text, data in ((partial, first), (failed, second)):
        assert text.count("- twitter @harborcafe_berlin: failed. API said: «") == len(data["posts"]) == 1


async def test_cancel_everything_on_linkedin_next_week(agent):
    """One list, then a call for each post. Posts that are also on other accounts keep those."""
    ours = await agent.find_account("linkedin Harbor Café")
    for day in (1, 3):
        await agent.expect_ok(
            "create_post", content=f"LinkedIn {day}", account_ids=[ours], scheduled_at=f"2026-12-0{day}T10:00"
        )
    await agent.expect_ok("create_post", content="The week after", account_ids=[ours], scheduled_at="2026-12-08T10:00")
    before = read_rows(agent)
    call = Calls(agent)
    _, found = await call(
        "list_posts", status="scheduled", platform="linkedin", after="2026-11-30", before="2026-12-06", limit=100
    )
    assert found["matched"] == len(found["posts"]) >= 2
    replaced = {}
    for post in found["posts"]:
        others = [account for account in post["accounts"] if not account.startswith("linkedin ")]
        if others:
            _, moved = await call("reschedule_post", post_id=post["id"], account_ids=others)
            replaced[post["id"]] = moved["post_id"]
        else:
            await call("delete_post", post_id=post["id"])
    assert call.count <= len(found["posts"]) + 1
    gone = {post["id"] for post in found["posts"]}
    assert {row["id"] for row in read_rows(agent)} == {row["id"] for row in before} - gone | set(replaced.values())
    (workshop,) = [row for row in before if row["id"] in replaced]
    stands = agent.read_row(replaced[workshop["id"]])
    assert workshop["content"].startswith("Workshop: brew better at home.")
    _, shown = await agent.expect_ok("get_post", post_id=stands["id"])
    assert shown["accounts"] == ["twitter @harborcafe"]
    same = ("content", "media_urls", "thread", "scheduled_at", "status")
    assert [stands[name] for name in same] == [workshop[name] for name in same]
    _, left = await agent.expect_ok(
        "list_posts", status="scheduled", platform="linkedin", after="2026-11-30", before="2026-12-06"
    )
    assert left["matched"] == 0
