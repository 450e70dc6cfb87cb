"""Connections to the API over real sockets: reuse, opening and closing."""

import asyncio
import socket
import ssl
import struct
import sys
from contextlib import asynccontextmanager, suppress

import anyio
import httpcore2
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


async def test_next_request_closes_an_idle_connection_that_the_server_ended():
    """It was used before the other one, which stays open and is used."""

    async def talk(reader, writer):
        gate = asyncio.Event()
        opened.append((writer, gate))
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                if len(opened) <= 2:
                    await gate.wait()
                writer.write(REPLY)
        writer.close()
        closed.append(writer)

    async def call():
        assert await caller.posts.list() == []
        answered.append(1)

    opened, closed, answered = [], [], []
    async with open_server(talk) as port:
        caller = make_client(port)
        async with anyio.create_task_group() as tasks:
            for count in (1, 2):
                tasks.start_soon(call)
                while len(opened) < count:
                    await anyio.sleep(0)
            for count, (_, gate) in enumerate(opened, 1):
                gate.set()
                while len(answered) < count:
                    await anyio.sleep(0)
        await call()
        await anyio.wait_all_tasks_blocked()
        assert closed == []
        ended = opened[0][0]
        ended.write_eof()
        await call()
        await anyio.wait_all_tasks_blocked()
        assert closed == [ended]
        await call()
        assert len(opened) == 2
        await caller.aclose()
        while len(closed) < 2:
            await anyio.sleep(0)


