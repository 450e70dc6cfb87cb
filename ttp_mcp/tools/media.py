"""Tools of media uploads."""

from typing import Annotated, ClassVar

from pydantic import Field

from ttp_mcp.api import PresignRequest
from ttp_mcp.tools.app import App
from ttp_mcp.tools.registry import Answer, ToolInput, ToolOutput, Toolset

media = Toolset("media")


class PresignMedia(ToolInput):
    """What the API needs to know of a file."""

    also: ClassVar = {"size": "size_bytes"}

    filename: Annotated[str, Field(min_length=1, max_length=255, description="Name of the file without folders.")]
    content_type: Annotated[
        str,
        Field(
            max_length=100, description="image/jpeg, image/png, image/gif, image/webp, video/mp4 or video/quicktime."
        ),
    ]
    size_bytes: Annotated[int, Field(ge=1, description="Exact size of the file in bytes.")]


class Presigned(ToolOutput):
    """Where to PUT the bytes, and the URL that posts use afterwards."""

    upload_url: str
    public_url: str
    key: str
    expires_in_seconds: int


@media.tool(title="Get an upload URL", effect="draft", failure="No upload URL made")
async def presign_media(args: PresignMedia, app: App) -> Answer[Presigned]:
    """Get a short-lived URL to upload one image or video by yourself.

    For a file on the user's computer prefer upload_media, which does all of it. PUT the raw bytes to upload_url with the same
    Content-Type and no Authorization header, then pass public_url in media_urls. upload_url is a secret.
    """
    request = PresignRequest(filename=args.filename, content_type=args.content_type, size=args.size_bytes)
    presigned = await app.api.media.presign(request)
    text = (
        f"Upload {args.filename} ({args.size_bytes} bytes) within {presigned.expires_in_seconds} s: PUT the bytes to upload_url "
        f"with Content-Type {args.content_type} and no Authorization header.\n"
        f"upload_url: {presigned.upload_url}\n"
        f"public_url: {presigned.public_url}\n"
        "After the PUT succeeded, pass public_url in media_urls of create_post."
    )
    data = Presigned(
        upload_url=presigned.upload_url,
        public_url=presigned.public_url,
        key=presigned.key,
        expires_in_seconds=presigned.expires_in_seconds,
    )
    return Answer(text, data)
