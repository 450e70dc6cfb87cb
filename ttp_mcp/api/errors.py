"""Failures of a request by kind, with the facts as attributes and no advice."""

from dataclasses import dataclass

from ttp_mcp.api.network import Reason


@dataclass(kw_only=True, eq=False, repr=False)
class ApiError(Exception):
    """A request failed.

    Attributes:
        method: HTTP method.
        path: Route template, for example `/posts/{id}`; never the URL itself.
        status: HTTP status, if there was a response.
        message: The API's own message, raw: data from outside.
        request_id: The API's id of this request, if it sent one.
        retry_after_seconds: How long the API asks to wait.
        may_have_happened: True if the request can have taken effect nevertheless.
    """

    method: str
    path: str
    status: int | None = None
    message: str | None = None
    request_id: str | None = None
    retry_after_seconds: float | None = None
    may_have_happened: bool = False

    def __str__(self) -> str:
        return f"{type(self).__name__} {self.status or ''} on {self.method} {self.path}"


class ValidationFailed(ApiError):
    """400, or another 4xx about the request itself: the API changed nothing."""


class NotAuthenticated(ApiError):
    """401: the token is unknown, expired or revoked."""


class Forbidden(ApiError):
    """403: the plan or the permissions don't allow it."""


class NotFound(ApiError):
    """404 from the API itself: unknown, or of another organization."""


@dataclass(kw_only=True, eq=False, repr=False)
class EndpointMissing(ApiError):
    """403, 404 or 405 of an endpoint that isn't in the API reference: this API doesn't have it.

    `feature` is its purpose, as the end of "This account's API has no".
    """

    feature: str


class RateLimited(ApiError):
    """429: not done; `retry_after_seconds` if the API sent it."""


class ServerError(ApiError):
    """5xx: the API failed; a write can have happened."""


@dataclass(kw_only=True, eq=False, repr=False)
class Redirected(ApiError):
    """3xx: never followed. Only the host of its target is kept; None for the same host."""

    target_host: str | None = None


class Rejected(ApiError):
    """200 with `success: false`."""


@dataclass(kw_only=True, eq=False, repr=False)
class NotReached(ApiError):
    """The request was never sent. `variable` names the proxy in use, or is an environment variable that can't be used itself."""

    reason: Reason = "unknown"
    variable: str | None = None

    @property
    def is_temporary(self) -> bool:
        """Check whether another attempt can help without a change of settings."""
        return self.reason in ("name", "refused", "timeout", "unknown")


@dataclass(kw_only=True, eq=False, repr=False)
class NoAnswer(ApiError):
    """The connection broke or timed out before a response came, here or (408) at the other end.

    `after_seconds` is the limit that ran out, if one did.
    """

    after_seconds: float | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class BadAnswer(ApiError):
    """The response can't be used; `reason` is html, json, truncated, encoding, too_large or shape."""

    reason: str


class TokenMissing(ApiError):
    """No token is configured; nothing was sent."""


@dataclass(kw_only=True, eq=False, repr=False)
class TokenMalformed(ApiError):
    """The configured token can't be one; nothing was sent. `problem` names the rule."""

    problem: str


@dataclass(kw_only=True, eq=False, repr=False)
class AccessRefused(ApiError):
    """The `setting`, `TTP_ACCESS` or `TTP_TOOLSETS`, doesn't allow it; nothing was sent."""

    setting: str = "TTP_ACCESS"


@dataclass(kw_only=True, eq=False, repr=False)
class UploadRefused(ApiError):
    """The storage, or a rule about its address, refused the file."""

    reason: str


@dataclass(kw_only=True, eq=False, repr=False)
class UploadFailed(ApiError):
    """The file did not arrive in full."""

    reason: str
