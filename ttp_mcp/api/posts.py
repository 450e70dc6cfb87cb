"""Wire models and endpoints of /posts."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from ttp_mcp.api.errors import NotFound
from ttp_mcp.api.http import Http, require_shape
from ttp_mcp.api.optional import OptionalEndpoint
from ttp_mcp.api.parsing import (
    JsonObject,
    as_datetime,
    as_message,
    as_object,
    as_objects,
    as_str,
    as_strs,
    as_token,
    first_present,
    unwrap_list,
    unwrap_object,
)
from ttp_mcp.times import to_wire

# Ids have some 25 characters; beyond this a URL is not accepted everywhere.
LONGEST_ID = 512
# Words in the message of a 404 that is about a post.
NAMES_POST = r"\bpost\b"


@dataclass(frozen=True, slots=True)
class AccountResult:
    """Result of a post on one account. The reference documents no such fields; all are read tolerantly."""

    account_id: str | None
    platform: str | None
    status: str | None
    url: str | None
    external_id: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Post:
    """A post as the API sent it. Each property reads its field tolerantly, and only on access.

    A list can have thousands of posts of which twenty are shown.
    """

    raw: JsonObject

    @property
    def id(self) -> str:
        """Id of the post."""
        return as_str(self.raw.get("id")) or ""

    @property
    def content(self) -> str:
        """Text of the post."""
        return as_str(self.raw.get("content")) or ""

    @property
    def status(self) -> str:
        """draft, scheduled, publishing, published, failed or partial, in lower case; the API may add others."""
        return (as_token(self.raw.get("status")) or "not stated").lower()

    @property
    def platforms(self) -> list[str]:
        """Platform keys."""
        return as_strs(self.raw.get("platforms"))

    @property
    def account_ids(self) -> list[str]:
        """Ids of the accounts; undocumented, so often empty."""
        return as_strs(self.raw.get("accountIds"))

    @property
    def target_ids(self) -> list[str]:
        """Ids of the accounts that the post is for, from any field that has them; empty without one."""
        return as_strs(self.raw.get("accountIds")) or [each.account_id for each in self.results if each.account_id]

    @property
    def media_urls(self) -> list[str]:
        """Public URLs of its media."""
        return as_strs(self.raw.get("mediaUrls"))

    @property
    def thread(self) -> list[str]:
        """The later parts of an X post."""
        return as_strs(self.raw.get("thread"))

    @property
    def scheduled_at(self) -> datetime | None:
        """Scheduled time, aware UTC; None for a draft, and if it can't be read."""
        return as_datetime(self.raw.get("scheduledAt"))

    @property
    def has_unreadable_time(self) -> bool:
        """Check for a scheduled time in a form that can't be read."""
        return bool(self.raw.get("scheduledAt")) and self.scheduled_at is None

    @property
    def published_at(self) -> datetime | None:
        """Time of publication, aware UTC."""
        return as_datetime(self.raw.get("publishedAt"))

    @property
    def created_at(self) -> datetime | None:
        """Time of creation, aware UTC; undocumented."""
        return as_datetime(self.raw.get("createdAt"))

    @property
    def platform_data(self) -> JsonObject:
        """Platform options; undocumented."""
        return as_object(self.raw.get("platformData"))

    @property
    def results(self) -> list[AccountResult]:
        """One result for each account; undocumented."""
        found = first_present(self.raw, "results", "accountResults", "publishResults")
        return [*map(_read_result, as_objects(found))]


def _read_result(raw: JsonObject) -> AccountResult:
    status = as_token(raw.get("status"))
    return AccountResult(
        account_id=as_str(first_present(raw, "accountId", "integrationId")),
        platform=as_str(first_present(raw, "platform", "provider")),
        status=status.lower() if status else None,
        url=as_str(first_present(raw, "url", "permalink")),
        external_id=as_str(first_present(raw, "externalId", "platformPostId")),
        error=as_message(first_present(raw, "error", "errorMessage", "message", "errors")),
    )


