"""A server over the demo workspace, and clients of both protocol eras; the clock moves only when a test moves it."""

import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import mcp_types as types
import pytest
from mcp.client import Client

from ttp_mcp.config import Settings
from ttp_mcp.factory import Runtime, create_server
from ttp_mcp.sandbox import ManualClock, Sandbox

NOW = datetime(2026, 11, 24, 8, 2, tzinfo=UTC)
# How the SDK's client names the protocols of 2026 and of 2025.
ERAS = ("auto", "legacy")


@dataclass(frozen=True, slots=True)
class Connection:
    """Both ends of one connection, and the sandbox behind the server."""

    client: Client
    runtime: Runtime
    sandbox: Sandbox

    async def call(self, tool, /, **arguments):
        """Call a tool and return its result, also a failure."""
        return await self.client.call_tool(tool, arguments)

    async def call_once(self, tool, arguments, *, reply=None, state=None):
        """Return one round of a call, without the client answering the server's question."""
        responses = None if reply is None else {"confirm": reply}
        return await self.client.session.call_tool(
            tool, arguments, input_responses=responses, request_state=state, allow_input_required=True
        )


def read_text(result):
    """Return the text blocks of an answer."""
    return "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))


@pytest.fixture
def clock():
    """Tuesday, 24 November 2026, 09:02 in Paris."""
    return ManualClock(NOW)


@pytest.fixture
def settings(tmp_path):
    """The defaults, with Paris time and its own state folder."""
    return Settings(zone=ZoneInfo("Europe/Paris"), state_dir=tmp_path / "state")


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory):
    """The demo workspace as of `NOW`, to be copied."""
    folder = tmp_path_factory.mktemp("demo") / "sandbox"
    Sandbox(folder, clock=ManualClock(NOW)).close()
    return folder


@pytest.fixture
def sandbox(demo_folder, clock, tmp_path):
    """The demo workspace."""
    shutil.copytree(demo_folder, tmp_path / "sandbox")
    with Sandbox(tmp_path / "sandbox", clock=clock) as opened:
        yield opened


@pytest.fixture
def connect_client(settings, sandbox):
    """Opens a client: `async with connect_client("legacy", asked=callback, confirm="required") as connection`. Keywords are settings.

    `asked` answers the questions to the user; without it the client can't ask. `like` shares the runtime of another connection.
    """

    @asynccontextmanager
    async def opened(era="auto", *, asked=None, like=None, **changes):
        runtime = like.runtime if like else create_server(replace(settings, **changes), sandbox)
        try:
            async with Client(runtime.server, mode=era, elicitation_callback=asked) as client:
                yield Connection(client, runtime, sandbox)
        finally:
            if like is None:
                await runtime.aclose()

    return opened


def make_user(action="accept", **content):
    """A user who always answers the same, and the list of the questions."""
    questions = []

    async def asked(_, params):
        questions.append(params.message)
        return types.ElicitResult(action=action, content=content or None)

    return asked, questions
