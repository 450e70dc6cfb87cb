"""Proxy and certificate settings, and the reason for a failed connection, over real sockets."""

import asyncio
import ssl
from contextlib import asynccontextmanager

import pytest

from tests.support.certificates import make_certificate
from tests.support.windows import WINDOWS
from ttp_mcp.api import Http, Limits, NotReached
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import Clocks
from ttp_mcp.api.download import MediaDownloader
from ttp_mcp.api.hosts import TransferProblem
from ttp_mcp.api.network import find_reason
from ttp_mcp.credentials import Token
from ttp_mcp.errors import agent_text

pytestmark = pytest.mark.requirement("api.network")

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
LIST = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"posts": []}'


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """Remove the network settings from the environment."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@asynccontextmanager
async def serve_response(answer=LIST, tls=None):
    """Serve one response to every request; yields the port."""

    async def handle(reader, writer):
        try:
            await reader.readuntil(b"\r\n\r\n" if tls or answer != b"no TLS" else b"\x16")
            writer.write(answer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1]


def make_client(base_url):
    """Create a client that doesn't wait between attempts."""
    clocks = Clocks(jitter=lambda: 0.0)
    return ApiClient(Http(base_url=base_url, token=Token("ttp_" + "0a" * 24), clocks=clocks, limits=Limits()))


async def expect_failure(base_url):
    """List posts, which must fail; return the error and its text."""
    api = make_client(base_url)
    with pytest.raises(NotReached) as caught:
        await api.posts.list()
    await api.aclose()
    text = agent_text(caught.value, "Posts not listed")
    assert "Nothing was sent" in text
    return caught.value, text


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ALL_PROXY", "socks://127.0.0.1:9/"),
        ("ALL_PROXY", "socks5://127.0.0.1:9/"),
        ("all_proxy", "socks5h://user:secret@127.0.0.1:9/"),
        ("HTTPS_PROXY", "socks4://127.0.0.1:9/"),
        ("https_proxy", "ftp://127.0.0.1:9/"),
        ("HTTPS_PROXY", "http://127.0.0.1:port/"),
        ("HTTPS_PROXY", "http://"),
        ("HTTPS_PROXY", "quic://127.0.0.1:9"),
    ],
)
async def test_proxy_setting_that_cannot_be_used_is_named(monkeypatch, variable, value):
    monkeypatch.setenv(variable, value)
    error, text = await expect_failure("https://api.invalid/api")
    shown = variable.upper() if WINDOWS else variable
    assert (error.method, error.path, error.reason, error.variable) == ("GET", "/posts", "proxy_setting", shown)
    assert text.startswith(f"Posts not listed: {shown} doesn't name an HTTP proxy, and this server speaks no SOCKS.")
    assert "secret" not in text


