"""Times in arguments, and ranges of them: both ends are included, and a date alone is the whole day."""

from datetime import datetime

from ttp_mcp.times import TimeProblem, parse_end, parse_when, show
from ttp_mcp.toolkit.context import ToolContext


def parse_range(
    context: ToolContext, start: tuple[str, str | None], end: tuple[str, str | None]
) -> tuple[datetime | None, datetime | None]:
    """Parse the start and the end of a range, each given as its name and its text.

    Raises:
        TimeProblem: A text isn't a time, or the end is before the start.
    """
    first, last = parse_time(context, *start, date_ok=True), parse_time(context, *end, is_end=True)
    if first and last and last < first:
        raise TimeProblem(
            f"{end[0]} ({show(last, context.zone)}) is earlier than {start[0]} ({show(first, context.zone)}). "
            f"Pass a later {end[0]}; nothing was sent."
        )
    return first, last


def parse_time(
    context: ToolContext, name: str, text: str | None, *, date_ok: bool = False, is_end: bool = False
) -> datetime | None:
    """Parse the time of an argument, which the error names; a date alone only as a bound. None without a text."""
    if text is None:
        return None
    try:
        if is_end:
            return parse_end(text, context.zone, context.now())
        return parse_when(text, context.zone, context.now(), date_ok=date_ok)
    except TimeProblem as problem:
        raise TimeProblem(f"{name}: {problem} Nothing was sent.") from None
