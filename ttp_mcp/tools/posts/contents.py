"""Describe what a post consists of in one line, so that an agent needn't read it again to verify it."""

from collections.abc import Iterable

from ttp_mcp.api import PostCreate
from ttp_mcp.platforms import rules
from ttp_mcp.text import quote_text
from ttp_mcp.tools.posts.rendering import count_noun, quote_file_names

BEGINNING = 80


def render_contents(post: PostCreate, platforms: Iterable[str]) -> str:
    """Return the beginning of the text with its length on each platform, then thread parts, media and platform choices."""
    keys = list(dict.fromkeys(platforms))
    parts = [f"{quote_text(post.content, BEGINNING)} ({render_lengths(post.content, keys)})"]
    # Only X has threads.
    parts += [
        f"part {number} {quote_text(part, BEGINNING)} ({render_lengths(part, ['twitter'])})"
        for number, part in enumerate(post.thread, 2)
    ]
    if post.media_urls:
        parts.append(f"{count_noun(len(post.media_urls), 'media file')} {quote_file_names(post.media_urls)}")
    if post.platform_data:
        parts.append(f"choices for {', '.join(quote_text(key, 30) for key in post.platform_data)}")
    return ", ".join(parts)


def render_lengths(text: str, platforms: Iterable[str]) -> str:
    """Return the length of a text as each platform counts it: `15 of 280 on twitter`."""
    lengths = {platform: rules.text_length(platform, text) for platform in platforms}
    return ", ".join(
        f"{length.count} of {length.limit} on {platform}" if length.limit else f"{length.count} on {platform}"
        for platform, length in lengths.items()
    )
