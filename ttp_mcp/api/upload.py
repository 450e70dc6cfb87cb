"""The bare client for storage: it never had the token, and sends nothing but a file, its type and its length.

The PUT is the standard library's: no cookies, no default headers, no redirects, no proxy, no log line with the URL (a
secret), and half the CPU for each byte that HTTPX2 takes. The bytes go out from a worker thread, which leaves the event
loop free.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.client import HTTPConnection, HTTPException
from typing import Literal, Protocol, Self

import anyio
import anyio.to_thread
import httpx2
from starlette.types import ASGIApp

from ttp_mcp.api.ssrf import Resolver, UploadTarget, UploadUrlRefused, parse_upload_url, resolve_public, system_resolver

BLOCK_BYTES = 256 * 1024
AT_ONCE = 4
FRESH_SECONDS = 270.0
CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
WRITE_SECONDS = 30.0

# again: a new attempt may succeed. expired: only with a new URL. changed, final: never.
FailureKind = Literal["again", "expired", "changed", "final"]


class UploadProblem(Exception):
    """A PUT did not store the file. `reason` is ours and holds nothing of the URL."""

    def __init__(self, kind: FailureKind, reason: str, status: int | None = None) -> None:
        """Keep the facts; `status` is the storage's HTTP status, where it answered."""
        super().__init__(reason)
        self.kind: FailureKind = kind
        self.reason = reason
        self.status = status


class UploadSource(Protocol):
    """What is sent. Every copy reads on a descriptor of its own."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from a place; none beyond the end."""
        ...

    def unchanged(self) -> bool:
        """Whether it still is what it was when it was opened."""
        ...

    def copy(self) -> Self:
        """Another one, closed on its own."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


class ByteCounter:
    """How many bytes of a file are on their way; written by one thread, read by others."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.count = 0


def allowed_seconds(size: int) -> float:
    """How long the PUT of so many bytes may take: 256 KiB a second, at least 5 s and at most 30 minutes."""
    return min(5.0 + size / (256 * 1024), 1800.0)


class PresignedUploader:
    """Where presigned uploads go."""

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
            loopback: Whether storage on this machine is allowed: only when the API is there too.
            monotonic: Seconds of a clock that never goes back.
            app: An application in this process that stands for the storage (the sandbox).
            resolve: How a host name becomes addresses; may block.
            tls: Which certificates are trusted, instead of the usual ones.
            seconds: How long the PUT of so many bytes may take.
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
            content_type: As it was presigned.
            source: The file; may be closed as soon as this returns.
            sent: Kept up to date while it goes out.
            fresh_until: When the URL is too old to start with, on the monotonic clock.

        Raises:
            StorageProblem: It was not stored, or not known to be.
        """
        try:
            place = parse_upload_url(url, loopback=self._loopback)
        except UploadUrlRefused as refused:
            raise UploadProblem("final", str(refused)) from None
        limit = self._seconds(source.size)
        sending = _Sending(place, content_type, source.copy(), sent, lambda: self._monotonic() < fresh_until)
        try:
            with anyio.fail_after(limit):
                status = await self._run(sending)
        except TimeoutError:
            raise UploadProblem("again", f"it was not stored within {limit:.0f} s") from None
        finally:
            sending.stop()
        _check_status(status)
        if sent.count != source.size:
            raise UploadProblem("again", "the storage answered before it had the whole file")
        if not source.unchanged():
            raise _changed()

    def turn(self) -> anyio.CapacityLimiter:
        """To be held for the whole of an upload: a few at once, or everything else that needs a thread would starve."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(AT_ONCE)
        return self._limiter

    async def _run(self, sending: "_Sending") -> int:
        if self._app is not None:
            return await sending.to_app(self._app)
        return await anyio.to_thread.run_sync(sending.to_network, self._resolve, self._tls, abandon_on_cancel=True)


