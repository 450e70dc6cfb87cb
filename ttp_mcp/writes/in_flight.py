"""Tasks that outlive their caller, so that a write learns its outcome even if its call was cancelled."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio

from ttp_mcp.api import ApiError
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.writes.outcomes import WriteRefused

T = TypeVar("T")
log = logging.getLogger(__name__)

# How long a task goes on after its caller was cancelled.
GRACE_SECONDS = 10.0
# How long an abandoned task has to record its outcome.
RECORDING_SECONDS = 0.4

SHUTTING_DOWN = "the server is shutting down and abandoned this call. Call again once it runs. Safe to retry."


@dataclass(slots=True)
class Caller:
    """The caller that a task runs for."""

    gone: bool = False


class InFlight:
    """Running writes that must finish before the process ends."""

    def __init__(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Start empty; `grace_seconds` is how long a task goes on after its caller was cancelled."""
        self.count = 0
        """How many tasks and steps are running."""
        self.unrecorded = 0
        """How many writes ended without their outcome in the ledger."""
        self._grace_seconds = grace_seconds
        self._tasks: set[asyncio.Task[Any]] = set()
        self._scopes: set[anyio.CancelScope] = set()
        self._has_ended = anyio.Event()
        self._is_abandoned = False

    @property
    def unresolved(self) -> int:
        """How many writes have no outcome in the ledger: still running, or ended without recording it."""
        return len(self._tasks) + len(self._scopes) + self.unrecorded

    @contextmanager
    def track(self) -> Generator[None]:
        """Count a step that must be waited for before the process ends."""
        self.count += 1
        try:
            yield
        finally:
            self._leave()

    @contextmanager
    def cancellable(self) -> Generator[anyio.CancelScope]:
        """Track a step that `abandon` cancels.

        Raises:
            WriteRefused: It was abandoned, or the server is shutting down.
        """
        self._refuse_if_abandoned()
        with self.track(), anyio.CancelScope() as scope:
            self._scopes.add(scope)
            try:
                yield scope
            finally:
                self._scopes.discard(scope)
        if scope.cancelled_caught:
            raise WriteRefused(SHUTTING_DOWN)

    async def run_detached(self, work: Callable[[Caller], Coroutine[Any, Any, T]]) -> T:
        """Run work in its own task, which has `grace_seconds` left once the caller is cancelled.

        Raises:
            WriteRefused: It was abandoned, or the server is shutting down.
        """
        self._refuse_if_abandoned()
        caller = Caller()
        # Not in a task group of the caller, whose cancellation would reach it.
        task = asyncio.get_running_loop().create_task(work(caller))
        self._tasks.add(task)
        self.count += 1
        task.add_done_callback(self._finish)
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            caller.gone = True
            with anyio.CancelScope(shield=True):
                await asyncio.wait({task}, timeout=self._grace_seconds)
                task.cancel()
                await asyncio.wait({task}, timeout=RECORDING_SECONDS)
            raise
        if task.cancelled():
            raise WriteRefused(SHUTTING_DOWN)
        return task.result()

    async def drain(self, seconds: float) -> bool:
        """Wait until nothing is running. After `seconds` the rest is abandoned.

        Returns:
            True if everything ended by itself.
        """
        with anyio.move_on_after(max(0.0, seconds - RECORDING_SECONDS)):
            while self.count:
                await self._has_ended.wait()
        return await self.abandon()

    async def abandon(self) -> bool:
        """Cancel everything that is running, and refuse to start more.

        Each task records that its outcome is unknown. This waits up to 0.4 s for that; slower tasks go on.

        Returns:
            True if nothing was running.
        """
        self._is_abandoned = True
        if not self.count:
            return True
        for running in (*self._tasks, *self._scopes):
            running.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=RECORDING_SECONDS)
        return False

    def _refuse_if_abandoned(self) -> None:
        """Keep a call of several writes from starting the next one after the last was abandoned."""
        if self._is_abandoned:
            raise WriteRefused(SHUTTING_DOWN)

    def _finish(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._leave()
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ApiError | WriteRefused | LedgerProblem):
            # The caller may be gone, so the bug is logged here.
            log.error("A write ended with a bug", exc_info=error)

    def _leave(self) -> None:
        self.count -= 1
        ended, self._has_ended = self._has_ended, anyio.Event()
        ended.set()


async def run_to_completion(work: Coroutine[Any, Any, T]) -> tuple[T, bool]:
    """Run work whose duration is bounded, such as a commit, to its end, and return its result and whether it was cancelled.

    A commit can't be undone: if it were abandoned, its result would be unknown.
    """
    task = asyncio.get_running_loop().create_task(work)
    cancelled = False
    # A cancelled scope would cancel again at every await.
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                cancelled = True
    return task.result(), cancelled


async def run_shielded(steps: Callable[[], Awaitable[T]]) -> T:
    """Run steps shielded from cancellation of the call; each has its own deadline."""
    results: list[T] = []
    with anyio.CancelScope(shield=True):
        results.append(await steps())
    return results[0]
