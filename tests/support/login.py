"""A fresh home folder, a login in it, and clients that start the server from their settings."""

import json
import subprocess
import tomllib
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.processes import make_environment

CLIENTS = ("claude-desktop", "cursor", "codex")


class Home:
    """A user's home folder; `run` runs a program in it without any variable but `PATH` and `HOME`."""

    def __init__(self, folder: Path, *program: Path | str):
        folder.mkdir()
        self.folder, self.program = folder, program
        self.environment = make_environment(HOME=str(folder), PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring")

    def run(self, *arguments: str, given: str = "", **variables: str) -> str:
        """Run a command that must succeed; return its output."""
        done = subprocess.run(
            [*self.program, *arguments],
            input=given,
            env={**self.environment, **variables},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def login(self, api: Mapping[str, str], *arguments: str) -> str:
        """Log in to a sandbox."""
        return self.run("login", *arguments, given=api["token"], TTP_API_URL=api["api_url"])

    def install(self, client: str, *arguments: str) -> dict[str, Any]:
        """Install, and return the entry in the client's settings."""
        report = json.loads(self.run("install", client, "--json", *arguments))
        text = Path(report["path"]).read_text()
        if report["path"].endswith(".toml"):
            return tomllib.loads(text)["mcp_servers"][report["server"]]
        return json.loads(text)["mcpServers"][report["server"]]

    @contextmanager
    def start_server(self, entry: Mapping[str, Any]):
        """Start the server as a client does."""
        with subprocess.Popen(
            [entry["command"], *entry["args"]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            env={**self.environment, **entry.get("env", {})},
        ) as process:
            client = StdioClient(process)
            client.request("initialize", **HELLO)
            client.send(method="notifications/initialized")
            yield client
            client.finish()

    def find_files(self, text: str) -> list[str]:
        """Return the names of files that contain a text."""
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        return [str(path.relative_to(self.folder)) for path in files if text.encode() in path.read_bytes()]


HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}


class StdioClient:
    """A client of one server process; `seen` is everything that the server wrote."""

    def __init__(self, process):
        self.process, self.seen, self._number = process, "", 0

    def send(self, **message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def request(self, method, **params):
        """Send a request and return its result."""
        self._number += 1
        self.send(id=self._number, method=method, params=params)
        while True:
            line = self.process.stdout.readline()
            assert line, self.process.stderr.read()
            self.seen += line
            answer = json.loads(line)
            if answer.get("id") == self._number:
                return answer["result"]

    def call(self, tool, **arguments):
        """Call a tool and return its data."""
        result = self.request("tools/call", name=tool, arguments=arguments)
        assert not result.get("isError"), result
        return result["structuredContent"]

    def finish(self):
        """Disconnect, and wait for the server to exit."""
        self.process.stdin.close()
        self.seen += self.process.stderr.read()
        assert self.process.wait(30) == 0
