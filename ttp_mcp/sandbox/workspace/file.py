"""The file that a workspace is exported to and made from: its form, and what is checked before anything is believed.

Instants are ISO 8601 in the file and milliseconds since 1970 here. A post's media that lie in the sandbox's own storage are
written as their path, `/uploads/…`, since the storage's address is of one opening only.
"""

import binascii
import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationError
from pydantic.alias_generators import to_camel

from ttp_mcp.sandbox import networks
from ttp_mcp.sandbox.clock import iso, to_ms
from ttp_mcp.sandbox.storage import split_url

FORMAT = "ttp-mcp sandbox workspace"
VERSION = 1
# Larger media are named in the file and not contained.
EMBEDDED_BYTES = 256 * 1024
MOST_FILE_BYTES = 512 * 1024 * 1024
LAST_MS = 253_402_300_799_999  # the end of the year 9999


class WorkspaceProblem(Exception):
    """A file can't be used as a workspace; the text says where and why. Nothing was changed."""


def _milliseconds(value: object) -> object:
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d", value):
        raise ValueError("must be an ISO 8601 time, for example 2026-12-01T09:00:00.000Z")
    found = datetime.fromisoformat(value)
    return to_ms(found if found.tzinfo else found.replace(tzinfo=UTC))


def _zone(value: str) -> str:
    try:
        return ZoneInfo(value).key
    except (KeyError, ValueError, OSError):
        raise ValueError("must be an IANA time zone, for example Europe/Paris") from None


def _media_url(value: str) -> str:
    if split_url(value) is None:
        raise ValueError("must be a URL, or the path of an upload")
    return value


def _json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        # 1e400 is a number in JSON and infinite here, where the answers could not hold it.
        raise ValueError("must hold numbers of a size that can be kept") from None
    return value


Instant = Annotated[int, BeforeValidator(_milliseconds), PlainSerializer(iso), Field(ge=0, le=LAST_MS)]
Count = Annotated[int, Field(ge=0, le=10**12, strict=True)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
# Each part begins with no dot: a key can't lead out of the folder of the media.
Key = Annotated[str, Field(pattern=r"^uploads(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}){1,8}$")]
MediaUrl = Annotated[str, AfterValidator(_media_url)]
Status = Literal["draft", "scheduled", "publishing", "published", "failed", "partial"]


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True
    )


class ClockPart(_Part):
    """The present of the workspace."""

    now: Instant
    running: bool = True


class User(_Part):
    """A person; the first of their organizations is the active one."""

    id: Id
    name: str
    organizations: list[Id] = Field(min_length=1)


class Account(_Part):
    """A connected account. Without `connectedAt`: since the workspace's present."""

    id: Id
    platform: str = Field(pattern=r"^[a-z0-9_-]{1,40}$")
    name: str = Field(min_length=1)
    handle: str | None = None
    status: Literal["connected", "expired"] = "connected"
    expires_at: Instant | None = None
    has_refresh_capability: bool = True
    followers: Count = 0
    connected_at: Instant | None = None


class Medium(_Part):
    """An upload: `uploadedAt` is null until its bytes came; `content` is base64, and null for large files."""

    key: Key
    filename: str = Field(min_length=1, max_length=255)
    content_type: str = Field(pattern=r"^[a-z]+/[a-z0-9.+-]+$")
    size: Count
    created_at: Instant
    expires_at: Instant
    uploaded_at: Instant | None = None
    sha256: str | None = None
    content: str | None = None

    def bytes(self) -> bytes | None:
        """The content, where the file has it.

        Raises:
            ValueError: It is no base64, or not what `size` and `sha256` say.
        """
        if self.content is None:
            return None
        try:
            found = b64decode(self.content, validate=True)
        except binascii.Error:
            raise ValueError("is no base64") from None
        if len(found) != self.size or hashlib.sha256(found).hexdigest() != self.sha256:
            raise ValueError("is not of the size and the sha256 that stand beside it")
        return found


class Target(_Part):
    """An account that a post goes to, and what came of it."""

    account_id: Id
    status: Literal["pending", "published", "failed"] = "pending"
    external_id: str | None = None
    url: str | None = None
    error: str | None = None
    published_at: Instant | None = None


class Post(_Part):
    """A post. Without `createdAt`: of the workspace's present; without `updatedAt`: of `createdAt`."""

    id: Id
    content: str = Field(min_length=1)
    status: Status
    scheduled_at: Instant | None = None
    published_at: Instant | None = None
    created_at: Instant | None = None
    updated_at: Instant | None = None
    media_urls: list[MediaUrl] = []
    thread: list[str] = []
    platform_data: Annotated[dict[str, Any], AfterValidator(_json)] = {}
    targets: list[Target]


