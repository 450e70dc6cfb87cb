"""How a stdio server ends: why it leaves, what it still waits for, and for how long."""

import asyncio
import logging
import signal
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal, Protocol

import mcp_types as types

from ttp_mcp.process import LEAVE_SECONDS

_log = logging.getLogger(__name__)

# After a signal, how long a call may go on that has no write in flight: enough for an answer that is being put together.
SETTLE_SECONDS = 0.5
# What is left of the drain when writes are given up: enough for each to note that, and for its answer.
NOTING_SECONDS = 1.0
POLL_SECONDS = 0.02

# Open until the client ends it, so the end of input must not wait for it.
_NEVER_ENDING = "subscriptions/listen"


class Writing(Protocol):
    """What a shutdown waits for; `InFlight` is one."""

    count: int
    """How many writes, and steps that belong to one, are running."""

    @property
    def unresolved(self) -> int:
        """How many writes have no outcome in the ledger."""
        ...

    async def abandon(self) -> object:
        """Stop what is in flight; each write notes its outcome, and no other is begun."""
        ...


class Shutdown:
    """Why the server is leaving, and what it still waits for."""

    def __init__(self, writes: Writing, drain_seconds: float, leave: Callable[[int], object]) -> None:
        self.reason: Literal["end of input", "signal", "output broken"] | None = None
        self.unanswered: set[str | int] = set()
        """Ids of requests that were read and not answered."""
        self.asked: set[str | int] = set()
        """Ids of our own requests to the client that it has not answered."""
        self.closed: deque[str | int] = deque()
        """Ids of those that it can't answer any more; the tool that waits has yet to hear of it."""
        self._loop = asyncio.get_running_loop()
        self._writes = writes
        self._drain_seconds = drain_seconds
        self._leave = leave
        self._deadline = float("inf")
        self._quiet = 0.0
        self._timers: list[asyncio.TimerHandle] = []
        self._giving_up: asyncio.Task[object] | None = None
        self._sleeper: asyncio.Future[None] | None = None

    def begin(self, reason: Literal["end of input", "signal", "output broken"]) -> None:
        """Start to leave; a later reason may shorten the wait, never lengthen it."""
        now = self._loop.time()
        if self.reason is None:
            self._deadline = now + self._drain_seconds
            self._timers = [
                self._loop.call_at(self._deadline - NOTING_SECONDS, self._give_up_writes),
                self._loop.call_at(self._deadline + LEAVE_SECONDS, self._leave_anyway),
            ]
        self._quiet = now + SETTLE_SECONDS
        self.reason = reason
        self.fail_pending_requests()

    def fail_pending_requests(self) -> None:
        """Nobody reads the client's answers any more: whoever waits for one is told so."""
        self.closed.extend(self.asked)
        self.asked.clear()
        self.wake()

    def settled(self, *, unread: bool) -> bool:
        """Whether nothing is left to wait for; `unread` says that answers have not reached the pipe yet."""
        now = self._loop.time()
        busy = self._writes.count > 0
        if busy:
            self._quiet = now + SETTLE_SECONDS
        if now >= self._deadline:
            return True
        answering = bool(self.unanswered) or unread
        if self.reason == "output broken":
            answering = False
        elif self.reason == "signal":
            answering = answering and now < self._quiet
        return not busy and not answering

    def received(self, message: types.JSONRPCMessage) -> None:
        """Keep count of what is to be answered, by us and by the client."""
        if isinstance(message, types.JSONRPCRequest):
            if message.method != _NEVER_ENDING:
                self.unanswered.add(message.id)
        elif isinstance(message, types.JSONRPCNotification):
            # A cancelled request is never answered.
            cancelled = (message.params or {}).get("requestId") if message.method == "notifications/cancelled" else None
            if isinstance(cancelled, str | int):
                self.unanswered.discard(cancelled)
        elif message.id is not None:
            self.asked.discard(message.id)

    def answered(self, request_id: str | int) -> None:
        """A request has its answer."""
        self.unanswered.discard(request_id)
        if self.reason is not None:
            self.wake()

    def asking(self, request_id: str | int) -> None:
        """A question to the client is on the wire."""
        self.asked.add(request_id)
        if self.reason is not None:
            self.fail_pending_requests()

    async def sleep(self, *, readable: int | None = None, seconds: float | None = None) -> None:
        """Wait until a descriptor can be read, a time has passed, or somebody calls `wake`."""
        self._sleeper = self._loop.create_future()
        timer = self._loop.call_later(seconds, self.wake) if seconds is not None else None
        if readable is not None:
            self._loop.add_reader(readable, self.wake)
        try:
            await self._sleeper
        finally:
            self._sleeper = None
            if readable is not None:
                self._loop.remove_reader(readable)
            if timer is not None:
                timer.cancel()

    def wake(self) -> None:
        """End the current `sleep`, if there is one."""
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)

    @contextmanager
    def on_signals(self) -> Generator[None]:
        """SIGTERM and SIGINT begin the end; the second one of either leaves at once."""
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            self._loop.add_signal_handler(number, self._signalled, number)
        try:
            yield
        finally:
            for number in numbers:
                self._loop.remove_signal_handler(number)

    def close(self) -> None:
        """Nothing needs to be waited for any more."""
        for timer in self._timers:
            timer.cancel()

    def _signalled(self, number: int) -> None:
        if self.reason == "signal":
            self._leave(128 + number)
        else:
            self.begin("signal")

    def _give_up_writes(self) -> None:
        self._giving_up = self._loop.create_task(self._writes.abandon())

    def _leave_anyway(self) -> None:
        writes = self._writes.unresolved
        _log.warning("left after %.0f s with %d writes without an outcome", self._drain_seconds, writes)
        self._leave(1 if writes else 0)
