"""`ttp-mcp history`: the writes through this server, from the ledger."""

import argparse
import json
from contextlib import AsyncExitStack
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

from ttp_mcp import config, times
from ttp_mcp.cli.arguments import Subparsers, add_client_flags, parse_number
from ttp_mcp.cli.call import Outcome, print_answer, report_failure, report_misuse
from ttp_mcp.cli.serve import open_sandbox

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
    number = partial(parse_number, lowest=1, highest=100_000)
    parser.add_argument(
        "--limit", type=number, default=_LIMIT, metavar="N", help=f"at most N writes (default {_LIMIT})"
    )
    add_client_flags(parser)
    parser.set_defaults(run=partial(print_answer, read=_read_history))


async def _read_history(args: argparse.Namespace, settings: config.Settings) -> Outcome:
    from ttp_mcp.factory import create_server

    async with AsyncExitStack() as stack:
        sandbox = await open_sandbox(stack, settings) if args.sandbox else None
        runtime = create_server(settings, sandbox)
        stack.push_async_callback(runtime.aclose)
        return await _report_history(args, runtime.app)


async def _report_history(args: argparse.Namespace, context: "ToolContext") -> Outcome:
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
