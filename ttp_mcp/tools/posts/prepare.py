"""Prepare a post for sending: read its arguments, find its accounts, convert its time to UTC, list its problems."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Annotated, Any

from pydantic import Field

from ttp_mcp.api import ApiError, Integration, Post, PostCreate
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.text import normalize_line_ends, show_id
from ttp_mcp.times import TimeProblem, parse_when, refuse_past
from ttp_mcp.toolkit.account_directory import run_together
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import ToolInput
from ttp_mcp.toolkit.params import AccountIds, Content, MediaUrls, PlatformData, Platforms, Thread, Time
from ttp_mcp.toolkit.reconnect import offer_reconnect
from ttp_mcp.tools.posts.guards import read_existing
from ttp_mcp.tools.posts.network_choices import NetworkChoices, NetworkOptions
from ttp_mcp.tools.posts.validation import (
    Findings,
    check_arguments,
    describe_missing_right,
    find_targets,
    validate_post,
)

NOW = "now"
# A time closer than this may be past before the request arrives.
LEAD = timedelta(seconds=60)
MARGIN = timedelta(seconds=5)
# Minutes in which an equal post for `now` counts as a retry.
RETRY_MINUTES = 10

CopyOf = Annotated[
    str | None,
    Field(max_length=200, description="Id of a post to repeat; what is left out is taken from it, except the time."),
]
# Fields that the API reference doesn't promise to show, and the platforms for which they matter.
UNPROMISED = {"thread": ("thread", {"twitter"}), "platform_data": ("platformData", {"tiktok", "pinterest"})}


class NewPostFields(ToolInput):
    """Arguments of the tools that send or check a new post."""

    # Before content, which depends on it.
    copy_of: CopyOf = None
    content: Content = None
    account_ids: AccountIds = None
    platforms: Platforms = None
    media_urls: MediaUrls = None
    thread: Thread = None
    scheduled_at: Time = None
    platform_data: PlatformData = None


@dataclass(frozen=True, slots=True)
class PostArguments:
    """A post as the arguments of a tool describe it."""

    content: str
    account_ids: Sequence[str] = ()
    platforms: Sequence[str] = ()
    media_urls: Sequence[str] = ()
    thread: Sequence[str] = ()
    scheduled_at: str | None = None
    platform_data: dict[str, Any] = field(default_factory=dict[str, Any])
    warnings: Sequence[str] = ()


async def read_new_post(args: NewPostFields, context: ToolContext, failure: str) -> PostArguments:
    """Return the post that the arguments describe.

    Raises:
        ApiError: The post to repeat can't be read.
    """
    given = PostArguments(
        content=args.content or "",
        account_ids=args.account_ids or (),
        platforms=args.platforms or (),
        media_urls=args.media_urls or (),
        thread=args.thread or (),
        scheduled_at=args.scheduled_at,
        platform_data=args.platform_data or {},
    )
    if args.copy_of is None:
        return given
    old = await read_existing(args.copy_of, context, failure)
    hidden = [name for name in UNPROMISED if is_hidden(name, old) and getattr(args, name) is None]
    return replace(
        given,
        content=given.content or old.content,
        account_ids=given.account_ids or (() if given.platforms else old.target_ids),
        media_urls=given.media_urls or old.media_urls,
        thread=given.thread or old.thread,
        platform_data=given.platform_data or old.platform_data,
        warnings=[f"The API doesn't show the {name} of {show_id(old.id)}, so the copy has none." for name in hidden],
    )


def is_hidden(name: str, post: Post) -> bool:
    """Check whether the API doesn't show a field of a post at all."""
    return UNPROMISED[name][0] not in post.raw


def list_hidden(post: Post, platforms: Collection[str]) -> list[str]:
    """List the fields that the API doesn't show although they matter on one of these platforms."""
    return [name for name, (_, on) in UNPROMISED.items() if on & {*platforms} and is_hidden(name, post)]


@dataclass(frozen=True, slots=True)
class PreparedPost:
    """A post as it would be sent, its accounts by id, its problems, the existing posts (if read), and notes for the user.

    `platforms` counts the accounts of each platform. `scheduled` is True if a time was passed, even one that can't be used.
    """

    post: PostCreate
    targets: dict[str, Integration]
    platforms: Counter[str]
    findings: Findings
    others: tuple[Post, ...] | None
    scheduled: bool = False
    is_now: bool = False
    is_retry: bool = False
    notes: tuple[str, ...] = ()


