"""Which upload addresses may be connected to. An `uploadUrl` comes from outside and is hostile until these rules say otherwise.

The name is resolved once, every address it has must be public, and the connection goes to one of exactly these: a name that
answers differently the second time changes nothing.
"""

import ipaddress
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

MOST_CHARACTERS = 8192
MOST_ADDRESSES = 16

Resolver = Callable[[str, int], list[str]]

# The path and query hold printable ASCII but no `#` and no backslash.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9A-Fa-f:]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<target>/[!\x22$-\[\]^-~]*)"
)
_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
# A last label of this form makes the whole name an IPv4 address for some resolvers: 127.1, 0x7f.1, 2130706433.
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_LOOPBACK = {"127.0.0.1": ("127.0.0.1",), "[::1]": ("::1",), "localhost": ("127.0.0.1", "::1")}
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# For protocols, relays and documentation: which of these the standard library calls global differs by its version.
_NOBODYS = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20")))
# ISATAP: what follows in the last 32 bits is an IPv4 address, mostly a private one, to which a router here would lead.
_ISATAP = (0x00005EFE, 0x02005EFE)


class UploadUrlRefused(ValueError):
    """An address is not connected to. The text is the rule it breaks, without anything of the address."""


@dataclass(frozen=True, slots=True)
class UploadTarget:
    """A checked upload URL, taken apart. `target` is path and query: a secret."""

    scheme: str
    host: str
    port: int
    target: str
    loopback: bool

    def __repr__(self) -> str:
        return f"Place({self.host})"

    @property
    def authority(self) -> str:
        """Host, and the port where it is not the scheme's own: the Host header."""
        return self.host if self.port == (443 if self.scheme == "https" else 80) else f"{self.host}:{self.port}"

    def url(self, address: str) -> str:
        """The URL with an address in place of the name."""
        literal = f"[{address}]" if ":" in address and address[0] != "[" else address
        return f"{self.scheme}://{literal}:{self.port}{self.target}"


def parse_upload_url(url: str, *, loopback: bool = False) -> UploadTarget:
    """Check an upload URL by its text alone.

    Args:
        url: What the API answered.
        loopback: Whether this machine is allowed too, over http and on any port: only when the API itself is there.

    Raises:
        AddressRefused: With the rule.
    """
    found = _URL.fullmatch(url) if len(url) <= MOST_CHARACTERS else None
    if found is None:
        raise UploadUrlRefused("the upload address is not a plain https URL")
    scheme, host = found["scheme"], found["host"].lower()
    port = int(found["port"] or (443 if scheme == "https" else 80))
    here = host in _LOOPBACK or host.endswith(".localhost")
    if here and not loopback:
        raise UploadUrlRefused("the upload address is on this machine")
    if not here and scheme != "https":
        raise UploadUrlRefused("the upload address is not https")
    if not here and port != 443:
        raise UploadUrlRefused("the upload address has a port of its own")
    if port > 65535:
        raise UploadUrlRefused("the upload address has no usable port")
    if host not in _LOOPBACK and not _is_name(host):
        raise UploadUrlRefused("the upload address names no host")
    return UploadTarget(scheme, host, port, found["target"], here)


def _is_name(host: str) -> bool:
    labels = host.split(".")
    return len(labels) > 1 and all(map(_LABEL.fullmatch, labels)) and not _NUMBER.fullmatch(labels[-1])


def is_loopback(base_url: str) -> bool:
    """Whether the API's own base URL is on this machine."""
    host = urlsplit(base_url).hostname or ""
    return host in ("127.0.0.1", "::1", "localhost") or host.endswith(".localhost")


def resolve_public(place: UploadTarget, resolve: Resolver) -> tuple[str, ...]:
    """The addresses of a place, all of which may be connected to. Blocks while the name is looked up.

    Raises:
        AddressRefused: One of them is not public.
        OSError: The name can't be resolved.
    """
    if place.loopback:
        # Names below localhost are this machine by definition; no resolver is asked, so none can say otherwise.
        return _LOOPBACK.get(place.host, _LOOPBACK["localhost"])
    found = tuple(dict.fromkeys(resolve(place.host, place.port)))[:MOST_ADDRESSES]
    if not all(map(is_public, found)):
        raise UploadUrlRefused("the upload address leads into a private network")
    return found


def is_public(address: str) -> bool:
    """Whether an IP address is an ordinary one of the internet, also when it is wrapped into another."""
    try:
        given = ipaddress.ip_address(address)
    except ValueError:
        return False
    ip = _unwrapped(given)
    ordinary = ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified
    return (
        ordinary
        and (ip.version == 4 or ip in _GLOBAL_V6)
        and not any(ip in network for network in _NOBODYS)
        and int(given) >> 32 & 0xFFFFFFFF not in _ISATAP
    )


def _unwrapped(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address inside a mapped, 6to4 or NAT64 one."""
    if ip.version == 4:
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


def system_resolver(host: str, port: int) -> list[str]:
    """The machine's own name lookup.

    Raises:
        OSError: The name is unknown, or nothing answers.
    """
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
