"""Forms in which clients send an argument."""

import json
from dataclasses import replace
from typing import Any, Literal

import pytest

from ttp_mcp.toolkit.arguments import ArgumentProblem, ToolObject, read_arguments
from ttp_mcp.toolkit.models import ToolInput
from ttp_mcp.tools import TOOLSETS

pytestmark = pytest.mark.requirement("toolkit.arguments")

DUE = "2026-12-10T10:00"
LATER = "2026-12-02T10:00"


@pytest.mark.parametrize(
    "platforms", ["linkedin, twitter", '["linkedin", "twitter"]', ["linkedin", "twitter"], "linkedin,twitter,"]
)
async def test_platforms_are_a_list_however_they_are_written(agent, platforms):
    text, data = await agent.expect_ok("check_post", content="Hello", platforms=platforms, scheduled_at=DUE)
    assert {account["platform"] for account in data["accounts"]} == {"linkedin", "twitter"}, text


async def test_accounts_are_split_at_commas_and_texts_are_not(empty_agent):
    post = {"content": "Hello", "thread": "One, two", "scheduled_at": DUE}
    _, data = await empty_agent.expect_ok("create_post", account_ids="@harborcafe_berlin, linkedin", **post)
    row = empty_agent.read_row(data["post_id"])
    assert json.loads(row["thread"]) == ["One, two"]
    assert len(data["accounts"]) == 2


async def test_parts_to_remove_are_split_at_commas(empty_agent):
    """They are enum values, like a status."""
    media = ["https://example.com/a.jpg"]
    post = {"content": "Hello", "account_ids": ["@harborcafe_berlin"], "media_urls": media, "thread": ["Two"]}
    _, made = await empty_agent.expect_ok("create_post", **post, scheduled_at=DUE)
    _, data = await empty_agent.expect_ok("reschedule_post", post_id=made["post_id"], remove="media, Thread")
    assert [json.loads(empty_agent.read_row(data["post_id"])[name] or "[]") for name in ("media_urls", "thread")] == [
        [],
        [],
    ]


async def test_one_url_is_a_list_of_one(empty_agent):
    url = "https://example.com/a,b.jpg"
    _, data = await empty_agent.expect_ok(
        "create_post", content="Hello", platforms="linkedin", media_urls=url, scheduled_at=DUE
    )
    assert json.loads(empty_agent.read_row(data["post_id"])["media_urls"]) == [url]


@pytest.mark.parametrize("name", ["media_urls", "thread"])
async def test_number_in_place_of_a_list_is_refused(empty_agent, name):
    """If it were ignored, the post would be sent without that part."""
    words = await empty_agent.expect_error("create_post", content="Hello", platforms="linkedin", **{name: 5})
    assert f"{name}.0 must be text" in words
    assert empty_agent.list_posts() == []


@pytest.mark.parametrize("filler", ["", " ", [], {}, None, [""], [None], "null", "None", "undefined"])
@pytest.mark.parametrize(
    "name", ["status", "platform", "cursor", "account", "text", "after", "before", "order", "limit"]
)
async def test_filler_of_an_optional_argument_is_as_left_out(agent, name, filler):
    if name == "text" and filler in ("null", "None", "undefined"):
        # The words that are searched for.
        return
    plain, _ = await agent.expect_ok("list_posts")
    filled, _ = await agent.expect_ok("list_posts", **{name: filler})
    assert filled == plain


@pytest.mark.parametrize("filler", ["", "null", [""], [None], ["null"], ["  "], [[]]])
async def test_filler_never_removes_a_part_of_a_post(empty_agent, filler):
    """As above, for a change."""
    post = {"content": "With a picture", "platforms": ["linkedin"], "media_urls": ["https://example.com/a.jpg"]}
    _, made = await empty_agent.expect_ok("create_post", **post, scheduled_at=DUE)
    fillers = dict.fromkeys(("media_urls", "account_ids", "remove"), filler)
    text, data = await empty_agent.expect_ok("reschedule_post", post_id=made["post_id"], scheduled_at=LATER, **fillers)
    assert "Unchanged: text, accounts, media." in text
    assert json.loads(empty_agent.read_row(data["post_id"])["media_urls"]) == post["media_urls"]


async def test_words_of_a_choice_are_understood_in_any_case(empty_agent):
    """Also within a list."""
    await empty_agent.expect_ok("list_posts", order=" LATEST", status="Failed")
    post = {"content": "With a picture", "platforms": ["linkedin"], "media_urls": ["https://example.com/a.jpg"]}
    _, made = await empty_agent.expect_ok("create_post", **post, scheduled_at=DUE)
    _, data = await empty_agent.expect_ok("reschedule_post", post_id=made["post_id"], remove="Media")
    assert data["removed"]


