"""Serve the HTTP application on a socket until a signal, then shut down gracefully."""

import asyncio
import errno
import os
import socket
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from ttp_mcp.process import CONSOLE_CLOSED, CONSOLE_CLOSED_SECONDS, exit_now, handle_signals
from ttp_mcp.transports.http.app import HttpService
from ttp_mcp.transports.http.options import Options
from ttp_mcp.transports.http.timeouts import TimedProtocol

DRAIN_SECONDS = 10
# Longer than load balancers keep idle connections, so that the load balancer closes first; otherwise a request can race our close.
KEEP_ALIVE_SECONDS = 75
# Maximum concurrent connections; more are answered with 503. Each takes about 20 KiB.
MOST_CONNECTIONS = 8_000
# How long a shutdown waits for responses after the last write, and until abandoned writes are reported.
_SETTLE_SECONDS = 0.5
_REPORT_SECONDS = 0.25
# How long before its end a shutdown abandons writes, so that their calls can report it.
_ABANDON_SECONDS = 1.0
_POLL_SECONDS = 0.05


class BindProblem(Exception):
    """The address can't be used; the text says why and what to do."""


@contextmanager
def open_listener(host: str, port: int) -> Generator[socket.socket]:
    """Open a socket that listens.

    Raises:
        BindProblem: The host isn't an address of this machine, or the port is taken or not allowed.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError:
        raise BindProblem(
            f"--host {host} isn't an address of this machine. Change it, or leave it out for 127.0.0.1."
        ) from None
    with socket.socket(family, kind) as opened:
        if os.name == "posix":  # pragma: no branch - on Windows this would let two servers share a port
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind(address)
            opened.listen(1024)
        except OSError as problem:
            raise BindProblem(_describe_bind_error(host, port, problem)) from None
        yield opened


def allow_many_connections() -> None:
    """Raise the limit on open files as far as allowed; each connection is one."""
    if sys.platform == "win32":  # pragma: no cover - Windows has no such limit
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * MOST_CONNECTIONS if hard == resource.RLIM_INFINITY else min(hard, 2 * MOST_CONNECTIONS)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def to_url(options: Options, port: int) -> str:
    """URL of MCP for a client on this machine."""
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"http://{host}:{port}{options.endpoint}"


async def serve_http(
    service: HttpService,
    opened: socket.socket,
    *,
    ready: Callable[[], None],
    drain_seconds: int = DRAIN_SECONDS,
    most_connections: int = MOST_CONNECTIONS,
    protocol: type[TimedProtocol] = TimedProtocol,
    exit_process: Callable[[int], object] = exit_now,
) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code.

    After the signal nothing new is accepted, and calls in flight get `drain_seconds`; a second signal exits at once.

    Args:
        service: The service.
        opened: A socket that listens.
        ready: Called as soon as requests are answered.
        drain_seconds: Maximum wait for calls in flight.
        most_connections: Maximum connections; more are answered with 503.
        protocol: HTTP protocol of a connection.
        exit_process: Ends the process immediately; called with the exit code at a second signal.

    Returns:
        0, or 1 if a write was abandoned. After a second signal the process has exited with 128 and its number.
    """
    server = _Server(
        uvicorn.Config(
            _ignore_late_cancels(service),
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=most_connections,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=drain_seconds,
        ),
        service,
        ready,
        exit_process,
    )
    async with service.running():
        await server.serve([opened])
    return 0 if server.is_drained else 1


def _ignore_late_cancels(service: HttpService) -> ASGIApp:
    """Wrap the application, so that uvicorn logs no traceback for a call that outlasts the shutdown."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await service.app(scope, receive, send)
        except asyncio.CancelledError:
            # Its connection is closed already, so no response is possible.
            if not service.health.is_draining:
                raise

    return app


class _Server(uvicorn.Server):
    """uvicorn with our signal handling and shutdown."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: HttpService,
        ready: Callable[[], None],
        exit_process: Callable[[int], object],
    ) -> None:
        super().__init__(config)
        self.is_drained = True
        self._service = service
        self._ready = ready
        self._exit_process = exit_process

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._service.stop_accepting()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.config.timeout_graceful_shutdown or 0)
        closing = asyncio.create_task(self._close_streams(deadline))
        await super().shutdown(sockets)
        closing.cancel()
        # A write may outlive its request.
        self.is_drained &= await self._service.drain(max(_SETTLE_SECONDS, deadline - loop.time()))

    async def _close_streams(self, deadline: float) -> None:
        """Close streams that never end (SSE), once no write is in flight and responses had a moment to be sent.

        Writes that take too long are abandoned while their connections are open, so that their calls can report it.
        """
        loop = asyncio.get_running_loop()
        await asyncio.sleep(_SETTLE_SECONDS)
        while True:
            if not self._service.is_busy or loop.time() >= deadline - _ABANDON_SECONDS:
                break
            await asyncio.sleep(_POLL_SECONDS)
        self.is_drained = await self._service.drain(0)
        await asyncio.sleep(_REPORT_SECONDS)
        for connection in list(self.server_state.connections):
            if isinstance(connection, TimedProtocol):  # pragma: no branch - always
                connection.transport.close()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        with handle_signals(self._handle_signal):
            yield

    def _handle_signal(self, number: int) -> None:
        if number == CONSOLE_CLOSED:
            self.config.timeout_graceful_shutdown = int(CONSOLE_CLOSED_SECONDS)  # pragma: no cover - Windows only
        elif self.should_exit:
            self._exit_process(128 + number)
        self.should_exit = True


def _describe_bind_error(host: str, port: int, problem: OSError) -> str:
    if problem.errno == errno.EADDRINUSE:
        return f"Port {port} is taken, perhaps by another ttp-mcp. End that one, or pass another --port; 0 takes a free one."
    return f"Port {port} of {host} can't be used ({problem.strerror}). Pass another --host or --port."
