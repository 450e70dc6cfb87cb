"""Whole workspaces: made anew, written to a file, read back. Each in one transaction, so that others may have the folder open."""

import json
import secrets
import sqlite3
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, cast
from urllib.parse import unquote

from ttp_mcp.sandbox.clock import Clock, ManualClock, StoredClock, from_ms, to_ms
from ttp_mcp.sandbox.storage import MediaStorage, split_url
from ttp_mcp.sandbox.store import Store
from ttp_mcp.sandbox.workspace import demo
from ttp_mcp.sandbox.workspace.file import (
    EMBEDDED_BYTES,
    LAST_MS,
    Account,
    ClockPart,
    Medium,
    Organization,
    Post,
    Publication,
    Target,
    User,
    Workspace,
    WorkspaceProblem,
    read,
)

__all__ = ["Workspace", "WorkspaceProblem", "export", "read", "reset", "restore", "written"]

MINUTE_MS = 60_000

# Children first: what is referred to goes last.
_TABLES = (
    "faults",
    "activity",
    "publications",
    "post_targets",
    "posts",
    "media",
    "accounts",
    "members",
    "users",
    "organizations",
)


def reset(
    store: Store,
    storage: MediaStorage,
    *,
    at: datetime | None = None,
    empty: bool = False,
    workspace: Workspace | None = None,
) -> None:
    """Replace everything but the tokens: with the demo workspace, with an empty one, or with one that was exported.

    Others who have the folder open see the old or the new, nothing between. Orders for faults and the list of what was
    asked last are forgotten.

    Args:
        store: The data.
        storage: The media beside them.
        at: The present of the new workspace, from which its clock runs on; its times move along. Without it the machine's,
            or the file's.
        empty: One organization and nothing in it.
        workspace: What `read` returned.

    Raises:
        WorkspaceProblem: The times can't be moved that far; nothing was changed.
    """
    with store.writing() as db:
        _clear(db)
        if workspace is not None:
            restore(store, storage, workspace, at=at)
        else:
            clock = StoredClock(store)
            if at is None:
                clock.real()
            else:
                clock.set(at)
            demo.fill(store, ManualClock(at or clock.now()), storage, empty=empty)
        _keep_tokens(db)
    _forget_files(store, storage)


def export(store: Store, storage: MediaStorage, clock: Clock) -> Workspace:
    """The workspace as it is now. Without tokens, without keys, and without the bytes of media above 256 KiB."""
    with store.reading() as db:
        frozen = db.execute("SELECT 1 FROM meta WHERE key = 'clock_frozen_ms'").fetchone()
        members = db.execute("SELECT * FROM members ORDER BY position, rowid").fetchall()
        return Workspace(
            clock=ClockPart.model_construct(now=to_ms(clock.now()), running=frozen is None),
            users=[
                User(
                    id=user["id"],
                    name=user["name"],
                    organizations=[row["organization_id"] for row in members if row["user_id"] == user["id"]],
                )
                for user in db.execute("SELECT * FROM users ORDER BY rowid")
            ],
            organizations=[
                _organization(db, storage, row) for row in db.execute("SELECT * FROM organizations ORDER BY rowid")
            ],
        )


def written(workspace: Workspace) -> str:
    """The text of the file."""
    return workspace.model_dump_json(indent=2) + "\n"


def restore(store: Store, storage: MediaStorage, workspace: Workspace, *, at: datetime | None) -> None:
    """Write a workspace into tables that are empty.

    Raises:
        WorkspaceProblem: The times can't be moved that far; roll back then.
    """
    # Whole minutes keep a post at 10:00 on the minute. Rounded down, so that nothing that happened moves past `at`.
    shift = 0 if at is None else (to_ms(at) - workspace.clock.now) // MINUTE_MS * MINUTE_MS
    writer = _Writer(store, storage, workspace.clock.now, shift)
    clock = StoredClock(store)
    now = from_ms(writer.moved(workspace.clock.now)) if at is None else at
    if workspace.clock.running:
        clock.set(now)
    else:
        clock.stop_at(now)
    with store.writing() as db:
        for organization in workspace.organizations:
            writer.organization(db, organization)
        for user in workspace.users:
            db.execute("INSERT INTO users VALUES (?, ?)", (user.id, user.name))
            db.executemany(
                "INSERT INTO members VALUES (?, ?, ?)",
                [(user.id, name, position) for position, name in enumerate(user.organizations)],
            )


