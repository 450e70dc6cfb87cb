"""The operating-system process: descriptors, signals, core dumps, forced exit."""

import gc
import os
import signal
import stat
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

# A start that only replays the handshake loads this module, but never these two.
if TYPE_CHECKING:
    import asyncio


def reopen_nonblocking(fd: int, mode: int, undo: ExitStack) -> int:
    """Return a non-blocking descriptor of the same pipe, socket or terminal; a file never blocks and is duplicated.

    A reopened pipe has flags of its own. A duplicate shares them with every process that holds the original, so `undo` restores
    them, and closes what was opened. `mode` is `os.O_RDONLY` or `os.O_WRONLY`.
    """
    copy = os.dup(fd)
    undo.callback(os.close, copy)
    if sys.platform == "win32" or not _can_block(fd):
        return copy
    try:
        own = os.open(f"/proc/self/fd/{fd}", mode | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # a socket, another user's pipe, or not Linux
        undo.callback(os.set_blocking, copy, os.get_blocking(copy))
        os.set_blocking(copy, False)
        return copy
    undo.callback(os.close, own)
    return own


def redirect_fd(fd: int, target: int, undo: ExitStack) -> None:
    """Redirect `fd` to where `target` leads until `undo`; `target` itself is closed."""
    original = os.dup(fd)
    undo.callback(os.close, original)
    undo.callback(os.dup2, original, fd)
    os.dup2(target, fd)
    os.close(target)


def _can_block(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(fd)


# ERROR_SHARING_VIOLATION and ERROR_LOCK_VIOLATION.
_HELD = (32, 33)


def is_held(error: OSError) -> bool:
    """Check whether Windows refused a file because another program has it open for itself alone."""
    return getattr(error, "winerror", None) in _HELD


def call_in_loop(loop: "asyncio.AbstractEventLoop", call: Callable[..., object], *arguments: object) -> None:
    """Call a function in the event loop from a thread or signal handler, unless the loop is closed."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(call, *arguments)


# Number of the event that a console was closed or its user logged off, or that Windows shuts down; only Windows has it.
CONSOLE_CLOSED = 0
# Windows ends the process five seconds after that event.
CONSOLE_CLOSED_SECONDS = 4.0
# CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT.
_CLOSE_EVENTS = (2, 5, 6)


@contextmanager
def handle_signals(handle: Callable[[int], object]) -> Generator[None]:
    """Call `handle` in the running event loop at each signal that asks the process to end, with its number.

    `signal.signal` works with every event loop; `add_signal_handler` is missing on Windows.
    """
    import asyncio

    loop = asyncio.get_running_loop()
    if sys.platform == "win32":  # pragma: no cover - Windows only
        # A full buffer wakes Windows' loop as well, so it doesn't warrant a warning.
        signal.set_wakeup_fd(signal.set_wakeup_fd(-1), warn_on_full_buffer=False)
    with ExitStack() as undo:
        for number in _shutdown_signals():
            previous = signal.signal(number, lambda received, _: call_in_loop(loop, handle, received))
            undo.callback(signal.signal, number, previous or signal.SIG_DFL)
        _handle_console_events(lambda received: call_in_loop(loop, handle, received), undo)
        yield


def exit_at_signals() -> None:
    """Exit with 0 at each signal that asks the process to end, while nothing is in flight; `handle_signals` takes over.

    On Windows a blocking read would delay a handler until the next message, so the system's own ends the process.
    """
    for number in _shutdown_signals():
        signal.signal(number, signal.SIG_DFL if sys.platform == "win32" else lambda _signal, _frame: os._exit(0))


def _shutdown_signals() -> list[signal.Signals]:
    """SIGTERM, SIGINT, SIGHUP of a closed terminal unless `nohup` ignores it, and Ctrl+Break on Windows."""
    numbers = [signal.SIGTERM, signal.SIGINT]
    if sys.platform == "win32":  # pragma: no cover - Windows only
        return [*numbers, signal.SIGBREAK]
    return numbers if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [*numbers, signal.SIGHUP]


def _handle_console_events(handle: Callable[[int], object], undo: ExitStack) -> None:
    """Call `handle` from a thread of Windows at each event of the console, until `undo`.

    A signal handler of Python runs when the main thread does, and Windows' selector loop doesn't wake up for one.
    """
    if sys.platform == "win32":  # pragma: no cover - Windows only
        import ctypes

        @ctypes.WINFUNCTYPE(ctypes.c_int, ctypes.c_uint)
        def handler(event: int) -> bool:
            handle(_to_signal(event))
            if event in _CLOSE_EVENTS:
                # Windows ends the process when this returns.
                time.sleep(CONSOLE_CLOSED_SECONDS + 1)
            return True

        set_handler = ctypes.WinDLL("kernel32").SetConsoleCtrlHandler
        set_handler(handler, True)
        undo.callback(set_handler, handler, False)


def _to_signal(event: int) -> int:
    """Return the signal that corresponds to an event of a Windows console."""
    if event in _CLOSE_EVENTS:
        return CONSOLE_CLOSED
    # CTRL_C_EVENT is 0, CTRL_BREAK_EVENT is 1, SIGBREAK is 21.
    return 21 if event else signal.SIGINT


def exit_now(code: int) -> None:
    """Exit without waiting for threads; only the last log lines are written."""
    import logging

    logging.shutdown()
    os._exit(code)


# How long the process may take to close its resources after the drain, before it is forced to exit.
LEAVE_SECONDS = 0.4


def force_exit_after(
    code: int, *, seconds: float = LEAVE_SECONDS, exit_process: Callable[[int], object] = exit_now
) -> threading.Timer:
    """Exit with `code` if the process is still running after `seconds`.

    Python waits for worker threads at exit, and a DNS lookup in one can take half a minute. The final garbage collection
    is skipped: it takes a quarter of the CPU time of a start.
    """
    gc.freeze()
    timer = threading.Timer(seconds, exit_process, (code,))
    timer.daemon = True
    timer.start()
    return timer


def forbid_core_dumps() -> None:
    """Keep the memory, which contains the token, out of core files and, on Linux, out of reach of the user's other programs."""
    if sys.platform == "win32":  # pragma: no cover - Windows has no core files
        return
    # Imported here: one is missing on Windows, the other takes a few milliseconds.
    import ctypes
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # pragma: no branch - the other way is macOS
        pr_set_dumpable = 4
        ctypes.CDLL(None).prctl(pr_set_dumpable, 0, 0, 0, 0)
