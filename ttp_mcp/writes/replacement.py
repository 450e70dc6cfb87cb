"""Replace a post: create the replacement, check it, delete the old post, confirm that it is gone.

The API can't edit a post. Both posts exist between create and delete, so the ledger has the replacement from before the
create until one of them is gone. A failure before the delete removes the replacement; after it the replacement stays.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from ttp_mcp.api import ApiError, NotFound, Post, PostCreate
from ttp_mcp.api.client import ApiClient
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.writes.outcomes import Created, Deleted, EarlierAttempt, WriteRefused
from ttp_mcp.writes.writer import Writer

# States in which a post has reached no audience and can still be deleted without a trace.
REPLACEABLE = ("draft", "scheduled", "failed")

TOOL = "reschedule_post"

FailedStep = Literal["replacement_differs", "old_post_changed"]


@dataclass(frozen=True, slots=True)
class Replacement:
    """Result of a replacement.

    Args:
        outcome: `replaced`; `in_progress` when another call replaces the same post; `interrupted` when an earlier call left
            both posts; `equal_post_exists` and `create_unknown` as `created` has it; `taken_back` when the replacement was
            removed; `old_post_gone` when only the replacement exists; `both_exist` when it couldn't be removed;
            `delete_unconfirmed` when the old post may still exist.
        new_id: Id of the replacement, where it exists.
        created: Result of the create, where that is the reason.
        failed_step: The check before the delete that failed; None if a request did.
        old_status: Status of the old post, where it is the reason; None where it couldn't be read.
    """

    outcome: Literal[
        "replaced",
        "in_progress",
        "interrupted",
        "equal_post_exists",
        "create_unknown",
        "taken_back",
        "old_post_gone",
        "both_exist",
        "delete_unconfirmed",
    ]
    new_id: str | None = None
    created: Created | None = None
    failed_step: FailedStep | None = None
    old_status: str | None = None


@dataclass(frozen=True, slots=True)
class Replacer:
    """Replaces posts."""

    api: ApiClient
    ledger: Ledger
    writer: Writer

    async def close_finished(self, old_id: str) -> str | None:
        """Record a replacement whose old post is gone. Returns the id of the new post, or None without a replacement."""
        pending = await self.ledger.replacements.find_pending(old_id)
        if pending is None or pending.new_id is None:
            return None
        await self.ledger.replacements.end(old_id, pending.new_id)
        return pending.new_id

    async def replace(self, old: Post, post: PostCreate, existing: Collection[Post] | None) -> Replacement:
        """Replace a post. Run it shielded: stopped half way it leaves both posts.

        Args:
            old: The post as it was read just now.
            post: Its replacement.
            existing: All posts as they were just now, where known.

        Raises:
            ApiError: The replacement was not created.
            WriteRefused: Nothing was sent, or for `EarlierAttempt` an equal post may exist.
            LedgerProblem: Nothing was sent.
        """
        with self.writer.in_flight.track():
            if not self._reserve(old.id):
                return Replacement("in_progress")
            try:
                created = await self._begin(old.id, post) or await self._create(old.id, post, existing)
                return created if isinstance(created, Replacement) else await self._swap(old.id, created, post)
            finally:
                self.writer.replacing.discard(old.id)

    def _reserve(self, old_id: str) -> bool:
        """Keep equal calls apart: each would take the replacement for its own, and one could delete it under the other."""
        if old_id in self.writer.replacing:
            return False
        self.writer.replacing.add(old_id)
        return True

    async def _begin(self, old_id: str, post: PostCreate) -> Replacement | None:
        """Record in the ledger that both posts may exist. Returns None, or the replacement that is in the way."""
        pending = await self.ledger.replacements.find_pending(old_id)
        if pending is not None and pending.moved and pending.new_id is not None and await self._exists(pending.new_id):
            return Replacement("interrupted", pending.new_id)
        while (other := await self.ledger.replacements.begin(old_id, post)) is not None:
            if self.ledger.replacements.is_in_progress(other):
                return Replacement("in_progress")
            if other.new_id is not None and await self._exists(other.new_id):
                return Replacement("interrupted", other.new_id)
            await self.ledger.replacements.end(old_id, None)
        return None

    async def _create(self, old_id: str, post: PostCreate, existing: Collection[Post] | None) -> str | Replacement:
        """Create the replacement, or find the one that an interrupted call with the same arguments created. Returns its id."""
        try:
            created = await self.writer.create(post, tool=TOOL, existing=existing, replaces=old_id)
        except EarlierAttempt:
            # Its post may exist, so the ledger keeps the record.
            raise
        except (ApiError, WriteRefused, LedgerProblem):
            await self._close(old_id, None)
            raise
        if created.post_id is None:
            return Replacement("create_unknown", created=created)
        if created.outcome == "already_created" and not await self._is_own(old_id, created.post_id):
            # A post that was created for another purpose: relying on it could leave an account without a post.
            await self._close(old_id, None)
            return Replacement("equal_post_exists", created=created)
        return created.post_id

    async def _is_own(self, old_id: str, new_id: str) -> bool:
        pending = await self.ledger.replacements.find_pending(old_id)
        return pending is not None and pending.new_id == new_id

    async def _swap(self, old_id: str, new_id: str, post: PostCreate) -> Replacement:
        """Created → checked → deleted → confirmed."""
        try:
            old, failed = await self._check(old_id, new_id, post)
            if failed is not None:
                return await self._take_back(old_id, new_id, failed, old.status)
            deleted = await self.writer.delete(old_id, tool=TOOL, post=old)
        except (ApiError, WriteRefused, LedgerProblem):
            return await self._take_back(old_id, new_id)
        return await self._confirm(old, new_id, deleted)

    async def _check(self, old_id: str, new_id: str, post: PostCreate) -> tuple[Post, FailedStep | None]:
        """Return the old post as it is now, and why it must not be deleted, if so."""
        new = await self.api.posts.get(new_id)
        old = await self.api.posts.get(old_id)
        if new.scheduled_at != post.scheduled_at or new.status not in ("draft", "scheduled"):
            return old, "replacement_differs"
        return old, None if old.status in REPLACEABLE else "old_post_changed"

    async def _confirm(self, old: Post, new_id: str, deleted: Deleted) -> Replacement:
        """Check that the old post is gone. The replacement stays: the delete may take effect late, and then none would be left."""
        gone, status = await self._is_gone(old.id, deleted)
        if not gone:
            # A second delete is safe.
            with suppress(ApiError, WriteRefused, LedgerProblem):
                deleted = await self.writer.delete(old.id, tool=TOOL, post=old, limited=False)
                gone, status = await self._is_gone(old.id, deleted)
        if not gone:
            return Replacement("delete_unconfirmed", new_id, old_status=status)
        await self._close(old.id, new_id)
        return Replacement("replaced", new_id)

    async def _is_gone(self, post_id: str, deleted: Deleted) -> tuple[bool, str | None]:
        """Check whether a deleted post is gone. Returns its status too, where it still exists."""
        if deleted.outcome == "unknown":
            return False, None
        try:
            return False, (await self.api.posts.get(post_id)).status
        except ApiError:
            return True, None

    async def _take_back(
        self, old_id: str, new_id: str, failed: FailedStep | None = None, old_status: str | None = None
    ) -> Replacement:
        """Delete the replacement, unless the old post is gone too."""
        outcome, left = "both_exist", new_id
        with suppress(ApiError, WriteRefused, LedgerProblem):
            if not await self._exists(old_id):
                outcome = "old_post_gone"
            elif (await self.writer.delete(new_id, tool=TOOL, limited=False)).outcome != "unknown":
                outcome, left = "taken_back", None
        if outcome != "both_exist":
            await self._close(old_id, left)
        return Replacement(outcome, left, failed_step=failed, old_status=old_status)

    async def _close(self, old_id: str, new_id: str | None) -> None:
        """End the record in the ledger. Without it only the redirect from the old id is missing."""
        with suppress(LedgerProblem):
            await self.ledger.replacements.end(old_id, new_id)

    async def _exists(self, post_id: str) -> bool:
        try:
            await self.api.posts.get(post_id)
        except NotFound:
            return False
        return True
