"""Facts of uploaded media, kept by public URL for later checks of posts."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime

from ttp_mcp.ledger.records import KEEP_WRITES, digest_of
from ttp_mcp.ledger.store.base import LedgerProblem, Put, Store, reject_malformed
from ttp_mcp.media.facts import MediaFacts

_KIND = "media_facts"


class MediaFactsStore:
    """Facts of the media that one user uploaded. Only used for warnings, so a ledger failure means unknown facts."""

    def __init__(self, state: Store, scope: str, now: Callable[[], datetime]) -> None:
        """Use a store; `scope` as `scope_of` makes it, `now` returns aware UTC."""
        self._state = state
        self._scope = scope
        self._now = now

    async def remember(self, public_url: str, facts: MediaFacts) -> None:
        """Keep the facts of an uploaded file."""
        now = self._now()
        with suppress(LedgerProblem):
            step = Put(_KIND, digest_of([public_url]), asdict(facts), now + KEEP_WRITES)
            await self._state.commit(self._scope, [step], now)

    async def find(self, urls: Sequence[str]) -> dict[str, MediaFacts]:
        """Return the known facts by URL; a file that was not uploaded by `upload_media` is missing."""
        if not urls:
            return {}
        keys = {digest_of([url]): url for url in urls}
        with suppress(LedgerProblem):
            found = await self._state.get(self._scope, _KIND, list(keys), self._now())
            with reject_malformed():
                return {keys[key]: MediaFacts(**entry.value) for key, entry in found.items()}
        return {}
