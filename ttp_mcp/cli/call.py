"""`ttp-mcp tools` and `ttp-mcp call`: the same tools from a shell, through a real MCP client."""

import argparse
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio

from ttp_mcp import config
from ttp_mcp.cli.install import Subparsers

if TYPE_CHECKING:
    from mcp.client import Client

FAILED, MISUSED = 1, 2


def add_parsers(subparsers: Subparsers) -> None:
    """Add `tools` and `call` to the command line."""
    tools = subparsers.add_parser(
        "tools", help="list the tools", description="List the tools that this configuration offers."
    )
    call = subparsers.add_parser("call", help="call a tool", description="Call a tool and print its answer.")
    call.add_argument("tool", metavar="TOOL", help="name of the tool")
    call.add_argument(
        "arguments", metavar="JSON", nargs="?", default="{}", help="its arguments as a JSON object, or - for stdin"
    )
    for parser, run in ((tools, run_tools), (call, run_call)):
        parser.add_argument("--sandbox", action="store_true", help="use the local sandbox instead of the real API")
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(run=run)


def run_tools(args: argparse.Namespace) -> int:
    """Print the tools; 0, or 2 when a setting can't be used."""
    return _with_client(args, _print_tools)


def run_call(args: argparse.Namespace) -> int:
    """Call a tool and print its answer: 0, 1 when the tool failed, 2 when the call can't be made."""
    return _with_client(args, _print_answer)


def _with_client(args: argparse.Namespace, act: Any) -> int:
    try:
        settings = config.load()
    except config.SettingProblem as problem:
        print(f"ttp-mcp: {problem}", file=sys.stderr)
        return MISUSED
    return anyio.run(_act, args, settings, act)


async def _act(args: argparse.Namespace, settings: config.Settings, act: Any) -> int:
    async with connected(settings, with_sandbox=args.sandbox) as client:
        return await act(client, args)


@asynccontextmanager
async def connected(settings: config.Settings, *, with_sandbox: bool) -> AsyncGenerator["Client"]:
    """An MCP client that is connected to a server of this configuration, in this process."""
    from mcp.client import Client

    from ttp_mcp import logs
    from ttp_mcp.assembly import assemble
    from ttp_mcp.cli.serve import open_sandbox

    async with AsyncExitStack() as stack:
        sandbox = await open_sandbox(stack, settings) if with_sandbox else None
        assembly = assemble(settings, sandbox)
        stack.push_async_callback(assembly.aclose)
        stack.callback(logs.configure(settings.log_level))
        yield await stack.enter_async_context(Client(assembly.server))


async def _print_tools(client: "Client", args: argparse.Namespace) -> int:
    found = (await client.list_tools()).tools
    if args.json:
        print(
            json.dumps(
                [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in found], ensure_ascii=False
            )
        )
        return 0
    widest = max((len(tool.name) for tool in found), default=0)
    for tool in found:
        first_line = (tool.description or "").partition("\n")[0]
        print(f"{tool.name:{widest}}  {first_line}")
    return 0


async def _print_answer(client: "Client", args: argparse.Namespace) -> int:
    from mcp.shared.exceptions import MCPError

    text = await anyio.to_thread.run_sync(sys.stdin.read) if args.arguments == "-" else args.arguments
    try:
        arguments: Any = json.loads(text)
    except ValueError as problem:
        print(f"ttp-mcp: the arguments are not valid JSON ({problem}). Example: '{{\"limit\": 5}}'", file=sys.stderr)
        return MISUSED
    if not isinstance(arguments, dict):
        print("ttp-mcp: the arguments must be one JSON object, for example '{\"limit\": 5}'.", file=sys.stderr)
        return MISUSED
    try:
        result = await client.call_tool(args.tool, cast("dict[str, Any]", arguments))
    except MCPError as problem:
        print(f"ttp-mcp: {problem.message} ttp-mcp tools lists them.", file=sys.stderr)
        return MISUSED
    if args.json:
        print(
            json.dumps(
                {"is_error": result.is_error, "content": result.structured_content or _text(result)}, ensure_ascii=False
            )
        )
    else:
        print(_text(result), file=sys.stderr if result.is_error else sys.stdout)
    return FAILED if result.is_error else 0


def _text(result: Any) -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")
