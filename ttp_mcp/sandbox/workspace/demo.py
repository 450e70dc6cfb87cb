"""The demo workspace: a café with half a year of posts, and a small studio beside it.

The same seed gives the same ids and texts every time; all times follow from the clock.
"""

import json
import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from ttp_mcp.sandbox.clock import Clock, to_ms
from ttp_mcp.sandbox.ids import new_id
from ttp_mcp.sandbox.scheduler import publish_to_account
from ttp_mcp.sandbox.storage import MediaStorage
from ttp_mcp.sandbox.store import Store
from ttp_mcp.sandbox.workspace import pictures
from ttp_mcp.sandbox.workspace.demo_texts import CAFE, DRAFTS, STUDIO, THREAD, UPCOMING

SEED = 20261124
WEEKS = 26
# Days since the connection of one account expired; posts that were due on it since then failed.
EXPIRED_DAYS = 9


@dataclass(frozen=True, slots=True)
class _Account:
    key: str
    platform: str
    name: str
    handle: str | None
    followers: int
    expired: bool = False


@dataclass(frozen=True, slots=True)
class _Organization:
    key: str
    name: str
    zone: str
    accounts: tuple[_Account, ...]


@dataclass(frozen=True, slots=True)
class _PlannedPost:
    """A post before it is written. `due` is None for a draft; `waits` marks a post that is still to come."""

    id: str
    organization: _Organization
    content: str
    keys: Sequence[str]
    due: datetime | None
    made: datetime
    media: list[str]
    thread: list[str]
    data: dict[str, dict[str, object]]
    waits: bool


HARBOR = _Organization(
    "org_harbor_cafe",
    "Harbor Café",
    "Europe/Paris",
    (
        _Account("instagram", "instagram", "Harbor Café", "@harbor.cafe", 8400),
        _Account("twitter", "twitter", "Harbor Café", "@harborcafe", 3900),
        _Account("twitter_berlin", "twitter", "Harbor Café Berlin", "@harborcafe_berlin", 1250, expired=True),
        _Account("linkedin", "linkedin", "Harbor Café", None, 2100),
        _Account("tiktok", "tiktok", "Harbor Café", "@harbor.cafe", 5600),
        _Account("pinterest", "pinterest", "Harbor Café", "@harborcafe", 980),
    ),
)
NORDLICHT = _Organization(
    "org_nordlicht",
    "Nordlicht Studio",
    "Europe/Berlin",
    (
        _Account("instagram", "instagram", "Nordlicht Studio", "@nordlicht.studio", 3100),
        _Account("linkedin", "linkedin", "Nordlicht Studio", None, 1400),
    ),
)

_WITH_PICTURE = ("instagram", "tiktok", "pinterest")
# Choices that TikTok and Pinterest require for each post.
_CHOICES: dict[str, dict[str, object]] = {
    "tiktok": {
        "privacy": "PUBLIC_TO_EVERYONE",
        "allowComments": True,
        "allowDuet": False,
        "allowStitch": False,
        "yourBrand": True,
        "brandedContent": False,
    },
    "pinterest": {"boardId": "board-coffee-and-harbor"},
}

# Local hours at which the team posts, with weights.
_HOURS = ((8, 3), (9, 4), (10, 2), (12, 5), (14, 2), (16, 2), (17, 3), (18, 6), (19, 2), (20, 3), (21, 1))


def fill_if_new(store: Store, clock: Clock, storage: MediaStorage, *, empty: bool) -> None:
    """Fill a new folder with the demo workspace, or with one empty organization."""
    with store.writing():
        if is_new(store):
            fill_workspace(store, clock, storage, empty=empty)


def is_new(store: Store) -> bool:
    """Check whether the data hold no organization yet."""
    with store.reading() as db:
        return db.execute("SELECT 1 FROM organizations LIMIT 1").fetchone() is None


def fill_workspace(store: Store, clock: Clock, storage: MediaStorage, *, empty: bool) -> None:
    """Write the demo workspace, or one empty organization, into empty tables."""
    with store.writing() as db:
        db.execute("INSERT INTO users VALUES ('usr_demo', 'Demo User')")
        if empty:
            _add_organization(db, _Organization("org_empty", "My workspace", "UTC", ()), 0)
            return
        writer = _Writer(db, clock, storage)
        for position, organization in enumerate((HARBOR, NORDLICHT)):
            _add_organization(db, organization, position)
            writer.connect(organization)
        writer.plan_harbor()
        writer.plan_nordlicht()
        writer.write()


