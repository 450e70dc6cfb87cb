"""`undo_plan`: delete what an applied plan created."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ttp_mcp.api import ApiError, NotFound, Post
from ttp_mcp.errors import agent_text
from ttp_mcp.ledger.plans import PlanRecord as KeptPlan
from ttp_mcp.ledger.records import LONGEST_WRITE
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.planning import model
from ttp_mcp.text import clean_text, show_id
from ttp_mcp.toolkit.confirmation import require_confirmation
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput
from ttp_mcp.toolkit.params import Confirmation
from ttp_mcp.tools.plans.stored_plan import (
    NOT_UNDONE,
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
from ttp_mcp.tools.posts.guards import replacement_under_way
from ttp_mcp.tools.posts.prepare import visible_fields
from ttp_mcp.tools.posts.rendering import account_labels, count_noun
from ttp_mcp.writes.outcomes import WriteRefused
from ttp_mcp.writes.replacement import REPLACEABLE

CHANGED = "it was changed or rescheduled while this call ran, so it is not what was agreed to; undo_plan again asks about it as it is now"


class UndoPlan(ToolInput):
    """Which plan."""

    plan_id: PlanId
    confirmation: Confirmation = None


@toolset.tool(title="Undo a plan", effect="remove", failure=NOT_UNDONE)
async def undo_plan(args: UndoPlan, context: ToolContext) -> Answer[PlanProgress]:
    """Delete what apply_plan created from a plan and is not out yet.

    What a network already shows stays there. Posts from before the plan are not touched.
    """
    kept, found = await load_plan(args.plan_id, context, NOT_UNDONE)
    unclear = await _look_again(kept, found, context)
    kept = await call_again(kept, context)
    created = [each for each in found.placed if posts_done(kept, each.wish.index) == "created"]
    before = _kept_as_before(kept, found) + unclear
    if not created:
        known = "known to be " if unclear else ""
        nothing = f"Nothing to undo: this plan has created no post that is {known}still there."
        return _undone(kept, found, before, context, nothing)
    made = await _made(kept, created, context)
    standing = [each.found for each in made if isinstance(each.found, Post)]
    if standing:
        await require_confirmation(
            context,
            await _undo_question(kept.id, standing, context),
            binding={
                "tool": "undo_plan",
                "plan_id": kept.id,
                "posts": [[post.id, *visible_fields(post)] for post in standing],
            },
            irreversible=True,
            confirmation=args.confirmation,
        )
    steps = before
    for number, each in enumerate(made):
        await context.user.report_progress(number, len(made), f"{number} of {count_noun(len(made), 'post')} looked at")
        steps.append(await _undo_one(kept, each, context))
    await context.user.report_progress(len(made), len(made), f"{count_noun(len(made), 'post')} looked at")
    return _undone(await call_again(kept, context), found, steps, context, None)


@dataclass(frozen=True, slots=True)
class _Made:
    """A post that a plan created, by the id that it has now: as it stands, or what became of it that is not to be undone."""

    index: int
    post_id: str
    found: Post | Step


async def _undo_question(plan_id: str, posts: Sequence[Post], context: ToolContext) -> str:
    """What will be deleted as it is now: it may have been rescheduled since the plan was applied."""
    book = await context.accounts.names()
    lines = [f"Delete {count_noun(len(posts), 'post')} that plan {plan_id} created, as far as they are not out yet?"]
    lines += [render_steps_in_full(post.scheduled_at, account_labels(post, book), post, context) for post in posts]
    return "\n".join(lines)


async def _look_again(kept: KeptPlan, found: model.Plan, context: ToolContext) -> list[Step]:
    """Find out about attempts of this plan that have no known post: what is found is noted, the rest are steps."""
    steps: list[Step] = []
    for each in found.placed:
        earlier = (
            None if posts_done(kept, each.wish.index) else await context.ledger.find_prior_create(to_post_create(each))
        )
        if earlier is None or earlier.tool != tool_named(kept):
            continue
        known = await context.writer.duplicates.recall(earlier, to_post_create(each))
        if known is not None and known.post_id is not None:
            await note_step(kept, each.wish.index, {"post_id": known.post_id, "existed": False}, context)
        elif known is not None:
            reason = "it may have been created, and no single post is equal to it; look with list_posts"
            steps.append(Step(index=each.wish.index + 1, outcome="unknown", reason=reason))
    return steps


async def _made(kept: KeptPlan, created: Sequence[model.Scheduled], context: ToolContext) -> list[_Made]:
    """The posts that a plan created as they are now."""
    there = {post.id for post in await context.api.posts.list()}
    made: list[_Made] = []
    for each in created:
        index = each.wish.index
        first_id = str(kept.steps[str(index)]["post_id"])
        # A post of the plan that was rescheduled since has another id now.
        post_id = await context.ledger.replacements.find_successor(first_id) or first_id
        found: Post | Step
        try:
            # Not from the list, which may show less of it than the look before the delete.
            post = await context.api.posts.get(post_id)
            # Threads and accounts are not promised: what the API leaves out of the plan's own post is as it was sent.
            sent = to_post_create(each).body() if post_id == first_id else {}
            found = _kept_if_out(index, post_id, post) or Post({**sent, **post.raw, "id": post_id})
        except NotFound:
            found = await _not_found(index, post_id, there, context)
        made.append(_Made(index, post_id, found))
    return made


async def _not_found(index: int, post_id: str, there: Collection[str], context: ToolContext) -> Step:
    """What to say of a post that is not found, where `there` are the ids of a list that was just read."""
    if await _is_gone(post_id, there, context):
        return Step(index=index + 1, outcome="already_gone", post_id=clean_text(post_id))
    reason = "it is not found (404), but it may still stand; look with list_posts, and undo_plan again in two minutes"
    return Step(index=index + 1, outcome="unknown", post_id=clean_text(post_id), reason=reason)


async def _is_gone(post_id: str, there: Collection[str], context: ToolContext) -> bool:
    """Whether a post that is not found is really gone: a copy of the API that lags can say so too."""
    if await was_removed(post_id, context):
        return True
    if post_id in there or await context.ledger.replacements.find_pending(post_id) is not None:
        return False
    # The ledger goes by this machine's clock: however far that is off, looking back farther only takes longer.
    since = context.now() - timedelta(seconds=abs(context.api.clock.skew_seconds or 0)) - LONGEST_WRITE
    return all(each.post_id != post_id for each in await context.ledger.read_history(since) if each.kind == "create")


def _kept_if_out(index: int, post_id: str, post: Post) -> Step | None:
    if post.status in REPLACEABLE:
        return None
    return Step(index=index + 1, outcome="kept", post_id=clean_text(post_id), reason=f"it is {post.status}")


async def _undo_one(kept: KeptPlan, made: _Made, context: ToolContext) -> Step:
    step = made.found
    if isinstance(step, Post):
        try:
            step = await _delete_as_shown(made, step, context)
        except (ApiError, WriteRefused, LedgerProblem) as problem:
            reason = agent_text(problem, f"Post {made.index + 1} not deleted")
            step = Step(index=made.index + 1, outcome="failed", post_id=clean_text(made.post_id), reason=reason)
    if step.outcome in ("deleted", "already_gone"):
        await note_step(kept, made.index, None, context)
    return step


async def _delete_as_shown(made: _Made, asked_about: Post, context: ToolContext) -> Step:
    """Delete a post, unless it is another one than the human was asked about: who was asked may have taken their time."""
    number, post_id = made.index + 1, clean_text(made.post_id)
    try:
        post = await context.api.posts.get(made.post_id)
    except NotFound:
        post = None
    if await context.ledger.replacements.find_successor(made.post_id) is not None:
        return Step(index=number, outcome="kept", post_id=post_id, reason=CHANGED)
    if post is None:
        return await _not_found(made.index, made.post_id, [each.id for each in await context.api.posts.list()], context)
    if step := _kept_if_out(made.index, made.post_id, post):
        return step
    if other := await replacement_under_way(post.id, context):
        reason = f"a reschedule of it did not end, and {show_id(other)} stands beside it: delete_post for both, or for the one not wanted"
        return Step(index=number, outcome="unknown", post_id=post_id, reason=reason)
    # What this answer leaves out says nothing.
    if visible_fields(Post({**asked_about.raw, **post.raw})) != visible_fields(asked_about):
        return Step(index=number, outcome="kept", post_id=post_id, reason=CHANGED)
    deleted = await context.writer.delete(made.post_id, tool="undo_plan", post=post)
    reason = "the answer was lost; check with get_post" if deleted.outcome == "unknown" else None
    return Step(index=number, outcome=deleted.outcome, post_id=post_id, reason=reason)


def _kept_as_before(kept: KeptPlan, found: model.Plan) -> list[Step]:
    """Steps for the posts that the plan did not make: to be known, since they go out all the same."""
    reason = "it existed before the plan was applied; delete_post removes it"
    return [
        Step(
            index=each.wish.index + 1,
            outcome="kept",
            post_id=clean_text(str(kept.steps[str(each.wish.index)]["post_id"])),
            reason=reason,
        )
        for each in found.placed
        if posts_done(kept, each.wish.index) == "existed"
    ]


def _undone(
    kept: KeptPlan, found: model.Plan, steps: Sequence[Step], context: ToolContext, nothing: str | None
) -> Answer[PlanProgress]:
    gone = sum(step.outcome in ("deleted", "already_gone") for step in steps)
    lines = [nothing or f"Plan {kept.id}: {gone} of {count_noun(len(steps), 'post')} taken back."]
    lines += render_steps(found, steps, context)
    complete = not any(step.outcome in ("failed", "unknown") or step.reason == CHANGED for step in steps)
    if not complete:
        lines.append("undo_plan with the same plan_id tries again what is left.")
    return Answer("\n".join(lines), PlanProgress(plan_id=kept.id, complete=complete, steps=list(steps)))
