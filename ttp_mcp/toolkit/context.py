"""Context of a tool call: API client, settings, ledger, user."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from ttp_mcp.api.client import ApiClient
from ttp_mcp.config import Settings
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.toolkit.account_directory import AccountDirectory
from ttp_mcp.writes.writer import Writer


class UserPrompter(Protocol):
    """The user behind the agent, reached through the client."""

    async def report_progress(self, done: float, total: float, message: str) -> None:
        """Report the progress of a long call; no effect unless the client asked for it."""
        ...

    async def confirm(self, question: str, binding: Any) -> bool | None:
        """Ask the user to confirm an action, which `question` shows in full. None when the client can't ask.

        The answer covers the arguments in `binding`, and no others.
        """
        ...

    async def offer_link(self, message: str, url: str) -> None:
        """Offer to open a page, and wait for the reply, whatever it is; no effect if the client can't."""
        ...


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Everything a tool call needs."""

    settings: Settings
    api: ApiClient
    ledger: Ledger
    writer: Writer
    accounts: AccountDirectory
    user: UserPrompter
    now: Callable[[], datetime]
    """Current time of the API, aware UTC: this machine's clock, corrected by the API's `Date` headers."""
    zone: ZoneInfo
    """Zone for times without an offset, and for display."""
    dashboard: str
    """The dashboard in words, with the page of the accounts if it has one."""
    accounts_url: str | None = None
    """The page on which a person connects accounts."""
    local_files: bool = True
    sandbox: bool = False
    read_image: Callable[[str], tuple[bytes, str] | None] = lambda _: None
    """Image of the sandbox by its URL, which no client can open: content and type."""