@dataclass(frozen=True, slots=True)
class PostCreate:
    """Body of `POST /posts`: targets by `account_ids` or by `platforms`; without `scheduled_at` it is a draft."""

    content: str
    account_ids: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    media_urls: tuple[str, ...] = ()
    thread: tuple[str, ...] = ()
    scheduled_at: datetime | None = None
    platform_data: JsonObject = field(default_factory=dict[str, Any])

    def to_body(self) -> JsonObject:
        """Return the JSON body, with only the fields that are set."""
        body: JsonObject = {"content": self.content}
        for name, value in (
            ("accountIds", list(self.account_ids)),
            ("platforms", list(self.platforms)),
            ("mediaUrls", list(self.media_urls)),
            ("thread", list(self.thread)),
            ("scheduledAt", self.scheduled_at and to_wire(self.scheduled_at)),
            ("platformData", self.platform_data),
        ):
            if value:
                body[name] = value
        return body


class PostsApi:
    """Endpoints of posts."""

    def __init__(self, http: Http) -> None:
        """Use this connection."""
        self._http = http
        self._publish = OptionalEndpoint(
            http,
            "POST",
            "/posts/{id}/publish",
            feature="way to publish a post at once",
            subject=NAMES_POST,
            need="publish",
        )

    async def list(self) -> list[Post]:
        """`GET /posts`: all posts of the organization, newest first. No filter and no paging are documented.

        Source: API reference, Posts.
        """
        reply = await self._http.request("GET", "/posts", "/posts", need="read", big=True)
        return [*map(Post, require_shape(unwrap_list(reply, "posts"), "GET", "/posts"))]

    async def get(self, post_id: str) -> Post:
        """`GET /posts/{id}`: one post.

        Raises:
            NotFound: The id is unknown, or belongs to another organization.

        Source: API reference, Posts; the envelope is undocumented.
        """
        reply = await self._http.request("GET", f"/posts/{encode_id('GET', post_id)}", "/posts/{id}", need="read")
        return Post(require_shape(unwrap_object(reply, "post"), "GET", "/posts/{id}"))

    async def create(self, post: PostCreate) -> Post:
        """`POST /posts`: a draft, or a scheduled post if it has a time. Never retried once it may have arrived.

        Source: API reference, Posts; `platformData` from the vendor's client; the envelope is undocumented.
        """
        need = "publish" if post.scheduled_at else "draft"
        reply = await self._http.request("POST", "/posts", "/posts", need=need, body=post.to_body())
        created = Post(unwrap_object(reply, "post") or {})
        return require_shape(created if created.id else None, "POST", "/posts", may_have_happened=True)

    async def delete(self, post_id: str) -> None:
        """`DELETE /posts/{id}`: remove a post, which cancels it before it fires.

        Raises:
            NotFound: The id is unknown, or belongs to another organization.

        Source: API reference, Posts. The body of the reply is undocumented and ignored.
        """
        await self._http.request("DELETE", f"/posts/{encode_id('DELETE', post_id)}", "/posts/{id}", need="remove")

    async def publish(self, post_id: str) -> Post | None:
        """`POST /posts/{id}/publish`: queue a draft, scheduled or failed post for the scheduler's next tick.

        Never retried once it may have arrived. Returns the post if the response contains it.

        Raises:
            EndpointMissing: The API has no such endpoint.
            NotFound: The id is unknown, or belongs to another organization.

        Source: the vendor's client; the body of the response is undocumented.
        """
        path = f"/posts/{encode_id('POST', post_id)}/publish"
        reply = await self._publish.request(path, find_subject=lambda: self.get(post_id))
        found = unwrap_object(reply, "post")
        return Post(found) if found else None


def encode_id(method: str, post_id: str) -> str:
    """Encode an id as one path segment, which can't lead to another path.

    Raises:
        NotFound: No post can have this id; without a status, since nothing was sent.
    """
    try:
        encoded = quote(post_id, safe="")
    except UnicodeEncodeError:
        encoded = ""
    if not 0 < len(encoded) <= LONGEST_ID:
        raise NotFound(method=method, path="/posts/{id}")
    return encoded.replace(".", "%2E") if set(encoded) <= {"."} else encoded
