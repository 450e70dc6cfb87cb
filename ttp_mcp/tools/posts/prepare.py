"""Prepare a post for sending: find its accounts, convert its time to UTC, list its problems."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ttp_mcp.api import ApiError, Integration, Me, Post, PostCreate
from ttp_mcp.errors import Refusal
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.text import find_text_errors, is_blank, normalize_line_ends
from ttp_mcp.times import TimeProblem, parse_when, refuse_past, to_wire
from ttp_mcp.toolkit.account_directory import AccountCache, account_label, run_both
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.reconnect import offer_reconnect
from ttp_mcp.tools.posts.network_choices import NetworkOptions
from ttp_mcp.tools.posts.problems import (
    Problems,
    describe_missing_right,
    refuse_no_target,
    refuse_unnamed_platforms,
    render_refusal,
    targets_of,
)
from ttp_mcp.tools.posts.rendering import count_noun, join_words
from ttp_mcp.tools.posts.validation import Findings, validate_post

T = TypeVar("T")

NOW = "now"
# A time closer than this may be past before the request arrives.
LEAD = timedelta(seconds=60)
MARGIN = timedelta(seconds=5)
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
# Where the sandbox inside this process keeps media.
SANDBOX_HOSTS = frozenset({"media.sandbox.localhost"})
# Minutes in which an equal post for `now` counts as a retry.
RETRY_MINUTES = 10


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


@dataclass(frozen=True, slots=True)
class PreparedPost:
    """A post as it would be sent, its accounts and problems, the existing posts (if read), and notes for the user.

    `scheduled` is True if a time was passed, even one that can't be used.
    """

    post: PostCreate
    targets: tuple[Integration, ...]
    findings: Findings
    others: tuple[Post, ...] | None
    scheduled: bool = False
    is_now: bool = False
    is_retry: bool = False
    notes: tuple[str, ...] = ()

    @property
    def platform_keys(self) -> tuple[str, ...]:
        """Platforms of the accounts, in order."""
        return tuple(dict.fromkeys(account.platform for account in self.targets))

    @property
    def target_ids(self) -> tuple[str, ...]:
        """Ids of the accounts, in order."""
        return tuple(account.id for account in self.targets)

    def named(self, only: Sequence[str] | None = None) -> str:
        """Render the accounts, or only those with the given ids."""
        return join_words([account_label(account) for account in self.targets if only is None or account.id in only])

    def extent(self) -> str:
        """Describe media and thread: `, with 1 media file, as a thread of 3`; empty for text alone."""
        parts: list[str] = []
        if self.post.media_urls:
            parts.append(f", with {count_noun(len(self.post.media_urls), 'media file')}")
        if self.post.thread:
            parts.append(f", as a thread of {len(self.post.thread) + 1}")
        return "".join(parts)


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

    Args:
        args: The post.
        context: Everything a tool call needs.
        failure: Beginning of an error.
        compare_drafts: Compare a post without a time with the existing ones too, for one more request.
        replaced: The post that it replaces; never reported as a clash.
        lead: Distance from the current time that `now` means.
    """
    problems = Problems(failure)
    problems.collect(refuse_no_target, args.account_ids, args.platforms, failure)
    texts = [normalize_line_ends(text) for text in (args.content, *args.thread)]
    collect_text_problems(texts, problems)
    problems.collect(refuse_unhosted, args.media_urls, failure)
    wants_now = is_now(args.scheduled_at)
    when = None if wants_now else problems.collect(due_time, args.scheduled_at, context)
    # A draft reaches no audience, so it needs no comparison.
    compared = args.scheduled_at is not None or compare_drafts
    book, others, me = await _read_state(context, wants_posts=compared)
    if when:
        # Now the API's clock is known.
        problems.collect(refuse_past, when, context.now(), context.zone)
    targets = find_targets(args.account_ids, args.platforms, book, problems)
    await offer_reconnect(targets, context)
    scheduled = args.scheduled_at is not None
    if lack := describe_missing_right(me, scheduled=scheduled):
        problems.add(lack)
    choices = await NetworkOptions(context).check(args.platform_data, targets, args.media_urls, scheduled=scheduled)
    post = PostCreate(
        content=texts[0],
        account_ids=tuple(account.id for account in targets) if args.account_ids else (),
        platforms=() if args.account_ids else tuple(dict.fromkeys(account.platform for account in targets)),
        media_urls=tuple(args.media_urls),
        thread=tuple(texts[1:]),
        scheduled_at=nearest_time(context, lead) if wants_now else when,
        platform_data=choices.platform_data,
    )
    asked_for = post.scheduled_at
    if wants_now and replaced is None:
        post = await _reuse_recent_time(post, targets, others, context)
    if replaced is not None and others is not None:
        others = tuple(other for other in others if other.id != replaced.id)
    found = validate_post(
        post,
        targets,
        others if compared else (),
        dashboard=context.dashboard,
        media_facts=await context.ledger.media_facts.find(post.media_urls) if post.media_urls else {},
        local_hosts=find_local_hosts(context),
        scheduled=scheduled,
    )
    found = replace(
        found,
        errors=(*problems.texts, *found.errors, *choices.errors),
        warnings=(*args.warnings, *found.warnings, *choices.warnings),
    )
    return PreparedPost(
        post,
        tuple(targets),
        found,
        others,
        scheduled=scheduled,
        is_now=wants_now,
        is_retry=post.scheduled_at != asked_for,
        notes=tuple(choices.notes),
    )


def collect_text_problems(texts: Sequence[str], problems: Problems) -> None:
    """Note the texts that can't be published, or show nothing. The first is the content, the others its thread."""
    problems.collect(refuse_unprintable, texts, problems.failure)
    for number, text in enumerate(texts):
        if is_blank(text):
            place = f"part {number} of thread" if number else "content"
            problems.add(
                f"{place} shows nothing: it is empty or has only spaces and invisible characters. Write the text."
            )


