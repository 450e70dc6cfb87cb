"""`create_post`: schedule a post or save a draft."""

from datetime import datetime
from typing import Annotated

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import Post
from ttp_mcp.text import clean_text, show_id
from ttp_mcp.times import WEEKDAYS, from_now, refuse_past, show
from ttp_mcp.toolkit.account_directory import account_label
from ttp_mcp.toolkit.confirmation import require_confirmation
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolOutput
from ttp_mcp.toolkit.params import Confirmation, Content
from ttp_mcp.tools.posts.guards import SOON, cause_of
from ttp_mcp.tools.posts.prepare import PostArguments, PostFields, PreparedPost, binding, prepare_post, refuse_errors
from ttp_mcp.tools.posts.rendering import join_words, quote_all, to_iso
from ttp_mcp.tools.posts.toolset import toolset
from ttp_mcp.writes.outcomes import Created


class CreatePost(PostFields):
    """A post, and how to treat one that seems to be a repetition."""

    content: Content
    allow_duplicate: Annotated[
        bool, Field(description="Send it although the same was already sent; only when the human wants it twice.")
    ] = False
    confirmation: Confirmation = None


class CreatedPost(ToolOutput):
    """What became of a create: `created`, `already_created` (nothing was sent) or `unknown` (look before repeating)."""

    outcome: str
    post_id: str | SkipJsonSchema[None] = None
    status: str | SkipJsonSchema[None] = None
    accounts: list[str]
    scheduled_at: str | SkipJsonSchema[None] = None
    scheduled_at_utc: str | SkipJsonSchema[None] = None
    weekday: str | SkipJsonSchema[None] = None
    warnings: list[str]
    candidates: list[str] | SkipJsonSchema[None] = None


@toolset.tool(title="Create a post", effect="publish", failure="Post not created", drafts=True)
async def create_post(args: CreatePost, context: ToolContext) -> Answer[CreatedPost]:
    """Schedule a post for connected accounts, or save a draft when scheduled_at is left out.

    check_post shows what would happen without sending. A scheduled post reaches the public at its time; delete_post cancels
    it before. The same post is not sent twice by accident.
    """
    prepared = await prepare_post(PostArguments.from_fields(args.content, args), context, "Post not created")
    refuse_errors(prepared, "Post not created")
    when = prepared.post.scheduled_at
    # A draft reaches nobody.
    if when is not None:
        await require_confirmation(
            context,
            _create_question(prepared, when, context, once_more=args.allow_duplicate),
            binding={**binding("create_post", prepared), "allow_duplicate": args.allow_duplicate},
            irreversible=when - context.now() < SOON,
            confirmation=args.confirmation,
        )
        # Who was asked may have taken their time.
        refuse_past(when, context.now(), context.zone)
    created = await context.writer.create(
        prepared.post,
        tool="create_post",
        allow_duplicate=args.allow_duplicate,
        existing=prepared.others,
        target_ids=prepared.target_ids,
    )
    return created_answer(created, prepared, context)


def _create_question(prepared: PreparedPost, when: datetime, context: ToolContext, *, once_more: bool) -> str:
    time = f"{show(when, context.zone)}, {from_now(when, context.now())}"
    again = ", even if the same was sent before" if once_more else ""
    return (
        f"Schedule this post for {time}, on {prepared.named()}{prepared.extent()}{again}?\n{quote_all(prepared.post)}"
    )


def created_answer(created: Created, prepared: PreparedPost, context: ToolContext) -> Answer[CreatedPost]:
    """What became of a create, in words and as data."""
    when = prepared.post.scheduled_at
    # What the API says of the post that stands, where it says so.
    stands = (created.post.scheduled_at if created.post else None) or when
    # Beside a post that was there already, warnings would only speak of that one.
    warnings = prepared.findings.to_say if created.outcome != "already_created" else []
    data = CreatedPost(
        outcome=created.outcome,
        post_id=clean_text(created.post_id) if created.post_id else None,
        status=created.post.status if created.post else None,
        accounts=[account_label(account) for account in prepared.targets if account.id not in created.missing_accounts],
        scheduled_at=to_iso(stands, context.zone),
        scheduled_at_utc=stands.strftime("%Y-%m-%dT%H:%M:%SZ") if stands else None,
        weekday=_weekday(stands, context),
        warnings=warnings,
        candidates=[clean_text(candidate) for candidate in created.candidates] or None,
    )
    lines = [_created_text(created, prepared, context), *(f"Note: {warning}" for warning in warnings)]
    if not created.recorded:
        lines.append(
            "Note: the ledger could not note this, so a repetition would not be noticed; check_setup says why."
        )
    return Answer("\n".join(lines), data)


def _weekday(when: datetime | None, context: ToolContext) -> str | None:
    return WEEKDAYS[when.astimezone(context.zone).weekday()] if when else None


def _created_text(created: Created, prepared: PreparedPost, context: ToolContext) -> str:
    when = prepared.post.scheduled_at
    post_id = show_id(created.post_id or "")
    where = f"{prepared.named()}{prepared.extent()}"
    if created.outcome == "unknown":
        seen = (
            f" Equal posts: {join_words([show_id(each) for each in created.candidates])}." if created.candidates else ""
        )
        return (
            f"Unknown whether the post for {where} was created: {cause_of(created.cause)} No single new post is equal to it.{seen} "
            "Call list_posts and look for it before trying again; allow_duplicate sends it in any case."
        )
    if created.outcome == "already_created" and created.missing_accounts:
        return (
            f"Already created: {post_id}, the same post at the same time, but not for {prepared.named(created.missing_accounts)}; "
            f"nothing was sent. create_post with account_ids {', '.join(map(show_id, created.missing_accounts))} alone sends it there."
        )
    if created.other_post_ids:
        those = join_words([show_id(each) for each in (created.post_id or "", *created.other_post_ids)])
        return (
            f"Already created: {those} are together the same post for the same accounts and time; nothing was sent. "
            "allow_duplicate sends it once more, if the human wants that."
        )
    if created.outcome == "already_created":
        return (
            f"Already created: {post_id}, the same post for the same accounts and time; nothing was sent. get_post shows it; "
            "allow_duplicate sends it once more, if the human wants that."
        )
    found = " The API's answer was lost; the post was found by looking." if created.reconciled else ""
    if differs := _not_as_asked(created.post, when, context):
        return f"Created, but not as asked: {post_id} for {where} {differs}. Check it with get_post; delete_post removes it.{found}"
    if when is None:
        return (
            f"Draft saved: {post_id} for {where}. It never publishes by itself: reschedule_post gives it a time, delete_post "
            f"removes it.{found}"
        )
    return (
        f"Scheduled: {post_id} goes out {show(when, context.zone)}, {from_now(when, context.now())}, to {where}. "
        f"Nothing is public yet; delete_post cancels it.{found}"
    )


def _not_as_asked(post: Post | None, when: datetime | None, context: ToolContext) -> str | None:
    """What the API says of a new post where that is not what was asked; the fields it leaves out say nothing."""
    if post is None:
        return None
    differences: list[str] = []
    expected = ("scheduled", "publishing", "published") if when else ("draft",)
    if "status" in post.raw and post.status not in expected:
        differences.append(f"is {post.status} and not {expected[0]}")
    if post.scheduled_at and post.scheduled_at != when:
        differences.append(
            f"is set for {show(post.scheduled_at, context.zone)}"
            + (f" and not for {show(when, context.zone)}" if when else "")
        )
    return " and ".join(differences) or None
