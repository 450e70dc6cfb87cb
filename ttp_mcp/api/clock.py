"""The API's present, learned from the `Date` headers of its answers."""

from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from statistics import median_high, median_low

# Dates have whole seconds and travel for a while: less than this is not a difference.
NOTICEABLE_SECONDS = 5.0
# What lies outside is nobody's clock, and would overflow when added to a time.
EARLIEST_YEAR, LATEST_YEAR = 2000, 2100


class ApiClock:
    """Our clock, corrected by how far the API's is off."""

    def __init__(self, local: Callable[[], datetime]) -> None:
        """`local` gives the present as aware UTC."""
        self._local = local
        self._skews: deque[float] = deque(maxlen=5)
        self._latest: str | None = None
        self.skew_seconds: float | None = None
        """How far the API is ahead of us: the median of the last five answers; None before the first."""

    def learn(self, headers: Mapping[str, str]) -> None:
        """Note the `Date` of an answer; what can't be read is passed over, and so is the one of the answer before."""
        header = headers.get("date")
        # They have whole seconds, so under load many are the same.
        if header is None or header == self._latest:
            return
        self._latest = header
        # From a cache: its date is the one of when it was made.
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
        # Of an even number the one nearer to our own clock, not half of each: one odd date among two is then none.
        self.skew_seconds = min(median_low(self._skews), median_high(self._skews), key=abs)

    def now(self) -> datetime:
        """The API's present as aware UTC; our own while the difference is not noticeable."""
        skew = self.skew_seconds or 0.0
        return self._local() + timedelta(seconds=skew if abs(skew) > NOTICEABLE_SECONDS else 0)
