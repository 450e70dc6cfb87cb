"""The shutdown of a stdio session, second by second, in a time that passes only while its event loop waits."""

import asyncio
import os
import signal
import sys
from contextlib import contextmanager, nullcontext

import pytest

from tests.support.quick_time import run_quickly
from tests.support.signals import catch_signals
from tests.support.windows import needs_parents
from ttp_mcp.process import CONSOLE_CLOSED
from ttp_mcp.transports.stdio import shutdown as shutdowns
from ttp_mcp.transports.stdio.shutdown import Shutdown

DRAIN = 10
PARENT_ENDED = "The process that started this server has ended; shutting down."


class Session:
    """The writes of a shutdown, and what it did, with the second of each."""

    count = unresolved = 0

    def __init__(self):
        self.events = []
        self.shutdown = Shutdown(self, DRAIN, lambda code: self.note(f"exit {code}"), 5)

    def note(self, word):
        """Note that something was done."""
        self.events.append((round(asyncio.get_running_loop().time(), 3), word))

    async def abandon(self):
        """Note that the writes were abandoned."""
        self.note("abandon")

    def is_complete(self, **more):
        """Check whether nothing is left to wait for."""
        return self.shutdown.is_complete(**{"unread": False, **more})


def run_session(test):
    """Run a coroutine function with a session."""

    async def run():
        await test(Session())

    run_quickly(run)


@pytest.mark.requirement("stdio.drain")
@pytest.mark.parametrize(
    ("reason", "left", "seconds"),
    [
        ("end of input", {}, 0),
        ("end of input", {"unanswered": {1}}, 10),
        ("end of input", {"unread": True}, 10),
        ("end of input", {"count": 1}, 10),
        ("signal", {}, 0),
        ("signal", {"unanswered": {1}}, 0.5),
        ("signal", {"unread": True}, 0.5),
        ("signal", {"count": 1}, 10),
        ("output broken", {}, 0),
        ("output broken", {"unanswered": {1}}, 0),
        ("output broken", {"unread": True}, 0),
        ("output broken", {"count": 1}, 10),
    ],
)
def test_shutdown_waits_for_what_its_reason_allows(reason, left, seconds):
    async def wait(session):
        session.shutdown.begin(reason)
        session.shutdown.unanswered |= left.get("unanswered", set())
        session.count = left.get("count", 0)
        waited = 0
        while not session.is_complete(unread=left.get("unread", False)):
            await asyncio.sleep(0.125)
            waited += 0.125
        assert waited == seconds
        session.count = 0
        session.shutdown.unanswered.clear()
        assert session.is_complete()

    run_session(wait)


@pytest.mark.requirement("stdio.signals")
def test_response_gets_half_a_second_after_the_last_write():
    async def wait(session):
        session.shutdown.begin("signal")
        session.shutdown.unanswered.add(1)
        session.count = 1
        for _ in range(24):
            assert not session.is_complete()
            await asyncio.sleep(0.125)
        session.count = 0
        for _ in range(3):
            assert not session.is_complete()
            await asyncio.sleep(0.125)
        assert session.is_complete()

    run_session(wait)


@pytest.mark.requirement("stdio.drain")
@pytest.mark.parametrize("unresolved", [0, 1, 2])
def test_writes_are_abandoned_and_then_the_process_exits(monkeypatch, caplog, unresolved):
    monkeypatch.setattr(shutdowns, "LEAVE_SECONDS", 0.25)

    async def wait(session):
        session.unresolved = unresolved
        await asyncio.sleep(3)
        session.shutdown.begin("end of input")
        await asyncio.sleep(60)
        assert session.events == [(12, "abandon"), (13.25, f"exit {min(unresolved, 1)}")]

    run_session(wait)
    assert caplog.messages == [f"exited after 10 s with {unresolved} writes without an outcome"]


@pytest.mark.requirement("stdio.drain")
@pytest.mark.parametrize(
    ("second", "seconds", "expected"),
    [
        ("signal", 4, [(5, "abandon"), (6.25, "exit 0")]),
        ("signal", 60, [(9, "abandon"), (10.25, "exit 0")]),
        ("output broken", float("inf"), [(9, "abandon"), (10.25, "exit 0")]),
    ],
)
def test_later_reason_may_only_shorten_the_shutdown(monkeypatch, second, seconds, expected):
    monkeypatch.setattr(shutdowns, "LEAVE_SECONDS", 0.25)

    async def wait(session):
        session.shutdown.begin("end of input")
        await asyncio.sleep(2)
        session.shutdown.begin(second, seconds=seconds)
        assert session.shutdown.reason == second
        await asyncio.sleep(60)
        assert session.events == expected

    run_session(wait)


