"""Argument parsing that the commands share."""

import argparse
from collections.abc import Sequence
from functools import partial
from typing import NoReturn, Protocol

from ttp_mcp import config

_HELP = ("-h", "--help")


class Parser(argparse.ArgumentParser):
    """Parser that reports a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(2, f"{self.prog}: {message}. See {self.prog} --help.\n")

    def parse_command(self, words: Sequence[str], commands: Sequence[str], prog: str = "ttp-mcp") -> argparse.Namespace:
        """Parse the words; an error says so if flags come before one of the commands."""
        args, unknown = self.parse_known_args(words)
        if not unknown:
            return args
        late = next((word for word in unknown if word in commands), None)
        if late:
            return self.error(f"flags go after their command: {prog} {late} [flags]")
        return self.error(f"unrecognized arguments: {' '.join(unknown)}")


class Subparsers(Protocol):
    """Return value of `add_subparsers`, which argparse gives no public name."""

    def add_parser(self, name: str, *, help: str, description: str) -> Parser:  # noqa: A002
        """Add a command."""
        ...


def names_no_command(words: Sequence[str]) -> bool:
    """Check whether the words are flags only, so that the default command runs."""
    return not words or (words[0].startswith("-") and words[0] not in (*_HELP, "--version"))


def add_log_level(parser: argparse.ArgumentParser) -> None:
    """Add `--log-level`."""
    parser.add_argument(
        "--log-level", metavar="LEVEL", help="logging to stderr: DEBUG, INFO, WARNING or ERROR (TTP_LOG_LEVEL)"
    )


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Add `--profile`."""
    parser.add_argument(
        "--profile", metavar="NAME", help="profile with its own login and state, for several accounts (TTP_PROFILE)"
    )


def add_client_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the commands that print one answer."""
    parser.add_argument("--sandbox", action="store_true", help="use the local sandbox instead of the real API")
    add_profile(parser)
    add_log_level(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def read_environment(args: argparse.Namespace) -> dict[str, str]:
    """Return the environment with the flags that set variables.

    Raises:
        SettingProblem: A flag holds a placeholder, or no profile's name.
    """
    environ = dict(config.read_environment())
    if (level := getattr(args, "log_level", None)) is not None:
        environ["TTP_LOG_LEVEL"] = config.clean_value("--log-level", level) or environ.get("TTP_LOG_LEVEL", "")
    if (profile := getattr(args, "profile", None)) is not None:
        name = config.clean_value("--profile", profile) or config.DEFAULT_PROFILE
        environ["TTP_PROFILE"] = config.parse_profile("--profile", name) or ""
    return environ


def parse_number(text: str, lowest: int, highest: int, noun: str = "number") -> int:
    """Parse a number within these limits."""
    if not (text.isascii() and text.isdecimal() and lowest <= int(text) <= highest):
        raise argparse.ArgumentTypeError(f"{text!r} is not a {noun} from {lowest} to {highest}")
    return int(text)


parse_port = partial(parse_number, lowest=0, highest=65535, noun="port")
