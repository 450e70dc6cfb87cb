"""Row A12: a confirmation counts once, within its time, for exactly what was shown, and for the user who saw it."""

import os
import random
import sys
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace

import mcp_types as types
import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError

from tests.server.conftest import Connection, make_user, read_text
from ttp_mcp.factory import create_server
from ttp_mcp.ledger.confirmations import Confirmations
from ttp_mcp.ledger.store import open_store

pytestmark = [pytest.mark.acceptance, pytest.mark.requirement("acceptance.a12")]

ATTEMPTS = 1000 if os.environ.get("TTP_ACCEPTANCE") == "full" else 200
SEED = 20261124
YES = types.ElicitResult(action="accept", content={"confirm": True})
ATTACKS = ("replayed", "altered", "of another user", "expired", "forged")


@asynccontextmanager
async def open_two_users(settings, sandbox, way):
    """Two users of one store. With `code` their client can't prompt; with `state` it can."""
    asked = make_user(confirm=True)[0] if way == "state" else None
    state = open_store(settings)
    first, second = (
        create_server(replace(settings, confirm="required", org_id=org_id), sandbox, state=state)
        for org_id in (None, "org_harbor_cafe")
    )
    try:
        async with (
            Client(first.server, elicitation_callback=asked) as one,
            Client(second.server, elicitation_callback=asked) as two,
        ):
            yield Connection(one, first, sandbox), Connection(two, second, sandbox)
    finally:
        await first.aclose()
        await second.aclose()


def count_posts(sandbox):
    """Count the posts."""
    with sandbox.store.reading() as db:
        return db.execute("SELECT count(*) FROM posts").fetchone()[0]


async def request_confirmation(connection, way, arguments):
    """Request the post and return the confirmation from the preview or the question."""
    if way == "state":
        return (await connection.call_once("create_post", arguments)).request_state
    preview = read_text(await connection.call("create_post", **arguments))
    return preview.partition("confirmation ")[2].partition(" (")[0]


async def pass_confirmation(connection, way, arguments, confirmation):
    """Pass a confirmation back; a protocol error counts as a refusal."""
    try:
        if way == "state":
            return await connection.call_once("create_post", arguments, reply=YES, state=confirmation)
        return await connection.call("create_post", **arguments, confirmation=confirmation)
    except MCPError:
        return None


def forge_codes(chance, real):
    """Invented codes, and near misses of the real one."""
    at = chance.randrange(len(real))
    other = chance.choice("0123456789abcdef".replace(real[at], ""))
    return chance.choice(
        [real[:at] + other + real[at + 1 :], real[:-1], real + "0", f"{chance.getrandbits(128):032x}", "x"]
    )


def alter_arguments(chance, arguments):
    """The same call with one argument changed."""
    return chance.choice(
        [
            {**arguments, "content": arguments["content"] + " "},
            {**arguments, "content": arguments["content"].lower()},
            {**arguments, "account_ids": ["linkedin", "tiktok"]},
            {**arguments, "account_ids": ["pinterest"]},
            {**arguments, "scheduled_at": "2027-06-24T10:01:00Z"},
            {**arguments, "media_urls": ["https://media.example.com/other.png"]},
        ]
    )


async def check_attempts(settings, sandbox, clock, way, attempts, attacks=ATTACKS):
    """Try confirmations that must not count; returns the number tried of each kind."""
    chance = random.Random(SEED)
    tried = Counter()
    accepted = []
    async with open_two_users(settings, sandbox, way) as (one, two):
        for number in range(attempts):
            attack = attacks[number % len(attacks)]
            arguments = {
                "content": f"Text {number}",
                "account_ids": ["linkedin"],
                "scheduled_at": "2027-06-24T10:00:00Z",
                # So that only the confirmation can be what refuses a replay.
                "allow_duplicate": attack == "replayed",
            }
            confirmation = await request_confirmation(one, way, arguments)
            before = count_posts(sandbox)
            connection, passed = one, arguments
            if attack == "replayed":
                done = await pass_confirmation(one, way, arguments, confirmation)
                assert not done.is_error, "the right confirmation was refused"
                before = count_posts(sandbox)
            elif attack == "altered":
                passed = alter_arguments(chance, arguments)
            elif attack == "of another user":
                connection = two
            elif attack == "expired":
                clock.move(chance.randrange(301, 4000))
            else:
                confirmation = forge_codes(chance, confirmation)
            result = await pass_confirmation(connection, way, passed, confirmation)
            tried[attack] += 1
            if count_posts(sandbox) != before or (result is not None and not result.is_error):
                accepted.append(attack)
    assert accepted == [], f"accepted: {Counter(accepted)}"
    return tried


@pytest.mark.parametrize("way", ["code", "state"])
async def test_a12_only_the_matching_confirmation_counts(settings, sandbox, clock, way):
    """For the code that an agent passes back, and the state that a client passes back."""
    tried = await check_attempts(settings, sandbox, clock, way, ATTEMPTS)
    print(f"A12 ({way}, seed {SEED}): 0 accepted of {tried.total()}: {dict(tried)}")  # noqa: T201


async def redeem_without_use(self, code, digest):
    """`Confirmations.redeem` without using the code up."""
    key = sys.modules["ttp_mcp.ledger.store.base"].digest_of([code, digest])
    return await self.store.get_one("confirmation", key) is not None


async def accept_any_code(self, code, digest):
    """`Confirmations.redeem` accepting every code."""
    return True


GUARDS = {
    "replayed": (Confirmations, "redeem", redeem_without_use),
    "altered": ("ttp_mcp.toolkit.confirmation", "digest_of", lambda *_: "one for all"),
    "of another user": ("ttp_mcp.factory", "scope_of", lambda *_: "one for all"),
    "expired": ("ttp_mcp.toolkit.confirmation", "CONFIRMATION_SECONDS", 10**7),
    "forged": (Confirmations, "redeem", accept_any_code),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_a12_fails_without_each_guard(settings, sandbox, clock, monkeypatch, attack):
    place, name, instead = GUARDS[attack]
    monkeypatch.setattr(sys.modules[place] if isinstance(place, str) else place, name, instead)
    with pytest.raises(AssertionError, match="accepted"):
        await check_attempts(settings, sandbox, clock, "code", 12, (attack,))
