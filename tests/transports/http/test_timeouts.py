"""Requests that arrive slowly, in a time that passes only while the event loop of server and client waits."""

import asyncio
import signal
from contextlib import suppress

import pytest

from tests.support.quick_time import run_quickly
from tests.transports.http.test_shutdown import Service
from ttp_mcp.transports.http.run import open_listener, serve_http

pytestmark = pytest.mark.requirement("http.serving")

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = GET[:-6]
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n"
BYTES = [b"x"] * 200


async def be_client(opened, parts):
    """Send a part each second until the server closes the connection; return how long that took, and what was received."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(*opened.getsockname())
    began = loop.time()

    async def send():
        for part in parts:
            writer.write(part)
            await asyncio.sleep(1)

    sending = asyncio.create_task(send())
    received = b""
    # The part that was sent last may have met the end.
    with suppress(ConnectionError):
        while chunk := await reader.read(1000):
            received += chunk
    sending.cancel()
    writer.close()
    return loop.time() - began, received.count(b"HTTP/1.1 200")


def measure(parts, **given):
    """Serve a client that sends these parts."""
    found = []

    async def serve():
        ready = asyncio.Event()
        with open_listener("127.0.0.1", 0) as opened:
            serving = asyncio.create_task(serve_http(Service(**given), opened, ready=ready.set))
            await ready.wait()
            found.append(await be_client(opened, parts))
            signal.raise_signal(signal.SIGTERM)
            await serving

    run_quickly(serve)
    return found[0]


@pytest.mark.parametrize(
    ("parts", "seconds", "answers"),
    [
        ([], 10, 0),
        ([HALF], 10, 0),
        ([HALF, *BYTES], 10, 0),
        ([POST], 30, 0),
        ([POST, *BYTES], 30, 0),
        ([POST[:-4], POST[-4:], *BYTES], 31, 0),
        ([GET], 75, 1),
        ([GET, HALF, *BYTES], 11, 1),
        ([GET, GET, b"", HALF], 13, 2),
        ([GET + HALF, *BYTES], 10, 1),
        ([GET + POST], 30, 1),
        ([GET + POST, *BYTES], 30, 1),
        ([GET + POST + b"x" * 900], 75, 2),
        ([GET + GET + HALF], 10, 2),
        ([POST + b"x" * 900, b"", HALF], 12, 1),
        ([POST, b"x" * 900], 76, 1),
    ],
)
def test_connection_is_closed_once_a_part_is_late(parts, seconds, answers):
    """Ten seconds for headers, thirty for a body, whether nothing arrives or a byte each second; and 75 between requests."""
    assert measure(parts, answer_seconds=0) == (pytest.approx(seconds, abs=0.3), answers)


@pytest.mark.parametrize("answer_seconds", [5, 60])
def test_time_of_an_answer_is_not_limited(answer_seconds):
    """The next request, which has arrived in part, gets its time after that."""
    seconds, answers = measure([GET], answer_seconds=answer_seconds)
    assert (seconds, answers) == (pytest.approx(answer_seconds + 75, abs=0.3), 1)
    for later in (HALF, POST[:-4]):
        seconds, answers = measure([GET, later], answer_seconds=answer_seconds)
        assert (seconds, answers) == (pytest.approx(answer_seconds + 10, abs=0.3), 1)
    seconds, answers = measure([GET, POST], answer_seconds=answer_seconds)
    assert (seconds, answers) == (pytest.approx(answer_seconds + 30, abs=0.3), 1)
