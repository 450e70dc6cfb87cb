"""Tools of plans: a time for each of many posts, applied and undone as one."""

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp import planning
from ttp_mcp.api import ApiError, Integration, NotFound, Post, PostCreate, ValidationFailed
from ttp_mcp.errors import Refusal, agent_text, why
from ttp_mcp.ledger import LONGEST_WRITE, LedgerProblem
from ttp_mcp.ledger import Plan as KeptPlan
from ttp_mcp.planning import Booked, PostWish
from ttp_mcp.text import clean, shorten, shown_id
from ttp_mcp.times import TimeProblem, parse_when, show, to_wire
from ttp_mcp.tools.accounts import AccountBook, label
from ttp_mcp.tools.app import App
from ttp_mcp.tools.checks import findings
from ttp_mcp.tools.consent import agree
from ttp_mcp.tools.drafting import NOT_OUT, only_one_target, refuse_unhosted, refuse_unprintable, shown, targets_of
from ttp_mcp.tools.paging import may_be_for
from ttp_mcp.tools.params import Confirmation
from ttp_mcp.tools.plan_history import History, read_history
from ttp_mcp.tools.posts import replacement_under_way
from ttp_mcp.tools.registry import Answer, ToolInput, ToolOutput, Toolset, camel_case, without_nulls
from ttp_mcp.tools.results import accounts_of, all_barred, counted, iso, listed
from ttp_mcp.tools.together import to_the_end, together
from ttp_mcp.writes import Created, EarlierAttempt, WriteRefused

plans = Toolset("plans")

DAYS_AHEAD = 7
# The longest spacing is a week.
REACHES_BACK = timedelta(days=7)
# An applied post needs a moment to be sent.
LEAD = timedelta(seconds=60)
CHANGED = "it was changed or rescheduled while this call ran, so it is not what was agreed to; undo_plan again asks about it as it is now"
NOT_PLANNED, NOT_APPLIED, NOT_UNDONE = "Posts not planned", "Plan not applied", "Plan not undone"

ClockTime = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
Bound = Annotated[str | None, Field(max_length=64)]
Texts = Annotated[list[str] | None, Field(min_length=1, max_length=100)]
PlanId = Annotated[str, Field(min_length=1, max_length=40, description="Id of the plan, from plan_posts.")]


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


class ApplyPlan(ToolInput):
    """Which plan."""

    plan_id: PlanId
    confirmation: Confirmation = None


class UndoPlan(ToolInput):
    """Which plan."""

    plan_id: PlanId
    confirmation: Confirmation = None


class Step(ToolOutput):
    """One post of a plan: its place, what became of it now, and its id."""

    index: int
    outcome: str
    post_id: str | SkipJsonSchema[None] = None
    reason: str | SkipJsonSchema[None] = None


class PlanProgress(ToolOutput):
    """How far a plan is; `complete` when nothing is left to do."""

    plan_id: str
    complete: bool
    steps: list[Step]


@plans.tool(title="Plan posts", effect="read", failure=NOT_PLANNED)
async def plan_posts(args: PlanPosts, app: App) -> Answer[PostPlan]:
    """Find a time for each of up to 50 posts; sends nothing.

    Goes by best hours, what is booked, spacing and quiet hours. Returns a calendar with reasons and a plan_id; apply_plan
    schedules exactly this plan. Times of one post are the same on all its accounts.
    """
    book, existing = await together(app.accounts.fresh, app.api.posts.list)
    drafts = [_draft(number, post, book, app) for number, post in enumerate(args.posts)]
    accounts = list({account.id: account for draft in drafts for account in draft.targets}.values())
    history = await read_history(app, accounts)
    start = _bound("start", args.start, app) or app.now()
    found = planning.plan(
        [draft.wish for draft in drafts],
        now=app.now(),
        start=start,
        end=_end("end", args.end, app) or start + timedelta(days=DAYS_AHEAD),
        zone=app.zone,
        quiet_from=time.fromisoformat(args.quiet_from),
        quiet_until=time.fromisoformat(args.quiet_until),
        spacing_minutes=args.spacing_minutes,
        at_most_per_day=args.at_most_per_day,
        hours=history.hours,
        weekly=history.weekly,
        booked=_booked(existing, accounts, app.now()),
    )
    found, warnings = _checked(found, drafts, existing)
    names = {account.id: label(account) for account in accounts}
    plan_id = planning.plan_id(found) if found.placed else None
    not_kept: str | None = None
    if plan_id:
        try:
            await app.ledger.keep_plan(plan_id, _document(found))
        except LedgerProblem as problem:
            # Planning only reads, and reading goes on without a ledger.
            plan_id, not_kept = None, agent_text(problem, "apply_plan can't be used for it")
    heading = _plan_heading(found, plan_id, not_kept, app)
    return _planned_answer(heading, found, plan_id, names, warnings, history, app)


