"""A small server in a process of its own, for what only real pipes can show.

Run with an outcome file, then any of: `--drain SECONDS`, `--line-bytes BYTES`, `--blocking-log`, `--level LEVEL`.
A write appends `begun N` and later `done N` to the outcome file; a write without its second line was lost.
"""

import argparse
import asyncio
import json
import logging
import os
import select
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
from mcp.server import Server
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

from ttp_mcp.logs import configure_logging
from ttp_mcp.process import force_exit_after
from ttp_mcp.transports.stdio.handshake import Handshake
from ttp_mcp.transports.stdio.shutdown import PARENT_SECONDS
from ttp_mcp.transports.stdio.transport import DRAIN_SECONDS, LINE_BYTES, serve_stdio


class Mode:
    """How servers of the tests read and write: by the event loop, or by threads as on Windows.

    With a `record`, a path, the first messages are answered from it. A `modern` client sends the envelope of 2026 instead of a handshake.
    """

    threads = False
    modern = False
    record: Path | None = None


mode = Mode()


class Answer(BaseModel):
    """What the client is asked for."""

    yes: bool


class Outcomes:
    """Writes under way, and the file that their outcomes go to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0

    def note(self, word: str, number: int) -> None:
        with self.path.open("a") as file:
            file.write(f"{word} {number}\n")

    @property
    def unresolved(self) -> int:
        return self.count

    async def abandon(self) -> None:
        """Nothing: what has to be lost without the drain is lost."""

    async def write(self, number: int, seconds: float) -> None:
        self.count += 1
        try:
            self.note("begun", number)
            await asyncio.sleep(seconds)
            self.note("done", number)
        finally:
            self.count -= 1


def make_server(outcomes: Outcomes) -> MCPServer:
    """A read, a slow read, a slow write, a stray print, a noisy tool, an echo and a question."""
    server = MCPServer("small", log_level="WARNING", subscriptions=False)
    log = logging.getLogger("small")

    @server.tool(structured_output=False)
    async def read() -> str:
        return "read"

    @server.tool(structured_output=False)
    async def slow_read(seconds: float) -> str:
        await asyncio.sleep(seconds)
        return "slowly read"

    @server.tool(structured_output=False)
    async def write(number: int, seconds: float) -> str:
        await outcomes.write(number, seconds)
        return f"written {number}"

    @server.tool(structured_output=False)
    async def stray(text: str) -> str:
        print(text)  # noqa: T201 - the point of it
        return "printed"

    @server.tool(structured_output=False)
    async def noisy() -> str:
        log.warning("w" * 200)
        return "logged"

    @server.tool(structured_output=False)
    async def echo(text: str) -> str:
        return text

    @server.tool(structured_output=False)
    async def thread(seconds: float) -> str:
        await asyncio.to_thread(time.sleep, seconds)
        return "slept"

    @server.tool(structured_output=False)
    async def ask(ctx: Context) -> str:
        if ctx.request_context.session.client_capabilities is None:
            return "unknown client"
        reply = await ctx.elicit("Shall I?", Answer)
        return reply.action

    return server


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": "start",
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {"elicitation": {}},
        "clientInfo": {"name": "peer", "version": "1"},
    },
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
PATIENCE = 120.0
# Large enough for what a test sends at once: on Windows writing to a pipe can only block.
INPUT_BYTES = 1 << 20


def make_input() -> tuple[int, int]:
    """The two ends of a pipe that takes a few messages without a reader."""
    if sys.platform != "win32":
        return os.pipe()
    import _winapi
    import msvcrt

    reading, writing = _winapi.CreatePipe(None, INPUT_BYTES)
    return msvcrt.open_osfhandle(reading, os.O_RDONLY), msvcrt.open_osfhandle(writing, 0)


def is_readable(fd: int) -> bool:
    """Whether reading a pipe returns at once."""
    if sys.platform != "win32":
        return bool(select.select([fd], [], [], 0)[0])
    import _winapi
    import msvcrt

    try:
        return _winapi.PeekNamedPipe(msvcrt.get_osfhandle(fd), 0)[0] > 0
    except BrokenPipeError:
        return True


def wait_until_readable(fd: int, seconds: float) -> bool:
    """Wait until reading a pipe returns at once, or the time is over."""
    if sys.platform != "win32":
        return bool(select.select([fd], [], [], max(0, seconds))[0])
    until = time.monotonic() + seconds
    while not (readable := is_readable(fd)) and time.monotonic() < until:
        time.sleep(0.005)
    return readable


async def wait_readable(fd: int) -> None:
    """Wait until reading a pipe returns at once."""
    if sys.platform != "win32":
        await anyio.wait_readable(fd)
        return
    # Windows can't wait for a pipe without reading it.
    while not is_readable(fd):
        await anyio.sleep(0.005)


async def wait_writable(fd: int) -> None:
    """Wait until a pipe takes 4 KiB at once: a write that blocks would stop the server, which runs in the same loop."""
    if sys.platform != "win32":
        await anyio.wait_writable(fd)
    else:
        await anyio.sleep(0.005)


META = {
    "_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "peer", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
    }
}
DISCOVER = {"jsonrpc": "2.0", "id": "start", "method": "server/discover", "params": META}


def make_opening() -> list[dict[str, object]]:
    """The first messages of a client of this era; the answer has the id "start"."""
    return [DISCOVER] if mode.modern else [INITIALIZE, INITIALIZED]


def make_tool_call(number: int | str, name: str, /, **arguments: object) -> dict[str, object]:
    """A request to call a tool."""
    params = {"name": name, "arguments": arguments} | (META if mode.modern else {})
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


def to_line(message: dict[str, object] | bytes) -> bytes:
    """A message as it stands on the wire."""
    return message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"


def read_text(answer: dict) -> str:
    """The text that a tool answered."""
    return answer["result"]["content"][0]["text"]


def read_lost_writes(path: Path) -> set[str]:
    """Writes that began and have no outcome."""
    words = [entry.split() for entry in path.read_text().splitlines()] if path.exists() else []
    return {number for word, number in words if word == "begun"} - {number for word, number in words if word == "done"}


class Peer:
    """The client's side of a server process, line by line."""

    def __init__(self, process: subprocess.Popen) -> None:
        self.process = process
        self.errors: list[dict] = []
        self._answers: dict[int | str, dict] = {}
        self._rest = bytearray()

    def send(self, *messages: dict[str, object] | bytes) -> None:
        for message in messages:
            self.process.stdin.write(to_line(message))
        self.process.stdin.flush()

    def answer(self, number: int | str, seconds: float = PATIENCE) -> dict:
        """The answer to one request; whatever else arrives is kept."""
        until = time.monotonic() + seconds
        while number not in self._answers:
            assert self.read(until - time.monotonic()), f"no answer to {number}"
        return self._answers.pop(number)

    def read(self, seconds: float) -> bool:
        """Take in what arrives within the time; whether anything did."""
        fd = self.process.stdout.fileno()
        if not wait_until_readable(fd, seconds):
            return False
        chunk = os.read(fd, 1 << 20)
        self._rest += chunk
        if b"\n" not in chunk:
            return bool(chunk)
        *lines, self._rest = self._rest.split(b"\n")
        for message in map(json.loads, lines):
            if message.get("id") is None:
                self.errors.append(message)
            else:
                self._answers[message["id"]] = message
        return bool(chunk)

    def wait(self, seconds: float = PATIENCE) -> int:
        return self.process.wait(seconds)


