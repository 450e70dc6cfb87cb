"""C4: while requests and responses are lost and posts get published, every answer is true."""

import json
import os
import random
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.acceptance.history import RECORDER, Event, Life, count_violations, read_lives
from tests.asgi import discard_message, make_receive, send_response
from tests.virtual_time import START, VirtualTime
from ttp_mcp.api import ApiError, NotFound, Post, PostCreate, retry
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import Clocks
from ttp_mcp.api.http import Http
from ttp_mcp.credentials import Token
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import scope_of
from ttp_mcp.ledger.store.sqlite import SqliteStore
from ttp_mcp.sandbox import Sandbox
from ttp_mcp.sandbox.clock import to_ms
from ttp_mcp.writes.outcomes import EarlierAttempt
from ttp_mcp.writes.writer import Writer

pytestmark = [pytest.mark.acceptance, pytest.mark.requirement("acceptance.c4")]

CALLS = 1000 if os.environ.get("TTP_ACCEPTANCE") == "full" else 60
AGENTS = 4
SEED = 20261124
# The connection of the last one has expired.
ACCOUNTS = ("acc_twitter", "acc_linkedin", "acc_tiktok")

# What happens to one request in a hundred; the rest is answered. All but the last two are the sandbox's own faults.
READ_FAULTS = {"reset-before": 3, "500": 2, "503": 3, "truncated": 3, "html": 2, "429;seconds=1": 2}
WRITE_FAULTS = {
    "reset-before": 5,
    "reset-after": 8,
    "500": 3,
    "503": 3,
    "truncated": 5,
    "html": 3,
    "429;seconds=1": 3,
    "delay;seconds=0.001": 5,
    "commits late": 8,
    "502 after commit": 5,
}


class SharedTime(VirtualTime):
    """A clock that jumps to the next deadline once every task waits, so all tasks sleep concurrently."""

    async def sleep(self, seconds: float) -> None:
        over = anyio.Event()

        async def wake() -> None:
            over.set()

        self.plan(seconds, wake)
        await over.wait()

    async def drive(self) -> None:
        """Advance time until cancelled."""
        threads = anyio.to_thread.current_default_thread_limiter()
        while True:
            passes = 0
            while passes < 10:
                passes = passes + 1 if threads.borrowed_tokens == 0 else 0
                await anyio.sleep(0 if passes else 0.0005)
            if self._planned:
                await self._next()


class Outages:
    """The sandbox behind an unreliable network and service."""

    def __init__(self, app: ASGIApp, time: SharedTime, seed: int) -> None:
        self._app = app
        self._time = time
        self._chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.fine = True

    def _fault(self, method: str) -> str:
        faults = READ_FAULTS if method == "GET" else WRITE_FAULTS
        drawn = self._chance.randrange(100)
        for fault, share in faults.items():
            if drawn < share:
                return fault
            drawn -= share
        return "none"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = "none" if self.fine else self._fault(scope["method"])
        self.counts[fault] += 1
        if fault == "none":
            await self._app(scope, receive, send)
        elif fault == "commits late":
            message = await receive()
            self._time.plan(
                self._chance.uniform(0.05, 3.0), lambda: self._app(scope, make_receive(message), discard_message)
            )
            raise ConnectionResetError
        elif fault == "502 after commit":
            await self._app(scope, receive, discard_message)
            await send_response(send, 502)
        else:
            headers = [*scope["headers"], (b"x-sandbox-fault", fault.encode())]
            await self._app({**scope, "headers": headers}, receive, send)


@dataclass
class Harness:
    """A sandbox with faults, two processes that share a ledger, and the agents' answers."""

    time: SharedTime
    sandbox: Sandbox
    outages: Outages
    api: ApiClient
    ledger: Ledger
    processes: list[Writer]
    events: list[Event] = field(default_factory=list[Event])

    def count_events(self) -> int:
        """Return the length of the history."""
        found = self.sandbox.store.connection().execute("SELECT max(seq) FROM truth").fetchone()[0]
        return found or 0

    async def publish(self) -> None:
        await anyio.to_thread.run_sync(self.sandbox.tick)


