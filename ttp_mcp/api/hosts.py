"""Connections to hosts other than the API's: the storage of uploads, and the servers of media that an agent names by URL.

They are hostile until `ssrf` has checked them. The standard library sends no token, no cookies, no default headers, follows no
redirect or proxy, logs no URL (a secret), and takes half the CPU per byte of HTTPX2. It blocks, so a worker thread uses it.
"""

import contextlib
import socket
import ssl
import sys
import threading
from collections.abc import Generator, Mapping
from http.client import HTTPConnection, HTTPException
from typing import Literal

from ttp_mcp.api import network
from ttp_mcp.api.ssrf import Resolver, UploadTarget, UploadUrlRefused, parse_upload_url, resolve_public

AT_ONCE = 4
CONNECT_SECONDS = 5.0
READ_SECONDS = 15.0

# retryable: a new attempt may succeed. expired: only with a new URL. changed, permanent: never.
FailureKind = Literal["retryable", "expired", "changed", "permanent"]


class TransferProblem(Exception):
    """A file was not transferred. `reason` contains nothing of the URL."""

    def __init__(self, kind: FailureKind, reason: str, status: int | None = None) -> None:
        """Keep the facts; `status` is the host's HTTP status, if it responded."""
        super().__init__(reason)
        self.kind: FailureKind = kind
        self.reason = reason
        self.status = status


class TransferStopped(Exception):
    """The caller stopped the transfer, so its result is never read."""


class HostConnection:
    """A way to checked hosts for one transfer. One thread uses it, another may stop it."""

    def __init__(
        self, host: str, address: str, *, loopback: bool, resolve: Resolver, tls: ssl.SSLContext | None
    ) -> None:
        """Connect nowhere.

        Args:
            host: Name of the host in problems, such as `the storage`.
            address: Name of its URL in problems.
            loopback: Whether this machine is allowed too, over http and on any port.
            resolve: Returns the addresses of a host name; may block.
            tls: Replaces the usual TLS context.
        """
        self._host = host
        self._address = address
        self._loopback = loopback
        self._resolve = resolve
        self._tls = tls
        self._socket: socket.socket | None = None
        self._stopped = threading.Event()

    def check(self, url: str) -> UploadTarget:
        """Check a URL by its text alone.

        Raises:
            TransferProblem: It breaks a rule.
        """
        try:
            return parse_upload_url(url, loopback=self._loopback)
        except UploadUrlRefused as refused:
            raise TransferProblem("permanent", f"{self._address} {refused}") from None

    @contextlib.contextmanager
    def send_head(self, method: str, target: UploadTarget, headers: Mapping[str, str]) -> Generator[HTTPConnection]:
        """Connect and send the head of a request; the block sends the body and reads the response.

        Raises:
            TransferProblem: The host can't be reached, or the connection broke.
        """
        with self._connect(target) as connection:
            self._socket = connection
            http = HTTPConnection(target.host)
            http.sock = connection
            try:
                http.putrequest(method, target.target, skip_host=True, skip_accept_encoding=True)
                for name, value in headers.items():
                    http.putheader(name, value)
                http.endheaders()
                yield http
            except (HTTPException, OSError):
                raise TransferProblem("retryable", f"the connection to {self._host} broke") from None

    def stop(self) -> None:
        """Stop at any point; a thread that waits for the network wakes up."""
        self._stopped.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # The method of a TLS socket would first drop the encryption.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
                if sys.platform == "win32":  # pragma: no cover - Windows only
                    # On Windows only closing wakes a blocked call; the Python method would wait for readers of the response.
                    socket.SocketType.close(self._socket)

    def check_not_stopped(self) -> None:
        """Check whether the transfer may go on.

        Raises:
            TransferStopped: The caller stopped it.
        """
        if self._stopped.is_set():
            raise TransferStopped

    def _connect(self, target: UploadTarget) -> socket.socket:
        """Connect to the first address that can be reached."""
        for address in self._find_addresses(target):
            self.check_not_stopped()
            try:
                return self._connect_to(address, target)
            except network.UnusableSetting as setting:
                raise TransferProblem("permanent", f"the file that {setting.variable} names can't be read") from None
            except OSError as error:
                if network.find_reason(error) in ("issuer", "certificate"):
                    advice = "SSL_CERT_FILE has to name your company's CA"
                    raise TransferProblem("permanent", f"{self._host}'s certificate isn't trusted; {advice}") from None
        raise TransferProblem("retryable", f"{self._host} could not be reached")

    def _find_addresses(self, target: UploadTarget) -> tuple[str, ...]:
        try:
            return resolve_public(target, self._resolve)
        except UploadUrlRefused as refused:
            raise TransferProblem("permanent", f"{self._address} {refused}") from None
        except (OSError, UnicodeError):
            raise TransferProblem("retryable", f"{self._host}'s name could not be resolved") from None

    def _connect_to(self, address: str, target: UploadTarget) -> socket.socket:
        tls = None if target.scheme == "http" else self._tls or network.create_tls_context()
        connection = socket.create_connection((address, target.port), CONNECT_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is None:
            return connection
        # The certificate must be for the name, although the connection goes to an address.
        return tls.wrap_socket(connection, server_hostname=target.host.strip("[]"))
