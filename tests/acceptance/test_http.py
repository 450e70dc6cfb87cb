"""Rows A3 (bodies), A10 and A11: large bodies, foreign Hosts and Origins, and many users at once.

Each prints its counts, and each has a companion that removes the guard and must then find what the guard prevents.
"""

import asyncio
import os
import random
from collections import Counter
from dataclasses import replace

import anyio
import httpx2
import pytest

from tests.acceptance.web import FULL, MIB, make_tool_call, start_server
from tests.processes import make_environment as inherited
from tests.transports.http.conftest import make_request
from tests.transports.http.upstream import Upstream, make_mark, make_token
from ttp_mcp.config import Settings
from ttp_mcp.transports.http.app import HttpService
from ttp_mcp.transports.http.options import Options

pytestmark = pytest.mark.acceptance

SEED = int(os.environ.get("TTP_SEED", "20261124"))
PORT = 8000
BODY = b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{}}'


@pytest.fixture
def settings(tmp_path):
    """The defaults with its own state folder."""
    from zoneinfo import ZoneInfo

    return Settings(zone=ZoneInfo("Europe/Paris"), state_dir=tmp_path / "state")


@pytest.mark.requirement("acceptance.a3-http")
async def test_bodies_of_5_mib_are_refused_in_bounded_memory(tmp_path):
    headers = {"content-type": "application/json", "mcp-protocol-version": "2026-07-28"}

    async def chunks():
        for _ in range(5):
            yield b" " * MIB

    async with start_server(tmp_path, "--sandbox") as running, httpx2.AsyncClient(timeout=30) as http:
        before = await http.post(running.url, **make_tool_call("list_integrations"))
        start = running.rss
        statuses = Counter()
        for round_ in range(10):
            content = chunks() if round_ % 2 else b" " * (5 * MIB)
            statuses[(await http.post(running.url, content=content, headers=headers)).status_code] += 1
        growth = running.rss - start
        after = await http.post(running.url, **make_tool_call("list_integrations"))
    print(f"A3 http: {dict(statuses)}, growth {growth / MIB:.1f} MiB")  # noqa: T201
    assert statuses == {413: 10}
    assert growth < 32 * MIB
    assert (before.status_code, after.status_code) == (200, 200)


@pytest.mark.requirement("acceptance.a3-http")
async def test_a3_fails_without_the_body_limit(settings):
    service = HttpService(settings, Options("http", port=PORT), Upstream(), port=PORT, body_bytes=64 * MIB)
    async with service.running(), _open_client(service.app) as http:
        response = await http.post(
            "/mcp", content=b" " * (5 * MIB), headers={"content-type": "application/json", "accept": "application/json"}
        )
    await service.aclose()
    assert response.status_code != 413


def _make_host(text):
    return [(b"host", text)]


def _make_origin(text):
    return [(b"host", b"localhost:8000"), (b"origin", text)]


FOREIGN = [
    *(
        _make_host(host)
        for host in (
            b"evil.example",
            b"evil.example:8000",
            b"localhost",
            b"localhost:9",
            b"localhost:1@evil",
            b"localhost:9.evil",
            b"localhost:8000.evil.example",
            b"localhost:8000@evil.example",
            b"localhost.evil.example:8000",
            b"evil-localhost:8000",
            b"127.0.0.1.nip.example:8000",
            b"127.1:8000",
            b"0x7f000001:8000",
            b"0.0.0.0:8000",
            b"[::]:8000",
            b"[::1]evil:8000",
            b"localhost:",
            b"localhost:8000,evil.example",
        )
    ),
    *(
        _make_origin(given)
        for given in (
            b"null",
            b"http://evil.example",
            b"http://localhost:1@evil",
            b"http://localhost:9.evil",
            b"http://localhost:8000.evil.example",
            b"http://localhost:8000@evil.example",
            b"https://localhost:8000",
            b"http://localhost",
            b"http://localhost:8000/",
            b"http://localhost:8000 http://evil.example",
            b"file://",
            b"",
        )
    ),
    [(b"host", b"localhost:8000"), (b"host", b"evil.example")],
    [(b"host", b"evil.example"), (b"host", b"localhost:8000")],
    [*_make_origin(b"http://localhost:8000"), (b"origin", b"http://evil.example")],
    [],
]
KNOWN = [
    _make_host(b"localhost:8000"),
    _make_host(b"127.0.0.1:8000"),
    _make_host(b"[::1]:8000"),
    _make_origin(b"http://localhost:8000"),
]


async def _read_statuses(app, combinations):
    """Return the status of a `ping` with each set of headers."""
    found = Counter()
    for headers in combinations:
        sent = []

        async def receive():
            return {"type": "http.request", "body": BODY, "more_body": False}

        async def send(message, sent=sent):
            sent.append(message)

        usual = [(b"content-type", b"application/json"), (b"accept", b"application/json, text/event-stream")]
        await app(_make_scope([*headers, *usual]), receive, send)
        found[sent[0]["status"]] += 1
    return found


def _make_scope(headers):
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/mcp",
        "raw_path": b"/mcp",
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", PORT),
    }


