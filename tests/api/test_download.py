"""Fetching media by URL, from servers that misbehave."""

import asyncio
import gzip
import socket
import ssl
import threading

import anyio
import anyio.to_thread
import pytest

from tests.support.certificates import make_certificate
from tests.support.web_server import open_web_server
from ttp_mcp.api.download import TOTAL_SECONDS, MediaDownloader
from ttp_mcp.api.hosts import TransferProblem

pytestmark = pytest.mark.requirement("downloads.bounded")

CONTENT = bytes(range(256)) * 400


def make_response(content=CONTENT, more=b""):
    """Return a complete response."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n" % (len(content), more) + content


def make_redirect(location, status=302):
    """Return a redirect."""
    return f"HTTP/1.1 {status} X\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def make_downloader(**options):
    """Create a downloader that may connect to this machine."""
    return MediaDownloader(**{"loopback": True, "seconds": 5.0, **options})


async def fetch_file(url, accept=lambda head: True, **options):
    """Return the name and content of a file."""
    with anyio.fail_after(10), await make_downloader(**options).fetch(url, accept) as file:
        return file.name, file.read_at(0, file.size + 1)


async def read_problem(url, **options):
    """Return the reason of a failure, and whether it is transient."""
    before = threading.active_count()
    with pytest.raises(TransferProblem) as caught:
        await fetch_file(url, **options)
    assert threading.active_count() <= before + 1
    assert caught.value.kind in ("retryable", "permanent")
    return caught.value.reason, caught.value.kind == "retryable"


async def test_file_is_fetched_without_credentials():
    """The request has no other headers; the file name is the last part of the path."""
    async with open_web_server(make_response()) as (origin, heads):
        assert await fetch_file(f"{origin}/a/my%20photo.png?x=1#part") == ("my photo.png", CONTENT)
    assert heads == [
        f"GET /a/my%20photo.png?x=1 HTTP/1.1\r\nHost: {origin[7:]}\r\nAccept: image/*, video/*\r\nAccept-Encoding: identity\r\n\r\n"
    ]


async def test_path_beyond_ascii_is_encoded():
    """Browsers do the same."""
    async with open_web_server(make_response()) as (origin, heads):
        assert (await fetch_file(f"{origin}/動画.mp4"))[0] == "動画.mp4"
    assert heads[0].startswith("GET /%E5%8B%95%E7%94%BB.mp4 HTTP/1.1")


async def test_chunked_body_is_decoded():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with open_web_server(chunked) as (origin, _):
        assert (await fetch_file(f"{origin}/a"))[1] == b"abcde"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_followed_to_a_checked_address(status):
    """Relative redirects follow the same rules."""

    def answer(head, _):
        return make_response() if head.startswith("GET /b.png") else make_redirect("/b.png", status)

    async with open_web_server(answer) as (origin, heads):
        assert await fetch_file(f"{origin}/a") == ("b.png", CONTENT)
    assert len(heads) == 2


@pytest.mark.requirement("downloads.addresses")
@pytest.mark.parametrize(
    ("location", "rule"),
    [
        ("http://example.com/a.png", "is not https"),
        ("https://10.0.0.1/a.png", "names no host"),
        ("https://169.254.169.254/latest/meta-data", "names no host"),
        ("https://[::ffff:127.0.0.1]/", "is not a plain https URL"),
        ("https://[::ffff:7f00:1]/", "names no host"),
        ("https://example.com:8443/a.png", "has a port of its own"),
        ("https://user@example.com/a.png", "is not a plain https URL"),
        ("file:///etc/passwd", "is not a plain https URL"),
        ("ftp://example.com/a.png", "is not a plain https URL"),
        ("//10.0.0.1/a.png", "is not https"),
        ("https://intranet/a.png", "names no host"),
    ],
)
async def test_redirect_to_a_forbidden_address_is_refused(location, rule):
    """The same rules as for the first URL."""
    async with open_web_server(make_redirect(location)) as (origin, heads):
        assert await read_problem(f"{origin}/a") == (f"the address {rule}", False)
    assert len(heads) == 1


@pytest.mark.parametrize("location", ["https://[::1/", "https://[x]/"])
async def test_redirect_to_an_invalid_url_is_refused(location):
    async with open_web_server(make_redirect(location)) as (origin, _):
        reason, transient = await read_problem(f"{origin}/a")
    assert not transient
    # Newer versions of Python find the second one invalid, too.
    refused = ["the address is not a plain https URL"] if location == "https://[x]/" else []
    assert reason in ["it redirects to something that isn't a URL", *refused]


@pytest.mark.requirement("downloads.addresses")
async def test_redirect_to_a_name_with_a_private_address_is_refused():
    """Every address of a name has to be public."""
    async with open_web_server(make_redirect("https://rebound.example.com/a")) as (origin, _):
        reason, _ = await read_problem(f"{origin}/a", resolve=lambda host, port: ["93.184.216.34", "10.0.0.1"])
    assert reason == "the address leads into a private network"


async def test_endless_redirects_fail():
    """Three redirects are followed."""
    async with open_web_server(make_redirect("/again")) as (origin, heads):
        assert await read_problem(f"{origin}/a") == ("it redirects more than 3 times", False)
    assert len(heads) == 4


async def test_redirect_without_a_target_leads_to_the_same_url():
    answer = b"HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n"
    async with open_web_server(answer) as (origin, heads):
        assert await read_problem(f"{origin}/a") == ("it redirects more than 3 times", False)
    assert {head.split(" ")[1] for head in heads} == {"/a"}


async def test_compressed_response_is_never_decompressed():
    """A small response could become a large file."""
    async with open_web_server(make_response(gzip.compress(bytes(10**6)), b"Content-Encoding: gzip\r\n")) as (
        origin,
        _,
    ):
        assert await read_problem(f"{origin}/a") == ("its server sent it compressed, which is never unpacked", False)


@pytest.mark.parametrize("announced", [True, False])
async def test_oversized_file_is_rejected(announced):
    """The limit applies to the announced length and to the bytes received."""

    async def endless(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(10_000))
            await writer.drain()

    async with open_web_server(make_response(bytes(2000)) if announced else endless) as (origin, _):
        reason, transient = await read_problem(f"{origin}/a", most_bytes=1000)
    assert (reason, transient) == ("it has more than the 1000 bytes that are fetched by URL", False)


async def test_rest_of_a_rejected_file_is_not_downloaded():
    """The first bytes decide."""
    seen = []

    async def endless(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"<html>" * 1000)
            await writer.drain()

    def accept(head):
        seen.append(head)
        return False

    async with open_web_server(endless) as (origin, _):
        _, content = await fetch_file(f"{origin}/a", accept)
    assert seen == [(b"<html>" * 11)[:64]]
    assert len(content) <= 256 * 1024


async def test_first_bytes_are_checked_when_there_are_enough():
    """Fewer could look like another type."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n64\r\n%b\r\n0\r\n\r\n" % bytes(100)
    async with open_web_server(chunked) as (origin, _):
        assert (await fetch_file(f"{origin}/a", lambda head: len(head) == 64))[1] == b"abc" + bytes(100)


