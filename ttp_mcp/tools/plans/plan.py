"""`plan_posts`: find a time for each of many posts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import Integration, Post
from ttp_mcp.errors import Refusal, agent_text
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.planning.calendar import draw_calendar, group_posts
from ttp_mcp.planning.model import Booking, Plan, PostRequest, Scheduled, Unscheduled
from ttp_mcp.planning.planner import SLOT_LEAD, make_plan
from ttp_mcp.text import count_noun, normalize_line_ends, show_id
from ttp_mcp.times import show, show_day, to_iso
from ttp_mcp.toolkit.account_directory import AccountIndex, account_label, may_be_for_account, run_together
from ttp_mcp.toolkit.arguments import ToolObject
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput, ToolOutput
from ttp_mcp.toolkit.params import NestedPlatformData
from ttp_mcp.toolkit.ranges import parse_range, parse_time
from ttp_mcp.tools.plans.rankings import History, read_history
from ttp_mcp.tools.plans.stored_plan import NOT_PLANNED, StoredPlan, to_post_create, toolset
from ttp_mcp.tools.posts.network_choices import NetworkChoices, NetworkOptions
from ttp_mcp.tools.posts.prepare import is_now, nearest_time
from ttp_mcp.tools.posts.validation import (
    CLASH,
    Findings,
    check_arguments,
    describe_missing_right,
    find_targets,
    render_refusal,
    validate_post,
)

DAYS_AHEAD = timedelta(days=7)
# The longest spacing.
BOOKINGS_SINCE = timedelta(days=7)


def _check_clock_time(text: str) -> str:
    """Return a time of day as HH:MM; H:MM is accepted."""
    if not re.fullmatch(r"([01]?\d|2[0-3]):[0-5]\d", text.strip(), re.ASCII):
        raise ValueError("must be a time of day; write it as 07:00")
    return text.strip().zfill(5)


ClockTime = Annotated[str, AfterValidator(_check_clock_time)]
Bound = Annotated[str | None, Field(max_length=64)]
Texts = Annotated[list[str] | None, Field(min_length=1, max_length=100)]


class PlanPost(ToolObject):
    """A post of the list."""

    content: Annotated[str, Field(min_length=1, max_length=100_000)]
    account_ids: Texts = None
    platforms: Texts = None
    media_urls: Texts = None
    thread: Annotated[list[Annotated[str, Field(min_length=1)]] | None, Field(max_length=24)] = None
    platform_data: NestedPlatformData = None
    scheduled_at: Bound = None
    earliest: Bound = None
    latest: Bound = None


class PlanPosts(ToolInput):
    """Arguments of plan_posts."""

    posts: Annotated[
        list[PlanPost],
        Field(
            min_length=1,
            max_length=50,
            description="Fields as in create_post. scheduled_at is kept as it is; earliest and latest bound the time.",
        ),
    ]
    start: Annotated[str | None, Field(max_length=64, description="Start of the window. Default: now.")] = None
    end: Annotated[
        str | None,
        Field(max_length=64, description="End of the window; a date is the whole day. Default: 7 days after start."),
    ] = None
    quiet_from: Annotated[ClockTime, Field(description="Start of the quiet hours.")] = "22:00"
    quiet_until: Annotated[ClockTime, Field(description="End of the quiet hours.")] = "07:00"
    spacing_minutes: Annotated[
        int, Field(ge=15, le=10_080, description="Minimum minutes between posts on one account.")
    ] = 240
    at_most_per_day: Annotated[int | None, Field(ge=1, le=50, description="Maximum posts a day on one account.")] = None


class PlannedPost(ToolOutput):
    """A post with a time; `index` is its position in the list, from 1."""

    index: int
    scheduled_at: str
    accounts: list[str]
    reason: str
    warnings: list[str]


class UnplannedPost(ToolOutput):
    """A post without a time."""

    index: int
    reason: str


class PostPlan(ToolOutput):
    """A plan; nothing is sent before apply_plan."""

    plan_id: str | SkipJsonSchema[None] = None
    planned: list[PlannedPost]
    unplanned: list[UnplannedPost]
    time_zone: str


@toolset.tool(title="Plan posts", effect="read", failure=NOT_PLANNED, panel="calendar")
async def plan_posts(args: PlanPosts, context: ToolContext) -> Answer[PostPlan]:
    """Find a time for each of up to 50 posts, around those with scheduled_at. Sends nothing.

    Considers best hours, existing posts, spacing and quiet hours. Returns a calendar with reasons; apply_plan schedules exactly
    this plan. A post has the same time on all its accounts.
    """
    book, existing, me = await run_together(
        context.accounts.read_accounts, context.api.posts.list, context.api.auth.rights
    )
    drafts = _read_drafts(args.posts, book, context)
    drafts = await _find_network_choices(drafts, context)
    accounts = list({account.id: account for draft in drafts for account in draft.targets}.values())
    history = await read_history(context, accounts)
    start, end = parse_range(context, ("start", args.start), ("end", args.end))
    start = start or context.now()
    plan = make_plan(
        [draft.post for draft in drafts],
        now=context.now(),
        start=start,
        end=end or start + DAYS_AHEAD,
        zone=context.zone,
        quiet_from=time.fromisoformat(args.quiet_from),
        quiet_until=time.fromisoformat(args.quiet_until),
        spacing_minutes=args.spacing_minutes,
        at_most_per_day=args.at_most_per_day,
        hours=history.hours,
        weekly=history.weekly,
        booked=_list_bookings(existing, accounts, context.now()),
    )
    plan, warnings = await _validate_posts(plan, drafts, existing, context)
    plan_id, problem = await _save_plan(plan, context)
    heading = _render_heading(plan, plan_id, problem, context)
    if lack := describe_missing_right(me, scheduled=True):
        heading += f" apply_plan would refuse it: {lack}"
    return _planned_answer(heading, plan, plan_id, accounts, warnings, history, context)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A post of the list with its accounts, and what their networks offer for it."""

    post: PostRequest
    targets: tuple[Integration, ...]
    choices: NetworkChoices


