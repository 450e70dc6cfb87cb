"""Uploads: signed URLs, the PUT to storage, and the public file."""

import hashlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import anyio
import httpx2
import pytest

from ttp_mcp.sandbox import ManualClock, Sandbox

pytestmark = pytest.mark.requirement("sandbox.media")

BYTES = bytes(range(256)) * 4
PNG = {"Content-Type": "image/png"}
TYPES = ["image/jpeg", "image/png", "image/gif", "image/webp", "video/mp4", "video/quicktime"]
NAME = "filename is required: a name without folders, at most 255 characters."
SIZE = "size is required: the exact number of bytes, 1–5368709120."
TYPE = f"contentType must be one of {', '.join(TYPES)}."


@pytest.fixture
def sandbox(empty_workspace: Sandbox) -> Sandbox:
    """Uploads need no demo workspace."""
    return empty_workspace


async def presign_upload(api: httpx2.AsyncClient, size: int = len(BYTES), **fields: Any) -> dict[str, Any]:
    """The answer of a presign that is accepted."""
    answer = await api.post(
        "/media/presign", json={"filename": "launch.png", "contentType": "image/png", "size": size, **fields}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def list_leftovers(sandbox: Sandbox) -> list[Path]:
    """Return files of unfinished uploads."""
    return list((sandbox.folder / "media").glob(".incoming-*"))


async def test_presign_answers_as_documented(sandbox: Sandbox, api: httpx2.AsyncClient) -> None:
    """Key, two URLs on another origin, and 300 seconds; each time another key."""
    first, second = [await presign_upload(api, filename="Launch day (1).png") for _ in range(2)]
    assert set(first) == {"success", "key", "uploadUrl", "publicUrl", "expiresIn"}
    assert (first["success"], first["expiresIn"]) == (True, 300)
    assert first["key"].startswith("uploads/org_empty/")
    assert first["key"].endswith("/Launch-day-1.png")
    assert first["publicUrl"] == f"http://media.sandbox.localhost/{first['key']}"
    assert first["uploadUrl"].startswith(first["publicUrl"] + "?")
    assert urlsplit(first["uploadUrl"]).netloc != urlsplit(sandbox.api_url).netloc
    assert first["key"] != second["key"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"filename": ...}, NAME),
        ({"filename": ""}, NAME),
        ({"filename": None}, NAME),
        ({"filename": "x" * 256}, NAME),
        ({"filename": "../launch.png"}, NAME),
        ({"filename": "..\\launch.png"}, NAME),
        ({"filename": "/etc/passwd"}, NAME),
        ({"filename": "a\u0000.png"}, NAME),
        ({"filename": "a\nb.png"}, NAME),
        ({"contentType": ...}, TYPE),
        ({"contentType": "text/html"}, TYPE),
        ({"contentType": "image/svg+xml"}, TYPE),
        ({"contentType": "image/png; charset=utf-8"}, TYPE),
        ({"contentType": "IMAGE/PNG"}, TYPE),
        ({"contentType": ["image/png"]}, TYPE),
        ({"size": ...}, SIZE),
        ({"size": 0}, SIZE),
        ({"size": -1}, SIZE),
        ({"size": 5 * 1024**3 + 1}, SIZE),
        ({"size": "1024"}, SIZE),
        ({"size": 10.5}, SIZE),
        ({"size": True}, SIZE),
        ({"size": None}, SIZE),
        ({"public": True}, "Unknown field: public. Known are filename, contentType, size."),
    ],
)
async def test_presign_validates_name_type_and_size(
    sandbox: Sandbox, api: httpx2.AsyncClient, fields: dict[str, Any], message: str
) -> None:
    """400 before a URL is issued, and nothing is remembered."""
    with sandbox.store.reading() as db:
        before = db.execute("SELECT count(*) FROM media").fetchone()[0]
    body = {"filename": "launch.png", "contentType": "image/png", "size": 10, **fields}
    answer = await api.post("/media/presign", json={key: value for key, value in body.items() if value is not ...})
    assert answer.status_code == 400
    assert answer.json() == {"success": False, "message": message}
    with sandbox.store.reading() as db:
        assert db.execute("SELECT count(*) FROM media").fetchone()[0] == before


@pytest.mark.parametrize("content_type", TYPES)
async def test_uploaded_file_is_served_as_it_was(
    api: httpx2.AsyncClient, storage: httpx2.AsyncClient, content_type: str
) -> None:
    """The same bytes, type and length without a token; a browser can't reinterpret it."""
    url = await presign_upload(api, contentType=content_type)
    stored = await storage.put(url["uploadUrl"], content=BYTES, headers={"Content-Type": content_type})
    assert stored.status_code == 200
    for method in ("GET", "HEAD"):
        served = await storage.request(method, url["publicUrl"])
        assert served.status_code == 200
        assert served.headers["Content-Type"] == content_type
        assert served.headers["Content-Length"] == "1024"
        assert served.headers["X-Content-Type-Options"] == "nosniff"
        assert served.content == (BYTES if method == "GET" else b"")


