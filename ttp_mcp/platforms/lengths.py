"""The units in which platforms count a text."""

import re
from collections.abc import Callable

from ttp_mcp.platforms.graphemes import count_graphemes, emoji_pattern
from ttp_mcp.platforms.x import LINK_LENGTH, find_links, weighted_length

# In words, by name.
UNITS = {
    "x_weighted": "characters as X counts them (a link 23, an emoji 2)",
    "graphemes": "characters as a reader sees them",
    "mastodon": "characters as Mastodon counts them (a link 23)",
    "threads": "characters as Threads counts them (an emoji by its bytes)",
    "characters": "characters",
}


def count_text(text: str, unit: str) -> int:
    """The length of a text in a unit of `UNITS`; `characters` are Unicode code points."""
    counters: dict[str, Callable[[str], int]] = {
        "x_weighted": weighted_length,
        "graphemes": count_graphemes,
        "mastodon": _mastodon_length,
        "threads": _threads_length,
        "characters": len,
    }
    return counters[unit](text)


def utf16_length(text: str) -> int:
    """The length in UTF-16 units, in which most emoji are 2."""
    return len(text) + sum(character > "\uffff" for character in text)


def _threads_length(text: str) -> int:
    emoji = [found[0] for found in emoji_pattern().finditer(text)]
    return len(text) + sum(len(each.encode()) - len(each) for each in emoji)


# Each character is tried once: a text made to be slow stays cheap.
_MENTION = r"(?<![\w/])(@[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?)@[\w.-]*\w"


def _mastodon_length(text: str) -> int:
    """Links that begin with a protocol count 23, and of a mention only the name."""
    parts: list[str] = []
    position = 0
    for start, end in find_links(text):
        if text[start : start + 4].lower() == "http":
            parts += [text[position:start], "x" * LINK_LENGTH]
            position = end
    return count_graphemes(re.sub(_MENTION, r"\1", "".join([*parts, text[position:]])))
