"""The bare client that fetches media by URL. A URL comes from an agent, so it is hostile until `ssrf` has checked it.

It sends no token, no cookie and no credentials, connects only to public addresses that were checked, and checks each
redirect like the first URL. Nothing is decompressed, and size and time are bounded.
"""

import contextlib
import os
import socket
import ssl
import tempfile
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import IO
from urllib.parse import quote, unquote, urldefrag, urljoin, urlsplit

import anyio
import anyio.to_thread

from ttp_mcp.api import network
from ttp_mcp.api.ssrf import Resolver, UploadTarget, UploadUrlRefused, parse_upload_url, resolve_public, system_resolver
from ttp_mcp.media.files import OpenFile

MOST_BYTES = 512 * 1024**2
MOST_REDIRECTS = 3
TOTAL_SECONDS = 120.0
CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0
AT_ONCE = 4
HEAD_BYTES = 64
_BLOCK_BYTES = 256 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
# Characters with a meaning in URLs; all others are encoded.
_SAFE = "%/:?[]@!$&'()*+,;=~-._"


class DownloadProblem(Exception):
    """A file could not be fetched. `reason` contains nothing of the URL; `transient` if another attempt may succeed."""

    def __init__(self, reason: str, *, transient: bool = False) -> None:
        """Keep the facts."""
        super().__init__(reason)
        self.reason = reason
        self.transient = transient


class MediaDownloader:
    """Fetch media from public https URLs into temporary files."""

    def __init__(
        self,
        *,
        loopback: bool = False,
        resolve: Resolver = system_resolver,
        tls: ssl.SSLContext | None = None,
        most_bytes: int = MOST_BYTES,
        seconds: float = TOTAL_SECONDS,
    ) -> None:
        """Open nothing.

        Args:
            loopback: Allow this machine too, over http and on any port; for tests.
            resolve: Returns the addresses of a host name; may block.
            tls: Replaces the usual TLS context.
            most_bytes: Largest file.
            seconds: Longest time for one file, redirects included.
        """
        self._loopback = loopback
        self._resolve = resolve
        self._tls = tls
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._limiter: anyio.CapacityLimiter | None = None

    async def fetch(self, url: str, accept: Callable[[bytes], bool]) -> OpenFile:
        """Fetch a file; the caller closes it.

        Args:
            url: An https URL.
            accept: Checks the first bytes. The rest of a file that it rejects isn't fetched.

        Raises:
            DownloadProblem: The file was not fetched.
        """
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(AT_ONCE)
        fetching = _Fetching(self._loopback, self._resolve, self._tls, self._most_bytes, accept)
        async with self._limiter:
            try:
                with anyio.fail_after(self._seconds):
                    return await anyio.to_thread.run_sync(fetching.run, url, abandon_on_cancel=True)
            except TimeoutError:
                raise DownloadProblem(f"it was not received within {self._seconds:.0f} s", transient=True) from None
            finally:
                fetching.stop()


