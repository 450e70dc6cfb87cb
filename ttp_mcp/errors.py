"""The only place where an exception becomes words for an agent.

Every text says what did not happen, why, what to do next, and whether repeating is safe: at most three sentences.
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
    "Create one in the TimeToPost dashboard under Settings → API and set TTP_API_TOKEN where this server is configured; "
    "or try everything without an account with --sandbox."
)

HOW_TO_FILL = "Put the token (TimeToPost dashboard: Settings → API) into that file and restart this server."


class Refusal(Exception):
    """A tool will not do what was asked; the text is complete and ours."""


def error_kind(error: Exception) -> str:
    """One word for programs: what kind of failure it was."""
    if isinstance(error, api.ApiError) and error.may_have_happened:
        return "unclear"
    return next((kind for types, kind in _KINDS if isinstance(error, types)), "bug")


def agent_text(error: Exception, what: str) -> str | None:
    """Words for an exception, or None when it is a bug that the agent must not see.

    Args:
        error: What was raised.
        what: What did not happen, for example `Post not created`.
    """
    if isinstance(error, Refusal | FileRefused):
        return redact(str(error))
    if isinstance(error, TimeProblem | LedgerProblem | WriteRefused):
        return redact(f"{what}: {error}")
    if isinstance(error, api.ApiError):
        words = next(words for kind, words in _WORDS if isinstance(error, kind))
        return _fit(f"{what}: {words(error)}")
    return None


def why(error: api.ApiError) -> str:
    """What went wrong, in sentences of its own, without what it means for the call."""
    words = next(words for kind, words in _WORDS if isinstance(error, kind))
    return _fit(words(error).replace(_repeat(error), "").replace("  ", " ").strip())


def _fit(text: str) -> str:
    whole = redact(text)
    if len(whole) <= LIMIT:
        return whole
    cut = whole[: LIMIT - 1].rstrip()
    return cut[:-1] + "…»" if cut.count("«") > cut.count("»") else cut + "…"


def _said(error: api.ApiError) -> str:
    return f" API said: {quote_text(error.message, 160)}." if error.message else ""


def _repeat(error: api.ApiError) -> str:
    if error.path == "/media/presign":
        return "At most an upload address was made that nobody uses; trying again is safe."
    if error.may_have_happened:
        return "It may have happened all the same: call list_posts before trying again."
    return "Nothing was changed; trying again is safe."


def _validation(error: api.ApiError) -> str:
    return f"the API refused the request ({error.status}).{_said(error)} Change what it names, then call again; nothing was changed."


def _token(error: api.ApiError) -> str:
    return (
        f"the API did not accept the token (401).{_said(error)} It may have expired or been revoked: create a new one "
        "under Settings → API and set TTP_API_TOKEN; repeating does not help until then."
    )


def _forbidden(error: api.ApiError) -> str:
    return f"the plan or the permissions do not allow it (403).{_said(error)} Nothing was changed; repeating does not help."


def _not_found(error: api.ApiError) -> str:
    if error.status is None:
        return "nothing can have this id. Call list_posts for the ids that exist; nothing was sent."
    nearby = "Call list_posts for the ids that exist" if "{" in error.path else "Check TTP_API_URL"
    return f"not found (404); it is unknown or belongs to another organization. {nearby}; repeating does not help."


def _rate(error: api.ApiError) -> str:
    wait = error.retry_after_seconds
    when = f"in {wait:.0f} s" if wait else "in a minute"
    return f"the API is limiting requests (429). Nothing was changed; call again {when}."


def _server(error: api.ApiError) -> str:
    return f"the API had a failure of its own ({error.status}).{_said(error)} {_repeat(error)}"


def _redirected(error: api.ApiError) -> str:
    host = getattr(error, "target_host", None)
    where = f" to the host {quote_text(host, 100)}" if host else ""
    return f"the API answered with a redirect ({error.status}){where}, which is never followed. Check TTP_API_URL; repeating does not help."


def _bad_answer(error: api.ApiError) -> str:
    reason = {
        "html": "a web page instead of JSON (a proxy or a login page may be in between)",
        "json": "something that is not valid JSON",
        "truncated": "an answer that was cut off",
        "too_large": "an answer that is too large to be read safely",
        "shape": "an answer of an unexpected shape",
        "encoding": "an answer whose compression is broken",
    }.get(getattr(error, "reason", ""), "an unreadable answer")
    return f"the API sent {reason}. {_repeat(error)} If it stays so, check TTP_API_URL."


def _rejected(error: api.ApiError) -> str:
    return f"the API reported a failure.{_said(error)} Change what it names, then call again; nothing was changed."


def _not_reached(_: api.ApiError) -> str:
    return "the API could not be reached. Check the network and TTP_API_URL. Nothing was sent; trying again is safe."


def _no_answer(error: api.ApiError) -> str:
    seconds = getattr(error, "after_seconds", None)
    limit = f" within {seconds:.0f} s" if seconds else f" in time ({error.status})" if error.status else ""
    return f"no answer{limit}. {_repeat(error)}"


def _token_missing(_: api.ApiError) -> str:
    return f"no API token is set. {HOW_TO_CONNECT} Nothing was sent."


def _token_malformed(error: api.ApiError) -> str:
    problem = getattr(error, "problem", "it is malformed.")
    # Whoever was led to a file must not be sent to another variable, which would win over it.
    how = HOW_TO_FILL if problem.startswith("TTP_API_TOKEN_FILE") else HOW_TO_CONNECT
    return f"the API token can't be used: {problem} {how} Nothing was sent."


def _access(error: api.ApiError) -> str:
    setting = getattr(error, "setting", "")
    return (
        f"this server's {setting} setting does not allow it. Only the person who configured the server can change that; "
        "nothing was sent."
    )


def _upload(error: api.ApiError) -> str:
    return f"{_not_stored(error)}. No post uses it; trying again is safe."


def _upload_refused(error: api.ApiError) -> str:
    return f"{_not_stored(error)}. No post uses it; repeating does not help while that stays so."


def _not_stored(error: api.ApiError) -> str:
    reason = getattr(error, "reason", None)
    return f"the file was not stored{f' ({reason})' if reason else ''}"


def _other(error: api.ApiError) -> str:
    status = f" ({error.status})" if error.status else ""
    return f"the API did not do it{status}.{_said(error)} {_repeat(error)}"


_KINDS: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((api.TokenMissing, api.TokenMalformed, api.NotAuthenticated), "token"),
    ((api.Forbidden, api.AccessRefused), "forbidden"),
    ((api.NotFound,), "not_found"),
    ((api.RateLimited,), "rate_limited"),
    ((api.NotReached, api.NoAnswer), "unreachable"),
    ((api.ApiError,), "api"),
    ((Refusal, FileRefused, TimeProblem, LedgerProblem, WriteRefused), "refused"),
)
# The first kind that fits speaks.
_WORDS: tuple[tuple[type[api.ApiError], Callable[[Any], str]], ...] = (
    (api.TokenMissing, _token_missing),
    (api.TokenMalformed, _token_malformed),
    (api.AccessRefused, _access),
    (api.NotAuthenticated, _token),
    (api.Forbidden, _forbidden),
    (api.NotFound, _not_found),
    (api.RateLimited, _rate),
    (api.ValidationFailed, _validation),
    (api.ServerError, _server),
    (api.Redirected, _redirected),
    (api.BadAnswer, _bad_answer),
    (api.Rejected, _rejected),
    (api.NotReached, _not_reached),
    (api.NoAnswer, _no_answer),
    (api.UploadFailed, _upload),
    (api.UploadRefused, _upload_refused),
    (api.ApiError, _other),
)
