"""Who calls: the server key that clients send, and, where each user brings their own account, the user's token.

The two travel in headers of their own and are never taken for each other. A user's token in `Authorization` is refused, so
that it can't be passed on by accident, and a request without a user's token is never served with somebody else's.
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

# Where the surroundings of a call are found in the scope of its request.
APP = "ttp_mcp.app"

# An API token, whole or cut short, at the beginning of a word. Not anywhere: keys and base64 hold `ttp_` by chance.
_API_TOKEN = re.compile(rb"(?:^|[\s:])ttp_[0-9a-f]{6}", re.IGNORECASE)

_BEARER = ((b"www-authenticate", b'Bearer realm="ttp-mcp"'),)
_TENANT = ((b"www-authenticate", b'X-TimeToPost-Token realm="ttp-mcp"'),)
_NO_KEY = Rejection(
    401, "Send this server's key as Authorization: Bearer <key>. Its operator has set it as TTP_SERVER_KEY.", _BEARER
)
_PASSED_ON = Rejection(
    401,
    "An API token does not belong in Authorization: that header is for this server's own key. "
    "On a server for several users it goes into X-TimeToPost-Token.",
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
    "This server is busy with as many users as it serves at once. Nothing was done; try again.",
    ((b"retry-after", b"2"),),
)


class ServerKey:
    """The key that clients share with the server, compared in a time that tells nothing of it."""

    def __init__(self, text: str) -> None:
        """Keep its digest alone."""
        self._digest = hashlib.sha256(text.encode()).digest()

    def is_(self, given: bytes) -> bool:
        """Whether this is the key."""
        return hmac.compare_digest(hashlib.sha256(given).digest(), self._digest)


def bearer(header: bytes) -> bytes | None:
    """The value of `Authorization: Bearer`; None for another scheme."""
    scheme, _, value = header.partition(b" ")
    return value.strip(b" ") if scheme.lower() == b"bearer" else None


def holds_api_token(header: bytes) -> bool:
    """Whether an API token stands in this `Authorization`, under any scheme, also as a user or password of `Basic`."""
    if _API_TOKEN.search(header):
        return True
    scheme, _, value = header.partition(b" ")
    if scheme.lower() != b"basic":
        return False
    try:
        return _API_TOKEN.search(base64.b64decode(value.strip(b" "))) is not None
    except binascii.Error:
        return False


class ClientAuth:
    """ASGI middleware behind the guard. It reads headers only, so no body is kept for a stranger."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        key: ServerKey | None,
        open_paths: Collection[str],
        tenants: Tenants | None = None,
        oauth_paths: Collection[str] = (),
        userless_paths: Collection[str] = (),
    ) -> None:
        """Set up.

        Args:
            app: What is protected.
            key: Required of every request when given.
            open_paths: Paths that need nothing.
            tenants: The users, where each brings their own token.
            oauth_paths: Paths where the application itself checks `Authorization`; it knows the key, too.
            userless_paths: Paths that need the key, where there is one, and act for no user.
        """
        self._app = AuthContextMiddleware(app) if tenants is not None else app
        self._key = key
        self._open_paths = frozenset(open_paths)
        self._oauth_paths = frozenset(oauth_paths)
        self._userless_paths = frozenset(userless_paths)
        self._tenants = tenants

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with the user's surroundings."""
        if scope["type"] != "http" or scope["path"] in self._open_paths:
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        refusal = self._not_a_client(scope["path"], headers.get(b"authorization"))
        if refusal is not None:
            await refusal.answer(send)
        elif scope["path"] in self._userless_paths:
            await self._app(scope, receive, send)
        elif self._tenants is not None:
            await self._for_tenant(self._tenants, headers.get(TENANT_HEADER), scope, receive, send)
        elif TENANT_HEADER in headers:
            await _NOT_HERE.answer(send)
        else:
            await self._app(scope, receive, send)

    def _not_a_client(self, path: str, given: bytes | None) -> Rejection | None:
        value = bearer(given or b"")
        if self._key is not None and value is not None and self._key.is_(value):
            return None
        # Whatever its scheme: neither a proxy nor we should ever have had it.
        if given is not None and holds_api_token(given):
            return _PASSED_ON
        return None if self._key is None or path in self._oauth_paths else _NO_KEY

    async def _for_tenant(
        self, tenants: Tenants, given: bytes | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        try:
            token = Token((given or b"").decode("latin-1"))
        except TokenProblem:
            await _NO_TOKEN.answer(send)
            return
        try:
            async with tenants.use(token) as tenant:
                # The SDK binds what it keeps for a client (an SSE session, a sealed state) to this name.
                user = AuthenticatedUser(AccessToken(token="", client_id=tenant.name, scopes=[]))
                await self._app({**scope, APP: tenant.app, "user": user}, receive, send)
        except TenantsBusy:
            await _BUSY.answer(send)