@pytest.mark.requirement("downloads.addresses")
async def test_this_machine_is_refused_by_default():
    with pytest.raises(TransferProblem, match=r"^the address is on this machine$"):
        await MediaDownloader().fetch("http://127.0.0.1:1/a", lambda head: True)


@pytest.mark.parametrize("stage", ["head", "body"])
async def test_slow_server_times_out(stage):
    """An occasional byte doesn't extend the total time."""

    async def slow(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nX: " if stage == "head" else b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with open_web_server(slow) as (origin, _):
        assert await read_problem(f"{origin}/a", seconds=0.3) == ("it was not received within 0 s", True)


@pytest.mark.requirement("downloads.addresses")
@pytest.mark.parametrize(("name", "is_fetched"), [("media.localhost", True), ("other.localhost", False)])
async def test_certificate_must_match_the_host_of_the_url(tmp_path, name, is_fetched):
    """The connection goes to an address, which doesn't identify the server."""
    server, ca = make_certificate(tmp_path, name)
    tls = ssl.create_default_context(cafile=ca)
    async with open_web_server(make_response(), tls=server) as (origin, heads):
        url = f"{origin.replace('http://127.0.0.1', 'https://media.localhost')}/a"
        if is_fetched:
            assert await fetch_file(url, tls=tls) == ("a", CONTENT)
        else:
            assert await read_problem(url, tls=tls) == ("its server could not be reached", True)
    assert len(heads) == is_fetched


async def test_certificate_with_another_defect_is_not_trusted(tmp_path):
    """This context also wants a list of revoked ones."""
    server, ca = make_certificate(tmp_path)
    tls = ssl.create_default_context(cafile=ca)
    tls.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    async with open_web_server(make_response(), tls=server) as (origin, _):
        assert await read_problem(f"{origin.replace('http://127.0.0.1', 'https://localhost')}/a", tls=tls) == (
            "its server's certificate isn't trusted; SSL_CERT_FILE has to name your company's CA",
            False,
        )


async def test_each_step_of_a_download_has_a_timeout(monkeypatch):
    """Connecting and each read time out on their own, besides the limit on the total time."""
    limits, set_limit = [], socket.socket.settimeout

    def note(self, seconds):
        # The event loop's own sockets never wait.
        limits.extend([seconds] if seconds != 0 else [])
        set_limit(self, seconds)

    async with open_web_server(make_response()) as (origin, _):
        monkeypatch.setattr(socket.socket, "settimeout", note)
        await fetch_file(f"{origin}/a")
    assert limits == [5.0, 15.0]


async def test_cancelling_while_connecting_ends_the_download(monkeypatch):
    """The cancellation comes before the connection is made, so it can't close it."""
    connecting, may_go_on, has_ended = threading.Event(), threading.Event(), asyncio.Event()
    connect = socket.create_connection

    def connect_late(*address):
        connecting.set()
        may_go_on.wait(5)
        return connect(*address)

    async def endless(_, writer):
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            has_ended.set()

    async with open_web_server(endless) as (origin, _):
        monkeypatch.setattr(socket, "create_connection", connect_late)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fetch_file, f"{origin}/a")
            assert await anyio.to_thread.run_sync(connecting.wait, 5)
            tasks.cancel_scope.cancel()
        may_go_on.set()
        with anyio.fail_after(5):
            await has_ended.wait()


