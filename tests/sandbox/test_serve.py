"""The sandbox on real ports."""

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest

from ttp_mcp.sandbox import ManualClock, Sandbox, serve
from ttp_mcp.sandbox.serve import ServeProblem, serve_on_ports

pytestmark = pytest.mark.requirement("sandbox.port")

NOW = datetime(2026, 6, 24, 9, 30, tzinfo=UTC)
POST = {"content": "Fresh bread", "platforms": ["twitter"]}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """A sandbox on two free ports, whose requests may ask for faults."""
    async with serve_on_ports(clock=ManualClock(NOW), faults_by_header=True) as opened:
        yield opened


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx2.AsyncClient]:
    """A client over real sockets."""
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    async with httpx2.AsyncClient(base_url=sandbox.api_url, headers=headers, trust_env=False) as opened:
        yield opened


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that another process listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        yield other.getsockname()[1]


def count_posts(sandbox: Sandbox) -> int:
    """Count the posts in the sandbox's data."""
    with sandbox.store.reading() as db:
        return db.execute("SELECT count(*) FROM posts").fetchone()[0]


async def test_api_page_and_storage_answer_at_their_addresses(sandbox, client):
    """An upload goes to another origin than the API, and is seen there."""
    assert (await client.get("/integrations")).json()["success"] is True
    assert (await client.get(sandbox.page_url)).headers["content-type"] == "text/html; charset=utf-8"
    wanted = {"filename": "a.png", "contentType": "image/png", "size": 3}
    urls = (await client.post("/media/presign", json=wanted)).json()
    api, storage = (urlsplit(url) for url in (sandbox.api_url, urls["uploadUrl"]))
    assert (api.hostname, api.path, storage.hostname) == ("127.0.0.1", "/api", "127.0.0.1")
    assert api.port != storage.port
    async with httpx2.AsyncClient(trust_env=False) as bare:
        await bare.put(urls["uploadUrl"], content=b"abc", headers={"Content-Type": "image/png"})
        assert (await bare.get(urls["publicUrl"])).content == b"abc"


async def test_responses_have_only_the_sandbox_date(client):
    """A client that learns the time from it plans by the sandbox's clock."""
    answer = await client.get("/posts")
    assert answer.headers.get_list("date") == ["Wed, 24 Jun 2026 09:30:00 GMT"]
    assert "server" not in answer.headers


@pytest.mark.requirement("faults.transport")
@pytest.mark.parametrize(("kind", "made"), [("reset-before", 0), ("reset-after", 1), ("truncated", 1)])
async def test_resets_break_the_real_connection(sandbox, client, kind, made):
    """Before or after the effect; the next request works."""
    before = count_posts(sandbox)
    with pytest.raises(httpx2.TransportError):
        await client.post("/posts", json=POST, headers={"x-sandbox-fault": kind})
    assert count_posts(sandbox) == before + made
    assert (await client.get("/posts")).status_code == 200


@pytest.mark.requirement("faults.kinds")
async def test_delay_commits_late_when_the_client_has_given_up(sandbox, client):
    """The worst case for a client that searches for its post: it appears later."""
    before = count_posts(sandbox)
    with pytest.raises(httpx2.ReadTimeout):
        # The timeout is that of reading alone: the connection and the request take as long as this machine needs.
        timeout = httpx2.Timeout(20.0, read=0.05)
        await client.post("/posts", json=POST, headers={"x-sandbox-fault": "delay;seconds=0.5"}, timeout=timeout)
    assert count_posts(sandbox) == before
    with anyio.fail_after(5):
        while count_posts(sandbox) == before:
            await client.get("/integrations")
    assert count_posts(sandbox) == before + 1


@pytest.mark.requirement("faults.kinds")
async def test_drip_is_one_byte_at_a_time_on_the_wire(client):
    """The client reads as many chunks as there are bytes, or nearly: two may arrive together."""
    async with client.stream("GET", "/integrations", headers={"x-sandbox-fault": "drip;seconds=0.002"}) as answer:
        with anyio.fail_after(5):
            sizes = [len(chunk) async for _, chunk in number_chunks(answer, 100)]
    assert sum(sizes) / len(sizes) < 20


