"""The tool that says what a post would do, and what speaks against it, without sending anything."""

from datetime import datetime

from pydantic.json_schema import SkipJsonSchema

from ttp_mcp import platform_rules
from ttp_mcp.api import PostCreate
from ttp_mcp.errors import Refusal
from ttp_mcp.text import clean, shown_id
from ttp_mcp.times import TimeProblem, from_now, show
from ttp_mcp.tools.accounts import label
from ttp_mcp.tools.app import App
from ttp_mcp.tools.drafting import PostFields, Prepared, prepare
from ttp_mcp.tools.posts import posts
from ttp_mcp.tools.registry import Answer, ToolOutput
from ttp_mcp.tools.results import iso


class CheckPost(PostFields):
    """The post as create_post would get it."""


class CheckedAccount(ToolOutput):
    """One account, and the longest text it would get, counted the platform's way."""

    account_id: str
    account: str
    characters: int
    limit: int | SkipJsonSchema[None] = None


class PostCheck(ToolOutput):
    """Whether create_post would send it, to whom and when; errors stop it, warnings and notes do not."""

    would_be_sent: bool
    accounts: list[CheckedAccount]
    scheduled_at: str | SkipJsonSchema[None] = None
    errors: list[str]
    warnings: list[str]
    notes: list[str]


@posts.tool(title="Check a post", effect="read", failure="Post not checked")
async def check_post(args: CheckPost, app: App) -> Answer[PostCheck]:
    """Say what create_post would do with the same arguments, and every problem; sends nothing.

    Shows accounts by name, the time in both zones, text lengths as each platform counts them, what is missing, and clashes.
    """
    try:
        prepared = await prepare(args, app, "Would not be sent")
    except (Refusal, TimeProblem) as problem:
        text = str(problem).removesuffix(" Nothing was sent.")
        data = PostCheck(would_be_sent=False, accounts=[], errors=[text], warnings=[], notes=[])
        return Answer(text if isinstance(problem, Refusal) else f"Would not be sent: {text}", data)
    found = prepared.findings
    lines = [_headline(prepared, app), *(_account_line(account) for account in _accounts(prepared))]
    lines += [f"Error: {text}" for text in found.errors]
    lines += [f"Warning: {text}" for text in found.warnings]
    lines += [f"Note: {text}" for text in found.notes]
    lines.append(_ending(prepared))
    data = PostCheck(
        would_be_sent=not found.errors,
        accounts=_accounts(prepared),
        scheduled_at=iso(prepared.post.scheduled_at, app.zone),
        errors=list(found.errors),
        warnings=list(found.warnings),
        notes=list(found.notes),
    )
    return Answer("\n".join(lines), data)


def _headline(prepared: Prepared, app: App) -> str:
    verb = "Would not be sent as it is" if prepared.findings.errors else "Would be sent"
    return f"{verb}: {_what(prepared.post.scheduled_at, app)}, to {prepared.named()}{prepared.extent()}."


def _what(when: datetime | None, app: App) -> str:
    if when is None:
        return "a draft without a time"
    return f"a post for {show(when, app.zone)}, {from_now(when, app.now())}"


def _accounts(prepared: Prepared) -> list[CheckedAccount]:
    checked: list[CheckedAccount] = []
    for account in prepared.targets:
        length = _longest(account.platform, prepared.post)
        checked.append(
            CheckedAccount(
                account_id=clean(account.id), account=label(account), characters=length.count, limit=length.limit
            )
        )
    return checked


def _longest(platform: str, post: PostCreate) -> platform_rules.Length:
    parts = (post.content, *(post.thread if platform == "twitter" else ()))
    return max((platform_rules.text_length(platform, part) for part in parts), key=lambda length: length.count)


def _account_line(account: CheckedAccount) -> str:
    limit = f" of {account.limit}" if account.limit is not None else ", limit not known"
    return f"- {account.account} ({shown_id(account.account_id)}): {account.characters}{limit} characters as the platform counts"


def _ending(prepared: Prepared) -> str:
    if prepared.findings.errors:
        return "Nothing was sent. Mend what is named as an error, then check again."
    return "Nothing was sent. create_post with the same arguments sends it."
