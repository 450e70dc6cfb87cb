"""Tools of media uploads."""

from typing import Annotated, ClassVar
from urllib.parse import urlsplit

import anyio.to_thread
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from ttp_mcp.api.hosts import TransferProblem
from ttp_mcp.errors import Refusal
from ttp_mcp.media.edited import EditedFile
from ttp_mcp.media.errors import FileRefused
from ttp_mcp.media.files import OpenFile, open_below
from ttp_mcp.media.probe import EXTENSIONS, Examination, examine_file, has_media_extension, sniff_type
from ttp_mcp.text import clean_text, quote_text, show_url
from ttp_mcp.toolkit.context import ToolContext
from ttp_mcp.toolkit.models import Answer, ToolInput, ToolOutput
from ttp_mcp.toolkit.registry import Toolset

toolset = Toolset("media")

# Signed URLs have a few hundred characters; much longer ones don't work anywhere.
LONGEST_URL = 8000


class PresignMedia(ToolInput):
    """Properties of a file that the API asks for."""

    aliases: ClassVar = {"size": "size_bytes"}

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


@toolset.tool(title="Get an upload URL", effect="draft", failure="No upload URL made")
async def presign_media(args: PresignMedia, context: ToolContext) -> Answer[Presigned]:
    """Get a short-lived URL to upload one image or video yourself.

    For a local file prefer upload_media, which does all of it. PUT the raw bytes to upload_url with the same
    Content-Type and no Authorization header, then pass public_url in media_urls.
    upload_url is a secret.
    """
    # The upload bypasses this server, so handing out the URL counts as the upload.
    async with context.writer.upload(tool="presign_media"):
        presigned = await context.api.media.presign(args.filename, args.content_type, args.size_bytes)
    name = quote_text(args.filename, 255)
    text = (
        f"Upload {name} ({args.size_bytes} bytes) within {presigned.expires_in_seconds} s: PUT the bytes to upload_url "
        f"with Content-Type {quote_text(args.content_type, 100)} and no Authorization header.\n"
        f"upload_url: {show_url(presigned.upload_url, LONGEST_URL)}\n"
        f"public_url: {show_url(presigned.public_url, LONGEST_URL)}\n"
        "After the PUT succeeded, pass public_url in media_urls of create_post."
    )
    if context.sandbox:
        text += (
            "\nThese are addresses of the sandbox inside this server, which no other program reaches. upload_media works "
            "here; with `ttp-mcp sandbox` and its TTP_API_URL the addresses are real ones of this machine."
        )
    data = Presigned(
        upload_url=clean_text(presigned.upload_url),
        public_url=clean_text(presigned.public_url),
        key=clean_text(presigned.key),
        expires_in_seconds=presigned.expires_in_seconds,
    )
    return Answer(text, data)


class UploadMedia(ToolInput):
    """File to upload."""

    source: Annotated[
        str,
        Field(
            min_length=1,
            max_length=4096,
            description="https URL, or path of a file in a folder of TTP_MEDIA_DIRS: absolute, below ~, or relative to the folder.",
        ),
    ]


class UploadedMedia(ToolOutput):
    """The URL that posts use, and properties of the uploaded file. Pixels are as seen, after rotation."""

    public_url: str
    uploaded: bool
    filename: str | SkipJsonSchema[None] = None
    content_type: str | SkipJsonSchema[None] = None
    size_bytes: int | SkipJsonSchema[None] = None
    width: int | SkipJsonSchema[None] = None
    height: int | SkipJsonSchema[None] = None
    duration_seconds: float | SkipJsonSchema[None] = None
    left_out: list[str] | SkipJsonSchema[None] = None


