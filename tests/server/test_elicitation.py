"""Confirmation through the client: it counts once, within its time, and for exactly what was asked."""

import mcp_types as types
import pytest
from mcp.shared.exceptions import MCPError

from tests.server.conftest import ERAS, make_user, read_text
from ttp_mcp.server.elicitation import McpUserPrompter
from ttp_mcp.server.rendering import ERROR_KIND

pytestmark = pytest.mark.requirement("server.elicitation")

eras = pytest.mark.parametrize("era", ERAS)
YES = types.ElicitResult(action="accept", content={"confirm": True})
DECLINED = "Not done: the user declined. Ask what to change; nothing was sent."


def list_drafts(sandbox):
    """Return the ids of the drafts."""
    with sandbox.store.reading() as db:
        return [row["id"] for row in db.execute("SELECT id FROM posts WHERE organization_id = 'org_harbor_cafe'")]


@pytest.fixture
def post_id(sandbox):
    """A post whose deletion always needs confirmation."""
    with sandbox.store.reading() as db:
        return db.execute("SELECT id FROM posts WHERE status = 'draft'").fetchone()["id"]


@eras
async def test_confirming_user_is_asked_once_with_the_exact_text(connect_client, sandbox, post_id, era):
    """The question names the post and shows its text behind bars."""
    asked, questions = make_user(confirm=True)
    async with connect_client(era, asked=asked) as connection:
        result = await connection.call("delete_post", post_id=post_id)
    assert not result.is_error, read_text(result)
    assert len(questions) == 1
    assert questions[0].startswith(f"Delete this post?\n{post_id} is draft")
    assert "\n│ " in questions[0]
    assert post_id not in list_drafts(sandbox)


@eras
async def test_token_is_in_no_question(connect_client, sandbox, post_id, era):
    """However it got into the post."""
    with sandbox.store.writing() as db:
        db.execute("UPDATE posts SET content = ? WHERE id = ?", (f"Mine: {sandbox.token}", post_id))
    asked, questions = make_user("decline")
    async with connect_client(era, asked=asked) as connection:
        await connection.call("delete_post", post_id=post_id)
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
async def test_only_an_explicit_yes_confirms(connect_client, sandbox, post_id, era, action, content):
    """The user has to tick the box; a client's default doesn't count."""
    asked, questions = make_user(action, **content)
    async with connect_client(era, asked=asked) as connection:
        result = await connection.call("delete_post", post_id=post_id)
    assert read_text(result) == DECLINED
    assert result.meta[ERROR_KIND] == "refused"
    assert len(questions) == 1
    assert post_id in list_drafts(sandbox)


@eras
async def test_client_without_prompts_deletes_in_auto_mode(connect_client, sandbox, post_id, era):
    """The client's own tool approval has to suffice."""
    async with connect_client(era) as connection:
        result = await connection.call("delete_post", post_id=post_id)
    assert not result.is_error
    assert post_id not in list_drafts(sandbox)


@eras
async def test_client_without_prompts_gets_a_preview_in_required_mode(connect_client, sandbox, post_id, era):
    """With a code that counts once, for this post only."""
    async with connect_client(era, confirm="required") as connection:
        preview = read_text(await connection.call("delete_post", post_id=post_id))
        code = preview.partition("confirmation ")[2].partition(" (once")[0]
        other = next(each for each in list_drafts(sandbox) if each != post_id)
        wrong = await connection.call("delete_post", post_id=other, confirmation=code)
        assert read_text(wrong).startswith("Not done: the confirmation is unknown")
        assert not (await connection.call("delete_post", post_id=post_id, confirmation=code)).is_error
        again = await connection.call("delete_post", post_id=other, confirmation=code)
        assert again.is_error
    assert post_id not in list_drafts(sandbox)
    assert other in list_drafts(sandbox)


@eras
async def test_client_that_fails_to_prompt_gets_the_next_step(connect_client, sandbox, post_id, era):
    """It declares elicitation but answers the question with an error."""

    async def asked(_, __):
        return types.ErrorData(code=-32603, message="the window did not open")

    async with connect_client(era, asked=asked) as connection:
        if era == "legacy":
            result = await connection.call("delete_post", post_id=post_id)
            assert read_text(result) == (
                "Not done: the client failed to show a question to the user. Ask them in your own words what to do; "
                "nothing was sent."
            )
        else:
            # Here the client asks by itself and gives up the call.
            with pytest.raises(MCPError, match="did not open"):
                await connection.call("delete_post", post_id=post_id)
    assert post_id in list_drafts(sandbox)


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
async def test_only_a_client_that_shows_forms_is_asked(connect_client, monkeypatch, post_id, era, capability, can):
    """A client that names no mode predates URL mode, so it supports forms."""
    # The SDK's client always names both modes.
    monkeypatch.setattr(types, "ElicitationCapability", lambda **_: capability)
    asked, questions = make_user(confirm=True)
    async with connect_client(era, asked=asked) as connection:
        result = await connection.call("delete_post", post_id=post_id)
    assert not result.is_error, read_text(result)
    assert len(questions) == (1 if can else 0)


async def request_delete(connection, post_id):
    """The server's question about a delete, with its sealed state."""
    result = await connection.call_once("delete_post", {"post_id": post_id})
    assert isinstance(result, types.InputRequiredResult)
    assert list(result.input_requests) == ["confirm"]
    return result.request_state


