"""Text for the page: what may be shown, and short forms of it."""

import re
from datetime import date, datetime

from ttp_mcp.sandbox.clock import from_ms

# Codes below space (but tab and newline), DEL, the C1 range, and halves of characters that UTF-8 can't carry.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Embeddings, overrides and isolates: they would reorder the words around them.
_REORDERING = re.compile("[\u202a-\u202e\u2066-\u2069]")
_ADDRESS = re.compile(r"(?:https?://[^\s\\/?#][^\s\\]*|/(?![/\\])[^\s\\]*|#[^\s\\]*)", re.IGNORECASE)


def to_showable(text: str) -> str:
    """Remove what can't be shown. What reorders stays, so the element has to isolate its direction."""
    return _UNSHOWABLE.sub("", text)


def to_plain(text: str) -> str:
    """Remove what can't be shown and what reorders, for places that can't isolate a direction."""
    return _REORDERING.sub("", to_showable(text))


def is_followable(text: str) -> bool:
    """Check whether a link may lead there: http(s), or a path or fragment of this site."""
    return _ADDRESS.fullmatch(to_plain(text)) is not None


def to_stamp(instant: datetime) -> str:
    """Return an instant for machines."""
    return instant.isoformat(timespec="seconds")


def to_utc(at: int) -> str:
    """Return an instant in UTC, for people who compare it with an answer of the API."""
    return f"{from_ms(at):%Y-%m-%d %H:%M:%S} UTC"


def day_name(day: date) -> str:
    """Return a date such as 24 Nov."""
    return f"{day.day} {day:%b}"


def first_words(text: str, most: int = 140) -> str:
    """Return the beginning of a text in one line."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[:most].rstrip()}…"


def count_of(number: int, noun: str) -> str:
    """Return 1 post, 2 posts, 1,200 posts."""
    return f"{number:,} {noun if number == 1 else noun + 's'}"


def file_size(count: int) -> str:
    """Return a number of bytes as people read it."""
    size = float(count)
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 10 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
