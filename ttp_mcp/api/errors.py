"""What can go wrong with a request, by kind, with the facts as attributes and no advice."""


class ApiError(Exception):
    """A request did not do what it was for."""

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
            status: HTTP status, where there was an answer.
            message: The API's own words, raw: data from outside.
            request_id: The API's name for this request, where it gives one.
            retry_after_seconds: How long the API asks to wait.
            may_have_happened: True when the request can have taken effect all the same.
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
    """400, or another 4xx that means the request itself: the API changed nothing."""


class NotAuthenticated(ApiError):
    """401: the token is unknown, expired or revoked."""


class Forbidden(ApiError):
    """403: the plan or the permissions do not allow it."""


class NotFound(ApiError):
    """404 in the API's own words: unknown, or of another organization."""


class RateLimited(ApiError):
    """429: not done; `retry_after_seconds` says when to come back, where the API told."""


class ServerError(ApiError):
    """5xx: the API failed; a write can have happened."""


class Redirected(ApiError):
    """3xx: never followed. `target_host` is all that is kept of where it led; None for the same host."""

    def __init__(self, *, target_host: str | None = None, **facts: object) -> None:
        """As `ApiError`, with the host."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.target_host = target_host


class Rejected(ApiError):
    """200 with `success: false`."""


class NotReached(ApiError):
    """The request was never sent: no name, no connection, no secure connection."""


class NoAnswer(ApiError):
    """The connection broke or the time was up before an answer came, here or (408) at the other end."""

    def __init__(self, *, after_seconds: float | None = None, **facts: object) -> None:
        """As `ApiError`; `after_seconds` is the limit that ran out, where one did."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.after_seconds = after_seconds


class BadAnswer(ApiError):
    """An answer came that can't be used; `reason` is html, json, truncated, encoding, too_large or shape."""

    def __init__(self, *, reason: str, **facts: object) -> None:
        """As `ApiError`, with the reason."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.reason = reason


class TokenMissing(ApiError):
    """No token is configured; nothing was sent."""


class TokenMalformed(ApiError):
    """The configured token can't be one; nothing was sent. `problem` names the rule."""

    def __init__(self, *, problem: str, **facts: object) -> None:
        """As `ApiError`, with the problem."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.problem = problem


class AccessRefused(ApiError):
    """`TTP_ACCESS` or `TTP_TOOLSETS`, the `setting`, does not allow it; nothing was sent."""

    def __init__(self, *, setting: str = "TTP_ACCESS", **facts: object) -> None:
        """As `ApiError`, with the setting."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.setting = setting


class UploadRefused(ApiError):
    """The storage, or a rule of ours about its address, refused the file. `reason` is one of ours."""

    def __init__(self, *, reason: str, **facts: object) -> None:
        """As `ApiError`, with the reason."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.reason = reason


class UploadFailed(ApiError):
    """The bytes did not all arrive. `reason` is one of ours."""

    def __init__(self, *, reason: str, **facts: object) -> None:
        """As `ApiError`, with the reason."""
        super().__init__(**facts)  # pyright: ignore[reportArgumentType] # the facts of ApiError, passed through
        self.reason = reason
