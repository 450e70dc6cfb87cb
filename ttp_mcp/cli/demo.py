"""`ttp-mcp demo`: a short conversation with the sandbox through a real MCP client. Nothing is kept."""

import argparse
import re
import shutil
import sys
import tempfile
import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import anyio

from ttp_mcp import config
from ttp_mcp.cli.arguments import Subparsers
from ttp_mcp.client_config.clients import CLIENTS

if TYPE_CHECKING:
    from mcp.client import Client

    from ttp_mcp.sandbox import Sandbox

# Longer lines are hard to read; a narrower terminal gets narrower ones.
MAX_COLUMNS = 92
# The demo workspace is a café in Paris.
ZONE = ZoneInfo("Europe/Paris")
ACCOUNTS = ["twitter @harborcafe", "linkedin"]
TOO_LONG = (
    "Our winter menu is here: spiced pear with smoked butter, a cocoa that needs a spoon, chestnut soup with sage, and the "
    "return of the cardamom bun that half of you asked about all summer long. Come early, because the buns are gone by ten; "
    "come late, because the soup is better at night."
)
SHORT_ENOUGH = (
    "Our winter menu is here: spiced pear with smoked butter, a cocoa that needs a spoon, chestnut soup with sage, and the "
    "cardamom bun that half of you asked about all summer. Come early: the buns are gone by ten. Come late: the soup is "
    "better at night."
)
IDEAS = (
    ("Behind the bar: how we roast for the dark months.", "linkedin"),
    ("The cardamom bun is back. Gone by ten, as ever.", "twitter @harborcafe"),
    ("Meet Yusuf, who opens this door every morning at six.", "linkedin"),
    ("Roasting day: come and smell it from the street.", "twitter @harborcafe"),
)
# For terminals that can show nothing else.
_ASCII = str.maketrans({"✓": "+", "✗": "x", "…": "...", "·": ".", "“": '"', "”": '"', "→": "->", "–": "-", "’": "'"})


class _Stopped(Exception):
    """A step failed; the text names it."""


def add_parser(subparsers: Subparsers) -> None:
    """Add `demo` to the command line."""
    parser = subparsers.add_parser(
        "demo",
        help="see what an assistant can do with this, without an account",
        description="A short session over the local sandbox: no account, no network, nothing is kept.",
    )
    parser.set_defaults(run=run)


def run(_: argparse.Namespace) -> int:
    """Print the conversation. Return 0, or 1 and a line about the step that failed."""
    on_terminal = sys.stdout.isatty()
    columns = shutil.get_terminal_size().columns - 1 if on_terminal else MAX_COLUMNS
    printer = _Printer(colored=on_terminal and not config.no_color(), width=min(MAX_COLUMNS, columns))
    return _report_end(anyio.run(_run_demo, printer))


def _report_end(problem: Exception | None) -> int:
    """Return the exit code, and print what stopped the demo."""
    if problem is None:
        return 0
    if isinstance(problem, OSError):  # a broken pipe, which Windows reports otherwise
        raise problem
    sys.stdout.flush()
    print(_to_printable(f"ttp-mcp: the demo stopped, because {problem}", sys.stderr.encoding), file=sys.stderr)
    return 1


