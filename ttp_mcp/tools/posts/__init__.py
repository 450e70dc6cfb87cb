"""Tools for posts. The order of the imports is the order in which the tools are listed."""

# isort: off
from ttp_mcp.tools.posts import list  # noqa: A004
from ttp_mcp.tools.posts import get
from ttp_mcp.tools.posts import create
from ttp_mcp.tools.posts import delete
from ttp_mcp.tools.posts import check
from ttp_mcp.tools.posts import reschedule
from ttp_mcp.tools.posts import publish
from ttp_mcp.tools.posts.toolset import toolset

__all__ = ["check", "create", "delete", "get", "list", "publish", "reschedule", "toolset"]
