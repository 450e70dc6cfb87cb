"""What the output can take: on Windows, and in bare containers, a pipe may know a few letters only."""

import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager


def replace_unencodable() -> None:
    """Show a letter that the output does not know as its number: a command that did its work must not end in a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # Not what a caller put there instead, which takes every letter.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def force_utf8_stdout() -> None:
    """Encode stdout as the files are whose contents it is given: an escape would change them, or make them invalid."""
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")


@contextmanager
def ignore_broken_pipe() -> Generator[None]:
    """The reader may leave early, as `head` does; there is nobody to tell then, and nothing more to flush at exit."""
    try:
        yield
        # None when it was closed before the start.
        if sys.stdout:
            sys.stdout.flush()
    except BrokenPipeError:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
