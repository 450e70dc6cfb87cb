"""Handlers of /posts."""

import json
import re
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from starlette.responses import Response

from ttp_mcp.sandbox.clock import to_iso, to_ms
from ttp_mcp.sandbox.ids import new_id
from ttp_mcp.sandbox.rest import organizations, platform_rules
from ttp_mcp.sandbox.rest.request import ApiRequest
from ttp_mcp.sandbox.rest.responses import VISIBLE, JsonObject, Problem, respond_ok
from ttp_mcp.sandbox.storage import MediaStorage, split_url

THREAD_PARTS, THREAD_CHARACTERS = 24, 280
# Limits of our own, so that one request can't fill the disk.
CONTENT_CHARACTERS, MEDIA_URLS, TEXT_CHARACTERS, TARGETS = 100_000, 50, 2048, 100

PUBLISHABLE = ("draft", "scheduled", "failed")
FIELDS = ("content", "accountIds", "platforms", "mediaUrls", "thread", "scheduledAt", "platformData")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)

# https, or http on this machine for the sandbox's own storage. Without credentials, and percent-encoded.
_MEDIA_URL = re.compile(
    r"(https://[^\x00-\x20\x7f/?#@\\:\[\]]+|http://(localhost|127\.0\.0\.1|\[::1\]|([A-Za-z0-9-]+\.)+localhost))"
    r"(:[0-9]{1,5})?([/?#][^\x00-\x20\x7f]*)?"
)


def list_posts(call: ApiRequest) -> Response:
    """`GET /posts`: all of the organization, newest first."""
    call.check_query()
    with call.store.reading() as db:
        rows = db.execute(
            "SELECT * FROM posts WHERE organization_id = ? ORDER BY sequence DESC", (call.organization.id,)
        ).fetchall()
        targets: dict[str, list[sqlite3.Row]] = {}
        for target in db.execute(
            "SELECT t.*, a.platform FROM post_targets t JOIN accounts a ON a.id = t.account_id "
            "WHERE a.organization_id = ? ORDER BY t.post_id, t.position",
            (call.organization.id,),
        ):
            targets.setdefault(target["post_id"], []).append(target)
    return respond_ok(posts=[to_json(row, targets.get(row["id"], []), call.storage) for row in rows])


def get_post(call: ApiRequest) -> Response:
    """`GET /posts/{id}`."""
    call.check_query()
    with call.store.reading() as db:
        row = _find_post(db, call)
        return respond_ok(post=to_json(row, _read_targets(db, row["id"]), call.storage))


def delete_post(call: ApiRequest) -> Response:
    """`DELETE /posts/{id}`: removed here; what a network already shows stays there."""
    call.check_query()
    call.require("draft")
    with call.store.writing() as db:
        row = _find_post(db, call)
        if row["status"] == "publishing":
            raise Problem(409, "The post is being published right now and can't be deleted. Try again in a minute.")
        db.execute("DELETE FROM posts WHERE id = ?", (row["id"],))
    return respond_ok(id=row["id"])


def create_post(call: ApiRequest) -> Response:
    """`POST /posts`: a draft, or a scheduled post when it has a time."""
    call.check_query()
    call.require("draft")
    post = NewPost.parse(call.body, call)
    if post.scheduled_at is not None:
        call.require("publish")
    with call.store.writing() as db:
        accounts = _find_accounts(db, call, post)
        platform_rules.check_rules(
            [account["platform"] for account in accounts],
            content=post.content,
            media_urls=post.media_urls,
            thread=post.thread,
            data=post.platform_data,
            scheduled=post.scheduled_at is not None,
        )
        organizations.check_post_allowed(db, call.clock, call.organization, scheduled=post.scheduled_at is not None)
        post_id = insert_post(db, call, post, [account["id"] for account in accounts])
        row = db.execute("SELECT * FROM posts WHERE id = ?", (post_id,)).fetchone()
        return respond_ok(201, post=to_json(row, _read_targets(db, post_id), call.storage))


def publish_post(call: ApiRequest) -> Response:
    """`POST /posts/{id}/publish`: a draft, scheduled or failed post goes out at the next tick."""
    call.check_query()
    call.require("publish")
    with call.store.writing() as db:
        row = _find_post(db, call)
        _check_publishable(db, call, row)
        now = to_ms(call.clock.now())
        db.execute(
            "UPDATE posts SET status = 'scheduled', scheduled_at = ?, updated_at = ? WHERE id = ?",
            (now, now, row["id"]),
        )
        db.execute("UPDATE post_targets SET status = 'pending', error = NULL WHERE post_id = ?", (row["id"],))
        row = _find_post(db, call)
        return respond_ok(post=to_json(row, _read_targets(db, row["id"]), call.storage))


