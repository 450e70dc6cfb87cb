"""Proxy and certificate settings of the environment, and the reason why a connection could not be made."""

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2

from ttp_mcp import config

Reason = Literal[
    "name",
    "refused",
    "timeout",
    "issuer",
    "expired",
    "other_name",
    "certificate",
    "tls",
    "proxy_refused",
    "proxy_setting",
    "ca_setting",
    "unknown",
]
# Codes of OpenSSL (X509_V_ERR), of Windows (CERT_E) and of macOS (errSec), whose own stores decide there.
_CERTIFICATE: dict[int, Reason] = {
    **dict.fromkeys((2, 18, 19, 20, 21, 0x800B0109, 0x800B010A, 0x800B0112, -67843), "issuer"),
    **dict.fromkeys((9, 10, 0x800B0101, -67818), "expired"),
    **dict.fromkeys((62, 64, 0x800B010F, -67602), "other_name"),
}


class UnusableSetting(ValueError):
    """A network setting of the environment can't be used. `variable` is its name; None for a setting of the system."""

    def __init__(self, reason: Reason, variable: str | None) -> None:
        """Keep the facts; the value may hold a password, so it isn't kept."""
        super().__init__(f"{reason}: {variable}")
        self.reason: Reason = reason
        self.variable = variable


def find_proxy(url: str) -> tuple[str | None, str | None]:
    """Find the proxy for a URL: its address, and the variable that names it; None for no proxy and for the system's own.

    Raises:
        UnusableSetting: It isn't an HTTP proxy, or not a URL.
    """
    target, proxies = urlsplit(url), getproxies()
    scheme = next((each for each in (target.scheme, "all") if proxies.get(each)), None)
    if scheme is None or proxy_bypass(target.netloc):
        return None, None
    address, variable = proxies[scheme], _variable_of(scheme)
    address = address if "://" in address else f"http://{address}"
    try:
        parsed = httpx2.URL(address)
    except (httpx2.InvalidURL, ValueError):
        raise UnusableSetting("proxy_setting", variable) from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise UnusableSetting("proxy_setting", variable)
    return address, variable


def _variable_of(scheme: str) -> str | None:
    """Find the variable that Python's `getproxies` prefers: the lower-case one."""
    environ = config.read_environment()
    return max((name for name in environ if name.lower() == f"{scheme}_proxy" and environ[name]), default=None)


def create_tls_context() -> ssl.SSLContext:
    """Create a context that trusts the CAs of SSL_CERT_FILE, else of SSL_CERT_DIR, else of the system.

    Raises:
        UnusableSetting: They can't be read.
    """
    environ = config.read_environment()
    variable = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environ.get(name)), None)
    try:
        if variable == "SSL_CERT_DIR":
            # OpenSSL ignores a missing folder, and every certificate would be of an unknown issuer.
            next(Path(environ[variable]).iterdir(), None)
        return httpx2.create_ssl_context()
    except OSError:
        raise UnusableSetting("ca_setting", variable) from None


def find_reason(error: BaseException) -> Reason:
    """Find out why a connection could not be made, from the error and its causes."""
    for cause in _causes_of(error):
        if reason := _reason_of(cause):
            return reason
    return "unknown"


def _reason_of(cause: BaseException) -> Reason | None:
    match cause:
        case httpx2.ProxyError():
            return "proxy_refused"
        case TimeoutError() | httpx2.TimeoutException():
            return "timeout"
        case ssl.SSLCertVerificationError():
            return _CERTIFICATE.get(cause.verify_code, "certificate")
        case ssl.SSLWantReadError() | ssl.SSLWantWriteError():
            return None
        case ssl.SSLError():
            return "tls"
        case socket.gaierror() | UnicodeError():
            return "name"
        case ConnectionRefusedError():
            return "refused"
        case _:
            return None


def _causes_of(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
                yield from _causes_of(each)
        error = error.__cause__ or error.__context__
