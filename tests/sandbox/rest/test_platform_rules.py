"""Rules of the platforms, with messages that name the next step."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

pytestmark = pytest.mark.requirement("sandbox.platforms")

LATER = "2026-07-01T15:00:00.000Z"
MEDIA = ["https://media.timetopost.co/uploads/launch.jpg"]
CHOICES = {
    "privacy": "PUBLIC_TO_EVERYONE",
    "allowComments": True,
    "allowDuet": False,
    "allowStitch": False,
    "yourBrand": False,
    "brandedContent": False,
}
LIMITS = [
    ("twitter", "X", 280),
    ("instagram", "Instagram", 2200),
    ("tiktok", "TikTok", 2200),
    ("threads", "Threads", 500),
    ("linkedin", "LinkedIn", 3000),
    ("bluesky", "Bluesky", 300),
    ("mastodon", "Mastodon", 500),
    ("pinterest", "Pinterest", 500),
]


async def create_post(api: httpx2.AsyncClient, platform: str, **fields: Any) -> tuple[int, str | None]:
    """Status and message of a post to the account of a platform, scheduled unless `scheduledAt` is given as None."""
    body = {"content": "Hello", "accountIds": [f"acc_{platform}"], "scheduledAt": LATER, **fields}
    answer = await api.post("/posts", json={name: value for name, value in body.items() if value is not None})
    return answer.status_code, answer.json().get("message")


@pytest.mark.parametrize(("platform", "name", "most"), LIMITS)
async def test_text_up_to_the_platforms_limit_is_accepted(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str], platform: str, name: str, most: int
) -> None:
    """One character more is refused, for a draft as well."""
    connect_account(platform)
    assert await create_post(empty_api, platform, content="é" * most, scheduledAt=None) == (201, None)
    assert await create_post(empty_api, platform, content="é" * (most + 1), scheduledAt=None) == (
        400,
        f"content is too long for {name}: {most + 1} of {most} characters. Shorten it, or leave {name} out.",
    )


async def test_unknown_platform_has_no_limit(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """The list of platforms is open."""
    connect_account("lemmy")
    assert await create_post(empty_api, "lemmy", content="x" * 50_000) == (201, None)


async def test_link_counts_23_characters_on_x(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """However long it is."""
    connect_account("twitter")
    link = "https://example.com/" + "a" * 300
    assert await create_post(empty_api, "twitter", content="x" * 256 + " " + link) == (201, None)
    assert await create_post(empty_api, "twitter", content="x" * 257 + " " + link) == (
        400,
        "content is too long for X: 281 of 280 characters. Shorten it, or leave X out.",
    )


async def test_shortest_limit_of_all_targets_applies(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """The refusing platform is named."""
    connect_account("linkedin")
    connect_account("bluesky")
    answer = await empty_api.post("/posts", json={"content": "x" * 301, "platforms": ["linkedin", "bluesky"]})
    assert (
        answer.json()["message"]
        == "content is too long for Bluesky: 301 of 300 characters. Shorten it, or leave Bluesky out."
    )


async def test_thread_is_for_x_only(empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]) -> None:
    """Another platform alone is refused; beside X it is fine."""
    connect_account("linkedin")
    connect_account("twitter")
    assert await create_post(empty_api, "linkedin", thread=["More"]) == (
        400,
        "thread is for X only: target a twitter account, or leave thread out.",
    )
    assert await create_post(empty_api, "linkedin", accountIds=["acc_linkedin", "acc_twitter"], thread=["More"]) == (
        201,
        None,
    )


async def test_instagram_needs_media_once_it_has_a_time(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """A draft may still get them."""
    connect_account("instagram")
    assert await create_post(empty_api, "instagram") == (
        400,
        "Instagram needs at least one image or video: add mediaUrls.",
    )
    assert await create_post(empty_api, "instagram", scheduledAt=None) == (201, None)
    assert await create_post(empty_api, "instagram", mediaUrls=MEDIA) == (201, None)


async def test_tiktok_needs_media_and_its_owners_choices(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """The message lists everything that is missing."""
    connect_account("tiktok")
    assert await create_post(empty_api, "tiktok") == (400, "TikTok needs a video or an image: add mediaUrls.")
    privacy = "privacy (PUBLIC_TO_EVERYONE, MUTUAL_FOLLOW_FRIENDS, FOLLOWER_OF_CREATOR, SELF_ONLY)"
    switches = [f"{name} (true or false)" for name in CHOICES if name != "privacy"]
    assert await create_post(empty_api, "tiktok", mediaUrls=MEDIA) == (
        400,
        f"platformData.tiktok needs {', '.join([privacy, *switches])}; the account's owner chooses each for this post.",
    )
    partly = {name: value for name, value in CHOICES.items() if name != "allowDuet"}
    assert await create_post(empty_api, "tiktok", mediaUrls=MEDIA, platformData={"tiktok": partly}) == (
        400,
        "platformData.tiktok needs allowDuet (true or false); the account's owner chooses each for this post.",
    )
    assert await create_post(empty_api, "tiktok", mediaUrls=MEDIA, platformData={"tiktok": CHOICES}) == (201, None)
    assert await create_post(empty_api, "tiktok", scheduledAt=None) == (201, None)


async def test_branded_content_on_tiktok_is_not_private(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """Private alone, and branded alone, are fine."""
    connect_account("tiktok")
    for privacy, branded, status in (
        ("SELF_ONLY", True, 400),
        ("SELF_ONLY", False, 201),
        ("PUBLIC_TO_EVERYONE", True, 201),
    ):
        data = {"tiktok": {**CHOICES, "privacy": privacy, "brandedContent": branded}}
        found, message = await create_post(empty_api, "tiktok", mediaUrls=MEDIA, platformData=data)
        assert found == status
        if status == 400:
            assert message == "platformData.tiktok: branded content can't have the privacy SELF_ONLY."


async def test_tiktok_takes_one_account(empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]) -> None:
    """Two are refused with what to do."""
    connect_account("tiktok")
    connect_account("tiktok", "acc_second")
    body = {"accountIds": None, "platforms": ["tiktok"], "mediaUrls": MEDIA, "platformData": {"tiktok": CHOICES}}
    assert await create_post(empty_api, "tiktok", **body) == (
        400,
        "TikTok takes one account per post: pass a single TikTok id in accountIds.",
    )


async def test_pinterest_takes_one_image_and_a_board(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """Neither none nor two images, and a board that is named."""
    connect_account("pinterest")
    board = {"pinterest": {"boardId": "b1", "title": "t" * 100, "altText": "a" * 500}}
    for count in (0, 2):
        assert await create_post(empty_api, "pinterest", mediaUrls=MEDIA * count, platformData=board) == (
            400,
            f"Pinterest takes exactly one image; mediaUrls has {count}.",
        )
    for data in ({}, {"pinterest": {}}, {"pinterest": {"boardId": ""}}):
        assert await create_post(empty_api, "pinterest", mediaUrls=MEDIA, platformData=data) == (
            400,
            "platformData.pinterest.boardId is required: the board that the pin goes to.",
        )
    assert await create_post(empty_api, "pinterest", mediaUrls=MEDIA, platformData=board) == (201, None)
    assert await create_post(empty_api, "pinterest", scheduledAt=None) == (201, None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"tiktok": []}, "platformData.tiktok must be an object."),
        ({"pinterest": None}, "platformData.pinterest must be an object."),
        (
            {"tiktok": {"privacy": "public"}},
            "platformData.tiktok.privacy must be one of PUBLIC_TO_EVERYONE, MUTUAL_FOLLOW_FRIENDS, FOLLOWER_OF_CREATOR, SELF_ONLY.",
        ),
        ({"tiktok": {"allowDuet": "yes"}}, "platformData.tiktok.allowDuet must be true or false."),
        ({"tiktok": {"brandedContent": None}}, "platformData.tiktok.brandedContent must be true or false."),
        ({"pinterest": {"boardId": 7}}, "platformData.pinterest.boardId must be text."),
        ({"pinterest": {"title": "t" * 101}}, "platformData.pinterest.title must be text of at most 100 characters."),
        (
            {"pinterest": {"altText": "a" * 501}},
            "platformData.pinterest.altText must be text of at most 500 characters.",
        ),
    ],
)
async def test_wrong_types_are_refused_for_drafts_too(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str], data: dict[str, Any], message: str
) -> None:
    """Whichever platform the post is for."""
    connect_account("linkedin")
    assert await create_post(empty_api, "linkedin", scheduledAt=None, platformData=data) == (400, message)
