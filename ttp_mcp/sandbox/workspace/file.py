"""The file of a workspace, described by pydantic models that read, check and write it.

Instants are ISO 8601 in the file and milliseconds since 1970 here. Media in the sandbox's own storage are written as their
path, `/uploads/…`, because the storage's address changes with each start.
"""

import binascii
import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Hashable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from ttp_mcp.sandbox import networks
from ttp_mcp.sandbox.clock import to_iso, to_ms
from ttp_mcp.sandbox.storage import split_url

FORMAT = "ttp-mcp sandbox workspace"
VERSION = 1
# Larger media are named in the file and not contained.
EMBEDDED_BYTES = 256 * 1024
MOST_FILE_BYTES = 512 * 1024 * 1024
LAST_MS = 253_402_300_799_999  # the end of the year 9999


class WorkspaceProblem(Exception):
    """Raised when a file can't be used as a workspace; nothing was changed. `str()` says where and why."""


def parse_instant(value: object) -> object:
    """Convert an ISO 8601 time to milliseconds."""
    if not isinstance(value, str) or not re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d", value):
        raise ValueError("must be an ISO 8601 time, for example 2026-12-01T09:00:00.000Z")
    found = datetime.fromisoformat(value)
    return to_ms(found if found.tzinfo else found.replace(tzinfo=UTC))


def check_zone(value: str) -> str:
    """Return the name of a time zone that exists."""
    try:
        return ZoneInfo(value).key
    except (KeyError, ValueError, OSError):
        raise ValueError("must be an IANA time zone, for example Europe/Paris") from None


def check_media_url(value: str) -> str:
    """Return a URL that can be parsed."""
    if split_url(value) is None:
        raise ValueError("must be a URL, or the path of an upload")
    return value


def check_json(value: dict[str, Any]) -> dict[str, Any]:
    """Return an object that can be written as JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        # 1e400 is a number in JSON and infinite here, so no answer could hold it.
        raise ValueError("must hold numbers of a size that can be kept") from None
    return value


Instant = Annotated[int, BeforeValidator(parse_instant), PlainSerializer(to_iso), Field(ge=0, le=LAST_MS)]
Count = Annotated[int, Field(ge=0, le=10**12, strict=True)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
# No part begins with a dot, so a key can't lead out of the media folder.
Key = Annotated[str, Field(pattern=r"^uploads(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}){1,8}$")]
MediaUrl = Annotated[str, AfterValidator(check_media_url)]
Status = Literal["draft", "scheduled", "publishing", "published", "failed", "partial"]


class Part(BaseModel):
    """A part of the file. Its fields have the names of the columns of its table."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", allow_inf_nan=False, serialize_by_alias=True
    )


class ClockPart(Part):
    """The clock of the workspace."""

    now: Instant
    running: bool = True


class User(Part):
    """A person; the first of their organizations is the active one."""

    id: Id
    name: str
    organizations: list[Id] = Field(min_length=1)

    @model_validator(mode="after")
    def check_organizations(self) -> Self:
        """Refuse an organization that is named twice."""
        refuse_duplicates((f"organizations[{number}]", name) for number, name in enumerate(self.organizations))
        return self


class Account(Part):
    """A connected account; without `connectedAt`, connected at the workspace's `now`."""

    id: Id
    platform: str = Field(pattern=r"^[a-z0-9_-]{1,40}$")
    name: str = Field(min_length=1)
    handle: str | None = None
    status: Literal["connected", "expired"] = "connected"
    expires_at: Instant | None = None
    has_refresh_capability: bool = True
    followers: Count = 0
    connected_at: Instant | None = None


class Medium(Part):
    """An upload. `uploadedAt` is null until its bytes arrived; `content` is base64, and null for large files."""

    key: Key
    filename: str = Field(min_length=1, max_length=255)
    content_type: str = Field(pattern=r"^[a-z]+/[a-z0-9.+-]+$")
    size: Count
    created_at: Instant
    expires_at: Instant
    uploaded_at: Instant | None = None
    sha256: str | None = None
    content: str | None = None

    def decode(self) -> bytes | None:
        """Return the content, if the file has it."""
        return None if self.content is None else b64decode(self.content, validate=True)

    @model_validator(mode="after")
    def check_content(self) -> Self:
        """Refuse content that differs from its size and hash."""
        try:
            found = self.decode()
        except binascii.Error:
            raise ValueError("content is not base64") from None
        if found is not None and (len(found) != self.size or hashlib.sha256(found).hexdigest() != self.sha256):
            raise ValueError("content does not have the size and the sha256 beside it")
        return self


class Target(Part):
    """An account that a post goes to, and its result."""

    account_id: Id
    status: Literal["pending", "published", "failed"] = "pending"
    external_id: str | None = None
    url: str | None = None
    error: str | None = None
    published_at: Instant | None = None


class Post(Part):
    """A post. `createdAt` defaults to the workspace's `now`, `updatedAt` to `createdAt`."""

    id: Id
    content: str = Field(min_length=1)
    status: Status
    scheduled_at: Instant | None = None
    published_at: Instant | None = None
    created_at: Instant | None = None
    updated_at: Instant | None = None
    media_urls: list[MediaUrl] = []
    thread: list[str] = []
    platform_data: Annotated[dict[str, Any], AfterValidator(check_json)] = {}
    targets: list[Target]

    @model_validator(mode="after")
    def check_time_and_targets(self) -> Self:
        """Refuse a draft with a time, another post without one, and an account that is named twice."""
        if (self.status == "draft") != (self.scheduled_at is None):
            raise ValueError("scheduledAt must be set, except for a draft")
        refuse_duplicates(
            (f"targets[{number}].accountId", target.account_id) for number, target in enumerate(self.targets)
        )
        return self


