"""Uploading a local file, as an agent does it."""

import os
from dataclasses import replace

import anyio
import pytest
from inline_snapshot import snapshot

from tests.support.media_files import (
    POSITION,
    TURNED,
    build_box,
    build_exif,
    build_ftyp,
    build_jpeg,
    build_movie_header,
    build_png,
    build_segment,
    build_track,
)
from tests.support.web_server import open_web_server
from tests.support.windows import WINDOWS
from ttp_mcp.api import UploadFailed
from ttp_mcp.api.download import MediaDownloader
from ttp_mcp.factory import create_tool_context
from ttp_mcp.ledger.media_facts import MediaFactsStore
from ttp_mcp.ledger.store import open_store
from ttp_mcp.ledger.store.base import ScopedStore
from ttp_mcp.media.facts import MediaFacts

pytestmark = pytest.mark.requirement("tools.upload_media")

PNG = build_png(640, 480, padding=200_000)
MP4 = build_ftyp(b"isom") + build_box(b"moov", build_movie_header() + build_track(0, 0))


@pytest.fixture
def pictures(tmp_path):
    """A folder with a picture, a film, and a key that is called a picture."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "photo.png").write_bytes(PNG)
    (folder / "film.mp4").write_bytes(MP4)
    (folder / "key.png").write_bytes(b"-----BEGIN OPENSSH PRIVATE KEY-----")
    for path in folder.iterdir():
        os.utime(path, ns=(10**9, 10**9))
    return folder


def count_presigned(sandbox):
    """Count the uploads requested from the API."""
    with sandbox.store.reading() as db:
        return db.execute("SELECT count(*) FROM media").fetchone()[0]


async def test_local_file_becomes_a_public_url(connect_agent, pictures):
    """In one call; the URL in the answer serves the bytes."""
    async with connect_agent(media_dirs=(pictures,)) as agent:
        text, data = await agent.expect_ok("upload_media", source="photo.png")
        key = data["public_url"].removeprefix("http://media.sandbox.localhost/")
        assert agent.sandbox.storage.path(key).read_bytes() == PNG
        assert text == (
            f"Uploaded «photo.png»: image/png, 0.2 MB, 640 x 480 pixels.\npublic_url: {data['public_url']}\n"
            "Pass public_url in media_urls of create_post. The file is in no post yet.\nSandbox: nothing here becomes public."
        )
        assert {name: value for name, value in data.items() if name != "public_url"} == snapshot(
            {
                "uploaded": True,
                "filename": "photo.png",
                "content_type": "image/png",
                "size_bytes": 200057,
                "width": 640,
                "height": 480,
            }
        )


async def test_length_of_a_film_is_reported(connect_agent, pictures):
    """Also if it doesn't state its width."""
    async with connect_agent(media_dirs=(pictures,)) as agent:
        text, data = await agent.expect_ok("upload_media", source=str(pictures / "film.mp4"))
        assert text.startswith("Uploaded «film.mp4»: video/mp4, 273 bytes, 12.5 s.")
        assert data["duration_seconds"] == 12.5


async def test_uploaded_picture_is_used_by_a_post(connect_agent, pictures):
    """As the answer tells the agent."""
    async with connect_agent(media_dirs=(pictures,)) as agent:
        _, data = await agent.expect_ok("upload_media", source="photo.png")
        text, _ = await agent.expect_ok(
            "create_post", content="Fresh", platforms=["instagram"], media_urls=[data["public_url"]]
        )
        assert "with 1 media file" in text


