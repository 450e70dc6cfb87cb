"""A post as a person means it, made ready to be sent: targets by name, time in UTC, and what speaks against it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from ttp_mcp.api import ApiError, Integration, Post, PostCreate
from ttp_mcp.errors import Refusal
from ttp_mcp.text import find_text_errors
from ttp_mcp.times import TimeProblem, parse_when, refuse_past, to_wire
from ttp_mcp.toolkit.account_directory import AccountCache, account_label, platform_key
from ttp_mcp.toolkit.concurrency import run_both
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import ToolInput
from ttp_mcp.toolkit.params import AccountIds, MediaUrls, PlatformData, Platforms, Thread, Time
from ttp_mcp.tools.posts.rendering import count_noun, join_words
from ttp_mcp.tools.posts.validation import Findings, validate_post


class PostFields(ToolInput):
    """Arguments that the tools that send or check a post share."""

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

    @classmethod
    def from_fields(cls, content: str, fields: PostFields) -> "PostArguments":
        """Read the arguments of a tool."""
        return cls(
            content=content,
            account_ids=fields.account_ids or (),
            platforms=fields.platforms or (),
            media_urls=fields.media_urls or (),
            thread=fields.thread or (),
            scheduled_at=fields.scheduled_at,
            platform_data=fields.platform_data or {},
        )


@dataclass(frozen=True, slots=True)
class PreparedPost:
    """A post as it would be sent, the accounts it is for, what speaks against it, and the posts there are (where read)."""

    post: PostCreate
    targets: tuple[Integration, ...]
    findings: Findings
    others: tuple[Post, ...] | None

    @property
    def target_ids(self) -> tuple[str, ...]:
        """Ids of the accounts, in order."""
        return tuple(account.id for account in self.targets)

    def named(self, only: Sequence[str] | None = None) -> str:
        """The accounts in words; those with one of these ids where there are some."""
        return join_words([account_label(account) for account in self.targets if only is None or account.id in only])

    def extent(self) -> str:
        """What comes with the text: `, with 1 media file, as a thread of 3`; empty for text alone."""
        parts: list[str] = []
        if self.post.media_urls:
            parts.append(f", with {count_noun(len(self.post.media_urls), 'media file')}")
        if self.post.thread:
            parts.append(f", as a thread of {len(self.post.thread) + 1}")
        return "".join(parts)


async def prepare_post(
    args: PostArguments, context: ToolContext, what: str, *, compare_drafts: bool = False
) -> PreparedPost:
    """Read the arguments of a post.

    Args:
        args: The post.
        context: The surroundings.
        what: How a refusal begins.
        compare_drafts: Whether a post without a time is compared with the others too, for one more request.

    Raises:
        Refusal: It can't be sent as it is; says what to change.
        TimeProblem: Its time can't be used.
    """
    only_one_target(args.account_ids, args.platforms, what)
    refuse_unprintable([args.content, *args.thread], what)
    refuse_unhosted(args.media_urls, what)
    when = due_time(args.scheduled_at, context)
    # A draft reaches nobody, so it needs no comparison.
    compared = when is not None or compare_drafts
    book, others = await _surroundings(context, wants_posts=compared)
    if when:
        # Once more: by now the API has told which time it is there.
        refuse_past(when, context.now(), context.zone)
    targets = targets_of(args.account_ids, args.platforms, book, what)
    post = PostCreate(
        content=args.content,
        account_ids=tuple(account.id for account in targets) if args.account_ids else (),
        platforms=tuple(dict.fromkeys(account.platform for account in targets)) if args.platforms else (),
        media_urls=tuple(args.media_urls),
        thread=tuple(args.thread),
        scheduled_at=when,
        platform_data=dict(args.platform_data),
    )
    return PreparedPost(post, tuple(targets), validate_post(post, targets, others if compared else ()), others)


async def _surroundings(context: ToolContext, *, wants_posts: bool) -> tuple[AccountCache, tuple[Post, ...] | None]:
    """The accounts, and the posts where they are wanted; without the posts a check still says most of what it can."""

    async def posts() -> tuple[Post, ...] | None:
        if not wants_posts:
            return None
        try:
            return tuple(await context.api.posts.list())
        except ApiError:
            return None

    return await run_both(context.accounts.fresh, posts)


def only_one_target(account_ids: Sequence[str] | None, platforms: Sequence[str] | None, what: str) -> None:
    """Refuse a post for nobody, and one whose targets are named twice over."""
    if bool(account_ids) == bool(platforms):
        given = "both were passed" if account_ids else "neither was passed"
        raise Refusal(
            f"{what}: pass exactly one of account_ids and platforms; {given}. list_integrations shows the accounts. "
            "Nothing was sent."
        )


def targets_of(
    account_ids: Sequence[str] | None, platforms: Sequence[str] | None, book: AccountCache, what: str
) -> list[Integration]:
    """The accounts that are meant."""
    if account_ids:
        return book.find_all(account_ids, what)
    found = [account for platform in platforms or () for account in _on(platform, book, what)]
    return list({account.id: account for account in found}.values())


def _on(platform: str, book: AccountCache, what: str) -> list[Integration]:
    found = book.on(platform_key(platform))
    if not found:
        connected = join_words(sorted({account.platform for account in book.accounts})) if book.accounts else "none"
        raise Refusal(
            f"{what}: no account is connected on that platform. Connected platforms: {connected}. Nothing was sent."
        )
    return found


def refuse_unprintable(texts: Sequence[str], what: str) -> None:
    """Refuse what can't be published; the text itself is never altered."""
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


def enumerate_unhosted(urls: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Entries (from 1) that are no https URL; http is let through for this machine, which is the sandbox."""
    for number, url in enumerate(urls, 1):
        try:
            parts = urlsplit(url)
            local = parts.scheme == "http" and (parts.hostname or "").endswith(("localhost", "127.0.0.1"))
            hosted = bool(parts.hostname) and (parts.scheme == "https" or local)
        except ValueError:
            hosted = False
        if not hosted:
            yield number, url


def refuse_errors(prepared: PreparedPost, what: str) -> None:
    """Refuse a post that a platform would not take."""
    if prepared.findings.errors:
        raise Refusal(f"{what}: {' '.join(prepared.findings.errors[:5])} Nothing was sent.")


def due_time(text: str | None, context: ToolContext) -> datetime | None:
    """A time that a post can be scheduled for; None for a draft.

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
    """What a question shows of a post: a yes is for this, and not for what the post became since."""
    when = to_wire(post.scheduled_at) if post.scheduled_at else None
    return [post.content, post.thread, post.media_urls, when, post.account_ids, post.platforms]


def binding(tool: str, prepared: PreparedPost) -> dict[str, Any]:
    """What a yes to this post is for, and nothing else."""
    return {"tool": tool, "body": prepared.post.body(), "accounts": list(prepared.target_ids)}
