"""Asking the user through the client's own means: a yes counts once, soon, and for exactly what was asked."""

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from tests.server.conftest import ERAS, human, text_of
from ttp_mcp.server.elicitation import McpUserPrompter
from ttp_mcp.server.rendering import ERROR_KIND

pytestmark = pytest.mark.requirement("server.human")

eras = pytest.mark.parametrize("era", ERAS)
YES = types.ElicitResult(action="accept", content={"confirm": True})
DECLINED = "Not done: the human declined. Ask what to change; nothing was sent."


def drafts(sandbox):
    """Ids of the posts that are there."""
    with sandbox.store.reading() as db:
        return [row["id"] for row in db.execute("SELECT id FROM posts WHERE organization_id = 'org_harbor_cafe'")]


@pytest.fixture
def post_id(sandbox):
    """A post that can be deleted, which is always asked about."""
    with sandbox.store.reading() as db:
        return db.execute("SELECT id FROM posts WHERE status = 'draft'").fetchone()["id"]


@eras
async def test_user_who_says_yes_is_asked_once_with_the_exact_text(connect, sandbox, post_id, era):
    """The question names the post and shows its text behind bars."""
    asked, questions = human(confirm=True)
    async with connect(era, asked=asked) as side:
        result = await side.call("delete_post", post_id=post_id)
    assert not result.is_error, text_of(result)
    assert len(questions) == 1
    assert questions[0].startswith(f"Delete this post?\n{post_id} is draft")
    assert "\n│ " in questions[0]
    assert post_id not in drafts(sandbox)


@eras
async def test_token_is_in_no_question(connect, sandbox, post_id, era):
    """Whatever brought it into the post."""
    with sandbox.store.writing() as db:
        db.execute("UPDATE posts SET content = ? WHERE id = ?", (f"Mine: {sandbox.token}", post_id))
    asked, questions = human("decline")
    async with connect(era, asked=asked) as side:
        await side.call("delete_post", post_id=post_id)
    assert "│ Mine: [redacted]" in questions[0]


@eras
@pytest.mark.parametrize(
    ("action", "content"),
    [
        ("decline", {}),
        ("decline", {"confirm": True}),
        ("cancel", {}),
        ("cancel", {"confirm": True}),
        ("accept", {"confirm": False}),
        ("accept", {}),
        ("accept", {"confirm": "true"}),
        ("accept", {"confirm": 1}),
        ("accept", {"other": True}),
    ],
)
async def test_anything_but_a_clear_yes_is_a_refusal(connect, sandbox, post_id, era, action, content):
    """The box has to be ticked by the human; a client's default does not do it."""
    asked, questions = human(action, **content)
    async with connect(era, asked=asked) as side:
        result = await side.call("delete_post", post_id=post_id)
    assert text_of(result) == DECLINED
    assert result.meta[ERROR_KIND] == "refused"
    assert len(questions) == 1
    assert post_id in drafts(sandbox)


@eras
async def test_client_that_cannot_ask_deletes_in_auto_mode(connect, sandbox, post_id, era):
    """Where the client can ask is what the setting says; without it the client's own approval has to do."""
    async with connect(era) as side:
        result = await side.call("delete_post", post_id=post_id)
    assert not result.is_error
    assert post_id not in drafts(sandbox)


@eras
async def test_client_that_cannot_ask_gets_a_preview_in_required_mode(connect, sandbox, post_id, era):
    """With a code that counts once and for this post alone."""
    async with connect(era, confirm="required") as side:
        preview = text_of(await side.call("delete_post", post_id=post_id))
        code = preview.partition("confirmation ")[2].partition(" (once")[0]
        other = next(each for each in drafts(sandbox) if each != post_id)
        wrong = await side.call("delete_post", post_id=other, confirmation=code)
        assert text_of(wrong).startswith("Not done: the confirmation is unknown")
        assert not (await side.call("delete_post", post_id=post_id, confirmation=code)).is_error
        again = await side.call("delete_post", post_id=other, confirmation=code)
        assert again.is_error
    assert post_id not in drafts(sandbox)
    assert other in drafts(sandbox)


@eras
async def test_client_that_fails_to_ask_gets_the_next_step(connect, sandbox, post_id, era):
    """It said that it can ask, and answers the question with an error."""

    async def asked(_, __):
        return types.ErrorData(code=-32603, message="the window did not open")

    async with connect(era, asked=asked) as side:
        if era == "legacy":
            result = await side.call("delete_post", post_id=post_id)
            assert text_of(result) == (
                "Not done: the client failed to show a question to the user. Ask them in your own words what to do; "
                "nothing was sent."
            )
        else:
            # Here the client asks by itself and gives up the call.
            with pytest.raises(MCPError, match="did not open"):
                await side.call("delete_post", post_id=post_id)
    assert post_id in drafts(sandbox)


@eras
@pytest.mark.parametrize(
    ("capability", "can"),
    [
        (types.ElicitationCapability(url=types.UrlElicitationCapability()), False),
        (types.ElicitationCapability(form=types.FormElicitationCapability()), True),
        (types.ElicitationCapability(), True),
        (None, False),
    ],
)
async def test_only_a_client_that_shows_forms_is_asked(connect, monkeypatch, post_id, era, capability, can):
    """A client that names no mode is of the time when forms were the only one."""
    # The SDK's client always names both modes.
    monkeypatch.setattr(types, "ElicitationCapability", lambda **_: capability)
    asked, questions = human(confirm=True)
    async with connect(era, asked=asked) as side:
        result = await side.call("delete_post", post_id=post_id)
    assert not result.is_error, text_of(result)
    assert len(questions) == (1 if can else 0)


