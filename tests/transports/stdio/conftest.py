"""The server and sandbox that these tests start."""

from tests.server.conftest import clock, connect, demo_folder, sandbox, settings

__all__ = ["clock", "connect", "demo_folder", "sandbox", "settings"]
