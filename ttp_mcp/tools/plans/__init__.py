"""Tools for plans. The order of the imports is the order in which the tools are listed."""

# isort: off
from ttp_mcp.tools.plans import plan
from ttp_mcp.tools.plans import apply
from ttp_mcp.tools.plans import undo
from ttp_mcp.tools.plans.stored_plan import toolset

__all__ = ["apply", "plan", "toolset", "undo"]
