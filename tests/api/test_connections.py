"""Connections to the API over real sockets: reuse, opening and closing."""

import asyncio
import socket
import sys
from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from tests.support.certificates import make_certificate
from tests.support.windows import WINDOWS
from ttp_mcp.api import Http, Limits, NoAnswer, NotReached, PostCreate, connections
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import Clocks
from ttp_mcp.credentials import Token

pytestmark = pytest.mark.requirement("api.connections")

TOKEN = Token("ttp_" + "0a" * 24)
REPLY = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"posts": []}'
CREATED = b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"post": {"id": "p123"}}'
DRAFT = PostCreate("text", account_ids=("a",))


class Api:
    """A server that keeps connections open; `opened` counts them, `bodies` are the requests of each."""

    def __init__(self, *replies, after=b"", ends=False):
        self.replies, self.after, self.ends = list(replies), after, ends
        self.opened, self.closed = 0, 0
        self.may_go_on, self.has_gone_on = asyncio.Event(), asyncio.Event()

    async def talk(self, reader, writer):
        self.opened += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = head.partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                writer.write(self.replies.pop(0) if len(self.replies) > 1 else self.replies[0])
                await writer.drain()
                if self.after or self.ends:
                    await self.may_go_on.wait()
                    writer.write(self.after)
                    if self.ends:
                        break
                    self.has_gone_on.set()
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            self.closed += 1
            writer.close()
            if self.ends:
                self.has_gone_on.set()


def has_noticed(caller):
    """Check whether the idle connection has noticed its end. On Windows the system receives ahead, so it notices later."""
    (idle,) = caller._http._transport._idle
    return idle.has_expired()


@asynccontextmanager
async def open_server(talk, host="127.0.0.1", tls=None):
    server = await asyncio.start_server(talk, host, 0, ssl=tls, family=socket.AF_INET)
    async with server:
        yield server.sockets[0].getsockname()[1]


def make_client(port, host="127.0.0.1", scheme="http", **limits):
    return ApiClient(
        Http(
            base_url=f"{scheme}://{host}:{port}/api",
            token=TOKEN,
            limits=Limits(**limits),
            clocks=Clocks(jitter=lambda: 0.0),
        )
    )


async def test_connection_is_reused():
    api = Api(REPLY)
    async with open_server(api.talk) as port:
        caller = make_client(port)
        for _ in range(3):
            assert await caller.posts.list() == []
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(caller.posts.list)
        before = api.opened
        assert 1 <= before <= 4
        await caller.posts.list()
        assert api.opened == before
        await caller.aclose()
        while api.closed < before:
            await anyio.sleep(0)


async def test_idle_connections_are_closed_after_a_while(monkeypatch):
    """Using one connection closes the others once they have expired."""
    api = Api(REPLY)
    async with open_server(api.talk) as port:
        caller = make_client(port)
        monkeypatch.setattr(connections, "IDLE_SECONDS", -1.0)
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(caller.posts.list)
        opened = api.opened
        await caller.posts.list()
        while api.closed < opened:
            await anyio.sleep(0)
        assert api.opened == opened + 1
        await caller.aclose()


@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
@pytest.mark.parametrize("ends", [True, False])
async def test_write_is_never_sent_on_a_closed_connection(after, ends):
    """It would be lost, with an unknown outcome."""
    api = Api(CREATED, after=after, ends=ends)
    async with open_server(api.talk) as port:
        caller = make_client(port)
        for _ in range(3):
            assert (await caller.posts.create(DRAFT)).id == "p123"
            if after or ends:
                api.may_go_on.set()
                await api.has_gone_on.wait()
                while WINDOWS and not has_noticed(caller):
                    await anyio.sleep(0)
                api.may_go_on.clear()
                api.has_gone_on.clear()
        await caller.aclose()
    assert api.opened == (3 if after or ends else 1)


async def test_bytes_after_a_response_are_not_the_response_to_the_next_request():
    """A create would pass for done, with the post of another one."""
    api = Api(REPLY + CREATED, CREATED.replace(b"p123", b"p124"))
    async with open_server(api.talk) as port:
        caller = make_client(port)
        assert await caller.posts.list() == []
        assert (await caller.posts.create(DRAFT)).id == "p124"
        await caller.aclose()
    assert api.opened == 2


async def test_large_response_arrives_in_full():
    """The response is much larger than the receive buffer, and the server sets the pace."""
    posts = b'{"posts": [], "x": "' + b"a" * (5 * 1024 * 1024) + b'"}'
    api = Api(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(posts), posts), REPLY)
    async with open_server(api.talk) as port:
        caller = make_client(port)
        for _ in range(2):
            assert await caller.posts.list() == []
        await caller.aclose()
    assert api.opened == 1


