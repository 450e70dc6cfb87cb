"""The upload client, against storage servers that misbehave."""

import asyncio
import logging
import socket
import ssl
import sys
import threading
import time
import traceback
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from tests.support.certificates import make_certificate
from ttp_mcp.api.hosts import TransferProblem
from ttp_mcp.api.upload import ByteCounter, PresignedUploader, allowed_seconds

BODY = bytes(range(256)) * 4096
QUERY = "?X-Amz-Signature=5ec2e7"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@dataclass
class Bytes:
    """A file in memory that counts its copies."""

    content: bytes = BODY
    claimed: int | None = None
    changes_after: int = 1_000_000
    broken: bool = False
    looks: list = field(default_factory=list)
    open_copies: list = field(default_factory=list)

    @property
    def size(self):
        return len(self.content) if self.claimed is None else self.claimed

    def read_at(self, offset, length):
        if self.broken:
            raise OSError(5, "Input/output error")
        return self.content[offset : offset + length]

    def is_unchanged(self):
        self.looks.append(1)
        return len(self.looks) <= self.changes_after

    def copy(self):
        self.open_copies.append(self)
        return self

    def close(self):
        self.open_copies.pop()


async def read_request(reader):
    """Read the head of a request as lines."""
    return (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]


@asynccontextmanager
async def serve_connections(handle, host="127.0.0.1"):
    """Serve connections; yield the port."""

    connections = set()

    async def serve(reader, writer):
        connections.add(asyncio.current_task())
        try:
            await handle(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()
            with suppress(Exception):
                await writer.wait_closed()

    server = await asyncio.start_server(serve, host, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        # A connection that was just accepted has no task yet.
        await anyio.wait_all_tasks_blocked()
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await anyio.wait_all_tasks_blocked()


@contextmanager
def serve_tls(settings, handle, host="127.0.0.1"):
    """Serve one TLS connection in a thread; yield the port."""
    listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)

    def run():
        with suppress(OSError):
            raw, _ = listener.accept()
            raw.settimeout(5)
            with settings.wrap_socket(raw, server_side=True) as connection:
                handle(connection)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join(5)
        listener.close()


def read_whole_request(connection):
    """Read a whole request; return its head."""
    received = b""
    while not received.endswith(BODY):
        received += connection.recv(65536)
    return received[: -len(BODY)].decode().split("\r\n")[:-2]


def make_uploader(**options):
    """Create an uploader that may connect to this machine."""
    return PresignedUploader(**{"loopback": True, "monotonic": time.monotonic, **options})


async def put_file(client, url, source=None, sent=None, fresh_until=None):
    """PUT a file within 5 s."""
    with anyio.fail_after(5):
        await client.put(
            url,
            "video/mp4",
            source or Bytes(),
            sent or ByteCounter(),
            fresh_until=time.monotonic() + 100 if fresh_until is None else fresh_until,
        )


async def read_problem(client, url, source=None, **options):
    """Return the facts of a failed PUT, and check that every copy of the file is closed."""
    source = source or Bytes()
    with pytest.raises(TransferProblem) as caught:
        await put_file(client, url, source, **options)
    assert not source.open_copies
    return caught.value.kind, caught.value.reason


def make_handler(answer, received=None):
    """Make a handler that reads the whole request and sends one response."""

    async def handle(reader, writer):
        head = await read_request(reader)
        body = await reader.readexactly(len(BODY))
        if received is not None:
            received.append((head, body))
        writer.write(answer)
        await writer.drain()

    return handle


@pytest.mark.requirement("uploads.bare")
async def test_request_has_the_file_its_type_and_its_length_and_nothing_else():
    received, sent = [], ByteCounter()
    async with serve_connections(make_handler(OK, received)) as port:
        await put_file(make_uploader(), f"http://127.0.0.1:{port}/key{QUERY}", sent=sent)
    ((head, body),) = received
    assert head == [
        f"PUT /key{QUERY} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Content-Type: video/mp4",
        f"Content-Length: {len(BODY)}",
    ]
    assert body == BODY
    assert sent.count == len(BODY)


@pytest.mark.requirement("uploads.whole")
@pytest.mark.parametrize(
    ("statuses", "kind", "reason"),
    [
        (
            (300, 301, 302, 303, 307, 308, 399),
            "permanent",
            "the storage answered with a redirect, which is never followed",
        ),
        ((400, 403), "expired", "the storage did not accept the upload URL ({})"),
        ((401, 404, 409, 411, 413, 426, 430), "permanent", "the storage refused the file ({})"),
        ((408, 425, 429, 500, 503), "retryable", "the storage had a failure of its own ({})"),
    ],
)
async def test_each_status_has_its_meaning(statuses, kind, reason):
    """The kind tells whether a new attempt or a new URL can help."""
    for status in statuses:
        answer = f"HTTP/1.1 {status} Some\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".encode()
        async with serve_connections(make_handler(answer)) as port:
            with pytest.raises(TransferProblem) as caught:
                await put_file(make_uploader(), f"http://127.0.0.1:{port}/key")
        problem = caught.value
        assert (problem.kind, problem.reason, problem.status) == (kind, reason.format(status), status)
        assert str(problem) == problem.reason


@pytest.mark.requirement("uploads.whole")
async def test_success_before_the_whole_file_arrived_is_a_failure():
    """A storage that responds early doesn't have the whole file."""

    async def hasty(reader, writer):
        await read_request(reader)
        writer.write(OK)
        await writer.drain()
        writer.close()

    async with serve_connections(hasty) as port:
        found, _ = await read_problem(make_uploader(), f"http://127.0.0.1:{port}/key", Bytes(BODY * 16))
    assert found == "retryable"


@pytest.mark.requirement("uploads.whole")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a response that arrived before a reset")
async def test_refusal_before_the_whole_file_arrived_has_its_meaning():
    """The storage closes the connection while the file is sent."""

    async def refuse(reader, writer):
        await read_request(reader)
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with serve_connections(refuse) as port:
        assert await read_problem(make_uploader(), f"http://127.0.0.1:{port}/key", Bytes(BODY * 16)) == (
            "expired",
            "the storage did not accept the upload URL (403)",
        )


@pytest.mark.requirement("uploads.whole")
async def test_success_of_an_application_that_read_nothing_is_a_failure():
    """As above, with an application in this process."""

    async def careless(request):
        return Response()

    app = Starlette(routes=[Route("/key", careless, methods=["PUT"])])
    assert await read_problem(make_uploader(app=app), "http://media.sandbox.localhost/key") == (
        "retryable",
        "the storage answered before it had the whole file",
    )


@pytest.mark.requirement("uploads.whole")
@pytest.mark.parametrize("in_process", [False, True])
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (Bytes(changes_after=0), ("changed", "the file changed while it was sent")),
        (Bytes(changes_after=1), ("changed", "the file changed while it was sent")),
        (Bytes(BODY[:-1], claimed=len(BODY)), ("changed", "the file changed while it was sent")),
        (Bytes(broken=True), ("permanent", "the file could not be read")),
    ],
    ids=["before the end", "after the end", "shorter", "unreadable"],
)
async def test_changed_file_is_never_stored_whole(source, expected, in_process):
    """The last block isn't sent if the file changed, so the storage never has a complete file."""
    source = Bytes(source.content, source.claimed, source.changes_after, source.broken)
    complete = []

    async def collect(request):
        body = b"".join([chunk async for chunk in request.stream()])
        complete.append(body)
        return Response()

    if in_process:
        app = Starlette(routes=[Route("/key", collect, methods=["PUT"])])
        found = await read_problem(make_uploader(app=app), "http://media.sandbox.localhost/key", source)
    else:
        async with serve_connections(make_handler(OK, complete)) as port:
            found = await read_problem(make_uploader(), f"http://127.0.0.1:{port}/key", source)
    assert found == expected
    assert len(complete) == (source.changes_after == 1)


