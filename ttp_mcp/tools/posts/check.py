"""`check_post`: what a post or a change would do, and every problem of it. Sends nothing."""

from typing import Annotated

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import Integration, PostCreate
from ttp_mcp.errors import Refusal, agent_text
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.platforms import rules
from ttp_mcp.text import clean_text, join_words, show_id
from ttp_mcp.times import from_now, show, to_iso
from ttp_mcp.toolkit.account_directory import account_label, full_account_label
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolOutput
from ttp_mcp.toolkit.params import (
    AccountIds,
    MediaUrls,
    OptionalContent,
    OtherPlatformData,
    Platforms,
    Remove,
    Thread,
    Time,
)
from ttp_mcp.tools.posts.changes import Changes, apply_changes, compare_posts, refuse_hidden_parts, refuse_no_change
from ttp_mcp.tools.posts.content_summary import describe_where, name_accounts, render_content, show_length
from ttp_mcp.tools.posts.guards import read_existing
from ttp_mcp.tools.posts.prepare import CopyOf, NewPostFields, PreparedPost, prepare_post, read_new_post
from ttp_mcp.tools.posts.reschedule import NOT_DONE, TOO_CLOSE, refuse_if_too_close, refuse_unless_replaceable
from ttp_mcp.tools.posts.toolset import toolset
from ttp_mcp.tools.posts.validation import Findings
from ttp_mcp.writes.replacement import REPLACEABLE

# Repeating the descriptions would cost every agent characters.
_AS_IN_CREATE = Field(description="As in create_post.")
NOT_CHECKED = "Post not checked"


class CheckPost(NewPostFields):
    """The post as create_post would get it, or a change as reschedule_post would."""

    copy_of: Annotated[CopyOf, _AS_IN_CREATE] = None
    content: Annotated[OptionalContent, _AS_IN_CREATE] = None
    account_ids: Annotated[AccountIds, _AS_IN_CREATE] = None
    platforms: Annotated[Platforms, _AS_IN_CREATE] = None
    media_urls: Annotated[MediaUrls, _AS_IN_CREATE] = None
    thread: Annotated[Thread, _AS_IN_CREATE] = None
    scheduled_at: Annotated[Time, _AS_IN_CREATE] = None
    platform_data: OtherPlatformData = None
    post_id: Annotated[str | None, Field(description="Post to change, as in reschedule_post.")] = None
    remove: Annotated[Remove, Field(description="As in reschedule_post.")] = None


class CheckedAccount(ToolOutput):
    """One account, and the longest text it would get, counted the platform's way."""

    account_id: str
    account: str
    platform: str
    name: str | SkipJsonSchema[None] = None
    handle: str | SkipJsonSchema[None] = None
    characters: int
    limit: int | SkipJsonSchema[None] = None


class ProposedThread(ToolOutput):
    """The text as a thread on X, ready to pass as content and thread."""

    content: str
    thread: list[str]


class PostCheck(ToolOutput):
    """Result of a check: accounts, time and problems. Errors and `already_created` (id of an equal post) stop a create."""

    would_be_sent: bool
    accounts: list[CheckedAccount]
    scheduled_at: str | SkipJsonSchema[None] = None
    errors: list[str]
    warnings: list[str]
    already_created: str | SkipJsonSchema[None] = None
    proposed_thread: ProposedThread | SkipJsonSchema[None] = None


@toolset.tool(title="Check a post", effect="read", failure=NOT_CHECKED, panel="post")
async def check_post(args: CheckPost, context: ToolContext) -> Answer[PostCheck]:
    """Return what create_post would do with the same arguments. Sends nothing.

    With post_id: what reschedule_post would do. Shows every problem, lengths as each platform counts, clashes and duplicates, and
    splits a text that is too long for X into a thread.
    """
    _refuse_mixture(args)
    changes = None
    is_open = True
    if args.post_id:
        prepared, changes, is_open = await _prepare_change(args, args.post_id, context)
    else:
        post = await read_new_post(args, context, NOT_CHECKED)
        prepared = await prepare_post(post, context, NOT_CHECKED, compare_drafts=True)
    found, earlier = prepared.findings, await _add_earlier(prepared, context)
    lines = [
        _render_verdict(prepared, found, earlier, context)
        if is_open
        else f"Can't be changed: {show_id(args.post_id or '')}.",
        *(
            f"- {full_account_label(each)} ({show_id(each.id)}): {show_length(each.platform, prepared.post.content)}"
            for each in prepared.targets.values()
        ),
        *(changes.render_question() if changes and is_open else []),
        *render_content(prepared)[1:],
        *(f"Error: {text}" for text in found.errors),
        *(f"Warning: {text}" for text in found.warnings),
        *([found.render_split()] if found.split else []),
        _render_next_step(prepared, found, earlier, args) if is_open else "Nothing was sent.",
    ]
    data = PostCheck(
        would_be_sent=not found.errors and earlier is None,
        accounts=[_check_account(account, prepared.post) for account in prepared.targets.values()],
        scheduled_at=to_iso(prepared.post.scheduled_at, context.zone),
        errors=found.errors,
        warnings=found.warnings,
        already_created=clean_text(earlier) if earlier else None,
        proposed_thread=ProposedThread(content=found.split[0], thread=list(found.split[1:])) if found.split else None,
    )
    return Answer("\n".join(lines), data)


