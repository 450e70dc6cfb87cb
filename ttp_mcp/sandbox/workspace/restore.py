"""Replaces the data by a workspace, in one transaction, while other processes have the folder open."""

import json
import secrets
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ttp_mcp.sandbox.clock import ManualClock, StoredClock, from_ms, to_ms
from ttp_mcp.sandbox.storage import MediaStorage
from ttp_mcp.sandbox.store import Store
from ttp_mcp.sandbox.workspace import demo
from ttp_mcp.sandbox.workspace.file import LAST_MS, Medium, Organization, Part, Post, Workspace, WorkspaceProblem

MINUTE_MS = 60_000

# Children first: a table follows those that refer to it.
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


def reset_workspace(
    store: Store,
    storage: MediaStorage,
    *,
    at: datetime | None = None,
    empty: bool = False,
    workspace: Workspace | None = None,
) -> None:
    """Replace everything but the tokens: with the demo workspace, an empty one, or one that was read from a file.

    Other processes see the old data or the new, nothing in between. Faults and the list of recent requests are removed.

    Args:
        store: The data.
        storage: The media beside them.
        at: Time at which the clock of the new workspace starts; its times move along. Default: the machine's, or the file's.
        empty: One organization and nothing in it.
        workspace: What `read_workspace` returned.

    Raises:
        WorkspaceProblem: The times can't be moved that far; nothing was changed.
    """
    with store.writing() as db:
        _clear_tables(db)
        if workspace is None:
            _fill_with_demo(store, storage, at=at, empty=empty)
        else:
            restore_workspace(store, storage, workspace, at=at)
        # Tokens stay valid; those of a user who is gone become the first user's.
        db.execute(
            "UPDATE tokens SET user_id = (SELECT id FROM users ORDER BY rowid LIMIT 1) WHERE user_id NOT IN (SELECT id FROM users)"
        )
    _remove_unknown_files(store, storage)


def restore_workspace(store: Store, storage: MediaStorage, workspace: Workspace, *, at: datetime | None) -> None:
    """Write a workspace into empty tables.

    Raises:
        WorkspaceProblem: The times can't be moved that far; the caller has to roll back.
    """
    # Whole minutes keep a post at 10:00 on the minute. Rounded down, so that nothing that happened moves past `at`.
    shift = 0 if at is None else (to_ms(at) - workspace.clock.now) // MINUTE_MS * MINUTE_MS
    with store.writing() as db:
        writer = _Writer(db, storage, workspace.clock.now, shift)
        now = from_ms(writer.move(workspace.clock.now)) if at is None else at
        clock = StoredClock(store)
        clock.set(now) if workspace.clock.running else clock.stop_at(now)
        for organization in workspace.organizations:
            writer.write_organization(organization)
        for user in workspace.users:
            writer.insert("users", id=user.id, name=user.name)
            for position, name in enumerate(user.organizations):
                writer.insert("members", user_id=user.id, organization_id=name, position=position)


def _fill_with_demo(store: Store, storage: MediaStorage, *, at: datetime | None, empty: bool) -> None:
    clock = StoredClock(store)
    if at is None:
        clock.follow_machine()
    else:
        clock.set(at)
    demo.fill_workspace(store, ManualClock(at or clock.now()), storage, empty=empty)


def _clear_tables(db: sqlite3.Connection) -> None:
    # Tokens refer to users who exist again before the transaction ends.
    db.execute("PRAGMA defer_foreign_keys = ON")
    for table in (*_TABLES, "sqlite_sequence"):
        db.execute(f"DELETE FROM {table}")  # noqa: S608 - names of our own
    db.execute("DELETE FROM meta WHERE key = 'vendor_endpoints'")


def _remove_unknown_files(store: Store, storage: MediaStorage) -> None:
    """Remove files without a row. Under the write lock, because an upload becomes a file and a row under it."""
    with store.writing() as db:
        known = {row["key"] for row in db.execute("SELECT key FROM media")}
        for path in sorted((storage.folder / "uploads").rglob("*"), reverse=True):
            if path.is_dir():
                # Only an empty folder can be removed.
                with suppress(OSError):
                    path.rmdir()
            elif path.relative_to(storage.folder).as_posix() not in known:
                path.unlink()


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the parts of a file as rows, with their times moved by `shift` milliseconds."""

    db: sqlite3.Connection
    storage: MediaStorage
    now: int
    shift: int

    def move(self, at: int) -> int:
        """Return the new time for a time of the file."""
        moved = at + self.shift
        if not 0 <= moved <= LAST_MS:
            raise WorkspaceProblem(
                "The times of the file can't be moved that far: they would leave the years 1970–9999."
            )
        return moved

    def insert(self, table: str, **values: object) -> None:
        """Insert one row; the names are columns."""
        names = ", ".join(values)
        marks = ", ".join(f":{name}" for name in values)
        self.db.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)  # noqa: S608 - names of our own

    def write_organization(self, organization: Organization) -> None:
        """Write an organization with everything in it."""
        parts = {"accounts", "media", "posts", "publications"}
        self.insert("organizations", **self._to_columns(organization, parts))
        owner = {"organization_id": organization.id}
        for position, account in enumerate(organization.accounts):
            columns = {"connected_at": self.move(self.now), **self._to_columns(account)}
            self.insert("accounts", **owner, position=position, **columns)
        for medium in organization.media:
            self.insert("media", **owner, **self._to_columns(medium, {"content"}))
            self._write_file(medium)
        for post in organization.posts:
            self._write_post(organization, post)
        platforms = {account.id: account.platform for account in organization.accounts}
        for publication in organization.publications:
            platform = platforms[publication.account_id]
            self.insert("publications", **owner, platform=platform, **self._to_columns(publication))

    def _write_post(self, organization: Organization, post: Post) -> None:
        columns = self._to_columns(post, {"targets"})
        created = columns.setdefault("created_at", self.move(self.now))
        columns.setdefault("updated_at", created)
        # The worker of a post that is being published stays behind, so the next one may take the post at once.
        lease = 0 if post.status == "publishing" else None
        self.insert("posts", organization_id=organization.id, lease_until=lease, **columns)
        for position, target in enumerate(post.targets):
            self.insert("post_targets", post_id=post.id, position=position, **self._to_columns(target))

    def _to_columns(self, part: Part, without: Iterable[str] = ()) -> dict[str, Any]:
        """Return the fields of a part as columns of its table; those that are None are left out."""
        values = {name: value for name, value in part if value is not None and name not in without}
        return {name: self._to_column(name, value) for name, value in values.items()}

    def _to_column(self, name: str, value: Any) -> Any:
        if name.endswith("_at"):
            return self.move(value)
        if name == "media_urls":
            value = [f"{self.storage.origin}{url}" if url.startswith("/") else url for url in value]
        return json.dumps(value) if isinstance(value, list | dict) else value

    def _write_file(self, medium: Medium) -> None:
        content, path = medium.decode(), self.storage.path(medium.key)
        if content is None or (path.is_file() and path.read_bytes() == content):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.storage.folder / f".incoming-{secrets.token_hex(8)}"
        temporary.write_bytes(content)
        temporary.replace(path)
