"""Reading and writing by threads, for pipes that the event loop can't wait for (Windows)."""

import asyncio
import os
import queue
import threading
from collections import deque
from collections.abc import Callable

from ttp_mcp.process import call_in_loop

# Chunks that are read before they are asked for; with more, a client that never reads could fill the memory.
_CHUNKS_AHEAD = 2


class ReadAhead:
    """Reads a descriptor in a daemon thread. The thread owns the descriptor and closes it.

    Closing it elsewhere would block on Windows, where the C runtime holds a lock during a read.
    """

    def __init__(self, fd: int, size: int, on_arrival: Callable[[], None]) -> None:
        """Start to read chunks of at most `size` bytes; `on_arrival` runs in the event loop."""
        self._fd = fd
        self._size = size
        self._on_arrival = on_arrival
        self._loop = asyncio.get_running_loop()
        self._chunks: deque[bytes] = deque()
        self._room = threading.Semaphore(_CHUNKS_AHEAD)
        self._is_closed = False
        threading.Thread(target=self._pump, name="stdin", daemon=True).start()

    def read(self) -> bytes:
        """Return the next chunk, empty at the end of input.

        Raises:
            BlockingIOError: None has arrived yet.
        """
        if not self._chunks:
            raise BlockingIOError
        chunk = self._chunks.popleft()
        self._room.release()
        return chunk

    def close(self) -> None:
        """Stop after the read that is under way."""
        self._is_closed = True
        self._room.release()

    def _pump(self) -> None:
        chunk = b"first"
        while chunk:
            self._room.acquire()
            if self._is_closed:
                break
            try:
                chunk = os.read(self._fd, self._size)
            except OSError:
                chunk = b""
            self._chunks.append(chunk)
            call_in_loop(self._loop, self._on_arrival)
        os.close(self._fd)


class WriteBehind:
    """Writes whole lines to a descriptor in a daemon thread, in order. The thread owns the descriptor and closes it."""

    def __init__(self, fd: int, on_written: Callable[[int | None], None]) -> None:
        """`on_written` runs in the event loop with the size of each line, or None once the output is broken."""
        self._fd = fd
        self._on_written = on_written
        self._loop = asyncio.get_running_loop()
        self._lines: queue.SimpleQueue[memoryview | None] = queue.SimpleQueue()
        self._is_closed = False
        threading.Thread(target=self._pump, name="stdout", daemon=True).start()

    def write(self, line: memoryview) -> None:
        """Write a line after those before it."""
        self._lines.put(line)

    def close(self) -> None:
        """Stop after the line that is being written, and forget those after it."""
        self._is_closed = True
        self._lines.put(None)

    def _pump(self) -> None:
        size: int | None = 0
        while size is not None and (line := self._lines.get()) is not None and not self._is_closed:
            size = self._write_whole(line)
            call_in_loop(self._loop, self._on_written, size)
        os.close(self._fd)

    def _write_whole(self, line: memoryview) -> int | None:
        rest = line
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError:
            return None
        return len(line)
