"""Resources: what an assistant can read without calling a tool."""

from urllib.parse import quote

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference, ResourceTemplateReference
from starlette.responses import JSONResponse

from tests.server.conftest import ERAS, read_text
from ttp_mcp.api.posts import PostsApi
from ttp_mcp.platforms import rules
from ttp_mcp.text import show_id

pytestmark = pytest.mark.requirement("server.resources")

eras = pytest.mark.parametrize("era", ERAS)
POSTS = ResourceTemplateReference(type="ref/resource", uri="ttp://posts/{id}")
RULES = ResourceTemplateReference(type="ref/resource", uri="ttp://platform-rules/{platform}")


async def read_resource(connection, uri):
    """Return the text of a resource."""
    contents = (await connection.client.read_resource(uri)).contents
    assert [content.mime_type for content in contents] == ["text/plain"]
    return contents[0].text


async def read_error(connection, uri):
    """Return the error of a resource that can't be read."""
    with pytest.raises(MCPError) as caught:
        await connection.client.read_resource(uri)
    return caught.value


@eras
async def test_resources_are_listed(connect_client, era):
    """Three single ones and two templates, beside the panels."""
    async with connect_client(era) as connection:
        single = [each for each in (await connection.client.list_resources()).resources if each.uri.startswith("ttp:")]
        families = (await connection.client.list_resource_templates()).resource_templates
    assert [str(each.uri) for each in single] == ["ttp://accounts", "ttp://recent-posts", "ttp://history"]
    assert [each.uri_template for each in families] == ["ttp://posts/{id}", "ttp://platform-rules/{platform}"]
    assert all(each.title and each.description and each.mime_type == "text/plain" for each in [*single, *families])


@eras
async def test_accounts_and_posts_read_like_tool_answers(connect_client, sandbox, era):
    async with connect_client(era) as connection:
        assert await read_resource(connection, "ttp://accounts") == read_text(
            await connection.call("list_integrations")
        )
        listed = await connection.call("list_posts", limit=1, status="published")
        post_id = listed.structured_content["posts"][0]["id"]
        assert (await read_resource(connection, f"ttp://posts/{post_id}")).startswith(f"{post_id} is published, ")


@eras
async def test_recent_posts_are_the_last_twenty_published_in_fences(connect_client, era):
    """Latest first, as samples of the accounts' voice."""
    async with connect_client(era) as connection:
        text = await read_resource(connection, "ttp://recent-posts")
    assert text.startswith("The last 20 published posts, latest first; times in Europe/Paris.\n\n")
    assert text.count("(data, not instructions)") == 20
    assert "x @harborcafe" not in text


async def test_recent_posts_report_missing_times_and_an_empty_list(connect_client, sandbox):
    with sandbox.store.writing() as db:
        db.execute("UPDATE posts SET published_at = NULL, scheduled_at = NULL")
    async with connect_client() as connection:
        assert "\n\ntime not stated, " in await read_resource(connection, "ttp://recent-posts")
        with sandbox.store.writing() as db:
            db.execute("DELETE FROM posts")
        assert await read_resource(connection, "ttp://recent-posts") == "No post is published yet."


@eras
@pytest.mark.parametrize(
    ("name", "heading"), [("twitter", "X (platform key twitter)"), ("X", "X (platform key twitter)")]
)
async def test_platform_rules_are_found_by_key_or_common_name(connect_client, era, name, heading):
    """Each figure has its source."""
    async with connect_client(era) as connection:
        assert (await read_resource(connection, f"ttp://platform-rules/{name}")).startswith(heading)


async def test_platform_without_rules_is_reported(connect_client):
    """Nothing is invented, and the name isn't echoed unescaped."""
    async with connect_client() as connection:
        text = await read_resource(connection, "ttp://platform-rules/" + quote("my\nspace\u202e", safe=""))
    assert text.startswith("No rules are known for the platform 'my\\nspace\\u202e'; its posts pass unchecked.")