@plans.tool(title="Apply a plan", effect="publish", failure=NOT_APPLIED)
async def apply_plan(args: ApplyPlan, app: App) -> Answer[PlanProgress]:
    """Schedule every post of a plan, exactly as plan_posts showed it.

    Stops at the first unclear outcome; calling it again goes on where it stopped and sends nothing twice. undo_plan takes back
    what is not out yet.
    """
    kept, found = await _kept(args.plan_id, app, NOT_APPLIED)
    kept = await _without_removed(kept, found, app)
    todo = [each for each in found.placed if not _done(kept, each.wish.index)]
    if not todo:
        return _progress(kept, found, [], app, "Nothing left to do: every post of the plan was created before.")
    _refuse_passed(todo, app)
    book, existing = await together(app.accounts.fresh, app.api.posts.list)
    await agree(
        app,
        _apply_question(kept.id, todo, book, app),
        binding={"tool": "apply_plan", "plan_id": kept.id, "posts": [each.wish.index for each in todo]},
        grave=True,
        confirmation=args.confirmation,
    )
    # Once more: who was asked may have taken their time, and by now the API has told which time it is there.
    _refuse_passed(todo, app)
    steps: list[Step] = []
    for number, each in enumerate(todo):
        await app.human.progress(number, len(todo), f"{number} of {counted(len(todo), 'post')} scheduled")
        step = await _apply_one(kept, each, existing, app)
        steps.append(step)
        if step.outcome in ("unknown", "stopped"):
            break
    await app.human.progress(len(steps), len(todo), f"{len(steps)} of {counted(len(todo), 'post')} done")
    return _progress(await _again(kept, app), found, steps, app, None)


@plans.tool(title="Undo a plan", effect="remove", failure=NOT_UNDONE)
async def undo_plan(args: UndoPlan, app: App) -> Answer[PlanProgress]:
    """Delete what apply_plan created from a plan and is not out yet.

    What a network already shows stays there. Posts from before the plan are not touched.
    """
    kept, found = await _kept(args.plan_id, app, NOT_UNDONE)
    unclear = await _look_again(kept, found, app)
    kept = await _again(kept, app)
    created = [each for each in found.placed if _done(kept, each.wish.index) == "created"]
    before = _kept_as_before(kept, found) + unclear
    if not created:
        known = "known to be " if unclear else ""
        nothing = f"Nothing to undo: this plan has created no post that is {known}still there."
        return _undone(kept, found, before, app, nothing)
    made = await _made(kept, created, app)
    standing = [each.found for each in made if isinstance(each.found, Post)]
    if standing:
        await agree(
            app,
            await _undo_question(kept.id, standing, app),
            binding={"tool": "undo_plan", "plan_id": kept.id, "posts": [[post.id, *shown(post)] for post in standing]},
            grave=True,
            confirmation=args.confirmation,
        )
    steps = before
    for number, each in enumerate(made):
        await app.human.progress(number, len(made), f"{number} of {counted(len(made), 'post')} looked at")
        steps.append(await _undo_one(kept, each, app))
    await app.human.progress(len(made), len(made), f"{counted(len(made), 'post')} looked at")
    return _undone(await _again(kept, app), found, steps, app, None)


@dataclass(frozen=True, slots=True)
class _Made:
    """A post that a plan created, by the id that it has now: as it stands, or what became of it that is not to be undone."""

    index: int
    post_id: str
    found: Post | Step


@dataclass(frozen=True, slots=True)
class _Draft:
    """A post of the list: what planning needs of it, its accounts, and why it can't be planned."""

    wish: PostWish
    targets: tuple[Integration, ...]


