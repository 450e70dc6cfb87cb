"""The record of every write, which outlives calls and processes.

A write is recorded before it is sent (`begin_…`) and when its outcome is known (`finish`), in one durable commit each.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ttp_mcp.api import Post, PostCreate
from ttp_mcp.api.clock import utc_now
from ttp_mcp.ledger.claims import (
    Entries,
    add_claim,
    check_claims,
    claim_keys,
    content_digest,
    drop_posts,
    find_prior,
    list_post_ids,
    withdraw_claim,
)
from ttp_mcp.ledger.confirmations import Confirmations
from ttp_mcp.ledger.media_facts import MediaFactsStore
from ttp_mcp.ledger.plans import Plans
from ttp_mcp.ledger.publications import PriorPublication, Publications, put_publication, settle_publication
from ttp_mcp.ledger.records import (
    COUNTED_AS,
    KEEP_UNFINISHED,
    KEEP_WRITES,
    LONGEST_WRITE,
    Kind,
    Outcome,
    PriorCreate,
    Record,
    Unfinished,
    Write,
)
from ttp_mcp.ledger.replacements import Replacements
from ttp_mcp.ledger.store.base import (
    MAX_ATTEMPTS,
    Contention,
    Delete,
    Entry,
    JsonObject,
    Put,
    RateCap,
    ScopedStore,
    Store,
    digest_of,
    parse_time,
    reject_malformed,
)

_HOUR = timedelta(hours=1)


class PostTaken(Exception):
    """Raised when the post to claim for a write belongs to another one."""


@dataclass(eq=False)
class LimitUsedUp(Exception):
    """Raised when a limit an hour is used up. `allowed_at` is when the next write is allowed, or None if none is."""

    kind: Kind
    max_per_hour: int
    allowed_at: datetime | None


class Ledger:
    """The ledger of one user."""

    def __init__(self, store: Store, scope: str, now: Callable[[], datetime] = utc_now) -> None:
        """Use a store; `scope` is from `scope_of`, `now` returns the present as aware UTC."""
        self.now = now
        self._store = ScopedStore(store, scope, now)
        self.replacements = Replacements(self._store)
        self.plans = Plans(self._store)
        self.confirmations = Confirmations(self._store)
        self.media_facts = MediaFactsStore(self._store)
        self._publications = Publications(self._store)

    async def begin_create(
        self,
        post: PostCreate,
        *,
        tool: str,
        max_per_hour: int | None = None,
        allow_duplicate: bool = False,
        target_ids: Sequence[str] = (),
        replaces: str | None = None,
        retries: str | None = None,
    ) -> Write | PriorCreate:
        """Record that a post is about to be created, and claim its accounts in every process.

        Args:
            allow_duplicate: Create it even if an equal post exists.
            target_ids: The accounts that it reaches, if it names platforms.
            replaces: Id of the post in whose place it is made; it doesn't duplicate that one.
            retries: Id of the post that it sends again to accounts where that failed. Another retry for the same accounts is a
                duplicate, whatever its time.

        Returns:
            The write. If an equal post was created before, that create; then nothing is recorded.

        Raises:
            LimitUsedUp: Nothing is recorded.
            LedgerProblem: It can't be recorded, so it must not be sent.
        """
        digest = content_digest(post) if retries is None else digest_of(["retry", retries])
        account_ids = tuple(dict.fromkeys((*post.account_ids, *target_ids)))
        keys = claim_keys(digest, account_ids, post.platforms)
        entries: dict[str, Entry] = {}
        for attempt in range(MAX_ATTEMPTS):
            # There is almost never a claim, so the first attempt doesn't look.
            if attempt or allow_duplicate or replaces is not None:
                entries = await self._read_claims(keys)
                if not allow_duplicate and (prior := find_prior(entries, keys, replaces)):
                    return prior
            # With the time of each attempt: a claim that expires in between must have expired for the commit too.
            write = Write(secrets.token_hex(8), "create", tool, self.now(), digest, account_ids, post, keys, replaces)
            claimed = add_claim(entries, write, "pending")
            if await self._begin(write, list(claimed.values()), max_per_hour):
                return replace(write, claimed=claimed)
        raise Contention

    async def find_prior_create(
        self, post: PostCreate, target_ids: Sequence[str] = (), *, gone: Collection[str] = ()
    ) -> PriorCreate | None:
        """Find the create that another one of this post would duplicate.

        Args:
            target_ids: The accounts that it would reach, if it names platforms.
            gone: Ids of posts that don't exist any more, besides those deleted through this server.
        """
        keys = claim_keys(content_digest(post), (*post.account_ids, *target_ids), post.platforms)
        return find_prior(await self._read_claims(keys, gone), keys)

    async def begin_delete(
        self, post_id: str, post: Post | None, *, tool: str, max_per_hour: int | None = None
    ) -> Write:
        """Record that a post is about to be deleted, with its content so that it can be created again.

        Raises:
            LimitUsedUp: Nothing is recorded.
            LedgerProblem: It can't be recorded, so it must not be sent.
        """
        write = Write(secrets.token_hex(8), "delete", tool, self.now(), digest_of([post_id]), post_id=post_id)
        if post is not None:
            write = replace(write, account_ids=tuple(post.target_ids), raw=post.raw)
        deleted = [_put_deleted(write, "pending")] if write.raw is not None else []
        await self._begin(write, deleted, max_per_hour)
        return write

    async def begin_publish(
        self, post_id: str, *, tool: str, max_per_hour: int | None = None
    ) -> Write | PriorPublication:
        """Record that a post is about to be published.

        Returns:
            The write. If a request to publish it may still arrive, that one; then nothing is recorded.

        Raises:
            LimitUsedUp: Nothing is recorded.
            LedgerProblem: It can't be recorded, so it must not be sent.
        """
        for _ in range(MAX_ATTEMPTS):
            prior = await self._publications.find(post_id)
            if prior is not None and self._publications.is_recent(prior):
                return prior
            write = Write(
                secrets.token_hex(8), "publish", tool, self.now(), digest_of(["publish", post_id]), post_id=post_id
            )
            claim = put_publication(write, "pending", expected=prior.version if prior else "")
            if await self._begin(write, [claim], max_per_hour):
                return write
        raise Contention

    async def begin_upload(self, *, tool: str, max_per_hour: int | None = None) -> Write:
        """Record that a file is about to be uploaded.

        Raises:
            LimitUsedUp: Nothing is recorded.
            LedgerProblem: It can't be recorded.
        """
        write = Write(secrets.token_hex(8), "upload", tool, self.now(), "")
        await self._begin(write, [], max_per_hour)
        return write

    async def finish(self, write: Write, outcome: Outcome, post: Post | None = None, *, claim: bool = False) -> None:
        """Record the outcome of a write.

        Args:
            post: The post that was created.
            claim: The post was found by searching, so it must not belong to another write.

        Raises:
            PostTaken: The post to claim belongs to another write; nothing is recorded.
            LedgerProblem: It can't be recorded; the write remains unfinished.
        """
        if post:
            write = _add_accounts(write, post.target_ids)
        steps = _list_outcome_steps(write, outcome, post.id if post else write.post_id)
        if post:
            steps.append(Put("post", post.id, {"write": write.id}, write.at + KEEP_WRITES, "" if claim else None))
        entries: Entries = write.claimed
        for _ in range(MAX_ATTEMPTS):
            if outcome == "not_done":
                claims = withdraw_claim(entries, write)
            else:
                claims = add_claim(entries, write, "created" if post else "unknown", post.id if post else None)
            if await self._store.commit([*steps, *claims.values()]) == "done":
                return
            if claim and post and await self._store.get_one("post", post.id):
                raise PostTaken
            entries = await self._read_claims(write.keys)
        raise Contention

    async def resolve(self, prior: PriorCreate, post: PostCreate, found: Post | None) -> bool:
        """Correct the outcome of an earlier create: `found` is its post, or None if that is gone.

        Returns:
            False if another process did so first, or if the post belongs to another write.

        Raises:
            LedgerProblem: It can't be recorded.
        """
        write = Write(prior.write_id, "create", prior.tool, prior.at, prior.digest, post=post, keys=prior.keys)
        entries = await self._read_claims(prior.keys)
        if found is None:
            return await self._store.commit(list(withdraw_claim(entries, write).values())) == "done"
        until = write.at + KEEP_WRITES
        owner = Put("post", found.id, {"write": write.id}, until, expected="")
        steps = [Delete("open", write.id), owner, *add_claim(entries, write, "created", found.id).values()]
        if entry := await self._store.get_one("create", write.id):
            record = {**entry.value, "outcome": "created", "post_id": found.id}
            steps.append(Put("create", write.id, record, until))
        return await self._store.commit(steps) == "done"

    async def find_claimed_posts(self, post_ids: Sequence[str]) -> set[str]:
        """Return those of the posts that belong to a write with an outcome."""
        return set(await self._store.get("post", post_ids))

    async def has_unresolved_twin(self, write_id: str, digest: str) -> bool:
        """Check whether another create of the same content has no known outcome, so that their posts could be confused."""
        return any(
            entry.value.get("digest") == digest and entry.value.get("outcome") in (None, "unknown")
            for entry in await self._store.list_recent("create", self.now() - KEEP_UNFINISHED)
            if entry.key != write_id
        )

    async def list_unfinished(self) -> list[Unfinished]:
        """List writes of the last seven days without an outcome, newest first.

        Raises:
            LedgerProblem: The ledger can't be read.
        """
        now = self.now()
        entries = await self._store.list_recent("open", now - KEEP_UNFINISHED)
        with reject_malformed():
            return [_parse_unfinished(entry, is_open=entry.at >= now - LONGEST_WRITE) for entry in entries]

    async def read_history(self, since: datetime) -> list[Record]:
        """Return every write since then, oldest first; writes are kept for 400 days.

        Raises:
            LedgerProblem: The ledger can't be read.
        """
        records: list[Record] = []
        for kind in ("create", "delete", "upload", "failed"):
            entries = await self._store.list_recent(kind, since)
            with reject_malformed():
                records += [_parse_record(entry) for entry in entries]
        return sorted(records, key=lambda record: record.at)

    async def find_deleted_post(self, post_id: str) -> Post | None:
        """Return a post that was deleted through this server, as it was, or None."""
        return (await self._find_deleted([post_id])).get(post_id)

    async def _find_deleted(self, post_ids: Sequence[str]) -> dict[str, Post]:
        found = await self._store.get("removed", post_ids)
        with reject_malformed():
            return {
                post_id: Post(dict(entry.value["post"]))
                for post_id, entry in found.items()
                if entry.value["outcome"] in ("deleted", "already_gone")
            }

    async def _read_claims(self, keys: Sequence[str], gone: Collection[str] = ()) -> dict[str, Entry]:
        """Read the claims to each key, without those of posts that don't exist any more."""
        entries = await self._store.get("sent", keys)
        check_claims(entries)
        if post_ids := list_post_ids(entries):
            entries = drop_posts(entries, {*gone, *await self._find_deleted(list(post_ids))})
        return entries

    async def _begin(self, write: Write, more: Sequence[Put], max_per_hour: int | None) -> bool:
        """Record a write. False if another process changed an entry first."""
        kind, record = COUNTED_AS[write.kind], _to_record(write)
        intent = {**record, "body": write.post.to_body() if write.post else None}
        steps = [
            *more,
            Put("open", write.id, intent, write.at + KEEP_UNFINISHED),
            Put(kind, write.id, record, write.at + KEEP_WRITES),
        ]
        cap = RateCap(kind, write.at - _HOUR, max_per_hour) if max_per_hour is not None else None
        result = await self._store.commit(steps, write.at, cap)
        if cap is None or result != "full":
            return result == "done"
        counted = await self._store.list_recent(kind, cap.since)
        allowed_at = counted[cap.limit - 1].at + _HOUR if 0 < cap.limit <= len(counted) else None
        raise LimitUsedUp(kind, cap.limit, allowed_at)


