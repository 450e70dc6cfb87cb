"""The demo workspace: plausible, within the platforms' rules, and reproducible."""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.sandbox.clock import from_ms, to_ms
from ttp_mcp.sandbox.rest import platform_rules

pytestmark = pytest.mark.requirement("workspace.demo")

NOW = datetime(2026, 6, 24, 9, 30, tzinfo=UTC)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """The demo workspace on a Wednesday morning."""
    with Sandbox(clock=ManualClock(NOW)) as opened:
        yield opened


def read_rows(sandbox: Sandbox, query: str, *values: object) -> list[sqlite3.Row]:
    """What the database holds."""
    with sandbox.store.reading() as db:
        return db.execute(query, values).fetchall()


def list_posts(sandbox: Sandbox) -> list[sqlite3.Row]:
    """The posts of the café, in the order in which they were made."""
    return read_rows(sandbox, "SELECT * FROM posts WHERE organization_id = 'org_harbor_cafe' ORDER BY sequence")


def list_wall_times(found: list[sqlite3.Row]) -> list[datetime]:
    """Return local due times of the café's posts, independent of summer time."""
    paris = ZoneInfo("Europe/Paris")
    return [from_ms(row["scheduled_at"]).astimezone(paris).replace(tzinfo=None) for row in found if row["scheduled_at"]]


def test_demo_workspace_has_posts_in_every_lasting_state(sandbox):
    """Half a year of them, with a partial and a failed one in the last week, and a busy week ahead."""
    found = list_posts(sandbox)
    assert set(Counter(row["status"] for row in found)) == {"draft", "scheduled", "published", "partial", "failed"}
    week = [
        row
        for row in found
        if row["scheduled_at"] and to_ms(NOW - timedelta(days=7)) < row["scheduled_at"] <= to_ms(NOW)
    ]
    assert {"partial", "failed", "published"} == {row["status"] for row in week}
    assert [row["status"] for row in found if row["status"] in ("partial", "failed")] == ["partial", "failed"]
    ahead = [
        row for row in found if row["status"] == "scheduled" and row["scheduled_at"] <= to_ms(NOW + timedelta(days=7))
    ]
    assert len(ahead) >= 5
    assert min(row["scheduled_at"] for row in found if row["scheduled_at"]) < to_ms(NOW - timedelta(days=175))


def test_demo_workspace_lists_posts_in_the_order_they_were_made(sandbox):
    """The newest first means the latest `createdAt` first."""
    made = [row["created_at"] for row in list_posts(sandbox)]
    assert made == sorted(made)
    assert made[-1] < to_ms(NOW)


def test_demo_workspace_has_two_accounts_of_one_platform_and_one_that_expired(sandbox):
    """The expired one published until its connection ran out."""
    accounts = read_rows(sandbox, "SELECT * FROM accounts WHERE organization_id = 'org_harbor_cafe'")
    assert Counter(row["platform"] for row in accounts)["twitter"] == 2
    (expired,) = (row for row in accounts if row["status"] == "expired")
    assert (expired["handle"], from_ms(expired["expires_at"])) == ("@harborcafe_berlin", NOW - timedelta(days=9))
    (latest,) = read_rows(
        sandbox, "SELECT max(published_at) AS at FROM publications WHERE account_id = ?", expired["id"]
    )
    assert to_ms(NOW - timedelta(days=60)) < latest["at"] < expired["expires_at"]


def test_demo_workspace_keeps_the_rules_of_the_platforms(sandbox):
    """The API would have accepted everything in it."""
    for row in read_rows(sandbox, "SELECT * FROM posts"):
        platforms = [
            target["platform"]
            for target in read_rows(
                sandbox,
                "SELECT a.platform FROM post_targets t JOIN accounts a ON a.id = t.account_id WHERE t.post_id = ?",
                row["id"],
            )
        ]
        platform_rules.check_rules(
            platforms,
            content=row["content"],
            media_urls=json.loads(row["media_urls"]),
            thread=json.loads(row["thread"]),
            data=json.loads(row["platform_data"]),
            scheduled=row["scheduled_at"] is not None,
        )


def test_demo_workspace_does_not_repeat_itself_within_months(sandbox):
    """A follower would notice."""
    last: dict[str, int] = {}
    for row in sorted(list_posts(sandbox), key=lambda row: row["scheduled_at"] or 0):
        if row["content"] in last:
            assert row["scheduled_at"] - last[row["content"]] > 100 * 24 * 3_600_000
        last[row["content"]] = row["scheduled_at"]


def test_demo_workspace_has_pictures_that_storage_serves(sandbox):
    """Each a real PNG of the size that is written down."""
    for row in read_rows(sandbox, "SELECT * FROM media"):
        content = sandbox.storage.path(row["key"]).read_bytes()
        assert (len(content), content[:8]) == (row["size"], b"\x89PNG\r\n\x1a\n")


@pytest.mark.requirement("workspace.same")
def test_demo_workspace_is_the_same_every_time(sandbox):
    """Ids, texts and times; at another hour the times move along."""
    with Sandbox(clock=ManualClock(NOW)) as other:
        assert other.export() == sandbox.export()
    with Sandbox(clock=ManualClock(NOW + timedelta(days=7))) as later:
        first, second = list_posts(sandbox), list_posts(later)
        assert [(row["id"], row["content"]) for row in first] == [(row["id"], row["content"]) for row in second]
        assert {
            after - before for before, after in zip(list_wall_times(first), list_wall_times(second), strict=True)
        } == {timedelta(days=7)}


def test_empty_workspace_has_one_organization_and_nothing_else():
    """For users who bring their own data."""
    with Sandbox(clock=ManualClock(NOW), empty=True) as sandbox:
        assert [row["id"] for row in read_rows(sandbox, "SELECT id FROM organizations")] == ["org_empty"]
        assert (
            read_rows(sandbox, "SELECT 1 FROM accounts UNION ALL SELECT 1 FROM posts UNION ALL SELECT 1 FROM media")
            == []
        )


def test_opening_a_folder_again_leaves_it_as_it_is(sandbox):
    """Only a new folder is filled."""
    with sandbox.store.writing() as db:
        db.execute("DELETE FROM posts")
    with Sandbox(sandbox.folder, clock=ManualClock(NOW)) as again:
        assert list_posts(again) == []
