"""Uploads through the API client: presign, PUT and retries."""

import os
from pathlib import Path

import anyio
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ttp_mcp.api import BadAnswer, Limits, UploadFailed, UploadRefused, ValidationFailed
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.clock import Clocks
from ttp_mcp.api.http import Http
from ttp_mcp.credentials import Token
from ttp_mcp.media.files import open_below
from ttp_mcp.sandbox import Sandbox

pytestmark = pytest.mark.requirement("uploads.whole")

TOKEN = "ttp_" + "0123456789abcdef" * 3
PICTURE = b"\xff\xd8\xff" + os.urandom(700_000)


@pytest.fixture
def file(tmp_path):
    """Open a file that was last modified long ago."""
    path = tmp_path / "photo.jpg"
    path.write_bytes(PICTURE)
    os.utime(path, ns=(10**9, 10**9))
    with open_below("photo.jpg", [tmp_path]) as opened:
        yield opened


@pytest.fixture
def sandbox():
    """Open a sandbox in this process."""
    with Sandbox() as opened:
        yield opened


class Api:
    """An API in this process that presigns, and a storage that responds with the given statuses."""

    def __init__(self, *answers, upload_url="http://media.sandbox.localhost/key-{}", presigned=None):
        self.answers = list(answers)
        self.upload_url = upload_url
        self.presigned = presigned
        self.presigns = []
        self.puts = []
        self.slept = []
        self.now = 0.0

    async def presign(self, request):
        self.presigns.append(await request.json())
        number = len(self.presigns)
        default = {
            "success": True,
            "key": f"key-{number}",
            "uploadUrl": self.upload_url.format(number),
            "publicUrl": f"https://media.example.com/key-{number}",
            "expiresIn": 300,
        }
        return JSONResponse(default if self.presigned is None else self.presigned)

    async def put(self, request):
        body = b"".join([chunk async for chunk in request.stream()])
        self.puts.append((request.url.path, dict(request.headers), body))
        answer = self.answers.pop(0) if self.answers else 200
        return Response(status_code=answer)

    async def sleep(self, seconds):
        self.slept.append(seconds)

    def client(self, *, limits=None, **options):
        app = Starlette(routes=[Route("/api/media/presign", self.presign, methods=["POST"])])
        storage = Starlette(routes=[Route("/{key:path}", self.put, methods=["PUT"])])
        clocks = Clocks(sleep=self.sleep, jitter=lambda: 0.5, monotonic=lambda: self.now)
        http = Http(base_url="http://sandbox.localhost/api", token=Token(TOKEN), app=app, clocks=clocks, limits=limits)
        return ApiClient(http, **{"storage_app": storage, **options})


async def upload_once(client, file, progress=None):
    """Upload once, then close the client."""
    try:
        with anyio.fail_after(10):
            return await client.media.upload(file.name, "image/jpeg", file, progress)
    finally:
        await client.aclose()


async def test_file_arrives_in_the_sandbox_byte_for_byte(sandbox, file):
    """Presign, PUT, public URL."""
    client = ApiClient(
        Http(base_url=sandbox.api_url, token=Token(sandbox.token), app=sandbox.app), storage_app=sandbox.storage_app
    )
    stored = await upload_once(client, file)
    assert sandbox.storage.path(stored.key).read_bytes() == PICTURE
    assert stored.public_url == sandbox.storage.public_url(stored.key)


@pytest.mark.requirement("uploads.bare")
async def test_storage_never_gets_the_token(file):
    api = Api()
    await upload_once(api.client(), file)
    ((path, headers, body),) = api.puts
    assert (path, body) == ("/key-1", PICTURE)
    assert headers == {
        "host": "media.sandbox.localhost",
        "content-type": "image/jpeg",
        "content-length": str(len(PICTURE)),
    }
    assert api.presigns == [{"filename": "photo.jpg", "contentType": "image/jpeg", "size": len(PICTURE)}]


