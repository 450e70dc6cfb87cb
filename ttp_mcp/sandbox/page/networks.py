"""The simulated networks: feeds as a follower sees them, and the best times as a heat map."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ttp_mcp.sandbox.page import queries
from ttp_mcp.sandbox.page.queries import Visit
from ttp_mcp.sandbox.page.rendering import Page, Pager, platform_name
from ttp_mcp.sandbox.rest import analytics
from ttp_mcp.sandbox.rest.analytics import DAYS, PRIOR, Point

PAGE_PUBLICATIONS = 20
LEVELS = 6


@dataclass(frozen=True, slots=True)
class HeatCell:
    """Score of a weekday and hour, and the number of publications that it comes from."""

    day: str
    score: str
    level: int
    count: int


def show_feed(visit: Visit, account_id: str | None, number: int) -> Page | None:
    """Show what the networks show of an account, or of all; None if the organization has no such account."""
    accounts = queries.read_accounts(visit)
    chosen = next((account for account in accounts if account["id"] == account_id), None)
    if account_id is not None and chosen is None:
        return None
    # One more than is shown tells whether there is an older page, without counting all.
    found = queries.read_feed(visit, account_id, PAGE_PUBLICATIONS + 1, PAGE_PUBLICATIONS * (number - 1))
    name = "All accounts"
    sub = "What a follower would see on each network. The networks are simulated, their figures invented."
    if chosen is not None:
        name = chosen["handle"] or chosen["name"]
        sub = f"{platform_name(chosen['platform'])}, {chosen['followers']:,} followers. The network is simulated."
    values = {
        "name": name,
        "sub": sub,
        "accounts": accounts,
        "account_id": account_id,
        "publications": found[:PAGE_PUBLICATIONS],
        "path": visit.path("feeds", *([account_id] if account_id else [])),
        "pager": Pager(number, has_newer=number > 1, has_older=len(found) > PAGE_PUBLICATIONS),
    }
    return Page("feed.html", f"Feed: {name}", values)


def show_best_times(visit: Visit) -> Page:
    """Show weekday and hour against engagement, by the method of the analytics."""
    points = analytics.read_points(visit.db, visit.organization, visit.now)
    advice = analytics.create_recommendation(points)
    values = {
        "advice": advice,
        "heat": _create_heat_rows(points) if points else [],
        "days": DAYS,
        "levels": LEVELS,
        "upcoming": analytics.find_next_slot(visit.now, visit.organization.zone, points),
        "best_hours": [(f"{entry['hour']:02}:00", entry["score"]) for entry in advice["bestHours"]],
        "best_days": [(entry["day"], entry["score"]) for entry in advice["bestDays"]],
    }
    return Page("best_times.html", "Best times", values)


def score_hours(points: Sequence[Point]) -> dict[tuple[int, int], tuple[float, int]]:
    """Return the score (0–1) and the number of publications for each (weekday, hour) that has any."""
    groups: dict[tuple[int, int], list[float]] = defaultdict(list)
    for at, value in points:
        groups[at.weekday(), at.hour].append(value)
    drawn = {key: (sum(values) + PRIOR) / (len(values) + PRIOR) for key, values in groups.items()}
    best = max(drawn.values(), default=1.0)
    return {key: (value / best, len(groups[key])) for key, value in drawn.items()}


def _create_heat_rows(points: Sequence[Point]) -> list[tuple[str, list[HeatCell | None]]]:
    scores = score_hours(points)
    lowest = min(score for score, _ in scores.values())
    hours = range(min(hour for _, hour in scores), max(hour for _, hour in scores) + 1)
    return [
        (f"{hour:02}:00", [_create_cell(day, scores.get((number, hour)), lowest) for number, day in enumerate(DAYS)])
        for hour in hours
    ]


def _create_cell(day: str, found: tuple[float, int] | None, lowest: float) -> HeatCell | None:
    if found is None:
        return None
    score, count = found
    level = round((LEVELS - 1) * (score - lowest) / (1 - lowest)) if lowest < 1 else LEVELS - 1
    return HeatCell(day, f"{100 * score:.0f}", level, count)