class Agent:
    """Create, move, delete and read its own posts, and sometimes forget that it did."""

    def __init__(self, harness: Harness, number: int) -> None:
        self._harness = harness
        self._writes = harness.processes[number % len(harness.processes)]
        self._chance = random.Random(SEED + number)
        self._name = f"Agent {number}"
        self._posts: list[tuple[str, PostCreate]] = []
        self._gone: list[str] = []
        self._asked: dict[str, list[datetime]] = {}
        self._wishes = 0

    async def work(self, calls: int) -> None:
        actions = (self._create, self._create, self._delete, self._reschedule, self._get, self._list)
        for _ in range(calls):
            await self._chance.choice(actions)()
            await self._harness.time.sleep(self._chance.choice((0, 1, 10, 60, 180)))

    def _due(self) -> datetime:
        whole = self._harness.time.clock.now().replace(microsecond=0)
        return whole + timedelta(seconds=self._chance.choice((20, 90, 300, 1800)))

    async def _create(self) -> None:
        self._wishes += 1
        accounts = tuple(self._chance.sample(ACCOUNTS, self._chance.choice((1, 1, 2))))
        due = self._due() if self._chance.random() < 0.8 else None
        post = PostCreate(f"{self._name}, wish {self._wishes}", account_ids=accounts, scheduled_at=due)
        outcome, post_id = await self._ask(post)
        # Without an answer, or forgetful: repeat the call.
        if outcome == "unknown" or self._chance.random() < 0.15:
            _, again = await self._ask(post)
            post_id = post_id or again
        if post_id:
            self._posts.append((post_id, post))

    async def _ask(self, post: PostCreate) -> tuple[str, str | None]:
        began, post_id = self._harness.count_events(), None
        try:
            created = await self._writes.create(post, tool="create_post")
            outcome, post_id = created.outcome, created.post_id
        except EarlierAttempt:
            outcome = "unknown"
        except ApiError:
            outcome = "not_created"
        key = (post.content, post.scheduled_at and to_ms(post.scheduled_at))
        self._note("create", outcome, began, key=key, post_id=post_id)
        return outcome, post_id

    def _another_due(self, post: PostCreate) -> datetime:
        """Return a time minutes away from all others, since the ledger merges requests within one minute."""
        asked = self._asked.setdefault(post.content, [post.scheduled_at or START])
        asked.append(max(*asked, self._due()) + timedelta(minutes=5))
        return asked[-1]

    async def _delete(self) -> None:
        if self._posts:
            post_id, _ = self._posts.pop(self._chance.randrange(len(self._posts)))
            await self._remove(post_id)

    async def _remove(self, post_id: str) -> None:
        began = self._harness.count_events()
        try:
            outcome = (await self._writes.delete(post_id, tool="delete_post")).outcome
        except NotFound:
            outcome = "already_gone"
        except ApiError:
            outcome = "refused"
        self._note("delete", outcome, began, post_id=post_id)
        self._gone.append(post_id)

    async def _reschedule(self) -> None:
        """Create the replacement first, as the tool does."""
        waiting = [entry for entry in self._posts if entry[1].scheduled_at]
        if not waiting:
            return
        post_id, post = entry = self._chance.choice(waiting)
        moved = PostCreate(post.content, account_ids=post.account_ids, scheduled_at=self._another_due(post))
        outcome, new_id = await self._ask(moved)
        if outcome == "created" and new_id:
            self._posts.remove(entry)
            self._posts.append((new_id, moved))
            await self._remove(post_id)

    async def _get(self) -> None:
        known = [post_id for post_id, _ in self._posts] + self._gone
        if not known:
            return
        post_id, began, status = self._chance.choice(known), self._harness.count_events(), None
        try:
            status = (await self._harness.api.posts.get(post_id)).status
            outcome = "found"
        except NotFound:
            outcome = "not_found"
        except ApiError:
            outcome = "error"
        self._note("get", outcome, began, post_id=post_id, status=status)

    async def _list(self) -> None:
        began = self._harness.count_events()
        posts: list[Post] = []
        try:
            posts = await self._harness.api.posts.list()
            outcome = "listed"
        except ApiError:
            outcome = "error"
        self._note("list", outcome, began, listed=tuple(post.id for post in posts))

    def _note(self, call: str, outcome: str, began: int, **more: object) -> None:
        self._harness.events.append(Event(call, outcome, began, self._harness.count_events(), **more))


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncGenerator[Harness]:
    """Everything in one process, in virtual time."""
    time = SharedTime()
    with Sandbox(tmp_path / "sandbox", clock=time.clock, empty=True, faults_by_header=True) as sandbox:
        with sandbox.store.writing() as db:
            for position, name in enumerate(ACCOUNTS):
                status = "expired" if name == ACCOUNTS[-1] else "connected"
                db.execute(
                    "INSERT INTO accounts VALUES (?, 'org_empty', ?, ?, ?, NULL, ?, NULL, 1, 1000, 0)",
                    (name, position, "twitter", name, status),
                )
        sandbox.store.connection().executescript(RECORDER)
        outages = Outages(sandbox.app, time, SEED)
        api = ApiClient(
            Http(
                base_url=sandbox.api_url,
                token=Token(sandbox.token),
                app=outages,
                clocks=Clocks(monotonic=time.monotonic, sleep=time.sleep, now=time.clock.now),
            )
        )
        state = SqliteStore(tmp_path / "state")
        ledger = Ledger(state, scope_of(api.base_url, api.token, None), time.clock.now)
        processes = [
            Writer(api, ledger, monotonic=time.monotonic, sleep=time.sleep, now=time.clock.now) for _ in range(2)
        ]
        yield Harness(time, sandbox, outages, api, ledger, processes)
        await api.aclose()
        await state.aclose()


