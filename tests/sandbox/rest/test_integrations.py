"""Connected accounts, and what their networks offer."""

from collections.abc import Callable

import httpx2
import pytest

from ttp_mcp.sandbox import ManualClock, Sandbox

pytestmark = pytest.mark.requirement("sandbox.integrations")


async def test_accounts_are_listed_with_their_health(api: httpx2.AsyncClient) -> None:
    """Two of one platform, one expired, always in order of connecting."""
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
    """It isn't an error."""
    assert (await empty_api.get("/integrations")).json() == {"success": True, "integrations": []}


async def test_boards_of_the_demo_account_have_similar_names(api: httpx2.AsyncClient) -> None:
    """One is exactly "Recipes", to rehearse both an ambiguous and an exact name."""
    boards = (await api.get("/integrations/pinterest/boards")).json()["boards"]
    assert [(board["name"], board["privacy"]) for board in boards] == [
        ("Coffee & Harbor", "PUBLIC"),
        ("Recipes", "PUBLIC"),
        ("Winter recipes", "PUBLIC"),
        ("Team ideas", "SECRET"),
    ]
    assert len({board["id"] for board in boards}) == 4


async def test_pin_count_grows_with_each_pin(sandbox: Sandbox, api: httpx2.AsyncClient, clock: ManualClock) -> None:
    """Only on the board that it went to."""
    before = await read_pin_counts(api)
    await publish_pin(api, "board-recipes")
    clock.move(1)
    sandbox.tick()
    after = await read_pin_counts(api)
    assert after == {**before, "Recipes": before["Recipes"] + 1}


async def test_pin_on_an_unknown_board_fails_when_it_is_published(
    sandbox: Sandbox, api: httpx2.AsyncClient, clock: ManualClock
) -> None:
    """The API takes any id; only the network knows its boards."""
    post_id = await publish_pin(api, "board-of-another-account")
    clock.move(1)
    sandbox.tick()
    post = (await api.get(f"/posts/{post_id}")).json()["post"]
    assert (post["status"], post["results"][0]["error"]) == (
        "failed",
        "Pinterest has no board with the id board-of-another-account on this account. Choose one of its boards.",
    )


async def test_tiktok_account_offers_some_of_the_choices(api: httpx2.AsyncClient) -> None:
    """By id, or the first TikTok account."""
    accounts = (await api.get("/integrations")).json()["integrations"]
    tiktok = next(account["id"] for account in accounts if account["platform"] == "tiktok")
    first = (await api.get("/integrations/tiktok/creator-info")).json()
    assert first == (await api.get("/integrations/tiktok/creator-info", params={"accountId": tiktok})).json()
    assert first["creatorInfo"] == {
        "creator_nickname": "Harbor Café",
        "creator_username": "harbor.cafe",
        "privacy_level_options": ["PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY"],
        "comment_disabled": False,
        "duet_disabled": False,
        "stitch_disabled": True,
        "max_video_post_duration_sec": 600,
    }


