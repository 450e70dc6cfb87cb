"""Whole questions, results and refusals of reschedule_post, and the limits of its times."""

import pytest
from inline_snapshot import snapshot

from tests.tools.conftest import Fault
from ttp_mcp.api import PostCreate
from ttp_mcp.writes.replacement import Replacer

pytestmark = pytest.mark.requirement("tools.reschedule")

POST = {"content": "Doors open at ten", "account_ids": ["linkedin"], "scheduled_at": "2026-11-26T09:00"}
FRIDAY = "2026-11-27T09:00"


async def create_post(agent, **changes):
    """Return the id of a new post."""
    _, data = await agent.expect_ok("create_post", **POST | changes)
    return data["post_id"]


async def test_question_shows_the_replacement_and_its_changes(connect_agent):
    async with connect_agent(answer=True, mode="legacy", confirm="required", demo_posts=False) as agent:
        old = await create_post(agent)
        pin = {"platforms": ["pinterest"], "account_ids": None, "media_urls": ["https://example.com/a.jpg"]}
        pinned = await create_post(agent, **pin, scheduled_at=None, platform_data={"pinterest": {"board": "winter"}})
        text, _ = await agent.expect_ok("reschedule_post", post_id=old, scheduled_at=FRIDAY, content="Doors open")
        assert agent.format_text(agent.questions[-1]) == snapshot("""\
Replace the post <post 1> by this one, for Fri 27 Nov 2026 09:00 Europe/Paris (08:00Z), in 3 days, on linkedin
    «Harbor Café»?
Changes: time (was Thu 26 Nov 2026 09:00 Europe/Paris (08:00Z)); text (was «Doors open at ten»).
│ Doors open\
""")
        assert agent.format_text(text) == snapshot("""\
Rescheduled: <post 1> goes out Fri 27 Nov 2026 09:00 Europe/Paris (08:00Z), in 3 days, to linkedin «Harbor
    Café». delete_post cancels it.
It replaces <post 2>, which is deleted.
Changed: time (was Thu 26 Nov 2026 09:00 Europe/Paris (08:00Z)); text (was «Doors open at ten»).
Unchanged: accounts.
Text: «Doors open» (linkedin 10 of 3000 characters).
Sandbox: nothing here becomes public.\
""")
        text, data = await agent.expect_ok(
            "reschedule_post", post_id=pinned, content="Buns", platform_data={"pinterest": {"board": "Recipes"}}
        )
        assert agent.format_text(agent.questions[-1]) == snapshot("""\
Replace the post <post 1> by this one, as a draft, on pinterest @harborcafe, with 1 media file?
Changes: text (was «Doors open at ten»); platform choices (pinterest.board_id was «board-winter-recipes»).
Board: «Recipes» (board-recipes).
│ Buns
Media:
│ https://example.com/a.jpg\
""")
        assert agent.format_text(text) == snapshot("""\
Rescheduled: <post 1> is a draft for pinterest @harborcafe, with 1 media file. delete_post cancels it.
It replaces <post 2>, which is deleted.
Changed: text (was «Doors open at ten»); platform choices (pinterest.board_id was «board-winter-recipes»).
Unchanged: accounts, media.
Text: «Buns» (pinterest 4 of 500 characters).
Media: «a.jpg».
Choices for pinterest: board_id «board-recipes».
Board: «Recipes» (board-recipes).
Sandbox: nothing here becomes public.\
""")
        new = data.pop("post_id")
        assert agent.read_row(new)["content"] == "Buns"
        assert (data.pop("old_post_id"), data) == (
            pinned,
            snapshot(
                {
                    "text": "Buns",
                    "characters": {"pinterest": 4},
                    "media": ["a.jpg"],
                    "platform_data": {"pinterest": {"board_id": "board-recipes"}},
                    "changed": [
                        "text (was «Doors open at ten»)",
                        "platform choices (pinterest.board_id was «board-winter-recipes»)",
                    ],
                    "removed": [],
                    "unchanged": ["accounts", "media"],
                    "warnings": [],
                }
            ),
        )


