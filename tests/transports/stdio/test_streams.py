"""Both streams of a stdio session at the ends of real pipes, in a time that passes only while the event loop waits."""

import asyncio
import json
import os
import threading
from contextlib import ExitStack

import anyio
import mcp_types as types
import pytest
from mcp.shared.message import SessionMessage

from tests.support.quick_time import run_quickly
from tests.support.windows import waits_for_pipes
from tests.transports.stdio.stdio_fixture import INITIALIZE
from ttp_mcp.transports.stdio.handshake import Handshake
from ttp_mcp.transports.stdio.reader import Reader, take_lines
from ttp_mcp.transports.stdio.shutdown import Shutdown
from ttp_mcp.transports.stdio.threads import ReadAhead, WriteBehind
from ttp_mcp.transports.stdio.writer import Writer

pytestmark = waits_for_pipes

LINE_BYTES = 1000
UNREAD_BYTES = 2000
ERROR = types.ErrorData(code=-32603, message="No")


class NoWrites:
    """Writes of a server that only reads."""

    count = unresolved = 0

    async def abandon(self):
        """Nothing to abandon."""


class Streams:
    """A reader and a writer, and the client's ends of their pipes."""

    def __init__(self, undo, *, threads=False, handshake=None, unread=b""):
        pipes = [*os.pipe(), *os.pipe()]
        self.input_fd, self.peer_input, self.peer_output, self.output_fd = pipes
        self.open = {*pipes}
        undo.callback(self.close)
        for fd in (self.peer_output, *(() if threads else (self.input_fd, self.output_fd))):
            os.set_blocking(fd, False)
        if threads:
            # Their threads close them.
            self.open -= {self.input_fd, self.output_fd}
        if unread:
            self.give(unread)
            assert handshake.replay(self.input_fd, self.output_fd)
        self.loop = asyncio.get_running_loop()
        self.left = []
        self.shutdown = Shutdown(NoWrites(), 10, self.left.append)
        self.writer = Writer(self.output_fd, self.shutdown, threads, handshake)
        self.reader = Reader(self.input_fd, LINE_BYTES, UNREAD_BYTES, self.writer, self.shutdown, threads, handshake)

    def close(self, *fds):
        """Close descriptors, all if none is named."""
        for fd in fds or [*self.open]:
            os.close(fd)
            self.open.remove(fd)

    def give(self, *messages):
        """Write messages or bytes for the reader."""
        for each in messages:
            os.write(self.peer_input, each if isinstance(each, bytes) else json.dumps(each).encode() + b"\n")

    def take(self, size=1 << 20):
        """Read what the writer has written."""
        try:
            return os.read(self.peer_output, size)
        except BlockingIOError:
            return b""

    async def take_all(self):
        """Read until the writer has written everything."""
        taken, chunk = b"", None
        while chunk != b"":
            await asyncio.sleep(0.001)
            taken += (chunk := self.take())
        return taken

    async def fill(self):
        """Write lines until the pipe is full and some wait; return all of them."""
        lines = [b"%d " % number + b"x" * 30_000 for number in range(8)]
        for line in lines:
            self.writer.push(line)
        return lines


def run_streams(test, **options):
    """Run a coroutine function with both streams."""

    async def run():
        with ExitStack() as undo:
            await test(Streams(undo, **options))

    run_quickly(run)


