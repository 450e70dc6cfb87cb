"""Requests: sending, retries, rate limits and the queue, with scripted applications in this process and over real sockets."""

import asyncio
import gzip
import logging
from contextlib import aclosing
from datetime import UTC, datetime

import anyio
import pytest

from tests.support.fault_server import (
    FaultServer,
    drip_bytes,
    hang_connection,
    redirect_to,
    refuse_with_429,
    reset_connection,
    send_answer,
    send_bomb,
    send_bytes,
)
from ttp_mcp.api import (
    AccessRefused,
    BadAnswer,
    Forbidden,
    Limits,
    NoAnswer,
    NotAuthenticated,
    NotFound,
    NotReached,
    PostCreate,
    RateLimited,
    Redirected,
    ServerError,
    TokenMalformed,
    TokenMissing,
    ValidationFailed,
    connections,
)
from ttp_mcp.api import http as http_module
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import Clocks
from ttp_mcp.api.http import Http, Permissions, encode_body
from ttp_mcp.api.rate_limit import RateLimitGate, StillLimited
from ttp_mcp.credentials import Token

TEXT = "ttp_" + "0123456789ab" * 4
TOKEN = Token(TEXT)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
DRAFT = PostCreate(content="Hello", platforms=("twitter",))
POSTS = b'{"success": true, "posts": []}'


class FakeTime:
    """A clock that advances only by sleeping."""

    def __init__(self):
        self.at = 1000.0
        self.slept = []

    def monotonic(self):
        return self.at

    async def sleep(self, seconds):
        until = self.at + seconds
        self.slept.append(round(seconds, 6))
        await anyio.lowlevel.checkpoint()
        self.at = max(self.at, until)


class Script:
    """An application whose n-th entry is the response to the n-th request; the last one is repeated."""

    def __init__(self, *answers, time=None):
        self.answers = answers
        self.times = []
        self.time = time

    async def __call__(self, scope, receive, send):
        self.times.append(self.time.at if self.time else 0)
        status, headers, body = self.answers[min(len(self.times), len(self.answers)) - 1]
        pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})


class LimitedUntil:
    """An application that responds with 429 until an instant."""

    def __init__(self, time, until, retry_after):
        self.time, self.until, self.retry_after = time, until, retry_after
        self.times = []

    async def __call__(self, scope, receive, send):
        self.times.append(self.time.at)
        refused = (429, {"retry-after": self.retry_after}, b"{}")
        await Script(refused if self.time.at < self.until else OK)(scope, receive, send)


def make_client(app=None, base_url="http://api.localhost/api", time=None, **more):
    time = time or FakeTime()
    return ApiClient(
        Http(
            base_url=base_url,
            token=more.pop("token", TOKEN),
            app=app,
            **more,
            clocks=Clocks(monotonic=time.monotonic, sleep=time.sleep, jitter=lambda: 1.0, now=lambda: NOW),
        )
    )


def make_socket_client(server, **limits):
    """Create a client of a fault server in real time, without waits between attempts."""
    bounds = {"read_seconds": 20.0, "total_seconds": 20.0, **limits}
    return ApiClient(
        Http(base_url=f"{server.url}/api", token=TOKEN, limits=Limits(**bounds), clocks=Clocks(jitter=lambda: 0.0))
    )


OK = (200, {}, POSTS)
FAILED = (503, {}, b"{}")


@pytest.mark.requirement("api.repeats")
def test_requests_have_default_limits():
    limits = Limits()
    assert (limits.connect_seconds, limits.read_seconds, limits.write_seconds) == (5, 15, 30)
    assert (limits.total_seconds, limits.connections) == (30, 16)
    assert (limits.list_bytes, limits.answer_bytes) == (8 * 1024**2, 1024**2)


@pytest.mark.requirement("api.repeats")
async def test_read_is_tried_three_times_with_full_jitter():
    """Full jitter makes the waits 0.5 s and 1 s."""
    time = FakeTime()
    app = Script(FAILED, FAILED, OK)
    assert await make_client(app, time=time).posts.list() == []
    assert time.slept == [0.5, 1.0]
    app = Script(FAILED)
    with pytest.raises(ServerError):
        await make_client(app).posts.list()
    assert len(app.times) == 3


