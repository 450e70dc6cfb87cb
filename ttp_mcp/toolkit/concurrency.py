"""Concurrent requests, and steps that cancellation can't interrupt."""

from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import anyio

First = TypeVar("First")
Second = TypeVar("Second")


async def run_both(
    first: Callable[[], Awaitable[First]], second: Callable[[], Awaitable[Second]]
) -> tuple[First, Second]:
    """Run both concurrently. If one fails, cancel the other and raise the original error."""
    results: list[object] = [None, None]

    async def keep(position: int, ask: Callable[[], Awaitable[object]]) -> None:
        results[position] = await ask()

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep, 0, first)
            tasks.start_soon(keep, 1, second)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return cast("First", results[0]), cast("Second", results[1])


async def run_shielded(steps: Callable[[], Awaitable[First]]) -> First:
    """Run steps shielded from cancellation of the call; each has its own deadline."""
    results: list[First] = []
    with anyio.CancelScope(shield=True):
        results.append(await steps())
    return results[0]
