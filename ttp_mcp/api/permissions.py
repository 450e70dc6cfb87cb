"""Requests that a configuration allows, checked once more before anything is sent."""

from dataclasses import dataclass
from typing import Literal

from ttp_mcp.api import errors

Effect = Literal["read", "draft", "publish", "remove"]

ALLOWED_EFFECTS: dict[str, frozenset[Effect]] = {
    "read": frozenset({"read"}),
    "draft": frozenset({"read", "draft"}),
    "full": frozenset({"read", "draft", "publish", "remove"}),
}


@dataclass(frozen=True, slots=True)
class Permissions:
    """`access` is read, draft or full. `endpoints` are the only ones to ask, as `GET /posts`; None for all of them."""

    access: str = "full"
    endpoints: frozenset[str] | None = None

    def check(self, method: str, route: str, effect: Effect) -> None:
        """Refuse what the access mode excludes, and what no offered tool needs.

        Raises:
            AccessRefused: With the setting that excludes it.
        """
        # An endpoint group is the first segment of the path.
        if self.endpoints is not None and f"{method} /{route.split('/')[1]}" not in self.endpoints:
            raise errors.AccessRefused(method=method, path=route, setting="TTP_TOOLSETS")
        if effect not in ALLOWED_EFFECTS[self.access]:
            raise errors.AccessRefused(method=method, path=route)
