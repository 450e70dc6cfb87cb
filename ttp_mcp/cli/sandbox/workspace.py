"""`ttp-mcp sandbox reset` and `export`."""

import argparse
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ttp_mcp import times
from ttp_mcp.cli import output
from ttp_mcp.cli.sandbox.session import CommandOutput, Refused, SandboxSession, parse_instant, run_state, zone_of
from ttp_mcp.config.files import write_atomically


def before_reset(args: argparse.Namespace, folder: Path) -> None:
    """Check everything that can refuse first, then move unreadable data away.

    Puts what `--from` names into `args.workspace`, and where the old data are kept into `args.kept`.
    """
    from ttp_mcp.sandbox.workspace.file import WorkspaceProblem, read_workspace

    if args.at:
        parse_instant(args.at, datetime.now(UTC))
    try:
        args.workspace = read_workspace(args.file) if args.file else None
    except WorkspaceProblem as problem:
        raise Refused(str(problem)) from None
    is_of_use = _is_of_use(folder)
    _agree(args, folder, "Tokens stay." if is_of_use else "They can't be opened; tokens go with them.")
    args.kept = None if is_of_use else _move_away(folder)


def _is_of_use(folder: Path) -> bool:
    from ttp_mcp.sandbox.store import Store, StoreProblem

    path = folder / "sandbox.db"
    try:
        if path.exists():
            Store(path).close()
    except StoreProblem as problem:
        # Data that others hold, or that a full disk keeps shut, are good data.
        if not problem.is_unreadable:
            raise
        return False
    return True


def _agree(args: argparse.Namespace, folder: Path, tokens: str) -> None:
    """Ask before replacing data, if there are any and a terminal to ask on."""
    if args.yes or not (folder / "sandbox.db").exists():
        return
    if args.json or not sys.stdin.isatty():
        raise Refused(f"reset replaces everything in {folder}. Pass --yes to agree.")
    try:
        answer = input(f"Replace everything in {folder}? {tokens} [y/N] ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise Refused("you did not agree.")


def _move_away(folder: Path) -> Path:
    """Keep unreadable data beside the new ones; the log gets the name that SQLite looks for."""
    end = f".{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.unreadable"
    kept = folder / f"sandbox.db{end}"
    # The media too: of those here, reset removes what the new workspace does not name.
    moves = {"sandbox.db": kept.name, "sandbox.db-wal": f"{kept.name}-wal", "sandbox.db-shm": f"{kept.name}-shm"}
    for name, new_name in {**moves, "media": f"media{end}"}.items():
        if (folder / name).exists():
            (folder / name).rename(folder / new_name)
    return kept


def reset(args: argparse.Namespace, opened: SandboxSession) -> CommandOutput:
    """Replace everything but the tokens, after `before_reset`."""
    from ttp_mcp.sandbox.workspace.file import WorkspaceProblem
    from ttp_mcp.sandbox.workspace.restore import reset_workspace

    at = parse_instant(args.at, opened.clock.now()) if args.at else None
    try:
        reset_workspace(opened.store, opened.storage, at=at, empty=args.empty, workspace=args.workspace)
    except WorkspaceProblem as problem:
        raise Refused(str(problem)) from None
    now = opened.clock.now()
    kept = str(args.kept) if args.kept else None
    facts = {**_counts(opened), "now": times.to_wire(now), "running": run_state(opened), "kept": kept}
    clock = f"Its clock {'runs from' if facts['running'] else 'is stopped at'} {times.show(now, zone_of())}."
    words = [f"The workspace is new: {_counted(facts)}.", clock if kept else f"{clock} Tokens stay valid."]
    if kept:
        words += [
            f"The old data could not be opened; they were moved to {kept}, the media to media.… beside it.",
            "Their tokens are gone with them: make new ones with `ttp-mcp sandbox token create`.",
        ]
    return facts, words


def export(args: argparse.Namespace, opened: SandboxSession) -> CommandOutput:
    """Write the workspace to a file, or to standard output."""
    from ttp_mcp.sandbox.workspace.export import export_workspace

    exported = export_workspace(opened.store, opened.storage, opened.clock)
    text = exported.to_text()
    if args.file is None:
        output.force_utf8_stdout()
        return json.loads(text), [text.rstrip("\n")]
    _write(args.file, text)
    left_out = sum(
        medium.uploaded_at is not None and medium.content is None
        for organization in exported.organizations
        for medium in organization.media
    )
    facts = {"file": str(args.file), **_counts(opened), "media_without_content": left_out}
    words = [f"Written to {args.file}: {_counted(facts)}."]
    words += [f"{left_out} media are larger than 256 KiB: named in the file, not contained."] if left_out else []
    return facts, [*words, f"Next: `ttp-mcp sandbox reset --from {args.file}` makes it again."]


def _write(path: Path, text: str) -> None:
    """Write in one step; a link stays, and the file that it points to is written."""
    # Not `resolve`, which tells of a circle in one way before Python 3.13 and in no way since.
    real = Path(os.path.realpath(path))
    if real.is_symlink():
        raise Refused(f"{path} can't be written (its links lead in a circle).")
    try:
        write_atomically(real, text.encode())
    except OSError as problem:
        raise Refused(f"{path} can't be written ({problem.strerror}).") from None


def _counts(opened: SandboxSession) -> dict[str, int]:
    with opened.store.reading() as db:
        return {
            table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - names of our own
            for table in ("organizations", "accounts", "posts", "media")
        }


def _counted(facts: dict[str, Any]) -> str:
    one = {"organizations": "organization", "accounts": "account", "posts": "post", "media": "media file"}
    many = {**{name: name for name in one}, "media": "media files"}
    return ", ".join(f"{facts[name]} {word if facts[name] == 1 else many[name]}" for name, word in one.items())
