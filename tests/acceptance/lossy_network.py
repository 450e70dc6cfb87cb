"""A network that loses responses to writes, in virtual time, between an API client and the sandbox."""

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from starlette.types import ASGIApp, Send

from tests.asgi import discard_message, send_response
from tests.support.workspaces import open_workspace
from tests.virtual_time import VirtualTime
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import Clocks
from ttp_mcp.api.http import Http
from ttp_mcp.credentials import Token
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import scope_of
from ttp_mcp.ledger.store.sqlite import SqliteStore
from ttp_mcp.sandbox import Sandbox
from ttp_mcp.writes.writer import Writer

App = TypeVar("App", bound=ASGIApp)

# Of a thousand writes; the rest is answered normally. 300 are ambiguous, of which 5 never arrive.
PER_THOUSAND = {
    "lost after commit": 75,
    "502 after commit": 40,
    "page after commit": 30,
    "commits late": 150,
    "never arrives": 5,
    "refused": 50,
}


@dataclass
class LossyHarness:
    """A sandbox, a client and a ledger, and an account to post to."""

    time: VirtualTime
    sandbox: Sandbox
    api: ApiClient
    ledger: Ledger
    account: str

    def make_writer(self, **options: float) -> Writer:
        """Return a writer in virtual time."""
        time = self.time
        return Writer(self.api, self.ledger, monotonic=time.monotonic, sleep=time.sleep, now=time.clock.now, **options)


def draw_fates(count: int, seed: int) -> list[str]:
    """Return a fate for each write: `answered`, or one of `PER_THOUSAND`."""
    fates = [fate for fate, share in PER_THOUSAND.items() for _ in range(max(1, count * share // 1000))]
    fates += ["answered"] * (count - len(fates))
    random.Random(seed).shuffle(fates)
    return fates


async def meet_fate(
    fate: str,
    commit: Callable[[Send], Awaitable[None]],
    send: Send,
    plan: Callable[[Callable[[], Awaitable[None]]], object],
) -> None:
    """Answer a write by its fate.

    Args:
        fate: One of `draw_fates`.
        commit: Lets the sandbox do it; its response goes to the argument.
        send: Where the client gets its response.
        plan: Calls a function a little later.
    """
    if fate in ("lost after commit", "502 after commit", "page after commit"):
        await commit(discard_message)
    if fate == "commits late":
        plan(lambda: commit(discard_message))
    if fate == "answered":
        await commit(send)
    elif fate == "refused":
        await send_response(send, 400, b'{"success": false, "message": "not today"}')
    elif fate == "502 after commit":
        await send_response(send, 502)
    elif fate == "page after commit":
        await send_response(send, 200, b"<html>")
    else:
        raise ConnectionResetError


@asynccontextmanager
async def open_lossy_harness(
    folder: Path, make_lossy: Callable[[ASGIApp, VirtualTime], App]
) -> AsyncGenerator[tuple[LossyHarness, App]]:
    """Open a sandbox behind a lossy network, and a ledger, in virtual time."""
    time = VirtualTime()
    with open_workspace(folder / "sandbox", time.clock) as sandbox:
        lossy = make_lossy(sandbox.app, time)
        clocks = Clocks(monotonic=time.monotonic, sleep=time.sleep, now=time.clock.now)
        api = ApiClient(Http(base_url=sandbox.api_url, token=Token(sandbox.token), app=lossy, clocks=clocks))
        state = SqliteStore(folder / "state")
        ledger = Ledger(state, scope_of(api.base_url, api.token, None), time.clock.now)
        account = next(each.id for each in await api.integrations.list() if each.platform == "linkedin")
        yield LossyHarness(time, sandbox, api, ledger, account), lossy
        await api.aclose()
        await state.aclose()
