"""Endpoints that only the vendor's own client uses. The API reference has none of them, so an API may lack them."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ttp_mcp.api import errors
from ttp_mcp.api.http import Effect, Http

# Messages of a 404 about the path, which can contain the words of `subject` as well.
_ABOUT_PATH = re.compile(r"\b(route|endpoint|path|url|cannot (?:get|post))\b", re.IGNORECASE)


@dataclass(slots=True)
class OptionalEndpoint:
    """An endpoint that the API may lack. Once it is known to be missing, no request is sent.

    `feature` is its purpose, as the end of "This account's API has no". `subject` matches words in a 404's message that name a
    missing resource instead of a missing endpoint.
    """

    http: Http
    method: str
    route: str
    feature: str
    subject: str | None = None
    need: Effect = "read"
    _missing: errors.ApiError | None = None

    async def request(self, path: str, *, find_subject: Callable[[], Awaitable[object]] | None = None) -> Any:
        """Send a request and return its JSON.

        `find_subject` raises `NotFound` if the resource doesn't exist; it is called if a 404's message is ambiguous.

        Raises:
            EndpointMissing: The API has no such endpoint.
            ApiError: Any other failure.
        """
        if self._missing is not None:
            raise self._to_missing(self._missing)
        try:
            return await self.http.request(self.method, path, self.route, need=self.need)
        except errors.ApiError as error:
            # For a write, 403 is about the token or the plan.
            if error.status not in ((403, 404, 405) if self.method == "GET" else (404, 405)):
                raise
            if isinstance(error, errors.NotFound) and not await self._names_path(error, find_subject):
                raise
            # A page of another host, such as a gateway while the API restarts, doesn't predict later responses.
            if not isinstance(error, errors.BadAnswer):
                self._missing = error
            raise self._to_missing(error) from None

    async def _names_path(self, error: errors.NotFound, find_subject: Callable[[], Awaitable[object]] | None) -> bool:
        """Check whether a 404 is about the path, not about a resource such as a post."""
        message = error.message or ""
        if self.subject is None or _ABOUT_PATH.search(message):
            return True
        if re.search(self.subject, message, re.IGNORECASE):
            return False
        try:
            if find_subject is not None:
                await find_subject()
        except errors.ApiError:
            return False
        return True

    def _to_missing(self, error: errors.ApiError) -> errors.EndpointMissing:
        return errors.EndpointMissing(
            feature=self.feature,
            method=error.method,
            path=error.path,
            status=error.status,
            message=error.message if error.status == 403 else None,
            request_id=error.request_id,
            may_have_happened=error.may_have_happened,
        )
