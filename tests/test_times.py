"""Parsing, refusal and formatting of times."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.time_zones import far_from_utc
from tests.support.windows import skip_on_windows
from ttp_mcp.times import (
    TimeProblem,
    describe_fixed_offset,
    detect_zone,
    find_zone,
    from_now,
    parse_end,
    parse_weekday,
    parse_when,
    refuse_past,
    show,
    show_day,
    show_short,
    to_iso,
    to_wire,
)

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")
ZONES = tuple(
    ZoneInfo(name)
    for name in (
        "Europe/Berlin",
        "Europe/London",
        "America/New_York",
        "America/St_Johns",
        "America/Santiago",
        "America/Havana",
        "Australia/Lord_Howe",
        "Australia/Adelaide",
        "Pacific/Auckland",
        "Pacific/Chatham",
        "Africa/Cairo",
        "Asia/Beirut",
    )
)


@pytest.fixture(autouse=True, scope="module")
def zone_of_the_machine() -> Iterator[None]:
    """It must not matter."""
    with far_from_utc():
        yield


def list_changes(zone, year):
    """Instants in a year at which the zone's offset changes, to the minute."""
    at, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    while at < end:
        following = at + timedelta(hours=1)
        if at.astimezone(zone).utcoffset() != following.astimezone(zone).utcoffset():
            for minute in range(61):
                if (at + timedelta(minutes=minute)).astimezone(zone).utcoffset() != at.astimezone(zone).utcoffset():
                    yield at + timedelta(minutes=minute)
                    break
        at = following


@pytest.mark.requirement("times.parse")
@given(st.datetimes(datetime(2001, 1, 1), datetime(2099, 12, 31)), st.sampled_from(ZONES), st.booleans())
def test_local_time_is_read_back(moment, zone, seconds):
    """An ambiguous time is refused with two readings, one of which is the instant."""
    instant = moment.replace(microsecond=0, second=moment.second if seconds else 0, tzinfo=UTC)
    local = instant.astimezone(zone)
    text = local.replace(tzinfo=None).isoformat(timespec="seconds" if seconds else "minutes")
    try:
        assert parse_when(text, zone, NOW) == instant
    except TimeProblem as problem:
        offered = re.findall(r"pass (\S+) for the first or (\S+) for the second", str(problem))
        assert instant in [datetime.fromisoformat(each.rstrip(".")) for each in offered[0]]
    assert parse_when(local.isoformat(), PARIS, NOW) == instant
    assert parse_when(to_wire(instant), PARIS, NOW) == instant


@pytest.mark.requirement("times.parse")
@pytest.mark.parametrize("zone", ZONES, ids=lambda zone: zone.key)
def test_every_gap_and_fold_is_refused_with_two_readings_that_work(zone):
    """Check one year in each of twelve zones; on Lord Howe the change is half an hour."""
    count = 0
    for change in list_changes(zone, 2025):
        before = (change - timedelta(minutes=1)).astimezone(zone).utcoffset()
        after = change.astimezone(zone).utcoffset()
        wall = (change + max(before, after)).replace(tzinfo=None) - timedelta(minutes=1)
        with pytest.raises(TimeProblem) as caught:
            parse_when(wall.isoformat(timespec="minutes"), zone, NOW)
        words = "happens twice" if after < before else "does not exist"
        assert words in str(caught.value)
        readings = [
            datetime.fromisoformat(each) for each in re.findall(r"\d{4}-\S+T\S+[+-]\d\d:\d\d", str(caught.value))
        ]
        assert len(readings) == 2
        assert readings[1] - readings[0] == abs(after - before)
        assert [parse_when(reading.isoformat(), zone, NOW) for reading in readings] == readings
        count += 1
    assert count == 2


@pytest.mark.requirement("times.parse")
def test_day_that_was_left_out_does_not_exist():
    """Samoa went from the 29th to the 31st of December 2011."""
    apia = ZoneInfo("Pacific/Apia")
    with pytest.raises(TimeProblem, match="does not exist in Pacific/Apia"):
        parse_when("2011-12-30T12:00", apia, NOW)
    with pytest.raises(TimeProblem) as caught:
        parse_when("2011-12-30", apia, NOW, date_ok=True)
    assert str(caught.value) == "2011-12-30 does not exist in Pacific/Apia, which skipped that day."


