"""The quarter hours of a window, and the bookings on each account."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from ttp_mcp.planning.model import PostRequest, Ranking
from ttp_mcp.planning.scores import mean_score_table

STEP = timedelta(minutes=15)
LONGEST_WINDOW = timedelta(days=366)
# Penalty of a day that already has a post: above any difference between weekdays, below that between a best hour and an
# ordinary one.
SAME_DAY_COST = 0.35
_NO_NEIGHBOR = timedelta(days=100_000)

NO_RANKING = Ranking({})

Obstacle = Literal["no_account", "window", "bounds", "quiet_hours", "spacing", "day_limit"]


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours of the day without posts. They may cross midnight; equal ends mean none."""

    start: time
    end: time

    def contains(self, local: time) -> bool:
        """Check whether a time of the day is quiet."""
        if self.start <= self.end:
            return self.start <= local < self.end
        return local >= self.start or local < self.end

    def __str__(self) -> str:
        return f"{self.start:%H:%M}–{self.end:%H:%M}"


class Slots:
    """The usable quarter hours of a window, in order; `local` has the day, weekday, hour and minute of each."""

    def __init__(self, start: datetime, end: datetime, zone: ZoneInfo, quiet: QuietHours) -> None:
        self.start, self.zone, self.quiet = start.astimezone(UTC), zone, quiet
        self.end = min(end.astimezone(UTC), self.start + LONGEST_WINDOW)
        self.instants: list[datetime] = []
        self.local: list[tuple[int, int, int, int]] = []
        for instant in quarter_hours(self.start, self.end):
            local = instant.astimezone(zone)
            if not quiet.contains(local.time()):
                self.instants.append(instant)
                self.local.append((local.toordinal(), local.weekday(), local.hour, local.minute))

    def between(self, earliest: datetime | None, latest: datetime | None) -> range:
        """Return the indexes of the slots between two instants, both included."""
        first = bisect_left(self.instants, earliest) if earliest else 0
        return range(first, bisect_right(self.instants, latest) if latest else len(self.instants))


def quarter_hours(start: datetime, end: datetime) -> Iterator[datetime]:
    """Yield full quarter hours from start to end, both included. Every zone's offset is a multiple of one."""
    beyond = timedelta(minutes=start.minute % 15, seconds=start.second, microseconds=start.microsecond)
    instant = start - beyond + STEP if beyond else start
    while instant <= end:
        yield instant
        instant += STEP


class AccountBookings:
    """Bookings of one account: slots that spacing blocks, posts by day, and instants in order."""

    def __init__(self, slots: int) -> None:
        self.blocked = bytearray(slots)
        self.per_day: Counter[int] = Counter()
        self.instants: list[datetime] = []

    def distance(self, at: datetime) -> timedelta:
        """Return the distance to the nearest booking."""
        place = bisect_left(self.instants, at)
        near = self.instants[max(place - 1, 0) : place + 1]
        return min((abs(at - booked) for booked in near), default=_NO_NEIGHBOR)


