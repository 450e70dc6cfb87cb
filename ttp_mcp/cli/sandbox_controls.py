"""What the commands of `ttp-mcp sandbox` do to the data, each with facts for `--json` and the same in words."""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from ttp_mcp import config, times
from ttp_mcp.cli import output

if TYPE_CHECKING:
    from ttp_mcp.sandbox.faults import Ordered
    from ttp_mcp.sandbox.organizations import Plan

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_FURTHEST_SECONDS = 100 * 366 * 86_400
_SHOWN = 10
# How long a moved clock waits for what another process is publishing just now; that takes milliseconds.
WAIT_SECONDS, _LOOK_SECONDS = 5.0, 0.02


class Refused(Exception):
    """Nothing was changed; the text says why and what to do."""


# Facts for --json, and the same in words.
Said = tuple[dict[str, Any], Sequence[str]]
Control = Callable[[argparse.Namespace, "Open"], Said]


class Open:
    """The data folder, opened: the data, the media beside them, and the clock that all processes share."""

    def __init__(self, folder: Path) -> None:
        """Open, and fill a new folder with the demo workspace."""
        from ttp_mcp.sandbox import Sandbox

        self.sandbox = Sandbox(folder)
        self.folder = folder
        self.store = self.sandbox.store
        self.storage = self.sandbox.storage
        self.clock = self.sandbox.stored_clock


def token_create(args: argparse.Namespace, opened: Open) -> Said:
    """Make a token and show it, this one time."""
    from ttp_mcp.sandbox import tokens

    try:
        token = tokens.create(opened.store, opened.clock, label=args.label, expires_days=args.expires_days)
    except ValueError as problem:
        raise Refused(str(problem)) from None
    caller = tokens.verify(opened.store, opened.clock, token)
    made = next(entry for entry in tokens.listed(opened.store) if caller and entry["id"] == caller.token_id)
    words = (
        token,
        f"This is the only time it is shown. Its id is {made['id']}; it {_expiry(made['expires_at'])}.",
        "Next: set it as TTP_API_TOKEN, with TTP_API_URL as `ttp-mcp sandbox` prints it.",
    )
    return {"token": token, **made}, words


def token_list(_: argparse.Namespace, opened: Open) -> Said:
    """The tokens, without anything of the tokens themselves."""
    from ttp_mcp.sandbox import tokens

    found = tokens.listed(opened.store)
    words = [
        f"{entry['id']}  {_expiry(entry['expires_at']) if not entry['revoked_at'] else 'is revoked'}  {entry['label']}"
        for entry in found
    ]
    return {"tokens": found}, words or ["There are no tokens. Make one with `ttp-mcp sandbox token create`."]


def token_revoke(args: argparse.Namespace, opened: Open) -> Said:
    """Revoke a token for good."""
    from ttp_mcp.sandbox import tokens

    if not tokens.revoke(opened.store, opened.clock, args.id):
        raise Refused(f"there is no token {args.id[:60]}. `ttp-mcp sandbox token list` shows their ids.")
    return {"id": args.id, "revoked": True}, [f"{args.id} is revoked: requests with it get 401 from now on."]


def _expiry(expires_at: str | None) -> str:
    return f"expires at {expires_at}" if expires_at else "never expires"


def clock(args: argparse.Namespace, opened: Open) -> Said:
    """Show the clock, or move it and publish what became due."""
    before = opened.clock.now()
    waiting = _scheduled(opened)
    problems: list[str] = []
    if args.to is not None:
        _move(opened, args.to, before)
        problems = _ticked(opened)
    now, running = opened.clock.now(), _runs(opened)
    ahead = round((now - datetime.now(UTC)).total_seconds())
    out = _came_of(opened, [post for post in waiting if args.to is not None and post["at"] <= now])
    facts = {
        "now": times.to_wire(now),
        "running": running,
        "seconds_ahead": ahead,
        "published": out,
        "problems": problems,
    }
    zone = _zone()
    words = [f"The sandbox's clock: {times.show(now, zone)}, {_compared(ahead, running=running)}."]
    if out:
        words.append(f"Became due: {len(out)} post{'s' if len(out) > 1 else ''}.")
        words += [f"  {post['status']:<10} {post['id']}  {_brief(post['content'])}" for post in out[:_SHOWN]]
        words += [f"  … and {len(out) - _SHOWN} more."] if len(out) > _SHOWN else []
    elif args.to is not None:
        words.append("Nothing became due.")
        later = [post["at"] for post in waiting if post["at"] > now]
        words += [f"Next: a post is due {times.from_now(min(later), now)}."] if later else []
    if problems:
        count = f"{len(problems)} post{'s' if len(problems) > 1 else ''}"
        words.append(
            f"The clock was moved, but {count} could not be published ({problems[0]}); tried again in a minute."
        )
    return facts, words


def _ticked(opened: Open) -> list[str]:
    """Publish what is due; returns why some of it could not be."""
    try:
        opened.sandbox.tick()
    except ExceptionGroup as group:
        # What failed keeps its lease: to wait for it would be in vain.
        return [str(problem) for problem in group.exceptions]
    _wait_for_others(opened)
    return []


