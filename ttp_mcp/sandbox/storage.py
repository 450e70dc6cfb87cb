"""The media storage: another origin, with signed uploads and public files."""

import hashlib
import hmac
import os
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import BinaryIO
from urllib.parse import SplitResult, quote, unquote, urlencode, urlsplit

import anyio
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from ttp_mcp.sandbox.clock import Clock, to_ms
from ttp_mcp.sandbox.store import Store

CONTENT_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp", "video/mp4", "video/quicktime")
# The reference does not say how sizes are validated; this is the sandbox's own limit.
MOST_BYTES = 5 * 1024**3
EXPIRES_SECONDS = 300
# Images that panels show.
MOST_IMAGE_BYTES = 4 * 1024**2
WRITE_BYTES = 1024 * 1024
_SIGNED = ("type", "size", "expires")


class MediaStorage:
    """Files in a folder, served at their own origin."""

    def __init__(
        self, folder: Path, origin: str, store: Store, clock: Clock, *, lifetime_seconds: int = EXPIRES_SECONDS
    ) -> None:
        """Keep files below `folder`."""
        self.folder = folder
        self.origin = origin.rstrip("/")
        self.store = store
        self.clock = clock
        self.lifetime_seconds = lifetime_seconds
        self._key = _load_signing_key(store)

    def public_url(self, key: str) -> str:
        """Return the public URL of an uploaded file."""
        return f"{self.origin}/{quote(key)}"

    def to_current_url(self, url: str) -> str:
        """Return a media URL with the current origin: the port changes with each start."""
        parts = split_url(url)
        if parts is None:
            return url
        ours = parts.path.startswith("/uploads/") and (parts.hostname or "").endswith(("localhost", "127.0.0.1", "::1"))
        return self.origin + parts.path if ours and parts.scheme == "http" else url

    def upload_url(self, key: str, content_type: str, size: int, expires: int) -> str:
        """Return an upload URL, signed over key, type, size and expiry (milliseconds)."""
        query = {"type": content_type, "size": str(size), "expires": str(expires)}
        return f"{self.public_url(key)}?{urlencode({**query, 'signature': self._sign(key, query)})}"

    def read_image(self, url: str) -> tuple[bytes, str] | None:
        """Read an uploaded image of at most `MOST_IMAGE_BYTES` by its URL: content and type."""
        parts = split_url(self.to_current_url(url))
        if parts is None or not self.to_current_url(url).startswith(f"{self.origin}/"):
            return None
        key = unquote(parts.path.lstrip("/"))
        with self.store.reading() as db:
            row = db.execute(
                "SELECT content_type FROM media WHERE key = ? AND uploaded_at IS NOT NULL", (key,)
            ).fetchone()
        if row is None or not row["content_type"].startswith("image/"):
            return None
        file = self.path(key)
        if not file.is_file() or file.stat().st_size > MOST_IMAGE_BYTES:
            return None
        return file.read_bytes(), row["content_type"]

    def path(self, key: str) -> Path:
        """Return the file of a key. Callers choose only its cleaned name, so it stays below the folder."""
        return self.folder / key

    def is_signed(self, key: str, query: dict[str, str]) -> bool:
        """Check whether an upload URL was signed here and is unaltered."""
        return set(query) == {*_SIGNED, "signature"} and hmac.compare_digest(
            self._sign(key, query).encode(), query["signature"].encode()
        )

    def _sign(self, key: str, query: dict[str, str]) -> str:
        text = "\n".join((key, *(query[name] for name in _SIGNED)))
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def app(self) -> Starlette:
        """Return the storage as an application."""
        return Starlette(routes=[Route("/{key:path}", self._serve, methods=["GET", "HEAD", "PUT"])])

    async def _serve(self, request: Request) -> Response:
        key = request.path_params["key"]
        if request.method == "PUT":
            return await self._put(request, key)
        with self.store.reading() as db:
            row = db.execute("SELECT * FROM media WHERE key = ? AND uploaded_at IS NOT NULL", (key,)).fetchone()
        if row is None or not self.path(key).is_file():
            return PlainTextResponse("No such file.", 404)
        headers = {
            "X-Content-Type-Options": "nosniff",
            "Content-Disposition": "inline",
            "Cross-Origin-Resource-Policy": "cross-origin",
        }
        return FileResponse(self.path(key), headers=headers, media_type=row["content_type"])

    async def _put(self, request: Request, key: str) -> Response:
        if refusal := await anyio.to_thread.run_sync(self._find_refusal, request, key):
            return refusal
        size = int(request.query_params["size"])
        temporary = self.folder / f".incoming-{secrets.token_hex(8)}"
        try:
            with temporary.open("xb") as file:
                digest = await _receive_body(request.stream(), file, size)
            if digest is None:
                return PlainTextResponse(f"The body must have exactly {size} bytes.", 400)
            return await anyio.to_thread.run_sync(self._store_upload, key, temporary, digest)
        except ClientDisconnect:
            return PlainTextResponse("The upload was interrupted.", 400)
        finally:
            temporary.unlink(missing_ok=True)

    def _find_refusal(self, request: Request, key: str) -> Response | None:
        query = dict(request.query_params)
        if not self.is_signed(key, query):
            return PlainTextResponse("The signature does not fit this URL.", 403)
        if to_ms(self.clock.now()) >= int(query["expires"]):
            return PlainTextResponse("The URL has expired.", 403)
        if request.headers.get("content-type") != query["type"]:
            return PlainTextResponse(f"Content-Type must be {query['type']}.", 400)
        length = request.headers.get("content-length")
        if length is None:
            return PlainTextResponse("Content-Length is required.", 411)
        if length != query["size"]:
            return PlainTextResponse(f"Content-Length must be {query['size']}.", 400)
        with self.store.reading() as db:
            row = db.execute("SELECT uploaded_at FROM media WHERE key = ?", (key,)).fetchone()
        if row is None or row["uploaded_at"] is not None:
            return PlainTextResponse("The URL was used already.", 409)
        return None

    def _store_upload(self, key: str, temporary: Path, digest: str) -> Response:
        with self.store.writing() as db:
            changed = db.execute(
                "UPDATE media SET uploaded_at = ?, sha256 = ? WHERE key = ? AND uploaded_at IS NULL",
                (to_ms(self.clock.now()), digest, key),
            )
            if changed.rowcount == 0:
                return PlainTextResponse("The URL was used already.", 409)
            self.path(key).parent.mkdir(parents=True, exist_ok=True)
            temporary.rename(self.path(key))
        return Response(status_code=200, headers={"ETag": f'"{digest}"'})


