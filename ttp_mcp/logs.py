"""Logging to stderr, redacted, that never blocks the server.

A client may ignore stderr, and a pipe holds only 64 KiB (4 KiB on Windows). A daemon thread therefore writes the lines; a thousand
are queued, and more are dropped and counted.
"""

import logging
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from logging.handlers import QueueHandler
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ttp_mcp.credentials import redact

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


_log = logging.getLogger(__name__)

MOST_LINES = 1000
# PIPE_BUF on Linux: a pipe takes a line of at most this size as a whole or not at all.
LINE_BYTES = 4096
_HEAD_BYTES = 1000
# Maximum wait for each of the last lines when the process ends.
_FLUSH_SECONDS = 0.1
_RETRY_SECONDS = 0.02
# Line ends and other controls would start a second line; the rest reorders text in a terminal.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_FORMAT = "%(asctime)sZ %(levelname)s %(name)s: %(message)s"
# At INFO these log whole URLs, signatures included.
_VERBOSE_LOGGERS = ("httpx2", "httpcore2", "httpx", "httpcore")


def configure_logging(level: str = "WARNING", *, fd: int = 2) -> Callable[[], None]:
    """Send every log record, warning and unhandled exception to stderr: one line each, redacted, never blocking.

    Existing handlers are replaced, so the order of this call and the creation of a server doesn't matter. `level` is a name of
    Python's logging. Returns a function that restores the previous configuration.
    """
    _ensure_open(fd)
    undo = ExitStack()
    root = logging.getLogger()
    handler = StderrHandler(fd)
    undo.callback(handler.close)
    undo.callback(_set_handlers, root, root.handlers.copy(), root.level)
    _set_handlers(root, [handler], logging.getLevelNamesMapping()[level])
    for logger in map(logging.getLogger, _VERBOSE_LOGGERS):
        undo.callback(logger.setLevel, logger.level)
        logger.setLevel(max(root.level, logging.WARNING))
    undo.callback(logging.captureWarnings, False)
    logging.captureWarnings(True)
    for place, name, hook in (
        (sys, "excepthook", _log_unhandled),
        (threading, "excepthook", _unhandled_in_thread),
        (sys, "unraisablehook", _log_unraisable),
    ):
        undo.callback(setattr, place, name, getattr(place, name))
        setattr(place, name, hook)
    return undo.close


class LineFormatter(logging.Formatter):
    """Formats a record, traceback included, as one line with UTC time and removes secrets as the last step."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03d"

    def __init__(self) -> None:
        super().__init__(_FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        """Format a record as one line; line ends become `\\n`."""
        return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], redact(super().format(record)))


class StderrHandler(QueueHandler):
    """Formats records in the thread that logs and writes them in a thread of its own, which alone may wait for a reader.

    Records beyond `most_lines` are dropped and counted.
    """

    def __init__(self, fd: int, most_lines: int = MOST_LINES) -> None:
        """Write to a duplicate of `fd`, which the thread closes."""
        self._lines: queue.Queue[bytes] = queue.Queue(most_lines)
        super().__init__(self._lines)
        self.setFormatter(LineFormatter())
        self._fd = os.dup(fd)
        self._dropped = 0
        self._is_closed = False
        self._has_progressed = threading.Event()
        self._thread: threading.Thread | None = None

    def prepare(self, record: logging.LogRecord) -> Any:
        """Format a record, redacted, before it is queued."""
        try:
            line = self.format(record)
        except Exception as error:  # noqa: BLE001 - a record that can't be formatted must not stop the code that logged it
            line = f"A log record of {record.name} could not be formatted: {type(error).__name__}"
        return _encode_line(line)

    def enqueue(self, record: Any) -> None:
        """Queue a line, or count it as dropped."""
        if self._is_closed:
            return
        try:
            self._lines.put_nowait(record)
        except queue.Full:
            self._dropped += 1
        if self._thread is None:
            # Not before the first record: most processes log nothing.
            self._thread = threading.Thread(target=self._write_lines, name="stderr", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Wait until all lines are written, but no longer than 0.1 s for each."""
        while not self._is_closed and self._lines.unfinished_tasks and self._has_progressed.wait(_FLUSH_SECONDS):
            self._has_progressed.clear()

    def close(self) -> None:
        """Write the lines that a reader takes, and nothing later."""
        if not self._is_closed:
            self.flush()
            self._is_closed = True
            if self._thread is None:
                os.close(self._fd)
            else:
                with suppress(queue.Full):
                    self._lines.put_nowait(b"")
        super().close()

    def _write_lines(self) -> None:
        """Run in the thread: write lines until an empty one."""
        while line := self._lines.get():
            if self._is_closed or not self._write(line):
                break
            if self._dropped and self._lines.empty():
                dropped, self._dropped = self._dropped, 0
                self._write(f"{dropped} lines dropped: stderr was not read\n".encode())
            self._lines.task_done()
            self._has_progressed.set()
        self._is_closed = True
        os.close(self._fd)

    def _write(self, line: bytes) -> bool:
        """Write a whole line; False if nothing can be written any more."""
        while line:
            try:
                line = line[os.write(self._fd, line) :]
            except BlockingIOError:  # another process made the descriptor non-blocking
                if self._is_closed:
                    return False
                time.sleep(_RETRY_SECONDS)
            except OSError:
                return False
        return True


def _ensure_open(fd: int) -> None:
    """Open the null device if the process was started without stderr, before another file gets its number."""
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


def _encode_line(line: str) -> bytes:
    """Encode a line; of a long one keep the beginning and, for a traceback, the end."""
    encoded = line.encode(errors="backslashreplace")
    if len(encoded) < LINE_BYTES:
        return encoded + b"\n"
    mark = " […] "
    tail = encoded[_HEAD_BYTES + len(mark.encode()) + 1 - LINE_BYTES :].decode(errors="ignore")
    return (encoded[:_HEAD_BYTES].decode(errors="ignore") + mark + tail).encode() + b"\n"


def _log_unhandled(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        _log.warning("interrupted")
    else:
        _log.critical("unhandled exception", exc_info=(kind, error, traceback))


def _unhandled_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None:
        _log_unhandled(found.exc_type, found.exc_value, found.exc_traceback)


def _log_unraisable(found: "UnraisableHookArgs", is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
    # Modules lose their names at the end of the interpreter: nothing can be redacted or written any more.
    if is_finalizing():
        return
    error: Any = found.exc_value
    _log.error("exception ignored in %r", found.object, exc_info=error)
