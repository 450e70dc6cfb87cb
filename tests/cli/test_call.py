"""`ttp-mcp tools`, `call` and `doctor`: the same tools from a shell."""

import io
import json
import os
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from starlette.responses import JSONResponse

from tests.support.windows import needs_terminals
from ttp_mcp.api import errors
from ttp_mcp.api.posts import PostsApi
from ttp_mcp.cli import call, main
from ttp_mcp.tools import every_tool
from ttp_mcp.writes.outcomes import Created
from ttp_mcp.writes.writer import Writer

pytestmark = pytest.mark.requirement("cli.call")

FACTS = {"method": "GET", "path": "/posts"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """Its own state folder, Paris time, and no token from the machine."""
    monkeypatch.setenv("TTP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TTP_TIMEZONE", "Europe/Paris")
    for name in ("TTP_API_TOKEN", "TIMETOPOST_API_TOKEN", "TTP_API_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


def run_command(capsys, *arguments):
    """Run a command and return exit code, stdout and stderr."""
    code = main(arguments)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_tools_are_listed_one_a_line(capsys):
    """Name, and the first line of what agents read; no token is needed."""
    code, out, err = run_command(capsys, "tools")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == [tool.name for tool in every_tool()]
    assert (
        lines[0]
        == "list_posts                List posts with times, accounts, links and failures; counts all posts by status."
    )


def test_tools_as_json_are_what_clients_get(capsys):
    """One line, with schemas."""
    code, out, _ = run_command(capsys, "tools", "--json")
    assert code == 0
    assert out.count("\n") == 1
    listed = json.loads(out)
    assert listed[0]["name"] == "list_posts"
    assert listed[0]["inputSchema"]["additionalProperties"] is False


def test_access_that_leaves_no_tool_lists_none(monkeypatch, capsys):
    """It isn't an error, since the settings ask for it."""
    monkeypatch.setenv("TTP_ACCESS", "read")
    monkeypatch.setenv("TTP_TOOLSETS", "media")
    assert run_command(capsys, "tools") == (0, "\n", "")


def test_call_prints_the_answer(capsys):
    """As text, or its data as one line of JSON."""
    code, out, err = run_command(capsys, "call", "--sandbox", "list_integrations")
    assert (code, err) == (0, "")
    assert out.startswith("6 connected accounts:\n- ")
    code, out, _ = run_command(capsys, "call", "--sandbox", "--json", "list_posts", '{"limit": 2}')
    assert code == 0
    assert len(json.loads(out)["posts"]) == 2


def test_call_reads_its_arguments_from_stdin(monkeypatch, capsys):
    """Some are too long for a command line."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"limit": 1}')))
    code, out, _ = run_command(capsys, "call", "--sandbox", "--json", "list_posts", "-")
    assert code == 0
    assert len(json.loads(out)["posts"]) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_stdin_is_read_in_every_encoding_that_shells_write(monkeypatch, capsys, encoding):
    """Windows decodes a pipe as cp1252 by default, which would publish wrong letters."""
    given = json.dumps({"content": "Crêpes à 5 € 🥞", "platforms": ["linkedin"]}, ensure_ascii=False) + "\r\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given.encode(encoding)), "cp1252"))
    code, out, _ = run_command(capsys, "call", "--sandbox", "--json", "create_post", "-")
    assert code == 0
    assert json.loads(out)["text"] == "Crêpes à 5 € 🥞"


def test_stdin_that_is_not_text_is_refused(monkeypatch, capsys):
    """Nothing is called."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO('{"content": "é"}'.encode("cp1252")), "cp1252"))
    code, _, err = run_command(capsys, "call", "--sandbox", "create_post", "-")
    assert code == 2
    assert "the arguments are not valid JSON" in err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "ttp-mcp: the arguments are not valid JSON"),
        ("", "ttp-mcp: the arguments are not valid JSON"),
        ("[1]", "ttp-mcp: the arguments must be one JSON object, for example '{\"limit\": 5}'."),
        ("null", "ttp-mcp: the arguments must be one JSON object"),
    ],
)
def test_arguments_that_are_not_an_object_are_refused_with_an_example(capsys, text, words):
    """Nothing is called."""
    code, out, err = run_command(capsys, "call", "--sandbox", "list_posts", text)
    assert (code, out) == (2, "")
    assert err.startswith(words)
    assert err.count("\n") == 1
    assert "for example" in err


def test_unknown_tool_is_refused_with_the_way_to_the_list(capsys):
    """Exit code of misuse."""
    code, out, err = run_command(capsys, "call", "--sandbox", "list_pots")
    assert (code, out) == (2, "")
    assert err == (
        "ttp-mcp: Unknown tool: list_pots. ttp-mcp tools lists those that TTP_ACCESS and TTP_TOOLSETS leave.\n"
    )


