"""Values of a plan: requests, bookings, rankings, results."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Any

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# With fewer data points an account's best hours are chance.
FEWEST_DATA_POINTS = 10


@dataclass(frozen=True, slots=True)
class PostRequest:
    """A post to be given a time.

    Args:
        index: Its place in the list, from 0; unique.
        account_ids: All accounts it goes to, at one instant.
        earliest: Not before this instant.
        latest: Not after this instant.
        content: Its text; like all that follows, only carried into the plan and its id.
    """

    index: int
    account_ids: tuple[str, ...]
    earliest: datetime | None = None
    latest: datetime | None = None
    content: str = ""
    platforms: tuple[str, ...] = ()
    media_urls: tuple[str, ...] = ()
    thread: tuple[str, ...] = ()
    platform_data: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Ranking:
    """What history says of one account: scores by hour (0–23, in the plan's zone) and by weekday (0 is Monday).

    Hours and weekdays that are not named are ordinary. `data_points` is what the scores rest on, None where it is not said.
    """

    hours: Mapping[int, float]
    weekdays: Mapping[int, float] = field(default_factory=dict[int, float])
    data_points: int | None = None

    @classmethod
    def of(
        cls, hours: Iterable[tuple[int, float]], days: Iterable[tuple[str, float]] = (), data_points: int | None = None
    ) -> "Ranking":
        """From pairs as the API has them, weekdays by their English names; what makes no sense is left out."""
        numbers = {name.lower(): number for number, name in enumerate(WEEKDAYS)}
        weekdays = {numbers[day[:3].lower()]: score for day, score in days if day[:3].lower() in numbers}
        return cls(usable_scores(dict(hours), 24), usable_scores(weekdays, 7), data_points)

    @property
    def is_known(self) -> bool:
        """Whether there is enough history to go by."""
        return bool(self.hours) and (self.data_points is None or self.data_points >= FEWEST_DATA_POINTS)


def usable_scores(scores: Mapping[int, float], places: int) -> dict[int, float]:
    """Scores of hours or weekdays that exist. JSON can hold NaN and infinity, which would make any order of times chance."""
    return {key: score for key, score in scores.items() if 0 <= key < places and isfinite(score)}


@dataclass(frozen=True, slots=True)
class Booked:
    """A post that already has a time on an account."""

    account_id: str
    at: datetime
    post_id: str


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A post with its instant, aware UTC, and why this one."""

    wish: PostRequest
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Unscheduled:
    """A post that could not be given a time, and what would help."""

    wish: PostRequest
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Posts with a time, by time, and those without, by index."""

    placed: tuple[Scheduled, ...]
    unplaced: tuple[Unscheduled, ...]
