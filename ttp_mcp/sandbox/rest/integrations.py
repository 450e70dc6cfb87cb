"""Handlers of /integrations (connected accounts)."""

from starlette.responses import Response

from ttp_mcp.sandbox.clock import iso
from ttp_mcp.sandbox.rest.request import ApiRequest
from ttp_mcp.sandbox.rest.responses import ok


def list_integrations(call: ApiRequest) -> Response:
    """`GET /integrations`."""
    call.check_query()
    with call.store.reading() as db:
        rows = db.execute(
            "SELECT * FROM accounts WHERE organization_id = ? ORDER BY position", (call.organization.id,)
        ).fetchall()
    return ok(
        integrations=[
            {
                "id": row["id"],
                "platform": row["platform"],
                "name": row["name"],
                "handle": row["handle"],
                "status": row["status"],
                "expiresAt": iso(row["expires_at"]),
                "hasRefreshCapability": bool(row["has_refresh_capability"]),
            }
            for row in rows
        ]
    )
