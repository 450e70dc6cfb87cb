"""How a change of a post is checked and described: whole answers of check_post with post_id, and of reschedule_post."""

import json
from typing import Any

import pytest

from tests.tools.conftest import Agent, answer_reads

pytestmark = pytest.mark.requirement("tools.reschedule")

TEXT = "Doors open at ten"
LINKEDIN = "linkedin «Harbor Café»"
THURSDAY = "Thu 26 Nov 2026 10:00 Europe/Paris (09:00Z)"
FRIDAY = "Fri 27 Nov 2026 10:00 Europe/Paris (09:00Z)"
# A post in full, as the API shows it; accounts are added once they are known.
SHOWN: dict[str, Any] = {
    "id": "p1",
    "content": TEXT,
    "status": "scheduled",
    "scheduledAt": "2026-11-26T09:00:00.000Z",
    "mediaUrls": [],
    "thread": [],
    "platformData": {},
}


def list_changes(text: str) -> list[str]:
    """Return the lines of an answer that describe the change."""
    return [each for each in text.splitlines() if each.startswith("Changes: ") or each.endswith(" removed.")]


async def check_change(connect_agent, shown: dict[str, Any], /, account: str = "linkedin", **change: Any) -> Any:
    """Return text and data of check_post about a change of a post that the API shows like this."""
    post = SHOWN | shown
    async with connect_agent(demo_posts=False, through=answer_reads({"/posts/p1": {"post": post}})) as agent:
        names = {
            "linkedin": "linkedin Harbor Café",
            "twitter": "twitter @harborcafe",
            "pinterest": "pinterest @harborcafe",
        }
        if "accountIds" not in post:
            post["accountIds"] = [await agent.find_account(names[account])]
        text, data = await agent.expect_ok("check_post", post_id="p1", **change)
        return agent.mask_ids(text), data


async def make_post(agent: Agent, **more: Any) -> str:
    """Return the id of a new post."""
    post = {"content": TEXT, "account_ids": ["linkedin"], "scheduled_at": "2026-11-26T10:00"} | more
    return (await agent.expect_ok("create_post", **post))[1]["post_id"]


async def test_checked_change_is_described_as_a_whole(connect_agent):
    text, data = await check_change(connect_agent, {}, scheduled_at="2026-11-27T10:00", content="Doors open at eleven")
    assert text == (
        f"Would be sent {FRIDAY}, in 3 days, to {LINKEDIN}.\n"
        f"- {LINKEDIN} (<linkedin>): 20 of 3000 characters\n"
        f"Changes: time (was {THURSDAY}); text (was «{TEXT}»).\n"
        "Nothing was sent. reschedule_post with the same arguments makes the change."
    )
    assert (data["would_be_sent"], data["scheduled_at"], data["errors"], data["warnings"]) == (
        True,
        "2026-11-27T10:00:00+01:00",
        [],
        [],
    )


async def test_change_of_every_part_is_described_before_and_after(connect_agent):
    choices = {"pinterest": {"board_id": "board-recipes", "title": "Old"}}
    async with connect_agent(answer=True, confirm="required", demo_posts=False) as agent:
        x, pin = [await agent.find_account(f"{name} @harborcafe") for name in ("twitter", "pinterest")]
        old = await make_post(
            agent,
            account_ids=[x, pin],
            media_urls=["https://example.com/a.jpg"],
            thread=["Come early"],
            platform_data=choices,
        )
        text, data = await agent.expect_ok(
            "reschedule_post",
            post_id=old,
            scheduled_at="2026-11-27T10:00",
            content="Doors open at eleven",
            account_ids=[pin, x, "linkedin"],
            media_urls=["https://example.com/b.jpg"],
            thread=["Come late", "Or never"],
            platform_data={"pinterest": {"title": "New"}},
        )
    changed = [
        f"time (was {THURSDAY})",
        f"text (was «{TEXT}»)",
        "accounts (was twitter @harborcafe and pinterest @harborcafe)",
        "media (was «a.jpg»)",
        "thread (was 1 further post)",
        "platform choices (pinterest.title was «Old»)",
    ]
    assert f"\nChanged: {'; '.join(changed)}.\nText: «Doors open at eleven»" in text
    assert (data["changed"], data["removed"], data["unchanged"]) == (changed, [], [])
    assert f"?\nChanges: {'; '.join(changed)}.\n" in agent.questions[-1]
    row = agent.read_row(data["post_id"])
    assert (row["content"], row["thread"], row["media_urls"]) == (
        "Doors open at eleven",
        '["Come late", "Or never"]',
        '["https://example.com/b.jpg"]',
    )