def _check_publishable(db: sqlite3.Connection, call: ApiRequest, row: sqlite3.Row) -> None:
    if row["status"] not in PUBLISHABLE:
        raise Problem(409, f"The post is {row['status']}: only a draft, scheduled or failed post can be published.")
    platform_rules.check_rules(
        [target["platform"] for target in _read_targets(db, row["id"])],
        content=row["content"],
        media_urls=json.loads(row["media_urls"]),
        thread=json.loads(row["thread"]),
        data=json.loads(row["platform_data"]),
        scheduled=True,
    )
    if row["status"] != "scheduled":
        organizations.check_schedule_allowed(db, call.organization)


@dataclass(frozen=True, slots=True)
class NewPost:
    """A valid body of `POST /posts`."""

    content: str
    account_ids: list[str]
    platforms: list[str]
    media_urls: list[str]
    thread: list[str]
    scheduled_at: int | None
    platform_data: JsonObject

    @classmethod
    def parse(cls, body: JsonObject, call: ApiRequest) -> "NewPost":
        unknown = sorted(set(body) - set(FIELDS))
        if unknown:
            raise Problem(400, f"Unknown field: {unknown[0][:60]}. Known are {', '.join(FIELDS)}.")
        post = cls(
            content=_parse_content(body.get("content")),
            account_ids=_parse_strings(body, "accountIds", TARGETS),
            platforms=_parse_strings(body, "platforms", TARGETS),
            media_urls=_parse_strings(body, "mediaUrls", MEDIA_URLS),
            thread=_parse_thread(body),
            scheduled_at=_parse_scheduled_at(body["scheduledAt"], call) if "scheduledAt" in body else None,
            platform_data=_parse_object(body.get("platformData", {})),
        )
        if bool(post.account_ids) == bool(post.platforms):
            raise Problem(400, "Target the post by accountIds or by platforms: one of the two.")
        for url in post.media_urls:
            _check_media_url(url)
        return post


def insert_post(db: sqlite3.Connection, call: ApiRequest, post: NewPost, account_ids: list[str]) -> str:
    """Insert a post with its targets. Returns its id."""
    post_id, now = new_id(), to_ms(call.clock.now())
    db.execute(
        "INSERT INTO posts (id, organization_id, content, status, scheduled_at, created_at, updated_at, media_urls, thread, "
        "platform_data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            post_id,
            call.organization.id,
            post.content,
            "draft" if post.scheduled_at is None else "scheduled",
            post.scheduled_at,
            now,
            now,
            json.dumps(post.media_urls),
            json.dumps(post.thread),
            json.dumps(post.platform_data),
        ),
    )
    db.executemany(
        "INSERT INTO post_targets (post_id, account_id, position, status) VALUES (?, ?, ?, 'pending')",
        [(post_id, account_id, position) for position, account_id in enumerate(account_ids)],
    )
    return post_id


def to_json(row: sqlite3.Row, targets: list[sqlite3.Row], storage: MediaStorage) -> JsonObject:
    """Return a post as the API shows it; the contract tags undocumented fields as assumptions."""
    return {
        "id": row["id"],
        "content": row["content"],
        "platforms": list(dict.fromkeys(target["platform"] for target in targets)),
        "accountIds": [target["account_id"] for target in targets],
        "status": row["status"],
        "scheduledAt": to_iso(row["scheduled_at"]),
        "publishedAt": to_iso(row["published_at"]),
        "mediaUrls": [storage.to_current_url(url) for url in json.loads(row["media_urls"])],
        "thread": json.loads(row["thread"]),
        "platformData": json.loads(row["platform_data"]),
        "createdAt": to_iso(row["created_at"]),
        "updatedAt": to_iso(row["updated_at"]),
        "results": [_to_result(target) for target in targets],
    }


def _to_result(target: sqlite3.Row) -> JsonObject:
    return {
        "accountId": target["account_id"],
        "platform": target["platform"],
        "status": target["status"],
        "externalId": target["external_id"],
        "url": target["url"],
        "error": target["error"],
        "publishedAt": to_iso(target["published_at"]),
    }


