"""A shared wait for all calls: after a 429 none is sent until the wait is over, and then one call probes first."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import anyio

from ttp_mcp.api.clock import Clocks

# A longer wait is reported to the agent in full, but calls try again after an hour.
LONGEST_HOLD_SECONDS = 3600.0
# After a 429 without a usable Retry-After.
DEFAULT_HOLD_SECONDS = 1.0
# After a 429 that says 0 or a past date: retrying at once would be a storm, which no budget limits.
LEAST_HOLD_SECONDS = 0.25


class StillLimited(Exception):
    """The rate limit lasts longer than the caller can wait."""


class RateLimitGate:
    """Connections for a few requests at once, closed while the API limits requests."""

    def __init__(self, clocks: Clocks, connections: int) -> None:
        """Start open."""
        self._clocks = clocks
        self._until: float | None = None
        self._probe: anyio.Event | None = None
        # A queue before the connection pool: a call that waits here can still be held, and was certainly not sent.
        self._connections = anyio.Semaphore(connections, fast_acquire=True)

    @property
    def is_closed(self) -> bool:
        """Check whether calls wait, for the time or for the probe."""
        return self._until is not None or self._probe is not None

    def seconds_left(self) -> float:
        """Return how long the wait still takes; 0 without one."""
        return 0.0 if self._until is None else max(0.0, self._until - self._clocks.monotonic())

    def close(self, seconds: float | None) -> None:
        """Hold all calls for `seconds`, or longer if they already are; None if the API didn't say how long."""
        asked = DEFAULT_HOLD_SECONDS if seconds is None else seconds
        until = self._clocks.monotonic() + min(max(asked, LEAST_HOLD_SECONDS), LONGEST_HOLD_SECONDS)
        self._until = until if self._until is None else max(self._until, until)

    @asynccontextmanager
    async def slot(self, most_seconds: Callable[[], float]) -> AsyncGenerator[None]:
        """Wait until the gate is open and a connection is free, and keep that connection for the block.

        Args:
            most_seconds: How long the caller can wait from now.

        Raises:
            StillLimited: The rate limit lasts longer.
        """
        while True:
            probe = await self.wait(most_seconds) if self.is_closed else None
            try:
                async with self._connections:
                    if self._is_closed_since(probe):
                        continue
                    yield
                    return
            finally:
                self.release_probe(probe)

    def _is_closed_since(self, probe: anyio.Event | None) -> bool:
        """Check for a 429 that arrived while a call was in the queue; it doesn't concern the probe."""
        return probe is None and self.is_closed

    async def wait(self, most_seconds: Callable[[], float]) -> anyio.Event | None:
        """Wait for the gate to open.

        Returns:
            The probe if this call goes first, for `release_probe` once it has an answer; None for all others.

        Raises:
            StillLimited: The rate limit lasts longer than `most_seconds()`; raised at once.
        """
        while self.is_closed:
            if left := self.seconds_left():
                if left >= most_seconds():
                    raise StillLimited
                await self._clocks.sleep(left)
            elif self._probe is not None:
                await self._probe.wait()
            else:
                self._until = None
                self._probe = anyio.Event()
                return self._probe
        return None

    def release_probe(self, probe: anyio.Event | None) -> None:
        """Let the other calls check the gate: the probe has its answer, or was given up."""
        if probe is not None:
            self._probe = None
            probe.set()
