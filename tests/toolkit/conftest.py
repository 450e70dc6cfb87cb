"""The toolkit is tested through tools, so with their fixtures."""

from tests.tools.conftest import agent, clock, connect, demo_folder, fresh, open_sandbox, settings

__all__ = ["agent", "clock", "connect", "demo_folder", "fresh", "open_sandbox", "settings"]