async def prepare_post(
    args: PostArguments,
    context: ToolContext,
    failure: str,
    *,
    compare_drafts: bool = False,
    replaced: Post | None = None,
    lead: timedelta = LEAD,
) -> PreparedPost:
    """Read the arguments of a post and find every problem of it.

    With `compare_drafts` a post without a time is compared with the existing ones too, for one more request. `replaced` is the post
    that it replaces, with which it is never compared. `lead` is how far from the current time `now` is.
    """
    found = Findings(failure, warnings=list(args.warnings))
    texts = [*map(normalize_line_ends, (args.content, *args.thread))]
    check_arguments(args.account_ids, args.platforms, args.media_urls, texts, found)
    scheduled, wants_now = args.scheduled_at is not None, is_now(args.scheduled_at)
    # A draft reaches no audience, so it needs no comparison.
    is_compared = scheduled or compare_drafts
    book, others, me = await run_together(
        context.accounts.read_accounts, partial(_list_posts, context, wanted=is_compared), context.api.auth.rights
    )
    targets = find_targets(args.account_ids, args.platforms, book, found)
    if broken := [account for account in targets.values() if account.healthy is False]:
        await offer_reconnect(broken, context)
    if lack := describe_missing_right(me, scheduled=scheduled):
        found.add("error", lack)
    platforms = Counter(map(attrgetter("platform"), targets.values()))
    choices = NetworkChoices(args.platform_data)
    if args.platform_data or "tiktok" in platforms:
        choices = await NetworkOptions(context).check(
            args.platform_data, targets.values(), args.media_urls, scheduled=scheduled
        )
    # The API's clock is known by now, and what takes time is done.
    when = nearest_time(context, lead) if wants_now else found.collect(_parse_due, args.scheduled_at, context)
    post = PostCreate(
        content=texts[0],
        account_ids=tuple(targets) if args.account_ids else (),
        platforms=() if args.account_ids else tuple(platforms),
        media_urls=tuple(args.media_urls),
        thread=tuple(texts[1:]),
        scheduled_at=when,
        platform_data=choices.platform_data,
    )
    recent = await _find_recent(post, tuple(targets), others, context) if wants_now and replaced is None else None
    post = recent or post
    if replaced is not None and others is not None:
        others = tuple(other for other in others if other.id != replaced.id)
    validate_post(
        found,
        post,
        targets.values(),
        others if is_compared else (),
        context,
        media_facts=await context.ledger.media_facts.find(post.media_urls) if post.media_urls else {},
        scheduled=scheduled,
    )
    found.errors += choices.errors
    found.warnings += choices.warnings
    return PreparedPost(
        post,
        targets,
        platforms,
        found,
        others,
        scheduled=scheduled,
        is_now=wants_now,
        is_retry=recent is not None,
        notes=tuple(choices.notes),
    )


def is_now(text: str | None) -> bool:
    """Check for the word that means the nearest time that the API takes."""
    return text is not None and text.strip().casefold() == NOW


def nearest_time(context: ToolContext, lead: timedelta) -> datetime:
    """Return the next whole minute that is far enough away."""
    at = context.now() + lead + MARGIN
    minute = at.replace(second=0, microsecond=0)
    return at if at == minute else minute + timedelta(minutes=1)


async def _find_recent(
    post: PostCreate, target_ids: Sequence[str], others: Sequence[Post] | None, context: ToolContext
) -> PostCreate | None:
    """Return a post for `now` with the time of an equal one for `now`, so that a retry isn't a second post."""
    if post.scheduled_at is None:
        return None
    for minutes in range(RETRY_MINUTES):
        earlier = replace(post, scheduled_at=post.scheduled_at - timedelta(minutes=minutes))
        try:
            if await context.writer.duplicates.find_prior(earlier, others, target_ids) is not None:
                return earlier
        except LedgerProblem:
            return None
    return None


async def _list_posts(context: ToolContext, *, wanted: bool) -> tuple[Post, ...] | None:
    """Return the existing posts; None if they aren't wanted or can't be read, since most checks don't need them."""
    try:
        return tuple(await context.api.posts.list()) if wanted else None
    except ApiError:
        return None


def _parse_due(text: str | None, context: ToolContext) -> datetime | None:
    """Parse a time that a post can be scheduled for; None for a draft."""
    if text is None:
        return None
    try:
        when = parse_when(text, context.zone, context.now())
    except TimeProblem as problem:
        raise TimeProblem(f"scheduled_at: {problem} Nothing was sent.") from None
    refuse_past(when, context.now(), context.zone)
    return when


def confirmation_binding(tool: str, prepared: PreparedPost) -> dict[str, Any]:
    """Return the arguments that a confirmation of this post covers."""
    body = prepared.post.to_body() | ({"scheduledAt": NOW} if prepared.is_now else {})
    return {"tool": tool, "body": body, "accounts": list(prepared.targets)}
