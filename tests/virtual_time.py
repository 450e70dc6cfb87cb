"""One time for the sandbox, the client and the writes, which passes only when somebody sleeps."""

import heapq
import itertools
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import anyio

from ttp_mcp.sandbox import ManualClock

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


class VirtualTime:
    """Sleeping moves it; what is planned happens on the way."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self._planned: list[tuple[float, int, Callable[[], Awaitable[None]]]] = []
        self._numbers = itertools.count()

    def monotonic(self) -> float:
        """Seconds since the start."""
        return (self.clock.now() - START).total_seconds()

    def plan(self, seconds: float, action: Callable[[], Awaitable[None]]) -> None:
        """Do something in so many seconds."""
        heapq.heappush(self._planned, (self.monotonic() + seconds, next(self._numbers), action))

    async def sleep(self, seconds: float) -> None:
        """Let so many seconds pass."""
        end = self.monotonic() + seconds
        while self._planned and self._planned[0][0] <= end:
            await self._next()
        self._move_to(end)
        await anyio.sleep(0)

    async def _next(self) -> None:
        at, _, action = heapq.heappop(self._planned)
        self._move_to(at)
        await action()

    def _move_to(self, at: float) -> None:
        self.clock.move(max(0.0, at - self.monotonic()))
