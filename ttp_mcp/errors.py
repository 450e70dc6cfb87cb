"""Texts of exceptions for an agent. Exceptions hold facts; only this module words them.

The form is `<What failed>: <cause>. <Next step>. <Safe to retry or not>.`
"""

from collections.abc import Callable
from typing import Any

from ttp_mcp import api
from ttp_mcp.credentials import redact
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.media.errors import FileRefused
from ttp_mcp.text import quote_text
from ttp_mcp.times import TimeProblem
from ttp_mcp.writes.outcomes import WriteRefused

LIMIT = 400

HOW_TO_CONNECT = (
    "Create one in the TimeToPost dashboard under Settings → API, run `ttp-mcp login` (or set TTP_API_TOKEN) and restart this "
    "server; or try everything without an account with --sandbox."
)

HOW_TO_FILL = "Put the token (TimeToPost dashboard: Settings → API) into that file and restart this server."
HOW_TO_REPLACE = "Change TTP_API_TOKEN, or remove it and run `ttp-mcp login`; then restart this server."


class Refusal(Exception):
    """Raised when a tool declines a call. `str()` is the full message for the agent."""


def error_kind(error: Exception) -> str:
    """Return the kind of failure as one word for programs."""
    if isinstance(error, api.ApiError) and error.may_have_happened:
        return "unclear"
    return next((kind for types, kind in _KINDS if isinstance(error, types)), "bug")


def agent_text(error: Exception, what: str) -> str | None:
    """Return the text of an exception; None for a bug, which the agent must not see.

    `what` is the failed action, for example `Post not created`.
    """
    if isinstance(error, Refusal | FileRefused):
        return redact(str(error))
    if isinstance(error, TimeProblem | LedgerProblem | WriteRefused):
        return redact(f"{what}: {error}")
    if isinstance(error, api.ApiError):
        return _redact_and_cut(f"{what}: {_describe_error(error)}")
    return None


def describe_cause(error: api.ApiError) -> str:
    """Return the cause and the next step, without the advice on retries."""
    if isinstance(error, api.EndpointMissing):
        return _redact_and_cut(f"{_name_lack(error)}.")
    return _redact_and_cut(_describe_error(error).replace(_advise_on_retry(error), "").replace("  ", " ").strip())


def _describe_error(error: api.ApiError) -> str:
    description = next(found for kind, found in _DESCRIPTIONS.items() if isinstance(error, kind))
    if not isinstance(description, str):
        return description(error)
    return description.format(error=error, said=_quote_message(error), advice=_advise_on_retry(error))


def _redact_and_cut(text: str) -> str:
    whole = redact(text)
    if len(whole) <= LIMIT:
        return whole
    cut = whole[: LIMIT - 1].rstrip()
    return cut[:-1] + "…»" if cut.count("«") > cut.count("»") else cut + "…"


def _quote_message(error: api.ApiError) -> str:
    return f" API said: {quote_text(error.message, 160)}." if error.message else ""


def _advise_on_retry(error: api.ApiError) -> str:
    if error.path == "/media/presign":
        return "At most an unused upload URL was created; trying again is safe."
    if error.may_have_happened:
        return "It may have happened nevertheless: call list_posts before trying again."
    return "Nothing was changed; trying again is safe."


def _describe_not_found(error: api.ApiError) -> str:
    if error.status is None:
        return "no post can have this id. Call list_posts for the ids that exist; nothing was sent."
    nearby = "Call list_posts for the ids that exist" if "{" in error.path else "Check TTP_API_URL"
    return f"not found (404): it doesn't exist, or belongs to another organization. {nearby}; retrying won't help."


def _describe_missing_endpoint(error: api.EndpointMissing) -> str:
    if error.may_have_happened:
        return f"{_name_lack(error)}. {_advise_on_retry(error)}"
    return f"{_name_lack(error)}; nothing was changed, and retrying won't help."


def _name_lack(error: api.EndpointMissing) -> str:
    said = f", and said {quote_text(error.message, 160)}" if error.message else ""
    return f"this TimeToPost account's API has no {error.feature} ({error.status}){said}"


def _describe_rate_limit(error: api.ApiError) -> str:
    wait = error.retry_after_seconds
    when = f"in {wait:.0f} s" if wait else "in a minute"
    return f"the API limits requests (429). Nothing was changed; call again {when}."


def _describe_redirect(error: api.Redirected) -> str:
    where = f" to the host {quote_text(error.target_host, 100)}" if error.target_host else ""
    return f"the API answered with a redirect ({error.status}){where}, which is never followed. Check TTP_API_URL; retrying won't help."


def _describe_bad_answer(error: api.BadAnswer) -> str:
    reason = {
        "html": "a web page instead of JSON, probably from a proxy, a gateway or a login page",
        "json": "something that isn't valid JSON",
        "truncated": "a response that was cut off",
        "too_large": "a response that is too large to be read safely",
        "shape": "a response of an unexpected shape",
        "encoding": "a response with broken compression",
    }.get(error.reason, "an unreadable response")
    status = f" ({error.status})" if error.status and error.status >= 300 else ""
    return (
        f"the API's address sent {reason}{status}. {_advise_on_retry(error)} If it keeps happening, check TTP_API_URL."
    )


def _describe_not_reached(error: api.NotReached) -> str:
    reason, variable = error.reason, error.variable
    if reason in _UNUSABLE:
        return f"{describe_unusable_setting(reason, variable)} Nothing was sent."
    cause, step = _NOT_REACHED[reason]
    place = "the proxy" if reason == "proxy_refused" else "the API"
    if variable and reason in _OF_THE_PROXY:
        place, step = f"the proxy named by {variable}", f"Correct {variable}, or remove it."
    return f"{cause.format(place)}. {step} Nothing was sent; trying again is safe."


