"""Posts that repeat another one."""

import json

import pytest

from tests.tools.conftest import show_promised

pytestmark = pytest.mark.requirement("tools.posts.copies")

TIME = "2026-11-26T10:00"
THREAD = {"content": "One", "thread": ["Two", "Three"], "media_urls": ["https://example.com/a.jpg"]}


async def test_copy_has_all_parts_of_the_post_but_its_time(empty_agent):
    """Text, thread, media, choices and accounts."""
    choices = {"pinterest": {"board_id": "board-recipes", "title": "Menu"}}
    _, old = await empty_agent.expect_ok(
        "create_post", **THREAD, platform_data=choices, account_ids=["x @harborcafe", "pinterest"]
    )
    _, new = await empty_agent.expect_ok("create_post", copy_of=old["post_id"], scheduled_at=TIME)
    before, after = empty_agent.read_row(old["post_id"]), empty_agent.read_row(new["post_id"])
    same = ("content", "thread", "media_urls", "platform_data")
    assert [after[name] for name in same] == [before[name] for name in same]
    assert (after["status"], new["accounts"]) == ("scheduled", ["twitter @harborcafe", "pinterest @harborcafe"])
    assert new["warnings"] == ["Pinterest: threads are for X only; this platform gets content without the thread."]
    _, draft = await empty_agent.expect_ok("create_post", copy_of=old["post_id"], content="Again")
    assert (draft["status"], draft["text"], len(draft["thread"])) == ("draft", "Again", 2)


async def test_passed_arguments_replace_parts_of_the_copy(empty_agent):
    """Accounts by name or platform."""
    _, old = await empty_agent.expect_ok("create_post", **THREAD, account_ids=["x @harborcafe"])
    _, new = await empty_agent.expect_ok(
        "create_post", copy_of=old["post_id"], content="New", account_ids=["x @harborcafe_berlin"]
    )
    assert (new["text"], new["accounts"]) == ("New", ["twitter @harborcafe_berlin"])
    checked = (await empty_agent.expect_ok("check_post", copy_of=old["post_id"], platforms=["twitter"]))[1]
    assert len(checked["accounts"]) == 2


async def test_copy_of_a_post_that_was_rescheduled_is_refused_with_its_new_id(empty_agent):
    _, old = await empty_agent.expect_ok("create_post", **THREAD, account_ids=["x @harborcafe"], scheduled_at=TIME)
    _, new = await empty_agent.expect_ok("reschedule_post", post_id=old["post_id"], scheduled_at="2026-11-27T10:00")
    assert await empty_agent.expect_error("create_post", copy_of=old["post_id"]) == (
        f"Post not created: {old['post_id']} was replaced by {new['post_id']} when it was rescheduled. "
        "Call again with that id; nothing was changed."
    )


async def test_every_part_of_a_copy_can_be_replaced(empty_agent):
    """Each by what was passed, and none by both."""
    choices = {"pinterest": {"title": "Menu"}}
    _, old = await empty_agent.expect_ok("create_post", **THREAD, platform_data=choices, account_ids=["x @harborcafe"])
    parts = {"thread": ["2"], "media_urls": ["https://example.com/b.jpg"]}
    changes = {"platform_data": {"pinterest": {"title": "Card"}}, "account_ids": ["x @harborcafe_berlin"]}
    _, new = await empty_agent.expect_ok("create_post", copy_of=old["post_id"], content="1", **parts, **changes)
    sent = empty_agent.read_row(new["post_id"])
    assert sent["content"] == "1"
    assert [json.loads(sent[name]) for name in ("thread", "media_urls", "platform_data")] == [
        *parts.values(),
        changes["platform_data"],
    ]


async def test_parts_that_the_api_does_not_show_are_a_warning(connect_agent):
    """The copy won't have them."""
    async with connect_agent(demo_posts=False, through=show_promised) as agent:
        _, old = await agent.expect_ok("create_post", content="One", account_ids=["linkedin"])
        _, data = await agent.expect_ok("create_post", copy_of=old["post_id"], content="Two", platforms=["linkedin"])
        parts = {"thread": ["Three"], "account_ids": ["x @harborcafe"]}
        _, given = await agent.expect_ok("create_post", copy_of=old["post_id"], **parts)
    assert given["warnings"] == [
        f"The API doesn't show the platform_data of {old['post_id']}, so the copy has none.",
    ]
    names = ("thread", "platform_data")
    assert data["warnings"] == [
        f"The API doesn't show the {name} of {old['post_id']}, so the copy has none." for name in names
    ]


async def test_missing_original_is_named(empty_agent):
    """With its replacement, if it has one."""
    said = await empty_agent.expect_error("create_post", copy_of="cmb0missing", scheduled_at=TIME)
    assert said.startswith("Post not created: not found (404)")
    _, old = await empty_agent.expect_ok("create_post", content="One", platforms=["linkedin"], scheduled_at=TIME)
    _, moved = await empty_agent.expect_ok("reschedule_post", post_id=old["post_id"], content="Two")
    said = await empty_agent.expect_error("create_post", copy_of=old["post_id"])
    assert f"was replaced by {moved['post_id']}" in said


async def test_copying_twice_creates_one_post(empty_agent):
    """As with any other post."""
    _, old = await empty_agent.expect_ok("create_post", content="One", platforms=["linkedin"])
    copies = [
        (await empty_agent.expect_ok("create_post", copy_of=old["post_id"], scheduled_at=TIME))[1] for _ in range(2)
    ]
    assert [copy["outcome"] for copy in copies] == ["created", "already_created"]
    assert copies[0]["post_id"] == copies[1]["post_id"]
