"""B2: creates whose responses are lost, in virtual time: no duplicates, no false claims, few unknowns."""

import os
import random
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.acceptance.lossy_network import LossyHarness, draw_fates, meet_fate, open_lossy_harness
from tests.asgi import make_receive
from tests.virtual_time import START, VirtualTime
from ttp_mcp.api import PostCreate, ValidationFailed, retry
from ttp_mcp.writes import reconcile
from ttp_mcp.writes.outcomes import EarlierAttempt
from ttp_mcp.writes.writer import Writer

pytestmark = [pytest.mark.acceptance, pytest.mark.requirement("acceptance.b2")]

CREATES = 2000 if os.environ.get("TTP_ACCEPTANCE") == "full" else 300
SEED = 20261124
CALLERS = 4


class LossyApi:
    """The sandbox behind a network that loses responses; `fates` maps a post's text to its fate."""

    def __init__(self, app: ASGIApp, time: VirtualTime) -> None:
        self._app = app
        self._time = time
        self._random = random.Random(SEED)
        self.fates: dict[bytes, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = (await receive())["body"]
        # A fate is met once: whoever sends again gets through.
        fate = next((self.fates.pop(text) for text in list(self.fates) if text in body), "answered")

        async def commit(answer: Send) -> None:
            await self._app(scope, make_receive({"type": "http.request", "body": body, "more_body": False}), answer)

        await meet_fate(fate, commit, send, lambda action: self._time.plan(self._random.uniform(0.05, 3.0), action))


@dataclass
class Run(LossyHarness):
    """One run over a sandbox: requests, answers and the resulting posts."""

    lossy: LossyApi
    said: dict[str, tuple[str, str | None]] = field(default_factory=dict[str, tuple[str, str | None]])
    old: dict[str, str] = field(default_factory=dict[str, str])
    fates: dict[str, str] = field(default_factory=dict[str, str])

    def post(self, text: str) -> PostCreate:
        return PostCreate(text, account_ids=(self.account,), scheduled_at=START + timedelta(days=90))

    async def prepare(self, count: int) -> None:
        """Draw the fates. Half of the posts that never arrive have an older equal one."""
        fates = draw_fates(count, SEED)
        self.fates = {f"Post number {number:05d}": fate for number, fate in enumerate(fates)}
        for text in [text for text, fate in self.fates.items() if fate == "never arrives"][::2]:
            self.old[text] = (await self.api.posts.create(self.post(text))).id
        self.time.clock.move(3600)
        self.lossy.fates = {text.encode(): fate for text, fate in self.fates.items() if fate != "answered"}

    async def create_all(self, writes: Writer) -> None:
        """Create each post, and a fifth of them again, like an agent that lost track."""
        waiting = list(self.fates)

        async def work() -> None:
            while waiting:
                text = waiting.pop()
                self.said[text] = await self._create(writes, text)
                if int(text[-1]) in (3, 7) and self.said[text][0] != "not_created":
                    again = await self._create(writes, text)
                    if again[0] == "already_created":
                        self.said[text] = again

        async with anyio.create_task_group() as tasks:
            for _ in range(CALLERS):
                tasks.start_soon(work)
        # Whatever is still on its way arrives.
        await self.time.sleep(60)

    async def _create(self, writes: Writer, text: str) -> tuple[str, str | None]:
        try:
            created = await writes.create(self.post(text), tool="create_post")
        except ValidationFailed:
            return "not_created", None
        except EarlierAttempt:
            return "unknown", None
        return created.outcome, created.post_id


async def check_run(run: Run) -> Counter[str]:
    """The criteria of row B2, counted and asserted."""
    there: dict[str, list[str]] = {}
    for post in await run.api.posts.list():
        if post.content in run.fates and post.id not in run.old.values():
            there.setdefault(post.content, []).append(post.id)
    counts: Counter[str] = Counter(outcome for outcome, _ in run.said.values())
    counts["duplicates"] = sum(len(ids) - 1 for ids in there.values() if len(ids) > 1)
    for text, (outcome, post_id) in run.said.items():
        found = there.get(text, [])
        counts["created but missing"] += outcome in ("created", "already_created") and post_id not in found
        counts["not_created but present"] += outcome == "not_created" and bool(found)
    noted = await run.ledger.read_history(START)
    counts["without outcome"] = sum(record.outcome is None for record in noted)
    ambiguous = sum(fate not in ("answered", "refused") for fate in run.fates.values())
    print(f"\nB2: {len(run.said)} creates, {ambiguous} ambiguous, seed {SEED}: {dict(counts)}")  # noqa: T201 - each row prints its counts
    for criterion in ("duplicates", "created but missing", "not_created but present", "without outcome"):
        assert counts[criterion] == 0, f"{criterion}: {counts[criterion]}"
    assert counts["unknown"] <= len(run.said) / 100, f"unknown: {counts['unknown']}"
    return counts


@pytest.fixture
async def run(tmp_path: Path) -> AsyncGenerator[Run]:
    """A sandbox behind a lossy network, in virtual time."""
    async with open_lossy_harness(tmp_path, LossyApi) as (harness, lossy):
        yield Run(**vars(harness), lossy=lossy)


async def test_lost_create_responses_are_resolved(run: Run) -> None:
    """Row B2."""
    await run.prepare(CREATES)
    await run.create_all(run.make_writer())

    counts = await check_run(run)
    assert sum(run.fates[text] == "refused" for text in run.said) == counts["not_created"]


async def test_b2_fails_when_a_lost_create_is_sent_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are duplicates."""
    monkeypatch.setitem(retry.ACTIONS, ("ambiguous", "write"), "retry")
    await run.prepare(100)
    await run.create_all(run.make_writer())

    with pytest.raises(AssertionError, match="duplicates"):
        await check_run(run)


async def test_b2_fails_without_the_search(run: Run) -> None:
    """Far too many outcomes are unknown."""
    await run.prepare(100)
    await run.create_all(run.make_writer(deadline_seconds=0, min_search_seconds=0))

    with pytest.raises(AssertionError, match="unknown"):
        await check_run(run)


async def test_b2_fails_when_dates_are_not_compared(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """An older equal post is reported as created."""
    monkeypatch.setattr(reconcile, "CLOCK_MARGIN", timedelta(days=1))
    await run.prepare(100)
    await run.create_all(run.make_writer())

    with pytest.raises(AssertionError, match="created but missing"):
        await check_run(run)


async def test_b2_fails_without_the_reservation(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repeated call creates a second post."""
    begin = run.ledger.begin_create

    async def begin_always(post: PostCreate, *, tool: str, **_: object) -> object:
        return await begin(post, tool=tool, allow_duplicate=True)

    monkeypatch.setattr(run.ledger, "begin_create", begin_always)
    await run.prepare(100)
    await run.create_all(run.make_writer())

    with pytest.raises(AssertionError, match="duplicates"):
        await check_run(run)
