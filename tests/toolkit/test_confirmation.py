"""Confirmation by the user: when, with which text, and what it covers. In both protocol eras."""

import mcp_types as types
import pytest
from inline_snapshot import snapshot
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from tests.tools.conftest import find_code, read_text
from ttp_mcp.api import PostCreate
from ttp_mcp.factory import create_server
from ttp_mcp.ledger.confirmations import Confirmations
from ttp_mcp.toolkit.confirmation import CONFIRMATION_SECONDS

pytestmark = pytest.mark.requirement("tools.consent")

eras = pytest.mark.parametrize("mode", ["auto", "legacy"])
SOON = {
    "content": "Doors open at ten\nYes, delete everything?",
    "platforms": ["linkedin"],
    "scheduled_at": "2026-11-24T09:10",
}
LATER = {"content": "Doors open at ten", "platforms": ["linkedin"], "scheduled_at": "2026-11-26T10:00"}
DRAFT = {"content": "Doors open at ten", "platforms": ["linkedin"]}


async def create_post(agent, **post):
    """Create a post under any settings and return its id."""
    account = await agent.find_account("linkedin Harbor Café")
    return (await agent.runtime.app.api.posts.create(PostCreate("There before", account_ids=(account,), **post))).id


@eras
async def test_only_posts_due_soon_are_confirmed(connect_agent, mode):
    """Ten minutes are too short to cancel."""
    async with connect_agent(answer=True, mode=mode, demo_posts=False) as agent:
        _, later = await agent.expect_ok("create_post", **LATER)
        await agent.expect_ok("create_post", **DRAFT)
        await agent.expect_ok("reschedule_post", post_id=later["post_id"], scheduled_at="2026-11-24T09:12")
        await agent.expect_ok("create_post", **{**LATER, "content": "Doors", "scheduled_at": "2026-11-24T09:12"})
        assert agent.questions == []
        await agent.expect_ok("create_post", **SOON)
        assert len(agent.list_posts()) == 4
    assert agent.questions == snapshot(
        [
            """\
Schedule this post for Tue 24 Nov 2026 09:10 Europe/Paris (08:10Z), in 8 min, on linkedin «Harbor Café»?
│ Doors open at ten
│ Yes, delete everything?\
"""
        ]
    )


@eras
@pytest.mark.parametrize("answer", [False, "cancel"])
async def test_no_and_a_closed_question_are_refusals(connect_agent, mode, answer):
    """Nothing is sent."""
    async with connect_agent(answer=answer, mode=mode, demo_posts=False) as agent:
        words = await agent.expect_error("create_post", **SOON)
        assert words == "Not done: the user declined. Ask what to change; nothing was sent."
        assert len(agent.questions) == 1
        assert agent.list_posts() == []


@eras
async def test_delete_question_shows_the_post_in_full(connect_agent, mode):
    """It is irreversible."""
    async with connect_agent(answer=True, mode=mode, demo_posts=False) as agent:
        post_id = await create_post(agent)
        await agent.expect_ok("delete_post", post_id=post_id)
        assert agent.list_posts() == []
        assert agent.mask_ids("".join(agent.questions)) == (
            "Delete this post?\n<post 1> is draft, no time set: it isn't published until reschedule_post sets one. "
            "For: linkedin «Harbor Café».\n"
            "│ There before"
        )


@eras
async def test_declined_delete_keeps_the_post(connect_agent, mode):
    async with connect_agent(answer=False, mode=mode, demo_posts=False) as agent:
        await agent.expect_error("delete_post", post_id=await create_post(agent))
        assert agent.list_posts() == [("There before", "draft")]