@pytest.mark.requirement("uploads.whole")
async def test_bytes_beyond_the_announced_length_are_not_sent():
    """A file that grows between the check and the upload."""
    received = []

    async def collect(request):
        received.append(await request.body())
        return Response()

    app = Starlette(routes=[Route("/key", collect, methods=["PUT"])])
    await put_file(make_uploader(app=app), "http://media.sandbox.localhost/key", Bytes(claimed=len(BODY) - 10))
    assert received == [BODY[:-10]]


@pytest.mark.requirement("uploads.whole")
async def test_broken_connection_is_retryable():
    """It is unknown what arrived, but a retry uses a new URL."""

    async def rude(reader, writer):
        await read_request(reader)

    async with serve_connections(rude) as port:
        assert await read_problem(make_uploader(), f"http://127.0.0.1:{port}/key") == (
            "retryable",
            "the connection to the storage broke",
        )
    assert await read_problem(make_uploader(), f"http://127.0.0.1:{port}/key") == (
        "retryable",
        "the storage could not be reached",
    )


@pytest.mark.requirement("uploads.whole")
async def test_expired_url_is_not_used():
    """Only the head of the request is sent. The time at which it is too old counts."""
    sent = ByteCounter()
    async with serve_connections(make_handler(OK)) as port:
        client = make_uploader(monotonic=lambda: 7.0)
        found = await read_problem(client, f"http://127.0.0.1:{port}/key", sent=sent, fresh_until=7.0)
    assert found == ("expired", "the upload URL was too old")
    assert sent.count == 0