async def run_agents(harness: Harness, calls: int) -> None:
    """Let the agents work while a worker publishes, then wait until everything in flight has arrived or come due."""
    await harness.api.posts.list()
    harness.outages.fine = False
    async with anyio.create_task_group() as driving:
        driving.start_soon(harness.time.drive)
        async with anyio.create_task_group() as worker:

            async def publishing() -> None:
                while True:
                    await harness.publish()
                    await harness.time.sleep(20)

            worker.start_soon(publishing)
            async with anyio.create_task_group() as agents:
                for number in range(AGENTS):
                    agents.start_soon(Agent(harness, number).work, calls)
            worker.cancel_scope.cancel()
        await harness.time.sleep(60)
        await harness.time.sleep(24 * 3600)
        driving.cancel_scope.cancel()
    await harness.publish()


async def check_history(harness: Harness) -> Counter[str]:
    """Check row C4: no violations, and minimum counts so that the run means something."""
    truth = read_lives(harness.sandbox.store.connection())
    reported = Counter(f"{event.call}: {event.outcome}" for event in harness.events)
    found = count_violations(harness.events, truth)
    without = sum(record.outcome is None for record in await harness.ledger.read_history(START))
    published = sum(len(life.shown) for life in truth.values())
    faults = {fault: count for fault, count in harness.outages.counts.items() if fault != "none"}
    print(  # noqa: T201 - each row prints its counts
        f"\nC4: {AGENTS} agents, {len(harness.events)} calls, seed {SEED}, {len(truth)} posts, {published} publications, "
        f"{sum(faults.values())} faults: {json.dumps(faults)}; reported: {json.dumps(reported)}; violations: {json.dumps(found)}"
    )
    assert found == Counter()
    assert without == 0, "a write has no outcome"
    return reported


async def test_answers_match_what_happened(harness: Harness) -> None:
    """Row C4."""
    await run_agents(harness, CALLS)
    reported = await check_history(harness)
    assert {"create: created", "delete: deleted", "get: found", "get: not_found", "list: listed"} <= set(reported)


