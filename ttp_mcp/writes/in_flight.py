"""Writes that outlive the call that began them."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio

T = TypeVar("T")
# How long a write goes on after its caller was cancelled.
GRACE_SECONDS = 10.0
# How long a write that is given up has to note that.
NOTING_SECONDS = 0.4

ENDING = "the server is ending and gave this up before it was done. Call again when it runs; repeating is safe."


@dataclass(slots=True)
class Caller:
    """What a write knows of whoever waits for it."""

    gone: bool = False


async def run_to_completion(noting: Coroutine[Any, Any, T]) -> tuple[T, bool]:
    """Do something with the ledger to its end, which is bounded, and say whether it was cancelled meanwhile.

    A commit that was begun can't be taken back: whoever left it would not know what the ledger says.
    """
    task = asyncio.get_running_loop().create_task(noting)
    cancelled = False
    # A cancelled scope would repeat itself all the time.
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError:
                cancelled = True
    return task.result(), cancelled
