"""Organizations and the plans they are on."""

from collections.abc import Callable

import httpx2
import pytest

from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.sandbox.rest import organizations, tokens

HARBOR, NORDLICHT = "org_harbor_cafe", "org_nordlicht"
BEST_TIMES = ("optimal-times", "optimal-times/by-account", "next-optimal-time", "weekly-schedule")


async def list_posts(api: httpx2.AsyncClient, organization: str | None = None) -> list[str]:
    """Ids of the posts of an organization."""
    headers = {"x-ttp-org": organization} if organization else {}
    return [post["id"] for post in (await api.get("/posts", headers=headers)).json()["posts"]]


@pytest.mark.requirement("sandbox.organizations")
async def test_header_selects_among_the_callers_own(sandbox: Sandbox, api: httpx2.AsyncClient) -> None:
    """The first is the active one; both demo organizations have posts of their own."""
    assert [each.id for each in organizations.list_organizations(sandbox.store)] == [HARBOR, NORDLICHT]
    assert await list_posts(api) == await list_posts(api, HARBOR)
    assert not set(await list_posts(api, HARBOR)) & set(await list_posts(api, NORDLICHT))
    accounts = (await api.get("/integrations", headers={"x-ttp-org": NORDLICHT})).json()["integrations"]
    assert [account["name"] for account in accounts] == ["Nordlicht Studio", "Nordlicht Studio"]


@pytest.mark.requirement("sandbox.organizations")
@pytest.mark.parametrize("organization", ["", "org_unknown", "org_foreign", "ORG_HARBOR_CAFE", f"{HARBOR},{NORDLICHT}"])
async def test_organization_of_others_is_refused(sandbox: Sandbox, api: httpx2.AsyncClient, organization: str) -> None:
    """403, the same for one that exists and one that does not."""
    with sandbox.store.writing() as db:
        db.execute("INSERT INTO organizations VALUES ('org_foreign', 'Foreign', 'complete', 'UTC')")
    answer = await api.get("/posts", headers={"x-ttp-org": organization})
    assert answer.status_code == 403
    assert answer.json()["message"] == "You are not a member of the organization named by x-ttp-org."


@pytest.mark.requirement("sandbox.organizations")
async def test_caller_without_an_organization_is_refused(sandbox: Sandbox, api: httpx2.AsyncClient) -> None:
    """403, since no organization can be selected."""
    with sandbox.store.writing() as db:
        db.execute("INSERT INTO users VALUES ('usr_alone', 'Alone')")
    token = tokens.create_token(sandbox.store, sandbox.clock, label="alone", user_id="usr_alone")
    assert (await api.get("/posts", headers={"Authorization": f"Bearer {token}"})).status_code == 403


@pytest.mark.requirement("sandbox.organizations")
async def test_post_of_another_organization_is_not_found(api: httpx2.AsyncClient) -> None:
    """404 on reading and on deleting, the same as for an unknown id; the post stays."""
    [theirs, *_] = await list_posts(api, NORDLICHT)
    for method in ("GET", "DELETE"):
        foreign, unknown = await api.request(method, f"/posts/{theirs}"), await api.request(method, "/posts/cmb8none")
        assert foreign.status_code == unknown.status_code == 404
        assert foreign.json() == unknown.json() == {"success": False, "message": "Post not found."}
    assert theirs in await list_posts(api, NORDLICHT)
    assert (await api.delete(f"/posts/{theirs}", headers={"x-ttp-org": NORDLICHT})).status_code == 200
    assert theirs not in await list_posts(api, NORDLICHT)


@pytest.mark.requirement("sandbox.organizations")
async def test_account_of_another_organization_is_unknown(api: httpx2.AsyncClient) -> None:
    """400, so that nothing is published in another's name."""
    accounts = (await api.get("/integrations", headers={"x-ttp-org": NORDLICHT})).json()["integrations"]
    answer = await api.post("/posts", json={"content": "Hello", "accountIds": [accounts[0]["id"]]})
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(f"Unknown account id: {accounts[0]['id']}.")


@pytest.mark.requirement("sandbox.organizations")
async def test_analytics_are_those_of_the_chosen_organization(api: httpx2.AsyncClient) -> None:
    """The two have different totals."""
    totals = [
        (await api.get("/analytics/engagement-summary", headers={"x-ttp-org": each})).json()["summary"]
        for each in (HARBOR, NORDLICHT)
    ]
    assert totals[0]["likes"] > totals[1]["likes"] > 0


