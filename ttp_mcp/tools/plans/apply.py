"""`apply_plan`: create every post of a stored plan."""

from collections.abc import Sequence
from functools import partial

from ttp_mcp.api import ApiError, Post, ValidationFailed
from ttp_mcp.errors import Refusal, agent_text, describe_cause
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.planning.model import Scheduled
from ttp_mcp.text import count_noun, show_id
from ttp_mcp.times import SEND_LEAD, show, to_iso, to_wire
from ttp_mcp.toolkit.account_directory import AccountIndex, run_together
from ttp_mcp.toolkit.confirmation import require_confirmation
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput
from ttp_mcp.toolkit.params import Confirmation
from ttp_mcp.tools.plans.stored_plan import (
    NOT_APPLIED,
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
from ttp_mcp.tools.posts.content_summary import render_in_one_line
from ttp_mcp.tools.posts.network_choices import NetworkOptions
from ttp_mcp.tools.posts.validation import refuse_missing_rights
from ttp_mcp.writes.in_flight import run_shielded
from ttp_mcp.writes.outcomes import Created, EarlierAttempt, WriteRefused

NOTHING_LEFT = "Nothing left to do: every post of the plan was created before."
# The last line of an answer, by the first outcome that occurs.
CLOSING = {
    "unknown": "Stopped there so that nothing is sent twice; what was created isn't sent again.",
    "stopped": "Stopped there. Call apply_plan with the same plan_id to continue; what was created isn't sent again.",
    "created": "Nothing is public yet; undo_plan deletes these posts, delete_post a single one.",
}


class ApplyPlan(ToolInput):
    """Arguments of apply_plan."""

    plan_id: PlanId
    confirmation: Confirmation = None


@toolset.tool(title="Apply a plan", effect="publish", failure=NOT_APPLIED, panel="calendar")
async def apply_plan(args: ApplyPlan, context: ToolContext) -> Answer[PlanProgress]:
    """Schedule every post of a plan, exactly as plan_posts showed it.

    Returns what was created for each post. Stops at the first unclear outcome; call it again to continue, nothing is sent
    twice. undo_plan deletes the posts that aren't published yet.
    """
    stored = await StoredPlan.load(args.plan_id, context, NOT_APPLIED)
    await _reopen_deleted(stored, context)
    pending = stored.list_pending()
    if not pending:
        return Answer(NOTHING_LEFT, stored.to_progress([], complete=True))
    _refuse_late(pending, context)
    await refuse_missing_rights(context, NOT_APPLIED)
    accounts, existing = await run_together(context.accounts.read_accounts, context.api.posts.list)
    await require_confirmation(
        context,
        _build_question(stored.id, pending, accounts, context),
        binding={"tool": "apply_plan", "plan_id": stored.id, "posts": [entry.post.index for entry in pending]},
        irreversible=True,
        confirmation=args.confirmation,
    )
    # Again: the user may have taken a while to answer, and the API has sent its time since.
    _refuse_late(pending, context)
    steps = await _create_posts(stored, pending, existing, accounts, context)
    await stored.reload()
    total, outcomes = len(stored.posts), {step.outcome for step in steps}
    done = total - len(stored.list_pending())
    lines = [f"Plan {stored.id}: {done} of {count_noun(total, 'post')} scheduled now.", *stored.render_steps(steps)]
    lines += [words for outcome, words in CLOSING.items() if outcome in outcomes][:1]
    return Answer("\n".join(lines), stored.to_progress(steps, complete=done == total))


async def _reopen_deleted(stored: StoredPlan, context: ToolContext) -> None:
    """Make entries pending again whose posts were deleted through this server, if their time is still ahead."""
    for entry in stored.posts:
        post_id = stored.post_id(entry)
        if post_id and entry.at >= context.now() + SEND_LEAD and await was_deleted(post_id, context):
            await stored.reopen(entry)


def _refuse_late(pending: Sequence[Scheduled], context: ToolContext) -> None:
    late = [entry for entry in pending if _is_late(entry, context)]
    if late:
        raise Refusal(
            f"{NOT_APPLIED}: the time of post {late[0].post.index + 1}, {show(late[0].at, context.zone)}, has passed or is too close "
            f"({len(late)} of {len(pending)} posts). Call plan_posts again for the posts that are left; nothing was sent."
        )


def _is_late(entry: Scheduled, context: ToolContext) -> bool:
    return entry.at < context.now() + SEND_LEAD


def _build_question(plan_id: str, pending: Sequence[Scheduled], accounts: AccountIndex, context: ToolContext) -> str:
    lines = [f"Schedule these {count_noun(len(pending), 'post')} of plan {plan_id}? Times are in {context.zone.key}."]
    lines += [
        render_question_item(show(entry.at, context.zone), _account_names(entry, accounts), to_post_create(entry))
        for entry in pending
    ]
    return "\n".join(lines)


def _account_names(entry: Scheduled, accounts: AccountIndex) -> list[str]:
    return [accounts.label_of(account_id) for account_id in entry.post.account_ids]


async def _create_posts(
    stored: StoredPlan,
    pending: Sequence[Scheduled],
    existing: Sequence[Post],
    accounts: AccountIndex,
    context: ToolContext,
) -> list[Step]:
    """Create the posts in order, up to the first outcome that concerns the next ones too."""
    steps: list[Step] = []
    total = count_noun(len(pending), "post")
    for number, entry in enumerate(pending):
        await context.user.report_progress(number, len(pending), f"{number} of {total} scheduled")
        steps.append(await _create_step(stored, entry, existing, accounts, context))
        if steps[-1].outcome in ("unknown", "stopped"):
            break
    await context.user.report_progress(len(steps), len(pending), f"{len(steps)} of {total} done")
    return steps


async def _create_step(
    stored: StoredPlan, entry: Scheduled, existing: Sequence[Post], accounts: AccountIndex, context: ToolContext
) -> Step:
    """Create one post and return its outcome."""
    post = entry.post
    # What a TikTok account offers can have changed since the plan was made.
    tiktok = [each for each in accounts.list_on("tiktok") if each.id in post.account_ids]
    choices = await NetworkOptions(context).check(post.platform_data, tiktok, post.media_urls, scheduled=True)
    if choices.errors:
        return make_step(post.index, "refused", " ".join(choices.errors))
    if _is_late(entry, context):
        step = make_step(post.index, "refused", "its time has passed or is too close; plan_posts finds another")
    else:
        try:
            created = await run_shielded(partial(_create_and_note, stored, entry, existing, context))
            step = _created_step(entry, created, accounts, context)
        except (ApiError, WriteRefused, LedgerProblem) as problem:
            step = _failed_step(entry, problem)
    step.reason = " ".join([*([step.reason] if step.reason else []), *choices.warnings]) or None
    return step


async def _create_and_note(
    stored: StoredPlan, entry: Scheduled, existing: Sequence[Post], context: ToolContext
) -> Created:
    """Create a post and note it, as one step that a cancellation can't split."""
    with context.writer.in_flight.track():
        created = await context.writer.create(to_post_create(entry), tool=stored.creator, existing=existing)
        if not created.missing_accounts:
            existed = created.outcome == "already_created" and not await stored.was_created_here(entry)
            await stored.note_post(entry.post.index, created.post_id, existed=existed)
        return created


def _created_step(entry: Scheduled, created: Created, accounts: AccountIndex, context: ToolContext) -> Step:
    """Return the step of a create. A post's content is in it, so that no get_post is needed to verify it."""
    index, post_id = entry.post.index, created.post_id
    if post_id is None:
        cause = describe_cause(created.cause) if created.cause else "The call ended before there was a response."
        return make_step(index, "unknown", f"{cause} Look for it with list_posts. {_advise_manual(entry)}")
    if created.missing_accounts:
        missing = ", ".join(map(show_id, created.missing_accounts))
        reason = (
            f"{show_id(post_id)} has the same text and time but not all of the accounts; create_post with the same content "
            f"and media, scheduled_at {to_wire(entry.at)} and account_ids {missing} sends it to the rest"
        )
        return make_step(index, "refused", reason)
    step = make_step(index, created.outcome, post_id=post_id)
    step.scheduled_at = to_iso(entry.at, context.zone)
    step.accounts = _account_names(entry, accounts)
    platforms = {account.id: account.platform for account in accounts.accounts}
    on = [platforms[account_id] for account_id in entry.post.account_ids if account_id in platforms]
    step.contents = render_in_one_line(to_post_create(entry), on)
    return step


def _failed_step(entry: Scheduled, problem: Exception) -> Step:
    index = entry.post.index
    reason = agent_text(problem, f"Post {index + 1} not created")
    if isinstance(problem, EarlierAttempt) and not problem.in_progress:
        return make_step(index, "unknown", f"{reason} {_advise_manual(entry)}")
    # A post that the API rejects fails alone; every other problem would fail the next posts too.
    return make_step(index, "refused" if isinstance(problem, ValidationFailed) else "stopped", reason)


def _advise_manual(entry: Scheduled) -> str:
    """Say how to continue after an unclear outcome: exactly this call, so that the plan recognizes the post."""
    accounts = ", ".join(show_id(account_id) for account_id in entry.post.account_ids)
    return (
        f"If it isn't there, call create_post with the same content and media, account_ids {accounts}, scheduled_at "
        f"{to_wire(entry.at)} and allow_duplicate=true, then apply_plan again."
    )
