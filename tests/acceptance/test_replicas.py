"""Replicas with one store: two server processes in turn, answers that get lost, and the same post again and again.

Each row prints its counts; a companion takes the shared store away and must then find what it prevents.
"""

import itertools
import os
import re
from collections import Counter
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio
import httpx2
import pytest

from tests.acceptance.web import make_tool_call, start_server
from tests.ledger.store.conftest import own_postgresql, postgresql_url
from ttp_mcp.sandbox.rest import faults
from ttp_mcp.sandbox.serve import serve_on_ports

__all__ = ["own_postgresql", "postgresql_url"]

pytestmark = pytest.mark.acceptance

CREATES = 2000 if os.environ.get("TTP_ACCEPTANCE") == "full" else 300
CALLERS = 6
# Of every ten creates so many are done while their answer gets lost.
LOST = 3


class Replicas:
    """Server processes before one API, called in turn like a load balancer."""

    def __init__(self, urls, http, sandbox, accounts):
        self.urls = urls
        self.sandbox = sandbox
        self.account = accounts
        self._http = http
        self._turn = itertools.cycle(urls)

    async def call(self, tool, arguments=None, url=None):
        """Return the text of an answer and its data."""
        answer = await self._http.post(url or next(self._turn), **make_tool_call(tool, arguments))
        assert answer.status_code == 200, answer.text
        result = answer.json()["result"]
        return result["content"][0]["text"], result.get("structuredContent") or {}

    async def create(self, text, **more):
        """Create a post in turn and return the answer."""
        url = more.pop("url", None)
        arguments = {"content": text, "account_ids": [self.account], "scheduled_at": DUE, **more}
        return await self.call("create_post", arguments, url)

    def posts(self):
        """Count the posts of each text."""
        with self.sandbox.store.reading() as db:
            return Counter(row[0] for row in db.execute("SELECT content FROM posts WHERE content LIKE 'Replica %'"))


DUE = (datetime.now(UTC) + timedelta(days=30)).isoformat(timespec="seconds")


@asynccontextmanager
async def open_replicas(folder, state_url, **environment):
    """Two processes over one sandbox; without a URL each has its own files."""
    async with serve_on_ports() as sandbox, httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        settings = {"TTP_API_URL": sandbox.api_url, "TTP_API_TOKEN": sandbox.token, "TTP_CONFIRM": "off", **environment}
        settings |= {"TTP_STATE_URL": state_url} if state_url else {}
        async with start_server(folder / "one", **settings) as one, start_server(folder / "two", **settings) as two:
            first = Replicas([one.url, two.url], http, sandbox, "")
            _, listed = await first.call("list_integrations")
            first.account = next(each["id"] for each in listed["accounts"] if each["platform"] == "linkedin")
            yield first


async def create_all(running, creates, *, lost=LOST):
    """Create posts; a third of the calls repeat one at the other replica, concurrently or later."""
    texts = iter([f"Replica {number:05d}" for number in range(creates * 2 // 3)])
    said = Counter()

    async def work():
        for text in texts:
            if int(text[-1]) == 0 and lost:
                faults.schedule_fault(running.sandbox.store, "reset-after", times=lost, method="POST", path="/posts")
            one, two = running.urls if int(text[-2]) % 2 else reversed(running.urls)

            async def create(url, text=text):
                answer, found = await running.create(text, url=url)
                said[found.get("outcome") or answer[:50]] += 1

            if int(text[-1]) < 5:
                # At the same time.
                async with anyio.create_task_group() as both:
                    both.start_soon(create, one)
                    if int(text[-1]) < 3:
                        both.start_soon(create, two)
            else:
                await create(one)
                if int(text[-1]) > 7:
                    await create(two)

    async with anyio.create_task_group() as tasks:
        for _ in range(CALLERS):
            tasks.start_soon(work)
    return said


@pytest.mark.requirement("acceptance.replicas")
async def test_posts_are_created_once_by_any_replica(tmp_path, postgresql_url):
    async with open_replicas(tmp_path, postgresql_url) as running:
        said = await create_all(running, CREATES)
        there = running.posts()
    twice = sum(count - 1 for count in there.values())
    print(f"\nReplicas: {said.total()} creates, {len(there)} posts, {twice} twice: {dict(said)}")  # noqa: T201
    assert said.total() >= CREATES
    assert twice == 0
    assert len(there) == CREATES * 2 // 3


@pytest.mark.requirement("acceptance.replicas")
async def test_row_fails_without_a_shared_store(tmp_path):
    async with open_replicas(tmp_path, None) as running:
        await create_all(running, 30, lost=0)
        assert sum(count - 1 for count in running.posts().values()) > 0


@pytest.mark.requirement("acceptance.replicas")
async def test_confirmation_of_one_replica_counts_once_at_the_other(tmp_path, postgresql_url):
    async with open_replicas(tmp_path, postgresql_url, TTP_CONFIRM="required") as running:
        one, two = running.urls
        preview, _ = await running.create("Replica confirmed", url=one)
        code = re.search(r"confirmation ([0-9a-f]+) \(", preview)[1]
        other, _ = await running.create("Replica other", url=two, confirmation=code)
        answers = [await running.create("Replica confirmed", url=url, confirmation=code) for url in (two, one, two)]
        there = running.posts()
    outcomes = [found.get("outcome") for _, found in answers]
    print(f"\nConfirmations: taken {sum(map(bool, outcomes))} of {len(answers)} times")  # noqa: T201
    assert there == {"Replica confirmed": 1}
    assert bool(outcomes[0])
    assert outcomes[1:] == [None, None]
    assert all("unknown, used, older" in text for text in (other, answers[1][0], answers[2][0]))


@pytest.mark.requirement("acceptance.replicas")
async def test_hourly_limit_is_shared_by_replicas(tmp_path, postgresql_url):
    async with open_replicas(tmp_path, postgresql_url, TTP_MAX_POSTS_PER_HOUR="7") as running:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(running.create, f"Replica {number}")
        there = running.posts()
    print(f"\nLimit of 7 an hour: {there.total()} of 20 created")  # noqa: T201
    assert there.total() == 7


@pytest.mark.requirement("acceptance.replicas-outage")
async def test_only_writes_wait_for_the_store(tmp_path, own_postgresql):
    async with open_replicas(tmp_path, own_postgresql.url) as running:
        await running.create("Replica before")
        own_postgresql.end()
        try:
            refused = [(await running.create(f"Replica meanwhile {number}"))[0] for number in range(4)]
            read, _ = await running.call("list_posts")
        finally:
            own_postgresql.start()
        for number in range(2):
            await running.create(f"Replica after {number}")
        there = running.posts()
    print(f"\nOutage: {refused[0]}")  # noqa: T201
    assert all(
        "Nothing is sent without it; reading goes on." in text and "can't be reached" in text for text in refused
    )
    assert "Replica before" in read
    assert there == {"Replica before": 1, "Replica after 0": 1, "Replica after 1": 1}
