"""Queries of the page: a few for each page, whatever the size of the workspace.

Instants are milliseconds since 1970. Texts are cut in the database, so that a long post is not read for its first words.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import unquote, urlsplit

from ttp_mcp.sandbox.clock import from_ms, to_ms
from ttp_mcp.sandbox.rest.organizations import Organization
from ttp_mcp.sandbox.storage import MediaStorage

FIRST_WORDS = 280
_BRIEF = (
    f"p.id, p.status, p.scheduled_at, p.published_at, substr(p.content, 1, {FIRST_WORDS}) AS content, p.media_urls, "
    "json_array_length(p.thread) AS parts, p.sequence"
)


@dataclass(frozen=True, slots=True)
class Visit:
    """A request for a page: an organization, a time, and a consistent view of the data."""

    db: sqlite3.Connection
    storage: MediaStorage
    organization: Organization
    organizations: Sequence[Organization]
    now: datetime

    def local(self, at: int) -> datetime:
        """Return an instant of the store in the organization's zone."""
        instant = from_ms(at)
        try:
            return instant.astimezone(self.organization.zone)
        except OverflowError:  # the last hours of the year 9999
            return instant

    def path(self, *parts: str) -> str:
        """Return the path of one of the organization's pages."""
        return "/".join(("/o", self.organization.id, *parts))


@dataclass(frozen=True, slots=True)
class File:
    """A file of a post: shown if it is in the sandbox's storage, otherwise only linked."""

    url: str
    name: str
    kind: str  # image | video | elsewhere


@dataclass(frozen=True, slots=True)
class Target:
    """An account that a post goes to, and its result."""

    account_id: str
    platform: str
    name: str
    status: str
    url: str | None
    error: str | None
    published_at: int | None


@dataclass(frozen=True, slots=True)
class Card:
    """Summary of a post."""

    id: str
    status: str
    at: int | None
    text: str
    parts: int
    files: Sequence[File]
    targets: Sequence[Target]


@dataclass(frozen=True, slots=True)
class Day:
    """The first posts of a time window, and the count of all."""

    count: int
    cards: Sequence[Card]


@dataclass(frozen=True, slots=True)
class FullPost:
    """A post in full."""

    card: Card
    thread: Sequence[str]
    data: str
    created_at: int
    updated_at: int
    figures: dict[str, sqlite3.Row]


@dataclass(frozen=True, slots=True)
class Publication:
    """A publication as a follower sees it."""

    post_id: str | None
    account: sqlite3.Row
    row: sqlite3.Row
    thread: Sequence[str]
    files: Sequence[File]


def read_days(visit: Visit, windows: Sequence[tuple[int, int]], most: int, skip: int = 0) -> list[Day]:
    """Return the posts of each window (from, to; the end excluded) by time, at most `most` of each."""
    values = ", ".join(f"({number}, {start}, {stop})" for number, (start, stop) in enumerate(windows))
    inside = "organization_id = ? AND scheduled_at >= d.start AND scheduled_at < d.stop"
    counts = visit.db.execute(
        f"WITH d(n, start, stop) AS (VALUES {values}) SELECT (SELECT count(*) FROM posts WHERE {inside}) FROM d ORDER BY n",  # noqa: S608 - numbers of our own
        (visit.organization.id,),
    ).fetchall()
    rows = visit.db.execute(
        f"WITH d(n, start, stop) AS (VALUES {values}) SELECT d.n, {_BRIEF} FROM d CROSS JOIN posts p WHERE p.sequence IN "  # noqa: S608 - numbers of our own
        f"(SELECT sequence FROM posts WHERE {inside} ORDER BY scheduled_at LIMIT ? OFFSET ?) ORDER BY p.scheduled_at, p.sequence",
        (visit.organization.id, most, skip),
    ).fetchall()
    found: dict[int, list[Card]] = {number: [] for number in range(len(windows))}
    for row, card in zip(rows, _read_cards(visit, rows), strict=True):
        found[row["n"]].append(card)
    return [Day(count=count[0], cards=cards) for count, cards in zip(counts, found.values(), strict=True)]


