"""A plan in the ledger, and the progress of applying it."""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import Post, PostCreate
from ttp_mcp.errors import Refusal
from ttp_mcp.ledger.plans import PlanRecord as KeptPlan
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.planning import model, planner
from ttp_mcp.planning.model import PostRequest
from ttp_mcp.text import quote_text
from ttp_mcp.times import show, to_wire
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import ToolOutput
from ttp_mcp.toolkit.registry import Toolset
from ttp_mcp.tools.posts.rendering import join_words, quote_all

toolset = Toolset("plans")
# An applied post needs a moment to be sent.
LEAD = timedelta(seconds=60)
NOT_PLANNED, NOT_APPLIED, NOT_UNDONE = "Posts not planned", "Plan not applied", "Plan not undone"
PlanId = Annotated[str, Field(min_length=1, max_length=40, description="Id of the plan, from plan_posts.")]


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


def to_post_create(each: model.Scheduled) -> PostCreate:
    wish = each.wish
    return PostCreate(
        content=wish.content,
        account_ids=wish.account_ids,
        media_urls=wish.media_urls,
        thread=wish.thread,
        scheduled_at=each.at,
        platform_data=wish.platform_data,
    )


def to_document(found: model.Plan) -> dict[str, Any]:
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


def from_document(document: dict[str, Any]) -> model.Plan:
    placed = [
        model.Scheduled(
            PostRequest(
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
    return model.Plan(tuple(placed), ())


async def load_plan(plan_id: str, context: ToolContext, what: str) -> tuple[KeptPlan, model.Plan]:
    """A plan as it was shown; one that is no longer what its id stands for is refused."""
    wanted = plan_id.strip().lower()
    kept = await context.ledger.plans.load(wanted) if re.fullmatch(r"[0-9a-f]{12}", wanted) else None
    if kept is None:
        raise Refusal(
            f"{what}: there is no plan {quote_text(plan_id, 40)}. plan_posts makes one and says its id; nothing was sent."
        )
    found = from_document(kept.document)
    refuse_altered(kept, found, what)
    return kept, found


def refuse_altered(kept: KeptPlan, found: model.Plan, what: str) -> None:
    if planner.plan_id(found) != kept.id:
        raise Refusal(
            f"{what}: plan {kept.id} was altered since it was shown. Call plan_posts again; nothing was sent."
        )


async def call_again(kept: KeptPlan, context: ToolContext) -> KeptPlan:
    return await context.ledger.plans.load(kept.id) or kept


def posts_done(kept: KeptPlan, index: int) -> Literal["created", "existed"] | None:
    note = kept.steps.get(str(index))
    if note is None or note["post_id"] is None:
        return None
    return "existed" if note.get("existed") else "created"


async def was_removed(first_id: str | None, context: ToolContext) -> bool:
    """Whether a post of a plan was deleted for good; not so when it only made way for a replacement."""
    if first_id is None:
        return False
    post_id = await context.ledger.replacements.find_successor(first_id) or first_id
    # While a replacement has no end, or lost it in a crash, the old post is gone and a new one may stand.
    return (
        await context.ledger.find_deleted_post(post_id) is not None
        and await context.ledger.replacements.find_pending(post_id) is None
    )


def render_steps_in_full(
    when: datetime | None, accounts: Sequence[str], post: Post | PostCreate, context: ToolContext
) -> str:
    """One post of a question, with all that it shows."""
    due = show(when, context.zone) if when else "no time set"
    return f"{due}, {join_words(accounts)}:\n{quote_all(post)}"


def tool_named(kept: KeptPlan) -> str:
    """Who creates the posts of a plan, as the ledger knows it: two plans are told apart."""
    return f"apply_plan {kept.id}"


async def note_step(kept: KeptPlan, index: int, note: dict[str, Any] | None, context: ToolContext) -> None:
    """Remember what became of a post; what happened has happened, also where the ledger can't take it."""
    with suppress(LedgerProblem):
        await context.ledger.plans.note_step(kept.id, str(index), note)


def render_steps(found: model.Plan, steps: Sequence[Step], context: ToolContext) -> list[str]:
    when = {each.wish.index + 1: show(each.at, context.zone) for each in found.placed}
    return [
        f"- post {step.index}, {when[step.index]}: {step.outcome.replace('_', ' ')}"
        f"{f' {step.post_id}' if step.post_id else ''}{f': {step.reason}' if step.reason else ''}"
        for step in steps
    ]
