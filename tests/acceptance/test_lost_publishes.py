"""B13: publishes whose responses are lost, in virtual time: nothing published twice, nothing falsely called done."""

import os
import random
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.acceptance.lossy_network import LossyHarness, draw_fates, meet_fate, open_lossy_harness
from tests.asgi import make_receive
from tests.virtual_time import START, VirtualTime
from ttp_mcp.api import PostCreate, ValidationFailed, retry
from ttp_mcp.ledger.publications import Publications
from ttp_mcp.writes import reconcile
from ttp_mcp.writes.writer import Writer

pytestmark = [pytest.mark.acceptance, pytest.mark.requirement("acceptance.b13")]

# Of a thousand publishes, 300 lose their answer.
PUBLISHES = 6700 if os.environ.get("TTP_ACCEPTANCE") == "full" else 300
SEED = 20261129
CALLERS = 4
TICK_SECONDS = 60.0


class LossyApi:
    """The sandbox behind a network that loses responses to publishes; counts the effects per post."""

    def __init__(self, app: ASGIApp, time: VirtualTime) -> None:
        self._app = app
        self._time = time
        self._random = random.Random(SEED)
        self.fates: dict[str, str] = {}
        self.effects: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].endswith("/publish"):
            await self._app(scope, receive, send)
            return
        post_id = scope["path"].split("/")[-2]
        # A fate is met once: a second request gets through.
        fate = self.fates.pop(post_id, "answered")

        async def commit(answer: Send) -> None:
            async def count(message: Message) -> None:
                self.effects[post_id] += message.get("status") == 200
                await answer(message)

            await self._app(scope, make_receive({"type": "http.request", "body": b"", "more_body": False}), count)

        await meet_fate(fate, commit, send, lambda action: self._time.plan(self._random.uniform(0.05, 3.0), action))


@dataclass
class Run(LossyHarness):
    """One run over a sandbox: the posts with their fates, and the last outcome of each."""

    lossy: LossyApi
    fates: dict[str, str] = field(default_factory=dict[str, str])
    outcomes: dict[str, str] = field(default_factory=dict[str, str])
    unknown: int = 0

    async def prepare(self, count: int) -> None:
        """Create the posts, half drafts and half scheduled, and draw their fates."""
        fates = draw_fates(count, SEED)
        for number, fate in enumerate(fates):
            due = START + timedelta(days=90) if number % 2 else None
            post = PostCreate(f"Post number {number:05d}", account_ids=(self.account,), scheduled_at=due)
            self.fates[(await self.api.posts.create(post)).id] = fate
        self.lossy.fates = {post_id: fate for post_id, fate in self.fates.items() if fate != "answered"}
        self.time.plan(TICK_SECONDS, self._tick)

    async def _tick(self) -> None:
        self.sandbox.tick()
        self.time.plan(TICK_SECONDS, self._tick)

    async def publish_all(self, writes: Writer) -> None:
        """Publish each post, a fifth of them twice, and after 100 s those with unknown outcome again."""
        await self._publish_each(writes, list(self.fates), twice=True)
        self.unknown = sum(outcome == "unknown" for outcome in self.outcomes.values())
        await self.time.sleep(100)
        again = [post_id for post_id, outcome in self.outcomes.items() if outcome == "unknown"]
        await self._publish_each(writes, again, twice=False)
        await self.time.sleep(2 * TICK_SECONDS)

    async def _publish_each(self, writes: Writer, waiting: list[str], *, twice: bool) -> None:
        async def work() -> None:
            while waiting:
                post_id = waiting.pop()
                self.outcomes[post_id] = await self._publish(writes, post_id)
                if twice and int(post_id, 36) % 5 == 0 and self.outcomes[post_id] != "refused":
                    await self._publish(writes, post_id)

        async with anyio.create_task_group() as tasks:
            for _ in range(CALLERS):
                tasks.start_soon(work)

    async def _publish(self, writes: Writer, post_id: str) -> str:
        """Publish as the tool does, from the current status."""
        post = await self.api.posts.get(post_id)
        if post.status in ("publishing", "published"):
            return "queued"
        try:
            return (await writes.publish(post, tool="publish_post")).outcome
        except ValidationFailed as error:
            return "refused" if error.status == 400 else "queued"


async def check_run(run: Run) -> Counter[str]:
    """The criteria of row B13, counted and asserted."""
    status = {post.id: post.status for post in await run.api.posts.list()}
    counts: Counter[str] = Counter(run.outcomes.values())
    counts["published twice"] = sum(run.lossy.effects[post_id] > 1 for post_id in run.fates)
    with run.sandbox.store.reading() as db:
        twice = db.execute("SELECT 1 FROM publications GROUP BY post_id, account_id HAVING count(*) > 1").fetchall()
    counts["published twice"] += len(twice)
    for post_id, outcome in run.outcomes.items():
        is_out = status[post_id] == "published"
        counts["done but not published"] += outcome in ("queued", "already_queued") and not is_out
        counts["refused but published"] += outcome == "refused" and is_out
    counts["without outcome"] = sum(record.outcome is None for record in await run.ledger.read_history(START))
    ambiguous = sum(fate not in ("answered", "refused") for fate in run.fates.values())
    found = f"{len(run.fates)} publishes, {ambiguous} ambiguous, {run.unknown} unknown at first, seed {SEED}"
    print(f"\nB13: {found}: {dict(counts)}")  # noqa: T201 - each row prints its counts
    for criterion in ("published twice", "done but not published", "refused but published", "without outcome"):
        assert counts[criterion] == 0, f"{criterion}: {counts[criterion]}"
    assert run.unknown <= len(run.fates) / 100, f"unknown: {run.unknown}"
    return counts


@pytest.fixture
async def run(tmp_path: Path) -> AsyncGenerator[Run]:
    """A sandbox behind a lossy network, in virtual time."""
    async with open_lossy_harness(tmp_path, LossyApi) as (harness, lossy):
        yield Run(**vars(harness), lossy=lossy)


async def test_lost_publish_responses_are_resolved(run: Run) -> None:
    """Row B13. A request that never arrived is sent again 100 s later, and nothing stays unknown."""
    await run.prepare(PUBLISHES)
    await run.publish_all(run.make_writer())

    counts = await check_run(run)
    assert counts["unknown"] == 0
    assert counts["refused"] == sum(fate == "refused" for fate in run.fates.values())


async def test_b13_fails_when_a_lost_publish_is_sent_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Posts are published twice."""
    monkeypatch.setitem(retry.ACTIONS, ("ambiguous", "write"), "retry")
    await run.prepare(60)
    await run.publish_all(run.make_writer())

    with pytest.raises(AssertionError, match="published twice"):
        await check_run(run)


async def test_b13_fails_without_the_ledger(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second call sends a second request."""
    monkeypatch.setattr(Publications, "is_recent", lambda *_: False)
    await run.prepare(60)
    await run.publish_all(run.make_writer())

    with pytest.raises(AssertionError, match="published twice"):
        await check_run(run)


async def test_b13_fails_without_the_search(run: Run) -> None:
    """Too many outcomes are unknown."""
    await run.prepare(60)
    await run.publish_all(run.make_writer(deadline_seconds=0, min_search_seconds=0))

    with pytest.raises(AssertionError, match="unknown"):
        await check_run(run)


async def test_b13_fails_when_any_status_counts_as_published(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A post that no request reached is called done."""
    monkeypatch.setattr(reconcile, "has_started", lambda *_: True)
    await run.prepare(60)
    await run.publish_all(run.make_writer())

    with pytest.raises(AssertionError, match="done but not published"):
        await check_run(run)
