"""Wire models and endpoints of /auth."""

from dataclasses import dataclass

from ttp_mcp.api import errors
from ttp_mcp.api.http import Http
from ttp_mcp.api.optional import OptionalEndpoint
from ttp_mcp.api.parsing import JsonObject, as_object, as_str, as_strs, first_present


@dataclass(frozen=True, slots=True)
class Me:
    """User and organization of the token, and what it may do; None or empty where the API doesn't say."""

    user: str | None
    organization: str | None
    organization_id: str | None
    warning: str | None
    capabilities: tuple[str, ...]
    can_publish: bool | None

    @property
    def can_draft(self) -> bool | None:
        """Check whether the token may write anything at all."""
        if self.can_publish:
            return True
        return "draft" in self.capabilities if self.capabilities else None


class AuthApi:
    """Endpoints of the token."""

    def __init__(self, http: Http) -> None:
        """Use this connection."""
        self._me = OptionalEndpoint(http, "GET", "/auth/me", feature="information about its token")

    async def me(self) -> Me:
        """`GET /auth/me`: user and organization of the token, and what it may do.

        Raises:
            EndpointMissing: The API has no such endpoint.

        Source: the vendor's client; the names of the fields are undocumented.
        """
        reply = as_object(await self._me.request(self._me.route))
        found = _read_me(as_object(reply.get("data")) or reply)
        if found is None:
            raise errors.BadAnswer(method="GET", path=self._me.route, reason="shape")
        return found


def _read_me(raw: JsonObject) -> Me | None:
    """Return user, organization and rights; None if the object has none of them."""
    user = as_object(raw.get("user"))
    organization = as_object(first_present(raw, "organization", "org", "activeOrganization"))
    capabilities = tuple(word.lower() for word in as_strs(first_present(raw, "capabilities", "scopes")))
    stated = raw.get("canPublish")
    if not user and not organization and not capabilities and not isinstance(stated, bool):
        return None
    can_publish = stated if isinstance(stated, bool) else "publish" in capabilities if capabilities else None
    return Me(
        user=as_str(first_present(user, "name", "email", "id")),
        organization=as_str(first_present(organization, "name", "slug", "id")),
        organization_id=as_str(organization.get("id")),
        warning=as_str(first_present(raw, "orgWarning", "organizationWarning", "warning")),
        capabilities=capabilities,
        can_publish=can_publish,
    )
