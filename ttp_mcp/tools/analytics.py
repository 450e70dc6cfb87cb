"""Analytics tools: best times and engagement.

The API documents only the response of optimal-times. The others are parsed leniently and returned in full.
"""

import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, cast

from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api.parsing import as_datetime, as_number
from ttp_mcp.text import clean_json, clean_text, count_noun, fence_text, quote_text, shorten_line, show_word
from ttp_mcp.times import from_now, show, to_iso
from ttp_mcp.toolkit.account_directory import platform_key
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, NoArguments, ToolInput, ToolOutput
from ttp_mcp.toolkit.params import Platform
from ttp_mcp.toolkit.registry import Toolset

toolset = Toolset("analytics")

# A ranking of fewer data points is a weak hint. Our own threshold; the API states none.
FEW_POINTS = 20
# Longest undocumented reply that is repeated in the text; the structured content always has all of it.
LONGEST_REPLY = 12_000
# Most notes beside one reply.
MOST_NOTES = 20

# Only with an offset: without one it could be any zone's.
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)", re.ASCII)

# Names under which a reply of next-optimal-time may have its instant. The sandbox has the first one; the API documents none.
_INSTANT_FIELDS = ("nextOptimalTime", "optimalTime", "nextTime", "scheduledAt", "datetime", "dateTime", "time", "slot")
SCALE = "0 to 1"

RANKINGS = (
    "Hours and days are separate rankings, not slots, and the API does not state their time zone; "
    "next_optimal_time gives an instant."
)


class OptimalTimes(ToolInput):
    """Platform to rank times for."""

    platform: Platform = None


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
    """A response whose shape the API doesn't document, returned in full."""

    reply: dict[str, Any]


class NextTime(Reply):
    """The next recommended time. `at` and `score` are there when the reply has them; `score_scale` is that of optimal_times."""

    at: str | SkipJsonSchema[None] = None
    score: float | SkipJsonSchema[None] = None
    score_scale: str | SkipJsonSchema[None] = None


@toolset.tool(title="Best times to post", effect="read", failure="Best times not read", panel="results")
async def optimal_times(args: OptimalTimes, context: ToolContext) -> Answer[BestTimes]:
    """Rank the hours and weekdays that did best in the user's own history.

    optimal_times_by_account has the same for each account; next_optimal_time names one instant. Needs a plan with the
    best-time feature.
    """
    platform = platform_key(args.platform) if args.platform else None
    found = await context.api.analytics.optimal_times(platform)
    where = f" on {show_word(platform)}" if platform else ""
    if found.best_hours or found.best_days:
        hours = ", ".join(f"{hour:02d}:00 (score {score:.2f})" for hour, score in found.best_hours)
        days = ", ".join(f"{show_word(day)} (score {score:.2f})" for day, score in found.best_days)
        lines = [
            f"Best times{where}, from {_describe_points(found.data_points)}:",
            f"Hours: {hours or 'none yet'}",
            f"Days: {days or 'none yet'}",
            RANKINGS,
        ]
    else:
        basis = "" if found.data_points is None else f" ({count_noun(found.data_points, 'data point')})"
        lines = [f"No best times{where} yet{basis}."]
    if found.message:
        lines.append(f"API said: {quote_text(found.message)}")
    data = BestTimes(
        best_hours=[Hour(hour=hour, score=score) for hour, score in found.best_hours],
        best_days=[Day(day=clean_text(day), score=score) for day, score in found.best_days],
        data_points=found.data_points,
        message=shorten_line(found.message, 300) if found.message else None,
    )
    return Answer("\n".join(lines), data)


@toolset.tool(title="Best times by account", effect="read", failure="Best times not read")
async def optimal_times_by_account(args: NoArguments, context: ToolContext) -> Answer[Reply]:
    """Rank the best hours and weekdays for each connected account.

    The same as optimal_times, one ranking per account, as the API returns it.
    """
    reply = await context.api.analytics.optimal_times_by_account()
    return _pass_on("Best times by account", reply, RANKINGS, *_note_small_samples(reply))


@toolset.tool(title="Next best time", effect="read", failure="Next best time not read")
async def next_optimal_time(args: NoArguments, context: ToolContext) -> Answer[NextTime]:
    """Return the next recommended posting time and its score.

    Pass `at` to create_post as scheduled_at. The rest is as the API returns it.
    """
    reply = await context.api.analytics.next_optimal_time()
    found = _find_next_time(reply, context)
    if found is None:
        passed_on = _pass_on("Next best time", reply, *_render_instants(reply, context))
        return Answer(passed_on.text, NextTime(reply=passed_on.data.reply))
    when, score = found
    scale = None if score is None else SCALE if 0 <= score <= 1 else "not stated by the API"
    words = "" if score is None else f"; score {score:g} (scale: {scale})"
    heading = f"Next best time: {show(when, context.zone)}, {from_now(when, context.now())}{words}."
    passed_on = _pass_on("The reply", reply)
    data = NextTime(reply=passed_on.data.reply, at=to_iso(when, context.zone), score=score, score_scale=scale)
    return Answer(f"{heading}\n{passed_on.text}", data)


