"""Argument types that several tools share."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from ttp_mcp.toolkit.platform_data import PLATFORM_DATA_SCHEMA, SHORT_PLATFORM_DATA_SCHEMA, parse_platform_data

# Words or texts, none of which is empty.
Texts = list[Annotated[str, Field(min_length=1)]] | None
PostId = Annotated[str, Field(min_length=1, max_length=200, description="Id of the post, from list_posts.")]
Platform = Annotated[
    str | None, Field(max_length=50, description="Platform key: twitter (= X), instagram, tiktok, linkedin.")
]
Time = Annotated[
    str | None, Field(description="ISO 8601, e.g. 2026-12-01T18:00 (in the server's zone) or with offset; or now.")
]
AccountIds = Annotated[
    Texts, Field(max_length=100, description="Accounts: id, @handle, full name, or label such as x @harborcafe.")
]
OtherAccountIds = Annotated[Texts, Field(max_length=100, description="Accounts instead of the present ones.")]
Platforms = Annotated[
    Texts, Field(max_length=20, description="Platform keys: every account there; with account_ids, where these are.")
]
MediaUrls = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=2048)]] | None,
    Field(max_length=50, description="Public URLs, in order, as upload_media returns them."),
]
Thread = Annotated[Texts, Field(max_length=24, description="X only: the posts after content.")]
PlatformData = Annotated[
    dict[str, Any] | None,
    BeforeValidator(parse_platform_data),
    WithJsonSchema(PLATFORM_DATA_SCHEMA),
    Field(description="What Pinterest and TikTok need; the user chooses each TikTok value."),
]
Content = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=100_000,
        validate_default=True,
        description="Text of the post; for X the first post of a thread.",
    ),
]
NestedPlatformData = Annotated[
    dict[str, Any] | None, BeforeValidator(parse_platform_data), WithJsonSchema(SHORT_PLATFORM_DATA_SCHEMA)
]
OtherPlatformData = Annotated[NestedPlatformData, Field(description="As in create_post.")]
Remove = Annotated[list[Literal["media", "thread", "platform_data"]] | None, Field(description="Parts to take off.")]
OptionalContent = Annotated[str | None, Field(min_length=1, max_length=100_000, description="New text of the post.")]
# The preview says how to pass it; each of five tools carries these words.
Confirmation = Annotated[str | None, Field(description="From a preview.")]
