"""Resources: what an assistant can read without calling a tool. The same words as the tools'."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass

from ttp_mcp.platforms import rules
from ttp_mcp.text import fence_text
from ttp_mcp.times import show_short
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.tools.integrations import ListIntegrations, list_integrations
from ttp_mcp.tools.posts.get import GetPost, get_post
from ttp_mcp.tools.posts.rendering import account_labels

RECENT = 20


@dataclass(frozen=True, slots=True)
class Resource:
    """One address, or a family of them when it ends in a `{name}`. `read` gets what stands for the name."""

    uri: str
    name: str
    title: str
    description: str
    read: Callable[[ToolContext, str], Awaitable[str]]
    # The toolset it belongs to; None for what asks nothing of the API.
    toolset: str | None = None

    @property
    def prefix(self) -> str:
        """The address without its `{name}`."""
        return self.uri.partition("{")[0]

    @property
    def is_family(self) -> bool:
        """Whether the address has a `{name}`."""
        return "{" in self.uri

    def value(self, uri: str) -> str | None:
        """What stands for the name in an address; empty for a single resource, None when the address is another's."""
        if not self.is_family:
            return "" if uri == self.uri else None
        rest = uri.removeprefix(self.prefix)
        return rest if uri.startswith(self.prefix) and rest and "/" not in rest else None


async def _accounts(app: ToolContext, _: str) -> str:
    return (await list_integrations(ListIntegrations(), app)).text


async def _post(app: ToolContext, post_id: str) -> str:
    # Not checked: an id that no post can have is one that is not found.
    return (await get_post(GetPost.model_construct(post_id=post_id), app)).text


async def _rules(_: ToolContext, platform: str) -> str:
    return rules.rules_for(platform)


async def _recent(app: ToolContext, _: str) -> str:
    book = await app.accounts.names()
    published = [post for post in await app.api.posts.list() if post.status in ("published", "partial")]
    published.sort(key=lambda post: post.published_at or app.now(), reverse=True)
    if not published:
        return "Nothing was published yet, so there is no voice to learn from."
    lines = [f"The last {min(RECENT, len(published))} published posts, latest first; times in {app.zone.key}."]
    for post in published[:RECENT]:
        when = show_short(post.published_at, app.zone) if post.published_at else "time not stated"
        lines.append(f"{when}, {', '.join(account_labels(post, book))}\n{fence_text(post.content)}")
    return "\n\n".join(lines)


RESOURCES = (
    Resource(
        "ttp://accounts",
        "accounts",
        "Connected accounts",
        "The connected accounts with their health.",
        _accounts,
        toolset="integrations",
    ),
    Resource(
        "ttp://recent-posts",
        "recent-posts",
        "Recent posts",
        "The latest published posts, for the voice of the accounts.",
        _recent,
        toolset="posts",
    ),
    Resource(
        "ttp://posts/{id}",
        "post",
        "Post",
        "One post, whole, with its result on each account.",
        _post,
        toolset="posts",
    ),
    Resource(
        "ttp://platform-rules/{platform}",
        "platform-rules",
        "Platform rules",
        "Text limits, media and fields of a platform, each with its source.",
        _rules,
    ),
)


def offered(toolsets: Collection[str]) -> tuple[Resource, ...]:
    """The resources that go with these toolsets."""
    return tuple(each for each in RESOURCES if each.toolset is None or each.toolset in toolsets)


def find(uri: str, among: Iterable[Resource]) -> tuple[Resource, str] | None:
    """The resource of an address, and what stands for its name."""
    found = ((resource, resource.value(uri)) for resource in among)
    return next(((resource, value) for resource, value in found if value is not None), None)