async def test_unchanged_parts_are_named(empty_agent):
    old = await make_post(empty_agent)
    text, data = await empty_agent.expect_ok("reschedule_post", post_id=old, content="Doors open at eleven")
    assert f"\nChanged: text (was «{TEXT}»).\nUnchanged: time, accounts.\nText: " in text
    assert (data["changed"], data["removed"], data["unchanged"]) == (
        [f"text (was «{TEXT}»)"],
        [],
        ["time", "accounts"],
    )


@pytest.mark.parametrize(
    ("shown", "lines"),
    [
        ({"mediaUrls": ["https://a.example/1.jpg"]}, ["Its picture («1.jpg») is removed."]),
        (
            {"mediaUrls": ["https://a.example/1.jpg", "https://a.example/2.gif"]},
            ["Its 2 pictures («1.jpg», «2.gif») are removed."],
        ),
        ({"mediaUrls": ["https://a.example/1.mp4"]}, ["Its video («1.mp4») is removed."]),
        (
            {"mediaUrls": ["https://a.example/1.mp4", "https://a.example/2.mov"]},
            ["Its 2 videos («1.mp4», «2.mov») are removed."],
        ),
        (
            {"mediaUrls": ["https://a.example/1.mp4", "https://a.example/2.jpg"]},
            ["Its 2 media files («1.mp4», «2.jpg») are removed."],
        ),
        ({"thread": ["Come early"]}, ["1 further post of the thread is removed."]),
        ({"thread": ["Come early", "Or late"]}, ["2 further posts of the thread are removed."]),
        (
            {"platformData": {"pinterest": {"boardId": "1"}, "tiktok": {"privacy": "SELF_ONLY"}}},
            ["Its choices for pinterest and tiktok are removed."],
        ),
        ({"platformData": {"a" * 40: {"b": 1}}}, [f"Its choices for {'a' * 29}… are removed."]),
        (
            {"mediaUrls": ["https://a.example/1.jpg"], "thread": ["Come early"]},
            ["Its picture («1.jpg») is removed.", "1 further post of the thread is removed."],
        ),
    ],
)
async def test_removed_parts_are_described(connect_agent, shown, lines):
    words = {"mediaUrls": "media", "thread": "thread", "platformData": "platform_data"}
    text, _ = await check_change(connect_agent, shown, "twitter", remove=[words[name] for name in shown])
    assert list_changes(text) == lines


@pytest.mark.parametrize(
    ("hidden", "lines"),
    [
        (["thread"], ["Its thread, if it had one, is removed."]),
        (["platformData"], ["Its platform_data, if it had one, is removed."]),
        (
            ["thread", "platformData"],
            ["Its thread, if it had one, is removed.", "Its platform_data, if it had one, is removed."],
        ),
    ],
)
async def test_hidden_parts_are_removed_with_a_doubt(connect_agent, hidden, lines):
    """They are removed in any case, since the replacement is sent without them. Media are shown, and there are none."""
    post = {name: SHOWN[name] for name in SHOWN if name not in hidden}
    words = {"thread": "thread", "platformData": "platform_data"}
    async with connect_agent(demo_posts=False, through=answer_reads({"/posts/p1": {"post": post}})) as agent:
        post["accountIds"] = [await agent.find_account("twitter @harborcafe")]
        text, data = await agent.expect_ok(
            "check_post", post_id="p1", remove=[*(words[name] for name in hidden), "media"]
        )
    assert list_changes(text) == lines
    assert data["errors"] == []


