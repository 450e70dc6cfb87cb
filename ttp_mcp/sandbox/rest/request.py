"""A request as handlers get it: authenticated, bound to an organization, and parsed."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttp_mcp.sandbox.clock import Clock
from ttp_mcp.sandbox.rest.organizations import Organization
from ttp_mcp.sandbox.rest.responses import JsonObject, Problem
from ttp_mcp.sandbox.rest.tokens import Caller
from ttp_mcp.sandbox.store import Store

if TYPE_CHECKING:
    from ttp_mcp.sandbox.storage import MediaStorage


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """An authenticated request."""

    store: Store
    clock: Clock
    storage: "MediaStorage"
    caller: Caller
    organization: Organization
    path: dict[str, str]
    query: dict[str, str]
    body: JsonObject

    def check_query(self, *known: str) -> None:
        """Refuse unknown query parameters: if ignored, a filter would seem to work.

        Raises:
            Problem: 400 that names one.
        """
        if unknown := sorted(set(self.query) - set(known)):
            raise Problem(400, f"Unknown query parameter: {unknown[0][:60]}.")

    def require(self, capability: str) -> None:
        """Refuse a token without a capability.

        Raises:
            Problem: 403 that names it.
        """
        if capability not in self.caller.capabilities:
            raise Problem(
                403, f"This token may not {capability}: its capabilities are {', '.join(self.caller.capabilities)}."
            )
