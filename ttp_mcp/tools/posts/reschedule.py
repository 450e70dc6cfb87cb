"""`reschedule_post`: change a post. The API can't edit one, so the post is replaced."""

from dataclasses import replace
from datetime import timedelta
from typing import assert_never

from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import NotFound, Post
from ttp_mcp.errors import Refusal
from ttp_mcp.text import clean_text, join_words, show_id
from ttp_mcp.times import from_now, show, to_iso
from ttp_mcp.toolkit.confirmation import require_confirmation
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput
from ttp_mcp.toolkit.params import (
    Confirmation,
    MediaUrls,
    OptionalContent,
    OtherAccountIds,
    OtherPlatformData,
    PostId,
    Remove,
    Thread,
    Time,
)
from ttp_mcp.tools.posts.changes import Changes, apply_changes, compare_posts, refuse_hidden_parts, refuse_no_change
from ttp_mcp.tools.posts.content_summary import (
    ContentSummary,
    describe_where,
    name_accounts,
    quote_all,
    render_content,
    summarize_content,
)
from ttp_mcp.tools.posts.guards import SOON, cause_of, refuse_changed, refuse_replaced
from ttp_mcp.tools.posts.prepare import PreparedPost, confirmation_binding, nearest_time, prepare_post
from ttp_mcp.tools.posts.toolset import toolset
from ttp_mcp.tools.posts.validation import refuse_errors
from ttp_mcp.writes.in_flight import run_shielded
from ttp_mcp.writes.outcomes import Created, EarlierAttempt
from ttp_mcp.writes.replacement import REPLACEABLE, Replacement, Replacer

# The scheduler may take up a post that is due sooner while it is being replaced.
TOO_CLOSE = timedelta(minutes=2)

NOT_DONE = "Post not rescheduled"


class ReschedulePost(ToolInput):
    """Post to reschedule, and its changes."""

    post_id: PostId
    scheduled_at: Time = None
    content: OptionalContent = None
    account_ids: OtherAccountIds = None
    media_urls: MediaUrls = None
    thread: Thread = None
    platform_data: OtherPlatformData = None
    remove: Remove = None
    confirmation: Confirmation = None


class Rescheduled(ContentSummary):
    """The new post and the one it replaced. Times are ISO 8601 with offset."""

    old_post_id: str
    post_id: str
    scheduled_at: str | SkipJsonSchema[None] = None
    changed: list[str]
    removed: list[str]
    unchanged: list[str]
    warnings: list[str]


@toolset.tool(title="Reschedule or change a post", effect="publish", failure=NOT_DONE, panel="post")
async def reschedule_post(args: ReschedulePost, context: ToolContext) -> Answer[Rescheduled]:
    """Change the time, text, accounts or media of a draft or scheduled post. The id changes.

    A field that is left out stays. Creates a replacement, checks it and deletes the old post. Not for posts that are
    publishing or out.
    """
    replacer = Replacer(context.api, context.ledger, context.writer)
    old = await _read_post(args.post_id, replacer, context)
    refuse_unless_replaceable(old, context)
    prepared = await _prepare_replacement(args, old, context)
    changes = await compare_posts(old, prepared, args, context)
    asked = await require_confirmation(
        context,
        _render_question(prepared, old, changes, context),
        binding={**confirmation_binding("reschedule_post", prepared), "post_id": old.id},
        irreversible=prepared.post.scheduled_at is not None and prepared.post.scheduled_at - context.now() < SOON,
        confirmation=args.confirmation,
    )
    if asked:
        # The user may have taken a while to answer.
        asked_about, old = old, await _read_post(args.post_id, replacer, context)
        refuse_changed(asked_about, old, NOT_DONE)
        refuse_unless_replaceable(old, context)
        if prepared.is_now:
            prepared = replace(prepared, post=replace(prepared.post, scheduled_at=nearest_time(context, TOO_CLOSE)))
        refuse_if_too_close(prepared, context)
    try:
        done = await run_shielded(lambda: replacer.replace(old, prepared.post, prepared.others))
    except EarlierAttempt as problem:
        raise Refusal(f"{NOT_DONE}: {problem} {show_id(old.id)} was not changed.") from None
    return _build_answer(old, _take_new_id(done, old, prepared), prepared, changes, context)


async def _read_post(post_id: str, replacer: Replacer, context: ToolContext) -> Post:
    """Read the post that is to be replaced. Where an interrupted call has replaced it already, its replacement is named."""
    try:
        return await context.api.posts.get(post_id)
    except NotFound:
        new_id = await replacer.close_finished(post_id)
        if new_id is None:
            await refuse_replaced(post_id, context, NOT_DONE)
            raise
        raise Refusal(
            f"{NOT_DONE}: {show_id(post_id)} is gone: an earlier call, which was interrupted, replaced it by "
            f"{show_id(new_id)}. Check that one with get_post, and call again with its id to change it."
        ) from None


def refuse_unless_replaceable(old: Post, context: ToolContext) -> None:
    """Refuse a post that is out, on its way or due at once."""
    name = show_id(old.id)
    if old.status not in REPLACEABLE:
        raise Refusal(
            f"{NOT_DONE}: {name} is {old.status}, so it is out or on its way and can't be changed. "
            "create_post sends a new one; nothing was changed."
        )
    if old.status == "scheduled" and old.scheduled_at and old.scheduled_at - context.now() < TOO_CLOSE:
        raise Refusal(
            f"{NOT_DONE}: {name} is due {from_now(old.scheduled_at, context.now())}, too soon to be replaced safely. "
            "delete_post may still stop it; nothing was changed."
        )


