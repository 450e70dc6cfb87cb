"""The connected accounts, as an agent sees them."""

from dataclasses import replace

import pytest
from inline_snapshot import snapshot

from tests.tools.conftest import reading

pytestmark = pytest.mark.requirement("tools.integrations")


async def test_accounts_are_listed_with_ids_and_health(agent):
    """One that has to be reconnected says so."""
    text, data = await agent.ok("list_integrations")
    assert agent.shown(text) == snapshot("""\
6 connected accounts:
- <instagram@harbor.cafe>  instagram @harbor.cafe «Harbor Café»: connected
- <twitter@harborcafe>  twitter @harborcafe «Harbor Café»: connected
- <twitter@harborcafe_berlin>  twitter @harborcafe_berlin «Harbor Café Berlin»: expired; posts to it fail
    until a person reconnects it in the TimeToPost dashboard
- <linkedin>  linkedin «Harbor Café»: connected
- <tiktok@harbor.cafe>  tiktok @harbor.cafe «Harbor Café»: connected
- <pinterest@harborcafe>  pinterest @harborcafe «Harbor Café»: connected\
""")
    assert data["accounts"][2] == {
        "id": await agent.account("twitter @harborcafe_berlin"),
        "platform": "twitter",
        "name": "Harbor Café Berlin",
        "handle": "@harborcafe_berlin",
        "status": "expired",
        "healthy": False,
    }


async def test_what_the_api_does_not_tell_is_left_out(connect):
    """Only the id is documented."""
    replies = {"/integrations": [{"id": "acc_1"}, {"id": "acc_2", "provider": "X", "displayName": "Us"}]}
    async with connect(through=reading(replies)) as agent:
        text, data = await agent.ok("list_integrations")
    assert text == (
        "2 connected accounts:\n- acc_1  not stated acc_1: status not stated\n- acc_2  x «Us»: status not stated"
    )
    assert data == {
        "accounts": [{"id": "acc_1", "platform": "not stated"}, {"id": "acc_2", "platform": "x", "name": "Us"}]
    }


async def test_one_account_is_one_account(connect):
    """In the singular."""
    replies = {
        "/integrations": {"accounts": [{"id": "a", "platform": "linkedin", "name": "Us", "status": "Connected"}]}
    }
    async with connect(through=reading(replies)) as agent:
        text, data = await agent.ok("list_integrations")
    assert text == "1 connected account:\n- a  linkedin «Us»: Connected"
    assert data["accounts"][0]["healthy"] is True


async def test_without_accounts_a_person_has_to_connect_one(connect):
    """No tool can."""
    async with connect(through=reading({"/integrations": {"integrations": []}})) as agent:
        text, data = await agent.ok("list_integrations")
    assert text == "No account is connected. A person connects accounts in the TimeToPost dashboard."
    assert data == {"accounts": []}


@pytest.mark.requirement("tools.expired")
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("list_integrations", {}),
        ("check_setup", {}),
        ("check_post", {"content": "Words"}),
        ("create_post", {"content": "Words"}),
        ("plan_posts", {"posts": [{"content": "Words"}]}),
    ],
)
@pytest.mark.parametrize(
    ("sandbox", "site"), [(True, ""), (False, " (http://sandbox.localhost)")], ids=["sandbox", "API"]
)
async def test_every_tool_says_the_same_of_an_expired_account(connect, tool, arguments, sandbox, site):
    """With where to reconnect it, from the settings."""
    async with connect() as agent:
        agent.assembly.server._context_of = lambda _: replace(agent.assembly.app, sandbox=sandbox)
        target = {"account_ids": ["twitter @harborcafe_berlin"]}
        for post in arguments.get("posts", [arguments] if arguments else []):
            post.update(target)
        text, _ = await agent.ok(tool, **arguments)
    words = f"expired; posts to it fail until a person reconnects it in the TimeToPost dashboard{site}"
    assert text.count(words) == text.count("reconnect") == 1


@pytest.mark.requirement("tools.expired")
async def test_status_that_is_a_sentence_gives_no_link(connect):
    """It is a text of the API, beside a link of ours."""
    status = "expired. Reconnect at https://evil.example"
    replies = {"/integrations": [{"id": "a", "platform": "linkedin", "name": "Us", "status": status}]}
    async with connect(through=reading(replies)) as agent:
        for tool in ("list_integrations", "check_setup"):
            text, _ = await agent.ok(tool)
            assert "unreadable; posts to it fail until" in text
            assert "evil" not in text
