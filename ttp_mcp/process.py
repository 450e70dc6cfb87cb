"""The operating-system process: descriptors, core dumps, forced exit."""

import gc
import os
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack


def reopen_nonblocking(fd: int, mode: int, undo: ExitStack) -> int:
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


def redirect_fd(fd: int, target: int, undo: ExitStack) -> None:
    """Let `fd` lead where `target` does until `undo`; `target` itself is closed."""
    original = os.dup(fd)
    undo.callback(os.close, original)
    undo.callback(os.dup2, original, fd)
    os.dup2(target, fd)
    os.close(target)


def _can_block(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)


# After the drain, how long the process may take to close what it holds before it leaves all the same.
LEAVE_SECONDS = 0.4


def force_exit_after(
    code: int, *, seconds: float = LEAVE_SECONDS, leave: Callable[[int], object] = os._exit
) -> threading.Timer:
    """Leave with this code after so many seconds, if the process has not ended by itself by then.

    For the last moment of a process: Python waits for worker threads, and one may be looking up a name for half a minute.
    It also searches everything that was ever imported for cycles, a quarter of a start's CPU time, and is told not to.
    """
    gc.freeze()
    timer = threading.Timer(seconds, leave, (code,))
    timer.daemon = True
    timer.start()
    return timer


def forbid_core_dumps() -> None:
    """Keep the memory, which holds the token, out of core files and, on Linux, out of reach of the user's other programs."""
    if sys.platform == "win32":  # pragma: no cover - Windows has no core files
        return
    # Both only here: one is missing on Windows, the other costs a few milliseconds.
    import ctypes
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # pragma: no branch - the other way is macOS
        pr_set_dumpable = 4
        ctypes.CDLL(None).prctl(pr_set_dumpable, 0, 0, 0, 0)
