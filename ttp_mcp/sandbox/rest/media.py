"""`/media`: presigned upload URLs."""

import re
import secrets

from starlette.responses import Response

from ttp_mcp.sandbox.clock import to_ms
from ttp_mcp.sandbox.rest.request import ApiRequest
from ttp_mcp.sandbox.rest.responses import Problem, respond_ok
from ttp_mcp.sandbox.storage import CONTENT_TYPES, MOST_BYTES

FILENAME_CHARACTERS, STEM_CHARACTERS = 255, 96
EXTENSIONS = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/gif": "gif",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
}
_KNOWN_EXTENSIONS = (*EXTENSIONS.values(), "jpeg", "m4v", "qt")


def presign_upload(call: ApiRequest) -> Response:
    """`POST /media/presign`."""
    call.check_query()
    call.require("draft")
    unknown = sorted(set(call.body) - {"filename", "contentType", "size"})
    if unknown:
        raise Problem(400, f"Unknown field: {unknown[0][:60]}. Known are filename, contentType, size.")
    filename = _parse_filename(call.body.get("filename"))
    content_type = _parse_content_type(call.body.get("contentType"))
    size = _parse_size(call.body.get("size"))
    storage, now = call.storage, to_ms(call.clock.now())
    expires = now + storage.lifetime_seconds * 1000
    key = f"uploads/{call.organization.id}/{secrets.token_hex(12)}/{_to_storage_name(filename, content_type)}"
    with call.store.writing() as db:
        db.execute(
            "INSERT INTO media (key, organization_id, filename, content_type, size, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (key, call.organization.id, filename, content_type, size, now, expires),
        )
    return respond_ok(
        key=key,
        uploadUrl=storage.upload_url(key, content_type, size, expires),
        publicUrl=storage.public_url(key),
        expiresIn=storage.lifetime_seconds,
    )


def _parse_filename(value: object) -> str:
    if (
        not isinstance(value, str)
        or not 0 < len(value) <= FILENAME_CHARACTERS
        or re.search(r"[/\\\x00-\x1f\x7f]", value)
    ):
        raise Problem(400, f"filename is required: a name without folders, at most {FILENAME_CHARACTERS} characters.")
    return value


def _parse_content_type(value: object) -> str:
    if not isinstance(value, str) or value not in CONTENT_TYPES:
        raise Problem(400, f"contentType must be one of {', '.join(CONTENT_TYPES)}.")
    return value


def _parse_size(value: object) -> int:
    # JSON has one type of number, so 7.0 is 7.
    size = int(value) if isinstance(value, float) and value.is_integer() else value
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST_BYTES:
        raise Problem(400, f"size is required: the exact number of bytes, 1–{MOST_BYTES}.")
    return size


def _to_storage_name(filename: str, content_type: str) -> str:
    """Return a name that is safe in a URL; its extension follows from the type, whatever the name."""
    stem = re.sub(rf"\.({'|'.join(_KNOWN_EXTENSIONS)})$", "", filename, flags=re.IGNORECASE)
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip(".-")[-STEM_CHARACTERS:].strip(".-")
    return f"{cleaned or 'file'}.{EXTENSIONS[content_type]}"