def _find_post(db: sqlite3.Connection, call: ApiRequest) -> sqlite3.Row:
    row = db.execute(
        "SELECT * FROM posts WHERE id = ? AND organization_id = ?", (call.path["post_id"], call.organization.id)
    ).fetchone()
    if row is None:
        raise Problem(404, "Post not found.")
    return row


def _read_targets(db: sqlite3.Connection, post_id: str) -> list[sqlite3.Row]:
    return db.execute(
        "SELECT t.*, a.platform FROM post_targets t JOIN accounts a ON a.id = t.account_id WHERE t.post_id = ? ORDER BY t.position",
        (post_id,),
    ).fetchall()


def _find_accounts(db: sqlite3.Connection, call: ApiRequest, post: NewPost) -> list[sqlite3.Row]:
    """Return the targeted accounts: by id in the given order, or all of each platform."""
    own = db.execute(
        "SELECT * FROM accounts WHERE organization_id = ? ORDER BY position", (call.organization.id,)
    ).fetchall()
    by_id = {account["id"]: account for account in own}
    for account_id in post.account_ids:
        if account_id not in by_id:
            raise Problem(
                400, f"Unknown account id: {account_id[:60]}. GET /integrations lists the connected accounts."
            )
    chosen = [by_id[account_id] for account_id in dict.fromkeys(post.account_ids)]
    for platform in dict.fromkeys(post.platforms):
        found = [account for account in own if account["platform"] == platform]
        if not found:
            there = ", ".join(dict.fromkeys(account["platform"] for account in own)) or "none"
            raise Problem(400, f"No connected account on platform {platform[:40]}. Connected: {there}.")
        chosen += found
    most = call.organization.plan.accounts
    if most is not None and any(by_position >= most for by_position in (own.index(account) for account in chosen)):
        raise Problem(
            403, f"Your plan includes the first {most} connected accounts; another one is targeted. Upgrade to use it."
        )
    return chosen


def _parse_content(value: object) -> str:
    if not isinstance(value, str) or not VISIBLE.search(value):
        raise Problem(400, "content is required and must be text.")
    if len(value) > CONTENT_CHARACTERS:
        raise Problem(400, f"content has at most {CONTENT_CHARACTERS} characters.")
    return value


def _parse_strings(body: JsonObject, name: str, most: int) -> list[str]:
    if name not in body:
        return []
    value: object = body[name]
    entries = cast("list[object]", value) if isinstance(value, list) else None
    fewest = 0 if name == "mediaUrls" else 1
    if (
        entries is None
        or not fewest <= len(entries) <= most
        or not all(isinstance(entry, str) and 0 < len(entry) <= TEXT_CHARACTERS for entry in entries)
    ):
        raise Problem(400, f"{name} must be a list of {fewest}–{most} texts of 1–{TEXT_CHARACTERS} characters.")
    return cast("list[str]", entries)


def _parse_thread(body: JsonObject) -> list[str]:
    value: object = body.get("thread", [])
    parts = cast("list[object]", value) if isinstance(value, list) else None
    if parts is None or not all(isinstance(part, str) for part in parts):
        raise Problem(400, "thread must be a list of texts.")
    if len(parts) > THREAD_PARTS:
        raise Problem(400, f"thread has at most {THREAD_PARTS} parts, not {len(parts)}.")
    for number, part in enumerate(cast("list[str]", parts), 1):
        if not 1 <= len(part) <= THREAD_CHARACTERS:
            raise Problem(400, f"thread part {number} must have 1–{THREAD_CHARACTERS} characters, not {len(part)}.")
    return cast("list[str]", parts)


def _parse_object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Problem(400, "platformData must be an object.")
    return cast("dict[str, Any]", value)


def _parse_scheduled_at(value: object, call: ApiRequest) -> int:
    try:
        if not isinstance(value, str) or not _INSTANT.fullmatch(value):
            raise ValueError
        found = datetime.fromisoformat(value.upper())
        instant = to_ms(found.replace(tzinfo=found.tzinfo or UTC).astimezone(UTC))
    except (ValueError, OverflowError):
        raise Problem(400, "scheduledAt must be a valid ISO 8601 timestamp.") from None
    if instant <= to_ms(call.clock.now()):
        raise Problem(400, "scheduledAt must be in the future.")
    return instant


def _check_media_url(url: str) -> None:
    if not _MEDIA_URL.fullmatch(url) or split_url(url) is None:
        raise Problem(400, "mediaUrls must hold https URLs, as POST /media/presign returns them in publicUrl.")