async def test_removed_part_of_a_rescheduled_post_is_described(empty_agent):
    old = await make_post(empty_agent, media_urls=["https://example.com/a.jpg", "https://example.com/b.jpg"])
    text, data = await empty_agent.expect_ok("reschedule_post", post_id=old, remove=["media"])
    assert "is deleted.\nIts 2 pictures («a.jpg», «b.jpg») were removed.\nUnchanged: time, text, accounts.\n" in text
    assert (data["changed"], data["removed"], data["unchanged"]) == (
        [],
        ["its 2 pictures («a.jpg», «b.jpg»)"],
        ["time", "text", "accounts"],
    )


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        ({}, f"was {THURSDAY}"),
        ({"status": "draft", "scheduledAt": None}, "was a draft"),
        ({"status": "draft"}, "was a draft"),
        ({"status": "failed"}, "was a failed post"),
        ({"scheduledAt": "next week"}, "was at a time that can't be read"),
    ],
)
async def test_earlier_time_is_described(connect_agent, shown, words):
    text, _ = await check_change(connect_agent, shown, scheduled_at="2026-11-27T10:00")
    assert list_changes(text) == [f"Changes: time ({words})."]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ({"linkedin": {"a": "x"}}, {"linkedin": {"a": "y"}}, "linkedin.a was «x»"),
        ({}, {"linkedin": {"a": "y"}}, "linkedin.a was not set"),
        ({"linkedin": {"a": "x"}}, {"linkedin": {"b": "y"}}, "linkedin.b was not set"),
        (
            {"linkedin": {"a": "x", "b": True}},
            {"linkedin": {"a": "y", "b": False}},
            "linkedin.a was «x», linkedin.b was True",
        ),
        ({"linkedin": {"a": "x" * 70}}, {"linkedin": {"a": "y"}}, f"linkedin.a was «{'x' * 59}…»"),
        ({"linkedin": {"a": [7] * 70}}, {"linkedin": {"a": "y"}}, f"linkedin.a was {str([7] * 70)[:59]}…"),
        ({"linkedin": "x"}, {"linkedin": {"a": "y"}}, "linkedin was «x», linkedin.a was not set"),
        ({"linkedin": {"a\u200b": "x"}}, {"linkedin": {"b": "y"}}, "linkedin.b was not set"),
        ({"linked\u202ein": {"a": "x"}}, {"linked\u202ein": {"a": "y"}}, "linkedin.a was «x»"),
        (
            {"linkedin": {"a": "x"}, "twitter": {"b": "x"}},
            {"linkedin": {"a": "y"}, "twitter": {"b": "y"}},
            "linkedin.a was «x», twitter.b was «x»",
        ),
    ],
)
async def test_changed_choices_are_named_with_their_old_values(connect_agent, old, new, words):
    text, _ = await check_change(connect_agent, {"platformData": old}, platform_data=new)
    assert list_changes(text) == [f"Changes: platform choices ({words})."]


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        ({"linkedin": {"a": 1}}, {"linkedin": {"b": 2}}, {"linkedin": {"a": 1, "b": 2}}),
        ({"linkedin": {"a": 1}}, {"linkedin": {"a": 2}}, {"linkedin": {"a": 2}}),
        ({"linkedin": {"a": 1}}, {"twitter": {"b": 2}}, {"linkedin": {"a": 1}, "twitter": {"b": 2}}),
        ({"linkedin": "all"}, {"linkedin": {"b": 2}}, {"linkedin": {"b": 2}}),
        ({"linkedin": {"a": 1}}, {"linkedin": "all"}, {"linkedin": "all"}),
    ],
)
async def test_choices_are_merged_by_platform(connect_agent, old, new, merged):
    async with connect_agent(demo_posts=False) as agent:
        post_id = await make_post(agent)
        agent.update_post(post_id, platform_data=json.dumps(old))
        _, data = await agent.expect_ok("reschedule_post", post_id=post_id, platform_data=new)
        assert json.loads(agent.read_row(data["post_id"])["platform_data"]) == merged


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"thread": ["a"], "remove": ["thread"]}, "thread is"),
        (
            {
                "thread": ["a"],
                "media_urls": ["https://example.com/a.jpg"],
                "platform_data": {"twitter": {"a": 1}},
                "remove": ["thread", "platform_data", "media"],
            },
            "media_urls, platform_data and thread is",
        ),
    ],
)
async def test_parts_that_are_set_and_removed_are_named(empty_agent, change, words):
    post_id = await make_post(empty_agent)
    for tool, failure in (("reschedule_post", "Post not rescheduled"), ("check_post", "Post not checked")):
        assert await empty_agent.expect_error(tool, post_id=post_id, **change) == (
            f"{failure}: {words} both set and removed. Pass one of the two; nothing was changed."
        )


@pytest.mark.parametrize(
    ("shown", "change"),
    [
        ({}, {"scheduled_at": "2026-11-26T10:00"}),
        ({}, {"content": TEXT}),
        ({"mediaUrls": ["https://a.example/1.jpg"]}, {"media_urls": ["https://a.example/1.jpg"]}),
        ({}, {"remove": ["media", "thread", "platform_data"]}),
        ({"platformData": {"linkedin": {"a": 1}}}, {"platform_data": {"linkedin": {"a": 1}}}),
    ],
)
async def test_change_to_the_same_is_an_error(connect_agent, shown, change):
    _, data = await check_change(connect_agent, shown, **change)
    assert data["errors"] == ["p1 is like that already."]


