"""May a request be repeated, and after how long: pure functions over one table."""

import re
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from ttp_mcp.api import errors

# The standard has whole seconds; a fraction is harmless and seen in practice.
_SECONDS = re.compile(r"\d{1,100}(?:\.\d{1,9})?", re.ASCII)

Failure = Literal["not_sent", "ambiguous", "refused", "final", "bad_answer"]
Kind = Literal["read", "write"]
Action = Literal["retry", "wait", "give_up"]

READ_ATTEMPTS = 3
# A write that was certainly not sent may be sent once more.
WRITE_ATTEMPTS = 2
# A longer wait that the API asks for is told to the agent instead.
LONGEST_WAIT_SECONDS = 30.0
FIRST_DELAY_SECONDS = 0.25
LONGEST_DELAY_SECONDS = 4.0


def classify(error: errors.ApiError) -> Failure:
    """What a failure means for the question whether the request took effect."""
    match error:
        case errors.NotReached():
            return "not_sent"
        case errors.NoAnswer() | errors.ServerError():
            return "ambiguous"
        case errors.RateLimited():
            return "refused"
        case errors.BadAnswer():
            return "bad_answer"
        case _:
            return "final"


ACTIONS: dict[tuple[Failure, Kind], Action] = {
    ("not_sent", "read"): "retry",
    ("not_sent", "write"): "retry",
    ("ambiguous", "read"): "retry",
    ("ambiguous", "write"): "give_up",
    ("refused", "read"): "wait",
    ("refused", "write"): "wait",
    ("bad_answer", "read"): "retry",
    ("bad_answer", "write"): "give_up",
    ("final", "read"): "give_up",
    ("final", "write"): "give_up",
}


def action(error: errors.ApiError, kind: Kind, attempt: int) -> Action:
    """What to do after a failure.

    Args:
        error: The failure.
        kind: `read` can be repeated at will; `write` never once it may have arrived.
        attempt: 1 for the first try.
    """
    chosen = ACTIONS[classify(error), kind]
    most = READ_ATTEMPTS if kind == "read" else WRITE_ATTEMPTS
    if isinstance(error, errors.BadAnswer):
        # A second look tells an accident from a habit; a third tells nothing more. A body over the limit stays so.
        most = 1 if error.reason == "too_large" else 2
    return chosen if attempt < most else "give_up"


def delay_seconds(attempt: int, jitter: float) -> float:
    """Full jitter: a random part, `jitter` from 0 to 1, of a limit that doubles with each attempt."""
    return jitter * min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2**attempt)


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Seconds that a `Retry-After` header asks for (a number or an HTTP date); None when it says nothing usable."""
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


@dataclass(slots=True)
class Budget:
    """Keeps an outage from being amplified: repeats may be a tenth of the calls of the last minute, and three at least."""

    share: float = 0.1
    least: int = 3
    calls: deque[float] = field(default_factory=deque[float])
    repeats: deque[float] = field(default_factory=deque[float])

    def called(self, at: float) -> None:
        """Note a first attempt. Times are monotonic seconds."""
        _forget(self.calls, at - 60)
        self.calls.append(at)

    def spend(self, at: float) -> bool:
        """Take one repeat, if one is left."""
        _forget(self.calls, at - 60)
        _forget(self.repeats, at - 60)
        if len(self.repeats) >= max(self.least, int(self.share * len(self.calls))):
            return False
        self.repeats.append(at)
        return True


def _forget(times: deque[float], until: float) -> None:
    while times and times[0] <= until:
        times.popleft()
