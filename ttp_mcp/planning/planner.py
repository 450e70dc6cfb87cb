"""Find a time for each of many posts, from best hours, bookings, spacing and quiet hours.

Pure and deterministic: no I/O, and the same input gives the same plan, whatever the order of its mappings.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ttp_mcp.planning.model import Booking, EmptyDay, Plan, PostRequest, Ranking, Scheduled, Unscheduled
from ttp_mcp.planning.reasons import FIXED, TOO_LATE, Explainer, render_day_obstacle, render_obstacle
from ttp_mcp.planning.slots import Obstacle, QuietHours, SlotBoard, Slots, quarter_hours
from ttp_mcp.times import SEND_LEAD

# The first slot is at least this far ahead, so that the user has time to agree to the plan.
SLOT_LEAD = timedelta(minutes=5)

_Choice = tuple[PostRequest, datetime]


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
    booked: Sequence[Booking] = (),
) -> Plan:
    """Give each post one time for all of its accounts.

    A post with `fixed_at` keeps that time, whatever the rules. Every other post gets a full quarter hour that is not in the
    past, outside `start` to `end` or its own bounds, in quiet hours, closer than the spacing to another post on one of its
    accounts, or on a full day. The most constrained posts choose first. Posts with the same accounts and bounds go out in list
    order.

    Args:
        posts: At most a few hundred.
        now: Current time, aware.
        start: Start of the window, aware, included.
        end: End of the window, aware, included. A window of more than 366 days is cut.
        zone: Time zone of hours, weekdays, days and quiet hours.
        quiet_from: Start of the quiet hours, included; they may cross midnight.
        quiet_until: End of the quiet hours, not included. Equal to `quiet_from`: none.
        spacing_minutes: Minimum between two posts on one account, booked posts included.
        at_most_per_day: Posts on one account on one day of the zone, booked posts included; None for any number.
        hours: Rankings by account id.
        weekly: Scores by weekday and hour for all accounts.
    """
    board = SlotBoard(
        slots=Slots(max(start, now + SLOT_LEAD), end, zone, QuietHours(quiet_from, quiet_until)),
        spacing=timedelta(minutes=max(spacing_minutes, 1)),
        at_most_per_day=at_most_per_day,
        rankings=hours,
        weekly=weekly or {},
    )
    for each in booked:
        board.book(each.account_id, each.at)
    in_order = sorted(posts, key=lambda post: post.index)
    fixed, refused = _keep_fixed(board, in_order, now)
    chosen, unplaced = _choose_times(board, [post for post in in_order if post.fixed_at is None])
    explainer = Explainer(board, [*fixed, *chosen], booked)
    scheduled = [Scheduled(post, at, FIXED) for post, at in fixed]
    scheduled += [Scheduled(post, at, explainer.explain(post, at)) for post, at in chosen]
    return Plan(
        scheduled=tuple(sorted(scheduled, key=lambda each: (each.at, each.post.index))),
        unscheduled=tuple(sorted([*refused, *unplaced], key=lambda each: each.post.index)),
        empty_days=tuple(_find_empty_days(board, in_order, scheduled)),
    )


def _keep_fixed(
    board: SlotBoard, posts: Sequence[PostRequest], now: datetime
) -> tuple[list[_Choice], list[Unscheduled]]:
    """Book the posts that have a time; refuse those that can't be sent then."""
    kept: list[_Choice] = []
    refused: list[Unscheduled] = []
    for post in posts:
        if post.fixed_at is None:
            continue
        if not post.account_ids:
            refused.append(Unscheduled(post, render_obstacle("no_account", board)))
        elif post.fixed_at < now + SEND_LEAD:
            refused.append(Unscheduled(post, TOO_LATE))
        else:
            _book_post(board, post, post.fixed_at)
            kept.append((post, post.fixed_at))
    return kept, refused


def _choose_times(board: SlotBoard, posts: Sequence[PostRequest]) -> tuple[list[_Choice], list[Unscheduled]]:
    """Choose a time for each post, the most constrained first."""
    chosen: list[_Choice] = []
    unplaced: list[Unscheduled] = []
    for post in sorted(posts, key=lambda post: (board.free_slots(post), -len(post.account_ids), post.index)):
        at = board.best(post)
        if at is None:
            obstacle = board.find_obstacle(post, board.slots.start, board.slots.end) or "day_limit"
            unplaced.append(Unscheduled(post, render_obstacle(obstacle, board)))
            continue
        _book_post(board, post, at)
        chosen.append((post, at))
    return _sort_alike(chosen), unplaced


def _book_post(board: SlotBoard, post: PostRequest, at: datetime) -> None:
    for account_id in set(post.account_ids):
        board.book(account_id, at)


def _sort_alike(chosen: Sequence[_Choice]) -> list[_Choice]:
    """Put posts with the same accounts and bounds into list order."""
    groups: dict[tuple[frozenset[str], datetime | None, datetime | None], list[_Choice]] = {}
    for post, at in chosen:
        groups.setdefault((frozenset(post.account_ids), post.earliest, post.latest), []).append((post, at))
    ordered: list[_Choice] = []
    for group in groups.values():
        posts = sorted((post for post, _ in group), key=lambda post: post.index)
        ordered.extend(zip(posts, sorted(at for _, at in group), strict=True))
    return ordered


def _find_empty_days(
    board: SlotBoard, posts: Sequence[PostRequest], scheduled: Sequence[Scheduled]
) -> Iterator[EmptyDay]:
    """Explain the days of the window without a post. Where all times are fixed, the user chose the days."""
    zone = board.slots.zone
    alike = {(frozenset(post.account_ids), post.earliest, post.latest): post for post in posts if not post.fixed_at}
    movable = [post for post in alike.values() if post.account_ids]
    used = {each.at.astimezone(zone).date() for each in scheduled}
    days = dict.fromkeys(at.astimezone(zone).date() for at in quarter_hours(board.slots.start, board.slots.end))
    for day in days if movable else ():
        if day not in used:
            midnights = (datetime.combine(day + timedelta(days=number), time(), zone) for number in (0, 1))
            first, last = (midnight.astimezone(UTC) for midnight in midnights)
            last -= timedelta(microseconds=1)
            obstacles: list[Obstacle | None] = [board.find_obstacle(post, first, last) for post in movable]
            yield EmptyDay(day, render_day_obstacle(None if None in obstacles else obstacles[0], board))


def serialize_plan(plan: Plan) -> bytes:
    """Serialize the part of a plan that the user agrees to: texts, accounts, media and times, in an order of its own."""
    posts = [
        {
            "account_ids": sorted(set(each.post.account_ids)),
            "at": each.at.astimezone(UTC).isoformat(),
            "content": each.post.content,
            "media_urls": each.post.media_urls,
            "platform_data": each.post.platform_data,
            "platforms": sorted(set(each.post.platforms)),
            "thread": each.post.thread,
        }
        for each in plan.scheduled
    ]
    lines = sorted(json.dumps(post, sort_keys=True, separators=(",", ":")) for post in posts)
    return ("[" + ",\n".join(lines) + "]").encode()


def make_plan_id(plan: Plan) -> str:
    """Return twelve hexadecimal digits of the digest of `serialize_plan`."""
    return hashlib.sha256(serialize_plan(plan)).hexdigest()[:12]
