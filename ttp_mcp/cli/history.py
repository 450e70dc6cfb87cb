"""`ttp-mcp history`: the writes through this server, from the ledger."""

import argparse
import json
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING

from ttp_mcp import config, times
from ttp_mcp.cli.arguments import Subparsers, add_log_level, add_profile
from ttp_mcp.cli.call import Outcome, print_outcome, report_failure, report_misuse
from ttp_mcp.cli.serve import open_sandbox, run_async, settings_of

if TYPE_CHECKING:
    from ttp_mcp.toolkit.context import ToolContext

_LIMIT = 50


def add_parser(subparsers: Subparsers) -> None:
    """Add `history` to the command line."""
    parser = subparsers.add_parser(
        "history",
        help="list what was created, changed, deleted and published",
        description="List the writes through this server, from its ledger: when, by which tool, for which accounts, with what "
        "outcome; unknown outcomes first. No content. It covers the present token and organization.",
    )
    parser.add_argument("--since", metavar="TIME", help="only writes since then: 2026-12-01 or 2026-12-01T09:00")
    parser.add_argument(
        "--limit", type=_parse_limit, default=_LIMIT, metavar="N", help=f"at most N writes (default {_LIMIT})"
    )
    parser.add_argument("--sandbox", action="store_true", help="the history of the local sandbox")
    add_profile(parser)
    add_log_level(parser)
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the history: 0, 1 if the ledger can't be read, 2 for a wrong setting or time, 3 without a token."""
    try:
        settings = settings_of(args)
        outcome = run_async(settings, _read, args, settings)
    except config.SettingProblem as problem:
        outcome = report_misuse(args, str(problem), "setting")
    return print_outcome(outcome)


async def _read(args: argparse.Namespace, settings: config.Settings) -> Outcome:
    from ttp_mcp.factory import create_server

    async with AsyncExitStack() as stack:
        sandbox = await open_sandbox(stack, settings) if args.sandbox else None
        runtime = create_server(settings, sandbox)
        stack.push_async_callback(runtime.aclose)
        return await _list(args, runtime.app)


async def _list(args: argparse.Namespace, context: "ToolContext") -> Outcome:
    from ttp_mcp.ledger.store.base import LedgerProblem
    from ttp_mcp.server.history import read_history, render_history

    if context.api.token is None:
        cause = context.settings.token_problem or "no API token is set."
        text = f"History not read: {cause} The history of a token needs that token. Run `ttp-mcp login`."
        return report_failure(args, "token", text)
    try:
        since = times.parse_when(args.since, context.zone, context.now(), date_ok=True) if args.since else None
        history = await read_history(context, since, args.limit)
    except times.TimeProblem as problem:
        return report_misuse(args, f"--since: {problem}")
    except LedgerProblem as problem:
        return report_failure(args, "refused", f"History not read: {problem}")
    return Outcome(0, json.dumps(asdict(history)) if args.json else render_history(history, context))


def _parse_limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= 100_000):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 100000")
    return int(text)