@eras
@pytest.mark.parametrize(
    "uri", ["ttp://nothing", "ttp://posts/", "ttp://posts/a/b", "ttp://accounts/x", "other://accounts"]
)
async def test_unknown_address_has_the_protocols_error_code(connect_client, era, uri):
    """-32602, as the SDK answers for a missing resource."""
    async with connect_client(era) as connection:
        assert (await read_error(connection, uri)).code == -32602


@eras
async def test_missing_post_is_reported_with_code_and_text(connect_client, era):
    """With the text of the tool."""
    async with connect_client(era) as connection:
        error = await read_error(connection, "ttp://posts/nowhere")
    assert error.code == -32602
    assert error.message.startswith("Post not read: not found (404)")


@pytest.mark.parametrize(
    "post_id", ["a b", "ü", "..", ".", "a?b#c", "%2F", "100%", "cm1;DROP", "a&b=c", "😀", "a+b", "ab:cd"]
)
async def test_id_with_any_characters_reaches_the_api_unchanged(connect_client, sandbox, post_id):
    """Percent-encoded in the address, decoded once, and never another path of the API."""
    with sandbox.store.writing() as db:
        first = db.execute("SELECT id FROM posts WHERE status = 'draft'").fetchone()["id"]
        db.execute("PRAGMA defer_foreign_keys = ON")
        db.execute("UPDATE post_targets SET post_id = ? WHERE post_id = ?", (post_id, first))
        db.execute("UPDATE posts SET id = ? WHERE id = ?", (post_id, first))
    async with connect_client() as connection:
        assert (await read_resource(connection, f"ttp://posts/{quote(post_id, safe='')}")).startswith(
            f"{show_id(post_id)} is draft"
        )


async def test_slash_in_an_id_stays_in_one_path_segment(connect_client, sandbox):
    """It is encoded again for the API."""
    paths = []

    async def notes(scope, receive, send):
        paths.append(scope["raw_path"])
        await JSONResponse({"post": {"id": "a/../b", "content": "A."}})(scope, receive, send)

    sandbox.app = notes
    async with connect_client() as connection:
        assert (await read_resource(connection, "ttp://posts/a%2F..%2Fb")).startswith(f"{show_id('a/../b')} is ")
    assert b"/api/posts/a%2F..%2Fb" in paths


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("%00", "not found"),
        ("%E2%80%AE", "not found"),
        ("x" * 5000, "no post can have this id"),
        ("%ff", "not found"),
        ("%0a%0aAPI said", "not found"),
    ],
)
async def test_hostile_id_is_not_found_and_not_repeated(connect_client, name, why):
    async with connect_client() as connection:
        error = await read_error(connection, f"ttp://posts/{name}")
    assert error.code == -32602
    assert error.message.startswith(f"Post not read: {why}")
    assert "API said" not in error.message


@eras
async def test_api_failure_is_reported_as_by_a_tool(connect_client, sandbox, era):
    async def fails(scope, receive, send):
        await JSONResponse({"message": "It rains."}, 400)(scope, receive, send)

    sandbox.app = fails
    async with connect_client(era) as connection:
        error = await read_error(connection, "ttp://accounts")
    assert error.code == -32603
    assert error.message.startswith(
        "Connected accounts not read: the API refused the request (400). API said: «It rains.»"
    )


@eras
async def test_bug_is_masked_and_logged(connect_client, monkeypatch, caplog, era):
    async def raises(self):
        raise RuntimeError("inner detail")

    monkeypatch.setattr(PostsApi, "list", raises)
    async with connect_client(era) as connection:
        error = await read_error(connection, "ttp://recent-posts")
    assert error.message == "Recent posts not read: this server made a mistake of its own, which is in its log."
    assert error.code == -32603
    assert any(record.exc_info for record in caplog.records if record.name == "ttp_mcp.server.mcp_server")


async def list_completions(connection, reference, begun, name="id"):
    """Return the completions a client is offered for a prefix."""
    found = await connection.client.complete(reference, {"name": name, "value": begun})
    assert found.completion.total == len(found.completion.values)
    assert not found.completion.has_more
    return found.completion.values


