"""Checks of URLs against SSRF. An `uploadUrl`, and a URL that an agent names, come from outside and count as hostile.

The name is resolved once, all its addresses must be public, and the connection goes to one of exactly these: a name that
resolves differently the second time changes nothing.
"""

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from ttp_mcp.config import is_loopback_host

MOST_CHARACTERS = 8192
MOST_ADDRESSES = 16

Resolver = Callable[[str, int], list[str]]

# Path and query: printable ASCII without `#` and backslash.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9A-Fa-f:]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<target>/[!\x22$-\[\]^-~]*)"
)
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
# Some resolvers read a name with such a last label as an IPv4 address: 127.1, 0x7f.1, 2130706433.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Networks for protocols, relays and documentation; Python versions differ on which of these are global.
_RESERVED = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20")))
# ISATAP: the last 32 bits are an IPv4 address, usually private, to which a local router would lead.
_ISATAP = (0x00005EFE, 0x02005EFE)


class UploadUrlRefused(ValueError):
    """The URL breaks a rule. The text continues a sentence that begins with the URL's name, and has nothing of the URL."""


@dataclass(frozen=True, slots=True)
class UploadTarget:
    """Parts of a checked upload URL. `target` is path and query: a secret."""

    scheme: str
    host: str
    port: int
    target: str
    loopback: bool

    def __repr__(self) -> str:
        return f"UploadTarget({self.host})"

    @property
    def authority(self) -> str:
        """Host header: the host, with the port unless it is the scheme's default."""
        return self.host if self.port == (443 if self.scheme == "https" else 80) else f"{self.host}:{self.port}"

    def url(self, address: str) -> str:
        """Return the URL with an address instead of the name."""
        literal = f"[{address}]" if ":" in address and address[0] != "[" else address
        return f"{self.scheme}://{literal}:{self.port}{self.target}"


def parse_upload_url(url: str, *, loopback: bool = False) -> UploadTarget:
    """Check an upload URL by its text alone. `loopback` allows this machine too, over http and on any port.

    Raises:
        UploadUrlRefused: It breaks a rule.
    """
    found = _URL.fullmatch(url) if len(url) <= MOST_CHARACTERS else None
    if found is None:
        raise UploadUrlRefused("is not a plain https URL")
    scheme, host = found["scheme"], found["host"].lower()
    port = int(found["port"] or (443 if scheme == "https" else 80))
    here = _is_local(host)
    if here and not loopback:
        raise UploadUrlRefused("is on this machine")
    if not here and scheme != "https":
        raise UploadUrlRefused("is not https")
    if not here and port != 443:
        raise UploadUrlRefused("has a port of its own")
    if port > 65535:
        raise UploadUrlRefused("has no usable port")
    if not is_loopback_host(host) and not _is_name(host):
        raise UploadUrlRefused("names no host")
    return UploadTarget(scheme, host, port, found["target"], here)


def _is_name(host: str) -> bool:
    labels = host.split(".")
    return len(labels) > 1 and all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1])


def is_on_this_machine(base_url: str) -> bool:
    """Check whether the API's own base URL is on this machine."""
    return _is_local(urlsplit(base_url).hostname or "")


def _is_local(host: str) -> bool:
    return is_loopback_host(host) or host.endswith(".localhost")


def resolve_public(target: UploadTarget, resolve: Resolver) -> tuple[str, ...]:
    """Resolve the host to addresses that may all be connected to. Blocks.

    Raises:
        UploadUrlRefused: One of them isn't public.
        OSError: The name can't be resolved.
    """
    if target.loopback:
        # Names below localhost are this machine by definition: a resolver isn't asked, so it can't redirect them.
        return ("127.0.0.1", "::1") if target.host.endswith("localhost") else (target.host.strip("[]"),)
    found = tuple(dict.fromkeys(resolve(target.host, target.port)))[:MOST_ADDRESSES]
    if not all(map(is_public, found)):
        raise UploadUrlRefused("leads into a private network")
    return found


def is_public(address: str) -> bool:
    """Check whether an IP address is an ordinary internet address, including one embedded in another."""
    try:
        given = ipaddress.ip_address(address)
    except ValueError:
        return False
    ip = _unwrap_ipv4(given)
    return (
        ip.is_global
        and not ip.is_multicast
        and (ip.version == 4 or ip in _GLOBAL_V6)
        and not any(ip in network for network in _RESERVED)
        and int(given) >> 32 & 0xFFFFFFFF not in _ISATAP
    )


def _unwrap_ipv4(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address inside a mapped, 6to4 or NAT64 one."""
    if ip.version == 4:
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def system_resolver(host: str, port: int) -> list[str]:
    """Look a name up with the machine's own resolver.

    Raises:
        OSError: The name is unknown, or the resolver doesn't answer.
    """
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
