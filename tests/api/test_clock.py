"""The API's clock, learned from `Date` headers."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttp_mcp.api.clock import ApiClock

pytestmark = pytest.mark.requirement("api.clock")

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def make_date_header(seconds):
    """Return headers with a Date `seconds` from now."""
    return {"date": format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)}


@pytest.mark.parametrize("seconds", [3600, -3600, 365 * 86400, -365 * 86400])
def test_large_skew_is_corrected(seconds):
    """An hour or a year, in either direction."""
    clock = ApiClock(lambda: NOW)
    assert (clock.skew_seconds, clock.now()) == (None, NOW)
    clock.learn(make_date_header(seconds))
    assert clock.skew_seconds == seconds
    assert clock.now() == NOW + timedelta(seconds=seconds)


def test_small_skew_is_ignored():
    """Dates have whole seconds and take time to arrive."""
    clock = ApiClock(lambda: NOW)
    clock.learn(make_date_header(5))
    assert (clock.skew_seconds, clock.now()) == (5, NOW)


def test_single_outlier_is_ignored():
    """The median of the last five decides."""
    clock = ApiClock(lambda: NOW)
    for seconds in (9, 10, 99_999, 11, 10):
        clock.learn(make_date_header(seconds))
    assert clock.skew_seconds == 10
    for seconds in (20, 21, 20):
        clock.learn(make_date_header(seconds))
    assert clock.skew_seconds == 20


@pytest.mark.parametrize("odd", [86400, -86400])
def test_single_outlier_among_few_is_ignored(odd):
    """With an even number of responses the smaller of the two middle skews counts, never a mean."""
    for seconds in ([odd, 1], [1, odd], [odd, odd + 1, 1, 2], [1, 2, odd, odd + 1]):
        clock = ApiClock(lambda: NOW)
        for each in seconds:
            clock.learn(make_date_header(each))
        assert 1 <= clock.skew_seconds <= 2
        assert clock.now() == NOW


@pytest.mark.parametrize(("age", "skew"), [("600", None), ("1", None), ("soon", None), ("0", -600), ("", -600)])
def test_date_of_a_cached_response_is_ignored(age, skew):
    """A cached response has the date of its creation. `Age: 0` means that it came straight from the API."""
    clock = ApiClock(lambda: NOW)
    clock.learn(make_date_header(-600) | {"age": age})
    assert clock.skew_seconds == skew


def test_repeated_date_counts_as_one_response():
    """Under load many responses have the same second, and a cache may repeat one."""
    clock = ApiClock(lambda: NOW)
    for seconds in (10, 9, 99_999, 99_999, 99_999):
        clock.learn(make_date_header(seconds))
    assert clock.skew_seconds == 10


@pytest.mark.parametrize(
    "header", [None, "", "soon", "Thu, 31 Dec 9999 23:59:59 GMT", "Fri, 01 Jan 1999 00:00:00 GMT", "1 Jan 2026 25:00"]
)
def test_unreadable_or_implausible_date_is_ignored(header):
    """Year 9999 would overflow once the clock advances."""
    clock = ApiClock(lambda: NOW)
    clock.learn({} if header is None else {"date": header})
    assert clock.skew_seconds is None


def test_date_without_a_zone_is_utc():
    """`-0000` means an unknown zone."""
    clock = ApiClock(lambda: NOW)
    clock.learn({"date": "Tue, 24 Nov 2026 13:00:00 -0000"})
    assert clock.skew_seconds == 3600


@given(st.text(max_size=50))
def test_clock_accepts_any_header(header):
    """Accept any header that a server may send."""
    clock = ApiClock(lambda: NOW)
    clock.learn({"date": header, "age": header})
    assert clock.now().tzinfo is UTC
