"""OpenTelemetry gets names and codes, never arguments, tokens or texts."""

import asyncio
import json
import sys
from contextlib import contextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp.shared import _otel
from opentelemetry.trace import INVALID_SPAN, NoOpTracer

from tests.processes import make_environment as inherited
from tests.transports.http.conftest import KEY, make_request
from tests.transports.http.upstream import Upstream, make_mark, make_token

pytestmark = pytest.mark.requirement("http.spans")


class Recorder(NoOpTracer):
    """Keeps, as text, all that is put on a span."""

    def __init__(self):
        self.reported = []

    @contextmanager
    def start_as_current_span(self, name, *arguments, **more):
        """A span that keeps what is put on it."""
        self.reported.append(repr((name, more.get("attributes"))))
        yield _Span(self.reported)


class _Span(type(INVALID_SPAN)):
    def __init__(self, reported):
        super().__init__(INVALID_SPAN.get_span_context())
        self.reported = reported

    def set_attribute(self, key, value):
        self.reported.append(repr((key, value)))

    def set_attributes(self, attributes):
        self.reported.append(repr(attributes))

    def set_status(self, status, description=None):
        self.reported.append(repr((status, description)))

    def record_exception(self, exception, *_, **__):
        self.reported.append(repr(exception))


async def test_spans_contain_names_and_codes_and_no_input(start_server, monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(_otel, "_tracer", recorder)
    headers = {"authorization": f"Bearer {KEY}", "x_timetopost_token": make_token(3)}
    async with start_server(options={"multi_tenant": True}, sandbox=Upstream(), server_key=KEY) as web:
        await web.call("get_post", {"post_id": "post-secret"}, **headers)
        await web.call("create_post", {"content": "secret text", "account_ids": ["nobody"]}, **headers)
        await web.call("list_posts", {"secret": "secret"}, **headers)
        await web.rpc("prompts/get", {"name": "no-such-prompt", "arguments": {"a": "secret"}}, **headers)
        await web.rpc("resources/read", {"uri": "ttp://secret"}, **headers)
    reported = "\n".join(recorder.reported)
    assert "get_post" in reported
    assert "tool_error" in reported
    for hidden in ("secret", KEY, make_token(3), make_token(3)[-12:], make_mark(make_token(3))):
        assert hidden not in reported


async def test_extra_tracing_exports_spans_of_a_real_process(tmp_path):
    programs = Path(sys.executable).parent
    own = {
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "TTP_STATE_DIR": str(tmp_path / "state"),
        # Where `opentelemetry-instrument` finds `ttp-mcp`, as in an environment that is switched on.
        "PATH": str(programs),
    }
    (tmp_path / "empty").mkdir()
    process = await asyncio.create_subprocess_exec(
        programs / "opentelemetry-instrument",
        *("ttp-mcp", "--transport", "http", "--port", "0", "--sandbox"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path / "empty",
        env=inherited(**own),
    )
    with anyio.fail_after(60):
        line = (await process.stderr.readline()).decode()
        url = line.split(" at ")[1].split(" ")[0]
        async with httpx2.AsyncClient(timeout=30) as http:
            sent = make_request("tools/call", {"name": "get_post", "arguments": {"post_id": "post-secret"}})
            answer = await http.post(url, **sent)
        process.terminate()
        stdout, stderr = await process.communicate()
    span = json.loads(stdout)
    assert answer.json()["result"]["isError"] is True
    assert (process.returncode, stderr) == (0, b"")
    assert span["name"] == "tools/call get_post"
    assert span["attributes"]["gen_ai.tool.name"] == "get_post"
    assert b"secret" not in stdout