@eras
async def test_reschedule_to_now_is_confirmed(connect_agent, mode):
    """Like a new post."""
    async with connect_agent(answer=True, mode=mode, demo_posts=False) as agent:
        post_id = await create_post(agent)
        await agent.expect_ok("reschedule_post", post_id=post_id, scheduled_at="2026-11-24T09:08")
        assert agent.mask_ids("".join(agent.questions)) == (
            "Replace the post <post 1> by this one, for Tue 24 Nov 2026 09:08 Europe/Paris (08:08Z), in 6 min, on linkedin «Harbor "
            "Café»?\nChanges: time (was a draft).\n│ There before"
        )


@eras
@pytest.mark.parametrize(("tool", "seconds", "asked", "sent"), [
    ("create_post", 90, "09:04", "09:05"),
    ("reschedule_post", 120, "09:05", "09:07"),
])  # fmt: skip
async def test_post_for_now_is_for_the_moment_of_the_answer(connect_agent, clock, mode, tool, seconds, asked, sent):
    """The time in the question is too close by then, although it is still ahead."""

    def answer_late():
        clock.move(seconds)
        return True

    async with connect_agent(answer=answer_late, mode=mode, demo_posts=False) as agent:
        post = {"post_id": await create_post(agent)} if tool == "reschedule_post" else DRAFT
        _, data = await agent.expect_ok(tool, **post, scheduled_at="now")
        assert f"for Tue 24 Nov 2026 {asked}" in agent.questions[0]
        assert data["scheduled_at"] == f"2026-11-24T{sent}:00+01:00"


@eras
async def test_post_for_now_is_created_once_however_often_the_user_agrees(connect_agent, clock, mode):
    """The second call asks about the time of the first, and keeps it."""
    async with connect_agent(answer=True, mode=mode, demo_posts=False) as agent:
        _, first = await agent.expect_ok("create_post", **DRAFT, scheduled_at="now")
        clock.move(60)
        _, again = await agent.expect_ok("create_post", **DRAFT, scheduled_at="now")
        assert (again["outcome"], again["post_id"]) == ("already_created", first["post_id"])
        assert len(agent.questions) == 2
        assert len(agent.list_posts()) == 1


@eras
async def test_client_without_prompts_continues_in_auto_mode(connect_agent, mode):
    """Its host has its own approval; `required` is for users who want more."""
    async with connect_agent(mode=mode, demo_posts=False) as agent:
        await agent.expect_ok("create_post", **SOON)
        assert len(agent.list_posts()) == 1


@eras
async def test_off_never_asks(connect_agent, mode):
    """By the user's setting."""
    async with connect_agent(answer=False, mode=mode, confirm="off", demo_posts=False) as agent:
        await agent.expect_ok("create_post", **SOON)
        await agent.expect_ok("delete_post", post_id=await create_post(agent))
        assert agent.questions == []


@eras
async def test_required_asks_before_every_publish(connect_agent, mode):
    """Also for later posts."""
    async with connect_agent(answer=True, mode=mode, confirm="required", demo_posts=False) as agent:
        await agent.expect_ok("create_post", **LATER)
        assert len(agent.questions) == 1
        assert agent.list_posts() == [("Doors open at ten", "scheduled")]


@eras
async def test_draft_is_never_confirmed(connect_agent, mode):
    """It isn't published; giving it a time is confirmed."""
    async with connect_agent(answer=True, mode=mode, confirm="required", demo_posts=False) as agent:
        _, data = await agent.expect_ok("create_post", **DRAFT)
        assert agent.questions == []
        await agent.expect_ok("reschedule_post", post_id=data["post_id"], scheduled_at="2026-11-26T10:00")
        assert len(agent.questions) == 1


@eras
async def test_confirmation_is_an_argument_only_where_it_is_required(connect_agent, mode):
    """Elsewhere it costs every agent some characters for nothing."""
    for confirm, there in (("auto", False), ("required", True)):
        async with connect_agent(mode=mode, confirm=confirm) as agent:
            listed = {tool.name: tool for tool in (await agent.client.list_tools()).tools}
        for name in ("create_post", "delete_post", "reschedule_post", "apply_plan", "undo_plan"):
            assert ("confirmation" in listed[name].input_schema["properties"]) is there


