"""`list_posts`: posts of the organization, filtered, in pages, with counts by status."""

from collections import Counter
from collections.abc import Sequence
from itertools import starmap
from operator import attrgetter
from typing import Annotated

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import Post
from ttp_mcp.errors import Refusal
from ttp_mcp.platforms import rules
from ttp_mcp.text import fold_text, quote_text
from ttp_mcp.times import show, to_iso
from ttp_mcp.toolkit.account_directory import AccountIndex, platform_key
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput, ToolOutput
from ttp_mcp.toolkit.ranges import parse_range
from ttp_mcp.tools.posts.paging import Filter, Order, Page, read_page
from ttp_mcp.tools.posts.rendering import PostSummary, render_list_item, summarize_post, warn_of_unhealthy
from ttp_mcp.tools.posts.toolset import toolset

STATUSES = ("draft", "scheduled", "publishing", "published", "partial", "failed")
# Words of users and of other schedulers.
STATUS_SYNONYMS = {
    "drafts": "draft",
    "pending": "scheduled",
    "queued": "scheduled",
    "upcoming": "scheduled",
    "planned": "scheduled",
    "processing": "publishing",
    "posted": "published",
    "live": "published",
    "sent": "published",
    "done": "published",
    "partially_failed": "partial",
    "error": "failed",
    "errored": "failed",
}
ANY = ("all", "any", "*")
ORDERS = {"latest": "latest first", "soonest": "soonest first", "created": "newest created first"}


class ListPosts(ToolInput):
    """Filters, order and page."""

    status: Annotated[
        list[str] | None,
        Field(min_length=1, max_length=20, description=f"One or more of {', '.join(STATUSES)}."),
    ] = None
    platform: Annotated[str | None, Field(max_length=50, description="Platform key, e.g. twitter (= X).")] = None
    account: Annotated[str | None, Field(min_length=1, max_length=200, description="Account: id, @handle or name.")] = (
        None
    )
    after: Annotated[
        str | None,
        Field(
            max_length=64,
            description="Scheduled (else published) at or after this ISO 8601 time; a date is the whole day.",
        ),
    ] = None
    before: Annotated[str | None, Field(max_length=64, description="At or before this time or whole day.")] = None
    text: Annotated[
        str | None, Field(min_length=1, max_length=200, description="Words in the content or the thread, in any case.")
    ] = None
    order: Annotated[Order, Field(description="latest or soonest: by time; created: newest created first.")] = "latest"
    limit: Annotated[int, Field(ge=1, le=100, description="Maximum number of posts.")] = 20
    cursor: Annotated[str | None, Field(max_length=200, description="next_cursor of the page before.")] = None


class PostList(ToolOutput):
    """One page of posts; `matched` counts all that match, `by_status` all posts of the organization."""

    posts: list[PostSummary]
    matched: int
    by_status: dict[str, int]
    time_zone: str
    now: str
    next_cursor: str | SkipJsonSchema[None] = None
    warnings: list[str] | SkipJsonSchema[None] = None


@toolset.tool(title="List posts", effect="read", failure="Posts not listed", panel="calendar")
async def list_posts(args: ListPosts, context: ToolContext) -> Answer[PostList]:
    """List posts with times, accounts, links and failures; counts all posts by status.

    Texts are shortened to 280 characters; get_post returns them in full. Posts made outside TimeToPost aren't listed.
    """
    book, everything = await context.accounts.get_for_labels_and(context.api.posts.list)
    found = read_page(everything, _build_filter(args, context, book, everything), args.order, args.limit, args.cursor)
    by_status = Counter(map(attrgetter("status"), everything))
    lines = [_render_heading(args, context, found, by_status)]
    shown: list[PostSummary] = []
    for post in found.posts:
        shown.append(summarize_post(post, book, context.zone))
        lines.append(render_list_item(post, shown[-1], context.zone))
    warnings = warn_of_unhealthy(found.posts, book, context.dashboard)
    lines += map("Warning: {}".format, warnings)
    if args.account and not all(post.target_ids for post in found.posts):
        lines.append("Where only a platform is named, the API doesn't say for which of its accounts the post is.")
    if found.cursor:
        lines.append(f"{found.left} more: call again with the same arguments and cursor {found.cursor}")
    data = PostList(
        posts=shown,
        matched=found.matched,
        by_status=dict(by_status.most_common()),
        time_zone=context.zone.key,
        now=to_iso(context.now(), context.zone) or "",
        next_cursor=found.cursor,
        warnings=warnings or None,
    )
    return Answer("\n".join(lines), data)


def _build_filter(args: ListPosts, context: ToolContext, book: AccountIndex, everything: Sequence[Post]) -> Filter:
    after = before = None
    if args.after or args.before:
        after, before = parse_range(context, ("after", args.after), ("before", args.before))
    return Filter(
        statuses=_parse_statuses(args.status, everything) if args.status else None,
        platform=_parse_platform(args.platform, book, everything) if args.platform else None,
        accounts=book.list_matching(args.account, "Posts not listed") if args.account else None,
        after=after,
        before=before,
        text=fold_text(args.text) if args.text else None,
    )


def _parse_statuses(words: Sequence[str], everything: Sequence[Post]) -> frozenset[str] | None:
    wanted = {STATUS_SYNONYMS.get(word, word) for word in " ".join(words).lower().replace(",", " ").split()}
    if not wanted or not wanted.isdisjoint(ANY):
        return None
    # The API may add a status.
    known = {*STATUSES, *(post.status for post in everything)}
    for word in sorted(wanted - known):
        raise Refusal(
            f"Posts not listed: {quote_text(word, 30)} is not a status. Pass {', '.join(sorted(known))}, or leave status out."
        )
    return frozenset(wanted)


def _parse_platform(word: str, book: AccountIndex, everything: Sequence[Post]) -> str | None:
    if word.strip().lower() in ANY:
        return None
    key = platform_key(word)
    seen = [platform for post in everything for platform in post.platforms]
    connected = [account.platform for account in book.accounts]
    if key not in {*rules.platform_keys(), *map(platform_key, connected), *map(platform_key, seen)}:
        raise Refusal(
            f"Posts not listed: {quote_text(word, 30)} is not a platform. Pass {', '.join(rules.platform_keys())}, or leave platform out."
        )
    return key


def _render_heading(args: ListPosts, context: ToolContext, found: Page, by_status: Counter[str]) -> str:
    now = f"now {show(context.now(), context.zone)}"
    total = by_status.total()
    if not total:
        return f"No posts yet ({now}). Call create_post to make one."
    counts = ", ".join(starmap("{1} {0}".format, by_status.most_common(8)))
    heading = f"The organization has {total} post{'' if total == 1 else 's'}: {counts}."
    if not found.matched:
        return f"{heading} None matches ({now})."
    return f"{heading} Showing {len(found.posts)} of {found.matched}, {ORDERS[args.order]}; {now}."
