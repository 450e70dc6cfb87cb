"""`apply_plan`: create every post of a stored plan."""

from collections.abc import Sequence

from ttp_mcp.api import ApiError, Post, ValidationFailed
from ttp_mcp.errors import Refusal, agent_text, why
from ttp_mcp.ledger.plans import PlanRecord as KeptPlan
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.planning import model
from ttp_mcp.text import clean_text, show_id
from ttp_mcp.times import show, to_wire
from ttp_mcp.toolkit.account_directory import AccountCache
from ttp_mcp.toolkit.concurrency import run_both, shielded
from ttp_mcp.toolkit.confirmation import require_confirmation
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput
from ttp_mcp.toolkit.params import Confirmation
from ttp_mcp.tools.plans.stored_plan import (
    LEAD,
    NOT_APPLIED,
    PlanId,
    PlanProgress,
    Step,
    call_again,
    load_plan,
    note_step,
    posts_done,
    render_steps,
    render_steps_in_full,
    to_post_create,
    tool_named,
    toolset,
    was_removed,
)
from ttp_mcp.tools.posts.rendering import count_noun
from ttp_mcp.writes.outcomes import Created, EarlierAttempt, WriteRefused


class ApplyPlan(ToolInput):
    """Which plan."""

    plan_id: PlanId
    confirmation: Confirmation = None


@toolset.tool(title="Apply a plan", effect="publish", failure=NOT_APPLIED)
async def apply_plan(args: ApplyPlan, context: ToolContext) -> Answer[PlanProgress]:
    """Schedule every post of a plan, exactly as plan_posts showed it.

    Stops at the first unclear outcome; calling it again goes on where it stopped and sends nothing twice. undo_plan takes back
    what is not out yet.
    """
    kept, found = await load_plan(args.plan_id, context, NOT_APPLIED)
    kept = await _without_removed(kept, found, context)
    todo = [each for each in found.placed if not posts_done(kept, each.wish.index)]
    if not todo:
        return _progress(kept, found, [], context, "Nothing left to do: every post of the plan was created before.")
    _refuse_passed(todo, context)
    book, existing = await run_both(context.accounts.fresh, context.api.posts.list)
    await require_confirmation(
        context,
        _apply_question(kept.id, todo, book, context),
        binding={"tool": "apply_plan", "plan_id": kept.id, "posts": [each.wish.index for each in todo]},
        irreversible=True,
        confirmation=args.confirmation,
    )
    # Once more: who was asked may have taken their time, and by now the API has told which time it is there.
    _refuse_passed(todo, context)
    steps: list[Step] = []
    for number, each in enumerate(todo):
        await context.user.report_progress(number, len(todo), f"{number} of {count_noun(len(todo), 'post')} scheduled")
        step = await _apply_one(kept, each, existing, context)
        steps.append(step)
        if step.outcome in ("unknown", "stopped"):
            break
    await context.user.report_progress(len(steps), len(todo), f"{len(steps)} of {count_noun(len(todo), 'post')} done")
    return _progress(await call_again(kept, context), found, steps, context, None)


async def _without_removed(kept: KeptPlan, found: model.Plan, context: ToolContext) -> KeptPlan:
    """The plan once the steps are open again whose posts were deleted through us since, as far as their time is ahead."""
    ahead = {str(each.wish.index) for each in found.placed if each.at >= context.now() + LEAD}
    removed = [
        step for step, note in kept.steps.items() if step in ahead and await was_removed(note["post_id"], context)
    ]
    for step in removed:
        await context.ledger.plans.note_step(kept.id, step, None)
    return await call_again(kept, context) if removed else kept


def _refuse_passed(todo: Sequence[model.Scheduled], context: ToolContext) -> None:
    late = [each for each in todo if each.at < context.now() + LEAD]
    if late:
        raise Refusal(
            f"{NOT_APPLIED}: the time of post {late[0].wish.index + 1}, {show(late[0].at, context.zone)}, has passed or is too close "
            f"({len(late)} of {len(todo)} posts). Call plan_posts again for the posts that are left; nothing was sent."
        )


