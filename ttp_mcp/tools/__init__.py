"""What agents see: tools, one group for each endpoint group."""

from ttp_mcp.tools import check, reschedule  # they add to the posts
from ttp_mcp.tools.analytics import analytics
from ttp_mcp.tools.integrations import integrations
from ttp_mcp.tools.media import media
from ttp_mcp.tools.plans import plans
from ttp_mcp.tools.posts import posts
from ttp_mcp.tools.registry import Tool, Toolset
from ttp_mcp.tools.setup import setup

__all__ = ["TOOLSETS", "Tool", "Toolset", "check", "every_tool", "reschedule", "select"]

# The one list of groups, in the order in which tools are listed.
TOOLSETS: tuple[Toolset, ...] = (posts, integrations, analytics, media, plans, setup)


def every_tool() -> list[Tool]:
    """All tools in the order in which the server lists them."""
    return [tool for toolset in TOOLSETS for tool in toolset.tools]


def select(toolsets: tuple[str, ...] | None, access: str) -> list[Tool]:
    """The tools that a configuration registers.

    Args:
        toolsets: Names of groups; None for all.
        access: `read`, `draft` or `full`.
    """
    return [tool for tool in every_tool() if (toolsets is None or tool.toolset in toolsets) and tool.allowed(access)]