def describe_unusable_setting(reason: str, variable: str | None, host: str = "timetopost.co") -> str:
    """Describe a proxy or certificate setting that can't be used to reach a host, with the next step."""
    return _UNUSABLE[reason].format(variable or "a setting of the system", host)


def _describe_no_answer(error: api.NoAnswer) -> str:
    seconds = error.after_seconds
    limit = f" within {seconds:.0f} s" if seconds else f" in time ({error.status})" if error.status else ""
    return f"no response{limit}. {_advise_on_retry(error)}"


def _describe_malformed_token(error: api.TokenMalformed) -> str:
    problem = error.problem
    if "ttp-mcp login" in problem:
        return f"the API token can't be used: {problem} Nothing was sent."
    # TTP_API_TOKEN takes precedence over TTP_API_TOKEN_FILE, so don't advise setting it.
    how = HOW_TO_FILL if problem.startswith("TTP_API_TOKEN_FILE") else HOW_TO_REPLACE
    return f"the API token can't be used: {problem} {how} Nothing was sent."


def _describe_not_stored(error: api.UploadFailed | api.UploadRefused) -> str:
    reason = f" ({error.reason})" if error.reason else ""
    advice = "trying again is safe" if isinstance(error, api.UploadFailed) else "retrying won't help until that changes"
    return f"the file was not stored{reason}. No post uses it; {advice}."


def _describe_other(error: api.ApiError) -> str:
    status = f" ({error.status})" if error.status else ""
    return f"the API refused it{status}.{_quote_message(error)} {_advise_on_retry(error)}"


_TRUST_CA = "Set SSL_CERT_FILE to the file with your company's CA and restart this server."
# Cause, with the API or the proxy inserted, and next step.
_NOT_REACHED: dict[str, tuple[str, str]] = {
    "name": ("the host name of {} was not found", "Check the network and TTP_API_URL."),
    "refused": ("{} refused the connection", "Check TTP_API_URL and whether a firewall blocks it."),
    "timeout": ("{} did not respond in time", "Check the network, and whether a proxy is needed (HTTPS_PROXY)."),
    "issuer": ("the certificate of {} is from an unknown issuer, often a company's TLS proxy", _TRUST_CA),
    "expired": (
        "the certificate of {} is expired or not yet valid",
        "Check the clock of this machine, and TTP_API_URL.",
    ),
    "other_name": ("the certificate of {} is for another host name", "Check TTP_API_URL."),
    "certificate": ("the certificate of {} isn't trusted", _TRUST_CA),
    "tls": (
        "no secure connection to {} could be made; there may be no TLS at its port",
        "Check TTP_API_URL and the proxy.",
    ),
    "proxy_refused": ("{} refused to connect to the API", "Check its user, password and rules."),
    "unknown": ("{} could not be reached", "Check the network and TTP_API_URL."),
}
_OF_THE_PROXY = ("name", "refused", "timeout", "unknown", "proxy_refused")
_UNUSABLE = {
    "proxy_setting": (
        "{0} doesn't name an HTTP proxy, and this server speaks no SOCKS. Set HTTPS_PROXY to an HTTP proxy, or "
        "NO_PROXY={1} to connect without one, and restart this server."
    ),
    "ca_setting": "{0} names certificates that can't be read. Correct or remove it, and restart this server.",
}

_KINDS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((api.TokenMissing, api.TokenMalformed, api.NotAuthenticated), "token"),
    ((api.Forbidden, api.AccessRefused), "forbidden"),
    ((api.NotFound,), "not_found"),
    ((api.EndpointMissing,), "not_offered"),
    ((api.RateLimited,), "rate_limited"),
    ((api.NotReached, api.NoAnswer), "unreachable"),
    ((api.ApiError,), "api"),
    ((Refusal, FileRefused, TimeProblem, LedgerProblem, WriteRefused), "refused"),
)
# The first kind that matches is used. In a text, `said` is the API's own message, and `advice` whether to try again.
_DESCRIPTIONS: dict[type[api.ApiError], str | Callable[[Any], str]] = {
    api.TokenMissing: f"no API token is set. {HOW_TO_CONNECT} Nothing was sent.",
    api.TokenMalformed: _describe_malformed_token,
    api.AccessRefused: (
        "this server's {error.setting} setting doesn't allow it. Only the person who configured the server can change that; "
        "nothing was sent."
    ),
    api.NotAuthenticated: (
        "the API did not accept the token (401).{said} It may have expired or been revoked: create a new one under Settings → API, "
        "then run `ttp-mcp login` or set TTP_API_TOKEN; retrying won't help until then."
    ),
    api.Forbidden: (
        "the plan or the permissions don't allow it (403).{said} Nothing was changed; retrying won't help."
    ),
    api.NotFound: _describe_not_found,
    api.EndpointMissing: _describe_missing_endpoint,
    api.RateLimited: _describe_rate_limit,
    api.ValidationFailed: (
        "the API refused the request ({error.status}).{said} Correct that, then call again; nothing was changed."
    ),
    api.ServerError: "the API, or a gateway before it, failed ({error.status}).{said} {advice}",
    api.Redirected: _describe_redirect,
    api.BadAnswer: _describe_bad_answer,
    api.Rejected: "the API reported a failure.{said} Correct that, then call again; nothing was changed.",
    api.NotReached: _describe_not_reached,
    api.NoAnswer: _describe_no_answer,
    api.UploadFailed: _describe_not_stored,
    api.UploadRefused: _describe_not_stored,
    api.ApiError: _describe_other,
}