@pytest.mark.requirement("uploads.addresses")
async def test_address_that_breaks_a_rule_is_refused_permanently():
    """The URL or its addresses break a rule. A name that can't be resolved is retryable."""

    def unknown(host, port):
        raise OSError("no such name")

    def invalid(host, port):
        raise UnicodeError("label too long")

    private = make_uploader(loopback=False, resolve=lambda host, port: ["10.0.0.1"])
    assert await read_problem(private, "http://127.0.0.1/key") == ("permanent", "the upload address is on this machine")
    assert await read_problem(private, "https://media.example.com/key") == (
        "permanent",
        "the upload address leads into a private network",
    )
    for resolve in (unknown, invalid):
        assert await read_problem(make_uploader(resolve=resolve), "https://media.example.com/key") == (
            "retryable",
            "the storage's name could not be resolved",
        )


@pytest.mark.requirement("uploads.pinned")
async def test_next_address_is_tried_when_one_does_not_answer():
    """A storage with two addresses, one of them dead."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("no IPv6 on this machine")
    async with serve_connections(make_handler(OK), host="::1") as port:
        await put_file(make_uploader(), f"http://localhost:{port}/key")


def make_tls_pair(tmp_path, name):
    """TLS contexts of the server and the client."""
    server, ca = make_certificate(tmp_path, name)
    return server, ssl.create_default_context(cafile=ca)


@pytest.mark.requirement("uploads.pinned")
@pytest.mark.parametrize(("name", "reached"), [("media.localhost", True), ("other.localhost", False)])
async def test_certificate_must_match_the_host_name(tmp_path, name, reached):
    """The connection goes to an address, which doesn't identify the server."""
    server, client = make_tls_pair(tmp_path, name)
    received = []

    def answer(connection):
        received.append(read_whole_request(connection)[1])
        connection.sendall(OK)

    with serve_tls(server, answer) as port:
        url = f"https://media.localhost:{port}/key"
        if reached:
            await put_file(make_uploader(tls=client), url)
        else:
            assert await read_problem(make_uploader(tls=client), url) == (
                "retryable",
                "the storage could not be reached",
            )
    assert received == ([f"Host: media.localhost:{port}"] if reached else [])


@pytest.mark.requirement("uploads.pinned")
async def test_certificate_of_an_address_is_checked(tmp_path):
    """A URL has it in brackets, a certificate doesn't."""
    server, client = make_tls_pair(tmp_path, "::1")
    try:
        with serve_tls(
            server, lambda connection: (read_whole_request(connection), connection.sendall(OK)), "::1"
        ) as port:
            await put_file(make_uploader(tls=client), f"https://[::1]:{port}/key")
    except OSError:
        pytest.skip("no IPv6 on this machine")


