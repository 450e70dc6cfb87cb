"""Handlers of /analytics, computed from the stored engagement of the publications.

Method: each publication's engagement (likes + 2 × comments + 3 × shares) is divided by the mean of its account, so that a
large account does not drown a small one. An hour's value is the mean of its publications, shrunk towards the overall mean as
if four average posts had been added, so that one lucky post does not win; the best hour then has the score 1. Weekdays alike.
Hours and weekdays are those of the organization's zone. Only publications of the last 180 days that are a day old count.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from statistics import fmean
from zoneinfo import ZoneInfo

from starlette.responses import Response

from ttp_mcp.sandbox import networks
from ttp_mcp.sandbox.clock import from_ms, to_iso, to_ms
from ttp_mcp.sandbox.rest.organizations import Organization, check_best_times
from ttp_mcp.sandbox.rest.request import ApiRequest
from ttp_mcp.sandbox.rest.responses import VISIBLE, JsonObject, Problem, respond_ok

WINDOW_DAYS = 180
PRIOR = 4
ENOUGH = 20
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Point = tuple[datetime, float]


def get_optimal_times(call: ApiRequest) -> Response:
    """`GET /analytics/optimal-times`, of one platform or of all."""
    call.check_query("platform")
    check_best_times(call.organization)
    platform = call.query.get("platform")
    if platform is not None and not VISIBLE.search(platform):
        raise Problem(400, "platform must not be empty.")
    return respond_ok(recommendation=create_recommendation(_read_points(call, platform=platform)))


def get_times_by_account(call: ApiRequest) -> Response:
    """`GET /analytics/optimal-times/by-account`."""
    call.check_query()
    check_best_times(call.organization)
    with call.store.reading() as db:
        accounts = db.execute(
            "SELECT * FROM accounts WHERE organization_id = ? ORDER BY position", (call.organization.id,)
        ).fetchall()
    return respond_ok(
        accounts=[
            {
                "accountId": account["id"],
                "platform": account["platform"],
                "name": account["handle"] or account["name"],
                "recommendation": create_recommendation(_read_points(call, account_id=account["id"])),
            }
            for account in accounts
        ]
    )


def get_next_optimal_time(call: ApiRequest) -> Response:
    """`GET /analytics/next-optimal-time`: the next full hour that is a best hour on a best day."""
    call.check_query()
    check_best_times(call.organization)
    return respond_ok(**find_next_slot(call.clock.now(), call.organization.zone, _read_points(call)))


def find_next_slot(now: datetime, zone: ZoneInfo, found: Sequence[Point]) -> JsonObject:
    """Return the next full hour that is a best hour on a best day, with its score and a message."""
    if not found:
        return {
            "nextOptimalTime": None,
            "score": None,
            "message": "No published posts yet, so there is no best time.",
        }
    hours, days = (
        dict(_score_groups((at.hour for at, _ in found), found)),
        dict(_score_groups((at.weekday() for at, _ in found), found)),
    )
    best_hours = {hour for hour, _ in sorted(hours.items(), key=_best_first)[:5]}
    best_days = {day for day, _ in sorted(days.items(), key=_best_first)[:3]}
    start = now.astimezone(zone).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    # Two weeks, because a change of the clocks may skip the one hour that is best.
    for ahead in range(1, 15 * 24):
        slot = (start + timedelta(hours=ahead)).astimezone(zone)
        if slot.hour in best_hours and slot.weekday() in best_days:
            score = round(hours[slot.hour] * days[slot.weekday()], 2)
            return {
                "nextOptimalTime": to_iso(to_ms(slot)),
                "score": score,
                "message": f"The next best slot is {DAYS[slot.weekday()]} {slot:%H}:00.",
            }
    raise AssertionError("two weeks hold every hour of every weekday")  # pragma: no cover - cannot be reached


def get_weekly_schedule(call: ApiRequest) -> Response:
    """`GET /analytics/weekly-schedule`: for each weekday its three best hours; the score is hour × day."""
    call.check_query()
    check_best_times(call.organization)
    found = _read_points(call)
    days = dict(_score_groups((at.weekday() for at, _ in found), found))
    schedule: list[JsonObject] = []
    for number, day in enumerate(DAYS):
        that_day = [point for point in found if point[0].weekday() == number]
        hours = sorted(_score_groups((at.hour for at, _ in that_day), that_day), key=_best_first)[:3]
        schedule.append(
            {
                "day": day,
                "hours": [{"hour": hour, "score": round(score * days[number], 2)} for hour, score in sorted(hours)],
            }
        )
    return respond_ok(schedule=schedule)


def get_engagement_summary(call: ApiRequest) -> Response:
    """`GET /analytics/engagement-summary`: totals over everything that is published."""
    call.check_query()
    with call.store.reading() as db:
        row = db.execute(
            "SELECT count(DISTINCT post_id) AS posts, coalesce(sum(likes), 0) AS likes, coalesce(sum(comments), 0) AS comments, "
            "coalesce(sum(shares), 0) AS shares, coalesce(sum(views), 0) AS views FROM publications WHERE organization_id = ?",
            (call.organization.id,),
        ).fetchone()
    return respond_ok(summary={key: row[key] for key in ("posts", "likes", "comments", "shares", "views")})


def get_post_metrics(call: ApiRequest) -> Response:
    """`GET /analytics/metrics/{post_id}`: figures of one post, in total and by account; null before the first sync."""
    call.check_query()
    post_id = call.path["post_id"]
    with call.store.reading() as db:
        known = db.execute(
            "SELECT 1 FROM posts WHERE id = ? AND organization_id = ?", (post_id, call.organization.id)
        ).fetchone()
        rows = db.execute(
            "SELECT p.* FROM publications p JOIN post_targets t ON t.post_id = p.post_id AND t.account_id = p.account_id "
            "WHERE p.post_id = ? AND p.measured_at > p.published_at ORDER BY t.position",
            (post_id,),
        ).fetchall()
    if known is None:
        raise Problem(404, "Post not found.")
    figures = [networks.compute_metrics(row) for row in rows]
    return respond_ok(
        postId=post_id,
        metrics=networks.add_metrics(figures),
        accounts=[
            {
                "accountId": row["account_id"],
                "platform": row["platform"],
                "syncedAt": to_iso(row["measured_at"]),
                **found,
            }
            for row, found in zip(rows, figures, strict=True)
        ],
    )


def _read_points(call: ApiRequest, *, platform: str | None = None, account_id: str | None = None) -> list[Point]:
    with call.store.reading() as db:
        return read_points(db, call.organization, call.clock.now(), platform=platform, account_id=account_id)


def read_points(
    db: sqlite3.Connection,
    organization: Organization,
    now: datetime,
    *,
    platform: str | None = None,
    account_id: str | None = None,
) -> list[Point]:
    """Return publications as (local time, engagement relative to the mean of the account)."""
    query = (
        "SELECT account_id, published_at, likes, comments, shares FROM publications "
        "WHERE organization_id = ? AND published_at BETWEEN ? AND ?"
    )
    values: list[object] = [
        organization.id,
        to_ms(now - timedelta(days=WINDOW_DAYS)),
        to_ms(now - timedelta(days=1)),
    ]
    for column, value in (("platform", platform), ("account_id", account_id)):
        if value is not None:
            query += f" AND {column} = ?"  # a constant
            values.append(value)
    by_account: dict[str, list[sqlite3.Row]] = defaultdict(list)
    for row in db.execute(query, values):
        by_account[row["account_id"]].append(row)
    found: list[Point] = []
    for own in by_account.values():
        mean = fmean(_weigh_engagement(row) for row in own) or 1.0
        found += [
            (from_ms(row["published_at"]).astimezone(organization.zone), _weigh_engagement(row) / mean) for row in own
        ]
    return found


def create_recommendation(found: Sequence[Point]) -> JsonObject:
    """Return the documented shape: top 5 hours, top 3 days, the number of points, and a message."""
    hours = sorted(_score_groups((at.hour for at, _ in found), found), key=_best_first)[:5]
    days = sorted(_score_groups((at.weekday() for at, _ in found), found), key=_best_first)[:3]
    return {
        "bestHours": [{"hour": hour, "score": round(score, 2)} for hour, score in hours],
        "bestDays": [{"day": DAYS[day], "score": round(score, 2)} for day, score in days],
        "dataPoints": len(found),
        "message": _describe_basis(len(found)),
    }


def _score_groups(keys: Iterable[int], found: Sequence[Point]) -> list[tuple[int, float]]:
    groups: dict[int, list[float]] = defaultdict(list)
    for key, (_, value) in zip(keys, found, strict=True):
        groups[key].append(value)
    drawn = {key: (sum(values) + PRIOR) / (len(values) + PRIOR) for key, values in groups.items()}
    best = max(drawn.values(), default=1.0)
    return [(key, value / best) for key, value in drawn.items()]


def _best_first(entry: tuple[int, float]) -> tuple[float, int]:
    return -entry[1], entry[0]


def _weigh_engagement(row: sqlite3.Row) -> float:
    return row["likes"] + 2 * row["comments"] + 3 * row["shares"]


def _describe_basis(count: int) -> str:
    if count == 0:
        return "No published posts yet. Publish a few, and the best times appear here."
    if count < ENOUGH:
        return (
            f"Based on {count} {'post' if count == 1 else 'posts'} only; the picture gets clearer from about {ENOUGH}."
        )
    return f"Based on {count} posts of the last {WINDOW_DAYS} days."
