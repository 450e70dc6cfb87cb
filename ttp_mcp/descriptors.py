"""Descriptors that never block: pipes, sockets and terminals opened once more, or duplicated."""

import os
import stat
import sys
from contextlib import ExitStack


def open_again(fd: int, mode: int, undo: ExitStack) -> int:
    """A non-blocking descriptor of the same pipe, socket or terminal; a file never blocks and is duplicated.

    A pipe that is opened again has flags of its own. A duplicate shares them with every process that holds the
    original, so they are put back at the end.

    Args:
        fd: An open descriptor.
        mode: `os.O_RDONLY` or `os.O_WRONLY`.
        undo: Closes what was opened and puts the flags back.
    """
    copy = os.dup(fd)
    undo.callback(os.close, copy)
    if sys.platform == "win32" or not _can_block(fd):
        return copy
    try:
        own = os.open(f"/proc/self/fd/{fd}", mode | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # a socket, another user's pipe, or no Linux
        undo.callback(os.set_blocking, copy, os.get_blocking(copy))
        os.set_blocking(copy, False)
        return copy
    undo.callback(os.close, own)
    return own


def divert(fd: int, target: int, undo: ExitStack) -> None:
    """Let `fd` lead where `target` does until `undo`; `target` itself is closed."""
    original = os.dup(fd)
    undo.callback(os.close, original)
    undo.callback(os.dup2, original, fd)
    os.dup2(target, fd)
    os.close(target)


def _can_block(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)
