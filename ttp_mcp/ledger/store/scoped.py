"""One user's part of a store, read and written at the present of one clock."""

from collections.abc import Callable, Generator, Sequence
from datetime import datetime, timedelta

from ttp_mcp.ledger.store.base import CommitResult, Delete, Entry, JsonObject, LedgerProblem, Put, RateCap, Store

# Attempts of an optimistic commit before giving up.
MAX_ATTEMPTS = 50
_CONTENTION = (
    "the ledger can't be used: other processes keep changing the same entry. Nothing is sent without it; reading goes on. "
    "Call again in a moment."
)


class ScopedStore:
    """A store as one user sees it."""

    __slots__ = ("_scope", "_store", "now")

    def __init__(self, store: Store, scope: str, now: Callable[[], datetime]) -> None:
        """Use a store; `now` returns the present as aware UTC."""
        self._store = store
        self._scope = scope
        self.now = now

    async def get(self, kind: str, keys: Sequence[str]) -> dict[str, Entry]:
        """Return the entries that exist, by key."""
        return await self._store.get(self._scope, kind, keys, self.now())

    async def get_one(self, kind: str, key: str) -> Entry | None:
        """Return one entry, or None."""
        return (await self._store.get(self._scope, kind, [key], self.now())).get(key)

    async def list_recent(self, kind: str, since: datetime) -> list[Entry]:
        """Return the entries first put since then, newest first."""
        return await self._store.recent(self._scope, kind, since, self.now())

    async def commit(
        self, steps: Sequence[Put | Delete], at: datetime | None = None, cap: RateCap | None = None
    ) -> CommitResult:
        """Carry out all steps or none, durably, at `at` (default: now)."""
        return await self._store.commit(self._scope, steps, at or self.now(), cap)

    def put(self, kind: str, key: str, value: JsonObject, keep: timedelta, expected: str | None = None) -> Put:
        """Make the step that writes an entry which expires after `keep`."""
        return Put(kind, key, value, self.now() + keep, expected)


def commit_attempts() -> Generator[int]:
    """Number the attempts of a commit that is retried when another process changed the entry first.

    Raises:
        LedgerProblem: Too many attempts.
    """
    yield from range(MAX_ATTEMPTS)
    raise LedgerProblem(_CONTENTION)