async def test_private_metadata_is_removed_and_reported(connect_agent, pictures):
    """The public copy has no location or serial number; its shape is that of the rotated picture."""
    block = build_exif(TURNED, place=POSITION, camera=[(0xA431, 2, 0)])
    (pictures / "home.jpg").write_bytes(build_jpeg(build_segment(0xE1, b"Exif\0\0" + block), width=1200, height=900))
    async with connect_agent(media_dirs=(pictures,)) as agent:
        text, data = await agent.expect_ok("upload_media", source="home.jpg")
        key = data["public_url"].removeprefix("http://media.sandbox.localhost/")
        stored = agent.sandbox.storage.path(key).read_bytes()
    assert stored == build_jpeg(build_segment(0xE1, b"Exif\0\0" + build_exif(TURNED)), width=1200, height=900)
    assert text == (
        f"Uploaded «home.jpg»: image/jpeg, {len(stored)} bytes, 900 x 1200 pixels (turned by EXIF).\n"
        f"public_url: {data['public_url']}\nPass public_url in media_urls of create_post. The file is in no post yet.\n"
        "Left out of the uploaded copy: serial numbers, the place. The file itself is unchanged.\nSandbox: nothing here becomes public."
    )
    assert (data["width"], data["height"], data["size_bytes"]) == (900, 1200, len(stored))
    assert data["left_out"] == ["serial numbers", "the place"]


async def test_file_with_a_wrong_extension_is_sent_under_the_right_name(connect_agent, pictures):
    """A file in a chat can't be renamed."""
    (pictures / "photo.jpg").write_bytes(PNG)
    async with connect_agent(media_dirs=(pictures,)) as agent:
        text, data = await agent.expect_ok("upload_media", source="photo.jpg")
    assert data["filename"] == "photo.png"
    assert data["public_url"].endswith("photo.png")
    assert "«photo.jpg» is image/png by its bytes, so it was sent as «photo.png»." in text


@pytest.mark.requirement("tools.upload_media.facts")
async def test_facts_of_an_uploaded_file_are_kept_for_its_url(connect_agent, pictures):
    """Also for the user's next process, and for no other user."""
    async with connect_agent(media_dirs=(pictures,)) as agent:
        _, data = await agent.expect_ok("upload_media", source="photo.png")
        url = data["public_url"]
        expected = {url: MediaFacts("image/png", len(PNG), 640, 480)}
        context = agent.runtime.app
        assert await context.ledger.media_facts.find([url, "https://example.com/other.png"]) == expected
        restarted = open_store(context.settings)
        try:
            later = create_tool_context(context.settings, agent.sandbox, state=restarted)
            assert await later.ledger.media_facts.find([url]) == expected
            other = MediaFactsStore(ScopedStore(restarted, "another user", context.now))
            assert await other.find([url]) == {}
        finally:
            await restarted.aclose()


@pytest.mark.requirement("tools.upload_media.facts")
async def test_unusable_ledger_means_unknown_facts(agent, tmp_path):
    """They only serve warnings, so nothing fails without them."""
    broken = tmp_path / "broken"
    broken.write_text("not a folder")
    state = open_store(replace(agent.runtime.app.settings, state_dir=broken))
    facts = MediaFactsStore(ScopedStore(state, "scope", agent.runtime.app.now))
    await facts.remember("https://example.com/a.png", MediaFacts("image/png", 3, 1, 1))
    assert await facts.find(["https://example.com/a.png"]) == {}
    await state.aclose()


async def test_progress_is_reported_to_the_client(connect_agent, pictures):
    """From the first byte to the last."""
    reported = []

    async def progress(done, total, message):
        reported.append((done, total, message))

    async with connect_agent(media_dirs=(pictures,)) as agent:
        await agent.client.call_tool("upload_media", {"source": "photo.png"}, progress_callback=progress)
        with anyio.fail_after(5):
            while not reported or reported[-1][0] != len(PNG):
                await anyio.sleep(0)
    assert reported[0] == (0, len(PNG), "0 bytes of 0.2 MB")
    assert reported[-1] == (len(PNG), len(PNG), "0.2 MB of 0.2 MB")


