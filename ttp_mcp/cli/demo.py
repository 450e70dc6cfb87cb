"""`ttp-mcp demo`: a short session with the sandbox through a real MCP client, told in plain words. Nothing is kept."""

import argparse
import re
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import anyio

from ttp_mcp import config
from ttp_mcp.cli.install import Subparsers

if TYPE_CHECKING:
    from mcp.client import Client

    from ttp_mcp.sandbox import Sandbox

WIDTH = 92
# The demo workspace is a café in Paris.
ZONE = ZoneInfo("Europe/Paris")
TOO_LONG = (
    "Our winter menu is here: spiced pear with smoked butter, a cocoa that needs a spoon, chestnut soup with sage, and the "
    "return of the cardamom bun that half of you asked about all summer long. Come early, because the buns are gone by ten; "
    "come late, because the soup is better at night."
)
MENDED = (
    "Our winter menu is here: spiced pear, a cocoa that needs a spoon, and the cardamom bun you asked about all summer."
)
IDEAS = (
    ("Behind the bar: how we roast for the dark months.", "linkedin"),
    ("The cardamom bun is back. Gone by ten, as ever.", "twitter @harborcafe"),
    ("Meet Yusuf, who opens this door every morning at six.", "linkedin"),
    ("Roasting day: come and smell it from the street.", "twitter @harborcafe"),
)


def add_parser(subparsers: Subparsers) -> None:
    """Add `demo` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="see what an assistant can do with this, without an account",
        description="A short session over the local sandbox: no account, no network, nothing is kept.",
    )
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Tell the session; 0 when every step did what it says."""
    colored = sys.stdout.isatty() and not config.no_color()
    return anyio.run(_demo, _Teller(colored=colored))


@dataclass(frozen=True, slots=True)
class _Teller:
    """Prints what is asked and what comes back."""

    colored: bool

    def say(self, text: str = "") -> None:
        """A paragraph of the story."""
        print(textwrap.fill(text, WIDTH))

    def asked(self, words: str) -> None:
        """What a person asks their assistant."""
        print(f"\n{self._in('1;36')}You: {words}{self._in('0')}")

    def answered(self, lines: Sequence[str]) -> None:
        """What comes back, a few lines of it."""
        for line in lines:
            mark, color = {"!": ("✗ ", "33"), "+": ("✓ ", "32")}.get(line[:1], ("", "0"))
            print(f"  {self._in(color)}{mark}{line.removeprefix('! ').removeprefix('+ ')}{self._in('0')}")

    def _in(self, code: str) -> str:
        return f"\x1b[{code}m" if self.colored else ""


async def _demo(tell: _Teller) -> int:
    from mcp.client import Client

    from ttp_mcp import logs
    from ttp_mcp.assembly import assemble
    from ttp_mcp.sandbox import Sandbox

    with tempfile.TemporaryDirectory(prefix="ttp-mcp-demo-") as folder, Sandbox(Path(folder) / "sandbox") as sandbox:
        settings = config.Settings(zone=ZONE, state_dir=Path(folder), confirm="off")
        assembly = assemble(settings, sandbox)
        restore = logs.configure("ERROR")
        try:
            async with Client(assembly.server) as client:
                await _story(client, sandbox, tell)
        finally:
            restore()
            await assembly.aclose()
    return 0


async def _story(client: "Client", sandbox: "Sandbox", tell: _Teller) -> None:
    tell.say(
        "A café in Paris, with half a year of posts, in a sandbox on this machine. What follows goes through a real MCP client, "
        "as your assistant would: nothing here is public, and nothing is kept."
    )
    await _accounts(client, tell)
    await _failures(client, tell)
    await _check(client, tell)
    await _plan(client, tell, sandbox.clock.now())
    await _publish(client, sandbox, tell)
    print()
    tell.say("That was the sandbox. To give it to your own assistant:")
    for line in (
        "ttp-mcp install claude-desktop --sandbox    (or claude-code, cursor, vscode, codex, gemini, windsurf, zed)",
        "then ask it: what failed last week?         The sandbox's page: ttp-mcp sandbox",
        "With your TimeToPost account: the same line without --sandbox; the token is in Settings → API.",
    ):
        print(f"  {line}")


async def _accounts(client: "Client", tell: _Teller) -> None:
    tell.asked("Which accounts do I have?")
    data = await _call(client, "list_integrations")
    for each in data["accounts"]:
        health = "connected" if each["healthy"] else "the connection has expired: reconnect it in the dashboard"
        mark = "+" if each["healthy"] else "!"
        tell.answered([f"{mark} {_name(each['platform']):10} {each.get('handle') or each['name']:20} {health}"])


