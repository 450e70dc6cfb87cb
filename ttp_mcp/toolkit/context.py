"""What a tool works with: the API client, the settings, and the person at the other end."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from ttp_mcp.api.client import ApiClient
from ttp_mcp.config import Settings
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.media_facts import MediaFactsStore
from ttp_mcp.toolkit.account_directory import AccountDirectory
from ttp_mcp.writes.writer import Writer


class UserPrompter(Protocol):
    """The person behind the agent, as far as the client lets us reach them."""

    async def report_progress(self, done: float, total: float, message: str) -> None:
        """Say how far a long call is; without effect where nobody listens."""
        ...

    async def confirm(self, question: str, binding: Any) -> bool | None:
        """Ask for a yes.

        Args:
            question: What will happen, in full.
            binding: What the yes is for; an answer that was given to anything else does not count.

        Returns:
            The answer, or None when the client can't ask.
        """
        ...


@dataclass(frozen=True, slots=True)
class ToolContext:
    """The surroundings of one call."""

    settings: Settings
    api: ApiClient
    ledger: Ledger
    media_facts: MediaFactsStore
    writer: Writer
    accounts: AccountDirectory
    user: UserPrompter
    local_files: bool = True
    sandbox: bool = False

    def now(self) -> datetime:
        """The API's present, aware UTC: our clock, corrected by what the API's own `Date` headers say."""
        return self.api.clock.now()

    @property
    def zone(self) -> ZoneInfo:
        """The zone for times without an offset and for display."""
        return self.settings.zone


def sandbox_note(context: ToolContext) -> list[str]:
    """Return the last line of a write's answer in sandbox mode, as a list to append; empty outside it."""
    return ["Sandbox: nothing here becomes public."] if context.sandbox else []
