"""Handlers of /auth."""

from starlette.responses import Response

from ttp_mcp.sandbox.rest.request import ApiRequest
from ttp_mcp.sandbox.rest.responses import respond_ok


def get_me(call: ApiRequest) -> Response:
    """`GET /auth/me`: the user, the organization of this request, and what the token may do."""
    call.check_query()
    with call.store.reading() as db:
        user = db.execute("SELECT * FROM users WHERE id = ?", (call.caller.user_id,)).fetchone()
    return respond_ok(
        user={"id": user["id"], "name": user["name"]},
        organization={"id": call.organization.id, "name": call.organization.name},
        capabilities=list(call.caller.capabilities),
        canPublish="publish" in call.caller.capabilities,
    )
