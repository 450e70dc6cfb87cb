"""Summary of what a post sends, for answers that need no second call."""

from collections.abc import Iterator
from typing import Any, cast

from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import PostCreate
from ttp_mcp.platforms import rules
from ttp_mcp.text import clean_json, clean_text, quote_text, shorten_line
from ttp_mcp.toolkit.models import ToolOutput
from ttp_mcp.toolkit.platform_data import to_argument_spelling
from ttp_mcp.tools.posts.prepare import PreparedPost
from ttp_mcp.tools.posts.rendering import count_noun, file_name_of, join_words, quote_file_names

BEGINNING = 140
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


def summarize_content(prepared: PreparedPost) -> ContentSummary:
    """Return the summary as data."""
    post = prepared.post
    return ContentSummary(
        text=shorten_line(post.content, BEGINNING),
        characters={
            clean_text(platform): rules.text_length(platform, post.content).count for platform in prepared.platform_keys
        },
        media=[file_name_of(url) for url in post.media_urls] or None,
        thread=[
            ThreadPart(text=shorten_line(part, BEGINNING), characters=rules.text_length("twitter", part).count)
            for part in post.thread
        ]
        or None,
        platform_data=clean_json(to_argument_spelling(post.platform_data)) or None,
    )


def render_content(prepared: PreparedPost) -> list[str]:
    """Return the summary as lines."""
    post = prepared.post
    lengths = ", ".join(_describe_length(platform, post.content) for platform in prepared.platform_keys)
    lines = [f"Text: {quote_text(post.content, BEGINNING)} ({lengths})."]
    if post.media_urls:
        lines.append(f"Media: {_describe_media(post, prepared.platform_keys)}.")
    for number, part in enumerate(post.thread, 2):
        lines.append(f"Thread post {number}: {quote_text(part, BEGINNING)} ({show_length('twitter', part)}).")
    return [*lines, *_describe_choices(post.platform_data), *prepared.notes]


def show_length(platform: str, text: str) -> str:
    """`17 of 3000 characters`, as the platform counts."""
    length = rules.text_length(platform, text)
    if length.limit is None:
        return f"{count_noun(length.count, 'character')}, no known limit"
    return f"{length.count} of {length.limit} characters"


def _describe_length(platform: str, text: str) -> str:
    return f"{clean_text(platform)} {show_length(platform, text)}"


def _describe_media(post: PostCreate, platforms: tuple[str, ...]) -> str:
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
