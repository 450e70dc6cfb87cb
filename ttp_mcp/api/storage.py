"""The bare client for storage: it never had the token, and sends nothing but a file, its type and its length.

It uses HTTPX2's transport without a client around it: no cookies, no default headers, no redirects, no proxy, and no log
line with the URL, which is a secret. The bytes go out from a worker thread, which costs half the CPU of sending them from
the event loop and leaves that free.
"""

import contextlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal, Protocol, Self

import anyio
import anyio.to_thread
import httpx2
from starlette.types import ASGIApp

from ttp_mcp.api.addresses import AddressRefused, Place, Resolver, addresses_of, place_of, system_resolver

BLOCK_BYTES = 256 * 1024
AT_ONCE = 4
FRESH_SECONDS = 270.0
CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
WRITE_SECONDS = 30.0

# again: a new attempt may succeed. expired: only with a new URL. changed, final: never.
Kind = Literal["again", "expired", "changed", "final"]


class StorageProblem(Exception):
    """A PUT did not store the file. `reason` is ours and holds nothing of the URL."""

    def __init__(self, kind: Kind, reason: str, status: int | None = None) -> None:
        """Keep the facts; `status` is the storage's HTTP status, where it answered."""
        super().__init__(reason)
        self.kind: Kind = kind
        self.reason = reason
        self.status = status


class Source(Protocol):
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


class Sent:
    """How many bytes of a file are on their way; written by one thread, read by others."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.count = 0


def allowed_seconds(size: int) -> float:
    """How long the PUT of so many bytes may take: 256 KiB a second, at least 5 s and at most 30 minutes."""
    return min(5.0 + size / (256 * 1024), 1800.0)


class Storage:
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

    async def put(self, url: str, content_type: str, source: Source, sent: Sent, *, fresh_until: float) -> None:
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
            place = place_of(url, loopback=self._loopback)
        except AddressRefused as refused:
            raise StorageProblem("final", str(refused)) from None
        limit = self._seconds(source.size)
        sending = _Sending(place, content_type, source.copy(), sent, lambda: self._monotonic() < fresh_until)
        try:
            with anyio.fail_after(limit):
                status = await self._run(sending)
        except TimeoutError:
            raise StorageProblem("again", f"it was not stored within {limit:.0f} s") from None
        finally:
            sending.stop()
        _check_status(status)
        if sent.count != source.size:
            raise StorageProblem("again", "the storage answered before it had the whole file")
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

    def __init__(self, place: Place, content_type: str, source: Source, sent: Sent, fresh: Callable[[], bool]) -> None:
        self._place = place
        self._content_type = content_type
        self._source = source
        self._sent = sent
        self._fresh = fresh
        self._claim = threading.Lock()
        self._stopped = False
        self._stream: Any = None
        sent.count = 0

    def stop(self) -> None:
        """End it, wherever it is: a thread that waits for the network wakes up."""
        self._stopped = True
        if self._claim.acquire(blocking=False):
            self._source.close()
        if self._stream is not None:
            with contextlib.suppress(OSError):
                # Not the method of a TLS socket, which would first forget its encryption.
                socket.socket.shutdown(self._stream.get_extra_info("socket"), socket.SHUT_RDWR)

    def to_network(self, resolve: Resolver, tls: ssl.SSLContext | None) -> int:
        """Send from this thread; the status of the answer.

        Raises:
            StorageProblem: There was none.
        """
        if not self._claim.acquire(blocking=False):  # pragma: no cover - only when cancelled just as the thread begins
            raise StorageProblem("final", "it was cancelled")
        try:
            for address in self._addresses(resolve):
                status = self._to_address(address, tls)
                if status is not None:
                    return status
        finally:
            self._source.close()
        raise StorageProblem("again", "the storage could not be reached")

    def _addresses(self, resolve: Resolver) -> tuple[str, ...]:
        try:
            return addresses_of(self._place, resolve)
        except AddressRefused as refused:
            raise StorageProblem("final", str(refused)) from None
        except (OSError, UnicodeError):
            raise StorageProblem("again", "the storage's name could not be resolved") from None

    def _to_address(self, address: str, tls: ssl.SSLContext | None) -> int | None:
        """The status, or None when nobody is at this address."""
        secure = self._place.scheme == "https"
        request = self._request(address, self._blocks())
        with httpx2.HTTPTransport(verify=tls or secure) as transport:
            try:
                response = transport.handle_request(request)
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                return None
            except (httpx2.TransportError, OSError):
                raise StorageProblem("again", "the connection to the storage broke") from None
            # The status is all that is needed; an endless body is never read.
            response.close()
            return response.status_code

    async def to_app(self, app: ASGIApp) -> int:
        """Send to an application in this process; the status of the answer."""

        async def blocks() -> AsyncIterator[bytes]:
            pending = self._blocks()
            while (block := await anyio.to_thread.run_sync(next, pending, None)) is not None:
                yield block

        response = await httpx2.ASGITransport(app).handle_async_request(self._request(self._place.host, blocks()))
        return response.status_code

    def _request(self, address: str, blocks: Iterator[bytes] | AsyncIterator[bytes]) -> httpx2.Request:
        place = self._place
        return httpx2.Request(
            "PUT",
            place.url(address),
            headers=[
                ("Host", place.authority),
                ("Content-Type", self._content_type),
                # Without it the body would be sent in chunks, which object stores refuse.
                ("Content-Length", str(self._source.size)),
            ],
            content=blocks,
            extensions={
                "timeout": {
                    "connect": CONNECT_SECONDS,
                    "read": READ_SECONDS,
                    "write": WRITE_SECONDS,
                    "pool": CONNECT_SECONDS,
                },
                # The certificate has to be the name's, though the connection goes to an address.
                "sni_hostname": place.host.strip("[]"),
                "trace": self._trace,
            },
        )

    def _trace(self, event: str, facts: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._stream = facts["return_value"]

    def _blocks(self) -> Iterator[bytes]:
        """The file, block by block. The last one only leaves when the file is still what it was."""
        if not self._fresh():
            raise StorageProblem("expired", "the upload URL was too old")
        size, offset = self._source.size, 0
        while offset < size:
            if self._stopped:
                raise StorageProblem("final", "it was cancelled")
            try:
                block = self._source.read_at(offset, min(BLOCK_BYTES, size - offset))
            except OSError:
                raise StorageProblem("final", "the file could not be read") from None
            offset += len(block)
            if not block or (offset == size and not self._source.unchanged()):
                raise _changed()
            yield block
            self._sent.count = offset


def _changed() -> StorageProblem:
    return StorageProblem("changed", "the file changed while it was sent")


def _check_status(status: int) -> None:
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise StorageProblem("final", "the storage answered with a redirect, which is never followed", status)
    if status in (400, 403):
        raise StorageProblem("expired", f"the storage did not accept the upload URL ({status})", status)
    if status in (408, 425, 429) or status >= 500:
        raise StorageProblem("again", f"the storage had a failure of its own ({status})", status)
    raise StorageProblem("final", f"the storage refused the file ({status})", status)