def _draft(number: int, post: PlanPost, book: AccountBook, app: App) -> _Draft:
    what = f"{NOT_PLANNED}: post {number + 1}"
    only_one_target(post.account_ids, post.platforms, what)
    refuse_unprintable([post.content, *(post.thread or ())], what)
    refuse_unhosted(post.media_urls or (), what)
    targets = targets_of(post.account_ids, post.platforms, book, what)
    wish = PostWish(
        index=number,
        account_ids=tuple(account.id for account in targets),
        earliest=_bound(f"post {number + 1}, earliest", post.earliest, app),
        latest=_end(f"post {number + 1}, latest", post.latest, app),
        content=post.content,
        # Accounts are always sent by id: what `platforms` means with several accounts is not documented.
        media_urls=tuple(post.media_urls or ()),
        thread=tuple(post.thread or ()),
        platform_data=post.platform_data or {},
    )
    return _Draft(wish, tuple(targets))


def _bound(name: str, text: str | None, app: App) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_when(text, app.zone, app.now(), date_ok=True)
    except TimeProblem as problem:
        raise TimeProblem(f"{name}: {problem} Nothing was sent.") from None


def _end(name: str, text: str | None, app: App) -> datetime | None:
    """As `_bound`; a day without a time is meant whole."""
    with suppress(ValueError):
        text = (date.fromisoformat((text or "").strip()) + timedelta(days=1)).isoformat()
    return _bound(name, text, app)


def _booked(existing: Sequence[Post], accounts: Sequence[Integration], now: datetime) -> list[Booked]:
    """What takes a place: posts that are to go out, and those that just did, since spacing reaches back."""
    return [
        Booked(account.id, when, post.id)
        for post in existing
        if post.status in ("scheduled", "publishing", "published", "partial")
        and (when := post.published_at or post.scheduled_at)
        and when > now - REACHES_BACK
        for account in may_be_for(post, accounts)
    ]


def _checked(
    found: planning.Plan, drafts: Sequence[_Draft], existing: Sequence[Post]
) -> tuple[planning.Plan, dict[int, list[str]]]:
    """The plan without posts that a platform would refuse, and the warnings of the others by index."""
    targets = {draft.wish.index: draft.targets for draft in drafts}
    placed: list[planning.Placed] = []
    unplaced = list(found.unplaced)
    warnings: dict[int, list[str]] = {}
    for each in found.placed:
        said = findings(_post(each), targets[each.wish.index], existing)
        warnings[each.wish.index] = [*said.warnings, *_alike(each.wish, found.placed)]
        if said.errors:
            unplaced.append(planning.Unplaced(each.wish, " ".join(said.errors)))
        else:
            placed.append(each)
    return replace(
        found, placed=tuple(placed), unplaced=tuple(sorted(unplaced, key=lambda one: one.wish.index))
    ), warnings


def _alike(wish: PostWish, placed: Sequence[planning.Placed]) -> list[str]:
    """A warning for the later of two posts of the plan that say the same on one account."""
    for other in placed:
        same = (other.wish.content, other.wish.thread) == (wish.content, wish.thread)
        if other.wish.index < wish.index and same and set(other.wish.account_ids) & set(wish.account_ids):
            return [f"It says the same as post {other.wish.index + 1} on the same account."]
    return []


def _post(each: planning.Placed) -> PostCreate:
    wish = each.wish
    return PostCreate(
        content=wish.content,
        account_ids=wish.account_ids,
        media_urls=wish.media_urls,
        thread=wish.thread,
        scheduled_at=each.at,
        platform_data=wish.platform_data,
    )


def _document(found: planning.Plan) -> dict[str, Any]:
    """A plan as it is kept: all that its id stands for, and the reasons."""
    return {
        "posts": [
            {
                "index": each.wish.index,
                "at": to_wire(each.at),
                "account_ids": list(each.wish.account_ids),
                "content": each.wish.content,
                "media_urls": list(each.wish.media_urls),
                "thread": list(each.wish.thread),
                "platform_data": each.wish.platform_data,
                "reason": each.reason,
            }
            for each in found.placed
        ]
    }


def _from_document(document: dict[str, Any]) -> planning.Plan:
    placed = [
        planning.Placed(
            PostWish(
                index=post["index"],
                account_ids=tuple(post["account_ids"]),
                content=post["content"],
                media_urls=tuple(post["media_urls"]),
                thread=tuple(post["thread"]),
                platform_data=post["platform_data"],
            ),
            datetime.fromisoformat(post["at"]),
            post["reason"],
        )
        for post in document["posts"]
    ]
    return planning.Plan(tuple(placed), ())


