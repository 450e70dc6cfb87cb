"""Parsing and formatting of times. Internally every time is aware UTC."""

import re
import sys
from datetime import UTC, date, datetime, time, timedelta
from importlib import import_module
from pathlib import Path, PurePath, PurePosixPath
from zoneinfo import ZoneInfo

_FORM = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.IGNORECASE | re.ASCII,
)
# A post that is due sooner may reach the API too late.
SEND_LEAD = timedelta(seconds=60)
EARLIEST_YEAR, LATEST_YEAR = 2000, 2100
# Written out, since strftime follows the machine's locale.
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class TimeProblem(ValueError):
    """A time can't be used. `str()` is the cause and the time to pass instead."""


def parse_when(text: str, zone: ZoneInfo, now: datetime, *, date_ok: bool = False) -> datetime:
    """Parse an instant, truncated to milliseconds like `to_wire`.

    Args:
        text: ISO 8601, with or without an offset.
        zone: Time zone of times without an offset.
        now: Current time, aware; used only for the example in an error.
        date_ok: Accept a date alone, as the start of that day.

    Raises:
        TimeProblem: The format is wrong, or the time doesn't exist or is ambiguous in the zone.
    """
    found = _FORM.fullmatch(text.strip())
    if not found or (found[4] is None and not date_ok):
        example = (now + timedelta(days=1)).astimezone(zone).strftime("%Y-%m-%dT18:00")
        raise TimeProblem(f"a time must be ISO 8601, for example {example} (read in {zone.key}) or {example}:00Z.")
    year, month, day, hour, minute, second = map(int, found.groups("0")[:6])
    if not EARLIEST_YEAR <= year <= LATEST_YEAR:
        raise TimeProblem(f"the year must be from {EARLIEST_YEAR} to {LATEST_YEAR}.")
    # The API keeps milliseconds, and the instant that it returns must equal the one that was sent.
    microsecond = 1000 * int((found[7] or "0").ljust(3, "0")[:3])
    try:
        wall = datetime(year, month, day, hour, minute, second, microsecond)  # noqa: DTZ001 - the zone is chosen below
    except ValueError:
        raise TimeProblem("that day or time of day doesn't exist.") from None
    if found[4] is None:
        return _find_day_start(wall, zone)
    if offset := found[8]:
        return _apply_offset(wall, offset)
    return _resolve_in_zone(wall, zone)


def _find_day_start(midnight: datetime, zone: ZoneInfo) -> datetime:
    """Find the first instant of a day. If clocks change at midnight it is the change, or the first of two midnights."""
    start = midnight.replace(tzinfo=zone).astimezone(UTC)
    if start.astimezone(zone).date() != midnight.date():
        raise TimeProblem(f"{midnight.date()} does not exist in {zone.key}, which skipped that day.")
    return start


def _apply_offset(wall: datetime, offset: str) -> datetime:
    if offset.upper() == "Z":
        return wall.replace(tzinfo=UTC)
    hours, minutes = int(offset[1:3]), int(offset[3:].removeprefix(":") or 0)
    distance = timedelta(hours=hours, minutes=minutes)
    if distance > timedelta(hours=14) or minutes > 59:
        raise TimeProblem("the offset must be from -14:00 to +14:00.")
    return (wall + distance if offset[0] == "-" else wall - distance).replace(tzinfo=UTC)


