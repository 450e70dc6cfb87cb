"""The stdio transport: lines in, responses out, and every way to end, over real pipes."""

import asyncio
import codecs
import inspect
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client, StdioServerParameters
from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer

from tests.support.signals import catch_signals
from tests.support.windows import (
    WINDOWS,
    needs_descriptors,
    needs_parents,
    needs_signals,
    needs_terminals,
    skip_on_windows,
    waits_for_pipes,
)
from tests.transports.stdio import stdio_fixture
from tests.transports.stdio.stdio_fixture import (
    INITIALIZE,
    INITIALIZED,
    Outcomes,
    make_input,
    make_tool_call,
    read_lost_writes,
    read_text,
    run_server,
    start_process,
    to_line,
)
from ttp_mcp.factory import create_server
from ttp_mcp.process import CONSOLE_CLOSED, force_exit_after
from ttp_mcp.transports.stdio import shutdown as shutdowns
from ttp_mcp.transports.stdio.reader import take_lines
from ttp_mcp.transports.stdio.shutdown import Shutdown
from ttp_mcp.transports.stdio.transport import serve_stdio

MARK = codecs.BOM_UTF8
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGBREAK if WINDOWS else signal.SIGHUP]
needs_full_device = pytest.mark.skipif(sys.platform != "linux", reason="a device of Linux")
needs_hangup = skip_on_windows("Windows has no SIGHUP")
needs_flags = skip_on_windows("pipes of Windows have no flag to wait or not that is shared")
in_both_modes = pytest.mark.parametrize(
    "threads", ["threads", pytest.param("loop", marks=waits_for_pipes)], indirect=True
)
# For tests of which no mode changes anything.
once = pytest.mark.parametrize("threads", ["threads"], indirect=True)
# For tests of a process, which has no record.
of_processes = pytest.mark.parametrize(
    "threads", ["threads", *(pytest.param(name, marks=waits_for_pipes) for name in ("loop", "modern"))], indirect=True
)
# For tests that send the handshake of 2025 themselves, or a question, which the other era has no request for.
of_2025 = pytest.mark.parametrize(
    "threads", ["threads", *(pytest.param(name, marks=waits_for_pipes) for name in ("loop", "replayed"))], indirect=True
)


@pytest.fixture(
    autouse=True,
    params=[
        "threads",
        *(pytest.param(name, marks=waits_for_pipes) for name in ("loop", "replayed", "modern", "modern-replayed")),
    ],
)
def threads(request, monkeypatch, tmp_path):
    """Each test runs with the event loop's pipes, with the threads that Windows needs, after a replayed handshake, and in the 2026 era."""
    monkeypatch.setattr(stdio_fixture.mode, "threads", request.param == "threads")
    monkeypatch.setattr(stdio_fixture.mode, "modern", request.param.startswith("modern"))
    if request.param.endswith("replayed"):
        monkeypatch.setattr(stdio_fixture.mode, "record", tmp_path / "record")
    return request.param == "threads"


@pytest.fixture
def outcomes(tmp_path):
    return Outcomes(tmp_path / "outcomes")


@pytest.fixture
def server(outcomes):
    return stdio_fixture.make_server(outcomes)


def make_options(outcomes, **more):
    return {"writes": outcomes, **more}


async def wait_for_write(outcomes):
    """Wait until a write is under way."""
    with anyio.fail_after(5):
        while not outcomes.count:
            await anyio.sleep(0)


# Lines


