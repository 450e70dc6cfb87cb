"""Pure bookkeeping: which create has which post on which account."""

import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from ttp_mcp.api import PostCreate
from ttp_mcp.ledger.records import DUPLICATE_WINDOW, PriorCreate, Write, read_targets
from ttp_mcp.ledger.store.base import Delete, Entry, JsonObject, Put, digest_of, reject_malformed

# Copies of one post on one account, by `allow_duplicate`, that are remembered.
MAX_COPIES = 20
# Zero width space, word joiner, byte order mark and soft hyphen show nothing; no-break spaces look like spaces.
_SEEN_AS: dict[int, str | None] = {
    **dict.fromkeys(map(ord, "\u200b\u2060\ufeff\u00ad")),
    **dict.fromkeys(map(ord, "\u00a0\u2007\u202f"), " "),
}


class Claims:
    """The claims to some accounts: for each key (content, minute, account or platform) those of each create, newest first."""

    def __init__(self, entries: Mapping[str, Entry] | None = None) -> None:
        """Use the claims of these entries, by key."""
        self.entries = dict(entries or {})
        """The entries as the steps of `add` leave them."""

    def list_post_ids(self) -> set[str]:
        """Return the ids of all posts."""
        with reject_malformed():
            return {claim["post_id"] for key in self.entries for claim in self._read(key) if claim["post_id"]}

    def drop_posts(self, post_ids: Collection[str]) -> None:
        """Forget the claims of posts that are gone."""
        for key, entry in self.entries.items():
            kept = [claim for claim in self._read(key) if claim["post_id"] not in post_ids]
            self.entries[key] = replace(entry, value={"claims": kept})

    def add(self, write: Write, state: str, post_id: str | None = None) -> list[Put]:
        """Make the steps that put the claim of a create before those of others, on each of its keys."""
        claim = {
            "write": write.id,
            "tool": write.tool,
            "state": state,
            "at": write.at.isoformat(),
            "post_id": post_id,
            "keys": list(write.keys),
        }
        steps: list[Put] = []
        for key in write.keys:
            others = self._others(write, key) if key in self.entries else ()
            step = self._put(write, key, [claim, *others])
            self.entries[key] = Entry(key, step.value, step.version, write.at)
            steps.append(step)
        return steps

    def withdraw(self, write: Write) -> list[Put | Delete]:
        """Make the steps that take back the claim of a create, wherever it has one."""
        steps: list[Put | Delete] = []
        for key, entry in self.entries.items():
            others = self._others(write, key)
            if others and len(others) < len(self._read(key)):
                steps.append(self._put(write, key, others))
            elif not others:
                steps.append(Delete("sent", key, expected=entry.version))
        return steps

    def find_prior(self, keys: Sequence[str], replaces: str | None = None) -> PriorCreate | None:
        """Find the create that another one for these keys would duplicate, preferring one with a known post.

        A post doesn't duplicate the one that it `replaces`.
        """
        with reject_malformed():
            found: dict[str, JsonObject] = {}
            for key in keys:
                claims = [each for each in self._read(key) if each["post_id"] is None or each["post_id"] != replaces]
                if claims:
                    found[key] = _prefer_created(claims)
            if not found:
                return None
            prior = _prefer_created(list(found.values()))
            elsewhere = {key: claim for key, claim in found.items() if key not in prior["keys"]}
            others = {claim["write"]: claim for claim in elsewhere.values() if claim["state"] == "created"}
            reached = {*prior["keys"], *(key for key, claim in elsewhere.items() if claim["state"] == "created")}
            return replace(
                _parse_claim(prior),
                missing_accounts=list_missing([key for key in keys if key not in reached]),
                other_creates=tuple(map(_parse_claim, others.values())),
            )

    def _read(self, key: str) -> list[JsonObject]:
        entry = self.entries.get(key)
        return list(entry.value["claims"]) if entry else []

    def _others(self, write: Write, key: str) -> list[JsonObject]:
        with reject_malformed():
            return [claim for claim in self._read(key) if claim["write"] != write.id]

    def _put(self, write: Write, key: str, claims: Sequence[JsonObject]) -> Put:
        """Keep the claims while a create would be a duplicate of the latest one; all are for the same time."""
        with reject_malformed():
            until = max(datetime.fromisoformat(claim["at"]) for claim in claims) + DUPLICATE_WINDOW
        if write.post and write.post.scheduled_at:
            until = max(until, write.post.scheduled_at)
        entry = self.entries.get(key)
        return Put("sent", key, {"claims": list(claims[:MAX_COPIES])}, until, expected=entry.version if entry else "")


def _prefer_created(claims: Sequence[JsonObject]) -> JsonObject:
    return next((claim for claim in claims if claim["state"] == "created"), claims[0])


def _parse_claim(claim: JsonObject) -> PriorCreate:
    return PriorCreate(
        keys=tuple(claim["keys"]),
        write_id=claim["write"],
        tool=claim["tool"],
        state=claim["state"],
        at=datetime.fromisoformat(claim["at"]),
        post_id=claim["post_id"],
    )


def list_missing(keys: list[str]) -> tuple[str, ...]:
    """Return the accounts among keys that no create reached."""
    return read_targets(keys, "account")


def content_digest(post: PostCreate) -> str:
    """Digest what a reader sees of a post, and its time to the minute, without its accounts."""
    minute = post.scheduled_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M") if post.scheduled_at else None
    thread = list(map(normalize_text, post.thread))
    return digest_of([normalize_text(post.content), thread, list(post.media_urls), post.platform_data, minute])


def claim_keys(digest: str, post: PostCreate, account_ids: Sequence[str] = ()) -> tuple[str, ...]:
    """Make the key of each account and platform of a post.

    A platform is keyed together with its accounts, `account_ids`, because another call may name one of those.
    """
    keys = [f"{digest} account {name}" for name in (*post.account_ids, *account_ids)]
    keys += [f"{digest} platform {name.lower()}" for name in post.platforms]
    return tuple(dict.fromkeys(keys))


def normalize_text(text: str) -> str:
    """Reduce a text to what a reader sees: NFC, one kind of line end and space, nothing invisible, no outer space."""
    lines = unicodedata.normalize("NFC", text.translate(_SEEN_AS)).splitlines()
    return "\n".join(map(str.rstrip, lines)).strip()
