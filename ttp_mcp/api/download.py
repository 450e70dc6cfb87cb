"""Downloads of media by URL into temporary files. Each redirect is checked like the first URL.

Nothing is decompressed, and size and time are bounded.
"""

import os
import ssl
import tempfile
from collections.abc import Callable
from functools import partial
from http.client import HTTPResponse
from typing import IO
from urllib.parse import quote, unquote, urljoin, urlsplit

import anyio
import anyio.to_thread

from ttp_mcp.api.hosts import AT_ONCE, READ_SECONDS, HostConnection, TransferProblem
from ttp_mcp.api.ssrf import Resolver, system_resolver
from ttp_mcp.media.files import OpenFile

MOST_BYTES = 512 * 1024**2
MOST_REDIRECTS = 3
TOTAL_SECONDS = 120.0
HEAD_BYTES = 64
_BLOCK_BYTES = 256 * 1024
_REDIRECTS = (301, 302, 303, 307, 308)
# Characters with a meaning in URLs; all others are encoded.
_SAFE = "%/:?[]@!$&'()*+,;=~-._"


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
        self._create_connection = partial(
            HostConnection, "its server", "the address", loopback=loopback, resolve=resolve, tls=tls
        )
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    async def fetch(self, url: str, accept: Callable[[bytes], bool]) -> OpenFile:
        """Fetch a file by its https URL; the caller closes it.

        `accept` checks the first bytes. The rest of a file that it rejects isn't fetched.

        Raises:
            TransferProblem: The file was not fetched.
        """
        connection = self._create_connection()
        async with self._limiter:
            try:
                with anyio.fail_after(self._seconds):
                    return await anyio.to_thread.run_sync(self._follow, connection, url, accept, abandon_on_cancel=True)
            except TimeoutError:
                raise TransferProblem("retryable", f"it was not received within {self._seconds:.0f} s") from None
            finally:
                connection.stop()

    def _follow(self, connection: HostConnection, url: str, accept: Callable[[bytes], bool]) -> OpenFile:
        """Follow a URL to its file, in a thread."""
        with tempfile.TemporaryFile() as file:
            for _ in range(MOST_REDIRECTS + 1):
                if not url.isprintable():
                    raise TransferProblem("permanent", "the address has control characters")
                target = connection.check(quote(url.partition("#")[0], safe=_SAFE))
                headers = {"Host": target.authority, "Accept": "image/*, video/*", "Accept-Encoding": "identity"}
                with connection.send_head("GET", target, headers) as http:
                    http.sock.settimeout(READ_SECONDS)
                    with http.getresponse() as response:
                        if response.status not in _REDIRECTS:
                            self._receive(connection, response, accept, file)
                            file.flush()
                            name = unquote(urlsplit(url).path.rpartition("/")[2])
                            return OpenFile.adopt(os.dup(file.fileno()), name)
                        url = _join_url(url, response.headers.get("location") or "")
        raise TransferProblem("permanent", f"it redirects more than {MOST_REDIRECTS} times")

    def _receive(
        self, connection: HostConnection, response: HTTPResponse, accept: Callable[[bytes], bool], file: IO[bytes]
    ) -> None:
        """Write the body of a response to a file."""
        _check_head(response)
        self._check_size(response.length or 0)
        expected, received, head = response.length, 0, b""
        while block := response.read1(_BLOCK_BYTES):
            connection.check_not_stopped()
            received += len(block)
            self._check_size(received)
            file.write(block)
            if len(head) < HEAD_BYTES:
                head = (head + block)[:HEAD_BYTES]
                if len(head) == HEAD_BYTES and not accept(head):
                    return
        if not received:
            raise TransferProblem("permanent", "it is empty")
        if expected is not None and received != expected:
            raise TransferProblem("retryable", "the connection to its server broke")

    def _check_size(self, size: int) -> None:
        if size > self._most_bytes:
            raise TransferProblem("permanent", f"it has more than the {self._most_bytes} bytes that are fetched by URL")


def _check_head(response: HTTPResponse) -> None:
    if response.status != 200:
        is_transient = response.status in (408, 425, 429) or response.status >= 500
        raise TransferProblem("retryable" if is_transient else "permanent", f"its server answered {response.status}")
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise TransferProblem("permanent", "its server sent it compressed, which is never unpacked")


def _join_url(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise TransferProblem("permanent", "it redirects to something that isn't a URL") from None
