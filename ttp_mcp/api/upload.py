"""Uploads to presigned URLs. A request has only a file, its type and its length."""

import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from functools import partial

import anyio
import anyio.to_thread
import httpx2
from starlette.types import ASGIApp

from ttp_mcp.api.hosts import AT_ONCE, READ_SECONDS, HostConnection, TransferProblem, TransferStopped
from ttp_mcp.api.ssrf import Resolver, UploadTarget, system_resolver
from ttp_mcp.media.files import OpenFile

BLOCK_BYTES = 256 * 1024
FRESH_SECONDS = 270.0
WRITE_SECONDS = 30.0


class ByteCounter:
    """Count of the bytes sent; written by one thread, read by others."""

    def __init__(self) -> None:
        """Start at 0."""
        self.count = 0


def allowed_seconds(size: int) -> float:
    """Return the time limit of a PUT of `size` bytes: 256 KiB a second, from 5 s to 30 minutes."""
    return min(5.0 + size / (256 * 1024), 1800.0)


class PresignedUploader:
    """Sends files to presigned URLs."""

    def __init__(
        self,
        *,
        loopback: bool,
        monotonic: Callable[[], float],
        app: ASGIApp | None = None,
        resolve: Resolver = system_resolver,
        tls: ssl.SSLContext | None = None,
        seconds: Callable[[int], float] = allowed_seconds,
    ) -> None:
        """Open nothing.

        Args:
            loopback: Whether storage on this machine is allowed: only if the API is there too.
            monotonic: Monotonic clock.
            app: An application in this process that answers instead of the storage (the sandbox).
            resolve: Returns the addresses of a host name; may block.
            tls: Replaces the usual TLS context.
            seconds: Returns the time limit for a number of bytes.
        """
        self._create_connection = partial(
            HostConnection, "the storage", "the upload address", loopback=loopback, resolve=resolve, tls=tls
        )
        self._monotonic = monotonic
        self._app = app
        self._seconds = seconds
        self.limiter = anyio.CapacityLimiter(AT_ONCE)
        """To hold during a whole upload: more uploads would starve other work that needs a thread."""

    async def put(
        self, url: str, content_type: str, source: OpenFile, sent: ByteCounter, *, fresh_until: float
    ) -> None:
        """Send a file to a presigned URL, once; the caller may close it as soon as this returns.

        `sent` is updated during the upload. After `fresh_until`, on the monotonic clock, the URL is too old to start.

        Raises:
            TransferProblem: The file was not stored, or that isn't certain.
        """
        connection = self._create_connection()
        target = connection.check(url)
        limit = self._seconds(source.size)
        transfer = _Transfer(
            connection, target, content_type, source.copy(), sent, lambda: self._monotonic() < fresh_until
        )
        try:
            with anyio.fail_after(limit):
                if self._app is not None:
                    status = await transfer.to_app(self._app)
                else:
                    status = await anyio.to_thread.run_sync(transfer.to_network, abandon_on_cancel=True)
        except TimeoutError:
            raise TransferProblem("retryable", f"it was not stored within {limit:.0f} s") from None
        finally:
            transfer.stop()
        _check_status(status)
        if sent.count != source.size:
            raise TransferProblem("retryable", "the storage answered before it had the whole file")
        if not source.is_unchanged():
            raise _create_change_problem()


class _Transfer:
    """One PUT. The side that takes `_claim` closes the copy of the file: the thread, or the caller if no thread started."""

    def __init__(
        self,
        connection: HostConnection,
        target: UploadTarget,
        content_type: str,
        source: OpenFile,
        sent: ByteCounter,
        fresh: Callable[[], bool],
    ) -> None:
        self._connection = connection
        self._target = target
        self._source = source
        self._sent = sent
        self._fresh = fresh
        # Without its length the body would be sent in chunks, which object stores refuse.
        self._headers = {"Host": target.authority, "Content-Type": content_type, "Content-Length": str(source.size)}
        self._claim = threading.Lock()

    def stop(self) -> None:
        """Stop at any point; a thread that waits for the network wakes up."""
        self._connection.stop()
        if self._claim.acquire(blocking=False):
            self._source.close()

    def to_network(self) -> int:
        """Send from this thread and return the status of the response.

        Raises:
            TransferProblem: There was none.
        """
        if not self._claim.acquire(blocking=False):  # pragma: no cover - only when cancelled just as the thread begins
            raise TransferStopped
        try:
            with self._connection.send_head("PUT", self._target, self._headers) as http:
                http.sock.settimeout(WRITE_SECONDS)
                # A storage that refuses early closes its side, but may have responded.
                with suppress(ConnectionError):
                    for block in self._blocks():
                        http.sock.sendall(block)
                http.sock.settimeout(READ_SECONDS)
                # Only the status counts; an endless body is never read.
                with http.getresponse() as response:
                    return response.status
        finally:
            self._source.close()

    async def to_app(self, app: ASGIApp) -> int:
        """Send to an application in this process and return the status of the response."""

        async def blocks() -> AsyncIterator[bytes]:
            pending = self._blocks()
            while (block := await anyio.to_thread.run_sync(next, pending, None)) is not None:
                yield block

        request = httpx2.Request("PUT", self._target.url(self._target.host), headers=self._headers, content=blocks())
        return (await httpx2.ASGITransport(app).handle_async_request(request)).status_code

    def _blocks(self) -> Iterator[bytes]:
        """Yield the file block by block; the last block only if the file hasn't changed."""
        if not self._fresh():
            raise TransferProblem("expired", "the upload URL was too old")
        size, offset = self._source.size, 0
        while offset < size:
            self._connection.check_not_stopped()
            try:
                block = self._source.read_at(offset, min(BLOCK_BYTES, size - offset))
            except OSError:
                raise TransferProblem("permanent", "the file could not be read") from None
            offset += len(block)
            if not block or (offset == size and not self._source.is_unchanged()):
                raise _create_change_problem()
            yield block
            self._sent.count = offset


def _create_change_problem() -> TransferProblem:
    return TransferProblem("changed", "the file changed while it was sent")


def _check_status(status: int) -> None:
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise TransferProblem("permanent", "the storage answered with a redirect, which is never followed", status)
    if status in (400, 403):
        raise TransferProblem("expired", f"the storage did not accept the upload URL ({status})", status)
    if status in (408, 425, 429) or status >= 500:
        raise TransferProblem("retryable", f"the storage had a failure of its own ({status})", status)
    raise TransferProblem("permanent", f"the storage refused the file ({status})", status)
