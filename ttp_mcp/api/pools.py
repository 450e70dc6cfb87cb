"""Connections in small groups, since the HTTP client looks at each of a group's idle ones before every request."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2

# With 64 in one group that looking costs more CPU than the request itself.
GROUP = 8


@dataclass(slots=True)
class _Pool:
    client: httpx2.AsyncClient
    in_use: int = 0


class Pools:
    """HTTP clients that are alike, each for a few requests at once; a further one is made when those are busy."""

    def __init__(self, make: Callable[[], httpx2.AsyncClient]) -> None:
        """Nothing is made before the first request."""
        self._make = make
        self._pools: list[_Pool] = []

    @contextmanager
    def take(self) -> Generator[httpx2.AsyncClient]:
        """The client for one request, until its answer is closed."""
        pool = next((each for each in self._pools if each.in_use < GROUP), None)
        if pool is None:
            pool = _Pool(self._make())
            self._pools.append(pool)
        pool.in_use += 1
        try:
            yield pool.client
        finally:
            pool.in_use -= 1

    async def aclose(self) -> None:
        """Close all of them; a later request makes new ones."""
        pools, self._pools = self._pools, []
        for pool in pools:
            await pool.client.aclose()
