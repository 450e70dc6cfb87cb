"""Read best times from the analytics for planning. Only one of the three responses has a documented shape."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ttp_mcp.api import ApiError, Forbidden, Integration, Recommendation
from ttp_mcp.planning.model import Ranking
from ttp_mcp.text import join_words
from ttp_mcp.times import parse_weekday
from ttp_mcp.toolkit.account_directory import account_label
from ttp_mcp.toolkit.context import ToolContext

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class History:
    """Rankings by account id, scores by weekday (0 is Monday) and hour for all accounts, and what is missing, in words."""

    hours: Mapping[str, Ranking]
    weekly: Mapping[int, Mapping[int, float]]
    missing: str | None


async def read_history(context: ToolContext, accounts: Sequence[Integration]) -> History:
    """Read the analytics; without a response the plan uses common hours and says so."""
    try:
        by_account = parse_rankings(await context.api.analytics.optimal_times_by_account())
        weekly = parse_week(await context.api.analytics.weekly_schedule())
        unknown = [account for account in accounts if account.id not in by_account]
        if unknown:
            overall = to_ranking(await context.api.analytics.optimal_times())
            by_account |= {account.id: overall for account in unknown}
    except Forbidden:
        return History({}, {}, "the plan of this organization has no best times, so posts are spread over common hours")
    except ApiError:
        return History({}, {}, "the best times could not be read, so posts are spread over common hours")
    shared = f"{join_words([account_label(account) for account in unknown])} had no ranking of their own and got the organization's"
    return History({account.id: by_account[account.id] for account in accounts}, weekly, shared if unknown else None)


def to_ranking(found: Recommendation) -> Ranking:
    """Convert a recommendation of the API."""
    return Ranking.from_pairs(found.best_hours, found.best_days, found.data_points)


def parse_rankings(response: JsonObject) -> dict[str, Ranking]:
    """Find rankings by account id, in a list of entries or in objects named by an id."""
    found: dict[str, Ranking] = {}
    for entry in _find_objects(response):
        account_id = entry.get("accountId") or entry.get("integrationId") or entry.get("id")
        inner = entry.get("recommendation")
        holder = cast("JsonObject", inner) if isinstance(inner, dict) else entry
        if isinstance(account_id, str) and "bestHours" in holder:
            found[account_id] = to_ranking(Recommendation.from_json(holder))
    return found


def parse_week(response: JsonObject) -> dict[int, dict[int, float]]:
    """Find scores by weekday and hour, in entries that have a day and hours."""
    found: dict[int, dict[int, float]] = {}
    for entry in _find_objects(response):
        day, hours = entry.get("day"), entry.get("hours")
        number = parse_weekday(day) if isinstance(day, str) else None
        if number is not None and isinstance(hours, list):
            found[number] = dict(_parse_scores(cast("list[object]", hours)))
    return found


def _parse_scores(hours: list[object]) -> Iterator[tuple[int, float]]:
    for each in hours:
        entry = cast("JsonObject", each) if isinstance(each, dict) else {"hour": each}
        hour, score = entry.get("hour"), entry.get("score", 1.0)
        if isinstance(hour, int) and 0 <= hour < 24 and isinstance(score, int | float):
            yield hour, float(score)


def _find_objects(response: JsonObject) -> Iterator[JsonObject]:
    """Yield the entries of every list directly in the response, and its objects, with the id that names them."""
    for key, value in response.items():
        if isinstance(value, list):
            yield from (cast("JsonObject", entry) for entry in cast("list[object]", value) if isinstance(entry, dict))
        elif isinstance(value, dict):
            inner = cast("JsonObject", value)
            yield {"id": key, **inner}
            yield from _find_objects(inner) if not {"bestHours", "recommendation", "hours"} & inner.keys() else ()
