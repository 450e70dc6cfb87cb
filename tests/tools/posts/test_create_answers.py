"""Whole answers of create_post: its texts and data, also where the API responds with something unexpected."""

import json
from typing import Any

import pytest

from tests.support.ledgers import fail_to_record
from tests.tools.conftest import Fault, Through, answer_reads, read_text
from ttp_mcp.ledger.ledger import Ledger

pytestmark = pytest.mark.requirement("tools.posts.create")

FOOTER = "\nSandbox: nothing here becomes public."
TEXT = "Doors open at ten"
WHERE = "linkedin «Harbor Café»"
LINE = f"\nText: «{TEXT}» (linkedin 17 of 3000 characters)."
DUE = "Thu 26 Nov 2026 10:00 Europe/Paris (09:00Z)"
DRAFT = {"content": TEXT, "platforms": ["linkedin"]}
POST = {**DRAFT, "scheduled_at": "2026-11-26T10:00"}
LATER = {"scheduledAt": "2026-11-27T23:30:00Z"}
SET_LATER = "is set for Sat 28 Nov 2026 00:30 Europe/Paris (27 Nov 23:30Z)"


def change_created(changes: dict[str, Any], remove: tuple[str, ...] = ()) -> Through:
    """Change fields of the post in each response to a create, or leave them out."""

    def through(app):
        async def between(scope, receive, send):
            async def alter(message):
                if "body" in message:
                    reply = json.loads(message["body"])
                    post = reply["post"] | changes
                    reply["post"] = {name: post[name] for name in post if name not in remove}
                    message = {**message, "body": json.dumps(reply).encode()}
                else:
                    message = {**message, "headers": [(b"content-type", b"application/json")]}
                await send(message)

            await app(scope, receive, alter if scope["method"] == "POST" else send)

        return between

    return through


async def test_parts_that_a_post_lacks_are_left_out(empty_agent):
    _, data = await empty_agent.expect_ok("create_post", **POST)
    assert not {"media", "thread", "choices", "candidates"} & data.keys()


async def test_created_post_is_in_the_history_of_its_tool(empty_agent):
    await empty_agent.expect_ok("create_post", **POST)
    history = (await empty_agent.client.read_resource("ttp://history")).contents[0].text
    assert history.splitlines()[-1].endswith(" (create_post)")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "draft"}, "is draft and not scheduled"),
        (LATER, f"{SET_LATER} and not for {DUE}"),
        ({"status": "failed", **LATER}, f"is failed and not scheduled and {SET_LATER} and not for {DUE}"),
    ],
)
async def test_scheduled_post_that_differs_is_described(connect_agent, changes, words):
    async with connect_agent(demo_posts=False, through=change_created(changes)) as agent:
        text, data = await agent.expect_ok("create_post", **POST)
    assert text == (
        f"Created, but not as asked: {data['post_id']} for {WHERE} {words}. Check it with get_post; delete_post removes it."
        f"{LINE}{FOOTER}"
    )
    is_later = "scheduledAt" in changes
    assert {name: data[name] for name in ("outcome", "status", "scheduled_at", "scheduled_at_utc", "weekday")} == {
        "outcome": "created",
        "status": changes.get("status", "scheduled"),
        "scheduled_at": "2026-11-28T00:30:00+01:00" if is_later else "2026-11-26T10:00:00+01:00",
        "scheduled_at_utc": "2026-11-27T23:30:00Z" if is_later else "2026-11-26T09:00:00Z",
        "weekday": "Saturday" if is_later else "Thursday",
    }


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "scheduled"}, "is scheduled and not draft"),
        ({"status": "published"}, "is published and not draft"),
        (LATER, SET_LATER),
    ],
)
async def test_draft_that_differs_is_described(connect_agent, changes, words):
    async with connect_agent(demo_posts=False, through=change_created(changes)) as agent:
        text, data = await agent.expect_ok("create_post", **DRAFT)
    assert text == (
        f"Created, but not as asked: {data['post_id']} for {WHERE} {words}. Check it with get_post; delete_post removes it."
        f"{LINE}{FOOTER}"
    )


@pytest.mark.parametrize("status", ["scheduled", "publishing", "published"])
async def test_post_that_is_out_already_is_as_asked(connect_agent, status):
    async with connect_agent(demo_posts=False, through=change_created({"status": status})) as agent:
        text, data = await agent.expect_ok("create_post", **POST)
    assert text.startswith(
        f"Scheduled: {data['post_id']} goes out {DUE}, in 2 days, to {WHERE}. Nothing is public yet;"
    )
    assert data["status"] == status


@pytest.mark.parametrize("post", [POST, DRAFT])
async def test_fields_that_the_api_leaves_out_are_no_difference(connect_agent, post):
    async with connect_agent(demo_posts=False, through=change_created({}, ("status", "scheduledAt"))) as agent:
        text, data = await agent.expect_ok("create_post", **post)
    assert text.startswith(("Scheduled: ", "Draft saved: "))
    assert data.get("scheduled_at_utc") == ("2026-11-26T09:00:00Z" if post is POST else None)


