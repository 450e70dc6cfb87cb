"""The server on a port, with real clients: it prints its address, serves both eras and SSE, and shuts down gracefully."""

import asyncio
import errno
import logging
import os
import re
import resource
import signal
import socket
from contextlib import asynccontextmanager, suppress

import anyio
import httpx2
import mcp_types as types
import pytest
from mcp.client import Client
from mcp.client.sse import sse_client

from tests.cli.conftest import PROGRAM
from tests.processes import make_environment as inherited
from tests.transports.http.conftest import KEY, choose_options, make_request
from tests.transports.http.upstream import Upstream, make_mark, make_token
from ttp_mcp.transports.http.app import HttpService
from ttp_mcp.transports.http.options import Options
from ttp_mcp.transports.http.run import BindProblem, allow_many_connections, open_listener, serve_http, to_url
from ttp_mcp.transports.http.timeouts import TimedProtocol

pytestmark = pytest.mark.requirement("http.serving")


@asynccontextmanager
async def serve_on_port(settings, upstream=None, *, transport="http", options=None, **how):
    """A server on a free port in this process: its address, its service, and a list that gets the exit code."""
    with open_listener("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        chosen = choose_options(settings, transport, **{"port": port, **(options or {})})
        service = HttpService(settings, chosen, upstream or Upstream(), port=port)
        ready, codes = anyio.Event(), []

        async def run():
            codes.append(await serve_http(service, opened, ready=ready.set, **how))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            with anyio.fail_after(5):
                await ready.wait()
            yield to_url(chosen, port), service, codes
            if not service.health.is_draining:
                signal.raise_signal(signal.SIGTERM)
        await service.aclose()


async def wait_until(true):
    """Wait for something that must come soon."""
    with anyio.fail_after(5):
        while not true():
            await anyio.sleep(0.01)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_clients_of_both_eras_list_and_call_over_streamable_http(settings, mode):
    async with serve_on_port(settings) as (url, _, codes), Client(url, mode=mode) as client:
        tools = await client.list_tools()
        answer = await client.call_tool("list_posts", {})
    assert len(tools.tools) > 10
    assert make_mark(Upstream().token) in answer.content[0].text
    assert codes == [0]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_sse_clients_are_served_and_do_not_delay_the_shutdown(settings, mode, caplog):
    async with (
        serve_on_port(settings, transport="sse") as (url, _, codes),
        Client(sse_client(url), mode=mode) as client,
    ):
        answer = await client.call_tool("list_posts", {})
        signal.raise_signal(signal.SIGTERM)
        await wait_until(lambda: codes)
    assert make_mark(Upstream().token) in answer.content[0].text
    assert "SSE is deprecated" in caplog.text
    assert codes == [0]


async def test_user_is_asked_over_http(settings):
    questions = []

    async def asked(_, params):
        questions.append(params.message)
        return types.ElicitResult(action="accept", content={"confirm": True})

    upstream = Upstream()
    async with serve_on_port(settings, upstream) as (url, _, _), Client(url, elicitation_callback=asked) as client:
        answer = await client.call_tool("delete_post", {"post_id": "post-1"})
    assert len(questions) == 1
    assert not answer.is_error


async def test_sse_session_belongs_to_the_user_who_opened_it(settings):
    upstream = Upstream()
    async with serve_on_port(
        settings, upstream, transport="sse", options={"multi_tenant": True, "no_client_auth": True}
    ) as (url, _, _):
        sessions = []
        headers = {"x-timetopost-token": make_token(1)}
        async with Client(sse_client(url, headers=headers, on_session_created=sessions.append)) as client:
            answer = await client.call_tool("list_posts", {})
            place = f"{url.removesuffix('/sse')}/messages/?session_id={sessions[0]}"
            async with httpx2.AsyncClient() as http:
                body = {"jsonrpc": "2.0", "id": 9, "method": "tools/list"}
                stolen = await http.post(place, json=body, headers={"x-timetopost-token": make_token(2)})
    assert make_mark(make_token(1)) in answer.content[0].text
    assert stolen.status_code == 404


async def test_shutdown_finishes_calls_and_accepts_no_new_ones(settings):
    waiting, go = anyio.Event(), anyio.Event()

    async def before():
        waiting.set()
        await go.wait()

    answers = []
    async with serve_on_port(settings, Upstream(before=before)) as (url, service, codes), httpx2.AsyncClient() as http:
        port = int(url.split(":")[2].split("/")[0])

        async def call():
            answers.append(await http.post(url, **make_request("tools/call", {"name": "list_posts", "arguments": {}})))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await wait_until(waiting.is_set)
            signal.raise_signal(signal.SIGTERM)
            await wait_until(lambda: service.health.is_draining)
            with pytest.raises(OSError):
                await anyio.connect_tcp("127.0.0.1", port)
            assert codes == []
            go.set()
        await wait_until(lambda: codes)
    assert answers[0].status_code == 200
    assert make_mark(Upstream().token) in answers[0].text
    assert codes == [0]


async def test_calls_beyond_the_drain_are_cut_off_with_code_1(settings):
    waiting = anyio.Event()

    async def before():
        waiting.set()
        await anyio.sleep_forever()

    async with (
        serve_on_port(settings, Upstream(before=before), drain_seconds=2) as (url, service, codes),
        httpx2.AsyncClient() as http,
        anyio.create_task_group() as tasks,
    ):

        async def call():
            arguments = {"content": "Hello", "account_ids": ["acc-1"]}
            await http.post(url, **make_request("tools/call", {"name": "create_post", "arguments": arguments}))

        async def write():
            with service._context.writer.in_flight.track():
                await anyio.sleep_forever()

        tasks.start_soon(write)
        tasks.start_soon(_ignore_errors, call)
        await wait_until(waiting.is_set)
        signal.raise_signal(signal.SIGTERM)
        await wait_until(lambda: codes)
        tasks.cancel_scope.cancel()
    assert codes == [1]


async def test_streams_stay_open_while_a_write_is_in_flight(settings):
    """A write may outlive its call, and the stream's client still gets its outcome."""
    closed, go = anyio.Event(), anyio.Event()
    async with (
        serve_on_port(settings, transport="sse") as (url, service, codes),
        httpx2.AsyncClient(timeout=30) as http,
        anyio.create_task_group() as tasks,
    ):

        async def write():
            with service._context.writer.in_flight.track():
                await go.wait()

        async def listen(*, task_status):
            async with http.stream("GET", url) as stream:
                task_status.started()
                with suppress(httpx2.TransportError):
                    async for _ in stream.aiter_bytes():
                        pass
            closed.set()

        tasks.start_soon(write)
        await tasks.start(listen)
        signal.raise_signal(signal.SIGTERM)
        with anyio.move_on_after(1.5):
            await closed.wait()
        assert not closed.is_set()
        go.set()
        await wait_until(lambda: codes)
    assert codes == [0]


async def test_messages_of_sse_below_a_prefix_are_posted_below_it(settings):
    """For a proxy that passes `/social/` on."""
    options = {"path": "/social/sse"}
    async with serve_on_port(settings, transport="sse", options=options) as (url, _, _), httpx2.AsyncClient() as http:
        async with http.stream("GET", url) as stream:
            async for text in stream.aiter_text():
                assert "data: /social/messages/?session_id=" in text
                break
        async with Client(sse_client(url)) as client:
            answer = await client.call_tool("list_posts", {})
    assert make_mark(Upstream().token) in answer.content[0].text


class SlowToWrite(Upstream):
    """Answers reads at once and creates never."""

    def __init__(self):
        super().__init__()
        self.waiting = anyio.Event()

    async def app(self, scope, receive, send):
        """Note that a create has come, and wait for ever."""
        if scope["method"] == "POST":
            self.waiting.set()
            await anyio.sleep_forever()
        await super().app(scope, receive, send)


@pytest.mark.parametrize("multi_tenant", [False, True])
async def test_write_beyond_the_drain_is_unknown_with_one_warning(settings, multi_tenant, caplog):
    upstream, answers = SlowToWrite(), []
    options = {"multi_tenant": multi_tenant}
    async with (
        serve_on_port(settings, upstream, options=options, drain_seconds=1) as (url, _, codes),
        httpx2.AsyncClient() as http,
        anyio.create_task_group() as tasks,
    ):
        token = make_token(1) if multi_tenant else upstream.token
        headers = {"x_timetopost_token": token} if multi_tenant else {}
        arguments = {"content": "secret text", "account_ids": [f"acc-{make_mark(token)}"]}
        sent = make_request("tools/call", {"name": "create_post", "arguments": arguments}, **headers)

        async def call():
            answers.append(await http.post(url, **sent))

        tasks.start_soon(call)
        await wait_until(upstream.waiting.is_set)
        signal.raise_signal(signal.SIGTERM)
        await wait_until(lambda: codes)
    assert codes == [1]
    assert "Unknown whether the post" in answers[0].text
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert re.fullmatch(
        r"The server ends before write [0-9a-f]{16} \(create\) has its answer: it may have happened", warning
    )


async def test_read_beyond_the_drain_leaves_no_traceback(settings, caplog):
    waiting = anyio.Event()

    async def before():
        waiting.set()
        await anyio.sleep_forever()

    async with (
        serve_on_port(settings, Upstream(before=before), drain_seconds=1) as (url, _, codes),
        httpx2.AsyncClient() as http,
        anyio.create_task_group() as tasks,
    ):
        sent = make_request("tools/call", {"name": "list_posts", "arguments": {}})
        tasks.start_soon(_ignore_errors, lambda: http.post(url, **sent))
        await wait_until(waiting.is_set)
        signal.raise_signal(signal.SIGTERM)
        await wait_until(lambda: codes)
    assert codes == [0]
    assert [record for record in caplog.records if record.exc_info] == []
    assert "ASGI" not in caplog.text


async def _ignore_errors(call):
    with suppress(httpx2.HTTPError):
        await call()


async def test_second_signal_exits_at_once(settings):
    left = []
    waiting, go = anyio.Event(), anyio.Event()

    async def before():
        waiting.set()
        await go.wait()

    async with (
        serve_on_port(settings, Upstream(before=before), exit_process=left.append) as (url, service, _),
        httpx2.AsyncClient() as http,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(lambda: http.post(url, **make_request("tools/call", {"name": "list_posts", "arguments": {}})))
        await wait_until(waiting.is_set)
        signal.raise_signal(signal.SIGTERM)
        await wait_until(lambda: service.health.is_draining)
        signal.raise_signal(signal.SIGINT)
        await wait_until(lambda: left)
        go.set()
    assert left == [130]


class Hasty(TimedProtocol):
    """Gives headers and bodies a twentieth of a second."""

    header_seconds = body_seconds = 0.05


HALF_A_BODY = (
    b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nContent-Length: 9000\r\n\r\n{"
)


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nHo",
        HALF_A_BODY,
    ],
)
async def test_incomplete_request_times_out(settings, half):
    async with serve_on_port(settings, protocol=Hasty) as (url, _, _):
        port = int(url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(half.replace(b"%d", str(port).encode()))
        with anyio.fail_after(5):
            received = await reader.read()
        if half.startswith(b"GET"):
            # The rest of the second one comes after the answer to the first.
            assert received.startswith(b"HTTP/1.1 200")
        writer.close()


@pytest.mark.parametrize("half", [b"", HALF_A_BODY])
async def test_request_that_arrives_byte_by_byte_times_out(settings, half):
    """Each byte would otherwise restart its time."""
    async with serve_on_port(settings, protocol=Hasty) as (url, _, _):
        port = int(url.split(":")[2].split("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(half.replace(b"%d", str(port).encode()))
        left = 200
        with suppress(ConnectionError):
            while left and not reader.at_eof():
                left -= 1
                writer.write(b"P")
                await writer.drain()
                await anyio.sleep(0.01)
        writer.close()
    assert left


async def test_connection_without_a_request_is_not_a_slow_request(settings):
    """Clients and load balancers keep connections for their next request."""
    made = []

    class Counted(Hasty):
        def connection_made(self, transport):
            super().connection_made(transport)
            made.append(transport)

    async with serve_on_port(settings, protocol=Counted) as (url, _, _), httpx2.AsyncClient() as http:
        for _ in range(2):
            assert (await http.post(url, **make_request("tools/list"))).status_code == 200
            await anyio.sleep(0.2)
    assert len(made) == 1


async def test_slow_answer_is_not_a_slow_request(settings):
    async def before():
        await anyio.sleep(0.2)

    async with (
        serve_on_port(settings, Upstream(before=before), protocol=Hasty) as (url, _, _),
        httpx2.AsyncClient() as http,
    ):
        for _ in range(2):
            sent = make_request("tools/call", {"name": "list_posts", "arguments": {}})
            assert (await http.post(url, **sent)).status_code == 200


async def test_connections_have_the_documented_limits(settings):
    """An idle one is kept longer than load balancers keep theirs: else a request could arrive while this server closes it."""
    limits = []

    class Observed(TimedProtocol):
        def connection_made(self, transport):
            super().connection_made(transport)
            limits.append((self.timeout_keep_alive, self.header_seconds, self.body_seconds, self.limit_concurrency))

    async with serve_on_port(settings, protocol=Observed) as (url, _, _), httpx2.AsyncClient() as http:
        await http.post(url)
    assert limits == [(75, 10, 30, 8_000)]


async def test_requests_are_not_logged_and_answers_do_not_name_the_server(settings, caplog, monkeypatch):
    caplog.set_level("INFO")
    for name in ("uvicorn", "uvicorn.access"):
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
    async with serve_on_port(settings) as (url, _, _), httpx2.AsyncClient() as http:
        response = await http.post(url, **make_request("tools/list"))
    assert response.status_code == 200
    assert "server" not in response.headers
    assert "uvicorn.access" not in [record.name for record in caplog.records]
    assert logging.getLogger("uvicorn").handlers == []


async def test_websocket_is_refused_like_any_other_request(settings):
    async with serve_on_port(settings) as (url, _, _), httpx2.AsyncClient() as http:
        upgrade = {
            "connection": "Upgrade",
            "upgrade": "websocket",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-version": "13",
        }
        response = await http.get(url, headers=upgrade)
    assert response.status_code == 405


async def test_more_connections_than_allowed_are_answered_with_503(settings):
    async with serve_on_port(settings, most_connections=1) as (url, _, _), httpx2.AsyncClient() as http:
        port = int(url.split(":")[2].split("/")[0])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await http.get(f"http://127.0.0.1:{port}/healthz")).status_code == 503
        writer.close()


def test_port_that_is_taken_is_reported():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BindProblem, match=f"Port {port} is taken"), open_listener("127.0.0.1", port):
            pass


def test_server_that_is_restarted_gets_its_port_back():
    """Connections that the ended one closed occupy the port for another minute."""
    with open_listener("127.0.0.1", 0) as opened:
        port = opened.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            opened.accept()[0].close()
            assert client.recv(1) == b""
    with open_listener("127.0.0.1", port) as again:
        assert again.getsockname()[1] == port


def test_address_of_another_machine_is_reported():
    with pytest.raises(BindProblem, match="isn't an address of this machine"), open_listener("no such name", 1):
        pass
    with pytest.raises(BindProblem) as problem, open_listener("192.0.2.1", 0):
        pass
    cause = os.strerror(errno.EADDRNOTAVAIL)
    assert str(problem.value) == f"Port 0 of 192.0.2.1 can't be used ({cause}). Pass another --host or --port."


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((256, resource.RLIM_INFINITY), (16_000, resource.RLIM_INFINITY)),
        ((256, 20_000), (16_000, 20_000)),
        ((256, 1_000), (1_000, 1_000)),
        ((17_000, 20_000), (17_000, 20_000)),
    ],
)
@pytest.mark.parametrize("problem", [None, ValueError, OSError])
def test_limit_on_open_files_is_raised_as_far_as_allowed(monkeypatch, before, after, problem):
    """Also where the system has no upper limit, as on macOS, or refuses the change."""
    asked = []

    def setrlimit(_, limits):
        asked.append(limits)
        if problem:
            raise problem

    monkeypatch.setattr(resource, "getrlimit", lambda _: before)
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    allow_many_connections()
    assert asked == [after]


