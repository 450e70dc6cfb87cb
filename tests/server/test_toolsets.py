"""What each toolset offers alone, and that the API client sends nothing that no offered tool needs."""

from dataclasses import replace

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import ResourceTemplateReference

from tests.server.conftest import ERAS, read_text
from ttp_mcp.api import AccessRefused, PostCreate
from ttp_mcp.errors import agent_text
from ttp_mcp.factory import create_server
from ttp_mcp.server.prompts import PROMPTS
from ttp_mcp.server.resources import RESOURCES
from ttp_mcp.tools import TOOLSETS

pytestmark = pytest.mark.requirement("server.toolsets")

RULES, HISTORY = "ttp://platform-rules/{platform}", "ttp://history"
POST = {"content": "Doors open at ten", "platforms": ["linkedin"]}
POSTS = {"GET /posts", "POST /posts", "DELETE /posts"}
# Toolset: its resources beside the rules and the history, its prompts, the endpoints it needs.
OFFERED = {
    "posts": (
        ["ttp://recent-posts", "ttp://posts/{id}"],
        ["turn_into_thread"],
        {*POSTS, "GET /integrations", "GET /auth"},
    ),
    "integrations": (["ttp://accounts"], [], {"GET /integrations"}),
    "analytics": ([], [], {"GET /analytics", "GET /posts", "GET /integrations"}),
    "media": ([], [], {"POST /media"}),
    "plans": ([], [], {*POSTS, "GET /integrations", "GET /analytics", "GET /auth"}),
    "setup": ([], [], {"GET /posts", "GET /integrations", "GET /analytics", "GET /auth"}),
}


async def delete_post(api):
    """Delete a post, or get a refusal."""
    await api.posts.delete((await api.posts.list())[0].id)


ASKS = {
    "GET /posts": lambda api: api.posts.list(),
    "POST /posts": lambda api: api.posts.create(PostCreate(POST["content"], platforms=("linkedin",))),
    "DELETE /posts": delete_post,
    "GET /integrations": lambda api: api.integrations.list(),
    "GET /analytics": lambda api: api.analytics.optimal_times(),
    "GET /auth": lambda api: api.auth.me(),
    "POST /media": lambda api: api.media.presign("a.png", "image/png", 3),
}
alone = pytest.mark.parametrize("toolset", OFFERED)


def test_every_toolset_is_in_the_table():
    """A new one has to list what it needs."""
    assert [toolset.name for toolset in TOOLSETS] == list(OFFERED)


@alone
@pytest.mark.parametrize("era", ERAS)
async def test_toolset_alone_lists_and_reads_its_own_resources_and_prompts(connect_client, toolset, era):
    """Rules and history need no API, so they are always offered; others are unknown and complete nothing."""
    resources, prompts, _ = OFFERED[toolset]
    async with connect_client(era, toolsets=(toolset,)) as connection:
        listed = [
            each.uri for each in (await connection.client.list_resources()).resources if each.uri.startswith("ttp:")
        ]
        listed += [each.uri_template for each in (await connection.client.list_resource_templates()).resource_templates]
        single, families = ([each for each in resources if ("{" in each) is family] for family in (False, True))
        assert listed == [*single, HISTORY, *families, RULES]
        assert [each.name for each in (await connection.client.list_prompts()).prompts] == prompts
        assert (await connection.client.read_resource("ttp://platform-rules/x")).contents
        assert (await connection.client.read_resource(HISTORY)).contents
        for resource in RESOURCES:
            uri = resource.uri
            if uri in (RULES, HISTORY):
                continue
            reference = ResourceTemplateReference(type="ref/resource", uri=uri)
            values = (await connection.client.complete(reference, {"name": "id", "value": ""})).completion.values
            assert bool(values) == (uri in resources and resource.is_template)
            if uri in resources:
                read = uri if not resource.is_template else f"ttp://posts/{values[0]}"
                assert (await connection.client.read_resource(read)).contents
            else:
                with pytest.raises(MCPError) as caught:
                    await connection.client.read_resource(uri.replace("{id}", "cmb1"))
                assert caught.value.code == -32602
        for prompt in PROMPTS:
            if prompt.name not in prompts:
                with pytest.raises(MCPError, match="Unknown prompt"):
                    await connection.client.get_prompt(prompt.name, {"text": "A text."})