@pytest.mark.parametrize(
    ("answers", "puts", "slept"),
    [
        ([], 1, []),
        ([503], 2, [0.25]),
        ([503, 500], 3, [0.25, 0.5]),
        ([403], 2, []),
        ([400], 2, []),
        ([403, 503], 3, [0.5]),
    ],
)
async def test_temporary_failure_is_retried_with_a_new_url(file, answers, puts, slept):
    """At most three PUTs, each of the whole file and to its own URL."""
    api = Api(*answers)
    stored = await upload_once(api.client(), file)
    assert len(api.puts) == len(api.presigns) == puts
    assert stored.public_url == f"https://media.example.com/key-{puts}"
    assert [path for path, _, _ in api.puts] == [f"/key-{number + 1}" for number in range(puts)]
    assert all(body == PICTURE for _, _, body in api.puts)
    assert api.slept == slept


@pytest.mark.parametrize(
    ("answers", "puts", "kind", "reason"),
    [
        ([503, 503, 503], 3, UploadFailed, "the storage had a failure of its own (503)"),
        ([403, 403], 2, UploadRefused, "the storage did not accept the upload URL (403)"),
        ([503, 403, 503], 3, UploadFailed, "the storage had a failure of its own (503)"),
        ([413], 1, UploadRefused, "the storage refused the file (413)"),
        ([302], 1, UploadRefused, "the storage answered with a redirect, which is never followed"),
    ],
)
async def test_persistent_failure_is_raised_with_its_reason(file, answers, puts, kind, reason):
    """At most three attempts are made."""
    api = Api(*answers)
    with pytest.raises(kind) as caught:
        await upload_once(api.client(), file)
    assert type(caught.value) is kind
    assert caught.value.reason == reason
    assert caught.value.status == answers[-1]
    assert caught.value.may_have_happened is False
    assert len(api.puts) == puts


async def test_url_that_expired_before_the_upload_is_replaced(file):
    """The machine slept between the two requests."""
    api = Api()
    real_presign = api.presign

    async def late(request):
        answer = await real_presign(request)
        api.now += 271.0 if len(api.presigns) == 1 else 0.0
        return answer

    api.presign = late
    stored = await upload_once(api.client(limits=Limits(total_seconds=1000)), file)
    assert stored.public_url.endswith("/key-2")
    assert (len(api.presigns), len(api.puts)) == (2, 1)


async def test_url_without_any_lifetime_is_given_up(file):
    presigned = {"uploadUrl": "http://media.sandbox.localhost/key", "publicUrl": "https://m.example/k", "expiresIn": -1}
    api = Api(presigned=presigned)
    with pytest.raises(UploadFailed) as caught:
        await upload_once(api.client(), file)
    assert caught.value.reason == "the upload URL was too old"
    assert (len(api.presigns), api.puts) == (2, [])


@pytest.mark.parametrize("when", ["before", "during", "after"])
async def test_file_changed_during_the_upload_is_an_error(tmp_path, file, when):
    """Whenever it changes, and without a second attempt."""
    api = Api()
    path = tmp_path / "photo.jpg"
    real_put = api.put

    async def changing(request):
        if when == "during":
            await anext(request.stream())
            path.write_bytes(PICTURE[::-1])
        answer = await real_put(request)
        path.write_bytes(PICTURE[::-1])
        return answer

    if when == "before":
        path.write_bytes(PICTURE[::-1])
    api.put = changing
    with pytest.raises(UploadFailed, match="PUT the storage") as caught:
        await upload_once(api.client(), file)
    assert caught.value.reason == "the file changed while it was sent"
    assert len(api.presigns) == 1


@pytest.mark.requirement("uploads.addresses")
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://10.0.0.1/key", "the upload address is not https"),
        ("https://user@media.example.com/key", "the upload address is not a plain https URL"),
    ],
)
async def test_hostile_upload_url_is_refused(file, url, reason):
    """Nothing is sent there, and no second URL is requested."""
    api = Api(upload_url=url)
    with pytest.raises(UploadRefused) as caught:
        await upload_once(api.client(), file)
    assert caught.value.reason == reason
    assert (len(api.presigns), api.puts) == (1, [])


@pytest.mark.requirement("uploads.addresses")
async def test_host_in_a_private_network_is_refused(file):
    api = Api(upload_url="https://media.example.com/key")
    client = api.client(storage_app=None, resolve=lambda host, port: ["93.184.216.34", "169.254.169.254"])
    with pytest.raises(UploadRefused) as caught:
        await upload_once(client, file)
    assert caught.value.reason == "the upload address leads into a private network"


