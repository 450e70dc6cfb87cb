"""What a handler gets: one request that is authenticated, bound to an organization, and read."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ttp_mcp.sandbox.answers import JsonObject
from ttp_mcp.sandbox.clock import Clock
from ttp_mcp.sandbox.organizations import Organization
from ttp_mcp.sandbox.store import Store

if TYPE_CHECKING:
    from ttp_mcp.sandbox.media import Storage


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    store: Store
    clock: Clock
    storage: "Storage"
    organization: Organization
    path: dict[str, str]
    query: dict[str, str]
    body: JsonObject