def make_response(content):
    """Return a whole answer with this content."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(content) + content


@pytest.mark.requirement("tools.upload_media.url")
@pytest.mark.parametrize("local_files", [True, False])
async def test_file_of_a_url_becomes_a_public_url(connect_agent, monkeypatch, local_files):
    """Also if local files are off; private metadata is removed as for a file."""
    block = build_exif(TURNED, place=POSITION)
    content = build_jpeg(build_segment(0xE1, b"Exif\0\0" + block), width=1200, height=900)
    async with connect_agent() as agent, open_web_server(make_response(content)) as (origin, heads):
        context = replace(agent.runtime.app, local_files=local_files)
        agent.runtime.server._context_of = lambda _: context
        route_to_origin(monkeypatch, context, origin)
        text, data = await agent.expect_ok("upload_media", source="https://pictures.example/a/pic?id=3")
        key = data["public_url"].removeprefix("http://media.sandbox.localhost/")
        stored = agent.sandbox.storage.path(key).read_bytes()
        facts = await context.ledger.media_facts.find([data["public_url"]])
    assert stored == build_jpeg(build_segment(0xE1, b"Exif\0\0" + build_exif(TURNED)), width=1200, height=900)
    assert text.startswith(f"Uploaded «pic.jpg»: image/jpeg, {len(stored)} bytes, 900 x 1200 pixels (turned by EXIF).")
    assert data["filename"] == "pic.jpg"
    assert heads[0].startswith("GET /a/pic?id=3 HTTP/1.1")
    assert facts == {data["public_url"]: MediaFacts("image/jpeg", len(stored), 900, 1200)}


def route_to_origin(monkeypatch, context, origin):
    """Let a public address lead to the test's web server; everything else is unchanged."""
    local = MediaDownloader(loopback=True, seconds=5)
    real = local.fetch

    async def fetch(url, accept):
        return await real(url.replace("https://pictures.example", origin), accept)

    monkeypatch.setattr(context.api.downloads, "fetch", fetch)


@pytest.mark.requirement("tools.upload_media.url")
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (make_response(b"<!doctype html>" + bytes(500)), "its bytes aren't an image or video that the API takes"),
        (make_response(PNG[:-12]), "«a.png»: it ends too early."),
        (b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n", "from its URL: its server answered 404. Pass another URL"),
        (b"HTTP/1.1 503 X\r\nContent-Length: 0\r\n\r\n", "from its URL: its server answered 503. Try again later"),
    ],
)
async def test_url_without_a_usable_file_is_refused(connect_agent, monkeypatch, answer, words):
    """Nothing is sent to the storage."""
    async with connect_agent() as agent, open_web_server(answer) as (origin, _):
        route_to_origin(monkeypatch, agent.runtime.app, origin)
        before = count_presigned(agent.sandbox)
        assert words in await agent.expect_error("upload_media", source="https://pictures.example/a.png")
        assert count_presigned(agent.sandbox) == before


@pytest.mark.requirement("tools.upload_media.url")
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "169.254.169.254", "intranet", "[::1]"])
async def test_url_of_a_private_address_is_refused(agent, host):
    """Whatever the API's own address: the sandbox is on this machine."""
    words = await agent.expect_error("upload_media", source=f"https://{host}/a.png")
    assert words.startswith("Not uploaded: the file could not be fetched from its URL: the address ")


@pytest.mark.requirement("tools.upload_media.refused")
@pytest.mark.parametrize(
    "source",
    [
        "http://example.com/a.jpg",
        "https://example.com/" + "a" * 2048,
        "https://example.com/a b",
        "https://a/\u202eb",
        "https://",
        "HTTPS://",
        "https:///a.jpg",
        "https://?a.jpg",
        "https://:443/a.jpg",
        "https://user@/a.jpg",
        "https://./a.jpg",
        "https://[::1/a.jpg",
        "https://example.com:99999/a.jpg",
    ],
)
async def test_url_that_posts_cannot_use_is_refused(agent, source):
    """Plain http, too long, not printable, or without a host."""
    assert await agent.expect_error("upload_media", source=source) == (
        "Not uploaded: a URL has to be a plain https URL of at most 2048 characters that names a host. Pass such a URL, or "
        "the path of a local file; repeating the same call does not help."
    )


