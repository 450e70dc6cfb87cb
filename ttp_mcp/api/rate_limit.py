"""One wait for all: when the API asks to wait, no call leaves before it is over, and then one goes first."""

from collections.abc import Awaitable, Callable

import anyio

# An hour: what asks for more is answered with the whole time, but tried again after this one.
LONGEST_HOLD_SECONDS = 3600.0
# After a 429 that does not say how long.
DEFAULT_HOLD_SECONDS = 1.0
# After a 429 that says 0, or a time that is over: at once would be a storm of repeats, which no budget limits.
LEAST_HOLD_SECONDS = 0.25


class RateLimitGate:
    """The present wait of a token's calls, if there is one."""

    def __init__(self, monotonic: Callable[[], float], sleep: Callable[[float], Awaitable[None]]) -> None:
        """Nothing is held at first."""
        self._monotonic = monotonic
        self._sleep = sleep
        self._until: float | None = None
        self._probe: anyio.Event | None = None

    @property
    def active(self) -> bool:
        """Whether calls wait, for the time or for the one that went first."""
        return self._until is not None or self._probe is not None

    def seconds_left(self) -> float:
        """How long calls still wait for the time; 0 when they do not."""
        return 0.0 if self._until is None else max(0.0, self._until - self._monotonic())

    def begin(self, seconds: float | None) -> None:
        """Hold all calls for so long, or longer where they already are; None where the API did not say."""
        asked = DEFAULT_HOLD_SECONDS if seconds is None else seconds
        wait = min(max(asked, LEAST_HOLD_SECONDS), LONGEST_HOLD_SECONDS)
        until = self._monotonic() + wait
        self._until = until if self._until is None else max(self._until, until)

    async def passed(self, most_seconds: Callable[[], float]) -> anyio.Event | None:
        """Wait until a call may leave.

        Args:
            most_seconds: How long the caller can wait from now.

        Returns:
            A token of the one call that goes first, to be given to `probed` when it has its answer; None for the others.

        Raises:
            TimeoutError: It would take longer than the caller can wait; known at once where the API said how long.
        """
        while self.active:
            if left := self.seconds_left():
                if left >= most_seconds():
                    raise TimeoutError
                await self._sleep(left)
            elif self._probe is not None:
                await self._probe.wait()
            else:
                self._until = None
                self._probe = anyio.Event()
                return self._probe
        return None

    def probed(self, probe: anyio.Event | None) -> None:
        """The call that went first has its answer, or was given up; the others may look again."""
        if probe is not None:
            self._probe = None
            probe.set()
