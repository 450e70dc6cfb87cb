"""Log of recent API requests for the page, without tokens and signed URLs."""

import logging
import sqlite3

from starlette.responses import Response

from ttp_mcp.sandbox.clock import Clock, to_ms
from ttp_mcp.sandbox.rest.responses import JsonObject
from ttp_mcp.sandbox.store import Store

log = logging.getLogger(__name__)

KEPT = 1000


def record_request(
    store: Store,
    clock: Clock,
    *,
    organization_id: str | None,
    token_label: str | None,
    method: str,
    path: str,
    answer: Response,
    body: JsonObject,
) -> None:
    """Record a request. A record may be lost on power failure, so it does not wait for the disk.

    If it can't be written it is dropped: the request succeeded, and its response must say so.
    """
    db = store.connection()
    db.execute("PRAGMA synchronous = NORMAL")
    try:
        with store.writing():
            noted = db.execute(
                "INSERT INTO activity (at, organization_id, token_label, method, path, status, summary) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    to_ms(clock.now()),
                    organization_id,
                    token_label,
                    method,
                    path[:200],
                    answer.status_code,
                    _summarize_request(method, path, body),
                ),
            )
            db.execute("DELETE FROM activity WHERE id <= ?", ((noted.lastrowid or 0) - KEPT,))
    except sqlite3.Error:
        log.warning("A request could not be noted.", exc_info=True)
    finally:
        db.execute("PRAGMA synchronous = FULL")


def _summarize_request(method: str, path: str, body: JsonObject) -> str:
    words = {
        ("POST", "/api/posts"): "Create a post",
        ("GET", "/api/posts"): "List posts",
        ("GET", "/api/integrations"): "List accounts",
        ("POST", "/api/media/presign"): "Prepare an upload",
    }
    verb = words.get((method, path)) or _describe_action(method, path)
    detail = body.get("content") or body.get("filename")
    return f"{verb}: {detail[:120]}" if isinstance(detail, str) else verb


def _describe_action(method: str, path: str) -> str:
    if method == "DELETE":
        return "Delete a post"
    if method == "POST":
        return "Publish a post"
    return "Read " + path.removeprefix("/api/")[:80]
