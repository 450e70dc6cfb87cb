"""The shutdown of a server on a port, second by second, in a time that passes only while its event loop waits."""

import asyncio
import signal
from contextlib import asynccontextmanager, suppress
from types import SimpleNamespace

import pytest

from tests.support.quick_time import run_quickly
from tests.support.signals import catch_signals
from ttp_mcp.process import CONSOLE_CLOSED
from ttp_mcp.transports.http import run
from ttp_mcp.transports.http.run import open_listener, serve_http

pytestmark = pytest.mark.requirement("http.serving")

DRAIN = 10


class Service:
    """As far as a server on a port knows a service: a request to it is answered after `answer_seconds`, or is a stream without an end."""

    def __init__(self, *, busy_seconds=0.0, answer_seconds=None, drained=()):
        self.health = SimpleNamespace(is_draining=False)
        self.events, self.waits = [], []
        self.busy_seconds, self.answer_seconds, self.drained = busy_seconds, answer_seconds, [*drained]
        self._began = 0.0

    @property
    def is_busy(self):
        """True for some seconds after the signal."""
        return self._seconds() < self.busy_seconds

    def _seconds(self):
        return asyncio.get_running_loop().time() - self._began

    def note(self, word):
        """Note an event, and its time after the signal."""
        self.events.append((word, self._seconds()))

    def stop_accepting(self):
        """Begin to count the time."""
        self.health.is_draining = True
        self._began = asyncio.get_running_loop().time()

    async def drain(self, seconds):
        """Note for how long writes would be waited for."""
        self.note("drain")
        self.waits.append(seconds)
        await asyncio.sleep(max(0, min(seconds, self.busy_seconds - self._seconds())))
        self.busy_seconds = min(self.busy_seconds, self._seconds())
        return self.drained.pop(0) if self.drained else True

    @asynccontextmanager
    async def running(self):
        """Note the end of what runs in the background."""
        yield
        self.note("end")

    async def app(self, scope, receive, send):
        """Answer a request once its body is there."""
        while scope["method"] == "POST" and (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"o", "more_body": True})
        if self.answer_seconds is None:
            while (await receive())["type"] != "http.disconnect":
                pass
            self.note("closed")
            return
        try:
            await asyncio.sleep(self.answer_seconds)
        except asyncio.CancelledError:
            self.note("cancelled")
            raise
        await send({"type": "http.response.body", "body": b"k"})
        self.note("answered")


def shut_down(service, *, connections=1, signals=(signal.SIGTERM,), send_signal=signal.raise_signal):
    """Serve requests, send signals, and return the events, the exit code and the codes of a forced exit."""
    forced, codes = [], []

    async def serve():
        ready = asyncio.Event()
        with open_listener("127.0.0.1", 0) as opened:
            serving = asyncio.create_task(
                serve_http(service, opened, ready=ready.set, drain_seconds=DRAIN, exit_process=forced.append)
            )
            await ready.wait()
            clients = [await asyncio.open_connection(*opened.getsockname()) for _ in range(connections)]
            for reader, writer in clients:
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await reader.readuntil(b"\r\n\r\no")).startswith(b"HTTP/1.1 200")
            for number in signals:
                send_signal(number)
                await asyncio.sleep(0.2)
            codes.append(await serving)
            for _, writer in clients:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    run_quickly(serve)
    return service.events, codes[0], forced


STREAMS_CLOSED = ["drain", "closed", "drain", "end"]
CUT_OFF = ["drain", "drain", "cancelled", "end"]


@pytest.mark.parametrize(
    ("given", "connections", "words", "seconds", "waits"),
    [
        ({}, 0, ["drain", "end"], [0.1, 0.1], [9.9]),
        ({"busy_seconds": 3}, 0, ["drain", "end"], [0.1, 3], [9.9]),
        ({"busy_seconds": 60}, 0, ["drain", "end"], [0.1, 10], [9.9]),
        ({"answer_seconds": 0.4}, 1, ["answered", "drain", "end"], [0.3, 0.4, 0.4], [9.6]),
        ({}, 1, STREAMS_CLOSED, [0.5, 0.75, 0.8, 0.8], [0, 9.2]),
        ({}, 2, ["drain", "closed", "closed", "drain", "end"], [0.5, 0.75, 0.75, 0.8, 0.8], [0, 9.2]),
        ({"busy_seconds": 3}, 1, STREAMS_CLOSED, [3, 3.25, 3.35, 3.35], [0, 6.65]),
        ({"busy_seconds": 60}, 1, STREAMS_CLOSED, [9, 9.25, 9.35, 9.35], [0, 0.65]),
        ({"busy_seconds": 3, "answer_seconds": 60}, 1, CUT_OFF, [3, 10.1, 10.1, 10.1], [0, 0.5]),
        ({"busy_seconds": 60, "answer_seconds": 60}, 1, CUT_OFF, [9, 10.1, 10.1, 10.1], [0, 0.5]),
    ],
)
def test_shutdown_waits_for_writes_then_closes_streams(given, connections, words, seconds, waits):
    """Streams never end by themselves. Writes that take too long are abandoned a second before the end, and reported on open streams."""
    service = Service(**given)
    events, code, forced = shut_down(service, connections=connections)
    assert [word for word, _ in events] == words
    assert [time for _, time in events] == pytest.approx(seconds, abs=0.11)
    assert service.waits == pytest.approx(waits, abs=0.11)
    assert (code, forced) == (0, [])


@pytest.mark.parametrize(("drained", "code"), [([True, True], 0), ([False, True], 1), ([True, False], 1)])
def test_write_that_was_abandoned_at_any_time_changes_the_exit_code(drained, code):
    assert shut_down(Service(drained=drained))[1:] == (code, [])


def test_second_signal_forces_the_exit():
    events, code, forced = shut_down(Service(busy_seconds=1), signals=(signal.SIGTERM, signal.SIGINT))
    assert ([word for word, _ in events], code, forced) == (STREAMS_CLOSED, 0, [130])


def test_closed_console_leaves_four_seconds(monkeypatch):
    """Windows reports it as an event of its own, which no other system has."""
    send = catch_signals(monkeypatch, run)
    service = Service(busy_seconds=60, answer_seconds=60)
    events, code, forced = shut_down(service, signals=(CONSOLE_CLOSED,), send_signal=send)
    assert [word for word, _ in events] == CUT_OFF
    assert [time for _, time in events] == pytest.approx([3, 4.1, 4.1, 4.1], abs=0.11)
    assert (code, forced) == (0, [])


def test_second_event_of_a_console_does_not_force_the_exit(monkeypatch):
    send = catch_signals(monkeypatch, run)
    numbers = (signal.SIGTERM, CONSOLE_CLOSED)
    _, code, forced = shut_down(Service(busy_seconds=1), signals=numbers, send_signal=send)
    assert (code, forced) == (0, [])


class CancelledService(Service):
    """Its requests are cancelled by no shutdown."""

    async def app(self, scope, receive, send):
        """Answer nothing."""
        raise asyncio.CancelledError


def test_call_that_is_cancelled_without_a_shutdown_is_logged(caplog):
    async def serve():
        ready = asyncio.Event()
        with open_listener("127.0.0.1", 0) as opened:
            serving = asyncio.create_task(serve_http(CancelledService(), opened, ready=ready.set))
            await ready.wait()
            reader, writer = await asyncio.open_connection(*opened.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 500")
            writer.close()
            signal.raise_signal(signal.SIGTERM)
            await serving

    run_quickly(serve)
    assert [record.exc_info[0] for record in caplog.records] == [asyncio.CancelledError]
