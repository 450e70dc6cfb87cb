"""The sandbox on ports of this machine: API and page on one, storage on another, so that it is another origin.

    async with serve_on_ports() as sandbox:
        sandbox.api_url, sandbox.page_url, sandbox.token   # real HTTP

Imported only to serve, because it imports an HTTP server.
"""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from ttp_mcp.sandbox.rest.faults import ABORT, wait_for_disconnect
from ttp_mcp.sandbox.sandbox import Sandbox

HOSTS = ("127.0.0.1", "::1", "localhost")
GRACE_SECONDS = 2.0
_PORTS_TRIED = 50


class ServeProblem(Exception):
    """Raised when the sandbox can't be served. `str()` says why and what to do."""


@asynccontextmanager
async def serve_on_ports(
    folder: Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    storage_port: int | None = None,
    grace_seconds: float = GRACE_SECONDS,
    **options: Any,
) -> AsyncGenerator[Sandbox]:
    """Serve a sandbox while the block runs. It accepts requests when the block begins.

    Args:
        folder: Where the data are; a temporary one when omitted.
        host: One of `HOSTS`. The sandbox is for this machine alone: its page needs no token.
        port: For API and page; 0 takes a free one.
        storage_port: For the media; by default the next free one after `port`.
        grace_seconds: How long answers that are under way may take when the block ends.
        options: As `Sandbox` takes them.

    Raises:
        ServeProblem: The host is not of this machine, or a port is taken.
        StoreProblem: The folder holds data that can't be used.
    """
    with ExitStack() as stack:
        api = stack.enter_context(open_socket(host, port))
        storage = stack.enter_context(
            _open_next_free(host, port) if storage_port is None else open_socket(host, storage_port)
        )
        sandbox = stack.enter_context(
            Sandbox(folder, api_origin=_get_origin(host, api), storage_origin=_get_origin(host, storage), **options)
        )
        async with AsyncExitStack() as servers:
            await servers.enter_async_context(_serve_app(sandbox.app, api, grace_seconds))
            await servers.enter_async_context(_serve_app(sandbox.storage_app, storage, grace_seconds))
            yield sandbox


@contextmanager
def open_socket(host: str, port: int) -> Generator[socket.socket]:
    """Open a socket that accepts connections.

    Raises:
        ServeProblem: The host is not of this machine, or the port is taken.
    """
    if host not in HOSTS:
        raise ServeProblem(
            f"The sandbox is only for this machine: {host[:60]} is not one of {', '.join(HOSTS)}. "
            "Its page needs no token, so other machines must not reach it."
        )
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as opened:
        if os.name == "posix":  # pragma: no branch - elsewhere the option would let two servers share a port
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind(address)
            opened.listen(128)
        except OSError as problem:
            raise ServeProblem(_describe_bind_error(host, port, problem)) from None
        yield opened


def _describe_bind_error(host: str, port: int, problem: OSError) -> str:
    if problem.errno == errno.EADDRINUSE:
        return f"Port {port} is taken, perhaps by another sandbox. End that one, or pass 0 for a free port."
    return f"Port {port} of {host} can't be used ({problem.strerror}). Pass another --port, or 0 for a free one."


@contextmanager
def _open_next_free(host: str, port: int) -> Generator[socket.socket]:
    """Open a socket on one of the ports after `port`, or on any free one if it is 0 or they are taken."""
    with ExitStack() as stack:
        opened = None
        for candidate in range(port + 1, min(port + _PORTS_TRIED, 65536)) if port else ():
            try:
                opened = stack.enter_context(open_socket(host, candidate))
            except ServeProblem:
                continue
            break
        yield opened or stack.enter_context(open_socket(host, 0))


def _get_origin(host: str, opened: socket.socket) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{opened.getsockname()[1]}"


@asynccontextmanager
async def _serve_app(app: ASGIApp, opened: socket.socket, grace_seconds: float) -> AsyncGenerator[None]:
    """Serve an application on a socket until the block ends; pending responses finish first."""
    server = _Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            date_header=False,
            server_header=False,
            proxy_headers=False,
        )
    )
    task = asyncio.create_task(server.serve([opened]))
    try:
        await server.answers.wait()
        yield
    finally:
        server.should_exit = True
        with anyio.CancelScope(shield=True):
            await asyncio.wait((task,), timeout=grace_seconds)
            for late in tuple(server.server_state.tasks):
                late.cancel()
            await task


class _Server(uvicorn.Server):
    """A server without signal handlers that sets an event when it accepts requests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answers.set()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class _Protocol(H11Protocol):
    """Gives requests a way to drop the connection, which faults use."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn's own
        super().connection_made(transport)
        app = self.app

        async def with_abort(scope: Scope, receive: Receive, send: Send) -> None:
            extensions = {**scope.get("extensions", {}), ABORT: transport.abort}
            try:
                await app({**scope, "extensions": extensions}, receive, send)  # pyright: ignore[reportArgumentType] - uvicorn names its own types
            except asyncio.CancelledError:
                # The grace period of the shutdown is over: close the connection.
                transport.abort()
                await wait_for_disconnect(receive)

        self.app = with_abort  # pyright: ignore[reportAttributeAccessIssue] - as above
