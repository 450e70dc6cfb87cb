"""Rejections over HTTP: a status and a message that repeats nothing of the request."""

from dataclasses import dataclass

from pydantic_core import to_json
from starlette.types import Message, Send

Headers = tuple[tuple[bytes, bytes], ...]

# JSON-RPC has no code for an HTTP rejection; this one means an invalid request.
_INVALID_REQUEST = -32600


@dataclass(frozen=True, slots=True)
class Rejection:
    """Reason why a request is not served. `headers` are added to the usual ones."""

    status: int
    message: str
    headers: Headers = ()

    async def send(self, send: Send) -> None:
        """Send a JSON-RPC error without an id, so that MCP clients show the message, and close the connection."""
        error = {"jsonrpc": "2.0", "id": None, "error": {"code": _INVALID_REQUEST, "message": self.message}}
        # Close the connection: the rest of an unread body may follow on it.
        await send_rejection(
            send, self.status, b"application/json", to_json(error), (*self.headers, (b"connection", b"close"))
        )


async def send_rejection(send: Send, status: int, content_type: bytes, body: bytes, headers: Headers = ()) -> None:
    """Send a complete response that must not be cached."""
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
