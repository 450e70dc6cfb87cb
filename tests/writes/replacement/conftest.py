"""The `agent` fixture of the tools' tests."""

from tests.tools.conftest import clock, connect, demo_folder, fresh, open_sandbox, settings

__all__ = ["clock", "connect", "demo_folder", "fresh", "open_sandbox", "settings"]