@pytest.mark.requirement("api.repeats")
async def test_write_that_may_have_arrived_is_sent_once():
    """A 503 can come after the commit."""
    app = Script(FAILED)
    with pytest.raises(ServerError) as caught:
        await make_client(app).posts.create(DRAFT)
    assert (len(app.times), caught.value.may_have_happened) == (1, True)


@pytest.mark.requirement("api.repeats")
async def test_retries_end_at_the_deadline():
    """A retry that would miss the deadline isn't waited for, and doesn't use the budget."""
    time = FakeTime()
    app = Script(FAILED)
    with pytest.raises(ServerError):
        await make_client(app, time=time, limits=Limits(total_seconds=1.2)).posts.list()
    assert (len(app.times), time.slept) == (2, [0.5])
    time, app = FakeTime(), Script(FAILED)
    with pytest.raises(ServerError):
        await make_client(app, time=time, limits=Limits(total_seconds=0.5)).posts.list()
    assert (len(app.times), time.slept) == (1, [])


@pytest.mark.requirement("api.repeats")
async def test_outage_is_not_amplified():
    """At most three retries a minute, or a tenth of the calls."""
    for before, retries in ((0, 3), (25, 3), (90, 10)):
        app = Script(*[OK] * before, FAILED)
        api = make_client(app)
        for _ in range(before):
            await api.posts.list()
        for _ in range(10):
            with pytest.raises(ServerError):
                await api.posts.list()
        assert len(app.times) == before + 10 + retries


@pytest.mark.requirement("api.hold")
async def test_rate_limit_holds_all_calls_until_a_probe_succeeds():
    """No call is sent within 2 s; then one goes first, and the others wait for its response."""
    time = FakeTime()
    app = LimitedUntil(time, 1002.0, "2")
    api = make_client(app, time=time)
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(api.posts.list)
    assert set(app.times) == {1000.0, 1002.0}
    assert app.times.count(1002.0) == 20
    assert set(time.slept) == {2.0}


@pytest.mark.requirement("api.hold")
async def test_implausible_wait_holds_for_an_hour():
    """A `Retry-After` in the year 2058 must not stop a server for good."""
    time = FakeTime()
    app = Script((429, {"retry-after": "1000000000"}, b"{}"), OK)
    api = make_client(app, time=time, limits=Limits(total_seconds=100.0))
    with pytest.raises(RateLimited):
        await api.posts.list()
    time.at += 3601
    assert await api.posts.list() == []


@pytest.mark.requirement("api.hold")
@pytest.mark.parametrize(("header", "reported"), [("31", 31.0), ("1000000000", 1e9)])
async def test_long_wait_is_reported_at_once(header, reported):
    """Until then no other call is sent either."""
    time = FakeTime()
    app = Script((429, {"retry-after": header}, b'{"message": "Slow down."}'), OK)
    api = make_client(app, time=time, limits=Limits(total_seconds=100.0))
    with pytest.raises(RateLimited) as caught:
        await api.posts.create(DRAFT)
    assert (caught.value.retry_after_seconds, caught.value.message, time.slept) == (reported, "Slow down.", [])
    with pytest.raises(RateLimited) as held:
        await api.posts.list()
    assert held.value.retry_after_seconds == min(reported, 3600.0)
    assert (held.value.method, held.value.path, held.value.status) == ("GET", "/posts", 429)
    assert len(app.times) == 1
    time.at += 3600
    assert await api.posts.list() == []


@pytest.mark.requirement("api.hold")
@pytest.mark.parametrize(
    ("headers", "slept"),
    [
        ({}, 1.0),
        ({"retry-after": "soon"}, 1.0),
        ({"retry-after": "0.3"}, 0.3),
        ({"retry-after": "0"}, 0.25),
        ({"retry-after": "Tue, 24 Nov 2026 11:59:00 GMT"}, 0.25),
    ],
)
async def test_rate_limit_without_a_usable_time_waits_a_second(headers, slept):
    """A past date waits a quarter of a second. A write is retried too, since a 429 means that it wasn't done."""
    time = FakeTime()
    app = Script((429, headers, b"{}"), (201, {}, b'{"post": {"id": "p1"}}'))
    assert (await make_client(app, time=time).posts.create(DRAFT)).id == "p1"
    assert time.slept == [slept]