@toolset.tool(title="Upload a file", effect="draft", failure="File not uploaded")
async def upload_media(args: UploadMedia, context: ToolContext) -> Answer[UploadedMedia]:
    """Upload an image or video and return the public URL that posts use.

    JPEG, PNG, GIF, WebP, MP4 or MOV. Anyone with the URL can see the file. A URL that stays public needs no upload: pass it in
    media_urls. Trying again is safe.
    """
    by_url = args.source.strip().lower().startswith(("https://", "http://"))
    if not by_url and not context.local_files:
        raise Refusal(
            "Not uploaded: this server runs elsewhere and can't see the user's files. Use presign_media and PUT the file "
            "from where it is, or pass an https URL; repeating does not help."
        )
    if by_url:
        opened = await _fetch_file(args.source.strip(), context)
    else:
        opened = await anyio.to_thread.run_sync(open_below, args.source, context.settings.media_dirs)
    with opened as file:
        # A URL's extension is unreliable; examine_file() sets the one of the actual type.
        name = file.name
        if by_url and not has_media_extension(name):
            name = f"{name.partition('.')[0] or 'file'}.jpg"
        found = await anyio.to_thread.run_sync(examine_file, file.read_at, file.size, name)
        public_url = await _send_file(EditedFile.edit(file, found.edits) if found.edits else file, found, context)
        return _render_upload(found.name if by_url else file.name, found, public_url)


async def _fetch_file(url: str, context: ToolContext) -> OpenFile:
    """Fetch a file by its URL."""
    _check_url(url)
    try:
        return await context.api.downloads.fetch(url, lambda head: sniff_type(head) in EXTENSIONS)
    except TransferProblem as problem:
        is_transient = problem.kind == "retryable"
        next_step = "Try again later" if is_transient else "Pass another URL, or the path of a local file"
        repeating = "repeating is safe" if is_transient else "repeating the same call does not help"
        raise FileRefused(
            f"Not uploaded: the file could not be fetched from its URL: {problem.reason}. {next_step}; nothing was sent, "
            f"{repeating}."
        ) from None


async def _send_file(source: OpenFile, found: Examination, context: ToolContext) -> str:
    """Upload a file; returns its public URL."""

    async def progress(done: int, total: int) -> None:
        await context.user.report_progress(done, total, f"{_show_size(done)} of {_show_size(total)}")

    async with context.writer.upload(tool="upload_media"):
        stored = await context.api.media.upload(found.name, found.facts.content_type, source, progress)
    public_url = clean_text(stored.public_url)
    await context.ledger.media_facts.remember(public_url, found.facts)
    return public_url


def _check_url(url: str) -> None:
    if len(url) > 2048 or not url.isprintable() or " " in url or not _names_a_host(url):
        raise FileRefused(
            "Not uploaded: a URL has to be a plain https URL of at most 2048 characters that names a host. Pass such a URL, or "
            "the path of a local file; repeating the same call does not help."
        )


def _names_a_host(url: str) -> bool:
    """Check for an https URL with a host."""
    try:
        parts = urlsplit(url)
        # urlsplit checks the port only on access.
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme == "https" and bool((parts.hostname or "").strip("."))


def _render_upload(name: str, found: Examination, public_url: str) -> Answer[UploadedMedia]:
    facts = found.facts
    lines = [
        f"Uploaded {quote_text(found.name, 255)}: {', '.join(_describe_file(found))}.",
        f"public_url: {show_url(public_url, LONGEST_URL)}",
        "Pass public_url in media_urls of create_post. The file is in no post yet.",
    ]
    if found.name != name:
        lines.append(
            f"{quote_text(name, 255)} is {facts.content_type} by its bytes, so it was sent as {quote_text(found.name, 255)}."
        )
    if found.private:
        lines.append(f"Left out of the uploaded copy: {', '.join(found.private)}. The file itself is unchanged.")
    data = UploadedMedia(
        public_url=public_url,
        uploaded=True,
        filename=found.name,
        content_type=facts.content_type,
        size_bytes=facts.size_bytes,
        width=facts.width,
        height=facts.height,
        duration_seconds=facts.duration_seconds,
        left_out=list(found.private) or None,
    )
    return Answer("\n".join(lines), data)


def _describe_file(found: Examination) -> list[str]:
    facts = found.facts
    details = [facts.content_type, _show_size(facts.size_bytes)]
    if facts.width:
        turned = f" (turned by {'its header' if facts.is_video else 'EXIF'})" if found.turned else ""
        details.append(f"{facts.width} x {facts.height} pixels{turned}")
    if facts.duration_seconds:
        details.append(f"{facts.duration_seconds:g} s")
    if facts.animated:
        details.append("animated")
    return details


def _show_size(size: int) -> str:
    return f"{size / 1_000_000:.1f} MB" if size >= 100_000 else f"{size} bytes"