async def test_socks_proxy_beside_an_http_proxy_is_ignored(monkeypatch):
    """Desktops set all proxies; only the one for https applies."""
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:9/")
    async with serve_response(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as port:
        monkeypatch.setenv("HTTPS_PROXY", f"127.0.0.1:{port}")
        error, text = await expect_failure("https://api.invalid/api")
    assert (error.reason, error.variable) == ("proxy_refused", "HTTPS_PROXY")
    assert "the proxy named by HTTPS_PROXY refused to connect to the API" in text


@pytest.mark.parametrize("host", ["a" * 64, "a..b"])
async def test_proxy_whose_host_can_be_no_name_is_not_found(monkeypatch, host):
    """Python refuses to look such a name up."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://{host}:9")
    error, text = await expect_failure("https://api.invalid/api")
    assert (error.reason, error.variable) == ("name", "HTTPS_PROXY")
    assert "the host name of the proxy named by HTTPS_PROXY was not found" in text


async def test_no_proxy_connects_without_one(monkeypatch, tmp_path, caplog):
    """The certificates are read once, by the first request."""
    server, ca = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    monkeypatch.setenv("ALL_PROXY", "socks://127.0.0.1:9/")
    monkeypatch.setenv("NO_PROXY", "localhost")
    async with serve_response(tls=server) as port:
        api = make_client(f"https://localhost:{port}/api")
        assert await api.posts.list() == []
        monkeypatch.delenv("SSL_CERT_FILE")
        assert await api.posts.list() == []
        await api.aclose()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@pytest.mark.parametrize(
    ("made", "trusted", "reason", "part"),
    [
        ({}, False, "issuer", "is from an unknown issuer, often a company's TLS proxy. Set SSL_CERT_FILE"),
        ({"days": -1}, True, "expired", "is expired or not yet valid. Check the clock"),
        ({"name": "other.example"}, True, "other_name", "is for another host name. Check TTP_API_URL"),
    ],
)
async def test_certificate_problem_is_named(monkeypatch, tmp_path, made, trusted, reason, part):
    server, ca = make_certificate(tmp_path, **made)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    async with serve_response(tls=server) as port:
        error, text = await expect_failure(f"https://localhost:{port}/api")
    assert error.reason == reason
    assert f"the certificate of the API {part}" in text


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        *((0x800B0109, "issuer"), (0x800B010A, "issuer"), (0x800B0112, "issuer")),
        *((0x800B0101, "expired"), (0x800B010F, "other_name"), (0x800B010C, "certificate")),
        *((-67843, "issuer"), (-67818, "expired"), (-67602, "other_name"), (-67820, "certificate")),
    ],
)
def test_certificate_problem_that_windows_or_macos_finds_is_named(code, reason):
    """Their stores have their own error codes."""
    problem = ssl.SSLCertVerificationError("words of the system")
    problem.verify_code = code
    error = ConnectionError()
    error.__cause__ = problem
    assert find_reason(error) == reason


async def test_port_without_tls_is_named():
    async with serve_response(b"no TLS") as port:
        error, text = await expect_failure(f"https://localhost:{port}/api")
    assert error.reason == "tls"
    assert "no secure connection to the API could be made" in text


async def test_refused_connection_is_named(monkeypatch):
    async with serve_response() as port:
        pass
    error, text = await expect_failure(f"https://127.0.0.1:{port}/api")
    assert (error.reason, "the API refused the connection" in text) == ("refused", True)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
    error, text = await expect_failure("https://api.invalid/api")
    assert (error.reason, "the proxy named by HTTPS_PROXY refused the connection" in text) == ("refused", True)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
@pytest.mark.parametrize("kind", ["missing", "not certificates"])
async def test_certificates_that_cannot_be_read_are_named(monkeypatch, tmp_path, variable, kind):
    if kind == "not certificates":
        (tmp_path / "ca").write_text("not a certificate")
    monkeypatch.setenv(variable, str(tmp_path / "ca"))
    error, text = await expect_failure("https://api.invalid/api")
    assert (error.reason, error.variable) == ("ca_setting", variable)
    assert text.startswith(f"Posts not listed: {variable} names certificates that can't be read.")


async def test_certificates_are_not_read_for_plain_http(monkeypatch, tmp_path):
    """It is for this machine alone, where a setting for another host must not stop requests and downloads."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    async with serve_response() as port:
        api = make_client(f"http://127.0.0.1:{port}/api")
        assert await api.posts.list() == []
        await api.aclose()
        (await MediaDownloader(loopback=True).fetch(f"http://127.0.0.1:{port}/a.png", lambda head: True)).close()


async def test_download_names_a_certificate_that_is_not_trusted(tmp_path):
    """Other addresses of the host have the same certificate, so they aren't tried."""
    server, _ = make_certificate(tmp_path)
    async with serve_response(tls=server) as port:
        with pytest.raises(TransferProblem, match="isn't trusted; SSL_CERT_FILE has to name") as caught:
            await MediaDownloader(loopback=True).fetch(f"https://localhost:{port}/a.png", lambda head: True)
    assert (caught.value.kind, str(caught.value)) == ("permanent", caught.value.reason)


async def test_download_names_certificates_that_cannot_be_read(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with pytest.raises(TransferProblem, match="the file that SSL_CERT_FILE names can't be read") as caught:
        await MediaDownloader(loopback=True).fetch("https://localhost:9/a.png", lambda head: True)
    assert caught.value.kind == "permanent"