@pytest.mark.requirement("times.parse")
@pytest.mark.parametrize(
    ("text", "zone", "start"),
    [
        ("2026-11-24", "Europe/Paris", "2026-11-23T23:00Z"),
        ("2025-09-07", "America/Santiago", "2025-09-07T04:00Z"),
        ("2025-11-02", "America/Havana", "2025-11-02T04:00Z"),
    ],
)
def test_date_alone_is_the_first_instant_of_its_day(text, zone, start):
    """Clocks may change at midnight. A date alone is refused elsewhere."""
    found = parse_when(text, ZoneInfo(zone), NOW, date_ok=True)
    assert (found, found.tzinfo) == (datetime.fromisoformat(start), UTC)
    with pytest.raises(TimeProblem, match="must be ISO 8601"):
        parse_when(text, ZoneInfo(zone), NOW)


@pytest.mark.requirement("times.parse")
@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-07-01T15:00Z", "2026-07-01T15:00:00+00:00"),
        ("2026-07-01t15:00:30z", "2026-07-01T15:00:30+00:00"),
        (" 2026-07-01 15:00:00.123456789 +02:00 ", "2026-07-01T13:00:00.123+00:00"),
        ("2026-07-01T15:00-0330", "2026-07-01T18:30:00+00:00"),
        ("2026-07-01T15:00+02", "2026-07-01T13:00:00+00:00"),
        ("2026-07-01T15:00+14:00", "2026-07-01T01:00:00+00:00"),
        ("2026-07-01T15:00-00:00", "2026-07-01T15:00:00+00:00"),
        ("2000-01-01T00:00+14:00", "1999-12-31T10:00:00+00:00"),
        ("2100-12-31T00:00-14:00", "2100-12-31T14:00:00+00:00"),
        ("2026-07-01T15:00+05:59", "2026-07-01T09:01:00+00:00"),
        ("2026-07-01T15:00:01.5Z", "2026-07-01T15:00:01.500+00:00"),
        ("2026-07-01T15:00", "2026-07-01T13:00:00+00:00"),
    ],
)
def test_accepted_forms(text, instant):
    """Without an offset the zone decides."""
    found = parse_when(text, PARIS, NOW)
    assert (found, found.tzinfo) == (datetime.fromisoformat(instant), UTC)


@pytest.mark.requirement("times.parse")
@given(st.datetimes(datetime(2001, 1, 1), datetime(2099, 12, 31)))
def test_time_that_was_read_is_what_the_api_keeps_of_it(moment):
    """However fine it is written: what is sent and read again is equal, and never later than what was asked for."""
    found = parse_when(f"{moment.isoformat()}Z", PARIS, NOW)
    assert datetime.fromisoformat(to_wire(found)) == found
    assert timedelta() <= moment.replace(tzinfo=UTC) - found < timedelta(milliseconds=1)


FORM = "a time must be ISO 8601, for example 2026-11-25T18:00 (read in Europe/Paris) or 2026-11-25T18:00:00Z."
YEAR = "the year must be from 2000 to 2100."
FIXED = (
    "is a fixed offset without summer time: set TTP_TIMEZONE to the zone of a city, for example Europe/Paris, "
    "if you mean local time there."
)
OFFSET = "the offset must be from -14:00 to +14:00."


@pytest.mark.requirement("times.parse")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", FORM),
        ("tomorrow", FORM),
        ("2026-W27-3T15:00", FORM),
        ("20260701T150000Z", FORM),
        ("2026-07-01T15Z", FORM),
        ("2026-07-01T15:00+2", FORM),
        ("٢٠٢٦-07-01T15:00Z", FORM),
        ("2026-07-01T15:00Z and more", FORM),
        ("0001-01-01T00:00Z", YEAR),
        ("9999-12-31T23:59-14:00", YEAR),
        ("1999-12-31T23:59Z", YEAR),
        ("2101-01-01T00:00Z", YEAR),
        ("2026-02-29T10:00Z", "that day or time of day doesn't exist."),
        ("2026-07-01T24:00Z", "that day or time of day doesn't exist."),
        ("2026-07-01T10:00:60Z", "that day or time of day doesn't exist."),
        ("2026-07-01T10:00+14:01", OFFSET),
        ("2026-07-01T10:00-15:00", OFFSET),
        ("2026-07-01T10:00+02:60", OFFSET),
        (
            "2026-03-29T02:30",
            (
                "2026-03-29 02:30 does not exist in Europe/Paris, because clocks go forward: "
                "pass 2026-03-29T01:30:00+01:00 or 2026-03-29T03:30:00+02:00."
            ),
        ),
        (
            "2026-10-25T02:30",
            (
                "2026-10-25 02:30 happens twice in Europe/Paris, because clocks go back: "
                "pass 2026-10-25T02:30:00+02:00 for the first or 2026-10-25T02:30:00+01:00 for the second."
            ),
        ),
    ],
)
def test_refused_forms_say_what_to_pass(text, words):
    """Never a guess."""
    with pytest.raises(TimeProblem) as caught:
        parse_when(text, PARIS, NOW)
    assert str(caught.value) == words


