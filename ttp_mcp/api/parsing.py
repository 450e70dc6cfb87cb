"""Reading JSON from outside tolerantly: the wrong type is as good as absent, and nothing raises."""

import re
from datetime import UTC, datetime
from typing import Any, cast

from ttp_mcp.text import is_plain_word

JsonObject = dict[str, Any]

# Python refuses to write out numbers of some thousand digits; no id has more than 64 bits.
_LARGEST_ID = 2**64
# `0001` and `9999` mean "never" to some systems, and overflow when they are shown in another zone.
_EARLIEST_YEAR, _LATEST_YEAR = 1900, 9000

_PLAIN = re.compile(r"\d{4}-\d\d-\d\dT")


def as_str(value: object) -> str | None:
    """A text that is not empty; a whole number becomes its digits, since ids may be numbers."""
    if isinstance(value, str):
        return value or None
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= _LARGEST_ID:
        return None
    return str(value)


def as_token(value: object) -> str | None:
    """A word of the API's own, as a platform or a status: `unreadable` where it is no plain word.

    Keys stand in our own sentences, so they must not be sentences themselves.
    """
    found = as_str(value)
    return found if found is None or is_plain_word(found) else "unreadable"


def as_url(value: object) -> str | None:
    """An http address; None where it has blanks or controls, so that it could be sentences and no post could use it."""
    found = as_str(value) or ""
    plain = found.startswith(("https://", "http://")) and found.isprintable() and " " not in found
    return found if plain else None


def as_strs(value: object) -> list[str]:
    """The texts of a list."""
    return [entry for entry in cast("list[object]", value) if isinstance(entry, str)] if isinstance(value, list) else []


def as_objects(value: object) -> list[JsonObject]:
    """The objects of a list."""
    if not isinstance(value, list):
        return []
    return [cast("JsonObject", entry) for entry in cast("list[object]", value) if isinstance(entry, dict)]


def as_object(value: object) -> JsonObject:
    """An object, or an empty one."""
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def as_number(value: object) -> float | None:
    """A number; a text that spells one counts."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < 1e15 else None


def as_datetime(value: object) -> datetime | None:
    """An ISO 8601 instant as aware UTC; one without an offset is read as UTC. Years 1900 to 9000."""
    if not isinstance(value, str) or not _PLAIN.match(value):
        return None
    try:
        found = datetime.fromisoformat(value)
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if _EARLIEST_YEAR <= found.year <= _LATEST_YEAR else None


def first_present(holder: JsonObject, *names: str) -> Any:
    """The first of several spellings that is there and not null."""
    return next((holder[name] for name in names if holder.get(name) is not None), None)


def unwrap_list(reply: object, *names: str) -> list[JsonObject] | None:
    """The list of a reply: bare, under one of its names, or that again under `data`. None when there is none."""
    if isinstance(reply, list):
        return as_objects(cast("object", reply))
    found = first_present(as_object(reply), *names, "data", "items", "results")
    if isinstance(found, dict):
        found = first_present(cast("JsonObject", found), *names, "items", "results")
    return as_objects(cast("object", found)) if isinstance(found, list) else None


def unwrap_object(reply: object, name: str) -> JsonObject | None:
    """The object of a reply: under its name, under `data`, or the reply itself when it has an id."""
    whole = as_object(reply)
    for holder in (whole, as_object(whole.get("data"))):
        if isinstance(holder.get(name), dict):
            return as_object(holder[name])
        if as_str(holder.get("id")):
            return holder
    return None
