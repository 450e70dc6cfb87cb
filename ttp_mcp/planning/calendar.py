"""Draw a plan as a text calendar."""

import unicodedata
from collections.abc import Mapping
from datetime import datetime
from zoneinfo import ZoneInfo

from ttp_mcp.planning.model import WEEKDAYS, Plan

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def draw_calendar(plan: Plan, zone: ZoneInfo, names: Mapping[str, str] | None = None) -> str:
    """The plan as lines for a reader: day, time, text, accounts, reason; then what has no time.

    Args:
        plan: The plan.
        zone: For days and times.
        names: Names by account id, such as `instagram @harbor.cafe`; the id where there is none.
    """
    rows = [
        (
            day_name(each.at.astimezone(zone)),
            f"{each.at.astimezone(zone):%H:%M}",
            excerpt(each.wish.content),
            ", ".join((names or {}).get(account_id, account_id) for account_id in each.wish.account_ids),
            each.reason,
        )
        for each in plan.placed
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)), row[4]]) for row in rows
    ]
    if plan.unplaced:
        lines += ["", "Without a time:"]
        lines += [f"- post {each.wish.index + 1} {excerpt(each.wish.content)}: {each.reason}" for each in plan.unplaced]
    return "\n".join(lines)


def day_name(local: datetime) -> str:
    """`Mon 30 Nov`, in English whatever the machine's language is."""
    return f"{WEEKDAYS[local.weekday()]} {local.day:>2} {_MONTHS[local.month - 1]}"


# Of the control characters, those that end words, and the joiner inside an emoji.
_KEPT = "\t\n\r\u200d"
_ENDS = " \u200d"


def excerpt(text: str, characters: int = 32) -> str:
    shown = "".join(each for each in text[: characters * 8] if each in _KEPT or unicodedata.category(each)[0] != "C")
    line = " ".join(shown.split()).replace("«", "‹").replace("»", "›")
    return (
        f"«{line[: characters - 1].rstrip(_ENDS)}…»"
        if len(line) > characters or len(text) > characters * 8
        else f"«{line}»"
    )
