"""`ttp-mcp demo`: its story, and that it is true."""

import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from mcp.shared.exceptions import MCPError

from ttp_mcp.cli import main
from ttp_mcp.sandbox import Sandbox
from ttp_mcp.server.mcp_server import TtpServer
from ttp_mcp.server.rendering import render_failure

pytestmark = pytest.mark.requirement("cli.demo")

CALLED = [
    "list_integrations",
    "list_posts",
    "get_post",
    "list_posts",
    "get_post",
    "check_post",
    "check_post",
    "create_post",
    "get_post",
    "plan_posts",
]


@pytest.fixture
def calls(monkeypatch):
    """The tools that a client calls, with their arguments."""
    seen = []
    real = TtpServer._call_tool

    async def noting(self, request, params):
        assert request.session is not None, "a client's call has a session"
        seen.append((params.name, params.arguments))
        return await real(self, request, params)

    monkeypatch.setattr(TtpServer, "_call_tool", noting)
    return seen


def replace_answer(monkeypatch, broken, answer):
    """Replace one tool's answer."""
    real = TtpServer._call_tool

    async def call_tool(self, request, params):
        return answer() if params.name == broken else await real(self, request, params)

    monkeypatch.setattr(TtpServer, "_call_tool", call_tool)


def test_demo_shows_real_calls_in_a_marketers_words(calls, capsys):
    """Every step is a call of a client; no wire format is shown, and no line is too wide."""
    assert main(["demo"]) == 0
    reported = capsys.readouterr()
    assert reported.err == ""
    assert [name for name, _ in calls] == CALLED
    for shown in (
        "✗ X          @harborcafe_berlin   the connection has expired",
        "shorten it by 4",
        "✓ It fits: X @harborcafe 249 of 280, LinkedIn «Harbor Café» 249 of 3000",
        "✓ X @harborcafe: published, https://x.example/",
        "✓ LinkedIn «Harbor Café»: published,",
        "your assistant schedules it after your yes",
        "ttp-mcp install claude-desktop --sandbox",
    ):
        assert shown in " ".join(reported.out.split()) or shown in reported.out
    assert "twitter" not in reported.out.lower()
    assert "{" not in reported.out
    assert "\x1b" not in reported.out
    assert max(map(len, reported.out.splitlines())) <= 92
    assert 40 <= len(reported.out.splitlines()) <= 65


def test_demo_searches_failures_of_the_last_seven_days(calls, capsys):
    """The API gets the same window."""
    before = datetime.now(UTC) - timedelta(days=7)
    assert main(["demo"]) == 0
    listed = [arguments for name, arguments in calls if name == "list_posts"]
    assert [arguments["status"] for arguments in listed] == ["failed", "partial"]
    for arguments in listed:
        assert before <= datetime.fromisoformat(arguments["after"]) <= datetime.now(UTC) - timedelta(days=7)


@pytest.mark.parametrize("weekday", range(7))
def test_demo_works_on_every_day_of_the_week(weekday, monkeypatch, capsys):
    """ "Next week" depends on the day, and there are always failures to show."""
    day = datetime(2026, 3, 23, 22, 30, tzinfo=UTC) + timedelta(days=weekday)
    monkeypatch.setattr("ttp_mcp.sandbox.clock.time.time_ns", lambda: int(day.timestamp() * 1e9))
    assert main(["demo"]) == 0
    reported = capsys.readouterr().out
    assert reported.count("Reconnect the") == 2
    assert "published" in reported


@pytest.mark.parametrize(
    ("tool", "words"),
    [("list_integrations", "list_integrations failed: it rains"), ("create_post", "create_post failed: it rains")],
)
def test_demo_stops_with_one_line_when_a_step_fails(tool, words, monkeypatch, capsys):
    """Without a traceback, and without claiming what didn't happen."""
    replace_answer(monkeypatch, tool, lambda: render_failure("it rains", "bug"))
    assert main(["demo"]) == 1
    reported = capsys.readouterr()
    assert reported.err == f"ttp-mcp: the demo stopped, because {words}\n"
    assert "Scheduled for" not in reported.out


def test_demo_stops_with_one_line_on_a_protocol_error(monkeypatch, capsys):
    def breaks():
        raise MCPError(-32602, "Unknown tool: check_post.")

    replace_answer(monkeypatch, "check_post", breaks)
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == "ttp-mcp: the demo stopped, because Unknown tool: check_post.\n"


def test_demo_stops_if_its_long_text_fits(monkeypatch, capsys):
    """Otherwise the story of a shortened text would be false."""
    monkeypatch.setattr("ttp_mcp.cli.demo.TOO_LONG", "Short enough.")
    assert main(["demo"]) == 1
    assert "check_post found no error" in capsys.readouterr().err


def test_demo_on_a_terminal_has_colors_and_fits_it(monkeypatch, capsys):
    """Yellow for problems, green for success; no line is wider than the terminal."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert main(["demo"]) == 0
    reported = capsys.readouterr().out
    assert "\x1b[32m  ✓ Instagram" in reported
    assert "\x1b[33m  ✗ X " in reported
    plain = [line.partition("m")[2] if line.startswith("\x1b") else line for line in reported.splitlines()]
    assert max(len(line.removesuffix("\x1b[0m")) for line in plain) <= 79


def test_demo_on_a_terminal_without_color_is_plain(monkeypatch, capsys):
    """NO_COLOR is respected."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["demo"]) == 0
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(("encoding", "mark"), [("ascii", "+ Instagram"), ("latin-1", "+ Instagram")])
def test_demo_for_an_output_without_unicode_uses_other_marks(encoding, mark, monkeypatch):
    """Characters the terminal can't show are replaced."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    assert main(["demo"]) == 0
    sys.stdout.flush()
    reported = raw.getvalue().decode(encoding)
    assert mark in reported
    assert "A cafe in Paris" in reported if encoding == "ascii" else "A café in Paris" in reported


def test_demo_shows_accounts_that_got_nothing(monkeypatch, capsys):
    """With the network's reason, not as a success."""
    real = Sandbox.tick

    def tick(self):
        with self.store.writing() as db:
            db.execute("UPDATE accounts SET expires_at = 0, has_refresh_capability = 0 WHERE platform = 'linkedin'")
        return real(self)

    monkeypatch.setattr(Sandbox, "tick", tick)
    assert main(["demo"]) == 0
    assert "✗ LinkedIn «Harbor Café»: failed" in capsys.readouterr().out


def test_demo_exits_quietly_when_its_reader_leaves():
    """As with `head`: no traceback, and no message at exit."""
    demo = subprocess.Popen([sys.executable, "-m", "ttp_mcp", "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with demo:
        demo.stdout.read(10)
        demo.stdout.close()
        assert demo.stderr.read() == b""
    assert demo.returncode == 0


def test_demo_keeps_nothing(tmp_path, monkeypatch, capsys):
    """Neither in the state folder nor in temporary files."""
    monkeypatch.setenv("TTP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert main(["demo"]) == 0
    assert list(tmp_path.iterdir()) == []
