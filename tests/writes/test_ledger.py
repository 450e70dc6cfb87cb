"""Writes and their ledger: what is recorded, when, and what happens if it can't be."""

import json
import logging
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from ttp_mcp.api import TokenMissing, ValidationFailed
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.http import Http
from ttp_mcp.credentials import Token
from ttp_mcp.ledger.claims import content_digest
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import scope_of
from ttp_mcp.ledger.store.base import CommitResult, Delete, Entry, LedgerProblem, Put, RateCap
from ttp_mcp.ledger.store.sqlite import SqliteStore
from ttp_mcp.writes.outcomes import HourlyLimits
from ttp_mcp.writes.writer import Writer

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)


class BrokenState(SqliteStore):
    """A store that fails after a number of commits."""

    commits_left = 0

    async def commit(self, scope: str, steps: list[Put | Delete], now: datetime, cap: RateCap | None = None) -> object:  # pyright: ignore[reportIncompatibleMethodOverride] # a stand-in
        if not self.commits_left:
            raise LedgerProblem("the ledger can't be used: the disk is full.")
        self.commits_left -= 1
        return await super().commit(scope, steps, now, cap)


class CountingState(SqliteStore):
    """A store that counts its calls."""

    commits = 0
    looks = 0

    async def commit(
        self, scope: str, steps: Sequence[Put | Delete], now: datetime, cap: RateCap | None = None
    ) -> CommitResult:
        self.commits += 1
        return await super().commit(scope, steps, now, cap)

    async def get(self, scope: str, kind: str, keys: Sequence[str], now: datetime) -> dict[str, Entry]:
        self.looks += 1
        return await super().get(scope, kind, keys, now)


@pytest.mark.requirement("writes.price")
async def test_write_costs_one_commit_before_and_one_after_and_no_read(harness, tmp_path: Path) -> None:
    """And one request: a create isn't preceded by a list."""
    state = CountingState(tmp_path / "counting")
    harness.ledger = Ledger(state, "scope", harness.time.clock.now)
    writes = harness.make_writer(limits=HourlyLimits(posts=100, deletes=100))

    created = await writes.create(harness.post(), tool="create_post")
    assert (state.commits, state.looks) == (2, 0)
    await writes.delete(created.post_id or "", tool="delete_post", post=created.post)
    assert (state.commits, state.looks) == (4, 0)
    assert harness.faults.writes == ["POST", "DELETE"]
    await state.aclose()


KILLED = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
import anyio
from ttp_mcp.api import Http, PostCreate
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api import ValidationFailed
from ttp_mcp.credentials import Token
from ttp_mcp.ledger.claims import content_digest
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.store.sqlite import SqliteStore
from ttp_mcp.writes.writer import Writer
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
async def app(scope, receive, send):
    os._exit(9)
async def main():
    api = ApiClient(Http(base_url="http://sandbox.localhost/api", token=Token("ttp_" + "0" * 48), app=app))
    ledger = Ledger(SqliteStore(Path(sys.argv[1])), "scope", lambda: NOW)
    await Writer(api, ledger, now=lambda: NOW).create(PostCreate("Last words", platforms=("twitter",)), tool="create_post")
anyio.run(main)
"""


@pytest.mark.requirement("writes.ledger-faults")
async def test_process_that_is_killed_during_a_write_leaves_a_trace(tmp_path: Path) -> None:
    """The next process reports the write that was being sent."""
    killed = await anyio.run_process([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    state = SqliteStore(tmp_path)
    ledger = Ledger(state, "scope", lambda: START + timedelta(minutes=5))

    assert killed.returncode == 9
    assert [(each.kind, each.tool, each.content, each.at) for each in await ledger.list_unfinished()] == [
        ("create", "create_post", "Last words", START)
    ]
    await state.aclose()


@pytest.mark.requirement("writes.ledger-faults")
async def test_write_that_cannot_be_recorded_is_not_sent(harness, tmp_path: Path) -> None:
    """Without a ledger there is no write."""
    harness.ledger = Ledger(BrokenState(tmp_path / "broken"), "scope", harness.time.clock.now)

    with pytest.raises(LedgerProblem):
        await harness.make_writer().create(harness.post(), tool="create_post")

    assert harness.faults.writes == []


@pytest.mark.requirement("writes.ledger-faults")
@pytest.mark.parametrize("fault", ["none", "lost after commit"])
async def test_outcome_that_cannot_be_recorded_is_still_returned(
    harness, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The write has happened; its intent remains and is reported."""
    state = BrokenState(tmp_path / "broken")
    state.commits_left = 1
    harness.ledger = Ledger(state, "scope", harness.time.clock.now)
    harness.faults.script = [fault]

    writes = harness.make_writer()
    created = await writes.create(harness.post(), tool="create_post")
    harness.time.clock.move(120)

    assert (created.outcome, created.recorded) == ("created", False)
    (left,) = await harness.ledger.list_unfinished()
    assert left.tool == "create_post"
    assert re.fullmatch(
        r"The outcome of write [0-9a-f]{16} \(created\) could not be recorded: the ledger can't be used: the disk is full\.",
        next(record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR),
    )
    assert writes.in_flight.unresolved == 1
    state.commits_left = 1
    await writes.create(harness.post("Another"), tool="create_post")
    assert (writes.in_flight.unresolved, writes.in_flight.count) == (2, 0)
    await state.aclose()