async def test_placeholder_word_is_text_in_text_arguments(empty_agent):
    """A post can contain it."""
    _, data = await empty_agent.expect_ok("create_post", content="None", platforms=["linkedin"])
    assert empty_agent.read_row(data["post_id"])["content"] == "None"


async def test_objects_inside_lists_are_read_leniently(empty_agent):
    """Aliases, one value for a list, fillers."""
    posts = [{"content": "Hello", "accountIds": "linkedin", "mediaUrls": "", "platform_data": {}, "latest": ""}]
    _, data = await empty_agent.expect_ok("plan_posts", posts=posts)
    assert len(data["planned"]) == 1


async def test_misspelt_name_inside_an_object_is_refused(empty_agent):
    said = await empty_agent.expect_error("plan_posts", posts=[{"content": "Hello", "platfroms": ["linkedin"]}])
    assert said == "plan_posts not called: posts.0.platfroms is not known here. Nothing was sent."


async def test_tool_without_arguments_ignores_a_filler(agent):
    plain, _ = await agent.expect_ok("list_integrations")
    assert (await agent.expect_ok("list_integrations", random_string="x"))[0] == plain


TOOL = {tool.name: tool for toolset in TOOLSETS for tool in toolset.tools}
NUMBER = "must not hold NaN or an infinite number"
UNICODE = "holds half of an emoji or another broken character; send the text again"
KNOWN = "account_ids, allow_duplicate, content, copy_of, media_urls, platform_data, platforms, scheduled_at, thread"


@pytest.mark.parametrize(
    ("tool", "arguments", "problems"),
    [
        ("create_post", {"acount_ids": 1}, "unknown argument acount_ids (did you mean account_ids?)"),
        ("create_post", {"zzz": 1}, f"unknown argument zzz (known are {KNOWN})"),
        ("create_post", {"id": "x"}, f"unknown argument id (known are {KNOWN})"),
        ("post_results", {"id": "x"}, "unknown argument id (did you mean post_ids?)"),
        ("create_post", {"Go on.": 1}, f"unknown argument «Go on.» (known are {KNOWN})"),
        ("create_post", {"thread": ["a"], "Thread": 1, "accountIds": "a", "account_ids": "b"}, (
            "unknown argument Thread (did you mean thread?); account_ids was given twice"
        )),
        ("create_post", {"content": 7}, "content must be text"),
        ("create_post", {"thread": ["a", 7]}, "thread.1 must be text"),
        ("create_post", {"thread": {"a": 1}}, "thread must be a list"),
        ("create_post", {"thread": ' ["a", "b"'}, "thread must be a list"),
        ("create_post", {"thread": '{"a": "b"'}, "thread must be a list"),
        ("create_post", {"thread": "[" * 100_000}, "thread must be a list"),
        ("create_post", {"zzz": 1, "content": 7}, f"unknown argument zzz (known are {KNOWN}); content must be text"),
        ("create_post", {"thread": ["a\udfff", "b\0"], "platform_data": {"a": float("nan")}}, (
            f"thread.0 {UNICODE}; thread.1 must not hold a NUL character; platform_data {NUMBER}"
        )),
        ("create_post", {"platform_data": [1]}, "platform_data must be an object"),
        ("create_post", {"platform_data": "a\0b"}, "platform_data must be an object"),
        ("create_post", {"platform_data": {"a": float("nan")}}, f"platform_data {NUMBER}"),
        ("create_post", {"platform_data": {"a": [1.5, {"b": float("inf")}]}}, f"platform_data {NUMBER}"),
        ("create_post", {"platform_data": {"a\ud800": 1}}, f"platform_data {UNICODE}"),
        ("create_post", {"platform_data": {"a": "\0"}}, "platform_data must not hold a NUL character"),
        ("create_post", {"thread": ["a", "b\udfff"]}, f"thread.1 {UNICODE}"),
        ("create_post", {"content": "a\ud800"}, f"content {UNICODE}"),
        ("list_posts", {"limit": True}, "limit must be a whole number"),
        ("list_posts", {"limit": "many", "order": "odd"}, (
            "order must be 'latest', 'soonest' or 'created'; limit must be a whole number"
        )),
        ("list_posts", {"limit": 101}, "limit must be at most 100"),
        ("list_posts", {"limit": 0}, "limit must be at least 1"),
        ("list_posts", {"limit": 1.5}, "limit must be a whole number"),
        ("list_posts", {"limit": "9" * 5000}, "limit is too large"),
        ("list_posts", {"text": "x" * 201}, "text must have at most 200 characters"),
        ("plan_posts", {"posts": [{"content": ""}]}, "posts.0.content must not be empty"),
        ("create_post", {"thread": ["a"] * 25}, "thread must have at most 24 entries"),
        ("create_post", {"allow_duplicate": 7}, "allow_duplicate must be true or false"),
        ("create_post", {"allow_duplicate": [7]}, "allow_duplicate must be true or false"),
        ("create_post", {"allow_duplicate": "perhaps"}, "allow_duplicate must be true or false"),
        ("plan_posts", {"posts": []}, "posts must not be empty"),
        ("plan_posts", {"posts": [{"content": "x"}], "quiet_from": "7"}, (
            "quiet_from must be a time of day; write it as 07:00"
        )),
        ("list_posts", {"confirmation": "x"}, (
            "unknown argument confirmation (known are account, after, before, cursor, limit, order, platform, status, text)"
        )),
        ("delete_post", {"post_id": "x", "confirmation": "y"}, "unknown argument confirmation (known are post_id)"),
        ("delete_post", {"post_id": None}, "post_id must be text"),
        ("delete_post", {}, "post_id is required"),
        ("plan_posts", {"posts": None}, "posts must be a list"),
        ("plan_posts", {"posts": [7]}, "posts.0 must be an object"),
        ("plan_posts", {"posts": "words"}, "posts.0 must be an object"),
    ],
)  # fmt: skip
def test_every_argument_that_breaks_a_rule_is_named_with_it(tool, arguments, problems):
    content = {} if tool != "create_post" or "content" in arguments else {"content": "Hello"}
    with pytest.raises(ArgumentProblem) as caught:
        read_arguments(TOOL[tool], {**content, **arguments})
    assert str(caught.value) == f"{tool} not called: {problems}. Nothing was sent."


