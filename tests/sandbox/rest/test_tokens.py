"""Tokens: their form, their life, and that the API does not handle them."""

import hashlib
import inspect
import re
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.sandbox.rest import tokens
from ttp_mcp.sandbox.rest.app import ENDPOINTS

pytestmark = pytest.mark.requirement("sandbox.tokens")


@pytest.fixture
def sandbox(empty_workspace: Sandbox) -> Sandbox:
    """Tokens need no demo workspace."""
    return empty_workspace


async def read_status(api: httpx2.AsyncClient, authorization: str) -> int:
    """The status of a small request with this header."""
    return (await api.get("/integrations", headers={"Authorization": authorization})).status_code


async def test_token_has_the_documented_form_and_works(sandbox: Sandbox, api: httpx2.AsyncClient) -> None:
    """`ttp_` and 48 hexadecimal digits, different each time."""
    first, second = (tokens.create_token(sandbox.store, sandbox.clock, label="agent") for _ in range(2))
    assert re.fullmatch(r"ttp_[0-9a-f]{48}", first)
    assert first != second
    assert await read_status(api, f"Bearer {first}") == 200
    assert await read_status(api, f"bearer  {second}") == 200


def test_token_is_kept_as_a_hash_only(sandbox: Sandbox) -> None:
    """Neither the files nor the list hold the token, or its digits."""
    token = tokens.create_token(sandbox.store, sandbox.clock, label="agent", expires_days=30)
    stored = b"".join(file.read_bytes() for file in sandbox.folder.glob("sandbox.db*"))
    assert hashlib.sha256(token.encode()).hexdigest().encode() in stored
    assert token.removeprefix("ttp_").encode() not in stored
    assert token not in repr(tokens.list_tokens(sandbox.store))


def test_tokens_are_listed_without_anything_secret(sandbox: Sandbox, clock: ManualClock) -> None:
    """Label and times, oldest first."""
    assert sandbox.token
    clock.move(1)
    tokens.create_token(sandbox.store, clock, label="agent", expires_days=2)
    mine, agent = tokens.list_tokens(sandbox.store)
    assert mine["label"] == "sandbox"
    assert agent == {
        "id": agent["id"],
        "label": "agent",
        "capability": "publish",
        "created_at": "2026-06-24T09:30:01.000Z",
        "expires_at": "2026-06-26T09:30:01.000Z",
        "revoked_at": None,
    }


@pytest.mark.parametrize("days", [1, 365])
async def test_token_ends_when_it_expires(
    sandbox: Sandbox, api: httpx2.AsyncClient, clock: ManualClock, days: int
) -> None:
    """Valid to the last millisecond before its days are over."""
    token = tokens.create_token(sandbox.store, clock, label="agent", expires_days=days)
    clock.move(timedelta(days=days).total_seconds() - 0.001)
    assert await read_status(api, f"Bearer {token}") == 200
    clock.move(0.001)
    assert await read_status(api, f"Bearer {token}") == 401


async def test_token_without_days_does_not_expire(
    sandbox: Sandbox, api: httpx2.AsyncClient, clock: ManualClock
) -> None:
    """Not in ten years."""
    token = tokens.create_token(sandbox.store, clock, label="agent")
    clock.move(timedelta(days=3650).total_seconds())
    assert await read_status(api, f"Bearer {token}") == 200


@pytest.mark.parametrize("days", [0, -1, 366])
def test_token_takes_1_to_365_days(sandbox: Sandbox, days: int) -> None:
    """Anything else is refused, and no token is made."""
    before = tokens.list_tokens(sandbox.store)
    with pytest.raises(ValueError, match=r"^A token expires after 1–365 days, or never\.$"):
        tokens.create_token(sandbox.store, sandbox.clock, label="agent", expires_days=days)
    assert tokens.list_tokens(sandbox.store) == before


