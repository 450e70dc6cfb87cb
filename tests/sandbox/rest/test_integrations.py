"""Connected accounts."""

import httpx2
import pytest

pytestmark = pytest.mark.requirement("sandbox.integrations")


async def test_accounts_are_listed_with_their_health(api: httpx2.AsyncClient) -> None:
    """Two of one platform, one expired, in the order of connecting, the same each time."""
    first, second = [(await api.get("/integrations")).json()["integrations"] for _ in range(2)]
    assert first == second
    assert [(account["platform"], account["handle"], account["status"]) for account in first] == [
        ("instagram", "@harbor.cafe", "connected"),
        ("twitter", "@harborcafe", "connected"),
        ("twitter", "@harborcafe_berlin", "expired"),
        ("linkedin", None, "connected"),
        ("tiktok", "@harbor.cafe", "connected"),
        ("pinterest", "@harborcafe", "connected"),
    ]
    assert len({account["id"] for account in first}) == 6


async def test_expired_account_says_since_when(api: httpx2.AsyncClient) -> None:
    """A connection that lapsed and can't be refreshed."""
    accounts = (await api.get("/integrations")).json()["integrations"]
    [expired] = [account for account in accounts if account["status"] == "expired"]
    assert expired["name"] == "Harbor Café Berlin"
    assert expired["expiresAt"] == "2026-06-15T09:30:00.000Z"
    assert expired["hasRefreshCapability"] is False
    assert all(account["hasRefreshCapability"] for account in accounts if account["status"] == "connected")


async def test_workspace_without_accounts_has_an_empty_list(empty_api: httpx2.AsyncClient) -> None:
    """Not an error."""
    assert (await empty_api.get("/integrations")).json() == {"success": True, "integrations": []}
