"""Fixtures of the server tests: server, clients and sandbox."""

from tests.server.conftest import clock, connect, demo_folder, sandbox, settings

__all__ = ["clock", "connect", "demo_folder", "sandbox", "settings"]
