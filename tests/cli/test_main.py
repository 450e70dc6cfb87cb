"""The command line: version, help, one-line errors, and readers that leave early."""

import errno
import io
import json
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.support.windows import skip_on_windows
from ttp_mcp import __version__
from ttp_mcp.cli import main

pytestmark = pytest.mark.requirement("cli.main")

TOKEN = "ttp_" + "0123456789abcdef" * 3


def run_until_exit(capsys, *arguments):
    """Run a command line that exits by itself; return its exit code and output."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code, capsys.readouterr()


def test_version_is_printed(capsys):
    """The one of the package."""
    code, printed = run_until_exit(capsys, "--version")
    assert (code, printed.out) == (0, f"ttp-mcp {__version__}\n")


def test_help_names_every_command(capsys):
    """And what happens without one."""
    code, printed = run_until_exit(capsys, "--help")
    assert code == 0
    for command in ("serve", "demo", "tools", "call", "doctor", "history", "sandbox", "login", "logout", "install"):
        assert f"\n    {command} " in printed.out
    assert "Without a command it serves MCP over stdio" in printed.out


@pytest.mark.parametrize("arguments", [(TOKEN,), ("--log-level", TOKEN), ("call", "list_posts", f'{{"x": "{TOKEN}"}}')])
def test_token_on_the_command_line_is_refused_and_not_repeated(capsys, arguments):
    """Every program of the machine can read it there."""
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == (
        "ttp-mcp: don't pass a token on the command line, where every program can read it. "
        "Run ttp-mcp login, or set TTP_API_TOKEN.\n"
    )


@pytest.mark.parametrize(
    "arguments", [("tols",), ("--sandbux",), ("call",), ("--transport", "pigeon"), ("--port", "x")]
)
def test_misspelt_command_line_is_reported_in_one_line(capsys, arguments):
    """With a pointer to the help."""
    code, printed = run_until_exit(capsys, *arguments)
    assert code == 2
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "--help.\n" in printed.err


@pytest.mark.parametrize("arguments", [(), ("--sandbox",), ("tools",), ("call", "list_posts"), ("doctor",)])
def test_invalid_setting_is_reported_in_one_line(monkeypatch, tmp_path, capsys, arguments):
    """In every command: the variable and the rule, without the value."""
    monkeypatch.setenv("TTP_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("TTP_ACCESS", "everything")
    assert main(arguments) == 2
    printed = capsys.readouterr()
    said = printed.err + printed.out
    assert said == "ttp-mcp: TTP_ACCESS must be one of read, draft, full. Change it, or remove it for full.\n"


def test_log_level_can_be_given_as_a_flag(monkeypatch, capsys):
    """It overrides the variable, and is validated the same way."""
    monkeypatch.setenv("TTP_LOG_LEVEL", "ERROR")
    assert main(["--log-level", "loud"]) == 2
    assert capsys.readouterr().err.startswith("ttp-mcp: TTP_LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR.")


def test_package_runs_as_a_module(monkeypatch, capsys):
    """`python -m ttp_mcp` is the same command."""
    monkeypatch.setattr(sys, "argv", ["ttp-mcp", "--version"])
    with pytest.raises(SystemExit) as left:
        runpy.run_module("ttp_mcp", run_name="__main__")
    assert left.value.code == 0
    assert capsys.readouterr().out == f"ttp-mcp {__version__}\n"


def run_with_early_reader(folder, *command, stream="stdout"):
    """Run a command while one reader leaves early; return exit code and the other reader's output."""
    reading, writing = os.pipe()
    os.close(reading)
    other = "stderr" if stream == "stdout" else "stdout"
    done = subprocess.run(
        [sys.executable, "-m", "ttp_mcp", *command],
        **{stream: writing, other: subprocess.PIPE},
        env={**os.environ, "TTP_STATE_DIR": str(folder)},
        check=False,
    )
    os.close(writing)
    return done.returncode, getattr(done, other)


def test_broken_pipe_is_not_a_failure(tmp_path):
    """No traceback, and no message at exit."""
    assert run_with_early_reader(tmp_path, "tools", "--json") == (0, b"")


def test_exit_code_is_kept_when_a_reader_leaves(tmp_path):
    """On either stream."""
    missing = ("call", "--sandbox", "get_post", '{"post_id": "nope"}')
    assert run_with_early_reader(tmp_path, *missing, "--json") == (5, b"")
    assert run_with_early_reader(tmp_path, *missing, stream="stderr") == (5, b"")


