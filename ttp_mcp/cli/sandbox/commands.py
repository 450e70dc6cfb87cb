"""`ttp-mcp sandbox`: serve the sandbox on a port, and control it: none of this can be done over its API."""

import argparse
import json
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from ttp_mcp import config, times
from ttp_mcp.cli.arguments import Parser, Subparsers, names_no_command, parse_port
from ttp_mcp.cli.sandbox import clock as controls
from ttp_mcp.cli.sandbox import endpoints, faults, plans, tokens, workspace
from ttp_mcp.cli.sandbox.session import Control, Refused, SandboxSession

HOST, PORT = "127.0.0.1", 8765
_CONTROLS = ("serve", "token", "clock", "plan", "endpoints", "fault", "reset", "export")

_FAULTS = """\
kinds:
  delay            wait for --seconds (2), then answer as usual
  429              refuse with 429 and Retry-After: --seconds (2); nothing is done
  500, 503         answer so; nothing is done
  reset-before     close the connection without an answer; nothing is done
  reset-after      do it, then close the connection without an answer
  truncated        do it, then close the connection in the middle of the answer
  html             answer 200 with a web page; nothing is done
  drip             do it, then send the answer one byte each --seconds (0.4)
  expired-presign  issue an upload URL that is over already
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add `sandbox` to the command line."""
    parser = subparsers.add_parser(
        "sandbox",
        help="run the local sandbox on a port, and control it",
        description="`serve`, the default, serves the REST API, a page and the media on ports of this "
        "machine, in the foreground, and publishes due posts. The other commands control the sandbox, whether it "
        "runs or not, on a port or inside `ttp-mcp --sandbox`.",
    )
    parser.set_defaults(run=run, control=None)
    # argparse gives the type of this value no public name.
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    serve = _added(commands, "serve", "serve the sandbox (default)", None)
    serve.add_argument("--host", default=HOST, help=f"{HOST} (default), ::1 or localhost")
    serve.add_argument(
        "--port", type=parse_port, default=PORT, help=f"port of API and page (default {PORT}); 0 takes a free one"
    )
    serve.add_argument("--storage-port", type=parse_port, help="port of the media; by default the next free one")
    _add_token(commands.add_parser("token", help="create, list and revoke API tokens"))
    clock = _added(commands, "clock", "show the sandbox's clock, or move it", controls.clock)
    clock.add_argument(
        "to",
        nargs="?",
        metavar="TIME",
        help="+3h, -- -1d (units s m h d w), a time such as 2026-12-01T09:00, stop, or real",
    )
    plan = _added(commands, "plan", "show the organizations' plans, or change one", plans.plan)
    plan.add_argument("plan", nargs="?", choices=("complete", "small"), help="the plan")
    plan.add_argument("--org", metavar="ID", help="organization (default: the first)")
    vendor = _added(commands, "endpoints", "turn undocumented endpoints on or off", endpoints.endpoints)
    vendor.add_argument("state", nargs="?", choices=("on", "off"), help="off: they answer 404 (default: show)")
    _add_fault(_added(commands, "fault", "make requests fail on purpose", faults.fault))
    reset = _added(commands, "reset", "replace everything by the same workspace every time", None)
    reset.set_defaults(control=workspace.reset)
    reset.add_argument("--at", metavar="TIME", help="the clock starts there and runs on; all times follow from it")
    what = reset.add_mutually_exclusive_group()
    what.add_argument("--empty", action="store_true", help="one organization with no accounts and no posts")
    what.add_argument("--from", dest="file", type=Path, metavar="FILE", help="a workspace that `export` wrote")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    export = _added(commands, "export", "write the workspace as a JSON file", workspace.export)
    export.add_argument("file", nargs="?", type=Path, metavar="FILE", help="where to (default: standard output)")


def _added(commands: Any, name: str, words: str, control: Control | None) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=words, description=f"{words.capitalize()}.")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data folder (default: sandbox in TTP_STATE_DIR)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    if control:
        parser.set_defaults(control=control)
    return parser


def _add_token(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="create|list|revoke", required=True)
    create = _added(actions, "create", "make a token and print it, this one time", tokens.token_create)
    create.add_argument("--label", default="made by hand", help="what it is for")
    create.add_argument("--expires-days", type=int, metavar="N", help="1 to 365 (default: never)")
    create.add_argument(
        "--can", choices=("read", "draft", "publish"), default="publish", help="what it may do (default: publish)"
    )
    _added(actions, "list", "list the tokens, without the tokens themselves", tokens.token_list)
    revoke = _added(actions, "revoke", "revoke a token for good", tokens.token_revoke)
    revoke.add_argument("id", metavar="ID", help="as `list` shows it")


