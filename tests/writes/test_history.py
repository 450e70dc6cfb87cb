"""Random histories of creates, deletes, faults and time: no duplicate, no false result, no write without an outcome."""

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from ttp_mcp.api import ApiError, NotFound, Post, PostCreate
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.writes.outcomes import EarlierAttempt
from ttp_mcp.writes.writer import Writer

pytestmark = pytest.mark.requirement("writes.history")

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
TEXTS = ("Doors open at ten", "New menu")
CREATE_FAULTS = (
    "none",
    "none",
    "lost before commit",
    "lost after commit",
    "commits late",
    "502 after commit",
    "page after commit",
    "409",
    "not connected",
)
DELETE_FAULTS = ("none", "lost before commit", "lost after commit", "commits late", "409")
PROFILE = settings(
    max_examples=100 if os.environ.get("TTP_ACCEPTANCE") == "full" else 8,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)

# A post on one account at one time.
Key = tuple[str, str, datetime | None]


class Histories(RuleBasedStateMachine):
    """One user, two processes over one ledger, and the dashboard."""

    open_harness: Callable[[Path], object]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ttp-history-"))
        self.runner = asyncio.Runner()
        self.opened = type(self).open_harness(self.folder)
        self.harness = self._run(self.opened.__aenter__())
        self.processes = (self.harness.writes, self.harness.make_writer())
        self.extra: Counter[Key] = Counter()
        self.unknown: set[Key] = set()

    def _run(self, work: Awaitable[object]) -> object:
        return self.runner.run(work)

    def _posts(self) -> list[Post]:
        return [
            post for post in self._run(self.harness.api.posts.list()) if post.content in TEXTS and not post.published_at
        ]

    def _keys(self, post: PostCreate) -> set[Key]:
        return {(post.content, account, post.scheduled_at) for account in post.account_ids}

    def _post(self, text: str, to: str, scheduled: bool) -> PostCreate:
        linkedin, twitter = self.harness.accounts["linkedin"], self.harness.accounts["twitter"]
        accounts = {"linkedin": (linkedin,), "twitter": (twitter,), "both": (linkedin, twitter)}[to]
        due = START + timedelta(days=20) if scheduled else None
        return replace(self.harness.post(text, at=due), account_ids=accounts)

    @rule(
        text=st.sampled_from(TEXTS),
        to=st.sampled_from(("linkedin", "twitter", "both")),
        scheduled=st.booleans(),
        fault=st.sampled_from(CREATE_FAULTS),
        wanted=st.sampled_from((False, False, False, True)),
        process=st.sampled_from((0, 1)),
    )
    def create(self, text: str, to: str, scheduled: bool, fault: str, wanted: bool, process: int) -> None:
        """Create a post as an agent, perhaps again."""
        post = self._post(text, to, scheduled)
        before = {each.id for each in self._posts()}
        self.harness.faults.script = [fault]
        self.harness.faults.writes.clear()
        outcome, post_id = self._run(self._create(self.processes[process], post, wanted))
        self.harness.faults.script = []
        after = {each.id for each in self._posts()}
        sent = len(self.harness.faults.writes)
        if wanted:
            self.extra.update(self._keys(post))
        if outcome == "created":
            assert post_id in after - before
        elif outcome == "already_created":
            assert post_id in before
            assert not wanted
        elif outcome == "unknown":
            assert fault == "lost before commit"
            self.unknown |= self._keys(post)
        elif outcome == "blocked":
            assert self.unknown & self._keys(post)
        assert after == before or outcome == "created"
        # A create that was certainly not sent may be sent once more.
        assert sent <= (2 if fault == "not connected" else 1)

    async def _create(self, writes: Writer, post: PostCreate, wanted: bool) -> tuple[str, str | None]:
        try:
            created = await writes.create(post, tool="create_post", allow_duplicate=wanted)
        except EarlierAttempt:
            return "blocked", None
        except ApiError:
            return "not_created", None
        return created.outcome, created.post_id

    @rule(which=st.integers(0, 9), fault=st.sampled_from(DELETE_FAULTS), process=st.sampled_from((0, 1)))
    def delete(self, which: int, fault: str, process: int) -> None:
        """Delete a post as an agent."""
        there = self._posts()
        if not there:
            return
        post = there[which % len(there)]
        self.harness.faults.script = [fault]
        outcome = self._run(self._delete(self.processes[process], post.id))
        self.harness.faults.script = []
        left = post.id in {each.id for each in self._posts()}
        assert left == (outcome in ("unknown", "refused"))
        if outcome == "deleted":
            assert self._run(self.harness.ledger.find_deleted_post(post.id)) == post

    async def _delete(self, writes: Writer, post_id: str) -> str:
        try:
            return (await writes.delete(post_id, tool="delete_post")).outcome
        except NotFound:
            raise AssertionError("it was there") from None
        except ApiError:
            return "refused"

    @rule(text=st.sampled_from(TEXTS), to=st.sampled_from(("linkedin", "both")), scheduled=st.booleans())
    def create_in_dashboard(self, text: str, to: str, scheduled: bool) -> None:
        """Create a post in the dashboard, without other writes in the next seconds."""
        post = self._post(text, to, scheduled)
        self._run(self.harness.api.posts.create(post))
        self.extra.update(self._keys(post))
        self.harness.time.clock.move(5)

    @rule(seconds=st.sampled_from((1, 30, 100)))
    def time_passes(self, seconds: int) -> None:
        """Advance the clock by seconds, in total far less than the window of duplicates."""
        self._run(self.harness.time.sleep(seconds))

    def teardown(self) -> None:
        try:
            self._run(self.harness.time.sleep(60))
            counts = Counter(
                (post.content, account, post.scheduled_at) for post in self._posts() for account in post.account_ids
            )
            # Two may exist if a duplicate was allowed, or if one was created in the dashboard.
            assert all(count <= 1 + self.extra[key] for key, count in counts.items()), "a post is there twice"
            assert None not in self._run(self.harness.outcomes())
            assert all(writes.in_flight.count == 0 for writes in self.processes)
        finally:
            self._run(self.opened.__aexit__(None, None, None))
            self.runner.close()
            # SQLite may still be taking its own files away.
            shutil.rmtree(self.folder, ignore_errors=True)


def _make_histories(open_harness: Callable[[Path], object]) -> type[Histories]:
    return type("OpenedHistories", (Histories,), {"open_harness": staticmethod(open_harness)})


def test_every_history_keeps_the_promises(open_harness: Callable[[Path], object]) -> None:
    """No duplicates, no false results, and an outcome for each write."""
    run_state_machine_as_test(_make_histories(open_harness), settings=PROFILE)


def test_history_without_reservations_breaks_them(
    open_harness: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the guard, the same search finds a duplicate."""
    begin = Ledger.begin_create

    async def begin_always(self: Ledger, post: PostCreate, **options: object) -> object:
        return await begin(self, post, tool="create_post", allow_duplicate=True)

    monkeypatch.setattr(Ledger, "begin_create", begin_always)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(_make_histories(open_harness), settings=settings(PROFILE, phases=[Phase.generate]))
