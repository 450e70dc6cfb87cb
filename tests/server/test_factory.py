"""From settings to a server."""

from dataclasses import replace

import pytest

from tests.server.conftest import read_text
from ttp_mcp.config import SettingProblem
from ttp_mcp.credentials import Token
from ttp_mcp.factory import create_server, create_tool_context, offered_tools
from ttp_mcp.ledger.records import scope_of
from ttp_mcp.ledger.store import open_store
from ttp_mcp.tools import every_tool

pytestmark = pytest.mark.requirement("server.runtime")

MINE, OTHER = (Token("ttp_" + digit * 48) for digit in "12")


def list_names(settings, **changes):
    """Return the tool names for these settings."""
    return [tool.name for tool in offered_tools(replace(settings, **changes))]


def test_access_and_groups_choose_the_tools(settings):
    """`read` only reads; `draft` neither publishes nor deletes; groups leave out the others."""
    assert list_names(settings) == [tool.name for tool in every_tool()]
    reading = list_names(settings, access="read")
    assert {"create_post", "publish_post", "delete_post", "upload_media", "apply_plan"} & set(reading) == set()
    drafting = list_names(settings, access="draft")
    assert {"create_post", "presign_media"} <= set(drafting)
    assert {"publish_post", "delete_post", "apply_plan", "undo_plan"} & set(drafting) == set()
    assert set(reading) < set(drafting) < set(list_names(settings))
    group = [tool.name for tool in every_tool() if tool.toolset == "integrations"]
    assert list_names(settings, toolsets=("integrations",)) == group


def test_unknown_group_is_refused_with_the_known_ones(settings):
    """The error lists the valid names, without echoing the given one."""
    with pytest.raises(SettingProblem, match="TTP_TOOLSETS may name posts, integrations") as caught:
        offered_tools(replace(settings, toolsets=("posts", "stories")))
    assert "stories" not in str(caught.value)


async def test_nothing_is_opened_before_a_call(settings, tmp_path):
    """Neither the state folder nor a connection."""
    runtime = create_server(replace(settings, token=MINE, api_url="https://127.0.0.1:9"))
    assert len((await runtime.server._list_tools(None, None)).tools) == len(every_tool())
    assert not settings.state_dir.exists()
    await runtime.aclose()
    assert not settings.state_dir.exists()


async def test_page_of_the_accounts_is_on_the_site_of_the_api(settings, sandbox):
    """The sandbox has no site."""
    state = open_store(settings)
    context = create_tool_context(replace(settings, api_url="https://api.example/v2"), state=state)
    page = "https://api.example/dashboard/settings?tab=integrations"
    assert (context.accounts_url, context.dashboard) == (page, f"the TimeToPost dashboard ({page})")
    local = create_tool_context(settings, sandbox, state=state)
    assert (local.accounts_url, local.dashboard) == (None, "the TimeToPost dashboard")


async def test_sandbox_replaces_token_address_and_clock(settings, sandbox, clock):
    """Settings for the real API aren't used."""
    runtime = create_server(replace(settings, token=None, token_problem="it is wrong."), sandbox)
    app = runtime.app
    assert app.api.base_url == sandbox.api_url
    assert app.api.token == Token(sandbox.token)
    assert app.now() == clock.now()
    assert app.sandbox
    assert (await app.api.integrations.list())[0].platform == "instagram"
    await runtime.aclose()


async def test_confirmation_argument_exists_only_where_needed(settings, sandbox):
    """Every agent pays for an argument."""
    for confirm, expected in (("required", True), ("auto", False), ("off", False)):
        runtime = create_server(replace(settings, confirm=confirm), sandbox)
        listed = {tool.name: tool for tool in (await runtime.server._list_tools(None, None)).tools}
        assert ("confirmation" in listed["delete_post"].input_schema["properties"]) == expected
        await runtime.aclose()


async def test_each_user_has_their_own_ledger_and_token(settings, sandbox):
    """Only the tenant's token is used, with the sandbox and without."""
    state = open_store(settings)
    scopes = []

    def ledger_of(state, scope, now):
        scopes.append(scope)
        return create_server(settings, sandbox, state=state).app.ledger

    for own in (MINE, OTHER):
        for behind in (None, sandbox):
            app = create_tool_context(
                replace(settings, token=OTHER, token_problem="not this one."),
                behind,
                state=state,
                tenant=own,
                local_files=False,
                ledger_of=ledger_of,
            )
            assert app.api.token == own
            assert app.settings.token_problem is None
            assert not app.local_files
    assert scopes[0] == scope_of(settings.api_url, MINE, None)
    assert len(set(scopes)) == 4
    await state.aclose()


async def test_state_of_the_sandbox_does_not_depend_on_its_token(settings, sandbox):
    """The token changes at each start, the workspace doesn't, so earlier writes are still known."""
    state = open_store(settings)
    scopes = []

    def ledger_of(state, scope, now):
        scopes.append(scope)
        return create_server(settings, sandbox, state=state).app.ledger

    create_tool_context(settings, sandbox, state=state, ledger_of=ledger_of)
    create_tool_context(replace(settings, token=MINE), sandbox, state=state, ledger_of=ledger_of)
    assert len(set(scopes)) == 1
    await state.aclose()


async def test_closing_twice_abandons_calls_in_flight_once(connect_client):
    """Process exit and test teardown may both close."""
    async with connect_client() as connection:
        assert "connected accounts" in read_text(await connection.call("list_integrations"))
        await connection.runtime.aclose()
    await connection.runtime.aclose()