def _apply_question(plan_id: str, todo: Sequence[model.Scheduled], book: AccountCache, context: ToolContext) -> str:
    lines = [f"Schedule these {count_noun(len(todo), 'post')} of plan {plan_id}? Times are in {context.zone.key}."]
    lines += [
        render_steps_in_full(
            each.at, [book.named(account_id) for account_id in each.wish.account_ids], to_post_create(each), context
        )
        for each in todo
    ]
    return "\n".join(lines)


async def _apply_one(kept: KeptPlan, each: model.Scheduled, existing: Sequence[Post], context: ToolContext) -> Step:
    """Create one post and note it, as one step that a cancel can't cut in two."""

    async def create_and_note() -> Created:
        with context.writer.in_flight.track():
            created = await context.writer.create(to_post_create(each), tool=tool_named(kept), existing=existing)
            if created.missing_accounts:
                return created
            existed = created.outcome == "already_created" and not await _is_own(kept, each, context)
            # Without the note the post stands all the same; applying again finds it as one that exists.
            await note_step(kept, each.wish.index, {"post_id": created.post_id, "existed": existed}, context)
            return created

    number = each.wish.index + 1
    if each.at < context.now() + LEAD:
        reason = "its time has passed or is too close; plan_posts finds another"
        return Step(index=number, outcome="refused", reason=reason)
    try:
        created = await shielded(create_and_note)
    except (ApiError, WriteRefused, LedgerProblem) as problem:
        if isinstance(problem, EarlierAttempt) and not problem.in_progress:
            reason = f"{agent_text(problem, f'Post {number} not created')} {_by_hand(each)}"
            return Step(index=number, outcome="unknown", reason=reason)
        # A post that the API refuses stops only itself; what concerns the next ones too stops them.
        outcome = "refused" if isinstance(problem, ValidationFailed) else "stopped"
        return Step(index=number, outcome=outcome, reason=agent_text(problem, f"Post {number} not created"))
    if created.missing_accounts:
        ids = ", ".join(map(show_id, created.missing_accounts))
        reason = (
            f"{show_id(created.post_id or '')} has the same text and time already, but is not for all of its accounts: create_post "
            f"with the same content and media, scheduled_at {to_wire(each.at)} and account_ids {ids} sends it to the rest"
        )
        return Step(index=number, outcome="refused", reason=reason)
    if created.post_id is None:
        cause = why(created.cause) if created.cause else "The call ended before there was an answer."
        return Step(index=number, outcome="unknown", reason=f"{cause} Look with list_posts. {_by_hand(each)}")
    return Step(index=number, outcome=created.outcome, post_id=clean_text(created.post_id))


async def _is_own(kept: KeptPlan, each: model.Scheduled, context: ToolContext) -> bool:
    """Whether the post that was there already was made by an earlier attempt to apply this plan."""
    try:
        earlier = await context.ledger.find_prior_create(to_post_create(each))
    except LedgerProblem:
        return False
    return earlier is not None and earlier.tool == tool_named(kept)


def _by_hand(each: model.Scheduled) -> str:
    """How to go on when nobody can say whether a post of the plan exists: exactly this, so that the plan takes it for its own."""
    accounts = ", ".join(show_id(account_id) for account_id in each.wish.account_ids)
    return (
        f"Is it not there, create_post with the same content and media, account_ids {accounts}, scheduled_at {to_wire(each.at)} "
        "and allow_duplicate=true, then apply_plan again."
    )


def _progress(
    kept: KeptPlan, found: model.Plan, steps: Sequence[Step], context: ToolContext, nothing: str | None
) -> Answer[PlanProgress]:
    done = sum(posts_done(kept, each.wish.index) is not None for each in found.placed)
    lines = [nothing or f"Plan {kept.id}: {done} of {count_noun(len(found.placed), 'post')} scheduled now."]
    lines += render_steps(found, steps, context)
    if any(step.outcome == "unknown" for step in steps):
        lines.append("It stopped there, so that nothing is sent twice; what was created is not sent again.")
    elif any(step.outcome == "stopped" for step in steps):
        lines.append("It stopped there. apply_plan with the same plan_id goes on; what was created is not sent again.")
    elif any(step.outcome == "created" for step in steps):
        lines.append("Nothing is public yet; undo_plan takes it back, delete_post a single post.")
    data = PlanProgress(plan_id=kept.id, complete=done == len(found.placed), steps=list(steps))
    return Answer("\n".join(lines), data)
