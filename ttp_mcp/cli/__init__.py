"""Command line: parse the arguments, run one command, return its exit code. Without a command it serves MCP."""

import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from ttp_mcp import __version__, process
from ttp_mcp.transports.stdio.handshake import Handshake, find_handshake

# Loaded by the functions that need them: a start that only replays the handshake needs none.
if TYPE_CHECKING:
    import argparse

    from ttp_mcp.cli.arguments import Parser

DESCRIPTION = "MCP server for TimeToPost. Without a command it serves MCP over stdio, as MCP clients start it."
_COMMANDS = ("serve", "demo", "tools", "call", "doctor", "history", "sandbox", "login", "logout", "install")

# Exit code of a shell command that Ctrl+C ended: 128 plus the number of SIGINT.
_INTERRUPTED = 130


def build_parser() -> "Parser":
    """Build the parser with all commands."""
    from ttp_mcp.cli import call, demo, history, install, login, serve
    from ttp_mcp.cli.arguments import Parser
    from ttp_mcp.cli.sandbox import commands as sandbox

    root = Parser(prog="ttp-mcp", description=DESCRIPTION)
    root.add_argument("--version", action="version", version=f"ttp-mcp {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    serve.add_parser(commands)
    demo.add_parser(commands)
    call.add_parsers(commands)
    history.add_parser(commands)
    sandbox.add_parser(commands)
    login.add_parsers(commands)
    install.add_parser(commands)
    return root


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    handshake = None
    if not words or words[0] == "serve" or words[0].startswith("-"):
        handshake = find_handshake(words)
    if handshake is not None and handshake.can_replay:
        process.forbid_core_dumps()
        process.exit_at_signals()
        if not handshake.replay():
            return 0
    try:
        return _run_command(words, handshake)
    except Exception as bug:
        if handshake is None or not handshake.unread:
            raise
        # At once, since the client may stay for hours.
        sys.excepthook(type(bug), bug, bug.__traceback__)
        handshake.refuse("it made a mistake of its own, which it printed to stderr. Report it.")
        return 1


def _run_command(words: list[str], handshake: Handshake | None) -> int:
    from ttp_mcp.cli import output
    from ttp_mcp.credentials import has_token

    if has_token(words):
        print(
            "ttp-mcp: don't pass a token on the command line, where every program can read it. Run ttp-mcp login, or set TTP_API_TOKEN.",
            file=sys.stderr,
        )
        return 2
    args = _parse_words(words)
    args.handshake = handshake
    if args.command != "serve":
        output.replace_unencodable()
    code = 0
    try:
        with output.ignore_broken_pipe():
            code = args.run(args)
    except KeyboardInterrupt:
        sent = "; a write may have been sent: list_posts shows it" if args.command == "call" else ""
        print(f"ttp-mcp: stopped{sent}.", file=sys.stderr)
        return _INTERRUPTED
    return code


def _parse_words(words: list[str]) -> "argparse.Namespace":
    from ttp_mcp.cli.arguments import names_no_command

    if names_no_command(words):
        return _parse_serve(words)
    if words[0] == "sandbox":
        from ttp_mcp.cli.sandbox import commands as sandbox

        return sandbox.parse_words(build_parser(), words)
    return build_parser().parse_args(words)


def _parse_serve(words: list[str]) -> "argparse.Namespace":
    """Parse the flags of `serve` without loading the other commands."""
    if words in ([], ["--sandbox"]):
        _load_server()
    from ttp_mcp.cli import serve
    from ttp_mcp.cli.arguments import Parser

    parser = Parser(prog="ttp-mcp")
    serve.add_arguments(parser)
    parser.set_defaults(command="serve")
    return parser.parse_command(words, _COMMANDS)


def _load_server() -> None:
    """Import the stdio server with garbage collection off, which saves a tenth of the start's CPU time.

    The modules stay loaded to the end, so they are excluded from later collections too.
    """
    gc.disable()
    try:
        for name in ("ttp_mcp.factory", "ttp_mcp.transports.stdio.transport"):
            import_module(name)
    finally:
        gc.freeze()
        gc.enable()
