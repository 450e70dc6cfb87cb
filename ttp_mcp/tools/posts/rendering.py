"""How a post is shown: one line in a list, whole on its own; and as structured content."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import AccountResult as Result
from ttp_mcp.api import Post
from ttp_mcp.text import (
    clean_json,
    clean_text,
    count_noun,
    fence_text,
    quote_text,
    shorten_line,
    show_id,
    show_url,
    show_word,
)
from ttp_mcp.times import from_now, show, show_short, to_iso
from ttp_mcp.toolkit.account_directory import AccountIndex, account_label, render_unhealthy
from ttp_mcp.toolkit.models import ToolOutput

SHORT = 280
# Characters of a text in one answer; longer ones are read in pieces.
LONGEST_TEXT = 4000


class AccountResult(ToolOutput):
    """Result of a post on one account."""

    account: str
    account_id: str | SkipJsonSchema[None] = None
    status: str
    url: str | SkipJsonSchema[None] = None
    error: str | SkipJsonSchema[None] = None


class PostSummary(ToolOutput):
    """A post in a list; content is shortened. Times are ISO 8601 with offset."""

    id: str
    status: str
    content: str
    content_characters: int
    accounts: list[str]
    account_ids: list[str]
    scheduled_at: str | SkipJsonSchema[None] = None
    published_at: str | SkipJsonSchema[None] = None
    media: int = 0
    thread_parts: int = 0
    links: list[str] | SkipJsonSchema[None] = None
    failures: list[AccountResult] | SkipJsonSchema[None] = None


class PostDetail(ToolOutput):
    """A post in full; of a very long text, which is read in pieces, only the beginning. Times are ISO 8601 with offset."""

    id: str
    status: str
    content: str
    content_characters: int
    next_offset: int | SkipJsonSchema[None] = None
    accounts: list[str]
    account_ids: list[str]
    results: list[AccountResult]
    thread: list[str]
    media_urls: list[str]
    scheduled_at: str | SkipJsonSchema[None] = None
    published_at: str | SkipJsonSchema[None] = None
    platform_data: dict[str, Any] | SkipJsonSchema[None] = None
    warnings: list[str] | SkipJsonSchema[None] = None


def account_labels(post: Post, book: AccountIndex) -> list[str]:
    """The accounts of a post by name; its platforms where the API names no accounts."""
    return [*map(book.label_of, post.target_ids)] or [*map(show_word, post.platforms)]


def summarize_post(post: Post, book: AccountIndex, zone: ZoneInfo) -> PostSummary:
    """A post as an entry of a list."""
    content, links, failures = post.content, list[str](), list[AccountResult]()
    for result in post.results:
        if result.url:
            links.append(clean_text(result.url))
        if result.status == "failed":
            failures.append(_to_account_result(result, book))
    return PostSummary(
        id=clean_text(post.id),
        status=post.status,
        content=shorten_line(content, SHORT),
        content_characters=len(content),
        accounts=account_labels(post, book),
        account_ids=[*map(clean_text, post.target_ids)],
        scheduled_at=to_iso(post.scheduled_at, zone),
        published_at=to_iso(post.published_at, zone),
        media=len(post.media_urls),
        thread_parts=len(post.thread),
        links=links or None,
        failures=failures or None,
    )


def render_list_item(post: Post, short: PostSummary, zone: ZoneInfo) -> str:
    """Render a post of a list: id, status, time and accounts, then the beginning of its text, its links and its failures."""
    when = post.published_at or post.scheduled_at
    shown = show_short(when, zone) if when else describe_missing_time(post)
    first = f"{show_id(post.id)}  {short.status}  {shown}  {', '.join(short.accounts)}"
    lines = [first, f"  {quote_text(short.content, SHORT)} ({_describe_extent(short)})"]
    if short.links:
        lines.append(f"  Links: {', '.join(map(show_url, short.links))}")
    lines += [f"  {_render_result(each.status, None, each.error, each.account)}" for each in short.failures or ()]
    return "\n".join(lines)


def describe_post(post: Post, book: AccountIndex, zone: ZoneInfo, offset: int, warnings: Sequence[str]) -> PostDetail:
    """Describe a post as data, with its text from `offset`."""
    text, end = cut_content(post, offset)
    return PostDetail(
        id=clean_text(post.id),
        status=post.status,
        content=clean_text(text) if len(post.content) <= LONGEST_TEXT else shorten_line(text, SHORT),
        content_characters=len(post.content),
        next_offset=end,
        accounts=account_labels(post, book),
        account_ids=[clean_text(account_id) for account_id in post.target_ids],
        results=[_to_account_result(result, book) for result in post.results],
        thread=[clean_text(part) for part in post.thread],
        media_urls=[clean_text(url) for url in post.media_urls],
        scheduled_at=to_iso(post.scheduled_at, zone),
        published_at=to_iso(post.published_at, zone),
        platform_data=clean_json(post.platform_data) or None,
        warnings=list(warnings) or None,
    )


def cut_content(post: Post, offset: int) -> tuple[str, int | None]:
    """Return the text of a post from `offset`, at most `LONGEST_TEXT` characters, and the offset of the rest."""
    end = offset + LONGEST_TEXT
    return post.content[offset:end], end if end < len(post.content) else None


def warn_of_unhealthy(posts: Sequence[Post], book: AccountIndex, dashboard: str) -> list[str]:
    """Return a warning for each account that can't publish, of posts that aren't out on all their accounts."""
    ids = set[str]()
    for post in posts:
        if post.status != "published":
            ids.update(post.target_ids)
    return [
        f"{account_label(account)} ({show_id(account.id)}) is {render_unhealthy(account, dashboard)}."
        for account in book.accounts
        if account.id in ids and account.healthy is False
    ]


def render_post(
    post: Post, book: AccountIndex, zone: ZoneInfo, now: datetime, offset: int, warnings: Sequence[str]
) -> str:
    """Render a post in full, with its text from `offset` in a fence."""
    text, end = cut_content(post, offset)
    lines = [render_headline(post, book, zone, now)]
    lines += [
        _render_result(result.status, result.url, result.error, name_account(result.account_id, result.platform, book))
        for result in post.results
    ]
    if _list_failed(post):
        lines.append(
            "Failed accounts aren't retried. Fix the cause, then call publish_post, which sends the post to these accounts only."
        )
    lines += [f"Warning: {warning}" for warning in warnings]
    if post.platform_data:
        shown = json.dumps(clean_json(post.platform_data), ensure_ascii=False, separators=(", ", ": "))
        lines.append(f"Choices for single platforms: {quote_text(shown, 1000)}")
    if post.media_urls:
        lines.append("Media: " + ", ".join(show_url(url) for url in post.media_urls))
    if offset or end:
        rest = f"; get_post with offset {end} returns the next." if end else ", the last ones."
        lines.append(f"Characters {offset + 1} to {offset + len(text)} of {len(post.content)}{rest}")
    lines.append(fence_text(text))
    lines += [f"Thread part {number}:\n{fence_text(part)}" for number, part in enumerate(post.thread, 2)]
    return "\n".join(lines)


def render_headline(post: Post, book: AccountIndex, zone: ZoneInfo, now: datetime) -> str:
    """Render id, status, time and accounts of a post in one line."""
    accounts = account_labels(post, book)
    line = f"{show_id(post.id)} {_describe_status(post)}"
    if post.published_at:
        verb = "" if post.status == "published" else "published "
        line += f", {verb}{show(post.published_at, zone)}, {from_now(post.published_at, now)}"
    elif post.scheduled_at:
        verb = "due" if post.scheduled_at >= now else "was due"
        line += f", {verb} {show(post.scheduled_at, zone)}, {from_now(post.scheduled_at, now)}"
    elif post.has_unreadable_time:
        line += f", {describe_missing_time(post)}: call reschedule_post with scheduled_at to set it"
    else:
        line += f", {describe_missing_time(post)}: it isn't published until reschedule_post sets one"
    return f"{line}. For: {', '.join(accounts) or 'not stated'}."


def _describe_status(post: Post) -> str:
    failed = len(_list_failed(post))
    where = f"{failed} of {count_noun(len(post.results), 'account')}"
    if post.status == "failed":
        return f"failed on {where}" if failed else "failed"
    return f"is {post.status}: it failed on {where}" if failed else f"is {post.status}"


def describe_missing_time(post: Post) -> str:
    """Describe why a post has no time to show."""
    return "due at a time that can't be read" if post.has_unreadable_time else "no time set"


def _list_failed(post: Post) -> list[Result]:
    return [result for result in post.results if result.status == "failed"]


def _to_account_result(result: Result, book: AccountIndex) -> AccountResult:
    return AccountResult(
        account=name_account(result.account_id, result.platform, book),
        account_id=clean_text(result.account_id) if result.account_id else None,
        status=result.status or "not stated",
        url=clean_text(result.url) if result.url else None,
        error=shorten_line(result.error, 300) if result.error else None,
    )


def name_account(account_id: str | None, platform: str | None, book: AccountIndex) -> str:
    """Return the label of the account of a result, or its platform where the API names no account."""
    return (
        book.label_of(account_id) if account_id else show_word(platform) if platform else "an account that is not named"
    )


def _render_result(status: str | None, url: str | None, error: str | None, account: str) -> str:
    line = f"- {account}: {status or 'not stated'}"
    if url:
        line += f", {show_url(url)}"
    if error:
        line += f". API said: {quote_text(error)}"
    return line


def _describe_extent(short: PostSummary) -> str:
    parts = [count_noun(short.content_characters, "character")]
    if short.media:
        parts.append(count_noun(short.media, "media file"))
    if short.thread_parts:
        parts.append(f"thread of {short.thread_parts + 1}")
    return ", ".join(parts)
