"""The users of a server for several: each has surroundings of their own, made on first use and closed when idle."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from ttp_mcp.credentials import Token
from ttp_mcp.toolkit.context import ToolContext

MOST_TENANTS = 500
IDLE_SECONDS = 600.0
_SWEEP_SECONDS = 60.0


class TenantsBusy(Exception):
    """As many users as are served at once have calls under way."""


@dataclass(slots=True)
class Tenant:
    """One user. `name` is a digest of the whole token, so two tokens never meet, and it tells nothing of the token."""

    name: str
    app: ToolContext
    calls: int = 0
    last_used: float = 0.0

    @property
    def busy(self) -> bool:
        """Whether a call or a write is under way; a write may outlive its call."""
        return self.calls > 0 or self.app.writer.in_flight.count > 0


class Tenants:
    """Users by token, least recently used first. Nothing is shared between them but the process and its store of state."""

    def __init__(
        self,
        make: Callable[[Token], ToolContext],
        *,
        most: int = MOST_TENANTS,
        idle_seconds: float = IDLE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up.

        Args:
            make: Makes the surroundings of one user.
            most: How many are kept.
            idle_seconds: After so long without a call they are closed.
            monotonic: Seconds of a clock that never goes back.
        """
        self._make = make
        self._most = most
        self._idle_seconds = idle_seconds
        self._monotonic = monotonic
        self._kept: OrderedDict[str, Tenant] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def writes_in_flight(self) -> int:
        """How many writes of all users have no outcome yet."""
        return sum(tenant.app.writer.in_flight.count for tenant in self._kept.values())

    @asynccontextmanager
    async def use(self, token: Token) -> AsyncGenerator[Tenant]:
        """The user of a token, kept open while the block runs.

        Raises:
            TenantsBusy: There is no room for one more.
        """
        name = hashlib.sha256(token.reveal().encode()).hexdigest()
        tenant = self._kept.get(name)
        if tenant is None:
            evicted = self._make_room()
            tenant = self._kept[name] = Tenant(name, self._make(token))
        else:
            evicted = None
        self._kept.move_to_end(name)
        tenant.calls += 1
        try:
            if evicted is not None:
                await evicted.app.api.aclose()
            yield tenant
        finally:
            tenant.calls -= 1
            tenant.last_used = self._monotonic()

    async def sweep(self) -> None:
        """Close who has been idle for long enough."""
        before = self._monotonic() - self._idle_seconds
        idle = [name for name, tenant in self._kept.items() if not tenant.busy and tenant.last_used <= before]
        closed = [self._kept.pop(name) for name in idle]
        for tenant in closed:
            await tenant.app.api.aclose()

    async def sweep_forever(self) -> None:
        """Sweep once a minute, until cancelled."""
        while True:
            await anyio.sleep(_SWEEP_SECONDS)
            await self.sweep()

    async def drain(self, seconds: float) -> bool:
        """Wait until no write is in flight; what is left after so many seconds is given up. False if any was."""
        results: list[bool] = []

        async def drain(tenant: Tenant) -> None:
            results.append(await tenant.app.writer.in_flight.drain(seconds))

        async with anyio.create_task_group() as tasks:
            for tenant in self._kept.values():
                tasks.start_soon(drain, tenant)
        return all(results)

    async def aclose(self) -> None:
        """Close all connections."""
        while self._kept:
            await self._kept.popitem()[1].app.api.aclose()

    def _make_room(self) -> Tenant | None:
        if len(self._kept) < self._most:
            return None
        for name, tenant in self._kept.items():
            if not tenant.busy:
                return self._kept.pop(name)
        raise TenantsBusy