def _wait_for_others(opened: Open) -> None:
    """A sandbox that runs may have taken some of what is due; what comes next in a script wants to find it done."""
    for _ in range(round(WAIT_SECONDS / _LOOK_SECONDS)):
        with opened.store.reading() as db:
            if not db.execute("SELECT 1 FROM posts WHERE status = 'publishing' LIMIT 1").fetchone():
                return
        time.sleep(_LOOK_SECONDS)


def _move(opened: Open, to: str, now: datetime) -> None:
    if to == "real":
        opened.clock.real()
    elif to == "stop":
        opened.clock.stop_at(now)
    elif to[:1] in ("+", "-"):
        _check_year(now, _seconds(to))
        opened.clock.move(_seconds(to))
    else:
        opened.clock.set(_instant(to, now))


def _seconds(text: str) -> float:
    """`+3h`, `-1d12h`: a distance in seconds."""
    sign, rest, total = (1 if text[0] == "+" else -1), text[1:], 0.0
    number = ""
    for letter in rest:
        if letter.isdecimal() and letter.isascii():
            number += letter
        elif letter in _UNITS and 0 < len(number) <= 9:
            total += int(number) * _UNITS[letter]
            number = ""
        else:
            number = "?"
            break
    if number or not rest:
        raise Refused("a distance is written +3h, +1d12h or -30m, with the units s, m, h, d and w.")
    return sign * total


def _check_year(now: datetime, seconds: float) -> None:
    if (
        abs(seconds) > _FURTHEST_SECONDS
        or not times.EARLIEST_YEAR <= (now + timedelta(seconds=seconds)).year <= times.LATEST_YEAR
    ):
        raise Refused(f"the clock stays within the years {times.EARLIEST_YEAR} to {times.LATEST_YEAR}.")


def _instant(text: str, now: datetime) -> datetime:
    return times.parse_when(text, _zone(), now, date_ok=True)


def _zone() -> ZoneInfo:
    """The person's time zone; the other settings are none of the sandbox's business."""
    return config.load({"TTP_TIMEZONE": config.environment().get("TTP_TIMEZONE", "")}).zone


def _runs(opened: Open) -> bool:
    with opened.store.reading() as db:
        return db.execute("SELECT 1 FROM meta WHERE key = 'clock_frozen_ms'").fetchone() is None


def _compared(ahead: int, *, running: bool) -> str:
    still = "" if running else "standing still, "
    if abs(ahead) < 2:
        return f"{still}the same as this machine's"
    now = datetime(2026, 1, 1, tzinfo=UTC)
    distance = times.from_now(now + timedelta(seconds=abs(ahead)), now).removeprefix("in ")
    return f"{still}{distance} {'ahead of' if ahead > 0 else 'behind'} this machine's"


def _scheduled(opened: Open) -> list[dict[str, Any]]:
    from ttp_mcp.sandbox.clock import from_ms

    with opened.store.reading() as db:
        rows = db.execute(
            "SELECT id, scheduled_at FROM posts WHERE status = 'scheduled' ORDER BY scheduled_at"
        ).fetchall()
    return [{"id": row["id"], "at": from_ms(row["scheduled_at"])} for row in rows]