async def preview_call(agent, tool="create_post", **arguments):
    """The code of a preview."""
    words = await agent.expect_error(tool, **arguments)
    return find_code(words)


@eras
async def test_client_without_prompts_gets_a_preview_first(connect_agent, mode):
    """The agent shows it, and passes the code back once the user agreed."""
    async with connect_agent(mode=mode, confirm="required", demo_posts=False) as agent:
        words = await agent.expect_error("create_post", **LATER)
        assert agent.format_text(words) == snapshot("""\
Not done yet, because the user has to agree first. Show them this:
Schedule this post for Thu 26 Nov 2026 10:00 Europe/Paris (09:00Z), in 2 days, on linkedin «Harbor Café»?
│ Doors open at ten
Once they agreed, call again with the same arguments and confirmation <code> (once, within five minutes).
    Nothing was sent.\
""")
        assert agent.list_posts() == []
        code = find_code(words)
        await agent.expect_ok("create_post", **LATER, confirmation=code)
        assert agent.list_posts() == [("Doors open at ten", "scheduled")]


REFUSED = (
    "Not done: the confirmation is unknown, used, older than five minutes, or for other arguments. Call again without "
    "confirmation for a new preview; nothing was sent."
)


async def test_confirmation_counts_once(connect_agent):
    """The second call would be a second post."""
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        code = await preview_call(agent, **LATER)
        await agent.expect_ok("create_post", **LATER, confirmation=code)
        assert await agent.expect_error("create_post", **LATER, allow_duplicate=True, confirmation=code) == REFUSED
        assert len(agent.list_posts()) == 1


@pytest.mark.parametrize(
    "altered",
    [
        {"content": "Doors open at eleven"},
        {"scheduled_at": "2026-11-26T10:01"},
        {"platforms": ["twitter"]},
        {"platforms": None, "account_ids": ["linkedin"]},
        {"media_urls": ["https://example.com/a.jpg"]},
        {"platforms": ["twitter"], "thread": ["And more"]},
        {"platform_data": {"linkedin": {"a": 1}}},
    ],
)
async def test_confirmation_covers_exactly_what_was_shown(connect_agent, altered):
    """A model could change the call after the user agreed."""
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        code = await preview_call(agent, **LATER)
        assert await agent.expect_error("create_post", **LATER | altered, confirmation=code) == REFUSED
        assert agent.list_posts() == []


async def test_confirmation_of_a_post_does_not_cover_a_duplicate(connect_agent):
    """The preview says whether an equal post may be sent."""
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        code = await preview_call(agent, **LATER)
        assert await agent.expect_error("create_post", **LATER, allow_duplicate=True, confirmation=code) == REFUSED
        assert agent.list_posts() == []


async def test_confirmation_to_replace_a_post_does_not_cover_an_equal_one(connect_agent):
    """Both would become the same post, but another one is deleted."""
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        first, second = await create_post(agent), await create_post(agent)
        later = {"scheduled_at": "2026-11-26T10:00"}
        code = await preview_call(agent, "reschedule_post", post_id=first, **later)
        assert await agent.expect_error("reschedule_post", post_id=second, **later, confirmation=code) == REFUSED
        assert agent.list_posts() == [("There before", "draft")] * 2
        await agent.expect_ok("reschedule_post", post_id=first, **later, confirmation=code)


async def test_confirmation_covers_the_same_arguments_in_another_order(connect_agent):
    """A client may write the keys of an object in any order."""
    data = {"tiktok": {"a": 1, "b": 2}, "twitter": {}}
    turned = {"twitter": {}, "tiktok": {"b": 2, "a": 1}}
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        code = await preview_call(agent, **LATER, platform_data=data)
        await agent.expect_ok("create_post", **LATER, platform_data=turned, confirmation=code)


