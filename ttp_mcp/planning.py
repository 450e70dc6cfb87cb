"""Planning: a time for each of many posts, from best hours, what is booked, spacing and quiet hours.

Pure and deterministic: nothing is read or sent, and the same input gives the same plan, whatever the order of its mappings.
"""

import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ttp_mcp.plan_board import NO_RANKING, WEEKDAYS, Board, PostWish, Quiet, Ranking, Slots

__all__ = [
    "LEAD",
    "Booked",
    "Placed",
    "Plan",
    "PostWish",
    "Ranking",
    "Unplaced",
    "calendar",
    "canonical",
    "day_name",
    "plan",
    "plan_id",
]

LEAD = timedelta(minutes=5)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ORDINALS = ("best", "second-best", "third-best", "fourth-best", "fifth-best")


@dataclass(frozen=True, slots=True)
class Booked:
    """A post that already has a time on an account."""

    account_id: str
    at: datetime
    post_id: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A post with its instant, aware UTC, and why this one."""

    wish: PostWish
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Unplaced:
    """A post that could not be given a time, and what would help."""

    wish: PostWish
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Posts with a time, by time, and those without, by index."""

    placed: tuple[Placed, ...]
    unplaced: tuple[Unplaced, ...]


def plan(
    posts: Sequence[PostWish],
    *,
    now: datetime,
    start: datetime,
    end: datetime,
    zone: ZoneInfo,
    quiet_from: time,
    quiet_until: time,
    spacing_minutes: int,
    at_most_per_day: int | None,
    hours: Mapping[str, Ranking],
    weekly: Mapping[int, Mapping[int, float]] | None = None,
    booked: Sequence[Booked] = (),
) -> Plan:
    """Give each post one instant for all of its accounts, at a full quarter hour.

    A post never gets a time in the past, outside `start` to `end` or its own bounds, in quiet hours, closer than the spacing to
    another post on one of its accounts, or on a day that is full. The most constrained posts choose first. Posts with the same
    accounts and bounds go out in the order of the list.

    Args:
        posts: At most a few hundred.
        now: The present, aware.
        start: Beginning of the window, aware; included.
        end: End of the window, aware; included. A window of more than 366 days is cut.
        zone: For hours, weekdays, days and quiet hours.
        quiet_from: Beginning of the quiet hours, included; they may go past midnight. Equal to `quiet_until`: none.
        quiet_until: Their end, not included.
        spacing_minutes: Least distance between two posts on one account, booked ones too.
        at_most_per_day: Posts on one account on one day of the zone, booked ones too; None is no limit.
        hours: Rankings by account id.
        weekly: Scores by weekday and hour, for all accounts.
        booked: What already has a time.
    """
    board = Board(
        slots=Slots(max(start, now + LEAD), end, zone, Quiet(quiet_from, quiet_until)),
        spacing=timedelta(minutes=max(spacing_minutes, 1)),
        at_most_per_day=at_most_per_day,
        rankings=hours,
        weekly=weekly or {},
    )
    for each in booked:
        board.take(each.account_id, each.at)
    wishes = sorted(posts, key=lambda wish: wish.index)
    chosen: list[tuple[PostWish, datetime]] = []
    unplaced: list[Unplaced] = []
    for wish in sorted(wishes, key=lambda wish: (board.room(wish), -len(wish.account_ids), wish.index)):
        at = board.best(wish)
        if at is None:
            unplaced.append(Unplaced(wish, board.why_unplaced(wish)))
            continue
        for account_id in set(wish.account_ids):
            board.take(account_id, at)
        chosen.append((wish, at))
    ordered = _in_list_order(chosen)
    reasons = _Reasons(board, ordered, booked)
    placed = (Placed(wish, at, reasons.of(wish, at)) for wish, at in ordered)
    return Plan(
        placed=tuple(sorted(placed, key=lambda each: (each.at, each.wish.index))),
        unplaced=tuple(sorted(unplaced, key=lambda each: each.wish.index)),
    )


def canonical(plan: Plan) -> bytes:
    """What was agreed, as bytes: texts, targets, media and instants; neither reasons nor orders that mean nothing."""
    posts = [
        {
            "account_ids": sorted(set(each.wish.account_ids)),
            "at": each.at.astimezone(UTC).isoformat(),
            "content": each.wish.content,
            "media_urls": each.wish.media_urls,
            "platform_data": each.wish.platform_data,
            "platforms": sorted(set(each.wish.platforms)),
            "thread": each.wish.thread,
        }
        for each in plan.placed
    ]
    lines = sorted(json.dumps(post, sort_keys=True, separators=(",", ":")) for post in posts)
    return ("[" + ",\n".join(lines) + "]").encode()


def plan_id(plan: Plan) -> str:
    """Twelve hexadecimal digits that stand for exactly what was agreed."""
    return hashlib.sha256(canonical(plan)).hexdigest()[:12]


