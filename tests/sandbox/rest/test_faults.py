"""Faults on request: kinds, scheduling, and the requests that they hit."""

import threading
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import httpx2
import pytest

from tests.support.workspaces import open_workspace
from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.sandbox.rest import faults
from ttp_mcp.sandbox.rest.faults import ABORT, Fault, FaultProblem, PendingFault

pytestmark = pytest.mark.requirement("faults.kinds")

NOW = datetime(2026, 6, 24, 9, 30, tzinfo=UTC)
POST = {"content": "Fresh bread", "platforms": ["twitter"]}


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """The demo workspace, with requests that may ask for faults."""
    with open_workspace(tmp_path / "sandbox", ManualClock(NOW), faults_by_header=True) as opened:
        yield opened


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx2.AsyncClient]:
    """A client in the same process."""
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    transport = httpx2.ASGITransport(sandbox.app)
    async with httpx2.AsyncClient(transport=transport, base_url=sandbox.api_url, headers=headers) as opened:
        yield opened


def count_posts(sandbox: Sandbox) -> int:
    """Count the posts in the sandbox's data."""
    with sandbox.store.reading() as db:
        return db.execute("SELECT count(*) FROM posts").fetchone()[0]


@pytest.mark.parametrize(("kind", "status", "retry_after"), [("429", 429, "2"), ("500", 500, None), ("503", 503, None)])
async def test_refusals_have_the_documented_shape_and_no_effect(sandbox, client, kind, status, retry_after):
    """429 has a `Retry-After`; no refusal creates a post."""
    before = count_posts(sandbox)
    answer = await client.post("/posts", json=POST, headers={"x-sandbox-fault": kind})
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry_after)
    assert answer.json()["success"] is False
    assert answer.headers["date"] == "Wed, 24 Jun 2026 09:30:00 GMT"
    assert count_posts(sandbox) == before


async def test_retry_after_is_the_requested_seconds(client):
    """Rounded up to a whole number, as the header requires."""
    answer = await client.get("/posts", headers={"x-sandbox-fault": "429; seconds=6.5"})
    assert answer.headers["retry-after"] == "7"


async def test_delay_waits_and_then_responds_as_usual(client):
    """A shorter deadline expires, a longer one doesn't."""
    with anyio.move_on_after(0.05) as scope:
        await client.get("/posts", headers={"x-sandbox-fault": "delay;seconds=3600"})
    assert scope.cancelled_caught
    assert (await client.get("/posts", headers={"x-sandbox-fault": "delay;seconds=0.01"})).status_code == 200


async def test_delay_does_not_change_the_limit_on_a_body(sandbox, client):
    """A body in several parts is accepted, and one over the limit is refused."""

    async def parts() -> AsyncIterator[bytes]:
        for part in (b'{"content": "In parts", ', b'"platforms": ["linkedin"]}'):
            yield part

    headers = {"x-sandbox-fault": "delay;seconds=0", "Content-Type": "application/json"}
    before = count_posts(sandbox)
    assert (await client.post("/posts", content=parts(), headers=headers)).status_code == 201
    assert count_posts(sandbox) == before + 1

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65536

    assert (await client.post("/posts", content=endless(), headers=headers)).status_code == 413


@pytest.mark.requirement("faults.transport")
@pytest.mark.parametrize(("kind", "made"), [("reset-before", 0), ("reset-after", 1), ("truncated", 1)])
async def test_resets_break_the_connection_before_or_after_the_effect(sandbox, client, kind, made):
    """In one process the client raises what a dropped connection raises."""
    before = count_posts(sandbox)
    with pytest.raises(ConnectionResetError, match="closed the connection"):
        await client.post("/posts", json=POST, headers={"x-sandbox-fault": kind})
    assert count_posts(sandbox) == before + made