def _add_accounts(write: Write, account_ids: Sequence[str]) -> Write:
    """Add the accounts that a response names and that weren't known before."""
    account_ids = tuple(dict.fromkeys((*write.account_ids, *account_ids)))
    keys = tuple(dict.fromkeys((*write.keys, *claim_keys(write.digest, account_ids))))
    return replace(write, account_ids=account_ids, keys=keys)


def _list_outcome_steps(write: Write, outcome: Outcome, post_id: str | None) -> list[Put | Delete]:
    kind, until = COUNTED_AS[write.kind], write.at + KEEP_WRITES
    record = {**_to_record(write), "outcome": outcome, "post_id": post_id}
    steps: list[Put | Delete] = [Delete("open", write.id)]
    if outcome == "not_done":
        # The limits an hour don't count it.
        record["at"] = write.at.isoformat()
        steps += [Delete(kind, write.id), Put("failed", write.id, record, until)]
    else:
        steps.append(Put(kind, write.id, record, until))
    if write.kind == "publish":
        steps.append(settle_publication(write, outcome))
    if write.raw is not None:
        steps.append(_put_deleted(write, outcome))
    return steps


def _put_deleted(write: Write, outcome: str) -> Put:
    value = {"post": write.raw, "outcome": outcome, "write": write.id}
    return Put("removed", write.post_id or "", value, write.at + KEEP_WRITES)


def _to_record(write: Write) -> JsonObject:
    record: JsonObject = {
        "kind": write.kind,
        "tool": write.tool,
        "digest": write.digest,
        "post_id": write.post_id,
        "outcome": None,
        "targets": write.account_ids or [name.lower() for name in (write.post.platforms if write.post else ())],
    }
    if write.replaces is not None:
        record["replaces"] = write.replaces
    return record


def _parse_record(entry: Entry) -> Record:
    value = entry.value
    return Record(
        entry.key,
        value["kind"],
        value["tool"],
        parse_time(value["at"]) if "at" in value else entry.at,
        value["outcome"],
        value["post_id"],
        tuple(value.get("targets", ())),
        value.get("replaces"),
    )


def _parse_unfinished(entry: Entry, *, is_open: bool) -> Unfinished:
    value = entry.value
    content = value["body"]["content"] if value["body"] else None
    return Unfinished(value["kind"], value["tool"], entry.at, content, value["post_id"], is_open)
