"""The tool that says what a post would do, and what speaks against it, without sending anything."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import Integration, PostCreate
from ttp_mcp.errors import Refusal, agent_text
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.platforms import rules
from ttp_mcp.text import clean_text, show_id
from ttp_mcp.times import TimeProblem, from_now, show
from ttp_mcp.toolkit.account_directory import account_label, full_account_label
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolOutput
from ttp_mcp.toolkit.params import AccountIds, Content, MediaUrls, OtherPlatformData, Platforms, Thread, Time
from ttp_mcp.tools.posts.prepare import PostArguments, PostFields, PreparedPost, prepare_post
from ttp_mcp.tools.posts.rendering import join_words, to_iso
from ttp_mcp.tools.posts.toolset import toolset
from ttp_mcp.tools.posts.validation import Findings

# Repeating the descriptions would cost every agent characters.
_AS_IN_CREATE = Field(description="As in create_post.")


class CheckPost(PostFields):
    """The post as create_post would get it."""

    content: Content
    account_ids: Annotated[AccountIds, _AS_IN_CREATE] = None
    platforms: Annotated[Platforms, _AS_IN_CREATE] = None
    media_urls: Annotated[MediaUrls, _AS_IN_CREATE] = None
    thread: Annotated[Thread, _AS_IN_CREATE] = None
    scheduled_at: Annotated[Time, _AS_IN_CREATE] = None
    platform_data: OtherPlatformData = None


class CheckedAccount(ToolOutput):
    """One account, and the longest text it would get, counted the platform's way."""

    account_id: str
    account: str
    platform: str
    name: str | SkipJsonSchema[None] = None
    handle: str | SkipJsonSchema[None] = None
    characters: int
    limit: int | SkipJsonSchema[None] = None


class PostCheck(ToolOutput):
    """Whether create_post would send it, to whom and when; errors stop it, and `already_created`, the id of the same post."""

    would_be_sent: bool
    accounts: list[CheckedAccount]
    scheduled_at: str | SkipJsonSchema[None] = None
    errors: list[str]
    warnings: list[str]
    notes: list[str]
    already_created: str | SkipJsonSchema[None] = None


@toolset.tool(title="Check a post", effect="read", failure="Post not checked")
async def check_post(args: CheckPost, context: ToolContext) -> Answer[PostCheck]:
    """Say what create_post would do with the same arguments, and every problem; sends nothing.

    Shows accounts by name, the time in both zones, text lengths as each platform counts them, what is missing, and clashes.
    """
    try:
        prepared = await prepare_post(
            PostArguments.from_fields(args.content, args), context, "Would not be sent", compare_drafts=True
        )
    except (Refusal, TimeProblem) as problem:
        text = str(problem).removesuffix(" Nothing was sent.")
        data = PostCheck(would_be_sent=False, accounts=[], errors=[text], warnings=[], notes=[])
        return Answer(text if isinstance(problem, Refusal) else f"Would not be sent: {text}", data)
    found, earlier = await _with_earlier(prepared, context)
    lines = [
        _headline(prepared, found, earlier, context),
        *(_account_line(account, prepared.post) for account in prepared.targets),
    ]
    lines += [f"Error: {text}" for text in found.errors]
    lines += [f"Warning: {text}" for text in found.warnings]
    lines += [f"Note: {text}" for text in found.notes]
    lines.append(_ending(found, earlier))
    data = PostCheck(
        would_be_sent=not found.errors and earlier is None,
        accounts=[_account(account, prepared.post) for account in prepared.targets],
        scheduled_at=to_iso(prepared.post.scheduled_at, context.zone),
        errors=list(found.errors),
        warnings=list(found.warnings),
        notes=list(found.notes),
        already_created=clean_text(earlier) if earlier else None,
    )
    return Answer("\n".join(lines), data)


async def _with_earlier(prepared: PreparedPost, context: ToolContext) -> tuple[Findings, str | None]:
    """What was found, with what the ledger knows of an equal create; and the post of that, if it has one."""
    found = prepared.findings
    # create_post refuses for an error before it asks the ledger.
    if found.errors:
        return found, None
    try:
        earlier = await context.writer.duplicates.find_prior(prepared.post, prepared.others, prepared.target_ids)
    except LedgerProblem as problem:
        note = agent_text(problem, "Whether the same post was sent before is not known")
        return replace(found, notes=(*found.notes, note)), None
    if earlier is not None and earlier.post_id and earlier.missing_accounts:
        note = (
            f"It is not for {prepared.named(earlier.missing_accounts)}: create_post with account_ids "
            f"{', '.join(map(show_id, earlier.missing_accounts))} alone sends it there."
        )
        found = replace(found, notes=(*found.notes, note))
    if earlier is not None and earlier.other_post_ids:
        those = join_words(list(map(show_id, earlier.other_post_ids)))
        found = replace(found, notes=(*found.notes, f"For the other accounts it is {those}."))
    if earlier is None or earlier.post_id:
        return found, earlier.post_id if earlier else None
    error = (
        f"An equal post was begun {show(earlier.at, context.zone)} and its outcome is not known: look for it with list_posts. "
        "create_post with allow_duplicate sends it in any case."
    )
    return replace(found, errors=(error,)), None


def _headline(prepared: PreparedPost, found: Findings, earlier: str | None, context: ToolContext) -> str:
    verb = "Would not be sent as it is" if found.errors else "Would not be sent again" if earlier else "Would be sent"
    return f"{verb}: {_what(prepared.post.scheduled_at, context)}, to {prepared.named()}{prepared.extent()}."


def _what(when: datetime | None, context: ToolContext) -> str:
    if when is None:
        return "a draft without a time"
    return f"a post for {show(when, context.zone)}, {from_now(when, context.now())}"


def _account(account: Integration, post: PostCreate) -> CheckedAccount:
    length = _longest(account.platform, post)
    return CheckedAccount(
        account_id=clean_text(account.id),
        account=account_label(account),
        platform=clean_text(account.platform),
        name=clean_text(account.name) if account.name else None,
        handle=clean_text(account.handle) if account.handle else None,
        characters=length.count,
        limit=length.limit,
    )


def _longest(platform: str, post: PostCreate) -> rules.Length:
    parts = (post.content, *(post.thread if platform == "twitter" else ()))
    return max((rules.text_length(platform, part) for part in parts), key=lambda length: length.count)


def _account_line(account: Integration, post: PostCreate) -> str:
    length = _longest(account.platform, post)
    limit = f" of {length.limit}" if length.limit is not None else ", limit not known"
    return f"- {full_account_label(account)} ({show_id(account.id)}): {length.count}{limit} characters as the platform counts"


def _ending(found: Findings, earlier: str | None) -> str:
    if found.errors:
        return "Nothing was sent. Mend what is named as an error, then check again."
    if earlier:
        return (
            f"Nothing was sent, and create_post would send nothing either: {show_id(earlier)} is the same post for the same "
            "accounts and time. allow_duplicate sends it once more, if the human wants that."
        )
    return "Nothing was sent. create_post with the same arguments sends it."
