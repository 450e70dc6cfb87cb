"""A plan in the ledger, and the progress of applying it."""

import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import Post, PostCreate
from ttp_mcp.errors import Refusal
from ttp_mcp.ledger.plans import PlanRecord
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.planning.model import Plan, PostRequest, Scheduled
from ttp_mcp.planning.planner import make_plan_id
from ttp_mcp.text import clean_text, join_words, quote_text
from ttp_mcp.times import show, to_wire
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import ToolOutput
from ttp_mcp.toolkit.registry import Toolset
from ttp_mcp.tools.posts.content_summary import quote_all

toolset = Toolset("plans")
NOT_PLANNED, NOT_APPLIED, NOT_UNDONE = "Posts not planned", "Plan not applied", "Plan not undone"
# Fields of a post in the ledger, beside its time and the reason for it.
STORED = ("index", "account_ids", "content", "media_urls", "thread", "platform_data")
PlanId = Annotated[str, Field(min_length=1, max_length=40, description="Id of the plan, from plan_posts.")]


class Step(ToolOutput):
    """One post of a plan: its number, its outcome in this call, and what was sent."""

    index: int
    outcome: str
    post_id: str | SkipJsonSchema[None] = None
    reason: str | SkipJsonSchema[None] = None
    scheduled_at: str | SkipJsonSchema[None] = None
    accounts: list[str] | SkipJsonSchema[None] = None
    contents: str | SkipJsonSchema[None] = None


def make_step(index: int, outcome: str, reason: str | None = None, post_id: str | None = None) -> Step:
    """Build the step of the entry at an index, which counts from 0."""
    return Step(index=index + 1, outcome=outcome, post_id=clean_text(post_id) if post_id else None, reason=reason)


class PlanProgress(ToolOutput):
    """Progress of a plan; `complete` when nothing is left to do."""

    plan_id: str
    complete: bool
    steps: list[Step]


class StoredPlan:
    """A plan exactly as plan_posts showed it, with the post that was created for each of its entries.

    `record` is a snapshot of the ledger; `reload` and `reopen` renew it.
    """

    def __init__(self, record: PlanRecord, context: ToolContext) -> None:
        self.record = record
        self.posts = _parse_document(record.document)
        self._context = context

    @classmethod
    async def save(cls, plan: Plan, context: ToolContext) -> str:
        """Store a plan and return its id."""
        plan_id = make_plan_id(plan)
        await context.ledger.plans.save(plan_id, _to_document(plan))
        return plan_id

    @classmethod
    async def load(cls, plan_id: str, context: ToolContext, failure: str) -> "StoredPlan":
        """Load a plan by its id.

        Raises:
            Refusal: The plan doesn't exist, or its content no longer matches its id.
        """
        wanted = plan_id.strip().lower()
        record = await context.ledger.plans.load(wanted) if re.fullmatch(r"[0-9a-f]{12}", wanted) else None
        if record is None:
            raise Refusal(
                f"{failure}: plan {quote_text(plan_id)} doesn't exist. Call plan_posts to make one; nothing was sent."
            )
        stored = cls(record, context)
        stored.refuse_altered(failure)
        return stored

    @property
    def id(self) -> str:
        """The plan's id."""
        return self.record.id

    @property
    def creator(self) -> str:
        """The name under which the ledger records the posts of this plan."""
        return f"apply_plan {self.id}"

    def refuse_altered(self, failure: str) -> None:
        """Refuse a plan that differs from what its id was made of."""
        if make_plan_id(Plan(self.posts, ())) != self.id:
            raise Refusal(
                f"{failure}: plan {self.id} was altered since it was shown. Call plan_posts again; nothing was sent."
            )

    async def reload(self) -> None:
        """Read the progress from the ledger again."""
        self.record = await self._context.ledger.plans.load(self.id) or self.record

    def post_id(self, entry: Scheduled) -> str | None:
        """Return the id of the post for an entry; None before it is applied and after it is undone."""
        note = self.record.steps.get(str(entry.post.index))
        return note["post_id"] if note else None

    def list_pending(self) -> list[Scheduled]:
        """List the entries without a post."""
        return [entry for entry in self.posts if self.post_id(entry) is None]

    def list_applied(self, *, existed: bool) -> list[Scheduled]:
        """List the entries whose post existed before the plan was applied, or was created by it."""
        notes = [(entry, self.record.steps.get(str(entry.post.index))) for entry in self.posts]
        return [entry for entry, note in notes if note and bool(note.get("existed")) is existed]

    async def note_post(self, index: int, post_id: str | None, *, existed: bool = False) -> None:
        """Record the post of an entry. A ledger that can't record it doesn't undo what happened."""
        note = {"post_id": post_id, "existed": existed} if post_id else None
        with suppress(LedgerProblem):
            await self._context.ledger.plans.note_step(self.id, str(index), note)

    async def reopen(self, entry: Scheduled) -> None:
        """Make an entry pending again, because its post is gone."""
        await self._context.ledger.plans.note_step(self.id, str(entry.post.index), None)
        await self.reload()

    async def was_created_here(self, entry: Scheduled) -> bool:
        """Check whether the ledger knows an attempt of this plan to create the post of an entry."""
        try:
            prior = await self._context.ledger.find_prior_create(to_post_create(entry))
        except LedgerProblem:
            return False
        return prior is not None and prior.tool == self.creator

    def render_steps(self, steps: Sequence[Step]) -> list[str]:
        """Render steps as a list: number, time, outcome, post, reason."""
        times = {entry.post.index + 1: show(entry.at, self._context.zone) for entry in self.posts}
        return [f"- post {step.index}, {times[step.index]}: {_render_step(step)}" for step in steps]

    def to_progress(self, steps: Sequence[Step], *, complete: bool) -> PlanProgress:
        """Return the structured answer."""
        return PlanProgress(plan_id=self.id, complete=complete, steps=list(steps))