async def _receive_body(stream: AsyncIterator[bytes], file: BinaryIO, size: int) -> str | None:
    """Write a body to disk, a megabyte at a time. Returns its SHA-256, or None if the size differs."""
    digest, received = hashlib.sha256(), 0
    waiting: list[bytes] = []
    waiting_bytes = 0
    async for chunk in stream:
        received += len(chunk)
        if received > size:
            return None
        waiting.append(chunk)
        waiting_bytes += len(chunk)
        # Starting a thread costs more than writing one chunk.
        if waiting_bytes >= WRITE_BYTES or received == size:
            await anyio.to_thread.run_sync(_write_chunk, file.write, digest.update, b"".join(waiting))
            waiting.clear()
            waiting_bytes = 0
    if received != size:
        return None
    file.flush()
    await anyio.to_thread.run_sync(os.fsync, file.fileno())
    return digest.hexdigest()


def _write_chunk(write: Callable[[bytes], int], update: Callable[[bytes], None], content: bytes) -> None:
    write(content)
    update(content)


def split_url(url: str) -> SplitResult | None:
    """Return the parts of a URL, or None if it can't be parsed."""
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _load_signing_key(store: Store) -> bytes:
    """Return the signing key of the data folder, created once and shared by all processes."""
    with store.writing() as db:
        db.execute("INSERT OR IGNORE INTO meta VALUES ('signing_key', ?)", (secrets.token_hex(32),))
        return bytes.fromhex(db.execute("SELECT value FROM meta WHERE key = 'signing_key'").fetchone()["value"])
