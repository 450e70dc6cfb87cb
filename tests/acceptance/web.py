"""A server over HTTP in its own process, and an API for it on a port of this process."""

import asyncio
import json
import os
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx2
import psutil
import uvicorn

from tests.processes import make_environment as inherited
from tests.transports.http.conftest import make_request
from tests.transports.http.upstream import make_token

PROGRAM = Path(sys.executable).with_name("ttp-mcp")
FULL = os.environ.get("TTP_ACCEPTANCE") == "full"
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Running:
    """A server process; `url` is its MCP endpoint."""

    process: asyncio.subprocess.Process
    url: str

    @property
    def port(self):
        """Its port."""
        return httpx2.URL(self.url).port

    @property
    def rss(self):
        """Return its resident memory in bytes."""
        return psutil.Process(self.process.pid).memory_info().rss

    @property
    def fds(self):
        """Return its number of open files."""
        return psutil.Process(self.process.pid).num_fds()


@asynccontextmanager
async def start_server(folder, *arguments, **environment):
    """Start the program on a free port; end it by a signal and expect exit code 0."""
    process = await asyncio.create_subprocess_exec(
        str(PROGRAM),
        *("--transport", "http", "--port", "0", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=inherited(TTP_STATE_DIR=str(folder), **environment),
    )
    try:
        with anyio.fail_after(60):
            line = (await process.stderr.readline()).decode()
        yield Running(process, line.split(" at ")[1].split(" ")[0])
        process.terminate()
        with anyio.fail_after(30):
            _, rest = await process.communicate()
        assert (process.returncode, rest) == (0, b"")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def serve_api(upstream):
    """Serve an API on a port of this process; yields the settings that point to it."""
    config = uvicorn.Config(
        upstream.app, interface="asgi3", port=0, lifespan="off", log_config=None, access_log=False, backlog=2048
    )
    serving = _Quiet(config)
    task = asyncio.create_task(serving.serve())
    with anyio.fail_after(10):
        await serving.answers.wait()
    port = serving.servers[0].sockets[0].getsockname()[1]
    try:
        yield {"TTP_API_URL": f"http://127.0.0.1:{port}/api", "TTP_API_TOKEN": make_token(1)}
    finally:
        serving.should_exit = True
        await task


class _Quiet(uvicorn.Server):
    def __init__(self, config):
        super().__init__(config)
        self.answers = asyncio.Event()

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.answers.set()

    def capture_signals(self):
        return _skip_signals()


def _skip_signals():
    from contextlib import nullcontext

    return nullcontext()


def make_tool_call(name, arguments=None):
    """Keywords of a POST that calls a tool."""
    return make_request("tools/call", {"name": name, "arguments": arguments or {}})


async def send_raw_call(running, name):
    """Call a tool over a raw connection: a thousand ordinary clients would be slower than the server."""
    sent = make_tool_call(name)
    body = json.dumps(sent["json"]).encode()
    lines = [
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\nConnection: close\r\nContent-Length: {len(body)}"
    ]
    lines += [f"{key}: {value}" for key, value in sent["headers"].items()]
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    writer.write("\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode() + body)
    head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return httpx2.Response(int(head.split(b" ", 2)[1]), content=answer)


def open_client():
    """A client with as many connections as requested."""
    return httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None), timeout=60, trust_env=False)
