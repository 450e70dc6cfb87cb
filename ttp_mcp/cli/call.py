"""`ttp-mcp tools`, `call` and `doctor`: the same tools from a shell, through a real MCP client."""

import argparse
import json
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import anyio

from ttp_mcp import config
from ttp_mcp.cli import output
from ttp_mcp.cli.arguments import Subparsers, add_client_flags
from ttp_mcp.cli.serve import run_async, settings_of

if TYPE_CHECKING:
    import mcp_types as types
    from mcp.client import Client
    from mcp.shared.dispatcher import ProgressFnT

FAILED, MISUSED = 1, 2
# By the kind of error; whatever is not named is FAILED.
EXIT_CODES = {
    "arguments": MISUSED,
    "setting": MISUSED,
    "token": 3,
    "forbidden": 4,
    "not_found": 5,
    "rate_limited": 6,
    "unreachable": 7,
    "unclear": 8,
    "bug": 70,
}
# Fields of a successful result that mean "incomplete".
_FALLS_SHORT: Mapping[str, object] = {"complete": False, "would_be_sent": False, "planned": []}
_BAR = 24


@dataclass(frozen=True, slots=True)
class Outcome:
    """Result of a command. Printed when everything is closed, so that a reader who leaves early breaks nothing."""

    code: int
    text: str
    to_stdout: bool = True


Act = Callable[["Client", argparse.Namespace], Awaitable[Outcome]]


def add_parsers(subparsers: Subparsers) -> None:
    """Add `tools`, `call` and `doctor` to the command line."""
    tools = subparsers.add_parser(
        "tools", help="list the tools", description="List the tools that this configuration offers."
    )
    call = subparsers.add_parser(
        "call",
        help="call a tool",
        description="Call a tool and print its answer. Exit codes: 0 done, 1 refused, failed or only partly done, 2 wrong arguments, "
        "3 token, 4 not allowed, 5 not found, 6 too many requests, 7 not reached, 8 unclear whether it happened. "
        "The answer counts too: 8 if an outcome is unknown, else 1 for a plan that isn't complete or schedules no post, and for a "
        "post that check_post wouldn't send.",
    )
    call.add_argument("tool", metavar="TOOL", help="name of the tool")
    call.add_argument(
        "arguments", metavar="JSON", nargs="?", default="{}", help="its arguments as a JSON object, or - for stdin"
    )
    doctor = subparsers.add_parser(
        "doctor", help="check the set-up", description="check_setup from a shell; exit code 1 when something is wrong."
    )
    for parser, act in ((tools, _list_tools), (call, _call_with_json), (doctor, _check_setup)):
        add_client_flags(parser)
        parser.set_defaults(run=partial(print_answer, read=partial(_ask_client, act)))


def print_answer(
    args: argparse.Namespace, read: Callable[[argparse.Namespace, config.Settings], Awaitable[Outcome]]
) -> int:
    """Print an answer and return its exit code, which a script goes by even if nothing reads the output."""
    try:
        settings = settings_of(args)
        outcome = run_async(settings, read, args, settings)
    except config.SettingProblem as problem:
        outcome = report_misuse(args, str(problem), "setting")
    with output.ignore_broken_pipe():
        print(outcome.text, file=sys.stdout if outcome.to_stdout else sys.stderr)
    return outcome.code


def report_failure(args: argparse.Namespace, kind: str, text: str, said_by: str = "") -> Outcome:
    """Report why a call has no answer. With `--json` the report goes to stdout in the same form as an answer."""
    code = EXIT_CODES.get(kind, FAILED)
    if args.json:
        return Outcome(code, json.dumps({"error": kind, "text": text}))
    return Outcome(code, f"{said_by}{text}", to_stdout=False)


def report_misuse(args: argparse.Namespace, text: str, kind: str = "arguments") -> Outcome:
    """Return the outcome of an error that no tool reported."""
    return report_failure(args, kind, text, said_by="ttp-mcp: ")


async def _ask_client(act: Act, args: argparse.Namespace, settings: config.Settings) -> Outcome:
    async with connect_client(settings, with_sandbox=args.sandbox) as client:
        return await act(client, args)