def _came_of(opened: Open, due: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    with opened.store.reading() as db:
        rows = [
            db.execute("SELECT id, status, content FROM posts WHERE id = ?", (post["id"],)).fetchone() for post in due
        ]
    return [dict(row) for row in rows if row]


def _brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"


def plan(args: argparse.Namespace, opened: Open) -> Said:
    """Show the plans, or put an organization on one."""
    from ttp_mcp.sandbox import organizations

    known = organizations.every(opened.store)
    chosen = next((entry for entry in known if args.org in (None, entry.id)), None)
    if chosen is None:
        raise Refused(
            f"there is no organization {(args.org or '')[:60]}. Known are {', '.join(entry.id for entry in known)}."
        )
    if args.plan is not None:
        organizations.set_plan(opened.store, chosen.id, args.plan)
        limits = _limits(organizations.PLANS[args.plan])
        return {"organization": chosen.id, "plan": args.plan}, [
            f"{chosen.name} ({chosen.id}) is on the {args.plan} plan: {limits}."
        ]
    shown = [chosen] if args.org else known
    facts = {"organizations": [{"id": entry.id, "name": entry.name, "plan": entry.plan.name} for entry in shown]}
    words = [f"{entry.id}  {entry.plan.name}: {_limits(entry.plan)}" for entry in shown]
    return facts, [*words, "Next: `ttp-mcp sandbox plan small` puts the first one on the plan with limits."]


def _limits(plan: "Plan") -> str:
    if plan.posts_per_month is None:
        return "everything, without limits"
    return (
        f"{plan.posts_per_month} posts in 30 days, {plan.scheduled_at_once} scheduled at once, "
        f"{plan.accounts} accounts, no best times"
    )


def fault(args: argparse.Namespace, opened: Open) -> Said:
    """Order a fault, list what waits, or call it off."""
    from ttp_mcp.sandbox import faults

    if args.kind == "clear":
        count = faults.clear(opened.store)
        return {"cleared": count}, [f"No faults are waiting any more ({count} cleared)."]
    if args.kind != "list":
        times_hit = 1 if args.times is None else args.times
        try:
            ordered = faults.order(
                opened.store, args.kind, times=times_hit, seconds=args.seconds, method=args.method, path=args.api_path
            )
        except faults.FaultProblem as problem:
            raise Refused(str(problem)) from None
        return asdict(ordered), [
            f"{_order(ordered)}: {faults.KINDS[ordered.kind]}.",
            "`ttp-mcp sandbox fault list` shows what waits, `fault clear` calls it off.",
        ]
    found = faults.listed(opened.store)
    words = [_order(entry) for entry in found]
    kinds = (
        f"No faults are waiting. Kinds: {', '.join(faults.KINDS)}. Try: ttp-mcp sandbox fault reset-after --path /posts"
    )
    return {"faults": [asdict(entry) for entry in found], "kinds": faults.KINDS}, words or [kinds]


def _order(ordered: "Ordered") -> str:
    hits = "the next request" if ordered.times == 1 else f"the next {ordered.times} requests"
    method = f" {ordered.method}" if ordered.method else ""
    return (
        f"{ordered.kind} hits {hits}{' with' if method else ''}{method}{f' at {ordered.path}' if ordered.path else ''}"
    )


def before_reset(args: argparse.Namespace, folder: Path) -> None:
    """What could still refuse comes first, then data that are of no use make room.

    Puts what `--from` names into `args.workspace`, and where the old data are kept into `args.kept`.
    """
    from ttp_mcp.sandbox import workspace

    if args.at:
        _instant(args.at, datetime.now(UTC))
    try:
        args.workspace = workspace.read(args.file) if args.file else None
    except workspace.WorkspaceProblem as problem:
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
        if not problem.of_no_use:
            raise
        return False
    return True


def _agree(args: argparse.Namespace, folder: Path, tokens: str) -> None:
    """Ask before data are replaced, where there are any and somebody can answer."""
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
    """Data that can't be opened are kept beside the new ones, with the log under the name that SQLite looks for."""
    end = f".{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.unreadable"
    kept = folder / f"sandbox.db{end}"
    # The media too: of those here, reset removes what the new workspace does not name.
    moves = {"sandbox.db": kept.name, "sandbox.db-wal": f"{kept.name}-wal", "sandbox.db-shm": f"{kept.name}-shm"}
    for name, new_name in {**moves, "media": f"media{end}"}.items():
        if (folder / name).exists():
            (folder / name).rename(folder / new_name)
    return kept


def reset(args: argparse.Namespace, opened: Open) -> Said:
    """Replace everything but the tokens, after `before_reset`."""
    from ttp_mcp.sandbox import workspace

    at = _instant(args.at, opened.clock.now()) if args.at else None
    try:
        workspace.reset(opened.store, opened.storage, at=at, empty=args.empty, workspace=args.workspace)
    except workspace.WorkspaceProblem as problem:
        raise Refused(str(problem)) from None
    now = opened.clock.now()
    kept = str(args.kept) if args.kept else None
    facts = {**_counts(opened), "now": times.to_wire(now), "running": _runs(opened), "kept": kept}
    clock = f"Its clock {'runs from' if facts['running'] else 'stands still at'} {times.show(now, _zone())}."
    words = [f"The workspace is new: {_counted(facts)}.", clock if kept else f"{clock} Tokens stay valid."]
    if kept:
        words += [
            f"The old data could not be opened; they were moved to {kept}, the media to media.… beside it.",
            "Their tokens are gone with them: make new ones with `ttp-mcp sandbox token create`.",
        ]
    return facts, words


def export(args: argparse.Namespace, opened: Open) -> Said:
    """Write the workspace to a file, or to standard output."""
    from ttp_mcp.sandbox import workspace

    exported = workspace.export(opened.store, opened.storage, opened.clock)
    text = workspace.written(exported)
    if args.file is None:
        output.as_file()
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
    """Write beside and rename, so that no one ever sees half a file; a link stays, and what it points to is written."""
    # Not `resolve`, which tells of a circle in one way before Python 3.13 and in no way since.
    real = Path(os.path.realpath(path))
    if real.is_symlink():
        raise Refused(f"{path} can't be written (its links lead in a circle).")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            temporary.replace(real)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as problem:
        raise Refused(f"{path} can't be written ({problem.strerror}).") from None


def _counts(opened: Open) -> dict[str, int]:
    with opened.store.reading() as db:
        return {
            table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608 - names of our own
            for table in ("organizations", "accounts", "posts", "media")
        }


def _counted(facts: dict[str, Any]) -> str:
    one = {"organizations": "organization", "accounts": "account", "posts": "post", "media": "media file"}
    many = {**{name: name for name in one}, "media": "media files"}
    return ", ".join(f"{facts[name]} {word if facts[name] == 1 else many[name]}" for name, word in one.items())
