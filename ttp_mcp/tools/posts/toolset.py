"""The toolset that the tools for posts register with."""

from ttp_mcp.toolkit.registry import Toolset

toolset = Toolset("posts")
