"""Wire models and endpoints of /integrations (connected accounts)."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from ttp_mcp.api.http import Http, require_shape
from ttp_mcp.api.optional import OptionalEndpoint
from ttp_mcp.api.parsing import (
    JsonObject,
    as_count,
    as_datetime,
    as_flag,
    as_object,
    as_str,
    as_strs,
    as_token,
    first_present,
    unwrap_list,
)
from ttp_mcp.text import is_plain_word

_HEALTHY = {"connected", "active", "ok", "healthy"}


@dataclass(frozen=True, slots=True)
class Integration:
    """A connected account. Only its id is documented; the rest is read tolerantly."""

    id: str
    platform: str
    name: str | None
    handle: str | None
    status: str | None
    expires_at: datetime | None
    has_refresh_capability: bool | None
    healthy: bool | None
    """Whether it can publish; None if the API doesn't say. An expiry that refreshes itself is healthy."""


@dataclass(frozen=True, slots=True)
class Board:
    """A Pinterest board."""

    id: str
    name: str
    privacy: str | None
    pin_count: int | None


def _read_board(raw: JsonObject) -> Board:
    return Board(
        id=as_str(first_present(raw, "id", "boardId")) or "",
        name=as_str(first_present(raw, "name", "title")) or "",
        privacy=as_token(raw.get("privacy")),
        pin_count=as_count(first_present(raw, "pinCount", "pin_count", "pins")),
    )


@dataclass(frozen=True, slots=True)
class CreatorInfo:
    """Choices that a TikTok account offers for a post; None or empty where the API doesn't say."""

    nickname: str | None
    username: str | None
    privacy_levels: tuple[str, ...]
    comment_disabled: bool | None
    duet_disabled: bool | None
    stitch_disabled: bool | None
    max_video_seconds: float | None


def _read_creator(raw: JsonObject) -> CreatorInfo | None:
    """Return the creator info; None if the object has none of its fields."""
    levels = first_present(raw, "privacy_level_options", "privacyLevelOptions")
    found = CreatorInfo(
        nickname=as_str(first_present(raw, "creator_nickname", "creatorNickname")),
        username=as_str(first_present(raw, "creator_username", "creatorUsername")),
        privacy_levels=tuple(level for level in as_strs(levels) if is_plain_word(level)),
        comment_disabled=as_flag(first_present(raw, "comment_disabled", "commentDisabled")),
        duet_disabled=as_flag(first_present(raw, "duet_disabled", "duetDisabled")),
        stitch_disabled=as_flag(first_present(raw, "stitch_disabled", "stitchDisabled")),
        max_video_seconds=as_count(first_present(raw, "max_video_post_duration_sec", "maxVideoPostDurationSec"))
        or None,
    )
    return None if found == _NO_CREATOR_INFO else found


_NO_CREATOR_INFO = CreatorInfo(None, None, (), None, None, None, None)


def _read_integration(raw: JsonObject) -> Integration:
    refresh, status = raw.get("hasRefreshCapability"), as_token(raw.get("status"))
    return Integration(
        id=as_str(raw.get("id")) or "",
        platform=(as_token(first_present(raw, "platform", "provider", "providerKey", "type")) or "not stated").lower(),
        name=as_str(first_present(raw, "name", "displayName", "accountName")),
        handle=as_str(first_present(raw, "handle", "username", "accountHandle")),
        status=status,
        expires_at=as_datetime(raw.get("expiresAt")),
        has_refresh_capability=refresh if isinstance(refresh, bool) else None,
        healthy=None if status is None else status.lower() in _HEALTHY,
    )


class IntegrationsApi:
    """Endpoints of connected accounts."""

    def __init__(self, http: Http) -> None:
        """Use this connection."""
        self._http = http
        self._boards = OptionalEndpoint(
            http,
            "GET",
            "/integrations/pinterest/boards",
            feature="list of Pinterest boards",
            subject=r"pinterest|account|connect",
        )
        self._creator_info = OptionalEndpoint(
            http,
            "GET",
            "/integrations/tiktok/creator-info",
            feature="list of what a TikTok account offers",
            subject=r"tiktok|account|connect",
        )

    async def list(self) -> list[Integration]:
        """`GET /integrations`: the connected accounts.

        Source: API reference, Integrations; the shape is undocumented, field names from the vendor's client.
        """
        reply = await self._http.request("GET", "/integrations", "/integrations", need="read", big=True)
        found = require_shape(unwrap_list(reply, "integrations", "accounts"), "GET", "/integrations")
        return [*map(_read_integration, found)]

    async def boards(self) -> "list[Board]":
        """`GET /integrations/pinterest/boards`: boards of the connected Pinterest account.

        Raises:
            EndpointMissing: The API has no such endpoint.
            NotFound: No Pinterest account is connected.

        Source: the vendor's client; the names of the fields are undocumented.
        """
        route = self._boards.route
        found = require_shape(unwrap_list(await self._boards.request(route), "boards"), "GET", route)
        return [board for board in map(_read_board, found) if board.id]

    async def creator_info(self, account_id: str) -> CreatorInfo:
        """`GET /integrations/tiktok/creator-info`: the choices that a TikTok account offers for a post. TikTok forbids caching it.

        Raises:
            EndpointMissing: The API has no such endpoint.
            NotFound: No such TikTok account is connected.

        Source: the vendor's client; the fields are TikTok's own, the envelope is undocumented.
        """
        route = self._creator_info.route
        reply = as_object(await self._creator_info.request(f"{route}?{urlencode({'accountId': account_id})}"))
        found = as_object(first_present(reply, "creatorInfo", "creator_info", "creator", "data") or reply)
        return require_shape(_read_creator(as_object(found.get("creatorInfo")) or found), "GET", route)
