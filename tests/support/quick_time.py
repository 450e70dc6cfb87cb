"""An event loop whose time passes only while it waits, and in which a test that hangs fails at once."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable

LONGEST_SECONDS = 1000.0
MOST_TURNS = 20_000


class QuickSelector(selectors.DefaultSelector):
    """Never waits: the time that it would wait for passes at once."""

    now = 0.0
    turns = 0

    def select(self, timeout=None):
        """Return what is ready."""
        ready = super().select(0)
        self.turns += 1
        assert self.turns < MOST_TURNS, "it does nothing but turn"
        if not ready:
            assert timeout is not None, "nothing can happen any more"
            self.now += timeout
            assert self.now < LONGEST_SECONDS, "it takes too long"
        return ready


class QuickLoop(asyncio.SelectorEventLoop):
    """An event loop whose time begins at 0."""

    def __init__(self) -> None:
        self.selector = QuickSelector()
        super().__init__(self.selector)

    def time(self) -> float:
        """Return the time."""
        return self.selector.now


def run_quickly(test: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function in a time of its own."""
    with asyncio.Runner(loop_factory=QuickLoop) as runner:
        runner.run(test())