async def _prepare_replacement(args: ReschedulePost, old: Post, context: ToolContext) -> PreparedPost:
    fields = apply_changes(args, old, context, NOT_DONE)
    prepared = await prepare_post(fields, context, NOT_DONE, replaced=old, lead=TOO_CLOSE)
    refuse_hidden_parts(args, old, prepared, NOT_DONE)
    refuse_no_change(args, old, prepared, NOT_DONE)
    refuse_errors(prepared.findings, NOT_DONE)
    refuse_if_too_close(prepared, context)
    return prepared


def refuse_if_too_close(prepared: PreparedPost, context: ToolContext) -> None:
    when = prepared.post.scheduled_at
    if when is not None and when - context.now() < TOO_CLOSE:
        raise Refusal(
            f"{NOT_DONE}: {show(when, context.zone)} is less than two minutes away, too soon to replace a post safely. "
            "Pass a later time; nothing was changed."
        )


def _render_question(prepared: PreparedPost, old: Post, changes: Changes, context: ToolContext) -> str:
    when = prepared.post.scheduled_at
    due = f"for {show(when, context.zone)}, {from_now(when, context.now())}" if when else "as a draft"
    lines = [
        f"Replace the post {show_id(old.id)} by this one, {due}, on {describe_where(prepared)}?",
        *changes.render_question(),
        *prepared.notes,
        quote_all(prepared.post),
    ]
    return "\n".join(lines)


def _take_new_id(done: Replacement, old: Post, prepared: PreparedPost) -> str:
    """Return the id of the new post.

    Raises:
        Refusal: The post was not replaced; says which posts exist.
    """
    name, new_name = show_id(old.id), show_id(done.new_id or "")
    both = (
        f"Both may exist: call get_post for {name} and {new_name}, its replacement, and delete_post for the one that is not "
        "wanted, before either is due."
    )
    failed = {
        "replacement_differs": "the API made the replacement differently than asked",
        "old_post_changed": f"the old post is {done.old_status} now",
    }.get(done.failed_step or "", "a step after the replacement failed")
    match done.outcome:
        case "replaced":
            return done.new_id or ""
        case "in_progress":
            text = f": {name} is being replaced by another call right now. Look with list_posts in a few minutes; nothing was changed."
        case "interrupted":
            text = (
                f": an earlier call created {new_name} to replace {name} and was interrupted, so both exist. "
                "Call delete_post for the one that is not wanted; nothing was changed."
            )
        case "equal_post_exists":
            text = _describe_equal_post(done.created, name, prepared)
        case "create_unknown":
            cause = cause_of(done.created.cause if done.created else None)
            text = (
                f": {cause} So the replacement may exist, and the old post {name} still exists. Look with list_posts and delete "
                "the one that is not wanted."
            )
        case "taken_back":
            text = f": {failed}. The replacement was removed; {name} is as before."
        case "old_post_gone":
            text = (
                f" for sure: {failed}, but {name} is gone and the replacement {new_name} exists. "
                "Check it with get_post."
            )
        case "both_exist":
            text = f": {failed}, and the replacement could not be removed. {both}"
        case "delete_unconfirmed":
            doubt = f"it is still there ({done.old_status})" if done.old_status else "the response was lost"
            text = f" for sure: {name} was to be deleted, but {doubt}. {both}"
        case _:  # pragma: no cover
            assert_never(done.outcome)
    raise Refusal(f"{NOT_DONE}{text}")


def _describe_equal_post(created: Created | None, name: str, prepared: PreparedPost) -> str:
    """Name the posts that are as wanted already, for all of the accounts or for some."""
    if created is None:  # pragma: no cover - comes with its create
        return ": the same post exists already."
    those = join_words([show_id(each) for each in (created.post_id or "", *created.other_post_ids)])
    if created.missing_accounts:
        ids = ", ".join(map(show_id, created.missing_accounts))
        missing = name_accounts(prepared, created.missing_accounts)
        what_next = f"but not for {missing}. Call again with account_ids {ids} to have the rest there"
    else:
        what_next = f"so {name} is not needed for that. delete_post removes it"
    return (
        f": the same text is at that time already, as {those}, {what_next}; nothing was changed, {name} still exists."
    )


def _build_answer(
    old: Post, new_id: str, prepared: PreparedPost, changes: Changes, context: ToolContext
) -> Answer[Rescheduled]:
    when = prepared.post.scheduled_at
    due = f"goes out {show(when, context.zone)}, {from_now(when, context.now())}, to" if when else "is a draft for"
    now = " This is the nearest time that the API takes." if prepared.is_now else ""
    lines = [
        f"Rescheduled: {show_id(new_id)} {due} {describe_where(prepared)}.{now} delete_post cancels it.",
        f"It replaces {show_id(old.id)}, which is deleted.",
        *changes.render_answer(),
        *render_content(prepared),
        *(f"Warning: {warning}" for warning in prepared.findings.warnings),
    ]
    data = Rescheduled(
        old_post_id=clean_text(old.id),
        post_id=clean_text(new_id),
        scheduled_at=to_iso(when, context.zone),
        changed=changes.changed,
        removed=changes.removed_parts,
        unchanged=changes.kept,
        warnings=list(prepared.findings.warnings),
        **summarize_content(prepared).model_dump(),
    )
    return Answer("\n".join(lines), data)
