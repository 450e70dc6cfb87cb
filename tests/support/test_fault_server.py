"""The fault server, over a plain socket."""

import asyncio

import pytest

from tests.support.fault_server import FaultServer, hang_connection, refuse_with_429, reset_connection, send_answer
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.http import Http

pytestmark = pytest.mark.requirement("sandbox.faults")

REQUEST = b"GET /api/posts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\n\r\n"


async def exchange_bytes(server, request=REQUEST):
    """Send bytes and return everything that the server sends."""
    host, port = server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_faults_are_used_in_turn_and_the_last_is_repeated():
    """Heads are recorded, but only the presence of a token."""
    async with FaultServer(send_answer({"a": 1}), refuse_with_429(retry_after="7")) as server:
        first, second, third = [await exchange_bytes(server) for _ in range(3)]
        assert first.startswith(b"HTTP/1.1 200 ")
        assert first.endswith(b'\r\n\r\n{"a": 1}')
        assert b"Retry-After: 7\r\n" in second
        assert second == third
        assert server.connections == 3
        assert [(request.method, request.path) for request in server.requests] == [("GET", "/api/posts")] * 3
        assert server.requests[0].headers == {"host": "x", "authorization": "[present]"}


async def test_reset_is_a_reset():
    """The connection is reset, not closed."""
    async with FaultServer(reset_connection("after")) as server:
        with pytest.raises(ConnectionResetError):
            await exchange_bytes(server)


async def test_open_connections_are_counted_until_a_side_closes():
    """Without a fault a connection hangs; leaving the block closes it."""
    async with FaultServer() as server:
        host, port = server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        while not server.open_connections:
            await asyncio.sleep(0)
        assert server.open_connections == 1
    assert await reader.read() == b""
    assert server.open_connections == 0
    writer.close()
    await writer.wait_closed()


async def test_incomplete_request_is_not_an_error_of_the_server():
    """The client closes within the head, or never sends a request."""
    async with FaultServer(hang_connection("request"), send_answer({})) as server:
        for _ in range(2):
            host, port = server.url.removeprefix("http://").split(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"GET / HT")
            writer.close()
            await writer.wait_closed()
        while server.connections < 2 or server.open_connections:
            await asyncio.sleep(0)
        assert server.requests == []


async def test_response_that_is_read_after_the_close_is_sent_in_full():
    """Part of it waits in the transport while that closes, which can't be aborted once it has."""
    size = 16 * 1024 * 1024

    async def send_without_waiting(exchange):
        await exchange.read()
        exchange.writer.write(b"a" * size)

    async with FaultServer(send_without_waiting) as server:
        assert len(await exchange_bytes(server)) == size
        while server.open_connections:
            await asyncio.sleep(0)


async def test_unused_client_closes():
    """It has no connection to close."""
    await ApiClient(Http(base_url="http://127.0.0.1:9", token=None)).aclose()
