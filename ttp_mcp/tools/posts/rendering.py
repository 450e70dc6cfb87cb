"""How a post is shown: one line in a list, whole on its own; and as structured content."""

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import AccountResult as Result
from ttp_mcp.api import Post, PostCreate
from ttp_mcp.text import (
    clean_json,
    clean_text,
    fence_text,
    quote_lines,
    quote_text,
    shorten_line,
    show_id,
    show_url,
    show_word,
)
from ttp_mcp.times import from_now, show, show_short
from ttp_mcp.toolkit.account_directory import AccountCache
from ttp_mcp.toolkit.models import ToolOutput

SHORT = 90
_PLAIN_NAME = re.compile(r"[\w.~%+-]{1,80}", re.ASCII)


class AccountResult(ToolOutput):
    """What became of a post on one account."""

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
    scheduled_at: str | SkipJsonSchema[None] = None
    published_at: str | SkipJsonSchema[None] = None
    media: int = 0
    thread_parts: int = 0
    failures: list[AccountResult] | SkipJsonSchema[None] = None


class PostDetail(ToolOutput):
    """A post, whole. Times are ISO 8601 with offset."""

    id: str
    status: str
    content: str
    accounts: list[str]
    results: list[AccountResult]
    thread: list[str]
    media_urls: list[str]
    scheduled_at: str | SkipJsonSchema[None] = None
    published_at: str | SkipJsonSchema[None] = None
    platform_data: dict[str, Any] | SkipJsonSchema[None] = None


def account_labels(post: Post, book: AccountCache) -> list[str]:
    """The accounts of a post by name; its platforms where the API names no accounts."""
    ids = post.account_ids or [result.account_id for result in post.results if result.account_id]
    return [book.named(account_id) for account_id in ids] or [show_word(platform) for platform in post.platforms]


def to_iso(instant: datetime | None, zone: ZoneInfo) -> str | None:
    """ISO 8601 with the zone's offset, to the second."""
    return instant.astimezone(zone).isoformat(timespec="seconds") if instant else None


def summarize_post(post: Post, book: AccountCache, zone: ZoneInfo) -> PostSummary:
    """A post as an entry of a list."""
    return PostSummary(
        id=clean_text(post.id),
        status=post.status,
        content=shorten_line(post.content, SHORT),
        content_characters=len(post.content),
        accounts=account_labels(post, book),
        scheduled_at=to_iso(post.scheduled_at, zone),
        published_at=to_iso(post.published_at, zone),
        media=len(post.media_urls),
        thread_parts=len(post.thread),
        failures=[_result(result, book) for result in _failed(post)] or None,
    )


def render_list_item(post: Post, short: PostSummary, zone: ZoneInfo) -> str:
    """Two lines of a list, of a post and its summary: id, time and accounts, then the beginning of the text as a quotation."""
    when = post.published_at or post.scheduled_at
    shown = show_short(when, zone) if when else "no time set"
    first = f"{show_id(post.id)}  {post.status}  {shown}  {', '.join(short.accounts)}"
    lines = [first, f"  {quote_text(short.content, SHORT)} ({_extent(post)})"]
    lines += [f"  {_result_line(each.status, None, each.error, each.account)}" for each in short.failures or ()]
    return "\n".join(lines)


def describe_post(post: Post, book: AccountCache, zone: ZoneInfo) -> PostDetail:
    """A post, whole, as data."""
    return PostDetail(
        id=clean_text(post.id),
        status=post.status,
        content=clean_text(post.content),
        accounts=account_labels(post, book),
        results=[_result(result, book) for result in post.results],
        thread=[clean_text(part) for part in post.thread],
        media_urls=[clean_text(url) for url in post.media_urls],
        scheduled_at=to_iso(post.scheduled_at, zone),
        published_at=to_iso(post.published_at, zone),
        platform_data=clean_json(post.platform_data) or None,
    )


