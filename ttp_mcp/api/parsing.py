"""Tolerant reading of JSON from outside: a value of the wrong type counts as absent, and nothing raises."""

import codecs
import re
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from pydantic_core import from_json

from ttp_mcp.text import is_plain_word

JsonObject = dict[str, Any]

# Python refuses to convert numbers with thousands of digits; no id has more than 64 bits.
_LARGEST_ID = 2**64
# `0001` and `9999` mean "never" in some systems, and overflow when shown in another zone.
_EARLIEST_YEAR, _LATEST_YEAR = 1900, 9000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Seconds have ten digits from 2001 to 2286, milliseconds thirteen.
_MILLISECONDS = 100_000_000_000
_MOST_REASONS, _DEEPEST_REASON = 5, 6

_DATE_AND_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]")
_UNIX_TIME = re.compile(r"\d{10}(?:\d{3})?", re.ASCII)
# Matches each JSON escape as a whole, to tell half a surrogate pair from a pair and from an escaped backslash.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL
)
_HALF_BYTES = 6


def parse_json(content: bytes) -> Any:
    """Parse JSON of at most 200 levels, without NaN and Infinity. Half a surrogate pair becomes U+FFFD.

    Raises:
        ValueError: It isn't such JSON.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return from_json(content, allow_inf_nan=False)
    except ValueError:
        # A text truncated within an emoji ends in half a pair; one such post must not make the whole list unreadable.
        repaired = _ESCAPE.sub(_replace_half, content)
        if repaired == content:
            raise
        return from_json(repaired, allow_inf_nan=False)


def _replace_half(escape: re.Match[bytes]) -> bytes:
    is_half = len(escape[0]) == _HALF_BYTES
    return b"\\ufffd" if is_half else escape[0]


def as_str(value: object) -> str | None:
    """Return a string unless it is empty; an integer becomes its digits, since ids may be numbers."""
    if isinstance(value, str):
        return value or None
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= _LARGEST_ID:
        return None
    return str(value)


def as_token(value: object) -> str | None:
    """Return a key such as a platform or a status; `unreadable` unless it is one plain word.

    Keys are used in this server's own sentences, so they must not be sentences themselves.
    """
    found = as_str(value)
    return found if found is None or is_plain_word(found) else "unreadable"


def as_url(value: object) -> str | None:
    """Return an http URL; None if it has blanks or control characters: it could be a sentence, and no post could use it."""
    found = as_str(value) or ""
    plain = found.startswith(("https://", "http://")) and found.isprintable() and " " not in found
    return found if plain else None


def as_strs(value: object) -> list[str]:
    """Return the strings of a list."""
    return [entry for entry in cast("list[object]", value) if isinstance(entry, str)] if isinstance(value, list) else []


def as_objects(value: object) -> list[JsonObject]:
    """Return the objects of a list."""
    if not isinstance(value, list):
        return []
    return [cast("JsonObject", entry) for entry in cast("list[object]", value) if isinstance(entry, dict)]


def as_object(value: object) -> JsonObject:
    """Return an object, or an empty one."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def as_flag(value: object) -> bool | None:
    """Return a boolean."""
    return value if isinstance(value, bool) else None


def as_number(value: object) -> float | None:
    """Return a number, also from a string."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < 1e15 else None


def as_count(value: object) -> int | None:
    """Return a whole number of things; None for a negative one."""
    found = as_number(value)
    return None if found is None or found < 0 else int(found)


def as_datetime(value: object) -> datetime | None:
    """Return a time as aware UTC: ISO 8601, in UTC without an offset, or Unix time in seconds or milliseconds."""
    if value is None:
        return None
    try:
        if isinstance(value, str) and _DATE_AND_TIME.match(value):
            found = datetime.fromisoformat(value)
            found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        else:
            found = _as_unix_time(value)
    except (ValueError, OverflowError):
        return None
    return found if found and _EARLIEST_YEAR <= found.year <= _LATEST_YEAR else None


def _as_unix_time(value: object) -> datetime | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = as_str(value)
    if text is None or not _UNIX_TIME.fullmatch(text):
        return None
    number = int(text)
    # Exact on every platform, unlike datetime.fromtimestamp.
    return _EPOCH + timedelta(milliseconds=number if number >= _MILLISECONDS else number * 1000)


def as_message(value: object, depth: int = 0) -> str | None:
    """Return the text of an error, or of the reasons in a list or an object of fields, as `field: reason; ...`."""
    if depth > _DEEPEST_REASON:
        return None
    if isinstance(value, list):
        texts = [as_message(entry, depth + 1) for entry in cast("list[object]", value)[:_MOST_REASONS]]
        return "; ".join(text for text in texts if text) or None
    if not isinstance(value, dict):
        return as_str(value)
    fields = cast("JsonObject", value)
    text = as_message(first_present(fields, "message", "msg", "reason", "detail", "error"), depth + 1)
    if text is None:
        return as_message([_name_reason(name, reason, depth) for name, reason in fields.items()], depth + 1)
    return _label_reason(first_present(fields, "field", "param", "path", "loc"), text)


def _name_reason(name: str, reason: object, depth: int) -> str | None:
    # `{"content": ["is too long"]}`; flags and codes aren't readable text.
    text = None if isinstance(reason, bool | int | float) else as_message(reason, depth + 1)
    return _label_reason(name, text) if text else None


def _label_reason(place: object, text: str) -> str:
    parts = cast("list[object]", place) if isinstance(place, list) else [place]
    name = ".".join(part for part in map(as_str, parts) if part)
    return f"{name}: {text}" if name else text


def first_present(holder: JsonObject, *names: str) -> Any:
    """Return the value of the first of several spellings that exists and isn't null."""
    for name in names:
        if (value := holder.get(name)) is not None:
            return value
    return None


def unwrap_list(reply: object, *names: str) -> list[JsonObject] | None:
    """Return the list of a reply: bare, under one of its names, or under one of these in `data`. None without one."""
    found = reply
    for places in ((*names, "data", "items", "results"), (*names, "items", "results")):
        if isinstance(found, dict):
            found = first_present(cast("JsonObject", found), *places)
    return as_objects(cast("object", found)) if isinstance(found, list) else None


def unwrap_object(reply: object, name: str) -> JsonObject | None:
    """Return the object of a reply: under its name, under `data`, or the reply itself if it has an id."""
    whole = as_object(reply)
    for holder in (whole, as_object(whole.get("data"))):
        if isinstance(holder.get(name), dict):
            return as_object(holder[name])
        if as_str(holder.get("id")):
            return holder
    return None
