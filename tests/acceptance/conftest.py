"""Fixtures of the server tests: server, clients and sandbox."""

from tests.server.conftest import clock, connect_client, demo_folder, sandbox, settings

__all__ = ["clock", "connect_client", "demo_folder", "sandbox", "settings"]
