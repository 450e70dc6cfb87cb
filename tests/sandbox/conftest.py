"""A sandbox with a manual clock, and clients of its two origins."""

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from tests.support.workspaces import open_workspace
from ttp_mcp.sandbox import ManualClock, Sandbox


@pytest.fixture
def clock() -> ManualClock:
    """Wednesday, 24 June 2026, 09:30 UTC."""
    return ManualClock(datetime(2026, 6, 24, 9, 30, tzinfo=UTC))


@pytest.fixture
def sandbox(clock: ManualClock, tmp_path: Path) -> Iterator[Sandbox]:
    """The demo workspace."""
    with open_workspace(tmp_path / "sandbox", clock) as opened:
        yield opened


@pytest.fixture
def empty_workspace(clock: ManualClock, tmp_path: Path) -> Iterator[Sandbox]:
    """A workspace without accounts and posts, in UTC."""
    with open_workspace(tmp_path / "empty", clock, empty=True) as opened:
        yield opened


@pytest.fixture
async def api(sandbox: Sandbox) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the demo workspace, with its token."""
    async with open_client(sandbox) as client:
        yield client


@pytest.fixture
async def empty_api(empty_workspace: Sandbox) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the empty workspace, with its token."""
    async with open_client(empty_workspace) as client:
        yield client


@pytest.fixture
async def storage(sandbox: Sandbox) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the demo workspace's storage, which has another origin; no token."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(sandbox.storage_app)) as client:
        yield client


@pytest.fixture
def connect_account(empty_workspace: Sandbox) -> Callable[..., str]:
    """Connect an account to the empty workspace; returns its id."""

    def add(platform: str, account_id: str = "", status: str = "connected", followers: int = 1000) -> str:
        account_id = account_id or f"acc_{platform}"
        with empty_workspace.store.writing() as db:
            position = db.execute("SELECT count(*) FROM accounts").fetchone()[0]
            db.execute(
                "INSERT INTO accounts VALUES (?, 'org_empty', ?, ?, ?, ?, ?, NULL, 1, ?, 0)",
                (account_id, position, platform, f"Name of {account_id}", f"@{account_id}", status, followers),
            )
        return account_id

    return add


def open_client(sandbox: Sandbox) -> httpx2.AsyncClient:
    """Return a client with the sandbox's own token."""
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(sandbox.app),
        base_url=sandbox.api_url,
        headers={"Authorization": f"Bearer {sandbox.token}"},
    )