@pytest.mark.requirement("api.hold")
async def test_rate_limits_with_retry_after_zero_cause_four_requests_a_second():
    """A hundred calls send a hundred requests; after that only one probes after each hold."""
    time = FakeTime()
    limited = LimitedUntil(time, 1000.5, "0")

    async def app(*call):
        # All requests are in flight before the first is refused.
        await anyio.lowlevel.checkpoint()
        await limited(*call)

    api = make_client(app, time=time, limits=Limits(connections=100))
    answers = []

    async def call():
        answers.append(await api.posts.list())

    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(call)
    assert answers == [[]] * 100
    assert {at: limited.times.count(at) for at in limited.times} == {1000.0: 100, 1000.25: 1, 1000.5: 100}


@pytest.mark.requirement("api.hold")
async def test_wait_of_30_seconds_is_reported_as_the_api_sent_it():
    """It isn't waited for."""
    time = FakeTime()
    app = Script((429, {"retry-after": "30", "x-request-id": "r1"}, b'{"message": "Slow down."}'))
    with pytest.raises(RateLimited) as caught:
        await make_client(app, time=time, limits=Limits(total_seconds=100.0)).posts.list()
    assert (caught.value.retry_after_seconds, caught.value.request_id, caught.value.message) == (30, "r1", "Slow down.")
    assert (len(app.times), time.slept) == (1, [])


@pytest.mark.requirement("api.hold")
async def test_second_rate_limit_extends_the_hold():
    """The probe is refused again, so no other call is sent."""
    time = FakeTime()
    app = LimitedUntil(time, 1002.0, "1")
    api = make_client(app, time=time)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(api.posts.list)
    assert (app.times.count(1001.0), app.times.count(1002.0)) == (1, 5)


@pytest.mark.requirement("api.hold")
@pytest.mark.parametrize(
    ("hold", "patience", "waits"), [(30.0, 100.0, False), (29.9, 100.0, True), (10.0, 10.0, False), (10.0, 10.1, True)]
)
async def test_call_waits_up_to_30_seconds_for_the_gate(hold, patience, waits):
    """A longer wait, or one beyond the deadline, is reported at once. A later, shorter rate limit changes nothing."""
    time = FakeTime()
    gate = RateLimitGate(Clocks(monotonic=time.monotonic, sleep=time.sleep), 1)
    gate.close(hold)
    gate.close(1.0)
    assert gate.seconds_left() == pytest.approx(hold)
    if waits:
        await gate.wait(time.at + patience)
    else:
        with pytest.raises(StillLimited):
            await gate.wait(time.at + patience)
    assert time.slept == ([hold] if waits else [])


@pytest.mark.requirement("api.hold")
async def test_call_in_the_queue_waits_after_a_rate_limit():
    """A call in the queue for the only connection isn't sent when the first call is refused."""
    time = FakeTime()
    script, sent = Script((429, {"retry-after": "2"}, b"{}"), OK, time=time), []

    async def slow_app(scope, receive, send):
        sent.append(time.at)
        # The other calls reach the queue while the first one waits for its response.
        for _ in range(20):
            await anyio.lowlevel.checkpoint()
        await script(scope, receive, send)

    api = make_client(slow_app, time=time, limits=Limits(connections=1))
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(api.posts.list)
    assert sent == [1000.0, 1002.0, 1002.0, 1002.0]


@pytest.mark.requirement("api.queue")
async def test_more_calls_than_connections_all_get_responses():
    """At most two at once."""
    busy, most = 0, 0

    async def app(scope, receive, send):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await anyio.lowlevel.checkpoint()
        busy -= 1
        await Script(OK)(scope, receive, send)

    api = make_client(app, limits=Limits(connections=2))
    async with anyio.create_task_group() as tasks:
        for _ in range(50):
            tasks.start_soon(api.posts.list)
    assert (busy, most) == (0, 2)


