"""Figures of single posts."""

from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from typing import Any

import httpx2
import pytest

from ttp_mcp.sandbox import ManualClock, Sandbox

pytestmark = pytest.mark.requirement("sandbox.metrics")

FIGURES = ("impressions", "likes", "comments", "shares", "saves", "views", "clicks")


async def read_metrics(api: httpx2.AsyncClient, post_id: str) -> dict[str, Any]:
    """Return the figures of one post."""
    answer = await api.get(f"/analytics/metrics/{post_id}")
    assert answer.status_code == 200
    return answer.json()


@pytest.fixture
async def post_id(empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]) -> str:
    """A post of the empty workspace for two accounts, due in an hour."""
    accounts = [connect_account("instagram"), connect_account("tiktok")]
    switches = {"allowComments": True, "allowDuet": False, "allowStitch": False, "yourBrand": False}
    post = {
        "content": "Hello",
        "accountIds": accounts,
        "mediaUrls": ["https://cdn.example/a.jpg"],
        "scheduledAt": "2026-06-24T10:30:00Z",
        "platformData": {"tiktok": {"privacy": "SELF_ONLY", "brandedContent": False, **switches}},
    }
    return (await empty_api.post("/posts", json=post)).json()["post"]["id"]


async def test_figures_are_missing_before_the_first_sync(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, clock: ManualClock, post_id: str
) -> None:
    """Null, which is not zero: before it is published, and in the minutes after."""
    for minutes in (0, 60, 4):
        clock.move(minutes * 60)
        empty_workspace.tick()
        found = await read_metrics(empty_api, post_id)
        assert found == {"success": True, "postId": post_id, "metrics": None, "accounts": []}
    clock.move(60)
    empty_workspace.tick()
    found = await read_metrics(empty_api, post_id)
    assert [account["syncedAt"] for account in found["accounts"]] == ["2026-06-24T10:35:00.000Z"] * 2
    assert found["metrics"]["views"] == sum(account["views"] for account in found["accounts"])


async def test_figures_grow_with_time_and_settle(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, clock: ManualClock, post_id: str
) -> None:
    """They never decrease."""
    clock.move(3600)
    empty_workspace.tick()
    seen: list[dict[str, Any]] = []
    for age in (timedelta(hours=1), timedelta(days=1), timedelta(days=20), timedelta(days=40)):
        clock.move(age.total_seconds())
        empty_workspace.tick()
        seen.append((await read_metrics(empty_api, post_id))["metrics"])
    for before, after in pairwise(seen):
        assert all(before[figure] <= after[figure] for figure in FIGURES)
    assert seen[0]["views"] < seen[1]["views"] < seen[2]["views"]
    assert seen[2] == seen[3]
    assert all(seen[3][figure] > 0 for figure in FIGURES)


async def test_sums_are_those_of_the_engagement_summary(api: httpx2.AsyncClient) -> None:
    """Over all posts of the demo workspace."""
    posts = (await api.get("/posts")).json()["posts"]
    found = [(await read_metrics(api, post["id"]))["metrics"] for post in posts]
    known = [metrics for metrics in found if metrics]
    summary = (await api.get("/analytics/engagement-summary")).json()["summary"]
    assert summary["posts"] == len(known)
    for figure in ("likes", "comments", "shares", "views"):
        assert sum(metrics[figure] for metrics in known) == summary[figure]


async def test_totals_and_rates_follow_from_the_figures(api: httpx2.AsyncClient) -> None:
    """Each account with its own, in the order of the post's accounts."""
    posts = (await api.get("/posts")).json()["posts"]
    post = next(post for post in posts if post["status"] == "published" and len(post["accountIds"]) == 2)
    found = await read_metrics(api, post["id"])
    assert [account["accountId"] for account in found["accounts"]] == post["accountIds"]
    for figure in FIGURES:
        assert found["metrics"][figure] == sum(account[figure] for account in found["accounts"])
    for part in (found["metrics"], *found["accounts"]):
        engaged = part["likes"] + part["comments"] + part["shares"] + part["saves"]
        assert part["engagementRate"] == round(engaged / part["impressions"], 4)
        assert part["impressions"] >= part["views"] >= part["clicks"]


async def test_failed_account_has_no_figures(sandbox: Sandbox, api: httpx2.AsyncClient) -> None:
    """A partial post has those of the accounts that it reached."""
    post = next(post for post in (await api.get("/posts")).json()["posts"] if post["status"] == "partial")
    found = await read_metrics(api, post["id"])
    reached = [result["accountId"] for result in post["results"] if result["status"] == "published"]
    assert [account["accountId"] for account in found["accounts"]] == reached


async def test_post_without_any_view_has_the_rate_zero(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, clock: ManualClock, post_id: str
) -> None:
    """Not an error."""
    with empty_workspace.store.writing() as db:
        db.execute("UPDATE accounts SET followers = 0")
    clock.move(3600)
    empty_workspace.tick()
    clock.move(3600)
    empty_workspace.tick()
    assert (await read_metrics(empty_api, post_id))["metrics"] == {**dict.fromkeys(FIGURES, 0), "engagementRate": 0.0}


@pytest.mark.parametrize("organization", ["org_nordlicht", None])
async def test_unknown_or_foreign_post_is_not_found(
    sandbox: Sandbox, api: httpx2.AsyncClient, organization: str | None
) -> None:
    """404."""
    posts = (await api.get("/posts")).json()["posts"]
    post_id = posts[-1]["id"] if organization else "cmb8nosuchpost"
    headers = {"x-ttp-org": organization} if organization else {}
    answer = await api.get(f"/analytics/metrics/{post_id}", headers=headers)
    assert (answer.status_code, answer.json()["message"]) == (404, "Post not found.")
