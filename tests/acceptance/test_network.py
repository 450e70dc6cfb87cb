"""Rows B3 to B6: rate limits, an outage, dripping responses and oversized responses."""

import json
import os
import subprocess
import sys

import anyio
import pytest

from tests.support.fault_server import FAULTS, FaultServer, drip_bytes, send_answer, send_bomb
from ttp_mcp.api import ApiError, Limits, NoAnswer
from ttp_mcp.api import http as http_module
from ttp_mcp.api import rate_limit as hold_module
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import Clocks
from ttp_mcp.api.http import Http
from ttp_mcp.credentials import Token

pytestmark = pytest.mark.acceptance

FULL = os.environ.get("TTP_ACCEPTANCE") == "full"
TOKEN = Token("ttp_" + "0a" * 24)


class VirtualTime:
    """A clock that advances only while every task sleeps; the earliest sleeper wakes first."""

    def __init__(self):
        self.at = 0.0
        self._sleepers = []

    def monotonic(self):
        return self.at

    async def sleep(self, seconds):
        woken = anyio.Event()
        self._sleepers.append((self.at + seconds, woken))
        await woken.wait()

    async def run(self):
        while True:
            await anyio.wait_all_tasks_blocked()
            if not self._sleepers:
                await anyio.lowlevel.checkpoint()
                continue
            self._sleepers.sort(key=lambda sleeper: sleeper[0])
            self.at = max(self.at, self._sleepers[0][0])
            due = [each for each in self._sleepers if each[0] <= self.at]
            self._sleepers = [each for each in self._sleepers if each[0] > self.at]
            for _, woken in due:
                woken.set()


class TimedApi:
    """An application that answers by the current time, after 10 ms, and records each request's time."""

    def __init__(self, time, status_at, retry_after="1"):
        self.time, self.status_at, self.retry_after = time, status_at, retry_after
        self.seen = []
        self.answered = []

    async def __call__(self, scope, receive, send):
        at = self.time.at
        self.seen.append(at)
        await self.time.sleep(0.01)
        status = self.status_at(at)
        headers = [(b"retry-after", self.retry_after.encode())] if status == 429 else []
        self.answered.append((self.time.at, status))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send(
            {"type": "http.response.body", "body": b'{"success": true, "posts": []}' if status == 200 else b"{}"}
        )


async def run_in_virtual_time(time, work):
    """Run until the work is done."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(time.run)
        await work()
        tasks.cancel_scope.cancel()


def make_client(time, app):
    return ApiClient(
        Http(
            base_url="http://api.localhost/api",
            token=TOKEN,
            app=app,
            clocks=Clocks(monotonic=time.monotonic, sleep=time.sleep, jitter=lambda: 0.5),
        )
    )


async def check_storm(callers):
    """Start all callers at once against an API that refuses everything for 1.5 s."""
    time = VirtualTime()
    app = TimedApi(time, lambda at: 429 if at < 1.5 else 200)
    api = make_client(time, app)
    finished = 0

    async def call():
        nonlocal finished
        await api.posts.list()
        finished += 1

    async def work():
        async with anyio.create_task_group() as tasks:
            for _ in range(callers):
                tasks.start_soon(call)

    await run_in_virtual_time(time, work)
    refusals = [at for at, status in app.answered if status == 429]
    first_hold, last_hold = refusals[0], refusals[-1] + 1.0
    early = [at for at in app.seen if first_hold < at < last_hold and round(at - 1.01, 6) not in (0.0, 1.01)]
    assert finished == callers, f"{callers - finished} calls did not finish"
    assert early == [], f"{len(early)} calls reached the API during the hold"
    probes = [at for at in app.seen if 1.0 <= at < 1.02]
    assert len(probes) == 1, f"{len(probes)} calls went first"
    return finished


@pytest.mark.requirement("acceptance.b3")
async def test_b3_rate_limit_storm():
    callers = 500 if FULL else 50
    finished = await check_storm(min(callers, 64)) + await check_storm(callers)
    print(f"B3 passed={finished} early=0 probes=1")  # noqa: T201 - the row prints its counts


@pytest.mark.requirement("acceptance.b3")
async def test_b3_fails_without_the_hold(monkeypatch):
    """Without the hold the storm continues."""
    monkeypatch.setattr(hold_module.RateLimitGate, "close", lambda self, seconds: None)
    with pytest.raises((AssertionError, ExceptionGroup)):
        await check_storm(50)


@pytest.mark.requirement("acceptance.b3")
async def test_b3_fails_without_the_probe(monkeypatch):
    """Without the probe all calls are sent at once after the wait."""

    async def all_at_once(self, deadline):
        while left := self.seconds_left():
            await self._clocks.sleep(left)
        self._until, self.is_closed = None, False

    monkeypatch.setattr(hold_module.RateLimitGate, "wait", all_at_once)
    with pytest.raises((AssertionError, ExceptionGroup)):
        await check_storm(50)


async def check_outage(seconds, callers):
    """Fail the API for `seconds` while each caller calls twice a second, then let it recover."""
    time = VirtualTime()
    app = TimedApi(time, lambda at: 503 if at < seconds else 200)
    api = make_client(time, app)
    calls, recovered = 0, []

    async def caller():
        nonlocal calls
        while time.at < seconds + 30:
            calls += 1
            try:
                await api.posts.list()
                recovered.append(time.at)
            except ApiError:
                pass
            await time.sleep(0.5)

    async def work():
        async with anyio.create_task_group() as tasks:
            for _ in range(callers):
                tasks.start_soon(caller)

    await run_in_virtual_time(time, work)
    minutes = (seconds + 30) / 60 + 1
    assert len(app.seen) <= 1.1 * calls + 3 * minutes, f"{len(app.seen)} attempts for {calls} calls"
    assert recovered[0] < seconds + 20, f"recovered after {recovered[0] - seconds:.1f} s"
    assert len(api._http._budget.calls) <= 60 * 2 * callers + callers, "the notes of calls grow"
    return calls, len(app.seen)


@pytest.mark.requirement("acceptance.b4")
async def test_b4_outage():
    calls, attempts = await check_outage(60 if FULL else 10, 20)
    print(f"B4 passed={calls} calls={calls} attempts={attempts}")  # noqa: T201 - the row prints its counts


@pytest.mark.requirement("acceptance.b4")
async def test_b4_fails_without_the_retry_budget(monkeypatch):
    """An outage would triple the calls."""
    monkeypatch.setattr(http_module.RetryBudget, "take_retry", lambda self, at: True)
    with pytest.raises(AssertionError, match="attempts for"):
        await check_outage(10, 20)


async def check_drip(callers, deadline=0.5):
    """Send every response one byte at a time; returns how many calls failed by the deadline."""
    failed = 0
    async with FaultServer(drip_bytes(0.02)) as server:
        api = ApiClient(
            Http(
                base_url=f"{server.url}/api",
                token=TOKEN,
                limits=Limits(read_seconds=5.0, total_seconds=deadline, connections=callers),
            )
        )

        async def call():
            nonlocal failed
            try:
                await api.posts.list()
            except NoAnswer:
                failed += 1

        with anyio.move_on_after(deadline + 4.5) as bound:
            async with anyio.create_task_group() as tasks:
                for _ in range(callers):
                    tasks.start_soon(call)
        assert not bound.cancelled_caught, "a call was still waiting after the deadline"
        assert failed == callers
        with anyio.move_on_after(1):
            while server.open_connections:
                await anyio.sleep(0.01)
        assert server.open_connections == 0, f"{server.open_connections} connections are still open"
        assert server.connections == callers
        await api.aclose()
    return failed


@pytest.mark.requirement("acceptance.b5")
async def test_b5_drip():
    failed = await check_drip(50, deadline=2.0)
    print(f"B5 passed={failed} open=0")  # noqa: T201 - the row prints its counts


@pytest.mark.requirement("acceptance.b5")
async def test_b5_fails_without_the_deadline(monkeypatch):
    """The timeout of a single read never fires."""
    endless = anyio.CancelScope
    monkeypatch.setattr(http_module.anyio, "CancelScope", lambda deadline=None, **how: endless(**how))
    with pytest.raises(AssertionError, match="still waiting"):
        await check_drip(2)


MEASURE = """
import gc, json, sys
import anyio, psutil
from ttp_mcp.api import ApiError, Http, Limits
from ttp_mcp.api.client import ApiClient
from ttp_mcp.credentials import Token

