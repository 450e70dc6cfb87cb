"""`ttp-mcp` itself: a real client over real pipes, in both protocol eras."""

import os
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters

from tests.server.conftest import ERAS, read_text
from tests.server.test_server import drive_everything
from tests.support.windows import needs_signals
from ttp_mcp.tools import every_tool

pytestmark = pytest.mark.requirement("cli.serve")

eras = pytest.mark.parametrize("era", ERAS)
NO_TOKEN = {"TTP_API_TOKEN": "", "TIMETOPOST_API_TOKEN": "", "TTP_API_TOKEN_FILE": ""}


@asynccontextmanager
async def start_client(folder, *arguments, era="auto", errors=None, **environment):
    """A client that started the server as MCP clients do."""
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "ttp_mcp", *arguments],
        env={**os.environ, **NO_TOKEN, "TTP_STATE_DIR": str(folder), "TTP_TIMEZONE": "Europe/Paris", **environment},
    )
    with anyio.fail_after(600):
        async with Client(parameters, mode=era) as client:
            yield client


@eras
async def test_every_tool_works_over_real_pipes(tmp_path, monkeypatch, era):
    """One process of `ttp-mcp --sandbox`, every tool."""
    media = tmp_path / "media"
    media.mkdir()
    (media / "a.gif").write_bytes(b"GIF89a\x01\0\x01\0\0\0\0;")
    used = set()
    environment = {"TTP_CONFIRM": "off", "TTP_MEDIA_DIRS": str(media)}
    async with start_client(tmp_path / "state", "--sandbox", era=era, **environment) as client:

        async def call(tool, **arguments):
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, read_text(result)
            used.add(tool)
            return result.structured_content

        await drive_everything(call, datetime.now(UTC))
    assert used == {tool.name for tool in every_tool()}


@eras
async def test_server_without_a_token_starts_and_says_how_to_set_it(tmp_path, era):
    """Its tools are listed; each call explains it."""
    async with start_client(tmp_path, era=era) as client:
        assert len((await client.list_tools()).tools) == len(every_tool())
        for tool in ("list_posts", "list_integrations", "optimal_times"):
            result = await client.call_tool(tool, {})
            assert result.is_error
            assert "no API token is set. Create one in the TimeToPost dashboard" in read_text(result)


async def test_malformed_token_is_refused_by_its_rule(tmp_path):
    """Never showing its value."""
    async with start_client(tmp_path, TTP_API_TOKEN="ttp_tooshort") as client:
        text = read_text(await client.call_tool("list_posts", {}))
    assert "it must have 52 characters and has 12." in text
    assert "tooshort" not in text


async def test_two_servers_share_one_sandbox_at_the_same_time(tmp_path):
    """Each sees the other's changes, and neither is blocked."""
    async with (
        start_client(tmp_path, "--sandbox", TTP_CONFIRM="off") as one,
        start_client(tmp_path, "--sandbox", TTP_CONFIRM="off", era="legacy") as two,
    ):
        made = []

        async def make(client, name):
            for number in range(5):
                post = {"content": f"{name} {number}", "account_ids": ["linkedin"]}
                result = await client.call_tool("create_post", post)
                assert not result.is_error, read_text(result)
                made.append(result.structured_content["post_id"])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(make, one, "One")
            tasks.start_soon(make, two, "Two")
        for client in (one, two):
            listed = await client.call_tool("list_posts", {"status": "draft", "limit": 100})
            assert set(made) <= {post["id"] for post in listed.structured_content["posts"]}
        again = await two.call_tool("create_post", {"content": "One 0", "account_ids": ["linkedin"]})
        assert again.structured_content["outcome"] == "already_created"


@pytest.mark.parametrize("end", ["stdin", pytest.param("signal", marks=needs_signals)])
def test_server_ends_quietly(tmp_path, end):
    """When the client closes stdin or sends a signal: exit code 0 and nothing on stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ttp_mcp", "--sandbox"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TTP_STATE_DIR": str(tmp_path)},
    )
    with process:
        process.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
        process.stdin.flush()
        assert process.stdout.readline()
        if end == "signal":
            process.send_signal(signal.SIGTERM)
        else:
            process.stdin.close()
        assert process.wait(300) == 0
        assert process.stderr.read() == b""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the limits of another process")
@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_running_server_writes_no_core_file(tmp_path, transport):
    """Whatever the parent's limits, since the token is in memory."""
    arguments = ["--transport", "http", "--port", "0"] if transport == "http" else []
    process = subprocess.Popen(
        # As high as may be, so that the server is what lowers it.
        ["sh", "-c", 'ulimit -S -c "$(ulimit -H -c)"; exec "$0" -m ttp_mcp "$@"', sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **NO_TOKEN, "TTP_STATE_DIR": str(tmp_path)},
    )
    with process:
        if transport == "http":
            assert b"serving MCP" in process.stderr.readline()
        else:
            process.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
            process.stdin.flush()
            assert process.stdout.readline()
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    # Soft and hard.
    assert line.split()[4:6] == ["0", "0"]