def _read_drafts(posts: Sequence[PlanPost], book: AccountIndex, context: ToolContext) -> list[_Draft]:
    """Read the posts of the list.

    Raises:
        Refusal: With the problems of every post.
    """
    drafts: list[_Draft] = []
    problems: list[str] = []
    for number, post in enumerate(posts):
        found = Findings(NOT_PLANNED)
        drafts.append(_read_draft(number, post, book, context, found))
        problems += [f"post {number + 1}: {text}" for text in found.errors]
    if problems:
        raise Refusal(render_refusal(NOT_PLANNED, problems))
    return drafts


def _read_draft(number: int, post: PlanPost, book: AccountIndex, context: ToolContext, found: Findings) -> _Draft:
    account_ids, platforms = post.account_ids or (), post.platforms or ()
    texts = [*map(normalize_line_ends, (post.content, *(post.thread or ())))]
    check_arguments(account_ids, platforms, post.media_urls or (), texts, found)
    targets = find_targets(account_ids, platforms, book, found)
    window = found.collect(parse_range, context, ("earliest", post.earliest), ("latest", post.latest))
    request = PostRequest(
        index=number,
        account_ids=tuple(targets),
        earliest=window[0] if window else None,
        latest=window[1] if window else None,
        fixed_at=found.collect(_parse_fixed, post, context, found.failure),
        content=texts[0],
        media_urls=tuple(post.media_urls or ()),
        thread=tuple(texts[1:]),
        platform_data=post.platform_data or {},
    )
    return _Draft(request, tuple(targets.values()), NetworkChoices(request.platform_data))


async def _find_network_choices(drafts: Sequence[_Draft], context: ToolContext) -> list[_Draft]:
    options = NetworkOptions(context)
    found: list[_Draft] = []
    for draft in drafts:
        post = draft.post
        choices = await options.check(post.platform_data, draft.targets, post.media_urls, scheduled=True)
        post = replace(post, platform_data=choices.platform_data)
        found.append(replace(draft, post=post, choices=choices))
    return found


def _parse_fixed(post: PlanPost, context: ToolContext, failure: str) -> datetime | None:
    if post.scheduled_at is None:
        return None
    if post.earliest or post.latest:
        raise Refusal(f"{failure}: pass either scheduled_at or earliest and latest, not both. Nothing was sent.")
    if is_now(post.scheduled_at):
        return nearest_time(context, SLOT_LEAD)
    return parse_time(context, "scheduled_at", post.scheduled_at)


def _list_bookings(existing: Sequence[Post], accounts: Sequence[Integration], now: datetime) -> list[Booking]:
    """List the posts that are scheduled, and those published recently: spacing reaches back."""
    return [
        Booking(account.id, when, show_id(post.id))
        for post in existing
        if post.status in ("scheduled", "publishing", "published", "partial")
        and (when := post.published_at or post.scheduled_at)
        and when > now - BOOKINGS_SINCE
        for account in may_be_for_account(post, accounts)
    ]


