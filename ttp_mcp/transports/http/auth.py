"""Client authentication: the server key of all clients, and with several tenants each user's API token.

Each has its own header and is never accepted in place of the other. An API token in `Authorization` is rejected, so that it
can't be forwarded by accident, and a request without a token is never served with another user's.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Collection

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.types import ASGIApp, Receive, Scope, Send

from ttp_mcp.credentials import Token, TokenProblem
from ttp_mcp.transports.http.guard import TENANT_HEADER
from ttp_mcp.transports.http.responses import Rejection
from ttp_mcp.transports.http.tenants import Tenants, TenantsBusy

# Key of the tool context in the scope of a request.
CONTEXT = "ttp_mcp.context"

# An API token, complete or cut short, at the beginning of a word: elsewhere keys and base64 contain `ttp_` by chance.
_API_TOKEN = re.compile(rb"(?:^|[\s:])ttp_[0-9a-f]{6}", re.IGNORECASE)

_BEARER = ((b"www-authenticate", b'Bearer realm="ttp-mcp"'),)
_TENANT = ((b"www-authenticate", b'X-TimeToPost-Token realm="ttp-mcp"'),)
_NO_KEY = Rejection(
    401, "Send this server's key as Authorization: Bearer <key>. Its operator has set it as TTP_SERVER_KEY.", _BEARER
)
_PASSED_ON = Rejection(
    401,
    "An API token does not belong in Authorization: that header is for this server's own key. "
    "On a server for several users send it as X-TimeToPost-Token.",
    _BEARER,
)
_NO_TOKEN = Rejection(
    401, "Send your own API token in the header X-TimeToPost-Token. No other account is used instead.", _TENANT
)
_NOT_HERE = Rejection(
    400,
    "This server acts for the one account it is configured with and takes no X-TimeToPost-Token. Remove the header.",
)
_BUSY = Rejection(
    503,
    "This server is busy with as many users as it serves at once. Nothing was done. Try again; that is safe.",
    ((b"retry-after", b"2"),),
)


class ServerKey:
    """The key that clients share with the server, compared in constant time."""

    def __init__(self, text: str) -> None:
        """Keep only its digest."""
        self._digest = hashlib.sha256(text.encode()).digest()

    def matches(self, given: bytes) -> bool:
        """Compare a given key with this one."""
        return hmac.compare_digest(hashlib.sha256(given).digest(), self._digest)


def parse_bearer(header: bytes) -> bytes | None:
    """Return the value of `Authorization: Bearer`; None for another scheme."""
    scheme, _, value = header.partition(b" ")
    return value.strip() if scheme.lower() == b"bearer" else None


def has_api_token(header: bytes) -> bool:
    """Check whether `Authorization` contains an API token, under any scheme, also as a user or password of `Basic`."""
    if _API_TOKEN.search(header):
        return True
    scheme, _, value = header.partition(b" ")
    if scheme.lower() != b"basic":
        return False
    try:
        return _API_TOKEN.search(base64.b64decode(value)) is not None
    except binascii.Error:
        return False


class ClientAuth:
    """ASGI middleware behind the guard. It reads headers only, so no body of an unauthenticated client is kept."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        key: ServerKey | None,
        open_paths: Collection[str],
        tenants: Tenants | None = None,
        oauth_paths: Collection[str] = (),
        tenantless_paths: Collection[str] = (),
    ) -> None:
        """Set up.

        Args:
            app: The protected application.
            key: Required in every request if given.
            open_paths: Paths without authentication.
            tenants: The users, if each sends their own token.
            oauth_paths: Paths where the application checks `Authorization` itself; it accepts the key, too.
            tenantless_paths: Paths that need the key, if there is one, but no user.
        """
        self._app = AuthContextMiddleware(app)
        self._key = key
        self._open_paths = frozenset(open_paths)
        self._oauth_paths = frozenset(oauth_paths)
        self._tenantless_paths = frozenset(tenantless_paths)
        self._tenants = tenants

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject the request, or pass it on with the user's tool context."""
        if scope["type"] == "http" and scope["path"] not in self._open_paths:
            headers = dict(scope["headers"])
            rejection = self._check_client(scope["path"], headers.get(b"authorization"))
            if rejection is not None:
                await rejection.send(send)
                return
            if scope["path"] not in self._tenantless_paths:
                if self._tenants is not None:
                    await self._serve_tenant(self._tenants, headers.get(TENANT_HEADER), scope, receive, send)
                    return
                if TENANT_HEADER in headers:
                    await _NOT_HERE.send(send)
                    return
        await self._app(scope, receive, send)

    def _check_client(self, path: str, given: bytes | None) -> Rejection | None:
        value = parse_bearer(given or b"")
        if self._key is not None and value is not None and self._key.matches(value):
            return None
        # Under any scheme: neither a proxy nor this server should have received it.
        if given is not None and has_api_token(given):
            return _PASSED_ON
        return None if self._key is None or path in self._oauth_paths else _NO_KEY

    async def _serve_tenant(
        self, tenants: Tenants, given: bytes | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            token = Token((given or b"").decode("latin-1"))
        except TokenProblem:
            await _NO_TOKEN.send(send)
            return
        try:
            async with tenants.use(token) as tenant:
                # The SDK binds SSE sessions and sealed states to this name.
                user = AuthenticatedUser(AccessToken(token="", client_id=tenant.name, scopes=[]))
                await self._app({**scope, CONTEXT: tenant.context, "user": user}, receive, send)
        except TenantsBusy:
            await _BUSY.send(send)