async def test_large_file_in_odd_pieces_is_kept_byte_by_byte(
    api: httpx2.AsyncClient, storage: httpx2.AsyncClient
) -> None:
    """More than is written at once, in pieces that fit nothing; the ETag is the SHA-256."""
    content = bytes(number * 7 % 251 for number in range(3 * 1024 * 1024 + 17))

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 65_537):
            yield content[start : start + 65_537]

    url = await presign_upload(api, size=len(content))
    headers = {**PNG, "Content-Length": str(len(content))}
    stored = await storage.put(url["uploadUrl"], content=pieces(), headers=headers)
    assert stored.status_code == 200
    assert stored.headers["ETag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert (await storage.get(url["publicUrl"])).content == content


async def test_size_may_be_written_as_a_float(api: httpx2.AsyncClient, storage: httpx2.AsyncClient) -> None:
    """JSON knows one kind of number."""
    answer = await api.post(
        "/media/presign",
        content=b'{"filename": "a.png", "contentType": "image/png", "size": 3.0}',
        headers={"Content-Type": "application/json"},
    )
    assert (await storage.put(answer.json()["uploadUrl"], content=b"abc", headers=PNG)).status_code == 200


async def test_ranges_are_served(api: httpx2.AsyncClient, storage: httpx2.AsyncClient) -> None:
    """From, to, the end, and one that is not there."""
    url = await presign_upload(api)
    await storage.put(url["uploadUrl"], content=BYTES, headers=PNG)
    for wanted, expected in (("2-4", BYTES[2:5]), ("1020-", BYTES[1020:]), ("-5", BYTES[-5:])):
        served = await storage.get(url["publicUrl"], headers={"Range": f"bytes={wanted}"})
        assert (served.status_code, served.content) == (206, expected)
        assert served.headers["Content-Range"].endswith("/1024")
    assert (await storage.get(url["publicUrl"], headers={"Range": "bytes=2000-3000"})).status_code == 416


async def test_nothing_is_served_before_the_upload(
    sandbox: Sandbox, api: httpx2.AsyncClient, storage: httpx2.AsyncClient
) -> None:
    """404 until the bytes exist, and after they are deleted from the disk."""
    url = await presign_upload(api)
    assert (await storage.get(url["publicUrl"])).status_code == 404
    await storage.put(url["uploadUrl"], content=BYTES, headers=PNG)
    sandbox.storage.path(url["key"]).unlink()
    assert (await storage.get(url["publicUrl"])).status_code == 404


@pytest.mark.parametrize("content_type", ["image/jpeg", "", "image/png; charset=binary", "application/octet-stream"])
async def test_another_type_is_refused(api: httpx2.AsyncClient, storage: httpx2.AsyncClient, content_type: str) -> None:
    """With 400; the URL can still be used correctly."""
    url = await presign_upload(api)
    answer = await storage.put(url["uploadUrl"], content=BYTES, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.text) == (400, "Content-Type must be image/png.")
    assert (await storage.put(url["uploadUrl"], content=BYTES, headers=PNG)).status_code == 200


@pytest.mark.parametrize("content", [BYTES[:-1], BYTES + b"x", b""])
async def test_another_length_is_refused(
    sandbox: Sandbox, api: httpx2.AsyncClient, storage: httpx2.AsyncClient, content: bytes
) -> None:
    """Both the announced and the actual one; nothing is kept."""
    url = await presign_upload(api)
    announced = await storage.put(url["uploadUrl"], content=content, headers=PNG)
    assert (announced.status_code, announced.text) == (400, "Content-Length must be 1024.")
    real = await storage.put(url["uploadUrl"], content=content, headers={**PNG, "Content-Length": "1024"})
    assert (real.status_code, real.text) == (400, "The body must have exactly 1024 bytes.")
    assert list_leftovers(sandbox) == []
    assert (await storage.get(url["publicUrl"])).status_code == 404


async def test_body_of_unknown_length_is_refused(api: httpx2.AsyncClient, storage: httpx2.AsyncClient) -> None:
    """411: a chunked PUT doesn't declare its length."""

    async def chunks() -> AsyncIterator[bytes]:
        yield BYTES

    url = await presign_upload(api)
    answer = await storage.put(url["uploadUrl"], content=chunks(), headers=PNG)
    assert (answer.status_code, answer.text) == (411, "Content-Length is required.")


async def test_url_takes_one_upload(api: httpx2.AsyncClient, storage: httpx2.AsyncClient) -> None:
    """The second is refused, and the first stays."""
    url = await presign_upload(api, size=3)
    assert (await storage.put(url["uploadUrl"], content=b"one", headers=PNG)).status_code == 200
    again = await storage.put(url["uploadUrl"], content=b"two", headers=PNG)
    assert (again.status_code, again.text) == (409, "The URL was used already.")
    assert (await storage.get(url["publicUrl"])).content == b"one"


async def test_one_of_two_concurrent_uploads_is_kept_whole(
    sandbox: Sandbox, api: httpx2.AsyncClient, storage: httpx2.AsyncClient
) -> None:
    """Both start before either ends."""
    url = await presign_upload(api, size=6)
    begun = [anyio.Event(), anyio.Event()]
    statuses: dict[bytes, int] = {}

    async def upload(mine: int, half: bytes) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            begun[mine].set()
            yield half
            await begun[1 - mine].wait()
            yield half

        headers = {**PNG, "Content-Length": "6"}
        statuses[half * 2] = (await storage.put(url["uploadUrl"], content=chunks(), headers=headers)).status_code

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(upload, 0, b"aaa")
            tasks.start_soon(upload, 1, b"bbb")
    assert sorted(statuses.values()) == [200, 409]
    [kept] = [content for content, status in statuses.items() if status == 200]
    assert (await storage.get(url["publicUrl"])).content == kept
    assert list_leftovers(sandbox) == []


async def test_url_lives_for_300_seconds(
    api: httpx2.AsyncClient, storage: httpx2.AsyncClient, clock: ManualClock
) -> None:
    """To the millisecond, by the sandbox's clock."""
    early, late = [await presign_upload(api) for _ in range(2)]
    clock.move(299.999)
    assert (await storage.put(early["uploadUrl"], content=BYTES, headers=PNG)).status_code == 200
    clock.move(0.001)
    expired = await storage.put(late["uploadUrl"], content=BYTES, headers=PNG)
    assert (expired.status_code, expired.text) == (403, "The URL has expired.")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("type", "text/html"),
        ("size", "1025"),
        ("size", "01024"),
        ("expires", "9999999999999"),
        ("expires", ""),
        ("signature", "0" * 64),
        ("signature", "é"),
        ("signature", None),
        ("type", None),
        ("size", None),
        ("expires", None),
        ("more", "1"),
    ],
)
async def test_altered_url_is_refused(
    api: httpx2.AsyncClient, storage: httpx2.AsyncClient, part: str, value: str | None
) -> None:
    """403 for each query parameter removed, changed or added."""
    url = await presign_upload(api)
    split = urlsplit(url["uploadUrl"])
    query = dict(parse_qsl(split.query)) | {part: value}
    altered = urlunsplit(
        split._replace(query=urlencode({key: text for key, text in query.items() if text is not None}))
    )
    answer = await storage.put(altered, content=BYTES, headers=PNG)
    assert (answer.status_code, answer.text) == (403, "The signature does not fit this URL.")


