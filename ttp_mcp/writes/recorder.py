"""Record a write before it is sent and when its outcome is known."""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

from ttp_mcp.api import ApiError, Post, retry
from ttp_mcp.credentials import Token
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import Kind, Outcome, Write
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.times import to_wire
from ttp_mcp.writes.in_flight import Caller, InFlight, T, run_to_completion
from ttp_mcp.writes.outcomes import LimitReached

log = logging.getLogger(__name__)
Begun = TypeVar("Begun")

_LIMITS = {
    "create": ("TTP_MAX_POSTS_PER_HOUR", "new posts"),
    "delete": ("TTP_MAX_DELETES_PER_HOUR", "deletions"),
    "upload": ("TTP_MAX_UPLOADS_PER_HOUR", "uploads"),
}


@dataclass(frozen=True, slots=True)
class LostResponse:
    """No response to a write that may have happened; `cause` is None if it was cancelled."""

    cause: ApiError | None = None


class Recorder:
    """Records and sends the writes of one user."""

    def __init__(self, ledger: Ledger, in_flight: InFlight, token: Token | None, now: Callable[[], datetime]) -> None:
        """Set up; the token is for the log, by its fingerprint."""
        self._ledger = ledger
        self._in_flight = in_flight
        self._token = token
        self._now = now

    async def begin(
        self,
        begin: Coroutine[Any, Any, Begun | Literal["full"]],
        kind: Kind,
        max_per_hour: int | None,
        caller: Caller | None = None,
    ) -> Begun:
        """Record the intent, by `Ledger.begin_…`.

        Raises:
            LimitReached: The limit is used up.
            CancelledError: The call was cancelled or abandoned by then.
            LedgerProblem: It can't be recorded.
        """
        begun, cancelled = await run_to_completion(begin)
        if caller is not None and (cancelled or caller.gone):
            await self._stop_cancelled(begun)
        if isinstance(begun, str):
            setting, noun = _LIMITS[kind]
            most = max_per_hour or 0
            raise LimitReached(setting, most, noun, await self._ledger.find_next_allowed(kind, most))
        return begun

    async def send(self, write: Write, request: Coroutine[Any, Any, T]) -> T | LostResponse:
        """Send a write once.

        Raises:
            ApiError: It didn't happen.
        """
        try:
            return await request
        except ApiError as error:
            if retry.classify_failure(error) in ("ambiguous", "bad_answer"):
                return LostResponse(error)
            await self.record(write, "not_done", why=type(error).__name__)
            raise
        except asyncio.CancelledError:
            return LostResponse()
        except BaseException:
            await self.record(write, "unknown")
            raise

    async def record(self, write: Write, outcome: Outcome, post: Post | None = None, why: str | None = None) -> bool:
        """Record an outcome. False if the ledger can't take it: the call doesn't fail, because the write has happened."""
        return await self._finish(write, outcome, post, why) is True

    async def record_found(self, write: Write, post: Post) -> bool | None:
        """Record, as `record` does, the post of a create that was found by searching. None if it belongs to another write."""
        return await self._finish(write, "created", post, "reconciled", claim=True)

    async def _finish(
        self, write: Write, outcome: Outcome, post: Post | None, why: str | None, *, claim: bool = False
    ) -> bool | None:
        try:
            is_ours, _ = await run_to_completion(self._ledger.finish(write, outcome, post, claim=claim))
        except LedgerProblem as problem:
            self._in_flight.unrecorded += 1
            log.error("The outcome of write %s (%s) could not be recorded: %s", write.id, outcome, problem)
            return False
        if not is_ours:
            return None
        if log.isEnabledFor(logging.INFO):
            self._log(write, outcome, post.id if post else write.post_id, why)
        return True

    async def _stop_cancelled(self, begun: object) -> None:
        """Stop a call at the last moment before anything is sent."""
        if isinstance(begun, Write):
            await self.record(begun, "not_done", why="cancelled")
        raise asyncio.CancelledError

    def _log(self, write: Write, outcome: str, post_id: str | None, why: str | None) -> None:
        """Log one line for each write, with ids and digests and without content."""
        line = {
            "write": write.id,
            "kind": write.kind,
            "tool": write.tool,
            "at": to_wire(write.at),
            "token": self._token.fingerprint if self._token else None,
            "digest": write.digest[:16],
            "outcome": outcome,
            "post_id": post_id,
            "why": why,
            "milliseconds": round((self._now() - write.at).total_seconds() * 1000),
        }
        log.info("write %s", json.dumps(line))
