"""The server, the clients and the sandbox of the server's tests."""

from tests.server.conftest import clock, connect, demo_folder, sandbox, settings

__all__ = ["clock", "connect", "demo_folder", "sandbox", "settings"]
