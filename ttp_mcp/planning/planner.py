"""Planning: a time for each of many posts, from best hours, what is booked, spacing and quiet hours.

Pure and deterministic: nothing is read or sent, and the same input gives the same plan, whatever the order of its mappings.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ttp_mcp.planning.model import Booked, Plan, PostRequest, Ranking, Scheduled, Unscheduled
from ttp_mcp.planning.reasons import Reasons
from ttp_mcp.planning.slots import QuietHours, SlotBoard, Slots

LEAD = timedelta(minutes=5)


def make_plan(
    posts: Sequence[PostRequest],
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
    board = SlotBoard(
        slots=Slots(max(start, now + LEAD), end, zone, QuietHours(quiet_from, quiet_until)),
        spacing=timedelta(minutes=max(spacing_minutes, 1)),
        at_most_per_day=at_most_per_day,
        rankings=hours,
        weekly=weekly or {},
    )
    for each in booked:
        board.take(each.account_id, each.at)
    wishes = sorted(posts, key=lambda wish: wish.index)
    chosen: list[tuple[PostRequest, datetime]] = []
    unplaced: list[Unscheduled] = []
    for wish in sorted(wishes, key=lambda wish: (board.room(wish), -len(wish.account_ids), wish.index)):
        at = board.best(wish)
        if at is None:
            unplaced.append(Unscheduled(wish, board.why_unplaced(wish)))
            continue
        for account_id in set(wish.account_ids):
            board.take(account_id, at)
        chosen.append((wish, at))
    ordered = _in_list_order(chosen)
    reasons = Reasons(board, ordered, booked)
    placed = (Scheduled(wish, at, reasons.of(wish, at)) for wish, at in ordered)
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


def _in_list_order(chosen: list[tuple[PostRequest, datetime]]) -> list[tuple[PostRequest, datetime]]:
    """Among posts with the same accounts and bounds, the first in the list goes out first."""
    alike: dict[tuple[frozenset[str], datetime | None, datetime | None], list[tuple[PostRequest, datetime]]] = {}
    for wish, at in chosen:
        alike.setdefault((frozenset(wish.account_ids), wish.earliest, wish.latest), []).append((wish, at))
    ordered: list[tuple[PostRequest, datetime]] = []
    for group in alike.values():
        wishes = sorted((wish for wish, _ in group), key=lambda wish: wish.index)
        ordered.extend(zip(wishes, sorted(at for _, at in group), strict=True))
    return ordered
