"""The server and sandbox that these tests start."""

from tests.server.conftest import clock, connect_client, demo_folder, sandbox, settings

__all__ = ["clock", "connect_client", "demo_folder", "sandbox", "settings"]