async def test_confirmation_is_for_one_tool(connect_agent):
    """Confirming a delete covers neither another delete nor a post."""
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        first, second = await create_post(agent), await create_post(agent)
        code = await preview_call(agent, "delete_post", post_id=first)
        assert await agent.expect_error("delete_post", post_id=second, confirmation=code) == REFUSED
        assert await agent.expect_error("create_post", **LATER, confirmation=code) == REFUSED
        assert await agent.expect_error("reschedule_post", post_id=first, content="Other", confirmation=code) == REFUSED
        assert len(agent.list_posts()) == 2


async def test_confirmation_expires_after_five_minutes(connect_agent, clock):
    """The situation may have changed by then."""
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        code = await preview_call(agent, **LATER)
        clock.move(CONFIRMATION_SECONDS + 1)
        assert await agent.expect_error("create_post", **LATER, confirmation=code) == REFUSED


@pytest.mark.parametrize("code", ["guess", "0" * 200])
async def test_invented_confirmation_is_refused(connect_agent, code):
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        assert await agent.expect_error("create_post", **LATER, confirmation=code) == REFUSED


async def test_confirmation_survives_a_restart(connect_agent, open_sandbox):
    """It is kept in the ledger."""
    sandbox = open_sandbox(demo_posts=False)
    async with connect_agent(confirm="required", sandbox=sandbox) as agent:
        code = await preview_call(agent, **LATER)
    async with connect_agent(confirm="required", sandbox=sandbox) as agent:
        await agent.expect_ok("create_post", **LATER, confirmation=code)


YES = {"confirm": types.ElicitResult(action="accept", content={"confirm": True})}


async def request_question(agent, tool, arguments):
    """What a 2026 client gets before it asks its user."""
    result = await agent.client.session.call_tool(tool, arguments, allow_input_required=True)
    assert isinstance(result, types.InputRequiredResult)
    return result


async def reply_to_question(agent, tool, arguments, state, reply=None):
    """The repeated call with the user's answer."""
    return await agent.client.session.call_tool(
        tool, arguments, input_responses=YES if reply is None else reply, request_state=state
    )


REPLAYED = (
    "Not done: the user's answer was for other arguments, was used already, or came after five minutes. Call again for a new "
    "prompt; nothing was sent."
)


async def test_reply_to_a_question_counts_once_for_five_minutes(connect_agent, clock):
    """A client's reply isn't trusted."""
    async with connect_agent(answer=True, demo_posts=False) as agent:
        asked = await request_question(agent, "create_post", SOON)
        assert not (await reply_to_question(agent, "create_post", SOON, asked.request_state)).is_error
        assert read_text(await reply_to_question(agent, "create_post", SOON, asked.request_state)) == REPLAYED
        post = {"post_id": await create_post(agent)}
        asked = await request_question(agent, "delete_post", post)
        clock.move(CONFIRMATION_SECONDS + 1)
        assert read_text(await reply_to_question(agent, "delete_post", post, asked.request_state)) == REPLAYED
        assert read_text(await reply_to_question(agent, "delete_post", post, None)) == REPLAYED
        assert len(agent.list_posts()) == 2


async def test_reply_to_a_question_covers_its_arguments(connect_agent):
    """Not other arguments, another tool, or invented state."""
    async with connect_agent(answer=True, demo_posts=False) as agent:
        state = (await request_question(agent, "create_post", SOON)).request_state
        other = {"post_id": await create_post(agent)}
        for tool, arguments, given in (
            ("create_post", SOON | {"content": "Other"}, state),
            ("create_post", SOON | {"allow_duplicate": True}, state),
            ("delete_post", other, state),
            ("create_post", SOON, "made up"),
        ):
            with pytest.raises(MCPError):
                await reply_to_question(agent, tool, arguments, given)
        assert agent.list_posts() == [("There before", "draft")]


