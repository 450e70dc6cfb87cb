"""Tools of posts: list, read, create, delete."""

from collections import Counter
from typing import Annotated

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import Integration, Post
from ttp_mcp.times import show
from ttp_mcp.toolkit.account_directory import AccountCache, platform_key
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput, ToolOutput
from ttp_mcp.toolkit.params import Platform
from ttp_mcp.toolkit.ranges import parse_range
from ttp_mcp.tools.posts.paging import Filter, Order, read_page
from ttp_mcp.tools.posts.paging import target_ids as account_ids_of
from ttp_mcp.tools.posts.rendering import (
    PostSummary,
    count_noun,
    render_list_item,
    summarize_post,
    to_iso,
)
from ttp_mcp.tools.posts.toolset import toolset

Bound = Annotated[
    str | None,
    Field(max_length=64, description="ISO 8601; the scheduled time, else the published one."),
]


class ListPosts(ToolInput):
    """Which posts, in which order, how many."""

    status: Annotated[
        str | None,
        Field(max_length=30, description="draft, scheduled, publishing, published, partial or failed."),
    ] = None
    platform: Platform = None
    account: Annotated[str | None, Field(min_length=1, max_length=200, description="Account: id, @handle or name.")] = (
        None
    )
    after: Bound = None
    before: Bound = None
    text: Annotated[str | None, Field(min_length=1, max_length=200, description="Text that occurs in the content.")] = (
        None
    )
    order: Annotated[Order, Field(description="newest: latest made first; soonest: earliest time first.")] = "newest"
    limit: Annotated[int, Field(ge=1, le=100, description="Most posts to return.")] = 20
    cursor: Annotated[str | None, Field(max_length=2000, description="next_cursor of the page before.")] = None


class PostList(ToolOutput):
    """One page of posts; `matched` counts all that fit the filter."""

    posts: list[PostSummary]
    matched: int
    time_zone: str
    now: str
    next_cursor: str | SkipJsonSchema[None] = None


@toolset.tool(title="List posts", effect="read", failure="Posts not listed")
async def list_posts(args: ListPosts, context: ToolContext) -> Answer[PostList]:
    """List the organization's posts, filtered, newest first.

    Content is shortened; get_post has it whole. The answer says how many matched and how to get the rest.
    """
    book, everything = await context.accounts.names_and(context.api.posts.list)
    meant = _account_filter(args.account, book)
    after, before = parse_range(context, ("after", args.after), ("before", args.before))
    wanted = Filter(
        status=args.status.strip().lower() if args.status else None,
        platform=platform_key(args.platform) if args.platform else None,
        accounts=None if meant is None else frozenset(account.id for account in meant),
        account_platforms=frozenset(platform_key(account.platform) for account in meant or ()),
        after=after,
        before=before,
        text=args.text.casefold() if args.text else None,
    )
    found = read_page(everything, wanted, args.order, args.limit, args.cursor)
    lines = [_list_heading(args, context, len(found.posts), found.matched, everything)]
    shown = [summarize_post(post, book, context.zone) for post in found.posts]
    lines += [render_list_item(post, short, context.zone) for post, short in zip(found.posts, shown, strict=True)]
    if args.account and not all(account_ids_of(post) for post in found.posts):
        lines.append("Where only a platform is named, the API does not say for which of its accounts the post is.")
    if found.cursor:
        lines.append(
            f"{found.left} more; for the next page call again with the same arguments and cursor {found.cursor}"
        )
    data = PostList(
        posts=shown,
        matched=found.matched,
        time_zone=context.zone.key,
        now=to_iso(context.now(), context.zone) or "",
        next_cursor=found.cursor,
    )
    return Answer("\n".join(lines), data)


def _account_filter(wanted: str | None, book: AccountCache) -> list[Integration] | None:
    if wanted is None:
        return None
    found = book.matching(wanted)
    if not found:
        book.find(wanted, "Posts not listed")
    return found


def _list_heading(args: ListPosts, context: ToolContext, shown: int, matched: int, everything: list[Post]) -> str:
    now = f"(now {show(context.now(), context.zone)})"
    if not everything:
        return f"There are no posts yet {now}. create_post makes one."
    order = "newest first" if args.order == "newest" else "earliest time first"
    if not matched:
        by_status = Counter(post.status for post in everything)
        counts = ", ".join(f"{count} {status}" for status, count in by_status.most_common(8))
        return f"No post matches {now}. There are {len(everything)} in all: {counts}."
    return f"{shown} of {count_noun(matched, 'matching post')}, {order}; times in {context.zone.key} {now}."
