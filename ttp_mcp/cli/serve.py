"""Serving MCP: what `ttp-mcp` does without a command."""

import argparse
import sys
from contextlib import AsyncExitStack

import anyio

from ttp_mcp import config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of serving."""
    parser.add_argument(
        "--sandbox", action="store_true", help="use the local sandbox instead of the real API; no account needed"
    )
    parser.add_argument(
        "--log-level", metavar="LEVEL", help="logging to stderr: DEBUG, INFO, WARNING or ERROR (TTP_LOG_LEVEL)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until the client goes away; 0 at a proper end, 2 when a setting can't be used."""
    from ttp_mcp import logs

    try:
        settings = settings_of(args)
    except config.SettingProblem as problem:
        print(f"ttp-mcp: {problem}", file=sys.stderr)
        return 2
    logs.forbid_core_dumps()
    logs.configure(settings.log_level)
    return anyio.run(_serve_stdio, settings, args.sandbox)


def settings_of(args: argparse.Namespace) -> config.Settings:
    """The settings, with the flags that override them."""
    environ = dict(config.environment())
    if getattr(args, "log_level", None):
        environ["TTP_LOG_LEVEL"] = args.log_level
    return config.load(environ)


async def _serve_stdio(settings: config.Settings, with_sandbox: bool) -> int:
    from ttp_mcp import logs, stdio
    from ttp_mcp.assembly import assemble

    async with AsyncExitStack() as stack:
        sandbox = None
        if with_sandbox:
            sandbox = await open_sandbox(stack, settings)
        assembly = assemble(settings, sandbox)
        stack.push_async_callback(assembly.aclose)
        # The SDK sets up logging of its own when a server is made.
        logs.configure(settings.log_level)
        return await stdio.serve(assembly.server, in_flight=lambda: assembly.app.writes.in_flight)


async def open_sandbox(stack: AsyncExitStack, settings: config.Settings):  # noqa: ANN201 - named below, loaded only here
    """The sandbox over the state folder, publishing in the background until the stack is closed."""
    from ttp_mcp.sandbox import Sandbox

    sandbox = await anyio.to_thread.run_sync(lambda: Sandbox(settings.state_dir / "sandbox", label="ttp-mcp --sandbox"))
    stack.callback(sandbox.close)
    await stack.enter_async_context(sandbox.running())
    return sandbox