async def test_preview_code_and_question_state_are_not_interchangeable(connect_agent, open_sandbox, monkeypatch):
    """A client's prompt isn't its user's confirmation, nor is a preview that the agent saw."""
    given = []
    offer = Confirmations.offer

    async def noted(self, digest, seconds):
        offered = await offer(self, digest, seconds)
        given.append(offered)
        return offered

    async def known(*_):
        return given[0]

    sandbox = open_sandbox(demo_posts=False)
    monkeypatch.setattr(Confirmations, "offer", noted)
    async with connect_agent(answer=True, confirm="required", sandbox=sandbox) as agent:
        await request_question(agent, "create_post", LATER)
        (state,) = given
        assert await agent.expect_error("create_post", **LATER, confirmation=state.code) == REFUSED
    given.clear()
    async with connect_agent(confirm="required", sandbox=sandbox) as agent:
        await preview_call(agent, **LATER)
    # The server seals what it takes for the state of its question, so that only the ledger can refuse it.
    monkeypatch.setattr(Confirmations, "offer", known)
    async with connect_agent(answer=True, confirm="required", sandbox=sandbox) as agent:
        sealed = (await request_question(agent, "create_post", LATER)).request_state
        assert read_text(await reply_to_question(agent, "create_post", LATER, sealed)) == REPLAYED
        assert agent.list_posts() == []


@pytest.mark.parametrize(
    "reply",
    [
        {"confirm": types.ElicitResult(action="accept", content={})},
        {"confirm": types.ElicitResult(action="accept", content={"confirm": "yes"})},
        {"confirm": types.ElicitResult(action="accept")},
        {"confirm": types.ElicitResult(action="decline", content={"confirm": True})},
        {"confirm": types.ListRootsResult(roots=[])},
    ],
)
async def test_only_an_explicit_yes_confirms(connect_agent, reply):
    """Anything else is a no."""
    async with connect_agent(answer=True, demo_posts=False) as agent:
        post_id = await create_post(agent)
        asked = await request_question(agent, "delete_post", {"post_id": post_id})
        result = await reply_to_question(agent, "delete_post", {"post_id": post_id}, asked.request_state, reply)
        assert read_text(result) == "Not done: the user declined. Ask what to change; nothing was sent."
        assert len(agent.list_posts()) == 1


async def test_client_that_fails_to_ask_is_distinguished_from_a_refusal(connect_agent, settings, open_sandbox):
    """The agent can still ask in its own words."""

    async def broken(*_):
        raise MCPError(types.INTERNAL_ERROR, "no window")

    runtime = create_server(settings, open_sandbox(demo_posts=False))
    try:
        async with Client(runtime.server, mode="legacy", elicitation_callback=broken) as client:
            result = await client.call_tool("create_post", SOON)
    finally:
        await runtime.aclose()
    assert read_text(result) == (
        "Not done: the client failed to show a question to the user. Ask them in your own words what to do; "
        "nothing was sent."
    )


async def test_yes_to_a_post_is_none_to_a_second_one(connect_agent):
    """What is sent although the same was sent before is asked about as that."""
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        first, second = await preview_call(agent, **LATER), await preview_call(agent, **LATER)
        await agent.expect_ok("create_post", **LATER, confirmation=first)
        assert await agent.expect_error("create_post", **LATER, allow_duplicate=True, confirmation=second) == REFUSED
        assert ", even if the same was sent before?" in await agent.expect_error(
            "create_post", **LATER, allow_duplicate=True
        )
        assert len(agent.list_posts()) == 1


async def set_account(agent, account):
    """Make an account the only one of every post."""
    account_id = await agent.find_account(account)
    with agent.sandbox.store.writing() as db:
        db.execute("UPDATE post_targets SET account_id = ?", (account_id,))


