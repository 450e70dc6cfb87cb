"""Tools that agents call, grouped like the API's endpoints."""

from ttp_mcp.toolkit.registry import Tool, Toolset
from ttp_mcp.tools import integrations, media, plans, posts, results, setup

__all__ = ["TOOLSETS", "Tool", "Toolset", "every_tool", "select_tools"]

# The one list of groups, in the order in which tools are listed.
TOOLSETS: tuple[Toolset, ...] = (
    posts.toolset,
    integrations.toolset,
    results.toolset,
    media.toolset,
    plans.toolset,
    setup.toolset,
)


def every_tool() -> list[Tool]:
    """Return all tools in the order in which the server lists them."""
    return [tool for toolset in TOOLSETS for tool in toolset.tools]


def select_tools(toolsets: tuple[str, ...] | None, access: str) -> list[Tool]:
    """Return the tools that a configuration registers; without toolsets those of every group."""
    return [tool for tool in every_tool() if (toolsets is None or tool.toolset in toolsets) and tool.allowed(access)]