@pytest.mark.requirement("uploads.ends")
@pytest.mark.parametrize("habit", ["silent", "drip", "reads nothing"])
async def test_storage_that_never_finishes_times_out(habit):
    """An occasional byte doesn't extend the limit, and the thread has ended."""

    async def endless(reader, writer):
        if habit != "reads nothing":
            await read_request(reader)
            await reader.readexactly(len(BODY))
        while habit == "drip":
            writer.write(b"H")
            await writer.drain()
            await asyncio.sleep(0.02)
        await asyncio.Event().wait()

    client, source = make_uploader(seconds=lambda size: 0.3), Bytes(BODY * 16 if habit == "reads nothing" else BODY)
    async with serve_connections(endless) as port:
        with pytest.raises(TransferProblem) as caught:
            await put_file(client, f"http://127.0.0.1:{port}/key", source)
        assert (caught.value.kind, caught.value.reason) == ("retryable", "it was not stored within 0 s")
        with anyio.fail_after(5):
            while source.open_copies:
                await anyio.sleep(0)


@pytest.mark.requirement("uploads.ends")
async def test_each_step_of_an_upload_has_a_timeout(monkeypatch):
    """Connecting, sending a block and the response time out on their own, besides the limit on the total time."""
    limits, set_limit = [], socket.socket.settimeout

    def note(self, seconds):
        # The event loop's own sockets never wait.
        limits.extend([seconds] if seconds != 0 else [])
        set_limit(self, seconds)

    async with serve_connections(make_handler(OK)) as port:
        monkeypatch.setattr(socket.socket, "settimeout", note)
        await put_file(make_uploader(), f"http://127.0.0.1:{port}/key")
    assert limits == [5.0, 30.0, 15.0]


@pytest.mark.requirement("uploads.ends")
async def test_endless_response_is_not_read():
    """Only the status is needed."""

    async def endless(reader, writer):
        await read_request(reader)
        await reader.readexactly(len(BODY))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
        while True:
            writer.write(bytes(65536))
            await writer.drain()

    async with serve_connections(endless) as port:
        await put_file(make_uploader(), f"http://127.0.0.1:{port}/key")


@pytest.mark.requirement("uploads.ends")
async def test_cancelling_wakes_the_thread_and_closes_its_file():
    """The thread stops waiting for the storage."""
    arrived, gone = anyio.Event(), anyio.Event()

    async def silent(reader, writer):
        await read_request(reader)
        await reader.readexactly(len(BODY))
        arrived.set()
        assert await reader.read(1) == b""
        gone.set()

    source = Bytes()
    async with serve_connections(silent) as port:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put_file, make_uploader(), f"http://media.localhost:{port}/key", source)
            await arrived.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(5):
            await gone.wait()
            while source.open_copies:
                await anyio.sleep(0)


@pytest.mark.requirement("uploads.ends")
async def test_cancelling_wakes_a_thread_that_waits_on_an_encrypted_connection(tmp_path):
    """No byte is sent in the clear."""
    arrived, after = threading.Event(), []

    def silent(connection):
        read_whole_request(connection)
        arrived.set()
        after.append(connection.recv(1))

    server, client = make_tls_pair(tmp_path, "media.localhost")
    source = Bytes()
    with serve_tls(server, silent) as port:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put_file, make_uploader(tls=client), f"https://media.localhost:{port}/key", source)
            assert await anyio.to_thread.run_sync(arrived.wait, 5)
            tasks.cancel_scope.cancel()
        with anyio.fail_after(5):
            while source.open_copies:
                await anyio.sleep(0)
    assert after in ([b""], [])


@pytest.mark.requirement("uploads.ends")
async def test_cancelling_before_the_first_block_sends_nothing():
    """The thread checks again before it reads the file."""
    connected, go = threading.Event(), threading.Event()
    received = []

    def slow_clock():
        connected.set()
        go.wait(5)
        return 0.0

    async def listening(reader, writer):
        await read_request(reader)
        received.append(await reader.read(1))

    source = Bytes()
    async with serve_connections(listening) as port:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put_file, make_uploader(monotonic=slow_clock), f"http://127.0.0.1:{port}/key", source)
            assert await anyio.to_thread.run_sync(connected.wait, 5)
            tasks.cancel_scope.cancel()
        go.set()
        with anyio.fail_after(5):
            while source.open_copies or not received:
                await anyio.sleep(0)
    assert received == [b""]


