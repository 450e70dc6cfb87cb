"""`get_post`: one post in full."""

from functools import partial
from typing import Annotated

from pydantic import Field

from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput
from ttp_mcp.toolkit.params import PostId
from ttp_mcp.tools.posts.guards import read_existing
from ttp_mcp.tools.posts.rendering import PostDetail, describe_post, render_post, warn_of_unhealthy
from ttp_mcp.tools.posts.toolset import toolset


class GetPost(ToolInput):
    """The post, and where a very long text continues."""

    post_id: PostId
    offset: Annotated[int, Field(ge=0, description="For a very long text: next_offset of the call before.")] = 0


@toolset.tool(title="Get a post", effect="read", failure="Post not read", panel="post")
async def get_post(args: GetPost, context: ToolContext) -> Answer[PostDetail]:
    """Return a post in full, with its result on each account.

    list_posts finds ids. For a post that was rescheduled the error names the post that replaced it.
    """
    book, post = await context.accounts.get_for_labels_and(
        partial(read_existing, args.post_id, context, "Post not read")
    )
    warnings = warn_of_unhealthy([post], book, context.dashboard)
    text = render_post(post, book, context.zone, context.now(), args.offset, warnings)
    return Answer(text, describe_post(post, book, context.zone, args.offset, warnings))