@pytest.mark.parametrize(("number", "left"), [(errno.EPIPE, 0), (errno.EINVAL, 0), (errno.ENOSPC, None)])
def test_write_to_a_closed_pipe_is_not_a_failure_on_any_system(monkeypatch, tmp_path, number, left):
    """Windows reports EINVAL; a full disk is a failure."""

    class Gone(io.StringIO):
        def write(self, _):
            raise OSError(number, os.strerror(number))

    monkeypatch.setenv("TTP_STATE_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "stdout", Gone())
    with nullcontext() if left == 0 else pytest.raises(OSError, match="No space left"):
        assert main(["tools"]) == left


COMMANDS = [
    *((), ("doctor",), ("tools",), ("call", "list_posts"), ("history",), ("login",), ("logout",)),
    *(("install", "zed"), ("sandbox", "export"), ("sandbox",)),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_missing_home_folder_is_reported_in_one_line(monkeypatch, capsys, command):
    """Some services and containers have none; the line names what to set."""

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    for name in ("TTP_STATE_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    assert main(command) in (1, 2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "No home folder: HOME or USERPROFILE is not set." in printed.err


@skip_on_windows("Ctrl+C goes to all programs of a console")
def test_interrupted_call_warns_of_a_possible_write(tmp_path):
    """In one line, with the exit code of Ctrl+C."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        environ = {
            "TTP_STATE_DIR": str(tmp_path),
            "TTP_API_URL": f"http://127.0.0.1:{silent.getsockname()[1]}/api",
            "TTP_API_TOKEN": TOKEN,
        }
        line = [sys.executable, "-m", "ttp_mcp", "call", "list_posts"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(line, env={**os.environ, **environ}, **pipes) as process:
            connection, _ = silent.accept()
            with connection:
                process.send_signal(signal.SIGINT)
                out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, b"")
    assert err == b"ttp-mcp: stopped; a write may have been sent: list_posts shows it.\n"


def test_interrupted_command_without_writes_says_so(monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("ttp_mcp.cli.install.install", stopped)
    assert main(["install", "zed"]) == 130
    assert capsys.readouterr().err == "ttp-mcp: stopped.\n"


def run_in_ascii(folder, *command):
    """Run a command with a 7-bit stdout; return its exit code and its output."""
    environ = {"PYTHONIOENCODING": "ascii", "HOME": str(folder), "TTP_STATE_DIR": str(folder / "state")}
    line = [sys.executable, "-m", "ttp_mcp", *command]
    done = subprocess.run(line, capture_output=True, env={**os.environ, **environ}, check=False)
    assert done.stderr == b""
    return done.returncode, done.stdout.decode("utf-8")


@pytest.mark.parametrize(
    ("command", "code", "shown"),
    [
        (("doctor", "--sandbox"), 1, r"\xab"),
        (("call", "--sandbox", "list_integrations"), 0, r"Harbor Caf\xe9"),
        (("sandbox", "plan", "small"), 0, r"Harbor Caf\xe9"),
    ],
)
def test_characters_that_stdout_cannot_encode_are_escaped(tmp_path, command, code, shown):
    """The work is done, so the command exits as done."""
    left, out = run_in_ascii(tmp_path, *command)
    assert left == code
    assert shown in out


@pytest.mark.parametrize("command", [("call", "--sandbox", "list_integrations"), ("sandbox", "export")])
def test_json_is_valid_on_a_7_bit_stdout(tmp_path, command):
    """With JSON's escapes, not Python's."""
    left, out = run_in_ascii(tmp_path, *command, "--json")
    assert left == 0
    assert re.search("[“é]", json.dumps(json.loads(out), ensure_ascii=False))


def test_output_for_a_file_is_printed_as_utf_8(tmp_path):
    """A workspace, and settings to paste."""
    assert "Café" in json.loads(run_in_ascii(tmp_path, "sandbox", "export")[1])["organizations"][0]["name"]
    (tmp_path / "Menü").mkdir()
    _, out = run_in_ascii(tmp_path, "install", "zed", "--print", "--media-dir", str(tmp_path / "Menü"))
    assert json.loads(out)["context_servers"]["timetopost"]["env"]["TTP_MEDIA_DIRS"] == str(tmp_path / "Menü")


def test_replaced_stdout_is_left_alone(monkeypatch, tmp_path):
    """Text in memory takes every character."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert main(["sandbox", "export", "--data", str(tmp_path)]) == 0
    assert "Café" in sys.stdout.getvalue()


@skip_on_windows("every name there is text")
def test_settings_are_printed_though_a_folder_has_a_name_that_is_not_text(tmp_path):
    """A byte that is no UTF-8 is shown as its number there too."""
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    code, out = run_in_ascii(tmp_path, "install", "zed", "--print", "--media-dir", str(folder))
    assert code == 0
    assert r"/\udcff" in out


@skip_on_windows("a program starts another with closed output by POSIX calls")
def test_output_that_is_closed_from_the_start_is_not_a_failure():
    """As `>&-` does it."""
    done = subprocess.run(
        [sys.executable, "-m", "ttp_mcp", "tools"],
        preexec_fn=lambda: os.close(1),
        stderr=subprocess.PIPE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
