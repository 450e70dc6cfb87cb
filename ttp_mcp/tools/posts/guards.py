"""Checks that stop a write because the post was replaced, changed, or is about to go out."""

from datetime import timedelta
from typing import Any

from ttp_mcp.api import ApiError, NotFound, Post
from ttp_mcp.errors import Refusal, describe_cause
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.text import show_id
from ttp_mcp.times import to_wire
from ttp_mcp.toolkit.context import ToolContext

# Closer to its time than this, a post may be published before the user can cancel it.
SOON = timedelta(minutes=10)


async def read_existing(post_id: str, context: ToolContext, what: str) -> Post:
    """Read a post. For one that was replaced the error names its replacement."""
    try:
        return await context.api.posts.get(post_id)
    except NotFound:
        await refuse_replaced(post_id, context, what)
        raise


async def refuse_replaced(post_id: str, context: ToolContext, what: str) -> None:
    """Raise with the id of the replacement if the ledger has one."""
    if new_id := await context.ledger.replacements.find_successor(post_id):
        raise Refusal(
            f"{what}: {show_id(post_id)} was replaced by {show_id(new_id)} when it was rescheduled. "
            "Call again with that id; nothing was changed."
        )


def refuse_changed(asked_about: Post, now: Post, what: str) -> None:
    """Refuse if the post differs from the one the user confirmed."""
    if visible_fields(now) != visible_fields(asked_about):
        raise Refusal(
            f"{what}: {show_id(now.id)} was changed while the user was asked about it. Call again for a new prompt; nothing was sent."
        )


def visible_fields(post: Post) -> list[Any]:
    """Return the fields that a confirmation shows. It covers the post only while they are unchanged."""
    when = to_wire(post.scheduled_at) if post.scheduled_at else None
    return [post.content, post.thread, post.media_urls, when, post.account_ids, post.platforms]


async def replacement_under_way(post_id: str, context: ToolContext) -> str | None:
    """Return the id of the replacement that an unfinished reschedule created, if it exists."""
    try:
        half = await context.ledger.replacements.find_pending(post_id)
        if half is None or half.new_id is None:
            return None
        return (await context.api.posts.get(half.new_id)).id
    except NotFound:
        return None
    except (ApiError, LedgerProblem):
        # Unknown; check_setup reports it.
        return None


def cause_of(error: ApiError | None) -> str:
    return describe_cause(error) if error else "the call ended before there was an answer."
