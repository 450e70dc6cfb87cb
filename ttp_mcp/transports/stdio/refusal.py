"""Answers of a server that can't start, to a client whose first messages were replayed."""

import json
import os
import select
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

from ttp_mcp.transports.stdio.handshake import Handshake, write_line

# Requests that follow without a longer pause are answered too.
_PAUSE_SECONDS = 0.1
_CHUNK_BYTES = 64 * 1024
_MOST_CHUNKS = 256
_INTERNAL_ERROR = -32603


def refuse_requests(handshake: Handshake, problem: str, input_fd: int = 0, output_fd: int = 1) -> None:
    """Answer each request that has no answer with an error. If nothing was replayed, the end of the process says enough."""
    if not handshake.unread:
        return
    waiting = _list_requests(handshake.take_unread() + b"".join(_read_sent(input_fd)))
    for request_id in handshake.replayed:
        _discard(waiting, request_id)
    error = {"code": _INTERNAL_ERROR, "message": f"The server can't start: {problem} Nothing was sent."}
    with suppress(EOFError):
        for request_id in waiting:
            write_line(output_fd, json.dumps({"jsonrpc": "2.0", "id": request_id, "error": error}).encode())


def _list_requests(data: bytes) -> list[object]:
    """Return the ids of all requests that aren't cancelled."""
    found: list[object] = []
    for line in data.split(b"\n"):
        with suppress(ValueError, RecursionError, LookupError, TypeError):
            message = json.loads(line)
            if message["method"] == "notifications/cancelled":
                _discard(found, message["params"]["requestId"])
            else:
                found.append(message["id"])
    return found


def _discard(ids: list[object], one: object) -> None:
    with suppress(ValueError):
        ids.remove(one)


def _read_sent(fd: int) -> Iterator[bytes]:
    """Read what the client has sent."""
    with suppress(OSError):
        for _ in range(_MOST_CHUNKS):
            if not _is_readable(fd) or not (chunk := os.read(fd, _CHUNK_BYTES)):
                break
            yield chunk


def _is_readable(fd: int) -> bool:
    if sys.platform == "win32":  # pragma: no cover - Windows only
        import _winapi
        import msvcrt

        time.sleep(_PAUSE_SECONDS)
        return _winapi.PeekNamedPipe(msvcrt.get_osfhandle(fd), 0)[0] != 0
    return bool(select.select([fd], [], [], _PAUSE_SECONDS)[0])