@pytest.mark.parametrize(
    ("post", "words"),
    [
        (
            POST,
            f"Scheduled: {{}} goes out {DUE}, in 2 days, to {WHERE}. Nothing is public yet; delete_post cancels it.",
        ),
        (
            DRAFT,
            f"Draft saved: {{}} for {WHERE}. Drafts are never published; reschedule_post sets a time, delete_post removes it.",
        ),
        (
            {**DRAFT, "scheduled_at": "now"},
            (
                f"Scheduled: {{}} goes out Tue 24 Nov 2026 09:04 Europe/Paris (08:04Z), in 2 min, to {WHERE}. This is the nearest time "
                "that the API takes. Nothing is public yet; delete_post cancels it."
            ),
        ),
    ],
)
async def test_post_of_a_lost_response_is_described(connect_agent, post, words):
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, methods=("POST",))) as agent:
        agent.sandbox.app.turn, agent.sandbox.app.after = 0, True
        text, data = await agent.expect_ok("create_post", **post)
    assert text == (
        f"{words.format(data['post_id'])} The API's response was lost; list_posts has the post.{LINE}{FOOTER}"
    )


async def test_other_post_found_after_a_lost_response_is_described(connect_agent):
    """It has another status than was asked for."""

    def through(app):
        async def lose(scope, receive, send):
            if scope["method"] != "POST":
                await app(scope, receive, send)
                return
            await app(scope, receive, discard)
            with agent.sandbox.store.writing() as db:
                db.execute("UPDATE posts SET status = 'failed'")
            raise ConnectionResetError

        return lose

    async def discard(_):
        pass

    async with connect_agent(demo_posts=False, through=through) as agent:
        text, data = await agent.expect_ok("create_post", **POST)
    assert text == (
        f"Created, but not as asked: {data['post_id']} for {WHERE} is failed and not scheduled. Check it with get_post; delete_post "
        f"removes it. The API's response was lost; list_posts has the post.{LINE}{FOOTER}"
    )


async def test_weekday_is_that_of_the_zone(empty_agent):
    """In UTC it is still Wednesday."""
    _, data = await empty_agent.expect_ok("create_post", **DRAFT, scheduled_at="2026-11-26T00:30")
    assert (data["scheduled_at"], data["scheduled_at_utc"], data["weekday"]) == (
        "2026-11-26T00:30:00+01:00",
        "2026-11-25T23:30:00Z",
        "Thursday",
    )


async def test_result_of_a_draft_is_complete(empty_agent):
    _, data = await empty_agent.expect_ok("create_post", **DRAFT)
    assert data == {
        "outcome": "created",
        "post_id": data["post_id"],
        "status": "draft",
        "accounts": [WHERE],
        "warnings": [],
        "text": TEXT,
        "characters": {"linkedin": 17},
    }


async def test_duplicate_has_the_status_of_the_first_post_and_no_warnings(empty_agent):
    """Its time is the first one's, too."""
    post = {**POST, "platforms": ["twitter"]}
    _, first = await empty_agent.expect_ok("create_post", **post)
    empty_agent.update_post(first["post_id"], status="partial")
    text, again = await empty_agent.expect_ok("create_post", **post)
    assert text == (
        f"Already created: {first['post_id']}, the same post for the same accounts and time; nothing was sent. get_post shows it; "
        f"allow_duplicate sends it once more, if the user wants that.{FOOTER}"
    )
    assert again == first | {"outcome": "already_created", "status": "partial", "warnings": []}
    assert first["warnings"]


async def test_posts_that_are_a_duplicate_together_are_named(empty_agent):
    x = await empty_agent.find_account("twitter @harborcafe")
    ids = [
        (await empty_agent.expect_ok("create_post", **POST | {"platforms": None, "account_ids": [each]}))[1]["post_id"]
        for each in (x, "linkedin")
    ]
    text, data = await empty_agent.expect_ok(
        "create_post", **POST | {"platforms": None, "account_ids": [x, "linkedin"]}
    )
    assert text == (
        f"Already created: {ids[0]} and {ids[1]} are together the same post for the same accounts and time; nothing was sent. "
        f"allow_duplicate sends it once more, if the user wants that.{FOOTER}"
    )
    assert data["post_id"] == ids[0]


async def test_unclear_create_is_described(connect_agent):
    """With the warnings, since it may have been sent."""
    post = {**POST, "platforms": ["twitter"]}
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, turn=0, methods=("POST",))) as agent:
        text, data = await agent.expect_ok("create_post", **post)
    assert text.splitlines()[0] == (
        "Unknown whether the post for twitter @harborcafe and twitter @harborcafe_berlin was created: no response. Can't tell which "
        "post, if any, it created. Call list_posts and look for it before trying again; allow_duplicate sends it in any case."
    )
    assert text.splitlines()[1:-1] == [f"Warning: {warning}" for warning in data["warnings"]]
    assert len(data["warnings"]) == 2
    assert {name: data.get(name) for name in ("outcome", "post_id", "status", "candidates", "scheduled_at")} == {
        "outcome": "unknown",
        "post_id": None,
        "status": None,
        "candidates": None,
        "scheduled_at": "2026-11-26T10:00:00+01:00",
    }