def calendar(plan: Plan, zone: ZoneInfo, names: Mapping[str, str] | None = None) -> str:
    """The plan as lines for a reader: day, time, text, accounts, reason; then what has no time.

    Args:
        plan: The plan.
        zone: For days and times.
        names: Names by account id, such as `instagram @harbor.cafe`; the id where there is none.
    """
    rows = [
        (
            day_name(each.at.astimezone(zone)),
            f"{each.at.astimezone(zone):%H:%M}",
            _excerpt(each.wish.content),
            ", ".join((names or {}).get(account_id, account_id) for account_id in each.wish.account_ids),
            each.reason,
        )
        for each in plan.placed
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(4)]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:4], widths, strict=True)), row[4]]) for row in rows
    ]
    if plan.unplaced:
        lines += ["", "Without a time:"]
        lines += [
            f"- post {each.wish.index + 1} {_excerpt(each.wish.content)}: {each.reason}" for each in plan.unplaced
        ]
    return "\n".join(lines)


def day_name(local: datetime) -> str:
    """`Mon 30 Nov`, in English whatever the machine's language is."""
    return f"{WEEKDAYS[local.weekday()]} {local.day:>2} {_MONTHS[local.month - 1]}"


# Of the control characters, those that end words, and the joiner inside an emoji.
_KEPT = "\t\n\r\u200d"
_ENDS = " \u200d"


def _excerpt(text: str, characters: int = 32) -> str:
    shown = "".join(each for each in text[: characters * 8] if each in _KEPT or unicodedata.category(each)[0] != "C")
    line = " ".join(shown.split()).replace("«", "‹").replace("»", "›")
    return (
        f"«{line[: characters - 1].rstrip(_ENDS)}…»"
        if len(line) > characters or len(text) > characters * 8
        else f"«{line}»"
    )


def _in_list_order(chosen: list[tuple[PostWish, datetime]]) -> list[tuple[PostWish, datetime]]:
    """Among posts with the same accounts and bounds, the first in the list goes out first."""
    alike: dict[tuple[frozenset[str], datetime | None, datetime | None], list[tuple[PostWish, datetime]]] = {}
    for wish, at in chosen:
        alike.setdefault((frozenset(wish.account_ids), wish.earliest, wish.latest), []).append((wish, at))
    ordered: list[tuple[PostWish, datetime]] = []
    for group in alike.values():
        wishes = sorted((wish for wish, _ in group), key=lambda wish: wish.index)
        ordered.extend(zip(wishes, sorted(at for _, at in group), strict=True))
    return ordered


class _Reasons:
    """Why a post got its time, in words."""

    def __init__(self, board: Board, chosen: list[tuple[PostWish, datetime]], booked: Sequence[Booked]) -> None:
        self._board = board
        taken = [(each.at, each.post_id, each.account_id, -1) for each in booked]
        taken += [(at, f"post {wish.index + 1}", each, wish.index) for wish, at in chosen for each in wish.account_ids]
        self._taken = sorted(taken)

    def of(self, wish: PostWish, at: datetime) -> str:
        """The rank of the hour among the best hours of the post's accounts, and why it is not the best one."""
        account_ids = sorted(set(wish.account_ids))
        whose = "this account" if len(account_ids) == 1 else f"these {len(account_ids)} accounts"
        rankings = [self._board.rankings.get(each, NO_RANKING) for each in account_ids]
        known = [ranking for ranking in rankings if ranking.is_known]
        if not known:
            points = max(ranking.data_points or 0 if ranking.hours else 0 for ranking in rankings)
            history = f"only {points} data points" if points else "no history"
            return f"{history} of {whose}, so spread evenly over common hours"
        named = {hour for ranking in known for hour in ranking.hours}
        means = {hour: sum(ranking.hours.get(hour, 0.0) for ranking in known) / len(known) for hour in named}
        best_first = sorted(means, key=lambda hour: (-means[hour], hour))
        local = at.astimezone(self._board.slots.zone)
        if local.hour not in means:
            words = f"outside the best hours of {whose}"
        else:
            rank = best_first.index(local.hour)
            ordinal = _ORDINALS[rank] if rank < len(_ORDINALS) else f"{rank + 1}th-best"
            words = f"{ordinal} hour of {whose} ({_basis(means[local.hour], known)})"
        if local.hour == best_first[0]:
            return words
        best = local.replace(hour=best_first[0], minute=0, fold=0)
        return "; ".join(filter(None, [words, self._why_not(wish, best)]))

    def _why_not(self, wish: PostWish, best: datetime) -> str | None:
        slots, instant = self._board.slots, best.astimezone(UTC)
        if instant < max(slots.start, wish.earliest or slots.start) or instant > min(
            slots.end, wish.latest or slots.end
        ):
            return f"{best:%H:%M} is out of bounds that day"
        if slots.quiet.holds(best.time()):
            return f"{best:%H:%M} is in quiet hours"
        near = [
            (abs(at - instant), name)
            for at, name, account_id, index in self._taken
            if account_id in wish.account_ids and index != wish.index and abs(at - instant) < self._board.spacing
        ]
        if not near:
            return None
        distance, name = min(near)
        return f"{best:%H:%M} is {'taken by' if distance < timedelta(hours=1) else 'too close to'} {name}"


def _basis(score: float, known: list[Ranking]) -> str:
    if len(known) > 1:
        return f"mean score {score:.2f}"
    points = known[0].data_points
    return f"score {score:.2f}, {points} data points" if points is not None else f"score {score:.2f}"