@pytest.mark.requirement("api.queue")
async def test_write_that_times_out_in_the_queue_was_not_sent():
    """It never had a connection, so retrying is safe."""
    app = Script(OK)
    api = make_client(app, limits=Limits(connections=1, total_seconds=0.05))
    async with api._http._gate._connections:
        with pytest.raises(NotReached) as caught:
            await api.posts.create(DRAFT)
    assert caught.value.may_have_happened is False
    assert app.times == []


@pytest.mark.requirement("api.queue")
async def test_cancelled_call_releases_its_connection():
    """The server sees the connection close, and the next call gets the only slot."""
    async with FaultServer(hang_connection("body"), send_answer({"posts": []})) as server:
        api = make_socket_client(server, connections=1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(api.posts.list)
            while not server.requests:
                await anyio.sleep(0)
            tasks.cancel_scope.cancel()
        assert await api.posts.list() == []
        await api.aclose()
        while server.open_connections:
            await anyio.sleep(0)


@pytest.mark.requirement("api.repeats")
async def test_total_time_limits_a_slow_response():
    """One byte every hundredth of a second never exceeds the limit on a single read."""
    async with FaultServer(drip_bytes(0.01)) as server:
        api = make_socket_client(server, total_seconds=0.3)
        with pytest.raises(NoAnswer) as caught:
            await api.posts.list()
        await api.aclose()
    assert (caught.value.after_seconds, server.connections) == (0.3, 1)


@pytest.mark.requirement("api.refusals")
async def test_status_of_a_refusal_decides_even_if_its_body_is_unreadable(monkeypatch):
    """A 401 whose body is cut off, compressed, huge or endless is a 401."""
    monkeypatch.setattr(http_module, "REFUSAL_SECONDS", 0.05)

    async def endless(exchange):
        await exchange.read()
        await exchange.send(b"HTTP/1.1 401 No\r\nContent-Type: application/json\r\n\r\n{")
        while True:
            await exchange.send(b" ")
            await anyio.sleep(0.001)

    cut = send_bytes(b"HTTP/1.1 401 No\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
    big = send_answer(b'"' + b"a" * 100_000 + b'"', status=401)
    for fault in (cut, big, send_bomb(1, status=401), endless):
        async with FaultServer(fault) as server:
            api = make_socket_client(server, total_seconds=3600.0)
            with pytest.raises(NotAuthenticated) as caught:
                await api.posts.create(DRAFT)
            await api.aclose()
        assert (caught.value.status, caught.value.message) == (401, None)


def refuse_without_body(status):
    """A refusal whose body never arrives."""

    async def fault(exchange):
        await exchange.read()
        await exchange.send(
            f"HTTP/1.1 {status} No\r\nContent-Type: application/json\r\nRetry-After: 60\r\nContent-Length: 9\r\n\r\n".encode()
        )
        await anyio.sleep_forever()

    return fault


@pytest.mark.requirement("api.refusals")
@pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (401, NotAuthenticated), (422, ValidationFailed)])
async def test_refusal_whose_body_misses_the_deadline_keeps_its_status(status, error):
    """The write was refused, so it can't have happened."""
    async with FaultServer(refuse_without_body(status)) as server:
        api = make_socket_client(server, total_seconds=0.3)
        with pytest.raises(error) as caught:
            await api.posts.create(DRAFT)
        await api.aclose()
    assert (caught.value.status, caught.value.message, caught.value.may_have_happened) == (status, None, False)


@pytest.mark.requirement("api.hold")
async def test_rate_limit_holds_before_its_message_arrives_and_after_the_call_is_cancelled(monkeypatch):
    """No other call is sent during the hold, and its error has the remaining seconds."""
    monkeypatch.setattr(http_module, "REFUSAL_SECONDS", 20.0)
    async with FaultServer(refuse_without_body(429)) as server:
        api = make_socket_client(server)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(api.posts.list)
            with anyio.fail_after(5):
                while not api._http._gate.is_closed:
                    await anyio.sleep(0)
            with pytest.raises(RateLimited) as caught:
                await api.posts.list()
            tasks.cancel_scope.cancel()
        with pytest.raises(RateLimited):
            await api.posts.list()
        await api.aclose()
    assert len(server.requests) == 1
    assert 0 < caught.value.retry_after_seconds <= 60


