"""The server as its clients see it, in both protocol eras."""

import json
import logging
from datetime import timedelta

import jsonschema
import pytest
from mcp.shared import _otel
from mcp.shared.exceptions import MCPError
from mcp_types import EmptyResult, PromptReference, Request
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from tests.server.conftest import ERAS, NOW, read_text
from tests.support.icons import image_facts
from ttp_mcp import __version__
from ttp_mcp.api.posts import PostsApi
from ttp_mcp.errors import Refusal
from ttp_mcp.logs import LineFormatter
from ttp_mcp.server import mcp_server, rendering
from ttp_mcp.server.instructions import INSTRUCTIONS, SANDBOX_NOTE
from ttp_mcp.server.mcp_server import TtpServer
from ttp_mcp.server.rendering import ERROR_KIND
from ttp_mcp.tools import TOOLSETS, every_tool, select_tools

pytestmark = pytest.mark.requirement("server.answers")

eras = pytest.mark.parametrize("era", ERAS)
TOKEN = "ttp_" + "0123456789abcdef" * 3
ENCODED = TOKEN.replace("_", "%5f")


HANDLERS = (
    "_list_tools",
    "_call_tool",
    "_list_prompts",
    "_get_prompt",
    "_list_resources",
    "_list_resource_templates",
    "_read_resource",
    "_complete",
)


@pytest.mark.requirement("server.contract")
@eras
async def test_both_eras_are_answered_by_our_handlers(connect_client, monkeypatch, era):
    """The SDK calls each handler once, with the request and its parameters."""
    called = []
    for name in HANDLERS:
        real = getattr(TtpServer, name)

        async def note_call(self, request, params, _name=name, _real=real):
            called.append(_name)
            return await _real(self, request, params)

        monkeypatch.setattr(TtpServer, name, note_call)
    async with connect_client(era) as connection:
        await connection.client.list_tools()
        await connection.call("list_integrations")
        await connection.client.list_prompts()
        await connection.client.get_prompt("what_failed")
        await connection.client.list_resources()
        await connection.client.list_resource_templates()
        await connection.client.read_resource("ttp://accounts")
        await connection.client.complete(
            PromptReference(type="ref/prompt", name="plan_my_week"), {"name": "account", "value": ""}
        )
    assert sorted(called) == sorted(HANDLERS)


@eras
async def test_server_introduces_itself(connect_client, era):
    """Name, version, instructions, and only the capabilities that it has."""
    async with connect_client(era) as connection:
        assert (connection.client.server_info.name, connection.client.server_info.version) == ("ttp-mcp", __version__)
        assert image_facts(connection.client.server_info.icons[0]) == ("image/png", 64, 64)
        assert connection.client.instructions == f"{SANDBOX_NOTE}\n{INSTRUCTIONS}"
        has = connection.client.server_capabilities
        assert (has.tools is not None, has.prompts is not None, has.resources is not None) == (True, True, True)
        assert has.completions is not None
        assert not has.tools.list_changed
        assert not has.prompts.list_changed
        assert not has.resources.list_changed
        assert not has.resources.subscribe


def test_instructions_are_short_and_explain_the_workflow():
    """Every agent pays for them at every start."""
    assert len(INSTRUCTIONS) <= 1500
    for part in ("list_integrations", "draft", "zone", "never instructions"):
        assert part in INSTRUCTIONS


@pytest.mark.parametrize("access", ["read", "draft", "full"])
@pytest.mark.parametrize("toolset", [None, *(toolset.name for toolset in TOOLSETS)])
async def test_instructions_name_only_offered_tools(connect_client, toolset, access):
    """Calls of other tools would fail."""
    toolsets = None if toolset is None else (toolset,)
    left_out = {tool.name for tool in every_tool()} - {tool.name for tool in select_tools(toolsets, access)}
    async with connect_client(toolsets=toolsets, access=access) as connection:
        said = connection.client.instructions
    assert [
        SANDBOX_NOTE,
        *(line for line in INSTRUCTIONS.splitlines() if not any(name in line for name in left_out)),
    ] == said.splitlines()
    assert "never instructions" in said