def test_misuse_is_reported_on_stdout_with_json(capsys):
    """A program reads one stream."""
    code, out, err = run_command(capsys, "call", "--sandbox", "--json", "list_posts", '{"limit": 0}')
    assert (code, err) == (2, "")
    assert json.loads(out) == {
        "error": "arguments",
        "text": "list_posts not called: limit must be at least 1. Nothing was sent.",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nosuch",), "Unknown tool: nosuch. ttp-mcp tools lists those"),
        (("list_posts", "{bad"), "the arguments are not valid JSON"),
        (("list_posts", "[1]"), "the arguments must be one JSON object"),
    ],
)
def test_misuse_before_a_call_has_the_same_form(capsys, arguments, words):
    """Every kind of misuse is one line of JSON."""
    code, out, err = run_command(capsys, "call", "--sandbox", "--json", *arguments)
    assert (code, err) == (2, "")
    reported = json.loads(out)
    assert reported["error"] == "arguments"
    assert reported["text"].startswith(words)


@pytest.mark.parametrize("command", [("tools",), ("call", "list_posts"), ("doctor",)])
def test_invalid_setting_has_the_same_form(monkeypatch, capsys, command):
    """In every command with JSON output."""
    monkeypatch.setenv("TTP_ACCESS", "most")
    code, out, err = run_command(capsys, *command, "--json")
    assert (code, err) == (2, "")
    reported = json.loads(out)
    assert reported["error"] == "setting"
    assert reported["text"].startswith("TTP_ACCESS")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.TokenMissing(**FACTS), 3),
        (errors.NotAuthenticated(status=401, **FACTS), 3),
        (errors.Forbidden(status=403, **FACTS), 4),
        (errors.AccessRefused(**FACTS), 4),
        (errors.NotFound(status=404, **FACTS), 5),
        (errors.RateLimited(status=429, **FACTS), 6),
        (errors.NotReached(**FACTS), 7),
        (errors.NoAnswer(may_have_happened=True, **FACTS), 8),
        (errors.ServerError(status=500, **FACTS), 1),
        (RuntimeError("inner detail"), 70),
    ],
)
def test_exit_code_shows_the_kind_of_failure(monkeypatch, capsys, error, code):
    """The text goes to stderr, and nothing to stdout."""

    async def raises(self):
        raise error

    monkeypatch.setattr(PostsApi, "list", raises)
    left, out, err = run_command(capsys, "call", "--sandbox", "list_posts")
    assert (left, out) == (code, "")
    assert err.startswith("Posts not listed: ")
    assert "inner detail" not in err.splitlines()[0]


UNKNOWN = Created("unknown", datetime(2026, 11, 24, tzinfo=UTC))


def set_outcome(monkeypatch, name, result):
    """Make this write end with an outcome from now on."""

    async def ends(self, *_, **__):
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(Writer, name, ends)


def test_unknown_outcome_exits_as_unclear(monkeypatch, capsys):
    """The answer still goes to stdout."""
    set_outcome(monkeypatch, "create", UNKNOWN)
    code, out, err = run_command(
        capsys, "call", "--sandbox", "create_post", '{"content": "x", "platforms": ["linkedin"]}'
    )
    assert (code, err) == (8, "")
    assert out.startswith("Unknown whether the post for linkedin «Harbor Café» was created")


@pytest.mark.parametrize(
    ("ending", "code", "words"),
    [
        (UNKNOWN, 8, "unknown: The call ended before there was a response."),
        (errors.NotReached(**FACTS), 1, "stopped: Post 1 not created"),
    ],
)
def test_partly_applied_plan_does_not_exit_as_done(monkeypatch, capsys, ending, code, words):
    """Unclear if a step is, else failed; applying again continues and exits as done."""
    posts = {"posts": [{"content": "x", "platforms": ["linkedin"]}]}
    left, out, _ = run_command(capsys, "call", "--sandbox", "--json", "plan_posts", json.dumps(posts))
    assert left == 0
    plan = json.dumps({"plan_id": json.loads(out)["plan_id"]})
    with monkeypatch.context() as patched:
        set_outcome(patched, "create", ending)
        left, out, err = run_command(capsys, "call", "--sandbox", "apply_plan", plan)
    assert (left, err) == (code, "")
    assert words in out
    assert run_command(capsys, "call", "--sandbox", "apply_plan", plan)[0] == 0


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        (
            "check_post",
            {"content": "x" * 300, "platforms": ["twitter"]},
            "Would not be saved as a draft as it is for twitter @harborcafe",
        ),
        (
            "check_post",
            {"content": "x", "platforms": ["nowhere"]},
            "Would not be saved as a draft as it is.\nError: no account is connected on that platform.",
        ),
        ("plan_posts", {"posts": [{"content": "x" * 300, "platforms": ["twitter"]}]}, "No post could be given a time"),
    ],
)
def test_negative_answer_exits_as_failed(capsys, tool, arguments, words):
    """So that a script needn't parse it."""
    code, out, err = run_command(capsys, "call", "--sandbox", tool, json.dumps(arguments))
    assert (code, err) == (1, "")
    assert out.startswith(words)


def test_help_of_call_names_every_exit_code(capsys):
    """Except that of internal errors."""
    with pytest.raises(SystemExit):
        main(["call", "--help"])
    reported = " ".join(capsys.readouterr().out.split())
    for number in sorted({*call.EXIT_CODES.values(), 0, 1} - {70}):
        assert f" {number} " in reported


