"""Small pieces of ASGI for what tests put before the API."""

from starlette.types import Message, Receive, Send


def make_receive(message: Message) -> Receive:
    """A body that comes as one message; then the client is gone."""
    messages = [message]

    async def receive() -> Message:
        return messages.pop() if messages else {"type": "http.disconnect"}

    return receive


async def discard_message(_: Message) -> None:
    """Nobody hears the answer."""


async def send_response(send: Send, status: int, body: bytes = b"", content_type: str | None = None) -> None:
    """A whole answer."""
    headers = [(b"content-type", content_type.encode())] if content_type else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
