"""Fixtures for every test: things that must be opened and closed."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """All asynchronous tests run on asyncio, as the server does."""
    return "asyncio"
