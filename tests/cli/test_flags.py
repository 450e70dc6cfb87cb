"""Flags before a command, where people put them as naturally as after it."""

import argparse
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ttp_mcp.cli import main, parser

pytestmark = pytest.mark.requirement("cli.before")


class _RealApi(BaseHTTPRequestHandler):
    """Answers everything with empty lists, and notes what it was asked, and the log level while it was."""

    def do_GET(self):
        self.server.asked.append(f"{self.command} {self.path}")
        self.server.levels.add(logging.getLogger().level)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"posts": [], "integrations": []}')

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *_):
        """Nothing: stderr is the command's."""


@pytest.fixture
def real_api(monkeypatch, tmp_path):
    """The real API, whose address and token the environment has."""
    server = HTTPServer(("127.0.0.1", 0), _RealApi)
    server.asked, server.levels = [], set()
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    monkeypatch.setenv("TTP_API_URL", f"http://127.0.0.1:{server.server_port}/api")
    monkeypatch.setenv("TTP_API_TOKEN", "ttp_" + "0" * 48)
    monkeypatch.setenv("TTP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TTP_TIMEZONE", "Europe/Paris")
    yield server
    server.shutdown()
    serving.join()
    server.server_close()


@pytest.fixture
def asked(real_api):
    """What the real API was asked."""
    return real_api.asked


def orders(*command):
    """The command line with the flag before the command, after it, and on both sides."""
    first, *rest = command
    return [
        pytest.param(("--sandbox", first, *rest), id="before"),
        pytest.param((first, "--sandbox", *rest), id="after"),
        pytest.param(("--sandbox", first, "--sandbox", *rest), id="both"),
    ]


POST = json.dumps({"content": "A trial", "platforms": ["linkedin"]})


@pytest.mark.parametrize("arguments", orders("call", "create_post", POST))
def test_call_with_sandbox_never_reaches_the_real_api(capsys, asked, arguments):
    """The post is the sandbox's."""
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("Draft saved: ")
    assert asked == []


def test_call_without_sandbox_reaches_the_real_api(capsys, asked):
    """So that the other tests see what they are about."""
    assert main(["call", "list_posts"]) == 0
    assert sorted(asked) == ["GET /api/integrations", "GET /api/posts"]


@pytest.mark.parametrize("arguments", orders("doctor"))
def test_doctor_with_sandbox_looks_at_the_sandbox(capsys, asked, arguments):
    """Its first line names whose token it is."""
    main(arguments)
    assert "accepted by the local sandbox, where nothing is public" in capsys.readouterr().out
    assert asked == []


@pytest.mark.parametrize("arguments", orders("tools"))
def test_tools_with_sandbox_open_the_sandbox(capsys, asked, tmp_path, arguments):
    """Listing asks no API at all; the sandbox's folder shows which one it would be."""
    assert main(arguments) == 0
    assert (tmp_path / "state" / "sandbox").is_dir()
    assert asked == []


@pytest.mark.parametrize("arguments", orders("install", "cursor", "--print"))
def test_install_with_sandbox_connects_the_sandbox(capsys, asked, arguments):
    """What the client will start carries the flag."""
    assert main(arguments) == 0
    assert "--sandbox" in capsys.readouterr().out
    assert asked == []


def test_no_command_overwrites_a_flag_before_it():
    """A default of a command's own flag would; argparse says nothing of it."""
    root = parser()
    serving = {action.dest for action in root._actions}
    commands = list(below(root))
    overwritten = [
        (command.prog, action.dest)
        for command in commands
        for action in command._actions
        if action.dest in serving and action.default is not argparse.SUPPRESS
    ]
    assert overwritten == []
    assert "ttp-mcp sandbox token create" in [command.prog for command in commands]


def below(command):
    """The commands of a command, and theirs."""
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from (each, *below(each))


@pytest.mark.parametrize("command", ["call", "doctor"])
def test_log_level_before_a_command_is_its_log_level(capsys, real_api, command):
    """Checked alike, and used while the command runs."""
    tool = ["list_posts"] if command == "call" else []
    assert main(["--log-level", "loud", command, *tool]) == 2
    printed = capsys.readouterr()
    assert "TTP_LOG_LEVEL must be one of" in printed.err + printed.out
    assert real_api.levels == set()
    main(["--log-level", "DEBUG", command, *tool])
    assert real_api.levels == {logging.DEBUG}


@pytest.mark.parametrize(
    ("arguments", "flags"),
    [
        (("--transport", "http", "call", "list_posts"), "--transport before call is"),
        (("--transport", "http", "--port", "9000", "sandbox"), "--transport, --port before sandbox is"),
        (("--host", "127.0.0.1", "tools"), "--host before tools is"),
        (("--multi-tenant", "--behind-tls-proxy", "doctor"), "--multi-tenant, --behind-tls-proxy before doctor is"),
        (("--log-level", "DEBUG", "install", "cursor", "--print"), "--log-level before install is"),
        (("--path", "/x", "demo"), "--path before demo is"),
    ],
)
def test_flag_that_a_command_would_ignore_is_refused(capsys, asked, arguments, flags):
    """In one line, before anything is done."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"ttp-mcp: {flags} for serving MCP, and ")
    assert printed.err.count("\n") == 1
    assert asked == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("sandbox", "--port", "1", "--host", "::1", "clock"),
            "--host, --port is for serving the sandbox, and a command that controls it would ignore it.",
        ),
        (("sandbox", "--storage-port", "0", "fault", "503"), "--storage-port is for serving the sandbox, and "),
        (
            ("sandbox", "fault", "--times", "3", "--seconds", "9"),
            "--times, --seconds is for ordering a fault, and fault list would ignore it. Name a kind",
        ),
        (("sandbox", "fault", "clear", "--path", "/posts"), "--path is for ordering a fault, and fault clear would "),
        (("install", "codex", "--print", "--json"), "--json is for the report, and --print would ignore it"),
    ],
)
def test_flag_that_a_part_of_a_command_would_ignore_is_refused(capsys, asked, tmp_path, arguments, words):
    """As one before the command: nothing is made, and nothing is printed that looks like an answer."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"ttp-mcp: {words}")
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "state").exists()