async def test_confirmation_from_the_client_counts_once(connect_client, sandbox, post_id):
    """Sending the same answer again does nothing."""
    asked, _ = make_user(confirm=True)
    async with connect_client(asked=asked) as connection:
        state = await request_delete(connection, post_id)
        done = await connection.call_once("delete_post", {"post_id": post_id}, reply=YES, state=state)
        assert not done.is_error, read_text(done)
        with sandbox.store.reading() as db:
            assert db.execute("SELECT 1 FROM posts WHERE id = ?", (post_id,)).fetchone() is None
        created = await connection.call("create_post", content="Another draft.", account_ids=["linkedin"])
        other = created.structured_content["post_id"]
        state = await request_delete(connection, other)
        assert (await connection.call_once("delete_post", {"post_id": other}, reply=DECLINE, state=state)).is_error
        replayed = await connection.call_once("delete_post", {"post_id": other}, reply=YES, state=state)
    assert read_text(replayed).startswith("Not done: the user's answer was for other arguments, was used already")
    assert other in list_drafts(sandbox)


DECLINE = types.ElicitResult(action="decline")


async def test_confirmation_does_not_cover_other_arguments(connect_client, sandbox, post_id):
    """The state of one question with the arguments of another call."""
    asked, _ = make_user(confirm=True)
    other = next(each for each in list_drafts(sandbox) if each != post_id)
    async with connect_client(asked=asked) as connection:
        state = await request_delete(connection, post_id)
        with pytest.raises(MCPError) as caught:
            await connection.call_once("delete_post", {"post_id": other}, reply=YES, state=state)
    assert caught.value.code == -32602
    assert {post_id, other} <= set(list_drafts(sandbox))


async def test_confirmation_does_not_cover_an_account_that_took_over_a_handle(connect_client, sandbox):
    """The arguments are equal but mean another account."""
    asked, _ = make_user(confirm=True)
    before = list_drafts(sandbox)
    arguments = {
        "content": "Soon.",
        "account_ids": ["twitter @harborcafe"],
        "scheduled_at": "2026-11-24T08:06:00Z",
    }
    async with connect_client(asked=asked) as connection:
        first = await connection.call_once("create_post", arguments)
        with sandbox.store.writing() as db:
            db.execute("UPDATE accounts SET handle = '@gone' WHERE handle = '@harborcafe' AND platform = 'twitter'")
            db.execute("UPDATE accounts SET handle = '@harborcafe' WHERE handle = '@harborcafe_berlin'")
        result = await connection.call_once("create_post", arguments, reply=YES, state=first.request_state)
    assert read_text(result).startswith("Not done: the user's answer was for other arguments")
    assert list_drafts(sandbox) == before


async def test_confirmation_expires_after_five_minutes(connect_client, sandbox, post_id, clock):
    """The user may have left the question open overnight."""
    asked, _ = make_user(confirm=True)
    async with connect_client(asked=asked) as connection:
        state = await request_delete(connection, post_id)
        clock.move(301)
        result = await connection.call_once("delete_post", {"post_id": post_id}, reply=YES, state=state)
    assert "came after five minutes" in read_text(result)
    assert post_id in list_drafts(sandbox)


@pytest.mark.parametrize("state", ["", "v1.AAAA", "0123456789abcdef"])
async def test_state_without_the_servers_seal_is_refused(connect_client, sandbox, post_id, state):
    """Neither a client nor a proxy can forge a confirmation."""
    asked, _ = make_user(confirm=True)
    async with connect_client(asked=asked) as connection:
        await request_delete(connection, post_id)
        with pytest.raises(MCPError) as caught:
            await connection.call_once("delete_post", {"post_id": post_id}, reply=YES, state=state)
    assert caught.value.code == -32602
    assert post_id in list_drafts(sandbox)


async def test_confirmation_without_state_is_refused(connect_client, sandbox, post_id):
    """It answers a question that wasn't asked."""
    asked, _ = make_user(confirm=True)
    async with connect_client(asked=asked) as connection:
        result = await connection.call_once("delete_post", {"post_id": post_id}, reply=YES)
    assert read_text(result) == (
        "Not done: the user's answer was for other arguments, was used already, or came after five minutes. "
        "Call again for a new prompt; nothing was sent."
    )
    assert post_id in list_drafts(sandbox)


async def test_sampling_reply_is_not_a_confirmation(connect_client, sandbox, post_id):
    """A sampled message isn't the user's answer."""
    asked, _ = make_user(confirm=True)
    reply = types.CreateMessageResult(role="assistant", content=types.TextContent(type="text", text="yes"), model="m")
    async with connect_client(asked=asked) as connection:
        state = await request_delete(connection, post_id)
        result = await connection.call_once("delete_post", {"post_id": post_id}, reply=reply, state=state)
    assert read_text(result) == DECLINED
    assert post_id in list_drafts(sandbox)


@eras
async def test_progress_is_reported_on_request(connect_client, era, tmp_path):
    """Without a progress token nothing breaks."""
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.gif").write_bytes(b"GIF89a\x01\0\x01\0\0\0\0;")
    seen = []

    async def progress(done, total, message):
        seen.append((done, total, message))

    async with connect_client(era, media_dirs=(tmp_path / "media",)) as connection:
        result = await connection.client.call_tool("upload_media", {"source": "a.gif"}, progress_callback=progress)
        assert not result.is_error, read_text(result)
    assert seen[-1] == (14, 14, "14 bytes of 14 bytes")


async def test_outside_a_call_nothing_is_sent_to_the_user(connect_client):
    """For example when the tools are called from another program."""
    async with connect_client() as connection:
        prompter = McpUserPrompter(None, None, connection.runtime.app.ledger)
        assert await prompter.confirm("Shall I?", {}) is None
        await prompter.report_progress(1, 2, "half")
        await prompter.offer_link("Reconnect the account.", "https://example.com/")
