"""The offer to reconnect an account, through clients that open links (URL mode of elicitation)."""

from dataclasses import replace

import mcp_types as types
import pytest

from tests.server.conftest import ERAS, read_text

pytestmark = pytest.mark.requirement("server.reconnect")

eras = pytest.mark.parametrize("era", ERAS)
URL = "http://sandbox.localhost/dashboard/settings?tab=integrations"
BERLIN = {"account_ids": ["twitter @harborcafe_berlin"]}
MESSAGE = "Posts to twitter @harborcafe_berlin fail until you reconnect it. Open the page of your accounts?"


def make_user(action="accept"):
    """A user who is shown links and questions, and the list of both."""
    shown = []

    async def asked(_, params):
        shown.append(params)
        if isinstance(params, types.ElicitRequestURLParams):
            return types.ElicitResult(action=action)
        return types.ElicitResult(action="accept", content={"confirm": True})

    return asked, shown


def set_site(connection):
    """Treat the sandbox as an API with a site."""
    app = replace(
        connection.runtime.app, sandbox=False, accounts_url=URL, dashboard=f"the TimeToPost dashboard ({URL})"
    )
    connection.runtime.server._context_of = lambda _: app


@eras
@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
@pytest.mark.parametrize("tool", ["check_setup", "check_post"])
async def test_link_is_offered_once_and_any_reply_leads_to_the_answer(connect_client, era, action, tool):
    """The answer names the page as well."""
    asked, shown = make_user(action)
    arguments = {"content": "Words", **BERLIN} if tool == "check_post" else {}
    async with connect_client(era, asked=asked) as connection:
        set_site(connection)
        for _ in range(2):
            text = read_text(await connection.call(tool, **arguments))
            assert text.count(URL) == 1
    assert [(each.message, each.url) for each in shown] == [(MESSAGE, URL)]


@eras
async def test_token_is_in_no_offer(connect_client, sandbox, era):
    """However it got into the name of an account."""
    with sandbox.store.writing() as db:
        db.execute("UPDATE accounts SET handle = ? WHERE handle LIKE '%berlin'", (sandbox.token,))
    asked, shown = make_user()
    async with connect_client(era, asked=asked) as connection:
        set_site(connection)
        await connection.call("check_setup")
    assert [each.message for each in shown] == [MESSAGE.replace("@harborcafe_berlin", "«@[redacted]»")]


@eras
async def test_offer_precedes_the_question_and_the_post_is_created_once(connect_client, sandbox, era):
    """Both replies belong to the same call."""
    asked, shown = make_user()
    async with connect_client(era, asked=asked, confirm="required") as connection:
        set_site(connection)
        result = await connection.call("create_post", content="Words", **BERLIN, scheduled_at="2026-12-01T10:00")
        assert not result.is_error, read_text(result)
    assert [type(each).__name__ for each in shown] == ["ElicitRequestURLParams", "ElicitRequestFormParams"]
    with sandbox.store.reading() as db:
        assert db.execute("SELECT count(*) AS n FROM posts WHERE content = 'Words'").fetchone()["n"] == 1


@eras
async def test_accounts_of_other_posts_are_not_offered(connect_client, era):
    asked, shown = make_user()
    async with connect_client(era, asked=asked) as connection:
        set_site(connection)
        await connection.call("check_post", content="Words", platforms=["linkedin"])
        await connection.call("list_integrations")
    assert shown == []


@eras
async def test_sandbox_offers_no_page(connect_client, era):
    asked, shown = make_user()
    async with connect_client(era, asked=asked) as connection:
        result = await connection.call("check_setup")
    assert "reconnects it in the TimeToPost dashboard." in read_text(result)
    assert shown == []


@eras
async def test_without_confirmation_no_link_is_offered(connect_client, era):
    asked, shown = make_user()
    async with connect_client(era, asked=asked, confirm="off") as connection:
        set_site(connection)
        assert URL in read_text(await connection.call("check_setup"))
    assert shown == []


@eras
@pytest.mark.parametrize(
    "capability",
    [None, types.ElicitationCapability(), types.ElicitationCapability(form=types.FormElicitationCapability())],
)
async def test_client_without_url_mode_gets_the_answer(connect_client, monkeypatch, era, capability):
    # The SDK's client always names both modes.
    monkeypatch.setattr(types, "ElicitationCapability", lambda **_: capability)
    asked, shown = make_user()
    async with connect_client(era, asked=asked) as connection:
        set_site(connection)
        assert URL in read_text(await connection.call("check_setup"))
    assert shown == []


async def test_reply_to_the_offer_of_another_replica_leads_to_the_answer(connect_client):
    """Replicas don't know which links others offered."""
    asked, _ = make_user()
    replies = {"link": types.ElicitResult(action="accept")}
    async with connect_client(asked=asked) as connection:
        set_site(connection)
        result = await connection.client.session.call_tool(
            "check_setup", {}, input_responses=replies, allow_input_required=True
        )
    assert URL in read_text(result)


async def test_client_that_fails_to_show_the_link_gets_the_answer(connect_client):
    async def asked(_, __):
        return types.ErrorData(code=-32603, message="the window did not open")

    async with connect_client("legacy", asked=asked) as connection:
        set_site(connection)
        assert URL in read_text(await connection.call("check_setup"))


async def test_account_that_expired_again_is_named_in_the_answer(connect_client, sandbox):
    """With the page; only the window doesn't open twice."""
    asked, shown = make_user()
    async with connect_client(asked=asked) as connection:
        set_site(connection)
        await connection.call("check_setup")
        with sandbox.store.writing() as db:
            db.execute("UPDATE accounts SET status = 'expired' WHERE platform = 'linkedin'")
        text = read_text(await connection.call("check_setup"))
    assert text.count(URL) == 2
    assert [each.message.split(" fail")[0] for each in shown] == [
        "Posts to twitter @harborcafe_berlin",
        "Posts to linkedin «Harbor Café»",
    ]