class Publication(_Part):
    """What a simulated network shows; it stays when its post is deleted."""

    id: str = Field(min_length=1)
    post_id: Id
    account_id: Id
    content: str
    thread: list[str] = []
    media_urls: list[MediaUrl] = []
    url: str
    published_at: Instant
    likes: Count = 0
    comments: Count = 0
    shares: Count = 0
    views: Count = 0
    measured_at: Instant
    settled: bool = False


class Organization(_Part):
    """An organization with everything in it; posts in the order in which they were made."""

    id: Id
    name: str = Field(min_length=1)
    plan: Literal["complete", "small"] = "complete"
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    accounts: list[Account] = []
    media: list[Medium] = []
    posts: list[Post] = []
    publications: list[Publication] = []


class Workspace(_Part):
    """The whole file."""

    format: Literal["ttp-mcp sandbox workspace"] = FORMAT
    version: Literal[1] = VERSION
    clock: ClockPart
    users: list[User] = Field(min_length=1)
    organizations: list[Organization] = Field(min_length=1)


def read(path: Path) -> Workspace:
    """Read and check a file.

    Raises:
        WorkspaceProblem: It can't be read, is no JSON, or says what can't be.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_FILE_BYTES + 1)
    except OSError as problem:
        raise WorkspaceProblem(f"{path} can't be read ({problem.strerror}).") from None
    if len(data) > MOST_FILE_BYTES:
        raise WorkspaceProblem(f"{path} is larger than {MOST_FILE_BYTES // 1024**2} MiB.")
    try:
        found = Workspace.model_validate_json(data)
    except ValidationError as error:
        raise WorkspaceProblem(f"{path} is no workspace: {_first(error)}.") from None
    for place, words in _contradictions(found):
        raise WorkspaceProblem(f"{path} is no workspace: {place} {words}.")
    return found


def _first(error: ValidationError) -> str:
    """The first mistake with its place, as a person would point at it."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    words = errors[0]["msg"].removeprefix("Value error, ").rstrip(".")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{_place(errors[0]['loc'])}{words[:300]}{more}"


def _place(parts: Iterable[int | str]) -> str:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")
    return f"{place}: " if place else ""


def _contradictions(found: Workspace) -> Iterator[tuple[str, str]]:
    """What each part alone does not show: names that are used twice, or that name nothing."""
    names: dict[tuple[str, ...], str] = {}

    def twice(place: str, *name: str) -> Iterator[tuple[str, str]]:
        if (first := names.setdefault(name, place)) != place:
            yield place, f"is the same as {first}"

    known = {organization.id for organization in found.organizations}
    for number, user in enumerate(found.users):
        place = f"users[{number}]"
        yield from twice(f"{place}.id", "user", user.id)
        for name in user.organizations:
            if name not in known:
                yield f"{place}.organizations", f"names {name}, which is no organization of the file"
            yield from twice(f"{place}.organizations {name}", "member", user.id, name)
    for number, organization in enumerate(found.organizations):
        place = f"organizations[{number}]"
        yield from twice(f"{place}.id", "organization", organization.id)
        accounts = {account.id for account in organization.accounts}
        for index, account in enumerate(organization.accounts):
            yield from twice(f"{place}.accounts[{index}].id", "account", account.id)
        for index, medium in enumerate(organization.media):
            here = f"{place}.media[{index}]"
            yield from twice(f"{here}.key", "media", medium.key)
            yield from _content_problem(here, medium)
        for index, post in enumerate(organization.posts):
            here = f"{place}.posts[{index}]"
            yield from twice(f"{here}.id", "post", post.id)
            if (post.status == "draft") != (post.scheduled_at is None):
                yield f"{here}.scheduledAt", "is for every post but a draft"
            for entry, target in enumerate(post.targets):
                spot = f"{here}.targets[{entry}].accountId"
                yield from twice(spot, "target", post.id, target.account_id)
                if target.account_id not in accounts:
                    yield spot, f"{target.account_id} is no account of the organization"
                if post.status in ("scheduled", "publishing"):
                    # The worker would fail over it each time, and the post never go out.
                    due = f"{here}.targets[{entry}] (still to be published)"
                    yield from twice(due, "published", post.id, target.account_id)
                    yield from twice(due, "publication", networks.external_id(post.id, target.account_id))
        for index, publication in enumerate(organization.publications):
            here = f"{place}.publications[{index}]"
            yield from twice(f"{here}.id", "publication", publication.id)
            yield from twice(f"{here}.postId", "published", publication.post_id, publication.account_id)
            if publication.account_id not in accounts:
                yield f"{here}.accountId", f"{publication.account_id} is no account of the organization"


def _content_problem(place: str, medium: Medium) -> Iterator[tuple[str, str]]:
    try:
        medium.bytes()
    except ValueError as problem:
        yield f"{place}.content", str(problem)
