"""A ledger of one user on a stopped clock."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.store.sqlite import SqliteStore
from ttp_mcp.sandbox.clock import ManualClock

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    """A stopped clock."""
    return ManualClock(START)


@pytest.fixture
async def state(tmp_path: Path) -> AsyncGenerator[SqliteStore]:
    """A store in its own folder."""
    found = SqliteStore(tmp_path / "state")
    yield found
    await found.aclose()


@pytest.fixture
def ledger(state: SqliteStore, clock: ManualClock) -> Ledger:
    """The ledger of one user."""
    return Ledger(state, "one", clock.now)
