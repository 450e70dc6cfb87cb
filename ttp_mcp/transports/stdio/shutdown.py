"""Graceful shutdown of a stdio server: why it ends, what it still waits for, and for how long."""

import asyncio
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Literal, Protocol

from ttp_mcp.process import CONSOLE_CLOSED, CONSOLE_CLOSED_SECONDS, LEAVE_SECONDS, handle_signals

_log = logging.getLogger(__name__)

Reason = Literal["end of input", "signal", "output broken"]

# After a signal, how long a call without a write in flight may continue: enough for a response that is being built.
SETTLE_SECONDS = 0.5
# Writes are abandoned this long before the deadline: enough for each to note its outcome and be answered.
NOTING_SECONDS = 1.0
POLL_SECONDS = 0.02
# How often to check that the process which started this one still exists.
PARENT_SECONDS = 5.0


class Writing(Protocol):
    """The writes that a shutdown waits for; `InFlight` is one."""

    count: int
    """Number of writes, and of steps that belong to one, in flight."""

    @property
    def unresolved(self) -> int:
        """Number of writes without an outcome in the ledger."""
        ...

    async def abandon(self) -> object:
        """Stop the writes in flight; each notes its outcome, and no other begins."""
        ...


class Shutdown:
    """Reason of the shutdown, and everything that it still waits for."""

    def __init__(
        self,
        writes: Writing,
        drain_seconds: float,
        exit_process: Callable[[int], object],
        parent_seconds: float = PARENT_SECONDS,
    ) -> None:
        self.reason: Reason | None = None
        self.unanswered: set[str | int] = set()
        """Ids of requests that were read and not answered."""
        self.asked: set[str | int] = set()
        """Ids of our own requests that the client has not answered."""
        self.changed = asyncio.Event()
        """Set whenever the reader, which sleeps until then, has to look again."""
        self.closed: deque[str | int] = deque()
        """Ids of our own requests that the client can't answer any more; the tool that waits is not informed yet."""
        self._loop = asyncio.get_running_loop()
        self._writes = writes
        self._drain_seconds = drain_seconds
        self._exit_process = exit_process
        self._parent_seconds = parent_seconds
        self._deadline = float("inf")
        # Set by `begin`. After a signal, responses are waited for until then.
        self._quiet_at: float
        self._timers: list[asyncio.TimerHandle] = []
        self._parent_timer: asyncio.TimerHandle | None = None
        # Kept since the loop holds tasks weakly.
        self._abandoning: asyncio.Task[object]

    def begin(self, reason: Reason, *, seconds: float = float("inf")) -> None:
        """Begin the shutdown, which takes at most `seconds`; a later reason may shorten the wait, never lengthen it."""
        now = self._loop.time()
        self._shorten_deadline(now + min(seconds, self._drain_seconds))
        self._quiet_at = now + SETTLE_SECONDS
        self.reason = reason
        self.fail_pending_requests()

    def _shorten_deadline(self, deadline: float) -> None:
        if deadline >= self._deadline:
            return
        self._deadline = deadline
        self._cancel_timers()
        self._timers = [
            self._loop.call_at(deadline - NOTING_SECONDS, self._abandon_writes),
            self._loop.call_at(deadline + LEAVE_SECONDS, self._force_exit),
        ]

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def fail_pending_requests(self) -> None:
        """Answer our own requests with an error, since the client's answers aren't read any more."""
        self.closed.extend(self.asked)
        self.asked.clear()
        self.changed.set()

    def is_complete(self, *, unread: bool) -> bool:
        """Check whether nothing is left to wait for; `unread` means that responses have not reached the pipe yet."""
        now = self._loop.time()
        is_writing = self._writes.count > 0
        if is_writing:
            self._quiet_at = now + SETTLE_SECONDS
        if now >= self._deadline:
            return True
        is_answering = bool(self.unanswered) or unread
        if self.reason == "output broken":
            is_answering = False
        elif self.reason == "signal":
            is_answering = is_answering and now < self._quiet_at
        return not is_writing and not is_answering

    def note_asked(self, request_id: str | int) -> None:
        """Note that a request to the client was sent."""
        self.asked.add(request_id)
        if self.reason is not None:
            self.fail_pending_requests()

    @contextmanager
    def watch_process(self) -> Generator[None]:
        """Begin the shutdown at a signal or when the parent process ends. A second signal exits at once."""
        with handle_signals(self._handle_signal):
            if sys.platform != "win32":  # there the number never changes
                self._watch_parent(os.getppid())
            try:
                yield
            finally:
                self._cancel_timers()
                if self._parent_timer is not None:
                    self._parent_timer.cancel()

    def _handle_signal(self, number: int) -> None:
        if number == CONSOLE_CLOSED:
            self.begin("signal", seconds=CONSOLE_CLOSED_SECONDS)
        elif self.reason == "signal":
            self._exit_process(128 + number)
        else:
            self.begin("signal")

    def _watch_parent(self, parent: int) -> None:
        """Another process may hold the pipes open, so that the end of the client would never be seen."""
        if os.getppid() == parent:
            self._parent_timer = self._loop.call_later(self._parent_seconds, self._watch_parent, parent)
        elif self.reason is None:
            _log.warning("The process that started this server has ended; shutting down.")
            self.begin("signal")

    def _abandon_writes(self) -> None:
        self._abandoning = self._loop.create_task(self._writes.abandon())

    def _force_exit(self) -> None:
        writes = self._writes.unresolved
        _log.warning("exited after %.0f s with %d writes without an outcome", self._drain_seconds, writes)
        self._exit_process(1 if writes else 0)
