"""The `agent` fixture of the tools' tests."""

from tests.tools.conftest import clock, connect_agent, demo_folder, empty_agent, open_sandbox, settings

__all__ = ["clock", "connect_agent", "demo_folder", "empty_agent", "open_sandbox", "settings"]