async def test_receive_buffer_is_bounded():
    """Receiving pauses while the buffer is full."""
    sent = asyncio.Event()

    async def flood(reader, writer):
        writer.write(b"a" * (64 * 1024 * 1024))
        await writer.drain()
        writer.close()
        sent.set()

    async with open_server(flood) as port:
        stream = await connections.LoopBackend().connect_tcp("127.0.0.1", port)
        size = 0
        while size < 64 * 1024 * 1024:
            await anyio.lowlevel.checkpoint()
            assert len(stream._unread) <= 2 * connections.UNREAD_BYTES
            size += len(await stream.read(100_000, 20.0))
        await sent.wait()
        await stream.aclose()


async def test_request_times_out_if_the_server_stops_reading():
    """Part of the request was sent, so the post may have been created."""

    async def deaf(reader, writer):
        writer.transport.pause_reading()
        await done.wait()
        writer.close()

    done = asyncio.Event()
    async with open_server(deaf) as port:
        caller = make_client(port, write_seconds=0.1)
        with pytest.raises(NoAnswer) as caught:
            await caller.posts.create(PostCreate("a" * 32 * 1024 * 1024, account_ids=("a",)))
        assert (caught.value.may_have_happened, caught.value.after_seconds) == (True, 0.1)
        await caller.aclose()
        done.set()


async def test_closing_the_client_closes_connections_in_use():
    async def silent(reader, writer):
        assert await reader.readuntil(b"\r\n\r\n") != b""
        arrived.set()
        await reader.read()
        writer.close()
        ended.set()

    arrived, ended = asyncio.Event(), asyncio.Event()
    async with open_server(silent) as port, anyio.create_task_group() as tasks:
        caller = make_client(port)

        async def call():
            with pytest.raises(NoAnswer):
                await caller.posts.create(DRAFT)

        tasks.start_soon(call)
        await arrived.wait()
        await caller.aclose()
        await ended.wait()


# Addresses of a host


@pytest.fixture
def set_addresses(monkeypatch):
    """Give a host these addresses."""

    def give(*addresses):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    return give


async def test_next_address_is_tried_after_one_that_refuses(set_addresses):
    set_addresses("127.0.0.9", "127.0.0.1")
    api = Api(REPLY)
    async with open_server(api.talk) as port:
        caller = make_client(port, "localhost")
        assert await caller.posts.list() == []
        await caller.aclose()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a full queue be silent")
async def test_next_address_is_tried_while_one_is_silent(set_addresses):
    """The silent address is abandoned as soon as the other one answers."""
    set_addresses("127.0.0.9", "127.0.0.1")
    api = Api(REPLY)
    async with open_server(api.talk) as port:
        with socket.socket() as full:
            full.bind(("127.0.0.9", port))
            full.listen(0)
            waiting = [socket.socket() for _ in range(3)]
            for each in waiting:
                each.setblocking(False)
                each.connect_ex(("127.0.0.9", port))
            caller = make_client(port, "localhost", connect_seconds=20.0)
            assert await caller.posts.list() == []
            await caller.aclose()
            for each in waiting:
                each.close()


async def test_connection_is_refused_if_all_addresses_refuse(set_addresses):
    set_addresses("127.0.0.8", "127.0.0.9")
    async with open_server(Api(REPLY).talk) as port:
        with pytest.raises(NotReached) as caught:
            await make_client(port, "localhost").posts.list()
    assert caught.value.reason == "refused"


async def test_connection_made_during_a_cancellation_is_closed(monkeypatch):
    async def connect(*given):
        made = await create_connection(*given)
        scope.cancel()
        return made

    api = Api(REPLY)
    async with open_server(api.talk) as port:
        create_connection = asyncio.get_running_loop().create_connection
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
        with anyio.CancelScope() as scope:
            await make_client(port).posts.list()
        assert scope.cancelled_caught
        with anyio.fail_after(5):
            while not api.closed:
                await anyio.sleep(0)


# Proxies


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_proxy_tunnels_tls(monkeypatch, tmp_path, scheme):
    """The proxy requires credentials, and sees neither the token nor the request."""
    tls, ca = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    seen, ended = [], asyncio.Event()

    async def forward(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", int(seen[-1].split(b" ")[1].split(b":")[1]))
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")

        async def pass_on(source, target):
            with suppress(ConnectionError):
                while content := await source.read(65536):
                    target.write(content)
            target.close()

        await asyncio.gather(pass_on(reader, to_writer), pass_on(to_reader, writer))
        ended.set()

    api = Api(REPLY)
    async with (
        open_server(api.talk, tls=tls) as port,
        open_server(forward, tls=tls if scheme == "https" else None) as proxy,
    ):
        monkeypatch.setenv("https_proxy", f"{scheme}://me:s%20cret@localhost:{proxy}")
        caller = make_client(port, "localhost", "https")
        for _ in range(2):
            assert await caller.posts.list() == []
        await caller.aclose()
        await ended.wait()
    assert (api.opened, len(seen)) == (1, 1)
    assert seen[0].startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % port)
    assert b"Proxy-Authorization: Basic bWU6cyBjcmV0" in seen[0]
    assert b"ttp_" not in seen[0]