def render_post(post: Post, book: AccountCache, zone: ZoneInfo, now: datetime) -> str:
    """A post, whole, in words; its text stands in a fence."""
    lines = [render_headline(post, book, zone, now)]
    lines += [
        _result_line(result.status, result.url, result.error, _account(result.account_id, result.platform, book))
        for result in post.results
    ]
    if failed := _failed(post):
        ids = [show_id(result.account_id) for result in failed if result.account_id]
        alone = f"account_ids {', '.join(ids)}" if ids else "its id in account_ids"
        lines.append(
            f"A failed account is not tried again by itself: mend the cause, then create_post with {alone} sends it there alone."
        )
    if post.platform_data:
        shown = json.dumps(clean_json(post.platform_data), ensure_ascii=False, separators=(", ", ": "))
        lines.append(f"Choices for single platforms: {quote_text(shown, 1000)}")
    if post.media_urls:
        lines.append("Media: " + ", ".join(show_url(url) for url in post.media_urls))
    lines.append(fence_text(post.content))
    lines += [f"Thread part {number}:\n{fence_text(part)}" for number, part in enumerate(post.thread, 2)]
    return "\n".join(lines)


def render_headline(post: Post, book: AccountCache, zone: ZoneInfo, now: datetime) -> str:
    """What a post is, when and for whom, in one line."""
    accounts = account_labels(post, book)
    failed = len(_failed(post))
    counted = f": {len(post.results) - failed} of {len(post.results)} accounts" if failed else ""
    line = f"{show_id(post.id)} is {post.status}{counted}"
    if post.published_at:
        verb = "" if post.status == "published" else "published "
        line += f", {verb}{show(post.published_at, zone)}, {from_now(post.published_at, now)}"
    elif post.scheduled_at:
        verb = "due" if post.scheduled_at > now else "was due"
        line += f", {verb} {show(post.scheduled_at, zone)}, {from_now(post.scheduled_at, now)}"
    else:
        line += ", no time set: it does not publish by itself"
    return f"{line}. For: {', '.join(accounts) or 'not stated'}."


def quote_all(post: Post | PostCreate) -> str:
    """All that a post shows to the public, for a human to read in a question: its text, its thread and its media."""
    lines = [quote_lines(post.content)]
    lines += [f"Thread part {number}:\n{quote_lines(part)}" for number, part in enumerate(post.thread, 2)]
    if post.media_urls:
        lines.append("Media:\n" + "\n".join(quote_lines(url) for url in post.media_urls))
    return "\n".join(lines)


def _failed(post: Post) -> list[Result]:
    return [result for result in post.results if result.status == "failed"]


def _result(result: Result, book: AccountCache) -> AccountResult:
    return AccountResult(
        account=_account(result.account_id, result.platform, book),
        account_id=clean_text(result.account_id) if result.account_id else None,
        status=result.status or "not stated",
        url=clean_text(result.url) if result.url else None,
        error=shorten_line(result.error, 300) if result.error else None,
    )


def _account(account_id: str | None, platform: str | None, book: AccountCache) -> str:
    return book.named(account_id) if account_id else show_word(platform) if platform else "an account that is not named"


def _result_line(status: str | None, url: str | None, error: str | None, account: str) -> str:
    line = f"- {account}: {status or 'not stated'}"
    if url:
        line += f", {show_url(url)}"
    if error:
        line += f". API said: {quote_text(error)}"
    return line


def _extent(post: Post) -> str:
    parts = [count_noun(len(post.content), "character")]
    if post.media_urls:
        parts.append(count_noun(len(post.media_urls), "media file"))
    if post.thread:
        parts.append(f"thread of {len(post.thread) + 1}")
    return ", ".join(parts)


def show_file_name(url: str) -> str:
    """Return the file name of a media URL, or the URL where it has none."""
    name = url.partition("?")[0].partition("#")[0].rpartition("/")[2]
    return show_url(url) if not name else name if _PLAIN_NAME.fullmatch(name) else quote_text(name, 80)


def count_noun(number: int, noun: str) -> str:
    """`1 post`, `2 posts`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def join_words(names: Sequence[str]) -> str:
    """`a, b and c`."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "no account"