async def _kept(plan_id: str, app: App, what: str) -> tuple[KeptPlan, planning.Plan]:
    """A plan as it was shown; one that is no longer what its id stands for is refused."""
    wanted = plan_id.strip().lower()
    kept = await app.ledger.plan(wanted) if re.fullmatch(r"[0-9a-f]{12}", wanted) else None
    if kept is None:
        raise Refusal(
            f"{what}: there is no plan “{shorten(plan_id, 40)}”. plan_posts makes one and says its id; nothing was sent."
        )
    found = _from_document(kept.document)
    _refuse_altered(kept, found, what)
    return kept, found


def _refuse_altered(kept: KeptPlan, found: planning.Plan, what: str) -> None:
    if planning.plan_id(found) != kept.id:
        raise Refusal(
            f"{what}: plan {kept.id} was altered since it was shown. Call plan_posts again; nothing was sent."
        )


async def _again(kept: KeptPlan, app: App) -> KeptPlan:
    return await app.ledger.plan(kept.id) or kept


def _done(kept: KeptPlan, index: int) -> Literal["created", "existed"] | None:
    note = kept.steps.get(str(index))
    if note is None or note["post_id"] is None:
        return None
    return "existed" if note.get("existed") else "created"


async def _without_removed(kept: KeptPlan, found: planning.Plan, app: App) -> KeptPlan:
    """The plan once the steps are open again whose posts were deleted through us since, as far as their time is ahead."""
    ahead = {str(each.wish.index) for each in found.placed if each.at >= app.now() + LEAD}
    removed = [step for step, note in kept.steps.items() if step in ahead and await _was_removed(note["post_id"], app)]
    for step in removed:
        await app.ledger.note_step(kept.id, step, None)
    return await _again(kept, app) if removed else kept


async def _was_removed(first_id: str | None, app: App) -> bool:
    """Whether a post of a plan was deleted for good; not so when it only made way for a replacement."""
    if first_id is None:
        return False
    post_id = await app.ledger.replacement(first_id) or first_id
    # While a replacement has no end, or lost it in a crash, the old post is gone and a new one may stand.
    return await app.ledger.removed(post_id) is not None and await app.ledger.replacing(post_id) is None


def _refuse_passed(todo: Sequence[planning.Placed], app: App) -> None:
    late = [each for each in todo if each.at < app.now() + LEAD]
    if late:
        raise Refusal(
            f"{NOT_APPLIED}: the time of post {late[0].wish.index + 1}, {show(late[0].at, app.zone)}, has passed or is too close "
            f"({len(late)} of {len(todo)} posts). Call plan_posts again for the posts that are left; nothing was sent."
        )


def _apply_question(plan_id: str, todo: Sequence[planning.Placed], book: AccountBook, app: App) -> str:
    lines = [f"Schedule these {counted(len(todo), 'post')} of plan {plan_id}? Times are in {app.zone.key}."]
    lines += [
        _in_full(each.at, [book.named(account_id) for account_id in each.wish.account_ids], _post(each), app)
        for each in todo
    ]
    return "\n".join(lines)


async def _undo_question(plan_id: str, posts: Sequence[Post], app: App) -> str:
    """What will be deleted as it is now: it may have been rescheduled since the plan was applied."""
    book = await app.accounts.names()
    lines = [f"Delete {counted(len(posts), 'post')} that plan {plan_id} created, as far as they are not out yet?"]
    lines += [_in_full(post.scheduled_at, accounts_of(post, book), post, app) for post in posts]
    return "\n".join(lines)


def _in_full(when: datetime | None, accounts: Sequence[str], post: Post | PostCreate, app: App) -> str:
    """One post of a question, with all that it shows."""
    due = show(when, app.zone) if when else "no time set"
    return f"{due}, {listed(accounts)}:\n{all_barred(post)}"


async def _look_again(kept: KeptPlan, found: planning.Plan, app: App) -> list[Step]:
    """Find out about attempts of this plan that have no known post: what is found is noted, the rest are steps."""
    steps: list[Step] = []
    for each in found.placed:
        earlier = None if _done(kept, each.wish.index) else await app.ledger.earlier(_post(each))
        if earlier is None or earlier.tool != _tool(kept):
            continue
        known = await app.writes.recall(earlier, _post(each))
        if known is not None and known.post_id is not None:
            await _note(kept, each.wish.index, {"post_id": known.post_id, "existed": False}, app)
        elif known is not None:
            reason = "it may have been created, and no single post is equal to it; look with list_posts"
            steps.append(Step(index=each.wish.index + 1, outcome="unknown", reason=reason))
    return steps