class SlotBoard:
    """The slots of a window, with the bookings on each account."""

    def __init__(
        self,
        slots: Slots,
        spacing: timedelta,
        at_most_per_day: int | None,
        rankings: Mapping[str, Ranking],
        weekly: Mapping[int, Mapping[int, float]],
    ) -> None:
        self.slots, self.spacing, self.rankings, self.weekly = slots, spacing, rankings, weekly
        self.at_most_per_day = at_most_per_day
        self._accounts: dict[str, AccountBookings] = {}
        self._scores: dict[tuple[str, ...], list[int]] = {}

    def book(self, account_id: str, at: datetime) -> None:
        """Book an instant on an account."""
        account, instants = self._account(account_id), self.slots.instants
        first, last = bisect_right(instants, at - self.spacing), bisect_left(instants, at + self.spacing)
        if last > first:
            account.blocked[first:last] = b"\x01" * (last - first)
        account.per_day[at.astimezone(self.slots.zone).toordinal()] += 1
        account.instants.insert(bisect_left(account.instants, at), at)

    def free_slots(self, post: PostRequest) -> int:
        """Count the slots that spacing and bounds leave for a post."""
        indexes = self.slots.between(post.earliest, post.latest)
        return self._blocked(post).count(0, indexes.start, max(indexes.start, indexes.stop))

    def best(self, post: PostRequest) -> datetime | None:
        """Return the best instant for a post: best score, full hour, farthest from other posts, first."""
        accounts, instants = self._accounts_of(post), self.slots.instants
        costs = self._costs(post, accounts) if accounts else {}
        if not costs:
            return None
        lowest = min(costs.values())

        def rank(index: int) -> tuple[int, timedelta, int]:
            return self.slots.local[index][3], -min(account.distance(instants[index]) for account in accounts), index

        return instants[min((index for index, cost in costs.items() if cost == lowest), key=rank)]

    def find_obstacle(self, post: PostRequest, start: datetime, end: datetime) -> Obstacle | None:
        """Return what keeps a post out of a part of the window; None when a slot is open."""
        if not post.account_ids:
            return "no_account"
        start, end = max(start, self.slots.start), min(end, self.slots.end)
        if next(quarter_hours(start, end), None) is None:
            return "window"
        start, end = max(start, post.earliest or start), min(end, post.latest or end)
        if next(quarter_hours(start, end), None) is None:
            return "bounds"
        indexes = self.slots.between(start, end)
        if not indexes:
            return "quiet_hours"
        days = {self.slots.local[index][0] for index in self._open(post, indexes)}
        if not days:
            return "spacing"
        accounts = self._accounts_of(post)
        return "day_limit" if all(self._is_full(day, accounts) for day in days) else None

    def _accounts_of(self, post: PostRequest) -> list[AccountBookings]:
        return [self._account(account_id) for account_id in sorted(set(post.account_ids))]

    def _account(self, account_id: str) -> AccountBookings:
        return self._accounts.setdefault(account_id, AccountBookings(len(self.slots.instants)))

    def _blocked(self, post: PostRequest) -> bytes:
        """Return a byte for each slot: 1 where spacing blocks it on an account of the post."""
        merged = 0
        for account in self._accounts_of(post):
            merged |= int.from_bytes(account.blocked, "big")
        return merged.to_bytes(len(self.slots.instants), "big")

    def _open(self, post: PostRequest, indexes: Iterable[int]) -> list[int]:
        blocked = self._blocked(post)
        return [index for index in indexes if not blocked[index]]

    def _is_full(self, day: int, accounts: list[AccountBookings]) -> bool:
        most = self.at_most_per_day
        return most is not None and any(account.per_day[day] >= most for account in accounts)

    def _costs(self, post: PostRequest, accounts: list[AccountBookings]) -> dict[int, int]:
        """Return the cost of each open slot by its index; the lowest is the best."""
        scores, local = self._scores_of(post), self.slots.local
        indexes = self._open(post, self.slots.between(post.earliest, post.latest))
        day_costs = {day: self._day_cost(day, accounts) for day in {local[index][0] for index in indexes}}
        return {index: cost - scores[index] for index in indexes if (cost := day_costs[local[index][0]]) is not None}

    def _day_cost(self, day: int, accounts: list[AccountBookings]) -> int | None:
        """Return the penalty for posts on a day; None when the day is full."""
        if self._is_full(day, accounts):
            return None
        return _to_units(SAME_DAY_COST * sum(account.per_day[day] for account in accounts) / len(accounts))

    def _scores_of(self, post: PostRequest) -> list[int]:
        """Return the score of each slot for the accounts of a post together."""
        account_ids = tuple(sorted(set(post.account_ids)))
        if account_ids not in self._scores:
            table = mean_score_table([self.rankings.get(each, NO_RANKING) for each in account_ids], self.weekly)
            units = [[_to_units(score) for score in hours] for hours in table]
            self._scores[account_ids] = [units[day][hour] for _, day, hour, _ in self.slots.local]
        return self._scores[account_ids]


def _to_units(score: float) -> int:
    """Convert to whole billionths: sums of floats depend on their order, and equal scores must be equal."""
    return round(score * 1_000_000_000)