def _add_organization(db: sqlite3.Connection, organization: _Organization, position: int) -> None:
    db.execute(
        "INSERT INTO organizations (id, name, plan, time_zone) VALUES (?, ?, 'complete', ?)",
        (organization.key, organization.name, organization.zone),
    )
    db.execute("INSERT INTO members VALUES ('usr_demo', ?, ?)", (organization.key, position))


class _Writer:
    """Writes the demo rows; every random choice comes from one seeded generator."""

    def __init__(self, db: sqlite3.Connection, clock: Clock, storage: MediaStorage) -> None:
        self._db = db
        self._now = clock.now()
        self._storage = storage
        self._random = random.Random(SEED)  # noqa: S311 - the same demo workspace every time
        self._accounts: dict[tuple[str, str], str] = {}
        self._pictures: list[str] = []
        self._planned: list[_PlannedPost] = []

    def connect(self, organization: _Organization) -> None:
        """Connect the accounts of an organization."""
        for position, account in enumerate(organization.accounts):
            account_id = new_id(self._random.choice)
            self._accounts[organization.key, account.key] = account_id
            expires = self._now - timedelta(days=EXPIRED_DAYS) if account.expired else self._now + timedelta(days=48)
            self._db.execute(
                "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    account_id,
                    organization.key,
                    position,
                    account.platform,
                    account.name,
                    account.handle,
                    "connected",
                    to_ms(expires),
                    int(not account.expired),
                    account.followers,
                    to_ms(self._now - timedelta(days=400 - 20 * position)),
                ),
            )

    def plan_harbor(self) -> None:
        """Plan half a year of the café, last week's failures, and upcoming posts."""
        self._pictures = [self._store_picture(HARBOR.key, number) for number in range(6)]
        zone = ZoneInfo(HARBOR.zone)
        self._plan_history(HARBOR, CAFE, zone, per_week=4)
        self._plan_post(
            HARBOR,
            "Both bars open at ten today, after our team breakfast ☕ See you then.",
            ("instagram", "twitter_berlin"),
            due=self._to_local(zone, -5, 18),
            pictures=1,
        )
        self._plan_post(
            HARBOR,
            "Berlin: the Kreuzberg bar is hiring a barista for the weekends. Say hello!",
            ("twitter_berlin",),
            due=self._to_local(zone, -3, 12),
        )
        for days, hour, text, keys, pictures_used in UPCOMING:
            self._plan_post(
                HARBOR, text, keys, due=self._to_local(zone, days, hour), pictures=pictures_used, waits=True
            )
        self._plan_post(HARBOR, THREAD[0], ("twitter",), due=self._to_local(zone, 6, 9), thread=THREAD[1:], waits=True)
        for text, keys in DRAFTS:
            self._plan_post(HARBOR, text, keys, due=None)

    def plan_nordlicht(self) -> None:
        """Plan a second, smaller organization."""
        zone = ZoneInfo(NORDLICHT.zone)
        self._pictures = [self._store_picture(NORDLICHT.key, 6)]
        self._plan_history(NORDLICHT, STUDIO, zone, per_week=1)
        self._plan_post(
            NORDLICHT, STUDIO[0], ("instagram", "linkedin"), due=self._to_local(zone, 3, 17), pictures=1, waits=True
        )

    def _plan_history(
        self, organization: _Organization, texts: Sequence[str], zone: ZoneInfo, *, per_week: int
    ) -> None:
        """Plan published posts on one or two accounts; a text repeats only after all others."""
        hours, weights = zip(*_HOURS, strict=True)
        order = self._random.sample(texts, len(texts))
        number = 0
        for week in range(WEEKS, 0, -1):
            for weekday in sorted(self._random.sample(range(7), per_week)):
                hour, minute = self._random.choices(hours, weights)[0], self._random.choice((0, 0, 15, 30))
                due = self._to_local(zone, -7 * week + weekday, hour, minute)
                keys = self._choose_accounts(organization, due)
                pictures_used = int(any(key in _WITH_PICTURE for key in keys) or self._random.random() < 0.3)
                self._plan_post(organization, order[number % len(order)], keys, due=due, pictures=pictures_used)
                number += 1

    def _choose_accounts(self, organization: _Organization, due: datetime) -> list[str]:
        """Choose one or two accounts that were connected at `due`; small ones less often."""
        lost = self._now - timedelta(days=EXPIRED_DAYS + 1)
        open_then = [account for account in organization.accounts if not account.expired or due < lost]
        weights = [1 if account.platform == "pinterest" or account.expired else 4 for account in open_then]
        chosen = {account.key for account in self._random.choices(open_then, weights, k=self._random.choice((1, 1, 2)))}
        return [account.key for account in organization.accounts if account.key in chosen]

    def _to_local(self, zone: ZoneInfo, days: int, hour: int, minute: int = 0) -> datetime:
        day = self._now.astimezone(zone).date() + timedelta(days=days)
        return datetime.combine(day, time(hour, minute), zone)

    def _plan_post(
        self,
        organization: _Organization,
        content: str,
        keys: Sequence[str],
        *,
        due: datetime | None,
        pictures: int = 0,
        thread: Sequence[str] = (),
        waits: bool = False,
    ) -> None:
        """Plan a post. Unless it `waits`, its results are written too."""
        post_id = new_id(self._random.choice)
        made = min(self._now, due or self._now) - timedelta(hours=self._random.randint(20, 90))
        media = self._random.sample(self._pictures, min(pictures, len(self._pictures)))
        data = {key: _CHOICES[key] for key in keys if key in _CHOICES}
        self._planned.append(
            _PlannedPost(post_id, organization, content, keys, due, made, media, list(thread), data, waits)
        )

    def write(self) -> None:
        """Write the planned posts in the order of creation, by which the API lists them."""
        for post in sorted(self._planned, key=lambda post: post.made):
            self._insert_post(post)
            if post.due and not post.waits:
                self._publish_post(post.id, to_ms(post.due) + 12_000)
        # Last, because posts that were due before the expiry were published.
        self._db.execute(
            "UPDATE accounts SET status = 'expired' WHERE has_refresh_capability = 0 AND expires_at <= ?",
            (to_ms(self._now),),
        )

    def _insert_post(self, post: "_PlannedPost") -> None:
        made = to_ms(post.made)
        self._db.execute(
            "INSERT INTO posts (id, organization_id, content, status, scheduled_at, created_at, updated_at, media_urls, thread, "
            "platform_data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                post.id,
                post.organization.key,
                post.content,
                "scheduled" if post.due else "draft",
                to_ms(post.due) if post.due else None,
                made,
                made,
                json.dumps(post.media),
                json.dumps(post.thread),
                json.dumps(post.data),
            ),
        )
        self._db.executemany(
            "INSERT INTO post_targets (post_id, account_id, position, status) VALUES (?, ?, ?, 'pending')",
            [(post.id, self._accounts[post.organization.key, key], position) for position, key in enumerate(post.keys)],
        )

    def _publish_post(self, post_id: str, at: int) -> None:
        post = self._db.execute("SELECT * FROM posts WHERE id = ?", (post_id,)).fetchone()
        accounts = self._db.execute(
            "SELECT a.* FROM post_targets t JOIN accounts a ON a.id = t.account_id WHERE t.post_id = ? ORDER BY t.position",
            (post_id,),
        ).fetchall()
        done = [publish_to_account(self._db, post, account, at=at, now=to_ms(self._now)) for account in accounts]
        status = "published" if all(done) else "partial" if any(done) else "failed"
        self._db.execute(
            "UPDATE posts SET status = ?, published_at = ?, updated_at = ? WHERE id = ?",
            (status, at if any(done) else None, at, post_id),
        )

    def _store_picture(self, organization: str, number: int) -> str:
        """Store one of the drawn pictures and return its public URL."""
        name, content = pictures.draw_picture(number)
        key = f"uploads/{organization}/demo/{name}"
        path = self._storage.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        made = to_ms(self._now - timedelta(days=190))
        self._db.execute(
            "INSERT OR IGNORE INTO media VALUES (?, ?, ?, 'image/png', ?, ?, ?, ?, ?)",
            (key, organization, name, len(content), made, made, made, pictures.hash_content(content)),
        )
        return self._storage.public_url(key)