async def test_c4_fails_when_lost_writes_are_sent_again(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checker finds duplicate posts."""
    monkeypatch.setitem(retry.ACTIONS, ("ambiguous", "write"), "retry")
    await run_agents(harness, 25)
    with pytest.raises(AssertionError, match="created twice"):
        await check_history(harness)


# The checker itself: for each violation the smallest history that has it.

KEY = ("Text", 1)


def make_life(**changes: object) -> Life:
    """A post that was created by event 1 and published by events 3 and 4."""
    ordinary = {"key": KEY, "born": 1, "statuses": [(1, "scheduled"), (2, "publishing"), (4, "published")]}
    return Life(**{**ordinary, "shown": [(3, "a")], **changes})


def make_event(call: str, outcome: str, began: int = 0, ended: int = 1, **more: object) -> Event:
    return Event(call, outcome, began, ended, **{"key": KEY, "post_id": "p", **more})


def test_ordinary_history_has_no_violations() -> None:
    """Valid answers about one post, from creation to publication."""
    events = [
        make_event("create", "created"),
        make_event("create", "already_created", 1, 1),
        make_event("create", "unknown", 1, 1),
        make_event("get", "found", 1, 2, status="publishing"),
        make_event("list", "listed", 1, 2, listed=("p",)),
        make_event("delete", "refused", 2, 2),
        make_event("get", "error", 2, 2),
        make_event("list", "error", 2, 2),
        make_event("delete", "deleted", 4, 5),
        make_event("delete", "already_gone", 5, 5),
        make_event("get", "not_found", 4, 5),
        make_event("list", "listed", 5, 5),
    ]
    assert count_violations(events, {"p": make_life(gone=5)}) == Counter()
    assert count_violations([make_event("create", "not_created", post_id=None)], {}) == Counter()


@pytest.mark.parametrize(
    ("violation", "events", "truth"),
    [
        ("published twice", [], {"p": make_life(shown=[(3, "a"), (4, "a")])}),
        ("published after it was deleted", [], {"p": make_life(gone=2)}),
        ("published early", [], {"p": make_life(early=1)}),
        ("published and not reported", [], {"p": make_life(statuses=[(1, "scheduled"), (2, "failed")])}),
        ("never finished", [], {"p": make_life(statuses=[(1, "scheduled")], shown=[])}),
        ("created twice", [make_event("create", "created")], {"p": make_life(), "q": make_life(born=2)}),
        ("created but missing", [make_event("create", "created")], {}),
        ("created but missing", [make_event("create", "already_created")], {"p": make_life(born=2)}),
        ("an older post given out as created", [make_event("create", "created", 1, 2)], {"p": make_life()}),
        ("not created but there", [make_event("create", "not_created", post_id=None)], {"p": make_life()}),
        ("deleted but there", [make_event("delete", "deleted", 4, 5)], {"p": make_life(gone=6)}),
        ("deleted but there", [make_event("delete", "already_gone", 4, 5)], {"p": make_life()}),
        ("not deleted but gone", [make_event("delete", "refused", 4, 5)], {"p": make_life(gone=5)}),
        ("not found but there", [make_event("get", "not_found", 4, 5)], {"p": make_life()}),
        ("found but gone", [make_event("get", "found", 5, 5, status="published")], {"p": make_life(gone=5)}),
        ("a status that it did not have", [make_event("get", "found", 4, 5, status="scheduled")], {"p": make_life()}),
        ("not listed but there", [make_event("list", "listed", 4, 5)], {"p": make_life()}),
        ("listed but not there", [make_event("list", "listed", 5, 5, listed=("p",))], {"p": make_life(gone=5)}),
        ("listed but not there", [make_event("list", "listed", 0, 0, listed=("p",))], {"p": make_life()}),
        ("listed twice", [make_event("list", "listed", 4, 4, listed=("p", "p"))], {"p": make_life()}),
    ],
)
def test_checker_finds_each_violation(violation: str, events: list[Event], truth: dict[str, Life]) -> None:
    """Each violation is found, and nothing else."""
    assert count_violations(events, truth) == Counter([violation])