@pytest.mark.requirement("acceptance.a10")
async def test_only_known_hosts_and_origins_are_served(settings):
    service = HttpService(settings, Options("http", port=PORT), Upstream(), port=PORT)
    async with service.running():
        foreign, known = await _read_statuses(service.app, FOREIGN), await _read_statuses(service.app, KNOWN)
    await service.aclose()
    print(f"A10: {len(FOREIGN)} foreign {dict(foreign)}, {len(KNOWN)} known {dict(known)}")  # noqa: T201
    assert set(foreign) <= {400, 403, 421}
    assert sum(foreign.values()) == len(FOREIGN) >= 30
    assert known == {200: len(KNOWN)}


@pytest.mark.requirement("acceptance.a10")
async def test_a10_fails_without_the_guard(settings):
    service = HttpService(settings, Options("http", port=PORT), Upstream(), port=PORT)
    async with service.running():
        foreign = await _read_statuses(service.health, FOREIGN)
    await service.aclose()
    assert foreign == {200: len(FOREIGN)}


@pytest.mark.requirement("acceptance.a10")
@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
async def test_public_server_does_not_start_without_authentication(tmp_path, host):
    from tests.acceptance.web import PROGRAM

    process = await asyncio.create_subprocess_exec(
        str(PROGRAM),
        *("--transport", "http", "--port", "0", "--host", host, "--sandbox"),
        stderr=asyncio.subprocess.PIPE,
        env=inherited(TTP_STATE_DIR=str(tmp_path), TTP_ALLOWED_HOSTS="mcp.example.com"),
    )
    with anyio.fail_after(60):
        _, stderr = await process.communicate()
    assert process.returncode == 2
    assert b"TTP_SERVER_KEY" in stderr


class Tally(Counter):
    """Outcomes of all users' calls."""

    def judge(self, number, everybody, response):
        """Count an answer by whose items are in it."""
        marks = {mark for mark in everybody if mark in response.text}
        self["calls"] += 1
        self["of others"] += bool(marks - {make_mark(make_token(number))})
        self["own"] += marks == {make_mark(make_token(number))}


async def _run_users(service, users, calls):
    """Let every user call; some calls are cut off, some have no token."""
    chance, tally = random.Random(SEED), Tally()
    everybody = {make_mark(make_token(number)) for number in range(1, users + 1)}
    plan = [(number, chance.random(), chance.random() * 0.02) for number in range(1, users + 1) for _ in range(calls)]
    chance.shuffle(plan)
    at_once = anyio.CapacityLimiter(64)

    async def one(http, number, kind, seconds):
        tool, arguments = ("list_posts", {}) if kind < 0.5 else ("get_post", {"post_id": "any"})
        sent = make_request("tools/call", {"name": tool, "arguments": arguments})
        async with at_once:
            if kind % 0.1 < 0.01:
                tally["without a token"] += 1
                tally["answered 401"] += (await http.post("/mcp", **sent)).status_code == 401
                return
            sent["headers"]["x-timetopost-token"] = make_token(number)
            if kind % 0.1 < 0.03:
                with anyio.move_on_after(seconds) as scope:
                    tally.judge(number, everybody, await http.post("/mcp", **sent))
                tally["cut off"] += scope.cancelled_caught
            else:
                tally.judge(number, everybody, await http.post("/mcp", **sent))

    async with service.running(), _open_client(service.app) as http, anyio.create_task_group() as tasks:
        for number, kind, seconds in plan:
            tasks.start_soon(one, http, number, kind, seconds)
    return tally


def _make_upstream():
    chance = random.Random(SEED + 1)

    async def before():
        for _ in range(chance.randrange(6)):
            await anyio.lowlevel.checkpoint()

    return Upstream(before=before)


@pytest.mark.requirement("acceptance.a11")
async def test_concurrent_users_never_see_each_others_data(settings):
    users, calls = (200, 20) if FULL else (40, 5)
    upstream = _make_upstream()
    service = HttpService(
        settings, Options("http", port=PORT, multi_tenant=True, no_client_auth=True), upstream, port=PORT
    )
    tally = await _run_users(service, users, calls)
    await service.aclose()
    fallbacks = sum(count for token, count in upstream.asked.items() if token == upstream.token)
    strangers = set(upstream.asked) - {make_token(number) for number in range(1, users + 1)}
    print(f"A11: seed {SEED}, {users} users, {dict(tally)}, {fallbacks} fallbacks")  # noqa: T201
    assert tally["of others"] == fallbacks == len(strangers) == 0
    assert tally["own"] == tally["calls"] > users * calls * 0.7
    assert tally["answered 401"] == tally["without a token"] > 0
    assert tally["calls"] + tally["without a token"] + tally["cut off"] == users * calls


class SharedTenants(HttpService):
    """Serve every caller with the first user's context: the bug that this row looks for."""

    _first = None

    def _find_context(self, context):
        self._first = self._first or super()._find_context(context)
        return self._first


@pytest.mark.requirement("acceptance.a11")
async def test_a11_fails_when_users_share_a_context(settings):
    service = SharedTenants(
        replace(settings),
        Options("http", port=PORT, multi_tenant=True, no_client_auth=True),
        _make_upstream(),
        port=PORT,
    )
    tally = await _run_users(service, 5, 5)
    await service.aclose()
    assert tally["of others"] > 0


def _open_client(app):
    return httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url=f"http://127.0.0.1:{PORT}", timeout=60, trust_env=False
    )