async def _failures(client: "Client", tell: _Teller) -> None:
    tell.asked("What went wrong last week?")
    lines: list[str] = []
    for status in ("failed", "partial"):
        listed = await _call(client, "list_posts", status=status, limit=3)
        for post in listed["posts"]:
            whole = await _call(client, "get_post", post_id=post["id"])
            lines.append(f"{_day(whole['scheduled_at'])}  {_short(whole['content'], 58)}")
            lines += [
                f"! {_name(each['account'])}: {_short(each['error'], 74)}"
                for each in whole["results"]
                if each.get("error")
            ]
    tell.answered(lines)


async def _check(client: "Client", tell: _Teller) -> None:
    tell.asked("Put this on X and LinkedIn tomorrow at ten: “Our winter menu is here: spiced pear with …”")
    tomorrow = datetime.now(ZONE) + timedelta(days=1)
    when, to = f"{tomorrow:%Y-%m-%d}T10:00", ["twitter @harborcafe", "linkedin"]
    found = await _call(client, "check_post", content=TOO_LONG, account_ids=to, scheduled_at=when)
    tell.answered([f"! {_short(error, 86)}" for error in found["errors"]])
    mended = await _call(client, "check_post", content=MENDED, account_ids=to, scheduled_at=when)
    if mended["errors"]:
        raise RuntimeError("the mended text was refused")
    lengths = ", ".join(
        f"{_name(each['account'])} {each['characters']} of {each['limit']}" for each in mended["accounts"]
    )
    tell.answered([f"Shortened to: “{_short(MENDED, 74)}”", f"+ fits now: {lengths} characters. Nothing was sent yet."])


async def _plan(client: "Client", tell: _Teller, now: datetime) -> None:
    tell.asked("Find good times for these four posts next week.")
    monday = now.astimezone(ZONE) + timedelta(days=7 - now.astimezone(ZONE).weekday())
    posts = [{"content": text, "account_ids": [account]} for text, account in IDEAS]
    end = monday + timedelta(days=7)
    plan = await _call(client, "plan_posts", posts=posts, start=f"{monday:%Y-%m-%d}", end=f"{end:%Y-%m-%d}")
    at = [(datetime.fromisoformat(each["scheduled_at"]), each) for each in plan["planned"]]
    days = [monday + timedelta(days=number) for number in range(7)]
    tell.answered([_row([f"{day:%a} {day.day}" for day in days])])
    for number in range(max(sum(when.date() == day.date() for when, _ in at) for day in days)):
        columns = [
            [(when, each) for when, each in at if when.date() == day.date()][number : number + 1] for day in days
        ]
        tell.answered(
            [
                _row([f"{found[0][0]:%H:%M}" if found else "·" for found in columns]),
                _row([_name(found[0][1]["accounts"][0].split()[0]) if found else "" for found in columns]),
            ]
        )
    first = at[0][1]
    tell.answered(
        [
            f"Why {_name(first['accounts'][0])} then: {first['reason']}.",
            "Your assistant schedules it only after your yes.",
        ]
    )


async def _publish(client: "Client", sandbox: "Sandbox", tell: _Teller) -> None:
    tell.asked("Schedule the mended text for X in two hours.")
    when = sandbox.clock.now() + timedelta(hours=2)
    created = await _call(
        client, "create_post", content=MENDED, account_ids=["twitter @harborcafe"], scheduled_at=when.isoformat()
    )
    tell.answered([f"+ scheduled for {_day(created['scheduled_at'])}; until then it can be cancelled"])
    sandbox.stored_clock.move(3 * 3600)
    await anyio.to_thread.run_sync(sandbox.tick)
    tell.asked("Did it go out? (The sandbox's clock has moved on by three hours.)")
    post = await _call(client, "get_post", post_id=created["post_id"])
    tell.answered([f"+ {post['status']}: {_name(each['account'])}, {each['url']}" for each in post["results"]])


async def _call(client: "Client", tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool; a demo that fails says so instead of telling a story."""
    result = await client.call_tool(tool, arguments)
    if result.is_error or result.structured_content is None:
        raise RuntimeError(f"{tool} failed: {result.content}")
    return result.structured_content


def _name(account: str) -> str:
    """An account or platform with the name that people use for its platform."""
    key, _, rest = account.partition(" ")
    shown = {"twitter": "X", "linkedin": "LinkedIn", "tiktok": "TikTok"}.get(key, key.capitalize())
    return f"{shown} {rest}".rstrip()


def _row(cells: Sequence[str]) -> str:
    return " ".join(f"{cell:11}" for cell in cells).rstrip()


def _day(instant: str) -> str:
    return f"{datetime.fromisoformat(instant):%a %d %b %H:%M}"


def _short(text: str, characters: int) -> str:
    line = re.sub(r"\s+", " ", text)
    return line if len(line) <= characters else line[: characters - 1].rstrip() + "…"
