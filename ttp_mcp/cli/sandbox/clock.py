"""`ttp-mcp sandbox clock`: show or move the clock, with facts for `--json` and the same in words."""

import argparse
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ttp_mcp import times
from ttp_mcp.cli.sandbox.session import CommandOutput, Refused, SandboxSession, parse_instant, run_state, zone_of

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_FURTHEST_SECONDS = 100 * 366 * 86_400
_SHOWN = 10
# How long a moved clock waits for what another process is publishing just now; that takes milliseconds.
WAIT_SECONDS, _LOOK_SECONDS = 5.0, 0.02


def clock(args: argparse.Namespace, opened: SandboxSession) -> CommandOutput:
    """Show the clock, or move it and publish what became due."""
    before = opened.clock.now()
    waiting = _scheduled(opened)
    problems: list[str] = []
    if args.to is not None:
        _move(opened, args.to, before)
        problems = _ticked(opened)
    now, running = opened.clock.now(), run_state(opened)
    ahead = round((now - datetime.now(UTC)).total_seconds())
    out = _came_of(opened, [post for post in waiting if args.to is not None and post["at"] <= now])
    facts = {
        "now": times.to_wire(now),
        "running": running,
        "seconds_ahead": ahead,
        "published": out,
        "problems": problems,
    }
    zone = zone_of()
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


def _ticked(opened: SandboxSession) -> list[str]:
    """Publish what is due; returns why some of it could not be."""
    try:
        opened.sandbox.tick()
    except ExceptionGroup as group:
        # What failed keeps its lease: waiting for it is pointless.
        return [str(problem) for problem in group.exceptions]
    _wait_for_others(opened)
    return []


def _wait_for_others(opened: SandboxSession) -> None:
    """Wait for posts that a running sandbox is publishing, so that the next command of a script finds them done."""
    for _ in range(round(WAIT_SECONDS / _LOOK_SECONDS)):
        with opened.store.reading() as db:
            if not db.execute("SELECT 1 FROM posts WHERE status = 'publishing' LIMIT 1").fetchone():
                return
        time.sleep(_LOOK_SECONDS)


def _move(opened: SandboxSession, to: str, now: datetime) -> None:
    if to == "real":
        opened.clock.follow_machine()
    elif to == "stop":
        opened.clock.stop_at(now)
    elif to[:1] in ("+", "-"):
        _check_year(now, _seconds(to))
        opened.clock.move(_seconds(to))
    else:
        opened.clock.set(parse_instant(to, now))


def _seconds(text: str) -> float:
    """Parse a distance such as `+3h` or `-1d12h` into seconds."""
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


def _compared(ahead: int, *, running: bool) -> str:
    still = "" if running else "standing still, "
    if abs(ahead) < 2:
        return f"{still}the same as this machine's"
    now = datetime(2026, 1, 1, tzinfo=UTC)
    distance = times.from_now(now + timedelta(seconds=abs(ahead)), now).removeprefix("in ")
    return f"{still}{distance} {'ahead of' if ahead > 0 else 'behind'} this machine's"


def _scheduled(opened: SandboxSession) -> list[dict[str, Any]]:
    from ttp_mcp.sandbox.clock import from_ms

    with opened.store.reading() as db:
        rows = db.execute(
            "SELECT id, scheduled_at FROM posts WHERE status = 'scheduled' ORDER BY scheduled_at"
        ).fetchall()
    return [{"id": row["id"], "at": from_ms(row["scheduled_at"])} for row in rows]


def _came_of(opened: SandboxSession, due: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    with opened.store.reading() as db:
        rows = [
            db.execute("SELECT id, status, content FROM posts WHERE id = ?", (post["id"],)).fetchone() for post in due
        ]
    return [dict(row) for row in rows if row]


def _brief(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"