def _refuse_mixture(args: CheckPost) -> None:
    """Refuse arguments of create_post together with those of reschedule_post: one of them would be ignored."""
    unused = ("copy_of", "platforms") if args.post_id else ("remove",)
    if passed := [name for name in unused if getattr(args, name)]:
        reason = "has no use with post_id; account_ids names accounts" if args.post_id else "needs post_id"
        raise Refusal(f"{NOT_CHECKED}: {join_words(passed)} {reason}. Leave it out, and call again; nothing was sent.")


async def _prepare_change(args: CheckPost, post_id: str, context: ToolContext) -> tuple[PreparedPost, Changes, bool]:
    """Prepare the change of a post. The last value is whether its status lets it be changed."""
    old = await read_existing(post_id, context, NOT_CHECKED)
    fields = apply_changes(args, old, context, NOT_CHECKED)
    prepared = await prepare_post(fields, context, NOT_CHECKED, compare_drafts=True, replaced=old, lead=TOO_CLOSE)
    problems = Findings(NOT_DONE)
    problems.collect(refuse_unless_replaceable, old, context)
    problems.collect(refuse_hidden_parts, args, old, prepared, NOT_DONE)
    if not problems.errors:
        problems.collect(refuse_no_change, args, old, prepared, NOT_DONE)
    problems.collect(refuse_if_too_close, prepared, context)
    prepared.findings.errors[:0] = problems.errors
    changes = await compare_posts(old, prepared, args, context)
    return prepared, changes, old.status in REPLACEABLE


async def _add_earlier(prepared: PreparedPost, context: ToolContext) -> str | None:
    """Add what the ledger has of an equal create. Returns the id of its post, if it has one."""
    found = prepared.findings
    # create_post refuses for an error before it asks the ledger.
    if found.errors:
        return None
    try:
        earlier = await context.writer.duplicates.find_prior(prepared.post, prepared.others, tuple(prepared.targets))
    except LedgerProblem as problem:
        found.add("warning", agent_text(problem, "Whether the same post was sent before is not known") or "")
        return None
    if earlier is None:
        return None
    if earlier.post_id is None:
        found.add(
            "error",
            f"An equal post was begun {show(earlier.at, context.zone)} and its outcome is not known: look for it with list_posts. "
            "create_post with allow_duplicate sends it in any case.",
        )
        return None
    if earlier.missing_accounts:
        found.add(
            "warning",
            f"It is not for {name_accounts(prepared, earlier.missing_accounts)}: create_post with account_ids "
            f"{', '.join(map(show_id, earlier.missing_accounts))} alone sends it there.",
        )
    if earlier.other_post_ids:
        those = join_words(list(map(show_id, earlier.other_post_ids)))
        found.add("warning", f"For the other accounts it is {those}.")
    return earlier.post_id


def _render_verdict(prepared: PreparedPost, found: Findings, earlier: str | None, context: ToolContext) -> str:
    verb = "be sent" if prepared.scheduled else "be saved as a draft"
    when = prepared.post.scheduled_at
    due = f" {show(when, context.zone)}, {from_now(when, context.now())}" if when else ""
    way = ", to" if prepared.scheduled else " for"
    where = f"{way} {describe_where(prepared)}" if prepared.targets else ""
    if found.errors:
        return f"Would not {verb} as it is{due and f':{due}'}{where}."
    now = " This is the nearest time that the API takes." if prepared.is_now and not earlier else ""
    return f"Would {'not ' if earlier else ''}{verb}{' again' if earlier else ''}{due}{where}.{now}"


def _check_account(account: Integration, post: PostCreate) -> CheckedAccount:
    parts = (post.content, *(post.thread if account.platform == "twitter" else ()))
    lengths = [rules.text_length(account.platform, part) for part in parts]
    length = max(lengths, key=lambda each: each.count)
    return CheckedAccount(
        account_id=clean_text(account.id),
        account=account_label(account),
        platform=clean_text(account.platform),
        name=clean_text(account.name) if account.name else None,
        handle=clean_text(account.handle) if account.handle else None,
        characters=length.count,
        limit=length.limit,
    )


def _render_next_step(prepared: PreparedPost, found: Findings, earlier: str | None, args: CheckPost) -> str:
    if found.errors:
        return "Nothing was sent. Fix the errors, then check again."
    if earlier and args.post_id:
        return (
            f"Nothing was sent, and reschedule_post would refuse this: {show_id(earlier)} is already the same post for the same "
            "accounts and time. delete_post removes the one that isn't wanted."
        )
    if earlier:
        return (
            f"Nothing was sent, and create_post would send nothing either: {show_id(earlier)} is the same post for the same "
            "accounts and time. allow_duplicate sends it once more, if the user wants that."
        )
    if args.post_id:
        return "Nothing was sent. reschedule_post with the same arguments makes the change."
    return f"Nothing was sent. create_post with the same arguments {'schedules' if prepared.scheduled else 'saves'} it."