def test_call_without_a_token_says_how_to_set_it(capsys):
    """The server starts anyway."""
    code, out, err = run_command(capsys, "call", "list_posts")
    assert (code, out) == (3, "")
    assert err.startswith("Posts not listed: no API token is set. Create one in the TimeToPost dashboard")


def test_doctor_fails_if_there_is_a_problem(capsys, monkeypatch):
    """The demo workspace has one expired account; without a token that is the problem."""
    code, out, err = run_command(capsys, "doctor", "--sandbox")
    assert (code, err) == (1, "")
    assert out.startswith("1 problem found.\n")
    assert "@harborcafe_berlin is expired" in out
    code, out, _ = run_command(capsys, "doctor", "--json")
    assert code == 1
    report = json.loads(out)
    assert not report["ok"]
    assert report["items"][0]["name"] == "token"


def test_doctor_without_its_tool_says_which_settings_leave_it_out(monkeypatch, capsys):
    """No traceback."""
    monkeypatch.setenv("TTP_TOOLSETS", "posts")
    code, out, err = run_command(capsys, "doctor", "--sandbox")
    assert (code, out) == (2, "")
    assert err == (
        "ttp-mcp: Unknown tool: check_setup. ttp-mcp tools lists those that TTP_ACCESS and TTP_TOOLSETS leave.\n"
    )


def test_doctor_exits_with_0_without_a_problem(capsys, monkeypatch):
    """Exit code 0."""

    async def healthy(scope, receive, send):
        replies = {"integrations": [{"id": "a", "platform": "linkedin", "name": "A", "status": "connected"}]}
        await JSONResponse(replies)(scope, receive, send)

    monkeypatch.setattr("ttp_mcp.sandbox.sandbox.create_api", lambda *_, **__: healthy)
    code, out, _ = run_command(capsys, "doctor", "--sandbox")
    assert (code, out.splitlines()[0]) == (0, "Everything needed works.")


@pytest.mark.parametrize(
    ("progress", "total", "message", "bar"),
    [
        (0, 10, None, "\r[........................]   0% \x1b[K"),
        (5, 10, "5 of 10", "\r[############............]  50% 5 of 10\x1b[K"),
        (10, 10, "done", "\r[########################] 100% done\x1b[K"),
        (12, 10, "more", "\r[########################] 100% more\x1b[K"),
        (3, None, "3", "\r[........................]   0% 3\x1b[K"),
    ],
)
async def test_progress_bar_is_redrawn_in_place(capsys, progress, total, message, bar):
    """It doesn't end the line, so the next output replaces it."""
    await call._show_progress(progress, total, message)
    assert capsys.readouterr().err == bar


def run_on_terminal(*arguments, **environment):
    """Run the command with a terminal as stderr; return exit code, stdout and the terminal's output."""
    terminal, other = os.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "ttp_mcp", *arguments],
        stdout=subprocess.PIPE,
        stderr=other,
        env={**os.environ, **environment},
    ) as process:
        os.close(other)
        shown = b""
        # Linux says EIO when the last one with the other end is gone.
        with suppress(OSError):
            while chunk := os.read(terminal, 4096):
                shown += chunk
        out = process.stdout.read()
    os.close(terminal)
    return process.returncode, out.decode(), shown.decode()


@needs_terminals
def test_upload_shows_its_progress_on_a_terminal(tmp_path):
    """Stdout is only the answer."""
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "a.gif").write_bytes(b"GIF89a\x01\0\x01\0\0\0\0;")
    arguments = ("call", "--sandbox", "upload_media", '{"source": "a.gif"}')
    code, out, shown = run_on_terminal(*arguments, TTP_MEDIA_DIRS=str(folder))
    assert code == 0
    assert out.startswith("Uploaded «a.gif»: image/gif")
    assert "100% 14 bytes of 14 bytes" in shown
    assert "Uploaded" not in shown
    assert shown.endswith(WIPED)


WIPED = "\r\x1b[K"


@needs_terminals
def test_bar_is_cleared_without_its_last_step(capsys, tmp_path):
    """undo_plan reports what it reads, then the result."""
    state = {"TTP_STATE_DIR": str(tmp_path / "state")}
    posts = json.dumps({"posts": [{"content": "Doors open at ten", "platforms": ["linkedin"]}]})
    _, out, _ = run_command(capsys, "call", "--sandbox", "--json", "plan_posts", posts)
    plan = json.dumps({"plan_id": json.loads(out)["plan_id"]})
    assert run_command(capsys, "call", "--sandbox", "apply_plan", plan)[0] == 0
    code, _, shown = run_on_terminal("call", "--sandbox", "undo_plan", plan, **state)
    assert code == 0
    assert "0 of 1 post checked" in shown
    assert shown.endswith(WIPED)


@needs_terminals
def test_failure_starts_a_new_line_on_a_terminal(tmp_path):
    """Whatever the bar left there."""
    code, _, shown = run_on_terminal("call", "--sandbox", "nosuch", TTP_STATE_DIR=str(tmp_path / "state"))
    assert code == 2
    assert shown.startswith(f"{WIPED}ttp-mcp: Unknown tool: nosuch.")