@pytest.mark.requirement("stdio.end-of-input")
@pytest.mark.parametrize("reason", ["end of input", "signal", "output broken"])
def test_questions_to_the_client_fail_once_the_shutdown_begins(reason):
    async def ask(session):
        shutdown = session.shutdown
        shutdown.note_asked("early")
        assert (shutdown.asked, [*shutdown.closed], shutdown.changed.is_set()) == ({"early"}, [], False)
        shutdown.begin(reason)
        assert (shutdown.asked, [*shutdown.closed], shutdown.changed.is_set()) == (set(), ["early"], True)
        shutdown.changed.clear()
        shutdown.note_asked("late")
        assert (shutdown.asked, [*shutdown.closed], shutdown.changed.is_set()) == (set(), ["early", "late"], True)

    run_session(ask)


@contextmanager
def end_parent_at(monkeypatch, seconds):
    """Replace the parent by another one after a time."""
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(os, "getppid", lambda: 100 if loop.time() < seconds else 1)
    yield
    monkeypatch.undo()


@needs_parents
@pytest.mark.requirement("stdio.parent")
def test_end_of_the_parent_is_noticed_within_the_interval(monkeypatch, caplog):
    async def wait(session):
        with end_parent_at(monkeypatch, 12), session.shutdown.watch_process():
            await asyncio.sleep(14.875)
            assert (session.shutdown.reason, caplog.messages) == (None, [])
            await asyncio.sleep(0.25)
            assert (session.shutdown.reason, caplog.messages) == ("signal", [PARENT_ENDED])
            await asyncio.sleep(6)
            assert (session.shutdown.reason, caplog.messages) == ("signal", [PARENT_ENDED])

    run_session(wait)


@needs_parents
@pytest.mark.requirement("stdio.parent")
def test_end_of_the_parent_changes_nothing_once_the_session_ends(monkeypatch, caplog):
    """Neither during a shutdown, nor afterwards."""

    async def wait(session):
        with end_parent_at(monkeypatch, 1):
            with session.shutdown.watch_process():
                session.shutdown.begin("end of input")
                await asyncio.sleep(6)
                assert session.shutdown.reason == "end of input"
            idle = Session()
            monkeypatch.setattr(os, "getppid", lambda: 100)
            with pytest.raises(LookupError), idle.shutdown.watch_process():
                raise LookupError
            monkeypatch.setattr(os, "getppid", lambda: 1)
            await asyncio.sleep(60)
            assert idle.shutdown.reason is None
            assert session.events == idle.events == []

    run_session(wait)
    assert caplog.messages == []


@pytest.mark.requirement("stdio.parent")
def test_parent_is_not_watched_on_windows(monkeypatch):
    """Its number never changes there, and finding it takes a snapshot of all processes."""

    async def wait(session):
        asked = []
        monkeypatch.setattr(shutdowns, "handle_signals", lambda _: nullcontext())
        monkeypatch.setattr(os, "getppid", lambda: asked.append(1))
        monkeypatch.setattr(sys, "platform", "win32")
        with session.shutdown.watch_process():
            await asyncio.sleep(60)
        monkeypatch.undo()
        assert asked == []

    run_session(wait)


@pytest.mark.requirement("stdio.signals")
def test_first_signal_begins_the_shutdown_and_the_second_exits():
    async def wait(session):
        with session.shutdown.watch_process():
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(0.125)
            assert (session.shutdown.reason, session.events) == ("signal", [])
            await asyncio.sleep(1)
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0.125)
            assert [word for _, word in session.events] == ["exit 130"]

    run_session(wait)


@pytest.mark.requirement("stdio.signals")
def test_signal_after_the_end_of_input_does_not_exit_at_once():
    async def wait(session):
        with session.shutdown.watch_process():
            session.shutdown.begin("end of input")
            signal.raise_signal(signal.SIGTERM)
            await asyncio.sleep(0.125)
            assert (session.shutdown.reason, session.events) == ("signal", [])

    run_session(wait)


@pytest.mark.requirement("stdio.drain")
def test_closed_console_leaves_four_seconds(monkeypatch):
    """Windows reports it as an event of its own, which no other system has."""
    send = catch_signals(monkeypatch, shutdowns)
    monkeypatch.setattr(shutdowns, "LEAVE_SECONDS", 0.25)

    async def wait(session):
        with session.shutdown.watch_process():
            send(CONSOLE_CLOSED)
            assert session.shutdown.reason == "signal"
            await asyncio.sleep(60)
        assert session.events == [(3, "abandon"), (4.25, "exit 0")]

    run_session(wait)
