"""Row B12: skewed clocks, and every gap, fold and instant in twelve zones."""

import os
import random
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from zoneinfo import ZoneInfo

import pytest

from ttp_mcp import times
from ttp_mcp.api.clock import ApiClock
from ttp_mcp.times import TimeProblem, parse_when, refuse_past

pytestmark = [pytest.mark.acceptance, pytest.mark.requirement("acceptance.b12")]

FULL = os.environ.get("TTP_ACCEPTANCE") == "full"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SEED = 20261124
ZONES = tuple(
    ZoneInfo(name)
    for name in (
        "Europe/Berlin",
        "Europe/London",
        "Europe/Chisinau",
        "America/New_York",
        "America/St_Johns",
        "America/Santiago",
        "America/Havana",
        "Australia/Lord_Howe",
        "Pacific/Auckland",
        "Pacific/Apia",
        "Africa/Cairo",
        "Asia/Beirut",
    )
)


def find_readings(wall, zone):
    """Return all instants that a clock in the zone shows as this time, by searching rather than computing."""
    guesses = (wall.replace(tzinfo=UTC) - timedelta(minutes=minutes) for minutes in range(-14 * 60, 15 * 60, 15))
    return [guess for guess in guesses if guess.astimezone(zone).replace(tzinfo=None) == wall]


def check_instants(count):
    """Check random local times: unique ones are parsed, the others refused."""
    chance = random.Random(SEED)
    read = refused = 0
    for _ in range(count):
        zone = chance.choice(ZONES)
        wall = datetime(2001, 1, 1) + timedelta(minutes=15 * chance.randrange(98 * 365 * 96))
        real = find_readings(wall, zone)
        try:
            found = parse_when(wall.isoformat(), zone, NOW)
        except TimeProblem:
            assert len(real) != 1, f"{wall} in {zone.key} exists once and was refused"
            refused += 1
        else:
            assert real == [found], f"{wall} in {zone.key} was read as {found}"
            read += 1
    return read, refused


def check_changes(years):
    """Check every quarter of an hour around every clock change."""
    asked = 0
    for zone in ZONES:
        for year in years:
            at = datetime(year, 1, 1, tzinfo=UTC)
            while at.year == year:
                following = at + timedelta(hours=1)
                if at.astimezone(zone).utcoffset() != following.astimezone(zone).utcoffset():
                    asked += _check_change(at.astimezone(zone).replace(tzinfo=None), zone)
                at = following
    return asked


def _check_change(wall, zone):
    wall = wall.replace(minute=0)
    asked = 0
    for quarter in range(-16, 120):
        moment = wall + timedelta(minutes=15 * quarter)
        real = find_readings(moment, zone)
        try:
            found = parse_when(moment.isoformat(), zone, NOW)
        except TimeProblem as problem:
            assert len(real) != 1, f"{moment} in {zone.key} exists once and was refused"
            offered = [datetime.fromisoformat(each) for each in re.findall(r"\d{4}\S+T\S+[+-]\d\d:\d\d", str(problem))]
            assert len(offered) == 2
            assert not real or offered == sorted(real)
            asked += 1
        else:
            assert real == [found], f"{moment} in {zone.key} was read as {found} and is {real}"
    return asked


def check_skew(seconds):
    """Check that a machine with a wrong clock judges the past by the API's clock."""
    clock = ApiClock(lambda: NOW - timedelta(seconds=seconds))
    # One answer has to be enough: the first thing a machine that is off asks may be to schedule.
    clock.learn({"date": format_datetime(NOW, usegmt=True)})
    assert abs((clock.now() - NOW).total_seconds()) < 2, f"{seconds} s of skew were not corrected"
    refuse_past(NOW + timedelta(seconds=70), clock.now(), ZONES[0])
    with pytest.raises(TimeProblem):
        refuse_past(NOW + timedelta(seconds=50), clock.now(), ZONES[0])


def test_b12_instants_changes_and_skew():
    read, refused = check_instants(10_000 if FULL else 2_000)
    asked = check_changes((2011, 2025, 2026) if FULL else (2011, 2025))
    skews = (3600, -3600, 365 * 86400, -365 * 86400)
    for seconds in skews:
        check_skew(seconds)
    print(f"B12 passed={read + refused + asked + len(skews)} wrong=0 gaps_and_folds={asked} seed={SEED}")  # noqa: T201 - counts


def test_b12_fails_when_the_first_reading_is_taken(monkeypatch):
    """It is wrong in every fold and gap."""
    monkeypatch.setattr(times, "_resolve_in_zone", lambda wall, zone: wall.replace(tzinfo=zone).astimezone(UTC))
    with pytest.raises(AssertionError, match="was read as"):
        check_changes((2025,))


def test_b12_fails_without_the_clock_of_the_api(monkeypatch):
    """The machine's wrong clock decides."""
    monkeypatch.setattr(ApiClock, "learn", lambda self, headers: None)
    with pytest.raises(AssertionError, match="not corrected"):
        check_skew(3600)