def find_targets(
    account_ids: Sequence[str], platforms: Sequence[str], book: AccountCache, problems: Problems
) -> list[Integration]:
    """Find the accounts word by word, so that every wrong one is reported.

    With a wrong one, one account of each platform in `platforms` is checked, so that the other problems are found too.
    """
    found: list[Integration] = []
    missing = False
    for word in account_ids or platforms:
        names, on = ([word], platforms) if account_ids else (None, [word])
        targets = problems.collect(targets_of, names, on, book, problems.failure)
        missing = missing or not targets
        found += targets or []
    if account_ids and missing:
        found += [account for platform in platforms for account in book.on(platform)[:1]]
    elif account_ids:
        problems.collect(refuse_unnamed_platforms, platforms, found, problems.failure)
    return list({account.id: account for account in found}.values())


def is_now(text: str | None) -> bool:
    """Check for the word that means the nearest time that the API takes."""
    return text is not None and text.strip().casefold() == NOW


def nearest_time(context: ToolContext, lead: timedelta) -> datetime:
    """Return the next whole minute that is far enough away."""
    at = context.now() + lead + MARGIN
    return (
        at if at == at.replace(second=0, microsecond=0) else at.replace(second=0, microsecond=0) + timedelta(minutes=1)
    )


async def _reuse_recent_time(
    post: PostCreate, targets: Sequence[Integration], others: Sequence[Post] | None, context: ToolContext
) -> PostCreate:
    """Give a post for `now` the time of an equal one for `now`, so that a retry isn't a second post."""
    if post.scheduled_at is None:
        return post
    ids = [account.id for account in targets]
    for minutes in range(RETRY_MINUTES):
        earlier = replace(post, scheduled_at=post.scheduled_at - timedelta(minutes=minutes))
        try:
            if await context.writer.duplicates.find_prior(earlier, others, ids) is not None:
                return earlier
        except LedgerProblem:
            return post
    return post


def find_local_hosts(context: ToolContext) -> frozenset[str]:
    """Return the hosts of this machine that the API can fetch media from: those of a sandbox."""
    if context.sandbox:
        return SANDBOX_HOSTS
    host = urlsplit(context.settings.api_url).hostname or ""
    return LOOPBACK_HOSTS if is_local_host(host) else frozenset()


async def _read_state(
    context: ToolContext, *, wants_posts: bool
) -> tuple[AccountCache, tuple[Post, ...] | None, Me | None]:
    """Read the accounts, the posts if wanted, and the rights of the token. Most checks don't need the last two."""

    async def list_posts() -> tuple[Post, ...] | None:
        try:
            return tuple(await context.api.posts.list()) if wants_posts else None
        except ApiError:
            return None

    book, (others, me) = await run_both(context.accounts.fresh, lambda: run_both(list_posts, context.api.auth.rights))
    return book, others, me


def refuse_unprintable(texts: Sequence[str], what: str) -> None:
    """Refuse text that can't be published. The text itself is never altered."""
    for problem in dict.fromkeys(problem for text in texts for problem in find_text_errors(text)):
        raise Refusal(
            f"{what}: the text can't be published, because {problem}. Remove it and call again; nothing was sent."
        )


def refuse_unhosted(urls: Sequence[str], what: str) -> None:
    """Refuse media that no network could fetch."""
    for number, _ in enumerate_unhosted(urls):
        raise Refusal(
            f"{what}: media_urls entry {number} is not an https URL. Upload the file with upload_media and pass its "
            "public_url; nothing was sent."
        )


def is_local_host(host: str) -> bool:
    """Check whether a host name is this machine."""
    return host in LOOPBACK_HOSTS or host.endswith(".localhost")


def enumerate_unhosted(urls: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the entries (from 1) that aren't https URLs. http is allowed for this machine: the sandbox uses it."""
    for number, url in enumerate(urls, 1):
        try:
            parts = urlsplit(url)
            local = parts.scheme == "http" and is_local_host(parts.hostname or "")
            hosted = bool(parts.hostname) and (parts.scheme == "https" or local)
        except ValueError:
            hosted = False
        if not hosted:
            yield number, url


def refuse_errors(prepared: PreparedPost, what: str) -> None:
    """Refuse a post with errors."""
    if prepared.findings.errors:
        proposal = f"\n{prepared.findings.render_split()}" if prepared.findings.split else ""
        raise Refusal(render_refusal(what, prepared.findings.errors) + proposal)


def due_time(text: str | None, context: ToolContext) -> datetime | None:
    """Parse a time that a post can be scheduled for; None for a draft.

    Raises:
        TimeProblem: Its form, or that it is in the past or too close.
    """
    if text is None:
        return None
    try:
        when = parse_when(text, context.zone, context.now())
    except TimeProblem as problem:
        raise TimeProblem(f"scheduled_at: {problem} Nothing was sent.") from None
    refuse_past(when, context.now(), context.zone)
    return when


def visible_fields(post: Post) -> list[Any]:
    """Return the fields that a confirmation shows. It covers the post only while they are unchanged."""
    when = to_wire(post.scheduled_at) if post.scheduled_at else None
    return [post.content, post.thread, post.media_urls, when, post.account_ids, post.platforms]


def confirmation_binding(tool: str, prepared: PreparedPost) -> dict[str, Any]:
    """Return the arguments that a confirmation of this post covers."""
    body = prepared.post.to_body() | ({"scheduledAt": NOW} if prepared.is_now else {})
    return {"tool": tool, "body": body, "accounts": list(prepared.target_ids)}