def _render_step(step: Step) -> str:
    words = step.outcome.replace("_", " ") + (f" {step.post_id}" if step.post_id else "")
    if step.contents:
        words += f" for {join_words(step.accounts or [])}, {step.contents}"
    return f"{words}: {step.reason}" if step.reason else words


def to_post_create(entry: Scheduled) -> PostCreate:
    """Return the request body of an entry. Accounts are sent by id: `platforms` is ambiguous with several accounts."""
    post = entry.post
    return PostCreate(
        content=post.content,
        account_ids=post.account_ids,
        media_urls=post.media_urls,
        thread=post.thread,
        scheduled_at=entry.at,
        platform_data=post.platform_data,
    )


def _to_document(plan: Plan) -> dict[str, Any]:
    posts = [
        {"at": to_wire(entry.at), "reason": entry.reason, **{name: getattr(entry.post, name) for name in STORED}}
        for entry in plan.scheduled
    ]
    return {"posts": posts}


def _parse_document(document: dict[str, Any]) -> tuple[Scheduled, ...]:
    return tuple(
        Scheduled(_parse_post(post), datetime.fromisoformat(post["at"]), post["reason"]) for post in document["posts"]
    )


def _parse_post(post: dict[str, Any]) -> PostRequest:
    # JSON has no tuples.
    fields: dict[str, Any] = {
        name: tuple(post[name]) if isinstance(post[name], list) else post[name] for name in STORED
    }
    return PostRequest(**fields)


async def was_deleted(post_id: str, context: ToolContext) -> bool:
    """Check whether a post was deleted through this server, other than by a reschedule that replaced it."""
    current = await context.ledger.replacements.find_successor(post_id) or post_id
    # While a replacement is pending, also after a crash, the old post is gone and a new one may exist.
    return (
        await context.ledger.find_deleted_post(current) is not None
        and await context.ledger.replacements.find_pending(current) is None
    )


def render_question_item(due: str, accounts: Sequence[str], post: Post | PostCreate) -> str:
    """Render one post of a question in full."""
    return f"{due}, {join_words(accounts)}:\n{quote_all(post)}"