def make_request(number, method="tools/list", **params):
    """A request as a client sends it."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def make_result(number):
    """A response to a request of this id."""
    return types.JSONRPCResponse(jsonrpc="2.0", id=number, result={})


# The writer


@pytest.mark.requirement("stdio.whole-lines")
def test_message_is_one_line_without_what_is_not_set():
    messages = [
        types.JSONRPCRequest(jsonrpc="2.0", id=1, method="roots/list"),
        types.JSONRPCNotification(jsonrpc="2.0", method="notifications/message", params={"data": "é\n"}),
        make_result("a"),
        types.JSONRPCError(jsonrpc="2.0", id=2, error=ERROR),
        types.JSONRPCError(jsonrpc="2.0", id=None, error=ERROR),
    ]

    async def send(streams):
        for message in messages:
            await streams.writer.send(SessionMessage(message))
        assert streams.take().decode().split("\n") == [
            '{"jsonrpc":"2.0","id":1,"method":"roots/list"}',
            '{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"é\\n"}}',
            '{"jsonrpc":"2.0","id":"a","result":{}}',
            '{"jsonrpc":"2.0","id":2,"error":{"code":-32603,"message":"No"}}',
            '{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"No"}}',
            "",
        ]
        assert streams.writer.unread_bytes == 0

    run_streams(send)


@pytest.mark.requirement("stdio.end-of-input")
@pytest.mark.parametrize("response", [make_result(1), types.JSONRPCError(jsonrpc="2.0", id=1, error=ERROR)])
def test_response_is_no_longer_waited_for(response):
    """The reader, which sleeps during a shutdown, looks again."""

    async def send(streams):
        shutdown = streams.shutdown
        shutdown.unanswered |= {1, 2}
        await streams.writer.send(SessionMessage(response))
        assert (shutdown.unanswered, shutdown.asked, shutdown.changed.is_set()) == ({2}, set(), False)
        shutdown.begin("end of input")
        shutdown.changed.clear()
        await streams.writer.send(SessionMessage(types.JSONRPCNotification(jsonrpc="2.0", method="x")))
        await streams.writer.send(SessionMessage(types.JSONRPCError(jsonrpc="2.0", id=None, error=ERROR)))
        assert not shutdown.changed.is_set()
        await streams.writer.send(SessionMessage(make_result(2)))
        assert (shutdown.unanswered, shutdown.changed.is_set()) == (set(), True)

    run_streams(send)


@pytest.mark.requirement("stdio.end-of-input")
def test_question_to_the_client_is_kept_until_it_is_answered():
    question = types.JSONRPCRequest(jsonrpc="2.0", id=7, method="elicitation/create")

    async def ask(streams):
        await streams.writer.send(SessionMessage(question))
        assert streams.shutdown.asked == {7}
        streams.give({"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "?"}})
        await anext(streams.reader)
        assert streams.shutdown.asked == {7}
        streams.give({"jsonrpc": "2.0", "id": 7, "result": {}})
        assert (await anext(streams.reader)).message.id == 7
        assert streams.shutdown.asked == set()
        await streams.writer.send(SessionMessage(question))
        streams.shutdown.begin("end of input")
        closed = (await anext(streams.reader)).message
        assert closed == types.JSONRPCError(
            jsonrpc="2.0", id=7, error=types.ErrorData(code=types.CONNECTION_CLOSED, message="The client has gone")
        )

    run_streams(ask)


@pytest.mark.requirement("stdio.whole-lines")
def test_lines_that_do_not_fit_are_sent_in_order_once_the_client_reads():
    async def send(streams):
        lines = await streams.fill()
        whole = b"".join(line + b"\n" for line in lines)
        taken = b""
        while len(taken) < len(whole):
            # Reading it empties the pipe.
            taken += streams.take()
            assert streams.writer.unread_bytes == len(whole) - len(taken)
            await asyncio.sleep(0.001)
        assert taken == whole
        # Afterwards the next one is sent at once.
        streams.writer.push(b"later")
        assert streams.take() == b"later\n"
        assert not streams.loop.remove_writer(streams.output_fd)

    run_streams(send)


@pytest.mark.requirement("stdio.whole-lines")
def test_line_is_never_sent_before_those_that_wait():
    """Although it would fit as soon as the client has read."""

    async def send(streams):
        lines = await streams.fill()
        taken = streams.take()
        streams.writer.push(b"late")
        assert taken + await streams.take_all() == b"".join(line + b"\n" for line in [*lines, b"late"])

    run_streams(send)


@pytest.mark.requirement("stdio.whole-lines")
def test_line_of_which_nothing_fits_is_sent_later():
    async def send(streams):
        with pytest.raises(BlockingIOError):
            while True:
                os.write(streams.output_fd, b"x" * 4096)
        streams.writer.push(b"late")
        assert streams.writer.unread_bytes == 5
        assert (await streams.take_all()).endswith(b"xlate\n")

    run_streams(send)


@pytest.mark.requirement("stdio.signals")
def test_flush_waits_for_half_a_second():
    async def flush(streams):
        await streams.writer.flush()
        assert streams.loop.time() == 0
        await streams.fill()
        await streams.writer.flush()
        assert streams.loop.time() == 0.5
        flushing = asyncio.create_task(streams.writer.flush())
        await streams.take_all()
        await flushing
        assert streams.loop.time() < 0.6

    run_streams(flush)


@pytest.mark.requirement("stdio.broken-output")
@pytest.mark.parametrize("is_full", [False, True])
def test_broken_output_begins_the_shutdown_once(is_full, caplog):
    async def send(streams):
        if is_full:
            await streams.fill()
        streams.close(streams.peer_output)
        streams.writer.push(b"lost")
        await asyncio.sleep(0.001)
        assert (streams.shutdown.reason, streams.writer.unread_bytes) == ("output broken", 0)
        assert not streams.loop.remove_writer(streams.output_fd)
        streams.shutdown.changed.clear()
        streams.writer.push(b"lost as well")
        await streams.writer.flush()
        assert (streams.loop.time() < 0.1, streams.writer.unread_bytes) == (True, 0)
        assert not streams.shutdown.changed.is_set()

    run_streams(send)
    assert caplog.messages == []


@pytest.mark.requirement("stdio.whole-lines")
def test_closed_writer_drops_what_waits():
    async def close(streams):
        await streams.fill()
        streams.writer.close()
        assert streams.writer.unread_bytes == 0
        assert not streams.loop.remove_writer(streams.output_fd)
        await streams.writer.flush()
        assert streams.loop.time() == 0

    run_streams(close)


# The reader


@pytest.mark.requirement("stdio.end-of-input")
def test_reader_ends_once_everything_is_answered_and_sent():
    async def read(streams):
        streams.give(make_request(1), make_request("b"), json.dumps(make_request(3)).encode())
        streams.close(streams.peer_input)
        assert [(await streams.reader.receive()).message.id for _ in range(3)] == [1, "b", 3]
        assert streams.shutdown.unanswered == {1, "b", 3}
        ending = asyncio.create_task(streams.reader.receive())
        await asyncio.sleep(1)
        assert streams.shutdown.reason == "end of input"
        lines = await streams.fill()
        for number in (1, "b", 3):
            assert not ending.done()
            await streams.writer.send(SessionMessage(make_result(number)))
        await asyncio.sleep(1)
        assert not ending.done()
        assert (await streams.take_all()).startswith(lines[0])
        with pytest.raises(anyio.EndOfStream):
            await ending
        assert streams.loop.time() < 2.1

    run_streams(read)


@pytest.mark.requirement("stdio.end-of-input")
def test_reader_waits_until_the_last_byte_is_sent():
    async def read(streams):
        streams.close(streams.peer_input)
        streams.writer.unread_bytes = 1
        ending = asyncio.create_task(streams.reader.receive())
        await asyncio.sleep(1)
        assert not ending.done()
        streams.writer.unread_bytes = 0
        with pytest.raises(anyio.EndOfStream):
            await ending

    run_streams(read)


@pytest.mark.requirement("stdio.end-of-input")
def test_reader_is_iterated_over():
    async def read(streams):
        streams.give(
            make_request(1), {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        )
        streams.close(streams.peer_input)
        methods = [item.message.method async for item in streams.reader]
        assert methods == ["tools/list", "notifications/cancelled"]
        assert streams.loop.time() == 0

    run_streams(read)


@pytest.mark.requirement("stdio.end-of-input")
@pytest.mark.parametrize(
    ("message", "unanswered"),
    [
        ({"method": "notifications/cancelled", "params": {"requestId": 1}}, {"1"}),
        ({"method": "notifications/cancelled", "params": {"requestId": "1"}}, {1}),
        ({"method": "notifications/cancelled", "params": {"requestId": [1]}}, {1, "1"}),
        ({"method": "notifications/cancelled"}, {1, "1"}),
        ({"method": "notifications/progress", "params": {"requestId": 1}}, {1, "1"}),
        ({"id": 1, "result": {}}, {1, "1"}),
        ({"id": 2, "method": "subscriptions/listen"}, {1, "1"}),
        ({"id": 2, "method": "ping"}, {1, "1", 2}),
    ],
)
def test_cancelled_or_endless_request_is_not_waited_for(message, unanswered):
    async def read(streams):
        streams.give(make_request(1), make_request("1"), {"jsonrpc": "2.0", **message})
        for _ in range(3):
            await anext(streams.reader)
        assert streams.shutdown.unanswered == unanswered

    run_streams(read)


@pytest.mark.requirement("stdio.descriptors")
def test_terminal_whose_other_end_is_gone_is_the_end_of_input():
    async def read(streams):
        controller, terminal = os.openpty()
        os.dup2(controller, streams.input_fd)
        os.close(terminal)
        os.close(controller)
        with pytest.raises(StopAsyncIteration):
            await anext(streams.reader)
        assert streams.shutdown.reason == "end of input"
        streams.reader.close()

    run_streams(read)


@pytest.mark.requirement("stdio.lines")
def test_reader_sleeps_until_its_input_is_readable():
    async def read(streams):
        reading = asyncio.create_task(anext(streams.reader))
        await asyncio.sleep(5)
        streams.give(make_request(1))
        assert (await reading).message.id == 1
        assert streams.loop.time() == 5
        assert not streams.loop.remove_reader(streams.input_fd)

    run_streams(read)


@pytest.mark.requirement("handshake.record")
def test_notification_during_a_handshake_is_sent(tmp_path):
    notification = types.JSONRPCNotification(jsonrpc="2.0", method="x")

    async def send(streams):
        await streams.writer.send(SessionMessage(notification))
        assert streams.take() == notification.model_dump_json(exclude_unset=True).encode() + b"\n"

    run_streams(send, handshake=Handshake(tmp_path / "record", "key"))


@pytest.mark.requirement("handshake.record")
def test_answer_to_a_handshake_is_recorded_and_an_error_is_not(tmp_path):
    async def record(streams):
        streams.give(INITIALIZE, make_request(5, "ping"))
        for _ in range(2):
            await anext(streams.reader)
        await streams.writer.send(SessionMessage(types.JSONRPCError(jsonrpc="2.0", id="start", error=ERROR)))
        assert not Handshake(tmp_path / "record", "key").can_replay
        await streams.writer.send(SessionMessage(make_result(5)))
        recorded = (tmp_path / "record").read_bytes()
        assert recorded.endswith(b"\t{}")
        # Nothing is recorded after another request.
        streams.give(make_request(6, "tools/call"), make_request(7))
        for number in (6, 7):
            await anext(streams.reader)
            await streams.writer.send(SessionMessage(make_result(number)))
        assert (tmp_path / "record").read_bytes() == recorded
        assert streams.take().count(b"\n") == 4

    run_streams(record, handshake=Handshake(tmp_path / "record", "key"))


@pytest.mark.requirement("handshake.hand-over")
def test_replayed_answer_is_not_sent_again(tmp_path):
    """The rest of a line that the replay read is read from the pipe."""
    call = json.dumps(make_request(9, "tools/call")).encode() + b"\n"

    async def record(streams):
        streams.give(INITIALIZE)
        await anext(streams.reader)
        await streams.writer.send(SessionMessage(make_result("start")))

    async def hand_over(streams):
        assert json.loads(streams.take()) == {"jsonrpc": "2.0", "id": "start", "result": {}}
        streams.give(call[10:])
        numbers = [(await anext(streams.reader)).message.id for _ in range(3)]
        assert numbers == ["start", 8, 9]
        await streams.writer.send(SessionMessage(types.JSONRPCNotification(jsonrpc="2.0", method="x")))
        for number in numbers:
            await streams.writer.send(SessionMessage(make_result(number)))
        assert [json.loads(line).get("id") for line in streams.take().splitlines()] == [None, 8, 9]
        # Another request may have the same id.
        await streams.writer.send(SessionMessage(make_result("start")))
        assert json.loads(streams.take())["id"] == "start"

    run_streams(record, handshake=Handshake(tmp_path / "record", "key"))
    unread = b"".join(json.dumps(each).encode() + b"\n" for each in (INITIALIZE, make_request(8, "tools/call")))
    run_streams(hand_over, handshake=Handshake(tmp_path / "record", "key"), unread=unread + call[:10])


@pytest.mark.requirement("stdio.bad-lines")
@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"nonsense", {"id": None, "code": -32700, "message": "Parse error: the line is not valid JSON"}),
        (
            b'{"jsonrpc":"1.0","id":5,"method":"ping"}',
            {"id": 5, "code": -32600, "message": "Invalid request: not one JSON-RPC 2.0 message"},
        ),
        (
            b'\xef\xbb\xbf{"jsonrpc":"1.0","id":5,"method":"ping"}',
            {"id": 5, "code": -32600, "message": "Invalid request: not one JSON-RPC 2.0 message"},
        ),
        (b"x" * 1001, {"id": None, "code": -32600, "message": "A line of more than 1000 bytes is not read"}),
        (b" " * 1001, {"id": None, "code": -32600, "message": "A line of more than 1000 bytes is not read"}),
        (b" ", None),
        (b"\xef\xbb\xbf", None),
    ],
)
def test_line_without_a_message_is_answered_by_the_reader(line, answer):
    async def read(streams):
        streams.give(line + b"\n", make_request(1))
        assert (await anext(streams.reader)).message.id == 1
        assert streams.shutdown.unanswered == {1}
        if answer is None:
            assert streams.take() == b""
        else:
            error = {name: answer[name] for name in ("code", "message")}
            assert json.loads(streams.take()) == {"jsonrpc": "2.0", "id": answer["id"], "error": error}

    run_streams(read)


@pytest.mark.requirement("stdio.line-cap")
def test_line_is_measured_as_a_whole_however_it_is_cut():
    for size, expected in ((8, b"12345678"), (9, None)):
        for cut in range(1, size):
            part, line = bytearray(), b"123456789"[:size]
            assert take_lines(part, line[:cut], 8) == []
            assert take_lines(part, line[cut:] + b"\n \n\nx", 8) == [expected]
            assert part == b"x"


@pytest.mark.requirement("stdio.line-cap")
def test_longest_line_is_read():
    async def read(streams):
        line = json.dumps(make_request(1)).encode()
        streams.give(line.ljust(LINE_BYTES) + b"\n", line.ljust(LINE_BYTES + 1) + b"\n", make_request(2))
        assert [(await anext(streams.reader)).message.id for _ in range(2)] == [1, 2]
        assert json.loads(streams.take())["id"] is None

    run_streams(read)


@pytest.mark.requirement("stdio.cut-characters")
def test_call_with_half_an_emoji_is_answered_by_the_reader():
    call = json.dumps(make_request(4, "tools/call", name="echo", arguments={"text": "TEXT"})).encode() + b"\n"
    notice = {"jsonrpc": "2.0", "method": "notifications/x", "params": {"arguments": {"text": "TEXT"}}}
    reply = json.dumps({"jsonrpc": "2.0", "id": 9, "result": {"arguments": {"text": "TEXT"}}}).encode() + b"\n"

    async def read(streams):
        half = rb"a\ud83d"
        lines = (json.dumps(notice).encode() + b"\n", call, reply)
        streams.give(*(each.replace(b"TEXT", half) for each in lines), make_request(1))
        assert (await anext(streams.reader)).message.method == "notifications/x"
        assert [(await anext(streams.reader)).message.id for _ in range(2)] == [9, 1]
        assert streams.shutdown.unanswered == {1}
        answer = json.loads(streams.take())
        assert (answer["jsonrpc"], answer["id"], answer["result"]["isError"]) == ("2.0", 4, True)
        assert "half of an emoji" in answer["result"]["content"][0]["text"]

    run_streams(read)


@pytest.mark.requirement("stdio.whole-lines")
@pytest.mark.parametrize(("unread", "is_read"), [(UNREAD_BYTES, True), (UNREAD_BYTES + 1, False)])
def test_nothing_is_read_while_too_much_waits_for_the_client(unread, is_read):
    async def read(streams):
        # The pipe is filled in pages.
        streams.writer.push(b"x" * (1 << 20))
        waiting = streams.writer.unread_bytes
        streams.close(streams.peer_output)
        streams.writer.close()
        streams.writer.unread_bytes = unread
        assert waiting > 0
        streams.give(make_request(1))
        reading = asyncio.create_task(anext(streams.reader))
        await asyncio.sleep(1)
        assert reading.done() == is_read
        streams.writer.unread_bytes = 0
        assert (await reading).message.id == 1
        assert streams.loop.time() <= 1.02

    run_streams(read)


@pytest.mark.requirement("stdio.signals")
@pytest.mark.parametrize("reason", ["signal", "output broken"])
def test_lines_that_are_read_are_dropped_at_a_signal_or_a_broken_output(reason):
    async def read(streams):
        streams.give(make_request(1), make_request(2), b"{")
        await anext(streams.reader)
        streams.shutdown.begin(reason)
        streams.give(make_request(3))
        with pytest.raises(StopAsyncIteration):
            await anext(streams.reader)
        assert streams.shutdown.unanswered == {1}
        assert streams.loop.time() < 0.55

    run_streams(read)


@pytest.mark.requirement("stdio.end-of-input")
def test_lines_that_are_read_are_handled_after_the_end_of_input():
    async def read(streams):
        streams.give(make_request(1), make_request(2))
        await anext(streams.reader)
        streams.shutdown.begin("end of input")
        assert (await anext(streams.reader)).message.id == 2

    run_streams(read)


@pytest.mark.requirement("stdio.descriptors")
def test_other_calls_run_while_a_file_is_read(tmp_path):
    """A file is always readable, so the event loop would not get a turn before its end."""
    (tmp_path / "input").write_bytes(b" " * 256 * 1024 + b"\n" + json.dumps(make_request(1)).encode())
    turns = []

    async def count():
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    async def read(streams):
        with (tmp_path / "input").open("rb") as file:
            os.dup2(file.fileno(), streams.input_fd)
        counting = asyncio.create_task(count())
        assert (await anext(streams.reader)).message.id == 1
        counting.cancel()
        assert len(turns) >= 4

    run_streams(read)


# Threads


async def wait_until(true):
    """Wait for a thread."""
    with anyio.fail_after(5):
        while not true():
            await anyio.sleep(0)


@pytest.mark.requirement("stdio.threads")
async def test_both_streams_use_threads_where_pipes_block(monkeypatch):
    monkeypatch.setattr("ttp_mcp.transports.stdio.writer.SETTLE_SECONDS", 3600)
    before = {*threading.enumerate()}
    with ExitStack() as undo:
        streams = Streams(undo, threads=True)
        own = {thread for thread in {*threading.enumerate()} - before if thread.name in ("stdin", "stdout")}
        assert {(thread.name, thread.daemon) for thread in own} == {("stdin", True), ("stdout", True)}
        reading = asyncio.create_task(anext(streams.reader))
        for _ in range(3):
            await anyio.sleep(0)
        streams.give(make_request(1))
        with anyio.fail_after(5):
            assert (await reading).message.id == 1
        lines = await streams.fill()
        whole, taken = b"".join(line + b"\n" for line in lines), b""
        # At least one line fits into the pipe.
        await wait_until(lambda: streams.writer.unread_bytes < len(whole))
        flushing = asyncio.create_task(streams.writer.flush())
        for _ in range(3):
            await anyio.sleep(0)
        assert not flushing.done()
        with anyio.fail_after(5):
            while len(taken) < len(whole):
                taken += streams.take()
                await anyio.sleep(0)
            await flushing
        assert (taken, streams.writer.unread_bytes) == (whole, 0)
        await streams.writer.send(SessionMessage(make_result(1)))
        streams.close(streams.peer_input)
        with pytest.raises(StopAsyncIteration), anyio.fail_after(5):
            while not streams.take():
                await anyio.sleep(0)
            await anext(streams.reader)
        streams.reader.close()
        streams.writer.close()
        await wait_until(lambda: not any(thread.is_alive() for thread in own))


@pytest.mark.requirement("stdio.threads")
async def test_closed_reader_ends_its_thread_after_the_read_under_way():
    before = {*threading.enumerate()}
    with ExitStack() as undo:
        streams = Streams(undo, threads=True)
        (thread,) = [each for each in {*threading.enumerate()} - before if each.name == "stdin"]
        streams.reader.close()
        streams.give(make_request(1))
        await wait_until(lambda: not thread.is_alive())
        with pytest.raises(OSError):
            os.fstat(streams.input_fd)
        streams.writer.close()


@pytest.mark.requirement("stdio.broken-output")
async def test_output_that_breaks_behind_a_thread_begins_the_shutdown():
    with ExitStack() as undo:
        streams = Streams(undo, threads=True)
        streams.close(streams.peer_output)
        for _ in range(3):
            streams.writer.push(b"lost")
        await wait_until(lambda: streams.shutdown.reason)
        assert (streams.shutdown.reason, streams.writer.unread_bytes) == ("output broken", 0)
        streams.writer.push(b"lost as well")
        await streams.writer.flush()
        assert streams.writer.unread_bytes == 0
        streams.writer.close()
        streams.reader.close()


@pytest.mark.requirement("stdio.threads")
async def test_thread_reads_two_chunks_ahead_and_reports_each():
    """With more, a client that never reads could fill the memory."""
    reading, writing = os.pipe()
    arrived = []
    os.write(writing, b"abcdefg")
    ahead = ReadAhead(reading, 2, lambda: arrived.append(1))
    await wait_until(lambda: len(arrived) == 2)
    os.set_blocking(reading, False)
    assert os.read(reading, 9) == b"efg"
    os.set_blocking(reading, True)
    assert (ahead.read(), ahead.read()) == (b"ab", b"cd")
    with pytest.raises(BlockingIOError):
        ahead.read()
    os.close(writing)
    await wait_until(lambda: len(arrived) == 3)
    assert ahead.read() == b""


@pytest.mark.requirement("stdio.threads")
async def test_thread_that_waits_for_its_chunks_to_be_taken_ends_when_it_is_closed():
    before = {*threading.enumerate()}
    reading, writing = os.pipe()
    arrived = []
    os.write(writing, b"abcdefg")
    ahead = ReadAhead(reading, 2, lambda: arrived.append(1))
    (thread,) = [each for each in {*threading.enumerate()} - before if each.name == "stdin"]
    await wait_until(lambda: len(arrived) == 2)
    ahead.close()
    await wait_until(lambda: not thread.is_alive())
    os.close(writing)


@pytest.mark.requirement("stdio.descriptors")
async def test_read_of_a_thread_that_fails_is_the_end_of_input():
    controller, terminal = os.openpty()
    os.close(terminal)
    arrived = []
    ahead = ReadAhead(controller, 9, lambda: arrived.append(1))
    await wait_until(lambda: arrived)
    assert ahead.read() == b""


@pytest.mark.requirement("stdio.threads")
async def test_thread_writes_lines_in_order_until_it_is_closed():
    reading, writing = os.pipe()
    written = []
    behind = WriteBehind(writing, written.append)
    for line in (b"one\n", b"two\n", b"x" * 200_000):
        behind.write(memoryview(line))
    await wait_until(lambda: len(written) == 2)
    behind.write(memoryview(b"never"))
    behind.close()
    with os.fdopen(reading, "rb") as taken:
        assert taken.read() == b"one\ntwo\n" + b"x" * 200_000
    await wait_until(lambda: len(written) == 3)
    assert written == [4, 4, 200_000]


@pytest.mark.requirement("stdio.broken-output")
async def test_thread_reports_a_broken_output_once():
    reading, writing = os.pipe()
    os.close(reading)
    written = []
    behind = WriteBehind(writing, written.append)
    for _ in range(3):
        behind.write(memoryview(b"lost\n"))
    await wait_until(lambda: written)
    with pytest.raises(OSError):
        while True:
            os.fstat(writing)
            await anyio.sleep(0)
    assert written == [None]