def test_limit_on_open_files_is_never_lowered():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    allow_many_connections()
    after = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert after[0] >= before[0]
    assert after[1] == before[1]


def test_addresses_are_printed_in_url_form():
    assert to_url(Options("http", host="::1"), 80) == "http://[::1]:80/mcp"
    assert to_url(Options("sse", path="/events"), 81) == "http://127.0.0.1:81/events"


async def start_program(*arguments, **environment):
    """The program with its state in a temporary place; stderr is a pipe."""
    return await asyncio.create_subprocess_exec(
        *PROGRAM,
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=inherited(**environment),
    )


async def test_program_prints_its_address_serves_and_exits_with_0(tmp_path):
    process = await start_program("--transport", "http", "--port", "0", "--sandbox", TTP_STATE_DIR=str(tmp_path))
    with anyio.fail_after(30):
        line = (await process.stderr.readline()).decode()
        url = line.split(" at ")[1].split(" ")[0]
        async with Client(url) as client:
            answer = await client.call_tool("list_integrations", {})
        process.terminate()
        stdout, stderr = await process.communicate()
    assert line == f"ttp-mcp: serving MCP at {url} (streamable HTTP)\n"
    assert "connected accounts" in answer.content[0].text
    assert (process.returncode, stdout, stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "words"),
    [
        (["--transport", "http", "--host", "0.0.0.0"], {}, 2, "TTP_SERVER_KEY"),
        (["--transport", "http", "--path", "x"], {}, 2, "--path"),
        (["--transport", "http"], {"TTP_TOOLSETS": "nonsense"}, 2, "TTP_TOOLSETS"),
        (["--transport", "http", "--multi-tenant"], {"TTP_API_TOKEN": make_token(1)}, 2, "TTP_API_TOKEN"),
        (["--transport", "http", "--port", "70000"], {}, 2, "not a port"),
        (
            ["--transport", "http", "--host", "192.0.2.1"],
            {"TTP_SERVER_KEY": KEY, "TTP_ALLOWED_HOSTS": "a"},
            1,
            "can't be",
        ),
        (["--port", "8000", "--multi-tenant"], {}, 2, "--port, --multi-tenant is for --transport"),
        (["--no-client-auth"], {}, 2, "--no-client-auth is for --transport"),
        (["--sandbox", "--transport", "http", "--port", "0"], {"TTP_STATE_DIR": "/dev/null/x"}, 2, "TTP_STATE_DIR"),
        (["--sandbox"], {"TTP_STATE_DIR": "/dev/null/x"}, 2, "TTP_STATE_DIR"),
    ],
)
async def test_unservable_options_are_one_line_and_an_exit_code(tmp_path, arguments, environment, code, words):
    process = await start_program(*arguments, **{"TTP_STATE_DIR": str(tmp_path), **environment})
    with anyio.fail_after(30):
        stdout, stderr = await process.communicate()
    assert (process.returncode, stdout, stderr.count(b"\n")) == (code, b"", 1)
    assert words in stderr.decode()