@pytest.mark.requirement("times.parse")
@given(
    st.text(max_size=40)
    | st.from_regex(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|[+-]\d\d:\d\d)?", fullmatch=True)
)
def test_any_text_is_a_time_or_a_problem(text):
    """In UTC, from 2000 to 2100 but for the offset."""
    try:
        found = parse_when(text, PARIS, NOW, date_ok=True)
    except TimeProblem as problem:
        assert len(str(problem)) < 400
    else:
        assert found.tzinfo is UTC
        assert 1999 <= found.year <= 2101


@pytest.mark.requirement("times.show")
def test_past_and_near_times_are_refused_with_the_present():
    """A minute is what reaching the API may take."""
    refuse_past(NOW + timedelta(seconds=60), NOW, PARIS)
    refuse_past(NOW + timedelta(seconds=1), NOW, PARIS, timedelta(seconds=1))
    shown, rest = "Tue 24 Nov 2026 13:00 Europe/Paris (12:00Z)", "Pass a later time, or omit it to save a draft"
    for seconds, problem in ((0, "is in the past"), (1, "is less than 60 s away"), (59, "is less than 60 s away")):
        with pytest.raises(TimeProblem) as caught:
            refuse_past(NOW + timedelta(seconds=seconds), NOW, PARIS)
        assert str(caught.value) == f"scheduled_at {shown} {problem} (now {shown}). {rest}; nothing was sent."


@pytest.mark.requirement("times.show")
def test_time_is_shown_in_its_zone_and_in_utc():
    """The UTC date is added where it is another day."""
    assert show(datetime(2026, 11, 25, 9, 15, tzinfo=UTC), PARIS) == "Wed 25 Nov 2026 10:15 Europe/Paris (09:15Z)"
    late = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
    assert show(late, PARIS) == "Tue 1 Dec 2026 00:30 Europe/Paris (30 Nov 23:30Z)"
    assert show_short(late, PARIS) == "Tue 1 Dec 2026 00:30 (2026-11-30T23:30Z)"
    assert to_wire(late.astimezone(timezone(timedelta(hours=5)))) == "2026-11-30T23:30:00.000Z"
    assert to_iso(late.replace(second=7, microsecond=123_000), PARIS) == "2026-12-01T00:30:07+01:00"
    assert to_iso(None, PARIS) is None


@pytest.mark.requirement("times.show")
@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "in 0 min"),
        (-1, "0 min ago"),
        (89, "in 1 min"),
        (5399, "in 90 min"),
        (5400, "in 2 h"),
        (-5400, "2 h ago"),
        (172799, "in 48 h"),
        (172800, "in 2 days"),
        (-10 * 86400, "10 days ago"),
        (20_000.6 * 86400, "in 20001 days"),
    ],
)
def test_distance_changes_its_unit_at_90_minutes_and_48_hours(seconds, shown):
    assert from_now(NOW + timedelta(seconds=seconds), NOW) == shown


@pytest.mark.requirement("times.parse")
@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("2026-11-24", "2026-11-24T22:59:59.999Z"),
        ("2026-03-29", "2026-03-29T21:59:59.999Z"),
        ("2026-11-24T10:00", "2026-11-24T09:00:00.000Z"),
        ("2026-11-24 10:00", "2026-11-24T09:00:00.000Z"),
    ],
)
def test_end_of_a_range_that_is_a_date_is_the_end_of_that_day(text, end):
    found = parse_end(text, PARIS, NOW)
    assert (to_wire(found), found.tzinfo) == (end, UTC)


@pytest.mark.requirement("times.parse")
@pytest.mark.parametrize(
    ("name", "end"),
    [("Asia/Tokyo", "2026-11-24T14:59:59.999Z"), ("Pacific/Pago_Pago", "2026-11-25T10:59:59.999Z")],
)
def test_end_of_a_day_is_that_of_the_zone(name, end):
    """Whatever the zone of this machine is."""
    assert to_wire(parse_end("2026-11-24", ZoneInfo(name), NOW)) == end


@pytest.mark.requirement("times.parse")
def test_end_of_a_range_in_another_format_is_refused_with_an_example():
    with pytest.raises(TimeProblem) as caught:
        parse_end("tomorrow", PARIS, NOW)
    assert str(caught.value) == FORM


