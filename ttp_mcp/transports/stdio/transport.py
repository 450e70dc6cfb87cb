"""The stdio transport: MCP over the process's own pipes, on the event loop, ending in good order.

No thread reads or writes, so none has to be joined at the end, and a call costs about half of what it costs through the
SDK's transport. What the SDK's does not have: a cap on the length of a line, an answer to a line that can't be read, and
an end that waits for writes.
"""

import asyncio
import os
import sys
from collections import deque
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Self, cast

import anyio
import mcp_types as types
from mcp.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic_core import from_json, to_json

from ttp_mcp.process import redirect_fd, reopen_nonblocking
from ttp_mcp.transports.stdio.shutdown import POLL_SECONDS, SETTLE_SECONDS, Shutdown, Writing

LINE_BYTES = 8 * 1024 * 1024
DRAIN_SECONDS = 10.0
# A peer that sends on without reading its answers is not read from beyond this.
UNREAD_BYTES = 32 * 1024 * 1024
# What a full pipe holds on Linux.
_CHUNK_BYTES = 64 * 1024


class _NoWrites:
    """Of a server that only reads."""

    count = 0
    unresolved = 0

    async def abandon(self) -> None:
        """Nothing to give up."""


async def serve_stdio(
    server: Server[Any],
    *,
    writes: Writing | None = None,
    drain_seconds: float = DRAIN_SECONDS,
    line_bytes: int = LINE_BYTES,
    unread_bytes: int = UNREAD_BYTES,
    input_fd: int = 0,
    output_fd: int = 1,
    leave: Callable[[int], object] = os._exit,
) -> int:
    """Serve until stdin closes, stdout breaks, or SIGTERM or SIGINT arrives, and return the exit code.

    At the end of input every call may finish and is answered; after a signal only writes may, and reads get half a
    second; after a broken stdout only writes, unanswered. All of that takes at most `drain_seconds`; a write that would
    take longer is given up a second before, so that it notes its outcome and is answered. A second signal leaves at once.
    While serving, the two descriptors lead to the null device and to stderr, so a stray `print` can't break the wire.

    On Windows pipes can't be waited for by the event loop, so the SDK's transport serves there: no cap on the length
    of a line, no waiting for writes, and a signal ends the process at once.

    Args:
        server: What to serve.
        writes: The writes that it makes; asked every 20 ms during the drain.
        drain_seconds: The longest wait for what is under way, at any kind of end.
        line_bytes: A longer line is answered with an error and not kept.
        unread_bytes: Reading stops while more than this waits for the client to read it.
        input_fd: Where requests come from: a pipe, a socket, a terminal or a file.
        output_fd: Where answers go.
        leave: Ends the process without ceremony; called with the exit code when something can't be waited for.

    Returns:
        0, or 1 if a write has no outcome in the ledger. After a second signal the process has left with
        130 (SIGINT) or 143 (SIGTERM).
    """
    if sys.platform == "win32":  # pragma: no cover - Windows only
        async with stdio_server() as (read_stream, write_stream):
            await _run(server, read_stream, write_stream)
        return 0
    writes = writes or _NoWrites()
    with _wire(input_fd, output_fd) as (reading_fd, writing_fd):
        ending = Shutdown(writes, drain_seconds, leave)
        writer = _Writer(writing_fd, ending)
        reader = _Reader(reading_fd, line_bytes, unread_bytes, writer, ending)
        with ending.on_signals():
            try:
                await _run(server, reader, writer)
                await writer.flush()
            finally:
                ending.close()
                writer.close()
    return 1 if writes.unresolved else 0


async def _run(server: Server[Any], reader: Any, writer: Any) -> None:
    await server.run(reader, writer, server.create_initialization_options())


class Lines:
    """Cuts bytes into lines, however they are chunked, keeping no more of a line than the limit."""

    __slots__ = ("_limit", "_part", "_skipping", "waiting")

    def __init__(self, limit: int) -> None:
        """No line of more than `limit` bytes, its newline not counted, is kept."""
        self.waiting: deque[bytes | None] = deque()
        """Lines without their newline, oldest first; None stands for one that was too long. Empty lines are left out."""
        self._limit = limit
        self._part = bytearray()
        self._skipping = False

    def feed(self, chunk: bytes) -> None:
        """Take in the next bytes."""
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._add(piece)
            self.end()
        self._add(rest)

    def end(self) -> None:
        """End the current line, as a newline does; what it held is waiting now."""
        if self._skipping:
            self.waiting.append(None)
        elif self._part.strip():
            self.waiting.append(bytes(self._part))
        self._part = bytearray()
        self._skipping = False

    def drop(self) -> None:
        """Forget everything that has not been taken."""
        self.waiting.clear()
        self._part = bytearray()

    def _add(self, piece: bytes) -> None:
        if self._skipping:
            return
        if len(self._part) + len(piece) > self._limit:
            self._part = bytearray()
            self._skipping = True
        else:
            self._part += piece