@pytest.mark.requirement("api.answers")
async def test_oversized_response_is_not_read_to_its_end():
    """Lists have a larger limit."""
    body = b'{"posts": [], "post": {"id": "p"}, "x": "' + b"a" * 100 + b'"}'
    api = make_client(Script((200, {}, body)), limits=Limits(list_bytes=1000, answer_bytes=100))
    assert await api.posts.list() == []
    with pytest.raises(BadAnswer) as caught:
        await api.posts.create(DRAFT)
    error = caught.value
    assert (error.reason, error.status, error.may_have_happened) == ("too_large", 200, True)
    assert await make_client(Script(OK), limits=Limits(list_bytes=len(POSTS))).posts.list() == []
    with pytest.raises(BadAnswer):
        await make_client(Script(OK), limits=Limits(list_bytes=len(POSTS) - 1)).posts.list()


@pytest.mark.requirement("api.answers")
async def test_response_in_pieces_or_compressed_is_read():
    """It didn't ask for compression, but a proxy may compress nevertheless. Without a length the end of the connection counts."""
    head = b"HTTP/1.1 200 OK\r\n"
    pieces = send_bytes(head + b'Transfer-Encoding: chunked\r\n\r\na\r\n{"posts": \r\n3\r\n[]}\r\n0\r\n\r\n')
    packed = gzip.compress(POSTS)
    small = send_bytes(head + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed))
    for fault in (pieces, small, send_bytes(head + b"\r\n" + POSTS)):
        async with FaultServer(fault) as server:
            api = make_socket_client(server)
            assert await api.posts.list() == []
            await api.aclose()


