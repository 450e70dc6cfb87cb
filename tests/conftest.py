"""Fixtures and settings for every test."""

import pytest
from hypothesis import settings

# No time limit for an example: the machine may be busy, and a test must not know.
settings.register_profile("here", deadline=None)
settings.load_profile("here")


@pytest.fixture
def anyio_backend() -> str:
    """All asynchronous tests run on asyncio, as the server does."""
    return "asyncio"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-snapshots` writes the files in tests/snapshots anew."""
    parser.addoption("--update-snapshots", action="store_true", help="renew the files in tests/snapshots")