async def test_creator_info_is_that_of_the_chosen_account(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """With two TikTok accounts, one of them without a handle of its own."""
    first, second = connect_account("tiktok", "acc_one"), connect_account("tiktok", "acc_two")
    names = [
        (await empty_api.get("/integrations/tiktok/creator-info", params={"accountId": account})).json()
        for account in (first, second)
    ]
    assert [found["creatorInfo"]["creator_username"] for found in names] == ["acc_one", "acc_two"]


async def test_creator_info_of_a_small_account_is_that_of_a_private_one(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """So that two accounts can differ in everything."""
    accounts = [connect_account("tiktok", "large"), connect_account("tiktok", "small", followers=999)]
    large, small = [
        (await empty_api.get("/integrations/tiktok/creator-info", params={"accountId": account})).json()["creatorInfo"]
        for account in accounts
    ]
    assert (large["comment_disabled"], small["comment_disabled"]) == (False, True)
    assert (large["max_video_post_duration_sec"], small["max_video_post_duration_sec"]) == (600, 180)
    assert set(small["privacy_level_options"]) ^ set(large["privacy_level_options"]) == {
        "PUBLIC_TO_EVERYONE",
        "FOLLOWER_OF_CREATOR",
    }


async def test_disabled_interaction_fails_when_it_is_published(
    sandbox: Sandbox, api: httpx2.AsyncClient, clock: ManualClock
) -> None:
    """As a privacy that isn't offered."""
    choices = {"privacy": "SELF_ONLY", "yourBrand": False, "brandedContent": False}
    switches = {"allowComments": True, "allowDuet": True, "allowStitch": True}
    post_id = await schedule_post(api, "tiktok", {"tiktok": {**choices, **switches}})
    clock.move(3600)
    sandbox.tick()
    post = (await api.get(f"/posts/{post_id}")).json()["post"]
    assert (post["status"], post["results"][0]["error"]) == (
        "failed",
        "TikTok does not offer stitch to this account: allowStitch must be false.",
    )


async def test_privacy_that_is_not_offered_fails_when_it_is_published(
    sandbox: Sandbox, api: httpx2.AsyncClient, clock: ManualClock
) -> None:
    """The API takes the four that exist; only the network knows what the account offers."""
    choices = {"privacy": "FOLLOWER_OF_CREATOR", "yourBrand": False, "brandedContent": False}
    switches = {"allowComments": True, "allowDuet": False, "allowStitch": False}
    post_id = await schedule_post(api, "tiktok", {"tiktok": {**choices, **switches}})
    clock.move(3600)
    sandbox.tick()
    post = (await api.get(f"/posts/{post_id}")).json()["post"]
    assert (post["status"], post["results"][0]["error"]) == (
        "failed",
        (
            "TikTok does not offer the privacy FOLLOWER_OF_CREATOR to this account. "
            "Offered: PUBLIC_TO_EVERYONE, MUTUAL_FOLLOW_FRIENDS, SELF_ONLY."
        ),
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/integrations/pinterest/boards", "Pinterest is not connected."),
        ("/integrations/tiktok/creator-info", "TikTok is not connected."),
    ],
)
async def test_network_without_a_connected_account_is_not_found(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str], path: str, message: str
) -> None:
    """404, also when the only account has expired."""
    connect_account("pinterest", status="expired")
    connect_account("tiktok", status="expired")
    answer = await empty_api.get(path)
    assert (answer.status_code, answer.json()["message"]) == (404, message)


async def test_creator_info_of_another_account_is_not_found(api: httpx2.AsyncClient) -> None:
    """404 for an id that is none, or of another platform."""
    accounts = (await api.get("/integrations")).json()["integrations"]
    for account_id in ("acc_unknown", accounts[0]["id"]):
        answer = await api.get("/integrations/tiktok/creator-info", params={"accountId": account_id})
        assert (answer.status_code, answer.json()["message"]) == (404, "No connected TikTok account has this id.")


async def schedule_post(api: httpx2.AsyncClient, platform: str, data: dict[str, object]) -> str:
    """Schedule a post with a picture for an hour from now; returns its id."""
    body = {
        "content": "A picture",
        "platforms": [platform],
        "mediaUrls": ["https://cdn.example/a.jpg"],
        "scheduledAt": "2026-06-24T10:30:00Z",
        "platformData": data,
    }
    return (await api.post("/posts", json=body)).json()["post"]["id"]


async def publish_pin(api: httpx2.AsyncClient, board: str) -> str:
    """Publish a pin now; returns the id of the post."""
    post_id = await schedule_post(api, "pinterest", {"pinterest": {"boardId": board}})
    await api.post(f"/posts/{post_id}/publish")
    return post_id


async def read_pin_counts(api: httpx2.AsyncClient) -> dict[str, int]:
    """Pin count of each board by name."""
    boards = (await api.get("/integrations/pinterest/boards")).json()["boards"]
    return {board["name"]: board["pinCount"] for board in boards}
