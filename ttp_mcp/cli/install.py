"""`ttp-mcp install CLIENT`: write this server into a client's own settings file, or take it out again."""

import argparse
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, cast

from ttp_mcp import config
from ttp_mcp.cli import output
from ttp_mcp.cli.arguments import Subparsers, add_profile, read_environment
from ttp_mcp.client_config import clients, entry, merge
from ttp_mcp.client_config.clients import SERVER_NAME, Client, Launch, find_client
from ttp_mcp.client_config.jsonc import InvalidFile
from ttp_mcp.client_config.paths import Machine, System
from ttp_mcp.config.files import write_atomically, write_new
from ttp_mcp.config.login import has_login, login_command

Outcome = Literal["written", "unchanged", "removed", "absent"]

# A settings file beyond this is not one; reading it would only take memory.
_MAX_FILE_BYTES = 16 * 1024 * 1024
_BACKUPS_KEPT = 5


class InstallRefused(Exception):
    """Nothing was changed; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome, as `--json` prints it. Paths are absolute."""

    client: str
    outcome: Outcome
    path: str
    backup: str | None = None
    server: str = SERVER_NAME
    # The command that the user has to run, where no token is known yet.
    login: str | None = None
    notes: tuple[str, ...] = ()
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """Facts about the machine; tests pass their own."""

    machine: Machine
    command: tuple[str, ...]
    now: Callable[[], datetime]
    path_separator: str = os.pathsep
    profile: str | None = None
    logged_in: bool = False


