"""API tokens: shown once, stored as a hash, and never managed over the API."""

import hashlib
import hmac
import re
import secrets
import sqlite3
from dataclasses import dataclass
from datetime import timedelta

from ttp_mcp.sandbox.clock import Clock, to_iso, to_ms
from ttp_mcp.sandbox.store import Store

FORM = re.compile(r"ttp_[0-9a-f]{48}")
LONGEST_DAYS = 365
# Each includes those before it.
CAPABILITIES = ("read", "draft", "publish")


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a valid token."""

    token_id: str
    user_id: str
    label: str
    capabilities: tuple[str, ...]


def create_token(
    store: Store,
    clock: Clock,
    *,
    label: str,
    user_id: str | None = None,
    expires_days: int | None = None,
    capability: str = "publish",
) -> str:
    """Create a token and return it; afterwards only its hash exists.

    Args:
        store: Where its hash is kept.
        clock: Gives the creation time.
        label: Purpose of the token.
        user_id: Owner; by default the first user.
        expires_days: 1–365, or None for never.
        capability: The highest of `CAPABILITIES` that it has.

    Raises:
        ValueError: `expires_days` is out of range, or the capability is unknown.
    """
    if capability not in CAPABILITIES:
        raise ValueError(f"A token may {', '.join(CAPABILITIES[:-1])} or {CAPABILITIES[-1]}.")
    if expires_days is not None and not 1 <= expires_days <= LONGEST_DAYS:
        raise ValueError(f"A token expires after 1–{LONGEST_DAYS} days, or never.")
    token = f"ttp_{secrets.token_hex(24)}"
    now = clock.now()
    expires = to_ms(now + timedelta(days=expires_days)) if expires_days else None
    with store.writing() as db:
        owner = user_id or db.execute("SELECT id FROM users ORDER BY rowid LIMIT 1").fetchone()["id"]
        db.execute(
            "INSERT INTO tokens (id, user_id, label, hash, created_at, expires_at, capability) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (f"tok_{secrets.token_hex(8)}", owner, label, _hash_token(token), to_ms(now), expires, capability),
        )
    return token


def verify_token(store: Store, clock: Clock, token: str) -> Caller | None:
    """Return the owner of a token, or None if it is malformed, unknown, expired or revoked."""
    if not FORM.fullmatch(token):
        return None
    digest = _hash_token(token)
    with store.reading() as db:
        row: sqlite3.Row | None = db.execute("SELECT * FROM tokens WHERE hash = ?", (digest,)).fetchone()
    # The lookup by digest reveals nothing of the token; the decisive comparison takes constant time.
    if row is None or not hmac.compare_digest(row["hash"], digest) or row["revoked_at"] is not None:
        return None
    if row["expires_at"] is not None and row["expires_at"] <= to_ms(clock.now()):
        return None
    capabilities = CAPABILITIES[: CAPABILITIES.index(row["capability"]) + 1]
    return Caller(token_id=row["id"], user_id=row["user_id"], label=row["label"], capabilities=capabilities)


def list_tokens(store: Store) -> list[dict[str, str | None]]:
    """Return all tokens, oldest first, without the secrets."""
    with store.reading() as db:
        rows = db.execute("SELECT * FROM tokens ORDER BY created_at, id").fetchall()
    return [
        {
            "id": row["id"],
            "label": row["label"],
            "capability": row["capability"],
            "created_at": to_iso(row["created_at"]),
            "expires_at": to_iso(row["expires_at"]),
            "revoked_at": to_iso(row["revoked_at"]),
        }
        for row in rows
    ]


def revoke_token(store: Store, clock: Clock, token_id: str) -> bool:
    """Revoke a token. Returns False if it is unknown."""
    with store.writing() as db:
        changed = db.execute(
            "UPDATE tokens SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?", (to_ms(clock.now()), token_id)
        )
    return changed.rowcount == 1


def delete_token(store: Store, token: str) -> None:
    """Delete a token that lives only as long as a process."""
    with store.writing() as db:
        db.execute("DELETE FROM tokens WHERE hash = ?", (_hash_token(token),))


def _hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