def _add_fault(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _FAULTS
    parser.add_argument("kind", nargs="?", default="list", metavar="KIND|list|clear", help="what to do (default: list)")
    parser.add_argument("--times", type=int, metavar="N", help="how many requests it hits (default 1)")
    parser.add_argument("--seconds", type=float, metavar="S", help="for delay, 429 and drip")
    parser.add_argument("--method", metavar="M", help="only requests of this method: GET, POST, DELETE")
    parser.add_argument("--path", help="only requests at or below this path: /posts")


def parse_words(parser: Parser, words: list[str]) -> argparse.Namespace:
    """Parse `sandbox …`; without a further command it serves."""
    if names_no_command(words[1:]):
        return parser.parse_command(["sandbox", "serve", *words[1:]], _CONTROLS, prog="ttp-mcp sandbox")
    return parser.parse_args(words)


def run(args: argparse.Namespace) -> int:
    """Run the command and print the result. 0: done; 1: refused, nothing changed."""
    from ttp_mcp.sandbox.store import StoreProblem

    try:
        # Not resolved before it is needed: a folder that was named needs no settings.
        folder: Path = args.data or config.state_dir() / "sandbox"
        if args.control is None:
            return _serve(args, folder)
        with _opened(args, folder) as opened:
            facts, words = args.control(args, opened)
    except (Refused, StoreProblem, config.SettingProblem, times.TimeProblem) as problem:
        return _refused(args, str(problem))
    except OSError as problem:
        return _refused(args, f"{problem.filename or 'The data folder'} can't be used ({problem.strerror or problem}).")
    print(json.dumps(facts) if args.json else "\n".join(words))
    return 0


def _refused(args: argparse.Namespace, words: str) -> int:
    # A sentence begins with a capital; the name of a file or folder is written as it is.
    named = tuple(str(path) for path in (getattr(args, "file", None), args.data) if path)
    if words.partition(" ")[0].isalpha() and not words.startswith(named):
        words = words[0].upper() + words[1:]
    if args.json:
        print(json.dumps({"problem": words}))
    else:
        print(f"Nothing was changed. {words}" if args.control else words, file=sys.stderr)
    return 1


@contextmanager
def _opened(args: argparse.Namespace, folder: Path) -> Generator[SandboxSession]:
    if args.control is workspace.reset:
        workspace.before_reset(args, folder)
    opened = SandboxSession(folder)
    try:
        yield opened
    finally:
        opened.sandbox.close()


def _serve(args: argparse.Namespace, folder: Path) -> int:
    # The HTTP server is loaded here alone.
    import asyncio

    from ttp_mcp.sandbox.serve import ServeProblem

    try:
        return asyncio.run(_serving(args, folder))
    except ServeProblem as problem:
        return _refused(args, str(problem))


async def _serving(args: argparse.Namespace, folder: Path) -> int:
    import asyncio

    from ttp_mcp.sandbox.serve import serve_on_ports
    from ttp_mcp.server.panels.gallery import create_pages

    ended, loop = asyncio.Event(), asyncio.get_running_loop()

    def end(_: int, __: FrameType | None) -> None:
        loop.call_soon_threadsafe(ended.set)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        serving = serve_on_ports(
            folder,
            host=args.host,
            port=args.port,
            storage_port=args.storage_port,
            label="ttp-mcp sandbox",
            pages=create_pages(),
        )
        async with serving as sandbox, sandbox.running():
            facts = {"api_url": sandbox.api_url, "token": sandbox.token, "page_url": sandbox.page_url}
            # In Windows PowerShell `curl` is another program.
            curl = "curl.exe" if sys.platform == "win32" else "curl"
            words = (
                f"The sandbox answers at {sandbox.api_url}",
                f"Page: {sandbox.page_url}",
                f"Panels with recorded data: {sandbox.page_url}panels/",
                f"Token, until this ends: {sandbox.token}",
                f'Try: {curl} {sandbox.api_url}/posts -H "Authorization: Bearer {sandbox.token}"',
                f"Data: {folder}. Ctrl+C ends it; the data stay.",
            )
            print(json.dumps(facts) if args.json else "\n".join(words), flush=True)
            await ended.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return 0