class _Stream:
    """What the SDK asks of either stream beyond reading and writing; the descriptors are closed elsewhere."""

    async def aclose(self) -> None:
        """Nothing to close."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""


class _Writer(_Stream):
    """Messages to a descriptor that never blocks: what does not fit waits, each line whole, in order.

    Sending never waits. A call that is cancelled while its answer is on the way can therefore not leave half a line.
    """

    def __init__(self, fd: int, ending: Shutdown) -> None:
        self.unread_bytes = 0
        self._fd = fd
        self._ending = ending
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[memoryview] = deque()
        self._flushed = asyncio.Event()
        self._flushed.set()

    async def send(self, item: SessionMessage, /) -> None:
        """Put one message on the wire, or in line for it."""
        message = item.message
        self.push(message.model_dump_json(by_alias=True, exclude_unset=True).encode())
        if isinstance(message, types.JSONRPCRequest):
            self._ending.asking(message.id)
        elif not isinstance(message, types.JSONRPCNotification) and message.id is not None:
            self._ending.answered(message.id)

    def push(self, line: bytes) -> None:
        """Put one line on the wire, or in line for it."""
        if self._ending.reason == "output broken":
            return
        rest = memoryview(line + b"\n")
        if not self._waiting:
            rest = self._write(rest)
        if not rest:
            return
        if self._flushed.is_set():
            self._flushed.clear()
            self._loop.add_writer(self._fd, self._continue)
        self._waiting.append(rest)
        self.unread_bytes += len(rest)

    async def flush(self) -> None:
        """Wait until everything is on the wire, for as long as an answer may take after a signal."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._flushed.wait()

    def close(self) -> None:
        """Forget what is not on the wire yet."""
        if not self._flushed.is_set():
            self._loop.remove_writer(self._fd)
            self._flushed.set()
        self._waiting.clear()
        self.unread_bytes = 0

    def _continue(self) -> None:
        line = self._waiting.popleft()
        rest = self._write(line)
        self.unread_bytes -= len(line) - len(rest)
        if rest:
            self._waiting.appendleft(rest)
        elif not self._waiting:
            self.close()

    def _write(self, line: memoryview) -> memoryview:
        """Write what fits and return the rest; nothing is left when nobody is there to read it."""
        try:
            return line[os.write(self._fd, line) :]
        except BlockingIOError:
            return line
        except OSError:
            self.close()
            self._ending.begin("output broken")
            return line[:0]


class _Reader(_Stream):
    """Messages from a descriptor, read only as fast as they are taken. Ends when the ending has settled."""

    def __init__(self, fd: int, line_bytes: int, unread_bytes: int, writer: _Writer, ending: Shutdown) -> None:
        self._fd = fd
        self._unread_bytes = unread_bytes
        self._line_bytes = line_bytes
        self._lines = Lines(line_bytes)
        self._writer = writer
        self._ending = ending

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def receive(self) -> SessionMessage:
        """The next message.

        Raises:
            anyio.EndOfStream: The end has come, and what had to be waited for is done or out of time.
        """
        ending = self._ending
        while True:
            if ending.closed:
                return SessionMessage(_no_answer(ending.closed.popleft()))
            if ending.reason in ("signal", "output broken"):
                self._lines.drop()
            if self._lines.waiting:
                message = self._understand(self._lines.waiting.popleft())
                if message is not None:
                    return SessionMessage(message)
            elif ending.reason is None:
                await self._read()
            elif ending.settled(unread=self._writer.unread_bytes > 0):
                raise anyio.EndOfStream
            else:
                await ending.sleep(seconds=POLL_SECONDS)

    async def _read(self) -> None:
        if self._writer.unread_bytes > self._unread_bytes:
            await self._ending.sleep(seconds=POLL_SECONDS)
            return
        try:
            chunk = os.read(self._fd, _CHUNK_BYTES)
        except BlockingIOError:
            await self._ending.sleep(readable=self._fd)
            return
        except OSError:  # a terminal or a socket whose other end is gone
            chunk = b""
        if chunk:
            self._lines.feed(chunk)
        else:
            self._lines.end()
            self._ending.begin("end of input")
        if len(chunk) == _CHUNK_BYTES:
            await asyncio.sleep(0)

    def _understand(self, line: bytes | None) -> types.JSONRPCMessage | None:
        """The message that a line holds; one that holds none is answered here, since the SDK would drop it."""
        if line is None:
            self._refuse(types.INVALID_REQUEST, f"A line of more than {self._line_bytes} bytes is not read", None)
            return None
        try:
            message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            self._refuse(*_what_is_wrong(line))
            return None
        self._ending.received(message)
        return message

    def _refuse(self, code: int, text: str, request_id: str | int | None) -> None:
        error = {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": text}}
        self._writer.push(to_json(error))


def _what_is_wrong(line: bytes) -> tuple[int, str, str | int | None]:
    """Error code, text, and the id to answer; only a request's own id is repeated, so no other call is answered by it."""
    try:
        value: Any = from_json(line)
    except ValueError:
        return types.PARSE_ERROR, "Parse error: the line is not valid JSON", None
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    request_id = fields.get("id") if "method" in fields else None
    if isinstance(request_id, bool) or not isinstance(request_id, str | int):
        request_id = None
    return types.INVALID_REQUEST, "Invalid request: not one JSON-RPC 2.0 message", request_id


def _no_answer(request_id: str | int) -> types.JSONRPCError:
    error = types.ErrorData(code=types.CONNECTION_CLOSED, message="The client has gone")
    return types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error)


@contextmanager
def _wire(input_fd: int, output_fd: int) -> Generator[tuple[int, int]]:
    """Descriptors of our own for both directions; the two given ones lead elsewhere meanwhile."""
    with ExitStack() as undo:
        reading_fd = reopen_nonblocking(input_fd, os.O_RDONLY, undo)
        writing_fd = reopen_nonblocking(output_fd, os.O_WRONLY, undo)
        redirect_fd(input_fd, os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC), undo)
        redirect_fd(output_fd, os.dup(2), undo)
        # Whatever was printed meanwhile still sits in a buffer and belongs to stderr.
        undo.callback(_flush_stray_output)
        yield reading_fd, writing_fd


def _flush_stray_output() -> None:
    with suppress(OSError, ValueError):
        sys.stdout.flush()
