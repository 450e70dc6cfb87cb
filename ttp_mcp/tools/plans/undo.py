"""`undo_plan`: delete what an applied plan created."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ttp_mcp.api import ApiError, NotFound, Post
from ttp_mcp.errors import agent_text
from ttp_mcp.ledger.records import LONGEST_WRITE
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.planning.model import Scheduled
from ttp_mcp.text import count_noun, show_id
from ttp_mcp.times import show
from ttp_mcp.toolkit.confirmation import require_confirmation
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput
from ttp_mcp.toolkit.params import Confirmation
from ttp_mcp.tools.plans.stored_plan import (
    NOT_UNDONE,
    PlanId,
    PlanProgress,
    Step,
    StoredPlan,
    make_step,
    render_question_item,
    to_post_create,
    toolset,
    was_deleted,
)
from ttp_mcp.tools.posts.guards import replacement_under_way, visible_fields
from ttp_mcp.tools.posts.rendering import account_labels, describe_missing_time
from ttp_mcp.writes.outcomes import WriteRefused
from ttp_mcp.writes.replacement import REPLACEABLE

CHANGED = "it was changed or rescheduled during this call, so the confirmation doesn't cover it; call undo_plan again"
MAYBE_CREATED = "it may have been created, but no single post equals it; look for it with list_posts"
NOT_FOUND = (
    "it is not found (404) but may still exist; look for it with list_posts and call undo_plan again in two minutes"
)
EXISTED = "it existed before the plan was applied; delete_post removes it"
RESPONSE_LOST = "the response was lost; check with get_post"


class UndoPlan(ToolInput):
    """Arguments of undo_plan."""

    plan_id: PlanId
    confirmation: Confirmation = None


@dataclass(frozen=True, slots=True)
class _Target:
    """A post that the plan created, by its present id: the post to delete, or the step that says why it is left alone."""

    index: int
    post_id: str
    state: Post | Step

    def step(self, outcome: str, reason: str | None = None) -> Step:
        """Return the step for this post."""
        return make_step(self.index, outcome, reason, self.post_id)


@toolset.tool(title="Undo a plan", effect="remove", failure=NOT_UNDONE)
async def undo_plan(args: UndoPlan, context: ToolContext) -> Answer[PlanProgress]:
    """Delete the posts that apply_plan created from a plan and that aren't published yet.

    Published posts stay on their networks. Posts that existed before the plan are not touched.
    """
    stored = await StoredPlan.load(args.plan_id, context, NOT_UNDONE)
    unclear = await _recall_attempts(stored, context)
    await stored.reload()
    steps = [
        make_step(entry.post.index, "kept", EXISTED, stored.post_id(entry))
        for entry in stored.list_applied(existed=True)
    ]
    steps += unclear
    if not stored.list_applied(existed=False):
        known = "known to be " if unclear else ""
        return _undone_answer(
            stored, steps, f"Nothing to undo: this plan has created no post that is {known}still there."
        )
    targets = await _read_targets(stored, context)
    await _confirm_undo(stored, [each.state for each in targets if isinstance(each.state, Post)], args, context)
    for number, target in enumerate(targets):
        await context.user.report_progress(
            number, len(targets), f"{number} of {count_noun(len(targets), 'post')} checked"
        )
        steps.append(await _undo_target(stored, target, context))
    await context.user.report_progress(len(targets), len(targets), f"{count_noun(len(targets), 'post')} checked")
    return _undone_answer(stored, steps)


async def _recall_attempts(stored: StoredPlan, context: ToolContext) -> list[Step]:
    """Look for posts of attempts with an unknown outcome. Note those that are found; return a step for each other one."""
    steps: list[Step] = []
    for entry in stored.list_pending():
        prior = await context.ledger.find_prior_create(to_post_create(entry))
        if prior is None or prior.tool != stored.creator:
            continue
        known = await context.writer.duplicates.recall(prior, to_post_create(entry))
        if known is not None and known.post_id is not None:
            await stored.note_post(entry.post.index, known.post_id)
        elif known is not None:
            steps.append(make_step(entry.post.index, "unknown", MAYBE_CREATED))
    return steps


async def _read_targets(stored: StoredPlan, context: ToolContext) -> list[_Target]:
    """Read the posts that the plan created, as they are now."""
    listed = {post.id for post in await context.api.posts.list()}
    return [await _read_target(stored, entry, listed, context) for entry in stored.list_applied(existed=False)]


async def _read_target(stored: StoredPlan, entry: Scheduled, listed: Collection[str], context: ToolContext) -> _Target:
    index, first_id = entry.post.index, stored.post_id(entry) or ""
    # A post that was rescheduled has a new id.
    post_id = await context.ledger.replacements.find_successor(first_id) or first_id
    try:
        # By id: lists may show less of a post than the read before the delete.
        post = await context.api.posts.get(post_id)
    except NotFound:
        return _Target(index, post_id, await _missing_step(index, post_id, listed, context))
    # The API may leave out threads and accounts. For the plan's own post they are as they were sent.
    sent = to_post_create(entry).to_body() if post_id == first_id else {}
    return _Target(index, post_id, _kept_step(index, post) or Post({**sent, **post.raw, "id": post_id}))


async def _missing_step(index: int, post_id: str, listed: Collection[str], context: ToolContext) -> Step:
    """Return the step for a post that isn't found, where `listed` are the ids of a list that was just read."""
    if await _is_gone(post_id, listed, context):
        return make_step(index, "already_gone", post_id=post_id)
    return make_step(index, "unknown", NOT_FOUND, post_id)


