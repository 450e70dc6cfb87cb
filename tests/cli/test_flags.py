"""Flags follow their command."""

import json
import logging
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ttp_mcp.cli import main

pytestmark = pytest.mark.requirement("cli.before")


class _RealApi(BaseHTTPRequestHandler):
    """Answer everything with empty lists, and record the requests and the log level during them."""

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
    """The real API, whose address and token are in the environment."""
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
def seen_requests(real_api):
    """Return the requests to the real API."""
    return real_api.asked


POST = json.dumps({"content": "A trial", "platforms": ["linkedin"]})


def test_call_with_sandbox_never_reaches_the_real_api(capsys, seen_requests):
    """The post is the sandbox's."""
    assert main(["call", "--sandbox", "create_post", POST]) == 0
    assert capsys.readouterr().out.startswith("Draft saved: ")
    assert seen_requests == []


def test_call_without_sandbox_reaches_the_real_api(capsys, seen_requests):
    """Shows that the fixture detects such a request."""
    assert main(["call", "list_posts"]) == 0
    assert sorted(seen_requests) == ["GET /api/integrations", "GET /api/posts"]


def test_doctor_with_sandbox_checks_the_sandbox(capsys, seen_requests):
    """Its first line names the token's owner."""
    main(["doctor", "--sandbox"])
    assert "accepted by the local sandbox, where nothing is public" in capsys.readouterr().out
    assert seen_requests == []


def test_tools_with_sandbox_open_the_sandbox(capsys, seen_requests, tmp_path):
    """Listing sends no request; the sandbox's folder shows which API it would use."""
    assert main(["tools", "--sandbox"]) == 0
    assert (tmp_path / "state" / "sandbox").is_dir()
    assert seen_requests == []


def test_install_with_sandbox_connects_the_sandbox(capsys, seen_requests):
    """The client's command has the flag."""
    assert main(["install", "cursor", "--print", "--sandbox"]) == 0
    assert "--sandbox" in capsys.readouterr().out
    assert seen_requests == []


@pytest.mark.parametrize("command", ["call", "doctor"])
def test_log_level_of_a_command_is_used(capsys, real_api, command):
    """It is validated, and applies while the command runs."""
    tool = ["list_posts"] if command == "call" else []
    assert main([command, "--log-level", "loud", *tool]) == 2
    printed = capsys.readouterr()
    assert "TTP_LOG_LEVEL must be one of" in printed.err + printed.out
    assert real_api.levels == set()
    main([command, "--log-level", "DEBUG", *tool])
    assert real_api.levels == {logging.DEBUG}


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (("--sandbox", "call", "create_post", POST), "ttp-mcp call"),
        (("--sandbox", "doctor"), "ttp-mcp doctor"),
        (("--sandbox", "install", "cursor"), "ttp-mcp install"),
        (("--transport", "http", "call", "list_posts"), "ttp-mcp call"),
        (("--transport", "http", "--port", "9000", "sandbox"), "ttp-mcp sandbox"),
        (("--log-level", "DEBUG", "tools"), "ttp-mcp tools"),
        (("--json", "tools"), "ttp-mcp tools"),
        (("--sandbox", "serve"), "ttp-mcp serve"),
        (("sandbox", "--port", "1", "--host", "::1", "clock"), "ttp-mcp sandbox clock"),
        (("sandbox", "--data", "x", "export"), "ttp-mcp sandbox export"),
    ],
)
def test_flag_before_a_command_is_refused(capsys, seen_requests, tmp_path, arguments, command):
    """One line says where flags go; nothing is run."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"ttp-mcp: flags go after their command: {command} [flags]. See ttp-mcp --help.\n"
    assert seen_requests == []
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("flags", [["--sandbox", "--access"], ["--sandbox", "extra"]])
def test_unknown_word_after_the_flags_of_serve_is_refused(capsys, flags):
    """Only a command gets the hint about the order."""
    with pytest.raises(SystemExit) as left:
        main(flags)
    assert left.value.code == 2
    assert capsys.readouterr().err == f"ttp-mcp: unrecognized arguments: {flags[-1]}. See ttp-mcp --help.\n"


@pytest.mark.parametrize("arguments", [[], ["--sandbox"]])
def test_start_of_the_server_loads_no_other_command(tmp_path, arguments):
    """Clients wait for the start with these arguments."""
    script = (
        "import sys; from ttp_mcp.cli import main; code = main(sys.argv[1:]);"
        "loaded = [name for name in sys.modules if name.startswith('ttp_mcp.cli.') or name == 'tomlkit'];"
        "print(code, *sorted(loaded), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, "TTP_ACCESS": "everything", "TTP_STATE_DIR": str(tmp_path)},
        check=False,
    )
    assert done.stderr.splitlines()[-1] == "2 ttp_mcp.cli.arguments ttp_mcp.cli.output ttp_mcp.cli.serve"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("sandbox", "fault", "--times", "3", "--seconds", "9"),
            "Nothing was changed. --times, --seconds needs a kind",
        ),
        (("sandbox", "fault", "clear", "--path", "/posts"), "Nothing was changed. --path needs a kind of fault."),
        (("install", "codex", "--print", "--sandbox", "--json"), None),
    ],
)
def test_ignored_flag_is_refused(capsys, seen_requests, arguments, words):
    """Nothing is printed that looks like an answer."""
    assert main(arguments) == 1
    printed = capsys.readouterr()
    if words is None:
        assert json.loads(printed.out)["problem"].startswith("--json reports what was done, and --print does nothing.")
    else:
        assert (printed.out, printed.err.startswith(words)) == ("", True)
