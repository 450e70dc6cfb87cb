"""Resources: read-only context for the assistant, in the same words as the tools' answers."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass

from ttp_mcp.platforms.rules_text import render_rules
from ttp_mcp.server import history, panels
from ttp_mcp.text import clean_text, fence_text
from ttp_mcp.times import show_short
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import NoArguments
from ttp_mcp.tools.integrations import list_integrations
from ttp_mcp.tools.posts.get import GetPost, get_post
from ttp_mcp.tools.posts.guards import read_existing
from ttp_mcp.tools.posts.rendering import account_labels

RECENT = 20


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource, or a template when its URI ends in a `{name}`. `read` gets the value of the name."""

    uri: str
    name: str
    title: str
    description: str
    read: Callable[[ToolContext, str], Awaitable[str]]
    # The toolset that it needs; None when it needs no request.
    toolset: str | None = None

    @property
    def prefix(self) -> str:
        """The URI without its `{name}`."""
        return self.uri.partition("{")[0]

    @property
    def is_template(self) -> bool:
        """Is a template."""
        return "{" in self.uri

    def match(self, uri: str) -> str | None:
        """Return the value of the name in a URI; empty without a name, None when the URI is of another resource."""
        if not self.is_template:
            return "" if uri == self.uri else None
        rest = uri.removeprefix(self.prefix)
        return rest if uri.startswith(self.prefix) and rest and "/" not in rest else None


async def _read_accounts(context: ToolContext, _: str) -> str:
    return (await list_integrations(NoArguments(), context)).text


async def _read_post(context: ToolContext, post_id: str) -> str:
    # Not validated: an impossible id is reported as not found.
    return (await get_post(GetPost.model_construct(post_id=post_id), context)).text


async def _read_text(context: ToolContext, post_id: str) -> str:
    return clean_text((await read_existing(post_id, context, "Text not read")).content)


async def _read_history(context: ToolContext, _: str) -> str:
    return history.render_history(await history.read_history(context), context)


async def _read_rules(_: ToolContext, platform: str) -> str:
    return render_rules(platform)


async def _read_recent_posts(context: ToolContext, _: str) -> str:
    book = await context.accounts.get_for_labels()
    published = [post for post in await context.api.posts.list() if post.status in ("published", "partial")]
    published.sort(key=lambda post: post.published_at or context.now(), reverse=True)
    if not published:
        return "No post is published yet."
    lines = [f"The last {min(RECENT, len(published))} published posts, latest first; times in {context.zone.key}."]
    for post in published[:RECENT]:
        when = show_short(post.published_at, context.zone) if post.published_at else "time not stated"
        lines.append(f"{when}, {', '.join(account_labels(post, book))}\n{fence_text(post.content)}")
    return "\n\n".join(lines)


RESOURCES = (
    Resource(
        "ttp://accounts",
        "accounts",
        "Connected accounts",
        "The connected accounts with their health.",
        _read_accounts,
        toolset="integrations",
    ),
    Resource(
        "ttp://recent-posts",
        "recent-posts",
        "Recent posts",
        "The latest published posts, as examples of the accounts' voice.",
        _read_recent_posts,
        toolset="posts",
    ),
    Resource(
        "ttp://history",
        "history",
        "History",
        "Posts created, changed, deleted and published through this server, and uploads; unknown outcomes first.",
        _read_history,
    ),
    Resource(
        "ttp://posts/{id}",
        "post",
        "Post",
        "One post in full, with its result on each account.",
        _read_post,
        toolset="posts",
    ),
    Resource(
        "ttp://platform-rules/{platform}",
        "platform-rules",
        "Platform rules",
        "Text limits, media and fields of a platform, each with its source.",
        _read_rules,
    ),
)

# It isn't listed: panels alone read it, to show and copy a text that is too long for one answer of get_post.
POST_TEXT = Resource(f"{panels.TEXTS}{{id}}", "post-text", "Text", "The text of one post.", _read_text, toolset="posts")


def select_resources(toolsets: Collection[str]) -> tuple[Resource, ...]:
    """Return the resources of these toolsets."""
    return tuple(each for each in RESOURCES if each.toolset is None or each.toolset in toolsets)


def find_resource(uri: str, among: Iterable[Resource]) -> tuple[Resource, str] | None:
    """Return the resource of a URI, and the value of its name."""
    found = ((resource, resource.match(uri)) for resource in among)
    return next(((resource, value) for resource, value in found if value is not None), None)
