"""Uploads to presigned URLs: a client that never has the token, and sends only a file, its type and its length.

The PUT uses the standard library: no cookies, default headers, redirects, proxy, or log line with the URL (a secret), and
half the CPU per byte of HTTPX2. A worker thread sends, so the event loop stays free.
"""

import contextlib
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.client import HTTPConnection, HTTPException
from typing import Literal, Protocol, Self

import anyio
import anyio.to_thread
import httpx2
from starlette.types import ASGIApp

from ttp_mcp.api import network
from ttp_mcp.api.ssrf import Resolver, UploadTarget, UploadUrlRefused, parse_upload_url, resolve_public, system_resolver

BLOCK_BYTES = 256 * 1024
AT_ONCE = 4
FRESH_SECONDS = 270.0
CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
WRITE_SECONDS = 30.0

# retryable: a new attempt may succeed. expired: only with a new URL. changed, permanent: never.
FailureKind = Literal["retryable", "expired", "changed", "permanent"]


class UploadProblem(Exception):
    """A PUT did not store the file. `reason` contains nothing of the URL."""

    def __init__(self, kind: FailureKind, reason: str, status: int | None = None) -> None:
        """Keep the facts; `status` is the storage's HTTP status, if it responded."""
        super().__init__(reason)
        self.kind: FailureKind = kind
        self.reason = reason
        self.status = status


class UploadSource(Protocol):
    """A file to send. Every copy has a file descriptor of its own."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Read at an offset; returns no bytes beyond the end."""
        ...

    def is_unchanged(self) -> bool:
        """Check whether the file is as it was when it was opened."""
        ...

    def copy(self) -> Self:
        """Open another one, to be closed separately."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


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
        self._loopback = loopback
        self._monotonic = monotonic
        self._app = app
        self._resolve = resolve
        self._tls = tls
        self._seconds = seconds
        self._limiter: anyio.CapacityLimiter | None = None

    async def put(
        self, url: str, content_type: str, source: UploadSource, sent: ByteCounter, *, fresh_until: float
    ) -> None:
        """Send a file to a presigned URL, once.

        Args:
            url: The presigned URL.
            content_type: The presigned content type.
            source: The file; the caller may close it as soon as this returns.
            sent: Updated during the upload.
            fresh_until: Latest start, on the monotonic clock; after it the URL is too old.

        Raises:
            UploadProblem: The file was not stored, or that isn't certain.
        """
        try:
            target = parse_upload_url(url, loopback=self._loopback)
        except UploadUrlRefused as refused:
            raise UploadProblem("permanent", str(refused)) from None
        limit = self._seconds(source.size)
        transfer = _Transfer(target, content_type, source.copy(), sent, lambda: self._monotonic() < fresh_until)
        try:
            with anyio.fail_after(limit):
                status = await self._run(transfer)
        except TimeoutError:
            raise UploadProblem("retryable", f"it was not stored within {limit:.0f} s") from None
        finally:
            transfer.stop()
        _check_status(status)
        if sent.count != source.size:
            raise UploadProblem("retryable", "the storage answered before it had the whole file")
        if not source.is_unchanged():
            raise _create_change_problem()

    def slot(self) -> anyio.CapacityLimiter:
        """Return the limiter to hold during a whole upload: more uploads would starve other work that needs a thread."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(AT_ONCE)
        return self._limiter

    async def _run(self, transfer: "_Transfer") -> int:
        if self._app is not None:
            return await transfer.to_app(self._app)
        return await anyio.to_thread.run_sync(transfer.to_network, self._resolve, self._tls, abandon_on_cancel=True)


