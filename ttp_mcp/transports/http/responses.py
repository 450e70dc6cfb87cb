"""Refusals over HTTP: a status, one sentence or two, and nothing of what was sent."""

from dataclasses import dataclass

from pydantic_core import to_json
from starlette.types import Message, Send

Headers = tuple[tuple[bytes, bytes], ...]

# JSON-RPC has no code for what HTTP refuses; this is the one for a request that is none.
_INVALID_REQUEST = -32600


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a request is not served. `headers` come on top of the usual ones."""

    status: int
    words: str
    headers: Headers = ()

    async def answer(self, send: Send) -> None:
        """Send it as a JSON-RPC error without an id, so that MCP clients show the words. The connection ends with it."""
        error = {"jsonrpc": "2.0", "id": None, "error": {"code": _INVALID_REQUEST, "message": self.words}}
        # What follows on this connection may be the rest of a body that nobody reads.
        await send_rejection(
            send, self.status, b"application/json", to_json(error), (*self.headers, (b"connection", b"close"))
        )


async def send_rejection(send: Send, status: int, content_type: bytes, body: bytes, headers: Headers = ()) -> None:
    """Send a whole answer that no cache keeps."""
    start: Message = {
        "type": "http.response.start",
        "status": status,
        "headers": [
            (b"content-type", content_type),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            *headers,
        ],
    }
    await send(start)
    await send({"type": "http.response.body", "body": body})
