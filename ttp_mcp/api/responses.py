"""Responses and failures of the connection turned into JSON or into an `ApiError`: pure functions."""

import codecs
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
from pydantic_core import from_json

from ttp_mcp.api import errors, network, retry
from ttp_mcp.api.parsing import as_message, as_object, first_present

# Raised before a byte of the request is written.
NOT_SENT = (
    httpx2.ConnectError,
    httpx2.ConnectTimeout,
    httpx2.PoolTimeout,
    httpx2.ProxyError,
    httpx2.UnsupportedProtocol,
)
_REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_HOST = re.compile(r"[a-z0-9.:-]{1,253}")
# Matches each JSON escape as a whole, to tell half a surrogate pair from a pair and from an escaped backslash.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)", re.DOTALL
)
_HALF_BYTES = 6


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """A request as errors and logs name it. `route` is the template, never the URL."""

    method: str
    route: str

    @property
    def has_side_effects(self) -> bool:
        """Check whether it can change anything: all methods but `GET`."""
        return self.method != "GET"


def connection_error(
    info: RequestInfo,
    error: Exception,
    *,
    sent: bool,
    status: int | None = None,
    after_seconds: float | None = None,
    proxy: str | None = None,
) -> errors.ApiError:
    """Classify a failure of the connection.

    Args:
        info: The request.
        error: The exception; its text is often empty and never used.
        sent: Whether a byte of the request can have been written.
        status: The status of a response whose body broke off; None if no response had begun.
        after_seconds: The limit that ran out, if one did.
        proxy: The variable that names the proxy, if one is used.
    """
    facts: dict[str, Any] = {"method": info.method, "path": info.route, "may_have_happened": info.has_side_effects}
    if not sent or isinstance(error, NOT_SENT):
        return errors.NotReached(method=info.method, path=info.route, reason=network.find_reason(error), variable=proxy)
    if isinstance(error, httpx2.DecodingError):
        return errors.BadAnswer(reason="encoding", status=status, **facts)
    if isinstance(error, httpx2.TimeoutException | TimeoutError):
        return errors.NoAnswer(after_seconds=after_seconds, **facts)
    if status is not None:
        return errors.BadAnswer(reason="truncated", status=status, **facts)
    return errors.NoAnswer(**facts)


def error_from_response(
    info: RequestInfo, status: int, headers: Mapping[str, str], content: bytes | None, now: datetime
) -> errors.ApiError:
    """Return the error of a response that isn't 2xx.

    Args:
        info: The request.
        status: The status of the response.
        headers: Its headers.
        content: Its body; None if that didn't arrive in full.
        now: The API's time, for a `Retry-After` with a date.
    """
    facts: dict[str, Any] = {
        "method": info.method,
        "path": info.route,
        "status": status,
        "request_id": _parse_request_id(headers.get("x-request-id")),
    }
    if status < 400:
        return errors.Redirected(target_host=_parse_host(headers.get("location")), **facts)
    facts["message"] = extract_message(content or b"")
    if status >= 500:
        return errors.ServerError(may_have_happened=info.has_side_effects, **facts)
    if status == 408:
        # From the API or a proxy before it: neither knows how far the request had come.
        return errors.NoAnswer(may_have_happened=info.has_side_effects, **facts)
    if status == 429:
        wait = retry.parse_retry_after(headers.get("retry-after"), now)
        return errors.RateLimited(retry_after_seconds=wait, **facts)
    if reason := _find_foreign_reason(headers.get("content-type", ""), content):
        # A proxy or gateway refused: this says nothing about token, plan, arguments, or what exists.
        return errors.BadAnswer(reason=reason, may_have_happened=info.has_side_effects, **facts)
    return _FINAL.get(status, errors.ValidationFailed)(**facts)


_FINAL: dict[int, type[errors.ApiError]] = {
    401: errors.NotAuthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
}


def too_large_error(info: RequestInfo, status: int) -> errors.BadAnswer:
    """Return the error of a response with more bytes than the limit."""
    return errors.BadAnswer(
        reason="too_large", method=info.method, path=info.route, status=status, may_have_happened=info.has_side_effects
    )


def parse_response(info: RequestInfo, status: int, content_type: str, content: bytes) -> Any:
    """Parse the JSON of a 2xx response; an empty response to `DELETE` is an empty object.

    Raises:
        BadAnswer: It isn't JSON.
        Rejected: It has `success: false`.
    """
    if info.method == "DELETE" and not content.strip():
        return {}
    try:
        reply = parse_json(content)
    except (ValueError, RecursionError):
        raise errors.BadAnswer(
            reason=_classify_unreadable(content_type, content),
            method=info.method,
            path=info.route,
            status=status,
            may_have_happened=info.has_side_effects,
        ) from None
    if as_object(reply).get("success") is False:
        raise errors.Rejected(method=info.method, path=info.route, status=status, message=extract_message(content))
    return reply


def parse_json(content: bytes) -> Any:
    """Parse JSON of at most 200 levels, without NaN and Infinity. Half a surrogate pair becomes U+FFFD.

    Raises:
        ValueError: It isn't such JSON.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return from_json(content, allow_inf_nan=False)
    except ValueError:
        # A text that was cut within an emoji ends in half a pair; one post must not make a whole list unreadable.
        repaired = _ESCAPE.sub(_replace_half, content)
        if repaired == content:
            raise
        return from_json(repaired, allow_inf_nan=False)


def _replace_half(escape: re.Match[bytes]) -> bytes:
    is_half = len(escape[0]) == _HALF_BYTES
    return b"\\ufffd" if is_half else escape[0]


def extract_message(content: bytes) -> str | None:
    """Return the message of an error body, with the reasons it lists; None if the body isn't JSON."""
    try:
        body = as_object(parse_json(content))
    except (ValueError, RecursionError):
        return None
    summary = as_message(first_present(body, "message", "error"))
    reasons = as_message(first_present(body, "detail", "details", "errors"))
    return ": ".join(dict.fromkeys(part for part in (summary, reasons) if part)) or None


def _parse_request_id(header: str | None) -> str | None:
    return header if header and _REQUEST_ID.fullmatch(header) else None


def _parse_host(location: str | None) -> str | None:
    """Return the host of a redirect's target and nothing else; None for a path or an invalid URL."""
    try:
        host = urlsplit(location or "").hostname or ""
    except ValueError:
        return None
    return host if _HOST.fullmatch(host) else None


def _find_foreign_reason(content_type: str, content: bytes | None) -> str | None:
    """Explain why a refusal isn't the API's own, which is always a JSON object; None if it may be."""
    if content is None:
        return None if "json" in content_type else "truncated"
    try:
        return None if isinstance(parse_json(content), dict) else "shape"
    except (ValueError, RecursionError):
        return _classify_unreadable(content_type, content)


def _classify_unreadable(content_type: str, content: bytes) -> str:
    start = content.lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html")) or "html" in content_type:
        return "html"
    if start[:1] in (b"{", b"[") and not content.rstrip().endswith((b"}", b"]")):
        return "truncated"
    return "json"
