"""Rows A7 and A8: no connection to a non-public address, no redirect followed, the token for the API only."""

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import anyio
import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from tests.acceptance.guards import send_through_client
from ttp_mcp import config
from ttp_mcp.api import ApiError, UploadFailed, UploadRefused, connections, hosts, ssrf
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import Clocks
from ttp_mcp.api.download import MediaDownloader
from ttp_mcp.api.hosts import TransferProblem
from ttp_mcp.api.http import Http
from ttp_mcp.credentials import Token
from ttp_mcp.media.files import open_below

pytestmark = pytest.mark.acceptance

TOKEN = "ttp_" + "0123456789abcdef" * 3
PUBLIC = "93.184.216.34"
OTHER_PUBLIC = "2606:2800:220:1::1"
# What each name resolves to.
NAMES = {
    "media.example.com": [PUBLIC],
    "both.example.com": [OTHER_PUBLIC, PUBLIC],
    "loop.example.com": ["127.0.0.1"],
    "mixed.example.com": [PUBLIC, "127.0.0.1"],
    "ten.example.com": ["10.1.2.3"],
    "meta.example.com": ["169.254.169.254"],
    "shared.example.com": ["100.64.1.1"],
    "zero.example.com": ["0.0.0.0"],
    "multi.example.com": ["224.0.0.1"],
    "six.example.com": ["::1"],
    "ula.example.com": ["fd00:ec2::254"],
    "link.example.com": ["fe80::1%eth0"],
    "mapped.example.com": ["::ffff:169.254.169.254"],
    "nat64.example.com": ["64:ff9b::7f00:1"],
    "sixtofour.example.com": ["2002:7f00:1::"],
    "compatible.example.com": ["::7f00:1"],
}
BLOCKED = [
    *(f"https://{name}/key" for name in NAMES if name not in ("media.example.com", "both.example.com")),
    "http://media.example.com/key",
    "https://media.example.com:8443/key",
    "https://media.example.com:22/key",
    "https://user@media.example.com/key",
    "https://media.example.com@loop.example.com/key",
    "https://loop.example.com\\@media.example.com/key",
    "https://media.example.com#@loop.example.com/key",
    "https://media.example.com/key\r\nHost: loop.example.com",
    "https://media.example.com\t/key",
    "https://mediа.example.com/key",
    "https://１２７.0.0.1/key",
    "https://127.0.0.1/key",
    "https://127.1/key",
    "https://2130706433/key",
    "https://0x7f.1/key",
    "https://0177.0.0.1/key",
    "https://0/key",
    "https://[::1]/key",
    "https://[::]/key",
    "https://[::ffff:127.0.0.1]/key",
    "https://[64:ff9b::7f00:1]/key",
    "https://localhost/key",
    "https://media.sandbox.localhost/key",
    "http://127.0.0.1:8766/key",
    "https://169.254.169.254/latest/meta-data",
    "https://intranet/key",
    "https://media.example.com./key",
    "ftp://media.example.com/key",
    "file:///etc/passwd",
    "",
]
BAD_BASES = [
    "http://timetopost.co/api",
    "http://169.254.169.254/api",
    "http://localhost.evil.example/api",
    "http://127.0.0.1.evil.example/api",
    "https://user:password@timetopost.co/api",
    "https://timetopost.co/api?x=1",
    "https://timetopost.co/api#x",
    "ftp://timetopost.co/api",
    "file:///etc/passwd",
    "https://",
    "timetopost.co/api",
    "https://[::1/api",
]


@pytest.fixture
def file(tmp_path):
    """An open file of a few bytes."""
    (tmp_path / "photo.jpg").write_bytes(b"picture")
    with open_below("photo.jpg", [tmp_path]) as opened:
        yield opened


@pytest.fixture
def network(monkeypatch):
    """Resolve names by the table, the second time to this machine; record and refuse every connection."""
    asked, connected = [], []
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **options):
        if host not in NAMES:
            return real(host, port, *args, **options)
        asked.append(host)
        found = NAMES[host] if asked.count(host) == 1 else ["127.0.0.1"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    def create_connection(address, *args, **options):
        host, port = address[:2]
        with suppress(OSError):
            host = getaddrinfo(host, port)[0][4][0]
        connected.append((host, port))
        raise ConnectionRefusedError("noted")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "create_connection", create_connection)
    return connected


async def skip_wait(seconds):
    """Skip waits between attempts."""
    await asyncio.sleep(0)


def make_api(upload_url):
    """An in-process API at its real address, whose storage is at `url`."""

    async def presign(request):
        return JSONResponse({"key": "k", "uploadUrl": upload_url, "publicUrl": "https://m.example/k", "expiresIn": 300})

    app = Starlette(routes=[Route("/api/media/presign", presign, methods=["POST"])])
    return ApiClient(
        Http(base_url="https://timetopost.co/api", token=Token(TOKEN), app=app, clocks=Clocks(sleep=skip_wait))
    )