def _resolve_in_zone(wall: datetime, zone: ZoneInfo) -> datetime:
    first, second = (wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first.astimezone(UTC)
    shown = wall.isoformat(" ", "minutes")
    if first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wall:
        raise TimeProblem(
            f"{shown} happens twice in {zone.key}, because clocks go back: pass {first.isoformat()} for the first "
            f"or {second.isoformat()} for the second."
        )
    before, after = sorted(reading.astimezone(UTC).astimezone(zone) for reading in (first, second))
    raise TimeProblem(
        f"{shown} does not exist in {zone.key}, because clocks go forward: pass {before.isoformat()} or {after.isoformat()}."
    )


def refuse_past(when: datetime, now: datetime, zone: ZoneInfo, lead: timedelta = SEND_LEAD) -> None:
    """Refuse an instant that is past, or too soon to reach the API in time.

    Raises:
        TimeProblem: With the current time and the next step.
    """
    if when <= now:
        problem = f"scheduled_at {show(when, zone)} is in the past"
    elif when < now + lead:
        problem = f"scheduled_at {show(when, zone)} is less than {lead.total_seconds():.0f} s away"
    else:
        return
    raise TimeProblem(
        f"{problem} (now {show(now, zone)}). Pass a later time, or omit it to save a draft; nothing was sent."
    )


def to_wire(when: datetime) -> str:
    """Format an instant like the API: `2026-07-01T15:00:00.000Z`."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def to_iso(when: datetime | None, zone: ZoneInfo) -> str | None:
    """Format an instant as ISO 8601 with the zone's offset, to the second."""
    return when.astimezone(zone).isoformat(timespec="seconds") if when else None


def parse_end(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    """Parse the inclusive end of a range: a date alone is the end of that day.

    Raises:
        TimeProblem: As in `parse_when`.
    """
    when = parse_when(text, zone, now, date_ok=True)
    if ":" in text:
        return when
    next_midnight = datetime.combine(when.astimezone(zone).date() + timedelta(days=1), time(), zone)
    return next_midnight.astimezone(UTC) - timedelta(milliseconds=1)


def parse_weekday(name: str) -> int | None:
    """Return the number of a weekday (0 is Monday) by its English name or first three letters; None for other words."""
    short = name[:3].lower()
    return next((number for number, day in enumerate(WEEKDAYS) if day[:3].lower() == short), None)


def show(when: datetime, zone: ZoneInfo) -> str:
    """Format an instant as `Wed 25 Nov 2026 10:15 Europe/Paris (09:15Z)`, with the UTC date if it differs."""
    local, utc = when.astimezone(zone), when.astimezone(UTC)
    day = "" if local.date() == utc.date() else f"{utc.day} {_MONTHS[utc.month - 1]} "
    return f"{show_day(local)} {local:%Y %H:%M} {zone.key} ({day}{utc:%H:%M}Z)"


def show_short(when: datetime, zone: ZoneInfo) -> str:
    """Format an instant as `Fri 27 Nov 2026 12:00 (2026-11-27T11:00Z)`, for lists whose heading names the zone."""
    local = when.astimezone(zone)
    return f"{show_day(local)} {local:%Y %H:%M} ({when.astimezone(UTC):%Y-%m-%dT%H:%MZ})"


def show_day(local: date) -> str:
    """Format a day as `Fri 27 Nov`."""
    return f"{WEEKDAYS[local.weekday()][:3]} {local.day} {_MONTHS[local.month - 1]}"


def from_now(when: datetime, now: datetime) -> str:
    """Format the distance of an instant from now: `in 25 h`, `3 days ago`."""
    seconds = (when - now).total_seconds()
    size = abs(seconds)
    if size < 90 * 60:
        amount = f"{round(size / 60)} min"
    elif size < 48 * 3600:
        amount = f"{round(size / 3600)} h"
    else:
        amount = f"{round(size / 86400)} days"
    return f"in {amount}" if seconds >= 0 else f"{amount} ago"


def find_zone(name: str) -> ZoneInfo:
    """Return the zone with an IANA name.

    Raises:
        TimeProblem: The name is unknown.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise TimeProblem("the time zone is unknown; pass an IANA name, for example Europe/Paris.") from None


# Fixed offsets, and the zone with summer time that users usually mean.
_SUMMER_NEIGHBOURS = {"EST": "America/New_York", "MST": "America/Denver", "HST": "America/Adak"}
_FIXED_OFFSET = re.compile(r"(?:Etc/)?GMT[+-]\d{1,2}")


def describe_fixed_offset(name: str) -> str | None:
    """Describe a zone such as EST, which has no summer time while the places that its name suggests have it; None for others."""
    if meant := _SUMMER_NEIGHBOURS.get(name):
        return f"{name} has no summer time: set TTP_TIMEZONE to {meant} if you mean local time there."
    if _FIXED_OFFSET.fullmatch(name):
        return (
            f"{name} is a fixed offset without summer time: set TTP_TIMEZONE to the zone of a city, for example Europe/Paris, "
            "if you mean local time there."
        )
    return None


def detect_zone(tz: str, root: Path = Path("/")) -> ZoneInfo | None:
    """Detect the zone of this machine; None if it has no IANA name.

    Args:
        tz: The variable `TZ`: an IANA name or a file of the zone database, optionally after a colon. Empty if unset.
        root: Root of the machine's files.
    """
    if tz:
        # TZ applies to the whole session: the machine's files don't count, even if TZ is unusable.
        return _try_zone(_parse_zone_name(PurePosixPath(tz.removeprefix(":"))))
    if sys.platform == "win32":  # pragma: no cover - Windows only
        return _detect_windows_zone()
    return _try_zone(_read_link(root / "etc/localtime")) or _try_zone(_read_first_line(root / "etc/timezone"))


def _parse_zone_name(path: PurePath) -> str:
    """Return `Europe/Paris` for `/usr/share/zoneinfo/Europe/Paris`, and for itself."""
    parts = path.parts
    start = len(parts) - parts[::-1].index("zoneinfo") if "zoneinfo" in parts else 0
    return "/".join(parts[start:])


def _read_link(link: Path) -> str:
    try:
        return _parse_zone_name(link.resolve())
    except (OSError, RuntimeError):
        # Up to Python 3.12 a link to itself raises RuntimeError.
        return ""


def _read_first_line(file: Path) -> str:
    """Read /etc/timezone, which Debian has even where /etc/localtime is a copy."""
    try:
        return file.read_text("ascii")[:200].partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _try_zone(name: str) -> ZoneInfo | None:
    try:
        return find_zone(name)
    except TimeProblem:
        return None


def _detect_windows_zone() -> ZoneInfo | None:  # pragma: no cover - Windows only
    # Windows has its own names. Imported lazily: it costs 15 ms and is installed on Windows only.
    tzlocal = import_module("tzlocal")
    try:
        return _try_zone(tzlocal.get_localzone_name())
    except (LookupError, OSError):
        return None
