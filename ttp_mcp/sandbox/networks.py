"""The simulated networks: ids, addresses and engagement of publications, and what their accounts offer.

Everything follows from the ids, so the same workspace always fares the same.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

# Share of followers who see a post, and of viewers who like it. Invented, but plausible.
_REACH = {"instagram": 0.35, "twitter": 0.2, "linkedin": 0.3, "tiktok": 0.9, "pinterest": 0.25}
_LIKES = {"instagram": 0.06, "twitter": 0.02, "linkedin": 0.035, "tiktok": 0.08, "pinterest": 0.03}

# Active hours (local) and weekdays (Monday first) of each network's users. The analytics should find these.
_PEAKS = {"instagram": (18, 12), "twitter": (9, 17), "linkedin": (8, 12), "tiktok": (20, 16), "pinterest": (21, 14)}
_WEEKDAYS = {
    "instagram": (0.8, 1.0, 0.95, 1.05, 1.1, 0.9, 0.75),
    "twitter": (0.95, 1.1, 1.1, 1.0, 0.9, 0.7, 0.65),
    "linkedin": (0.9, 1.2, 1.15, 1.05, 0.8, 0.3, 0.25),
    "tiktok": (0.8, 0.85, 0.9, 1.0, 1.1, 1.2, 1.15),
    "pinterest": (0.8, 0.8, 0.85, 0.9, 1.0, 1.2, 1.25),
}

# Two thirds of the engagement arrive within this time; after SETTLED_HOURS it no longer grows.
GROWTH_HOURS = 14.0
SETTLED_HOURS = 14 * 24.0

_ADDRESSES = {
    "instagram": "https://instagram.example/p/{id}",
    "twitter": "https://x.example/{handle}/status/{id}",
    "linkedin": "https://linkedin.example/feed/update/{id}",
    "tiktok": "https://tiktok.example/@{handle}/video/{id}",
    "pinterest": "https://pinterest.example/pin/{id}",
}


# Options of a TikTok account. One with fewer followers than this is private, so that two accounts can differ.
PRIVATE_BELOW = 1000
_PUBLIC_CREATOR: Mapping[str, Any] = {
    "privacy_level_options": ["PUBLIC_TO_EVERYONE", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY"],
    "comment_disabled": False,
    "duet_disabled": False,
    "stitch_disabled": True,
    "max_video_post_duration_sec": 600,
}
_PRIVATE_CREATOR: Mapping[str, Any] = {
    "privacy_level_options": ["FOLLOWER_OF_CREATOR", "MUTUAL_FOLLOW_FRIENDS", "SELF_ONLY"],
    "comment_disabled": True,
    "duet_disabled": True,
    "stitch_disabled": True,
    "max_video_post_duration_sec": 180,
}
_INTERACTIONS = {"allowComments": "comment", "allowDuet": "duet", "allowStitch": "stitch"}


@dataclass(frozen=True, slots=True)
class Board:
    """A Pinterest board; `pins` counts the pins created outside the sandbox."""

    id: str
    name: str
    privacy: str
    pins: int


# Boards of every Pinterest account.
BOARDS = (
    Board("board-coffee-and-harbor", "Coffee & Harbor", "PUBLIC", 64),
    Board("board-recipes", "Recipes", "PUBLIC", 41),
    Board("board-winter-recipes", "Winter recipes", "PUBLIC", 12),
    Board("board-team-ideas", "Team ideas", "SECRET", 7),
)


@dataclass(frozen=True, slots=True)
class Engagement:
    """Engagement of a publication."""

    likes: int
    comments: int
    shares: int
    views: int


def create_external_id(post_id: str, account_id: str) -> str:
    """Return the network's own id of a publication."""
    return str(int.from_bytes(_hash_ids(post_id, account_id)[:8], "big"))


def create_url(platform: str, name: str, publication_id: str) -> str:
    """Return the address of a publication, under a reserved host name that leads nowhere."""
    handle = name.lstrip("@").replace(" ", "")
    pattern = _ADDRESSES.get(platform, "https://network.example/{handle}/{id}")
    return pattern.format(id=publication_id, handle=handle)