async def main(url, unbounded):
    api = ApiClient(Http(base_url=url + "/api", token=Token("ttp_" + "0a" * 24), limits=Limits(
        list_bytes=2**40 if unbounded else 8 * 2**20, read_seconds=60, total_seconds=120)))
    try:
        await api.integrations.list()
    except ApiError:
        pass
    gc.collect()
    before = psutil.Process().memory_info().rss
    try:
        reported = len(await api.posts.list())
    except ApiError as error:
        reported = getattr(error, "reason", type(error).__name__)
    peak = int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) * 1024
    print(json.dumps({"reported": reported, "grown_mib": (peak - before) / 2**20}))
    await api.aclose()

anyio.run(main, sys.argv[1], sys.argv[2] == "unbounded")
"""


async def measure_memory(fault, *, unbounded):
    """Return how a client in another process reads a response, and by how many MiB its memory grew."""
    async with FaultServer(send_answer({"integrations": []}), fault) as server:
        command = [sys.executable, "-c", MEASURE, server.url, "unbounded" if unbounded else "bounded"]
        done = await anyio.run_process(command, stderr=subprocess.PIPE)
    return json.loads(done.stdout)


async def check_memory(fault, *, reported, most_mib, unbounded=False):
    """Check that a response is parsed as expected in bounded memory."""
    found = await measure_memory(fault, unbounded=unbounded)
    assert found["reported"] == reported, f"reported {found['reported']}"
    assert found["grown_mib"] < most_mib, f"grew by {found['grown_mib']:.0f} MiB"
    return found["grown_mib"]


def make_posts(count):
    """Return a JSON list of `number` short posts."""
    post = {
        "content": "Hello",
        "status": "published",
        "platforms": ["twitter"],
        "scheduledAt": "2026-07-01T15:00:00.000Z",
    }
    return send_answer({"success": True, "posts": [{"id": f"p{number}", **post} for number in range(count)]})


@pytest.mark.requirement("acceptance.b6")
async def test_b6_bomb_list_and_deep_json():
    bomb_mib = await check_memory(send_bomb(512 if FULL else 64), reported="too_large", most_mib=32)
    list_mib = await check_memory(make_posts(50_000), reported=50_000, most_mib=96)
    large_mib = await check_memory(make_posts(80_000), reported="too_large", most_mib=96)
    deep_mib = await check_memory(FAULTS["deep-json"], reported="json", most_mib=32)
    print(  # noqa: T201 - the row prints its counts
        f"B6 passed=4 bomb_mib={bomb_mib:.0f} list_mib={list_mib:.0f} too_large_list_mib={large_mib:.0f} deep_mib={deep_mib:.0f}"
    )


@pytest.mark.requirement("acceptance.b6")
async def test_b6_fails_without_the_limit():
    """The bomb would be unpacked whole."""
    with pytest.raises(AssertionError, match="reported 0"):
        await check_memory(send_bomb(64), reported="too_large", most_mib=32, unbounded=True)
