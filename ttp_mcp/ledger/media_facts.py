"""Facts of uploaded media, kept by public URL for later checks of posts."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from ttp_mcp.ledger.records import KEEP_WRITES
from ttp_mcp.ledger.store.base import LedgerProblem, Put, ScopedStore, digest_of, reject_malformed
from ttp_mcp.media.facts import MediaFacts

_KIND = "media_facts"


@dataclass(frozen=True, slots=True)
class MediaFactsStore:
    """Facts of the media that one user uploaded. Only used for warnings, so a ledger failure means unknown facts."""

    store: ScopedStore

    async def remember(self, public_url: str, facts: MediaFacts) -> None:
        """Keep the facts of an uploaded file."""
        with suppress(LedgerProblem):
            expires_at = self.store.now() + KEEP_WRITES
            await self.store.commit([Put(_KIND, digest_of([public_url]), asdict(facts), expires_at)])

    async def find(self, urls: Sequence[str]) -> dict[str, MediaFacts]:
        """Return the known facts by URL; a file that was not uploaded by `upload_media` is missing."""
        keys = {digest_of([url]): url for url in urls}
        with suppress(LedgerProblem):
            found = await self.store.get(_KIND, list(keys))
            with reject_malformed():
                return {keys[key]: MediaFacts(**entry.value) for key, entry in found.items()}
        return {}
