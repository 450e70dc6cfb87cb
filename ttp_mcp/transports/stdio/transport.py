"""The stdio transport: MCP over the process's own pipes, with a graceful shutdown.

It costs about half of the SDK's transport per call, and adds what that lacks: a limit on the length of a line, an error response
to a line that can't be read, and a shutdown that waits for writes. Where the event loop can't wait for pipes (Windows), a thread
reads and a thread writes.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from mcp.server import Server

from ttp_mcp.process import exit_now, redirect_fd, reopen_nonblocking
from ttp_mcp.transports.stdio.handshake import Handshake
from ttp_mcp.transports.stdio.reader import Reader
from ttp_mcp.transports.stdio.shutdown import PARENT_SECONDS, Shutdown, Writing
from ttp_mcp.transports.stdio.writer import Writer

LINE_BYTES = 8 * 1024 * 1024
DRAIN_SECONDS = 10.0
# Input is not read while more than this waits for the client to read it.
UNREAD_BYTES = 32 * 1024 * 1024


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
        writer = Writer(writing_fd, shutdown, threads, handshake)
        reader = Reader(reading_fd, line_bytes, unread_bytes, writer, shutdown, threads, handshake)
        with shutdown.watch_process():
            try:
                # In a task of its own, a message that arrives resumes nothing but its reader.
                await asyncio.create_task(server.run(reader, writer, server.create_initialization_options()))
                await writer.flush()
            finally:
                reader.close()
                writer.close()
    return 1 if writes.unresolved else 0


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
