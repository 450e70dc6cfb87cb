"""Tools of the connected accounts."""

from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import Integration
from ttp_mcp.text import clean_text, show_id
from ttp_mcp.toolkit.account_directory import full_account_label, render_unhealthy
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput, ToolOutput
from ttp_mcp.toolkit.registry import Toolset

toolset = Toolset("integrations")


class ListIntegrations(ToolInput):
    """No arguments."""


class Account(ToolOutput):
    """One connected account."""

    id: str
    platform: str
    name: str | SkipJsonSchema[None] = None
    handle: str | SkipJsonSchema[None] = None
    status: str | SkipJsonSchema[None] = None
    healthy: bool | SkipJsonSchema[None] = None


class AccountList(ToolOutput):
    """The accounts in the order of the API."""

    accounts: list[Account]


@toolset.tool(title="List accounts", effect="read", failure="Accounts not listed")
async def list_integrations(args: ListIntegrations, context: ToolContext) -> Answer[AccountList]:
    """List the connected social accounts with ids and health.

    Posts to an expired account fail until a person reconnects it in the TimeToPost dashboard.
    """
    accounts = (await context.accounts.fresh()).accounts
    if not accounts:
        return Answer(
            f"No account is connected. A person connects accounts in {context.dashboard}.", AccountList(accounts=[])
        )
    lines = [f"{len(accounts)} connected account{'s' if len(accounts) > 1 else ''}:"]
    lines += [_render_account(account, context.dashboard) for account in accounts]
    return Answer("\n".join(lines), AccountList(accounts=[_to_account(account) for account in accounts]))


def _render_account(account: Integration, dashboard: str) -> str:
    return f"- {show_id(account.id)}  {full_account_label(account)}: {_describe_health(account, dashboard)}"


def _describe_health(account: Integration, dashboard: str) -> str:
    if account.healthy is False:
        return render_unhealthy(account, dashboard)
    return account.status or "status not stated"


def _to_account(account: Integration) -> Account:
    return Account(
        id=clean_text(account.id),
        platform=clean_text(account.platform),
        name=clean_text(account.name) if account.name else None,
        handle=clean_text(account.handle) if account.handle else None,
        status=clean_text(account.status) if account.status else None,
        healthy=account.healthy,
    )
