"""Logging to stderr that gives no secret away and never blocks, not even when nobody reads.

A pipe holds 64 KiB; a client may ignore stderr. So lines are written without waiting, a thousand wait in memory, and
what comes on top is dropped and counted. No thread is needed for it, so none has to end.
"""

import asyncio
import logging
import os
import re
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ttp_mcp.credentials import redact
from ttp_mcp.process import reopen_nonblocking

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


_log = logging.getLogger(__name__)

MOST_LINES = 1000
# Up to this size a pipe takes a line as a whole or not at all (PIPE_BUF on Linux).
LINE_BYTES = 4096
_HEAD_BYTES = 1000
# How long the last lines may take when the process ends.
_FLUSH_SECONDS = 0.1
# Line ends and other controls would start a second line; the rest reorders what a terminal shows.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_FORMAT = "%(asctime)sZ %(levelname)s %(name)s: %(message)s"
# These write whole URLs at INFO, signatures included.
_TALKATIVE = ("httpx2", "httpcore2", "httpx", "httpcore")


def configure(level: str = "WARNING", *, fd: int = 2) -> Callable[[], None]:
    """Send every log record, warning and unhandled exception to stderr: one line each, redacted, never waiting.

    Replaces whatever handlers are there, so it may be called before or after a server is built.

    Args:
        level: `DEBUG`, `INFO`, `WARNING`, `ERROR` or `CRITICAL`.
        fd: Where the lines go.

    Returns:
        A function that puts back what was there before.
    """
    _be_open(fd)
    undo = ExitStack()
    root = logging.getLogger()
    handler = NeverBlockingHandler(reopen_nonblocking(fd, os.O_WRONLY, undo))
    undo.callback(handler.close)
    undo.callback(_set_handlers, root, root.handlers.copy(), root.level)
    _set_handlers(root, [handler], logging.getLevelNamesMapping()[level])
    for logger in map(logging.getLogger, _TALKATIVE):
        undo.callback(logger.setLevel, logger.level)
        logger.setLevel(max(root.level, logging.WARNING))
    undo.callback(logging.captureWarnings, False)
    logging.captureWarnings(True)
    for place, name, hook in (
        (sys, "excepthook", _unhandled),
        (threading, "excepthook", _unhandled_in_thread),
        (sys, "unraisablehook", _unraisable),
    ):
        undo.callback(setattr, place, name, getattr(place, name))
        setattr(place, name, hook)
    return undo.close


class LineFormatter(logging.Formatter):
    """One line per record, traceback included, with secrets removed as the last step. Times are UTC."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """The record on one line; line ends are shown as `\\n`."""
        return _UNPRINTABLE.sub(_escape, redact(super().format(record)))


class NeverBlockingHandler(logging.Handler):
    """Writes lines to a non-blocking descriptor; what it does not take waits, and what can't wait is counted."""

    def __init__(self, fd: int, most_lines: int = MOST_LINES) -> None:
        """At most `most_lines` lines of at most 4,096 bytes each wait for a reader of `fd`."""
        super().__init__()
        self.setFormatter(LineFormatter())
        self._fd = fd
        self._most_lines = most_lines
        self._waiting: deque[bytes] = deque()
        self._dropped = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or keep it, or count it; never wait and never raise."""
        if len(self._waiting) >= self._most_lines:
            self._write()
        if len(self._waiting) >= self._most_lines:
            self._dropped += 1
            return
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a record that can't be formatted must not stop what logged it
            line = f"A log record of {record.name} could not be formatted: {type(error).__name__}"
        self._waiting.append(_cut(line))
        self._write()
        if self._waiting:
            self._go_on_when_writable()

    def flush(self) -> None:
        """Write what waits, giving a reader a tenth of a second between one line and the next."""
        self.acquire()
        try:
            while self._waiting and _writable(self._fd, _FLUSH_SECONDS):
                self._write()
        finally:
            self.release()

    def close(self) -> None:
        """Write what a reader takes, and never touch the descriptor again."""
        self.flush()
        self._stop_watching()
        self._waiting.clear()
        self._fd = -1
        super().close()

    def _write(self) -> None:
        while self._waiting:
            line = self._waiting[0]
            try:
                written = os.write(self._fd, line)
            except BlockingIOError:
                return
            except OSError:  # nobody will ever read these
                self._waiting.clear()
                return
            if written < len(line):
                self._waiting[0] = line[written:]
                continue
            self._waiting.popleft()
            if self._dropped and not self._waiting:
                self._waiting.append(f"{self._dropped} lines dropped: stderr was not read\n".encode())
                self._dropped = 0

    def _go_on_when_writable(self) -> None:
        """Without a loop in this thread the next record goes on."""
        if self._loop is not None and not self._loop.is_closed():
            return
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._loop.add_writer(self._fd, self._go_on)

    def _go_on(self) -> None:
        self.acquire()
        try:
            self._write()
            if not self._waiting:
                self._stop_watching()
        finally:
            self.release()

    def _stop_watching(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_writer(self._fd)
        self._loop = None


def _be_open(fd: int) -> None:
    """A process started without stderr gets the null device, before some other file is given its number."""
    try:
        os.fstat(fd)
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        if null != fd:
            os.dup2(null, fd)
            os.close(null)


def _set_handlers(logger: logging.Logger, handlers: list[logging.Handler], level: int) -> None:
    logger.handlers[:] = handlers
    logger.setLevel(level)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _cut(line: str) -> bytes:
    """The line in bytes with its end; of one that is too long the beginning and, for a traceback, the end."""
    encoded = line.encode(errors="backslashreplace")
    if len(encoded) < LINE_BYTES:
        return encoded + b"\n"
    mark = " […] "
    tail = encoded[_HEAD_BYTES + len(mark.encode()) + 1 - LINE_BYTES :].decode(errors="ignore")
    return (encoded[:_HEAD_BYTES].decode(errors="ignore") + mark + tail).encode() + b"\n"


def _writable(fd: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(seconds * 1000))


def _unhandled(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _log.warning("interrupted")
    else:
        _log.critical("unhandled exception", exc_info=(kind, error, traceback))


def _unhandled_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None:
        _unhandled(found.exc_type, found.exc_value, found.exc_traceback)


def _unraisable(found: "UnraisableHookArgs") -> None:
    error: Any = found.exc_value
    _log.error("exception ignored in %r", found.object, exc_info=error)
