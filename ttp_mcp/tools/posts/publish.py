"""`publish_post`: publish a post now, or send it again to the accounts where it failed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import EndpointMissing, Post, ValidationFailed
from ttp_mcp.errors import Refusal, describe_cause
from ttp_mcp.text import clean_text, join_words, quote_text, show_id
from ttp_mcp.times import from_now, show
from ttp_mcp.toolkit.account_directory import AccountIndex, account_label, platform_key
from ttp_mcp.toolkit.confirmation import require_confirmation
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput, ToolOutput
from ttp_mcp.toolkit.params import Confirmation, PostId
from ttp_mcp.tools.posts.content_summary import describe_where, name_accounts, quote_all
from ttp_mcp.tools.posts.guards import cause_of, read_existing, replacement_under_way, visible_fields
from ttp_mcp.tools.posts.prepare import NOW, PostArguments, PreparedPost, list_hidden, prepare_post
from ttp_mcp.tools.posts.rendering import name_account, render_headline
from ttp_mcp.tools.posts.toolset import toolset
from ttp_mcp.tools.posts.validation import refuse_errors
from ttp_mcp.writes.outcomes import Created, Published
from ttp_mcp.writes.publication import PUBLISHABLE, find_accounts_with, is_due, list_delivered, list_failed

NOT_DONE = "Post not published"
TOOL = "publish_post"


class PublishPost(ToolInput):
    """Post to publish."""

    post_id: PostId
    confirmation: Confirmation = None


class PublishedPost(ToolOutput):
    """Outcome: `queued`, `retried` as new_post_id, `already_published`, `already_queued` or `unknown` (look before repeating)."""

    outcome: str
    post_id: str
    status: str
    new_post_id: str | SkipJsonSchema[None] = None
    accounts: list[str]
    failures: list[str]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class _Step:
    """Next step of a call: publish the post itself, or for a retry create a new one for the accounts where it failed."""

    post: Post
    prepared: PreparedPost
    book: AccountIndex
    is_retry: bool

    @property
    def failures(self) -> list[str]:
        """Accounts that refused the post, with their reasons."""
        return [
            f"{name_account(each.account_id, each.platform, self.book)}: "
            f"{quote_text(each.error, 200) if each.error else 'no reason given'}"
            for each in list_failed(self.post)
        ]

    def binding(self) -> dict[str, Any]:
        """Return the arguments that a confirmation covers."""
        shown = [self.post.id, *visible_fields(self.post)]
        return {"tool": TOOL, "shown": shown, "accounts": list(self.prepared.targets), "retry": self.is_retry}


@toolset.tool(title="Publish a post now", effect="publish", failure=NOT_DONE)
async def publish_post(args: PublishPost, context: ToolContext) -> Answer[PublishedPost]:
    """Publish a draft, scheduled or failed post within about a minute.

    A post that failed on some accounts is sent again to these only, as a new post. What is public can't be called back.
    """
    step = await _choose_step(args.post_id, context)
    if isinstance(step, Answer):
        return step
    asked = await require_confirmation(
        context, _render_question(step), binding=step.binding(), irreversible=True, confirmation=args.confirmation
    )
    if asked:
        # The user may have taken a while to answer.
        shown, step = step, await _choose_step(args.post_id, context)
        if isinstance(step, Answer):
            return step
        _refuse_other_step(shown, step)
    return await (_retry_failed(step, context) if step.is_retry else _publish_now(step, context))


async def _choose_step(post_id: str, context: ToolContext) -> _Step | Answer[PublishedPost]:
    """Read the post and decide what to do; an answer if nothing has to be sent."""
    post = await read_existing(post_id, context, NOT_DONE)
    if settled := await _answer_settled(post, context):
        return settled
    if post.status not in (*PUBLISHABLE, "partial"):
        raise Refusal(
            f"{NOT_DONE}: {show_id(post.id)} is {post.status}, and only a draft, scheduled, failed or partial post can be "
            "published. get_post shows it; nothing was sent."
        )
    await _refuse_pending_replacement(post, context)
    is_retry = post.status == "partial" or bool(list_delivered(post))
    ids = _list_failed_accounts(post) if is_retry else post.target_ids
    prepared = await prepare_post(_to_arguments(post, ids, is_retry=is_retry), context, NOT_DONE, replaced=post)
    step = _Step(post, prepared, await context.accounts.get_for_labels(), is_retry)
    elsewhere: dict[str, str] = {}
    if is_retry or post.status == "failed":
        elsewhere = _find_elsewhere(step)
        if elsewhere and len(elsewhere) == len(prepared.targets):
            return _answer_covered(step, elsewhere)
    refuse_errors(prepared.findings, NOT_DONE)
    return _leave_out_accounts(step, elsewhere)


async def _refuse_pending_replacement(post: Post, context: ToolContext) -> None:
    """Refuse a post of which an unfinished reschedule has made a second one: both would go out."""
    if post.id in context.writer.replacing:
        raise Refusal(
            f"{NOT_DONE}: {show_id(post.id)} is being rescheduled right now. Call again in a minute; nothing was sent."
        )
    if other := await replacement_under_way(post.id, context):
        raise Refusal(
            f"{NOT_DONE}: an unfinished reschedule created {show_id(other)} in place of {show_id(post.id)}, so both exist. "
            "Call delete_post for the one that is not wanted, then publish the other; nothing was sent."
        )


def _list_failed_accounts(post: Post) -> list[str]:
    """Return the ids of the accounts that refused the post.

    Raises:
        Refusal: The API doesn't name them, or doesn't show a part of the post that a new one needs.
    """
    ids = [each.account_id for each in list_failed(post) if each.account_id]
    if not ids:
        raise Refusal(
            f"{NOT_DONE}: {show_id(post.id)} is {post.status}, and the API does not show on which accounts it failed. Look at "
            "each network, then call create_post with the accounts that lack it; nothing was sent."
        )
    hidden = list_hidden(post, {platform_key(each.platform or "") for each in list_failed(post)})
    if hidden:
        raise Refusal(
            f"{NOT_DONE}: the API does not show the {join_words(hidden)} of {show_id(post.id)}. Call create_post with "
            f"account_ids {', '.join(map(show_id, ids))} and all parts of the post; nothing was sent."
        )
    return ids


def _to_arguments(post: Post, account_ids: Sequence[str], *, is_retry: bool) -> PostArguments:
    platforms = {platform_key(each.platform or "") for each in post.results if each.account_id in account_ids}
    data = post.platform_data
    return PostArguments(
        content=post.content,
        account_ids=account_ids,
        platforms=() if account_ids else post.platforms,
        media_urls=post.media_urls,
        # Only X has threads, and a choice is for its own platform.
        thread=() if is_retry and "twitter" not in platforms else post.thread,
        scheduled_at=NOW,
        platform_data={key: data[key] for key in data if key in platforms} if is_retry else data,
    )


def _find_elsewhere(step: _Step) -> dict[str, str]:
    """Find the accounts that have the post by another one since it failed.

    Raises:
        Refusal: The posts can't be read, so an account could get it twice.
    """
    others = step.prepared.others
    if others is None:
        raise Refusal(
            f"{NOT_DONE}: the other posts could not be read, so it isn't known whether {show_id(step.post.id)} was sent again "
            "already. Call again in a minute; nothing was sent."
        )
    return find_accounts_with(step.post, others, tuple(step.prepared.targets))


def _leave_out_accounts(step: _Step, elsewhere: dict[str, str]) -> _Step:
    """Leave out the accounts that have the post already, and send the others a new post."""
    if not elsewhere:
        return step
    targets = {each: account for each, account in step.prepared.targets.items() if each not in elsewhere}
    post = replace(step.prepared.post, account_ids=tuple(targets), platforms=())
    prepared = replace(step.prepared, post=post, targets=targets)
    return replace(step, prepared=prepared, is_retry=True)


def _refuse_other_step(shown: _Step, step: _Step) -> None:
    if shown.binding() != step.binding():
        raise Refusal(
            f"{NOT_DONE}: {show_id(step.post.id)} was changed while the user was asked about it. Call again for a new prompt; "
            "nothing was sent."
        )


def _render_question(step: _Step) -> str:
    prepared = step.prepared
    where = describe_where(prepared)
    only = " only, as a new post" if step.is_retry else ""
    lines = [f"Publish this post now, on {where}{only}? What is public can't be called back."]
    lines += [f"It failed before: {failure}" for failure in step.failures]
    lines += [f"Warning: {warning}" for warning in prepared.findings.warnings]
    return "\n".join([*lines, quote_all(prepared.post)])


async def _publish_now(step: _Step, context: ToolContext) -> Answer[PublishedPost]:
    try:
        published = await context.writer.publish(step.post, tool=TOOL)
    except EndpointMissing as error:
        raise Refusal(
            f"{NOT_DONE}: {describe_cause(error).removesuffix('.')}; nothing was changed, and reschedule_post with scheduled_at "
            "now sends the post in about two minutes instead."
        ) from None
    except ValidationFailed as error:
        if error.status != 409:
            raise
        # Its state has changed since it was read.
        post = await read_existing(step.post.id, context, NOT_DONE)
        if settled := await _answer_settled(post, context):
            return settled
        raise
    text = _describe_published(published, step, context)
    is_open = published.outcome == "already_queued" and published.state != "queued"
    outcome = "unknown" if is_open else published.outcome
    return _build_answer(outcome, step, text, post=published.post, recorded=published.recorded)


def _describe_published(published: Published, step: _Step, context: ToolContext) -> str:
    post_id, status, seen = show_id(step.post.id), step.post.status, published.post.status
    where, at = describe_where(step.prepared), show(published.at, context.zone)
    lost = " The API's response was lost; the post's status shows that it arrived." if published.cause else ""
    if published.outcome == "unknown":
        return (
            f"Unknown whether {post_id} is being published: {cause_of(published.cause)} Its status was {seen} when last seen. Call "
            "get_post in two minutes: if status and time are as before, the request did not arrive, and publish_post is safe to call "
            "again."
        )
    if published.outcome == "queued":
        if seen in ("published", "partial", "failed"):
            return f"Published: {post_id} is {seen}, for {where}. get_post shows the result on each account.{lost}"
        return (
            f"Queued: {post_id} goes out within about a minute to {where}. It can't be called back then; get_post shows the "
            f"result.{lost}"
        )
    if published.state == "queued":
        return (
            f"Already queued: {post_id} was sent to be published {at}; its status is {status}. Nothing was sent; get_post shows "
            "the result."
        )
    return (
        f"Unknown whether {post_id} is being published: a request was sent {at}, and its response was lost or is still to come. "
        f"Its status is {status}. Nothing was sent by this call; call get_post in two minutes, and publish_post if nothing has "
        "changed."
    )


async def _retry_failed(step: _Step, context: ToolContext) -> Answer[PublishedPost]:
    prepared = step.prepared
    created = await context.writer.create(prepared.post, tool=TOOL, existing=prepared.others, retries=step.post.id)
    outcomes = {"created": "retried", "already_created": "already_queued", "unknown": "unknown"}
    text = _describe_retry(created, step, context)
    return _build_answer(outcomes[created.outcome], step, text, new_id=created.post_id, recorded=created.recorded)


def _describe_retry(created: Created, step: _Step, context: ToolContext) -> str:
    old_id, new_id, prepared = show_id(step.post.id), show_id(created.post_id or ""), step.prepared
    where = describe_where(prepared)
    match created.outcome:
        case "created":
            when = prepared.post.scheduled_at or context.now()
            due = f"{show(when, context.zone)}, {from_now(when, context.now())}"
            return (
                f"Sent again: {new_id} goes out {due}, only to {where}. {old_id} stays as it is; "
                f"delete_post with {new_id} cancels the new one before that time."
            )
        case "already_created":
            status = created.post.status if created.post else "not readable"
            more = f" It failed too: call publish_post with {new_id}." if status in ("failed", "partial") else ""
            return (
                f"Already sent again: {new_id} was created for the accounts where {old_id} failed, and is {status}; nothing was "
                f"sent.{more}"
            )
        case "unknown":
            return (
                f"Unknown whether a new post for {where} was created: {cause_of(created.cause)} Call list_posts and look for it; "
                "if it is there, it goes out by itself."
            )


async def _answer_settled(post: Post, context: ToolContext) -> Answer[PublishedPost] | None:
    """Answer for a post that needs no request, because it is out or on its way; None for another."""
    outcome = "already_queued"
    if is_due(post, context.now()):
        state = "Already due: it goes out within about a minute"
    elif post.status == "publishing":
        state = "Being published right now"
    elif post.status == "published":
        outcome, state = "already_published", "Already published"
    else:
        return None
    book = await context.accounts.get_for_labels()
    text = f"{state}: {render_headline(post, book, context.zone, context.now())} Nothing was sent."
    data = PublishedPost(
        outcome=outcome,
        post_id=clean_text(post.id),
        status=post.status,
        accounts=[book.label_of(account_id) for account_id in post.target_ids],
        failures=[],
        warnings=[],
    )
    return Answer(text, data)


def _answer_covered(step: _Step, elsewhere: dict[str, str]) -> Answer[PublishedPost]:
    """Answer when every account has the post by another one."""
    by = join_words(sorted(map(show_id, set(elsewhere.values()))))
    text = (
        f"Already sent again: {by} has the same text for {name_accounts(step.prepared)}, where {show_id(step.post.id)} failed. Nothing "
        "was sent; get_post shows the result."
    )
    return _build_answer("already_queued", step, text, new_id=next(iter(elsewhere.values())))


def _build_answer(
    outcome: str,
    step: _Step,
    text: str,
    *,
    post: Post | None = None,
    new_id: str | None = None,
    recorded: bool = True,
) -> Answer[PublishedPost]:
    sends = outcome in ("queued", "retried")
    warnings = list(step.prepared.findings.warnings) if sends else []
    if not recorded:
        warnings.append("the ledger could not record this; check_setup says why.")
    lines = [text, *(f"It failed before: {failure}" for failure in step.failures)]
    lines += [f"Warning: {warning}" for warning in warnings]
    data = PublishedPost(
        outcome=outcome,
        post_id=clean_text(step.post.id),
        status=(post or step.post).status,
        new_post_id=clean_text(new_id) if new_id else None,
        accounts=[account_label(account) for account in step.prepared.targets.values()],
        failures=step.failures,
        warnings=warnings,
    )
    return Answer("\n".join(lines), data)
