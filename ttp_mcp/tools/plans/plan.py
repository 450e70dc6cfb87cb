"""Tools of plans: a time for each of many posts, applied and undone as one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import Integration, Post
from ttp_mcp.errors import agent_text
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.planning import calendar, model, planner
from ttp_mcp.planning.model import Booked, PostRequest
from ttp_mcp.times import show
from ttp_mcp.toolkit.account_directory import AccountCache, account_label
from ttp_mcp.toolkit.arguments import camel_case
from ttp_mcp.toolkit.concurrency import run_both
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput, ToolOutput, without_nulls
from ttp_mcp.toolkit.ranges import parse_range
from ttp_mcp.tools.plans.rankings import History, read_history
from ttp_mcp.tools.plans.stored_plan import NOT_PLANNED, to_document, to_post_create, toolset
from ttp_mcp.tools.posts.paging import may_be_for_account
from ttp_mcp.tools.posts.prepare import only_one_target, refuse_unhosted, refuse_unprintable, targets_of
from ttp_mcp.tools.posts.rendering import count_noun, to_iso
from ttp_mcp.tools.posts.validation import validate_post

DAYS_AHEAD = 7
# The longest spacing is a week.
REACHES_BACK = timedelta(days=7)

ClockTime = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Bound = Annotated[str | None, Field(max_length=64)]
Texts = Annotated[list[str] | None, Field(min_length=1, max_length=100)]


class PlanPost(BaseModel):
    """A post without a time."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    content: Annotated[str, Field(min_length=1, max_length=100_000)]
    account_ids: Texts = None
    platforms: Texts = None
    media_urls: Texts = None
    thread: Annotated[list[Annotated[str, Field(min_length=1, max_length=280)]] | None, Field(max_length=24)] = None
    platform_data: dict[str, Any] | None = None
    earliest: Bound = None
    latest: Bound = None

    @model_validator(mode="before")
    @classmethod
    def _api_spelling(cls, value: Any) -> Any:
        """The API's own spelling, and null for what is left out, are accepted here as they are elsewhere."""
        if not isinstance(value, dict):
            return value
        names = {camel_case(name): name for name in cls.model_fields}
        renamed: dict[Any, Any] = {names.get(key, key): entry for key, entry in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] # raw arguments
        return without_nulls(cls, renamed)


class PlanPosts(ToolInput):
    """The posts, and the rules for their times."""

    posts: Annotated[
        list[PlanPost],
        Field(
            min_length=1,
            max_length=50,
            description="Fields as in create_post, without scheduled_at; earliest and latest bound its time.",
        ),
    ]
    start: Annotated[str | None, Field(max_length=64, description="Begin of the window; now.")] = None
    end: Annotated[
        str | None,
        Field(max_length=64, description="End of the window, a date with its whole day; 7 days after its begin."),
    ] = None
    quiet_from: Annotated[ClockTime, Field(description="No posts from this local time")] = "22:00"
    quiet_until: Annotated[ClockTime, Field(description="until this one.")] = "07:00"
    spacing_minutes: Annotated[int, Field(ge=15, le=10_080, description="Least distance on one account.")] = 240
    at_most_per_day: Annotated[int | None, Field(ge=1, le=50, description="On one account.")] = None


class PlannedPost(ToolOutput):
    """A post of a plan; `index` is its place in the list that was passed, from 1."""

    index: int
    scheduled_at: str
    accounts: list[str]
    reason: str
    warnings: list[str]


class UnplannedPost(ToolOutput):
    """A post that got no time."""

    index: int
    reason: str


class PostPlan(ToolOutput):
    """A plan; nothing is sent before apply_plan."""

    plan_id: str | SkipJsonSchema[None] = None
    planned: list[PlannedPost]
    unplanned: list[UnplannedPost]
    time_zone: str


@toolset.tool(title="Plan posts", effect="read", failure=NOT_PLANNED)
async def plan_posts(args: PlanPosts, context: ToolContext) -> Answer[PostPlan]:
    """Find a time for each of up to 50 posts; sends nothing.

    Goes by best hours, what is booked, spacing and quiet hours. Returns a calendar with reasons and a plan_id; apply_plan
    schedules exactly this plan. Times of one post are the same on all its accounts.
    """
    book, existing = await run_both(context.accounts.fresh, context.api.posts.list)
    drafts = [_draft(number, post, book, context) for number, post in enumerate(args.posts)]
    accounts = list({account.id: account for draft in drafts for account in draft.targets}.values())
    history = await read_history(context, accounts)
    start, end = parse_range(context, ("start", args.start), ("end", args.end))
    start = start or context.now()
    found = planner.make_plan(
        [draft.wish for draft in drafts],
        now=context.now(),
        start=start,
        end=end or start + timedelta(days=DAYS_AHEAD),
        zone=context.zone,
        quiet_from=time.fromisoformat(args.quiet_from),
        quiet_until=time.fromisoformat(args.quiet_until),
        spacing_minutes=args.spacing_minutes,
        at_most_per_day=args.at_most_per_day,
        hours=history.hours,
        weekly=history.weekly,
        booked=_booked(existing, accounts, context.now()),
    )
    found, warnings = _checked(found, drafts, existing)
    names = {account.id: account_label(account) for account in accounts}
    plan_id = planner.plan_id(found) if found.placed else None
    not_kept: str | None = None
    if plan_id:
        try:
            await context.ledger.plans.save(plan_id, to_document(found))
        except LedgerProblem as problem:
            # Planning only reads, and reading goes on without a ledger.
            plan_id, not_kept = None, agent_text(problem, "apply_plan can't be used for it")
    heading = _plan_heading(found, plan_id, not_kept, context)
    return _planned_answer(heading, found, plan_id, names, warnings, history, context)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A post of the list: what planning needs of it, its accounts, and why it can't be planned."""

    wish: PostRequest
    targets: tuple[Integration, ...]


