"""OAuth access tokens, verified by signature and claims (RFC 9068)."""

import logging
from typing import Any

import jwt
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from pydantic import AnyHttpUrl

from ttp_mcp.transports.http.auth import ServerKey
from ttp_mcp.transports.http.jwks import IssuerKeys

log = logging.getLogger(__name__)

# Asymmetric signatures only: no shared secrets, and never `none`.
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
# Other kinds of tokens of the same issuer, such as ID tokens, are rejected; a missing kind is accepted.
_KINDS = (None, "JWT", "at+jwt", "application/at+jwt")
_CLOCK_SECONDS = 30
_MOST_CHARACTERS = 16 * 1024


class AccessTokens:
    """`TokenVerifier` of the SDK for one issuer and one resource."""

    def __init__(self, issuer: str, resource: str, keys: IssuerKeys, server_key: ServerKey | None = None) -> None:
        """Set up.

        Args:
            issuer: Required `iss`.
            resource: Required `aud`: this server's public URL.
            keys: Keys of the issuer.
            server_key: Also accepted, for clients without OAuth.
        """
        self._issuer = issuer
        self._resource = resource
        self._audiences = [resource.rstrip("/"), resource.rstrip("/") + "/"]
        self._keys = keys
        self._server_key = server_key

    async def verify_token(self, token: str) -> AccessToken | None:
        """Verify a token; None if it isn't valid for this server."""
        if self._server_key is not None and self._server_key.matches(token.encode()):
            return AccessToken(token="", client_id="TTP_SERVER_KEY", scopes=[], resource=self._resource)
        if len(token) > _MOST_CHARACTERS:
            return None
        try:
            claims = await self._verify_claims(token)
        except jwt.PyJWTError as error:
            log.info("access token refused: %s", type(error).__name__)
            return None
        return None if claims is None else _to_access_token(claims, self._resource)

    async def _verify_claims(self, token: str) -> dict[str, Any] | None:
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
            options={"require": ["exp"]},
        )


def auth_settings(issuer: str, resource: str) -> AuthSettings:
    """Settings of a resource server for the SDK."""
    return AuthSettings(
        issuer_url=AnyHttpUrl(issuer), resource_server_url=AnyHttpUrl(resource), validate_token_resource=True
    )


def _to_access_token(claims: dict[str, Any], resource: str) -> AccessToken:
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
