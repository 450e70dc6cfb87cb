"""Limits that all calls share: concurrent requests, the wait after a 429, and the budget for retries."""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from ttp_mcp.api import retry
from ttp_mcp.api.clock import Clocks

# A longer wait is reported to the agent in full, but calls try again after an hour.
LONGEST_HOLD_SECONDS = 3600.0
# After a 429 without a usable Retry-After.
DEFAULT_HOLD_SECONDS = 1.0
# After a 429 with 0 or a past date. Retrying at once would cause a storm, which the budget doesn't limit.
LEAST_HOLD_SECONDS = 0.25
# Retries of a minute, and the calls that are counted for more of them: with these calls there are 100 retries.
LEAST_RETRIES = 3
MOST_CALLS = 1000


class StillLimited(Exception):
    """The rate limit lasts longer than the caller can wait."""


class RateLimitGate:
    """A limit on concurrent requests, which closes after a 429.

    After a 429 no request is sent until the wait is over, and then one call probes first.
    """

    def __init__(self, clocks: Clocks, connections: int) -> None:
        """Start open."""
        self._clocks = clocks
        self.is_closed = False
        """Whether calls wait, for the time or for the probe."""
        self._until: float | None = None
        self._probe: anyio.Event | None = None
        # A queue before the connection pool: a call that waits here can still be held, and was certainly not sent.
        self._connections = anyio.Semaphore(connections, fast_acquire=True)

    def seconds_left(self) -> float:
        """Return how long the wait still takes; 0 without one."""
        return 0.0 if self._until is None else max(0.0, self._until - self._clocks.monotonic())

    def close(self, seconds: float | None) -> None:
        """Hold all calls for `seconds`, or longer if they already are; None if the API didn't say how long."""
        asked = DEFAULT_HOLD_SECONDS if seconds is None else seconds
        until = self._clocks.monotonic() + min(max(asked, LEAST_HOLD_SECONDS), LONGEST_HOLD_SECONDS)
        self._until = until if self._until is None else max(self._until, until)
        self.is_closed = True

    @asynccontextmanager
    async def slot(self, deadline: float) -> AsyncGenerator[None]:
        """Wait until the gate is open and a connection is free, and keep that connection for the block.

        Raises:
            StillLimited: The rate limit lasts beyond the deadline, on the monotonic clock.
        """
        while True:
            probe = await self.wait(deadline) if self.is_closed else None
            try:
                async with self._connections:
                    # After a 429 that arrived while this call was in the queue; it doesn't concern the probe.
                    if self.is_closed and probe is None:
                        continue
                    yield
                    return
            finally:
                if probe is not None:
                    self.release_probe(probe)

    async def wait(self, deadline: float) -> anyio.Event | None:
        """Wait for the gate to open.

        Returns:
            The probe if this call goes first, for `release_probe` once it has an answer; None for all others.

        Raises:
            StillLimited: The rate limit lasts beyond the deadline, or longer than a call may wait; raised at once.
        """
        while self.is_closed:
            if left := self.seconds_left():
                if left >= min(deadline - self._clocks.monotonic(), retry.LONGEST_WAIT_SECONDS):
                    raise StillLimited
                await self._clocks.sleep(left)
            elif self._probe is not None:
                await self._probe.wait()
            else:
                self._until = None
                self._probe = anyio.Event()
                return self._probe
        return None

    def release_probe(self, probe: anyio.Event) -> None:
        """Let the other calls check the gate: the probe has its answer, or was given up."""
        self._probe = None
        self.is_closed = self._until is not None
        probe.set()


class RetryBudget:
    """Limit on retries, so that an outage isn't amplified: a tenth of the calls of the last minute, and at least three.

    Times are seconds of a monotonic clock.
    """

    def __init__(self) -> None:
        """Start full."""
        self.calls: deque[float] = deque(maxlen=MOST_CALLS)
        """Start of each call, to be appended by the caller."""
        self._retries: deque[float] = deque()

    def take_retry(self, at: float) -> bool:
        """Count a retry and return True, or return False if none is left."""
        for times in (self.calls, self._retries):
            while times and times[0] <= at - 60:
                times.popleft()
        if len(self._retries) >= max(LEAST_RETRIES, len(self.calls) // 10):
            return False
        self._retries.append(at)
        return True