class _Fetching:
    """One download, in its own thread."""

    def __init__(
        self,
        loopback: bool,
        resolve: Resolver,
        tls: ssl.SSLContext | None,
        most_bytes: int,
        accept: Callable[[bytes], bool],
    ) -> None:
        self._loopback = loopback
        self._resolve = resolve
        self._tls = tls
        self._most_bytes = most_bytes
        self._accept = accept
        self._stopped = False
        self._socket: socket.socket | None = None

    def stop(self) -> None:
        """Wake up a thread that waits for the network; no effect once it has ended."""
        self._stopped = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def run(self, url: str) -> OpenFile:
        """Follow a URL to its file.

        Raises:
            DownloadProblem: The file was not fetched.
        """
        with tempfile.TemporaryFile() as file:
            for _ in range(MOST_REDIRECTS + 1):
                target = self._check(url)
                location = self._fetch(target, file)
                if location is None:
                    file.flush()
                    return OpenFile.adopt(os.dup(file.fileno()), _get_file_name(url))
                url = _join_url(url, location)
        raise DownloadProblem(f"it redirects more than {MOST_REDIRECTS} times")

    def _check(self, url: str) -> UploadTarget:
        if not url.isprintable():
            raise DownloadProblem("the address has control characters")
        try:
            return parse_upload_url(quote(urldefrag(url)[0], safe=_SAFE), loopback=self._loopback)
        except (UploadUrlRefused, ValueError) as refused:
            raise DownloadProblem(_reword_refusal(refused)) from None

    def _fetch(self, target: UploadTarget, file: IO[bytes]) -> str | None:
        """Write the file of a URL, or return the target of its redirect."""
        problem = DownloadProblem("its server could not be reached", transient=True)
        for address in self._find_addresses(target):
            try:
                connection = self._connect(target, address)
            except network.UnusableSetting as setting:
                raise DownloadProblem(f"the file that {setting.variable} names can't be read") from None
            except OSError as error:
                problem = _describe_failed_connection(error)
                if not problem.transient:
                    break
                continue
            with connection:
                return self._exchange(target, connection, file)
        raise problem

    def _find_addresses(self, target: UploadTarget) -> tuple[str, ...]:
        try:
            return resolve_public(target, self._resolve)
        except UploadUrlRefused as refused:
            raise DownloadProblem(_reword_refusal(refused)) from None
        except (OSError, UnicodeError):
            raise DownloadProblem("its host name could not be resolved", transient=True) from None

    def _connect(self, target: UploadTarget, address: str) -> socket.socket:
        if self._stopped:
            raise DownloadProblem("it was cancelled")
        tls = None if target.scheme == "http" else self._tls or network.create_tls_context()
        connection = socket.create_connection((address, target.port), CONNECT_SECONDS)
        if tls is not None:
            # The certificate must be for the name, although the connection goes to an address.
            connection = tls.wrap_socket(connection, server_hostname=target.host.strip("[]"))
        self._socket = connection
        connection.settimeout(READ_SECONDS)
        return connection

    def _exchange(self, target: UploadTarget, connection: socket.socket, file: IO[bytes]) -> str | None:
        http = HTTPConnection(target.host)
        http.sock = connection
        try:
            http.putrequest("GET", target.target, skip_host=True, skip_accept_encoding=True)
            for name, value in (
                ("Host", target.authority),
                ("Accept", "image/*, video/*"),
                ("Accept-Encoding", "identity"),
            ):
                http.putheader(name, value)
            http.endheaders()
            with http.getresponse() as response:
                if response.status in _REDIRECTS:
                    return response.headers.get("location") or ""
                self._check_head(response)
                self._receive(response, file)
                return None
        except (HTTPException, OSError):
            raise DownloadProblem("the connection to its server broke", transient=True) from None

    def _check_head(self, response: HTTPResponse) -> None:
        if response.status != 200:
            transient = response.status in (408, 425, 429) or response.status >= 500
            raise DownloadProblem(f"its server answered {response.status}", transient=transient)
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise DownloadProblem("its server sent it compressed, which is never unpacked")
        if (response.length or 0) > self._most_bytes:
            raise self._too_large()

    def _receive(self, response: HTTPResponse, file: IO[bytes]) -> None:
        expected, received, head = response.length, 0, b""
        while block := response.read1(_BLOCK_BYTES):
            if self._stopped:
                raise DownloadProblem("it was cancelled")
            received += len(block)
            if received > self._most_bytes:
                raise self._too_large()
            file.write(block)
            if len(head) < HEAD_BYTES:
                head = (head + block)[:HEAD_BYTES]
                if len(head) == HEAD_BYTES and not self._accept(head):
                    return
        if not received:
            raise DownloadProblem("it is empty")
        if expected is not None and received != expected:
            raise DownloadProblem("the connection to its server broke", transient=True)

    def _too_large(self) -> DownloadProblem:
        return DownloadProblem(f"it has more than the {self._most_bytes} bytes that are fetched by URL")


def _describe_failed_connection(error: OSError) -> DownloadProblem:
    if network.find_reason(error) in ("issuer", "certificate"):
        return DownloadProblem(
            "the certificate of its server isn't trusted; SSL_CERT_FILE has to name your company's CA"
        )
    return DownloadProblem("its server could not be reached", transient=True)


def _join_url(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise DownloadProblem("it redirects to something that isn't a URL") from None


def _reword_refusal(refused: Exception) -> str:
    return str(refused).replace("the upload address", "the address")


def _get_file_name(url: str) -> str:
    """Return the last part of a URL's path, not cleaned for display."""
    return unquote(urlsplit(url).path.rpartition("/")[2], errors="replace")