@pytest.mark.requirement("tools.upload_media.refused")
async def test_refusal_without_folders_names_the_setting(agent):
    """The default."""
    folder = r"C:\Users\you\Pictures\posts" if WINDOWS else "/path/to/folder"
    assert await agent.expect_error("upload_media", source="photo.png") == (
        f"Not uploaded: no folder on this computer is allowed yet. To allow one, add TTP_MEDIA_DIRS={folder} where "
        "this server is configured and restart it; repeating does not help until then."
    )


@pytest.mark.requirement("tools.upload_media.refused")
@pytest.mark.parametrize("source", ["key.png", "../pictures/photo.png", "none.png", "/etc/passwd"])
async def test_refusal_contains_no_path_and_sends_nothing(connect_agent, pictures, source):
    """Whatever the reason."""
    async with connect_agent(media_dirs=(pictures,)) as agent:
        before = count_presigned(agent.sandbox)
        words = await agent.expect_error("upload_media", source=source)
        assert count_presigned(agent.sandbox) == before
    assert words.startswith("Not uploaded: ")
    assert "/" not in words


@pytest.mark.requirement("tools.upload_media.refused")
async def test_remote_server_reads_no_files(connect_agent, pictures):
    """Over HTTP they would be the server's own."""
    async with connect_agent(media_dirs=(pictures,)) as agent:
        agent.runtime.server._context_of = lambda _: replace(agent.runtime.app, local_files=False)
        assert "this server runs elsewhere" in await agent.expect_error("upload_media", source="photo.png")


@pytest.mark.requirement("tools.upload_media.refused")
async def test_upload_limit_counts_sent_files_only(connect_agent, pictures):
    async with connect_agent(media_dirs=(pictures,), max_uploads_per_hour=1) as agent:
        await agent.expect_error("upload_media", source="key.png")
        await agent.expect_ok("upload_media", source="photo.png")
        assert "TTP_MAX_UPLOADS_PER_HOUR" in await agent.expect_error("upload_media", source="photo.png")


@pytest.mark.requirement("tools.upload_media.refused")
async def test_failure_of_the_storage_is_reported_with_its_reason(connect_agent, pictures, monkeypatch):
    """A retry is safe."""
    async with connect_agent(media_dirs=(pictures,)) as agent:

        async def failing(*_):
            raise UploadFailed(method="PUT", path="the storage", reason="the file changed while it was sent")

        monkeypatch.setattr(agent.runtime.app.api.media, "upload", failing)
        words = await agent.expect_error("upload_media", source="photo.png")
    assert words == (
        "File not uploaded: the file was not stored (the file changed while it was sent). No post uses it; trying again is safe."
    )


async def test_upload_url_is_returned_for_a_file_the_agent_sends(agent):
    """The answer explains how; the signature is only in the URL."""
    text, data = await agent.expect_ok("presign_media", filename="a.png", content_type="image/png", size_bytes=3)
    assert data["upload_url"] in text
    assert data["public_url"] in text
    assert "Upload «a.png» (3 bytes) within 300 s: PUT the bytes to upload_url with Content-Type «image/png»" in text


@pytest.mark.parametrize("source", ["./photo.png", ".//photo.png", "././photo.png", "'./photo.png'"])
async def test_relative_path_is_resolved_below_the_folder(connect_agent, pictures, source):
    """As a shell completes it; it still can't leave the folder."""
    async with connect_agent(media_dirs=(pictures,)) as agent:
        _, data = await agent.expect_ok("upload_media", source=source)
        assert data["filename"] == "photo.png"
        assert "part" in await agent.expect_error("upload_media", source="./../photo.png")
