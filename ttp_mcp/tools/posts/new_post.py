"""Read the arguments that describe a new post: all of it, or a copy of another post with changes."""

from typing import Annotated, Any, Protocol

from pydantic import Field

from ttp_mcp.api import Post
from ttp_mcp.text import show_id
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.tools.posts.guards import read_existing
from ttp_mcp.tools.posts.prepare import PostArguments

CopyOf = Annotated[
    str | None,
    Field(max_length=200, description="Id of a post to repeat; what is left out is taken from it, except the time."),
]
# Fields that the API reference doesn't promise to show.
_UNPROMISED = {"thread": "thread", "platform_data": "platformData"}


class NewPostFields(Protocol):
    """Arguments of the tools that send or check a new post."""

    copy_of: str | None
    content: str | None
    account_ids: list[str] | None
    platforms: list[str] | None
    media_urls: list[str] | None
    thread: list[str] | None
    scheduled_at: str | None
    platform_data: dict[str, Any] | None


async def read_new_post(args: NewPostFields, context: ToolContext, failure: str) -> PostArguments:
    """Return the post that the arguments describe.

    Raises:
        ApiError: The post to repeat can't be read.
    """
    if args.copy_of is None:
        return PostArguments(
            content=args.content or "",
            account_ids=args.account_ids or (),
            platforms=args.platforms or (),
            media_urls=args.media_urls or (),
            thread=args.thread or (),
            scheduled_at=args.scheduled_at,
            platform_data=args.platform_data or {},
        )
    return _copy_post(args, await read_existing(args.copy_of, context, failure))


def _copy_post(args: NewPostFields, old: Post) -> PostArguments:
    hidden = [name for name, key in _UNPROMISED.items() if key not in old.raw and getattr(args, name) is None]
    return PostArguments(
        content=args.content or old.content,
        account_ids=args.account_ids or (() if args.platforms else old.target_ids),
        platforms=args.platforms or (),
        media_urls=args.media_urls or old.media_urls,
        thread=args.thread or old.thread,
        scheduled_at=args.scheduled_at,
        platform_data=args.platform_data or old.platform_data,
        warnings=[f"The API doesn't show the {name} of {show_id(old.id)}, so the copy has none." for name in hidden],
    )
