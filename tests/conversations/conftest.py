"""An agent that counts its calls over the demo workspace; one conversation is the calls for one user request."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.tools.conftest import Agent, Connect, clock, connect_agent, demo_folder, open_sandbox, settings

__all__ = ["clock", "connect_agent", "conversation", "demo_folder", "open_sandbox", "settings"]

ZONE = ZoneInfo("Europe/Paris")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as the agent gets it."""

    text: str
    data: dict[str, Any]


@dataclass(slots=True)
class Conversation:
    """The calls of an agent for one request, and the posts of the sandbox that they added, changed or removed."""

    agent: Agent
    calls: list[str] = field(default_factory=list)
    before: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Remember the posts that exist before the first call."""
        self.before = self.posts()

    async def call(self, tool: str, /, **arguments: Any) -> Reply:
        """Call a tool that must succeed."""
        self.calls.append(tool)
        return Reply(*await self.agent.expect_ok(tool, **arguments))

    def posts(self) -> dict[str, dict[str, Any]]:
        """Posts of the sandbox by id, oldest first, with `due` as local time (YYYY-MM-DDTHH:MM) or None."""
        with self.agent.sandbox.store.reading() as db:
            rows = db.execute("SELECT * FROM posts WHERE organization_id = 'org_harbor_cafe' ORDER BY sequence")
            return {row["id"]: {**dict(row), "due": to_local_time(row["scheduled_at"])} for row in rows}

    def list_added(self) -> list[dict[str, Any]]:
        """Posts that are new since the first call, oldest first."""
        return [post for post_id, post in self.posts().items() if post_id not in self.before]

    def list_removed(self) -> list[dict[str, Any]]:
        """Posts that existed before and no longer do."""
        now = self.posts()
        return [post for post_id, post in self.before.items() if post_id not in now]


def to_local_time(milliseconds: int | None) -> str | None:
    """Return the wall clock time of an instant in the zone of the settings."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone(ZONE).strftime("%Y-%m-%dT%H:%M")


@pytest.fixture
async def conversation(connect_agent: Connect) -> AsyncIterator[Conversation]:
    """A conversation over the demo workspace; the time is Tuesday, 24 November 2026, 09:02 in Paris."""
    async with connect_agent() as agent:
        yield Conversation(agent)
