"""Rules for retries: pure functions over one table."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from ttp_mcp.api import errors

# The standard has whole seconds; fractions are harmless and occur in practice.
_SECONDS = re.compile(r"\d{1,100}(?:\.\d{1,9})?", re.ASCII)

Failure = Literal["not_sent", "ambiguous", "rate_limited", "permanent", "bad_answer"]
Kind = Literal["read", "write"]
Action = Literal["retry", "wait", "give_up"]

READ_ATTEMPTS = 3
# A write that was certainly not sent may be sent once more.
WRITE_ATTEMPTS = 2
# A longer wait is reported to the agent instead.
LONGEST_WAIT_SECONDS = 30.0
FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 4.0


def classify_failure(error: errors.ApiError) -> Failure:
    """Decide whether the failed request can have taken effect."""
    match error:
        case errors.NotReached():
            return "not_sent" if error.is_temporary else "permanent"
        case errors.NoAnswer() | errors.ServerError():
            return "ambiguous"
        case errors.RateLimited():
            return "rate_limited"
        case errors.BadAnswer():
            return "bad_answer"
        case errors.EndpointMissing():
            return "bad_answer" if error.may_have_happened else "permanent"
        case _:
            return "permanent"


ACTIONS: dict[tuple[Failure, Kind], Action] = {
    ("not_sent", "read"): "retry",
    ("not_sent", "write"): "retry",
    ("ambiguous", "read"): "retry",
    ("ambiguous", "write"): "give_up",
    ("rate_limited", "read"): "wait",
    ("rate_limited", "write"): "wait",
    ("bad_answer", "read"): "retry",
    ("bad_answer", "write"): "give_up",
    ("permanent", "read"): "give_up",
    ("permanent", "write"): "give_up",
}


def choose_action(error: errors.ApiError, kind: Kind, attempt: int) -> Action:
    """Choose what to do after a failure; the first attempt is 1.

    A `read` can always be retried, a `write` never once it may have arrived.
    """
    action = ACTIONS[classify_failure(error), kind]
    most = READ_ATTEMPTS if kind == "read" else WRITE_ATTEMPTS
    if isinstance(error, errors.BadAnswer):
        # A second attempt rules out a glitch; a third is pointless. A body over the limit stays too large.
        most = 1 if error.reason == "too_large" else 2
    return action if attempt < most else "give_up"


def delay_seconds(attempt: int, jitter: float) -> float:
    """Return a delay with full jitter: a part, `jitter` from 0 to 1, of a limit that doubles with each attempt."""
    return jitter * min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**attempt)


def parse_retry_after(header: str | None, now: datetime) -> float | None:
    """Return the seconds of a `Retry-After` header, a number or an HTTP date; None if it is missing or unreadable."""
    if header is None:
        return None
    text = header.strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), 1e9)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())
