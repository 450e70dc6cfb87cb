"""What was sent, what is being sent, and what was agreed: the memory that outlives a call and a process.

A write is noted before it leaves (`begin_…`) and when its outcome is known (`finish`): one durable commit each.
"""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal

from ttp_mcp.api import Post, PostCreate
from ttp_mcp.api.clock import utc_now
from ttp_mcp.ledger.claims import (
    all_targets,
    changed_claims,
    claim_for,
    claims_entry,
    claims_of,
    content_digest,
    find_prior_create,
    sent_digests,
    settled_claims,
    targets_in,
)
from ttp_mcp.ledger.records import (
    KEEP_PLANS,
    KEEP_UNFINISHED,
    KEEP_WRITES,
    LONGEST_REPLACEMENT,
    LONGEST_WRITE,
    Confirmation,
    Kind,
    Outcome,
    PendingReplacement,
    PlanRecord,
    PriorCreate,
    Record,
    Unfinished,
    Write,
    digest_of,
    make_id,
)
from ttp_mcp.ledger.store.base import Delete, Entry, JsonObject, LedgerProblem, Put, RateCap, Store, reject_malformed

# Nobody guesses 128 bits.
CODE_BYTES = 16
# Each time somebody else changed the same entry meanwhile; more often than this nobody does.
_MOST_TRIES = 50
_CONTENTION = (
    "the ledger can't be used: what it says changes all the time. Nothing is sent without it; reading goes on. "
    "Call again in a moment."
)


