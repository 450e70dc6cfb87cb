"""Wire models and endpoints of /analytics."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from ttp_mcp.api.http import Http, require_shape
from ttp_mcp.api.optional import OptionalEndpoint
from ttp_mcp.api.parsing import (
    JsonObject,
    as_count,
    as_datetime,
    as_number,
    as_object,
    as_objects,
    as_str,
    as_token,
    first_present,
)
from ttp_mcp.api.posts import NAMES_POST, PostsApi, encode_id


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Best hours and best days: two separate rankings, best first, each entry with its score, 0–1.

    An hour is 0–23 in a time zone that the API doesn't state, a day the English name of a weekday.
    """

    best_hours: list[tuple[int, float]]
    best_days: list[tuple[str, float]]
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
            best_hours=[(int(hour), score or 0.0) for hour, score in hours if hour is not None and 0 <= hour < 24],
            best_days=[(day, score or 0.0) for day, score in days if day],
            data_points=None if points is None else int(points),
            message=as_str(raw.get("message")),
        )


@dataclass(frozen=True, slots=True)
class Metrics:
    """Figures of a post, on one account or in total; None for a figure that the API doesn't send."""

    impressions: int | None = None
    likes: int | None = None
    comments: int | None = None
    shares: int | None = None
    saves: int | None = None
    views: int | None = None
    clicks: int | None = None
    engagement_rate: float | None = None

    @classmethod
    def from_json(cls, raw: JsonObject) -> "Metrics | None":
        """Read the figures; None if there are none."""
        counts = {
            name: as_count(raw.get(name)) for name in ("impressions", "likes", "shares", "saves", "views", "clicks")
        }
        rate = as_number(first_present(raw, "engagementRate", "engagement_rate"))
        found = cls(
            **counts,
            comments=as_count(first_present(raw, "comments", "replies")),
            engagement_rate=None if rate is None or rate < 0 else rate,
        )
        return None if found == cls() else found


@dataclass(frozen=True, slots=True)
class AccountMetrics:
    """Figures of a post on one account."""

    account_id: str | None
    platform: str | None
    synced_at: datetime | None
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class PostMetrics:
    """Figures of one post; `total` is None before the first sync, and if the API sends only those of each account."""

    total: Metrics | None
    accounts: list[AccountMetrics]

    @classmethod
    def from_json(cls, reply: object) -> "PostMetrics | None":
        """Read the figures tolerantly; None if the response has no place for them."""
        whole = as_object(reply)
        if "metrics" in as_object(whole.get("data")):
            whole = as_object(whole["data"])
        place = next((name for name in ("metrics", "data") if name in whole), None)
        total = Metrics.from_json(whole if place is None else as_object(whole[place]))
        parts = as_objects(whole.get(place or "")) or as_objects(first_present(whole, "accounts", "platforms"))
        accounts = [each for each in map(_read_account_metrics, parts) if each]
        return None if place is None and total is None and not accounts else cls(total, accounts)


def _read_account_metrics(raw: JsonObject) -> AccountMetrics | None:
    metrics = Metrics.from_json(raw)
    return metrics and AccountMetrics(
        account_id=as_str(first_present(raw, "accountId", "integrationId")),
        platform=as_token(first_present(raw, "platform", "provider")),
        synced_at=as_datetime(first_present(raw, "syncedAt", "updatedAt")),
        metrics=metrics,
    )


class AnalyticsApi:
    """Endpoints of analytics. If the reference documents no shape, the whole reply is returned."""

    def __init__(self, http: Http, posts: PostsApi) -> None:
        """Use this connection; `posts` tells an unknown post from a missing endpoint."""
        self._http = http
        self._posts = posts
        self._metrics = OptionalEndpoint(
            http, "GET", "/analytics/metrics/{id}", feature="figures of single posts", subject=NAMES_POST
        )

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
        return Recommendation.from_json(require_shape(found or None, "GET", route))

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

    async def post_metrics(self, post_id: str) -> PostMetrics:
        """`GET /analytics/metrics/{postId}`: figures of one post; none before the first sync, which is not zero.

        Raises:
            EndpointMissing: The API has no such endpoint.
            NotFound: The id is unknown, or belongs to another organization.

        Source: the vendor's client; the envelope and the figures by account are undocumented.
        """
        path = f"/analytics/metrics/{encode_id('GET', post_id)}"
        reply = await self._metrics.request(path, find_subject=lambda: self._posts.get(post_id))
        return require_shape(PostMetrics.from_json(reply), "GET", self._metrics.route)

    async def _fetch_reply(self, route: str) -> JsonObject:
        reply = await self._http.request("GET", route, route, need="read")
        if isinstance(reply, dict):
            return {key: value for key, value in as_object(reply).items() if key != "success"}  # pyright: ignore[reportUnknownArgumentType] # raw JSON
        return {"reply": reply}