@pytest.mark.requirement("uploads.ends")
async def test_cancelling_during_the_name_lookup_opens_no_connection(monkeypatch):
    asked, go, connected = threading.Event(), threading.Event(), []

    def slow(host, port):
        asked.set()
        go.wait(5)
        return ["93.184.216.34"]

    monkeypatch.setattr(socket, "create_connection", lambda *address: connected.append(address))
    source = Bytes()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(put_file, make_uploader(resolve=slow), "https://media.example.com/key", source)
        assert await anyio.to_thread.run_sync(asked.wait, 5)
        tasks.cancel_scope.cancel()
    go.set()
    with anyio.fail_after(5):
        while source.open_copies:
            await anyio.sleep(0)
    assert connected == []


@pytest.mark.requirement("uploads.ends")
async def test_cancelling_while_connecting_sends_nothing_of_the_file(monkeypatch):
    """The cancellation comes before the connection is made."""
    connecting, go = threading.Event(), threading.Event()
    received, connect = [], socket.create_connection

    def slow(*address):
        connecting.set()
        go.wait(5)
        return connect(*address)

    async def listening(reader, writer):
        await read_request(reader)
        received.append(await reader.read(1))

    source = Bytes()
    async with serve_connections(listening) as port:
        monkeypatch.setattr(socket, "create_connection", slow)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put_file, make_uploader(), f"http://127.0.0.1:{port}/key", source)
            assert await anyio.to_thread.run_sync(connecting.wait, 5)
            tasks.cancel_scope.cancel()
        go.set()
        with anyio.fail_after(5):
            while source.open_copies or not received:
                await anyio.sleep(0)
    assert received == [b""]


@pytest.mark.requirement("uploads.ends")
async def test_cancelling_before_a_thread_is_free_closes_the_file():
    """The thread that would close it never starts."""
    limiter = anyio.to_thread.current_default_thread_limiter()
    before, limiter.total_tokens = limiter.total_tokens, 1
    go, source = threading.Event(), Bytes()
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, go.wait, 5)
            await anyio.wait_all_tasks_blocked()
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as inner:
                    inner.start_soon(put_file, make_uploader(), "http://127.0.0.1:1/key", source)
                    await anyio.wait_all_tasks_blocked()
                    assert len(source.open_copies) == 1
                    scope.cancel()
            assert not source.open_copies
            go.set()
    finally:
        limiter.total_tokens = before


@pytest.mark.requirement("uploads.secret")
async def test_url_is_never_logged_or_in_a_traceback(caplog):
    """With every logger at its finest level, for success and each kind of failure."""
    caplog.set_level(logging.DEBUG)
    texts = []

    async def rude(reader, writer):
        await read_request(reader)

    async with serve_connections(make_handler(OK)) as good, serve_connections(rude) as bad:
        await put_file(make_uploader(), f"http://127.0.0.1:{good}/key{QUERY}")
        for url in (f"http://127.0.0.1:{bad}/key{QUERY}", f"https://10.0.0.1/{QUERY}", f"http://127.0.0.1:1/{QUERY}"):
            with pytest.raises(TransferProblem) as caught:
                await put_file(make_uploader(), url)
            texts += traceback.format_exception(caught.value)
    assert "5ec2e7" not in caplog.text + "".join(texts)


@pytest.mark.requirement("uploads.ends")
def test_allowed_time_follows_the_size():
    """5 s and a quarter of a megabyte a second, half an hour at most."""
    assert [allowed_seconds(size) for size in (0, 256 * 1024, 5 * 1024**3)] == [5.0, 6.0, 1800.0]


@pytest.mark.requirement("uploads.ends")
async def test_concurrent_uploads_are_limited():
    """All uploads of a client share one limiter."""
    assert make_uploader().limiter.total_tokens == 4
