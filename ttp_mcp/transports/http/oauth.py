"""OAuth access tokens: whether the configured issuer made one for this server, by its signature and claims (RFC 9068)."""

import logging
from typing import Any

import jwt
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl

from ttp_mcp.transports.http.auth import ServerKey
from ttp_mcp.transports.http.jwks import IssuerKeys

log = logging.getLogger(__name__)

# Signatures that only the issuer can make: none with a shared secret, and never `none`.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
# A token of another kind of the same issuer, an ID token above all, is not for us; that without a kind may be.
_KINDS = (None, "JWT", "at+jwt", "application/at+jwt")
_CLOCK_SECONDS = 30
_MOST_CHARACTERS = 16 * 1024


class AccessTokens:
    """The SDK's `TokenVerifier` for one issuer and one resource."""

    def __init__(self, issuer: str, resource: str, keys: IssuerKeys, server_key: ServerKey | None = None) -> None:
        """Set up.

        Args:
            issuer: What `iss` must be.
            resource: What `aud` must hold: this server's public URL.
            keys: The issuer's.
            server_key: Also accepted, for clients that can't do OAuth.
        """
        self._issuer = issuer
        self._resource = resource
        self._audiences = [resource.rstrip("/"), resource.rstrip("/") + "/"]
        self._keys = keys
        self._server_key = server_key

    async def verify_token(self, token: str) -> AccessToken | None:
        """What a token allows; None when it is not for us."""
        if self._server_key is not None and self._server_key.is_(token.encode()):
            return AccessToken(token="", client_id="TTP_SERVER_KEY", scopes=[], resource=self._resource)
        if len(token) > _MOST_CHARACTERS:
            return None
        try:
            claims = await self._claims(token)
        except jwt.PyJWTError as error:
            log.info("access token refused: %s", type(error).__name__)
            return None
        return None if claims is None else _access(claims, self._resource)

    async def _claims(self, token: str) -> dict[str, Any] | None:
        header = jwt.get_unverified_header(token)
        kid, algorithm = header.get("kid"), header.get("alg")
        if not isinstance(kid, str) or algorithm not in ALGORITHMS or header.get("typ") not in _KINDS:
            return None
        key = await self._keys.find(kid)
        if key is None or key.get("use", "sig") != "sig" or key.get("alg", algorithm) != algorithm:
            return None
        return jwt.decode(
            token,
            jwt.PyJWK(key, algorithm=algorithm).key,
            algorithms=[algorithm],
            audience=self._audiences,
            issuer=self._issuer,
            leeway=_CLOCK_SECONDS,
            options={"require": ["exp", "iss", "aud"]},
        )


def auth_settings(issuer: str, resource: str) -> AuthSettings:
    """The SDK's settings of a resource server."""
    return AuthSettings(
        issuer_url=AnyHttpUrl(issuer), resource_server_url=AnyHttpUrl(resource), validate_token_resource=True
    )


def _access(claims: dict[str, Any], resource: str) -> AccessToken:
    subject = str(claims["sub"]) if "sub" in claims else None
    client = claims.get("client_id") or claims.get("azp") or subject or "unknown"
    scope = claims.get("scope")
    return AccessToken(
        token="",
        client_id=str(client),
        scopes=scope.split() if isinstance(scope, str) else [],
        expires_at=int(claims["exp"]),
        resource=resource,
        subject=subject,
        claims={"iss": claims["iss"]},
    )