async def test_prompt_is_offered_with_all_the_tools_that_it_names(connect_client):
    """Together from two groups, but not if the access leaves one out."""

    async def offered(**changes):
        async with connect_client(**changes) as connection:
            return [each.name for each in (await connection.client.list_prompts()).prompts]

    assert await offered(toolsets=("posts", "analytics")) == ["turn_into_thread", "weekly_report"]
    assert await offered(access="draft") == ["turn_into_thread", "weekly_report", "what_failed"]
    assert await offered(access="read") == ["weekly_report"]


async def call_everything(connection):
    """Call each offered tool in an order in which each finds what it needs; return the names called."""
    names = [tool.name for tool in (await connection.client.list_tools()).tools]
    found = {}

    async def ok(name, **arguments):
        result = await connection.call(name, **arguments)
        assert not result.is_error, read_text(result)
        found[name] = result.structured_content

    if "create_post" in names:
        await ok("create_post", **POST)
        await ok("reschedule_post", post_id=found["create_post"]["post_id"], scheduled_at="2026-11-27T10:00")
        post_id = found["reschedule_post"]["post_id"]
        await ok("get_post", post_id=post_id)
        await ok("check_post", **POST)
        await ok("publish_post", post_id=post_id)
        await ok("delete_post", post_id=post_id)
    if "plan_posts" in names:
        await ok("plan_posts", posts=[POST])
        await ok("apply_plan", plan_id=found["plan_posts"]["plan_id"])
        await ok("undo_plan", plan_id=found["plan_posts"]["plan_id"])
    if "presign_media" in names:
        await ok("presign_media", filename="a.png", content_type="image/png", size_bytes=3)
    for name in names:
        if name not in found and name != "upload_media":
            await ok(name)
    return found


@alone
async def test_toolset_alone_can_do_all_of_its_work(connect_client, sandbox, toolset):
    """No tool calls endpoints beyond its set; uploading needs those of presigning."""
    asked = set()
    inner = sandbox.app

    async def notes(scope, receive, send):
        asked.add(f"{scope['method']} /{scope['path'].removeprefix('/api/').split('/')[0]}")
        await inner(scope, receive, send)

    sandbox.app = notes
    async with connect_client(toolsets=(toolset,)) as connection:
        found = await call_everything(connection)
    assert found
    # check_setup looks at posts only where one was half replaced.
    assert asked == OFFERED[toolset][2] - ({"GET /posts"} if toolset == "setup" else set())


@alone
async def test_api_client_refuses_what_no_offered_tool_needs(connect_client, toolset):
    """Nothing is sent, whichever tool calls."""
    async with connect_client(toolsets=(toolset,)) as connection:
        for endpoint, ask in ASKS.items():
            if endpoint in OFFERED[toolset][2]:
                await ask(connection.runtime.app.api)
            else:
                with pytest.raises(AccessRefused) as caught:
                    await ask(connection.runtime.app.api)
                assert agent_text(caught.value, "Not read") == (
                    "Not read: this server's TTP_TOOLSETS setting doesn't allow it. Only the person who configured the server "
                    "can change that; nothing was sent."
                )


async def test_api_client_allows_everything_without_toolsets(connect_client):
    """Including what several toolsets share."""
    async with connect_client() as connection:
        for ask in ASKS.values():
            await ask(connection.runtime.app.api)
    async with connect_client(toolsets=("media", "integrations")) as connection:
        await ASKS["POST /media"](connection.runtime.app.api)
        await ASKS["GET /integrations"](connection.runtime.app.api)
        with pytest.raises(AccessRefused):
            await ASKS["GET /posts"](connection.runtime.app.api)


async def test_toolset_emptied_by_the_access_allows_no_request(settings, sandbox):
    """`media` has no tool that only reads."""
    runtime = create_server(replace(settings, access="read", toolsets=("media",)), sandbox)
    for ask in ASKS.values():
        with pytest.raises(AccessRefused):
            await ask(runtime.app.api)
    await runtime.aclose()
