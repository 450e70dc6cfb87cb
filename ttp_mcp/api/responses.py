"""Failures turned into an `ApiError`, those of the connection and those that a response reports: pure functions."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2

from ttp_mcp.api import errors, network, retry
from ttp_mcp.api.parsing import as_message, as_object, first_present, parse_json

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


@dataclass(slots=True)
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
    """Classify a failure of the connection; its text is often empty and never used.

    Args:
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
    """Return the error of a response that isn't 2xx. `content` is None if the body didn't arrive in full, `now` the API's time."""
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
        # From the API or a proxy before it; in both cases the request may have been processed.
        return errors.NoAnswer(may_have_happened=info.has_side_effects, **facts)
    if status == 429:
        wait = retry.parse_retry_after(headers.get("retry-after"), now)
        return errors.RateLimited(retry_after_seconds=wait, **facts)
    if reason := _find_foreign_reason(headers.get("content-type", ""), content):
        # A proxy or gateway refused: the status isn't about token, plan, arguments or resources.
        return errors.BadAnswer(reason=reason, may_have_happened=info.has_side_effects, **facts)
    return _FINAL.get(status, errors.ValidationFailed)(**facts)


_FINAL: dict[int, type[errors.ApiError]] = {
    401: errors.NotAuthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
}


def bad_answer(info: RequestInfo, status: int | None, reason: str) -> errors.BadAnswer:
    """Return the error of a response that can't be used."""
    return errors.BadAnswer(
        reason=reason, method=info.method, path=info.route, status=status, may_have_happened=info.has_side_effects
    )


def extract_message(content: bytes) -> str | None:
    """Return the message of an error body, with the reasons it lists; None if the body isn't JSON."""
    try:
        body = as_object(parse_json(content))
    except ValueError:
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
    except ValueError:
        return classify_unreadable(content_type, content)


def classify_unreadable(content_type: str, content: bytes) -> str:
    """Explain why a body isn't JSON: a page, cut off, or anything else."""
    start = content.lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html")) or "html" in content_type:
        return "html"
    if start[:1] in (b"{", b"[") and not content.rstrip().endswith((b"}", b"]")):
        return "truncated"
    return "json"
