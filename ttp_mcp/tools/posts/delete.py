"""`delete_post`: delete or cancel a post."""

from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api import NotFound, Post
from ttp_mcp.errors import Refusal
from ttp_mcp.text import clean_text, fence_text, join_words, show_id
from ttp_mcp.times import show
from ttp_mcp.toolkit.account_directory import AccountIndex
from ttp_mcp.toolkit.confirmation import require_confirmation
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput, ToolOutput
from ttp_mcp.toolkit.params import Confirmation, PostId
from ttp_mcp.tools.posts.content_summary import quote_all
from ttp_mcp.tools.posts.guards import cause_of, refuse_changed, refuse_replaced, replacement_under_way, visible_fields
from ttp_mcp.tools.posts.rendering import account_labels, render_headline
from ttp_mcp.tools.posts.toolset import toolset
from ttp_mcp.writes.outcomes import Deleted


class DeletePost(ToolInput):
    """Post to delete."""

    post_id: PostId
    confirmation: Confirmation = None


class DeletedPost(ToolOutput):
    """Outcome of a delete: `deleted`, `already_gone` or `unknown`."""

    outcome: str
    post_id: str
    status_before: str | SkipJsonSchema[None] = None


@toolset.tool(title="Delete a post", effect="remove", failure="Post not deleted")
async def delete_post(args: DeletePost, context: ToolContext) -> Answer[DeletedPost]:
    """Delete a post; one that is scheduled is cancelled before it goes out.

    What a network already shows stays there: it has to be removed on the network itself.
    """
    try:
        post = await _read_deletable(args.post_id, context)
    except NotFound:
        await refuse_replaced(args.post_id, context, "Post not deleted")
        if await context.ledger.find_deleted_post(args.post_id) is None:
            raise
        gone = DeletedPost(outcome="already_gone", post_id=clean_text(args.post_id))
        return Answer(f"{show_id(args.post_id)} was deleted before; nothing was changed.", gone)
    book = await context.accounts.get_for_labels()
    asked = await require_confirmation(
        context,
        f"Delete this post?\n{render_headline(post, book, context.zone, context.now())}\n{quote_all(post)}",
        binding={"tool": "delete_post", "post_id": post.id, "shown": visible_fields(post)},
        irreversible=True,
        confirmation=args.confirmation,
    )
    if asked:
        # While the user was asked, the post may have been published or changed.
        asked_about, post = post, await _read_deletable(args.post_id, context)
        refuse_changed(asked_about, post, "Post not deleted")
    deleted = await context.writer.delete(args.post_id, tool="delete_post", post=post)
    text = _render_outcome(deleted, post, book, context)
    if other := await replacement_under_way(post.id, context):
        text += (
            f"\nAn unfinished reschedule had already created {show_id(other)} as its replacement. "
            "Call delete_post for it too if the user wants neither."
        )
    return Answer(
        text, DeletedPost(outcome=deleted.outcome, post_id=clean_text(args.post_id), status_before=post.status)
    )


async def _read_deletable(post_id: str, context: ToolContext) -> Post:
    post = await context.api.posts.get(post_id)
    if post.status == "publishing":
        raise Refusal(
            f"Post not deleted: {show_id(post.id)} is publishing at this moment. Call get_post in a minute; nothing was sent."
        )
    return post


def _render_outcome(deleted: Deleted, post: Post, book: AccountIndex, context: ToolContext) -> str:
    name = show_id(post.id)
    where = join_words(account_labels(post, book))
    if deleted.outcome == "already_gone":
        return f"{name} was already gone; nothing was changed."
    if deleted.outcome == "unknown":
        seen = "Look with get_post"
        if deleted.still_there:
            seen = "It was still there when last seen, and deleting again is safe"
        return f"Unknown whether {name} was deleted: {cause_of(deleted.cause)} {seen}."
    if post.status in ("published", "partial"):
        return f"Deleted: {name} ({where}). What the networks already show stays there and has to be removed on each network."
    due = f", which was due {show(post.scheduled_at, context.zone)}" if post.scheduled_at else ""
    cancelled = "It will not be published. " if post.status == "scheduled" else ""
    return f"Deleted: {name} for {where}{due}. {cancelled}create_post makes it again; its text is:\n{fence_text(post.content)}"
