"""An upload URL for a file that the agent sends itself."""

import httpx2
import pytest

from tests.support.media_files import build_png
from tests.tools.conftest import NOW, Fault

pytestmark = pytest.mark.requirement("tools.presign")

PNG = build_png(1, 1, padding=100)
FILE = {"filename": "photo.png", "content_type": "image/png", "size_bytes": 5}


async def test_upload_url_works_as_the_answer_says(empty_agent):
    """PUT without Authorization; then the public URL serves the file and posts accept it."""
    text, data = await empty_agent.expect_ok("presign_media", **FILE)
    assert text == (
        "Upload «photo.png» (5 bytes) within 300 s: PUT the bytes to upload_url with Content-Type «image/png» and no Authorization "
        f"header.\nupload_url: {data['upload_url']}\npublic_url: {data['public_url']}\n"
        "After the PUT succeeded, pass public_url in media_urls of create_post.\n"
        "These are addresses of the sandbox inside this server, which no other program reaches. upload_media works here; "
        "with `ttp-mcp sandbox` and its TTP_API_URL the addresses are real ones of this machine.\nSandbox: nothing here becomes public."
    )
    assert data["expires_in_seconds"] == 300
    assert data["public_url"].endswith(data["key"])
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(empty_agent.sandbox.storage_app)) as storage:
        put = await storage.put(data["upload_url"], content=b"bytes", headers={"content-type": "image/png"})
        assert put.status_code == 200
        assert (await storage.get(data["public_url"])).content == b"bytes"
    text, _ = await empty_agent.expect_ok(
        "create_post",
        content="Fresh",
        platforms=["instagram"],
        media_urls=[data["public_url"]],
        scheduled_at="2026-11-26T10:00",
    )
    assert ", with 1 media file." in text


@pytest.mark.parametrize(
    "arguments",
    [
        {"filename": "photo.png", "contentType": "image/png", "sizeBytes": 5},
        {"filename": "photo.png", "contentType": "image/png", "size": "5"},
    ],
)
async def test_spelling_of_the_api_is_accepted(empty_agent, arguments):
    """It calls the size `size`."""
    await empty_agent.expect_ok("presign_media", **arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size_bytes": 0}, "presign_media not called: size_bytes must be at least 1."),
        ({"size_bytes": "9" * 5000}, "presign_media not called: size_bytes is too large."),
        ({"size_bytes": 1.5}, "presign_media not called: size_bytes must be a whole number."),
        ({"filename": ""}, "presign_media not called: filename must not be empty."),
        ({"filename": None}, "presign_media not called: filename must be text."),
        ({"content_type": "application/zip"}, "No upload URL made: the API refused the request (400). API said: «"),
        ({"size_bytes": 10**12}, "No upload URL made: the API refused the request (400). API said: «"),
    ],
)
async def test_unsuitable_file_is_refused(empty_agent, change, words):
    """By us if the rule is ours, else by the API."""
    assert (await empty_agent.expect_error("presign_media", **FILE | change)).startswith(words)


async def test_upload_urls_count_as_uploads(connect_agent, tmp_path):
    """Each once, together with uploads made here; refused ones don't count."""
    (tmp_path / "photo.png").write_bytes(PNG)
    async with connect_agent(media_dirs=(tmp_path.resolve(),), max_uploads_per_hour=2) as agent:
        await agent.expect_error("presign_media", **FILE | {"content_type": "application/zip"})
        await agent.expect_ok("presign_media", **FILE)
        await agent.expect_ok("upload_media", source="photo.png")
        for tool, arguments, what in (
            ("presign_media", FILE, "No upload URL made"),
            ("upload_media", {"source": "photo.png"}, "File not uploaded"),
        ):
            assert await agent.expect_error(tool, **arguments) == (
                f"{what}: TTP_MAX_UPLOADS_PER_HOUR allows 2 uploads an hour and that is used up. The next one is allowed at "
                "2026-11-24T09:02:00.000Z; nothing was sent. Only the person who configured the server can change the limit."
            )
        history = await agent.runtime.app.ledger.read_history(NOW)
    assert sorted((each.tool, each.outcome) for each in history) == [
        ("presign_media", "not_done"),
        ("presign_media", "uploaded"),
        ("upload_media", "uploaded"),
    ]


async def test_lost_response_is_safe_to_retry(connect_agent):
    """No post can result from it."""
    async with connect_agent(demo_posts=False, through=Fault) as agent:
        agent.sandbox.app.turn, agent.sandbox.app.lasting = 0, True
        words = await agent.expect_error("presign_media", **FILE)
    assert words == "No upload URL made: no response. At most an unused upload URL was created; trying again is safe."
