"""Fixtures for every store: SQLite always, PostgreSQL if its server is installed."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Generator
from pathlib import Path
from urllib.parse import quote
from uuid import uuid4

import psycopg
import pytest

from tests.ledger.store.servers import MISSING, Server, find_postgresql
from tests.support.windows import WINDOWS
from ttp_mcp.config import Settings
from ttp_mcp.ledger import store
from ttp_mcp.ledger.store.base import Store
from ttp_mcp.times import find_zone

Open = Callable[..., Store]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """The event loop that the server uses with PostgreSQL."""
    return "asyncio", {"loop_factory": asyncio.SelectorEventLoop} if WINDOWS else {}


@pytest.fixture(scope="session")
def own_postgresql() -> Generator[Server]:
    """A private PostgreSQL server, which a test may stop and restart."""
    program = find_postgresql()
    if program is None:
        pytest.skip(MISSING)
    server = Server(program).start()
    yield server
    server.remove()


@pytest.fixture
def postgresql_url(request: pytest.FixtureRequest) -> Generator[str]:
    """A private schema in a shared PostgreSQL server."""
    server = os.environ.get("TTP_TEST_POSTGRESQL_URL") or request.getfixturevalue("own_postgresql").url
    schema = f"test_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as db:
        db.execute(f"CREATE SCHEMA {schema}")
        yield set_schema(server, schema)
        db.execute(f"DROP SCHEMA {schema} CASCADE")


def set_schema(url: str, schema: str) -> str:
    """Return the URL of the same database with another schema."""
    return f"{url}?options={quote(f'-csearch_path={schema}')}"


@pytest.fixture(params=["files", "postgresql"])
def state_url(request: pytest.FixtureRequest) -> str | None:
    """TTP_STATE_URL of each store in turn."""
    return None if request.param == "files" else request.getfixturevalue("postgresql_url")


@pytest.fixture
async def open_store(state_url: str | None, tmp_path: Path) -> AsyncGenerator[Open]:
    """Open the store as another process would; all are closed at the end."""
    opened: list[Store] = []

    def open_one() -> Store:
        opened.append(store.open_store(make_settings(tmp_path / "state", state_url)))
        return opened[-1]

    yield open_one
    for state in opened:
        await state.aclose()


@pytest.fixture
def scope() -> str:
    """The scope of a user that no other test has."""
    return uuid4().hex


def make_settings(folder: Path, state_url: str | None = None) -> Settings:
    """Return default settings with a folder and a store."""
    return Settings(zone=find_zone("UTC"), state_dir=folder, state_url=state_url)
