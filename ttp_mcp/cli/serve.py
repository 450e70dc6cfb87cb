"""`ttp-mcp serve`: serve MCP, the default command."""

import argparse
import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import anyio

from ttp_mcp import config, process
from ttp_mcp.cli import output
from ttp_mcp.cli.arguments import Subparsers, add_log_level, add_profile, parse_port, read_environment

if TYPE_CHECKING:
    from ttp_mcp.transports.http.options import Options
    from ttp_mcp.transports.stdio.handshake import Handshake

R = TypeVar("R")
T = TypeVarTuple("T")

_HTTP_ONLY = ("host", "port", "path", "multi_tenant", "behind_tls_proxy", "no_client_auth")


def add_parser(subparsers: Subparsers) -> None:
    """Add `serve` to the command line."""
    add_arguments(
        subparsers.add_parser("serve", help="serve MCP (default)", description="Serve MCP over stdio or HTTP.")
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `serve`."""
    parser.add_argument(
        "--sandbox", action="store_true", help="use the local sandbox instead of the real API; no account needed"
    )
    add_profile(parser)
    add_log_level(parser)
    parser.add_argument(
        "--transport",
        type=str.lower,
        choices=("stdio", "sse", "http"),
        default="stdio",
        help="stdio (default); http: streamable HTTP; sse: for older clients, deprecated",
    )
    # No defaults: a flag given with stdio is an error.
    parser.add_argument("--host", help="over HTTP: address to listen on (default 127.0.0.1)")
    parser.add_argument("--port", type=parse_port, help="over HTTP: port (default 8000); 0 takes a free one")
    parser.add_argument("--path", help="over HTTP: path of MCP (default /mcp, with sse /sse)")
    parser.add_argument(
        "--multi-tenant", action="store_true", help="over HTTP: each user sends their own token as X-TimeToPost-Token"
    )
    parser.add_argument(
        "--behind-tls-proxy", action="store_true", help="over HTTP: clients come through a proxy with TLS"
    )
    parser.add_argument(
        "--no-client-auth", action="store_true", help="over HTTP: serve anyone who can reach the port, without a key"
    )
    parser.set_defaults(run=run_serve)


def run_serve(args: argparse.Namespace) -> int:
    """Serve until the client leaves or a signal arrives; return 0, or 2 if a setting is invalid."""
    from ttp_mcp import logs

    try:
        settings = settings_of(args)
        options = _http_options(args, settings)
        process.forbid_core_dumps()
        logs.configure_logging(settings.log_level)
        if options is None:
            handshake = args.handshake if settings.fast_start else None
            return run_async(settings, _serve_stdio, settings, args.sandbox, handshake)
        return _serve_http(settings, options, args.sandbox)
    except config.SettingProblem as problem:
        # The client may have closed stderr.
        with output.ignore_broken_pipe():
            print(f"ttp-mcp: {problem}", file=sys.stderr)
        if args.handshake is not None and args.handshake.unread:
            args.handshake.refuse(f"{problem} Then restart the server.")
        return 2


def settings_of(args: argparse.Namespace) -> config.Settings:
    """Read the settings, with the flags that override them.

    Raises:
        SettingProblem: A value can't be used.
    """
    from ttp_mcp.ledger.store import open_store

    # The sandbox has a token of its own, and users of a multi-tenant server send theirs.
    with_login = not (args.sandbox or getattr(args, "multi_tenant", False))
    settings = config.load_settings(read_environment(args), with_login=with_login)
    # A wrong TTP_STATE_URL must show before a task group runs, which would wrap the error.
    open_store(settings)
    return settings


def run_async(settings: config.Settings, work: Callable[[*T], Awaitable[R]], *arguments: *T) -> R:
    """Run an asynchronous function in an event loop that the client of the store can use."""
    # Windows' own loop can't wait for the sockets of PostgreSQL's client.
    uses_selector = sys.platform == "win32" and settings.state_url is not None
    return anyio.run(
        work, *arguments, backend_options={"loop_factory": asyncio.SelectorEventLoop} if uses_selector else None
    )


async def _serve_stdio(settings: config.Settings, with_sandbox: bool, handshake: "Handshake | None") -> int:
    from ttp_mcp.factory import create_server
    from ttp_mcp.transports.stdio import transport
    from ttp_mcp.writes import startup_report

    async with AsyncExitStack() as stack:
        sandbox = await open_sandbox(stack, settings) if with_sandbox else None
        runtime = create_server(settings, sandbox)
        stack.push_async_callback(runtime.aclose)
        report = startup_report.report_unfinished_writes(runtime.app.ledger)
        stack.callback(asyncio.get_running_loop().create_task(report).cancel)
        code = await transport.serve_stdio(runtime.server, writes=runtime.app.writer.in_flight, handshake=handshake)
    process.force_exit_after(code)
    return code


def _serve_http(settings: config.Settings, options: "Options", with_sandbox: bool) -> int:
    # An HTTP server is loaded here alone.
    from ttp_mcp.transports.http.run import BindProblem, allow_many_connections

    allow_many_connections()
    try:
        return run_async(settings, _serve_in_loop, settings, options, with_sandbox)
    except BindProblem as problem:
        print(f"ttp-mcp: {problem}", file=sys.stderr)
        return 1


async def _serve_in_loop(settings: config.Settings, options: "Options", with_sandbox: bool) -> int:
    from ttp_mcp.transports.http.app import HttpService
    from ttp_mcp.transports.http.run import open_listener, serve_http, to_url

    async with AsyncExitStack() as stack:
        opened = stack.enter_context(open_listener(options.host, options.port))
        sandbox = await open_sandbox(stack, settings) if with_sandbox else None
        port = opened.getsockname()[1]
        service = HttpService(settings, options, sandbox, port=port)
        # What is loaded by now stays to the end. Collections that look at it took 5 % of a call's CPU time.
        gc.freeze()
        stack.push_async_callback(service.aclose)
        name = "streamable HTTP" if options.transport == "http" else "SSE"
        said = f"ttp-mcp: serving MCP at {to_url(options, port)} ({name})"
        return await serve_http(service, opened, ready=lambda: print(said, file=sys.stderr, flush=True))


async def open_sandbox(stack: AsyncExitStack, settings: config.Settings):  # noqa: ANN201 - named below, loaded only here
    """Open the sandbox of the state folder, publishing in the background until the stack is closed."""
    from ttp_mcp.sandbox import Sandbox
    from ttp_mcp.sandbox.store import StoreProblem

    folder = settings.state_dir / "sandbox"
    try:
        sandbox = await anyio.to_thread.run_sync(lambda: Sandbox(folder, label="ttp-mcp --sandbox"))
    except StoreProblem as problem:
        raise config.SettingProblem(f"--sandbox can't use {folder}: {problem}") from None
    except OSError as problem:
        raise config.SettingProblem(
            f"--sandbox can't use {folder} ({problem.strerror}). Set TTP_STATE_DIR to a folder that you can write."
        ) from None
    stack.callback(sandbox.close)
    await stack.enter_async_context(sandbox.running())
    return sandbox


def _http_options(args: argparse.Namespace, settings: config.Settings) -> "Options | None":
    """Check the flags of the HTTP transports; None for stdio.

    Raises:
        SettingProblem: They can't be served.
    """
    if args.transport == "stdio":
        given = (name.replace("_", "-") for name in _HTTP_ONLY if getattr(args, name) not in (None, False))
        if ignored := ", ".join(f"--{name}" for name in given):
            raise config.SettingProblem(f"{ignored} is for --transport http or sse. Say which, or leave it out.")
        return None
    from ttp_mcp.transports.http.options import Options, check_options

    given = {name: getattr(args, name) for name in _HTTP_ONLY if getattr(args, name) is not None}
    for name in given.keys() & {"host", "path"}:
        given[name] = config.clean_value(f"--{name}", given[name]) or ""
    options = Options(args.transport, **given)
    check_options(settings, options)
    return options