@toolset.tool(title="Weekly schedule", effect="read", failure="Weekly schedule not read")
async def weekly_schedule(args: NoArguments, context: ToolContext) -> Answer[Reply]:
    """Return the API's recommended posting schedule of a week.

    To see what is already scheduled call list_posts with status scheduled.
    """
    note = "The API does not state the time zone of these hours."
    return _pass_on("Weekly schedule", await context.api.analytics.weekly_schedule(), note)


@toolset.tool(title="Engagement summary", effect="read", failure="Engagement not read", panel="results")
async def engagement_summary(args: NoArguments, context: ToolContext) -> Answer[Reply]:
    """Return likes, comments, shares and views of the whole organization.

    Can't be narrowed by post, platform or period; the API doesn't state the period.
    """
    note = "These figures can't be narrowed by post, platform or period; the API doesn't state the period."
    return _pass_on("Engagement", await context.api.analytics.engagement_summary(), note)


def _describe_points(count: int | None) -> str:
    if count is None:
        return "a number of posts that the API does not state"
    few = ", a small sample: treat it as a hint" if count < FEW_POINTS else ""
    return count_noun(count, "data point") + few


def _note_small_samples(reply: dict[str, Any]) -> list[str]:
    """Note each ranking of few data points, by account or platform."""
    rankings = ((owner, as_number(part.get("dataPoints"))) for owner, part in _walk_objects(reply))
    thin = [(owner or "a ranking", int(count)) for owner, count in rankings if count is not None and count < FEW_POINTS]
    notes = [
        f"{owner}: {_describe_points(count)}." if count else f"{owner}: no data points, so no best times yet."
        for owner, count in thin
    ]
    more = (
        [f"{len(thin) - MOST_NOTES} more have fewer than {FEW_POINTS} data points."] if len(thin) > MOST_NOTES else []
    )
    return notes[:MOST_NOTES] + more


def _render_instants(reply: dict[str, Any], context: ToolContext) -> list[str]:
    """Convert each instant of a response to the user's zone. Times without an offset are left out: their zone is unknown."""
    values = (value for _, part in _walk_objects(reply) for value in part.values())
    found = {value: when for value in values if (when := _parse_instant(value))}
    return [f"{text} is {show(when, context.zone)}, {from_now(when, context.now())}." for text, when in found.items()][
        :MOST_NOTES
    ]


def _parse_instant(value: object) -> datetime | None:
    return as_datetime(value) if isinstance(value, str) and _INSTANT.fullmatch(value) else None


def _find_next_time(reply: dict[str, Any], context: ToolContext) -> tuple[datetime, float | None] | None:
    """Return the instant of a reply and its score. None if there is no instant to come, or more than one."""
    found: dict[datetime, float | None] = {}
    for _, part in _walk_objects(reply):
        for name in _INSTANT_FIELDS:
            when = _parse_instant(part.get(name))
            if when is not None and when > context.now():
                found.setdefault(when, as_number(part.get("score")))
    return next(iter(found.items())) if len(found) == 1 else None


def _walk_objects(reply: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of a response with its owner: its own platform and name, or those of an enclosing object."""
    left: list[tuple[str, object]] = [("", reply)]
    while left:
        owner, part = left.pop()
        if isinstance(part, list):
            left += [(owner, entry) for entry in reversed(cast("list[object]", part))]
        elif isinstance(part, dict):
            found = cast("dict[str, Any]", part)
            owner = _name_owner(found) or owner
            yield owner, found
            left += [(owner, entry) for entry in reversed(found.values())]


def _name_owner(part: dict[str, Any]) -> str:
    """Return platform and name of an object, safe to quote; empty if it has neither."""
    words = [part.get("platform"), part.get("name") or part.get("handle") or part.get("accountId")]
    return " ".join(show_word(word) for word in words if isinstance(word, str) and word)


def _is_empty(reply: object) -> bool:
    """Check whether a response has no data: only null, {}, [], and `success`."""
    if isinstance(reply, dict):
        entries = cast("dict[str, object]", reply).items()
        return all(name == "success" or _is_empty(value) for name, value in entries)
    return reply is None or reply in ([], "")


def _pass_on(title: str, reply: dict[str, Any], *notes: str) -> Answer[Reply]:
    safe = clean_json(reply)
    if _is_empty(reply):
        return Answer(f"{title}: the API's reply is empty, so there is nothing to go by yet.", Reply(reply=safe))
    text = json.dumps(safe, ensure_ascii=False, separators=(",", ":"))
    if len(text) > LONGEST_REPLY:
        text = f"{text[:LONGEST_REPLY]}…\n(cut at {LONGEST_REPLY} of {len(text)} characters; the structured content has all of it)"
    lines = [f"{title}, as the API sent it (its shape is undocumented):", fence_text(text), *notes]
    return Answer("\n".join(lines), Reply(reply=safe))
