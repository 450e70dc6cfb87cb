"""Publishing: due posts, in order, once, by any number of workers, despite crashes and clock changes."""

import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from ttp_mcp.sandbox import ManualClock, Sandbox, networks
from ttp_mcp.sandbox.clock import to_ms
from ttp_mcp.sandbox.scheduler import BATCH, LEASE_SECONDS, TICK_MS, Claim, Scheduler
from ttp_mcp.sandbox.store import Store

pytestmark = pytest.mark.requirement("sandbox.scheduler")

NOW = datetime(2026, 6, 24, 9, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
Connect = Callable[..., str]


@dataclass
class RealTime:
    """The machine's clock, which measures leases."""

    seconds: float = 1_780_000_000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class Feed:
    """The empty workspace, with helpers for these tests."""

    store: Store
    clock: ManualClock
    real: RealTime = field(default_factory=RealTime)

    def worker(self) -> Scheduler:
        return Scheduler(self.store, self.clock, real_time=self.real)

    def post(
        self, post_id: str, *accounts: str, due: datetime | None = NOW + HOUR, thread: tuple[str, ...] = ()
    ) -> None:
        with self.store.writing() as db:
            db.execute(
                "INSERT INTO posts (id, organization_id, content, status, scheduled_at, created_at, updated_at, thread) "
                "VALUES (?, 'org_empty', ?, ?, ?, 0, 0, ?)",
                (
                    post_id,
                    f"Text of {post_id}",
                    "scheduled" if due else "draft",
                    due and to_ms(due),
                    json.dumps(thread),
                ),
            )
            db.executemany(
                "INSERT INTO post_targets (post_id, account_id, position, status) VALUES (?, ?, ?, 'pending')",
                [(post_id, account, position) for position, account in enumerate(accounts)],
            )

    def status(self, post_id: str) -> str:
        return self.row("SELECT status FROM posts WHERE id = ?", post_id)["status"]

    def row(self, query: str, *values: object) -> sqlite3.Row:
        with self.store.reading() as db:
            return db.execute(query, values).fetchone()

    def publications(self) -> list[tuple[str, str]]:
        """Return post and account of publications, in order."""
        with self.store.reading() as db:
            return [tuple(row) for row in db.execute("SELECT post_id, account_id FROM publications ORDER BY rowid")]

    def views(self, post_id: str) -> int:
        return self.row("SELECT views FROM publications WHERE post_id = ?", post_id)["views"]


@pytest.fixture
def feed(empty_workspace: Sandbox, clock: ManualClock, connect_account: Connect) -> Feed:
    """An organization with an account on X and one on LinkedIn."""
    connect_account("twitter")
    connect_account("linkedin")
    return Feed(empty_workspace.store, clock)


# What is due


def test_post_is_published_when_due_and_not_before(feed: Feed) -> None:
    """To the millisecond; `publishedAt` is never before `scheduledAt`."""
    feed.post("p", "acc_twitter")
    worker = feed.worker()
    feed.clock.move(3599.999)
    assert worker.tick() == 0
    assert (feed.status("p"), feed.publications()) == ("scheduled", [])
    feed.clock.move(0.001)
    assert worker.tick() == 1
    assert (feed.status("p"), feed.publications()) == ("published", [("p", "acc_twitter")])
    assert feed.row("SELECT published_at FROM posts")["published_at"] == to_ms(NOW + HOUR)
    assert worker.tick() == 0


def test_post_that_is_due_a_moment_later_waits_when_another_is_published(feed: Feed) -> None:
    feed.post("due", "acc_twitter")
    feed.post("later", "acc_twitter", due=NOW + HOUR + timedelta(milliseconds=1))
    feed.clock.move(3600)
    assert feed.worker().tick() == 1
    assert (feed.status("due"), feed.status("later")) == ("published", "scheduled")


def test_draft_is_never_published(feed: Feed) -> None:
    """It has no time."""
    feed.post("draft", "acc_twitter", due=None)
    feed.clock.move(365 * 24 * 3600)
    assert feed.worker().tick() == 0
    assert feed.status("draft") == "draft"


def test_posts_are_published_by_time_then_creation(feed: Feed) -> None:
    """More than a worker takes at once."""
    late = [f"late {number}" for number in range(BATCH)]
    for post_id in late:
        feed.post(post_id, "acc_twitter", due=NOW + 2 * HOUR)
    feed.post("early", "acc_twitter")
    feed.clock.move(3 * 3600)
    assert feed.worker().tick() == BATCH + 1
    assert [post_id for post_id, _ in feed.publications()] == ["early", *late]


def test_overdue_post_is_dated_soon_after_its_time(feed: Feed) -> None:
    """Moving the clock by days must not put a week of posts into one second."""
    feed.post("p", "acc_twitter")
    feed.clock.move(7 * 24 * 3600)
    feed.worker().tick()
    times = feed.row(
        "SELECT p.published_at, t.published_at, b.published_at FROM posts p, post_targets t, publications b"
    )
    assert set(times) == {to_ms(NOW + HOUR) + TICK_MS}
    assert feed.row("SELECT updated_at FROM posts")["updated_at"] == to_ms(feed.clock.now())


# Results


def test_results_follow_the_accounts(feed: Feed, connect_account: Connect) -> None:
    """All succeeded, some did, none did; an expired connection says what to do."""
    connect_account("instagram", status="expired")
    feed.post("all", "acc_twitter", "acc_linkedin")
    feed.post("some", "acc_instagram", "acc_twitter")
    feed.post("none", "acc_instagram")
    feed.clock.move(3600)
    assert feed.worker().tick() == 3
    assert [feed.status(post_id) for post_id in ("all", "some", "none")] == ["published", "partial", "failed"]
    failed = feed.row("SELECT * FROM post_targets WHERE post_id = 'some' AND account_id = 'acc_instagram'")
    assert (failed["status"], failed["external_id"], failed["published_at"]) == ("failed", None, None)
    assert failed["error"] == ("The connection of @acc_instagram has expired. Reconnect the account in the dashboard.")
    worked = feed.row("SELECT * FROM post_targets WHERE post_id = 'some' AND account_id = 'acc_twitter'")
    assert worked["url"] == f"https://x.example/acc_twitter/status/{worked['external_id']}"
    assert feed.row("SELECT published_at FROM posts WHERE id = 'none'")["published_at"] is None


@pytest.mark.parametrize(
    ("expires_at", "refreshes", "status"),
    [
        (NOW + HOUR, 0, "failed"),
        (NOW + HOUR, 1, "published"),
        (NOW + HOUR + timedelta(milliseconds=1), 0, "published"),
        (None, 0, "published"),
    ],
)
def test_expired_connection_fails_unless_it_renews_itself(
    feed: Feed, connect_account: Connect, expires_at: datetime | None, refreshes: int, status: str
) -> None:
    """The publication time counts. Without a handle the message has the name."""
    connect_account("pinterest")
    with feed.store.writing() as db:
        db.execute(
            "UPDATE accounts SET handle = NULL, expires_at = ?, has_refresh_capability = ? WHERE id = 'acc_pinterest'",
            (expires_at and to_ms(expires_at), refreshes),
        )
    feed.post("p", "acc_pinterest")
    feed.clock.move(3600)
    feed.worker().tick()
    assert feed.status("p") == status
    error = feed.row("SELECT error FROM post_targets")["error"]
    assert error is None or error.startswith("The connection of Name of acc_pinterest has expired.")


def test_post_that_the_network_rejects_fails_with_its_reason(feed: Feed, connect_account: Connect) -> None:
    connect_account("pinterest", "acc_pins")
    feed.post("p1", "acc_pins")
    with feed.store.writing() as db:
        db.execute("""UPDATE posts SET platform_data = '{"pinterest": {"boardId": "none"}}'""")
    feed.clock.move(3600)
    assert feed.worker().tick() == 1
    assert feed.status("p1") == "failed"
    assert feed.row("SELECT error FROM post_targets")["error"] == (
        "Pinterest has no board with the id none on this account. Choose one of its boards."
    )


def test_thread_is_shown_on_x_only(feed: Feed) -> None:
    """Other networks get the text."""
    feed.post("p", "acc_twitter", "acc_linkedin", thread=("second", "third"))
    feed.clock.move(3600)
    feed.worker().tick()
    shown = [
        feed.row("SELECT thread FROM publications WHERE platform = ?", name)["thread"]
        for name in ("twitter", "linkedin")
    ]
    assert [json.loads(thread) for thread in shown] == [["second", "third"], []]


# Workers that fail


def test_expired_claim_is_taken_over_and_fenced(feed: Feed) -> None:
    """The fence grows with each claim, so the slow first worker records nothing."""
    feed.post("p", "acc_twitter")
    feed.clock.move(3600)
    slow, other = feed.worker(), feed.worker()
    assert slow.claim() == [Claim("p", 1)]
    assert (feed.status("p"), other.claim(), other.tick()) == ("publishing", [], 0)
    feed.real.seconds += 60 - 0.001
    assert other.claim() == []
    feed.real.seconds += 0.001
    assert other.claim() == [Claim("p", 2)]
    assert slow.publish(Claim("p", 1)) is False
    assert (feed.status("p"), feed.publications()) == ("publishing", [])
    assert other.publish(Claim("p", 2)) is True
    assert slow.publish(Claim("p", 1)) is False
    assert other.publish(Claim("p", 2)) is False
    assert feed.publications() == [("p", "acc_twitter")]
    assert feed.row("SELECT lease_until FROM posts")["lease_until"] is None


def test_claim_leaves_out_what_another_worker_holds(feed: Feed) -> None:
    """Although another post is due."""
    feed.post("held", "acc_twitter")
    feed.clock.move(3600)
    assert feed.worker().claim() == [Claim("held", 1)]
    feed.post("free", "acc_twitter")
    assert feed.worker().claim() == [Claim("free", 1)]


def test_claim_ends_with_a_deleted_post(feed: Feed) -> None:
    """`reset` may remove a post that a worker holds."""
    feed.post("p", "acc_twitter")
    feed.clock.move(3600)
    worker = feed.worker()
    (claim,) = worker.claim()
    with feed.store.writing() as db:
        db.execute("DELETE FROM posts")
    assert worker.publish(claim) is False
    assert feed.publications() == []


def test_failing_post_does_not_delay_the_others(feed: Feed) -> None:
    """It stays unchanged, is reported, and is retried after its lease."""
    feed.post("broken", "acc_twitter")
    feed.post("fine", "acc_twitter")
    with feed.store.writing() as db:
        db.execute("UPDATE posts SET media_urls = 'taken' WHERE id = 'broken'")
        db.execute(
            "CREATE TRIGGER broken BEFORE INSERT ON publications WHEN new.media_urls = 'taken' "
            "BEGIN SELECT RAISE(ABORT, 'broken on purpose'); END"
        )
    feed.clock.move(3600)
    worker = feed.worker()
    with pytest.raises(ExceptionGroup, match="1 posts could not be published") as raised:
        worker.tick()
    assert [str(problem) for problem in raised.value.exceptions] == ["broken on purpose"]
    assert (feed.status("broken"), feed.status("fine")) == ("publishing", "published")
    assert feed.row("SELECT status FROM post_targets WHERE post_id = 'broken'")["status"] == "pending"
    with feed.store.writing() as db:
        db.execute("DROP TRIGGER broken")
    assert worker.tick() == 0
    feed.real.seconds += LEASE_SECONDS
    assert worker.tick() == 1
    assert feed.publications() == [("fine", "acc_twitter"), ("broken", "acc_twitter")]


def test_many_workers_publish_each_post_once(feed: Feed) -> None:
    """Together they finish all due posts, and no two count the same one."""
    for number in range(60):
        feed.post(f"post {number}", "acc_twitter", "acc_linkedin")
    feed.clock.move(3600)
    with ThreadPoolExecutor(3) as pool:
        finished = [pool.submit(feed.worker().tick) for _ in range(3)]
        assert sum(each.result(60) for each in finished) == 60
    found = feed.publications()
    assert len(found) == len(set(found)) == 120


# Clocks that are put back


def test_clock_moved_back_unpublishes_and_publishes_nothing(feed: Feed) -> None:
    """Published posts stay with their figures; others wait until due again."""
    feed.post("first", "acc_twitter")
    feed.post("second", "acc_twitter", due=NOW + 2 * HOUR)
    worker = feed.worker()
    feed.clock.move(1.5 * 3600)
    worker.tick()
    views = feed.views("first")
    feed.clock.move(-24 * 3600)
    assert worker.tick() == 0
    assert (feed.status("first"), feed.status("second"), feed.views("first")) == ("published", "scheduled", views)
    feed.clock.move(25 * 3600)
    assert worker.tick() == 1
    assert feed.views("first") > views


def test_claimed_post_is_not_dated_before_its_time(feed: Feed) -> None:
    """The clock was moved back in between."""
    feed.post("p", "acc_twitter")
    feed.clock.move(3600)
    worker = feed.worker()
    (claim,) = worker.claim()
    feed.clock.move(-24 * 3600)
    assert worker.publish(claim)
    assert feed.row("SELECT published_at FROM posts")["published_at"] == to_ms(NOW + HOUR)


def test_lease_from_before_a_clock_change_expires(feed: Feed) -> None:
    """Otherwise a post would hang for as long as the clock was off."""
    feed.post("p", "acc_twitter")
    feed.clock.move(3600)
    feed.worker().claim()
    feed.real.seconds -= 24 * 3600
    assert feed.worker().tick() == 1
    assert feed.status("p") == "published"


def test_imported_publishing_post_without_a_time_is_finished(feed: Feed) -> None:
    """Such a file may come from elsewhere."""
    feed.post("p", "acc_twitter", due=None)
    with feed.store.writing() as db:
        db.execute("UPDATE posts SET status = 'publishing', lease_until = 0")
    assert feed.worker().tick() == 1
    assert feed.row("SELECT published_at FROM posts")["published_at"] == to_ms(NOW)


# Engagement


def test_engagement_grows_and_settles(feed: Feed) -> None:
    """At most every five minutes; eventually figures are final and no longer read."""
    feed.post("p", "acc_twitter")
    worker = feed.worker()
    feed.clock.move(3600)
    worker.tick()
    figures = [feed.views("p")]
    assert (figures, worker.measure()) == ([0], 0)
    for _ in range(20):
        feed.clock.move(12 * 3600)
        assert worker.measure() == 1
        figures.append(feed.views("p"))
    assert figures == sorted(figures)
    assert len(set(figures)) > 4
    feed.clock.move(networks.SETTLED_HOURS * 3600)
    assert worker.measure() == 1
    settled = feed.views("p")
    feed.clock.move(networks.SETTLED_HOURS * 3600)
    assert worker.measure() == 0
    assert feed.views("p") == settled


def test_engagement_is_final_a_millisecond_after_it_stops_growing(feed: Feed) -> None:
    feed.post("first", "acc_twitter")
    feed.post("second", "acc_twitter", due=NOW + HOUR + timedelta(milliseconds=1))
    worker = feed.worker()
    for seconds in (3600, 0.001):
        feed.clock.move(seconds)
        assert worker.tick() == 1
    feed.clock.move(networks.SETTLED_HOURS * 3600)
    assert worker.measure() == 2
    settled = [
        feed.row("SELECT settled FROM publications WHERE post_id = ?", each)["settled"] for each in ("first", "second")
    ]
    assert settled == [1, 0]


def test_late_worker_does_not_decrease_figures(feed: Feed) -> None:
    """It chose the publications before another worker updated them."""
    feed.post("p", "acc_twitter")
    feed.clock.move(3600)
    feed.worker().tick()
    feed.clock.move(24 * 3600)
    late_clock = ManualClock(feed.clock.now())
    late = Scheduler(feed.store, late_clock)
    feed.clock.move(48 * 3600)

    class Pausing(Store):
        """Let another worker run between read and write."""

        def writing(self):
            if feed.worker().measure():
                figures.append(feed.views("p"))
            return super().writing()

    figures: list[int] = []
    with closing(Pausing(feed.store.path)) as pausing:
        assert Scheduler(pausing, late_clock).measure() == 1
    assert late.measure() == 0
    assert figures == [feed.views("p")]


def test_engagement_is_counted_from_the_publication_in_the_time_zone_of_the_organization(feed: Feed) -> None:
    with feed.store.writing() as db:
        db.execute("UPDATE organizations SET time_zone = 'Asia/Tokyo'")
    feed.post("p", "acc_twitter")
    feed.clock.move(3600)
    feed.worker().tick()
    feed.clock.move(24 * 3600)
    assert feed.worker().measure() == 1

    account = {"id": "acc_twitter", "platform": "twitter", "followers": 1000}
    published = (NOW + HOUR).astimezone(ZoneInfo("Asia/Tokyo"))
    expected = networks.compute_engagement(account, "p", published, 24.0)
    row = feed.row("SELECT likes, comments, shares, views, measured_at, settled FROM publications")
    assert tuple(row) == (
        expected.likes,
        expected.comments,
        expected.shares,
        expected.views,
        to_ms(NOW + 25 * HOUR),
        0,
    )
    assert expected.views > 0


def test_late_publication_has_its_engagement_at_once(feed: Feed) -> None:
    """From five minutes on."""
    for post_id, minutes in (("p", 5), ("q", 4.9)):
        feed.post(post_id, "acc_twitter", due=NOW + HOUR - timedelta(minutes=minutes) - timedelta(milliseconds=TICK_MS))
    feed.clock.move(3600)
    worker = feed.worker()
    assert [worker.publish(claim) for claim in worker.claim()] == [True, True]

    measured = [
        feed.row("SELECT measured_at - published_at AS age FROM publications WHERE post_id = ?", each)["age"]
        for each in "pq"
    ]
    assert measured == [5 * 60 * 1000, 0]
