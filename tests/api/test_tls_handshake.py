"""Calls that end during the TLS handshake with the API."""

import asyncio
import gc
from datetime import UTC, datetime
from functools import partial

import anyio
import pytest

from tests.api.test_connections import CREATED, DRAFT, REPLY, TOKEN, Api, make_client, open_server
from tests.support.certificates import make_certificate
from ttp_mcp.api import NotReached
from ttp_mcp.config import load_settings
from ttp_mcp.errors import agent_text
from ttp_mcp.factory import create_server

pytestmark = pytest.mark.requirement("api.connections")


class SilentFirst:
    """A server that ignores the first TLS handshakes and serves later connections."""

    def __init__(self, tls, reply, silent):
        self.tls, self.api, self.silent = tls, Api(reply), silent
        self.has_begun, self.may_hang_up, self.has_ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def talk(self, reader, writer):
        self.silent -= 1
        if self.silent < 0:
            await writer.start_tls(self.tls)
            await self.api.talk(reader, writer)
            return
        await reader.read(1)
        self.has_begun.set()
        hanging_up = asyncio.ensure_future(self.may_hang_up.wait())
        left = asyncio.ensure_future(reader.read())
        await asyncio.wait([hanging_up, left], return_when=asyncio.FIRST_COMPLETED)
        hanging_up.cancel()
        writer.close()
        await asyncio.gather(left, hanging_up, return_exceptions=True)
        self.has_ended.set()


@pytest.fixture
def silent_first(monkeypatch, tmp_path):
    tls, ca = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    return lambda reply, silent=1: SilentFirst(tls, reply, silent)


async def test_read_cancelled_during_the_tls_handshake_leaves_nothing_behind(silent_first):
    """No socket or task is left open, and the next call succeeds."""
    before = asyncio.all_tasks()
    server = silent_first(REPLY)
    async with open_server(server.talk) as port:
        caller = make_client(port, "localhost", "https")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(caller.posts.list)
            await server.has_begun.wait()
            tasks.cancel_scope.cancel()
        await server.has_ended.wait()
        assert await caller.posts.list() == []
        await caller.aclose()
        while server.api.closed < server.api.opened:
            await anyio.sleep(0)
    while asyncio.all_tasks() != before:
        await anyio.sleep(0)
    # A socket that is still open would warn.
    gc.collect()


async def test_write_whose_tls_handshake_fails_was_never_sent(silent_first):
    """It is attempted twice, and the error says that nothing was sent."""
    server = silent_first(CREATED, silent=2)
    server.may_hang_up.set()
    async with open_server(server.talk) as port:
        caller = make_client(port, "localhost", "https")
        with pytest.raises(NotReached) as caught:
            await caller.posts.create(DRAFT)
        assert "Nothing was sent; trying again is safe." in agent_text(caught.value, "Post not created")
        assert (await caller.posts.create(DRAFT)).id == "p123"
        await caller.aclose()
    assert server.api.opened == 1


@pytest.mark.parametrize(("silent", "outcome"), [(1, "created"), (2, "not_done")])
async def test_write_cancelled_during_the_tls_handshake_gets_a_certain_outcome(silent_first, tmp_path, silent, outcome):
    """It outlives its caller. A failed handshake is retried, since nothing was sent."""
    server = silent_first(CREATED, silent)
    async with open_server(server.talk) as port:
        variables = {"TTP_API_URL": f"https://localhost:{port}/api", "TTP_API_TOKEN": TOKEN.reveal()}
        runtime = create_server(load_settings({**variables, "TTP_STATE_DIR": str(tmp_path), "TZ": "UTC"}))
        writer = runtime.app.writer
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(writer.create, DRAFT, tool="create_post"))
            await server.has_begun.wait()
            tasks.cancel_scope.cancel()
            server.may_hang_up.set()
        assert await writer.in_flight.drain(20)
        history = await runtime.app.ledger.read_history(datetime(2020, 1, 1, tzinfo=UTC))
        assert [record.outcome for record in history] == [outcome]
        await runtime.aclose()
    assert server.api.opened == 2 - silent
