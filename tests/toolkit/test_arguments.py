"""What clients send for an argument, beside its plain value."""

import json

import pytest

pytestmark = pytest.mark.requirement("toolkit.arguments")

DUE = "2026-12-10T10:00"
LATER = "2026-12-02T10:00"


@pytest.mark.parametrize(
    "platforms", ["linkedin, twitter", '["linkedin", "twitter"]', ["linkedin", "twitter"], "linkedin,twitter,"]
)
async def test_platforms_are_a_list_however_they_are_written(agent, platforms):
    text, data = await agent.ok("check_post", content="Hello", platforms=platforms, scheduled_at=DUE)
    assert {account["platform"] for account in data["accounts"]} == {"linkedin", "twitter"}, text


async def test_accounts_are_split_at_commas_and_texts_are_not(fresh):
    post = {"content": "Hello", "thread": "One, two", "scheduled_at": DUE}
    _, data = await fresh.ok("create_post", account_ids="@harborcafe_berlin, linkedin", **post)
    row = fresh.wire(data["post_id"])
    assert json.loads(row["thread"]) == ["One, two"]
    assert len(data["accounts"]) == 2


async def test_parts_to_remove_are_split_at_commas(fresh):
    """They are words of a choice, as a status is."""
    media = ["https://example.com/a.jpg"]
    post = {"content": "Hello", "account_ids": ["@harborcafe_berlin"], "media_urls": media, "thread": ["Two"]}
    _, made = await fresh.ok("create_post", **post, scheduled_at=DUE)
    _, data = await fresh.ok("reschedule_post", post_id=made["post_id"], remove="media, Thread")
    assert [json.loads(fresh.wire(data["post_id"])[name] or "[]") for name in ("media_urls", "thread")] == [[], []]


async def test_one_url_is_a_list_of_one(fresh):
    url = "https://example.com/a,b.jpg"
    _, data = await fresh.ok("create_post", content="Hello", platforms="linkedin", media_urls=url, scheduled_at=DUE)
    assert json.loads(fresh.wire(data["post_id"])["media_urls"]) == [url]


@pytest.mark.parametrize("filler", ["", " ", [], {}, None, [""], [None], "null", "None", "undefined"])
@pytest.mark.parametrize(
    "name", ["status", "platform", "cursor", "account", "text", "after", "before", "order", "limit"]
)
async def test_filler_of_an_optional_argument_is_as_left_out(agent, name, filler):
    if name == "text" and filler in ("null", "None", "undefined"):
        # The words that are searched for.
        return
    plain, _ = await agent.ok("list_posts")
    filled, _ = await agent.ok("list_posts", **{name: filler})
    assert filled == plain


@pytest.mark.parametrize("filler", ["", "null", [""], [None], ["null"], ["  "], [[]]])
async def test_filler_never_removes_a_part_of_a_post(fresh, filler):
    """As above, for a change."""
    post = {"content": "With a picture", "platforms": ["linkedin"], "media_urls": ["https://example.com/a.jpg"]}
    _, made = await fresh.ok("create_post", **post, scheduled_at=DUE)
    fillers = dict.fromkeys(("media_urls", "account_ids", "remove"), filler)
    text, data = await fresh.ok("reschedule_post", post_id=made["post_id"], scheduled_at=LATER, **fillers)
    assert "Unchanged: text, accounts, media." in text
    assert json.loads(fresh.wire(data["post_id"])["media_urls"]) == post["media_urls"]


async def test_words_of_a_choice_are_understood_in_any_case(fresh):
    """Also within a list."""
    await fresh.ok("list_posts", order=" LATEST", status="Failed")
    post = {"content": "With a picture", "platforms": ["linkedin"], "media_urls": ["https://example.com/a.jpg"]}
    _, made = await fresh.ok("create_post", **post, scheduled_at=DUE)
    _, data = await fresh.ok("reschedule_post", post_id=made["post_id"], remove="Media")
    assert data["removed"]


async def test_word_for_nothing_is_a_text_where_texts_are_written(fresh):
    """A post can say it."""
    _, data = await fresh.ok("create_post", content="None", platforms=["linkedin"])
    assert fresh.wire(data["post_id"])["content"] == "None"


async def test_objects_inside_lists_are_read_as_leniently(fresh):
    """Other spellings, one value for a list, fillers."""
    posts = [{"content": "Hello", "accountIds": "linkedin", "mediaUrls": "", "platform_data": {}, "latest": ""}]
    _, data = await fresh.ok("plan_posts", posts=posts)
    assert len(data["planned"]) == 1


async def test_misspelt_name_inside_an_object_is_refused(fresh):
    said = await fresh.refused("plan_posts", posts=[{"content": "Hello", "platfroms": ["linkedin"]}])
    assert said == "plan_posts not called: posts.0.platfroms is not known here. Nothing was sent."


async def test_tool_without_arguments_ignores_a_filler(agent):
    plain, _ = await agent.ok("list_integrations")
    assert (await agent.ok("list_integrations", random_string="x"))[0] == plain
