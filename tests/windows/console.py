"""Start a server in its own console, end it by an event with a write in flight, and print the outcome; runs on Windows.

Usage: python -m tests.windows.console EVENT TIME TRANSPORT

EVENT: `typed` waits for Ctrl+C, which reaches the server too; `break` and `close` send Ctrl+Break, or the event of a closed
console.
"""

import ctypes
import signal
import subprocess
import sys
from ctypes import wintypes
from typing import Any

from tests.windows.client import HttpServer, Server, read_text

EVENTS = {"break": 1, "close": 2}


def send_event(process: subprocess.Popen[bytes], event: int) -> None:
    """Start the console's control routine in another process, as a Windows console does."""
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.GetModuleHandleW.restype = wintypes.HANDLE
    kernel.GetProcAddress.restype = ctypes.c_void_p
    kernel.GetProcAddress.argtypes = [wintypes.HANDLE, ctypes.c_char_p]
    kernel.CreateRemoteThread.restype = wintypes.HANDLE
    kernel.CreateRemoteThread.argtypes = [
        *(wintypes.HANDLE, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p),
        *(ctypes.c_void_p, wintypes.DWORD, ctypes.c_void_p),
    ]
    routine = kernel.GetProcAddress(kernel.GetModuleHandleW("kernelbase.dll"), b"CtrlRoutine")
    handle = int(process._handle)  # the only access to the handle
    if not kernel.CreateRemoteThread(handle, None, 0, routine, event, 0, None):
        raise ctypes.WinError(ctypes.get_last_error())


def begin_write(server: Any, name: str, scheduled_at: str) -> Any:
    """Begin a write and return it once the ledger lists it, so it may have been sent. Begin another if it ended before that."""
    attempt = 0
    while True:
        attempt += 1
        content = f"At {name}, {attempt}."
        write = server.begin("create_post", content=content, account_ids=["linkedin"], scheduled_at=scheduled_at)
        while not server.is_finished(write):
            if content in server.call_for_text("check_setup") and not server.is_finished(write):
                return write


def main(event: str, scheduled_at: str, transport: str) -> None:
    """Run one server until it exits."""
    # The server gets a typed Ctrl+C too; this process only has to survive it.
    signal.signal(signal.SIGINT, lambda *_: None)
    server = Server([sys.executable]) if transport == "stdio" else HttpServer([sys.executable])
    write = begin_write(server, f"{event}, {scheduled_at}, {transport}", scheduled_at)
    print("ready", flush=True)  # noqa: T201 - the smoke test waits for it
    if event in EVENTS:
        send_event(server.process, EVENTS[event])
    answer = read_text(server.finish(write)).partition(" for ")[0].partition(":")[0]
    # One short string: a console may split and redraw output that is written in parts.
    print(f"answer {answer}, exit code {server.process.wait(300)}.", flush=True)  # noqa: T201 - the result


main(*sys.argv[1:])
