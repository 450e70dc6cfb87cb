"""Pure bookkeeping: which write has which post on which account."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ttp_mcp.api import Post, PostCreate
from ttp_mcp.ledger.records import DUPLICATE_WINDOW, Outcome, PriorCreate, Write, digest_of
from ttp_mcp.ledger.store.base import Delete, Entry, JsonObject, Put, reject_malformed

# So many times the same post may stand for one target, by `allow_duplicate`, and each is remembered.
MOST_CLAIMS = 20


def claims_of(entry: Entry | None) -> list[JsonObject]:
    return list(entry.value["claims"]) if entry else []


def claim_for(write: Write, state: str, post_id: str | None) -> JsonObject:
    """That a write is for a target."""
    keys = targets_in(write.digest, write.post, write.targets) if write.post else []
    facts = {"write": write.id, "tool": write.tool, "state": state, "at": write.at.isoformat()}
    return {**facts, "post_id": post_id, "keys": keys}


def sent_digests(write: Write, key: str, claims: Sequence[JsonObject], there: Entry | None) -> Put:
    """All claims to a target, for as long as an equal create is a duplicate of the latest; all have the time that `write` has."""
    with reject_malformed():
        until = max(datetime.fromisoformat(each["at"]) for each in claims) + DUPLICATE_WINDOW
    if write.post and write.post.scheduled_at:
        until = max(until, write.post.scheduled_at)
    return Put("sent", key, {"claims": list(claims[:MOST_CLAIMS])}, until, expected=there.version if there else "")


def changed_claims(write: Write, there: Mapping[str, Entry], facts: JsonObject | None) -> list[Put | Delete]:
    """The claims of a write with other facts, or with None taken back; where it has none nothing changes."""
    steps: list[Put | Delete] = []
    with reject_malformed():
        for key, entry in there.items():
            claims = claims_of(entry)
            if all(each["write"] != write.id for each in claims):
                continue
            left = [
                {**each, **(facts or {})} if each["write"] == write.id else each
                for each in claims
                if facts is not None or each["write"] != write.id
            ]
            steps.append(sent_digests(write, key, left, entry) if left else Delete("sent", key, expected=entry.version))
    return steps


def settled_claims(write: Write, outcome: Outcome, post: Post | None, there: Mapping[str, Entry]) -> list[Put | Delete]:
    """What becomes of a create's claims to its targets, of all that are there; those of other writes stay."""
    if write.post is None:
        return []
    if outcome == "not_done":
        return changed_claims(write, there, None)
    write = replace(write, targets=(*write.targets, *(post.account_ids if post else ())))
    own = claim_for(write, "created" if post else "unknown", post.id if post else None)
    with reject_malformed():
        # Such as accounts that only the answer named; or all of them, where the ledger was moved away meanwhile.
        new = [
            key
            for key in all_targets(write, post)
            if all(each["write"] != write.id for each in claims_of(there.get(key)))
        ]
    added = (sent_digests(write, key, [own, *claims_of(there.get(key))], there.get(key)) for key in new)
    return [*changed_claims(write, there, own), *added]


def all_targets(write: Write, post: Post | None) -> list[str]:
    """With the accounts that the answer named and nobody knew of before: an equal post to one of those is a duplicate too."""
    if write.post is None:
        return []
    return targets_in(write.digest, write.post, (*write.targets, *(post.account_ids if post else ())))


def claims_entry(put: Put, at: datetime) -> Entry:
    return Entry(put.key, put.value, put.version, at)


def find_prior_create(
    keys: Sequence[str], claims: Mapping[str, list[JsonObject]], replaces: str | None
) -> PriorCreate | None:
    """The create that an equal one to these targets would repeat: one that stands rather than one of which nobody knows."""
    with reject_malformed():
        # What is to be replaced is no equal of its replacement.
        others = {
            key: [each for each in claims.get(key, ()) if each["post_id"] is None or each["post_id"] != replaces]
            for key in keys
        }
        best = {
            key: next((each for each in found if each["state"] == "created"), found[0])
            for key, found in others.items()
            if found
        }
        first = next((each for each in best.values() if each["state"] == "created"), next(iter(best.values()), None))
        if first is None:
            return None
        # Those of its own account are its, whatever else was sent there.
        served = {
            key: first if any(each["write"] == first["write"] for each in others[key]) else each
            for key, each in best.items()
        }
        served = {key: each for key, each in served.items() if each is first or each["state"] == "created"}
        beside = {each["write"]: as_prior_create(each) for each in served.values() if each["write"] != first["write"]}
        lacking = accounts_in([key for key in keys if key not in served])
        return replace(as_prior_create(first), lacking=lacking, beside=tuple(beside.values()))


def as_prior_create(claim: JsonObject) -> PriorCreate:
    return PriorCreate(
        keys=list(claim["keys"]),
        write_id=claim["write"],
        tool=claim["tool"],
        state=claim["state"],
        at=datetime.fromisoformat(claim["at"]),
        post_id=claim["post_id"],
    )


def content_digest(post: PostCreate) -> str:
    """Digest of what a post says and when, to the minute, without where to."""
    minute = post.scheduled_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M") if post.scheduled_at else None
    return digest_of([post.content, list(post.thread), list(post.media_urls), post.platform_data, minute])


def targets_in(digest: str, post: PostCreate, account_ids: Sequence[str] = ()) -> list[str]:
    """One key for each account or platform: two posts with one in common are the same post there.

    A platform stands for its accounts, `account_ids`, as well: another call may name one of those.
    """
    names = [f"account {name}" for name in (*post.account_ids, *account_ids)]
    names += [f"platform {name.lower()}" for name in post.platforms]
    return [f"{digest} {name}" for name in dict.fromkeys(names)]


def accounts_in(keys: Sequence[str]) -> tuple[str, ...]:
    """The accounts that keys of `_targets` name."""
    return tuple(name for _, kind, name in (key.split(" ", 2) for key in keys) if kind == "account")
