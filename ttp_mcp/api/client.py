"""`ApiClient`: the API, one attribute for each endpoint group."""

from starlette.types import ASGIApp

from ttp_mcp.api.analytics import AnalyticsApi
from ttp_mcp.api.auth import AuthApi
from ttp_mcp.api.download import MediaDownloader
from ttp_mcp.api.http import Http
from ttp_mcp.api.integrations import IntegrationsApi
from ttp_mcp.api.media import MediaApi
from ttp_mcp.api.posts import PostsApi
from ttp_mcp.api.ssrf import Resolver, is_on_this_machine, system_resolver
from ttp_mcp.api.upload import PresignedUploader


class ApiClient:
    """The API, one attribute for each endpoint group."""

    def __init__(self, http: Http, *, storage_app: ASGIApp | None = None, resolve: Resolver = system_resolver) -> None:
        """Open nothing.

        Args:
            http: The connection to the API.
            storage_app: An application in this process that answers instead of the storage (the sandbox).
            resolve: Returns the addresses of the storage's host name; may block.
        """
        self._http = http
        self.base_url = http.base_url
        self.token = http.token
        self.clock = http.clock
        self.posts = PostsApi(http)
        self.integrations = IntegrationsApi(http)
        self.media = MediaApi(
            http,
            PresignedUploader(
                loopback=is_on_this_machine(http.base_url),
                monotonic=http.clocks.monotonic,
                app=storage_app,
                resolve=resolve,
            ),
        )
        self.downloads = MediaDownloader(resolve=resolve)
        self.analytics = AnalyticsApi(http, self.posts)
        self.auth = AuthApi(http)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()
