"""Public keys of an OAuth issuer, located by its metadata, fetched on demand and cached for an hour."""

import logging
import time
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import httpx2
from pydantic_core import from_json
from starlette.types import ASGIApp

from ttp_mcp.api import network
from ttp_mcp.config import is_loopback_host
from ttp_mcp.errors import describe_unusable_setting

log = logging.getLogger(__name__)

KEEP_SECONDS = 3600.0
# An unknown key triggers a new fetch, but not more often: anyone can send a token with an unknown key.
REFETCH_SECONDS = 60.0
_MOST_BYTES = 256 * 1024
_TIMEOUT_SECONDS = 5.0


class IssuerKeys:
    """JSON Web Keys of one issuer, by `kid`."""

    def __init__(
        self, issuer: str, *, app: ASGIApp | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Fetch nothing yet.

        Args:
            issuer: URL as tokens contain it.
            app: An application in this process that replaces the issuer.
            monotonic: Monotonic clock.
        """
        self._issuer = issuer
        self._app = app
        self._monotonic = monotonic
        self._keys: dict[str, dict[str, Any]] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")

    async def find(self, kid: str) -> dict[str, Any] | None:
        """Return a key; None if the issuer has no such key or can't be reached."""
        now = self._monotonic()
        fresh = now - self._fetched_at < KEEP_SECONDS
        if not (fresh and kid in self._keys) and now - self._tried_at >= REFETCH_SECONDS:
            # Set before the wait, so that only one of many concurrent calls fetches.
            self._tried_at = now
            await self._fetch()
        return self._keys.get(kid)

    async def _fetch(self) -> None:
        try:
            keys = await self._fetch_json(await self._find_key_url())
            found = cast("list[dict[str, Any]]", keys["keys"])
            self._keys = {str(key["kid"]): key for key in found if "kid" in key}
            self._fetched_at = self._tried_at
        except network.UnusableSetting as problem:
            host = urlsplit(self._issuer).hostname or ""
            cause = describe_unusable_setting(problem.reason, problem.variable, host)
            log.warning("The keys of TTP_OAUTH_ISSUER could not be fetched: %s", cause)
        except (httpx2.HTTPError, httpx2.InvalidURL, LookupError, TypeError, ValueError) as error:
            # Keep the old keys: a temporary outage of the issuer must not lock all clients out.
            log.warning("The keys of TTP_OAUTH_ISSUER could not be fetched: %s", type(error).__name__)

    async def _find_key_url(self) -> str:
        for address in metadata_urls(self._issuer):
            try:
                metadata = await self._fetch_json(address)
            except httpx2.HTTPStatusError:
                continue
            # RFC 8414, section 3.3: metadata of another issuer must not be used.
            if metadata["issuer"] == self._issuer and is_protected(str(metadata["jwks_uri"])):
                return str(metadata["jwks_uri"])
        raise LookupError

    async def _fetch_json(self, url: str) -> Any:
        content = b""
        async with (
            self._create_client(url) as client,
            client.stream("GET", url, headers={"accept": "application/json"}) as response,
        ):
            response.raise_for_status()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _MOST_BYTES:
                    raise ValueError
        return from_json(content)

    def _create_client(self, url: str) -> httpx2.AsyncClient:
        if self._app is not None:
            return httpx2.AsyncClient(transport=httpx2.ASGITransport(self._app), verify=False)
        # Plain http is for this machine only, without a proxy.
        plain = urlsplit(url).scheme == "http"
        return httpx2.AsyncClient(
            verify=False if plain else network.create_tls_context(),
            proxy=None if plain else network.find_proxy(url)[0],
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
        )


def metadata_urls(issuer: str) -> tuple[str, str]:
    """Possible URLs of an issuer's metadata: by RFC 8414, and by OpenID Connect Discovery."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    root = f"{parts.scheme}://{parts.netloc}"
    return (
        f"{root}/.well-known/oauth-authorization-server{path}",
        f"{root}{path}/.well-known/openid-configuration",
    )


def is_protected(url: str) -> bool:
    """Check whether a URL can't be tampered with in transit: https, or this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback_host(parts.hostname))
    )
