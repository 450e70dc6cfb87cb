"""Publishes due posts exactly once, even if a process dies in between.

A worker claims a post with a lease and a fence, works, and records effect and status in one transaction that holds only
under that fence. A lease that ran out is claimed again with a higher fence, so the slow first worker can record nothing.
"""

import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from ttp_mcp.sandbox import networks
from ttp_mcp.sandbox.clock import Clock, from_ms, to_ms
from ttp_mcp.sandbox.store import Store

LEASE_SECONDS = 60.0
BATCH = 20
# A scheduler that runs every minute publishes a little after the scheduled time.
TICK_MS = 20_000
MEASURE_EVERY_MS = 5 * 60 * 1000
_PUBLICATION = (
    "SELECT p.id, p.post_id, p.published_at, a.id AS account_id, a.platform, a.followers, o.time_zone FROM publications p "
    "JOIN accounts a ON a.id = p.account_id JOIN organizations o ON o.id = p.organization_id"
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A post that a worker owns until its lease ends."""

    post_id: str
    fence: int


class Scheduler:
    """One worker. Any number may run over the same data, in any number of processes."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        lease_seconds: float = LEASE_SECONDS,
        real_time: Callable[[], float] = time.time,
    ) -> None:
        """Keep the data and the clocks.

        Args:
            store: The data.
            clock: Decides what is due.
            lease_seconds: How long a worker may take; measured in real time, since the sandbox's clock may stand still.
            real_time: Seconds since 1970 of the machine.
        """
        self._store = store
        self._clock = clock
        self._lease_ms = round(lease_seconds * 1000)
        self._real_time = real_time

    def tick(self) -> int:
        """Publish due posts and update engagement. Returns the number of finished posts.

        Raises:
            ExceptionGroup: Some posts failed. The others had their turn; these get another when their lease is over.
        """
        finished = 0
        problems: list[Exception] = []
        while claims := self.claim():
            for claim in claims:
                try:
                    finished += self.publish(claim)
                except Exception as problem:  # noqa: BLE001 - raised below
                    problems.append(problem)
        self.measure()
        if problems:
            raise ExceptionGroup(f"{len(problems)} posts could not be published", problems)
        return finished

    def claim(self) -> list[Claim]:
        """Claim due posts, and posts whose worker did not finish in time.

        A lease that ends later than one of now would was given before the machine's clock was put back: it counts as over.
        """
        now, real = to_ms(self._clock.now()), round(self._real_time() * 1000)
        if not self._is_anything_due(now, real):
            return []
        with self._store.writing() as db:
            rows = db.execute(
                "SELECT * FROM (SELECT id, fence, scheduled_at FROM posts WHERE status = 'scheduled' AND scheduled_at <= ? "
                "ORDER BY scheduled_at, sequence LIMIT ?) UNION ALL "
                "SELECT * FROM (SELECT id, fence, scheduled_at FROM posts WHERE status = 'publishing' "
                "AND (lease_until <= ? OR lease_until > ?) LIMIT ?)",
                (now, BATCH, real, real + self._lease_ms, BATCH),
            ).fetchall()
            db.executemany(
                "UPDATE posts SET status = 'publishing', fence = fence + 1, lease_until = ?, updated_at = ? WHERE id = ?",
                [(real + self._lease_ms, now, row["id"]) for row in rows],
            )
        return [Claim(row["id"], row["fence"] + 1) for row in rows]

    def publish(self, claim: Claim) -> bool:
        """Publish a post to each of its accounts. Returns False if another worker has claimed it since."""
        with self._store.writing() as db:
            post = db.execute(
                "SELECT p.*, o.time_zone FROM posts p JOIN organizations o ON o.id = p.organization_id "
                "WHERE p.id = ? AND p.fence = ? AND p.status = 'publishing'",
                (claim.post_id, claim.fence),
            ).fetchone()
            if post is None:
                return False
            self._record_results(db, post)
        return True

    def measure(self) -> int:
        """Update the engagement of publications. Returns the number of updated ones."""
        now = to_ms(self._clock.now())
        with self._store.reading() as db:
            rows = db.execute(
                f"{_PUBLICATION} WHERE p.settled = 0 AND p.measured_at <= ? LIMIT 500",
                (now - MEASURE_EVERY_MS,),
            ).fetchall()
        if rows:
            with self._store.writing() as db:
                for row in rows:
                    _update_engagement(db, row, now)
        return len(rows)

    def _is_anything_due(self, now: int, real: int) -> bool:
        """Check without the write lock, because usually nothing is due."""
        with self._store.reading() as db:
            found = db.execute(
                "SELECT EXISTS (SELECT 1 FROM posts WHERE status = 'scheduled' AND scheduled_at <= ?) "
                "OR EXISTS (SELECT 1 FROM posts WHERE status = 'publishing' AND (lease_until <= ? OR lease_until > ?))",
                (now, real, real + self._lease_ms),
            ).fetchone()
        return bool(found[0])

    def _record_results(self, db: sqlite3.Connection, post: sqlite3.Row) -> None:
        now = to_ms(self._clock.now())
        due: int | None = post["scheduled_at"]
        # Never before its time, even if the clock was moved back after the claim.
        out = now if due is None else min(max(now, due), due + TICK_MS)
        accounts = db.execute(
            "SELECT a.* FROM post_targets t JOIN accounts a ON a.id = t.account_id WHERE t.post_id = ? ORDER BY t.position",
            (post["id"],),
        ).fetchall()
        published = sum(publish_to_account(db, post, account, at=out, now=now) for account in accounts)
        status = "failed" if not published else "published" if published == len(accounts) else "partial"
        db.execute(
            "UPDATE posts SET status = ?, published_at = ?, updated_at = ?, lease_until = NULL WHERE id = ?",
            (status, out if published else None, now, post["id"]),
        )