@pytest.mark.requirement("uploads.progress")
async def test_progress_is_reported_during_the_upload_and_at_the_end(file):
    """The storage waits for the first half to be reported."""
    api = Api()
    half = anyio.Event()
    reports = []

    async def patient(request):
        received = 0
        async for chunk in request.stream():
            received += len(chunk)
            if received > 300_000:
                with anyio.fail_after(5):
                    await half.wait()
        return Response()

    async def progress(done, total):
        reports.append((done, total))
        if done:
            half.set()

    api.put = patient
    await upload_once(api.client(), file, progress)
    assert reports[0] == (0, len(PICTURE))
    assert 0 < reports[1][0] < len(PICTURE)
    assert reports[-1] == (len(PICTURE), len(PICTURE))
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)


@pytest.mark.requirement("uploads.progress")
async def test_upload_that_fails_is_not_reported_as_complete(file):
    reports = []

    async def progress(done, total):
        reports.append(done)

    with pytest.raises(UploadRefused):
        await upload_once(Api(413).client(), file, progress)
    assert reports == [0]


@pytest.mark.requirement("uploads.secret")
async def test_presigned_url_is_never_in_a_repr_or_an_error(file):
    """Only the attribute `upload_url` returns it."""
    api = Api(404, upload_url="http://media.sandbox.localhost/key-{}?signature=5ec2e7")
    client = api.client()
    presigned = await client.media.presign("a.jpg", "image/jpeg", 1)
    with pytest.raises(UploadRefused) as caught:
        await upload_once(client, file)
    assert "5ec2e7" in presigned.upload_url
    assert "5ec2e7" not in repr(presigned) + repr(caught.value) + str(vars(caught.value))


@pytest.mark.parametrize("nested", [False, True])
async def test_presign_reads_both_shapes_of_the_response(nested):
    """Flat as documented, or inside `data`."""
    flat = {"uploadUrl": "https://s.example/k", "publicUrl": "https://m.example/k"}
    client = Api(presigned={"data": flat} if nested else flat).client()
    presigned = await client.media.presign("a.jpg", "image/jpeg", 1)
    await client.aclose()
    assert (presigned.key, presigned.upload_url, presigned.public_url, presigned.expires_in_seconds) == (
        "",
        "https://s.example/k",
        "https://m.example/k",
        300,
    )


async def test_presign_without_urls_is_a_bad_answer():
    client = Api(presigned={"success": True}).client()
    with pytest.raises(BadAnswer):
        await client.media.presign("a.jpg", "image/jpeg", 1)
    await client.aclose()


async def test_refused_type_is_not_retried(sandbox, file):
    """The API's message is kept, and nothing is sent to the storage."""
    client = ApiClient(
        Http(base_url=sandbox.api_url, token=Token(sandbox.token), app=sandbox.app), storage_app=sandbox.storage_app
    )
    with pytest.raises(ValidationFailed, match="400 on POST /media/presign"):
        await client.media.upload("a.pdf", "application/pdf", file)
    await client.aclose()
    assert not list(Path(sandbox.folder / "media").rglob("a.pdf"))


@pytest.mark.parametrize(
    ("age", "lifetime", "is_used"),
    [(269, 300, True), (270, 300, False), (269, 9000, True), (270, 9000, False), (89, 100, True), (90, 100, False)],
)
async def test_url_is_used_for_nine_tenths_of_its_lifetime_and_270_seconds_at_most(file, age, lifetime, is_used):
    """An upload that starts later could be refused halfway."""

    class SlowApi(Api):
        async def presign(self, request):
            self.now += age
            return await super().presign(request)

    place = "http://media.sandbox.localhost/key"
    api = SlowApi(presigned={"uploadUrl": place, "publicUrl": "https://m.example/k", "expiresIn": lifetime})
    if is_used:
        await upload_once(api.client(), file)
    else:
        with pytest.raises(UploadFailed) as caught:
            await upload_once(api.client(), file)
        assert caught.value.reason == "the upload URL was too old"
    assert len(api.presigns) == (1 if is_used else 2)
