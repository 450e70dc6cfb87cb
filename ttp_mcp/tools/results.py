"""`post_results`: how published posts did, sorted by a figure, with totals."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated

import anyio
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import ApiError, EndpointMissing, Post, PostMetrics
from ttp_mcp.errors import Refusal, describe_cause
from ttp_mcp.text import clean_text, count_noun, quote_text, shorten_line, show_id, show_url, show_word
from ttp_mcp.times import show, show_short, to_iso
from ttp_mcp.toolkit.account_directory import AccountIndex
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput, ToolOutput
from ttp_mcp.toolkit.ranges import parse_range
from ttp_mcp.tools.analytics import toolset
from ttp_mcp.tools.figures import AccountFigures, Figure, Figures, GroupTotal, Totals, add_figures, sum_groups, total_of
from ttp_mcp.tools.posts.paging import Filter, time_of_post
from ttp_mcp.tools.posts.rendering import account_labels

NOT_READ = "Results not read"
# Requests at once, and in one call.
AT_ONCE, MOST_ASKED = 4, 100
# For the whole call, as for one request of the API client.
DEADLINE_SECONDS = 30.0
BEGINNING = 80
# States in which some account shows the post.
OUT = frozenset({"published", "partial"})


class ReadResults(ToolInput):
    """Posts, order and number."""

    post_ids: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=200)]] | None,
        Field(max_length=20, description="These posts. Without it and without a window: the last published ones."),
    ] = None
    after: Annotated[
        str | None,
        Field(max_length=64, description="Window of all published posts, as in list_posts: from this time or day."),
    ] = None
    before: Annotated[str | None, Field(max_length=64, description="To this time or whole day.")] = None
    sort_by: Annotated[Figure, Field(description="Figure that ranks the posts, most first.")] = "impressions"
    limit: Annotated[int, Field(ge=1, le=20, description="Number of posts in the answer; totals count all.")] = 10


class PostFigures(ToolOutput):
    """A post with its figures; `figures` is missing before the API's first sync, which is not zero."""

    id: str
    text: str
    published_at: str | SkipJsonSchema[None] = None
    platforms: list[str]
    link: str | SkipJsonSchema[None] = None
    figures: Figures | SkipJsonSchema[None] = None
    accounts: list[AccountFigures]


class MissingResult(ToolOutput):
    """Posts that were not read, and the reason; one post, or several without an id."""

    post_id: str | SkipJsonSchema[None] = None
    reason: str


class PostResults(ToolOutput):
    """Posts, best first, the sums of all posts that were read, and what is missing."""

    sorted_by: str
    posts: list[PostFigures]
    totals: Totals
    missing: list[MissingResult]


@dataclass(slots=True)
class _Reading:
    """Posts to read, their figures, and the failures."""

    posts: list[Post]
    missing: list[MissingResult]
    found: dict[str, PostMetrics] = field(default_factory=dict[str, PostMetrics])
    failed: dict[str, ApiError] = field(default_factory=dict[str, ApiError])


@toolset.tool(title="Results of posts", effect="read", failure=NOT_READ, panel="results")
async def post_results(args: ReadResults, context: ToolContext) -> Answer[PostResults]:
    """Rank published posts by impressions, likes, comments, shares, saves, views or clicks.

    With the engagement rate of each, and totals by platform and account. For a period (best posts since August) pass after.
    """
    deadline = anyio.current_time() + DEADLINE_SECONDS
    book, everything = await context.accounts.get_for_labels_and(context.api.posts.list)
    reading = await _choose_posts(args, everything, context)
    await _read_figures(reading, deadline, context)
    read = [
        _describe_post(post, reading.found[post.id], book, context)
        for post in reading.posts
        if post.id in reading.found
    ]
    ranked = sorted(read, key=lambda post: _rank_post(post, args.sort_by))
    data = PostResults(
        sorted_by=args.sort_by,
        posts=ranked[: len(ranked) if args.post_ids else args.limit],
        totals=_add_up(ranked),
        missing=[*reading.missing, *_list_failures(reading)],
    )
    return Answer(_render_results(data, len(ranked), context), data)


