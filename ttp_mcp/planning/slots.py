"""The quarter hours of a plan, what they are worth to each account, and what is taken. Used by `planning` only."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ttp_mcp.planning.model import PostRequest, Ranking, usable_scores

STEP = timedelta(minutes=15)
LONGEST_WINDOW = timedelta(days=366)
# A day that has a post already is worth less by this much: more than any difference between weekdays, less than the
# difference between a best hour and an ordinary one.
SAME_DAY_COST = 0.35
WEEKDAY_WEIGHT = 0.3
WEEKLY_WEIGHT = 0.3
# For accounts without history: the worth of the hours from 8 to 21, when people commonly look. An assumption, not data.
COMMON_HOURS = dict(enumerate((0.6, 0.8, 0.7, 0.7, 1.0, 0.9, 0.6, 0.6, 0.7, 0.9, 1.0, 0.95, 0.8, 0.5), start=8))
UNCOMMON_HOUR = 0.1
# What an hour that history does not name is worth beside the least of those it names.
UNNAMED_HOUR = 0.2
UNKNOWN_ACCOUNT = 0.5
_ALONE = timedelta(days=100_000)


NO_RANKING = Ranking({})


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours of the day without posts; they may go past midnight, and are none where start and end are equal."""

    start: time
    end: time

    def holds(self, local: time) -> bool:
        """Whether a time of the day lies in them."""
        if self.start <= self.end:
            return self.start <= local < self.end
        return local >= self.start or local < self.end

    def __str__(self) -> str:
        return f"{self.start:%H:%M}–{self.end:%H:%M}"


class Slots:
    """The quarter hours that can be used, in order, with their place in the zone's calendar."""

    def __init__(self, start: datetime, end: datetime, zone: ZoneInfo, quiet: QuietHours) -> None:
        self.start, self.zone, self.quiet = start.astimezone(UTC), zone, quiet
        self.end = min(end.astimezone(UTC), self.start + LONGEST_WINDOW)
        self.instants: list[datetime] = []
        self.local: list[tuple[int, int, int, int]] = []
        for instant in quarters(self.start, self.end):
            local = instant.astimezone(zone)
            if not quiet.holds(local.time()):
                self.instants.append(instant)
                self.local.append((local.toordinal(), local.weekday(), local.hour, local.minute))

    def between(self, earliest: datetime | None, latest: datetime | None) -> range:
        """Indexes of the slots within a post's own bounds."""
        first = bisect_left(self.instants, earliest) if earliest else 0
        return range(first, bisect_right(self.instants, latest) if latest else len(self.instants))


def quarters(start: datetime, end: datetime) -> Iterator[datetime]:
    """Full quarter hours from start to end, both included. Every zone's offset is a multiple of one."""
    beyond = timedelta(minutes=start.minute % 15, seconds=start.second, microseconds=start.microsecond)
    instant = start - beyond + STEP if beyond else start
    while instant <= end:
        yield instant
        instant += STEP


class Account:
    """What is taken on one account."""

    def __init__(self, slots: int) -> None:
        self.blocked = bytearray(slots)
        self.per_day: Counter[int] = Counter()
        self.taken: list[datetime] = []