def _draft(number: int, post: PlanPost, book: AccountCache, context: ToolContext) -> _Draft:
    what = f"{NOT_PLANNED}: post {number + 1}"
    only_one_target(post.account_ids, post.platforms, what)
    refuse_unprintable([post.content, *(post.thread or ())], what)
    refuse_unhosted(post.media_urls or (), what)
    targets = targets_of(post.account_ids, post.platforms, book, what)
    place = f"post {number + 1}, "
    earliest, latest = parse_range(context, (f"{place}earliest", post.earliest), (f"{place}latest", post.latest))
    wish = PostRequest(
        index=number,
        account_ids=tuple(account.id for account in targets),
        earliest=earliest,
        latest=latest,
        content=post.content,
        # Accounts are always sent by id: what `platforms` means with several accounts is not documented.
        media_urls=tuple(post.media_urls or ()),
        thread=tuple(post.thread or ()),
        platform_data=post.platform_data or {},
    )
    return _Draft(wish, tuple(targets))


def _booked(existing: Sequence[Post], accounts: Sequence[Integration], now: datetime) -> list[Booked]:
    """What takes a place: posts that are to go out, and those that just did, since spacing reaches back."""
    return [
        Booked(account.id, when, post.id)
        for post in existing
        if post.status in ("scheduled", "publishing", "published", "partial")
        and (when := post.published_at or post.scheduled_at)
        and when > now - REACHES_BACK
        for account in may_be_for_account(post, accounts)
    ]


def _checked(
    found: model.Plan, drafts: Sequence[_Draft], existing: Sequence[Post]
) -> tuple[model.Plan, dict[int, list[str]]]:
    """The plan without posts that a platform would refuse, and the warnings of the others by index."""
    targets = {draft.wish.index: draft.targets for draft in drafts}
    placed: list[model.Scheduled] = []
    unplaced = list(found.unplaced)
    warnings: dict[int, list[str]] = {}
    for each in found.placed:
        said = validate_post(to_post_create(each), targets[each.wish.index], existing)
        warnings[each.wish.index] = [*said.warnings, *_alike(each.wish, found.placed)]
        if said.errors:
            unplaced.append(model.Unscheduled(each.wish, " ".join(said.errors)))
        else:
            placed.append(each)
    return replace(
        found, placed=tuple(placed), unplaced=tuple(sorted(unplaced, key=lambda one: one.wish.index))
    ), warnings


def _alike(wish: PostRequest, placed: Sequence[model.Scheduled]) -> list[str]:
    """A warning for the later of two posts of the plan that say the same on one account."""
    for other in placed:
        same = (other.wish.content, other.wish.thread) == (wish.content, wish.thread)
        if other.wish.index < wish.index and same and set(other.wish.account_ids) & set(wish.account_ids):
            return [f"It says the same as post {other.wish.index + 1} on the same account."]
    return []


def _planned_answer(
    heading: str,
    found: model.Plan,
    plan_id: str | None,
    names: dict[str, str],
    warnings: dict[int, list[str]],
    history: History,
    context: ToolContext,
) -> Answer[PostPlan]:
    data = PostPlan(
        plan_id=plan_id,
        planned=[
            PlannedPost(
                index=each.wish.index + 1,
                scheduled_at=to_iso(each.at, context.zone) or "",
                accounts=[names[account_id] for account_id in each.wish.account_ids],
                reason=each.reason,
                warnings=warnings.get(each.wish.index, []),
            )
            for each in found.placed
        ],
        unplanned=[UnplannedPost(index=each.wish.index + 1, reason=each.reason) for each in found.unplaced],
        time_zone=context.zone.key,
    )
    lines = [heading, "", calendar.draw_calendar(found, context.zone, names), ""]
    for each in found.placed:
        lines += [f"Note on post {each.wish.index + 1}: {warning}" for warning in warnings.get(each.wish.index, [])]
    if history.missing:
        lines.append(f"Note: {history.missing}.")
    if history.hours:
        lines.append(
            f"Best hours come from the API, which does not say their time zone; read here as {context.zone.key}."
        )
    return Answer("\n".join(lines), data)


def _plan_heading(found: model.Plan, plan_id: str | None, not_kept: str | None, context: ToolContext) -> str:
    if not found.placed:
        return f"No post could be given a time (times in {context.zone.key}, now {show(context.now(), context.zone)}). Nothing was sent."
    accounts = {account_id for each in found.placed for account_id in each.wish.account_ids}
    first, last = (found.placed[at].at.astimezone(context.zone) for at in (0, -1))
    left = f", {len(found.unplaced)} without a time" if found.unplaced else ""
    name = f"Plan {plan_id}" if plan_id else "Calendar without a plan_id"
    what_next = (
        f'Nothing is sent yet; apply_plan(plan_id="{plan_id}") schedules it.'
        if plan_id
        else f"Nothing was sent. {not_kept} Once that is mended call plan_posts again, or create_post for each post of this calendar."
    )
    return (
        f"{name}: {count_noun(len(found.placed), 'post')} on {count_noun(len(accounts), 'account')}{left}, "
        f"{_day(first)} – {_day(last)}, {context.zone.key} (now {show(context.now(), context.zone)}). {what_next}"
    )


def _day(local: datetime) -> str:
    """As in the calendar, without what lines its columns up."""
    return " ".join(calendar.day_name(local).split())