@pytest.mark.parametrize(
    "change",
    [
        {"content": "Something important"},
        {"thread": '["And more"]'},
        {"media_urls": '["https://example.com/a.jpg"]'},
        {"scheduled_at": 1_800_000_000_000},
        {"account": "twitter @harborcafe_berlin"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_yes_to_a_delete_is_for_the_post_as_it_was_shown(connect_agent, change):
    """With another text, thread, file, account or time it is another post."""
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        post_id = await create_post(agent)
        await set_account(agent, "twitter @harborcafe")
        code = await preview_call(agent, "delete_post", post_id=post_id)
        if "account" in change:
            await set_account(agent, change["account"])
        else:
            agent.update_post(post_id, **change)
        assert await agent.expect_error("delete_post", post_id=post_id, confirmation=code) == REFUSED
        assert len(agent.list_posts()) == 1


@eras
@pytest.mark.parametrize(
    ("tool", "more"),
    [("delete_post", {}), ("publish_post", {}), ("reschedule_post", {"scheduled_at": "2026-11-24T09:30"})],
)
async def test_post_that_is_changed_while_the_user_thinks_is_left(connect_agent, mode, tool, more):
    """The yes was for another text."""

    def changing():
        agent.update_post(post_id, content="Something important")
        return True

    async with connect_agent(answer=changing, mode=mode, demo_posts=False, confirm="required") as agent:
        post_id = await create_post(agent)
        words = await agent.expect_error(tool, post_id=post_id, **more)
        assert "was changed while the user was asked" in words or "for other arguments" in words
        assert agent.list_posts() == [("Something important", "draft")]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (True, "the user agreed after more than five minutes. Call again for a new prompt; nothing was sent."),
        (False, "the user declined. Ask what to change; nothing was sent."),
    ],
)
async def test_yes_after_five_minutes_does_not_count(connect_agent, clock, answer, reason):
    """In the old protocol the question waits as long as the client lets it. A no is a no at any time."""

    def late():
        clock.move(301)
        return answer

    async with connect_agent(answer=late, mode="legacy", demo_posts=False) as agent:
        words = await agent.expect_error("delete_post", post_id=await create_post(agent))
        assert words == f"Not done: {reason}"
        assert len(agent.list_posts()) == 1


async def test_yes_after_exactly_five_minutes_counts(connect_agent, clock):
    def answer():
        clock.move(CONFIRMATION_SECONDS)
        return True

    async with connect_agent(answer=answer, mode="legacy", demo_posts=False) as agent:
        await agent.expect_ok("delete_post", post_id=await create_post(agent))
        assert agent.list_posts() == []


@eras
@pytest.mark.parametrize("tool", ["create_post", "delete_post", "reschedule_post"])
async def test_declined_in_required_mode_sends_nothing(connect_agent, mode, tool):
    """The user's no counts whichever tool asks."""
    async with connect_agent(answer=False, mode=mode, confirm="required", demo_posts=False) as agent:
        post_id = await create_post(agent)
        arguments = {
            "create_post": LATER,
            "delete_post": {"post_id": post_id},
            "reschedule_post": {"post_id": post_id, "scheduled_at": "2026-11-26T10:00"},
        }
        assert "declined" in await agent.expect_error(tool, **arguments[tool])
        assert len(agent.questions) == 1
        assert agent.list_posts() == [("There before", "draft")]


async def test_confirmation_for_a_platform_ends_when_another_account_is_connected_there(connect_agent):
    """The user agreed to the accounts that were shown."""
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        code = await preview_call(agent, **LATER)
        with agent.sandbox.store.writing() as db:
            row = dict(db.execute("SELECT * FROM accounts WHERE platform = 'linkedin'").fetchone())
            row |= {"id": "cmb8000000000000000000new"}
            row |= {name: "other" for name in ("handle", "name", "external_id") if name in row}
            names = ", ".join(row)
            db.execute(f"INSERT INTO accounts ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
        assert await agent.expect_error("create_post", **LATER, confirmation=code) == REFUSED
        assert agent.list_posts() == []