async def number_chunks(answer: httpx2.Response, most: int) -> AsyncIterator[tuple[int, bytes]]:
    """The first chunks of an answer as they arrive."""
    number = 0
    async for chunk in answer.aiter_raw():
        yield number, chunk
        number += 1
        if number == most:
            return


async def test_slow_response_does_not_delay_the_shutdown():
    """Its client sees a broken connection."""
    broken: list[BaseException] = []

    async def ask(sandbox: Sandbox, started: Callable[[], None]) -> None:
        headers = {"Authorization": f"Bearer {sandbox.token}", "x-sandbox-fault": "delay;seconds=3600"}
        async with httpx2.AsyncClient(headers=headers, trust_env=False, timeout=30) as client:
            request = client.build_request(
                "GET", f"{sandbox.api_url}/posts", extensions={"trace": trace_request(started)}
            )
            try:
                await client.send(request)
            except httpx2.TransportError as error:
                broken.append(error)

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            sent = anyio.Event()
            async with serve_on_ports(clock=ManualClock(NOW), faults_by_header=True, grace_seconds=0.01) as sandbox:
                tasks.start_soon(ask, sandbox, sent.set)
                await sent.wait()
                # One more request: by its answer the first has been taken up.
                headers = {"Authorization": f"Bearer {sandbox.token}"}
                async with httpx2.AsyncClient(headers=headers, trust_env=False) as client:
                    await client.get(f"{sandbox.api_url}/posts")
    assert len(broken) == 1


def trace_request(started: Callable[[], None]):
    """Report when a request has left."""

    async def hear(event: str, _: object) -> None:
        if event.endswith("send_request_body.complete"):
            started()

    return hear


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "example.org"])
async def test_other_machines_are_refused(host):
    """The page needs no token, so other machines must not reach it."""
    with pytest.raises(ServeProblem, match=r"only for this machine: .* is not one of 127\.0\.0\.1, ::1, localhost"):
        async with serve_on_ports(host=host):
            pass


async def test_taken_port_is_named(taken_port):
    """For the API and for the storage."""
    with pytest.raises(ServeProblem, match=f"Port {taken_port} is taken, perhaps by another sandbox"):
        async with serve_on_ports(port=taken_port):
            pass
    with pytest.raises(ServeProblem, match=f"Port {taken_port} is taken"):
        async with serve_on_ports(storage_port=taken_port):
            pass


async def test_forbidden_port_is_named(monkeypatch):
    """With the system's reason."""

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(serve.socket.socket, "bind", refuse)
    with pytest.raises(ServeProblem, match=r"Port 80 of 127\.0\.0\.1 can't be used \(Permission denied\)"):
        async with serve_on_ports(port=80):
            pass


async def test_storage_takes_the_next_free_port():
    """Not one that another process has."""
    with closing(socket.create_server(("127.0.0.1", 0))) as first:
        port = first.getsockname()[1]
    try:
        other = socket.create_server(("127.0.0.1", port + 1))
    except OSError:
        other = socket.socket()  # another process has it already, which is just as good
    with closing(other):
        async with serve_on_ports(clock=ManualClock(NOW), port=port) as sandbox:
            storage = urlsplit(sandbox.storage.origin).port
            assert urlsplit(sandbox.api_url).port == port
            assert storage not in (port, port + 1)
    async with serve_on_ports(clock=ManualClock(NOW), port=port) as again:
        assert urlsplit(again.api_url).port == port


async def test_error_of_the_block_is_not_taken_for_a_port_problem(taken_port):
    """It propagates."""
    with pytest.raises(ServeProblem, match="of the block"):
        async with serve_on_ports(clock=ManualClock(NOW)):
            raise ServeProblem("of the block")


async def test_localhost_and_ipv6_are_this_machine_too():
    """Addresses are in URL form."""
    async with serve_on_ports(host="localhost", clock=ManualClock(NOW)) as sandbox:
        assert sandbox.api_url.startswith("http://localhost:")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with serve_on_ports(host="::1", clock=ManualClock(NOW)) as sandbox:
        assert sandbox.page_url.startswith("http://[::1]:")
        async with httpx2.AsyncClient(trust_env=False) as client:
            assert (await client.get(sandbox.page_url)).status_code == 200
