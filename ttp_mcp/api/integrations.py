"""Wire models and endpoints of /integrations (connected accounts)."""

from dataclasses import dataclass
from datetime import datetime

from ttp_mcp.api import errors
from ttp_mcp.api.http import Http
from ttp_mcp.api.parsing import JsonObject, as_datetime, as_str, as_token, first_present, unwrap_list

_HEALTHY = {"connected", "active", "ok", "healthy"}


@dataclass(frozen=True, slots=True)
class Integration:
    """A connected account. Only its id is documented; the rest is read tolerantly."""

    raw: JsonObject
    id: str
    platform: str
    name: str | None
    handle: str | None
    status: str | None
    expires_at: datetime | None
    has_refresh_capability: bool | None

    @property
    def healthy(self) -> bool | None:
        """Check whether it can publish; None if the API doesn't say. An expiry that refreshes itself is healthy."""
        return None if self.status is None else self.status.lower() in _HEALTHY


class IntegrationsApi:
    """Endpoints of connected accounts."""

    def __init__(self, http: Http) -> None:
        """Use this connection."""
        self._http = http

    async def list(self) -> list[Integration]:
        """`GET /integrations`: the connected accounts.

        Source: API reference, Integrations; the shape is undocumented, field names from the vendor's client.
        """
        reply = await self._http.request("GET", "/integrations", "/integrations", need="read", big=True)
        found = unwrap_list(reply, "integrations", "accounts")
        if found is None:
            raise errors.BadAnswer(method="GET", path="/integrations", reason="shape")
        return [_read_integration(raw) for raw in found]


def _read_integration(raw: JsonObject) -> Integration:
    refresh = raw.get("hasRefreshCapability")
    return Integration(
        raw=raw,
        id=as_str(raw.get("id")) or "",
        platform=(as_token(first_present(raw, "platform", "provider", "providerKey", "type")) or "not stated").lower(),
        name=as_str(first_present(raw, "name", "displayName", "accountName")),
        handle=as_str(first_present(raw, "handle", "username", "accountHandle")),
        status=as_token(raw.get("status")),
        expires_at=as_datetime(raw.get("expiresAt")),
        has_refresh_capability=refresh if isinstance(refresh, bool) else None,
    )
