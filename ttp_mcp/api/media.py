"""Wire models and endpoints of /media."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio

from ttp_mcp.api import errors, retry
from ttp_mcp.api.hosts import TransferProblem
from ttp_mcp.api.http import Http, require_shape
from ttp_mcp.api.parsing import as_number, as_object, as_str, as_url
from ttp_mcp.api.upload import FRESH_SECONDS, ByteCounter, PresignedUploader
from ttp_mcp.media.files import OpenFile

PUTS = 3
PROGRESS_SECONDS = 0.25

# Called with bytes sent and bytes in total.
Progress = Callable[[int, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class PresignedUpload:
    """Target of an upload. `upload_url` is a secret; posts refer to `public_url` once the file is stored."""

    key: str
    upload_url: str
    public_url: str
    expires_in_seconds: int

    def __repr__(self) -> str:
        return f"PresignedUpload(key={self.key!r})"


class MediaApi:
    """Endpoints of media, and the storage behind them."""

    def __init__(self, http: Http, uploader: PresignedUploader) -> None:
        """Use this connection and this uploader."""
        self._http = http
        self._uploader = uploader

    async def presign(self, filename: str, content_type: str, size: int) -> PresignedUpload:
        """`POST /media/presign`: a short-lived URL for one upload; `size` is exact, in bytes.

        Raises:
            ValidationFailed: The type or the size isn't accepted.

        Source: API reference, Media uploads.
        """
        body = {"filename": filename, "contentType": content_type, "size": size}
        reply = as_object(await self._http.request("POST", "/media/presign", "/media/presign", need="draft", body=body))
        reply = as_object(reply.get("data")) if "uploadUrl" not in reply else reply
        return PresignedUpload(
            key=as_str(reply.get("key")) or "",
            upload_url=require_shape(as_url(reply.get("uploadUrl")), "POST", "/media/presign"),
            public_url=require_shape(as_url(reply.get("publicUrl")), "POST", "/media/presign"),
            expires_in_seconds=int(as_number(reply.get("expiresIn")) or 300),
        )

    async def upload(
        self, filename: str, content_type: str, source: OpenFile, progress: Progress | None = None
    ) -> PresignedUpload:
        """Presign and PUT a file: up to three times, each from the first byte with a new URL.

        Retries are safe: a file that was stored twice is used by one post at most.

        The file stays open. `progress` is called about four times a second during the upload, and at the end.

        Raises:
            UploadRefused: The storage, or a rule about its address, refused the file.
            UploadFailed: It did not arrive, or changed while it was sent.
            ApiError: The API returned no upload URL.

        Source: API reference, Media uploads.
        """
        async with self._uploader.limiter:
            renewed, attempt = False, 1
            while True:
                outcome = await self._attempt(filename, content_type, source, progress)
                if isinstance(outcome, PresignedUpload):
                    if progress is not None:
                        await progress(source.size, source.size)
                    return outcome
                permanent = outcome.kind in ("changed", "permanent") or (outcome.kind == "expired" and renewed)
                if permanent or attempt == PUTS:
                    refused = outcome.kind == "permanent" or (outcome.kind == "expired" and outcome.status is not None)
                    kind = errors.UploadRefused if refused else errors.UploadFailed
                    raise kind(method="PUT", path="the storage", status=outcome.status, reason=outcome.reason)
                renewed = renewed or outcome.kind == "expired"
                if outcome.kind == "retryable":
                    await self._http.clocks.sleep(retry.delay_seconds(attempt, self._http.clocks.jitter()))
                attempt += 1

    async def _attempt(
        self, filename: str, content_type: str, source: OpenFile, progress: Progress | None
    ) -> PresignedUpload | TransferProblem:
        issued = self._http.clocks.monotonic()
        presigned = await self.presign(filename, content_type, source.size)
        # A tenth of its lifetime is reserved for the request itself.
        fresh_until = issued + min(FRESH_SECONDS, presigned.expires_in_seconds * 0.9)
        sent, over = ByteCounter(), anyio.Event()
        async with anyio.create_task_group() as tasks:
            if progress is not None:
                tasks.start_soon(_report_progress, progress, sent, source.size, over)
            try:
                await self._uploader.put(presigned.upload_url, content_type, source, sent, fresh_until=fresh_until)
            except TransferProblem as problem:
                return problem
            finally:
                over.set()
        return presigned


async def _report_progress(progress: Progress, sent: ByteCounter, size: int, over: anyio.Event) -> None:
    while not over.is_set():
        await progress(sent.count, size)
        with anyio.move_on_after(PROGRESS_SECONDS):
            await over.wait()
