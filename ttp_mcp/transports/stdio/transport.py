"""The stdio transport: MCP over the process's own pipes, with a graceful shutdown.

It costs about half of the SDK's transport per call, and adds what that lacks: a limit on the length of a line, an error response
to a line that can't be read, and a shutdown that waits for writes. Where the event loop can't wait for pipes (Windows), a thread
reads and a thread writes.
"""

import asyncio
import codecs
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, Self

import anyio
import mcp_types as types
from mcp.server import Server
from mcp.shared.message import SessionMessage
from pydantic_core import to_json

from ttp_mcp.process import exit_now, redirect_fd, reopen_nonblocking
from ttp_mcp.transports.messages import describe_invalid, find_cut_arguments, refuse_cut_arguments, repair_text
from ttp_mcp.transports.stdio.handshake import Handshake
from ttp_mcp.transports.stdio.lines import Lines
from ttp_mcp.transports.stdio.shutdown import PARENT_SECONDS, POLL_SECONDS, SETTLE_SECONDS, Shutdown, Writing
from ttp_mcp.transports.stdio.threads import ReadAhead, WriteBehind

LINE_BYTES = 8 * 1024 * 1024
DRAIN_SECONDS = 10.0
# Input is not read while more than this waits for the client to read it.
UNREAD_BYTES = 32 * 1024 * 1024
# Capacity of a pipe on Linux.
_CHUNK_BYTES = 64 * 1024
_OUTGOING = types.JSONRPCRequest | types.JSONRPCNotification


class _NoWrites:
    """Writes of a server that only reads."""

    count = 0
    unresolved = 0

    async def abandon(self) -> None:
        """Nothing to abandon."""


async def serve_stdio(
    server: Server[Any],
    *,
    writes: Writing | None = None,
    drain_seconds: float = DRAIN_SECONDS,
    line_bytes: int = LINE_BYTES,
    unread_bytes: int = UNREAD_BYTES,
    parent_seconds: float = PARENT_SECONDS,
    handshake: Handshake | None = None,
    input_fd: int = 0,
    output_fd: int = 1,
    threads: bool = sys.platform == "win32",
    exit_process: Callable[[int], object] = exit_now,
) -> int:
    """Serve until stdin closes, stdout breaks, the parent process ends or a signal arrives, and return the exit code.

    At the end of input every call may finish and is answered; after a signal only writes may, and reads get half a
    second; after a broken stdout only writes, unanswered. All of that takes at most `drain_seconds`; a write that would
    take longer is abandoned a second before, so that it notes its outcome and is answered. A second signal exits at once.
    While serving, the two descriptors lead to the null device and to stderr, so a stray `print` can't corrupt the output.

    Args:
        server: The server.
        writes: Its writes; asked every 20 ms during the shutdown.
        drain_seconds: Maximum time of a shutdown.
        line_bytes: A longer line is answered with an error and not kept.
        unread_bytes: Reading stops while more than this waits for the client to read it.
        parent_seconds: Interval of the check that the parent process still exists.
        handshake: What was replayed, and the record of new answers.
        input_fd: Source of requests: a pipe, a socket, a terminal or a file.
        output_fd: Destination of responses.
        threads: Read and write by threads instead of the event loop.
        exit_process: Ends the process immediately; called with the exit code when something can't be waited for.

    Returns:
        0, or 1 if a write has no outcome in the ledger. After a second signal the process has exited with
        128 and the number of the signal.
    """
    writes = writes or _NoWrites()
    with _redirect_descriptors(input_fd, output_fd, threads) as (reading_fd, writing_fd):
        shutdown = Shutdown(writes, drain_seconds, exit_process, parent_seconds)
        writer = _Writer(writing_fd, shutdown, threads, handshake)
        reader = _Reader(reading_fd, line_bytes, unread_bytes, writer, shutdown, threads, handshake)
        with shutdown.watch_process():
            try:
                await _run_server(server, reader, writer)
                await writer.flush()
            finally:
                reader.close()
                writer.close()
    return 1 if writes.unresolved else 0


async def _run_server(server: Server[Any], reader: Any, writer: Any) -> None:
    await server.run(reader, writer, server.create_initialization_options())


