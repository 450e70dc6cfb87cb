"""A client of the server over pipes, on either side of Wine; standard library only."""

import json
import subprocess
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

PARAMS: dict[str, Any] = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "smoke", "version": "1"},
}


class Server:
    """A server in its sandbox, as a client starts it, initialized."""

    def __init__(
        self, python: list[str], environment: dict[str, str] | None = None, stderr: int | None = subprocess.PIPE
    ) -> None:
        """Start the server with a Python command. A piped stderr isn't read."""
        command = [*python, "-m", "ttp_mcp", "--sandbox"]
        self.process = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=stderr, env=environment)
        self.last_id = 0
        self.responses: dict[int, dict[str, Any]] = {}
        self.request("initialize", PARAMS)
        self.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')

    def write(self, line: bytes) -> None:
        """Write one line."""
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """Read one message."""
        line = self.process.stdout.readline()
        assert line, self.process.stderr and self.process.stderr.read().decode()
        return json.loads(line)

    def send(self, method: str, params: dict[str, Any]) -> int:
        """Write a request and return its id."""
        self.last_id += 1
        self.write(json.dumps({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}).encode())
        return self.last_id

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Write a request and return its response."""
        return self.wait(self.send(method, params))

    def wait(self, request_id: int) -> dict[str, Any]:
        """Return the response to a request; responses to others are kept."""
        while request_id not in self.responses:
            response = self.read()
            self.responses[response["id"]] = response
        return self.responses.pop(request_id)

    def begin(self, tool: str, **arguments: object) -> int:
        """Call a tool without waiting for its answer."""
        return self.send("tools/call", {"name": tool, "arguments": arguments})

    def finish(self, request_id: int) -> dict[str, Any]:
        """Return the result of a call that has begun."""
        return self.wait(request_id)["result"]

    def is_finished(self, request_id: int) -> bool:
        """Check whether a call got its response before a later one."""
        return request_id in self.responses

    def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool and return its structured result."""
        result = self.finish(self.begin(tool, **arguments))
        assert not result.get("isError"), (tool, result)
        return result["structuredContent"]

    def call_for_text(self, tool: str, **arguments: object) -> str:
        """Call a tool and return its text."""
        return read_text(self.finish(self.begin(tool, **arguments)))

    def close(self) -> int:
        """Close the input and return the exit code."""
        self.process.stdin.close()
        return self.process.wait()


class HttpServer:
    """A server in its sandbox over HTTP, on a free port of the loopback address."""

    def __init__(self, command: list[str]) -> None:
        """Start `command` with the server's options and wait for its address."""
        options = ["--sandbox", "--transport", "http", "--port", "0"]
        self.process = subprocess.Popen([*command, "-m", "ttp_mcp", *options], stdin=-1, stdout=-1, stderr=-1)
        self.threads = ThreadPoolExecutor(2)
        self.url = ""
        while not self.url:
            line = self.process.stderr.readline().decode()
            assert line, "the server ended"
            self.url = line.partition("serving MCP at ")[2].partition(" ")[0]

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its response."""
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
            "MCP-Protocol-Version": PARAMS["protocolVersion"],
        }
        request = urllib.request.Request(self.url, json.dumps(message).encode(), headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def begin(self, tool: str, **arguments: object) -> Future[dict[str, Any]]:
        """Call a tool without waiting for its answer."""
        return self.threads.submit(self.request, "tools/call", {"name": tool, "arguments": arguments})

    def finish(self, call: Future[dict[str, Any]]) -> dict[str, Any]:
        """Return the result of a call that has begun."""
        return call.result()["result"]

    def is_finished(self, call: Future[dict[str, Any]]) -> bool:
        """Check whether a call has its response."""
        return call.done()

    def call_for_text(self, tool: str, **arguments: object) -> str:
        """Call a tool and return its text."""
        return read_text(self.finish(self.begin(tool, **arguments)))


def read_text(result: dict[str, Any]) -> str:
    """Return the text of a tool's result."""
    return result["content"][0]["text"]
