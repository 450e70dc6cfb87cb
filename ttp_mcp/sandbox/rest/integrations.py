"""Handlers of /integrations (connected accounts)."""

import sqlite3

from starlette.responses import Response

from ttp_mcp.sandbox.clock import to_iso
from ttp_mcp.sandbox.networks import BOARDS, get_creator_settings
from ttp_mcp.sandbox.rest.request import ApiRequest
from ttp_mcp.sandbox.rest.responses import JsonObject, Problem, respond_ok


def list_integrations(call: ApiRequest) -> Response:
    """`GET /integrations`."""
    call.check_query()
    with call.store.reading() as db:
        rows = db.execute(
            "SELECT * FROM accounts WHERE organization_id = ? ORDER BY position", (call.organization.id,)
        ).fetchall()
    return respond_ok(
        integrations=[
            {
                "id": row["id"],
                "platform": row["platform"],
                "name": row["name"],
                "handle": row["handle"],
                "status": row["status"],
                "expiresAt": to_iso(row["expires_at"]),
                "hasRefreshCapability": bool(row["has_refresh_capability"]),
            }
            for row in rows
        ]
    )


def list_boards(call: ApiRequest) -> Response:
    """`GET /integrations/pinterest/boards`: boards of the connected Pinterest account."""
    call.check_query()
    with call.store.reading() as db:
        account = _find_connected(db, call, "pinterest")
        pins = dict(
            db.execute(
                "SELECT json_extract(p.platform_data, '$.pinterest.boardId'), count(*) FROM posts p "
                "JOIN post_targets t ON t.post_id = p.id WHERE t.account_id = ? AND t.status = 'published' GROUP BY 1",
                (account["id"],),
            ).fetchall()
        )
    return respond_ok(
        boards=[
            {
                "id": board.id,
                "name": board.name,
                "privacy": board.privacy,
                "pinCount": board.pins + pins.get(board.id, 0),
            }
            for board in BOARDS
        ]
    )


def get_creator_info(call: ApiRequest) -> Response:
    """`GET /integrations/tiktok/creator-info`: what a TikTok account offers for a post, by `accountId` or the first one."""
    call.check_query("accountId")
    with call.store.reading() as db:
        account = _find_connected(db, call, "tiktok", call.query.get("accountId"))
    username = (account["handle"] or account["name"]).removeprefix("@")
    offered = get_creator_settings(dict(account))
    creator: JsonObject = {"creator_nickname": account["name"], "creator_username": username, **offered}
    return respond_ok(creatorInfo=creator)


_NAMES = {"pinterest": "Pinterest", "tiktok": "TikTok"}


def _find_connected(
    db: sqlite3.Connection, call: ApiRequest, platform: str, account_id: str | None = None
) -> sqlite3.Row:
    rows = db.execute(
        "SELECT * FROM accounts WHERE organization_id = ? AND platform = ? AND status = 'connected' ORDER BY position",
        (call.organization.id, platform),
    ).fetchall()
    if not rows:
        raise Problem(404, f"{_NAMES[platform]} is not connected.")
    found = next((row for row in rows if account_id in (None, row["id"])), None)
    if found is None:
        raise Problem(404, f"No connected {_NAMES[platform]} account has this id.")
    return found