async def _choose_posts(args: ReadResults, everything: Sequence[Post], context: ToolContext) -> _Reading:
    """Choose published posts by id, by window, or the last ones.

    Raises:
        Refusal: Ids and a window were passed together.
        TimeProblem: The window can't be read.
    """
    if args.post_ids and (args.after or args.before):
        raise Refusal(f"{NOT_READ}: pass post_ids, or a window by after and before, and not both. Nothing was sent.")
    if args.post_ids:
        return await _choose_by_id(args.post_ids, everything, context)
    after, before = parse_range(context, ("after", args.after), ("before", args.before))
    wanted = Filter(statuses=OUT, after=after, before=before)
    published = sorted(filter(wanted.matches, everything), key=_published_at, reverse=True)
    if not (after or before):
        return _Reading(published[: args.limit], [])
    return _Reading(published[:MOST_ASKED], _list_left(published[MOST_ASKED:], context))


def _list_left(left: Sequence[Post], context: ToolContext) -> list[MissingResult]:
    """Name the posts of a window that one call doesn't read, and the call that does."""
    if not left:
        return []
    # The API's times may have fractions of a second, and the argument has none.
    before = to_iso(_published_at(left[0]) + timedelta(seconds=1), context.zone)
    were = "was" if len(left) == 1 else "were"
    return [
        MissingResult(
            reason=f"{count_noun(len(left), 'older post')} of this window {were} not read, because one call reads at most "
            f"{MOST_ASKED}: call again with before {before}"
        )
    ]


def _published_at(post: Post) -> datetime:
    return time_of_post(post) or datetime.min.replace(tzinfo=UTC)


async def _choose_by_id(post_ids: Sequence[str], everything: Sequence[Post], context: ToolContext) -> _Reading:
    known = {post.id: post for post in everything}
    reading = _Reading([], [])
    for post_id in dict.fromkeys(post_ids):
        post = known.get(post_id)
        if post is not None and post.status in OUT:
            reading.posts.append(post)
            continue
        if post is not None:
            reason = f"is {post.status}, so it has no results"
        elif new_id := await context.ledger.replacements.find_successor(post_id):
            reason = f"was replaced by {show_id(new_id)} when it was rescheduled"
        else:
            reason = "is not a post of this organization"
        reading.missing.append(MissingResult(post_id=clean_text(post_id), reason=reason))
    return reading


async def _read_figures(reading: _Reading, deadline: float, context: ToolContext) -> None:
    """Read the figures of each post, some at once, until the deadline.

    Raises:
        EndpointMissing: The API has no figures of single posts.
        ApiError: None of the posts could be read.
    """
    turn = anyio.Semaphore(AT_ONCE)

    async def read(post: Post) -> None:
        async with turn:
            try:
                reading.found[post.id] = await context.api.analytics.post_metrics(post.id)
            except EndpointMissing as error:
                reading.failed[post.id] = error
                tasks.cancel_scope.cancel()
            except ApiError as error:
                reading.failed[post.id] = error
        done = len(reading.found) + len(reading.failed)
        await context.user.report_progress(done, len(reading.posts), f"{done} of {len(reading.posts)} read")

    with anyio.CancelScope(deadline=deadline):
        async with anyio.create_task_group() as tasks:
            for post in reading.posts:
                tasks.start_soon(read, post)
    lacking = [error for error in reading.failed.values() if isinstance(error, EndpointMissing)]
    if lacking or (reading.failed and not reading.found):
        raise [*lacking, *reading.failed.values()][0]


def _list_failures(reading: _Reading) -> list[MissingResult]:
    """List the posts whose figures could not be read; equal reasons of many posts once."""
    reasons = {post.id: "the time of this call was over" for post in reading.posts if post.id not in reading.found}
    reasons |= {post_id: describe_cause(error) for post_id, error in reading.failed.items()}
    return [MissingResult(post_id=clean_text(post_id), reason=reason) for post_id, reason in reasons.items()]


