"""Figures of published posts: as data, sorted and added up. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api.analytics import Metrics, PostMetrics
from ttp_mcp.toolkit.models import ToolOutput

Figure = Literal["impressions", "likes", "comments", "shares", "saves", "views", "clicks", "rate"]
COUNTS: tuple[Figure, ...] = ("impressions", "likes", "comments", "shares", "saves", "views", "clicks")


class Figures(ToolOutput):
    """Figures since the publication, as of the last sync. `rate` is a fraction: 0.05 is 5 %."""

    impressions: int | SkipJsonSchema[None] = None
    likes: int | SkipJsonSchema[None] = None
    comments: int | SkipJsonSchema[None] = None
    shares: int | SkipJsonSchema[None] = None
    saves: int | SkipJsonSchema[None] = None
    views: int | SkipJsonSchema[None] = None
    clicks: int | SkipJsonSchema[None] = None
    rate: float | SkipJsonSchema[None] = None

    @classmethod
    def from_metrics(cls, metrics: Metrics) -> "Figures":
        """Take the figures that the API sent."""
        counts = {name: getattr(metrics, name) for name in COUNTS}
        return cls(**counts, rate=metrics.engagement_rate)

    def get(self, name: Figure) -> float | None:
        """Return one figure; None if the API didn't send it."""
        return getattr(self, name)

    def render(self) -> str:
        """Render the figures that are known: `impressions 1,204, likes 61, rate 5.1 %`."""
        shown = [f"{name} {value:,}" for name in COUNTS if (value := self.get(name)) is not None]
        return ", ".join([*shown, *([] if self.rate is None else [f"rate {_show_rate(self.rate)}"])])


class AccountFigures(ToolOutput):
    """Figures on one account."""

    account: str
    account_id: str | SkipJsonSchema[None] = None
    platform: str
    figures: Figures


class GroupTotal(ToolOutput):
    """Sum of the posts on one platform or account."""

    name: str
    posts: int
    figures: Figures


class Totals(ToolOutput):
    """Sums of the posts that have figures; `rate` is the mean, weighted by impressions."""

    posts: int
    figures: Figures | SkipJsonSchema[None] = None
    platforms: list[GroupTotal]
    accounts: list[GroupTotal]


def total_of(found: PostMetrics) -> Figures | None:
    """Return the figures of a post over all accounts; None before the first sync."""
    if found.total is not None:
        return Figures.from_metrics(found.total)
    return add_figures(Figures.from_metrics(each.metrics) for each in found.accounts)


def sum_groups(parts: Sequence[tuple[str, Figures]]) -> list[GroupTotal]:
    """Add up figures by name, the group with most impressions first."""
    groups: dict[str, list[Figures]] = defaultdict(list)
    for name, figures in parts:
        groups[name].append(figures)
    sums = [
        GroupTotal(name=name, posts=len(own), figures=add_figures(own) or Figures()) for name, own in groups.items()
    ]
    return sorted(sums, key=lambda group: -(group.figures.impressions or 0))


def add_figures(parts: Iterable[Figures]) -> Figures | None:
    """Add up figures; None if there are none. A figure that no part has stays unknown."""
    found = list(parts)
    if not found:
        return None
    counts = {name: _add_known(each.get(name) for each in found) for name in COUNTS}
    return Figures(**counts, rate=_mean_rate(found))  # pyright: ignore[reportArgumentType] # counts are whole numbers


def _add_known(values: Iterable[float | None]) -> int | None:
    known = [int(value) for value in values if value is not None]
    return sum(known) if known else None


def _mean_rate(parts: Sequence[Figures]) -> float | None:
    weighted = [(each.rate, each.impressions) for each in parts if each.rate is not None and each.impressions]
    weight = sum(impressions for _, impressions in weighted)
    return round(sum(rate * impressions for rate, impressions in weighted) / weight, 4) if weight else None


def _show_rate(rate: float) -> str:
    # No post has more engagement than impressions, so a larger figure is on a scale that the API doesn't state.
    return f"{rate * 100:.1f} %" if rate <= 1 else f"{rate:g} (on the API's own scale)"