class _Stream:
    """Methods that the SDK needs of either stream beyond reading and writing; descriptors are closed elsewhere."""

    async def aclose(self) -> None:
        """Nothing to close."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing to close."""


class _Writer(_Stream):
    """Sends messages without ever waiting: lines that don't fit into the pipe are queued, whole and in order.

    A call that is cancelled while its response is being sent can therefore not leave half a line.
    """

    def __init__(self, fd: int, shutdown: Shutdown, threads: bool, handshake: Handshake | None) -> None:
        self.unread_bytes = 0
        self._handshake = handshake
        self._fd = fd
        self._shutdown = shutdown
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[memoryview] = deque()
        self._flushed = asyncio.Event()
        self._flushed.set()
        self._behind = WriteBehind(fd, self._note_written) if threads else None

    async def send(self, item: SessionMessage, /) -> None:
        """Send one message, or queue it."""
        message = item.message
        if isinstance(message, _OUTGOING) or not self._is_replayed(message):
            self.push(message.model_dump_json(by_alias=True, exclude_unset=True).encode())
        if isinstance(message, types.JSONRPCRequest):
            self._shutdown.note_asked(message.id)
        elif not isinstance(message, types.JSONRPCNotification) and message.id is not None:
            self._shutdown.note_answered(message.id)

    def _is_replayed(self, answer: types.JSONRPCResponse | types.JSONRPCError) -> bool:
        """Report an answer to the handshake; True if the client got it from the record."""
        if self._handshake is None or answer.id is None:
            return False
        return self._handshake.is_answered(answer.id, getattr(answer, "result", None))

    def push(self, line: bytes) -> None:
        """Send one line, or queue it."""
        if self._shutdown.reason == "output broken":
            return
        rest = memoryview(line + b"\n")
        if self._behind is not None:
            self._flushed.clear()
            self.unread_bytes += len(rest)
            self._behind.write(rest)
            return
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
        """Wait until everything is sent, for as long as a response may take after a signal."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SETTLE_SECONDS):
                await self._flushed.wait()

    def close(self) -> None:
        """Stop sending."""
        self._discard()
        if self._behind is not None:
            self._behind.close()

    def _discard(self) -> None:
        if self._behind is None and not self._flushed.is_set():
            self._loop.remove_writer(self._fd)
        self._flushed.set()
        self._waiting.clear()
        self.unread_bytes = 0

    def _note_written(self, size: int | None) -> None:
        if size is None:
            self._discard()
            self._shutdown.begin("output broken")
            return
        self.unread_bytes = max(0, self.unread_bytes - size)
        if not self.unread_bytes:
            self._flushed.set()

    def _continue(self) -> None:
        line = self._waiting.popleft()
        rest = self._write(line)
        self.unread_bytes -= len(line) - len(rest)
        if rest:
            self._waiting.appendleft(rest)
        elif not self._waiting:
            self._discard()

    def _write(self, line: memoryview) -> memoryview:
        """Write what fits and return the rest; nothing is left if the pipe is broken."""
        try:
            return line[os.write(self._fd, line) :]
        except BlockingIOError:
            return line
        except OSError:
            self._discard()
            self._shutdown.begin("output broken")
            return line[:0]


class _Reader(_Stream):
    """Receives messages, reading only as fast as they are taken. Ends when the shutdown is complete."""

    def __init__(
        self,
        fd: int,
        line_bytes: int,
        unread_bytes: int,
        writer: _Writer,
        shutdown: Shutdown,
        threads: bool,
        handshake: Handshake | None,
    ) -> None:
        self._unread_bytes = unread_bytes
        self._line_bytes = line_bytes
        self._lines = Lines(line_bytes)
        self._handshake = handshake
        if handshake is not None:
            self._lines.feed(handshake.unread)
        self._writer = writer
        self._shutdown = shutdown
        self._ahead = ReadAhead(fd, _CHUNK_BYTES, shutdown.wake) if threads else None
        self._read_chunk = self._ahead.read if self._ahead else partial(os.read, fd, _CHUNK_BYTES)
        # A thread wakes the reader by itself.
        self._readable = None if threads else fd

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def close(self) -> None:
        """Stop reading."""
        if self._ahead is not None:
            self._ahead.close()

    async def receive(self) -> SessionMessage:
        """Return the next message.

        Raises:
            anyio.EndOfStream: The shutdown is complete, or out of time.
        """
        shutdown = self._shutdown
        while True:
            if shutdown.closed:
                return SessionMessage(_to_error_response(shutdown.closed.popleft()))
            if shutdown.reason in ("signal", "output broken"):
                self._lines.drop()
            if self._lines.waiting:
                message = self._parse_or_answer(self._lines.waiting.popleft())
                if message is not None:
                    return SessionMessage(message)
            elif shutdown.reason is None:
                await self._read()
            elif shutdown.is_complete(unread=self._writer.unread_bytes > 0):
                raise anyio.EndOfStream
            else:
                await shutdown.sleep(seconds=POLL_SECONDS)

    async def _read(self) -> None:
        if self._writer.unread_bytes > self._unread_bytes:
            await self._shutdown.sleep(seconds=POLL_SECONDS)
            return
        try:
            chunk = self._read_chunk()
        except BlockingIOError:
            await self._shutdown.sleep(readable=self._readable)
            return
        except OSError:  # a terminal or a socket whose other end is gone
            chunk = b""
        if chunk:
            self._lines.feed(chunk)
        else:
            self._lines.end()
            self._shutdown.begin("end of input")
        if len(chunk) == _CHUNK_BYTES:
            await asyncio.sleep(0)

    def _parse_or_answer(self, line: bytes | None) -> types.JSONRPCMessage | None:
        """Parse a line. One without a message is answered here, since the SDK would drop it."""
        if line is None:
            self._refuse(types.INVALID_REQUEST, f"A line of more than {self._line_bytes} bytes is not read", None)
            return None
        line = line.removeprefix(codecs.BOM_UTF8)
        try:
            message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
        except ValueError:
            message = self._parse_repaired(line)
        if message is not None:
            self._shutdown.note_received(message)
            if self._handshake is not None and not self._handshake.observe(line):
                self._handshake = None
        return message

    def _parse_repaired(self, line: bytes) -> types.JSONRPCMessage | None:
        try:
            message = types.jsonrpc_message_adapter.validate_json(repair_text(line), by_name=False)
        except ValueError:
            if line.strip():
                self._refuse(*describe_invalid(line))
            return None
        if isinstance(message, types.JSONRPCRequest) and (cut := find_cut_arguments(line)):
            self._writer.push(to_json({"jsonrpc": "2.0", "id": message.id, "result": refuse_cut_arguments(cut)}))
            return None
        return message

    def _refuse(self, code: int, text: str, request_id: str | int | None) -> None:
        error = {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": text}}
        # An id may hold half a surrogate pair, which only an escape can carry.
        self._writer.push(json.dumps(error).encode())


def _to_error_response(request_id: str | int) -> types.JSONRPCError:
    error = types.ErrorData(code=types.CONNECTION_CLOSED, message="The client has gone")
    return types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error)


@contextmanager
def _redirect_descriptors(input_fd: int, output_fd: int, threads: bool) -> Generator[tuple[int, int]]:
    """Yield descriptors of our own for both directions; in the meantime the given ones lead elsewhere."""
    with ExitStack() as undo:
        if threads:
            # Closed by the threads that use them.
            reading_fd, writing_fd = os.dup(input_fd), os.dup(output_fd)
        else:
            reading_fd = reopen_nonblocking(input_fd, os.O_RDONLY, undo)
            writing_fd = reopen_nonblocking(output_fd, os.O_WRONLY, undo)
        redirect_fd(input_fd, os.open(os.devnull, os.O_RDONLY), undo)
        redirect_fd(output_fd, os.dup(2), undo)
        # Flush stray prints to stderr before restoring stdout.
        undo.callback(_flush_stray_output)
        yield reading_fd, writing_fd


def _flush_stray_output() -> None:
    with suppress(OSError, ValueError):
        sys.stdout.flush()