def _describe_post(post: Post, found: PostMetrics, book: AccountIndex, context: ToolContext) -> PostFigures:
    figures = total_of(found)
    accounts = [
        AccountFigures(
            account=book.label_of(each.account_id) if each.account_id else show_word(each.platform or "not stated"),
            account_id=clean_text(each.account_id) if each.account_id else None,
            platform=each.platform or "not stated",
            figures=Figures.from_metrics(each.metrics),
        )
        for each in found.accounts
    ]
    if figures and not accounts and len(labels := account_labels(post, book)) == 1:
        # All of it is that account's.
        platform = (post.platforms or ["not stated"])[0]
        accounts = [AccountFigures(account=labels[0], platform=show_word(platform), figures=figures)]
    return PostFigures(
        id=clean_text(post.id),
        text=shorten_line(post.content, BEGINNING),
        published_at=to_iso(post.published_at or post.scheduled_at, context.zone),
        platforms=[clean_text(platform) for platform in post.platforms],
        link=next((clean_text(each.url) for each in post.results if each.url), None),
        figures=figures,
        accounts=accounts,
    )


def _rank_post(post: PostFigures, by: Figure) -> tuple[bool, bool, float]:
    """Order posts by a figure, most first, then those without this figure, then those without any."""
    value = post.figures.get(by) if post.figures else None
    return post.figures is None, value is None, -(value or 0)


def _add_up(posts: Sequence[PostFigures]) -> Totals:
    counted = [post for post in posts if post.figures]
    parts = [each for post in counted for each in post.accounts]
    return Totals(
        posts=len(counted),
        figures=add_figures(post.figures for post in counted if post.figures),
        platforms=sum_groups([(each.platform, each.figures) for each in parts]),
        accounts=sum_groups([(each.account, each.figures) for each in parts]),
    )


def _render_results(data: PostResults, read: int, context: ToolContext) -> str:
    lines = [_render_heading(data, read, context)]
    for number, post in enumerate(data.posts, 1):
        lines += _render_post(number, post, context)
    totals = data.totals
    if totals.figures and read > 1:
        lines.append(f"Total of {count_noun(totals.posts, 'post')}: {totals.figures.render()}")
        lines += [
            f"{each.name}, {count_noun(each.posts, 'post')}: {each.figures.render()}" for each in _list_groups(totals)
        ]
    for each in data.missing:
        lines.append(f"Missing: {f'{show_id(each.post_id)} ' if each.post_id else ''}{each.reason}.")
    return "\n".join(lines)


def _render_heading(data: PostResults, read: int, context: ToolContext) -> str:
    now = f"now {show(context.now(), context.zone)}"
    if not read:
        return f"No results ({now})." if data.missing else f"No post was published in that time ({now})."
    waiting = read - data.totals.posts
    without = f"; {count_noun(waiting, 'post')} without figures yet, which is not zero" if waiting else ""
    return (
        f"Results of {count_noun(read, 'published post')}, most {data.sorted_by} first{without}. "
        f"Showing {len(data.posts)}; {now}. Figures count from the publication to the API's last sync."
    )


def _render_post(number: int, post: PostFigures, context: ToolContext) -> list[str]:
    when = f"{show_short(datetime.fromisoformat(post.published_at), context.zone)}, " if post.published_at else ""
    where = ", ".join([*(each.account for each in post.accounts)] or map(show_word, post.platforms))
    link = f", {show_url(post.link)}" if post.link else ""
    lines = [
        f"{number}. {quote_text(post.text, BEGINNING)} {show_id(post.id)}, {when}{where}{link}",
        f"   {post.figures.render() if post.figures else 'no figures yet'}",
    ]
    if len(post.accounts) > 1:
        lines += [f"   - {each.account}: {each.figures.render()}" for each in post.accounts]
    return lines


def _list_groups(totals: Totals) -> list[GroupTotal]:
    """List the accounts, if there are several, after the platforms with more than one."""
    single = [(each.posts, each.figures) for each in totals.accounts]
    shared = [each for each in totals.platforms if (each.posts, each.figures) not in single]
    return [*shared, *totals.accounts] if len(totals.accounts) > 1 else []