@pytest.mark.requirement("api.queue")
async def test_deadline_while_a_connection_is_closed_leaves_nothing_behind(monkeypatch):
    """The rest of a response isn't read, so its connection is closed; the deadline expires at that moment."""

    async def too_large(self, response, _):
        loop = asyncio.get_running_loop()
        now = loop.time
        async with aclosing(aiter(response.body)) as stream:
            await anext(stream)
            patch.setattr(loop, "time", lambda: now() + 100.0)
            # The event loop checks the time after this step, so the deadline expires at the first step of closing.
            await asyncio.sleep(0)

    async with FaultServer(send_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[")) as server:
        api = make_socket_client(server)
        with monkeypatch.context() as patch:
            patch.setattr(http_module.Http, "_read_body", too_large)
            with pytest.raises((NoAnswer, BadAnswer)):
                await api.posts.list()
        assert (api._http._transport._busy, api._http._transport._idle) == (set(), [])
        await api.aclose()


@pytest.mark.requirement("api.token")
async def test_redirect_is_never_followed():
    """The other listener gets neither the token nor the request."""
    async with FaultServer(send_answer({"posts": []})) as other:
        for status in (300, 301, 302, 303, 307, 308):
            async with FaultServer(redirect_to(f"{other.url}/posts?a=b", status)) as server:
                api = make_socket_client(server)
                for call in (api.posts.list, lambda api=api: api.posts.create(DRAFT)):
                    with pytest.raises(Redirected) as caught:
                        await call()
                    assert (caught.value.status, caught.value.target_host) == (status, "127.0.0.1")
                await api.aclose()
            assert server.connections == 2
    assert other.connections == 0


@pytest.mark.requirement("api.token")
@pytest.mark.parametrize("base", ["", "/api"])
@pytest.mark.parametrize("path", ["//{}/x", "@{}/x", ":80@{}/x", "/..//{}/x", "/http://{}/x", "http://{}/x", ".{}"])
async def test_no_path_leads_to_another_host(base, path):
    """A transport connects to one origin, whatever the path."""
    async with FaultServer(send_answer({"posts": []})) as other, FaultServer(send_answer({"posts": []})) as server:
        http = Http(base_url=server.url + base, token=TOKEN, clocks=Clocks(jitter=lambda: 0.0))
        await http.request("GET", path.format(other.url.removeprefix("http://")), "/posts", need="read")
        await http.aclose()
        assert (len(server.requests), other.connections) == (1, 0)


@pytest.mark.requirement("api.token")
async def test_token_is_never_in_a_log_repr_or_error(caplog):
    """Log at DEBUG, with the HTTP client's own loggers, over real sockets, and let everything fail too."""
    caplog.set_level(logging.DEBUG)
    async with FaultServer(
        send_answer({"posts": []}), reset_connection("after"), send_bytes(b"junk\r\n\r\n"), send_answer(status=500)
    ) as server:
        api = make_socket_client(server)
        shown = [repr(api), repr(vars(api)), repr(api.token), repr(api._http._headers)]
        await api.posts.list()
        for _ in range(3):
            with pytest.raises((NoAnswer, ServerError)) as caught:
                await api.posts.create(DRAFT)
            shown += [repr(caught.value), str(caught.value), repr(vars(caught.value))]
        await api.aclose()
    assert len(caplog.records) > 20
    shown += [record.getMessage() for record in caplog.records]
    pieces = {TEXT[start : start + 12] for start in range(len(TEXT) - 11)}
    assert [text for text in shown if any(piece in text for piece in pieces)] == []
    assert all(request.headers["authorization"] == "[present]" for request in server.requests)


@pytest.mark.requirement("api.token")
async def test_cookies_of_the_api_are_not_kept():
    """A website session must not replace the token."""
    async with FaultServer(send_answer({"posts": []}, headers={"Set-Cookie": "session=1"})) as server:
        api = make_socket_client(server)
        await api.posts.list()
        await api.posts.list()
        await api.aclose()
    assert [request.headers.get("cookie") for request in server.requests] == [None, None]


@pytest.mark.requirement("api.token")
async def test_proxy_of_the_environment_is_not_used_for_this_machine(monkeypatch):
    """The proxy would see the token in clear text."""
    async with FaultServer(send_answer({"posts": []})) as proxy, FaultServer(send_answer({"posts": []})) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        api = make_socket_client(server)
        await api.posts.list()
        await api.aclose()
    assert (proxy.connections, server.connections) == (0, 1)
    assert "content-length" not in server.requests[0].headers


@pytest.mark.requirement("api.token")
async def test_nothing_is_sent_without_a_usable_token_or_permission():
    """Each reason has its error; with a token and full access the same calls are sent."""
    app = Script((200, {}, b'{"post": {"id": "p1"}}'))
    with pytest.raises(TokenMissing) as missing:
        await make_client(app, token=None).posts.get("p1")
    with pytest.raises(TokenMalformed) as caught:
        await make_client(app, token=None, token_problem="it must begin with ttp_.").posts.get("p1")
    assert caught.value.problem == "it must begin with ttp_."
    for error in (missing.value, caught.value):
        assert (error.method, error.path) == ("GET", "/posts/{id}")
    scheduled = PostCreate(content="a", platforms=("twitter",), scheduled_at=NOW)
    for access, refused in (("read", [DRAFT, scheduled]), ("draft", [scheduled])):
        api = make_client(app, permissions=Permissions(access=access))
        for post in refused:
            with pytest.raises(AccessRefused):
                await api.posts.create(post)
        with pytest.raises(AccessRefused) as refusal:
            await api.posts.delete("p1")
        error = refusal.value
        assert (error.method, error.path, error.setting) == ("DELETE", "/posts/{id}", "TTP_ACCESS")
    assert app.times == []
    for access in ("read", "draft"):
        assert (await make_client(app, permissions=Permissions(access=access)).posts.get("p1")).id == "p1"
    api = make_client(app, permissions=Permissions(access="full"))
    for post in (DRAFT, scheduled):
        assert (await api.posts.create(post)).id == "p1"
    await api.posts.delete("p1")
    await make_client(app, permissions=Permissions(access="draft")).posts.create(DRAFT)
    assert len(app.times) == 6


@pytest.mark.requirement("api.token")
async def test_only_endpoints_of_offered_tools_are_requested():
    """An endpoint is a method and the first segment of a path."""
    app = Script((200, {}, b'{"posts": [], "post": {"id": "p1"}}'))
    api = make_client(app, permissions=Permissions(endpoints=frozenset({"GET /posts", "DELETE /posts"})))
    assert await api.posts.list() == []
    assert (await api.posts.get("p1")).id == "p1"
    await api.posts.delete("p1")
    for call, endpoint in (
        (lambda: api.posts.create(DRAFT), ("POST", "/posts")),
        (lambda: api.posts.publish("p1"), ("POST", "/posts/{id}/publish")),
        (api.integrations.list, ("GET", "/integrations")),
    ):
        with pytest.raises(AccessRefused) as caught:
            await call()
        assert (caught.value.method, caught.value.path, caught.value.setting) == (*endpoint, "TTP_TOOLSETS")
    assert len(app.times) == 3


@pytest.mark.requirement("api.connections")
async def test_client_that_sent_nothing_can_be_closed():
    """And used afterwards."""
    async with FaultServer(send_answer({"posts": []})) as server:
        api = make_socket_client(server)
        for _ in range(2):
            await api.aclose()
            assert await api.posts.list() == []
        await api.aclose()
    assert server.connections == 2


@pytest.mark.requirement("api.token")
async def test_path_of_the_base_url_is_before_each_path():
    """With or without slashes at its end."""
    for base, path in (
        ("", "/posts"),
        ("/", "/posts"),
        ("/api//", "/api/posts"),
        ("/X/", "/X/posts"),
        ("/X", "/X/posts"),
    ):
        async with FaultServer(send_answer({"posts": []})) as server:
            http = Http(base_url=server.url + base, token=TOKEN)
            await ApiClient(http).posts.list()
            await http.aclose()
        assert http.base_url == server.url + base.rstrip("/")
        assert [request.path for request in server.requests] == [path]


@pytest.mark.requirement("api.endpoints")
def test_body_is_compact_json_in_utf8():
    """What JSON can't express is refused before anything is sent."""
    assert encode_body({"content": "é 🚀", "thread": ["a", 1.5]}) == '{"content":"é 🚀","thread":["a",1.5]}'.encode()
    for value in (float("nan"), float("inf"), "\ud800"):
        with pytest.raises(ValueError):
            encode_body({"content": value})


@pytest.mark.requirement("api.answers")
async def test_message_of_a_refusal_may_have_64_kib():
    """The status decides, so a longer message isn't read."""
    for size, is_read in ((64 * 1024, True), (64 * 1024 + 1, False)):
        body = b'{"message": "No such post."}'.ljust(size)
        with pytest.raises(NotFound) as caught:
            await make_client(Script((404, {"content-type": "application/json"}, body))).posts.get("p1")
        assert caught.value.message == ("No such post." if is_read else None)


@pytest.mark.requirement("api.answers")
async def test_create_without_a_usable_response_is_sent_once():
    """It may have happened. The error has the status, if there was one, and the limit that ran out."""
    async with FaultServer(send_bytes(b'HTTP/1.1 201 X\r\nContent-Length: 100\r\n\r\n{"post": {"id"')) as server:
        api = make_socket_client(server)
        with pytest.raises(BadAnswer) as caught:
            await api.posts.create(DRAFT)
        await api.aclose()
    error = caught.value
    assert (error.reason, error.status, error.may_have_happened, len(server.requests)) == ("truncated", 201, True, 1)
    async with FaultServer(hang_connection("request")) as server:
        api = make_socket_client(server, read_seconds=0.05)
        with pytest.raises(NoAnswer) as silent:
            await api.posts.create(DRAFT)
        await api.aclose()
    assert (silent.value.after_seconds, silent.value.may_have_happened, len(server.requests)) == (0.05, True, 1)
    for headers, body, reason in (
        ({}, b"<html>", "html"),
        ({"content-type": "text/html"}, b"Sorry", "html"),
        ({}, b"Sorry", "json"),
    ):
        with pytest.raises(BadAnswer) as caught:
            await make_client(Script((201, headers, body))).posts.create(DRAFT)
        assert (caught.value.reason, caught.value.status, caught.value.may_have_happened) == (reason, 201, True)


@pytest.mark.requirement("api.answers")
async def test_application_in_this_process_that_fails_gives_no_answer():
    """A disk may be full. A write may have happened, and a read is tried again."""
    calls = []

    async def app(scope, receive, send):
        calls.append(scope["method"])
        raise OSError

    api = make_client(app)
    for call, may_have_happened in ((api.posts.list, False), (lambda: api.posts.create(DRAFT), True)):
        with pytest.raises(NoAnswer) as caught:
            await call()
        assert caught.value.may_have_happened is may_have_happened
    assert calls == ["GET", "GET", "GET", "POST"]


@pytest.mark.requirement("api.repeats")
async def test_error_names_its_request():
    """Method, template of the path, and the API's id of the request."""
    app = Script((404, {"x-request-id": "r1", "content-type": "application/json"}, b'{"message": "No such post."}'))
    with pytest.raises(NotFound) as caught:
        await make_client(app).posts.delete("p1")
    error = caught.value
    assert (error.method, error.path, error.status, error.request_id) == ("DELETE", "/posts/{id}", 404, "r1")


@pytest.mark.requirement("api.repeats")
async def test_write_that_was_not_sent_is_tried_twice(monkeypatch):
    """The port is closed: a read is attempted three times, a write twice."""
    async with FaultServer() as server:
        pass
    attempts = []
    send = connections.ConnectionPool.open

    def counted(self, request):
        attempts.append(request.method)
        return send(self, request)

    monkeypatch.setattr(connections.ConnectionPool, "open", counted)
    api = make_socket_client(server)
    for call in (api.posts.list, lambda: api.posts.create(DRAFT)):
        with pytest.raises(NotReached) as caught:
            await call()
        assert caught.value.may_have_happened is False
    assert (api._http._transport._busy, api._http._transport._idle) == (set(), [])
    await api.aclose()
    assert attempts == ["GET"] * 3 + ["POST"] * 2


@pytest.mark.requirement("api.repeats")
async def test_https_to_a_server_without_tls_was_not_sent():
    """Nothing is sent before the certificate is verified."""
    async with FaultServer(send_bytes(b"")) as server:
        api = ApiClient(
            Http(
                base_url=server.url.replace("http:", "HTTPS:"),
                token=TOKEN,
                limits=Limits(connect_seconds=0.3, total_seconds=3600.0),
                clocks=Clocks(jitter=lambda: 0.0),
            )
        )
        with pytest.raises(NotReached) as caught:
            await api.posts.create(DRAFT)
        await api.aclose()
    assert (caught.value.reason, server.requests) == ("timeout", [])


@pytest.mark.requirement("api.hold")
async def test_rate_limit_over_sockets():
    """Like in this process, with the shortest wait."""
    async with FaultServer(refuse_with_429(retry_after="0"), send_answer({"posts": []})) as server:
        api = make_socket_client(server)
        assert await api.posts.list() == []
        await api.aclose()


@pytest.mark.requirement("api.clock")
async def test_clock_learns_from_every_response():
    """Refusals have a Date too."""
    headers = {"date": "Tue, 24 Nov 2026 13:00:00 GMT"}
    api = make_client(Script((403, headers, b"{}")))
    with pytest.raises(Forbidden):
        await api.posts.list()
    assert api.clock.skew_seconds == 3600
    assert api.clock.now() == NOW.replace(hour=13)
    assert api.base_url == "http://api.localhost/api"


@pytest.mark.requirement("api.endpoints")
@pytest.mark.parametrize("post_id", ["", "a" * 513, "\ud800"])
async def test_impossible_id_is_not_found_without_a_request(post_id):
    """With an empty id, `DELETE /posts/` would be another endpoint."""
    app = Script((200, {}, b'{"post": {"id": "p1"}}'))
    assert (await make_client(app).posts.get("a" * 512)).id == "p1"
    for call in (make_client(app).posts.get, make_client(app).posts.delete):
        with pytest.raises(NotFound) as caught:
            await call(post_id)
        assert caught.value.status is None
    assert len(app.times) == 1
