"""A small server in a process of its own, for what only real pipes can show.

Run with an outcome file, then any of: `--drain SECONDS`, `--line-bytes BYTES`, `--blocking-log`, `--level LEVEL`.
A write appends `begun N` and later `done N` to the outcome file; a write without its second line was lost.
"""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

from ttp_mcp.logs import configure
from ttp_mcp.stdio import DRAIN_SECONDS, LINE_BYTES, serve


class Answer(BaseModel):
    """What the client is asked for."""

    yes: bool


class Outcomes:
    """Writes under way, and the file that their outcomes go to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.in_flight = 0

    def note(self, word: str, number: int) -> None:
        with self.path.open("a") as file:
            file.write(f"{word} {number}\n")

    async def write(self, number: int, seconds: float) -> None:
        self.in_flight += 1
        try:
            self.note("begun", number)
            await asyncio.sleep(seconds)
            self.note("done", number)
        finally:
            self.in_flight -= 1


def small_server(outcomes: Outcomes) -> MCPServer:
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
    async def ask(ctx: Context) -> str:
        reply = await ctx.elicit("Shall I?", Answer)
        return reply.action

    return server


def main() -> None:
    """Serve as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("outcomes", type=Path)
    parser.add_argument("--drain", type=float, default=DRAIN_SECONDS)
    parser.add_argument("--line-bytes", type=int, default=LINE_BYTES)
    parser.add_argument("--level", default="WARNING")
    parser.add_argument("--blocking-log", action="store_true")
    chosen = parser.parse_args()
    outcomes = Outcomes(chosen.outcomes)
    server = small_server(outcomes)
    if chosen.blocking_log:
        logging.basicConfig(level=chosen.level, force=True)
    else:
        configure(chosen.level)
    code = asyncio.run(
        serve(
            server,
            in_flight=lambda: outcomes.in_flight,
            drain_seconds=chosen.drain,
            line_bytes=chosen.line_bytes,
        )
    )
    sys.exit(code)


if __name__ == "__main__":
    main()