async def test_result_for_now_names_the_nearest_time_and_warnings(empty_agent):
    old = await create_post(empty_agent)
    await create_post(empty_agent, content="Another", scheduled_at="2026-11-24T09:20")
    text, data = await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at="now")
    assert empty_agent.format_text(text) == snapshot("""\
Rescheduled: <post 1> goes out Tue 24 Nov 2026 09:05 Europe/Paris (08:05Z), in 3 min, to linkedin «Harbor
    Café». This is the nearest time that the API takes. delete_post cancels it.
It replaces <post 2>, which is deleted.
Changed: time (was Thu 26 Nov 2026 09:00 Europe/Paris (08:00Z)).
Unchanged: text, accounts.
Text: «Doors open at ten» (linkedin 17 of 3000 characters).
Warning: Another post for linkedin «Harbor Café» is scheduled 15 min later (<post 3>).
Sandbox: nothing here becomes public.\
""")
    assert [empty_agent.mask_ids(each) for each in data["warnings"]] == snapshot(
        ["Another post for linkedin «Harbor Café» is scheduled 15 min later (<post 1>)."]
    )


@pytest.mark.parametrize(("seconds", "moved"), [(360, True), (361, False)])
async def test_old_post_has_to_be_two_minutes_away(empty_agent, clock, seconds, moved):
    """The scheduler may take it up while it is replaced."""
    old = await create_post(empty_agent, scheduled_at="2026-11-24T09:10")
    clock.move(seconds)
    if moved:
        await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at=FRIDAY)
    else:
        assert await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY) == (
            f"Post not rescheduled: {old} is due in 2 min, too soon to be replaced safely. delete_post may still stop it; "
            "nothing was changed."
        )
    assert bool(empty_agent.read_row(old)) is not moved


async def test_past_time_of_a_draft_or_failed_post_does_not_matter(empty_agent, clock):
    """Only a scheduled post is about to go out."""
    old = await create_post(empty_agent, scheduled_at="2026-11-24T09:10")
    empty_agent.update_post(old, status="failed")
    clock.move(3600)
    _, data = await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at=FRIDAY)
    assert data["changed"] == snapshot(["time (was a failed post)"])
    assert empty_agent.list_posts() == [("Doors open at ten", "scheduled")]


@pytest.mark.parametrize(("when", "moved"), [("2026-11-24T09:04:00", True), ("2026-11-24T09:03:59", False)])
async def test_new_time_has_to_be_two_minutes_away(empty_agent, when, moved):
    """The old post might not be deleted by then."""
    old = await create_post(empty_agent)
    if moved:
        await empty_agent.expect_ok("reschedule_post", post_id=old, scheduled_at=when)
    else:
        assert await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=when) == (
            "Post not rescheduled: Tue 24 Nov 2026 09:03 Europe/Paris (08:03Z) is less than two minutes away, too soon to "
            "replace a post safely. Pass a later time; nothing was changed."
        )
    assert bool(empty_agent.read_row(old)) is not moved


@pytest.mark.parametrize(("when", "asked"), [("2026-11-24T09:11:59", 1), ("2026-11-24T09:12:00", 0)])
async def test_question_is_asked_less_than_ten_minutes_ahead(connect_agent, when, asked):
    """Without TTP_CONFIRM=required."""
    async with connect_agent(answer=True, demo_posts=False) as agent:
        await agent.expect_ok("reschedule_post", post_id=await create_post(agent), scheduled_at=when)
        assert len(agent.questions) == asked


async def test_post_that_another_call_replaces_is_refused(empty_agent):
    old = await create_post(empty_agent)
    empty_agent.runtime.app.writer.replacing.add(old)
    assert await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY) == (
        f"Post not rescheduled: {old} is being replaced by another call right now. Look with list_posts in a few minutes; "
        "nothing was changed."
    )
    assert empty_agent.list_posts() == [("Doors open at ten", "scheduled")]