def add_parser(subparsers: Subparsers) -> None:
    """Add `install` to the command line."""
    parser = subparsers.add_parser(
        "install",
        help="write this server into an MCP client's settings",
        description="Write this server into an MCP client's settings; everything else in the file stays as it is.",
    )
    parser.add_argument("client", choices=[client.name for client in clients.CLIENTS], help="the client")
    parser.add_argument("--sandbox", action="store_true", help="connect the local sandbox instead of the real API")
    add_profile(parser)
    parser.add_argument(
        "--media-dir", action="append", default=[], metavar="DIR", help="folder upload_media may read; repeatable"
    )
    parser.add_argument("--uvx", action="store_true", help="start through uvx instead of this installation")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--print", action="store_true", help="print what would be written, and write nothing")
    what.add_argument("--remove", action="store_true", help="remove the server from the client's settings")
    parser.add_argument("--json", action="store_true", help="report as one line of JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Install on this machine and print the result. 0: done or nothing to do; 1: refused, nothing changed."""
    try:
        report = install(args, here(read_environment(args), uvx=args.uvx))
    except (InstallRefused, config.SettingProblem) as problem:
        if args.json:
            print(json.dumps({"client": args.client, "outcome": "refused", "problem": str(problem)}))
        else:
            print(f"Nothing was changed: {problem}", file=sys.stderr)
        return 1
    if report is not None:
        print(json.dumps(asdict(report)) if args.json else _render_report(report))
    return 0


def here(environ: Mapping[str, str], *, uvx: bool = False) -> Environment:
    """Return the facts about this machine.

    Raises:
        SettingProblem: `TTP_PROFILE` can't be a profile's name.
    """
    return Environment(
        this_machine(environ),
        start_command(Path(sys.executable), shutil.which, uvx=uvx),
        lambda: datetime.now(UTC),
        profile=config.read_profile(environ),
        logged_in=has_login(environ),
    )


def this_machine(environ: Mapping[str, str]) -> Machine:
    """Return what the paths of clients' settings depend on."""
    systems: dict[str, System] = {"win32": "windows", "darwin": "macos"}
    system, home = systems.get(sys.platform, "linux"), config.home_folder()
    packages = _claude_packages(home, environ) if system == "windows" else ()
    return Machine(system, home, environ, packages)


def _claude_packages(home: Path, environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Return the settings folders of Claude Desktop where Windows installed it as a package."""
    local = Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    return tuple(each for each in local.glob("Packages/Claude_*/LocalCache/Roaming/Claude") if each.is_dir())


def start_command(python: Path, which: Callable[[str], str | None], *, uvx: bool) -> tuple[str, ...]:
    """How a client starts this server: with absolute paths, since desktop programs do not get a shell's PATH.

    A run through `uvx` lives in a cache that uv may clean at any time, so that is written as `uvx ttp-mcp`.
    """
    if not uvx and "archive-v0" not in python.parts:
        for name in ("ttp-mcp", "ttp-mcp.exe"):
            if (script := python.parent / name).is_file():
                return (str(script),)
        return (str(python), "-m", "ttp_mcp")
    return (which("uvx") or "uvx", "ttp-mcp")


def install(args: argparse.Namespace, around: Environment) -> Report | None:
    """Write, print or remove. `None` when the piece of configuration itself was printed.

    Raises:
        InstallRefused: Nothing was changed.
    """
    if args.print and args.json:
        raise InstallRefused("--json reports what was done, and --print does nothing. Leave one out.")
    client = find_client(args.client, around.profile)
    launch = _build_launch(args, around)
    if args.print:
        output.force_utf8_stdout()
        print(merge.render_settings(client, launch), end="")
        return None
    path = settings_path(client, around.machine)
    before = _read_file(path)
    try:
        old = _decode_text(before or b"")
        new = merge.remove_entry(client, old) if args.remove else merge.merge_entry(client, old, launch)
        data = _encode_text(before or b"", new)
    except InvalidFile as problem:
        raise InstallRefused(
            f"{path} can't be edited safely ({problem}). Fix it there, or paste what --print shows."
        ) from None
    return _write_settings(args, client, launch, path, before, data, around.now())


def _write_settings(
    args: argparse.Namespace,
    client: Client,
    launch: Launch,
    path: Path,
    before: bytes | None,
    data: bytes,
    now: datetime,
) -> Report:
    changed, new = data != (before or b""), _decode_text(data)
    try:
        backup = _replace_file(path, before, data, now) if changed else None
    except OSError as problem:
        raise InstallRefused(f"{path} could not be written ({problem.strerror}).") from None
    kept, server = str(backup) if backup else None, client.server_name
    if args.remove:
        next_step = f"Restart {client.title} to drop the tools." if changed else None
        return Report(client.name, "removed" if changed else "absent", str(path), kept, server, next=next_step)
    outcome: Outcome = "written" if changed else "unchanged"
    login = None if _has_token(client, launch, new) else login_command(launch.profile)
    asks = client.prompts and launch.needs_token and not entry.has_literal_token(client, new)
    next_step = client.next_step + (f" {client.title} asks for the token once and keeps it safe." if asks else "")
    return Report(client.name, outcome, str(path), kept, server, login, _list_notes(client, new), next_step)


def _has_token(client: Client, launch: Launch, new: str) -> bool:
    """Check whether the server will find a token, as far as can be seen here."""
    env = entry.env_variables(client, new)
    is_named = entry.is_literal(env.get("TTP_API_TOKEN")) or "TTP_API_TOKEN_FILE" in env
    return launch.sandbox or launch.logged_in or client.prompts or is_named


def _build_launch(args: argparse.Namespace, around: Environment) -> Launch:
    command, *rest = around.command
    folders = [_media_folder(text, around.path_separator) for text in cast("list[str]", args.media_dir)]
    return Launch(
        command,
        tuple(rest),
        sandbox=args.sandbox,
        media_dirs=around.path_separator.join(folders) if folders else None,
        profile=around.profile,
        logged_in=around.logged_in,
    )


def _media_folder(text: str, separator: str) -> str:
    try:
        folder = Path(text).expanduser().resolve()
        found = folder.is_dir()
    except (OSError, RuntimeError):
        # No such user, or links that lead in a circle.
        raise InstallRefused(f"--media-dir {text} can't be followed to a folder. Pass one that exists.") from None
    if not found:
        raise InstallRefused(f"--media-dir {text} is not a folder. Pass one that exists.")
    if separator in str(folder):
        raise InstallRefused(f"--media-dir {text} holds {separator!r}, which separates folders. Pass another one.")
    return str(folder)


def settings_path(client: Client, machine: Machine) -> Path:
    """Return the client's settings file.

    Raises:
        InstallRefused: The path can't be followed.
    """
    path = Path(client.path(machine))
    older = Path(client.older_path(machine)) if client.older_path else None
    try:
        chosen = older if older and older.exists() and not path.exists() else path
        # A settings file is often a link into a folder of dotfiles: what it points to is edited, the link stays.
        return chosen.resolve()
    except (OSError, RuntimeError):
        raise InstallRefused(
            f"{path} can't be followed to a file: its links lead in a circle, or a folder on the way can't be entered. "
            "Fix the link or the folder, then run this again."
        ) from None


def _read_file(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InstallRefused(f"{path} is not a regular file.")
            data = file.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise InstallRefused(f"{path} could not be read ({problem.strerror}).") from None
    if len(data) > _MAX_FILE_BYTES:
        raise InstallRefused(f"{path} is larger than 16 MiB, which no settings file is.")
    return data


_BOM = b"\xef\xbb\xbf"


def _decode_text(data: bytes) -> str:
    try:
        return data.removeprefix(_BOM).decode()
    except UnicodeDecodeError:
        raise InvalidFile("it is not UTF-8 text") from None


def _encode_text(before: bytes, text: str) -> bytes:
    try:
        return (_BOM if before.startswith(_BOM) else b"") + text.encode()
    except UnicodeEncodeError:
        raise InvalidFile("it would hold half of a character, which UTF-8 can't") from None


def _replace_file(path: Path, before: bytes | None, data: bytes, now: datetime) -> Path | None:
    """Replace the file in one step; the old one is kept as a backup, for its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    backup = None
    if before is not None:
        backup = path.with_name(f"{path.name}.{now:%Y%m%dT%H%M%S%fZ}.bak")
        write_new(backup, before)

    def check() -> None:
        # Another program may have saved its settings since they were read; its change must not be lost.
        if _read_file(path) != before:
            raise InstallRefused(f"{path} was changed by another program just now. Close it and run this again.")

    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
    write_atomically(path, data, mode, check=check)
    _forget_old_backups(path)
    return backup


def _forget_old_backups(path: Path) -> None:
    for old in sorted(path.parent.glob(f"{path.name}.*Z.bak"))[:-_BACKUPS_KEPT]:
        # The settings are written: an extra backup isn't a failure.
        with suppress(OSError):
            old.unlink()


_LITERAL_NOTE = "This file contains the token itself. It was kept; moving it out is safer (docs/install.md)."
_FILE_NOTE = "TTP_API_TOKEN_FILE in this entry was kept, and wins over a login. Delete it there to use the login."


def _list_notes(client: Client, new: str) -> tuple[str, ...]:
    notes = [_LITERAL_NOTE] if entry.has_literal_token(client, new) else []
    notes += [_FILE_NOTE] if "TTP_API_TOKEN_FILE" in entry.env_variables(client, new) else []
    notes += [
        f"Another entry, {name!r}, also starts ttp-mcp, which shows every tool twice. Remove one of the two."
        for name in entry.list_duplicates(client, new)
    ]
    return tuple(notes)


def _render_report(report: Report) -> str:
    title = find_client(report.client).title
    server = "this server" if report.server == SERVER_NAME else report.server
    first = {
        "written": f"{title} now knows {server}: {report.path}",
        "unchanged": f"{title} already knows {server}, nothing to change: {report.path}",
        "removed": f"{title} no longer knows {server}: {report.path}",
        "absent": f"{title} does not know {server}, nothing to remove: {report.path}",
    }[report.outcome]
    lines = [first]
    lines += [f"Backup: {report.backup}"] if report.backup else []
    lines += [f"Warning: {note}" for note in report.notes]
    lines += [f"Next: {report.login}, with your API token (dashboard: Settings → API)."] if report.login else []
    lines += [f"Next: {report.next}"] if report.next else []
    return "\n".join(lines)
