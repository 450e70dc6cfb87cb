"""A real MCP client, the server and the sandbox, all in this process; time stands still until a test moves it."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import mcp_types as types
import pytest
from mcp.client import Client

from ttp_mcp.assembly import Assembly, assemble
from ttp_mcp.config import Settings
from ttp_mcp.sandbox import ManualClock, Sandbox

NOW = datetime(2026, 11, 24, 8, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent's side: calls tools and reads answers. `questions` are what the human was asked."""

    client: Client
    assembly: Assembly
    sandbox: Sandbox
    questions: list[str]

    async def call(self, tool: str, /, **arguments: Any) -> types.CallToolResult:
        """Call a tool, whatever comes of it."""
        return await self.client.call_tool(tool, arguments)

    async def ok(self, tool: str, /, **arguments: Any) -> tuple[str, dict[str, Any]]:
        """Call a tool that is expected to do it: its text and its data."""
        result = await self.call(tool, **arguments)
        assert not result.is_error, text_of(result)
        return text_of(result), result.structured_content

    async def refused(self, tool: str, /, **arguments: Any) -> str:
        """Call a tool that is expected to refuse: its text."""
        result = await self.call(tool, **arguments)
        assert result.is_error, text_of(result)
        return text_of(result)

    async def account(self, label: str) -> str:
        """Id of an account by `platform handle-or-name`."""
        _, data = await self.ok("list_integrations")
        found = {f"{each['platform']} {each.get('handle') or each['name']}": each["id"] for each in data["accounts"]}
        return found[label]


def text_of(result: types.CallToolResult) -> str:
    """The text blocks of an answer."""
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))


@pytest.fixture
def clock() -> ManualClock:
    """Tuesday, 24 November 2026, 09:02 in Paris."""
    return ManualClock(NOW)


@pytest.fixture
def settings(tmp_path) -> Settings:
    """The defaults, with Paris time and a state folder of its own."""
    return Settings(zone=ZoneInfo("Europe/Paris"), state_dir=tmp_path / "state")


Connect = Callable[..., AbstractAsyncContextManager[Agent]]


@pytest.fixture
def connect(settings: Settings, clock: ManualClock) -> Connect:
    """Opens an agent: `async with connect(confirm="required") as agent`. Keywords are settings.

    `answer` is what the human says when asked (True, False, "cancel"); None makes a client that can't ask.
    `mode` is the protocol era: "auto" for 2026, "legacy" for 2025. `sandbox` shares one between agents.
    """

    @asynccontextmanager
    async def open_agent(
        *, answer: bool | str | None = None, mode: str = "auto", sandbox: Sandbox | None = None, **changes: Any
    ) -> AsyncIterator[Agent]:
        questions: list[str] = []

        async def asked(_: Any, params: types.ElicitRequestParams) -> types.ElicitResult:
            questions.append(params.message)
            if isinstance(answer, bool):
                return types.ElicitResult(action="accept", content={"confirm": answer})
            return types.ElicitResult(action="cancel")

        own = sandbox or Sandbox(clock=clock)
        assembly = assemble(replace(settings, **changes), own)
        try:
            async with Client(
                assembly.server, mode=mode, elicitation_callback=None if answer is None else asked
            ) as client:
                yield Agent(client, assembly, own, questions)
        finally:
            await assembly.aclose()
            if sandbox is None:
                own.close()

    return open_agent


@pytest.fixture
async def agent(connect: Connect) -> AsyncIterator[Agent]:
    """An agent over the demo workspace, whose client can't ask the human."""
    async with connect() as opened:
        yield opened
