"""Pure functions over claims: the posts of each create on each account.

Each key (content, minute, account or platform) has an entry with the claims of the creates that reach it, newest first.
"""

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ttp_mcp.api import PostCreate
from ttp_mcp.ledger.records import DUPLICATE_WINDOW, PriorCreate, Write, read_targets
from ttp_mcp.ledger.store.base import Delete, Entry, JsonObject, Put, digest_of, parse_time, reject_malformed

# Copies of one post on one account, by `allow_duplicate`, that are remembered.
MAX_COPIES = 20
# Zero width space, word joiner, byte order mark and soft hyphen show nothing; no-break spaces look like spaces.
_SEEN_AS: dict[int, str | None] = {
    **dict.fromkeys(map(ord, "\u200b\u2060\ufeff\u00ad")),
    **dict.fromkeys(map(ord, "\u00a0\u2007\u202f"), " "),
}
# Claims by key, before or after a write.
Entries = Mapping[str, Entry | Put]


def add_claim(entries: Entries, write: Write, state: str, post_id: str | None = None) -> dict[str, Put]:
    """Make the steps that put a create's claim before those of others, for each of its keys."""
    claim = {
        "write": write.id,
        "tool": write.tool,
        "state": state,
        "at": write.at.isoformat(),
        "post_id": post_id,
        "keys": list(write.keys),
    }
    steps: dict[str, Put] = {}
    for key in write.keys:
        entry = entries.get(key)
        others = list_others(entry, write) if entry else []
        steps[key] = _put_claims(key, entry, [claim, *others], write)
    return steps


def withdraw_claim(entries: Entries, write: Write) -> dict[str, Put | Delete]:
    """Make the steps that withdraw the claim of a create from each key that has it."""
    steps: dict[str, Put | Delete] = {}
    for key, entry in entries.items():
        others = list_others(entry, write)
        if not others:
            steps[key] = Delete("sent", key, expected=entry.version)
        elif len(others) < len(entry.value["claims"]):
            steps[key] = _put_claims(key, entry, others, write)
    return steps


def find_prior(entries: Entries, keys: Sequence[str], replaces: str | None = None) -> PriorCreate | None:
    """Find the create that another one for these keys would duplicate, preferring one with a known post.

    A post doesn't duplicate the one that it `replaces`.
    """
    found: dict[str, JsonObject] = {}
    for key in keys:
        entry = entries.get(key)
        held: list[JsonObject] = entry.value["claims"] if entry else []
        if claims := [claim for claim in held if claim["post_id"] is None or claim["post_id"] != replaces]:
            found[key] = _prefer_created(claims)
    return _summarize_claims(found, keys) if found else None


def check_claims(entries: Entries) -> None:
    """Check claims that were read.

    Raises:
        LedgerProblem: One of them is malformed.
    """
    with reject_malformed():
        for entry in entries.values():
            for claim in entry.value["claims"]:
                hash(_parse_claim(claim))


def list_post_ids(entries: Entries) -> set[str]:
    """Return the ids of all posts that claims name."""
    claims = [claim for entry in entries.values() for claim in entry.value["claims"]]
    return {claim["post_id"] for claim in claims if claim["post_id"]}


def drop_posts(entries: Mapping[str, Entry], post_ids: Collection[str]) -> dict[str, Entry]:
    """Leave out the claims of posts that are gone."""
    left: dict[str, Entry] = {}
    for key, entry in entries.items():
        claims = [claim for claim in entry.value["claims"] if claim["post_id"] not in post_ids]
        left[key] = replace(entry, value={"claims": claims})
    return left


def list_others(entry: Entry | Put, write: Write) -> list[JsonObject]:
    """Return the claims of other writes."""
    return [claim for claim in entry.value["claims"] if claim["write"] != write.id]


def _put_claims(key: str, entry: Entry | Put | None, claims: Sequence[JsonObject], write: Write) -> Put:
    """Keep the claims while a create would be a duplicate of the latest one; all are for the same time."""
    until = max(map(_time_of, claims)) + DUPLICATE_WINDOW
    if write.post and write.post.scheduled_at:
        until = max(until, write.post.scheduled_at)
    return Put("sent", key, {"claims": list(claims[:MAX_COPIES])}, until, expected=entry.version if entry else "")


def _summarize_claims(found: Mapping[str, JsonObject], keys: Sequence[str]) -> PriorCreate:
    """Summarize the claims that were found for some of the keys by the best of them."""
    prior = _prefer_created(list(found.values()))
    elsewhere = {key: claim for key, claim in found.items() if key not in prior["keys"]}
    others = {claim["write"]: claim for claim in elsewhere.values() if claim["state"] == "created"}
    reached = {*prior["keys"], *(key for key, claim in elsewhere.items() if claim["state"] == "created")}
    return replace(
        _parse_claim(prior),
        missing_accounts=list_missing([key for key in keys if key not in reached]),
        other_creates=tuple(map(_parse_claim, others.values())),
    )


def _prefer_created(claims: Sequence[JsonObject]) -> JsonObject:
    return next((claim for claim in claims if claim["state"] == "created"), claims[0])


def _parse_claim(claim: JsonObject) -> PriorCreate:
    return PriorCreate(
        keys=tuple(claim["keys"]),
        write_id=claim["write"],
        tool=claim["tool"],
        state=claim["state"],
        at=_time_of(claim),
        post_id=claim["post_id"],
    )


def _time_of(claim: JsonObject) -> datetime:
    return parse_time(claim["at"]).astimezone(UTC)


def list_missing(keys: list[str]) -> tuple[str, ...]:
    """Return the accounts among keys that no create reached."""
    return read_targets(keys, "account")


def content_digest(post: PostCreate) -> str:
    """Digest what a reader sees of a post, and its time to the minute, without its accounts."""
    minute = post.scheduled_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M") if post.scheduled_at else None
    thread = list(map(normalize_text, post.thread))
    return digest_of([normalize_text(post.content), thread, list(post.media_urls), post.platform_data, minute])


def claim_keys(digest: str, account_ids: Sequence[str], platforms: Sequence[str] = ()) -> tuple[str, ...]:
    """Make the key of each account and platform of a post.

    A platform is keyed together with its accounts, because another call may name one of those.
    """
    keys = [f"{digest} account {account_id}" for account_id in account_ids]
    keys += [f"{digest} platform {name.lower()}" for name in platforms]
    return tuple(dict.fromkeys(keys))


def normalize_text(text: str) -> str:
    """Reduce a text to what a reader sees: NFC, one kind of line end and space, nothing invisible, no outer space."""
    lines = unicodedata.normalize("NFC", text.translate(_SEEN_AS)).splitlines()
    return "\n".join(map(str.rstrip, lines)).strip()
