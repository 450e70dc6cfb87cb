"""Split a text into posts of a thread on X."""

import re
from collections.abc import Iterator

from ttp_mcp.platforms.x import LIMIT, weighted_length

# Posts of a thread, the first included, that TimeToPost's own tools allow.
MOST_POSTS = 24
_SENTENCE = re.compile(r".+?(?:[.!?…]+[\"')\]]*(?=\s)|[。！？]+|\n+|$)\s*", re.DOTALL)
_WORD = re.compile(r"\S+\s*")


def split_for_x(text: str) -> list[str]:
    """Return parts of at most 280 characters as X counts them, split after sentences, else after words."""
    parts: list[str] = []
    current = ""
    for piece in _split_pieces(text):
        if current and not _fits_post(current + piece):
            parts.append(current.strip())
            current = ""
        current += piece
    return [*parts, current.strip()] if current.strip() else parts


def _fits_post(text: str) -> bool:
    return weighted_length(text.strip()) <= LIMIT


def _split_pieces(text: str) -> Iterator[str]:
    for sentence in _SENTENCE.findall(text.strip()):
        if _fits_post(sentence):
            yield sentence
        else:
            for word in _WORD.findall(sentence):
                yield from [word] if _fits_post(word) else _cut_word(word)


def _cut_word(word: str) -> Iterator[str]:
    """Cut a word without spaces; half the limit, because a character counts 2 at most."""
    size = LIMIT // 2
    for start in range(0, len(word), size):
        yield word[start : start + size]