@asynccontextmanager
async def connect_client(settings: config.Settings, *, with_sandbox: bool) -> AsyncGenerator["Client"]:
    """Connect an MCP client to a server with these settings, in this process."""
    from mcp.client import Client

    from ttp_mcp import logs
    from ttp_mcp.cli.serve import open_sandbox
    from ttp_mcp.factory import create_server

    async with AsyncExitStack() as stack:
        sandbox = await open_sandbox(stack, settings) if with_sandbox else None
        runtime = create_server(settings, sandbox)
        stack.push_async_callback(runtime.aclose)
        stack.callback(logs.configure_logging(settings.log_level))
        yield await stack.enter_async_context(Client(runtime.server))


async def _list_tools(client: "Client", args: argparse.Namespace) -> Outcome:
    found = (await client.list_tools()).tools
    if args.json:
        listed = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in found]
        return Outcome(0, json.dumps(listed))
    widest = max((len(tool.name) for tool in found), default=0)
    lines = [f"{tool.name:{widest}}  {(tool.description or '').partition(chr(10))[0]}" for tool in found]
    return Outcome(0, "\n".join(lines))


async def _call_with_json(client: "Client", args: argparse.Namespace) -> Outcome:
    text = await anyio.to_thread.run_sync(sys.stdin.buffer.read) if args.arguments == "-" else args.arguments
    example = "for example '{\"limit\": 5}'"
    try:
        # UTF-8, or UTF-16 as Windows PowerShell writes it, whatever the encoding of the terminal is.
        arguments: Any = json.loads(text)
    except ValueError as problem:
        return report_misuse(args, f"the arguments are not valid JSON ({problem}); {example}.")
    if not isinstance(arguments, dict):
        return report_misuse(args, f"the arguments must be one JSON object, {example}.")
    return await _call_tool(client, args, args.tool, cast("dict[str, Any]", arguments))


async def _call_tool(
    client: "Client",
    args: argparse.Namespace,
    tool: str,
    arguments: dict[str, Any],
    falls_short: Mapping[str, object] = _FALLS_SHORT,
) -> Outcome:
    from mcp.shared.exceptions import MCPError

    from ttp_mcp.server.rendering import ERROR_KIND

    try:
        with _progress_bar() as bar:
            result = await client.call_tool(tool, arguments, progress_callback=bar)
    except MCPError as problem:
        return report_misuse(
            args, f"{problem.message} ttp-mcp tools lists those that TTP_ACCESS and TTP_TOOLSETS leave."
        )
    if result.is_error:
        return report_failure(args, str((result.meta or {}).get(ERROR_KIND, "bug")), _join_text(result))
    data: dict[str, Any] = result.structured_content or {}
    return Outcome(_code_of(data, falls_short), json.dumps(data) if args.json else _join_text(result))


def _code_of(data: dict[str, Any], falls_short: Mapping[str, object]) -> int:
    """Return the exit code of an answer."""
    if any(each.get("outcome") == "unknown" for each in (data, *data.get("steps", ()))):
        return EXIT_CODES["unclear"]
    return FAILED if any(data.get(name) == value for name, value in falls_short.items()) else 0


async def _check_setup(client: "Client", args: argparse.Namespace) -> Outcome:
    return await _call_tool(client, args, "check_setup", {}, falls_short={"ok": False})


@contextmanager
def _progress_bar() -> Generator["ProgressFnT | None"]:
    """Draw a progress bar on a terminal, and remove it when the call ends: its last step may never be reported."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        yield _show_progress
    finally:
        _draw_line("")


async def _show_progress(progress: float, total: float | None, message: str | None) -> None:
    share = min(1.0, progress / total) if total else 0.0
    filled = round(_BAR * share)
    _draw_line(f"[{'#' * filled}{'.' * (_BAR - filled)}] {share:4.0%} {message or ''}")


def _draw_line(line: str) -> None:
    """Overwrite the current line of the terminal."""
    print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)


def _join_text(result: "types.CallToolResult") -> str:
    return "\n".join(block.text for block in result.content if block.type == "text")
