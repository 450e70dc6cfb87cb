"""Reads a workspace from the data, to be written to a file."""

import json
import sqlite3
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast
from urllib.parse import unquote

from ttp_mcp.sandbox.clock import Clock, to_ms
from ttp_mcp.sandbox.storage import MediaStorage, split_url
from ttp_mcp.sandbox.store import Store
from ttp_mcp.sandbox.workspace.file import (
    EMBEDDED_BYTES,
    Account,
    ClockPart,
    Medium,
    Organization,
    Part,
    Post,
    Publication,
    Target,
    User,
    Workspace,
)

P = TypeVar("P", bound=Part)

_JSON_COLUMNS = ("media_urls", "thread", "platform_data")
_BOOLEAN_COLUMNS = ("has_refresh_capability", "settled")


def export_workspace(store: Store, storage: MediaStorage, clock: Clock) -> Workspace:
    """Return the workspace as it is, without tokens, keys, and the bytes of media above 256 KiB."""
    with store.reading() as db:
        stopped = db.execute("SELECT 1 FROM meta WHERE key = 'clock_frozen_ms'").fetchone()
        organizations = db.execute("SELECT * FROM organizations ORDER BY rowid").fetchall()
        return Workspace.model_construct(
            clock=ClockPart.model_construct(now=to_ms(clock.now()), running=stopped is None),
            users=_read_users(db),
            organizations=[_read_organization(db, storage, row) for row in organizations],
        )


def _read_users(db: sqlite3.Connection) -> list[User]:
    members = db.execute("SELECT * FROM members ORDER BY position, rowid").fetchall()
    return [
        _to_part(User, user, organizations=[row["organization_id"] for row in members if row["user_id"] == user["id"]])
        for user in db.execute("SELECT * FROM users ORDER BY rowid")
    ]


def _read_organization(db: sqlite3.Connection, storage: MediaStorage, row: sqlite3.Row) -> Organization:
    def rows(table: str, order: str = "rowid") -> list[sqlite3.Row]:
        query = f"SELECT * FROM {table} WHERE organization_id = ? ORDER BY {order}"  # noqa: S608 - names of our own
        return db.execute(query, (row["id"],)).fetchall()

    media = rows("media")
    to_relative = _relative_to_storage({medium["key"] for medium in media})
    targets = _read_targets(db, row["id"])
    return _to_part(
        Organization,
        row,
        accounts=[_to_part(Account, account) for account in rows("accounts", "position")],
        media=[_to_part(Medium, medium, content=_read_content(storage, medium)) for medium in media],
        posts=[
            _to_part(Post, post, media_urls=to_relative(post["media_urls"]), targets=targets.get(post["id"], []))
            for post in rows("posts", "sequence")
        ],
        publications=[
            _to_part(Publication, publication, media_urls=to_relative(publication["media_urls"]))
            for publication in rows("publications")
        ],
    )


def _read_targets(db: sqlite3.Connection, organization_id: str) -> dict[str, list[Target]]:
    targets: dict[str, list[Target]] = {}
    for row in db.execute(
        "SELECT t.* FROM post_targets t JOIN posts p ON p.id = t.post_id WHERE p.organization_id = ? ORDER BY t.post_id, t.position",
        (organization_id,),
    ):
        targets.setdefault(row["post_id"], []).append(_to_part(Target, row))
    return targets


def _to_part(part: type[P], row: sqlite3.Row, **more: Any) -> P:
    """Build a part without a check: the data were checked when they came in, and instants are milliseconds already."""
    columns = cast("Iterable[str]", row.keys())
    values = {name: _to_value(name, row[name]) for name in columns if name in part.model_fields}
    return part.model_construct(**{**values, **more})


def _to_value(column: str, value: Any) -> Any:
    if column in _JSON_COLUMNS:
        return json.loads(value)
    return bool(value) if column in _BOOLEAN_COLUMNS else value


def _read_content(storage: MediaStorage, medium: sqlite3.Row) -> str | None:
    path = storage.path(medium["key"])
    if medium["uploaded_at"] is None or medium["size"] > EMBEDDED_BYTES or not path.is_file():
        return None
    return b64encode(path.read_bytes()).decode()


def _relative_to_storage(keys: set[str]) -> Callable[[str], list[str]]:
    """Return a reader of URL lists in which our own URLs become paths, whatever origin they were made with."""

    def to_relative(url: str) -> str:
        parts = split_url(url)
        if parts is None or parts.scheme != "http" or unquote(parts.path).removeprefix("/") not in keys:
            return url
        return parts.path

    return lambda text: [to_relative(url) for url in cast("list[str]", json.loads(text))]
