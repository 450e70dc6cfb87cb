"""Offer the user the page on which an account that can't publish is reconnected."""

from collections.abc import Sequence

from ttp_mcp.api import Integration
from ttp_mcp.toolkit.account_directory import account_label
from ttp_mcp.toolkit.context import ToolContext


async def offer_reconnect(broken: Sequence[Integration], context: ToolContext) -> None:
    """Offer the page for accounts that can't publish, each of them once.

    Answers name the page too, so a client that can't open it lacks nothing. With TTP_CONFIRM=off the user is never prompted.
    """
    url, offered = context.accounts_url, context.accounts.offered_ids
    broken = [account for account in broken if account.id not in offered]
    if url is None or not broken or context.settings.confirm == "off":
        return
    offered.update(account.id for account in broken)
    labels, them = ", ".join(map(account_label, broken[:10])), "it" if len(broken) == 1 else "them"
    await context.user.offer_link(
        f"Posts to {labels} fail until you reconnect {them}. Open the page of your accounts?", url
    )
