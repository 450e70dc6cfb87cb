"""`ttp-mcp --sandbox` twice and `ttp-mcp sandbox` on a port, at the same time over one folder."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ttp_mcp.sandbox import StoredClock
from ttp_mcp.sandbox.store import Store

pytestmark = pytest.mark.requirement("sandbox.processes")

# Not how long it takes, but when to stop waiting for something that never comes.
LONGEST_SECONDS = 60


class Stdio:
    """An MCP server over stdio, driven with JSON lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._last = 0

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._process.stdin.flush()

    def ask(self, method: str, **params: Any) -> Any:
        self._last += 1
        self._send({"id": self._last, "method": method, "params": params})
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            if answer.get("id") == self._last:
                return answer["result"]
        raise AssertionError("it ended")

    def begin(self) -> None:
        client = {"name": "test", "version": "1"}
        self.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=client)
        self._send({"method": "notifications/initialized"})

    def call(self, tool: str, **arguments: Any) -> Any:
        result = self.ask("tools/call", name=tool, arguments=arguments)
        assert not result.get("isError"), result
        return result["structuredContent"]


@contextmanager
def run_program(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The command over a state folder, without other settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TTP_", "TIMETOPOST_"))}
    environment |= {"TTP_STATE_DIR": str(folder), "TTP_TIMEZONE": "UTC", "TTP_CONFIRM": "off"}
    command = [sys.executable, "-m", "ttp_mcp", *arguments]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    with process:
        try:
            yield process
        finally:
            process.terminate()


def test_three_servers_share_one_folder_and_publish_once(tmp_path: Path) -> None:
    """All three are started at once over a folder that doesn't exist yet."""
    with ExitStack() as stack:
        port = stack.enter_context(run_program(tmp_path, "sandbox", "--port", "0", "--json"))
        servers = [Stdio(stack.enter_context(run_program(tmp_path, "--sandbox"))) for _ in range(2)]
        assert port.stdout is not None
        facts = json.loads(port.stdout.readline())
        headers = {"Authorization": f"Bearer {facts['token']}"}
        api = stack.enter_context(httpx2.Client(base_url=facts["api_url"], headers=headers, trust_env=False))
        for server in servers:
            server.begin()
        store = stack.enter_context(closing(Store(tmp_path / "sandbox" / "sandbox.db")))
        clock = StoredClock(store)
        clock.stop_at(datetime.now(UTC))
        due = (clock.now() + timedelta(hours=1)).replace(microsecond=0).isoformat()

        # One workspace, however many filled it.
        accounts = api.get("/integrations").json()["integrations"]
        assert [account["id"] for account in servers[0].call("list_integrations")["accounts"]] == [
            account["id"] for account in accounts
        ]
        account = next(account["id"] for account in accounts if account["platform"] == "linkedin")

        made = [
            server.call("create_post", content=f"Written over server {number}", account_ids=[account], scheduled_at=due)
            for number, server in enumerate(servers)
        ]
        posted = api.post(
            "/posts", json={"content": "Written over the port", "accountIds": [account], "scheduledAt": due}
        )
        ids = [each["post_id"] for each in made] + [posted.json()["post"]["id"]]
        assert read_states(servers, api, ids) == {"scheduled"}

        clock.move(2 * 3600)
        give_up = time.monotonic() + LONGEST_SECONDS
        while (found := read_states(servers, api, ids)) != {"published"}:
            assert time.monotonic() < give_up, found
        with store.reading() as db:
            shown = db.execute("SELECT post_id FROM publications WHERE content LIKE 'Written over %'").fetchall()
            assert sorted(row["post_id"] for row in shown) == sorted(ids)
            assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def read_states(servers: list[Stdio], api: httpx2.Client, ids: list[str]) -> set[str]:
    """Return the states in which the servers see the posts."""
    found = {server.call("get_post", post_id=post_id)["status"] for server in servers for post_id in ids}
    return found | {api.get(f"/posts/{post_id}").json()["post"]["status"] for post_id in ids}