class Publication(Part):
    """A publication on a simulated network; it stays when its post is deleted."""

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


class Organization(Part):
    """An organization with everything in it; posts in the order of their creation."""

    id: Id
    name: str = Field(min_length=1)
    plan: Literal["complete", "small"] = "complete"
    time_zone: Annotated[str, AfterValidator(check_zone)] = "UTC"
    accounts: list[Account] = []
    media: list[Medium] = []
    posts: list[Post] = []
    publications: list[Publication] = []

    @model_validator(mode="after")
    def check_accounts(self) -> Self:
        """Refuse an account id that the organization doesn't have."""
        known = {account.id for account in self.accounts}
        for place, account_id in self._named_accounts():
            if account_id not in known:
                raise ValueError(f"{place} {account_id} is not an account of the organization")
        return self

    def _named_accounts(self) -> Iterator[tuple[str, str]]:
        for number, post in enumerate(self.posts):
            for index, target in enumerate(post.targets):
                yield f"posts[{number}].targets[{index}].accountId", target.account_id
        for number, publication in enumerate(self.publications):
            yield f"publications[{number}].accountId", publication.account_id


class Workspace(Part):
    """The whole file."""

    format: Literal["ttp-mcp sandbox workspace"] = FORMAT
    version: Literal[1] = VERSION
    clock: ClockPart
    users: list[User] = Field(min_length=1)
    organizations: list[Organization] = Field(min_length=1)

    def to_text(self) -> str:
        """Return the text of the file."""
        return self.model_dump_json(indent=2) + "\n"

    @model_validator(mode="after")
    def check_names(self) -> Self:
        """Refuse ids that are used twice, and organizations of users that don't exist."""
        known = [organization.id for organization in self.organizations]
        refuse_duplicates((f"organizations[{number}].id", name) for number, name in enumerate(known))
        refuse_duplicates((f"users[{number}].id", user.id) for number, user in enumerate(self.users))
        for kind, key in (("accounts", "id"), ("media", "key"), ("posts", "id"), ("publications", "id")):
            refuse_duplicates((f"{place}.{key}", getattr(entry, key)) for place, entry in self._each(kind))
        for number, user in enumerate(self.users):
            if missing := [name for name in user.organizations if name not in known]:
                raise ValueError(f"users[{number}].organizations names {missing[0]}, which is not in the file")
        return self

    @model_validator(mode="after")
    def check_waiting_posts(self) -> Self:
        """Refuse a waiting post that is out already: the worker would fail over it each time."""
        refuse_duplicates([*self._name_waiting(), *self._name_published()])
        return self

    def _name_waiting(self) -> Iterator[tuple[str, Hashable]]:
        """Yield what the networks will have of each waiting post: it on an account, and an id."""
        for place, post in self._each("posts"):
            if post.status in ("scheduled", "publishing"):
                for number, target in enumerate(post.targets):
                    here = f"{place}.targets[{number}] (still to be published)"
                    yield here, (post.id, target.account_id)
                    yield here, networks.create_external_id(post.id, target.account_id)

    def _name_published(self) -> Iterator[tuple[str, Hashable]]:
        """Yield what the networks have."""
        for place, entry in self._each("publications"):
            yield f"{place}.id", entry.id
            yield f"{place}.postId", (entry.post_id, entry.account_id)

    def _each(self, kind: str) -> Iterator[tuple[str, Any]]:
        """Yield each part of a kind in all organizations, with its place."""
        for number, organization in enumerate(self.organizations):
            for index, part in enumerate(getattr(organization, kind)):
                yield f"organizations[{number}].{kind}[{index}]", part


def refuse_duplicates(entries: Iterable[tuple[str, Hashable]]) -> None:
    """Refuse a value that occurs twice.

    Raises:
        ValueError: Names both places.
    """
    seen: dict[Hashable, str] = {}
    for place, value in entries:
        if (first := seen.setdefault(value, place)) != place:
            raise ValueError(f"{place} is the same as {first}")


def read_workspace(path: Path) -> Workspace:
    """Read and check a file.

    Raises:
        WorkspaceProblem: It can't be read, is not JSON, or contradicts itself.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_FILE_BYTES + 1)
    except OSError as problem:
        raise WorkspaceProblem(f"{path} can't be read ({problem.strerror}).") from None
    if len(data) > MOST_FILE_BYTES:
        raise WorkspaceProblem(f"{path} is larger than {MOST_FILE_BYTES // 1024**2} MiB.")
    try:
        # Windows PowerShell writes UTF-16, and Notepad a byte order mark.
        return Workspace.model_validate_json(data.decode(json.detect_encoding(data)))
    except UnicodeDecodeError:
        raise WorkspaceProblem(f"{path} is not a workspace: it is neither UTF-8 nor UTF-16.") from None
    except ValidationError as error:
        raise WorkspaceProblem(f"{path} is not a workspace: {describe_first_error(error)}.") from None


def describe_first_error(error: ValidationError) -> str:
    """Return the place and the words of the first error, and the number of the others."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    words = errors[0]["msg"].removeprefix("Value error, ").rstrip(".")[:300]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in errors[0]["loc"]).removeprefix(".")
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{place}: {words}{more}" if place else f"{words}{more}"