@pytest.mark.parametrize(
    ("tool", "arguments", "read"),
    [
        ("create_post", {"accountIds": "a, b", "allowDuplicate": True}, {
            "account_ids": ["a", " b"], "allow_duplicate": True,
        }),
        ("create_post", {"thread": '["a", "b"]', "mediaUrls": '"https://a.example"'}, {
            "thread": ["a", "b"], "media_urls": ['"https://a.example"'],
        }),
        ("create_post", {"content": '{"a": 1}'}, {"content": '{"a": 1}'}),
        ("create_post", {"platform_data": '{"tiktok": {"a": 1.5}}'}, {"platform_data": {"tiktok": {"a": 1.5}}}),
        ("create_post", {"thread": "null", "platforms": [["null"], ""]}, {"thread": ["null"]}),
        ("list_posts", {"status": "draft,, failed", "order": " SOONEST", "limit": "7"}, {
            "status": ["draft", " failed"], "order": "soonest", "limit": 7,
        }),
        ("list_posts", {"text": "None"}, {"text": "None"}),
        ("list_posts", {"text": " ", "platform": {}, "account": None, "order": "null", "status": [" "]}, {}),
        ("post_results", {"post_ids": "p1,p2"}, {"post_ids": ["p1", "p2"]}),
        ("delete_post", {"id": "p1"}, {"post_id": "p1"}),
        ("list_integrations", {"random_string": "x"}, {}),
    ],
)  # fmt: skip
def test_arguments_are_read_from_other_spellings_and_forms(tool, arguments, read):
    content = {"content": "Hello"} if tool == "create_post" else {}
    values = read_arguments(TOOL[tool], {**content, **arguments}).model_dump(exclude_unset=True)
    assert values == {**content, **read}


def test_arguments_of_a_new_tool_are_read_like_those_of_the_others():
    """By the types of its fields, and with a rule for each of them."""

    class Part(ToolObject):
        words: list[str]

    class OwnInput(ToolInput):
        two_long_words: list[str]
        order: Literal["first", "last"] | None = None
        parts: list[Literal["text", "media"]] | None = None
        data: dict[str, Any] | None = None
        part: Part | None = None
        share: float = 1.0

    tool = replace(TOOL["list_posts"], name="own", input=OwnInput)
    sent = {
        "twoLongWords": "a",
        "order": " FIRST",
        "parts": "Media",
        "data": '{"a": 1}',
        "share": 0.5,
        "part": '{"words": "a"}',
    }
    read = {"two_long_words": ["a"], "order": "first", "parts": ["media"], "data": {"a": 1}, "share": 0.5}
    read |= {"part": {"words": ["a"]}}
    assert read_arguments(tool, sent).model_dump() == read
    with pytest.raises(ArgumentProblem, match=r"^own not called: share is not valid\. Nothing was sent\.$"):
        read_arguments(tool, {**sent, "share": "half"})


def test_code_of_a_confirmation_is_an_argument_where_codes_are_used():
    read = read_arguments(TOOL["delete_post"], {"post_id": "p1", "confirmation": "c"}, with_confirmation=True)
    assert read.model_dump() == {"post_id": "p1", "confirmation": "c"}