async def test_revoked_token_is_refused_permanently(
    sandbox: Sandbox, api: httpx2.AsyncClient, clock: ManualClock
) -> None:
    """Others go on working; the first time of revoking is kept."""
    token = tokens.create_token(sandbox.store, clock, label="agent")
    [token_id] = [entry["id"] for entry in tokens.list_tokens(sandbox.store) if entry["label"] == "agent"]
    assert tokens.revoke_token(sandbox.store, clock, str(token_id))
    clock.move(60)
    assert tokens.revoke_token(sandbox.store, clock, str(token_id))
    assert not tokens.revoke_token(sandbox.store, clock, "tok_unknown")
    assert await read_status(api, f"Bearer {token}") == 401
    assert await read_status(api, f"Bearer {sandbox.token}") == 200
    [revoked] = [entry["revoked_at"] for entry in tokens.list_tokens(sandbox.store) if entry["label"] == "agent"]
    assert revoked == "2026-06-24T09:30:00.000Z"


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer ttp_" + "0" * 48,
        "Bearer ttp_" + "0" * 47,
        "Bearer ttp_" + "0" * 49,
        "Bearer TTP_" + "0" * 48,
        "Bearer ttp_" + "G" * 48,
        "Bearer ' OR 1=1 --",
        "Basic dXNlcjpwYXNz",
        "Token {token}",
        "{token}",
        "Bearer {token}x",
        "Bearer {upper}",
    ],
)
async def test_missing_malformed_and_unknown_tokens_get_the_same_answer(
    sandbox: Sandbox, api: httpx2.AsyncClient, authorization: str
) -> None:
    """401 in the documented shape, without a hint of what was wrong."""
    header = authorization.format(token=sandbox.token, upper=sandbox.token.upper().replace("TTP", "ttp"))
    answer = await api.get("/posts", headers={"Authorization": header})
    assert answer.status_code == 401
    assert answer.json() == {"success": False, "message": "Missing or invalid API token."}
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_request_without_the_header_is_refused(sandbox: Sandbox) -> None:
    """401, before its body is judged."""
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(sandbox.app), base_url=sandbox.api_url) as anonymous:
        assert (await anonymous.post("/posts", content=b"{")).status_code == 401
        assert (await anonymous.get("/posts/unknown")).status_code == 401


async def test_api_has_no_way_to_make_list_or_revoke_tokens(sandbox: Sandbox, api: httpx2.AsyncClient) -> None:
    """No endpoint is about tokens, plausible paths lead nowhere, and the table stays as it is."""
    paths = [endpoint.path for endpoint in ENDPOINTS if endpoint.path != "/auth/me"]
    assert not [path for path in paths if re.search("token|auth|key", path)]
    before = tokens.list_tokens(sandbox.store)
    for path in ("/tokens", "/api-tokens", "/auth/tokens", "/auth/token", "/settings/api/tokens", "/keys", "/users/me"):
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            answer = await api.request(method, path, json={"name": "mine", "label": "mine"})
            assert answer.status_code == 404, (method, path)
    token_id = before[0]["id"]
    for path in (f"/tokens/{token_id}", f"/posts/{token_id}"):
        assert (await api.delete(path)).status_code == 404
    assert tokens.list_tokens(sandbox.store) == before


def test_comparison_that_decides_takes_constant_time() -> None:
    """Seen in the source, since time can't be measured in a test."""
    assert "hmac.compare_digest" in inspect.getsource(tokens.verify_token)


async def test_token_of_an_opening_ends_with_it(tmp_path: Path, clock: ManualClock) -> None:
    """The next opening of the same data does not know it."""
    with Sandbox(tmp_path, clock=clock) as first:
        old = first.token
    with Sandbox(tmp_path, clock=clock) as second:
        assert tokens.verify_token(second.store, clock, old) is None
        assert tokens.verify_token(second.store, clock, second.token) is not None


async def test_token_belongs_to_the_user_it_was_made_for(sandbox: Sandbox) -> None:
    """The first user by default."""
    with sandbox.store.writing() as db:
        db.execute("INSERT INTO users VALUES ('usr_other', 'Other')")
    theirs = tokens.create_token(sandbox.store, sandbox.clock, label="theirs", user_id="usr_other")
    for token, user in ((theirs, "usr_other"), (sandbox.token, "usr_demo")):
        caller = tokens.verify_token(sandbox.store, sandbox.clock, token)
        assert caller is not None
        assert caller.user_id == user