@pytest.mark.parametrize("after", [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"])
@pytest.mark.parametrize("ends", [True, False])
@pytest.mark.parametrize("is_noticed", [True, False])
async def test_write_is_never_sent_on_a_closed_connection(after, ends, is_noticed):
    """It would be lost, with an unknown outcome. The event loop may have noticed the end, or not yet."""
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
                for _ in range(10 if is_noticed else 0):
                    await anyio.sleep(0)
                api.may_go_on.clear()
                api.has_gone_on.clear()
        await caller.aclose()
    assert api.opened == (3 if after or ends else 1)


async def test_write_that_is_lost_on_a_connection_in_use_is_sent_once():
    """The connection ends after the request has arrived, so it may have been processed."""

    async def talk(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(REPLY)
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    heads = []
    async with open_server(talk) as port:
        caller = make_client(port)
        assert await caller.posts.list() == []
        with pytest.raises(NoAnswer) as caught:
            await caller.posts.create(DRAFT)
        await caller.aclose()
    assert caught.value.may_have_happened
    assert [head[:5] for head in heads] == [b"GET /", b"POST "]


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


async def test_reset_while_a_request_is_sent_is_noticed_at_once():
    """The rest of it can't be sent, so there is nothing to wait for."""

    async def reset(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with open_server(reset) as port:
        caller = make_client(port, write_seconds=0.5)
        with pytest.raises(NoAnswer) as caught:
            await caller.posts.create(PostCreate("a" * 8 * 1024 * 1024, account_ids=("a",)))
        await caller.aclose()
    assert (caught.value.may_have_happened, caught.value.after_seconds) == (True, None)


async def test_closing_the_client_closes_connections_in_use():
    async def silent(reader, writer):
        assert await reader.readuntil(b"\r\n\r\n") != b""
        arrived.set()
        await reader.read()
        writer.close()
        ended.set()

    arrived, ended = asyncio.Event(), asyncio.Event()
    async with open_server(silent) as port, anyio.create_task_group() as tasks:
        caller = make_client(port, read_seconds=0.5)

        async def call():
            with pytest.raises(NoAnswer) as caught:
                await caller.posts.create(DRAFT)
            assert caught.value.after_seconds is None

        tasks.start_soon(call)
        await arrived.wait()
        await caller.aclose()
        await ended.wait()


async def test_connection_made_while_the_client_closes_is_used_once(monkeypatch):
    """The request that opened it goes on."""

    async def connect(*given):
        made = await create_connection(*given)
        await caller.aclose()
        return made

    api = Api(REPLY)
    async with open_server(api.talk) as port:
        caller = make_client(port)
        create_connection = asyncio.get_running_loop().create_connection
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
        assert await caller.posts.list() == []
        while api.closed < 1:
            await anyio.sleep(0)
    assert api.opened == 1


# One connection


@pytest.mark.skipif(WINDOWS, reason="Windows notices a reset only when it reads")
async def test_bytes_before_a_reset_can_be_read():
    async def talk(reader, writer):
        writer.write(b"bytes")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with open_server(talk) as port:
        stream = await connections.LoopBackend().connect_tcp("127.0.0.1", port)
        while stream.get_extra_info("socket").fileno() >= 0:
            await anyio.sleep(0)
        assert stream.get_extra_info("is_readable")
        assert await stream.read(3) == b"byt"
        assert await stream.read(3) == b"es"
        with pytest.raises(httpcore2.ReadError):
            await stream.read(3)
        with pytest.raises(httpcore2.WriteError):
            await stream.write(b"more")
        await stream.aclose()


async def test_bytes_that_arrive_while_the_event_loop_is_busy_are_in_time(monkeypatch):
    async def talk(reader, writer):
        await may_go_on.wait()
        writer.write(b"bytes")
        # The event loop sees the bytes and the end of the wait at once.
        monkeypatch.setattr(loop, "time", lambda: now() + 100.0)
        await reader.read()
        writer.close()
        ended.set()

    may_go_on, ended = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    now = loop.time
    async with open_server(talk) as port:
        stream = await connections.LoopBackend().connect_tcp("127.0.0.1", port)
        reading = asyncio.ensure_future(stream.read(5, 50.0))
        await anyio.sleep(0)
        may_go_on.set()
        assert await reading == b"bytes"
        with pytest.raises(httpcore2.ReadTimeout):
            await stream.read(5, 0.0)
        await stream.aclose()
        await ended.wait()


async def test_response_at_the_deadline_counts_and_its_connection_is_used_again(monkeypatch):
    async def answer_late(reader, writer):
        opened.append(writer)
        with suppress(asyncio.IncompleteReadError):
            while head := (await reader.readuntil(b"\r\n\r\n")).lower():
                await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
                writer.write(CREATED)
                monkeypatch.setattr(loop, "time", lambda now=loop.time: now() + 100.0)
        writer.close()
        ended.set()

    loop, ended, opened = asyncio.get_running_loop(), asyncio.Event(), []
    async with open_server(answer_late) as port:
        caller = make_client(port)
        for _ in range(2):
            assert (await caller.posts.create(DRAFT)).id == "p123"
        await caller.aclose()
        await ended.wait()
    assert len(opened) == 1


@pytest.mark.parametrize("sent", [b"HTTP/1.1 200 OK\r\n", b""])
async def test_tls_does_not_start_after_unexpected_bytes_or_the_end(tmp_path, sent):
    """A proxy could send them in front of what the API encrypts."""
    tls, ca = make_certificate(tmp_path)

    async def talk(reader, writer):
        if sent:
            writer.write(sent)
        else:
            writer.write_eof()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.start_tls(tls)
        writer.close()
        ended.set()

    ended = asyncio.Event()
    async with open_server(talk) as port:
        stream = await connections.LoopBackend().connect_tcp("127.0.0.1", port)
        while not (stream._unread or stream._is_ended):
            await anyio.sleep(0)
        with pytest.raises(httpcore2.ConnectError):
            await stream.start_tls(ssl.create_default_context(cafile=ca), "localhost", 0.2)
        await ended.wait()


async def test_connection_whose_other_end_sends_nothing_more_is_written_to_and_closed():
    """A server may refuse a request and still read the rest of it."""

    async def talk(reader, writer):
        writer.write_eof()
        received.append(len(await reader.readexactly(8 * 1024 * 1024)))
        await reader.read()
        writer.close()
        ended.set()

    received, ended = [], asyncio.Event()
    async with open_server(talk) as port:
        stream = await connections.LoopBackend().connect_tcp("127.0.0.1", port)
        assert await stream.read(1, 5.0) == b""
        await stream.write(bytes(8 * 1024 * 1024), 5.0)
        while not received:
            await anyio.sleep(0)
        await stream.aclose()
        await ended.wait()


async def test_start_of_tls_can_be_cancelled(tmp_path):
    async def talk(reader, writer):
        has_begun.set()
        await reader.read()
        writer.close()
        ended.set()

    async def cancel():
        await has_begun.wait()
        scope.cancel()

    _, ca = make_certificate(tmp_path)
    has_begun, ended = asyncio.Event(), asyncio.Event()
    async with open_server(talk) as port:
        stream = await connections.LoopBackend().connect_tcp("127.0.0.1", port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel)
            with anyio.CancelScope() as scope:
                await stream.start_tls(ssl.create_default_context(cafile=ca), "localhost", 20.0)
        assert scope.cancelled_caught
        await ended.wait()


async def test_long_request_reaches_a_slow_server():
    """Its parts wait until the server takes more."""
    text = "a" * 8 * 1024 * 1024

    async def talk(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        writer.transport.pause_reading()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        # The client fills what the system receives ahead.
        for _ in range(10):
            await anyio.sleep(0)
        writer.transport.resume_reading()
        bodies.append(await reader.readexactly(length))
        writer.write(CREATED)
        await reader.read()
        writer.close()
        ended.set()

    bodies, ended = [], asyncio.Event()
    async with open_server(talk) as port:
        caller = make_client(port, write_seconds=5.0)
        assert (await caller.posts.create(PostCreate(text, account_ids=("a",)))).id == "p123"
        await caller.aclose()
        await ended.wait()
    assert text.encode() in bodies[0]


# Addresses of a host


@pytest.fixture
def set_addresses(monkeypatch):
    """Give a host these addresses."""

    def give(*addresses):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    return give


async def test_next_address_is_tried_after_one_that_refuses(monkeypatch, set_addresses):
    """At once."""
    set_addresses("127.0.0.9", "127.0.0.1")
    monkeypatch.setattr(connections, "NEXT_ADDRESS_SECONDS", 3600.0)
    api = Api(REPLY)
    async with open_server(api.talk) as port:
        caller = make_client(port, "localhost", connect_seconds=0.5)
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


async def test_next_address_is_not_tried_if_the_first_one_answers(monkeypatch, set_addresses):
    set_addresses("127.0.0.1", "127.0.0.1")

    async def connect(*given):
        tried.append(given)
        return await create_connection(*given)

    tried, api = [], Api(REPLY)
    async with open_server(api.talk) as port:
        create_connection = asyncio.get_running_loop().create_connection
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
        caller = make_client(port, "localhost")
        assert await caller.posts.list() == []
        await caller.aclose()
    assert len(tried) == 1


async def test_connection_is_refused_if_all_addresses_refuse(set_addresses):
    set_addresses("127.0.0.8", "127.0.0.9")
    async with open_server(Api(REPLY).talk) as port:
        with pytest.raises(NotReached) as caught:
            await make_client(port, "localhost").posts.list()
    assert caught.value.reason == "refused"


async def test_host_whose_addresses_are_not_found_in_time_is_not_reached(monkeypatch):
    """The wait for an address counts as connecting."""

    async def find(*_, **__):
        await anyio.sleep_forever()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", find)
    with pytest.raises(NotReached) as caught:
        await make_client(80, "localhost", connect_seconds=0.02, total_seconds=3600.0).posts.create(DRAFT)
    assert caught.value.reason == "timeout"


async def test_addresses_of_both_families_take_turns(monkeypatch):
    async def refuse(_, address, port):
        tried.append((address, port))
        raise ConnectionRefusedError

    def find(host, port, family=0, kind=0, *_):
        four = [(socket.AF_INET, each, 6, "", (f"127.0.0.{last}", port)) for last in (1, 2, 3) for each in (1, 2)]
        six = [(socket.AF_INET6, each, 6, "", ("::1", port, 0, 0)) for each in (1, 2)]
        asked.append((host, port))
        return [each for each in four + six if kind in (0, each[1])]

    tried, asked = [], []
    monkeypatch.setattr(socket, "getaddrinfo", find)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", refuse)
    with pytest.raises(NotReached):
        await make_client(80, "localhost").posts.create(DRAFT)
    assert asked == [("localhost", 80)] * 2
    assert tried == [("127.0.0.1", 80), ("::1", 80), ("127.0.0.2", 80), ("127.0.0.3", 80)] * 2


async def test_second_connection_of_the_same_moment_is_closed(monkeypatch, set_addresses):
    """Both addresses answer at once, and the first is used."""
    set_addresses("127.0.0.1", "127.0.0.1")
    monkeypatch.setattr(connections, "NEXT_ADDRESS_SECONDS", 0.0)

    async def connect(*given):
        own = await create_connection(*given)
        made.append(own)
        if len(made) == 2:
            both.set()
        await both.wait()
        return own

    made, both, api = [], asyncio.Event(), Api(REPLY)
    async with open_server(api.talk) as port:
        create_connection = asyncio.get_running_loop().create_connection
        monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", connect)
        caller = make_client(port, "localhost")
        assert await caller.posts.list() == []
        await caller.aclose()
        while api.closed < 2:
            await anyio.sleep(0)
    assert api.opened == 2


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


@pytest.mark.parametrize(
    ("scheme", "user", "idle_seconds", "opened"),
    [("http", "me:s%20cret@", 5.0, 1), ("https", "me:s%20cret@", 5.0, 1), ("http", "", -1.0, 2)],
)
async def test_proxy_tunnels_tls(monkeypatch, tmp_path, scheme, user, idle_seconds, opened):
    """The proxy sees neither the token nor the request. Certificates are read once."""
    tls, ca = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    seen, ended = [], []

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
        ended.append(seen)

    api = Api(REPLY)
    async with (
        open_server(api.talk, tls=tls) as port,
        open_server(forward, tls=tls if scheme == "https" else None) as proxy,
    ):
        monkeypatch.setenv("https_proxy", f"{scheme}://{user}localhost:{proxy}")
        monkeypatch.setattr(connections, "IDLE_SECONDS", idle_seconds)
        caller = make_client(port, "localhost", "https")
        for _ in range(2):
            assert await caller.posts.list() == []
        assert (api.opened, len(seen)) == (opened, opened)
        monkeypatch.delenv("SSL_CERT_FILE")
        async with anyio.create_task_group() as tasks:
            for _ in range(3):
                tasks.start_soon(caller.posts.list)
        await caller.aclose()
        while len(ended) < len(seen):
            await anyio.sleep(0)
    assert len(seen) > opened
    for head in seen:
        assert head.startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % port)
        assert (b"Proxy-Authorization: Basic bWU6cyBjcmV0\r\n" in head) == bool(user)
        assert (b"Proxy-Authorization" in head) == bool(user)
        assert b"ttp_" not in head
