"""The command line: parse, call one function, print, exit code. Serving MCP over stdio is what happens without a command."""

import argparse
import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from ttp_mcp import __version__
from ttp_mcp.cli import output
from ttp_mcp.credentials import has_token

DESCRIPTION = "MCP server for TimeToPost. Without a command it serves MCP over stdio, as MCP clients start it."

# As a shell tells of what Ctrl+C ended: 128 and the number of SIGINT.
_INTERRUPTED = 130


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line and where help is."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help.\n")


def parser(*, with_commands: bool = True) -> argparse.ArgumentParser:
    """The command line; without the commands for the usual start, which is then not slowed by what they load."""
    from ttp_mcp.cli import serve

    root = _Parser(prog="ttp-mcp", description=DESCRIPTION)
    root.add_argument("--version", action="version", version=f"ttp-mcp {__version__}")
    serve.add_arguments(root)
    if with_commands:
        from ttp_mcp.cli import call, demo, install
        from ttp_mcp.cli.sandbox import commands as sandbox

        commands = root.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
        demo.add_parser(commands)
        call.add_parsers(commands)
        sandbox.add_parser(commands)
        install.add_parser(commands)
    return root


def _load_server() -> None:
    """Load what serving over stdio needs without searching memory for cycles meanwhile, a tenth of a start's CPU time.

    What is loaded stays to the end, so it is left out of later searches too.
    """
    gc.disable()
    try:
        for name in ("ttp_mcp.factory", "ttp_mcp.transports.stdio.transport"):
            import_module(name)
    finally:
        gc.freeze()
        gc.enable()


def _parsed(given: Sequence[str], *, with_commands: bool) -> argparse.Namespace:
    """The arguments; leaves with words when a flag would be ignored: of serving before a command, or of the command itself."""
    from ttp_mcp.cli.serve import misplaced

    root = parser(with_commands=with_commands)
    args = root.parse_args(given)
    command = getattr(args, "command", None)
    if command and (flags := misplaced(args)):
        root.error(
            f"{', '.join(flags)} before {command} is for serving MCP, and {command} would ignore it. Leave it out; "
            f"ttp-mcp {command} --help names what {command} takes"
        )
    within = getattr(args, "misplaced", None)
    if within and (told := within(args)):
        root.error(told)
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if has_token(given):
        print(
            "ttp-mcp: a token must not stand on the command line, where every program can read it. Set TTP_API_TOKEN.",
            file=sys.stderr,
        )
        return 2
    # Anything but known flags of serving may be a command, a misspelt one, or a wish for help.
    serving = all(argument in ("--sandbox", "--version") for argument in given)
    if serving and "--version" not in given:
        _load_server()
    args = _parsed(given, with_commands=not serving)
    command = getattr(args, "command", None)
    if command:
        output.replace_unencodable()
    code = 0
    try:
        with output.ignore_broken_pipe():
            code = args.run(args)
    except KeyboardInterrupt:
        sent = "; a write may have been sent: list_posts shows it" if command == "call" else ""
        print(f"ttp-mcp: stopped{sent}.", file=sys.stderr)
        return _INTERRUPTED
    return code