@pytest.mark.requirement("stdio.lines")
@once
@given(st.lists(st.binary(max_size=12).map(lambda data: data.replace(b"\n", b"x"))), st.data())
def test_chunking_does_not_change_lines(texts, data):
    """Empty lines are skipped, and long ones become None."""
    stream = b"".join(text + b"\n" for text in texts)
    part, lines = bytearray(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        lines += take_lines(part, stream[:size], 8)
        stream = stream[size:]
    assert lines == [text if len(text) <= 8 else None for text in texts if text.strip() or len(text) > 8]
    assert not part


@pytest.mark.requirement("stdio.lines")
@once
def test_line_over_the_limit_is_not_kept():
    part = bytearray()
    for _ in range(1000):
        assert not take_lines(part, b"x" * 10, 100)
    assert len(part) <= 110


@pytest.mark.requirement("stdio.line-cap")
async def test_line_over_the_cap_is_refused_and_the_next_call_is_answered(server, outcomes):
    """The refusal names the cap and has no id, since none was read."""
    async with run_server(server, **make_options(outcomes, line_bytes=1000)) as peer:
        peer.start()
        peer.send(make_tool_call(1, "echo", text="e" * 2000), make_tool_call(2, "read"))
        refusal = await peer.answer(None)
        assert refusal["error"] == {"code": -32600, "message": "A line of more than 1000 bytes is not read"}
        assert read_text(await peer.answer(2)) == "read"
    assert peer.code == 0


@pytest.mark.requirement("stdio.bad-lines")
@pytest.mark.parametrize(
    ("bad", "number", "code"),
    [
        (b"nonsense\n", None, -32700),
        (b'{"jsonrpc":"2.0","id":7,"method":"ping"', None, -32700),
        (b"\xff\xfe\n", None, -32700),
        (b"[" * 5000 + b"\n", None, -32700),
        (b'{"jsonrpc":"1.0","id":7,"method":"ping"}\n', 7, -32600),
        (b'{"jsonrpc":"2.0","id":"seven","method":7}\n', "seven", -32600),
        (b'{"jsonrpc":"2.0","id":7,"result":7}\n', None, -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":7}\n', None, -32600),
        (b"[]\n", None, -32600),
        (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"text":"caf\xe9"}}\n', 7, -32700),
        (b'{"jsonrpc":"2.0","id":7,"method":"ping","params":{"text":"a\tb\x01"}}\n', 7, -32700),
        (b'{"jsonrpc":"1.0","id":7,"method":"ping\\ud83d"}\n', 7, -32700),
        (b'{"jsonrpc":"1.0","id":"\\ud83d","method":"ping"}\n', "\ud83d", -32700),
    ],
)
async def test_invalid_line_is_an_error_and_the_next_call_is_answered(server, bad, number, code):
    """Only a request's id is repeated: a client's response with our id must not look like ours."""
    async with run_server(server) as peer:
        peer.start()
        peer.send(bad if bad.endswith(b"\n") else bad + b"\n", make_tool_call(2, "read"))
        assert (await peer.answer(number))["error"]["code"] == code
        assert read_text(await peer.answer(2)) == "read"


@pytest.mark.requirement("stdio.marks")
@of_2025
async def test_byte_order_mark_is_skipped_before_any_line(server):
    """Clients on Windows write one at the beginning, and some before each line."""
    async with run_server(server) as peer:
        peer.send(MARK + to_line(INITIALIZE), MARK + b"\n", INITIALIZED, MARK + to_line(make_tool_call(1, "read")))
        assert "serverInfo" in (await peer.answer("start"))["result"]
        assert read_text(await peer.answer(1)) == "read"
        peer.send(MARK + b"nonsense\n", make_tool_call(2, "read"))
        assert (await peer.answer(None))["error"]["code"] == -32700
        assert read_text(await peer.answer(2)) == "read"


@pytest.mark.requirement("stdio.cut-characters")
@pytest.mark.parametrize(
    ("text", "arrives"),
    [
        (rb"a\ud83d", False),
        (rb"\ude00b", False),
        (rb"\ud83d\ud83d\ude00", False),
        (rb"\uD83Dx\uDE00", False),
        (rb"\ud83d\ude00", True),
        (rb"\\ud83d", True),
    ],
)
@pytest.mark.parametrize("mark", [b"", MARK])
async def test_lone_surrogate_is_an_error_of_the_call(server, text, arrives, mark):
    """JavaScript leaves one where it cuts a text within an emoji; JSON sends it as an escape."""
    request = to_line(make_tool_call(9, "echo", text="TEXT")).replace(b"TEXT", text)
    async with run_server(server) as peer:
        peer.start()
        peer.send(mark + request)
        result = (await peer.answer(9))["result"]
        assert result.get("isError", False) is not arrives
        if not arrives:
            assert result["content"][0]["text"] == (
                "Tool not called: text holds half of an emoji, so the text was cut within a character. "
                "Send the whole text again. Nothing was sent, so repeating is safe."
            )


@pytest.mark.requirement("stdio.cut-characters")
@of_2025
async def test_lone_surrogate_outside_the_arguments_is_replaced(server):
    """In a client's name, a tool's name or a client's response: the message is processed, and nothing waits forever."""
    initialize = to_line(INITIALIZE).replace(b'"peer"', rb'"peer\ud83d"')
    async with run_server(server) as peer:
        peer.send(
            initialize,
            INITIALIZED,
            to_line(make_tool_call(1, "NAME")).replace(b"NAME", rb"read\ud83d"),
            make_tool_call("c", "ask"),
        )
        assert "serverInfo" in (await peer.answer("start"))["result"]
        assert "read\ufffd" in str(await peer.answer(1))
        while not peer.received:
            await peer.read()
        question = peer.received.pop()
        reply = to_line({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline", "note": "NOTE"}})
        peer.send(reply.replace(b"NOTE", rb"\ud83d"))
        assert read_text(await peer.answer("c")) == "decline"


# Both eras, through the SDK's own client


@pytest.mark.requirement("stdio.both-eras")
@once
@pytest.mark.parametrize("mode", ["legacy", "2026-07-28", "auto"])
async def test_client_of_the_sdk_calls_tools_in_both_eras(tmp_path, mode):
    """The same process serves the handshake and the stateless protocol."""
    command = StdioServerParameters(
        command=sys.executable, args=[stdio_fixture.__file__, str(tmp_path / "o")], env=dict(os.environ)
    )
    async with Client(command, mode=mode) as client:
        assert len((await client.list_tools()).tools) == 8
        assert (await client.call_tool("echo", {"text": "سلام"})).content[0].text == "سلام"


@pytest.mark.requirement("stdio.contract")
@once
def test_sdk_server_runs_over_given_streams():
    """`run(read, write, options)` is the interface that an SDK upgrade must keep."""
    assert list(inspect.signature(Server.run).parameters)[:4] == [
        "self", "read_stream", "write_stream", "initialization_options",
    ]  # fmt: skip
    assert Server("small").create_initialization_options().server_name == "small"


@pytest.mark.requirement("stdio.bad-lines")
async def test_client_error_without_an_id_is_ignored(server):
    """It couldn't read a line of ours, and nothing can be done about it."""
    async with run_server(server) as peer:
        peer.start()
        peer.send(
            {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "what?"}}, make_tool_call(1, "read")
        )
        assert read_text(await peer.answer(1)) == "read"


@pytest.mark.requirement("stdio.contract")
@once
async def test_startup_failure_propagates():
    """The lifespan's exception is raised, and both descriptors are restored."""

    @asynccontextmanager
    async def broken(_):
        raise LookupError("no database")
        yield

    pipes = (*os.pipe(), *os.pipe())
    before = [os.fstat(fd).st_ino for fd in pipes]
    with pytest.raises(LookupError):
        await serve_stdio(Server("broken", lifespan=broken), input_fd=pipes[0], output_fd=pipes[3])
    assert [os.fstat(fd).st_ino for fd in pipes] == before
    for fd in pipes:
        os.close(fd)


# The end of input


@pytest.mark.requirement("stdio.end-of-input")
async def test_everything_sent_before_the_end_is_answered(server, outcomes):
    """Reads, writes and an unterminated last line: a shell pipe gets every response."""
    async with run_server(server, **make_options(outcomes)) as peer:
        peer.start()
        # Longer than a read may take after a signal.
        peer.send(make_tool_call(1, "slow_read", seconds=0.7), make_tool_call(2, "write", number=2, seconds=0.1))
        peer.send(to_line(make_tool_call(3, "read"))[:-1])
        peer.close_input()
        answers = [read_text(await peer.answer(number)) for number in (3, 1, 2)]
    assert answers == ["read", "slowly read", "written 2"]
    assert peer.code == 0


@pytest.mark.requirement("stdio.end-of-input")
async def test_shutdown_does_not_wait_for_a_cancelled_call(server, outcomes):
    """It is never answered, so the end comes at once."""
    async with run_server(server, **make_options(outcomes, drain_seconds=60)) as peer:
        peer.start()
        peer.send(make_tool_call(1, "slow_read", seconds=60), make_tool_call(2, "read"))
        await peer.answer(2)
        for parameters in ({"requestId": 1}, {"requestId": {}}, {}):
            peer.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": parameters})
        peer.close_input()
    assert (peer.code, peer.left) == (0, [])


@pytest.mark.requirement("stdio.end-of-input")
async def test_shutdown_does_not_wait_for_a_subscription(outcomes):
    """It stays open until the client or the input ends."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "peer", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    parameters = {"notifications": {"toolsListChanged": True}, "_meta": meta}
    async with run_server(MCPServer("listening"), **make_options(outcomes, drain_seconds=60)) as peer:
        peer.send({"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": parameters})
        await peer.read()
        peer.close_input()
    assert (peer.code, peer.left) == (0, [])
    assert peer.received[0]["method"] == "notifications/subscriptions/acknowledged"


@pytest.mark.requirement("stdio.drain")
async def test_without_a_drain_a_write_is_lost(server, outcomes, monkeypatch):
    """With no time to finish, the write in flight has no outcome."""
    # The shutdown ends by itself before the process is forced to exit.
    monkeypatch.setattr("ttp_mcp.transports.stdio.shutdown.LEAVE_SECONDS", 3600)
    async with run_server(server, **make_options(outcomes, drain_seconds=0)) as peer:
        peer.start()
        peer.send(make_tool_call(1, "write", number=1, seconds=60))
        await wait_for_write(outcomes)
        peer.close_input()
    assert read_lost_writes(outcomes.path) == {"1"}
    assert peer.left == []


@pytest.mark.requirement("stdio.end-of-input")
@of_2025
@pytest.mark.parametrize("later", [["second"], []])
async def test_elicitation_fails_at_once_without_a_client(server, outcomes, later):
    """Whether the tool prompts before or after the end of input."""
    async with run_server(server, **make_options(outcomes, drain_seconds=60)) as peer:
        peer.start()
        peer.send(make_tool_call("first", "ask"))
        while not any(message.get("method") == "elicitation/create" for message in peer.received):
            await peer.read()
        peer.send(*(make_tool_call(number, "ask") for number in later))
        peer.close_input()
        answers = [await peer.answer(number) for number in ("first", *later)]
    assert all("The client has gone" in str(answer) for answer in answers)
    assert (peer.code, peer.left) == (0, [])


@pytest.mark.requirement("stdio.both-eras")
@of_2025
async def test_elicitation_reply_reaches_the_tool(server):
    """Each reply goes to the tool that prompted."""
    async with run_server(server) as peer:
        peer.start()
        await peer.answer("start")
        peer.send(make_tool_call("c", "ask"))
        while not peer.received:
            await peer.read()
        question = peer.received.pop()
        peer.send({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "decline"}})
        assert read_text(await peer.answer("c")) == "decline"


# Signals


@pytest.mark.requirement("stdio.signals")
@pytest.mark.parametrize("number", SIGNALS)
async def test_signal_finishes_writes_and_releases_reads(server, outcomes, number):
    """The write gets the drain, the read half a second and an error; queued calls aren't started."""
    async with run_server(server, **make_options(outcomes)) as peer:
        peer.start()
        peer.send(make_tool_call(1, "write", number=1, seconds=0.7), make_tool_call(2, "slow_read", seconds=60))
        await wait_for_write(outcomes)
        signal.raise_signal(number)
        assert read_text(await peer.answer(1)) == "written 1"
        assert (await peer.answer(2))["error"]["message"] == "Connection closed"
    assert peer.code == 0
    assert not read_lost_writes(outcomes.path)


@pytest.mark.requirement("stdio.signals")
@in_both_modes
async def test_signal_ends_an_idle_session_whose_input_is_open(server, outcomes):
    async with run_server(server, **make_options(outcomes)) as peer:
        peer.start()
        await peer.answer("start")
        signal.raise_signal(signal.SIGTERM)
        with anyio.fail_after(5):
            while peer.code is None:
                await anyio.sleep(0.01)
    assert (peer.code, peer.left) == (0, [])


@pytest.mark.requirement("stdio.signals")
async def test_read_that_ends_soon_after_a_signal_gets_its_result(server, outcomes):
    """Half a second is enough for a response that is being built, also for that of a write that the shutdown waited for."""
    release, waiting = asyncio.Event(), asyncio.Event()

    @server.tool(structured_output=False)
    async def hold(number: int, seconds: float) -> str:
        if seconds:
            await outcomes.write(number, seconds)
        waiting.set()
        await release.wait()
        return "released"

    for number, seconds in ((1, 0), (2, 0.6)):
        async with run_server(server, **make_options(outcomes)) as peer:
            peer.start()
            peer.send(make_tool_call(number, "hold", number=number, seconds=seconds))
            if seconds:
                await wait_for_write(outcomes)
            else:
                await waiting.wait()
            signal.raise_signal(signal.SIGTERM)
            await waiting.wait()
            await anyio.sleep(0.05)
            release.set()
            assert read_text(await peer.answer(number)) == "released"
        release.clear()
        waiting.clear()


@pytest.mark.requirement("stdio.signals")
@in_both_modes
async def test_signal_after_the_end_of_input_releases_reads(server, outcomes):
    """The usual order of a client that stops a server: close stdin, then SIGTERM."""
    async with run_server(server, **make_options(outcomes, drain_seconds=60)) as peer:
        peer.start()
        peer.send(make_tool_call(1, "slow_read", seconds=60))
        await peer.answer("start")
        peer.close_input()
        await anyio.sleep(0)
        signal.raise_signal(signal.SIGTERM)
        assert (await peer.answer(1))["error"]["message"] == "Connection closed"
    assert (peer.code, peer.left) == (0, [])


@needs_hangup
@pytest.mark.requirement("stdio.signals")
async def test_hangup_that_nohup_ignores_stays_ignored(server, outcomes):
    """`nohup ttp-mcp` survives its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        async with run_server(server, **make_options(outcomes)) as peer:
            peer.start()
            await peer.answer("start")
            signal.raise_signal(signal.SIGHUP)
            peer.send(make_tool_call(1, "read"))
            assert read_text(await peer.answer(1)) == "read"
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.requirement("stdio.signals")
@in_both_modes
async def test_handlers_of_signals_are_restored(server):
    before = [signal.getsignal(number) for number in SIGNALS]
    async with run_server(server) as peer:
        peer.start()
        await peer.answer("start")
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before


@pytest.mark.requirement("stdio.signals")
async def test_signal_drops_queued_calls(server, outcomes, tmp_path):
    """Their lines are read already; a write whose client is leaving must not start."""

    @server.tool(structured_output=False)
    async def hang_up() -> str:
        signal.raise_signal(signal.SIGTERM)
        return "hung up"

    path = tmp_path / "requests.jsonl"
    calls = [
        make_tool_call("first", "hang_up"),
        *(make_tool_call(number, "write", number=number, seconds=0) for number in range(300)),
    ]
    path.write_bytes(b"".join(map(to_line, [INITIALIZE, INITIALIZED, *calls])))
    pipes = (os.open(path, os.O_RDONLY), os.open(os.devnull, os.O_RDONLY), *os.pipe())
    async with run_server(server, pipes, **make_options(outcomes)) as peer:
        await peer.answer("first")
    begun_writes = outcomes.path.read_text().count("begun") if outcomes.path.exists() else 0
    assert begun_writes < 300
    assert not read_lost_writes(outcomes.path)


@needs_parents
@pytest.mark.requirement("stdio.parent")
@once
def test_server_whose_parent_has_ended_shuts_down_although_its_input_is_open(tmp_path):
    """Another program may have inherited the pipes, so that the end of the client is never seen on them."""
    waiting, release = os.pipe()
    script = f"import os, subprocess, sys; subprocess.Popen(sys.argv[1:]); os.read({waiting}, 1)"
    command = [sys.executable, stdio_fixture.__file__, str(tmp_path / "o"), "--parent-seconds", "0.05"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", script, *command], pass_fds=[waiting], **pipes) as parent:
        peer = stdio_fixture.Peer(parent)
        peer.send(INITIALIZE, INITIALIZED)
        peer.answer("start")
        os.close(release)
        # Its end of the output closes with the server.
        assert not peer.read(stdio_fixture.PATIENCE)
        assert parent.stderr.read().endswith(b"The process that started this server has ended; shutting down.\n")
    os.close(waiting)


@pytest.mark.requirement("stdio.signals")
async def test_second_signal_exits_at_once(server, outcomes):
    """With 128 plus the signal's number, as a shell reports it."""
    async with run_server(server, **make_options(outcomes, drain_seconds=1)) as peer:
        peer.start()
        peer.send(make_tool_call(1, "write", number=1, seconds=0.2))
        await wait_for_write(outcomes)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        await peer.answer(1)
    # The two may be seen in either order.
    assert peer.left in ([130], [143])


@pytest.mark.requirement("stdio.drain")
@pytest.mark.parametrize(("writes", "code"), [(1, 1), (0, 0)])
async def test_stuck_call_does_not_keep_the_process(outcomes, writes, code):
    """It is abandoned soon after the drain; the exit code shows if it was a write."""
    stuck = MCPServer("stuck", log_level="WARNING")
    let_go = asyncio.Event()
    started = asyncio.Event()

    @stuck.tool()
    async def hold() -> str:
        started.set()
        with anyio.CancelScope(shield=True):
            await let_go.wait()
        return "held"

    outcomes.count = writes
    async with run_server(stuck, **make_options(outcomes, drain_seconds=0.05)) as peer:
        peer.start()
        peer.send(make_tool_call(1, "hold"))
        await started.wait()
        peer.close_input()
        with anyio.fail_after(5):
            while not peer.left:
                await anyio.sleep(0.01)
        let_go.set()
    assert peer.left == [code]
    assert peer.code == code


class Silent:
    """Before the sandbox: what begins with the word is done, and its answer never comes."""

    def __init__(self, app, word):
        self.app, self.word = app, word
        self.reached = anyio.Event()

    async def __call__(self, scope, receive, send):
        if not f"{scope['method']} {scope['path']}".startswith(self.word):
            await self.app(scope, receive, send)
            return
        self.reached.set()
        await anyio.sleep_forever()


@pytest.mark.requirement("stdio.given-up")
@pytest.mark.parametrize(
    ("word", "tool", "kind", "reported"),
    [
        ("POST /api/posts", "create_post", "create", "Unknown whether the post for linkedin «Harbor Café» was created"),
        ("DELETE /api/posts", "delete_post", "delete", "was deleted: the call ended before there was an answer."),
        ("PUT", "upload_media", "upload", "File not uploaded: the server is shutting down and abandoned this call"),
    ],
)
async def test_write_beyond_the_drain_is_recorded_as_unknown(settings, sandbox, tmp_path, word, tool, kind, reported):
    """The code is 0, since nothing is lost: later calls report that it may have happened."""
    (tmp_path / "a.gif").write_bytes(b"GIF89a\x01\0\x01\0\0\0\0;")
    sandbox.app, sandbox.storage_app = Silent(sandbox.app, word), Silent(sandbox.storage_app, word)
    silent = sandbox.storage_app if kind == "upload" else sandbox.app
    settings = replace(settings, confirm="off", media_dirs=(tmp_path,))
    runtime = create_server(settings, sandbox)
    post = (await runtime.app.api.posts.list())[0]
    arguments = {
        "create": {"content": "Doors open at ten", "account_ids": ["linkedin"]},
        "delete": {"post_id": post.id},
        "upload": {"source": "a.gif"},
    }
    async with run_server(runtime.server, writes=runtime.app.writer.in_flight, drain_seconds=1.2) as peer:
        peer.start()
        peer.send(make_tool_call(1, tool, **arguments[kind]))
        await silent.reached.wait()
        peer.close_input()
        answer = await peer.answer(1)
    history = await runtime.app.ledger.read_history(datetime(2020, 1, 1, tzinfo=UTC))
    await runtime.aclose()
    assert reported in str(answer)
    assert [(record.kind, record.outcome) for record in history] == [(kind, "unknown")]
    assert (peer.code, peer.left) == (0, [])


@pytest.mark.requirement("stdio.given-up")
async def test_unrecorded_outcome_changes_the_exit_code(settings, sandbox):
    """Another program holds the ledger, so the write stays unresolved."""
    sandbox.app = silent = Silent(sandbox.app, "POST /api/posts")
    runtime = create_server(replace(settings, confirm="off"), sandbox)
    async with run_server(runtime.server, writes=runtime.app.writer.in_flight, drain_seconds=1.2) as peer:
        peer.start()
        peer.send(make_tool_call(1, "create_post", content="Doors open at ten", account_ids=["linkedin"]))
        await silent.reached.wait()
        with closing(sqlite3.connect(settings.state_dir / "ledger.db", isolation_level=None)) as holder:
            holder.execute("BEGIN IMMEDIATE")
            peer.close_input()
            while not peer.left:
                await anyio.sleep(0.01)
            holder.execute("ROLLBACK")
    assert peer.left == [1]
    await runtime.aclose()


@needs_signals
@pytest.mark.requirement("stdio.drain")
@of_processes
def test_busy_thread_does_not_keep_the_process(tmp_path):
    """Python would join it; a name lookup can take half a minute."""
    with start_process(tmp_path / "o") as peer:
        peer.send(make_tool_call(1, "thread", seconds=600), make_tool_call(2, "read"))
        peer.answer(2)
        peer.process.send_signal(signal.SIGTERM)
        assert peer.wait() == 0


class EndlessWrite:
    """One write in flight that never ends by itself."""

    count, unresolved = 1, 0

    def __init__(self):
        self.abandoned = anyio.Event()

    async def abandon(self):
        self.abandoned.set()


@pytest.mark.requirement("stdio.drain")
@once
async def test_later_shutdown_reason_only_shortens_the_wait():
    """Windows ends a process five seconds after its console closes."""
    writes = EndlessWrite()
    shutdown = Shutdown(writes, 3600, exit_process=sys.exit)
    with shutdown.watch_process():
        shutdown.begin("end of input")
        assert not shutdown.is_complete(unread=False)
        shutdown.begin("signal", seconds=0)
        shutdown.begin("signal")
        assert shutdown.is_complete(unread=False)
        await writes.abandoned.wait()


@pytest.mark.requirement("stdio.drain")
@once
async def test_closed_console_shortens_the_wait(monkeypatch):
    """Windows reports it as an event of its own, which no other system has."""
    send = catch_signals(monkeypatch, shutdowns)
    monkeypatch.setattr(shutdowns, "CONSOLE_CLOSED_SECONDS", 0)
    shutdown = Shutdown(EndlessWrite(), 3600, exit_process=sys.exit)
    with shutdown.watch_process():
        send(CONSOLE_CLOSED)
        assert shutdown.is_complete(unread=False)
        assert shutdown.reason == "signal"


@pytest.mark.requirement("stdio.drain")
@once
@pytest.mark.parametrize(("unresolved", "code"), [(0, 0), (2, 1)])
async def test_forced_exit_logs_the_writes_without_an_outcome(monkeypatch, caplog, unresolved, code):
    monkeypatch.setattr("ttp_mcp.transports.stdio.shutdown.LEAVE_SECONDS", 0)
    left = asyncio.get_running_loop().create_future()
    writes = EndlessWrite()
    writes.unresolved = unresolved
    shutdown = Shutdown(writes, 0, exit_process=left.set_result)
    with shutdown.watch_process():
        shutdown.begin("end of input")
        assert await left == code
    assert caplog.messages == [f"exited after 0 s with {unresolved} writes without an outcome"]


@pytest.mark.requirement("stdio.drain")
@once
async def test_session_that_has_ended_is_not_forced_to_exit(monkeypatch):
    """Nor are its writes abandoned, whichever of two deadlines passes."""
    monkeypatch.setattr("ttp_mcp.transports.stdio.shutdown.LEAVE_SECONDS", 0)
    left, writes = [], EndlessWrite()
    shutdown = Shutdown(writes, 0.05, exit_process=left.append)
    with shutdown.watch_process():
        shutdown.begin("end of input")
        shutdown.begin("signal", seconds=0.04)
    await asyncio.sleep(0.1)
    assert left == []
    assert not writes.abandoned.is_set()


@pytest.mark.requirement("stdio.drain")
@once
def test_forced_exit_uses_the_given_code():
    """After the time, from a daemon thread."""
    left = []
    timer = force_exit_after(7, seconds=0, exit_process=left.append)
    timer.join(5)
    assert left == [7]
    assert timer.daemon


# The output


@pytest.mark.requirement("stdio.broken-output")
async def test_broken_output_ends_like_closed_input(server, outcomes):
    """The write is finished without a reader, reads are released, and the code is 0."""
    async with run_server(server, **make_options(outcomes, drain_seconds=60)) as peer:
        peer.start()
        await peer.answer("start")
        peer.send(make_tool_call(1, "write", number=1, seconds=0.2), make_tool_call(2, "slow_read", seconds=60))
        await wait_for_write(outcomes)
        peer.close_output()
        peer.send(make_tool_call(3, "read"), make_tool_call(4, "read"))
    assert (peer.code, peer.left) == (0, [])
    assert not read_lost_writes(outcomes.path)


@pytest.mark.requirement("stdio.broken-output")
async def test_broken_output_drops_queued_calls(server, outcomes, tmp_path):
    """The client is gone, so no response would report them."""

    @server.tool(structured_output=False)
    async def leave() -> str:
        peer.close_output()
        return "gone"

    path = tmp_path / "requests.jsonl"
    calls = [
        make_tool_call("first", "leave"),
        *(make_tool_call(number, "write", number=number, seconds=0) for number in range(300)),
    ]
    path.write_bytes(b"".join(map(to_line, [INITIALIZE, INITIALIZED, *calls])))
    pipes = (os.open(path, os.O_RDONLY), os.open(os.devnull, os.O_RDONLY), *os.pipe())
    async with run_server(server, pipes, **make_options(outcomes)) as peer:
        pass
    begun_writes = outcomes.path.read_text().count("begun") if outcomes.path.exists() else 0
    assert begun_writes < 300


@pytest.mark.requirement("stdio.whole-lines")
async def test_large_responses_arrive_whole_and_in_order(server, outcomes):
    """Even if the call is cancelled while half of its response is written."""
    async with run_server(server, **make_options(outcomes)) as peer:
        peer.start()
        await peer.answer("start")
        big = "b" * 300_000
        for number in (1, 2):
            message = to_line(make_tool_call(number, "echo", text=big))
            for start in range(0, len(message), 4096):
                await stdio_fixture.wait_writable(peer.input_fd)
                peer.send(message[start : start + 4096])
        await stdio_fixture.wait_readable(peer.output_fd)
        peer.send(
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
            make_tool_call(3, "read"),
        )
        assert [read_text(await peer.answer(number)) for number in (1, 2, 3)] == [big, big, "read"]


@needs_flags
@pytest.mark.requirement("stdio.whole-lines")
async def test_responses_wait_for_a_full_pipe(server, threads):
    """None fits at first; all arrive."""
    pipes = (*os.pipe(), *os.pipe())
    os.set_blocking(pipes[3], False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(pipes[3], b"{}".ljust(4095) + b"\n")
    os.set_blocking(pipes[3], threads)
    async with run_server(server, pipes) as peer:
        peer.start()
        peer.send(make_tool_call(1, "read"))
        for _ in range(100):
            await anyio.sleep(0)
        assert read_text(await peer.answer(1)) == "read"


@pytest.mark.requirement("stdio.whole-lines")
async def test_client_that_stops_reading_gets_backpressure(server, outcomes):
    """Unread responses are bounded, and a full pipe doesn't keep the process after a signal."""
    async with run_server(server, **make_options(outcomes, drain_seconds=5, unread_bytes=1000)) as peer:
        peer.start()
        await peer.answer("start")
        message = to_line(make_tool_call(1, "echo", text="e" * 200_000))
        for start in range(0, len(message), 4096):
            await stdio_fixture.wait_writable(peer.input_fd)
            peer.send(message[start : start + 4096])
        await stdio_fixture.wait_readable(peer.output_fd)
        peer.send(make_tool_call(2, "write", number=2, seconds=0))
        for _ in range(100):
            await anyio.sleep(0)
        signal.raise_signal(signal.SIGTERM)
    assert (peer.code, peer.left) == (0, [])
    assert not outcomes.path.exists()


@pytest.mark.requirement("stdio.end-of-input")
async def test_responses_that_wait_for_the_client_outlive_the_end_of_input(server, outcomes):
    """The client closes the input, and reads only then."""
    async with run_server(server, **make_options(outcomes, line_bytes=100_000)) as peer:
        peer.start()
        await peer.answer("start")

        @server.tool(structured_output=False)
        async def repeat(text: str) -> str:
            return text * 200_000

        peer.send(*(make_tool_call(text, "repeat", text=text) for text in "abcde"))
        await stdio_fixture.wait_readable(peer.output_fd)
        peer.close_input()
        for _ in range(100):
            await anyio.sleep(0)
        assert [read_text(await peer.answer(text)) for text in "abcde"] == [text * 200_000 for text in "abcde"]
    assert (peer.code, peer.left) == (0, [])


@pytest.mark.requirement("stdio.whole-lines")
async def test_client_that_reads_again_gets_every_response(server, outcomes):
    """Also to requests that weren't read as long as it read nothing."""
    async with run_server(server, **make_options(outcomes, unread_bytes=1000)) as peer:
        peer.start()
        await peer.answer("start")
        big = "e" * 200_000
        message = to_line(make_tool_call(1, "echo", text=big))
        for start in range(0, len(message), 4096):
            await stdio_fixture.wait_writable(peer.input_fd)
            peer.send(message[start : start + 4096])
        await stdio_fixture.wait_readable(peer.output_fd)
        peer.send(make_tool_call(2, "read"))
        for _ in range(100):
            await anyio.sleep(0)
        assert [read_text(await peer.answer(number)) for number in (1, 2)] == [big, "read"]


@pytest.mark.requirement("stdio.whole-lines")
async def test_output_that_breaks_with_pending_responses_ends_the_server(server, outcomes):
    """They are dropped; nothing is raised."""
    async with run_server(server, **make_options(outcomes, drain_seconds=5)) as peer:
        peer.start()
        await peer.answer("start")
        message = to_line(make_tool_call(1, "echo", text="e" * 200_000))
        for start in range(0, len(message), 4096):
            await stdio_fixture.wait_writable(peer.input_fd)
            peer.send(message[start : start + 4096])
        await stdio_fixture.wait_readable(peer.output_fd)
        peer.close_output()
    assert (peer.code, peer.left) == (0, [])


# Other kinds of descriptors


@pytest.mark.requirement("stdio.threads")
async def test_threads_are_used_only_for_blocking_pipes(server, threads):
    """By default only on Windows: elsewhere a thread would cost time for each message."""
    assert inspect.signature(serve_stdio).parameters["threads"].default is WINDOWS
    before = {*threading.enumerate()}
    async with run_server(server) as peer:
        peer.start()
        await peer.answer("start")
        names = {thread.name for thread in {*threading.enumerate()} - before}
    assert names & {"stdin", "stdout"} == ({"stdin", "stdout"} if threads else set())


@pytest.mark.requirement("stdio.threads")
@pytest.mark.skipif(sys.platform != "linux", reason="lists descriptors in a folder of Linux")
@in_both_modes
@pytest.mark.parametrize("end", ["input", "signal", "signal with unread input", "output"])
async def test_session_leaves_neither_a_descriptor_nor_a_thread(server, outcomes, tmp_path, end):
    before = len([*Path("/proc/self/fd").iterdir()]), {*threading.enumerate()}
    pipes = None
    if end == "signal with unread input":
        calls = [make_tool_call(number, "echo", text="e" * 5000) for number in range(100)]
        (tmp_path / "input").write_bytes(b"".join(map(to_line, [INITIALIZE, INITIALIZED, *calls])))
        pipes = (os.open(tmp_path / "input", os.O_RDONLY), os.open(os.devnull, os.O_RDONLY), *os.pipe())
    async with run_server(server, pipes, **make_options(outcomes, unread_bytes=1000)) as peer:
        if not pipes:
            peer.start()
        await peer.answer("start")
        if end.startswith("signal"):
            signal.raise_signal(signal.SIGTERM)
        elif end == "output":
            peer.close_output()
            peer.send(make_tool_call(1, "read"))
    for thread in {*threading.enumerate()} - before[1]:
        if thread.name in ("stdin", "stdout"):
            thread.join(5)
            assert not thread.is_alive()
    assert len([*Path("/proc/self/fd").iterdir()]) == before[0]


@needs_descriptors
@pytest.mark.requirement("stdio.descriptors")
async def test_sockets_work_and_their_flags_are_restored(server, threads):
    """Some clients use socket pairs, which can't be reopened, so their flags change temporarily."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        pipes = (os.dup(ours.fileno()), os.dup(theirs.fileno()), os.dup(theirs.fileno()), os.dup(ours.fileno()))
        async with run_server(server, pipes) as peer:
            peer.start()
            peer.send(make_tool_call(1, "read"))
            assert read_text(await peer.answer(1)) == "read"
            assert os.get_blocking(ours.fileno()) == threads
            theirs.shutdown(socket.SHUT_WR)
        assert os.get_blocking(ours.fileno())
    assert peer.code == 0


@needs_descriptors
@pytest.mark.requirement("stdio.descriptors")
async def test_tools_reach_neither_the_input_nor_the_output_of_the_session(server):
    """A tool that reads the input would take requests, and one that prints would break the output's lines."""
    pipes = (*os.pipe(), *os.pipe())

    def identify(place: int | str) -> tuple[int, int]:
        found = os.stat(place)  # noqa: PTH116 - of a descriptor
        return found.st_dev, found.st_ino

    before = [identify(fd) for fd in pipes]
    async with run_server(server, pipes) as peer:
        peer.start()
        peer.send(make_tool_call(1, "read"))
        await peer.answer(1)
        assert identify(pipes[0]) == identify(os.devnull)
        assert identify(pipes[3]) == identify(2)
        assert os.read(pipes[0], 1) == b""
    assert identify(os.devnull) not in before


@needs_flags
@pytest.mark.requirement("stdio.descriptors")
async def test_pipe_flags_are_unchanged(server):
    """Other programs may share the pipe or terminal, and expect it to block."""
    input_fd, peer_input = os.pipe()
    peer_output, output_fd = os.pipe()
    same = os.dup(input_fd)
    async with run_server(server, (input_fd, peer_input, peer_output, output_fd)) as peer:
        peer.start()
        await peer.answer("start")
        assert os.get_blocking(same)
    os.close(same)


@needs_terminals
@pytest.mark.requirement("stdio.descriptors")
async def test_closed_terminal_is_the_end_of_input(server):
    """As when the window is closed."""
    controller, terminal = os.openpty()
    async with run_server(server, (terminal, controller, *os.pipe())) as peer:
        await anyio.sleep(0)
    assert peer.code == 0


@needs_descriptors
@pytest.mark.requirement("stdio.descriptors")
async def test_connection_reset_is_the_end_of_input(server):
    """A client that dies with unread responses makes reads fail."""
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    with ours:
        async with run_server(server, (os.dup(ours.fileno()), writing, reading, os.dup(ours.fileno()))) as peer:
            theirs.sendall(to_line(INITIALIZE))
            await anyio.wait_readable(theirs)
            theirs.close()
    assert peer.code == 0


@pytest.mark.requirement("stdio.descriptors")
@pytest.mark.parametrize("repeats", [1, 400])
async def test_input_file_works_like_a_pipe(server, outcomes, tmp_path, repeats):
    """No message is lost, however long."""
    path = tmp_path / "requests.jsonl"
    calls = [make_tool_call(number, "echo", text="e" * 300) for number in range(repeats)]
    path.write_bytes(b"".join(map(to_line, [INITIALIZE, INITIALIZED, *calls])))
    pipes = (os.open(path, os.O_RDONLY), os.open(os.devnull, os.O_RDONLY), *os.pipe())
    async with run_server(server, pipes, **make_options(outcomes)) as peer:
        for number in range(repeats):
            await peer.answer(number)
    assert peer.code == 0


@pytest.mark.requirement("stdio.descriptors")
@in_both_modes
def test_null_device_as_input_ends_the_process_with_code_0(tmp_path):
    """As a service manager or a container without a terminal starts it."""
    with start_process(tmp_path / "o", stdin=subprocess.DEVNULL) as peer:
        assert peer.wait() == 0
        assert peer.process.stdout.read() == b""
        assert peer.process.stderr.read() == b""


@pytest.mark.requirement("stdio.stray-output")
@of_processes
def test_stray_print_goes_to_stderr(tmp_path):
    """Including buffered output at the end of the process."""
    with start_process(tmp_path / "o") as peer:
        peer.send(make_tool_call(1, "stray", text="not for the wire"))
        assert read_text(peer.answer(1)) == "printed"
        peer.process.stdin.close()
        assert peer.wait() == 0
        assert peer.process.stdout.read() == b""
        assert peer.process.stderr.read() == f"not for the wire{os.linesep}".encode()


@pytest.mark.requirement("stdio.stray-output")
async def test_buffered_print_is_not_on_the_wire_after_the_session(server, monkeypatch):
    """It is written to stderr while the descriptor still leads there."""
    pipes = (*make_input(), *os.pipe())
    monkeypatch.setattr(sys, "stdout", os.fdopen(pipes[3], "w", closefd=False))
    async with run_server(server, pipes) as peer:
        peer.start()
        peer.send(make_tool_call(1, "stray", text="not for the wire"))
        assert read_text(await peer.answer(1)) == "printed"
        peer.close_input()
        with anyio.fail_after(5):
            while peer.code is None:
                await anyio.sleep(0.01)
        sys.stdout.write("the end")
        sys.stdout.flush()
        assert os.read(peer.output_fd, 1000) == b"the end"


@pytest.mark.requirement("stdio.stray-output")
@pytest.mark.parametrize("problem", ["closed", pytest.param("full", marks=needs_full_device)])
async def test_stdout_that_cannot_be_flushed_changes_no_exit_code(server, monkeypatch, problem):
    stream = Path("/dev/full" if problem == "full" else os.devnull).open("w")  # noqa: SIM115
    stream.write("printed by mistake")
    if problem == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    async with run_server(server) as peer:
        peer.start()
        await peer.answer("start")
    assert peer.code == 0
    with suppress(OSError):
        stream.close()


@pytest.mark.requirement("stdio.stray-output")
@once
def test_process_without_stderr_serves(tmp_path):
    """Stray output is lost, the protocol isn't affected."""
    script = (
        "import os, runpy, sys; os.close(2); sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    started = subprocess.run(
        [sys.executable, "-c", script, stdio_fixture.__file__, str(tmp_path / "o")],
        input=b"".join(map(to_line, [INITIALIZE, INITIALIZED, make_tool_call(1, "stray", text="lost")])),
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    assert b"printed" in started.stdout
    assert b"lost" not in started.stdout
