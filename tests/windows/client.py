"""A client of the server over pipes, on either side of Wine; standard library only."""

import json
import subprocess
from typing import Any

PARAMS = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "smoke", "version": "1"}}


class Server:
    """A server in its sandbox, as a client starts it, initialized."""

    def __init__(self, command: list[str], *options: str, environment: dict[str, str] | None = None) -> None:
        """Start `command` with the server's options. Its stderr is not read."""
        self.process = subprocess.Popen(
            [*command, "-m", "ttp_mcp", "--sandbox", *options], stdin=-1, stdout=-1, stderr=-1, env=environment
        )
        self.last_id = 0
        self.request("initialize", PARAMS)
        self.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')

    def write(self, line: bytes) -> None:
        """Write one line."""
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def read(self) -> dict[str, Any]:
        """Read one message."""
        return json.loads(self.process.stdout.readline())

    def send(self, method: str, params: dict[str, Any]) -> int:
        """Write a request and return its id."""
        self.last_id += 1
        self.write(json.dumps({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params}).encode())
        return self.last_id

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Write a request and return its response."""
        request_id = self.send(method, params)
        response = self.read()
        assert response.get("id") == request_id, response
        return response

    def begin(self, tool: str, **arguments: object) -> int:
        """Call a tool without waiting for its answer."""
        return self.send("tools/call", {"name": tool, "arguments": arguments})

    def finish(self, request_id: int) -> dict[str, Any]:
        """Return the result of a call that has begun."""
        response = self.read()
        assert response.get("id") == request_id, response
        return response["result"]

    def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        """Call a tool and return its structured result."""
        result = self.finish(self.begin(tool, **arguments))
        assert not result.get("isError"), (tool, result)
        return result["structuredContent"]

    def call_for_text(self, tool: str, **arguments: object) -> str:
        """Call a tool and return its text."""
        return text_of(self.finish(self.begin(tool, **arguments)))

    def close(self) -> int:
        """Close the input and return the exit code."""
        self.process.stdin.close()
        return self.process.wait(60)


def text_of(result: dict[str, Any]) -> str:
    """Return the text of a tool's result."""
    return result["content"][0]["text"]
