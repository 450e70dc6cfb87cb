"""Keys of an OAuth issuer, fetched over real sockets: only from the issuer, within a time, and past any proxy."""

import asyncio
import json
from contextlib import asynccontextmanager

import anyio
import pytest

from tests.support.certificates import make_certificate
from tests.support.fault_server import FaultServer, hang_connection, redirect_to, send_answer
from ttp_mcp.transports.http import jwks
from ttp_mcp.transports.http.jwks import IssuerKeys, is_protected, metadata_urls

pytestmark = pytest.mark.requirement("http.oauth")

KEY = {"kty": "EC", "kid": "a"}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """An environment without network settings."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def find_key(issuer):
    """Look for the key; nothing in these tests takes long."""
    with anyio.fail_after(10):
        return await IssuerKeys(issuer).find("a")


def make_metadata(issuer):
    """Metadata of an issuer."""
    return {"issuer": issuer, "jwks_uri": f"{issuer}/keys"}


async def test_keys_of_a_local_issuer_bypass_proxies(monkeypatch):
    """A proxy could replace the keys in plain requests."""
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/ca.pem")
    # Too large to arrive at once.
    in_parts = json.dumps({"keys": [KEY]}).encode().ljust(200_000)
    async with FaultServer() as server:
        server.faults[:] = [send_answer(make_metadata(server.url)), send_answer(in_parts)]
        assert await find_key(server.url) == KEY
    assert [(each.method, each.path, each.headers["accept"]) for each in server.requests] == [
        ("GET", "/.well-known/oauth-authorization-server", "application/json"),
        ("GET", "/keys", "application/json"),
    ]


async def test_redirect_of_an_issuer_is_not_followed(caplog):
    """Keys from elsewhere aren't the issuer's."""
    async with FaultServer() as server:
        server.faults[:] = [
            send_answer(make_metadata(server.url)),
            redirect_to("/elsewhere"),
            send_answer({"keys": [KEY]}),
        ]
        assert await find_key(server.url) is None
    assert len(server.requests) == 2
    assert caplog.messages == ["The keys of TTP_OAUTH_ISSUER could not be fetched: HTTPStatusError"]


async def test_silent_issuer_times_out(monkeypatch, caplog):
    monkeypatch.setattr(jwks, "_TIMEOUT_SECONDS", 0.05)
    async with FaultServer(hang_connection("request")) as server:
        assert await find_key(server.url) is None
    assert caplog.messages == ["The keys of TTP_OAUTH_ISSUER could not be fetched: ReadTimeout"]


@asynccontextmanager
async def serve_tls(context):
    """An issuer with a certificate: its URL, and the paths that were asked for."""
    asked = []

    async def handle(reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        asked.append(head.split(" ")[1])
        body = json.dumps({"keys": [KEY]} if asked[-1] == "/keys" else make_metadata(url)).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield url, asked


@pytest.mark.parametrize(("name", "is_trusted"), [("localhost", True), ("localhost", False), ("other.example", True)])
async def test_issuer_needs_a_valid_certificate(monkeypatch, tmp_path, caplog, name, is_trusted):
    """An impostor could sign tokens that are accepted."""
    context, ca = make_certificate(tmp_path, name)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    async with serve_tls(context) as (url, asked):
        found = await find_key(url)
    if name == "localhost" and is_trusted:
        assert (found, asked) == (KEY, ["/.well-known/oauth-authorization-server", "/keys"])
    else:
        assert (found, asked) == (None, [])
        assert caplog.messages == ["The keys of TTP_OAUTH_ISSUER could not be fetched: ConnectError"]


async def test_proxy_of_the_environment_is_used_for_https(monkeypatch, caplog):
    async with FaultServer(send_answer(status=403)) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert await find_key("https://login.example.com") is None
    assert [(each.method, each.path) for each in proxy.requests] == [("CONNECT", "login.example.com:443")]


def test_metadata_is_read_from_both_addresses():
    assert metadata_urls("https://a.example/tenant/") == (
        "https://a.example/.well-known/oauth-authorization-server/tenant",
        "https://a.example/tenant/.well-known/openid-configuration",
    )
    assert metadata_urls("https://a.example/X/")[0] == "https://a.example/.well-known/oauth-authorization-server/X"
    assert metadata_urls("https://a.example:8443") == (
        "https://a.example:8443/.well-known/oauth-authorization-server",
        "https://a.example:8443/.well-known/openid-configuration",
    )


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.example/keys", True),
        ("http://127.0.0.1:8080/keys", True),
        ("http://[::1]/keys", True),
        ("http://a.example/keys", False),
        ("ftp://127.0.0.1/keys", False),
        ("https:///keys", False),
        ("/keys", False),
    ],
)
def test_keys_are_fetched_by_https_or_from_this_machine(url, expected):
    assert is_protected(url) is expected