async def try_upload(upload_url, file):
    """Upload once and return the resulting error."""
    client = make_api(upload_url)
    with pytest.raises((UploadFailed, UploadRefused, ApiError)):
        await client.media.upload("photo.jpg", "image/jpeg", file)
    await client.aclose()


async def check_addresses(network, file):
    """Check that no blocked URL is connected to, and that the others reach exactly the checked addresses."""
    for url in BLOCKED:
        await try_upload(url, file)
        assert network == [], url
    for name in ("media.example.com", "both.example.com"):
        await try_upload(f"https://{name}/key", file)
        # From the second attempt on the name leads to this machine, and nothing is connected to any more.
        assert network == [(address, 443) for address in NAMES[name]]
        network.clear()
    return len(BLOCKED)


@pytest.mark.requirement("acceptance.a7")
async def test_a7_uploads_connect_only_to_checked_public_addresses(network, file):
    """Private addresses, parsing tricks, and a name that resolves differently after the check."""
    count = await check_addresses(network, file)
    print(f"\nA7: {count} upload addresses refused, 0 connections; 2 names pinned")  # noqa: T201 - the row's counts
    assert count >= 40


@pytest.mark.requirement("acceptance.a7")
@pytest.mark.parametrize("guard", ["text", "public", "pinned"])
async def test_a7_fails_without_each_guard(network, file, monkeypatch, guard):
    def any_place(url, *, loopback):
        parts = urlsplit(url)
        return ssrf.UploadTarget("https", parts.hostname or "media.example.com", 443, parts.path or "/", loopback=False)

    if guard == "text":
        monkeypatch.setattr(hosts, "parse_upload_url", any_place)
    elif guard == "public":
        monkeypatch.setattr(ssrf, "is_public", lambda address: True)
    else:
        real = ssrf.resolve_public
        monkeypatch.setattr(hosts, "resolve_public", lambda place, resolve: (real(place, resolve), (place.host,))[1])
    with pytest.raises(AssertionError):
        await check_addresses(network, file)


async def check_downloads(network):
    """Check files fetched by URL too. Each is a separate download, so the name may resolve differently each time."""
    for url in BLOCKED:
        with pytest.raises(TransferProblem):
            await MediaDownloader().fetch(url, lambda head: True)
        assert network == [], url
    for name in ("media.example.com", "both.example.com"):
        for _ in range(2):
            with pytest.raises(TransferProblem):
                await MediaDownloader().fetch(f"https://{name}/key", lambda head: True)
        assert network == [(address, 443) for address in NAMES[name]]
        network.clear()
    return len(BLOCKED)


@pytest.mark.requirement("acceptance.a7")
async def test_a7_downloads_connect_only_to_checked_public_addresses(network):
    """URLs from agents follow the same rules as URLs from the API."""
    count = await check_downloads(network)
    print(f"\nA7: {count} download addresses refused, 0 connections; 2 names pinned")  # noqa: T201 - the row's counts


@pytest.mark.requirement("acceptance.a7")
@pytest.mark.parametrize("guard", ["text", "public", "pinned"])
async def test_a7_downloads_fail_without_each_guard(network, monkeypatch, guard):
    def any_place(url, *, loopback):
        parts = urlsplit(url)
        return ssrf.UploadTarget("https", parts.hostname or "media.example.com", 443, parts.path or "/", loopback=False)

    if guard == "text":
        monkeypatch.setattr(hosts, "parse_upload_url", any_place)
    elif guard == "public":
        monkeypatch.setattr(ssrf, "is_public", lambda address: True)
    else:
        real = ssrf.resolve_public
        monkeypatch.setattr(hosts, "resolve_public", lambda place, resolve: (real(place, resolve), (place.host,))[1])
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        await check_downloads(network)


@pytest.mark.requirement("acceptance.a7")
@pytest.mark.parametrize("url", BAD_BASES)
def test_a7_base_url_without_https_is_refused(url):
    with pytest.raises(config.SettingProblem):
        config.load_settings({"TTP_API_URL": url})


