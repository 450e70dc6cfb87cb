"""The input of a stdio server."""

import asyncio
import codecs
import json
import os
from collections import deque
from functools import partial
from typing import Self

import anyio
import mcp_types as types
from mcp.shared.message import SessionMessage
from pydantic_core import to_json

from ttp_mcp.transports.messages import describe_invalid, find_cut_arguments, refuse_cut_arguments, repair_text
from ttp_mcp.transports.stdio.handshake import Handshake
from ttp_mcp.transports.stdio.shutdown import POLL_SECONDS, Shutdown
from ttp_mcp.transports.stdio.threads import ReadAhead
from ttp_mcp.transports.stdio.writer import Stream, Writer

# Capacity of a pipe on Linux.
_CHUNK_BYTES = 64 * 1024
# Open until the client ends it, so the end of input must not wait for it.
_NEVER_ENDING = "subscriptions/listen"


class Reader(Stream):
    """Receives messages, reading only as fast as they are taken. Ends when the shutdown is complete."""

    def __init__(
        self,
        fd: int,
        line_bytes: int,
        unread_bytes: int,
        writer: Writer,
        shutdown: Shutdown,
        threads: bool,
        handshake: Handshake | None,
    ) -> None:
        self._unread_bytes = unread_bytes
        self._line_bytes = line_bytes
        self._handshake = handshake
        self._part = bytearray()
        self._lines: deque[bytes | None] = deque()
        if handshake is not None:
            self._lines += take_lines(self._part, handshake.take_unread(), line_bytes)
        self._writer = writer
        self._shutdown = shutdown
        self._loop = asyncio.get_running_loop()
        self._ahead = ReadAhead(fd, _CHUNK_BYTES, shutdown.changed.set) if threads else None
        self._read_chunk = self._ahead.read if self._ahead else partial(os.read, fd, _CHUNK_BYTES)
        # A thread wakes the reader by itself.
        self._readable = None if threads else fd

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage:
        """Return the next message, until the shutdown is complete or out of time."""
        shutdown = self._shutdown
        while True:
            if shutdown.closed:
                return SessionMessage(_to_error_response(shutdown.closed.popleft()))
            if shutdown.reason in ("signal", "output broken"):
                self._drop_lines()
            if self._lines:
                message = self._parse_or_answer(self._lines.popleft())
                if message is not None:
                    return SessionMessage(message)
            elif shutdown.reason is None:
                await self._read()
            elif shutdown.is_complete(unread=self._writer.unread_bytes > 0):
                raise StopAsyncIteration
            else:
                await self._sleep(seconds=POLL_SECONDS)

    async def receive(self) -> SessionMessage:
        """Return the next message.

        Raises:
            anyio.EndOfStream: There is none.
        """
        try:
            return await anext(self)
        except StopAsyncIteration:
            raise anyio.EndOfStream from None

    def close(self) -> None:
        """Stop reading."""
        if self._ahead is not None:
            self._ahead.close()

    def _drop_lines(self) -> None:
        """Forget what was read and isn't begun."""
        self._lines.clear()

    async def _read(self) -> None:
        if self._writer.unread_bytes > self._unread_bytes:
            await self._sleep(seconds=POLL_SECONDS)
            return
        try:
            chunk = self._read_chunk()
        except BlockingIOError:
            await self._sleep(readable=self._readable)
            return
        except OSError:  # a terminal or a socket whose other end is gone
            chunk = b""
        # The end of input ends the last line.
        self._lines += take_lines(self._part, chunk or b"\n", self._line_bytes)
        if not chunk:
            self._shutdown.begin("end of input")
        if len(chunk) == _CHUNK_BYTES:
            await asyncio.sleep(0)

    async def _sleep(self, *, readable: int | None = None, seconds: float | None = None) -> None:
        """Wait until a descriptor is readable, a time has passed, or the shutdown has changed."""
        changed = self._shutdown.changed
        changed.clear()
        timer = self._loop.call_later(seconds, changed.set) if seconds is not None else None
        if readable is not None:
            self._loop.add_reader(readable, changed.set)
        try:
            await changed.wait()
        finally:
            if readable is not None:
                self._loop.remove_reader(readable)
            if timer is not None:
                timer.cancel()

    def _parse_or_answer(self, line: bytes | None) -> types.JSONRPCMessage | None:
        """Parse a line. One without a message is answered here, since the SDK would drop it."""
        if line is None:
            self._refuse(types.INVALID_REQUEST, f"A line of more than {self._line_bytes} bytes is not read", None)
            return None
        line = line.removeprefix(codecs.BOM_UTF8)
        try:
            message = types.jsonrpc_message_adapter.validate_json(line)
        except ValueError:
            message = self._parse_repaired(line)
        if message is not None:
            self._note(message)
            if self._handshake is not None and not self._handshake.observe(line):
                self._handshake = None
        return message

    def _note(self, message: types.JSONRPCMessage) -> None:
        """Keep track of what is to be answered, by the server and by the client."""
        shutdown = self._shutdown
        if isinstance(message, types.JSONRPCRequest):
            if message.method != _NEVER_ENDING:
                shutdown.unanswered.add(message.id)
        elif isinstance(message, types.JSONRPCNotification):
            # A cancelled request is never answered.
            cancelled = (message.params or {}).get("requestId") if message.method == "notifications/cancelled" else None
            if isinstance(cancelled, str | int):
                shutdown.unanswered.discard(cancelled)
        elif message.id is not None:
            shutdown.asked.discard(message.id)

    def _parse_repaired(self, line: bytes) -> types.JSONRPCMessage | None:
        try:
            message = types.jsonrpc_message_adapter.validate_json(repair_text(line))
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


def take_lines(part: bytearray, chunk: bytes, limit: int) -> list[bytes | None]:
    """Add bytes to an unfinished line, and take the lines that they end.

    Args:
        part: The unfinished line; afterwards what follows the last newline. A line over the limit grows by one chunk at most.
        chunk: The next bytes, however the stream is cut.
        limit: Maximum length of a line, its newline not counted.

    Returns:
        Lines without their newline; None replaces one over the limit. Blank ones are left out.
    """
    lines: list[bytes | None] = []
    for number, piece in enumerate(chunk.split(b"\n")):
        if number:
            if len(part) > limit:
                lines.append(None)
            elif part.strip():
                lines.append(bytes(part))
            part.clear()
        if len(part) <= limit:
            part += piece
    return lines
