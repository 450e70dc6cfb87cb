"""B9: calls cancelled at random points: reads stop at once, and every write gets an outcome."""

import os
import random
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.asgi import discard_message
from ttp_mcp.api import ApiError, NotFound, PostCreate
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import Clocks
from ttp_mcp.api.http import Http
from ttp_mcp.credentials import Token
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import scope_of
from ttp_mcp.ledger.store.base import CommitResult, Delete, Entry, Put, RateCap
from ttp_mcp.ledger.store.sqlite import SqliteStore
from ttp_mcp.sandbox import Sandbox
from ttp_mcp.sandbox.clock import ManualClock
from ttp_mcp.writes.in_flight import Caller, InFlight
from ttp_mcp.writes.writer import Writer

pytestmark = [pytest.mark.acceptance, pytest.mark.requirement("acceptance.b9")]

CALLS = 1000 if os.environ.get("TTP_ACCEPTANCE") == "full" else 200
SEED = 20261124
START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
# A call passes some of these: before and after each use of the ledger, and up to twice ten on the way to the API and back.
MOST_POINTS = 30


class Points:
    """Points passed during a call; the call is cancelled at one of them."""

    def __init__(self) -> None:
        self._left = 0
        self._cancel: Callable[[], None] | None = None

    def cancel_at(self, point: int, cancel: Callable[[], None]) -> None:
        self._left, self._cancel = point, cancel

    async def reach(self) -> None:
        self._left -= 1
        if self._left == 0 and self._cancel is not None:
            self._cancel()
        await anyio.sleep(0)


class PointedState(SqliteStore):
    """A ledger store with a cancellation point before and after each use."""

    points: Points

    async def get(self, scope: str, kind: str, keys: Sequence[str], now: datetime) -> dict[str, Entry]:
        await self.points.reach()
        return await super().get(scope, kind, keys, now)

    async def commit(
        self, scope: str, steps: Sequence[Put | Delete], now: datetime, cap: RateCap | None = None
    ) -> CommitResult:
        await self.points.reach()
        applied = await super().commit(scope, steps, now, cap)
        await self.points.reach()
        return applied


class SlowApi:
    """The sandbox, several points away; it loses every tenth response to a write."""

    def __init__(self, app: ASGIApp, points: Points, seed: int) -> None:
        self._app = app
        self._points = points
        self._random = random.Random(seed)
        self.active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.active += 1
        try:
            await self._way()
            if scope["method"] != "GET" and self._random.random() < 0.1:
                await self._app(scope, receive, discard_message)
                raise ConnectionResetError
            messages: list[Message] = []

            async def keep(message: Message) -> None:
                messages.append(message)

            await self._app(scope, receive, keep)
            await self._way()
            for message in messages:
                await send(message)
        finally:
            self.active -= 1

    async def _way(self) -> None:
        for _ in range(self._random.randrange(10)):
            await self._points.reach()


async def _yield_to_loop(seconds: float) -> None:
    """Wait for one turn of the event loop; the clock doesn't move."""
    await anyio.sleep(0)


@dataclass
class Run:
    """Calls made and their outcomes."""

    api: ApiClient
    slow: SlowApi
    points: Points
    ledger: Ledger
    writes: Writer
    account: str
    counts: Counter[str] = field(default_factory=Counter[str])

    def post(self, number: int) -> PostCreate:
        due = START + timedelta(days=30, minutes=number)
        return PostCreate(f"Call number {number}", account_ids=(self.account,), scheduled_at=due)

    async def cancel_calls(self, count: int, kinds: Sequence[str] = ("read", "create", "delete")) -> None:
        """Make `number` calls, equally many of each kind, and cancel each at a random point."""
        chance = random.Random(SEED)
        for number in range(count):
            kind = chance.choice(kinds)
            await self._cancelled(kind, self._call(kind, number), chance.randrange(1, MOST_POINTS))

    async def _call(self, kind: str, number: int) -> Callable[[], Awaitable[object]]:
        if kind == "read":
            return self.api.posts.list
        if kind == "create":
            return lambda: self.writes.create(self.post(number), tool="create_post")
        post = await self._existing(number)
        return lambda: self.writes.delete(post, tool="delete_post")

    async def _existing(self, number: int) -> str:
        while True:
            try:
                return (await self.api.posts.create(self.post(number + 100_000))).id
            except ApiError:
                # Lost by the slow network: another one will do.
                continue

    async def _cancelled(
        self, kind: str, preparing: Coroutine[Any, Any, Callable[[], Awaitable[object]]], point: int
    ) -> None:
        call = await preparing
        answered = False

        async def work() -> None:
            nonlocal answered
            await call()
            answered = True

        # A cancelled call that does not come back would hang for ever: bounded, as every wait is.
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                self.points.cancel_at(point, tasks.cancel_scope.cancel)
                tasks.start_soon(work)
        self.counts[f"{kind} {'answered' if answered else 'cancelled'}"] += 1
        if kind == "read":
            self.counts["reads not released"] += self.slow.active


