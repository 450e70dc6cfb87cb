"""Failures of a request by kind, with the facts as attributes and no advice."""

from ttp_mcp.api.network import Reason


class ApiError(Exception):
    """A request failed."""

    def __init__(
        self,
        *,
        method: str,
        path: str,
        status: int | None = None,
        message: str | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
        may_have_happened: bool = False,
    ) -> None:
        """Keep the facts.

        Args:
            method: HTTP method.
            path: Route template, for example `/posts/{id}`; never the URL itself.
            status: HTTP status, if there was a response.
            message: The API's own message, raw: data from outside.
            request_id: The API's id of this request, if it sent one.
            retry_after_seconds: How long the API asks to wait.
            may_have_happened: True if the request can have taken effect nevertheless.
        """
        super().__init__(f"{type(self).__name__} {status or ''} on {method} {path}")
        self.method = method
        self.path = path
        self.status = status
        self.message = message
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds
        self.may_have_happened = may_have_happened


class ValidationFailed(ApiError):
    """400, or another 4xx about the request itself: the API changed nothing."""


class NotAuthenticated(ApiError):
    """401: the token is unknown, expired or revoked."""


class Forbidden(ApiError):
    """403: the plan or the permissions don't allow it."""


class NotFound(ApiError):
    """404 from the API itself: unknown, or of another organization."""


class EndpointMissing(ApiError):
    """403, 404 or 405 of an endpoint that isn't in the API reference: this API doesn't have it.

    `feature` is its purpose, as the end of "This account's API has no".
    """

    def __init__(self, *, feature: str, **facts: object) -> None:
        """Keep the facts and the feature."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.feature = feature


class RateLimited(ApiError):
    """429: not done; `retry_after_seconds` if the API sent it."""


class ServerError(ApiError):
    """5xx: the API failed; a write can have happened."""


class Redirected(ApiError):
    """3xx: never followed. Only the host of its target is kept; None for the same host."""

    def __init__(self, *, target_host: str | None = None, **facts: object) -> None:
        """Keep the facts and the host."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.target_host = target_host


class Rejected(ApiError):
    """200 with `success: false`."""


class NotReached(ApiError):
    """The request was never sent."""

    def __init__(self, *, reason: Reason = "unknown", variable: str | None = None, **facts: object) -> None:
        """Keep the facts.

        Args:
            reason: Cause of the failed connection.
            variable: Environment variable that names the proxy in use, or that can't be used itself.
            facts: As for `ApiError`.
        """
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.reason: Reason = reason
        self.variable = variable

    @property
    def is_temporary(self) -> bool:
        """Check whether another attempt can help without a change of settings."""
        return self.reason in ("name", "refused", "timeout", "unknown")


class NoAnswer(ApiError):
    """The connection broke or timed out before a response came, here or (408) at the other end."""

    def __init__(self, *, after_seconds: float | None = None, **facts: object) -> None:
        """Keep the facts; `after_seconds` is the limit that ran out, if one did."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.after_seconds = after_seconds


class BadAnswer(ApiError):
    """The response can't be used; `reason` is html, json, truncated, encoding, too_large or shape."""

    def __init__(self, *, reason: str, **facts: object) -> None:
        """Keep the facts and the reason."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.reason = reason


class TokenMissing(ApiError):
    """No token is configured; nothing was sent."""


class TokenMalformed(ApiError):
    """The configured token can't be one; nothing was sent. `problem` names the rule."""

    def __init__(self, *, problem: str, **facts: object) -> None:
        """Keep the facts and the problem."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.problem = problem


class AccessRefused(ApiError):
    """The `setting`, `TTP_ACCESS` or `TTP_TOOLSETS`, doesn't allow it; nothing was sent."""

    def __init__(self, *, setting: str = "TTP_ACCESS", **facts: object) -> None:
        """Keep the facts and the setting."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.setting = setting


class UploadRefused(ApiError):
    """The storage, or a rule about its address, refused the file."""

    def __init__(self, *, reason: str, **facts: object) -> None:
        """Keep the facts and the reason."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.reason = reason


class UploadFailed(ApiError):
    """The file did not arrive in full."""

    def __init__(self, *, reason: str, **facts: object) -> None:
        """Keep the facts and the reason."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.reason = reason