def _clear(db: sqlite3.Connection) -> None:
    # Tokens point at users who are there again before the transaction ends.
    db.execute("PRAGMA defer_foreign_keys = ON")
    for table in _TABLES:
        db.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
    db.execute("DELETE FROM sqlite_sequence")
    db.execute("DELETE FROM meta WHERE key = 'vendor_endpoints'")


def _keep_tokens(db: sqlite3.Connection) -> None:
    """Who had a token goes on working, as the first user where their own is gone."""
    db.execute(
        "UPDATE tokens SET user_id = (SELECT id FROM users ORDER BY rowid LIMIT 1) WHERE user_id NOT IN (SELECT id FROM users)"
    )


def _forget_files(store: Store, storage: MediaStorage) -> None:
    """Remove files that no row names. Under the write lock, since an upload becomes a file and a row under it."""
    with store.writing() as db:
        known = {row["key"] for row in db.execute("SELECT key FROM media")}
        for path in sorted((storage.folder / "uploads").rglob("*"), reverse=True):
            if path.is_dir():
                # Only an empty folder can be removed.
                with suppress(OSError):
                    path.rmdir()
            elif path.relative_to(storage.folder).as_posix() not in known:
                path.unlink()


def _organization(db: sqlite3.Connection, storage: MediaStorage, row: sqlite3.Row) -> Organization:
    def rows(table: str, order: str = "rowid") -> list[sqlite3.Row]:
        query = f"SELECT * FROM {table} WHERE organization_id = ? ORDER BY {order}"  # noqa: S608 - named below, by us
        return db.execute(query, (row["id"],)).fetchall()

    media = rows("media")
    relative = _relative({medium["key"] for medium in media})
    targets: dict[str, list[Target]] = {}
    for target in db.execute(
        "SELECT t.* FROM post_targets t JOIN posts p ON p.id = t.post_id WHERE p.organization_id = ? ORDER BY t.post_id, t.position",
        (row["id"],),
    ):
        targets.setdefault(target["post_id"], []).append(Target.model_construct(**_fields(target, Target)))
    # What the database holds was checked when it came in; times are milliseconds here already, not the text of a file.
    return Organization.model_construct(
        **_fields(row, Organization),
        accounts=[Account.model_construct(**_fields(account, Account)) for account in rows("accounts", "position")],
        media=[
            Medium.model_construct(**_fields(medium, Medium), content=_content(storage, medium)) for medium in media
        ],
        posts=[
            Post.model_construct(
                **_fields(post, Post),
                media_urls=relative(post["media_urls"]),
                thread=json.loads(post["thread"]),
                platform_data=json.loads(post["platform_data"]),
                targets=targets.get(post["id"], []),
            )
            for post in rows("posts", "sequence")
        ],
        publications=[
            Publication.model_construct(
                **_fields(publication, Publication),
                media_urls=relative(publication["media_urls"]),
                thread=json.loads(publication["thread"]),
            )
            for publication in rows("publications")
        ],
    )


_JSON_COLUMNS = ("media_urls", "thread", "platform_data")
_SWITCHES = ("has_refresh_capability", "settled")


def _fields(
    row: sqlite3.Row, part: type[Account | Medium | Organization | Post | Publication | Target]
) -> dict[str, Any]:
    names = [
        name for name in cast("Iterable[str]", row.keys()) if name in part.model_fields and name not in _JSON_COLUMNS
    ]
    return {name: bool(row[name]) if name in _SWITCHES else row[name] for name in names}


def _content(storage: MediaStorage, medium: sqlite3.Row) -> str | None:
    path = storage.path(medium["key"])
    if medium["uploaded_at"] is None or medium["size"] > EMBEDDED_BYTES or not path.is_file():
        return None
    return b64encode(path.read_bytes()).decode()


def _relative(keys: set[str]) -> Callable[[str], list[str]]:
    """Reads a list of URLs; those of our own storage become paths, whatever its address was when they were made."""

    def one(url: str) -> str:
        parts = split_url(url)
        if parts is None or parts.scheme != "http" or unquote(parts.path).removeprefix("/") not in keys:
            return url
        return parts.path

    return lambda text: [one(url) for url in cast("list[str]", json.loads(text))]