async def check_run(run: Run) -> None:
    """The criteria of row B9, counted and asserted."""
    counts = run.counts
    for record in await run.ledger.read_history(START - timedelta(days=1)):
        counts[f"noted {record.kind} {record.outcome}"] += 1
        there = record.post_id is not None and await _is_there(run.api, record.post_id)
        counts["noted wrongly"] += record.outcome == "created" and not there
        counts["noted wrongly"] += record.outcome in ("deleted", "already_gone") and there
        counts["without outcome"] += record.outcome is None
    noted = {record.post_id for record in await run.ledger.read_history(START - timedelta(days=1))}
    made = {post.id for post in await run.api.posts.list() if post.content in _list_texts(run)}
    counts["made but not noted"] = len(made - noted)
    counts["in flight"] = run.writes.in_flight.count
    counts["requests left"] = run.slow.active
    calls = sum(count for name, count in counts.items() if name.endswith((" answered", " cancelled")))
    print(f"\nB9: {calls} calls, seed {SEED}: {dict(sorted(counts.items()))}")  # noqa: T201 - each row prints its counts
    for criterion in (
        "without outcome",
        "noted wrongly",
        "made but not noted",
        "in flight",
        "requests left",
        "reads not released",
    ):
        assert counts[criterion] == 0, f"{criterion}: {counts[criterion]}"


def _list_texts(run: Run) -> set[str]:
    return {run.post(number).content for number in range(CALLS)}


async def _is_there(api: ApiClient, post_id: str) -> bool:
    try:
        await api.posts.get(post_id)
    except NotFound:
        return False
    return True


@pytest.fixture
async def run(tmp_path: Path) -> AsyncGenerator[Run]:
    """A sandbox that is several points away."""
    clock = ManualClock(START)
    turns = 0.0

    def monotonic() -> float:
        nonlocal turns
        turns += 0.01
        return turns

    with Sandbox(tmp_path / "sandbox", clock=clock) as sandbox:
        points = Points()
        slow = SlowApi(sandbox.app, points, SEED)
        token = Token(sandbox.token)
        api = ApiClient(
            Http(
                base_url=sandbox.api_url,
                token=token,
                app=slow,
                clocks=Clocks(sleep=_yield_to_loop, monotonic=monotonic, now=clock.now),
            )
        )
        state = PointedState(tmp_path / "state")
        state.points = points
        ledger = Ledger(state, scope_of(api.base_url, token, None), clock.now)
        writes = Writer(api, ledger, sleep=_yield_to_loop, monotonic=monotonic, now=clock.now)
        account = next(each.id for each in await api.integrations.list() if each.platform == "linkedin")
        yield Run(api, slow, points, ledger, writes, account)
        await api.aclose()
        await state.aclose()


async def test_cancelled_calls_leave_nothing_open(run: Run) -> None:
    """Row B9."""
    await run.cancel_calls(CALLS)

    await check_run(run)
    assert run.counts["create cancelled"] > CALLS / 20
    assert run.counts["noted create created"] > CALLS / 20


async def test_b9_fails_when_a_write_ends_with_its_caller(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its own task, a cancelled write never learns its outcome."""

    async def as_part_of_the_caller(self: InFlight, write: Callable[[Caller], Awaitable[object]]) -> object:
        with self.track():
            return await write(Caller())

    monkeypatch.setattr(InFlight, "run_detached", as_part_of_the_caller)
    await run.cancel_calls(60)

    with pytest.raises(AssertionError, match="made but not noted"):
        await check_run(run)


async def test_b9_fails_when_a_read_outlives_its_caller(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that isn't cancelled is still in flight after its caller is gone."""
    listing = run.api.posts.list

    async with anyio.create_task_group() as tasks:

        async def read_in_the_background() -> object:
            tasks.start_soon(listing)
            while True:
                await run.points.reach()

        with monkeypatch.context() as patched:
            patched.setattr(run.api.posts, "list", read_in_the_background)
            await run.cancel_calls(20, ["read"])

    with pytest.raises(AssertionError, match="reads not released"):
        await check_run(run)
