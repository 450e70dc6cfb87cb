"""Tools of the analytics: best times and engagement.

The reference documents one reply, that of optimal-times. The others are read tolerantly and passed on whole.
"""

import json
from typing import Any

from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import Recommendation
from ttp_mcp.text import clean, clean_json, fence, quote_api
from ttp_mcp.tools.accounts import platform_key
from ttp_mcp.tools.app import App
from ttp_mcp.tools.params import Platform
from ttp_mcp.tools.registry import Answer, ToolInput, ToolOutput, Toolset

analytics = Toolset("analytics")

# Below this many measured posts a ranking says little; our own threshold, the API names none.
FEW_POINTS = 20
# Longest undocumented reply that is repeated in the text; the structured content always has all of it.
LONGEST_REPLY = 12_000

RANKINGS = (
    "Hours and days are separate rankings, not slots, and the API does not state their time zone; "
    "next_optimal_time gives an instant."
)


class OptimalTimes(ToolInput):
    """Which platform to look at."""

    platform: Platform = None


class NoArguments(ToolInput):
    """No arguments."""


class Hour(ToolOutput):
    """An hour of the day, 0–23, and how well it did, 0–1."""

    hour: int
    score: float


class Day(ToolOutput):
    """A weekday and how well it did, 0–1."""

    day: str
    score: float


class BestTimes(ToolOutput):
    """Hours and weekdays, best first, in a time zone that the API does not state."""

    best_hours: list[Hour]
    best_days: list[Day]
    data_points: int | SkipJsonSchema[None] = None
    message: str | SkipJsonSchema[None] = None
    time_zone: str = "not stated by the API"


class Reply(ToolOutput):
    """A reply whose shape the API does not document, passed on whole."""

    reply: dict[str, Any]


@analytics.tool(title="Best times to post", effect="read", failure="Best times not read")
async def optimal_times(args: OptimalTimes, app: App) -> Answer[BestTimes]:
    """Rank the hours and weekdays that did best in the user's own history.

    optimal_times_by_account has the same for each account; next_optimal_time names one instant. Needs a plan with the
    best-time feature.
    """
    platform = platform_key(args.platform) if args.platform else None
    found = await app.api.analytics.optimal_times(platform)
    where = f" on {quote_api(platform, 50)}" if platform else ""
    lines = [f"Best times{where}, from {_points(found.data_points)}:"]
    lines.append(
        "Hours: "
        + (", ".join(f"{hour.hour:02d}:00 (score {hour.score:.2f})" for hour in found.best_hours) or "none yet")
    )
    lines.append(
        "Days: "
        + (", ".join(f"{quote_api(day.day, 20)} (score {day.score:.2f})" for day in found.best_days) or "none yet")
    )
    lines.append(RANKINGS)
    if found.message:
        lines.append(f"API said: “{quote_api(found.message)}”")
    return Answer("\n".join(lines), _best_times(found))


@analytics.tool(title="Best times by account", effect="read", failure="Best times not read")
async def optimal_times_by_account(args: NoArguments, app: App) -> Answer[Reply]:
    """Rank the best hours and weekdays for each connected account.

    As optimal_times, one ranking per account. The reply has no documented shape.
    """
    reply = await app.api.analytics.optimal_times_by_account()
    return _pass_on("Best times by account", reply, RANKINGS)


@analytics.tool(title="Next best time", effect="read", failure="Next best time not read")
async def next_optimal_time(args: NoArguments, app: App) -> Answer[Reply]:
    """Say the next good moment to post, counted from now.

    Its instant can be passed to create_post as scheduled_at. The reply has no documented shape.
    """
    return _pass_on("Next best time", await app.api.analytics.next_optimal_time(), "")


@analytics.tool(title="Weekly schedule", effect="read", failure="Weekly schedule not read")
async def weekly_schedule(args: NoArguments, app: App) -> Answer[Reply]:
    """Return the API's recommended posting schedule of a week.

    To see what is already scheduled call list_posts with status scheduled. The reply has no documented shape.
    """
    note = "The API does not state the time zone of these hours."
    return _pass_on("Weekly schedule", await app.api.analytics.weekly_schedule(), note)


@analytics.tool(title="Engagement summary", effect="read", failure="Engagement not read")
async def engagement_summary(args: NoArguments, app: App) -> Answer[Reply]:
    """Add up likes, comments, shares and views of the organization.

    The period is the API's own and not stated. The reply has no documented shape.
    """
    note = "The API does not state which period these figures cover."
    return _pass_on("Engagement", await app.api.analytics.engagement_summary(), note)


def _points(count: int | None) -> str:
    if count is None:
        return "a number of posts that the API does not state"
    few = ", which is few: treat it as a hint" if count < FEW_POINTS else ""
    return f"{count} data point{'' if count == 1 else 's'}{few}"


def _best_times(found: Recommendation) -> BestTimes:
    return BestTimes(
        best_hours=[Hour(hour=hour.hour, score=hour.score) for hour in found.best_hours],
        best_days=[Day(day=clean(day.day), score=day.score) for day in found.best_days],
        data_points=found.data_points,
        message=quote_api(found.message) if found.message else None,
    )


def _pass_on(title: str, reply: dict[str, Any], note: str) -> Answer[Reply]:
    safe = clean_json(reply)
    text = json.dumps(safe, ensure_ascii=False, separators=(",", ":"))
    if len(text) > LONGEST_REPLY:
        text = f"{text[:LONGEST_REPLY]}…\n(cut at {LONGEST_REPLY} of {len(text)} characters; the structured content has all of it)"
    lines = [f"{title}, as the API sent it (its shape is undocumented):", fence(text), note]
    return Answer("\n".join(line for line in lines if line), Reply(reply=safe))