def publish_to_account(db: sqlite3.Connection, post: sqlite3.Row, account: sqlite3.Row, *, at: int, now: int) -> bool:
    """Record the result of a post on one network: published at `at`, with engagement up to `now`."""
    problem = _find_connection_problem(account, at) or networks.find_rejection(
        dict(account), json.loads(post["platform_data"])
    )
    if problem:
        db.execute(
            "UPDATE post_targets SET status = 'failed', error = ? WHERE post_id = ? AND account_id = ?",
            (problem, post["id"], account["id"]),
        )
        return False
    publication_id = _insert_publication(db, post, account, at)
    if now - at >= MEASURE_EVERY_MS:
        row = db.execute(f"{_PUBLICATION} WHERE p.id = ?", (publication_id,)).fetchone()
        _update_engagement(db, row, now)
    return True


def _insert_publication(db: sqlite3.Connection, post: sqlite3.Row, account: sqlite3.Row, at: int) -> str:
    publication_id = networks.create_external_id(post["id"], account["id"])
    url = networks.create_url(account["platform"], account["handle"] or account["name"], publication_id)
    thread = post["thread"] if account["platform"] == "twitter" else "[]"
    db.execute(
        "INSERT INTO publications (id, post_id, organization_id, account_id, platform, content, thread, media_urls, url, published_at, "
        "measured_at) SELECT ?, id, organization_id, ?, ?, content, ?, media_urls, ?, ?, ? FROM posts WHERE id = ?",
        (publication_id, account["id"], account["platform"], thread, url, at, at, post["id"]),
    )
    db.execute(
        "UPDATE post_targets SET status = 'published', external_id = ?, url = ?, published_at = ? WHERE post_id = ? AND account_id = ?",
        (publication_id, url, at, post["id"], account["id"]),
    )
    return publication_id


def _find_connection_problem(account: sqlite3.Row, at: int) -> str | None:
    lapsed = account["expires_at"] is not None and account["expires_at"] <= at and not account["has_refresh_capability"]
    if account["status"] == "connected" and not lapsed:
        return None
    return (
        f"The connection of {account['handle'] or account['name']} has expired. Reconnect the account in the dashboard."
    )


def _update_engagement(db: sqlite3.Connection, row: sqlite3.Row, now: int) -> None:
    age_hours = max(0, now - row["published_at"]) / 3_600_000
    local = from_ms(row["published_at"]).astimezone(ZoneInfo(row["time_zone"]))
    account = {"id": row["account_id"], "platform": row["platform"], "followers": row["followers"]}
    found = networks.compute_engagement(account, row["post_id"], local, age_hours)
    db.execute(
        # A late worker must not overwrite newer figures.
        "UPDATE publications SET likes = ?, comments = ?, shares = ?, views = ?, measured_at = ?, settled = ? "
        "WHERE id = ? AND measured_at <= ?",
        (
            found.likes,
            found.comments,
            found.shares,
            found.views,
            now,
            int(age_hours > networks.SETTLED_HOURS),
            row["id"],
            now,
        ),
    )