@pytest.mark.requirement("times.parse")
def test_weekday_is_read_by_its_name_or_three_letters():
    assert [parse_weekday(name) for name in ("Monday", "tue", "WEDS", "sun", "some", "mo", "")] == [
        *(0, 1, 2, 6),
        *(None, None, None),
    ]
    assert show_day(datetime(2026, 11, 27)) == "Fri 27 Nov"


@pytest.mark.requirement("times.show")
@given(st.integers(-(10**7), 10**7))
def test_distance_is_shown_in_minutes_hours_or_days(seconds):
    """Past and future instants have the same units."""
    assume(abs(seconds) > 0)
    shown = from_now(NOW + timedelta(seconds=seconds), NOW)
    assert re.fullmatch(r"in \d+ (min|h|days)" if seconds > 0 else r"\d+ (min|h|days) ago", shown)


@pytest.mark.requirement("times.parse")
@pytest.mark.parametrize("name", ["", "Mars/Base", "../../etc/passwd", "/etc/localtime", "Europe", "a\x00b", "\ud800"])
def test_unknown_zone_is_refused(name):
    """The error doesn't repeat the name."""
    with pytest.raises(TimeProblem) as caught:
        find_zone(name)
    assert str(caught.value) == "the time zone is unknown; pass an IANA name, for example Europe/Paris."
    assert find_zone("Asia/Tokyo").key == "Asia/Tokyo"


@skip_on_windows("Windows names its zone in the registry, which tzlocal reads")
@pytest.mark.requirement("times.system-zone")
@pytest.mark.parametrize(
    ("link", "timezone", "tz", "name"),
    [
        ("zoneinfo/Asia/Tokyo", None, "", "Asia/Tokyo"),
        ("zoneinfo/Asia/Tokyo", "Europe/Paris\n", "", "Asia/Tokyo"),
        ("zoneinfo/Mars", "Europe/Paris\n", "", "Europe/Paris"),
        ("zoneinfo", None, "", None),
        ("a copy", "Europe/Paris\n", "", "Europe/Paris"),
        ("a copy", "Europe/Paris", "", "Europe/Paris"),
        ("a copy", "Europe/Paris\nEurope/Rome\n", "", "Europe/Paris"),
        ("a copy", "Mars/Base\n", "", None),
        ("a copy", "\xff\n", "", None),
        ("a copy", None, "", None),
        (None, "America/Argentina/Salta\n", "", "America/Argentina/Salta"),
        (None, None, "", None),
        ("itself", None, "", None),
        ("zoneinfo/Asia/Tokyo", "Europe/Paris\n", "America/New_York", "America/New_York"),
        (None, None, ":America/New_York", "America/New_York"),
        (None, None, ":/usr/share/zoneinfo/America/New_York", "America/New_York"),
        (None, None, "EST5EDT", "EST5EDT"),
        ("zoneinfo/Asia/Tokyo", None, "NST3:30NDT,M3.2.0,M11.1.0", None),
        ("zoneinfo/Asia/Tokyo", None, "/etc/localtime", None),
    ],
)
def test_zone_of_the_machine_is_detected_by_its_name(tmp_path, link, timezone, tz, name):
    """The variable, then the link that programs follow, then the file beside it; a TZ that can't be named hides the rest."""
    etc = tmp_path / "etc"
    etc.mkdir()
    match link:
        case None:
            pass
        case "a copy":
            (etc / "localtime").write_bytes(b"TZif2")
        case "itself":
            (etc / "localtime").symlink_to("localtime")
        case _:
            (etc / "localtime").symlink_to(tmp_path / link)
    if timezone is not None:
        (etc / "timezone").write_text(timezone, "latin-1")
    found = detect_zone(tz, tmp_path)
    assert (found and found.key) == name


@pytest.mark.requirement("times.system-zone")
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("EST", "has no summer time: set TTP_TIMEZONE to America/New_York if you mean local time there."),
        ("MST", "has no summer time: set TTP_TIMEZONE to America/Denver if you mean local time there."),
        ("HST", "has no summer time: set TTP_TIMEZONE to America/Adak if you mean local time there."),
        ("Etc/GMT+5", FIXED),
        ("Etc/GMT-10", FIXED),
    ],
)
def test_fixed_offset_is_described_with_the_zone_that_has_summer_time(name, meant):
    assert describe_fixed_offset(find_zone(name).key) == f"{name} {meant}"


@pytest.mark.requirement("times.system-zone")
@pytest.mark.parametrize("name", ["UTC", "Etc/UTC", "GMT", "Europe/Paris", "EST5EDT", "Asia/Tokyo", "America/Phoenix"])
def test_other_zones_are_not_fixed_offsets(name):
    assert describe_fixed_offset(name) is None