def read_drafts(visit: Visit, most: int, skip: int) -> Day:
    """Return posts without a time, newest first."""
    where = "FROM posts p WHERE organization_id = ? AND scheduled_at IS NULL"
    rows = visit.db.execute(
        # The plus keeps SQLite from scanning all posts in order to find the few drafts.
        f"SELECT {_BRIEF} {where} ORDER BY +sequence DESC LIMIT ? OFFSET ?",
        (visit.organization.id, most, skip),
    ).fetchall()
    count = visit.db.execute(f"SELECT count(*) {where}", (visit.organization.id,)).fetchone()[0]
    return Day(count=count, cards=_read_cards(visit, rows))


def read_failures(visit: Visit, since: datetime, most: int) -> list[Card]:
    """Return posts since then that failed on some account, latest first."""
    rows = visit.db.execute(
        f"SELECT {_BRIEF} FROM posts p WHERE organization_id = ? AND scheduled_at > ? AND status IN ('failed', 'partial') "  # noqa: S608 - words of our own
        "ORDER BY scheduled_at DESC LIMIT ?",
        (visit.organization.id, to_ms(since), most),
    ).fetchall()
    return _read_cards(visit, rows)


def count_by_status(visit: Visit) -> dict[str, int]:
    """Count the posts of each status."""
    rows = visit.db.execute(
        "SELECT status, count(*) FROM posts WHERE organization_id = ? GROUP BY status",
        (visit.organization.id,),
    )
    return dict(rows.fetchall())


def sum_engagement(visit: Visit, window_days: int) -> sqlite3.Row:
    """Sum up the last days: `posts`, `likes`, `comments`, `shares`, `views`."""
    return visit.db.execute(
        "SELECT count(DISTINCT post_id) AS posts, coalesce(sum(likes), 0) AS likes, coalesce(sum(comments), 0) AS comments, "
        "coalesce(sum(shares), 0) AS shares, coalesce(sum(views), 0) AS views FROM publications "
        "WHERE organization_id = ? AND published_at > ?",
        (visit.organization.id, to_ms(visit.now - timedelta(days=window_days))),
    ).fetchone()


