"""`create_post`: schedule a post or save a draft."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import Post
from ttp_mcp.text import clean_text, join_words, show_id
from ttp_mcp.times import WEEKDAYS, from_now, refuse_past, show, to_iso
from ttp_mcp.toolkit.account_directory import account_label
from ttp_mcp.toolkit.confirmation import require_confirmation
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer
from ttp_mcp.toolkit.params import Confirmation, Content
from ttp_mcp.tools.posts.content_summary import (
    ContentSummary,
    describe_where,
    name_accounts,
    quote_all,
    render_content,
    summarize_content,
)
from ttp_mcp.tools.posts.guards import SOON, cause_of
from ttp_mcp.tools.posts.prepare import (
    LEAD,
    NewPostFields,
    PreparedPost,
    confirmation_binding,
    nearest_time,
    prepare_post,
    read_new_post,
)
from ttp_mcp.tools.posts.toolset import toolset
from ttp_mcp.tools.posts.validation import refuse_errors
from ttp_mcp.writes.outcomes import Created

NOT_CREATED = "Post not created"


def _require_content(value: str | None, info: ValidationInfo) -> str | None:
    if value is None and not info.data.get("copy_of"):
        raise ValueError("is required, or copy_of to repeat a post")
    return value


class CreatePost(NewPostFields):
    """A post, and whether to send a duplicate."""

    content: Annotated[Content, AfterValidator(_require_content)] = None
    allow_duplicate: Annotated[
        bool, Field(description="Send even if an equal post exists; only if the user wants that.")
    ] = False
    confirmation: Confirmation = None


class CreatedPost(ContentSummary):
    """Outcome of a create: `created`, `already_created` (nothing was sent) or `unknown` (look before repeating)."""

    outcome: str
    post_id: str | SkipJsonSchema[None] = None
    status: str | SkipJsonSchema[None] = None
    accounts: list[str]
    scheduled_at: str | SkipJsonSchema[None] = None
    scheduled_at_utc: str | SkipJsonSchema[None] = None
    weekday: str | SkipJsonSchema[None] = None
    warnings: list[str]
    candidates: list[str] | SkipJsonSchema[None] = None


@toolset.tool(title="Create a post", effect="publish", failure=NOT_CREATED, drafts=True, panel="post")
async def create_post(args: CreatePost, context: ToolContext) -> Answer[CreatedPost]:
    """Schedule a post, or save a draft when scheduled_at is left out.

    Makes the checks of check_post. A scheduled post goes public at its time; delete_post cancels it before. The same post isn't
    sent twice by accident.
    """
    arguments = await read_new_post(args, context, NOT_CREATED)
    prepared = await prepare_post(arguments, context, NOT_CREATED)
    refuse_errors(prepared.findings, NOT_CREATED)
    when = prepared.post.scheduled_at
    is_soon = when is not None and when - context.now() < SOON
    # A draft is never published, so it needs no confirmation.
    if when is not None and (is_soon or context.settings.confirm == "required"):
        asked = await require_confirmation(
            context,
            _render_question(prepared, when, context, once_more=args.allow_duplicate),
            binding={**confirmation_binding("create_post", prepared), "allow_duplicate": args.allow_duplicate},
            irreversible=is_soon,
            confirmation=args.confirmation,
        )
        if asked:
            # The user may have taken a while to answer.
            prepared = _refresh_time(prepared, when, context)
    created = await context.writer.create(
        prepared.post,
        tool="create_post",
        allow_duplicate=args.allow_duplicate,
        existing=prepared.others,
        target_ids=tuple(prepared.targets),
    )
    return _build_answer(created, prepared, context)


def _refresh_time(prepared: PreparedPost, when: datetime, context: ToolContext) -> PreparedPost:
    """Check the time again, or find the new nearest one."""
    if not prepared.is_now:
        refuse_past(when, context.now(), context.zone)
    elif when < context.now() + LEAD and not prepared.is_retry:
        return replace(prepared, post=replace(prepared.post, scheduled_at=nearest_time(context, LEAD)))
    return prepared


def _render_question(prepared: PreparedPost, when: datetime, context: ToolContext, *, once_more: bool) -> str:
    time = f"{show(when, context.zone)}, {from_now(when, context.now())}"
    again = ", even if the same was sent before" if once_more else ""
    heading = f"Schedule this post for {time}, on {describe_where(prepared)}{again}?"
    return "\n".join([heading, *prepared.notes, quote_all(prepared.post)])


def _build_answer(created: Created, prepared: PreparedPost, context: ToolContext) -> Answer[CreatedPost]:
    """Render the result of a create as text and data."""
    when = prepared.post.scheduled_at
    # The API's own time wins over the requested one.
    due = (created.post.scheduled_at if created.post else None) or when
    # If an equal post exists, the warnings are about that post.
    warnings = list(prepared.findings.warnings) if created.outcome != "already_created" else []
    data = CreatedPost(
        outcome=created.outcome,
        post_id=clean_text(created.post_id) if created.post_id else None,
        status=created.post.status if created.post else None,
        accounts=[
            account_label(prepared.targets[each]) for each in prepared.targets if each not in created.missing_accounts
        ],
        scheduled_at=to_iso(due, context.zone),
        scheduled_at_utc=due.strftime("%Y-%m-%dT%H:%M:%SZ") if due else None,
        weekday=WEEKDAYS[due.astimezone(context.zone).weekday()] if due else None,
        warnings=warnings,
        candidates=[clean_text(candidate) for candidate in created.candidates] or None,
        **summarize_content(prepared).model_dump(),
    )
    describe = {"created": _describe_created, "already_created": _describe_duplicate, "unknown": _describe_unknown}
    lines = [describe[created.outcome](created, prepared, context)]
    if created.outcome == "created":
        lines += render_content(prepared)
    lines += [f"Warning: {warning}" for warning in warnings]
    if not created.recorded:
        lines.append(
            "Warning: the ledger could not record this, so a duplicate would not be noticed; check_setup says why."
        )
    return Answer("\n".join(lines), data)


def _describe_unknown(created: Created, prepared: PreparedPost, _: ToolContext) -> str:
    ids = join_words([show_id(each) for each in created.candidates])
    seen = f" Equal posts: {ids}." if created.candidates else ""
    return (
        f"Unknown whether the post for {describe_where(prepared)} was created: {cause_of(created.cause)} "
        f"Can't tell which post, if any, it created.{seen} Call list_posts and look for it before trying again; allow_duplicate sends "
        "it in any case."
    )


def _describe_duplicate(created: Created, prepared: PreparedPost, _: ToolContext) -> str:
    post_id, missing = show_id(created.post_id or ""), created.missing_accounts
    if missing:
        return (
            f"Already created: {post_id}, the same post at the same time, but not for {name_accounts(prepared, missing)}; "
            f"nothing was sent. create_post with account_ids {', '.join(map(show_id, missing))} alone sends it there."
        )
    same, look = f"{post_id}, the same post", "get_post shows it; "
    if created.other_post_ids:
        those = join_words([post_id, *map(show_id, created.other_post_ids)])
        same, look = f"{those} are together the same post", ""
    return (
        f"Already created: {same} for the same accounts and time; nothing was sent. {look}allow_duplicate sends it once more, if the "
        "user wants that."
    )


def _describe_created(created: Created, prepared: PreparedPost, context: ToolContext) -> str:
    when, post_id = prepared.post.scheduled_at, show_id(created.post_id or "")
    where = describe_where(prepared)
    found = " The API's response was lost; list_posts has the post." if created.reconciled else ""
    if differs := _describe_differences(created.post, when, context):
        return f"Created, but not as asked: {post_id} for {where} {differs}. Check it with get_post; delete_post removes it.{found}"
    if when is None:
        return (
            f"Draft saved: {post_id} for {where}. Drafts are never published; reschedule_post sets a time, delete_post "
            f"removes it.{found}"
        )
    now = " This is the nearest time that the API takes." if prepared.is_now else ""
    return (
        f"Scheduled: {post_id} goes out {show(when, context.zone)}, {from_now(when, context.now())}, to {where}.{now} "
        f"Nothing is public yet; delete_post cancels it.{found}"
    )


def _describe_differences(post: Post | None, when: datetime | None, context: ToolContext) -> str:
    """Describe how a new post differs from the request; empty if it doesn't. Fields that the API leaves out are ignored."""
    if post is None:
        return ""
    differences: list[str] = []
    expected = ("scheduled", "publishing", "published") if when else ("draft",)
    if "status" in post.raw and post.status not in expected:
        differences.append(f"is {post.status} and not {expected[0]}")
    if post.scheduled_at and post.scheduled_at != when:
        asked = f" and not for {show(when, context.zone)}" if when else ""
        differences.append(f"is set for {show(post.scheduled_at, context.zone)}{asked}")
    return " and ".join(differences)