def _tool(kept: KeptPlan) -> str:
    """Who creates the posts of a plan, as the ledger knows it: two plans are told apart."""
    return f"apply_plan {kept.id}"


async def _apply_one(kept: KeptPlan, each: planning.Placed, existing: Sequence[Post], app: App) -> Step:
    """Create one post and note it, as one step that a cancel can't cut in two."""

    async def create_and_note() -> Created:
        with app.writes.flight():
            created = await app.writes.create(_post(each), tool=_tool(kept), before=existing)
            if created.lacking:
                return created
            existed = created.outcome == "already_created" and not await _is_own(kept, each, app)
            # Without the note the post stands all the same; applying again finds it as one that exists.
            await _note(kept, each.wish.index, {"post_id": created.post_id, "existed": existed}, app)
            return created

    number = each.wish.index + 1
    if each.at < app.now() + LEAD:
        reason = "its time has passed or is too close; plan_posts finds another"
        return Step(index=number, outcome="refused", reason=reason)
    try:
        created = await to_the_end(create_and_note)
    except (ApiError, WriteRefused, LedgerProblem) as problem:
        if isinstance(problem, EarlierAttempt) and not problem.under_way:
            reason = f"{agent_text(problem, f'Post {number} not created')} {_by_hand(each)}"
            return Step(index=number, outcome="unknown", reason=reason)
        # A post that the API refuses stops only itself; what concerns the next ones too stops them.
        outcome = "refused" if isinstance(problem, ValidationFailed) else "stopped"
        return Step(index=number, outcome=outcome, reason=agent_text(problem, f"Post {number} not created"))
    if created.lacking:
        ids = ", ".join(map(shown_id, created.lacking))
        reason = (
            f"{shown_id(created.post_id or '')} has the same text and time already, but is not for all of its accounts: create_post "
            f"with the same content and media, scheduled_at {to_wire(each.at)} and account_ids {ids} sends it to the rest"
        )
        return Step(index=number, outcome="refused", reason=reason)
    if created.post_id is None:
        cause = why(created.cause) if created.cause else "The call ended before there was an answer."
        return Step(index=number, outcome="unknown", reason=f"{cause} Look with list_posts. {_by_hand(each)}")
    return Step(index=number, outcome=created.outcome, post_id=clean(created.post_id))


async def _is_own(kept: KeptPlan, each: planning.Placed, app: App) -> bool:
    """Whether the post that was there already was made by an earlier attempt to apply this plan."""
    try:
        earlier = await app.ledger.earlier(_post(each))
    except LedgerProblem:
        return False
    return earlier is not None and earlier.tool == _tool(kept)


def _by_hand(each: planning.Placed) -> str:
    """How to go on when nobody can say whether a post of the plan exists: exactly this, so that the plan takes it for its own."""
    accounts = ", ".join(shown_id(account_id) for account_id in each.wish.account_ids)
    return (
        f"Is it not there, create_post with the same content and media, account_ids {accounts}, scheduled_at {to_wire(each.at)} "
        "and allow_duplicate=true, then apply_plan again."
    )


async def _made(kept: KeptPlan, created: Sequence[planning.Placed], app: App) -> list[_Made]:
    """The posts that a plan created as they are now."""
    there = {post.id for post in await app.api.posts.list()}
    made: list[_Made] = []
    for each in created:
        index = each.wish.index
        first_id = str(kept.steps[str(index)]["post_id"])
        # A post of the plan that was rescheduled since has another id now.
        post_id = await app.ledger.replacement(first_id) or first_id
        found: Post | Step
        try:
            # Not from the list, which may show less of it than the look before the delete.
            post = await app.api.posts.get(post_id)
            # Threads and accounts are not promised: what the API leaves out of the plan's own post is as it was sent.
            sent = _post(each).body() if post_id == first_id else {}
            found = _kept_if_out(index, post_id, post) or Post({**sent, **post.raw, "id": post_id})
        except NotFound:
            found = await _not_found(index, post_id, there, app)
        made.append(_Made(index, post_id, found))
    return made


