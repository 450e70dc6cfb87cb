"""The sandbox over 100,000 posts beside one over 1,000, in one run: what a call and a tick of the scheduler cost.

    uv run python benchmarks/sandbox.py [--large 100000] [--small 1000] [--rounds 15] [--json]

CPU time of this process, in interleaved rounds: each round measures both workspaces, and what is quoted is the median of the
rounds' ratios. The small plan is measured beside the complete one, since it counts posts.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx2

from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.sandbox.clock import to_ms
from ttp_mcp.sandbox.rest import organizations

NOW = datetime(2026, 6, 24, 9, 30, tzinfo=UTC)
AIM = 1.5
CALLS, DUE = 20, 20
# Of a hundred posts: published ones, and those of them young enough to gain engagement; the rest are scheduled or drafts.
PUBLISHED, GROWING, SCHEDULED = 80, 10, 15


class Workspace:
    """Open a sandbox with `count` posts in one organization, and a client."""

    def __init__(self, stack: ExitStack, folder: Path, count: int) -> None:
        self.clock = ManualClock(NOW)
        self.sandbox = stack.enter_context(Sandbox(folder, clock=self.clock, empty=True))
        self.count = count
        self._fill()
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.sandbox.app),
            base_url=self.sandbox.api_url,
            headers={"Authorization": f"Bearer {self.sandbox.token}"},
        )
        self._number = 0

    def _fill(self) -> None:
        now = to_ms(NOW)
        with self.sandbox.store.writing() as db:
            db.execute(
                "INSERT INTO accounts VALUES ('acc', 'org_empty', 0, 'linkedin', 'Account', NULL, 'connected', NULL, 1, 1000, 0)"
            )
            for number in range(self.count):
                self._insert(db, f"post_{number}", number % 100, now)

    def _insert(self, db: Any, post_id: str, kind: int, now: int) -> None:
        published = kind < PUBLISHED
        age = 3_600_000 if kind < GROWING else 30 * 24 * 3_600_000
        due = now - age if published else now + 90 * 24 * 3_600_000 if kind < PUBLISHED + SCHEDULED else None
        status = "published" if published else "scheduled" if due else "draft"
        made = now - 60 * 24 * 3_600_000
        db.execute(
            "INSERT INTO posts (id, organization_id, content, status, scheduled_at, published_at, created_at, updated_at) "
            "VALUES (?, 'org_empty', 'Text of a post', ?, ?, ?, ?, ?)",
            (post_id, status, due, due if published else None, made, made),
        )
        db.execute(
            "INSERT INTO post_targets (post_id, account_id, position, status) VALUES (?, 'acc', 0, ?)",
            (post_id, "published" if published else "pending"),
        )
        if published:
            db.execute(
                "INSERT INTO publications (id, post_id, organization_id, account_id, platform, content, thread, media_urls, url, "
                "published_at, measured_at, settled) VALUES (?, ?, 'org_empty', 'acc', 'linkedin', 'Text', '[]', '[]', '', ?, ?, ?)",
                (f"out_{post_id}", post_id, due, now, int(kind >= GROWING)),
            )

    async def get(self) -> None:
        """`GET /posts/{id}`, each of another post."""
        self._number = (self._number + 7919) % self.count
        answer = await self.client.get(f"/posts/post_{self._number}")
        assert answer.status_code == 200

    async def create(self) -> None:
        """`POST /posts`, scheduled. On the small plan it is refused, after the counting."""
        body = {
            "content": "Another",
            "accountIds": ["acc"],
            "scheduledAt": (self.clock.now() + timedelta(days=9)).isoformat(),
        }
        answer = await self.client.post("/posts", json=body)
        assert answer.status_code in (201, 403)

    async def tick(self) -> None:
        """One look of the scheduler, with as many posts due in either workspace."""
        with self.sandbox.store.writing() as db:
            for _ in range(DUE):
                self._number += 1
                due = to_ms(self.clock.now()) - 1
                name = f"due_{self._number}_{due}"
                db.execute(
                    "INSERT INTO posts (id, organization_id, content, status, scheduled_at, created_at, updated_at) "
                    "VALUES (?, 'org_empty', 'Text', 'scheduled', ?, 0, 0)",
                    (name, due),
                )
                db.execute(
                    "INSERT INTO post_targets (post_id, account_id, position, status) VALUES (?, 'acc', 0, 'pending')",
                    (name,),
                )
        self.clock.move(1)
        finished = self.sandbox.tick()
        assert finished == DUE

    async def idle_tick(self) -> None:
        """One look when nothing is due, as nearly all are."""
        assert self.sandbox.tick() == 0

    async def measure(self) -> None:
        """One look that brings engagement up to date: at most 500 publications at a time."""
        self.clock.move(6 * 60)
        self.sandbox.scheduler.measure()


async def cpu_ms(work: Callable[[], Awaitable[None]], times: int) -> float:
    """CPU of one of these, in ms."""
    before = time.process_time()
    for _ in range(times):
        await work()
    return (time.process_time() - before) * 1000 / times


async def compare(name: str, small: Workspace, large: Workspace, rounds: int, times: int) -> dict[str, Any]:
    """Interleaved rounds over both; medians and the median of the ratios."""
    pairs: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        order = (small, large) if number % 2 else (large, small)
        found = {each: await cpu_ms(getattr(each, name), times) for each in order}
        # The first round warms up.
        if number:
            pairs.append((found[small], found[large]))
    return {
        "small_ms": round(statistics.median(pair[0] for pair in pairs), 3),
        "large_ms": round(statistics.median(pair[1] for pair in pairs), 3),
        "ratio": round(statistics.median(pair[1] / pair[0] for pair in pairs), 2),
    }


async def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fill both, then measure."""
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder, ExitStack() as stack:
        small = Workspace(stack, Path(folder) / "small", arguments.small)
        large = Workspace(stack, Path(folder) / "large", arguments.large)
        found: dict[str, Any] = {}
        for name, times in (("get", CALLS), ("create", CALLS), ("tick", 1), ("idle_tick", CALLS)):
            found[name] = await compare(name, small, large, arguments.rounds, times)
        for each in (small, large):
            organizations.set_plan(each.sandbox.store, "org_empty", "small")
        found["create on the small plan"] = await compare("create", small, large, arguments.rounds, CALLS)
        # Not the same work: in the small workspace fewer than 500 publications grow.
        found["measure"] = await compare("measure", small, large, 3, 1)
        for each in (small, large):
            await each.client.aclose()
        return found


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--large", type=int, default=100_000, help="posts in the large workspace")
    parser.add_argument("--small", type=int, default=1_000, help="posts in the small one")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, help="folder for the data")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = anyio.run(run, arguments)
    if arguments.json:
        print(json.dumps({"posts": [arguments.small, arguments.large], "cores": os.cpu_count(), **found}))
        return
    print(f"CPU in ms, {arguments.small} and {arguments.large} posts; the aim is a ratio of at most {AIM}")
    for name, row in found.items():
        print(f"{name:26} {row['small_ms']:9.3f} {row['large_ms']:9.3f}   {row['ratio']:.2f}")


if __name__ == "__main__":
    main()