class _Sending:
    """One PUT. Whichever side takes `_claim` closes the copy of the file: the thread, or the caller when no thread began."""

    def __init__(
        self, place: UploadTarget, content_type: str, source: UploadSource, sent: ByteCounter, fresh: Callable[[], bool]
    ) -> None:
        self._place = place
        self._content_type = content_type
        self._source = source
        self._sent = sent
        self._fresh = fresh
        self._claim = threading.Lock()
        self._stopped = False
        self._socket: socket.socket | None = None
        sent.count = 0

    def stop(self) -> None:
        """End it, wherever it is: a thread that waits for the network wakes up."""
        self._stopped = True
        if self._claim.acquire(blocking=False):
            self._source.close()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # Not the method of a TLS socket, which would first forget its encryption.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def to_network(self, resolve: Resolver, tls: ssl.SSLContext | None) -> int:
        """Send from this thread; the status of the answer.

        Raises:
            StorageProblem: There was none.
        """
        if not self._claim.acquire(blocking=False):  # pragma: no cover - only when cancelled just as the thread begins
            raise UploadProblem("final", "it was cancelled")
        try:
            for address in self._addresses(resolve):
                if self._stopped:
                    break
                status = self._to_address(address, tls)
                if status is not None:
                    return status
        finally:
            self._source.close()
        raise UploadProblem("again", "the storage could not be reached")

    def _addresses(self, resolve: Resolver) -> tuple[str, ...]:
        try:
            return resolve_public(self._place, resolve)
        except UploadUrlRefused as refused:
            raise UploadProblem("final", str(refused)) from None
        except (OSError, UnicodeError):
            raise UploadProblem("again", "the storage's name could not be resolved") from None

    def _to_address(self, address: str, tls: ssl.SSLContext | None) -> int | None:
        """The status, or None when nobody is at this address, or somebody else than the name's owner."""
        try:
            connection = self._connected(address, tls)
        except OSError:
            return None
        with connection:
            self._socket = connection
            try:
                return self._exchange(connection)
            except (HTTPException, OSError):
                raise UploadProblem("again", "the connection to the storage broke") from None

    def _connected(self, address: str, tls: ssl.SSLContext | None) -> socket.socket:
        settings = None if self._place.scheme == "http" else tls or httpx2.create_ssl_context()
        connection = socket.create_connection((address, self._place.port), CONNECT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if settings is None:
            return connection
        # The certificate has to be the name's, though the connection goes to an address.
        return settings.wrap_socket(connection, server_hostname=self._place.host.strip("[]"))

    def _exchange(self, connection: socket.socket) -> int:
        http = HTTPConnection(self._place.host)
        http.sock = connection
        http.putrequest("PUT", self._place.target, skip_host=True, skip_accept_encoding=True)
        for name, value in self._headers():
            http.putheader(name, value)
        http.endheaders()
        connection.settimeout(WRITE_SECONDS)
        try:
            for block in self._blocks():
                connection.sendall(block)
        except ConnectionError:
            # A storage that refuses early closes its side; its answer may be there all the same.
            pass
        connection.settimeout(READ_SECONDS)
        # The status is all that is needed; an endless body is never read.
        with http.getresponse() as response:
            return response.status

    async def to_app(self, app: ASGIApp) -> int:
        """Send to an application in this process; the status of the answer."""

        async def blocks() -> AsyncIterator[bytes]:
            pending = self._blocks()
            while (block := await anyio.to_thread.run_sync(next, pending, None)) is not None:
                yield block

        request = httpx2.Request("PUT", self._place.url(self._place.host), headers=self._headers(), content=blocks())
        return (await httpx2.ASGITransport(app).handle_async_request(request)).status_code

    def _headers(self) -> list[tuple[str, str]]:
        return [
            ("Host", self._place.authority),
            ("Content-Type", self._content_type),
            # Without it the body would be sent in chunks, which object stores refuse.
            ("Content-Length", str(self._source.size)),
        ]

    def _blocks(self) -> Iterator[bytes]:
        """The file, block by block. The last one only leaves when the file is still what it was."""
        if not self._fresh():
            raise UploadProblem("expired", "the upload URL was too old")
        size, offset = self._source.size, 0
        while offset < size:
            if self._stopped:
                raise UploadProblem("final", "it was cancelled")
            try:
                block = self._source.read_at(offset, min(BLOCK_BYTES, size - offset))
            except OSError:
                raise UploadProblem("final", "the file could not be read") from None
            offset += len(block)
            if not block or (offset == size and not self._source.unchanged()):
                raise _changed()
            yield block
            self._sent.count = offset


def _changed() -> UploadProblem:
    return UploadProblem("changed", "the file changed while it was sent")


def _check_status(status: int) -> None:
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise UploadProblem("final", "the storage answered with a redirect, which is never followed", status)
    if status in (400, 403):
        raise UploadProblem("expired", f"the storage did not accept the upload URL ({status})", status)
    if status in (408, 425, 429) or status >= 500:
        raise UploadProblem("again", f"the storage had a failure of its own ({status})", status)
    raise UploadProblem("final", f"the storage refused the file ({status})", status)
