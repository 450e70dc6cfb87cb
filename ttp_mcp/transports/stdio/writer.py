"""The output of a stdio server."""

import asyncio
import os
from collections import deque
from contextlib import suppress
from typing import Self

import mcp_types as types
from mcp.shared.message import SessionMessage

from ttp_mcp.transports.stdio.handshake import Handshake
from ttp_mcp.transports.stdio.shutdown import SETTLE_SECONDS, Shutdown
from ttp_mcp.transports.stdio.threads import WriteBehind


class Stream:
    """Methods that the SDK needs of either stream beyond reading and writing; descriptors are closed elsewhere."""

    async def aclose(self) -> None:
        """Nothing to close."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, exc_type: object, exc_val: object, exc_tb: object) -> None:
        """Nothing to close."""


class Writer(Stream):
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
        if self._handshake is None or not self._is_replayed(self._handshake, message):
            self.push(message.model_dump_json(exclude_unset=True).encode())
        if isinstance(message, types.JSONRPCRequest):
            self._shutdown.note_asked(message.id)
        elif isinstance(message, types.JSONRPCResponse | types.JSONRPCError) and message.id is not None:
            self._shutdown.unanswered.discard(message.id)
            if self._shutdown.reason is not None:
                self._shutdown.changed.set()

    def _is_replayed(self, handshake: Handshake, message: types.JSONRPCMessage) -> bool:
        """Report an answer to the handshake; True if the client got it from the record."""
        if handshake.is_over:
            self._handshake = None
        elif isinstance(message, types.JSONRPCResponse | types.JSONRPCError) and message.id is not None:
            return handshake.is_answered(message.id, getattr(message, "result", None))
        return False

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
        if self._behind is None:
            self._loop.remove_writer(self._fd)
        self._flushed.set()
        self._waiting.clear()
        self.unread_bytes = 0

    def _note_written(self, size: int | None) -> None:
        if size is None:
            self._discard()
            self._shutdown.begin("output broken")
            return
        self.unread_bytes -= size
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
