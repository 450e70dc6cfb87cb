"""Streamable HTTP of 2025 in front of stdio, for the official suite, which speaks only HTTP.

    python tests/conformance/bridge.py [--record FILE]

Each session is a process that serves like `server.py`, but over stdio. With `--record` it replays the handshake of an earlier
session. The address is printed once requests are served. It has only what the suite needs: no resumption, and no guard.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from ttp_mcp.config import Settings

sys.path.insert(0, str(Path(__file__).parent))

from server import serve_pipes

SESSION = "mcp-session-id"


class Session:
    """One process, and queues for its messages: one for each pending request, and one for the stream of GET."""

    def __init__(self, record: str | None) -> None:
        """Fork the process from this one, which has loaded everything: the suite allows a session only a few seconds."""
        reading, self._input = os.pipe()
        self._output, writing = os.pipe()
        if not os.fork():
            _serve_copy(reading, writing, record)
        os.close(reading)
        os.close(writing)
        self.pending: dict[str | int, asyncio.Queue[dict[str, Any]]] = {}
        self.unrelated: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._lines = os.fdopen(self._output, "rb")
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        while line := await asyncio.to_thread(self._lines.readline):
            message = json.loads(line)
            # Progress, logs and questions belong to the pending request: the suite never has two that cause them.
            latest = next(reversed(self.pending.values()), self.unrelated)
            is_answer = "method" not in message
            (self.pending.pop(message.get("id"), self.unrelated) if is_answer else latest).put_nowait(message)

    def send(self, message: dict[str, Any]) -> None:
        """Write one message as a line; the suite's messages fit into a pipe."""
        os.write(self._input, json.dumps(message).encode() + b"\n")

    async def close(self) -> None:
        """Close the input, which ends the process."""
        os.close(self._input)
        await self._reading
        self._lines.close()


class Bridge:
    """Sessions by their id."""

    def __init__(self, record: str | None) -> None:
        """Start processes with this record."""
        self._record = record
        self._sessions: dict[str, Session] = {}

    async def post(self, request: Request) -> Response:
        """Forward a message; the response to a request is a stream that ends with its result."""
        message = json.loads(await request.body())
        name = request.headers.get(SESSION)
        if message.get("method") == "initialize":
            name = uuid.uuid4().hex
            self._sessions[name] = Session(self._record)
        if name is None or name not in self._sessions:
            return Response(status_code=400 if name is None else 404)
        session = self._sessions[name]
        headers = {SESSION: name}
        if "method" not in message or "id" not in message:
            session.send(message)
            return Response(status_code=202, headers=headers)
        queue = session.pending[message["id"]] = asyncio.Queue()
        session.send(message)
        return StreamingResponse(
            _stream_messages(queue, message["id"]), media_type="text/event-stream", headers=headers
        )

    async def get(self, request: Request) -> Response:
        """Open the stream of messages that belong to no request."""
        session = self._sessions.get(request.headers.get(SESSION, ""))
        if session is None:
            return Response(status_code=404)
        return StreamingResponse(_stream_messages(session.unrelated, None), media_type="text/event-stream")

    async def delete(self, request: Request) -> Response:
        """End a session."""
        session = self._sessions.pop(request.headers.get(SESSION, ""), None)
        if session is not None:
            await session.close()
        return Response(status_code=404 if session is None else 200)

    async def close(self) -> None:
        """End all sessions."""
        for session in self._sessions.values():
            await session.close()


def _serve_copy(reading: int, writing: int, record: str | None) -> None:
    os.dup2(reading, 0)
    os.dup2(writing, 1)
    # Otherwise other sessions would not see the end of their input.
    os.closerange(3, 1024)
    with tempfile.TemporaryDirectory() as state:
        serve_pipes(Settings(zone=ZoneInfo("UTC"), state_dir=Path(state)), record)
    os._exit(0)


async def _stream_messages(queue: asyncio.Queue[dict[str, Any]], last: str | int | None) -> AsyncIterator[str]:
    message: dict[str, Any] = {"method": ""}
    while last is None or "method" in message or message.get("id") != last:
        message = await queue.get()
        yield f"event: message\ndata: {json.dumps(message)}\n\n"


async def serve_bridge(record: str | None) -> None:
    """Serve until a signal."""
    bridge = Bridge(record)
    routes = [Route("/mcp", getattr(bridge, method), methods=[method.upper()]) for method in ("post", "get", "delete")]
    with socket.create_server(("127.0.0.1", 0)) as opened:
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, timeout_graceful_shutdown=1)
        print(f"http://127.0.0.1:{opened.getsockname()[1]}/mcp", flush=True)  # noqa: T201 - this is the answer of the command
        await uvicorn.Server(config).serve([opened])
    await bridge.close()


def main() -> None:
    """Parse and serve."""
    parser = argparse.ArgumentParser(description="Streamable HTTP in front of the server over stdio.")
    parser.add_argument("--record", help="replay the handshake from this file, and record it there")
    options = parser.parse_args()
    asyncio.run(serve_bridge(options.record))


if __name__ == "__main__":
    main()