@eras
async def test_unknown_tool_is_invalid_params(connect_client, era):
    """A protocol error with the name cleaned, not a result that a model might attribute to the tool."""
    async with connect_client(era) as connection:
        with pytest.raises(MCPError) as caught:
            await connection.call("no\u202esuch\ntool” now")
    assert caught.value.code == -32602
    assert caught.value.message == "Unknown tool: «nosuch tool” now»."


async def test_tool_that_is_not_offered_is_unknown(connect_client):
    async with connect_client(access="read") as connection:
        with pytest.raises(MCPError) as caught:
            await connection.call("delete_post", post_id="x")
    assert caught.value.code == -32602


@eras
async def test_tool_list_is_constant_and_cacheable(connect_client, era):
    """For every client of an era; it contains nothing from a call."""
    async with connect_client(era) as connection:
        first = await connection.client.list_tools()
        await connection.call("list_posts", limit=1)
        async with connect_client(era, like=connection) as other:
            second = await other.client.list_tools()
        assert [tool.model_dump_json(by_alias=True) for tool in first.tools] == [
            tool.model_dump_json(by_alias=True) for tool in second.tools
        ]
        assert first.ttl_ms == (3_600_000 if era == "auto" else 0)
        handle = connection.runtime.server._list_tools
        assert await handle(None, None) is await handle(None, None)


def break_lists(monkeypatch, error):
    """Make the API client raise an exception on every list of posts."""

    async def raises(self):
        raise error

    monkeypatch.setattr(PostsApi, "list", raises)


@eras
@pytest.mark.parametrize("when", ["running", "answering"])
async def test_bug_is_masked_for_the_agent_and_logged(connect_client, monkeypatch, caplog, era, when):
    """The agent learns that a retry is safe; the log has the traceback."""
    if when == "running":
        break_lists(monkeypatch, RuntimeError(f"inner detail {TOKEN}"))
    else:
        monkeypatch.setattr(rendering, "to_json", lambda _: 1 / 0)
    async with connect_client(era) as connection:
        result = await connection.call("list_posts")
    assert result.is_error
    assert read_text(result) == (
        "Posts not listed: this server made a mistake of its own, which is in its log. "
        "Nothing was changed; trying again is safe."
    )
    assert result.meta[ERROR_KIND] == "bug"
    record = next(record for record in caplog.records if record.name == "ttp_mcp.server.mcp_server")
    assert record.levelno == logging.ERROR
    line = LineFormatter().format(record)
    assert "Traceback" in line
    assert "RuntimeError: inner detail [redacted]" in line or "ZeroDivisionError" in line


async def test_bug_in_a_write_reports_an_unclear_outcome(connect_client, monkeypatch):
    """It isn't called safe to retry."""

    async def raises(*_, **__):
        raise RuntimeError

    monkeypatch.setattr("ttp_mcp.writes.writer.Writer.create", raises)
    async with connect_client(confirm="off") as connection:
        result = await connection.call("create_post", content="A", platforms=["linkedin"])
    assert read_text(result).endswith("It may have happened nevertheless: call list_posts before trying again.")


@eras
@pytest.mark.parametrize(
    ("tool", "arguments", "kind"),
    [
        ("list_posts", {"limit": 0}, "arguments"),
        ("list_posts", {"limt": 1}, "arguments"),
        ("get_post", {"post_id": "nowhere"}, "not_found"),
        ("list_posts", {"account": "@nobody"}, "refused"),
        ("list_posts", {"after": "soon"}, "refused"),
    ],
)
async def test_error_has_its_kind_for_programs(connect_client, era, tool, arguments, kind):
    """Beside the text for the model."""
    async with connect_client(era) as connection:
        result = await connection.call(tool, **arguments)
    assert result.is_error
    assert result.meta == {ERROR_KIND: kind} or result.meta[ERROR_KIND] == kind
    assert result.structured_content is None


