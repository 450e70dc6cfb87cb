"""One-time codes that confirm one call with exactly these arguments."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from ttp_mcp.ledger.store.base import Delete, Put, ScopedStore, digest_of

# 128 bits: infeasible to guess.
CODE_BYTES = 16


@dataclass(frozen=True, slots=True)
class OfferedCode:
    """A code, and when it expires."""

    code: str
    expires_at: datetime


class Confirmations:
    """The codes of one user. Only digests of them are kept."""

    def __init__(self, store: ScopedStore) -> None:
        """Use this store."""
        self._store = store

    async def offer(self, digest: str, seconds: float) -> OfferedCode:
        """Return a code that confirms the arguments with this digest once, within `seconds`."""
        code = secrets.token_hex(CODE_BYTES)
        expires_at = self._store.now() + timedelta(seconds=seconds)
        await self._store.commit([Put("confirmation", digest_of([code, digest]), {}, expires_at, expected="")])
        return OfferedCode(code, expires_at)

    async def redeem(self, code: str, digest: str) -> bool:
        """Use up a code. True if it was offered for this digest, hasn't expired and wasn't used before."""
        key = digest_of([code, digest])
        entry = await self._store.get_one("confirmation", key)
        if entry is None:
            return False
        return await self._store.commit([Delete("confirmation", key, expected=entry.version)]) == "done"