@pytest.mark.requirement("writes.ledger-faults")
@pytest.mark.parametrize("fault", ["none", "lost after commit", "lost before commit"])
@pytest.mark.parametrize("kind", ["create", "delete", "publish"])
async def test_result_reports_that_its_outcome_is_not_recorded(harness, tmp_path: Path, kind: str, fault: str) -> None:
    state = BrokenState(tmp_path / "broken")
    state.commits_left = 1
    harness.ledger = Ledger(state, "scope", harness.time.clock.now)
    post = await harness.api.posts.create(harness.post(at=None))
    writes = harness.make_writer()
    harness.faults.script = [fault]

    match kind:
        case "create":
            done = await writes.create(harness.post(), tool="create_post")
        case "delete":
            done = await writes.delete(post.id, tool="delete_post", post=post)
        case _:
            done = await writes.publish(post, tool="publish_post")

    assert done.recorded is False
    assert (done.outcome == "unknown") == (fault == "lost before commit")
    assert (writes.in_flight.unresolved, writes.in_flight.count) == (1, 0)
    await state.aclose()


class UnreadableLedger(Ledger):
    """A store that commits, but fails at the first reads of a post."""

    failures = 2

    async def find_claimed_posts(self, post_ids: Sequence[str]) -> set[str]:
        self.failures -= 1
        if self.failures >= 0:
            raise LedgerProblem("the ledger can't be used: another program holds the file.")
        return await super().find_claimed_posts(post_ids)


@pytest.mark.requirement("writes.ledger-faults")
@pytest.mark.parametrize(("failures", "outcome"), [(2, "created"), (99, "unknown")])
async def test_lost_response_has_an_outcome_if_the_ledger_cannot_be_read(harness, failures: int, outcome: str) -> None:
    """A later search may find the post; an error would mean that nothing was sent."""
    harness.ledger = UnreadableLedger(
        harness.state, scope_of(harness.api.base_url, harness.api.token, None), harness.time.clock.now
    )
    harness.ledger.failures = failures
    harness.faults.script = ["lost after commit"]

    created = await harness.make_writer().create(harness.post(), tool="create_post")

    assert created.outcome == outcome
    assert await harness.outcomes() == [outcome]


def list_log_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """Return what each write logged."""
    logged = [record.getMessage() for record in caplog.records if record.name == "ttp_mcp.writes.writer"]
    assert all(line.startswith("write {") for line in logged)
    return [json.loads(line.removeprefix("write ")) for line in logged]


@pytest.mark.requirement("writes.audit")
async def test_write_without_a_token_is_logged_too(harness, caplog: pytest.LogCaptureFixture) -> None:
    """It is refused before it is sent."""
    caplog.set_level(logging.INFO, logger="ttp_mcp.writes.writer")
    api = ApiClient(Http(base_url=harness.sandbox.api_url, token=None, app=harness.faults))
    with pytest.raises(TokenMissing):
        await Writer(api, harness.ledger, now=harness.time.clock.now).create(harness.post(), tool="create_post")

    (line,) = list_log_lines(caplog)
    assert (line["token"], line["outcome"], line["why"]) == (None, "not_done", "TokenMissing")
    assert harness.faults.writes == []


@pytest.mark.requirement("writes.audit")
async def test_each_write_logs_one_line_without_its_content(harness, caplog: pytest.LogCaptureFixture) -> None:
    """Ids and digests, never the text or the token."""
    caplog.set_level(logging.INFO, logger="ttp_mcp.writes.writer")
    post = harness.post("A secret surprise")
    harness.faults.script = ["commits late", "409"]
    created = await harness.writes.create(post, tool="create_post")
    with pytest.raises(ValidationFailed):
        await harness.writes.create(harness.post("Refused"), tool="create_post")
    await harness.writes.delete(created.post_id or "", tool="delete_post")

    lines = list_log_lines(caplog)
    assert lines[0].pop("write") == next(each.write_id for each in await harness.ledger.read_history(START))
    assert lines[0] == {
        "kind": "create",
        "tool": "create_post",
        "at": "2026-11-24T10:00:00.000Z",
        "token": Token(harness.sandbox.token).fingerprint,
        "digest": content_digest(post)[:16],
        "outcome": "created",
        "post_id": created.post_id,
        "why": "reconciled",
        "milliseconds": 3750,
    }
    assert [(line["kind"], line["outcome"], line["post_id"], line["why"]) for line in lines[1:]] == [
        ("create", "not_done", None, "ValidationFailed"),
        ("delete", "deleted", created.post_id, None),
    ]
    assert "secret" not in caplog.text
    assert harness.sandbox.token not in caplog.text