class SlotBoard:
    """The slots, and what is taken on each account."""

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
        self._accounts: dict[str, Account] = {}
        self._orders: dict[tuple[str, ...], tuple[list[float], list[int]]] = {}

    def _accounts_of(self, wish: PostRequest) -> list[Account]:
        return [self._account(account_id) for account_id in sorted(set(wish.account_ids))]

    def _account(self, account_id: str) -> Account:
        return self._accounts.setdefault(account_id, Account(len(self.slots.instants)))

    def take(self, account_id: str, at: datetime) -> None:
        """Book an instant on an account."""
        account, instants = self._account(account_id), self.slots.instants
        first, last = bisect_right(instants, at - self.spacing), bisect_left(instants, at + self.spacing)
        if last > first:
            account.blocked[first:last] = b"\x01" * (last - first)
        account.per_day[at.astimezone(self.slots.zone).toordinal()] += 1
        account.taken.insert(bisect_left(account.taken, at), at)

    def room(self, wish: PostRequest) -> int:
        """How many slots a post has to choose from."""
        return sum(1 for _ in self._open(wish, self.slots.between(wish.earliest, wish.latest)))

    def _open(self, wish: PostRequest, indexes: Iterable[int]) -> Iterator[int]:
        """Those of the slots that no spacing forbids."""
        blocked = [account.blocked for account in self._accounts_of(wish)]
        return (index for index in indexes if not any(each[index] for each in blocked))

    def best(self, wish: PostRequest) -> datetime | None:
        """The best instant for a post; of equals the full hour, then the farthest from other posts, then the first."""
        if not wish.account_ids:
            return None
        accounts, bounds = self._accounts_of(wish), self.slots.between(wish.earliest, wish.latest)
        scores, order = self._order(tuple(sorted(set(wish.account_ids))))
        best: tuple[float, int, timedelta, int] | None = None
        for index in self._open(wish, order):
            if best and scores[index] < -best[0]:
                break
            if index not in bounds:
                continue
            day, _, _, minute = self.slots.local[index]
            counts = [account.per_day[day] for account in accounts]
            if self.at_most_per_day is not None and max(counts) >= self.at_most_per_day:
                continue
            value = round(scores[index] - SAME_DAY_COST * sum(counts) / len(counts), 9)
            if best is None or (-value, minute) <= best[:2]:
                candidate = (-value, minute, -self._distance(accounts, self.slots.instants[index]), index)
                best = min(best, candidate) if best else candidate
        return self.slots.instants[best[3]] if best else None

    def _distance(self, accounts: list[Account], at: datetime) -> timedelta:
        """How far the nearest post on one of the accounts is."""
        near: list[timedelta] = []
        for account in accounts:
            place = bisect_left(account.taken, at)
            near += [abs(at - taken) for taken in account.taken[max(place - 1, 0) : place + 1]]
        return min(near, default=_ALONE)

    def _order(self, account_ids: tuple[str, ...]) -> tuple[list[float], list[int]]:
        """Scores of all slots for these accounts together, and the slots from best to worst."""
        if account_ids not in self._orders:
            rankings = [self.rankings.get(account_id, NO_RANKING) for account_id in account_ids]
            tables = [_score_table(ranking, self.weekly) for ranking in rankings]
            means = [[sum(table[d][h] for table in tables) / len(tables) for h in range(24)] for d in range(7)]
            scores = [round(means[weekday][hour], 9) for _, weekday, hour, _ in self.slots.local]
            self._orders[account_ids] = scores, sorted(range(len(scores)), key=lambda index: (-scores[index], index))
        return self._orders[account_ids]

    def why_unplaced(self, wish: PostRequest) -> str:
        """What stands in a post's way, and what would help."""
        slots = self.slots
        if not wish.account_ids:
            return "it has no account; pass account_ids or platforms"
        if next(quarters(slots.start, slots.end), None) is None:
            return "the window holds no quarter hour that is at least 5 minutes ahead; pass a later end"
        start, end = max(slots.start, wish.earliest or slots.start), min(slots.end, wish.latest or slots.end)
        if next(quarters(start, end), None) is None:
            return "its earliest and latest leave no quarter hour in the window; widen them or the window"
        bounds = slots.between(wish.earliest, wish.latest)
        if not bounds:
            return f"all of its time lies in the quiet hours {slots.quiet}; pass other quiet hours or a later latest"
        if next(self._open(wish, bounds), None) is None:
            spacing = int(self.spacing.total_seconds() // 60)
            return (
                f"every time is closer than {spacing} minutes to another post on one of its accounts; pass a smaller "
                "spacing_minutes or a later end"
            )
        return (
            f"each day that is left has at_most_per_day ({self.at_most_per_day}) on one of its accounts already; raise it, or "
            "pass a later end"
        )


def _score_table(ranking: Ranking, weekly: Mapping[int, Mapping[int, float]]) -> list[list[float]]:
    """The worth of each weekday and hour for one account, mostly from 0 to 1.6."""
    common = [COMMON_HOURS.get(hour, UNCOMMON_HOUR) for hour in range(24)]
    if not ranking.is_known:
        hours, weekdays = [UNKNOWN_ACCOUNT * each for each in common], [0.0] * 7
    else:
        named = _scaled(ranking.hours)
        least = min(named.values())
        hours = [named.get(hour, UNNAMED_HOUR * least * common[hour]) for hour in range(24)]
        scaled = _scaled(ranking.weekdays)
        weekdays = [WEEKDAY_WEIGHT * scaled.get(day, 0.0) for day in range(7)]
    weekly = {day: usable_scores(scores, 24) for day, scores in weekly.items()}
    most = max((score for day in weekly.values() for score in day.values()), default=1.0)
    return [
        [
            hours[hour] + weekdays[day] + WEEKLY_WEIGHT * weekly.get(day, {}).get(hour, 0.0) / max(most, 1.0)
            for hour in range(24)
        ]
        for day in range(7)
    ]


def _scaled(scores: Mapping[int, float]) -> dict[int, float]:
    """Scores from 0 to 1; the scale of what the API sends is not stated."""
    most = max([1.0, *scores.values()])
    return {key: max(score, 0.0) / most for key, score in scores.items()}
