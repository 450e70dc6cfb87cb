"""Rules of the platforms, as 400s with the next step. The contract gives the source of each figure."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

from ttp_mcp.sandbox.rest.responses import Problem

TEXT_LIMITS = {
    "twitter": 280,
    "instagram": 2200,
    "tiktok": 2200,
    "threads": 500,
    "linkedin": 3000,
    "bluesky": 300,
    "mastodon": 500,
    "pinterest": 500,
}
NAMES = {
    "twitter": "X",
    "instagram": "Instagram",
    "tiktok": "TikTok",
    "threads": "Threads",
    "linkedin": "LinkedIn",
    "bluesky": "Bluesky",
    "mastodon": "Mastodon",
    "pinterest": "Pinterest",
}
# Every link counts 23 characters on X, however long it is.
_LINK = re.compile(r"https?://\S+")
LINK_LENGTH = 23

TIKTOK_PRIVACY = ("PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "FOLLOWER_OF_CREATOR", "SELF_ONLY")
TIKTOK_SWITCHES = ("allowComments", "allowDuet", "allowStitch", "yourBrand", "brandedContent")
# The longest text of each field; None where no limit is known.
PINTEREST_LENGTHS = {"boardId": None, "title": 100, "link": None, "altText": 500, "dominantColor": None}


def check_rules(
    platforms: Sequence[str],
    *,
    content: str,
    media_urls: Sequence[str],
    thread: Sequence[str],
    data: dict[str, Any],
    scheduled: bool,
) -> None:
    """Refuse a post that a platform would refuse.

    Lengths and the types in `data` hold for drafts too; what is still missing (media, TikTok's choices, Pinterest's board)
    only stops a scheduled post.

    Args:
        platforms: One entry for each account that is targeted.
        content: Text of the post.
        media_urls: Its media.
        thread: Later parts, for X.
        data: `platformData`.
        scheduled: Whether it has a time.

    Raises:
        Problem: 400 with the first problem.
    """
    for platform in dict.fromkeys(platforms):
        _check_length(platform, content)
    tiktok, pinterest = (_get_block(data, platform) for platform in ("tiktok", "pinterest"))
    _check_tiktok_types(tiktok)
    _check_pinterest_types(pinterest)
    if thread and "twitter" not in platforms:
        raise Problem(400, "thread is for X only: target a twitter account, or leave thread out.")
    if not scheduled:
        return
    if "instagram" in platforms and not media_urls:
        raise Problem(400, "Instagram needs at least one image or video: add mediaUrls.")
    if "tiktok" in platforms:
        _check_tiktok(platforms.count("tiktok"), media_urls, tiktok)
    if "pinterest" in platforms:
        _check_pinterest(media_urls, pinterest)


def _check_length(platform: str, content: str) -> None:
    most = TEXT_LIMITS.get(platform)
    length = len(_LINK.sub("x" * LINK_LENGTH, content)) if platform == "twitter" else len(content)
    if most is not None and length > most:
        raise Problem(
            400,
            f"content is too long for {NAMES[platform]}: {length} of {most} characters. Shorten it, or leave {NAMES[platform]} out.",
        )


def _get_block(data: dict[str, Any], platform: str) -> dict[str, object]:
    block: object = data.get(platform, {})
    if not isinstance(block, dict):
        raise Problem(400, f"platformData.{platform} must be an object.")
    return cast("dict[str, object]", block)


def _check_tiktok_types(block: dict[str, object]) -> None:
    if "privacy" in block and block["privacy"] not in TIKTOK_PRIVACY:
        raise Problem(400, f"platformData.tiktok.privacy must be one of {', '.join(TIKTOK_PRIVACY)}.")
    for switch in TIKTOK_SWITCHES:
        if switch in block and not isinstance(block[switch], bool):
            raise Problem(400, f"platformData.tiktok.{switch} must be true or false.")


def _check_pinterest_types(block: dict[str, object]) -> None:
    for name, most in PINTEREST_LENGTHS.items():
        value = block.get(name, "")
        if not isinstance(value, str) or (most is not None and len(value) > most):
            limit = "" if most is None else f" of at most {most} characters"
            raise Problem(400, f"platformData.pinterest.{name} must be text{limit}.")


def _check_tiktok(accounts: int, media_urls: Sequence[str], block: dict[str, object]) -> None:
    if accounts > 1:
        raise Problem(400, "TikTok takes one account per post: pass a single TikTok id in accountIds.")
    if not media_urls:
        raise Problem(400, "TikTok needs a video or an image: add mediaUrls.")
    if missing := list(_missing_for_tiktok(block)):
        raise Problem(
            400, f"platformData.tiktok needs {', '.join(missing)}; the account's owner chooses each for this post."
        )
    if block["brandedContent"] and block["privacy"] == "SELF_ONLY":
        raise Problem(400, "platformData.tiktok: branded content can't have the privacy SELF_ONLY.")


def _missing_for_tiktok(block: dict[str, object]) -> Iterator[str]:
    if "privacy" not in block:
        yield f"privacy ({', '.join(TIKTOK_PRIVACY)})"
    yield from (f"{switch} (true or false)" for switch in TIKTOK_SWITCHES if switch not in block)


def _check_pinterest(media_urls: Sequence[str], block: dict[str, object]) -> None:
    if len(media_urls) != 1:
        raise Problem(400, f"Pinterest takes exactly one image; mediaUrls has {len(media_urls)}.")
    if not block.get("boardId"):
        raise Problem(400, "platformData.pinterest.boardId is required: the board that the pin goes to.")
