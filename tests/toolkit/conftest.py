"""Fixtures of the tools, through which the toolkit is tested."""

from tests.tools.conftest import agent, clock, connect_agent, demo_folder, empty_agent, open_sandbox, settings

__all__ = ["agent", "clock", "connect_agent", "demo_folder", "empty_agent", "open_sandbox", "settings"]
