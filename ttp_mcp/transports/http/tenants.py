"""Users of a multi-tenant server: each has its own tool context, created on first use and closed when idle."""

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
    """Raised when the maximum number of users all have calls in flight."""


@dataclass(slots=True)
class Tenant:
    """One user. `name` is a digest of the whole token: unique, and it reveals nothing of the token."""

    name: str
    context: ToolContext
    calls: int = 0
    last_used: float = 0.0

    @property
    def is_busy(self) -> bool:
        """True while a call or a write is in flight; a write may outlive its call."""
        return self.calls > 0 or self.context.writer.in_flight.count > 0


class Tenants:
    """Users by token, least recently used first. They share only the process and the store."""

    def __init__(
        self,
        create: Callable[[Token | None], ToolContext],
        *,
        most: int = MOST_TENANTS,
        idle_seconds: float = IDLE_SECONDS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up.

        Args:
            create: Creates the tool context of a user; None is the configured one.
            most: Maximum number of users.
            idle_seconds: Time without a call after which a user is closed.
            monotonic: Monotonic clock.
        """
        self._create = create
        self._most = most
        self._idle_seconds = idle_seconds
        self._monotonic = monotonic
        self._kept: OrderedDict[str, Tenant] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def add_only_user(self) -> ToolContext:
        """Add the user of a server for one account. Such a server never sweeps."""
        self._kept[""] = Tenant("", self._create(None))
        return self._kept[""].context

    @property
    def writes_in_flight(self) -> int:
        """Number of writes of all users without an outcome yet."""
        return sum(tenant.context.writer.in_flight.count for tenant in self._kept.values())

    @asynccontextmanager
    async def use(self, token: Token) -> AsyncGenerator[Tenant]:
        """Yield the user of a token, kept open while the block runs.

        Raises:
            TenantsBusy: The maximum number of users is reached and all are busy.
        """
        name = hashlib.sha256(token.reveal().encode()).hexdigest()
        tenant = self._kept.get(name)
        if tenant is None:
            evicted = self._make_room()
            tenant = self._kept[name] = Tenant(name, self._create(token))
        else:
            evicted = None
        self._kept.move_to_end(name)
        tenant.calls += 1
        try:
            if evicted is not None:
                await evicted.context.api.aclose()
            yield tenant
        finally:
            tenant.calls -= 1
            tenant.last_used = self._monotonic()

    async def sweep(self) -> None:
        """Close users that are idle for too long."""
        before = self._monotonic() - self._idle_seconds
        idle = [name for name, tenant in self._kept.items() if not tenant.is_busy and tenant.last_used <= before]
        closed = [self._kept.pop(name) for name in idle]
        for tenant in closed:
            await tenant.context.api.aclose()

    async def sweep_forever(self) -> None:
        """Sweep once a minute, until cancelled."""
        while True:
            await anyio.sleep(_SWEEP_SECONDS)
            await self.sweep()

    async def drain(self, seconds: float) -> bool:
        """Wait until no write is in flight; abandon those left after `seconds`. False if any was abandoned."""
        results: list[bool] = []

        async def drain(tenant: Tenant) -> None:
            results.append(await tenant.context.writer.in_flight.drain(seconds))

        async with anyio.create_task_group() as tasks:
            for tenant in self._kept.values():
                tasks.start_soon(drain, tenant)
        return all(results)

    async def aclose(self) -> None:
        """Close all connections."""
        while self._kept:
            await self._kept.popitem()[1].context.api.aclose()

    def _make_room(self) -> Tenant | None:
        if len(self._kept) < self._most:
            return None
        for name, tenant in self._kept.items():
            if not tenant.is_busy:
                return self._kept.pop(name)
        raise TenantsBusy
