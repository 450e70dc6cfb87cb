"""`ApiClient`: the API, one attribute for each endpoint group."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from random import random
from time import monotonic as real_monotonic

import anyio
from starlette.types import ASGIApp

from ttp_mcp.api.analytics import AnalyticsApi
from ttp_mcp.api.clock import ApiClock
from ttp_mcp.api.http import Http, Limits, utc_now
from ttp_mcp.api.integrations import IntegrationsApi
from ttp_mcp.api.media import MediaApi
from ttp_mcp.api.posts import PostsApi
from ttp_mcp.api.ssrf import Resolver, is_loopback, system_resolver
from ttp_mcp.api.upload import PresignedUploader
from ttp_mcp.credentials import Token


class ApiClient:
    """The API, one attribute for each endpoint group. Nothing is opened before the first call."""

    def __init__(
        self,
        *,
        base_url: str,
        token: Token | None,
        token_problem: str | None = None,
        org_id: str | None = None,
        app: ASGIApp | None = None,
        storage_app: ASGIApp | None = None,
        access: str = "full",
        endpoints: frozenset[str] | None = None,
        limits: Limits | None = None,
        monotonic: Callable[[], float] = real_monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        jitter: Callable[[], float] = random,
        now: Callable[[], datetime] = utc_now,
        resolve: Resolver = system_resolver,
    ) -> None:
        """Set up.

        Args:
            base_url: https, or http on this machine; checked where settings are read.
            token: The user's token; without one every call says so.
            token_problem: Why the configured token can't be used.
            org_id: Sent as `x-ttp-org`.
            app: An application in this process that stands for the host (the sandbox).
            storage_app: The same for the storage.
            access: `read`, `draft` or `full`; what is beyond it never leaves.
            endpoints: All that is asked, as `GET /posts`: method and first segment of the path; None for no such limit.
            limits: Bounds of time and size.
            monotonic: Seconds of a clock that never goes back.
            sleep: How to wait.
            jitter: A random number from 0 to 1.
            now: This machine's present, aware UTC.
            resolve: How the name of the storage becomes addresses; may block.
        """
        self._http = Http(
            base_url=base_url,
            token=token,
            token_problem=token_problem,
            org_id=org_id,
            app=app,
            access=access,
            endpoints=endpoints,
            limits=limits,
            monotonic=monotonic,
            sleep=sleep,
            jitter=jitter,
            now=now,
        )
        self.posts = PostsApi(self._http)
        self.integrations = IntegrationsApi(self._http)
        storage = PresignedUploader(
            loopback=is_loopback(base_url), monotonic=monotonic, app=storage_app, resolve=resolve
        )
        self.media = MediaApi(self._http, storage, monotonic)
        self.analytics = AnalyticsApi(self._http)

    @property
    def clock(self) -> ApiClock:
        """The API's present."""
        return self._http.clock

    @property
    def base_url(self) -> str:
        """Where requests go."""
        return self._http.base_url

    @property
    def token(self) -> Token | None:
        """The token in use."""
        return self._http.token

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
