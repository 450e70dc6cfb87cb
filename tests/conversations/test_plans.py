"""User requests for several posts at once."""

import pytest

from tests.conversations.conftest import Conversation
from tests.support.media_files import build_png

DATES = ("2026-11-30", "2026-12-01", "2026-12-02", "2026-12-03", "2026-12-04")


@pytest.mark.requirement("conversations.fixed_times")
async def test_five_posts_at_fixed_times_take_two_calls(conversation):
    """User: "Post these five on LinkedIn, every weekday of next week at 7:30." """
    texts = [f"Tip {number} for better coffee" for number in range(1, 6)]
    times = [f"{date}T07:30" for date in DATES]
    posts = [
        {"content": text, "platforms": ["linkedin"], "scheduled_at": when}
        for text, when in zip(texts, times, strict=True)
    ]
    plan = await conversation.call("plan_posts", posts=posts)
    done = await conversation.call("apply_plan", plan_id=plan.data["plan_id"])
    assert conversation.calls == ["plan_posts", "apply_plan"]
    sent = [(post["content"], post["due"], post["status"]) for post in conversation.list_added()]
    assert sent == [(text, when, "scheduled") for text, when in zip(texts, times, strict=True)]
    assert all(text in done.text for text in texts)
    assert conversation.list_removed() == []


@pytest.mark.requirement("conversations.moves")
async def test_moving_posts_takes_one_call_more_than_there_are_posts(conversation):
    """User: "Move everything from Wednesday to Friday to Saturday, at the same hours." """
    listed = await conversation.call(
        "list_posts", status="scheduled", after="2026-11-25", before="2026-11-27", limit=50
    )
    posts = listed.data["posts"]
    assert len(posts) > 1
    times = [f"2026-11-28T{9 + number:02d}:00" for number in range(len(posts))]
    for post, when in zip(posts, times, strict=True):
        await conversation.call("reschedule_post", post_id=post["id"], scheduled_at=when)
    assert sorted(post["due"] for post in conversation.list_added()) == times
    assert {post["id"] for post in conversation.list_removed()} == {post["id"] for post in posts}
    assert len(conversation.calls) == len(posts) + 1


@pytest.mark.requirement("conversations.moves")
async def test_scheduling_a_local_photo_takes_two_calls(connect_agent, tmp_path):
    """User: "Post sunset.png on LinkedIn tomorrow at 9." """
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "sunset.png").write_bytes(build_png(1080, 1080))
    async with connect_agent(media_dirs=(folder,)) as agent:
        conversation = Conversation(agent)
        photo = await conversation.call("upload_media", source="sunset.png")
        url = photo.data["public_url"]
        await conversation.call(
            "create_post",
            content="Sunset",
            platforms=["linkedin"],
            media_urls=[url],
            scheduled_at="2026-11-25T09:00",
        )
        (post,) = conversation.list_added()
    assert post["due"] == "2026-11-25T09:00"
    assert url in post["media_urls"]
    assert conversation.calls == ["upload_media", "create_post"]
