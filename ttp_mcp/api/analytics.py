"""Wire models and endpoints of /analytics."""

from dataclasses import dataclass
from urllib.parse import urlencode

from ttp_mcp.api import errors
from ttp_mcp.api.http import Http
from ttp_mcp.api.parsing import JsonObject, as_number, as_object, as_objects, as_str, first_present


@dataclass(frozen=True, slots=True)
class BestHour:
    """An hour, 0–23 in a time zone that the API doesn't state, and its score, 0–1."""

    hour: int
    score: float


@dataclass(frozen=True, slots=True)
class BestDay:
    """A weekday by its English name, and its score, 0–1."""

    day: str
    score: float


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Best hours and best days: two separate rankings, best first."""

    raw: JsonObject
    best_hours: list[BestHour]
    best_days: list[BestDay]
    data_points: int | None
    message: str | None

    @classmethod
    def from_json(cls, raw: JsonObject) -> "Recommendation":
        """Read a recommendation tolerantly: invalid entries are left out."""
        hours = (
            (as_number(each.get("hour")), as_number(each.get("score"))) for each in as_objects(raw.get("bestHours"))
        )
        days = ((as_str(each.get("day")), as_number(each.get("score"))) for each in as_objects(raw.get("bestDays")))
        points = as_number(raw.get("dataPoints"))
        return cls(
            raw=raw,
            best_hours=[
                BestHour(int(hour), score or 0.0) for hour, score in hours if hour is not None and 0 <= hour < 24
            ],
            best_days=[BestDay(day, score or 0.0) for day, score in days if day],
            data_points=None if points is None else int(points),
            message=as_str(raw.get("message")),
        )


class AnalyticsApi:
    """Endpoints of analytics. If the reference documents no shape, the whole reply is returned."""

    def __init__(self, http: Http) -> None:
        """Use this connection."""
        self._http = http

    async def optimal_times(self, platform: str | None = None) -> Recommendation:
        """`GET /analytics/optimal-times`: best hours (top 5) and days (top 3), of one or all platforms.

        Raises:
            Forbidden: The plan has no best-time-to-post feature.

        Source: API reference, Analytics.
        """
        query = f"?{urlencode({'platform': platform})}" if platform else ""
        route = "/analytics/optimal-times"
        reply = await self._http.request("GET", route + query, route, need="read")
        whole = as_object(reply)
        found = as_object(first_present(whole, "recommendation", "data") or (whole if "bestHours" in whole else None))
        found = as_object(found.get("recommendation")) or found
        if not found:
            raise errors.BadAnswer(method="GET", path=route, reason="shape")
        return Recommendation.from_json(found)

    async def optimal_times_by_account(self) -> JsonObject:
        """`GET /analytics/optimal-times/by-account`: the same for each account. Source: API reference; shape undocumented."""
        return await self._fetch_reply("/analytics/optimal-times/by-account")

    async def next_optimal_time(self) -> JsonObject:
        """`GET /analytics/next-optimal-time`: the next best slot from now. Source: API reference; shape undocumented."""
        return await self._fetch_reply("/analytics/next-optimal-time")

    async def weekly_schedule(self) -> JsonObject:
        """`GET /analytics/weekly-schedule`: the weekly schedule. Source: API reference; shape undocumented."""
        return await self._fetch_reply("/analytics/weekly-schedule")

    async def engagement_summary(self) -> JsonObject:
        """`GET /analytics/engagement-summary`: likes, comments, shares, views. Source: API reference; shape undocumented."""
        return await self._fetch_reply("/analytics/engagement-summary")

    async def _fetch_reply(self, route: str) -> JsonObject:
        reply = await self._http.request("GET", route, route, need="read")
        if isinstance(reply, dict):
            return {key: value for key, value in as_object(reply).items() if key != "success"}  # pyright: ignore[reportUnknownArgumentType] # raw JSON
        return {"reply": reply}
