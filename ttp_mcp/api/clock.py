"""Sources of time, and the API's own clock, learned from the `Date` headers of its responses."""

import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from statistics import median_high, median_low

import anyio

# Dates have whole seconds and take time to arrive, so a smaller difference is ignored.
NOTICEABLE_SECONDS = 5.0
# Dates in other years are certainly wrong, and could overflow.
EARLIEST_YEAR, LATEST_YEAR = 2000, 2100


# This machine's time.
utc_now = partial(datetime.now, UTC)


@dataclass(frozen=True, slots=True)
class Clocks:
    """Sources of time and chance: now as aware UTC, a monotonic clock in seconds, sleep, and a random number from 0 to 1."""

    now: Callable[[], datetime] = utc_now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = anyio.sleep
    jitter: Callable[[], float] = random.random


class ApiClock:
    """This machine's clock, corrected by the API's."""

    def __init__(self, local: Callable[[], datetime]) -> None:
        """Start without a correction; `local` returns this machine's time as aware UTC."""
        self._local = local
        self._skews: deque[float] = deque(maxlen=5)
        self._latest: str | None = None
        self.skew_seconds: float | None = None
        """How far the API is ahead: the median of the last five responses; None before the first."""

    def learn(self, headers: Mapping[str, str]) -> None:
        """Note the `Date` of a response, unless it is unreadable or the same as the one before."""
        header = headers.get("date")
        # Dates have whole seconds, so under load many are the same.
        if header is None or header == self._latest:
            return
        self._latest = header
        # A cached response has the date of its creation.
        if headers.get("age", "").strip(" 0"):
            return
        try:
            there = parsedate_to_datetime(header)
        except (ValueError, TypeError, IndexError, OverflowError):
            return
        if not EARLIEST_YEAR <= there.year <= LATEST_YEAR:
            return
        there = there if there.tzinfo else there.replace(tzinfo=UTC)
        self._skews.append((there - self._local()).total_seconds())
        # With an even number take the smaller skew, not the mean: one odd date of two then has no effect.
        self.skew_seconds = min(median_low(self._skews), median_high(self._skews), key=abs)

    def now(self) -> datetime:
        """Return the API's time as aware UTC; this machine's if the difference isn't noticeable."""
        skew = self.skew_seconds or 0.0
        return self._local() + timedelta(seconds=skew if abs(skew) > NOTICEABLE_SECONDS else 0)
