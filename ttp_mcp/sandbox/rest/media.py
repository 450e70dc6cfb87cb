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
    filename = call.body.get("filename")
    if (
        not isinstance(filename, str)
        or not 0 < len(filename) <= FILENAME_CHARACTERS
        or re.search(r"[/\\\x00-\x1f\x7f]", filename)
    ):
        raise Problem(400, f"filename is required: a name without folders, at most {FILENAME_CHARACTERS} characters.")
    content_type, size = call.body.get("contentType"), call.body.get("size")
    if content_type not in CONTENT_TYPES:
        raise Problem(400, f"contentType must be one of {', '.join(CONTENT_TYPES)}.")
    if isinstance(size, float) and size.is_integer():
        # JSON knows one kind of number, so 7.0 is 7.
        size = int(size)
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MOST_BYTES:
        raise Problem(400, f"size is required: the exact number of bytes, 1–{MOST_BYTES}.")
    storage, now = call.storage, to_ms(call.clock.now())
    expires = now + storage.lifetime_seconds * 1000
    key = f"uploads/{call.organization.id}/{secrets.token_hex(12)}/{_storage_name(filename, content_type)}"
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


def _storage_name(filename: str, content_type: str) -> str:
    """Return a name that is safe in a URL; its extension follows from the type, whatever the name."""
    stem = re.sub(rf"\.({'|'.join(_KNOWN_EXTENSIONS)})$", "", filename, flags=re.IGNORECASE)
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip(".-")[-STEM_CHARACTERS:].strip(".-")
    return f"{cleaned or 'file'}.{EXTENSIONS[content_type]}"
