"""`get_post`: one post in full."""

from ttp_mcp.api import NotFound, Post
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput
from ttp_mcp.toolkit.params import PostId
from ttp_mcp.tools.posts.guards import refuse_replaced
from ttp_mcp.tools.posts.rendering import PostDetail, describe_post, render_post
from ttp_mcp.tools.posts.toolset import toolset


class GetPost(ToolInput):
    """Which post."""

    post_id: PostId


@toolset.tool(title="Get a post", effect="read", failure="Post not read")
async def get_post(args: GetPost, context: ToolContext) -> Answer[PostDetail]:
    """Return one post whole, with what became of it on each account.

    list_posts finds ids. A post that was rescheduled here names the one that replaced it.
    """
    book, post = await context.accounts.names_and(lambda: _moved(args.post_id, context))
    return Answer(render_post(post, book, context.zone, context.now()), describe_post(post, book, context.zone))


async def _moved(post_id: str, context: ToolContext) -> Post:
    try:
        return await context.api.posts.get(post_id)
    except NotFound:
        await refuse_replaced(post_id, context, "Post not read")
        raise
