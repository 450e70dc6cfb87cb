"""A server that misbehaves on request: real sockets for faults that an application in the same process can't produce.

    async with FaultServer(reset("after"), answer({"success": True, "posts": []})) as server:
        ...  # a client of server.url has its first request cut off and its second answered; further ones like the last
        server.requests, server.open_connections

Each connection has one request. Nothing is forwarded or stored, and only the presence of a bearer token is recorded.
"""

import asyncio
import json
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self, cast

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """Head of a request. Header names are in lower case; the value of `authorization` is never kept."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass(slots=True)
class Exchange:
    """One connection, for a fault to use."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[Request] = field(default_factory=list[Request])

    async def read_head(self) -> Request:
        """Read the request up to its body, and record it."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        fields = (line.partition(":") for line in lines[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in fields}
        # Faults are recorded and printed; a token never is.
        headers |= {name: "[present]" for name in headers if name == "authorization"}
        request = Request(method, path, headers)
        self.requests.append(request)
        return request

    async def read(self) -> Request:
        """Read the whole request, and record its head."""
        request = await self.read_head()
        await self.reader.readexactly(int(request.headers.get("content-length", "0")))
        return request

    async def send(self, content: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(content)
        await self.writer.drain()

    def reset(self) -> None:
        """Close the connection with RST instead of FIN, like a crashed machine or a firewall."""
        connection: socket.socket = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Fault = Callable[[Exchange], Awaitable[None]]


def make_head(status: int = 200, headers: dict[str, str] | None = None) -> bytes:
    """Return the head of a response that ends with the connection."""
    fields = {"Content-Type": "application/json", "Connection": "close", **(headers or {})}
    return (
        f"HTTP/1.1 {status} Rehearsal\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items()) + "\r\n"
    ).encode()


def send_answer(body: Any = None, *, status: int = 200, headers: dict[str, str] | None = None) -> Fault:
    """Send a complete response; `body` is bytes, or anything else as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def fault(exchange: Exchange) -> None:
        await exchange.read()
        await exchange.send(make_head(status, {"Content-Length": str(len(content)), **(headers or {})}) + content)

    return fault


def redirect_to(location: str, status: int = 302) -> Fault:
    """Redirect to another URL."""
    return send_answer({}, status=status, headers={"Location": location})


def refuse_with_429(*, retry_after: str | None) -> Fault:
    """Respond with 429, with or without a `Retry-After`."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return send_answer({"success": False, "message": "Too many requests."}, status=429, headers=headers)


def hang_connection(phase: Literal["accept", "head", "request", "status", "headers", "body"]) -> Fault:
    """Hang: after accepting, reading the head or the request, or within the response's status, headers or body."""
    whole = make_head(headers={"Content-Length": "100"})
    sent = {"status": whole[:9], "headers": whole[:40], "body": whole + b'{"success":'}.get(phase, b"")

    async def fault(exchange: Exchange) -> None:
        if phase == "head":
            await exchange.read_head()
        elif phase != "accept":
            await exchange.read()
        await exchange.send(sent)
        await asyncio.Event().wait()

    return fault


def reset_connection(phase: Literal["before", "after", "body"]) -> Fault:
    """Reset the connection before or after the request is read, or within the response's body."""

    async def fault(exchange: Exchange) -> None:
        if phase != "before":
            await exchange.read()
        if phase == "body":
            await exchange.send(make_head(headers={"Content-Length": "100"}) + b'{"success":')
        exchange.reset()

    return fault


def send_bytes(content: bytes) -> Fault:
    """Respond to a request with these bytes, and close."""

    async def fault(exchange: Exchange) -> None:
        await exchange.read()
        await exchange.send(content)

    return fault


def drip_bytes(seconds: float, content: bytes = b'{"success": true, "posts": []}') -> Fault:
    """Send the head, then one byte of the body each `seconds`; blanks without end after `content`."""

    async def fault(exchange: Exchange) -> None:
        await exchange.read()
        await exchange.send(make_head())
        position = 0
        while True:
            await exchange.send(content[position : position + 1] or b" ")
            position += 1
            await asyncio.sleep(seconds)

    return fault


def send_bomb(mebibytes: int = 512, *, status: int = 200) -> Fault:
    """Return a small gzip body that inflates to `mebibytes` MiB of JSON text."""

    async def fault(exchange: Exchange) -> None:
        await exchange.read()
        packer = zlib.compressobj(wbits=31)
        await exchange.send(
            make_head(status, {"Content-Encoding": "gzip"}) + packer.compress(b'{"success": true, "posts": ["')
        )
        for _ in range(mebibytes):
            await exchange.send(packer.compress(b"a" * MIB))
            await asyncio.sleep(0)
        await exchange.send(packer.compress(b'"]}') + packer.flush())

    return fault