async def _not_found(index: int, post_id: str, there: Collection[str], app: App) -> Step:
    """What to say of a post that is not found, where `there` are the ids of a list that was just read."""
    if await _is_gone(post_id, there, app):
        return Step(index=index + 1, outcome="already_gone", post_id=clean(post_id))
    reason = "it is not found (404), but it may still stand; look with list_posts, and undo_plan again in two minutes"
    return Step(index=index + 1, outcome="unknown", post_id=clean(post_id), reason=reason)


async def _is_gone(post_id: str, there: Collection[str], app: App) -> bool:
    """Whether a post that is not found is really gone: a copy of the API that lags can say so too."""
    if await _was_removed(post_id, app):
        return True
    if post_id in there or await app.ledger.replacing(post_id) is not None:
        return False
    # The ledger goes by this machine's clock: however far that is off, looking back farther only takes longer.
    since = app.now() - timedelta(seconds=abs(app.api.clock.skew_seconds or 0)) - LONGEST_WRITE
    return all(each.post_id != post_id for each in await app.ledger.history(since) if each.kind == "create")


def _kept_if_out(index: int, post_id: str, post: Post) -> Step | None:
    if post.status in NOT_OUT:
        return None
    return Step(index=index + 1, outcome="kept", post_id=clean(post_id), reason=f"it is {shorten(post.status, 20)}")


async def _undo_one(kept: KeptPlan, made: _Made, app: App) -> Step:
    step = made.found
    if isinstance(step, Post):
        try:
            step = await _delete_as_shown(made, step, app)
        except (ApiError, WriteRefused, LedgerProblem) as problem:
            reason = agent_text(problem, f"Post {made.index + 1} not deleted")
            step = Step(index=made.index + 1, outcome="failed", post_id=clean(made.post_id), reason=reason)
    if step.outcome in ("deleted", "already_gone"):
        await _note(kept, made.index, None, app)
    return step


async def _delete_as_shown(made: _Made, asked_about: Post, app: App) -> Step:
    """Delete a post, unless it is another one than the human was asked about: who was asked may have taken their time."""
    number, post_id = made.index + 1, clean(made.post_id)
    try:
        post = await app.api.posts.get(made.post_id)
    except NotFound:
        post = None
    if await app.ledger.replacement(made.post_id) is not None:
        return Step(index=number, outcome="kept", post_id=post_id, reason=CHANGED)
    if post is None:
        return await _not_found(made.index, made.post_id, [each.id for each in await app.api.posts.list()], app)
    if step := _kept_if_out(made.index, made.post_id, post):
        return step
    if other := await replacement_under_way(post.id, app):
        reason = f"a reschedule of it did not end, and {shown_id(other)} stands beside it: delete_post for both, or for the one not wanted"
        return Step(index=number, outcome="unknown", post_id=post_id, reason=reason)
    # What this answer leaves out says nothing.
    if shown(Post({**asked_about.raw, **post.raw})) != shown(asked_about):
        return Step(index=number, outcome="kept", post_id=post_id, reason=CHANGED)
    deleted = await app.writes.delete(made.post_id, tool="undo_plan", post=post)
    reason = "the answer was lost; check with get_post" if deleted.outcome == "unknown" else None
    return Step(index=number, outcome=deleted.outcome, post_id=post_id, reason=reason)


async def _note(kept: KeptPlan, index: int, note: dict[str, Any] | None, app: App) -> None:
    """Remember what became of a post; what happened has happened, also where the ledger can't take it."""
    with suppress(LedgerProblem):
        await app.ledger.note_step(kept.id, str(index), note)


def _kept_as_before(kept: KeptPlan, found: planning.Plan) -> list[Step]:
    """Steps for the posts that the plan did not make: to be known, since they go out all the same."""
    reason = "it existed before the plan was applied; delete_post removes it"
    return [
        Step(
            index=each.wish.index + 1,
            outcome="kept",
            post_id=clean(str(kept.steps[str(each.wish.index)]["post_id"])),
            reason=reason,
        )
        for each in found.placed
        if _done(kept, each.wish.index) == "existed"
    ]


