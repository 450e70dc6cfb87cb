"""What the analytics know of each account, read for planning. Only one of the three replies has a documented shape."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ttp_mcp.api import ApiError, Forbidden, Integration, Recommendation
from ttp_mcp.planning.model import Ranking
from ttp_mcp.toolkit.account_directory import account_label
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.tools.posts.rendering import join_words

JsonObject = dict[str, Any]

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True, slots=True)
class History:
    """Rankings by account id, scores by weekday (0 is Monday) and hour for all of them, and what is missing, in words."""

    hours: Mapping[str, Ranking]
    weekly: Mapping[int, Mapping[int, float]]
    missing: str | None


async def read_history(context: ToolContext, accounts: Sequence[Integration]) -> History:
    """Ask the analytics; without an answer the plan goes by common hours and says so."""
    try:
        by_account = rankings(await context.api.analytics.optimal_times_by_account())
        weekly = week(await context.api.analytics.weekly_schedule())
        unknown = [account for account in accounts if account.id not in by_account]
        hours = dict(by_account)
        if unknown:
            overall = ranking(await context.api.analytics.optimal_times())
            hours |= {account.id: overall for account in unknown}
    except Forbidden:
        return History({}, {}, "the plan of this organization has no best times, so posts are spread over common hours")
    except ApiError:
        return History({}, {}, "the best times could not be read, so posts are spread over common hours")
    shared = f"{join_words([account_label(account) for account in unknown])} had no ranking of their own and got the organization's"
    return History({account.id: hours[account.id] for account in accounts}, weekly, shared if unknown else None)


def ranking(found: Recommendation) -> Ranking:
    """A recommendation as planning takes it."""
    return Ranking.of(
        [(hour.hour, hour.score) for hour in found.best_hours],
        [(day.day, day.score) for day in found.best_days],
        found.data_points,
    )


def rankings(reply: JsonObject) -> dict[str, Ranking]:
    """Rankings by account id, wherever the reply has them: in a list of entries, or by id."""
    found: dict[str, Ranking] = {}
    for entry in _objects(reply):
        account_id = entry.get("accountId") or entry.get("integrationId") or entry.get("id")
        holder = entry.get("recommendation") if isinstance(entry.get("recommendation"), dict) else entry
        if isinstance(account_id, str) and isinstance(holder, dict) and "bestHours" in holder:
            found[account_id] = ranking(Recommendation.from_json(cast("JsonObject", holder)))
    return found


def week(reply: JsonObject) -> dict[int, dict[int, float]]:
    """Scores by weekday and hour, wherever the reply has entries with a day and hours."""
    found: dict[int, dict[int, float]] = {}
    for entry in _objects(reply):
        day, hours = entry.get("day"), entry.get("hours")
        if isinstance(day, str) and day.lower() in _DAYS and isinstance(hours, list):
            found[_DAYS.index(day.lower())] = dict(_scores(cast("list[object]", hours)))
    return found


def _scores(hours: list[object]) -> Iterator[tuple[int, float]]:
    for each in hours:
        entry = cast("JsonObject", each) if isinstance(each, dict) else {"hour": each}
        hour, score = entry.get("hour"), entry.get("score", 1.0)
        if isinstance(hour, int) and 0 <= hour < 24 and isinstance(score, int | float):
            yield hour, float(score)


def _objects(reply: JsonObject) -> Iterator[JsonObject]:
    """The entries of every list directly in the reply, and objects in it that are named by an id."""
    for key, value in reply.items():
        if isinstance(value, list):
            yield from (cast("JsonObject", entry) for entry in cast("list[object]", value) if isinstance(entry, dict))
        elif isinstance(value, dict):
            inner = cast("JsonObject", value)
            yield {"id": key, **inner} if "bestHours" in inner or "recommendation" in inner else inner
            yield from _objects(inner) if not {"bestHours", "recommendation", "hours"} & inner.keys() else ()