async def test_both_posts_of_an_interrupted_call_are_named(empty_agent, clock, monkeypatch):
    async def crash(*_, **__):
        raise RuntimeError

    old = await create_post(empty_agent)
    with monkeypatch.context() as broken:
        broken.setattr(Replacer, "_swap", crash)
        await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
    clock.move(271)
    _, listed = await empty_agent.expect_ok("list_posts")
    (new,) = {post["id"] for post in listed["posts"]} - {old}
    assert await empty_agent.expect_error("reschedule_post", post_id=old, scheduled_at="2026-11-28T09:00") == (
        f"Post not rescheduled: an earlier call created {new} to replace {old} and was interrupted, so both exist. "
        "Call delete_post for the one that is not wanted; nothing was changed."
    )


@pytest.mark.parametrize("change", [{"content": "Doors"}, {"status": "published"}])
async def test_post_that_changes_while_the_user_answers_is_not_replaced(connect_agent, change):
    """The user saw another one."""
    old = None

    def answer():
        agent.update_post(old, **change)
        return True

    async with connect_agent(answer=answer, mode="legacy", confirm="required", demo_posts=False) as agent:
        account = await agent.find_account("linkedin Harbor Café")
        old = (await agent.runtime.app.api.posts.create(PostCreate("Doors open at ten", account_ids=(account,)))).id
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        assert words == (
            f"Post not rescheduled: {old} was changed while the user was asked about it. Call again for a new prompt; "
            "nothing was sent."
            if "content" in change
            else f"Post not rescheduled: {old} is published, so it is out or on its way and can't be changed. create_post sends a "
            "new one; nothing was changed."
        )
        assert len(agent.list_posts()) == 1


async def test_post_that_is_deleted_while_the_user_answers_is_not_replaced(connect_agent):
    """A new one would bring back what the user has just removed elsewhere."""

    def answer():
        with agent.sandbox.store.writing() as db:
            db.execute("DELETE FROM posts")
        return True

    async with connect_agent(answer=answer, mode="legacy", confirm="required", demo_posts=False) as agent:
        old = await create_post(agent)
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        assert words == (
            "Post not rescheduled: not found (404): it doesn't exist, or belongs to another organization. Call list_posts for the ids "
            "that exist; retrying won't help."
        )
        assert agent.list_posts() == []


async def test_earlier_attempt_with_an_unknown_outcome_is_named(connect_agent):
    async with connect_agent(demo_posts=False, through=lambda app: Fault(app, methods=("POST",))) as agent:
        old = await create_post(agent)
        agent.sandbox.app.turn, agent.sandbox.app.count = 0, 0
        await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        agent.sandbox.app.turn = None
        words = await agent.expect_error("reschedule_post", post_id=old, scheduled_at=FRIDAY)
        assert words == (
            "Post not rescheduled: an attempt at 2026-11-24T08:02:00.000Z may have created an equal post, but its response was "
            "lost. Look for it with list_posts; if it isn't there, create_post with allow_duplicate=true sends it. Nothing was "
            f"sent by this call. {old} was not changed."
        )


async def test_every_account_that_an_equal_post_leaves_out_is_named(empty_agent):
    """With the ids to call again with."""
    twitter = await empty_agent.find_account("twitter @harborcafe")
    linkedin = await empty_agent.find_account("linkedin Harbor Café")
    berlin = await empty_agent.find_account("twitter @harborcafe_berlin")
    there = await create_post(empty_agent, account_ids=[twitter], scheduled_at=FRIDAY)
    old = await create_post(empty_agent, account_ids=[linkedin])
    words = await empty_agent.expect_error(
        "reschedule_post", post_id=old, account_ids=[twitter, linkedin, berlin], scheduled_at=FRIDAY
    )
    assert words == (
        f"Post not rescheduled: the same text is at that time already, as {there}, but not for linkedin «Harbor Café» and twitter "
        f"@harborcafe_berlin. Call again with account_ids {linkedin}, {berlin} to have the rest there; nothing was changed, {old} "
        "still exists."
    )