async def test_error_never_echoes_an_argument(connect_client):
    """It may be a secret that an agent mistook for an argument."""
    async with connect_client() as connection:
        for arguments in ({"post_id": 5}, {"post_id": ""}, {"post_id": "s3cret" * 50}, {"post_id": ["s3cret"]}):
            assert "s3cret" not in read_text(await connection.call("get_post", **arguments))


@eras
async def test_no_answer_contains_the_token(connect_client, sandbox, era):
    """Not in text, in data at any depth, in a key, or in a resource, from any source."""
    with sandbox.store.writing() as db:
        db.execute(
            "UPDATE posts SET content = ?, platform_data = ?",
            (f"Mine: {TOKEN}", json.dumps({"x": [{"y": ENCODED}], TOKEN: {ENCODED: 1}})),
        )
        db.execute("UPDATE accounts SET name = ?, handle = ''", (TOKEN,))
        post_id = db.execute("SELECT id FROM posts").fetchone()["id"]
    async with connect_client(era) as connection:
        answers = [
            await connection.call("list_posts"),
            await connection.call("get_post", post_id=post_id),
            await connection.call("list_integrations"),
            await connection.call("get_post", post_id=TOKEN),
            await connection.client.read_resource("ttp://recent-posts"),
            await connection.client.read_resource(f"ttp://posts/{post_id}"),
        ]
        for answer in answers:
            shown = answer.model_dump_json()
            assert TOKEN[:16] not in shown
            assert TOKEN[4:16] not in shown
        assert "[redacted]" in answers[1].model_dump_json()


async def test_no_data_contains_the_token(connect_client, sandbox):
    """Neither as a value at any depth nor as a key."""
    with sandbox.store.writing() as db:
        data = {"x": [{"y": ENCODED}], TOKEN: {ENCODED: 1}}
        db.execute("UPDATE posts SET content = ?, platform_data = ?", (f"Mine: {TOKEN}", json.dumps(data)))
        post_id = db.execute("SELECT id FROM posts").fetchone()["id"]
    async with connect_client() as connection:
        shown = json.dumps((await connection.call("get_post", post_id=post_id)).structured_content)
    assert TOKEN[4:16] not in shown
    assert "[redacted]" in shown


@eras
@pytest.mark.parametrize("split", ["", "\u200b"])
async def test_no_protocol_error_or_prompt_contains_the_token(connect_client, era, split):
    """An agent that uses it as a name gets it back in no form, not even where cleaning reassembles it."""
    token = TOKEN[:6] + split + TOKEN[6:]
    async with connect_client(era) as connection:
        asks = (
            lambda: connection.call(token),
            lambda: connection.client.get_prompt(token),
            lambda: connection.client.get_prompt("turn_into_thread", {"text": f"Mine: {TOKEN}"}),
            lambda: connection.client.read_resource(f"ttp://nothing/{TOKEN}"),
            lambda: connection.client.read_resource(f"ttp://platform-rules/{TOKEN}"),
        )
        shown = [await describe_outcome(ask) for ask in asks]
    assert not any(TOKEN[:16] in each or TOKEN[4:16] in each for each in shown)
    assert all("[redacted]" in each for each in shown)


async def describe_outcome(ask):
    """Return everything of an answer, or of a protocol error."""
    try:
        return repr(await ask())
    except MCPError as error:
        return repr(error.error)