@dataclass(frozen=True, slots=True)
class _Printer:
    """Prints what is asked and what comes back, in lines of at most `width` characters."""

    colored: bool
    width: int

    def show_paragraph(self, text: str) -> None:
        """Print a paragraph."""
        self._print(textwrap.fill(text, self.width))

    def show_request(self, words: str) -> None:
        """Print a request of the user."""
        print()
        self._print(self._in("1;36", textwrap.fill(f"You: {words}", self.width, subsequent_indent="     ")))

    def show_answer(self, *lines: str) -> None:
        """Print an answer; a line that begins with `+` or `!` gets a mark for success or failure."""
        for line in lines:
            mark, color = {"!": ("✗ ", "33"), "+": ("✓ ", "32")}.get(line[:1], ("", ""))
            text = line[2:] if mark else line
            self._print(
                self._in(
                    color,
                    textwrap.fill(
                        mark + text,
                        self.width,
                        initial_indent="  ",
                        subsequent_indent="    " if mark else "  ",
                        # The columns of a table are made of blanks.
                        replace_whitespace=False,
                        break_long_words=False,
                        break_on_hyphens=False,
                    ),
                )
            )

    def _in(self, color: str, text: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self.colored and color else text

    def _print(self, text: str) -> None:
        print(_to_printable(text, sys.stdout.encoding))


def _to_printable(text: str, encoding: str | None) -> str:
    """Return the text in characters that the output can show."""
    try:
        text.encode(encoding or "ascii")
    except UnicodeEncodeError:
        plain = unicodedata.normalize("NFKD", text.translate(_ASCII))
        return plain.encode("ascii", "ignore").decode()
    return text


async def _run_demo(printer: _Printer) -> Exception | None:
    """Run all steps. Return what stopped them, or None."""
    from mcp.client import Client
    from mcp.shared.exceptions import MCPError

    from ttp_mcp import logs
    from ttp_mcp.factory import create_server
    from ttp_mcp.sandbox import Sandbox

    with tempfile.TemporaryDirectory(prefix="ttp-mcp-demo-") as folder, Sandbox(Path(folder) / "sandbox") as sandbox:
        # Nothing here can be asked.
        settings = config.Settings(zone=ZONE, state_dir=Path(folder), confirm="off")
        runtime = create_server(settings, sandbox, now=sandbox.clock.now)
        restore = logs.configure_logging("ERROR")
        try:
            async with Client(runtime.server) as client:
                try:
                    await _run_steps(client, sandbox, printer)
                except (_Stopped, MCPError, OSError) as problem:
                    # Kept out of the client's task group, which would wrap it.
                    return problem
        finally:
            restore()
            await runtime.aclose()
    return None


async def _run_steps(client: "Client", sandbox: "Sandbox", printer: _Printer) -> None:
    printer.show_paragraph(
        "A café in Paris with half a year of posts, made up, in a sandbox on this machine. Each answer below comes through "
        "a real MCP client, the way your assistant would get it. Nothing here is public, and nothing is kept. Times are "
        "Paris times."
    )
    await _show_accounts(client, printer)
    await _show_failures(client, printer, sandbox.clock.now())
    await _publish_post(client, sandbox, printer)
    await _plan_posts(client, printer, sandbox.clock.now())
    print()
    printer.show_paragraph("That was the sandbox. To give it to your own assistant:")
    first, *others = (client.name for client in CLIENTS)
    printer.show_answer(
        f"ttp-mcp install {first} --sandbox",
        f"(or {', '.join(others)}), and ask it what failed last week. The sandbox's own page shows what it does there: "
        "ttp-mcp sandbox",
        "With your TimeToPost account: ttp-mcp login, then the same line without --sandbox.",
    )


async def _show_accounts(client: "Client", printer: _Printer) -> None:
    printer.show_request("Which accounts do I have?")
    data = await _call_tool(client, "list_integrations")
    for each in data["accounts"]:
        health = "connected" if each["healthy"] else "the connection has expired"
        mark = "+" if each["healthy"] else "!"
        printer.show_answer(
            f"{mark} {_show_name(each['platform']):10} {each.get('handle') or each['name']:20} {health}"
        )


async def _show_failures(client: "Client", printer: _Printer, now: datetime) -> None:
    printer.show_request("What went wrong in the last seven days?")
    since = (now - timedelta(days=7)).isoformat()
    for status in ("failed", "partial"):
        listed = await _call_tool(client, "list_posts", status=status, after=since)
        for post in listed["posts"]:
            whole = await _call_tool(client, "get_post", post_id=post["id"])
            failed = [each for each in whole["results"] if each.get("error")]
            reached = len(whole["results"]) - len(failed)
            printer.show_answer(f"{_show_time(whole['scheduled_at'])}: “{_shorten(whole['content'], 44)}”")
            printer.show_answer(*(f"! {_show_name(each['account'])}: {each['error']}" for each in failed))
            if reached:
                printer.show_answer(f"+ on {reached} of {len(whole['results'])} accounts it went out")


async def _publish_post(client: "Client", sandbox: "Sandbox", printer: _Printer) -> None:
    printer.show_request(f"Put this on X and LinkedIn tomorrow at ten: “{TOO_LONG}”")
    tomorrow = sandbox.clock.now().astimezone(ZONE) + timedelta(days=1)
    when = datetime(tomorrow.year, tomorrow.month, tomorrow.day, 10, tzinfo=ZONE)
    post = {"account_ids": ACCOUNTS, "scheduled_at": when.isoformat()}
    found = await _call_tool(client, "check_post", content=TOO_LONG, **post)
    if not found["errors"]:
        raise _Stopped("check_post found no error in a text that is too long for X.")
    printer.show_answer(*(f"! {error[:1].upper()}{error[1:]}" for error in found["errors"]))
    checked = await _call_tool(client, "check_post", content=SHORT_ENOUGH, **post)
    lengths = ", ".join(
        f"{_show_name(each['account'])} {each['characters']} of {each['limit']}" for each in checked["accounts"]
    )
    printer.show_answer(
        f"A shorter one: “{SHORT_ENOUGH}”", f"+ It fits: {lengths} characters. Nothing was sent yet; shall I?"
    )
    printer.show_request("Yes.")
    created = await _call_tool(client, "create_post", content=SHORT_ENOUGH, **post)
    printer.show_answer(
        f"+ Scheduled for {_show_time(created['scheduled_at'])}. Until then it can be changed or cancelled."
    )
    wait = when - sandbox.clock.now() + timedelta(minutes=1)
    sandbox.stored_clock.move(wait.total_seconds())
    await anyio.to_thread.run_sync(sandbox.tick)
    printer.show_request("Did it go out? (The sandbox's clock has moved on to tomorrow, 10:01.)")
    published = await _call_tool(client, "get_post", post_id=created["post_id"])
    for each in published["results"]:
        mark = "+" if each["status"] == "published" else "!"
        printer.show_answer(
            f"{mark} {_show_name(each['account'])}: {each['status']}, {each.get('url') or each.get('error')}"
        )


async def _plan_posts(client: "Client", printer: _Printer, now: datetime) -> None:
    printer.show_request("Find good times for these four posts next week.")
    today = now.astimezone(ZONE)
    monday = today + timedelta(days=7 - today.weekday())
    posts = [{"content": text, "account_ids": [account]} for text, account in IDEAS]
    # The end is a whole day, so Sunday.
    end = monday + timedelta(days=6)
    plan = await _call_tool(client, "plan_posts", posts=posts, start=f"{monday:%Y-%m-%d}", end=f"{end:%Y-%m-%d}")
    at = [(datetime.fromisoformat(each["scheduled_at"]), each) for each in plan["planned"]]
    days = [monday + timedelta(days=number) for number in range(7)]
    printer.show_answer(_format_row([f"{day:%a} {day.day}" for day in days]))
    for number in range(max(sum(when.date() == day.date() for when, _ in at) for day in days)):
        columns = [
            [(when, each) for when, each in at if when.date() == day.date()][number : number + 1] for day in days
        ]
        printer.show_answer(
            _format_row([f"{found[0][0]:%H:%M}" if found else "·" for found in columns]),
            _format_row([_show_name(found[0][1]["accounts"][0].split()[0]) if found else "" for found in columns]),
        )
    when, first = at[0]
    reason = re.sub(r"score [\d.]+, ", "", first["reason"])
    printer.show_answer(
        f"Why {_show_name(first['accounts'][0])} on {when:%A} at {when:%H:%M}: {reason}.",
        "It is a plan so far: your assistant schedules it after your yes.",
    )


async def _call_tool(client: "Client", tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool and return its structured answer. Raises _Stopped if it has none."""
    result = await client.call_tool(tool, arguments)
    if result.is_error or result.structured_content is None:
        said = " ".join(block.text for block in result.content if block.type == "text")
        raise _Stopped(f"{tool} failed: {_shorten(said, 300)}")
    return result.structured_content


def _show_name(account: str) -> str:
    """Return an account or platform with the name that people use for its platform."""
    key, _, rest = account.partition(" ")
    shown = {"twitter": "X", "linkedin": "LinkedIn", "tiktok": "TikTok"}.get(key, key.capitalize())
    return f"{shown} {rest}".rstrip()


def _format_row(cells: Sequence[str]) -> str:
    return " ".join(f"{cell:9}" for cell in cells).rstrip()


def _show_time(instant: str) -> str:
    return f"{datetime.fromisoformat(instant):%A %d %B, %H:%M}"


def _shorten(text: str, characters: int) -> str:
    return textwrap.shorten(text, characters, placeholder=" …")
