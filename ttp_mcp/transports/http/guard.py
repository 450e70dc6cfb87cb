"""First check of a request: addressed to this server, from an allowed origin, and unambiguous.

Names are parsed and compared as (host, port) and (scheme, host, port): a prefix comparison would take
`localhost:1@evil.example` for `localhost`. Nothing here waits, and no body is read before it.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ttp_mcp.transports.http.responses import Headers, Rejection

Authority = tuple[str, int]
Origin = tuple[str, str, int]

TENANT_HEADER = b"x-timetopost-token"

_NAME = r"(?P<host>[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])(?::(?P<port>[1-9][0-9]{0,4}))?"
_AUTHORITY = re.compile(_NAME, re.IGNORECASE | re.ASCII)
_ORIGIN = re.compile(rf"(?P<scheme>[a-z][a-z0-9+.-]{{0,30}})://{_NAME}", re.IGNORECASE | re.ASCII)
_DEFAULT_PORTS = {"http": 80, "https": 443}

# Reject duplicates: a proxy might use the first value and we the last.
_ONCE = frozenset(
    {
        b"host",
        b"origin",
        b"authorization",
        b"content-length",
        b"content-type",
        b"transfer-encoding",
        b"mcp-protocol-version",
        TENANT_HEADER,
    }
)
# What MCP clients in browsers send.
_ALLOWED_HEADERS = (
    b"accept, authorization, content-type, last-event-id, mcp-method, mcp-name, mcp-protocol-version, mcp-session-id, "
    + TENANT_HEADER
)
_PREFLIGHT_SECONDS = b"600"


def parse_authority(text: str, default_port: int) -> Authority | None:
    """Parse a `Host` header or a setting; None if it is anything but host and port."""
    found = _AUTHORITY.fullmatch(text)
    return _host_and_port(found, default_port) if found else None


def parse_origin(text: str) -> Origin | None:
    """Parse an `Origin` header or a setting; None if it is anything but scheme, host and port, for example `null`."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme = found["scheme"].lower()
    place = _host_and_port(found, _DEFAULT_PORTS.get(scheme, 0))
    return (scheme, *place) if place else None


def _host_and_port(found: re.Match[str], default_port: int) -> Authority | None:
    port = int(found["port"] or default_port)
    return (found["host"].lower(), port) if port <= 65535 else None


@dataclass(frozen=True, slots=True)
class GuardRules:
    """Requests that are let through.

    Attributes:
        hosts: Allowed values of `Host`.
        origins: Allowed values of `Origin`; a request without one is not a browser's.
        shared_with: Origins whose scripts may read responses (CORS).
        methods: Methods of each path.
        endpoint: Path of MCP.
        any_host: Paths that reveal nothing and are served with any `Host`: a kubelet uses the pod's IP.
        default_port: Port of a `Host` without one: 443 behind a proxy with TLS, else 80.
    """

    hosts: frozenset[Authority]
    origins: frozenset[Origin]
    shared_with: frozenset[Origin]
    methods: Mapping[str, Collection[str]]
    endpoint: str
    any_host: frozenset[str]
    default_port: int = 80


class Guard:
    """Outermost ASGI middleware. The server behind it sees only requests that passed."""

    def __init__(self, app: ASGIApp, rules: GuardRules) -> None:
        """Guard an application by rules."""
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject the request, answer a preflight, or pass it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        scope = self._ignore_final_slash(scope)
        headers = dict(scope["headers"])
        origin = self._find_shared_origin(headers)
        if origin is not None:
            send = _add_cors_headers(send, origin)
        rejection = self._check(scope, headers)
        if rejection is not None:
            await rejection.send(send)
        elif scope["method"] == "OPTIONS":
            await _send_preflight(send, self._rules.methods[scope["path"]])
        else:
            await self._app(scope, receive, send)

    def _ignore_final_slash(self, scope: Scope) -> Scope:
        """Serve a path under both spellings: clients and gateways add and remove the slash, and not all follow a redirect."""
        path = scope["path"]
        other = path[:-1] if path.endswith("/") else f"{path}/"
        return {**scope, "path": other} if other in self._rules.methods else scope

    def _check(self, scope: Scope, headers: dict[bytes, bytes]) -> Rejection | None:
        return (
            _check_unambiguous(scope["headers"])
            or self._check_host(scope["path"], headers.get(b"host"))
            or self._check_origin(headers.get(b"origin"))
            or self._check_path(scope["path"], scope["method"], headers)
            or _check_query(scope)
        )

    def _check_host(self, path: str, host: bytes | None) -> Rejection | None:
        if path in self._rules.any_host:
            return None
        if host is None:
            return Rejection(400, "The request has no Host header.")
        if parse_authority(host.decode("latin-1"), self._rules.default_port) not in self._rules.hosts:
            return Rejection(
                421, "This server is not addressed by that Host. Its operator can add it to TTP_ALLOWED_HOSTS."
            )
        return None

    def _check_origin(self, given: bytes | None) -> Rejection | None:
        if given is None or parse_origin(given.decode("latin-1")) in self._rules.origins:
            return None
        return Rejection(403, "Web pages of that Origin may not call. The operator can add it to TTP_ALLOWED_ORIGINS.")

    def _check_path(self, path: str, method: str, headers: dict[bytes, bytes]) -> Rejection | None:
        methods = self._rules.methods.get(path)
        if methods is None:
            return Rejection(404, f"There is nothing at this path. MCP is at {self._rules.endpoint}.")
        if method in methods:
            return None
        if method == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers:
            if self._find_shared_origin(headers) is not None:
                return None
            return Rejection(
                403, "Web pages of that Origin may not call. The operator can add it to TTP_ALLOWED_ORIGINS."
            )
        return Rejection(405, f"{path} takes {', '.join(methods)}.", ((b"allow", ", ".join(methods).encode()),))

    def _find_shared_origin(self, headers: dict[bytes, bytes]) -> bytes | None:
        given = headers.get(b"origin")
        return given if given and parse_origin(given.decode("latin-1")) in self._rules.shared_with else None


def _check_unambiguous(headers: Iterable[tuple[bytes, bytes]]) -> Rejection | None:
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in seen and name in _ONCE:
            return Rejection(400, f"The request has two headers {name.decode()}.")
        seen.add(name)
    if b"content-length" in seen and b"transfer-encoding" in seen:
        return Rejection(400, "The request has both content-length and transfer-encoding.")
    return None


def _check_query(scope: Scope) -> Rejection | None:
    if b"ttp_" in scope["query_string"].lower():
        return Rejection(
            400,
            "An API token must not be in a URL, which logs keep. Revoke that token, and send a new one in a header.",
        )
    return None


async def _send_preflight(send: Send, methods: Collection[str]) -> None:
    headers: Headers = (
        (b"access-control-allow-methods", ", ".join(methods).encode()),
        (b"access-control-allow-headers", _ALLOWED_HEADERS),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
    )
    await send({"type": "http.response.start", "status": 204, "headers": list(headers)})
    await send({"type": "http.response.body"})


def _add_cors_headers(send: Send, origin: bytes) -> Send:
    """Allow scripts of this origin, and no other, to read the response."""

    async def send_shared(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (name, value)
                for name, value in message["headers"]
                if name.lower() not in (b"access-control-allow-origin", b"access-control-allow-credentials")
            ]
            named = [
                (b"access-control-allow-origin", origin),
                (b"access-control-expose-headers", b"www-authenticate"),
                (b"vary", b"Origin"),
            ]
            message = {**message, "headers": [*kept, *named]}
        await send(message)

    return send_shared
