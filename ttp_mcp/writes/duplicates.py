"""Duplicates: find an equal post that was created before, and return it instead of sending another."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from ttp_mcp.api import ApiError, NotFound, Post, PostCreate
from ttp_mcp.api.client import ApiClient
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import LONGEST_WRITE, PriorCreate
from ttp_mcp.text import show_id
from ttp_mcp.times import to_wire
from ttp_mcp.writes.outcomes import Created, EarlierAttempt
from ttp_mcp.writes.reconcile import Reconciler, Search


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Finds the earlier create that another one would duplicate, and its outcome. Sends nothing. `now` returns aware UTC."""

    api: ApiClient
    ledger: Ledger
    reconciler: Reconciler
    now: Callable[[], datetime]

    async def find_prior(
        self, post: PostCreate, existing: Collection[Post] | None, target_ids: Sequence[str] = ()
    ) -> PriorCreate | None:
        """Find the earlier create that `Writer.create` would return instead of sending, according to the ledger.

        Args:
            existing: All current posts, if the caller has them; a deleted post isn't a duplicate.
            target_ids: The accounts that it would reach, if it names platforms.

        Raises:
            LedgerProblem: The ledger can't be read.
        """
        prior = await self.ledger.find_prior_create(post, target_ids)
        if prior is None or existing is None:
            return prior
        ids = {each.id for each in existing}
        gone = {post_id for post_id in (prior.post_id, *prior.other_post_ids) if post_id and post_id not in ids}
        return await self.ledger.find_prior_create(post, target_ids, gone=gone) if gone else prior

    async def answer(self, prior: PriorCreate, post: PostCreate) -> Created | None:
        """Return the result of a create that would duplicate an earlier one. None if the earlier post is gone.

        Raises:
            EarlierAttempt: It isn't known whether the earlier one created a post.
        """
        outcome = await self.recall(prior, post)
        if outcome is None or outcome.outcome != "unknown":
            return outcome if outcome and await self._have_others(prior, post) else None
        if self._is_in_progress(prior):
            raise EarlierAttempt(
                f"an equal post is being created right now, since {to_wire(prior.at)}. Call list_posts in a minute to see it. "
                "Nothing was sent by this call.",
                in_progress=True,
            )
        ids = ", ".join(show_id(post_id) for post_id in outcome.candidates[:3])
        raise EarlierAttempt(
            f"an attempt at {to_wire(prior.at)} may have created an equal post{f' ({ids})' if ids else ''}, but its response was "
            "lost. Look for it with list_posts; if it isn't there, create_post with allow_duplicate=true sends it. "
            "Nothing was sent by this call."
        )

    async def recall(self, prior: PriorCreate, post: PostCreate) -> Created | None:
        """Find the outcome of an earlier create of a post. None if its post is gone."""
        if prior.state == "created":
            return await self._recall_created(prior, post)
        if self._is_in_progress(prior):
            return Created("unknown", prior.at)
        post = prior.as_sent(post)
        match = await self.reconciler.find_once(Search(post, prior.write_id, prior.digest, prior.at))
        # Another process may have resolved it in the meantime, so the owner of this post isn't certain.
        if match.post is None or not await self.ledger.resolve(prior, post, match.post):
            return Created("unknown", prior.at, candidates=match.candidates)
        return Created(
            "already_created",
            prior.at,
            match.post,
            match.post.id,
            reconciled=True,
            missing_accounts=prior.missing_accounts,
        )

    async def _have_others(self, prior: PriorCreate, post: PostCreate) -> bool:
        """Check that the posts of the other accounts still exist."""
        for other in prior.other_creates:
            if await self._recall_created(other, post) is None:
                return False
        return True

    def _is_in_progress(self, prior: PriorCreate) -> bool:
        return prior.state == "pending" and self.now() < prior.at + LONGEST_WRITE

    async def _recall_created(self, prior: PriorCreate, post: PostCreate) -> Created | None:
        found: Post | None = None
        try:
            found = await self.api.posts.get(prior.post_id or "")
        except NotFound:
            if await self._is_gone(prior):
                await self.ledger.resolve(prior, post, None)
                return None
        except ApiError:
            # The ledger has its id.
            pass
        return Created(
            "already_created",
            prior.at,
            found,
            prior.post_id,
            missing_accounts=prior.missing_accounts,
            other_post_ids=prior.other_post_ids,
        )

    async def _is_gone(self, prior: PriorCreate) -> bool:
        """Check whether a post that wasn't found is really gone: a replica of the API that lags can report 404 as well."""
        if self.now() < prior.at + LONGEST_WRITE:
            return False
        try:
            return all(post.id != prior.post_id for post in await self.api.posts.list())
        except ApiError:
            return False
