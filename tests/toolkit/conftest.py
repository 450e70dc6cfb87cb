"""Fixtures of the tools, through which the toolkit is tested."""

from tests.tools.conftest import agent, clock, connect, demo_folder, fresh, open_sandbox, settings

__all__ = ["agent", "clock", "connect", "demo_folder", "fresh", "open_sandbox", "settings"]
