"""Wire models and endpoints of /auth."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import anyio

from ttp_mcp.api import errors
from ttp_mcp.api.http import Http, require_shape
from ttp_mcp.api.optional import OptionalEndpoint
from ttp_mcp.api.parsing import JsonObject, as_flag, as_object, as_str, as_strs, first_present

# Capabilities as the vendor's client names them. Any other word may mean anything.
CAPABILITIES = ("read", "draft", "publish")
# Rights only serve an early warning, so a write doesn't wait longer than this for them.
RIGHTS_SECONDS = 3.0
# After a failed request, the rights aren't requested again within this time.
RETRY_SECONDS = 60.0


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
        return True if self.can_publish else _has_capability("draft", self.capabilities)


class AuthApi:
    """Endpoints of the token."""

    def __init__(self, http: Http) -> None:
        """Use this connection."""
        self.can_publish = False
        """True once the token is known to have the right to publish; its rights aren't read again then."""
        self._monotonic = http.clocks.monotonic
        self._ask_again_at = 0.0
        self._me = OptionalEndpoint(http, "GET", "/auth/me", feature="information about its token")

    async def me(self) -> Me:
        """`GET /auth/me`: user and organization of the token, and what it may do.

        Raises:
            EndpointMissing: The API has no such endpoint.

        Source: the vendor's client; the names of the fields are undocumented.
        """
        reply = as_object(await self._me.request(self._me.route))
        return require_shape(_read_me(as_object(reply.get("data")) or reply), "GET", self._me.route)

    async def rights(self) -> Me | None:
        """Return the token's rights, for a check before a write; None if it can publish, or if that isn't known soon.

        Rights that include publishing are requested once. Others may be extended later, so they are requested again.
        """
        found: Me | None = None
        if self.can_publish or self._monotonic() < self._ask_again_at:
            return found
        with anyio.move_on_after(RIGHTS_SECONDS), suppress(errors.ApiError):
            found = await self.me()
        if found is None or found.can_publish is None:
            self._ask_again_at = self._monotonic() + RETRY_SECONDS
            return found
        self.can_publish = found.can_publish
        return None if self.can_publish else found


def _read_me(raw: JsonObject) -> Me | None:
    """Return user, organization and rights; None if the object has none of them."""
    user = as_object(raw.get("user"))
    organization = as_object(first_present(raw, "organization", "org", "activeOrganization"))
    capabilities = tuple(word.lower() for word in as_strs(first_present(raw, "capabilities", "scopes")))
    stated = as_flag(raw.get("canPublish"))
    if not user and not organization and not capabilities and stated is None:
        return None
    return Me(
        user=as_str(first_present(user, "name", "email", "id")),
        organization=as_str(first_present(organization, "name", "slug", "id")),
        organization_id=as_str(organization.get("id")),
        warning=as_str(first_present(raw, "orgWarning", "organizationWarning", "warning")),
        capabilities=capabilities,
        can_publish=_has_capability("publish", capabilities) if stated is None else stated,
    )


def _has_capability(wanted: str, capabilities: Sequence[str]) -> bool | None:
    """Check for a capability; None if there are none, or if one is a word of unknown meaning."""
    if not capabilities or not set(capabilities) <= set(CAPABILITIES):
        return None
    return wanted in capabilities