async def test_unrecorded_create_is_a_line_of_the_text(empty_agent, monkeypatch):
    monkeypatch.setattr(Ledger, "finish", fail_to_record)
    text, data = await empty_agent.expect_ok("create_post", **DRAFT)
    assert text == (
        f"Draft saved: {data['post_id']} for {WHERE}. Drafts are never published; reschedule_post sets a time, delete_post removes "
        f"it.{LINE}\nWarning: the ledger could not record this, so a duplicate would not be noticed; check_setup says why.{FOOTER}"
    )
    assert data["warnings"] == []


async def test_question_says_that_an_equal_post_may_exist(connect_agent):
    """It shows everything that becomes public, too."""
    post = {"content": TEXT, "scheduled_at": "2026-11-24T09:10", "media_urls": ["https://example.com/a.jpg"]}
    async with connect_agent(demo_posts=False, answer=False) as agent:
        x = await agent.find_account("twitter @harborcafe")
        for more in ({}, {"allow_duplicate": True}):
            await agent.expect_error("create_post", **post, account_ids=[x], thread=["Come early"], **more)
        start = "Schedule this post for Tue 24 Nov 2026 09:10 Europe/Paris (08:10Z), in 8 min, on twitter @harborcafe, with 1 media "
        shown = f"│ {TEXT}\nThread part 2:\n│ Come early\nMedia:\n│ https://example.com/a.jpg"
        assert agent.questions == [
            f"{start}file, as a thread of 2?\n{shown}",
            f"{start}file, as a thread of 2, even if the same was sent before?\n{shown}",
        ]


@pytest.mark.parametrize("minutes", [9, 10])
async def test_post_within_ten_minutes_is_confirmed(connect_agent, minutes):
    async with connect_agent(demo_posts=False, answer=True) as agent:
        await agent.expect_ok("create_post", **DRAFT, scheduled_at=f"2026-11-24T09:{2 + minutes:02}")
        assert len(agent.questions) == (minutes == 9)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_late_answer_about_a_fixed_time_sends_nothing(connect_agent, clock, mode):
    """The time is past by then."""

    def answer_late():
        clock.move(200)
        return True

    async with connect_agent(answer=answer_late, mode=mode, demo_posts=False) as agent:
        result = await agent.call("create_post", **DRAFT, scheduled_at="2026-11-24T09:04")
        assert result.is_error
        assert "is in the past" in read_text(result)
        assert agent.list_posts() == []


async def test_content_is_required_unless_a_post_is_copied(connect_agent):
    replies = {"/posts/p1": {"post": {"id": "p1", "content": TEXT, "status": "draft", "platforms": ["linkedin"]}}}
    async with connect_agent(demo_posts=False, through=answer_reads(replies)) as agent:
        words = await agent.expect_error("create_post", platforms=["linkedin"])
        assert words.startswith("create_post not called: content is required, or copy_of to repeat a post.")
        _, data = await agent.expect_ok("create_post", copy_of="p1", platforms=["linkedin"])
        assert agent.list_posts() == [(TEXT, "draft")]
        assert data["text"] == TEXT


async def test_question_has_the_choices_that_were_found(connect_agent):
    async with connect_agent(demo_posts=False, answer=False) as agent:
        await agent.expect_error(
            "create_post",
            content=TEXT,
            platforms=["pinterest"],
            media_urls=["https://example.com/a.jpg"],
            platform_data={"pinterest": {"board": "Recipes"}},
            scheduled_at="2026-11-24T09:10",
        )
        assert agent.questions == [
            (
                "Schedule this post for Tue 24 Nov 2026 09:10 Europe/Paris (08:10Z), in 8 min, on pinterest @harborcafe, with 1 media "
                f"file?\nBoard: «Recipes» (board-recipes).\n│ {TEXT}\nMedia:\n│ https://example.com/a.jpg"
            )
        ]


@pytest.mark.parametrize(("seconds", "minute"), [(60, "04"), (61, "05")])
async def test_time_of_a_post_for_now_is_kept_while_it_is_a_minute_away(connect_agent, clock, seconds, minute):
    """In the question it was 09:04."""

    def answer_late():
        clock.move(seconds)
        return True

    async with connect_agent(demo_posts=False, answer=answer_late, mode="legacy") as agent:
        _, data = await agent.expect_ok("create_post", **DRAFT, scheduled_at="now")
    assert data["scheduled_at"] == f"2026-11-24T09:{minute}:00+01:00"