async def test_html_is_a_page_with_status_200_and_no_effect(sandbox, client):
    """Like the sign-in page of a guest network."""
    before = count_posts(sandbox)
    answer = await client.post("/posts", json=POST, headers={"x-sandbox-fault": "html"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.text.startswith("<!doctype html>")
    assert count_posts(sandbox) == before


async def test_drip_sends_one_byte_at_a_time(sandbox):
    """The whole response arrives, one chunk per byte."""
    sent: list[bytes] = []
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/analytics/engagement-summary",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {sandbox.token}".encode()), (b"x-sandbox-fault", b"drip;seconds=0")],
    }
    forever = anyio.Event()

    async def receive() -> dict[str, object]:
        if sent and sent[-1] == b"}":
            await forever.wait()
        await anyio.lowlevel.checkpoint()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.body":
            sent.append(message["body"])

    await sandbox.app(scope, receive, send)
    assert {len(part) for part in sent} == {1}
    assert b"".join(sent).startswith(b'{"success":true,"summary":{"posts":')


async def test_drip_stops_when_the_client_leaves(sandbox):
    """An hour between bytes must not occupy a worker."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/posts",
        "query_string": b"",
        "headers": [(b"authorization", f"Bearer {sandbox.token}".encode()), (b"x-sandbox-fault", b"drip;seconds=3600")],
    }

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        pass

    with anyio.fail_after(5):
        await sandbox.app(scope, receive, send)


async def test_expired_presign_issues_a_url_that_storage_refuses(sandbox, client):
    """The API responds as usual; the PUT gets an expired URL, and the next one works."""
    faults.schedule_fault(sandbox.store, "expired-presign")
    body = {"filename": "a.png", "contentType": "image/png", "size": 3}
    await client.get("/posts")
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(sandbox.storage_app)) as storage:
        statuses: list[int] = []
        for _ in range(2):
            answer = (await client.post("/media/presign", json=body)).json()
            assert answer["success"] is True
            put = await storage.put(answer["uploadUrl"], content=b"abc", headers={"Content-Type": "image/png"})
            statuses.append(put.status_code)
    assert statuses == [403, 200]


async def test_expired_presign_does_not_change_a_refusal(client):
    """Without a URL there is nothing to expire."""
    answer = await client.post("/media/presign", json={}, headers={"x-sandbox-fault": "expired-presign"})
    assert (answer.status_code, answer.json()["success"]) == (400, False)


@pytest.mark.requirement("faults.transport")
async def test_server_drops_connections_if_it_can(sandbox):
    """No exception is raised; the request ends with the connection."""
    dropped: list[str] = []
    messages = iter(({"type": "http.request", "body": b"", "more_body": False}, {"type": "http.disconnect"}))
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/api/posts",
        "query_string": b"",
        "headers": [(b"x-sandbox-fault", b"reset-before")],
        "extensions": {ABORT: lambda: dropped.append("now")},
    }

    async def receive() -> dict[str, object]:
        return next(messages)

    async def send(message: dict[str, object]) -> None:
        raise AssertionError(message)

    await sandbox.app(scope, receive, send)
    assert dropped == ["now"]


@pytest.mark.requirement("faults.orders")
async def test_fault_hits_its_number_of_matching_requests(sandbox, client):
    """By method and path, the oldest first."""
    faults.schedule_fault(sandbox.store, "503", times=2, method="get", path="/posts")
    faults.schedule_fault(sandbox.store, "500", path="api/posts/")
    assert (await client.get("/integrations")).status_code == 200
    statuses = [(await client.get("/posts")).status_code for _ in range(4)]
    assert statuses == [503, 503, 500, 200]
    assert faults.list_faults(sandbox.store) == []


@pytest.mark.requirement("faults.orders")
async def test_fault_for_a_path_includes_paths_below_it(sandbox):
    """`/posts` covers `/posts/abc` but not `/postscript`."""
    faults.schedule_fault(sandbox.store, "500", path="/posts", times=9)
    assert faults.take_fault(sandbox.store, "GET", "/posts/abc") == Fault("500")
    assert faults.take_fault(sandbox.store, "GET", "/postscript") is None
    assert faults.take_fault(sandbox.store, "GET", "/posts_or_100%") is None


@pytest.mark.requirement("faults.orders")
async def test_faults_are_listed_and_cleared(sandbox):
    """With their conditions."""
    first = faults.schedule_fault(sandbox.store, "delay", seconds=1.5, times=3, method="POST", path="/posts")
    second = faults.schedule_fault(sandbox.store, "expired-presign")
    assert first == PendingFault(first.id, "delay", 3, 1.5, "POST", "/posts")
    assert second == PendingFault(second.id, "expired-presign", 1, 0.0, "POST", "/media/presign")
    assert faults.list_faults(sandbox.store) == [first, second]
    assert faults.clear_faults(sandbox.store) == 2
    assert faults.list_faults(sandbox.store) == []


@pytest.mark.requirement("faults.orders")
async def test_page_is_never_hit(sandbox, client):
    """It shows the effect of faults."""
    faults.schedule_fault(sandbox.store, "503")
    headers = {"Host": "localhost", "x-sandbox-fault": "500"}
    assert (await client.get(str(httpx2.URL(sandbox.api_url).join("/")), headers=headers)).status_code == 200
    assert [each.times for each in faults.list_faults(sandbox.store)] == [1]


@pytest.mark.requirement("faults.orders")
def test_many_processes_use_up_a_fault_exactly(sandbox):
    """Of twenty requests, a fault for seven hits seven."""
    faults.schedule_fault(sandbox.store, "500", times=7)
    hit: list[Fault] = []
    begin = threading.Barrier(5)

    def taker() -> None:
        with Sandbox(sandbox.folder, clock=ManualClock(NOW)) as other:
            begin.wait(5)
            hit.extend(found for _ in range(4) if (found := faults.take_fault(other.store, "GET", "/posts")))

    takers = [threading.Thread(target=taker) for _ in range(5)]
    for each in takers:
        each.start()
    for each in takers:
        each.join(30)
    assert len(hit) == 7


@pytest.mark.requirement("faults.orders")
def test_fault_used_up_by_another_process_hits_no_request(sandbox, monkeypatch):
    """The last one was taken between read and write."""
    faults.schedule_fault(sandbox.store, "500")
    writing = sandbox.store.writing

    def late() -> object:
        with writing() as db:
            db.execute("DELETE FROM faults")
        return writing()

    monkeypatch.setattr(sandbox.store, "writing", late)
    assert faults.take_fault(sandbox.store, "GET", "/posts") is None


@pytest.mark.requirement("faults.orders")
@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"kind": "flood"}, "Unknown fault: 'flood'. Known are delay, 429, 500, 503"),
        ({"kind": "500", "seconds": 3}, "The fault 500 takes no seconds; delay, 429, drip do."),
        ({"kind": "delay", "seconds": float("nan")}, "seconds must be a number from 0 to 3600."),
        ({"kind": "500", "times": 0}, "times must be from 1 to 1000000."),
        ({"kind": "500", "method": "PATCH"}, "method must be one of GET, POST, DELETE, HEAD."),
        ({"kind": "500", "path": "//"}, "path must be one below /api, for example /posts."),
    ],
)
def test_invalid_fault_is_refused_with_the_valid_form(sandbox, order, words):
    """Nothing is scheduled."""
    with pytest.raises(FaultProblem) as refusal:
        faults.schedule_fault(sandbox.store, **order)
    assert str(refusal.value).startswith(words)
    assert faults.list_faults(sandbox.store) == []


@pytest.mark.requirement("faults.header")
async def test_misspelled_header_is_refused(client):
    """Otherwise a test could pass because its fault never happened."""
    for value, words in (("flood", "Unknown fault: 'flood'"), ("delay;second=1", "knows the option seconds=NUMBER")):
        answer = await client.get("/posts", headers={"x-sandbox-fault": value})
        assert answer.status_code == 400
        assert words in answer.json()["message"]


@pytest.mark.requirement("faults.header")
async def test_header_is_ignored_unless_enabled():
    """Callers of a sandbox on a port can't break it."""
    with Sandbox(clock=ManualClock(NOW + timedelta(days=1))) as sandbox:
        headers = {"Authorization": f"Bearer {sandbox.token}", "x-sandbox-fault": "500"}
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(sandbox.app), headers=headers) as client:
            assert (await client.get(f"{sandbox.api_url}/posts")).status_code == 200


def test_every_kind_is_described():
    """Descriptions are for the command line and the documentation, and name the seconds of a kind."""
    assert {kind for kind, words in faults.KINDS.items() if "--seconds" in words} == set(faults.SECONDS)
