"""What came back, or what broke instead, turned into JSON or into an `ApiError`: pure functions, nothing is awaited."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
from pydantic_core import from_json

from ttp_mcp.api import errors, retry
from ttp_mcp.api.parsing import as_object, as_str, first_present

# Raised before a byte of the request is written: no name, no connection, no TLS, a proxy that opens no tunnel.
NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_HOST = re.compile(r"[a-z0-9.:-]{1,253}")
# Each JSON escape whole, so that half a surrogate pair is told from a pair and from an escaped backslash.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL
)
_HALF_BYTES = 6


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """What was asked, as errors and logs name it. `route` is the template, never the URL."""

    method: str
    route: str

    @property
    def changes(self) -> bool:
        """Whether it can have an effect: everything but a `GET`."""
        return self.method != "GET"


def connection_error(
    asked: RequestInfo, error: Exception, *, sent: bool, status: int | None = None, after_seconds: float | None = None
) -> errors.ApiError:
    """What a failure of the connection means.

    Args:
        asked: The request.
        error: What was raised; its text is often empty and never used.
        sent: Whether a byte of the request can have been written.
        status: The status of an answer whose body broke off; None when no answer had begun.
        after_seconds: The limit that ran out, where one did.
    """
    facts: dict[str, Any] = {"method": asked.method, "path": asked.route, "may_have_happened": asked.changes}
    if not sent or isinstance(error, NOT_SENT):
        return errors.NotReached(method=asked.method, path=asked.route)
    if isinstance(error, httpx2.DecodingError):
        return errors.BadAnswer(reason="encoding", status=status, **facts)
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return errors.NoAnswer(after_seconds=after_seconds, **facts)
    if status is not None:
        return errors.BadAnswer(reason="truncated", status=status, **facts)
    return errors.NoAnswer(**facts)


def error_from_response(
    asked: RequestInfo, status: int, headers: Mapping[str, str], content: bytes, now: datetime
) -> errors.ApiError:
    """The error of an answer that is not 2xx. `now` is the API's present, for a `Retry-After` that is a date."""
    facts: dict[str, Any] = {
        "method": asked.method,
        "path": asked.route,
        "status": status,
        "request_id": _request_id(headers.get("x-request-id")),
    }
    if status < 400:
        return errors.Redirected(target_host=_host(headers.get("location")), **facts)
    facts["message"] = message_of(content)
    if status == 404 and (reason := _not_the_apis(headers.get("content-type", ""), content)):
        # A proxy that has lost its way answers so to everything: it says nothing of what there is or was done.
        return errors.BadAnswer(reason=reason, may_have_happened=asked.changes, **facts)
    if status >= 500:
        return errors.ServerError(may_have_happened=asked.changes, **facts)
    if status == 408:
        # Whoever gave up waiting, the API or a proxy before it, need not know what had arrived.
        return errors.NoAnswer(may_have_happened=asked.changes, **facts)
    if status == 429:
        wait = retry.retry_after_seconds(headers.get("retry-after"), now)
        return errors.RateLimited(retry_after_seconds=wait, **facts)
    return _FINAL.get(status, errors.ValidationFailed)(**facts)


_FINAL: dict[int, type[errors.ApiError]] = {
    401: errors.NotAuthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
}


def too_large(asked: RequestInfo, status: int) -> errors.BadAnswer:
    """The error of an answer that has more bytes than are read."""
    return errors.BadAnswer(
        reason="too_large", method=asked.method, path=asked.route, status=status, may_have_happened=asked.changes
    )


def parse_response(asked: RequestInfo, status: int, content_type: str, content: bytes) -> Any:
    """The JSON of a 2xx answer; an empty answer to `DELETE` is an empty object.

    Raises:
        BadAnswer: It is not JSON.
        Rejected: It says `success: false`.
    """
    if asked.method == "DELETE" and not content.strip():
        return {}
    try:
        reply = parse_json(content)
    except (ValueError, RecursionError):
        raise errors.BadAnswer(
            reason=_why_unreadable(content_type, content),
            method=asked.method,
            path=asked.route,
            status=status,
            may_have_happened=asked.changes,
        ) from None
    if as_object(reply).get("success") is False:
        raise errors.Rejected(method=asked.method, path=asked.route, status=status, message=message_of(content))
    return reply


def parse_json(content: bytes) -> Any:
    """JSON of at most 200 levels, without the words NaN and Infinity. Half a surrogate pair becomes U+FFFD.

    Raises:
        ValueError: It is not such JSON.
    """
    try:
        return from_json(content, allow_inf_nan=False)
    except ValueError:
        # A text that was cut within an emoji ends in such a half; one post must not make a whole list unreadable.
        mended = _ESCAPE.sub(_whole, content)
        if mended == content:
            raise
        return from_json(mended, allow_inf_nan=False)


def _whole(escape: re.Match[bytes]) -> bytes:
    is_half = len(escape[0]) == _HALF_BYTES
    return b"\\ufffd" if is_half else escape[0]


def message_of(content: bytes) -> str | None:
    """The API's own words in an error body; nothing of a body that is not JSON."""
    try:
        body = as_object(parse_json(content))
    except (ValueError, RecursionError):
        return None
    found = first_present(body, "message", "error", "detail")
    if isinstance(found, dict):
        found = first_present(as_object(found), "message", "detail")  # pyright: ignore[reportUnknownArgumentType] # raw JSON
    return as_str(found)


def _request_id(header: str | None) -> str | None:
    return header if header and _REQUEST_ID.fullmatch(header) else None


def _host(location: str | None) -> str | None:
    """The host of a redirect's target and nothing else of it; None for a path, or for what is no URL."""
    try:
        host = urlsplit(location or "").hostname or ""
    except ValueError:
        return None
    return host if _HOST.fullmatch(host) else None


def _not_the_apis(content_type: str, content: bytes) -> str | None:
    """Why a body is none of the API's own, whose every refusal is a JSON object; None when it may be."""
    try:
        return None if isinstance(parse_json(content), dict) else "shape"
    except (ValueError, RecursionError):
        return _why_unreadable(content_type, content)


def _why_unreadable(content_type: str, content: bytes) -> str:
    start = content.lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html")) or "html" in content_type:
        return "html"
    if start[:1] in (b"{", b"[") and not content.rstrip().endswith((b"}", b"]")):
        return "truncated"
    return "json"
