"""check_setup: token, connectivity, accounts, plan, clock, access, media folders, ledger."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Literal

from ttp_mcp.api import ApiError, EndpointMissing, Forbidden, NotAuthenticated, NotFound, TokenMalformed, TokenMissing
from ttp_mcp.config.readers import find_other_readers, how_to_make_private
from ttp_mcp.errors import agent_text, describe_cause
from ttp_mcp.ledger.records import Unfinished
from ttp_mcp.ledger.replacements import PendingReplacement
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.media.files import folder_problems
from ttp_mcp.text import count_noun, join_words, quote_text, quote_words, shorten_line, show_id
from ttp_mcp.times import describe_fixed_offset, show
from ttp_mcp.toolkit.account_directory import account_label, render_unhealthy
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, NoArguments, ToolOutput
from ttp_mcp.toolkit.reconnect import offer_reconnect
from ttp_mcp.toolkit.registry import Toolset
from ttp_mcp.tools.analytics import FEW_POINTS
from ttp_mcp.tools.posts.validation import describe_missing_right

toolset = Toolset("setup")

# Name, state and text of a check.
Item = tuple[str, Literal["ok", "notice", "problem"], str]
SANDBOX = "the local sandbox, where nothing is public. For a real account restart this server without --sandbox and set TTP_API_TOKEN"
# How many accounts are named.
MOST_NAMES = 12
# Report a connection that expires within this time, unless it renews itself.
SOON = timedelta(days=7)


class SetupItem(ToolOutput):
    """Result of one check: `ok`, `notice` or `problem` (something won't work)."""

    name: str
    state: str
    text: str


class SetupReport(ToolOutput):
    """Results of all checks; `ok` if none is a problem."""

    ok: bool
    items: list[SetupItem]


@toolset.tool(title="Check the set-up", effect="read", failure="Set-up not checked")
async def check_setup(args: NoArguments, context: ToolContext) -> Answer[SetupReport]:
    """Check token, connectivity, accounts, plan, clock, access and media folders, with fixes.

    Call it when other tools fail, or once at the start.
    """
    items = [SetupItem(name=name, state=state, text=text) for name, state, text in await _check_items(context)]
    problems = sum(item.state == "problem" for item in items)
    heading = f"{count_noun(problems, 'problem')} found." if problems else "Everything needed works."
    marks = {"ok": "ok      ", "notice": "notice  ", "problem": "PROBLEM "}
    lines = [heading, *(f"{marks[item.state]}{item.name}: {item.text}" for item in items)]
    return Answer("\n".join(lines), SetupReport(ok=not problems, items=items))


async def _check_items(context: ToolContext) -> list[Item]:
    reached, item = await _check_token(context)
    items = [item]
    if reached:
        items += [each async for each in _check_rights(context)]
        items += [each async for each in _check_accounts(context)]
        items += [await _check_best_times(context), _check_clock(context)]
    items += [_check_time_zone(context), _show_access(context), _show_confirmation(context), *_check_folders(context)]
    items += [each async for each in _check_ledger(context)]
    return [*items, *_check_ledger_readers(context), *_check_token_readers(context)]


async def _check_token(context: ToolContext) -> tuple[bool, Item]:
    where = SANDBOX if context.sandbox else context.api.base_url
    try:
        await context.accounts.read_accounts()
    except (TokenMissing, TokenMalformed, NotAuthenticated) as error:
        return False, ("token", "problem", agent_text(error, "Not usable") or "")
    except ApiError as error:
        return False, ("API", "problem", f"{context.api.base_url}. {agent_text(error, 'Not reached') or ''}")
    token = context.api.token
    source = f", from {context.settings.token_source}" if context.settings.token_source else ""
    shown = f" (fingerprint {token.fingerprint}{source})" if token and not context.sandbox else ""
    organization = f"; organization {quote_text(context.settings.org_id, 60)}" if context.settings.org_id else ""
    return True, ("token", "ok", f"accepted{shown} by {where}{organization}")


async def _check_rights(context: ToolContext) -> AsyncIterator[Item]:
    """Show user and organization of the token, and whether it can do what the access setting promises."""
    try:
        me = await context.api.auth.me()
    except ApiError as error:
        state = "ok" if isinstance(error, EndpointMissing) else "notice"
        yield "rights", state, f"what the token may do isn't known: {describe_cause(error)}"
        return
    access = context.settings.access
    lack = None if access == "read" else describe_missing_right(me, scheduled=access == "full")
    owner = [f"user {quote_text(me.user, 60)}"] if me.user else []
    owner += [f"organization {quote_text(me.organization, 60)}"] if me.organization else []
    can = {True: "it can publish", False: "it can't publish", None: "what it may do isn't stated"}[me.can_publish]
    yield "rights", "problem" if lack else "ok", f"{', '.join(owner) or 'no user stated'}; {lack or can}"
    if me.warning:
        yield "organization", "notice", f"the API says {quote_text(me.warning, 200)}."


async def _check_accounts(context: ToolContext) -> AsyncIterator[Item]:
    accounts = (await context.accounts.get_recent()).accounts
    if not accounts:
        yield "accounts", "problem", f"none is connected. A person connects accounts in {context.dashboard}."
        return
    bad = [account for account in accounts if account.healthy is False]
    await offer_reconnect(bad, context)
    good = [account_label(account) for account in accounts if account not in bad]
    more = [f"{len(good) - MOST_NAMES} more"] if len(good) > MOST_NAMES else []
    names = f": {join_words(good[:MOST_NAMES] + more)}" if good else ""
    yield "accounts", "ok", f"{len(good)} of {count_noun(len(accounts), 'account')} connected{names}"
    for account in bad:
        yield "account", "problem", f"{account_label(account)} is {render_unhealthy(account, context.dashboard)}."
    for account in accounts:
        ends = account.expires_at
        if account not in bad and ends and not account.has_refresh_capability and ends - context.now() < SOON:
            text = f"its connection ends {show(ends, context.zone)}. Reconnect it before then in {context.dashboard}."
            yield "account", "notice", f"{account_label(account)}: {text}"


async def _check_best_times(context: ToolContext) -> Item:
    try:
        found = await context.api.analytics.optimal_times()
    except Forbidden:
        return "best times", "notice", "not part of this plan; plan_posts then spreads posts over common hours."
    except ApiError as error:
        return "best times", "notice", agent_text(error, "Not read") or ""
    if found.data_points is None:
        return "best times", "ok", "available, data points not stated"
    few = ", a small sample" if found.data_points < FEW_POINTS else ""
    return "best times", "ok", f"available, from {found.data_points} data points{few}"


def _check_clock(context: ToolContext) -> Item:
    skew = context.api.clock.skew_seconds
    if skew is None:
        return "clock", "notice", "the API sent no `Date` header, so the clock can't be checked."
    if abs(skew) <= 5:
        return "clock", "ok", "agrees with the API's"
    way = "behind" if skew > 0 else "ahead of"
    return "clock", "notice", f"this machine is {abs(skew):.0f} s {way} the API; times are judged by the API's clock."


def _check_time_zone(context: ToolContext) -> Item:
    zone, now = context.zone.key, show(context.now(), context.zone)
    if not context.settings.zone_is_known:
        text = (
            "UTC, because this machine's time zone can't be detected: a time without an offset is read in UTC. Set TTP_TIMEZONE to an "
            f"IANA name, for example Europe/Paris; now {now}"
        )
        return "time zone", "notice", text
    if notice := describe_fixed_offset(zone):
        return "time zone", "notice", f"{notice} Now {now}"
    return "time zone", "ok", f"{zone}, for times without an offset (TTP_TIMEZONE); now {now}"


def _show_access(context: ToolContext) -> Item:
    words = {
        "read": "read: tools only look (TTP_ACCESS)",
        "draft": "draft: nothing is published or deleted (TTP_ACCESS)",
        "full": "full: tools may publish and delete (TTP_ACCESS)",
    }
    groups = f"; groups {', '.join(context.settings.toolsets)} (TTP_TOOLSETS)" if context.settings.toolsets else ""
    return "access", "ok", words[context.settings.access] + groups


def _show_confirmation(context: ToolContext) -> Item:
    words = {
        "auto": "auto: the user confirms irreversible actions, if the client can ask",
        "required": "required: the user confirms every publish and delete",
        "off": "off: the user is never asked",
    }
    mode = context.settings.confirm
    return "confirmation", "notice" if mode == "off" else "ok", f"{words[mode]} (TTP_CONFIRM)"


def _check_folders(context: ToolContext) -> list[Item]:
    name = "media folders"
    if not context.local_files:
        return [(name, "ok", "none over HTTP: files of the server are never read")]
    folders = context.settings.media_dirs
    if not folders:
        return [(name, "notice", "none, so upload_media reads no file. Set TTP_MEDIA_DIRS to a folder to allow it.")]
    advice = "so upload_media reads no file. Name a folder in its place that holds only media, and restart this server."
    problems: list[Item] = [(name, "problem", f"{problem}, {advice}") for problem in folder_problems(folders)]
    named = quote_words(map(str, folders), 200)
    return problems or [(name, "ok", f"{named} (TTP_MEDIA_DIRS)")]


async def _check_ledger(context: ToolContext) -> AsyncIterator[Item]:
    try:
        unfinished = await context.ledger.list_unfinished()
        half_replaced = await context.ledger.replacements.list_interrupted()
    except LedgerProblem as problem:
        yield "ledger", "problem", f"nothing can be published or deleted: {problem}"
        return
    yield "ledger", "ok", "works: nothing is sent twice"
    for write in unfinished[:10]:
        yield "unfinished", "notice", _render_unfinished(write, context)
    for each in half_replaced[:10]:
        if await _both_may_stand(each, context):
            yield "half replaced", "problem", _render_half_replaced(each, context)


def _check_ledger_readers(context: ToolContext) -> list[Item]:
    if not context.local_files or context.settings.state_url is not None:
        return []
    from ttp_mcp.ledger.store.sqlite import FILE

    path = context.settings.state_dir / FILE
    readers = find_other_readers(path)
    advice = f"It holds the texts of posts. Run: {how_to_make_private(path, with_folder=True)}"
    return [("ledger", "notice", f"{FILE} can be read by {join_words(readers)}. {advice}")] if readers else []


def _check_token_readers(context: ToolContext) -> list[Item]:
    path = context.settings.token_file
    readers = find_other_readers(path) if path and context.local_files and not context.sandbox else []
    if not path or not readers:
        return []
    text = f"its file can be read by {join_words(readers)}. Run: {how_to_make_private(path)}"
    return [("token", "notice", text)]


def _render_unfinished(write: Unfinished, context: ToolContext) -> str:
    what = quote_text(write.content, 80) if write.content else show_id(write.post_id or write.kind)
    name = f"{write.kind} of {show(write.at, context.zone)} ({shorten_line(write.tool, 40)})"
    if write.is_open:
        return f"one write is still open, the {name}: {what}. It may still happen; look with list_posts in two minutes."
    return f"the {name} ended without an outcome: {what}. It may have happened; look with list_posts."


async def _both_may_stand(half: PendingReplacement, context: ToolContext) -> bool:
    """Check whether the user has to choose; not if one of the two is known to be gone."""
    for post_id in (half.old_id, half.new_id):
        try:
            if post_id is not None:
                await context.api.posts.get(post_id)
        except NotFound:
            return False
        except ApiError:
            # Fall back to the ledger.
            return True
    return True


def _render_half_replaced(half: PendingReplacement, context: ToolContext) -> str:
    old = show_id(half.old_id)
    since = f"reschedule_post of {show(half.at, context.zone)} did not end"
    if half.new_id is None:
        return f"{since}: a replacement of {old} may have been made. Check with list_posts; delete the extra post with delete_post."
    return (
        f"{since}: {old} and its replacement {show_id(half.new_id)} both exist. The same call again finishes it; "
        "delete_post removes the unwanted one."
    )