async def _validate_posts(
    plan: Plan, drafts: Sequence[_Draft], existing: Sequence[Post], context: ToolContext
) -> tuple[Plan, dict[int, list[str]]]:
    """Take out the posts that a platform would refuse; return the warnings of the others by index."""
    by_index = {draft.post.index: draft for draft in drafts}
    urls = list(dict.fromkeys(url for draft in drafts for url in draft.post.media_urls))
    media_facts = await context.ledger.media_facts.find(urls) if urls else {}
    scheduled: list[Scheduled] = []
    unscheduled = list(plan.unscheduled)
    warnings: dict[int, list[str]] = {}
    for entry in plan.scheduled:
        draft = by_index[entry.post.index]
        findings = Findings()
        post = to_post_create(entry)
        validate_post(findings, post, draft.targets, existing, context, media_facts=media_facts, scheduled=True)
        choices = draft.choices
        warnings[entry.post.index] = [
            *findings.warnings,
            *choices.warnings,
            *choices.notes,
            *_compare_within(entry, plan.scheduled),
        ]
        if errors := [*findings.errors, *choices.errors]:
            unscheduled.append(Unscheduled(entry.post, " ".join(errors)))
        else:
            scheduled.append(entry)
    in_order = sorted(unscheduled, key=lambda each: each.post.index)
    return replace(plan, scheduled=tuple(scheduled), unscheduled=tuple(in_order)), warnings


def _compare_within(entry: Scheduled, scheduled: Sequence[Scheduled]) -> list[str]:
    """Warn about earlier posts of the list that have the same text, or a fixed time close by, on the same account."""
    post = entry.post
    warnings: list[str] = []
    for other in scheduled:
        if other.post.index >= post.index or not set(other.post.account_ids) & set(post.account_ids):
            continue
        if (other.post.content, other.post.thread) == (post.content, post.thread):
            warnings.append(f"It says the same as post {other.post.index + 1} on the same account.")
        elif abs(other.at - entry.at) < CLASH and (post.fixed_at or other.post.fixed_at):
            minutes = round(abs(other.at - entry.at).total_seconds() / 60)
            warnings.append(f"Post {other.post.index + 1} is {minutes} min apart on the same account.")
    return warnings


async def _save_plan(plan: Plan, context: ToolContext) -> tuple[str | None, str | None]:
    """Store the plan; return its id, or why it can't be applied. Without a ledger the calendar is still useful."""
    if not plan.scheduled:
        return None, None
    try:
        return await StoredPlan.save(plan, context), None
    except LedgerProblem as problem:
        return None, agent_text(problem, "apply_plan can't be used for it")


def _planned_answer(
    heading: str,
    plan: Plan,
    plan_id: str | None,
    accounts: Sequence[Integration],
    warnings: dict[int, list[str]],
    history: History,
    context: ToolContext,
) -> Answer[PostPlan]:
    names = {account.id: account_label(account) for account in accounts}
    data = PostPlan(
        plan_id=plan_id,
        planned=[
            PlannedPost(
                index=entry.post.index + 1,
                scheduled_at=to_iso(entry.at, context.zone) or "",
                accounts=[names[account_id] for account_id in entry.post.account_ids],
                reason=entry.reason,
                warnings=warnings[entry.post.index],
            )
            for entry in plan.scheduled
        ],
        unplanned=[UnplannedPost(index=each.post.index + 1, reason=each.reason) for each in plan.unscheduled],
        time_zone=context.zone.key,
    )
    notes = _render_notes(plan, warnings, history, context)
    sections = [heading, draw_calendar(plan, context.zone, names), "\n".join(notes)]
    return Answer("\n\n".join(section for section in sections if section), data)


def _render_notes(plan: Plan, warnings: dict[int, list[str]], history: History, context: ToolContext) -> list[str]:
    found = group_posts((words, entry.post) for entry in plan.scheduled for words in warnings[entry.post.index])
    notes = [f"Warning for {posts}: {words}" for words, posts in found]
    if all(entry.post.fixed_at for entry in plan.scheduled):
        return notes
    if history.missing:
        notes.append(f"{history.missing[0].upper()}{history.missing[1:]}.")
    if history.hours:
        notes.append(f"Best hours come from the API, which doesn't state their time zone; read as {context.zone.key}.")
    return notes


def _render_heading(plan: Plan, plan_id: str | None, problem: str | None, context: ToolContext) -> str:
    now = f"now {show(context.now(), context.zone)}"
    if not plan.scheduled:
        return f"No post could be given a time (times in {context.zone.key}, {now}). Nothing was sent."
    accounts = {account_id for entry in plan.scheduled for account_id in entry.post.account_ids}
    first, last = (show_day(plan.scheduled[place].at.astimezone(context.zone)) for place in (0, -1))
    left = f", {len(plan.unscheduled)} without a time" if plan.unscheduled else ""
    name = f"Plan {plan_id}" if plan_id else "Calendar without a plan_id"
    what_next = (
        f'Nothing is sent yet; apply_plan(plan_id="{plan_id}") schedules it.'
        if plan_id
        else f"Nothing was sent. {problem} After fixing that, call plan_posts again, or create_post for each post of this calendar."
    )
    return (
        f"{name}: {count_noun(len(plan.scheduled), 'post')} on {count_noun(len(accounts), 'account')}{left}, "
        f"{first} – {last}, {context.zone.key} ({now}). {what_next}"
    )