def _planned_answer(
    heading: str,
    found: planning.Plan,
    plan_id: str | None,
    names: dict[str, str],
    warnings: dict[int, list[str]],
    history: History,
    app: App,
) -> Answer[PostPlan]:
    data = PostPlan(
        plan_id=plan_id,
        planned=[
            PlannedPost(
                index=each.wish.index + 1,
                scheduled_at=iso(each.at, app.zone) or "",
                accounts=[names[account_id] for account_id in each.wish.account_ids],
                reason=each.reason,
                warnings=warnings.get(each.wish.index, []),
            )
            for each in found.placed
        ],
        unplanned=[UnplannedPost(index=each.wish.index + 1, reason=each.reason) for each in found.unplaced],
        time_zone=app.zone.key,
    )
    lines = [heading, "", planning.calendar(found, app.zone, names), ""]
    for each in found.placed:
        lines += [f"Note on post {each.wish.index + 1}: {warning}" for warning in warnings.get(each.wish.index, [])]
    if history.missing:
        lines.append(f"Note: {history.missing}.")
    if history.hours:
        lines.append(f"Best hours come from the API, which does not say their time zone; read here as {app.zone.key}.")
    return Answer("\n".join(lines), data)


def _plan_heading(found: planning.Plan, plan_id: str | None, not_kept: str | None, app: App) -> str:
    if not found.placed:
        return f"No post could be given a time (times in {app.zone.key}, now {show(app.now(), app.zone)}). Nothing was sent."
    accounts = {account_id for each in found.placed for account_id in each.wish.account_ids}
    first, last = (found.placed[at].at.astimezone(app.zone) for at in (0, -1))
    left = f", {len(found.unplaced)} without a time" if found.unplaced else ""
    name = f"Plan {plan_id}" if plan_id else "Calendar without a plan_id"
    what_next = (
        f'Nothing is sent yet; apply_plan(plan_id="{plan_id}") schedules it.'
        if plan_id
        else f"Nothing was sent. {not_kept} Once that is mended call plan_posts again, or create_post for each post of this calendar."
    )
    return (
        f"{name}: {counted(len(found.placed), 'post')} on {counted(len(accounts), 'account')}{left}, "
        f"{_day(first)} – {_day(last)}, {app.zone.key} (now {show(app.now(), app.zone)}). {what_next}"
    )


def _day(local: datetime) -> str:
    """As in the calendar, without what lines its columns up."""
    return " ".join(planning.day_name(local).split())


def _progress(
    kept: KeptPlan, found: planning.Plan, steps: Sequence[Step], app: App, nothing: str | None
) -> Answer[PlanProgress]:
    done = sum(_done(kept, each.wish.index) is not None for each in found.placed)
    lines = [nothing or f"Plan {kept.id}: {done} of {counted(len(found.placed), 'post')} scheduled now."]
    lines += _step_lines(found, steps, app)
    if any(step.outcome == "unknown" for step in steps):
        lines.append("It stopped there, so that nothing is sent twice; what was created is not sent again.")
    elif any(step.outcome == "stopped" for step in steps):
        lines.append("It stopped there. apply_plan with the same plan_id goes on; what was created is not sent again.")
    elif any(step.outcome == "created" for step in steps):
        lines.append("Nothing is public yet; undo_plan takes it back, delete_post a single post.")
    data = PlanProgress(plan_id=kept.id, complete=done == len(found.placed), steps=list(steps))
    return Answer("\n".join(lines), data)


def _undone(
    kept: KeptPlan, found: planning.Plan, steps: Sequence[Step], app: App, nothing: str | None
) -> Answer[PlanProgress]:
    gone = sum(step.outcome in ("deleted", "already_gone") for step in steps)
    lines = [nothing or f"Plan {kept.id}: {gone} of {counted(len(steps), 'post')} taken back."]
    lines += _step_lines(found, steps, app)
    complete = not any(step.outcome in ("failed", "unknown") or step.reason == CHANGED for step in steps)
    if not complete:
        lines.append("undo_plan with the same plan_id tries again what is left.")
    return Answer("\n".join(lines), PlanProgress(plan_id=kept.id, complete=complete, steps=list(steps)))


def _step_lines(found: planning.Plan, steps: Sequence[Step], app: App) -> list[str]:
    when = {each.wish.index + 1: show(each.at, app.zone) for each in found.placed}
    return [
        f"- post {step.index}, {when[step.index]}: {step.outcome.replace('_', ' ')}"
        f"{f' {step.post_id}' if step.post_id else ''}{f': {step.reason}' if step.reason else ''}"
        for step in steps
    ]
