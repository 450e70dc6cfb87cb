"""Values of a plan: requests, bookings, rankings, results."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from math import isfinite
from typing import Any

from ttp_mcp.times import parse_weekday

# With fewer data points an account's best hours are chance.
FEWEST_DATA_POINTS = 10


@dataclass(frozen=True, slots=True)
class PostRequest:
    """A post that needs a time. `index` is its position in the list, from 0; unique.

    All of its accounts get it at the same instant: between `earliest` and `latest`, both included, or at `fixed_at`, which the user
    chose. Planning copies the content and the fields below it into the plan and its id.
    """

    index: int
    account_ids: tuple[str, ...]
    earliest: datetime | None = None
    latest: datetime | None = None
    fixed_at: datetime | None = None
    content: str = ""
    platforms: tuple[str, ...] = ()
    media_urls: tuple[str, ...] = ()
    thread: tuple[str, ...] = ()
    platform_data: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Ranking:
    """Scores of one account by hour (0–23, in the plan's zone) and by weekday (0 is Monday).

    Hours and weekdays without a score are ordinary. `data_points` is the sample size, None where it isn't stated.
    """

    hours: Mapping[int, float]
    weekdays: Mapping[int, float] = field(default_factory=dict[int, float])
    data_points: int | None = None

    @classmethod
    def from_pairs(
        cls, hours: Iterable[tuple[int, float]], days: Iterable[tuple[str, float]] = (), data_points: int | None = None
    ) -> "Ranking":
        """Build a ranking from the API's pairs, weekdays by English name. Unusable pairs are dropped."""
        numbered = ((parse_weekday(name), score) for name, score in days)
        weekdays = {number: score for number, score in numbered if number is not None}
        return cls(usable_scores(dict(hours), 24), usable_scores(weekdays, 7), data_points)

    @property
    def is_known(self) -> bool:
        """Check whether the sample is large enough to plan with."""
        return bool(self.hours) and (self.data_points is None or self.data_points >= FEWEST_DATA_POINTS)


def usable_scores(scores: Mapping[int, float], size: int) -> dict[int, float]:
    """Keep finite scores of keys below `size`. JSON can contain NaN and infinity, which can't be ordered."""
    return {key: score for key, score in scores.items() if 0 <= key < size and isfinite(score)}


@dataclass(frozen=True, slots=True)
class Booking:
    """A post that already has a time on an account."""

    account_id: str
    at: datetime
    post_id: str


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A post with its time (aware UTC) and the reason for it."""

    post: PostRequest
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Unscheduled:
    """A post without a time, with the cause and a fix."""

    post: PostRequest
    reason: str


@dataclass(frozen=True, slots=True)
class EmptyDay:
    """A day of the window that got no post, and why."""

    day: date
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Posts with a time, in order of time; posts without one, in list order; days of the window that got no post."""

    scheduled: tuple[Scheduled, ...]
    unscheduled: tuple[Unscheduled, ...]
    empty_days: tuple[EmptyDay, ...] = ()