@contextmanager
def start_process(outcomes: Path, *options: str, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE):
    """The small server in a process of its own, initialized when its stdin is a pipe."""
    command = [sys.executable, __file__, str(outcomes), *options, *(["--threads"] if mode.threads else [])]
    started = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr)
    peer = Peer(started)
    try:
        if stdin == subprocess.PIPE:
            peer.send(*make_opening())
            peer.answer("start")
        yield peer
    finally:
        started.kill()
        for stream in (started.stdin, started.stdout, started.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        started.wait()


class LocalPeer:
    """The client's side of a server in this very process and loop."""

    def __init__(self, input_fd: int, output_fd: int) -> None:
        self.input_fd: int | None = input_fd
        self.output_fd: int | None = output_fd
        self.received: list[dict] = []
        self.left: list[int] = []
        self.code: int | None = None
        self._rest = b""

    def send(self, *messages: dict[str, object] | bytes) -> None:
        """Write what fits into the pipe at once: a few messages."""
        for message in messages:
            os.write(self.input_fd, to_line(message))

    def start(self) -> None:
        self.send(*make_opening())

    async def answer(self, number: int | str | None) -> dict:
        """The answer to one request, or the next error without an id."""
        with anyio.fail_after(5):
            while True:
                for position, message in enumerate(self.received):
                    if message.get("id") == number:
                        return self.received.pop(position)
                await self.read()

    async def read(self) -> bool:
        """Take in the next bytes; false at the end."""
        with anyio.fail_after(5):
            await wait_readable(self.output_fd)
        chunk = os.read(self.output_fd, 1 << 20)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        self.received.extend(map(json.loads, lines))
        return bool(chunk)

    def close_input(self) -> None:
        os.close(self.input_fd)
        self.input_fd = None

    def close_output(self) -> None:
        os.close(self.output_fd)
        self.output_fd = None


async def make_handshake(server: Server, path: Path) -> Handshake:
    """A handshake whose record has the opening of `LocalPeer.start`."""
    input_fd, peer_input = os.pipe()
    os.write(peer_input, b"".join(map(to_line, make_opening())))
    os.close(peer_input)
    output_fd = os.open(os.devnull, os.O_WRONLY)
    await serve_stdio(server, handshake=Handshake(path, "key"), input_fd=input_fd, output_fd=output_fd)
    os.close(input_fd)
    os.close(output_fd)
    return Handshake(path, "key")


@asynccontextmanager
async def run_server(server: MCPServer, pipes=None, **options):
    """`serve` as a task over two pipes, or the four descriptors given; at the end its input closes and it must return."""
    input_fd, peer_input, peer_output, output_fd = pipes or (*make_input(), *os.pipe())
    peer = LocalPeer(peer_input, peer_output)
    low = server._lowlevel_server if isinstance(server, MCPServer) else server
    handshake = await make_handshake(low, mode.record) if mode.record else None

    async def run() -> None:
        descriptors = {"input_fd": input_fd, "output_fd": output_fd, "threads": mode.threads}
        if handshake is not None:
            replay = partial(handshake.replay, **descriptors)
            if not await anyio.to_thread.run_sync(replay, abandon_on_cancel=True):
                peer.code = 0
                return
        peer.code = await serve_stdio(low, handshake=handshake, exit_process=peer.left.append, **descriptors, **options)

    try:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run)
                yield peer
                if peer.input_fd is not None:
                    peer.close_input()
    finally:
        for fd in (input_fd, output_fd, peer.input_fd, peer.output_fd):
            if fd is not None:
                os.close(fd)


def main() -> None:
    """Serve as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("outcomes", type=Path)
    parser.add_argument("--drain", type=float, default=DRAIN_SECONDS)
    parser.add_argument("--line-bytes", type=int, default=LINE_BYTES)
    parser.add_argument("--level", default="WARNING")
    parser.add_argument("--threads", action="store_true", default=sys.platform == "win32")
    parser.add_argument("--parent-seconds", type=float, default=PARENT_SECONDS)
    parser.add_argument("--blocking-log", action="store_true")
    chosen = parser.parse_args()
    outcomes = Outcomes(chosen.outcomes)
    server = make_server(outcomes)
    if chosen.blocking_log:
        logging.basicConfig(level=chosen.level, force=True)
    else:
        configure_logging(chosen.level)

    async def serve_to_the_end() -> int:
        code = await serve_stdio(
            server._lowlevel_server,
            writes=outcomes,
            drain_seconds=chosen.drain,
            line_bytes=chosen.line_bytes,
            threads=chosen.threads,
            parent_seconds=chosen.parent_seconds,
        )
        force_exit_after(code)
        return code

    sys.exit(asyncio.run(serve_to_the_end()))


if __name__ == "__main__":
    main()