class _Writer:
    """Writes the parts of a file as rows, their times moved by so many milliseconds."""

    def __init__(self, store: Store, storage: MediaStorage, now: int, shift: int) -> None:
        self._store = store
        self._storage = storage
        self._now = now
        self._shift = shift

    def moved(self, at: int) -> int:
        """An instant of the file as the workspace has it."""
        found = at + self._shift
        if not 0 <= found <= LAST_MS:
            raise WorkspaceProblem(
                "The times of the file can't be moved that far: they would leave the years 1970–9999."
            )
        return found

    def organization(self, db: sqlite3.Connection, organization: Organization) -> None:
        """One organization with everything in it."""
        db.execute(
            "INSERT INTO organizations (id, name, plan, time_zone) VALUES (?, ?, ?, ?)",
            (organization.id, organization.name, organization.plan, organization.time_zone),
        )
        for position, account in enumerate(organization.accounts):
            self._account(db, organization, position, account)
        for medium in organization.media:
            self._medium(db, organization, medium)
        for post in organization.posts:
            self._post(db, organization, post)
        platforms = {account.id: account.platform for account in organization.accounts}
        for publication in organization.publications:
            self._publication(db, organization, publication, platforms[publication.account_id])

    def _account(self, db: sqlite3.Connection, organization: Organization, position: int, account: Account) -> None:
        db.execute(
            "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                account.id,
                organization.id,
                position,
                account.platform,
                account.name,
                account.handle,
                account.status,
                self._maybe(account.expires_at),
                int(account.has_refresh_capability),
                account.followers,
                self._or_now(account.connected_at),
            ),
        )

    def _medium(self, db: sqlite3.Connection, organization: Organization, medium: Medium) -> None:
        db.execute(
            "INSERT INTO media VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                medium.key,
                organization.id,
                medium.filename,
                medium.content_type,
                medium.size,
                self.moved(medium.created_at),
                self.moved(medium.expires_at),
                self._maybe(medium.uploaded_at),
                medium.sha256,
            ),
        )
        content = medium.bytes()
        path = self._storage.path(medium.key)
        if content is not None and not (path.is_file() and path.read_bytes() == content):
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._storage.folder / f".incoming-{secrets.token_hex(8)}"
            temporary.write_bytes(content)
            temporary.replace(path)

    def _post(self, db: sqlite3.Connection, organization: Organization, post: Post) -> None:
        created = self._or_now(post.created_at)
        db.execute(
            "INSERT INTO posts (id, organization_id, content, status, scheduled_at, published_at, created_at, updated_at, "
            "media_urls, thread, platform_data, lease_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                post.id,
                organization.id,
                post.content,
                post.status,
                self._maybe(post.scheduled_at),
                self._maybe(post.published_at),
                created,
                created if post.updated_at is None else self.moved(post.updated_at),
                self._urls(post.media_urls),
                json.dumps(post.thread),
                json.dumps(post.platform_data),
                # Nobody works on it here: the next worker may take it at once.
                0 if post.status == "publishing" else None,
            ),
        )
        db.executemany(
            "INSERT INTO post_targets VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    post.id,
                    target.account_id,
                    position,
                    target.status,
                    target.external_id,
                    target.url,
                    target.error,
                    self._maybe(target.published_at),
                )
                for position, target in enumerate(post.targets)
            ],
        )

    def _publication(
        self, db: sqlite3.Connection, organization: Organization, publication: Publication, platform: str
    ) -> None:
        db.execute(
            "INSERT INTO publications VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                publication.id,
                publication.post_id,
                organization.id,
                publication.account_id,
                platform,
                publication.content,
                json.dumps(publication.thread),
                self._urls(publication.media_urls),
                publication.url,
                self.moved(publication.published_at),
                publication.likes,
                publication.comments,
                publication.shares,
                publication.views,
                self.moved(publication.measured_at),
                int(publication.settled),
            ),
        )

    def _maybe(self, at: int | None) -> int | None:
        return None if at is None else self.moved(at)

    def _or_now(self, at: int | None) -> int:
        return self.moved(self._now if at is None else at)

    def _urls(self, urls: Sequence[str]) -> str:
        return json.dumps([f"{self._storage.origin}{url}" if url.startswith("/") else url for url in urls])