async def test_change_of_a_failed_post_to_its_own_time_is_a_change(connect_agent):
    """It would be sent again."""
    _, data = await check_change(connect_agent, {"status": "failed"}, scheduled_at="2026-11-26T10:00")
    assert data["errors"] == []


async def test_change_to_the_same_of_a_post_with_hidden_parts_is_an_error(connect_agent):
    """Those that the change doesn't name."""
    post = {name: SHOWN[name] for name in SHOWN if name not in ("thread", "platformData")}
    async with connect_agent(demo_posts=False, through=answer_reads({"/posts/p1": {"post": post}})) as agent:
        post["accountIds"] = [await agent.find_account("linkedin Harbor Café")]
        _, data = await agent.expect_ok("check_post", post_id="p1", content=TEXT)
    assert data["errors"] == ["p1 is like that already."]


async def test_new_media_and_a_long_earlier_text_are_described(connect_agent):
    change = {"content": "New", "media_urls": ["https://example.com/a.jpg"]}
    text, _ = await check_change(connect_agent, {"content": "x" * 101}, **change)
    assert list_changes(text) == [f"Changes: text (was «{'x' * 99}…»); media (was none)."]


async def test_same_thread_and_accounts_are_no_change(connect_agent):
    """In another order, too."""
    post = SHOWN | {"thread": ["Come early"]}
    async with connect_agent(demo_posts=False, through=answer_reads({"/posts/p1": {"post": post}})) as agent:
        ids = [await agent.find_account(f"{name} @harborcafe") for name in ("twitter", "pinterest")]
        post["accountIds"] = ids
        for change in ({"thread": ["Come early"]}, {"account_ids": ids[::-1]}):
            _, data = await agent.expect_ok("check_post", post_id="p1", **change)
            assert "p1 is like that already." in data["errors"]
        for change in ({"thread": ["Come late"]}, {"account_ids": ids[:1]}):
            _, data = await agent.expect_ok("check_post", post_id="p1", **change)
            assert "p1 is like that already." not in data["errors"]


@pytest.mark.parametrize(
    ("hidden", "account", "change", "names"),
    [
        (["thread"], "twitter", {"content": "x"}, "thread"),
        (["platformData"], "pinterest", {"content": "x"}, "platform_data"),
        (["thread"], "linkedin", {"content": "x"}, None),
        (["platformData"], "twitter", {"content": "x"}, None),
        (["thread"], "twitter", {"thread": ["y"]}, None),
        (["thread"], "twitter", {"remove": ["thread"]}, None),
        (["platformData"], "pinterest", {"remove": ["platform_data"]}, None),
        (["platformData"], "pinterest", {"platform_data": {"pinterest": {"board_id": "board-recipes"}}}, None),
        (["thread", "platformData"], "twitter", {"remove": ["platform_data"]}, "thread"),
    ],
)
async def test_hidden_part_has_to_be_passed_or_removed(connect_agent, hidden, account, change, names):
    """Only parts that the platform of an account uses. A part that is passed may differ from the hidden one, which is allowed."""
    post = {name: SHOWN[name] for name in SHOWN if name not in hidden} | {"mediaUrls": ["https://a.example/1.jpg"]}
    labels = {
        "linkedin": "linkedin Harbor Café",
        "twitter": "twitter @harborcafe",
        "pinterest": "pinterest @harborcafe",
    }
    async with connect_agent(demo_posts=False, through=answer_reads({"/posts/p1": {"post": post}})) as agent:
        post["accountIds"] = [await agent.find_account(labels[account])]
        _, data = await agent.expect_ok("check_post", post_id="p1", **change)
        found = [each for each in data["errors"] if "does not show" in each or "like that" in each]
        words = f"the API does not show the {names} of p1. Pass {names}, or name it in remove if it has none."
        assert found == ([words] if names else [])
        if names:
            assert await agent.expect_error("reschedule_post", post_id="p1", **change) == (
                f"Post not rescheduled: {words.removesuffix('.')}; nothing was changed."
            )


async def test_change_without_arguments_is_refused(empty_agent):
    post_id = await make_post(empty_agent)
    assert await empty_agent.expect_error("check_post", post_id=post_id) == (
        "Post not checked: nothing to change was passed. Pass at least one of scheduled_at, content, account_ids, media_urls, "
        "thread, platform_data, remove."
    )