# Every fault without arguments, by name.
FAULTS: dict[str, Fault] = {
    "silent": hang_connection("accept"),
    "silent-after-head": hang_connection("head"),
    "silent-after-request": hang_connection("request"),
    "stops-in-status": hang_connection("status"),
    "stops-in-headers": hang_connection("headers"),
    "stops-in-body": hang_connection("body"),
    "reset-before-request": reset_connection("before"),
    "reset-after-request": reset_connection("after"),
    "reset-in-body": reset_connection("body"),
    "closes-without-answer": send_bytes(b""),
    "short-body": send_bytes(make_head(headers={"Content-Length": "100"}) + b'{"success":'),
    "cut-chunks": send_bytes(make_head(headers={"Transfer-Encoding": "chunked"}) + b'b\r\n{"success":\r\n'),
    "garbage": send_bytes(b"\x00\xff\x16\x03 this is not HTTP\r\n\r\n"),
    "huge-header": send_bytes(make_head(headers={"X-Padding": "a" * 200_000}) + b"{}"),
    "drip": drip_bytes(0.01),
    "html": send_answer(b"<!doctype html><title>Sign in</title>", headers={"Content-Type": "text/html"}),
    "html-404": send_answer(
        b"<!doctype html><title>Not found</title>", status=404, headers={"Content-Type": "text/html"}
    ),
    "empty": send_answer(b""),
    "not-json": send_answer(b"success"),
    "cut-json": send_answer(b'{"success": true, "posts": [{"id": "p'),
    "deep-json": send_answer(b"[" * 100_000 + b"]" * 100_000),
    "nan": send_answer(b'{"success": true, "posts": NaN}'),
    "bad-utf-8": send_answer(b'{"success": true, "posts": "\xff"}'),
    "bad-gzip": send_answer(b"this is not gzip", headers={"Content-Encoding": "gzip"}),
    "gzip-bomb": send_bomb(),
    "success-false": send_answer({"success": False, "message": "That did not work."}),
    **{
        f"redirect-{status}": redirect_to("http://127.0.0.1:9/elsewhere", status)
        for status in (301, 302, 303, 307, 308)
    },
    "too-many": refuse_with_429(retry_after=None),
    **{
        f"status-{status}": send_answer({"success": False, "message": f"This is a rehearsed {status}."}, status=status)
        for status in (400, 401, 403, 404, 409, 413, 422, 500, 502, 503, 504)
    },
}


class _Reader(asyncio.StreamReader):
    """A reader that reports when the other side has closed, even to a fault that neither reads nor writes."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: BaseException) -> None:
        super().set_exception(exc)  # pyright: ignore[reportArgumentType] # the stubs of 3.11 ask for an Exception
        self.gone.set()


class FaultServer:
    """A server on a free loopback port while its block runs; the n-th connection gets the n-th fault."""

    def __init__(self, *faults: Fault) -> None:
        """Set the faults. The last one is repeated; without any, every connection hangs."""
        self.faults = list(faults) or [hang_connection("accept")]
        self.requests: list[Request] = []
        self.connections = 0
        self.url = ""
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._server: asyncio.Server

    @property
    def open_connections(self) -> int:
        """Number of connections that neither side has closed."""
        return len(self._open)

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: asyncio.StreamReaderProtocol(_Reader(), self._serve, loop), "127.0.0.1", 0
        )
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # The transports close in the event loop's next iteration.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self.faults[min(self.connections, len(self.faults) - 1)]
        self.connections += 1
        self._open.add(writer)
        task = asyncio.ensure_future(self._treat(fault, cast("_Reader", reader), writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _treat(self, fault: Fault, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        """Run the fault until it ends or the other side closes."""
        treating = asyncio.ensure_future(fault(Exchange(reader, writer, self.requests)))
        # A fault may fail because the other side closed.
        treating.add_done_callback(lambda task: task.cancelled() or task.exception())
        gone = asyncio.ensure_future(reader.gone.wait())
        try:
            done, _ = await asyncio.wait((treating, gone), return_when=asyncio.FIRST_COMPLETED)
            if treating in done and treating.exception() is None:
                # An orderly close, after the last byte was sent.
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()
        finally:
            treating.cancel()
            gone.cancel()
            self._open.discard(writer)
            # asyncio fails to abort a transport that closed after it had sent the rest.
            if writer.get_extra_info("socket").fileno() >= 0:
                writer.transport.abort()