def compute_engagement(account: Mapping[str, Any], post_id: str, published: datetime, age_hours: float) -> Engagement:
    """Compute the engagement of a publication at an age.

    Args:
        account: Row of the account: `id`, `platform`, `followers`.
        post_id: Id of the post.
        published: Publication time, in the organization's zone.
        age_hours: Hours since then.
    """
    platform = account["platform"]
    digest = _hash_ids(post_id, account["id"])
    luck = 0.6 + 0.9 * digest[8] / 255
    grown = 1 - math.exp(-min(age_hours, SETTLED_HOURS) / GROWTH_HOURS)
    views = account["followers"] * _REACH.get(platform, 0.2) * _weigh_time(platform, published) * luck * grown
    likes = views * _LIKES.get(platform, 0.03) * (0.8 + 0.4 * digest[9] / 255)
    return Engagement(
        likes=round(likes),
        comments=round(likes * (0.04 + 0.08 * digest[10] / 255)),
        shares=round(likes * (0.03 + 0.06 * digest[11] / 255)),
        views=round(views),
    )


def get_creator_settings(account: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a TikTok account offers for a post; `account` is its row."""
    return _PRIVATE_CREATOR if account["followers"] < PRIVATE_BELOW else _PUBLIC_CREATOR


def find_rejection(account: Mapping[str, Any], data: Mapping[str, Any]) -> str | None:
    """Return why the network of an account rejects a post with this `platformData`, or None; `account` is its row."""
    platform = account["platform"]
    choices = data.get(platform)
    if not isinstance(choices, dict):
        return None
    block = cast("dict[str, object]", choices)
    if platform == "tiktok":
        return _find_tiktok_rejection(get_creator_settings(account), block)
    board = block.get("boardId")
    if platform == "pinterest" and board is not None and all(board != known.id for known in BOARDS):
        return f"Pinterest has no board with the id {str(board)[:60]} on this account. Choose one of its boards."
    return None


def _find_tiktok_rejection(offered: Mapping[str, Any], block: Mapping[str, object]) -> str | None:
    levels: list[str] = offered["privacy_level_options"]
    privacy = block.get("privacy")
    if privacy is not None and privacy not in levels:
        return f"TikTok does not offer the privacy {privacy} to this account. Offered: {', '.join(levels)}."
    for switch, name in _INTERACTIONS.items():
        if block.get(switch) is True and offered[f"{name}_disabled"]:
            return f"TikTok does not offer {name} to this account: {switch} must be false."
    return None


def compute_metrics(publication: Mapping[str, Any]) -> dict[str, int | float]:
    """Return all figures of a publication: the four that are stored, and those that follow from them."""
    digest = _hash_ids(publication["post_id"], publication["account_id"])
    views, likes = publication["views"], publication["likes"]
    figures: dict[str, int] = {
        "impressions": views + round(views * (0.1 + 0.4 * digest[11] / 255)),
        "likes": likes,
        "comments": publication["comments"],
        "shares": publication["shares"],
        "saves": round(likes * (0.05 + 0.2 * digest[12] / 255)),
        "views": views,
        "clicks": round(views * (0.004 + 0.02 * digest[13] / 255)),
    }
    return {**figures, "engagementRate": _compute_rate(figures)}


def add_metrics(parts: Sequence[Mapping[str, int | float]]) -> dict[str, int | float] | None:
    """Add up the figures of a post's publications; None when there are none yet."""
    if not parts:
        return None
    sums = {name: sum(part[name] for part in parts) for name in parts[0] if name != "engagementRate"}
    return {**sums, "engagementRate": _compute_rate(sums)}


def _compute_rate(figures: Mapping[str, int | float]) -> float:
    """Return likes, comments, shares and saves as a share of the impressions."""
    engaged = sum(figures[name] for name in ("likes", "comments", "shares", "saves"))
    return round(engaged / figures["impressions"], 4) if figures["impressions"] else 0.0


def _weigh_time(platform: str, published: datetime) -> float:
    """Return the weight of a time: 1 on average, about 2 at the peaks."""
    first, second = _PEAKS.get(platform, (12, 18))
    hour = published.hour + published.minute / 60
    by_hour = 0.5 + 1.5 * _measure_closeness(hour, first) + 0.9 * _measure_closeness(hour, second)
    return by_hour * _WEEKDAYS.get(platform, (1.0,) * 7)[published.weekday()]


def _measure_closeness(hour: float, peak: float) -> float:
    distance = min(abs(hour - peak), 24 - abs(hour - peak))
    return math.exp(-((distance / 2.2) ** 2))


def _hash_ids(post_id: str, account_id: str) -> bytes:
    return hashlib.sha256(f"{post_id}\n{account_id}".encode()).digest()
