"""Two questions to the API at the same time."""

from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

import anyio

First = TypeVar("First")
Second = TypeVar("Second")


async def together(
    first: Callable[[], Awaitable[First]], second: Callable[[], Awaitable[Second]]
) -> tuple[First, Second]:
    """Both results. When one fails the other is given up, and the failure is raised as it is."""
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
