"""Units in which platforms count the length of a text."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ttp_mcp.platforms.graphemes import count_graphemes, emoji_pattern
from ttp_mcp.platforms.x import LINK_LENGTH, find_links, weighted_length


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


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of length: the counted thing in words, and a function that counts it."""

    words: str
    count: Callable[[str], int]


UNITS = {
    "x_weighted": Unit("characters as X counts them (a link 23, an emoji 2)", weighted_length),
    "graphemes": Unit("characters as a reader sees them", count_graphemes),
    "mastodon": Unit("characters as Mastodon counts them (a link 23)", _mastodon_length),
    "threads": Unit("characters as Threads counts them (an emoji by its bytes)", _threads_length),
    # Unicode code points.
    "characters": Unit("characters", len),
}