@pytest.mark.requirement("sandbox.plans")
async def test_small_plan_allows_30_posts_in_30_days(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, clock: ManualClock, connect_account: Callable[..., str]
) -> None:
    """The 31st is refused with the figures, and allowed again once the first are 30 days old."""
    organizations.set_plan(empty_workspace.store, "org_empty", "small")
    draft = {"content": "Hello", "accountIds": [connect_account("linkedin")]}
    assert [(await empty_api.post("/posts", json=draft)).status_code for _ in range(30)] == [201] * 30
    answer = await empty_api.post("/posts", json=draft)
    assert answer.status_code == 403
    assert answer.json() == {
        "success": False,
        "message": "Your plan allows 30 posts in 30 days; 30 are made. Upgrade to post more.",
    }
    clock.move(30 * 86400)
    assert (await empty_api.post("/posts", json=draft)).status_code == 201


@pytest.mark.requirement("sandbox.plans")
async def test_small_plan_allows_10_scheduled_posts_at_once(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """The 11th is refused with the figures; drafts are not counted, and a deleted one makes room."""
    organizations.set_plan(empty_workspace.store, "org_empty", "small")
    draft = {"content": "Hello", "accountIds": [connect_account("linkedin")]}
    scheduled = {**draft, "scheduledAt": "2026-06-25T09:00:00Z"}
    made = [await empty_api.post("/posts", json=scheduled) for _ in range(10)]
    assert [answer.status_code for answer in made] == [201] * 10
    answer = await empty_api.post("/posts", json=scheduled)
    assert answer.status_code == 403
    assert answer.json()["message"] == "Your plan allows 10 scheduled posts at once; 10 are waiting."
    assert (await empty_api.post("/posts", json=draft)).status_code == 201
    await empty_api.delete(f"/posts/{made[0].json()['post']['id']}")
    assert (await empty_api.post("/posts", json=scheduled)).status_code == 201


@pytest.mark.requirement("sandbox.plans")
async def test_exceeded_plan_is_reported_without_counting_all(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """Posts from the complete plan stay and may far exceed the small one."""
    draft = {"content": "Hello", "accountIds": [connect_account("linkedin")]}
    scheduled = {**draft, "scheduledAt": "2026-06-25T09:00:00Z"}
    for _ in range(12):
        assert (await empty_api.post("/posts", json=scheduled)).status_code == 201
    organizations.set_plan(empty_workspace.store, "org_empty", "small")
    answer = await empty_api.post("/posts", json=scheduled)
    assert answer.json()["message"] == "Your plan allows 10 scheduled posts at once; more than 10 are waiting."


@pytest.mark.requirement("sandbox.plans")
async def test_small_plan_includes_the_first_3_accounts(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """A post to the fourth is refused, by id and by platform."""
    organizations.set_plan(empty_workspace.store, "org_empty", "small")
    ids = [connect_account(platform) for platform in ("linkedin", "twitter", "threads", "bluesky")]
    assert (await empty_api.post("/posts", json={"content": "Hello", "accountIds": ids[:3]})).status_code == 201
    for target in ({"accountIds": ids[3:]}, {"accountIds": ids}, {"platforms": ["bluesky"]}):
        answer = await empty_api.post("/posts", json={"content": "Hello", **target})
        assert answer.status_code == 403
        assert answer.json()["message"] == (
            "Your plan includes the first 3 connected accounts; another one is targeted. Upgrade to use it."
        )


@pytest.mark.requirement("sandbox.plans")
async def test_small_plan_has_no_best_times(sandbox: Sandbox, api: httpx2.AsyncClient) -> None:
    """The four recommendations are refused; the summary, the posts and the accounts are not."""
    organizations.set_plan(sandbox.store, HARBOR, "small")
    for path in BEST_TIMES:
        answer = await api.get(f"/analytics/{path}")
        assert answer.status_code == 403
        assert answer.json()["message"] == (
            "Your plan does not include best time to post. Upgrade to see optimal times."
        )
    for path in ("/analytics/engagement-summary", "/posts", "/integrations"):
        assert (await api.get(path)).status_code == 200
    assert (await api.get("/analytics/optimal-times", headers={"x-ttp-org": NORDLICHT})).status_code == 200


@pytest.mark.requirement("sandbox.plans")
async def test_complete_plan_passes_what_the_small_one_refuses(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """31 scheduled posts on four accounts, and the best times."""
    ids = [connect_account(platform) for platform in ("linkedin", "twitter", "threads", "bluesky")]
    post = {"content": "Hello", "accountIds": ids, "scheduledAt": "2026-06-25T09:00:00Z"}
    assert [(await empty_api.post("/posts", json=post)).status_code for _ in range(31)] == [201] * 31
    for path in BEST_TIMES:
        assert (await empty_api.get(f"/analytics/{path}")).status_code == 200
    [organization] = organizations.list_organizations(empty_workspace.store)
    assert organization.plan.name == "complete"