async def question(side, post_id):
    """The server's question about a delete, with its sealed state."""
    result = await side.raw("delete_post", {"post_id": post_id})
    assert isinstance(result, types.InputRequiredResult)
    assert list(result.input_requests) == ["confirm"]
    return result.request_state


async def test_answer_of_the_client_counts_once(connect, sandbox, post_id):
    """The same answer sent again does nothing."""
    asked, _ = human(confirm=True)
    async with connect(asked=asked) as side:
        state = await question(side, post_id)
        done = await side.raw("delete_post", {"post_id": post_id}, reply=YES, state=state)
        assert not done.is_error, text_of(done)
        with sandbox.store.reading() as db:
            assert db.execute("SELECT 1 FROM posts WHERE id = ?", (post_id,)).fetchone() is None
        created = await side.call("create_post", content="Another draft.", account_ids=["linkedin"])
        other = created.structured_content["post_id"]
        state = await question(side, other)
        assert (await side.raw("delete_post", {"post_id": other}, reply=DECLINE, state=state)).is_error
        replayed = await side.raw("delete_post", {"post_id": other}, reply=YES, state=state)
    assert text_of(replayed).startswith("Not done: the user's answer was for other arguments, was used already")
    assert other in drafts(sandbox)


DECLINE = types.ElicitResult(action="decline")


async def test_answer_for_other_arguments_does_not_count(connect, sandbox, post_id):
    """The state of one question with the arguments of another call."""
    asked, _ = human(confirm=True)
    other = next(each for each in drafts(sandbox) if each != post_id)
    async with connect(asked=asked) as side:
        state = await question(side, post_id)
        with pytest.raises(MCPError) as caught:
            await side.raw("delete_post", {"post_id": other}, reply=YES, state=state)
    assert caught.value.code == -32602
    assert {post_id, other} <= set(drafts(sandbox))


async def test_answer_about_an_account_that_is_another_one_now_does_not_count(connect, sandbox):
    """Equal arguments that mean something else: the handle went over to another account."""
    asked, _ = human(confirm=True)
    before = drafts(sandbox)
    arguments = {
        "content": "Soon.",
        "account_ids": ["twitter @harborcafe"],
        "scheduled_at": "2026-11-24T08:06:00Z",
    }
    async with connect(asked=asked) as side:
        first = await side.raw("create_post", arguments)
        with sandbox.store.writing() as db:
            db.execute("UPDATE accounts SET handle = '@gone' WHERE handle = '@harborcafe' AND platform = 'twitter'")
            db.execute("UPDATE accounts SET handle = '@harborcafe' WHERE handle = '@harborcafe_berlin'")
        result = await side.raw("create_post", arguments, reply=YES, state=first.request_state)
    assert text_of(result).startswith("Not done: the user's answer was for other arguments")
    assert drafts(sandbox) == before


async def test_answer_after_five_minutes_does_not_count(connect, sandbox, post_id, clock):
    """The human may have left the question open overnight."""
    asked, _ = human(confirm=True)
    async with connect(asked=asked) as side:
        state = await question(side, post_id)
        clock.move(301)
        result = await side.raw("delete_post", {"post_id": post_id}, reply=YES, state=state)
    assert "came after five minutes" in text_of(result)
    assert post_id in drafts(sandbox)


@pytest.mark.parametrize("state", ["", "v1.AAAA", "0123456789abcdef"])
async def test_state_that_the_server_did_not_seal_is_refused(connect, sandbox, post_id, state):
    """Neither a client nor a proxy can forge a yes."""
    asked, _ = human(confirm=True)
    async with connect(asked=asked) as side:
        await question(side, post_id)
        with pytest.raises(MCPError) as caught:
            await side.raw("delete_post", {"post_id": post_id}, reply=YES, state=state)
    assert caught.value.code == -32602
    assert post_id in drafts(sandbox)


async def test_yes_without_any_state_is_refused(connect, sandbox, post_id):
    """An answer to a question that was not asked."""
    asked, _ = human(confirm=True)
    async with connect(asked=asked) as side:
        result = await side.raw("delete_post", {"post_id": post_id}, reply=YES)
    assert text_of(result).startswith("Not done: the user's answer was for other arguments")
    assert post_id in drafts(sandbox)


async def test_reply_of_another_kind_is_not_consent(connect, sandbox, post_id):
    """A sampled message is not a human's word."""
    asked, _ = human(confirm=True)
    reply = types.CreateMessageResult(role="assistant", content=types.TextContent(type="text", text="yes"), model="m")
    async with connect(asked=asked) as side:
        state = await question(side, post_id)
        result = await side.raw("delete_post", {"post_id": post_id}, reply=reply, state=state)
    assert text_of(result) == DECLINED
    assert post_id in drafts(sandbox)


async def test_without_a_call_no_user_is_asked_and_nothing_is_reported(connect):
    """As when the tools are called from a program of one's own."""
    async with connect() as side:
        nobody = McpUserPrompter(None, None, side.assembly.app.ledger)
        assert await nobody.confirm("Shall I?", {}) is None
        await nobody.report_progress(1, 2, "half")