async def _is_gone(post_id: str, listed: Collection[str], context: ToolContext) -> bool:
    """Check whether a post that isn't found is gone: a replica of the API that lags answers 404 too."""
    if await was_deleted(post_id, context):
        return True
    if post_id in listed or await context.ledger.replacements.find_pending(post_id) is not None:
        return False
    # The ledger uses this machine's clock. However far that is off, looking back farther only takes longer.
    since = context.now() - timedelta(seconds=abs(context.api.clock.skew_seconds or 0)) - LONGEST_WRITE
    return all(each.post_id != post_id for each in await context.ledger.read_history(since) if each.kind == "create")


def _kept_step(index: int, post: Post) -> Step | None:
    """Return the step for a post that is out or about to be; None where it can be deleted."""
    return None if post.status in REPLACEABLE else make_step(index, "kept", f"it is {post.status}", post.id)


async def _confirm_undo(stored: StoredPlan, posts: Sequence[Post], args: UndoPlan, context: ToolContext) -> None:
    """Require confirmation for the posts as they are now: they may have been rescheduled since."""
    if not posts:
        return
    accounts = await context.accounts.get_for_labels()
    lines = [f"Delete {count_noun(len(posts), 'post')} that plan {stored.id} created, unless published by then?"]
    for post in posts:
        due = show(post.scheduled_at, context.zone) if post.scheduled_at else describe_missing_time(post)
        lines.append(render_question_item(due, account_labels(post, accounts), post))
    await require_confirmation(
        context,
        "\n".join(lines),
        binding={
            "tool": "undo_plan",
            "posts": [[post.id, *visible_fields(post)] for post in posts],
        },
        irreversible=True,
        confirmation=args.confirmation,
    )


async def _undo_target(stored: StoredPlan, target: _Target, context: ToolContext) -> Step:
    step = target.state
    if isinstance(step, Post):
        try:
            step = await _delete_as_shown(target, step, context)
        except (ApiError, WriteRefused, LedgerProblem) as problem:
            step = target.step("failed", agent_text(problem, f"Post {target.index + 1} not deleted"))
    if step.outcome in ("deleted", "already_gone"):
        await stored.note_post(target.index, None)
    return step


async def _delete_as_shown(target: _Target, shown: Post, context: ToolContext) -> Step:
    """Delete a post, unless it differs from the one that the user confirmed: answering may have taken a while."""
    try:
        post = await context.api.posts.get(target.post_id)
    except NotFound:
        post = None
    if await context.ledger.replacements.find_successor(target.post_id) is not None:
        return target.step("kept", CHANGED)
    if post is None:
        listed = [each.id for each in await context.api.posts.list()]
        return await _missing_step(target.index, target.post_id, listed, context)
    if step := _kept_step(target.index, post):
        return step
    if other := await replacement_under_way(post.id, context):
        return target.step(
            "unknown",
            f"a reschedule of it did not finish, and {show_id(other)} exists too; delete both, or the one not wanted, with delete_post",
        )
    # A field that this response leaves out is unchanged.
    if visible_fields(Post({**shown.raw, **post.raw})) != visible_fields(shown):
        return target.step("kept", CHANGED)
    deleted = await context.writer.delete(target.post_id, tool="undo_plan", post=post)
    return target.step(deleted.outcome, RESPONSE_LOST if deleted.outcome == "unknown" else None)


def _undone_answer(stored: StoredPlan, steps: Sequence[Step], heading: str | None = None) -> Answer[PlanProgress]:
    deleted = sum(step.outcome in ("deleted", "already_gone") for step in steps)
    lines = [heading or f"Plan {stored.id}: {deleted} of {count_noun(len(steps), 'post')} deleted."]
    lines += stored.render_steps(steps)
    complete = not any(step.outcome in ("failed", "unknown") or step.reason == CHANGED for step in steps)
    if not complete:
        lines.append("Call undo_plan with the same plan_id to retry what is left.")
    return Answer("\n".join(lines), stored.to_progress(steps, complete=complete))
