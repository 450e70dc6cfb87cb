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


@dataclass(frozen=True, slots=True)
class Confirmations:
    """The codes of one user. Only digests of them are kept."""

    store: ScopedStore

    async def offer(self, digest: str, seconds: float) -> OfferedCode:
        """Return a code that confirms the arguments with this digest once, within `seconds`."""
        code = secrets.token_hex(CODE_BYTES)
        expires_at = self.store.now() + timedelta(seconds=seconds)
        await self.store.commit([Put("confirmation", digest_of([code, digest]), {}, expires_at, expected="")])
        return OfferedCode(code, expires_at)

    async def redeem(self, code: str, digest: str) -> bool:
        """Use up a code. True if it was offered for this digest, hasn't expired and wasn't used before."""
        key = digest_of([code, digest])
        entry = await self.store.get_one("confirmation", key)
        if entry is None:
            return False
        return await self.store.commit([Delete("confirmation", key, expected=entry.version)]) == "done"