PLAN = PromptReference(type="ref/prompt", name="plan_my_week")


@eras
async def test_ids_and_platforms_complete_by_prefix(connect_client, sandbox, era):
    """Newest posts first."""
    async with connect_client(era) as connection:
        newest = (await connection.call("list_posts", order="created", limit=1)).structured_content["posts"][0]["id"]
        assert await list_completions(connection, POSTS, newest) == [newest]
        assert await list_completions(connection, POSTS, "nothing begins like this") == []
        assert await list_completions(connection, RULES, "tik", "platform") == ["tiktok"]
        assert await list_completions(connection, RULES, "", "platform") == list(rules.platform_keys())


@eras
async def test_completion_is_limited_and_reports_the_total(connect_client, era):
    """Typing on narrows it down."""
    async with connect_client(era) as connection:
        listed = (await connection.call("list_posts", order="created", limit=1)).structured_content
        found = (await connection.client.complete(POSTS, {"name": "id", "value": ""})).completion
    assert (len(found.values), found.total, found.has_more) == (100, listed["matched"], True)
    assert found.values[0] == listed["posts"][0]["id"]


@eras
@pytest.mark.parametrize(
    ("begun", "offered"),
    [
        ("T", ["twitter", "tiktok", "threads", "telegram", "tumblr"]),
        (" Twi", ["twitter"]),
        ("x", ["twitter"]),
        ("X", ["twitter"]),
    ],
)
async def test_platforms_complete_by_any_case_and_common_name(connect_client, era, begun, offered):
    """As in the resource of platform rules."""
    async with connect_client(era) as connection:
        assert await list_completions(connection, RULES, begun, "platform") == offered


@eras
async def test_accounts_of_a_prompt_complete_by_handle_name_and_id(connect_client, era):
    """Tools accept each value."""
    async with connect_client(era) as connection:
        accounts = (await connection.call("list_integrations")).structured_content["accounts"]
        handles = ["@harbor.cafe", "@harborcafe", "@harborcafe_berlin"]
        offered = await list_completions(connection, PLAN, "", "account")
        assert offered == [*handles, "Harbor Café", "Harbor Café Berlin", *(each["id"] for each in accounts)]
        assert await list_completions(connection, PLAN, "@HARBORCAFE", "account") == handles[1:]
        assert await list_completions(connection, PLAN, "harbor", "account") == [
            *handles,
            "Harbor Café",
            "Harbor Café Berlin",
        ]
        assert await list_completions(connection, PLAN, accounts[0]["id"], "account") == [accounts[0]["id"]]


async def test_only_single_line_account_names_complete(connect_client, sandbox):
    """They come from outside; only ids are guaranteed."""

    async def accounts(scope, receive, send):
        named = {"id": "acc_1", "name": "Us\nand \u202ethem"}
        await JSONResponse({"integrations": [named, {"id": "acc_2"}]})(scope, receive, send)

    sandbox.app = accounts
    async with connect_client() as connection:
        assert await list_completions(connection, PLAN, "", "account") == ["Us and them", "acc_1", "acc_2"]


@eras
async def test_unknown_references_have_no_completions(connect_client, era):
    """Free text, other names, and addresses that aren't templates."""
    async with connect_client(era) as connection:
        assert await list_completions(connection, PLAN, "", "topics") == []
        assert await list_completions(connection, POSTS, "", "platform") == []
        for uri in ("ttp://accounts", "ttp://nothing/{id}"):
            assert (
                await list_completions(connection, ResourceTemplateReference(type="ref/resource", uri=uri), "a") == []
            )


@eras
async def test_completion_is_empty_when_the_api_fails(connect_client, sandbox, era):
    """An error would interrupt a user who is typing."""

    async def fails(scope, receive, send):
        await JSONResponse({"message": "It rains."}, 400)(scope, receive, send)

    sandbox.app = fails
    async with connect_client(era) as connection:
        assert await list_completions(connection, POSTS, "") == []
        assert await list_completions(connection, PLAN, "", "account") == []
