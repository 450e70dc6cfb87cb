"""Posts that were replaced by others, and replacements that were begun and haven't ended."""

from dataclasses import dataclass
from datetime import datetime

from ttp_mcp.api import PostCreate
from ttp_mcp.ledger.claims import content_digest
from ttp_mcp.ledger.records import KEEP_UNFINISHED, KEEP_WRITES, LONGEST_REPLACEMENT
from ttp_mcp.ledger.store.base import (
    MAX_ATTEMPTS,
    Contention,
    Delete,
    Entry,
    LedgerProblem,
    Put,
    ScopedStore,
    digest_of,
    parse_time,
    reject_malformed,
)


@dataclass(frozen=True, slots=True)
class PendingReplacement:
    """A replacement of a post that was begun and hasn't ended.

    `new_id` is the post that was created for it, if one is known. If that one was itself replaced since, `moved` is True and
    `new_id` is the last post of the chain.
    """

    old_id: str
    at: datetime
    new_id: str | None
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Replacements:
    """The replacements of one user. From the create to the delete both posts exist, so each is recorded before it begins."""

    store: ScopedStore

    async def begin(self, old_id: str, post: PostCreate) -> PendingReplacement | None:
        """Record that a post is about to be replaced by another, which `begin_create` records with `replaces`.

        Returns:
            None when it is recorded. Otherwise another replacement of the same post that hasn't ended; nothing is recorded.

        Raises:
            LedgerProblem: It can't be recorded, so it must not begin.
        """
        # With the accounts: the same text for other accounts is another replacement.
        digest = digest_of([content_digest(post), sorted(post.account_ids), sorted(post.platforms)])
        for _ in range(MAX_ATTEMPTS):
            entry = await self.store.get_one("replacing", old_id)
            if entry is not None and entry.value.get("digest") != digest:
                return await self._load(entry)
            # Beginning the same replacement again is how one that a crash interrupted is finished.
            now = self.store.now()
            value = {"digest": digest, "at": now.isoformat()}
            step = Put("replacing", old_id, value, now + KEEP_UNFINISHED, entry.version if entry else "")
            if await self.store.commit([step]) == "done":
                return None
        raise Contention

    async def end(self, old_id: str, new_id: str | None) -> None:
        """Record that `new_id` replaced the post, or with None that only one of the two posts is left."""
        steps: list[Put | Delete] = [Delete("replacing", old_id)]
        if new_id is not None:
            steps.append(Put("replaced", old_id, {"by": new_id}, self.store.now() + KEEP_WRITES))
        await self.store.commit(steps)

    async def find_pending(self, old_id: str) -> PendingReplacement | None:
        """Return the replacement of a post that was begun and hasn't ended, or None."""
        entry = await self.store.get_one("replacing", old_id)
        return await self._load(entry) if entry else None

    def is_in_progress(self, pending: PendingReplacement) -> bool:
        """Check whether a running process may still be at it."""
        return pending.at >= self.store.now() - LONGEST_REPLACEMENT

    async def list_interrupted(self) -> list[PendingReplacement]:
        """List replacements of the last seven days that no process can still be at, newest first.

        Raises:
            LedgerProblem: The ledger can't be read.
        """
        entries = await self.store.list_recent("replacing", self.store.now() - KEEP_UNFINISHED)
        pending = [await self._load(entry) for entry in entries]
        return [each for each in pending if not self.is_in_progress(each)]

    async def find_successor(self, post_id: str) -> str | None:
        """Return the post that replaced this one, at the end of the chain. None if there is none, or if the ledger can't be read."""
        current, seen = post_id, {post_id}
        try:
            while entry := await self.store.get_one("replaced", current):
                with reject_malformed():
                    new_id = entry.value["by"]
                    if not isinstance(new_id, str):
                        raise TypeError
                if new_id in seen:
                    break
                seen.add(new_id)
                current = new_id
        except LedgerProblem:
            # Reading goes on without the ledger.
            pass
        return current if current != post_id else None

    async def _load(self, entry: Entry) -> PendingReplacement:
        """Add the post that was created in its place since, as the history has it."""
        created = await self.store.list_recent("create", entry.at)
        with reject_malformed():
            at = parse_time(entry.value["at"])
            new_id: str | None = next(
                (
                    each.value["post_id"]
                    for each in created
                    if each.value.get("replaces") == entry.key and each.value["post_id"]
                ),
                None,
            )
        moved_to = await self.find_successor(new_id) if new_id else None
        return PendingReplacement(entry.key, at, moved_to or new_id, moved=moved_to is not None)
