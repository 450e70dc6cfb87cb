"""Output streams with a small encoding, as on Windows and in bare containers, and readers that leave early."""

import errno
import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO


def replace_unencodable() -> None:
    """Escape characters that the output encoding can't represent."""
    for stream in (sys.stdout, sys.stderr):
        # A caller may have put another object in its place.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def force_utf8_stdout() -> None:
    """Write stdout as UTF-8, for file contents: an escape would change them."""
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")


# What writing to a closed pipe raises; EINVAL on Windows.
_BROKEN_PIPE = (errno.EPIPE, errno.EINVAL)


@contextmanager
def ignore_broken_pipe() -> Generator[None]:
    """Ignore a reader that left early, as `head` does, and leave nothing to flush at exit."""
    try:
        yield
        # None if it was closed before the start.
        if sys.stdout:
            sys.stdout.flush()
    except OSError as problem:
        if problem.errno not in _BROKEN_PIPE:
            raise
        for stream in (sys.stdout, sys.stderr):
            _discard_unwritable(stream)


def _discard_unwritable(stream: TextIO) -> None:
    try:
        stream.flush()
    except OSError as problem:
        if problem.errno not in _BROKEN_PIPE:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
