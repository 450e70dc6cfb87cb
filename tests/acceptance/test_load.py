"""Rows D1 to D4: many concurrent calls, a long run, half-open connections, and no request at start.

Times are printed, not asserted: the machine is shared."""

import asyncio
import os
import time
from collections import Counter

import anyio
import httpx2
import psutil
import pytest

from tests.acceptance.web import FULL, MIB, PROGRAM, make_tool_call, open_client, send_raw_call, serve_api, start_server
from tests.transports.http.upstream import Upstream
from ttp_mcp.transports.http.timeouts import HEADER_SECONDS

pytestmark = pytest.mark.acceptance

SOAK_SECONDS = float(os.environ.get("TTP_SOAK_SECONDS", "1800" if FULL else "20"))
CALLS_PER_SECOND = 20


def _is_success(response):
    return response.status_code == 200 and not response.json()["result"].get("isError")


async def _call_at_once(running, count):
    """Make `number` calls concurrently; return how many succeeded, and the results of the others."""
    outcomes = Counter()

    async def one():
        try:
            outcomes["ok" if _is_success(await send_raw_call(running, "list_integrations")) else "error"] += 1
        except OSError as error:
            outcomes[type(error).__name__] += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(one)
    return outcomes


async def _wait_until_below(figure, most):
    """Wait up to five seconds for a figure to come down, and return it."""
    with anyio.move_on_after(5):
        while figure() > most:
            await anyio.sleep(0.05)
    return figure()


@pytest.mark.requirement("acceptance.d1")
async def test_thousand_concurrent_calls_are_all_answered(tmp_path):
    count = 1000 if FULL else 200

    async def before():
        await anyio.sleep(0.1)

    async with serve_api(Upstream(before=before)) as api, start_server(tmp_path, **api) as running:
        # The pool towards the API is full after this, and stays so.
        await _call_at_once(running, 128)
        fds, rss, started = running.fds, running.rss, time.monotonic()
        outcomes = await _call_at_once(running, count)
        seconds = time.monotonic() - started
        growth = running.rss - rss
        after = await _wait_until_below(lambda: running.fds, fds + 5)
    print(f"D1: {dict(outcomes)} in {seconds:.1f} s, growth {growth / MIB:.1f} MiB, fds {fds} -> {after}")  # noqa: T201
    assert outcomes == {"ok": count}
    assert growth < 64 * MIB
    assert after <= fds + 5


@pytest.mark.requirement("acceptance.d2")
async def test_long_mixed_run_leaks_nothing(tmp_path):
    kinds = [("list_integrations", {}), ("list_posts", {"limit": 5}), ("get_post", {"post_id": "any"})]
    outcomes, sizes = Counter(), []
    async with serve_api(Upstream()) as api, start_server(tmp_path, **api) as running:

        async def one(http, number):
            if number % 4 == 3:
                response = await http.post(running.url, **make_tool_call("no_such_tool"))
                outcomes["ok" if "error" in response.json() else "error"] += 1
                return
            response = await http.post(running.url, **make_tool_call(*kinds[number % 4]))
            outcomes["ok" if _is_success(response) else "error"] += 1

        # The pool towards the API is full after this, and stays so.
        await _call_at_once(running, 128)
        fds = running.fds
        async with open_client() as http, anyio.create_task_group() as tasks:
            total = int(SOAK_SECONDS * CALLS_PER_SECOND)
            started = time.monotonic()
            for number in range(total):
                tasks.start_soon(one, http, number)
                if number % CALLS_PER_SECOND == 0:
                    sizes.append((time.monotonic() - started, running.rss))
                await anyio.sleep(max(0.0, started + number / CALLS_PER_SECOND - time.monotonic()))
        last_fds = await _wait_until_below(lambda: running.fds, fds + 5)
    # The first quarter warms up.
    (at, rss), (end, last_rss) = sizes[len(sizes) // 4], sizes[-1]
    slope = (last_rss - rss) / MIB / max(1.0, end - at) * 600
    print(  # noqa: T201
        f"D2: {dict(outcomes)} in {end:.0f} s, {rss / MIB:.1f} -> {last_rss / MIB:.1f} MiB "
        f"({slope:+.2f} MiB in 10 min), fds {fds} -> {last_fds}"
    )
    assert outcomes == {"ok": total}
    assert last_fds <= fds + 5
    assert last_rss - rss < 8 * MIB
    # A slope over less than ten minutes says nothing.
    assert slope < 1 or end < 600


@pytest.mark.requirement("acceptance.d3")
async def test_half_open_connections_are_closed_and_delay_no_call(tmp_path):
    count = 900 if FULL else 200
    async with serve_api(Upstream()) as api, start_server(tmp_path, **api) as running:
        start = running.fds
        halves = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(count)]
        for _, writer in halves:
            writer.write(b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        times, good = [], 0
        async with httpx2.AsyncClient(timeout=30) as http:
            for _ in range(50):
                began = time.monotonic()
                good += _is_success(await http.post(running.url, **make_tool_call("list_posts")))
                times.append(time.monotonic() - began)
        held = running.fds - start
        with anyio.fail_after(HEADER_SECONDS + 20):
            for reader, _ in halves:
                await reader.read()
        closed = await _wait_until_below(lambda: running.fds - start, 70)
        for _, writer in halves:
            writer.close()
    p99 = sorted(times)[-1]
    print(f"D3: {count} half open ({held} held), 50 calls, slowest {p99:.3f} s; {closed} files more at the end")  # noqa: T201
    assert good == 50
    assert held >= count
    # What is left is the pool towards the API.
    assert closed <= 70


@pytest.mark.requirement("acceptance.d4")
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_no_request_is_sent_before_the_first_tool_call(tmp_path, transport):
    from mcp.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client

    upstream = Upstream()
    # Such as the browser of other tests.
    others = set(psutil.Process().children())
    async with serve_api(upstream) as api:
        started = time.monotonic()
        if transport == "stdio":
            environment = {"PATH": os.environ["PATH"], "TTP_STATE_DIR": str(tmp_path), **api}
            parameters = StdioServerParameters(command=str(PROGRAM), env=environment)
            async with Client(stdio_client(parameters)) as client:
                counts = await _measure_first_use(client, upstream, started, others)
        else:
            async with start_server(tmp_path, **api) as running, Client(running.url) as client:
                counts = await _measure_first_use(client, upstream, started, others)
    before, after, connections, seconds = counts
    print(f"D4 {transport}: tools listed {seconds:.2f} s after the start, {before} requests before a call")  # noqa: T201
    assert (before, connections) == (0, 0)
    assert after > 0


async def _measure_first_use(client, upstream, started, others):
    """Return API requests before and after the first call, other connections before it, and seconds."""
    await client.list_tools()
    seconds = time.monotonic() - started
    before = upstream.asked.total()
    servers = [child for child in psutil.Process().children() if child not in others]
    assert servers
    processes = [process for child in servers for process in (child, *child.children(recursive=True))]
    connections = sum(map(len, map(_list_outward, processes)))
    await client.call_tool("list_posts", {})
    return before, upstream.asked.total(), connections, seconds


def _list_outward(process):
    """Return connections that a process opened itself: their peer listens nowhere in it."""
    own = {each.laddr.port for each in process.net_connections("inet") if each.status == psutil.CONN_LISTEN}
    return [
        each
        for each in process.net_connections("inet")
        if each.status != psutil.CONN_LISTEN and each.laddr.port not in own
    ]