class Listener:
    """Record requests and answer each the same way."""

    def __init__(self, answer=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"):
        self.answer = answer
        self.received = []

    async def serve(self, reader, writer):
        try:
            received = await reader.readuntil(b"\r\n\r\n")
            length = received.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            self.received.append(received + await reader.readexactly(int(length or 0)))
            writer.write(self.answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def open(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            await anyio.wait_all_tasks_blocked()
            server.close()


def make_redirect(status, url):
    """A response that redirects the caller."""
    return f"HTTP/1.1 {status} X\r\nLocation: {url}/x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()


REDIRECTS = (301, 302, 303, 307, 308)


async def check_redirects():
    """Check that neither the API nor the storage can redirect a request; returns the number of attempts."""
    tried = 0
    async with Listener().open() as elsewhere:
        for status in REDIRECTS:
            async with Listener(make_redirect(status, elsewhere.url)).open() as api:
                client = ApiClient(Http(base_url=f"{api.url}/api", token=Token(TOKEN), clocks=Clocks(sleep=skip_wait)))
                for call in (client.posts.list, client.integrations.list):
                    with suppress(ApiError):
                        await call()
                    tried += 1
                await client.aclose()
            assert elsewhere.received == []
    return tried


@pytest.mark.requirement("acceptance.a7")
async def test_a7_no_redirect_of_the_api_is_followed():
    """Each of the five redirect statuses."""
    tried = await check_redirects()
    print(f"\nA7: {tried} redirects, 0 followed")  # noqa: T201 - the row's counts


@pytest.mark.requirement("acceptance.a7")
async def test_a7_fails_when_redirects_are_followed(monkeypatch):
    """A client replaces the transport, which never follows redirects."""
    replace_transport(monkeypatch, follow_redirects=True)
    with pytest.raises(AssertionError):
        await check_redirects()


def replace_transport(monkeypatch, **options):
    """A client with these options in place of the transport."""
    monkeypatch.setattr(connections, "ConnectionPool", send_through_client(**{"trust_env": False} | options))


@pytest.mark.requirement("acceptance.a7")
@pytest.mark.parametrize("status", REDIRECTS)
async def test_a7_no_redirect_of_the_storage_is_followed(file, status):
    """The bytes reach only the checked address."""
    async with Listener().open() as elsewhere, Listener(make_redirect(status, elsewhere.url)).open() as stored:
        client = make_local_api(f"{stored.url}/key")
        with pytest.raises(UploadRefused):
            await client.media.upload("photo.jpg", "image/jpeg", file)
        await client.aclose()
        assert (len(stored.received), elsewhere.received) == (1, [])


def make_local_api(upload_url):
    """An in-process API on this machine, whose storage is at `url`."""

    async def presign(request):
        return JSONResponse({"key": "k", "uploadUrl": upload_url, "publicUrl": "https://m.example/k", "expiresIn": 300})

    app = Starlette(routes=[Route("/api/media/presign", presign, methods=["POST"])])
    return ApiClient(
        Http(base_url="http://api.localhost/api", token=Token(TOKEN), app=app, clocks=Clocks(sleep=skip_wait))
    )


async def check_token(file, monkeypatch):
    """Return who got the token, over uploads, odd paths, redirects and a proxy in the environment."""
    async with Listener().open() as elsewhere, Listener().open() as api:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, elsewhere.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        uploads = make_local_api(f"{elsewhere.url}/key")
        await uploads.media.upload("photo.jpg", "image/jpeg", file)
        await uploads.aclose()
        client = ApiClient(Http(base_url=api.url, token=Token(TOKEN), clocks=Clocks(sleep=skip_wait)))
        host = elsewhere.url.removeprefix("http:")
        for path in (host, f"@{host[2:]}/posts", f"/..{host}", f"/{elsewhere.url}", "/posts"):
            with suppress(ApiError, AssertionError, httpx2.InvalidURL, ValueError):
                await client._http.request("GET", path, "/posts", need="read")
        await client.aclose()
        api.answer = make_redirect(307, elsewhere.url)
        client = ApiClient(Http(base_url=f"{api.url}/api", token=Token(TOKEN), clocks=Clocks(sleep=skip_wait)))
        with suppress(ApiError):
            await client.posts.list()
        await client.aclose()
        assert api.received
        assert all(TOKEN.encode() in request for request in api.received)
        assert elsewhere.received
        assert not [
            request
            for request in elsewhere.received
            if b"authorization" in request.lower() or TOKEN.encode() in request
        ]
        return len(api.received), len(elsewhere.received)


@pytest.mark.requirement("acceptance.a8")
async def test_a8_only_the_api_gets_the_token(file, monkeypatch):
    """Not storage, absolute paths, user names in addresses, redirects or proxies."""
    own, others = await check_token(file, monkeypatch)
    print(f"\nA8: {own} requests to the API with the token, {others} elsewhere without")  # noqa: T201 - the row's counts


@pytest.mark.requirement("acceptance.a8")
@pytest.mark.parametrize("guard", ["own host", "no proxy"])
async def test_a8_fails_without_each_guard(file, monkeypatch, guard):
    if guard == "own host":
        replace_transport(monkeypatch)
    else:
        replace_transport(monkeypatch, trust_env=True)
    with pytest.raises(AssertionError):
        await check_token(file, monkeypatch)