async def test_concurrent_downloads_are_limited():
    """More would starve other work that needs a thread."""
    may_go_on, threads = threading.Event(), anyio.to_thread.current_default_thread_limiter()

    def wait_and_fail(host, port):
        may_go_on.wait()
        raise OSError("no such name")

    downloader = make_downloader(resolve=wait_and_fail)

    async def fetch():
        with pytest.raises(TransferProblem):
            await downloader.fetch("https://example.com/a", lambda head: True)

    before = threads.borrowed_tokens
    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(fetch)
        await anyio.wait_all_tasks_blocked()
        borrowed = threads.borrowed_tokens - before
        may_go_on.set()
    assert borrowed == 4


async def test_largest_file_is_fetched():
    """With or without a `Content-Length`."""
    for answer in (make_response(bytes(1000)), b"HTTP/1.1 200 OK\r\n\r\n" + bytes(1000)):
        async with open_web_server(answer) as (origin, _):
            assert await fetch_file(f"{origin}/a", most_bytes=1000) == ("a", bytes(1000))
            assert await read_problem(f"{origin}/a", most_bytes=999) == (
                "it has more than the 999 bytes that are fetched by URL",
                False,
            )


async def test_default_limits_are_512_mib_and_two_minutes():
    """The announced length is enough to refuse."""
    for size, reason in (
        (512 * 1024**2, "the connection to its server broke"),
        (512 * 1024**2 + 1, "it has more than the 536870912 bytes that are fetched by URL"),
    ):
        async with open_web_server(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\na" % size) as (origin, _):
            assert (await read_problem(f"{origin}/a"))[0] == reason
    assert TOTAL_SECONDS == 120


@pytest.mark.requirement("downloads.addresses")
async def test_address_with_control_characters_is_refused():
    for url in ("https://example.com/a\nb", "https://example.com/\x00", "https://example.com/a\u200bb"):
        assert await read_problem(url) == ("the address has control characters", False)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (make_response()[:-1], ("the connection to its server broke", True)),
        (b"", ("the connection to its server broke", True)),
        (b"nonsense\r\n\r\n", ("the connection to its server broke", True)),
        (make_response(b""), ("it is empty", False)),
        (b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", ("its server answered 404", False)),
        (
            make_response(more=b"Content-Encoding: br\r\n"),
            ("its server sent it compressed, which is never unpacked", False),
        ),
        (b"HTTP/1.1 201 X\r\nContent-Length: 1\r\n\r\na", ("its server answered 201", False)),
        (b"HTTP/1.1 408 X\r\nContent-Length: 0\r\n\r\n", ("its server answered 408", True)),
        (b"HTTP/1.1 425 X\r\nContent-Length: 0\r\n\r\n", ("its server answered 425", True)),
        (b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n", ("its server answered 500", True)),
        (b"HTTP/1.1 206 X\r\nContent-Length: 1\r\n\r\na", ("its server answered 206", False)),
        (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", ("its server answered 503", True)),
        (b"HTTP/1.1 429 X\r\nContent-Length: 0\r\n\r\n", ("its server answered 429", True)),
    ],
)
async def test_response_without_a_complete_file_is_a_problem(answer, expected):
    """The problem has the reason, and whether another attempt may help."""
    async with open_web_server(answer) as (origin, _):
        assert await read_problem(f"{origin}/a") == expected


async def test_unreachable_server_is_a_transient_problem():
    """The connection is refused, or the name can't be resolved."""

    def unknown(host, port):
        raise OSError("no such name")

    assert await read_problem("http://127.0.0.1:1/a") == ("its server could not be reached", True)
    assert await read_problem("https://example.com/a", resolve=unknown) == (
        "its server's name could not be resolved",
        True,
    )