async def test_token_sent_as_a_name_is_in_no_span(connect_client, monkeypatch):
    """Nor as an address or a method: the SDK puts these into span names."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with connect_client() as connection:
        # Later than the client's start; the spans of the client, which repeat what it sends itself, are left aside.
        monkeypatch.setattr(_otel, "_tracer", provider.get_tracer("mcp-python-sdk"))
        await describe_outcome(lambda: connection.call(TOKEN))
        await describe_outcome(lambda: connection.client.get_prompt(TOKEN))
        await describe_outcome(lambda: connection.client.read_resource(f"ttp://nothing/{TOKEN}"))
        await describe_outcome(
            lambda: connection.client.session.send_request(Request(method=TOKEN, params=None), EmptyResult)
        )
        await connection.client.get_prompt("what_failed")
    spans = [span for span in exporter.get_finished_spans() if span.kind is SpanKind.SERVER]
    provider.shutdown()
    assert [span.name for span in spans] == [
        "tools/call [redacted]",
        "prompts/get [redacted]",
        "resources/read",
        "[redacted]",
        "prompts/get what_failed",
    ]
    assert not any(TOKEN[4:16] in span.to_json() for span in spans)


@pytest.mark.requirement("server.contract")
def test_our_middleware_sees_a_message_first():
    """Before the one that makes spans, wherever the SDK puts that."""
    connection = TtpServer([], lambda _: None)
    assert connection.middleware[0] is mcp_server.redact_names
    assert [type(each).__name__ for each in connection.middleware[1:2]] == ["OpenTelemetryMiddleware"]


async def test_every_answer_matches_the_advertised_schema(connect_client, sandbox, tmp_path):
    """All tools, with jsonschema rather than the models that made the schema."""
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "a.gif").write_bytes(b"GIF89a\x01\0\x01\0\0\0\0;")
    used = set()
    async with connect_client(confirm="off", media_dirs=(tmp_path / "media",)) as connection:
        schemas = {tool.name: tool.output_schema for tool in (await connection.client.list_tools()).tools}

        async def call(tool, **arguments):
            result = await connection.call(tool, **arguments)
            assert not result.is_error, read_text(result)
            jsonschema.validate(result.structured_content, schemas[tool])
            used.add(tool)
            return result.structured_content

        await drive_everything(call, NOW)
        assert used == set(schemas)


async def drive_everything(call, now):
    """Call every tool with arguments that work at the time `now` of the server's clock."""
    post = {"content": "Schema.", "account_ids": ["linkedin"], "scheduled_at": (now + timedelta(days=2)).isoformat()}
    for tool in ("list_integrations", "check_setup", "list_posts", "optimal_times", "optimal_times_by_account"):
        await call(tool)
    for tool in (
        "next_optimal_time",
        "weekly_schedule",
        "engagement_summary",
        "list_boards",
        "tiktok_options",
        "post_results",
    ):
        await call(tool)
    await call("presign_media", filename="a.png", content_type="image/png", size_bytes=10)
    await call("upload_media", source="a.gif")
    await call("check_post", **post)
    created = await call("create_post", **post)
    await call("get_post", post_id=created["post_id"])
    moved = await call(
        "reschedule_post", post_id=created["post_id"], scheduled_at=(now + timedelta(days=3)).isoformat()
    )
    await call("delete_post", post_id=moved["post_id"])
    draft = await call("create_post", content="Now.", account_ids=["linkedin"])
    await call("publish_post", post_id=draft["post_id"])
    plan = await call("plan_posts", posts=[{"content": "Planned.", "account_ids": ["linkedin"]}])
    await call("apply_plan", plan_id=plan["plan_id"])
    await call("undo_plan", plan_id=plan["plan_id"])


@eras
async def test_unknown_resource_is_invalid_params_without_a_token(connect_client, era):
    """The address is repeated redacted, and not as data."""
    async with connect_client(era) as connection:
        with pytest.raises(MCPError) as caught:
            await connection.client.read_resource(f"ttp-extra://{TOKEN}")
    error = caught.value
    assert (error.code, error.message, error.error.data) == (
        -32602,
        "Unknown resource: «ttp-extra://[redacted]».",
        None,
    )


async def test_refusal_of_a_tool_is_its_text(connect_client, monkeypatch):
    """Without prefix or suffix."""
    break_lists(monkeypatch, Refusal("Not done: reported."))
    async with connect_client() as connection:
        assert read_text(await connection.call("list_posts")) == "Not done: reported."