async def test_signature_of_one_key_does_not_fit_another(
    sandbox: Sandbox, api: httpx2.AsyncClient, storage: httpx2.AsyncClient
) -> None:
    """Neither another upload's nor an invented one."""
    mine, other = [await presign_upload(api) for _ in range(2)]
    query = urlsplit(mine["uploadUrl"]).query
    for target in (other["publicUrl"], mine["publicUrl"] + "x", "http://media.sandbox.localhost/../sandbox.db"):
        answer = await storage.put(f"{target}?{query}", content=BYTES, headers=PNG)
        assert answer.status_code == 403
    assert list(sandbox.folder.glob("media/x*")) == []


async def test_url_works_for_every_opening_of_the_same_data(tmp_path: Path, clock: ManualClock) -> None:
    """One process signs, another stores."""
    with Sandbox(tmp_path, clock=clock) as first, Sandbox(tmp_path, clock=clock) as second:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(first.app),
            base_url=first.api_url,
            headers={"Authorization": f"Bearer {first.token}"},
        ) as api:
            url = await presign_upload(api)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(second.storage_app)) as storage:
            assert (await storage.put(url["uploadUrl"], content=BYTES, headers=PNG)).status_code == 200


@pytest.mark.parametrize(
    ("filename", "end"),
    [
        ("launch.png", "/launch.png"),
        ("..", "/file.png"),
        (".htaccess", "/htaccess.png"),
        ("-rf", "/rf.png"),
        ("%2e%2e%2fsecret", "/2e-2e-2fsecret.png"),
        ("Crème brûlée 🍮.jpg", "/Cr-me-br-l-e.png"),
        ("日本", "/file.png"),
        ("動画.png", "/file.png"),
        ("صورة.PNG", "/file.png"),
        ("photo.v2", "/photo.v2.png"),
        ("x" * 251 + ".png", "/" + "x" * 96 + ".png"),
        ("a" + "." * 150, "/a.png"),
        ("a" + "." * 150 + "b", "/b.png"),
        ("con?.png#x", "/con-.png-x.png"),
    ],
)
async def test_filename_cannot_lead_out_of_the_folder(
    sandbox: Sandbox, api: httpx2.AsyncClient, storage: httpx2.AsyncClient, filename: str, end: str
) -> None:
    """The key has a cleaned name, and the file lies below the folder."""
    url = await presign_upload(api, filename=filename)
    assert url["key"].endswith(end)
    assert (await storage.put(url["uploadUrl"], content=BYTES, headers=PNG)).status_code == 200
    path = sandbox.storage.path(url["key"]).resolve()
    assert path.is_relative_to((sandbox.folder / "media").resolve())
    assert path.read_bytes() == BYTES