class Ledger:
    """The memory of one user."""

    def __init__(self, state: Store, scope: str, now: Callable[[], datetime] = utc_now) -> None:
        """Use a store; `scope` as `scope_of` makes it, `now` gives the present as aware UTC."""
        self._state = state
        self._scope = scope
        self._now = now

    async def begin_create(
        self,
        post: PostCreate,
        *,
        tool: str,
        most: int | None = None,
        allow_duplicate: bool = False,
        targets: Sequence[str] = (),
        replaces: str | None = None,
    ) -> Write | PriorCreate | Literal["full"]:
        """Note that a post is about to be created, and reserve it against equal ones in every process.

        Args:
            post: What will be sent.
            tool: Who asks.
            most: How many may be created in an hour.
            allow_duplicate: Whether an equal one of before does not matter.
            targets: The accounts that it reaches, where it names platforms.
            replaces: Id of the post in whose place it is made; that one is no equal of it.

        Returns:
            The write; or an equal one of before, and then nothing is noted; or `full`.

        Raises:
            LedgerProblem: It can't be noted, so it must not be sent.
        """
        digest = content_digest(post)
        keys = targets_in(digest, post, targets)
        there: dict[str, Entry] = {}
        claims: dict[str, list[JsonObject]] = {}
        for number in range(_MOST_TRIES):
            # Nearly always there is nothing, and then nobody has to look.
            if number or allow_duplicate or replaces is not None:
                there = await self._get("sent", keys)
                claims = await self._standing(there)
                if not allow_duplicate and (earlier := find_prior_create(keys, claims, replaces)):
                    return earlier
            # Its time is the present of each try: what expires meanwhile must be as good as absent to all of them.
            write = Write(
                make_id(), "create", tool, self._now(), digest, post=post, targets=tuple(targets), replaces=replaces
            )
            own = claim_for(write, "pending", None)
            reserved = [sent_digests(write, key, [own, *claims.get(key, ())], there.get(key)) for key in keys]
            applied = await self._begin(write, reserved, most)
            if applied == "done":
                return replace(write, reserved={each.key: claims_entry(each, write.at) for each in reserved})
            if applied == "full":
                return "full"
        raise LedgerProblem(_CONTENTION)

    async def earlier(
        self, post: PostCreate, targets: Sequence[str] = (), *, gone: Collection[str] = ()
    ) -> PriorCreate | None:
        """An equal create of before, of any process; None when there is none, when it was refused, or when its post is gone.

        Args:
            post: What would be sent.
            targets: The accounts that it would reach, where it names platforms.
            gone: Ids of posts that are known to be gone, beside those that were deleted through us.
        """
        keys = targets_in(content_digest(post), post, targets)
        return find_prior_create(keys, await self._standing(await self._get("sent", keys), gone), None)

    async def begin_delete(
        self, post_id: str, post: Post | None, *, tool: str, most: int | None = None
    ) -> Write | Literal["full"]:
        """Note that a post is about to be deleted, with all we know of it, so that it can be created again.

        Raises:
            LedgerProblem: It can't be noted, so it must not be sent.
        """
        raw = post.raw if post else None
        write = Write(make_id(), "delete", tool, self._now(), digest_of([post_id]), post_id=post_id, raw=raw)
        removed = [self._removed(write, "pending")] if raw is not None else []
        return "full" if await self._begin(write, removed, most) == "full" else write

    async def begin_upload(self, *, tool: str, most: int | None = None) -> Write | Literal["full"]:
        """Note that a file is about to be uploaded.

        Raises:
            LedgerProblem: It can't be noted.
        """
        write = Write(make_id(), "upload", tool, self._now(), "")
        return "full" if await self._begin(write, [], most) == "full" else write

    async def finish(self, write: Write, outcome: Outcome, post: Post | None = None, *, claim: bool = False) -> bool:
        """Note the outcome of a write.

        Args:
            write: What `begin_…` returned.
            outcome: What became of it.
            post: The post that was created.
            claim: Whether the post was found rather than answered: then it must not be another write's.

        Returns:
            False when the post to claim is another write's; nothing was noted then.

        Raises:
            LedgerProblem: It can't be noted; the write stays among the unfinished.
        """
        steps: list[Put | Delete] = [Delete("open", write.id)]
        record = {**_record(write), "outcome": outcome, "post_id": post.id if post else write.post_id}
        if outcome == "not_done":
            # Not counted by the limits of an hour any more.
            steps += [Delete(write.kind, write.id), self._put("failed", write.id, record, KEEP_WRITES)]
        else:
            steps.append(self._put(write.kind, write.id, record, KEEP_WRITES))
        if write.raw is not None:
            steps.append(self._removed(write, outcome))
        if post is not None:
            steps.append(self._put("post", post.id, {"write": write.id}, KEEP_WRITES, expected="" if claim else None))
        there = write.reserved
        for _ in range(_MOST_TRIES):
            if await self._apply([*steps, *settled_claims(write, outcome, post, there)]) == "done":
                return True
            if claim and post is not None and await self._get("post", [post.id]):
                return False
            there = await self._get("sent", all_targets(write, post))
        raise LedgerProblem(_CONTENTION)

    async def settle(self, earlier: PriorCreate, post: PostCreate, found: Post | None) -> bool:
        """Correct the note of an earlier create: `found` is its post, or None when it is gone.

        Returns:
            False when somebody else did so first, or when the post is another write's.

        Raises:
            LedgerProblem: It can't be noted.
        """
        digest, targets = content_digest(post), earlier.account_ids
        write = Write(earlier.write_id, "create", earlier.tool, earlier.at, digest, post=post, targets=targets)
        there = await self._get("sent", earlier.keys)
        if found is None:
            return await self._apply(changed_claims(write, there, None)) == "done"
        steps: list[Put | Delete] = [
            Delete("open", write.id),
            self._put("post", found.id, {"write": write.id}, KEEP_WRITES, expected=""),
            *changed_claims(write, there, {"state": "created", "post_id": found.id}),
        ]
        if record := (await self._get("create", [write.id])).get(write.id):
            told = {**record.value, "outcome": "created", "post_id": found.id}
            steps.append(self._put("create", write.id, told, KEEP_WRITES))
        return await self._apply(steps) == "done"

    async def known_posts(self, post_ids: Sequence[str]) -> set[str]:
        """Those of the posts that are known to come from a write of ours with an outcome."""
        return set(await self._get("post", post_ids))

    async def has_rivals(self, write_id: str, digest: str) -> bool:
        """Whether another create of the same content has no known outcome, so that their posts could be mixed up."""
        found = await self._state.recent(self._scope, "create", self._now() - KEEP_UNFINISHED, self._now())
        return any(
            entry.value.get("digest") == digest and entry.value.get("outcome") in (None, "unknown")
            for entry in found
            if entry.key != write_id
        )

    async def unfinished(self) -> list[Unfinished]:
        """Writes without an outcome whose process is gone, newest first; of the last seven days.

        Raises:
            LedgerProblem: The ledger can't be read.
        """
        now = self._now()
        found = await self._state.recent(self._scope, "open", now - KEEP_UNFINISHED, now)
        with reject_malformed():
            return [_unfinished(entry) for entry in found if entry.at < now - LONGEST_WRITE]

    async def history(self, since: datetime) -> list[Record]:
        """Every write since then, oldest first; what is older than 400 days is forgotten.

        Raises:
            LedgerProblem: The ledger can't be read.
        """
        found: list[Record] = []
        for kind in ("create", "delete", "upload", "failed"):
            entries = await self._state.recent(self._scope, kind, since, self._now())
            with reject_malformed():
                found += [_as_record(entry) for entry in entries]
        return sorted(found, key=lambda record: record.at)

    async def count(self, kind: Kind, since: datetime) -> int:
        """How many writes of a kind were begun since then and not refused."""
        return len(await self._state.recent(self._scope, kind, since, self._now()))

    async def frees_up_at(self, kind: Kind, most: int) -> datetime | None:
        """When the next write of a kind is allowed by a limit of so many an hour; None when it is never."""
        found = await self._state.recent(self._scope, kind, self._now() - timedelta(hours=1), self._now())
        return found[most - 1].at + timedelta(hours=1) if 0 < most <= len(found) else None

    async def removed(self, post_id: str) -> Post | None:
        """A post that was deleted through us, as it was; None when we know of none."""
        return (await self._removed_of([post_id])).get(post_id)

    async def _removed_of(self, post_ids: Sequence[str]) -> dict[str, Post]:
        found = await self._get("removed", post_ids) if post_ids else {}
        with reject_malformed():
            return {
                post_id: Post(dict(entry.value["post"]))
                for post_id, entry in found.items()
                if entry.value["outcome"] in ("deleted", "already_gone")
            }

    async def begin_replacement(self, old_id: str, post: PostCreate) -> PendingReplacement | None:
        """Note that a post is about to be replaced: from the create to the delete both stand, and a crash must not hide that.

        Args:
            old_id: The post that will go.
            post: What is created in its place, by `begin_create` with `replaces`.

        Returns:
            None when it is noted; or another replacement of the same post that was begun and not ended, and nothing is noted.

        Raises:
            LedgerProblem: It can't be noted, so it must not be begun.
        """
        # The accounts too: the same text for others is another replacement.
        digest = digest_of([content_digest(post), sorted(post.account_ids), sorted(post.platforms)])
        for _ in range(_MOST_TRIES):
            entry = (await self._get("replacing", [old_id])).get(old_id)
            if entry is not None and entry.value.get("digest") != digest:
                return await self._replacing(entry)
            # The same once more is the way to end one that a crash left half done.
            expected = entry.version if entry else ""
            # When it was begun last: whoever does it once more is at it now.
            value = {"digest": digest, "at": self._now().isoformat()}
            if await self._apply([self._put("replacing", old_id, value, KEEP_UNFINISHED, expected)]) == "done":
                return None
        raise LedgerProblem(_CONTENTION)

    async def end_replacement(self, old_id: str, new_id: str | None) -> None:
        """Remember that a post was replaced by another one; or, with None, that only one of the two stands."""
        replaced = [self._put("replaced", old_id, {"by": new_id}, KEEP_WRITES)] if new_id is not None else []
        await self._apply([*replaced, Delete("replacing", old_id)])

    async def replacing(self, old_id: str) -> PendingReplacement | None:
        """The replacement of a post that was begun and not ended; None when there is none."""
        entry = (await self._get("replacing", [old_id])).get(old_id)
        return await self._replacing(entry) if entry else None

    def is_fresh(self, half: PendingReplacement) -> bool:
        """Whether its process may still be at it."""
        return half.at >= self._now() - LONGEST_REPLACEMENT

    async def half_replaced(self) -> list[PendingReplacement]:
        """Replacements that were begun and not ended, and whose process is gone, newest first; of the last seven days.

        Raises:
            LedgerProblem: The ledger can't be read.
        """
        now = self._now()
        found = await self._state.recent(self._scope, "replacing", now - KEEP_UNFINISHED, now)
        halves = [await self._replacing(entry) for entry in found]
        return [half for half in halves if not self.is_fresh(half)]

    async def _replacing(self, entry: Entry) -> PendingReplacement:
        """With the post that was created in its place since, which is in the history."""
        created = await self._state.recent(self._scope, "create", entry.at, self._now())
        with reject_malformed():
            made = (
                each.value["post_id"]
                for each in created
                if each.value.get("replaces") == entry.key and each.value["post_id"]
            )
            at, new_id = datetime.fromisoformat(entry.value["at"]), next(made, None)
        moved_to = await self.replacement(new_id) if new_id else None
        return PendingReplacement(entry.key, at, moved_to or new_id, moved=moved_to is not None)

    async def replacement(self, post_id: str) -> str | None:
        """The post that replaced this one, at the end of the chain; None when there is none, or no ledger to ask."""
        found: list[str] = []
        try:
            while entry := (await self._get("replaced", [(found or [post_id])[-1]])).get((found or [post_id])[-1]):
                with reject_malformed():
                    by = entry.value["by"]
                    if not isinstance(by, str):
                        raise TypeError
                if by in (post_id, *found):
                    break
                found.append(by)
        except LedgerProblem:
            # Only asked while reading, and reading goes on.
            pass
        return found[-1] if found else None

    async def keep_plan(self, plan_id: str, document: JsonObject) -> None:
        """Keep a plan; one that is there already, with its steps, stays as it is."""
        value = {"document": document, "steps": {}}
        await self._apply([self._put("plan", plan_id, value, KEEP_PLANS, expected="")])

    async def plan(self, plan_id: str) -> PlanRecord | None:
        """A plan by its id, or None."""
        entry = (await self._get("plan", [plan_id])).get(plan_id)
        with reject_malformed():
            return PlanRecord(plan_id, entry.value["document"], entry.at, dict(entry.value["steps"])) if entry else None

    async def note_step(self, plan_id: str, step: str, note: JsonObject | None) -> None:
        """Remember what became of a step of a plan; None forgets it. Without effect when the plan is not there."""
        for _ in range(_MOST_TRIES):
            if (entry := (await self._get("plan", [plan_id])).get(plan_id)) is None:
                return
            with reject_malformed():
                steps: dict[str, Any] = {name: value for name, value in entry.value["steps"].items() if name != step}
            value = {**entry.value, "steps": {**steps, **({step: note} if note is not None else {})}}
            if await self._apply([self._put("plan", plan_id, value, KEEP_PLANS, expected=entry.version)]) == "done":
                return
        raise LedgerProblem(_CONTENTION)

    async def offer(self, digest: str, seconds: float) -> Confirmation:
        """A code that confirms what `digest` stands for, once, within so many seconds."""
        code = secrets.token_hex(CODE_BYTES)
        expires = self._now() + timedelta(seconds=seconds)
        await self._apply([Put("confirmation", digest_of([code, digest]), {}, expires, expected="")])
        return Confirmation(code, expires)

    async def redeem(self, code: str, digest: str) -> bool:
        """Whether the code was offered for exactly this digest, is not expired and was not used; it is used up now."""
        key = digest_of([code, digest])
        entry = (await self._get("confirmation", [key])).get(key)
        return entry is not None and await self._apply([Delete("confirmation", key, expected=entry.version)]) == "done"

    async def _begin(self, write: Write, more: Sequence[Put], most: int | None) -> str:
        intent = {**_record(write), "body": write.post.body() if write.post else None}
        steps = [
            *more,
            self._put("open", write.id, intent, KEEP_UNFINISHED),
            self._put(write.kind, write.id, _record(write), KEEP_WRITES),
        ]
        limit = RateCap(write.kind, write.at - timedelta(hours=1), most) if most is not None else None
        return await self._state.apply(self._scope, steps, write.at, limit)

    def _removed(self, write: Write, outcome: str) -> Put:
        value = {"post": write.raw, "outcome": outcome, "write": write.id}
        return self._put("removed", write.post_id or "", value, KEEP_WRITES)

    async def _standing(self, there: Mapping[str, Entry], gone: Collection[str] = ()) -> dict[str, list[JsonObject]]:
        """The claims to each target whose posts were not deleted through us, the latest first."""
        with reject_malformed():
            claims = {key: claims_of(entry) for key, entry in there.items()}
            ids = {each["post_id"] for found in claims.values() for each in found if each["post_id"]}
            removed = {*gone, *await self._removed_of(list(ids))}
            return {key: [each for each in found if each["post_id"] not in removed] for key, found in claims.items()}

    def _put(self, kind: str, key: str, value: JsonObject, keep: timedelta, expected: str | None = None) -> Put:
        return Put(kind, key, value, self._now() + keep, expected=expected)

    async def _get(self, kind: str, keys: Sequence[str]) -> dict[str, Entry]:
        return await self._state.get(self._scope, kind, keys, self._now())

    async def _apply(self, steps: Sequence[Put | Delete]) -> str:
        return await self._state.apply(self._scope, steps, self._now())


def _record(write: Write) -> JsonObject:
    replaces = {} if write.replaces is None else {"replaces": write.replaces}
    facts = {"kind": write.kind, "tool": write.tool, "digest": write.digest, "post_id": write.post_id, "outcome": None}
    return {**facts, **replaces}


def _as_record(entry: Entry) -> Record:
    value = entry.value
    return Record(entry.key, value["kind"], value["tool"], entry.at, value["outcome"], value["post_id"])


def _unfinished(entry: Entry) -> Unfinished:
    value = entry.value
    content = value["body"]["content"] if value["body"] else None
    return Unfinished(value["kind"], value["tool"], entry.at, content, value["post_id"])
