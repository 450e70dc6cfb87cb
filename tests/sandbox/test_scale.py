"""A large workspace costs no more than a small one, counted in database steps, which don't depend on the machine."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.sandbox.clock import to_ms
from ttp_mcp.sandbox.rest import organizations
from ttp_mcp.sandbox.store import Store

pytestmark = pytest.mark.requirement("sandbox.scale")

NOW = datetime(2026, 6, 24, 9, 30, tzinfo=UTC)
SMALL, LARGE = 1_000, 100_000 if os.environ.get("TTP_ACCEPTANCE") == "full" else 20_000
MOST = 1.5
# Steps of the database between two counts.
GRAIN = 20
INDEXES = ("posts_due", "posts_leased", "posts_waiting", "posts_by_creation", "posts_by_organization", "posts_by_time")

# Of ten posts eight are published, one of them young; one waits and one is a draft.
FILL = """
WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :count)
INSERT INTO posts (id, organization_id, content, status, scheduled_at, published_at, created_at, updated_at)
SELECT 'post_' || n, 'org_empty', 'Text', CASE WHEN n % 10 < 8 THEN 'published' WHEN n % 10 = 8 THEN 'scheduled' ELSE 'draft' END,
  CASE WHEN n % 10 < 8 THEN :old WHEN n % 10 = 8 THEN :later END, CASE WHEN n % 10 < 8 THEN :old END, :old, :old
FROM numbers;
INSERT INTO post_targets (post_id, account_id, position, status) SELECT id, 'acc_linkedin', 0, 'pending' FROM posts;
INSERT INTO publications (id, post_id, organization_id, account_id, platform, content, thread, media_urls, url, published_at,
  measured_at, settled)
SELECT 'out_' || id, id, 'org_empty', 'acc_linkedin', 'linkedin', 'Text', '[]', '[]', '', :old, :now, sequence % 10 <> 1
FROM posts WHERE status = 'published';
"""


class Counter:
    """Counts the steps of all connections to the data."""

    def __init__(self) -> None:
        self.steps = 0

    def _count(self) -> int:
        self.steps += 1
        return 0

    def watch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        connection = Store.connection

        def counted(store: Store) -> sqlite3.Connection:
            db = connection(store)
            db.set_progress_handler(self._count, GRAIN)
            return db

        monkeypatch.setattr(Store, "connection", counted)


@contextmanager
def open_large_workspace(count: int) -> Iterator[Sandbox]:
    """Create this many posts in one organization, and three in another of the same user."""
    times = {"now": to_ms(NOW), "old": to_ms(NOW - timedelta(days=40)), "later": to_ms(NOW + timedelta(days=90))}
    with Sandbox(clock=ManualClock(NOW), empty=True) as sandbox, sandbox.store.writing() as db:
        db.execute("INSERT INTO organizations VALUES ('org_few', 'Few', 'complete', 'UTC')")
        db.execute("INSERT INTO members VALUES ('usr_demo', 'org_few', 1)")
        for position, (account, owner) in enumerate((("acc_linkedin", "org_empty"), ("acc_few", "org_few"))):
            db.execute(
                "INSERT INTO accounts VALUES (?, ?, ?, 'linkedin', ?, NULL, 'connected', NULL, 1, 1000, 0)",
                (account, owner, position, account),
            )
        for statement in FILL.split(";\n"):
            db.execute(statement, {"count": count, **times})
        db.execute("COMMIT")
        yield sandbox
        db.execute("BEGIN")


async def count_steps(counter: Counter, sandbox: Sandbox) -> dict[str, int]:
    """Return the database steps of each call."""
    transport, headers = httpx2.ASGITransport(sandbox.app), {"Authorization": f"Bearer {sandbox.token}"}
    found: dict[str, int] = {}
    async with httpx2.AsyncClient(transport=transport, base_url=sandbox.api_url, headers=headers) as client:

        async def cost(name: str, status: int, method: str, path: str, **more: Any) -> Any:
            before = counter.steps
            for _ in range(5):
                answer = await client.request(method, path, **more)
                assert answer.status_code == status
            found[name] = counter.steps - before
            return answer.json()

        draft: dict[str, object] = {"content": "Text", "accountIds": ["acc_linkedin"]}
        scheduled = {**draft, "scheduledAt": (NOW + timedelta(hours=1)).isoformat()}
        few = {"x-ttp-org": "org_few"}
        await cost("GET /posts/:id", 200, "GET", "/posts/post_500")
        await cost("POST /posts", 201, "POST", "/posts", json=scheduled)
        await cost(
            "POST /posts of another", 201, "POST", "/posts", json={**draft, "accountIds": ["acc_few"]}, headers=few
        )
        await cost("GET /posts of another", 200, "GET", "/posts", headers=few)
        await cost("DELETE /posts/:id, unknown", 404, "DELETE", "/posts/nowhere")
        before = counter.steps
        assert (await client.delete("/posts/post_501")).status_code == 200
        found["DELETE /posts/:id"] = counter.steps - before
        before = counter.steps
        assert sandbox.tick() == 0
        found["a tick with nothing due"] = counter.steps - before
        sandbox.clock.move(3600)  # pyright: ignore[reportAttributeAccessIssue] # it is a ManualClock
        before = counter.steps
        assert [sandbox.scheduler.publish(claim) for claim in sandbox.scheduler.claim()] == [True] * 5
        found["publishing 5 posts"] = counter.steps - before
        organizations.set_plan(sandbox.store, "org_empty", "small")
        await cost(
            "POST /posts beyond the plan", 403, "POST", "/posts", json={**scheduled, "scheduledAt": "2026-07-01T09:00Z"}
        )
        await cost("POST /posts, a draft on the small plan", 201, "POST", "/posts", json=draft)
    return found


async def find_expensive(
    monkeypatch: pytest.MonkeyPatch, prepare: Callable[[Sandbox], None] = lambda _: None
) -> list[str]:
    """Return what costs more than 1.5 times as much in the large workspace."""
    counter = Counter()
    counter.watch(monkeypatch)
    measured: list[dict[str, int]] = []
    for count in (SMALL, LARGE):
        with open_large_workspace(count) as sandbox:
            prepare(sandbox)
            measured.append(await count_steps(counter, sandbox))
    small, large = measured
    assert all(small[name] > 0 for name in small if "tick" not in name)
    return [name for name in small if large[name] > MOST * small[name] + 1]


async def test_large_workspace_costs_no_more_than_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call and each tick of the scheduler."""
    assert await find_expensive(monkeypatch) == []


async def test_missing_index_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each index has a call that needs it."""

    def drop(sandbox: Sandbox) -> None:
        with sandbox.store.writing() as db:
            for index in ("posts_due", "posts_leased", "posts_by_organization", "posts_by_time", "posts_by_creation"):
                db.execute(f"DROP INDEX {index}")

    assert set(await find_expensive(monkeypatch, drop)) == {
        "GET /posts of another",
        "POST /posts beyond the plan",
        "POST /posts, a draft on the small plan",
        "a tick with nothing due",
        "publishing 5 posts",
    }