def read_post(visit: Visit, post_id: str) -> FullPost | None:
    """Return a post of the organization, or None if it is unknown."""
    row = visit.db.execute(
        "SELECT *, json_array_length(thread) AS parts FROM posts WHERE id = ? AND organization_id = ?",
        (post_id, visit.organization.id),
    ).fetchone()
    if row is None:
        return None
    figures = visit.db.execute("SELECT * FROM publications WHERE post_id = ?", (post_id,)).fetchall()
    return FullPost(
        card=_read_cards(visit, [row])[0],
        thread=json.loads(row["thread"]),
        data="" if row["platform_data"] == "{}" else _indent_json(row["platform_data"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        figures={figure["account_id"]: figure for figure in figures},
    )


def read_accounts(visit: Visit) -> list[sqlite3.Row]:
    """Return the accounts in their order, each with `last_at`, the time of its last publication."""
    return visit.db.execute(
        "SELECT a.*, (SELECT max(published_at) FROM publications WHERE account_id = a.id) AS last_at FROM accounts a "
        "WHERE organization_id = ? ORDER BY position",
        (visit.organization.id,),
    ).fetchall()


def is_expired(visit: Visit, account: sqlite3.Row) -> bool:
    """Check whether a post to the account would fail now."""
    lapsed = account["expires_at"] is not None and account["expires_at"] <= to_ms(visit.now)
    return account["status"] != "connected" or (lapsed and not account["has_refresh_capability"])


def read_media(visit: Visit, most: int, skip: int) -> tuple[int, list[sqlite3.Row]]:
    """Return the count of all files, and some of them, newest first."""
    count = visit.db.execute(
        "SELECT count(*) FROM media WHERE organization_id = ?", (visit.organization.id,)
    ).fetchone()[0]
    rows = visit.db.execute(
        "SELECT * FROM media WHERE organization_id = ? ORDER BY created_at DESC, key LIMIT ? OFFSET ?",
        (visit.organization.id, most, skip),
    ).fetchall()
    return count, rows


def read_feed(visit: Visit, account_id: str | None, most: int, skip: int) -> list[Publication]:
    """Return publications of one account or of all, latest first; those of deleted posts have no `post_id`."""
    by, value = ("account_id", account_id) if account_id else ("organization_id", visit.organization.id)
    rows = visit.db.execute(
        f"SELECT u.*, p.id AS live_id FROM publications u LEFT JOIN posts p ON p.id = u.post_id WHERE u.{by} = ? "  # noqa: S608 - one of our two words
        "ORDER BY u.published_at DESC LIMIT ? OFFSET ?",
        (value, most, skip),
    ).fetchall()
    by_id = {account["id"]: account for account in read_accounts(visit)}
    media_urls = [json.loads(row["media_urls"]) for row in rows]
    known = _find_files(visit, (url for urls in media_urls for url in urls))
    return [
        Publication(
            post_id=row["live_id"],
            account=by_id[row["account_id"]],
            row=row,
            thread=json.loads(row["thread"]),
            files=_to_files(urls, known),
        )
        for row, urls in zip(rows, media_urls, strict=True)
    ]


def read_activity(visit: Visit, most: int) -> list[sqlite3.Row]:
    """Return the latest requests for this organization, and those refused before theirs was known."""
    return visit.db.execute(
        "SELECT * FROM activity WHERE organization_id = ? OR organization_id IS NULL ORDER BY id DESC LIMIT ?",
        (visit.organization.id, most),
    ).fetchall()


def _read_cards(visit: Visit, rows: Sequence[sqlite3.Row]) -> list[Card]:
    marks = ", ".join("?" * len(rows))
    targets: dict[str, list[Target]] = {row["id"]: [] for row in rows}
    for target in visit.db.execute(
        "SELECT t.*, a.platform, coalesce(a.handle, a.name) AS name FROM post_targets t JOIN accounts a ON a.id = t.account_id "  # noqa: S608 - question marks
        f"WHERE t.post_id IN ({marks}) ORDER BY t.position",
        [row["id"] for row in rows],
    ):
        targets[target["post_id"]].append(
            Target(
                account_id=target["account_id"],
                platform=target["platform"],
                name=target["name"],
                status=target["status"],
                url=target["url"],
                error=target["error"],
                published_at=target["published_at"],
            )
        )
    media_urls = [json.loads(row["media_urls"]) for row in rows]
    known = _find_files(visit, (url for urls in media_urls for url in urls))
    return [
        Card(
            id=row["id"],
            status=row["status"],
            at=row["scheduled_at"],
            text=row["content"],
            parts=row["parts"],
            files=_to_files(urls, known),
            targets=targets[row["id"]],
        )
        for row, urls in zip(rows, media_urls, strict=True)
    ]


def _find_files(visit: Visit, urls: Iterable[str]) -> dict[str, File]:
    """Return the URLs that are files in the organization's storage. Their origin may be that of an earlier start."""
    keys = {url: unquote(_get_path(url)).lstrip("/") for url in urls}
    marks = ", ".join("?" * len(set(keys.values())))
    rows = visit.db.execute(
        f"SELECT * FROM media WHERE organization_id = ? AND uploaded_at IS NOT NULL AND key IN ({marks})",  # noqa: S608 - question marks
        (visit.organization.id, *set(keys.values())),
    ).fetchall()
    files = {
        row["key"]: File(visit.storage.public_url(row["key"]), row["filename"], row["content_type"].partition("/")[0])
        for row in rows
    }
    return {url: files[key] for url, key in keys.items() if key in files}


def _to_files(urls: Sequence[str], known: dict[str, File]) -> list[File]:
    return [known.get(url) or File(url, url.partition("?")[0].rpartition("/")[2] or url, "elsewhere") for url in urls]


def _get_path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _indent_json(text: str) -> str:
    return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
