"""Tools of posts: list, read, create, delete."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import ApiError, Integration, NotFound, Post
from ttp_mcp.errors import Refusal, why
from ttp_mcp.ledger import LedgerProblem
from ttp_mcp.text import clean, fence, quote_api, shown_id
from ttp_mcp.times import TimeProblem, from_now, parse_when, refuse_past, show
from ttp_mcp.tools.accounts import AccountBook, label, platform_key
from ttp_mcp.tools.app import App
from ttp_mcp.tools.consent import agree
from ttp_mcp.tools.drafting import PostFields, Prepared, binding, prepare, refuse_errors, shown
from ttp_mcp.tools.paging import Filter, Order, page
from ttp_mcp.tools.paging import accounts_of as account_ids_of
from ttp_mcp.tools.params import Confirmation, Platform, PostId
from ttp_mcp.tools.registry import Answer, ToolInput, ToolOutput, Toolset
from ttp_mcp.tools.results import (
    PostDetail,
    PostSummary,
    accounts_of,
    all_barred,
    counted,
    detail,
    entry,
    headline,
    in_full,
    iso,
    listed,
    summary,
)
from ttp_mcp.writes import Created, Deleted

posts = Toolset("posts")

# A post that is due so soon can't be taken back any more once somebody notices.
SOON = timedelta(minutes=10)

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


class GetPost(ToolInput):
    """Which post."""

    post_id: PostId


class CreatePost(PostFields):
    """A post, and how to treat one that seems to be a repetition."""

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


class DeletePost(ToolInput):
    """Which post."""

    post_id: PostId
    confirmation: Confirmation = None


class DeletedPost(ToolOutput):
    """What became of a delete: `deleted`, `already_gone` or `unknown`."""

    outcome: str
    post_id: str
    status_before: str | SkipJsonSchema[None] = None


@posts.tool(title="List posts", effect="read", failure="Posts not listed")
async def list_posts(args: ListPosts, app: App) -> Answer[PostList]:
    """List the organization's posts, filtered, newest first.

    Content is shortened; get_post has it whole. The answer says how many matched and how to get the rest.
    """
    book, everything = await app.accounts.names_and(app.api.posts.list)
    meant = _account_filter(args.account, book)
    wanted = Filter(
        status=args.status.strip().lower() if args.status else None,
        platform=platform_key(args.platform) if args.platform else None,
        accounts=None if meant is None else frozenset(account.id for account in meant),
        account_platforms=frozenset(platform_key(account.platform) for account in meant or ()),
        after=_bound("after", args.after, app),
        before=_bound("before", args.before, app),
        text=args.text.casefold() if args.text else None,
    )
    found = page(everything, wanted, args.order, args.limit, args.cursor)
    lines = [_list_heading(args, app, len(found.posts), found.matched, everything)]
    shown = [summary(post, book, app.zone) for post in found.posts]
    lines += [entry(post, short, app.zone) for post, short in zip(found.posts, shown, strict=True)]
    if args.account and not all(account_ids_of(post) for post in found.posts):
        lines.append("Where only a platform is named, the API does not say for which of its accounts the post is.")
    if found.cursor:
        lines.append(
            f"{found.left} more; for the next page call again with the same arguments and cursor {found.cursor}"
        )
    data = PostList(
        posts=shown,
        matched=found.matched,
        time_zone=app.zone.key,
        now=iso(app.now(), app.zone) or "",
        next_cursor=found.cursor,
    )
    return Answer("\n".join(lines), data)


@posts.tool(title="Get a post", effect="read", failure="Post not read")
async def get_post(args: GetPost, app: App) -> Answer[PostDetail]:
    """Return one post whole, with what became of it on each account.

    list_posts finds ids. A post that was rescheduled here names the one that replaced it.
    """
    book, post = await app.accounts.names_and(lambda: _moved(args.post_id, app))
    return Answer(in_full(post, book, app.zone, app.now()), detail(post, book, app.zone))


async def _moved(post_id: str, app: App) -> Post:
    try:
        return await app.api.posts.get(post_id)
    except NotFound:
        await refuse_replaced(post_id, app, "Post not read")
        raise


async def refuse_replaced(post_id: str, app: App, what: str) -> None:
    """Name the post that stands in place of one that is gone, where it was replaced here."""
    if new_id := await app.ledger.replacement(post_id):
        raise Refusal(
            f"{what}: {shown_id(post_id)} was replaced by {shown_id(new_id)} when it was rescheduled. "
            "Call again with that id; nothing was changed."
        )


@posts.tool(title="Create a post", effect="publish", failure="Post not created", drafts=True)
async def create_post(args: CreatePost, app: App) -> Answer[CreatedPost]:
    """Schedule a post for connected accounts, or save a draft when scheduled_at is left out.

    check_post shows what would happen without sending. A scheduled post reaches the public at its time; delete_post cancels
    it before. The same post is not sent twice by accident.
    """
    prepared = await prepare(args, app, "Post not created")
    refuse_errors(prepared, "Post not created")
    when = prepared.post.scheduled_at
    # A draft reaches nobody.
    if when is not None:
        await agree(
            app,
            _create_question(prepared, when, app, once_more=args.allow_duplicate),
            binding={**binding("create_post", prepared), "allow_duplicate": args.allow_duplicate},
            grave=when - app.now() < SOON,
            confirmation=args.confirmation,
        )
        # Who was asked may have taken their time.
        refuse_past(when, app.now(), app.zone)
    created = await app.writes.create(
        prepared.post,
        tool="create_post",
        allow_duplicate=args.allow_duplicate,
        before=prepared.others,
        targets=prepared.target_ids,
    )
    return created_answer(created, prepared, app)


@posts.tool(title="Delete a post", effect="remove", failure="Post not deleted")
async def delete_post(args: DeletePost, app: App) -> Answer[DeletedPost]:
    """Delete a post; one that is scheduled is cancelled before it goes out.

    What a network already shows stays there: it has to be removed on the network itself.
    """
    try:
        post = await _deletable(args.post_id, app)
    except NotFound:
        await refuse_replaced(args.post_id, app, "Post not deleted")
        if await app.ledger.removed(args.post_id) is None:
            raise
        gone = DeletedPost(outcome="already_gone", post_id=clean(args.post_id))
        return Answer(f"{shown_id(args.post_id)} was deleted before; nothing was changed.", gone)
    book = await app.accounts.names()
    asked = await agree(
        app,
        _delete_question(post, book, app),
        binding={"tool": "delete_post", "post_id": post.id, "shown": shown(post)},
        grave=True,
        confirmation=args.confirmation,
    )
    if asked:
        # It may have gone out meanwhile, or be another post than the one that was shown.
        asked_about, post = post, await _deletable(args.post_id, app)
        refuse_changed(asked_about, post, "Post not deleted")
    deleted = await app.writes.delete(args.post_id, tool="delete_post", post=post)
    text = _deleted_text(deleted, post, book, app)
    if other := await replacement_under_way(post.id, app):
        text += f"\nNote: a reschedule of it did not end, and {shown_id(other)} was made in its place and stands: delete_post for that too."
    return Answer(
        text,
        DeletedPost(outcome=deleted.outcome, post_id=clean(args.post_id), status_before=post.status),
    )


def refuse_changed(asked_about: Post, now: Post, what: str) -> None:
    """A yes is for the post that was shown."""
    if shown(now) != shown(asked_about):
        raise Refusal(
            f"{what}: {shown_id(now.id)} was changed while the human was asked about it. Call again to ask anew; nothing was sent."
        )


async def replacement_under_way(post_id: str, app: App) -> str | None:
    """The post that stands beside this one since a reschedule did not end; None where none is known."""
    try:
        half = await app.ledger.replacing(post_id)
        if half is None or half.new_id is None:
            return None
        return (await app.api.posts.get(half.new_id)).id
    except NotFound:
        return None
    except (ApiError, LedgerProblem):
        # Nobody can tell; check_setup says more.
        return None


async def _deletable(post_id: str, app: App) -> Post:
    post = await app.api.posts.get(post_id)
    if post.status == "publishing":
        raise Refusal(
            f"Post not deleted: {shown_id(post.id)} is publishing at this moment. Call get_post in a minute; nothing was sent."
        )
    return post


def _account_filter(wanted: str | None, book: AccountBook) -> list[Integration] | None:
    if wanted is None:
        return None
    found = book.matching(wanted)
    if not found:
        book.find(wanted, "Posts not listed")
    return found


def _bound(name: str, text: str | None, app: App) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_when(text, app.zone, app.now(), date_ok=True)
    except TimeProblem as problem:
        raise TimeProblem(f"{name}: {problem}") from None


def _list_heading(args: ListPosts, app: App, shown: int, matched: int, everything: list[Post]) -> str:
    now = f"(now {show(app.now(), app.zone)})"
    if not everything:
        return f"There are no posts yet {now}. create_post makes one."
    order = "newest first" if args.order == "newest" else "earliest time first"
    if not matched:
        by_status = Counter(quote_api(post.status, 20) for post in everything)
        counts = ", ".join(f"{count} {status}" for status, count in by_status.most_common(8))
        return f"No post matches {now}. There are {len(everything)} in all: {counts}."
    return f"{shown} of {counted(matched, 'matching post')}, {order}; times in {app.zone.key} {now}."


def _create_question(prepared: Prepared, when: datetime, app: App, *, once_more: bool) -> str:
    time = f"{show(when, app.zone)}, {from_now(when, app.now())}"
    again = ", even if the same was sent before" if once_more else ""
    return (
        f"Schedule this post for {time}, on {prepared.named()}{prepared.extent()}{again}?\n{all_barred(prepared.post)}"
    )


def created_answer(created: Created, prepared: Prepared, app: App) -> Answer[CreatedPost]:
    """What became of a create, in words and as data."""
    when = prepared.post.scheduled_at
    # What the API says of the post that stands, where it says so.
    stands = (created.post.scheduled_at if created.post else None) or when
    # Beside a post that was there already, warnings would only speak of that one.
    warnings = prepared.findings.to_say if created.outcome != "already_created" else []
    data = CreatedPost(
        outcome=created.outcome,
        post_id=clean(created.post_id) if created.post_id else None,
        status=created.post.status if created.post else None,
        accounts=[label(account) for account in prepared.targets if account.id not in created.lacking],
        scheduled_at=iso(stands, app.zone),
        scheduled_at_utc=stands.strftime("%Y-%m-%dT%H:%M:%SZ") if stands else None,
        weekday=_weekday(stands, app),
        warnings=warnings,
        candidates=[clean(candidate) for candidate in created.candidates] or None,
    )
    lines = [_created_text(created, prepared, app), *(f"Note: {warning}" for warning in warnings)]
    if not created.recorded:
        lines.append(
            "Note: the ledger could not note this, so a repetition would not be noticed; check_setup says why."
        )
    return Answer("\n".join(lines), data)


def _weekday(when: datetime | None, app: App) -> str | None:
    names = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    return names[when.astimezone(app.zone).weekday()] if when else None


def _created_text(created: Created, prepared: Prepared, app: App) -> str:
    when = prepared.post.scheduled_at
    post_id = shown_id(created.post_id or "")
    where = f"{prepared.named()}{prepared.extent()}"
    if created.outcome == "unknown":
        seen = f" Equal posts: {listed([shown_id(each) for each in created.candidates])}." if created.candidates else ""
        return (
            f"Unknown whether the post for {where} was created: {_cause(created.cause)} No single new post is equal to it.{seen} "
            "Call list_posts and look for it before trying again; allow_duplicate sends it in any case."
        )
    if created.outcome == "already_created" and created.lacking:
        return (
            f"Already created: {post_id}, the same post at the same time, but not for {prepared.named(created.lacking)}; nothing was "
            f"sent. create_post with account_ids {', '.join(map(shown_id, created.lacking))} alone sends it there."
        )
    if created.beside:
        those = listed([shown_id(each) for each in (created.post_id or "", *created.beside)])
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
    if differs := _not_as_asked(created.post, when, app):
        return f"Created, but not as asked: {post_id} for {where} {differs}. Check it with get_post; delete_post removes it.{found}"
    if when is None:
        return (
            f"Draft saved: {post_id} for {where}. It never publishes by itself: reschedule_post gives it a time, delete_post "
            f"removes it.{found}"
        )
    return (
        f"Scheduled: {post_id} goes out {show(when, app.zone)}, {from_now(when, app.now())}, to {where}. "
        f"Nothing is public yet; delete_post cancels it.{found}"
    )


def _not_as_asked(post: Post | None, when: datetime | None, app: App) -> str | None:
    """What the API says of a new post where that is not what was asked; the fields it leaves out say nothing."""
    if post is None:
        return None
    differences: list[str] = []
    expected = ("scheduled", "publishing", "published") if when else ("draft",)
    if "status" in post.raw and post.status not in expected:
        differences.append(f"is {quote_api(post.status, 20)} and not {expected[0]}")
    if post.scheduled_at and post.scheduled_at != when:
        differences.append(
            f"is set for {show(post.scheduled_at, app.zone)}" + (f" and not for {show(when, app.zone)}" if when else "")
        )
    return " and ".join(differences) or None


def _cause(error: ApiError | None) -> str:
    return why(error) if error else "the call ended before there was an answer."


def _delete_question(post: Post, book: AccountBook, app: App) -> str:
    return f"Delete this post?\n{headline(post, book, app.zone, app.now())}\n{all_barred(post)}"


def _deleted_text(deleted: Deleted, post: Post, book: AccountBook, app: App) -> str:
    name = shown_id(post.id)
    where = listed(accounts_of(post, book))
    if deleted.outcome == "already_gone":
        return f"{name} was already gone; nothing was changed."
    if deleted.outcome == "unknown":
        seen = (
            "It was still there when last seen, and deleting again is safe"
            if deleted.still_there
            else "Look with get_post"
        )
        return f"Unknown whether {name} was deleted: {_cause(deleted.cause)} {seen}."
    if post.status in ("published", "partial"):
        return f"Deleted: {name} ({where}). What the networks already show stays there and has to be removed on each network."
    due = f", which was due {show(post.scheduled_at, app.zone)}" if post.scheduled_at else ""
    cancelled = "It will not be published. " if post.status == "scheduled" else ""
    return (
        f"Deleted: {name} for {where}{due}. {cancelled}create_post makes it again; its text is:\n{fence(post.content)}"
    )
