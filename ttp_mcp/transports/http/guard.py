"""The first thing a request meets: is it for this server, from where it may come, and in a form that has one meaning?

Names are taken apart and compared whole, as (host, port) and (scheme, host, port): a comparison of beginnings takes
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

# Two of one of these have no one meaning: a proxy may take the first and we the last.
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
    """Host and port of a `Host` header or of a setting; None when it is not exactly that."""
    found = _AUTHORITY.fullmatch(text)
    return _host_and_port(found, default_port) if found else None


def parse_origin(text: str) -> Origin | None:
    """Scheme, host and port of an `Origin` header or of a setting; None when it is not exactly that, as for `null`."""
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
    """What is let through.

    Attributes:
        hosts: What a request may be addressed to.
        origins: Where a browser's request may come from; one without an origin is not a browser's.
        shared_with: Those of them whose scripts may read the answers (CORS).
        methods: For each path that there is, its methods.
        endpoint: Path of MCP.
        any_host: Paths that reveal nothing, so whatever they are addressed to is served: a kubelet uses the pod's IP.
        default_port: What a `Host` without a port means: 443 behind a proxy with TLS, else 80.
    """

    hosts: frozenset[Authority]
    origins: frozenset[Origin]
    shared_with: frozenset[Origin]
    methods: Mapping[str, Collection[str]]
    endpoint: str
    any_host: frozenset[str]
    default_port: int = 80


class Guard:
    """ASGI middleware, outermost. The server behind it sees only requests that passed."""

    def __init__(self, app: ASGIApp, rules: GuardRules) -> None:
        """Guard an application by rules."""
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, answer a preflight, or pass on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        scope = self._ignore_final_slash(scope)
        headers = dict(scope["headers"])
        shared = self._shared_with(headers)
        if shared is not None:
            send = _shared(send, shared)
        refusal = self._judge(scope, headers)
        if refusal is not None:
            await refusal.answer(send)
        elif scope["method"] == "OPTIONS":
            await _preflight(send, self._rules.methods[scope["path"]])
        else:
            await self._app(scope, receive, send)

    def _ignore_final_slash(self, scope: Scope) -> Scope:
        """Serve a path under both spellings: clients and gateways add and remove the slash, and not all follow a redirect."""
        path = scope["path"]
        other = path[:-1] if path.endswith("/") else f"{path}/"
        if path in self._rules.methods or other not in self._rules.methods:
            return scope
        return {**scope, "path": other, "raw_path": other.encode()}

    def _judge(self, scope: Scope, headers: dict[bytes, bytes]) -> Rejection | None:
        return (
            _one_meaning(scope["headers"])
            or self._addressed(scope["path"], headers.get(b"host"))
            or self._from_somewhere_known(headers.get(b"origin"))
            or self._exists(scope["path"], scope["method"], headers)
            or _no_token_in(scope)
        )

    def _addressed(self, path: str, host: bytes | None) -> Rejection | None:
        if path in self._rules.any_host:
            return None
        if host is None:
            return Rejection(400, "The request names no Host.")
        if parse_authority(host.decode("latin-1"), self._rules.default_port) not in self._rules.hosts:
            return Rejection(
                421, "This server is not addressed by that Host. Its operator can add it to TTP_ALLOWED_HOSTS."
            )
        return None

    def _from_somewhere_known(self, given: bytes | None) -> Rejection | None:
        if given is None or parse_origin(given.decode("latin-1")) in self._rules.origins:
            return None
        return Rejection(403, "Web pages of that Origin may not call. The operator can add it to TTP_ALLOWED_ORIGINS.")

    def _exists(self, path: str, method: str, headers: dict[bytes, bytes]) -> Rejection | None:
        methods = self._rules.methods.get(path)
        if methods is None:
            return Rejection(404, f"There is nothing at this path. MCP is at {self._rules.endpoint}.")
        if method in methods:
            return None
        if method == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers:
            if self._shared_with(headers) is not None:
                return None
            return Rejection(
                403, "Web pages of that Origin may not call. The operator can add it to TTP_ALLOWED_ORIGINS."
            )
        return Rejection(405, f"{path} takes {', '.join(methods)}.", ((b"allow", ", ".join(methods).encode()),))

    def _shared_with(self, headers: dict[bytes, bytes]) -> bytes | None:
        given = headers.get(b"origin")
        return given if given and parse_origin(given.decode("latin-1")) in self._rules.shared_with else None


def _one_meaning(headers: Iterable[tuple[bytes, bytes]]) -> Rejection | None:
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in seen and name in _ONCE:
            return Rejection(400, f"The request has two headers {name.decode()}.")
        seen.add(name)
    if b"content-length" in seen and b"transfer-encoding" in seen:
        return Rejection(400, "The request has both content-length and transfer-encoding.")
    return None


def _no_token_in(scope: Scope) -> Rejection | None:
    if b"ttp_" in scope.get("query_string", b"").lower():
        return Rejection(
            400, "An API token must not stand in a URL, which logs keep. Revoke that token, and use a header."
        )
    return None


async def _preflight(send: Send, methods: Collection[str]) -> None:
    headers: Headers = (
        (b"access-control-allow-methods", ", ".join(methods).encode()),
        (b"access-control-allow-headers", _ALLOWED_HEADERS),
        (b"access-control-max-age", _PREFLIGHT_SECONDS),
    )
    await send({"type": "http.response.start", "status": 204, "headers": list(headers)})
    await send({"type": "http.response.body", "body": b""})


def _shared(send: Send, given: bytes) -> Send:
    """Let scripts of that origin read the answer: exactly that one is named, and only ours is said."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [
                (name, value)
                for name, value in message["headers"]
                if name.lower() not in (b"access-control-allow-origin", b"access-control-allow-credentials")
            ]
            named = [
                (b"access-control-allow-origin", given),
                (b"access-control-expose-headers", b"www-authenticate"),
                (b"vary", b"Origin"),
            ]
            message = {**message, "headers": [*kept, *named]}
        await send(message)

    return answer
