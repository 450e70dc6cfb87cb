"""The tool that changes a post. The API has no edit, so a replacement is made first and the old post removed after it."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta

from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import ApiError, NotFound, Post
from ttp_mcp.errors import Refusal, why
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.text import clean_text, show_id
from ttp_mcp.times import from_now, show
from ttp_mcp.toolkit.concurrency import shielded
from ttp_mcp.toolkit.confirmation import require_confirmation
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput, ToolOutput
from ttp_mcp.toolkit.params import (
    Confirmation,
    MediaUrls,
    OptionalContent,
    OtherAccountIds,
    PlatformData,
    PostId,
    Thread,
    Time,
)
from ttp_mcp.tools.posts.guards import SOON, refuse_changed, refuse_replaced
from ttp_mcp.tools.posts.paging import target_ids
from ttp_mcp.tools.posts.prepare import NOT_OUT, PostFields, PreparedPost, binding, prepare_post, refuse_errors
from ttp_mcp.tools.posts.rendering import join_words, quote_all, to_iso
from ttp_mcp.tools.posts.toolset import toolset
from ttp_mcp.tools.posts.validation import validate_post
from ttp_mcp.writes.outcomes import Created, Deleted, EarlierAttempt, WriteRefused

# Nearer than this to its time, a post may be taken up by the scheduler while it is being replaced.
TOO_CLOSE = timedelta(minutes=2)

NOT_DONE = "Post not rescheduled"


class ReschedulePost(ToolInput):
    """Which post, and what changes; the rest stays as it is."""

    post_id: PostId
    scheduled_at: Time = None
    content: OptionalContent = None
    account_ids: OtherAccountIds = None
    media_urls: MediaUrls = None
    thread: Thread = None
    platform_data: PlatformData = None
    confirmation: Confirmation = None


class Rescheduled(ToolOutput):
    """The post that stands now and the one it replaced. Times are ISO 8601 with offset."""

    old_post_id: str
    post_id: str
    scheduled_at: str | SkipJsonSchema[None] = None
    warnings: list[str]


@toolset.tool(title="Reschedule or change a post", effect="publish", failure=NOT_DONE)
async def reschedule_post(args: ReschedulePost, context: ToolContext) -> Answer[Rescheduled]:
    """Give a draft or scheduled post another time, text, accounts or media. Its id changes.

    Makes the replacement, checks it, then deletes the old post; when that fails one of them stands, or both are named.
    Not for posts that are publishing or out.
    """
    old = await _standing(args.post_id, context)
    _refuse_unless_replaceable(old, context)
    prepared = await _prepared(args, old, context)
    _refuse_unless_different(args, old, prepared)
    refuse_errors(prepared, NOT_DONE)
    _refuse_if_too_close(prepared, context)
    asked = await require_confirmation(
        context,
        _question(prepared, old, context),
        binding={**binding("reschedule_post", prepared), "post_id": old.id},
        irreversible=prepared.post.scheduled_at is not None and prepared.post.scheduled_at - context.now() < SOON,
        confirmation=args.confirmation,
    )
    if asked:
        # Who was asked may have taken their time.
        asked_about, old = old, await _standing(args.post_id, context)
        refuse_changed(asked_about, old, NOT_DONE)
        _refuse_unless_replaceable(old, context)
        _refuse_if_too_close(prepared, context)
    # From here on both posts may stand for a moment, so neither a cancel nor the end of the process stops half way.
    new_id = await shielded(lambda: _create_and_replace(old, prepared, context))
    return _answer(old, new_id, prepared, context)


async def _create_and_replace(old: Post, prepared: PreparedPost, context: ToolContext) -> str:
    with context.writer.track(), _alone(old, context):
        await _begin(old, prepared, context)
        created = await _created(old, prepared, context)
        new_id = _id_of(created, old)
        await _replace(old, new_id, prepared, context)
        return new_id


@contextmanager
def _alone(old: Post, context: ToolContext) -> Generator[None]:
    """Of two equal calls at once each would take the replacement for its own, and one could take it back from the other."""
    if old.id in context.writer.replacing:
        raise _under_way(old)
    context.writer.replacing.add(old.id)
    try:
        yield
    finally:
        context.writer.replacing.discard(old.id)


def _under_way(old: Post) -> Refusal:
    return Refusal(
        f"{NOT_DONE}: {show_id(old.id)} is being replaced by another call right now. Look with list_posts in a few "
        "minutes; nothing was changed."
    )


async def _standing(post_id: str, context: ToolContext) -> Post:
    """The post that is to be replaced; when a call that did not end has replaced it already, that is noted and told."""
    try:
        return await context.api.posts.get(post_id)
    except NotFound:
        half = await context.ledger.replacing(post_id)
        if half is None or half.new_id is None:
            await refuse_replaced(post_id, context, NOT_DONE)
            raise
        await context.ledger.end_replacement(post_id, half.new_id)
        raise Refusal(
            f"{NOT_DONE}: {show_id(post_id)} is gone and {show_id(half.new_id)} was made in its place by an earlier "
            "call that did not end. Check it with get_post, and call again with that id to change it."
        ) from None


async def _begin(old: Post, prepared: PreparedPost, context: ToolContext) -> None:
    """Note that two posts may stand from here on, unless the post is being replaced by something else already."""
    half = await context.ledger.replacing(old.id)
    if half is not None and half.moved and half.new_id is not None and await _exists(half.new_id, context):
        raise _both(old, half.new_id)
    other = await context.ledger.begin_replacement(old.id, prepared.post)
    while other is not None:
        if context.ledger.is_fresh(other):
            raise _under_way(old)
        if other.new_id is not None and await _exists(other.new_id, context):
            raise _both(old, other.new_id)
        await context.ledger.end_replacement(old.id, None)
        other = await context.ledger.begin_replacement(old.id, prepared.post)


def _both(old: Post, new_id: str) -> Refusal:
    return Refusal(
        f"{NOT_DONE}: an earlier call made {show_id(new_id)} in place of {show_id(old.id)} and did not end, "
        "so both stand. Call delete_post for the one that is not wanted; nothing was changed."
    )


async def _created(old: Post, prepared: PreparedPost, context: ToolContext) -> Created:
    """The replacement. What a crash left of an earlier call with the same arguments is taken up again."""
    try:
        created = await context.writer.create(
            prepared.post, tool="reschedule_post", before=prepared.others, replaces=old.id
        )
    except EarlierAttempt as problem:
        # Its post may stand.
        raise EarlierAttempt(f"{problem} {show_id(old.id)} still stands.", under_way=problem.under_way) from None
    except (ApiError, WriteRefused, LedgerProblem):
        await _note(old.id, None, context)
        raise
    if created.outcome == "already_created":
        half = await context.ledger.replacing(old.id)
        if half is None or half.new_id != created.post_id:
            # Somebody's own post: to rest on it could leave an account with nothing.
            await _note(old.id, None, context)
            raise _there_already(old, created, prepared)
    return created


def _there_already(old: Post, created: Created, prepared: PreparedPost) -> Refusal:
    """Another post is as wanted, for all of the accounts or for some."""
    name, those = show_id(old.id), join_words([show_id(each) for each in (created.post_id or "", *created.beside)])
    if created.lacking:
        ids = ", ".join(map(show_id, created.lacking))
        what_next = (
            f"but not for {prepared.named(created.lacking)}. Call again with account_ids {ids} to have the rest there"
        )
    else:
        what_next = f"so {name} is not needed for that. delete_post removes it"
    return Refusal(
        f"{NOT_DONE}: the same text is at that time already, as {those}, {what_next}; nothing was changed, {name} still stands."
    )


def _refuse_unless_different(args: ReschedulePost, old: Post, prepared: PreparedPost) -> None:
    if (args.thread is not None and "thread" not in old.raw) or (
        args.platform_data is not None and "platformData" not in old.raw
    ):
        # What the API does not show may be another one.
        return
    post = prepared.post
    when = old.scheduled_at if old.status == "scheduled" else None
    wanted = (post.content, list(post.thread), list(post.media_urls), post.platform_data, post.scheduled_at)
    same = wanted == (old.content, old.thread, old.media_urls, old.platform_data, when)
    if same and target_ids(old) == set(prepared.target_ids):
        raise Refusal(f"{NOT_DONE}: {show_id(old.id)} is like that already. Nothing was changed.")


def _refuse_unless_replaceable(old: Post, context: ToolContext) -> None:
    name = show_id(old.id)
    if old.status not in NOT_OUT:
        raise Refusal(
            f"{NOT_DONE}: {name} is {old.status}, so it is out or on its way and can't be changed. "
            "create_post sends a new one; nothing was changed."
        )
    if old.status == "scheduled" and old.scheduled_at and old.scheduled_at - context.now() < TOO_CLOSE:
        raise Refusal(
            f"{NOT_DONE}: {name} is due {from_now(old.scheduled_at, context.now())}, too soon to be replaced safely. "
            "delete_post may still stop it; nothing was changed."
        )


async def _prepared(args: ReschedulePost, old: Post, context: ToolContext) -> PreparedPost:
    """The replacement: the old post with what changes. What the API does not show of the old one has to be passed."""
    changes = ("scheduled_at", "content", "account_ids", "media_urls", "thread", "platform_data")
    if all(getattr(args, name) is None for name in changes):
        raise Refusal(
            f"{NOT_DONE}: nothing to change was passed. Pass scheduled_at or another of {', '.join(changes)}."
        )
    account_ids = args.account_ids or _accounts_of(old)
    when = args.scheduled_at or (to_iso(old.scheduled_at, context.zone) if old.status == "scheduled" else None)
    fields = PostFields(
        content=args.content or old.content,
        account_ids=account_ids,
        media_urls=args.media_urls if args.media_urls is not None else old.media_urls,
        thread=args.thread if args.thread is not None else old.thread,
        scheduled_at=when,
        platform_data=args.platform_data if args.platform_data is not None else old.platform_data,
    )
    prepared = await prepare_post(fields, context, NOT_DONE)
    _refuse_what_is_not_shown(args, old, prepared)
    # The old post is no clash with its own replacement.
    others = tuple(post for post in prepared.others if post.id != old.id) if prepared.others is not None else None
    found = validate_post(prepared.post, prepared.targets, others if prepared.post.scheduled_at else ())
    return replace(prepared, findings=found)


def _accounts_of(old: Post) -> list[str]:
    found = old.account_ids or [result.account_id for result in old.results if result.account_id]
    if not found:
        raise Refusal(
            f"{NOT_DONE}: the API does not show which accounts {show_id(old.id)} is for. Pass account_ids; nothing was changed."
        )
    return found


def _refuse_what_is_not_shown(args: ReschedulePost, old: Post, prepared: PreparedPost) -> None:
    """A part that the reference does not promise to show would be lost without a word."""
    platforms = {account.platform for account in prepared.targets}
    missing: list[str] = []
    if args.thread is None and "thread" not in old.raw and "twitter" in platforms:
        missing.append("thread ([] for none)")
    if args.platform_data is None and "platformData" not in old.raw and platforms & {"tiktok", "pinterest"}:
        missing.append("platform_data")
    if missing:
        raise Refusal(
            f"{NOT_DONE}: the API does not show all of {show_id(old.id)}. Pass {' and '.join(missing)}; nothing was changed."
        )


def _refuse_if_too_close(prepared: PreparedPost, context: ToolContext) -> None:
    when = prepared.post.scheduled_at
    if when is not None and when - context.now() < TOO_CLOSE:
        raise Refusal(
            f"{NOT_DONE}: {show(when, context.zone)} is less than two minutes away, too soon to replace a post safely. "
            "Pass a later time; nothing was changed."
        )


def _question(prepared: PreparedPost, old: Post, context: ToolContext) -> str:
    return (
        f"Replace the post {show_id(old.id)} by this one, {_when(prepared, context)}, on {prepared.named()}{prepared.extent()}?\n"
        f"{quote_all(prepared.post)}"
    )


def _when(prepared: PreparedPost, context: ToolContext) -> str:
    when = prepared.post.scheduled_at
    return f"for {show(when, context.zone)}, {from_now(when, context.now())}" if when else "as a draft"


def _id_of(created: Created, old: Post) -> str:
    if created.outcome == "unknown" or created.post_id is None:
        what_came = why(created.cause) if created.cause else "the call ended before there was an answer."
        raise Refusal(
            f"{NOT_DONE}: {what_came} So the replacement may exist, and the old post {show_id(old.id)} still stands. Look with "
            "list_posts and delete the one that is not wanted."
        )
    return created.post_id


async def _replace(old: Post, new_id: str, prepared: PreparedPost, context: ToolContext) -> None:
    """Check the replacement and remove the old post; what fails before the old one is touched is taken back."""
    doubt = ""
    try:
        now_old = await _checked(old, new_id, prepared, context)
        deleted = await context.writer.delete(old.id, tool="reschedule_post", post=now_old)
        if not (doubt := await _doubt(deleted, old.id, context)):
            return await _note(old.id, new_id, context)
    except _Undone as problem:
        return await _undo(old, new_id, str(problem), context)
    except (ApiError, WriteRefused, LedgerProblem):
        return await _undo(old, new_id, "a step after the replacement failed", context)
    # Deleting twice is safe. The replacement stays from here on: to take it back could leave none, when the delete took effect late.
    with suppress(ApiError, WriteRefused, LedgerProblem):
        deleted = await context.writer.delete(old.id, tool="reschedule_post", post=now_old, limited=False)
        if not (doubt := await _doubt(deleted, old.id, context)):
            return await _note(old.id, new_id, context)
    name, new_name = show_id(old.id), show_id(new_id)
    raise Refusal(
        f"{NOT_DONE} for sure: {name} was to be deleted, but {doubt}. Both may stand: call get_post for {name} and {new_name}, its "
        "replacement, and delete_post for the one that is not wanted, before either is due."
    )


class _Undone(Exception):
    """The replacement must not stand."""


async def _checked(old: Post, new_id: str, prepared: PreparedPost, context: ToolContext) -> Post:
    """The old post as it is now, when the replacement is as asked and the old one can still go."""
    new = await context.api.posts.get(new_id)
    if new.scheduled_at != prepared.post.scheduled_at or new.status not in ("draft", "scheduled"):
        raise _Undone("the API made the replacement differently than asked")
    now_old = await context.api.posts.get(old.id)
    if now_old.status not in NOT_OUT:
        raise _Undone(f"the old post is {now_old.status} meanwhile")
    return now_old


async def _doubt(deleted: Deleted, post_id: str, context: ToolContext) -> str:
    """Why a post may still be there after its delete; empty when it is gone."""
    if deleted.outcome == "unknown":
        return "the answer to that was lost"
    try:
        left = await context.api.posts.get(post_id)
    except ApiError:
        return ""
    return f"it is still there ({left.status})"


async def _note(old_id: str, new_id: str | None, context: ToolContext) -> None:
    try:
        await context.ledger.end_replacement(old_id, new_id)
    except LedgerProblem:
        # Only the pointer from the old id is missing then; the posts are as they should be.
        return


async def _undo(old: Post, new_id: str, why: str, context: ToolContext) -> None:
    name, new_name = show_id(old.id), show_id(new_id)
    try:
        still_there = await _exists(old.id, context)
        if still_there:
            removed = await context.writer.delete(new_id, tool="reschedule_post", limited=False)
            if removed.outcome != "unknown":
                await _note(old.id, None, context)
                raise Refusal(f"{NOT_DONE}: {why}. The replacement was removed again; {name} stands.")
    except (ApiError, WriteRefused, LedgerProblem):
        still_there = True
    if not still_there:
        # Removing the replacement as well would leave nothing.
        await _note(old.id, new_id, context)
        raise Refusal(
            f"{NOT_DONE} for sure: {why}, but {name} is gone and the replacement {new_name} stands. Check it with get_post."
        )
    raise Refusal(
        f"{NOT_DONE}: {why}, and the replacement {new_name} could not be removed. Both may stand: call get_post for {name} and "
        f"{new_name}, and delete_post for the one that is not wanted, before either is due."
    )


async def _exists(post_id: str, context: ToolContext) -> bool:
    try:
        await context.api.posts.get(post_id)
    except NotFound:
        return False
    return True


def _answer(old: Post, new_id: str, prepared: PreparedPost, context: ToolContext) -> Answer[Rescheduled]:
    when = prepared.post.scheduled_at
    was = f" It was due {show(old.scheduled_at, context.zone)}." if old.scheduled_at else ""
    due = f"goes out {show(when, context.zone)}, {from_now(when, context.now())}, to" if when else "is a draft for"
    lines = [
        f"Rescheduled: {show_id(new_id)} {due} {prepared.named()}{prepared.extent()}. delete_post cancels it.",
        f"It replaces {show_id(old.id)}, which is deleted.{was}",
    ]
    lines += [f"Note: {warning}" for warning in prepared.findings.to_say]
    data = Rescheduled(
        old_post_id=clean_text(old.id),
        post_id=clean_text(new_id),
        scheduled_at=to_iso(when, context.zone),
        warnings=prepared.findings.to_say,
    )
    return Answer("\n".join(lines), data)