class _Transfer:
    """One PUT. The side that takes `_claim` closes the copy of the file: the thread, or the caller if no thread started."""

    def __init__(
        self,
        target: UploadTarget,
        content_type: str,
        source: UploadSource,
        sent: ByteCounter,
        fresh: Callable[[], bool],
    ) -> None:
        self._target = target
        self._content_type = content_type
        self._source = source
        self._sent = sent
        self._fresh = fresh
        self._claim = threading.Lock()
        self._stopped = False
        self._socket: socket.socket | None = None
        sent.count = 0

    def stop(self) -> None:
        """Stop at any point; a thread that waits for the network wakes up."""
        self._stopped = True
        if self._claim.acquire(blocking=False):
            self._source.close()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # The method of a TLS socket would first drop the encryption.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
                if sys.platform == "win32":  # pragma: no cover - Windows only
                    # On Windows only closing wakes a blocked call; the Python method would wait for readers of the response.
                    socket.SocketType.close(self._socket)

    def to_network(self, resolve: Resolver, tls: ssl.SSLContext | None) -> int:
        """Send from this thread and return the status of the response.

        Raises:
            UploadProblem: There was none.
        """
        if not self._claim.acquire(blocking=False):  # pragma: no cover - only when cancelled just as the thread begins
            raise UploadProblem("permanent", "it was cancelled")
        problem = UploadProblem("retryable", "the storage could not be reached")
        try:
            for address in self._resolve(resolve):
                if self._stopped:
                    break
                try:
                    connection = self._connect(address, tls)
                except network.UnusableSetting as setting:
                    raise UploadProblem("permanent", f"the file that {setting.variable} names can't be read") from None
                except OSError as error:
                    problem = _describe_failed_connection(error)
                    if problem.kind == "permanent":
                        break
                    continue
                return self._send(connection)
        finally:
            self._source.close()
        raise problem

    def _resolve(self, resolve: Resolver) -> tuple[str, ...]:
        try:
            return resolve_public(self._target, resolve)
        except UploadUrlRefused as refused:
            raise UploadProblem("permanent", str(refused)) from None
        except (OSError, UnicodeError):
            raise UploadProblem("retryable", "the storage's name could not be resolved") from None

    def _send(self, connection: socket.socket) -> int:
        with connection:
            self._socket = connection
            try:
                return self._exchange(connection)
            except (HTTPException, OSError):
                raise UploadProblem("retryable", "the connection to the storage broke") from None

    def _connect(self, address: str, tls: ssl.SSLContext | None) -> socket.socket:
        context = None if self._target.scheme == "http" else tls or network.create_tls_context()
        connection = socket.create_connection((address, self._target.port), CONNECT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is None:
            return connection
        # The certificate must be for the name, although the connection goes to an address.
        return context.wrap_socket(connection, server_hostname=self._target.host.strip("[]"))

    def _exchange(self, connection: socket.socket) -> int:
        http = HTTPConnection(self._target.host)
        http.sock = connection
        http.putrequest("PUT", self._target.target, skip_host=True, skip_accept_encoding=True)
        for name, value in self._headers():
            http.putheader(name, value)
        http.endheaders()
        connection.settimeout(WRITE_SECONDS)
        try:
            for block in self._blocks():
                connection.sendall(block)
        except ConnectionError:
            # A storage that refuses early closes its side, but may have responded.
            pass
        connection.settimeout(READ_SECONDS)
        # Only the status counts; an endless body is never read.
        with http.getresponse() as response:
            return response.status

    async def to_app(self, app: ASGIApp) -> int:
        """Send to an application in this process and return the status of the response."""

        async def blocks() -> AsyncIterator[bytes]:
            pending = self._blocks()
            while (block := await anyio.to_thread.run_sync(next, pending, None)) is not None:
                yield block

        request = httpx2.Request("PUT", self._target.url(self._target.host), headers=self._headers(), content=blocks())
        return (await httpx2.ASGITransport(app).handle_async_request(request)).status_code

    def _headers(self) -> list[tuple[str, str]]:
        return [
            ("Host", self._target.authority),
            ("Content-Type", self._content_type),
            # Otherwise the body would be sent in chunks, which object stores refuse.
            ("Content-Length", str(self._source.size)),
        ]

    def _blocks(self) -> Iterator[bytes]:
        """Yield the file block by block; the last block only if the file hasn't changed."""
        if not self._fresh():
            raise UploadProblem("expired", "the upload URL was too old")
        size, offset = self._source.size, 0
        while offset < size:
            if self._stopped:
                raise UploadProblem("permanent", "it was cancelled")
            try:
                block = self._source.read_at(offset, min(BLOCK_BYTES, size - offset))
            except OSError:
                raise UploadProblem("permanent", "the file could not be read") from None
            offset += len(block)
            if not block or (offset == size and not self._source.is_unchanged()):
                raise _create_change_problem()
            yield block
            self._sent.count = offset


def _describe_failed_connection(error: OSError) -> UploadProblem:
    if network.find_reason(error) in ("issuer", "certificate"):
        return UploadProblem(
            "permanent", "the storage's certificate isn't trusted; SSL_CERT_FILE has to name your company's CA"
        )
    return UploadProblem("retryable", "the storage could not be reached")


def _create_change_problem() -> UploadProblem:
    return UploadProblem("changed", "the file changed while it was sent")


def _check_status(status: int) -> None:
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise UploadProblem("permanent", "the storage answered with a redirect, which is never followed", status)
    if status in (400, 403):
        raise UploadProblem("expired", f"the storage did not accept the upload URL ({status})", status)
    if status in (408, 425, 429) or status >= 500:
        raise UploadProblem("retryable", f"the storage had a failure of its own ({status})", status)
    raise UploadProblem("permanent", f"the storage refused the file ({status})", status)