@pytest.mark.parametrize(
    ("content_type", "extension"),
    [
        ("image/jpeg", "jpg"),
        ("image/png", "png"),
        ("image/gif", "gif"),
        ("image/webp", "webp"),
        ("video/mp4", "mp4"),
        ("video/quicktime", "mov"),
    ],
)
async def test_url_ends_in_the_extension_of_its_type(
    api: httpx2.AsyncClient, content_type: str, extension: str
) -> None:
    """Networks look at the end of a media URL, so it can't depend on the script of the file name."""
    for filename in ("動画", "動画.mp4", "clip.MOV", "clip.jpeg", "no extension", f"right.{extension}"):
        url = await presign_upload(api, filename=filename, contentType=content_type)
        assert url["publicUrl"].endswith(f".{extension}")
        assert ".." not in url["publicUrl"]


@pytest.mark.parametrize(
    "path", ["../sandbox.db", "%2e%2e/sandbox.db", "..%2fsandbox.db", "uploads/../../sandbox.db", "", "%00"]
)
async def test_storage_serves_nothing_but_uploads(storage: httpx2.AsyncClient, path: str) -> None:
    """404 for every other path."""
    assert (await storage.get(f"http://media.sandbox.localhost/{path}")).status_code == 404


async def test_storage_takes_no_other_methods(storage: httpx2.AsyncClient) -> None:
    """405."""
    for method in ("POST", "DELETE", "PATCH"):
        assert (await storage.request(method, "http://media.sandbox.localhost/uploads/a.png")).status_code == 405


async def test_aborted_upload_leaves_nothing(
    sandbox: Sandbox, api: httpx2.AsyncClient, storage: httpx2.AsyncClient
) -> None:
    """The client may start again with the same URL."""
    url = await presign_upload(api)
    split = urlsplit(url["uploadUrl"])
    messages = [{"type": "http.request", "body": BYTES[:500], "more_body": True}, {"type": "http.disconnect"}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "PUT",
        "path": split.path,
        "raw_path": split.path.encode(),
        "query_string": split.query.encode(),
        "headers": [(b"content-type", b"image/png"), (b"content-length", b"1024")],
    }
    await sandbox.storage_app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert list_leftovers(sandbox) == []
    assert (await storage.put(url["uploadUrl"], content=BYTES, headers=PNG)).status_code == 200


async def test_upload_can_be_used_in_a_post(
    api: httpx2.AsyncClient, storage: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """The three steps of the reference."""
    connect_account("instagram")
    url = await presign_upload(api)
    await storage.put(url["uploadUrl"], content=BYTES, headers=PNG)
    body = {"content": "Hello", "platforms": ["instagram"], "mediaUrls": [url["publicUrl"]]}
    answer = await api.post("/posts", json={**body, "scheduledAt": "2026-07-01T15:00:00Z"})
    assert answer.status_code == 201
    assert answer.json()["post"]["mediaUrls"] == [url["publicUrl"]]


async def test_media_of_a_post_are_addressed_where_the_storage_is_now(tmp_path, clock):
    """A folder that was filled in another process shows its pictures under this opening's address."""
    with Sandbox(tmp_path, clock=clock):
        pass
    with Sandbox(tmp_path, clock=clock, storage_origin="http://127.0.0.1:9999") as again:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(again.app), headers={"Authorization": f"Bearer {again.token}"}
        ) as client:
            posts = (await client.get(f"{again.api_url}/posts")).json()["posts"]
        urls = {url for post in posts for url in post["mediaUrls"]}
        assert urls
        assert all(url.startswith("http://127.0.0.1:9999/uploads/") for url in urls)
        assert (
            again.storage.to_current_url("https://elsewhere.example/uploads/a.jpg")
            == "https://elsewhere.example/uploads/a.jpg"
        )
