"""Tools of the connected accounts, and of what their networks offer."""

from typing import Annotated

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import ApiError, Board, CreatorInfo, EndpointMissing, Integration, NotFound
from ttp_mcp.errors import Refusal
from ttp_mcp.text import clean_text, count_noun, show_id
from ttp_mcp.toolkit.account_directory import AccountIndex, account_label, full_account_label, render_unhealthy
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, NoArguments, ToolInput, ToolOutput
from ttp_mcp.toolkit.registry import Toolset
from ttp_mcp.tools.posts.network_choices import (
    NO_BOARDS,
    NO_CREATOR,
    describe_board_owners,
    describe_creator,
    describe_failure,
    render_board,
)

toolset = Toolset("integrations")
NOT_READ = "TikTok options not read"


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
async def list_integrations(args: NoArguments, context: ToolContext) -> Answer[AccountList]:
    """List the connected social accounts with ids and health.

    Posts to an expired account fail until a person reconnects it in the TimeToPost dashboard.
    """
    accounts = (await context.accounts.read_accounts()).accounts
    if not accounts:
        return Answer(
            f"No account is connected. A person connects accounts in {context.dashboard}.", AccountList(accounts=[])
        )
    lines = [f"{count_noun(len(accounts), 'connected account')}:"]
    lines += [_render_account(account, context.dashboard) for account in accounts]
    return Answer("\n".join(lines), AccountList(accounts=[_to_account(account) for account in accounts]))


def _render_account(account: Integration, dashboard: str) -> str:
    health = account.status or "status not stated"
    if account.healthy is False:
        health = render_unhealthy(account, dashboard)
    return f"- {show_id(account.id)}  {full_account_label(account)}: {health}"


def _to_account(account: Integration) -> Account:
    return Account(
        id=clean_text(account.id),
        platform=clean_text(account.platform),
        name=clean_text(account.name) if account.name else None,
        handle=clean_text(account.handle) if account.handle else None,
        status=clean_text(account.status) if account.status else None,
        healthy=account.healthy,
    )


class PinterestBoard(ToolOutput):
    """A Pinterest board."""

    id: str
    name: str
    privacy: str | SkipJsonSchema[None] = None
    pins: int | SkipJsonSchema[None] = None


class BoardList(ToolOutput):
    """The boards in the order of the API."""

    boards: list[PinterestBoard]


@toolset.tool(title="List Pinterest boards", effect="read", failure="Boards not listed")
async def list_boards(args: NoArguments, context: ToolContext) -> Answer[BoardList]:
    """List the boards of the connected Pinterest account.

    platform_data.pinterest.board of a post takes a board's name or id.
    """
    try:
        book, boards = await context.accounts.get_for_labels_and(context.api.integrations.boards)
    except NotFound as error:
        raise Refusal(
            f"Boards not listed: {describe_failure(error, NO_BOARDS)} A person connects one in {context.dashboard}; retrying won't "
            "help until then."
        ) from None
    found = [
        PinterestBoard(id=clean_text(each.id), name=clean_text(each.name), privacy=each.privacy, pins=each.pin_count)
        for each in boards
    ]
    lines = [f"{count_noun(len(boards), 'board')}{':' if boards else '.'}", *map(_render_board, boards)]
    if doubt := describe_board_owners(book):
        lines.append(f"Warning: {doubt}")
    return Answer("\n".join(lines), BoardList(boards=found))


def _render_board(board: Board) -> str:
    facts = [board.privacy.lower()] if board.privacy else []
    facts += [count_noun(board.pin_count, "pin")] if board.pin_count is not None else []
    return f"- {render_board(board)}{': ' if facts else ''}{', '.join(facts)}"


class TiktokOptions(ToolInput):
    """The account."""

    account: Annotated[
        str | None,
        Field(min_length=1, max_length=200, description="TikTok account: id, @handle or name; default all."),
    ] = None


class TiktokAccount(ToolOutput):
    """Options of a TikTok account; an interaction that is false must be false in platform_data."""

    account_id: str
    account: str
    privacy: list[str]
    allow_comments: bool | SkipJsonSchema[None] = None
    allow_duet: bool | SkipJsonSchema[None] = None
    allow_stitch: bool | SkipJsonSchema[None] = None
    max_video_seconds: float | SkipJsonSchema[None] = None


class TiktokAccounts(ToolOutput):
    """Options of each account that could be read."""

    accounts: list[TiktokAccount]


@toolset.tool(title="Show TikTok options", effect="read", failure=NOT_READ)
async def tiktok_options(args: TiktokOptions, context: ToolContext) -> Answer[TiktokAccounts]:
    """Show what a TikTok account offers now: privacy levels, interactions, longest video.

    The user chooses each value of platform_data.tiktok for each post. create_post compares them with these options.
    """
    # Accounts elsewhere can have the same handle.
    tiktok = AccountIndex(tuple((await context.accounts.read_accounts()).list_on("tiktok")))
    accounts = tiktok.list_matching(args.account, NOT_READ) if args.account else tiktok.accounts
    if not accounts:
        raise Refusal(
            f"{NOT_READ}: no TikTok account is connected. A person connects one in {context.dashboard}; retrying won't help until "
            "then."
        )
    lines: list[str] = []
    offered: list[TiktokAccount] = []
    failures: list[ApiError] = []
    for account in accounts:
        try:
            creator = await context.api.integrations.creator_info(account.id)
        except EndpointMissing:
            raise
        except ApiError as error:
            failures.append(error)
            cause = describe_failure(error, NO_CREATOR)
            if account.healthy is False:
                cause = f"{render_unhealthy(account, context.dashboard)}."
            lines.append(f"- {account_label(account)}: {cause}")
            continue
        lines.append(f"- {full_account_label(account)} ({show_id(account.id)}): {describe_creator(creator)}.")
        offered.append(_to_options(account, creator))
    if not offered:
        if general := next((error for error in failures if not isinstance(error, NotFound)), None):
            raise general
        raise Refusal(
            "\n".join([f"{NOT_READ}: the API offers none. Nothing was changed; retrying won't help.", *lines])
        )
    return Answer("\n".join(["Options now, read again for each post:", *lines]), TiktokAccounts(accounts=offered))


def _to_options(account: Integration, creator: CreatorInfo) -> TiktokAccount:
    def allowed(disabled: bool | None) -> bool | None:
        return None if disabled is None else not disabled

    return TiktokAccount(
        account_id=clean_text(account.id),
        account=account_label(account),
        privacy=list(creator.privacy_levels),
        allow_comments=allowed(creator.comment_disabled),
        allow_duet=allowed(creator.duet_disabled),
        allow_stitch=allowed(creator.stitch_disabled),
        max_video_seconds=creator.max_video_seconds,
    )
