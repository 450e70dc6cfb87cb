"""Summaries of what a post sends, for answers that need no second call, and all of it for a question to the user."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, cast

from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import Post, PostCreate
from ttp_mcp.platforms import rules
from ttp_mcp.text import clean_json, clean_text, count_noun, join_words, quote_lines, quote_text, shorten_line
from ttp_mcp.toolkit.account_directory import account_label
from ttp_mcp.toolkit.models import ToolOutput
from ttp_mcp.toolkit.platform_data import to_argument_spelling
from ttp_mcp.tools.posts.prepare import PreparedPost

BEGINNING = 140
# Of a text among several on one line.
SHORT_BEGINNING = 80
# Platforms that show several media as a carousel.
CAROUSEL = ("instagram", "threads")


class ThreadPart(ToolOutput):
    """A later post of a thread: its beginning, and its length as X counts it."""

    text: str
    characters: int


class ContentSummary(ToolOutput):
    """Content of a post: beginning of its text, lengths by platform, media by file name, thread, choices."""

    text: str
    characters: dict[str, int]
    media: list[str] | SkipJsonSchema[None] = None
    thread: list[ThreadPart] | SkipJsonSchema[None] = None
    platform_data: dict[str, Any] | SkipJsonSchema[None] = None


def describe_where(prepared: PreparedPost) -> str:
    """Describe the accounts, media and thread of a post: `x @a and linkedin @b, with 1 media file, as a thread of 3`."""
    media, thread = prepared.post.media_urls, prepared.post.thread
    files = f", with {count_noun(len(media), 'media file')}" if media else ""
    parts = f", as a thread of {len(thread) + 1}" if thread else ""
    return f"{name_accounts(prepared)}{files}{parts}"


def name_accounts(prepared: PreparedPost, only: Collection[str] | None = None) -> str:
    """Return the labels of the accounts, or only of those with the given ids."""
    targets = prepared.targets
    chosen = targets.values() if only is None else [targets[each] for each in targets if each in only]
    return join_words([*map(account_label, chosen)])


def summarize_content(prepared: PreparedPost) -> ContentSummary:
    """Return the summary as data."""
    post = prepared.post
    return ContentSummary(
        text=shorten_line(post.content, BEGINNING),
        characters={
            clean_text(platform): rules.text_length(platform, post.content).count for platform in prepared.platforms
        },
        media=[*map(file_name_of, post.media_urls)] or None,
        thread=[*map(_summarize_part, post.thread)] or None,
        platform_data=clean_json(to_argument_spelling(post.platform_data)) if post.platform_data else None,
    )


def _summarize_part(part: str) -> ThreadPart:
    return ThreadPart(text=shorten_line(part, BEGINNING), characters=rules.text_length("twitter", part).count)


def render_content(prepared: PreparedPost) -> list[str]:
    """Return the summary as lines."""
    post = prepared.post
    lengths = ", ".join(f"{clean_text(each)} {show_length(each, post.content)}" for each in prepared.platforms)
    lines = [f"Text: {quote_text(post.content, BEGINNING)} ({lengths})."]
    if post.media_urls:
        lines.append(f"Media: {_describe_media(post, prepared.platforms)}.")
    for number, part in enumerate(post.thread, 2):
        lines.append(f"Thread post {number}: {quote_text(part, BEGINNING)} ({show_length('twitter', part)}).")
    if post.platform_data:
        lines += _describe_choices(post.platform_data)
    return [*lines, *prepared.notes]


def show_length(platform: str, text: str) -> str:
    """`17 of 3000 characters`, as the platform counts."""
    length = rules.text_length(platform, text)
    if length.limit is None:
        return f"{count_noun(length.count, 'character')}, no known limit"
    return f"{length.count} of {length.limit} characters"


def _describe_media(post: PostCreate, platforms: Iterable[str]) -> str:
    names = quote_file_names(post.media_urls)
    if len(post.media_urls) == 1:
        return names
    carousel = [platform for platform in platforms if platform in CAROUSEL]
    shown = f", a carousel on {join_words(carousel)}" if carousel else ""
    return f"{len(post.media_urls)} files in this order{shown}: {names}"


def _describe_choices(data: dict[str, Any]) -> Iterator[str]:
    for platform, block in to_argument_spelling(data).items():
        choices = cast("dict[str, object]", block) if isinstance(block, dict) else {"": block}
        shown = ", ".join(f"{shorten_line(name, 30)} {_show_choice(value)}".strip() for name, value in choices.items())
        yield f"Choices for {shorten_line(platform, 30)}: {shown}."


def _show_choice(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return quote_text(value if isinstance(value, str) else str(value), 100)


def render_in_one_line(post: PostCreate, platforms: Iterable[str]) -> str:
    """Return the beginning of the text with its length on each platform, then thread parts, media and platform choices."""
    # Empty where none of the accounts is connected any more.
    lengths = _list_lengths(post.content, list(dict.fromkeys(platforms)))
    parts = [quote_text(post.content, SHORT_BEGINNING) + (f" ({lengths})" if lengths else "")]
    # Only X has threads.
    parts += [
        f"part {number} {quote_text(part, SHORT_BEGINNING)} ({_list_lengths(part, ['twitter'])})"
        for number, part in enumerate(post.thread, 2)
    ]
    if post.media_urls:
        parts.append(f"{count_noun(len(post.media_urls), 'media file')} {quote_file_names(post.media_urls)}")
    if post.platform_data:
        parts.append(f"choices for {', '.join(quote_text(key, 30) for key in post.platform_data)}")
    return ", ".join(parts)


def _list_lengths(text: str, platforms: Sequence[str]) -> str:
    """Return the length of a text as each platform counts it: `15 of 280 on twitter`."""
    lengths = {platform: rules.text_length(platform, text) for platform in platforms}
    return ", ".join(
        f"{length.count} of {length.limit} on {platform}" if length.limit else f"{length.count} on {platform}"
        for platform, length in lengths.items()
    )


def quote_all(post: Post | PostCreate) -> str:
    """Return all that a post shows to the public, for the user to read in a question: its text, its thread and its media."""
    lines = [quote_lines(post.content)]
    lines += [f"Thread part {number}:\n{quote_lines(part)}" for number, part in enumerate(post.thread, 2)]
    if post.media_urls:
        lines.append("Media:\n" + "\n".join(quote_lines(url) for url in post.media_urls))
    return "\n".join(lines)


def file_name_of(url: str) -> str:
    """Return the file name of a media URL, or the URL where it has none."""
    return shorten_line(url.partition("?")[0].partition("#")[0].rpartition("/")[2] or url, 80)


def quote_file_names(urls: Sequence[str]) -> str:
    """Return the file names of media URLs, each between « »: anyone can name a file."""
    return ", ".join(quote_text(file_name_of(url), 80) for url in urls)
