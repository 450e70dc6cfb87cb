"""Workspaces that are reset, exported and imported."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.workspaces import open_workspace
from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.sandbox.clock import to_iso, to_ms
from ttp_mcp.sandbox.rest import faults, tokens
from ttp_mcp.sandbox.workspace.file import WorkspaceProblem, read_workspace
from ttp_mcp.sandbox.workspace.restore import reset_workspace

pytestmark = pytest.mark.requirement("workspace.file")

NOW = datetime(2026, 6, 24, 9, 30, tzinfo=UTC)
PATHS = ("/posts", "/integrations", "/analytics/weekly-schedule")
PNG = b"\x89PNG\r\n\x1a\n and so on"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """The demo workspace on a Wednesday morning, for the stored clock too."""
    with open_workspace(tmp_path / "sandbox", ManualClock(NOW)) as opened:
        opened.stored_clock.stop_at(NOW)
        yield opened


@pytest.fixture
async def used_workspace(sandbox: Sandbox) -> Sandbox:
    """The same after use: an upload, an unfinished upload, a post of each, and a deleted published one."""
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(sandbox.app), base_url=sandbox.api_url, headers=headers
    ) as api:
        wanted = {"filename": "münze 1.png", "contentType": "image/png", "size": len(PNG)}
        urls = (await api.post("/media/presign", json=wanted)).json()
        await api.post("/media/presign", json=wanted)
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(sandbox.storage_app)) as storage:
            await storage.put(urls["uploadUrl"], content=PNG, headers={"Content-Type": "image/png"})
        media = [urls["publicUrl"], "https://elsewhere.example/a.jpg"]
        post = {
            "content": 'Mit "Zeichen" \u2028 und <b>',
            "platforms": ["twitter"],
            "mediaUrls": media,
            "thread": ["2"],
        }
        await api.post("/posts", json={**post, "platformData": {"x": {"deep": [1.5, None, True]}}})
        out = (await api.get("/posts")).json()["posts"]
        gone = next(entry for entry in out if entry["status"] == "published")
        await api.delete(f"/posts/{gone['id']}")
    return sandbox


def write_file(path: Path, text: str) -> Path:
    """Return a file with this text."""
    path.write_text(text, encoding="utf-8")
    return path


def reset_data(sandbox: Sandbox, **options: Any) -> None:
    """Replace the sandbox's data."""
    reset_workspace(sandbox.store, sandbox.storage, **options)


async def test_imported_workspace_exports_the_same(used_workspace, tmp_path):
    """Byte for byte, in the same folder and in another."""
    text = used_workspace.export()
    path = write_file(tmp_path / "a.json", text)
    reset_data(used_workspace, workspace=read_workspace(path))
    assert used_workspace.export() == text
    with Sandbox(workspace=path) as other:
        assert other.export() == text
        assert other.clock.now() == NOW


async def test_imported_workspace_answers_as_before(used_workspace, tmp_path):
    """The API shows the same; media URLs are those of the new storage."""
    path = write_file(tmp_path / "a.json", used_workspace.export())
    shown: list[object] = []
    with Sandbox(workspace=path, clock=ManualClock(NOW), storage_origin="http://other.localhost:1234") as other:
        for each in (used_workspace, other):
            headers = {"Authorization": f"Bearer {each.token}"}
            transport = httpx2.ASGITransport(each.app)
            async with httpx2.AsyncClient(transport=transport, base_url=each.api_url, headers=headers) as api:
                shown.append([(await api.get(each)).json() for each in PATHS])
        assert (
            json.loads(json.dumps(shown[0]).replace("http://media.sandbox.localhost", "http://other.localhost:1234"))
            == shown[1]
        )
        (url, elsewhere) = shown[1][0]["posts"][0]["mediaUrls"]
        assert elsewhere == "https://elsewhere.example/a.jpg"
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(other.storage_app)) as storage:
            assert (await storage.get(url)).content == PNG


async def test_file_contains_no_token_and_no_key(used_workspace):
    """It is made to be shared and committed."""
    text = used_workspace.export()
    with used_workspace.store.reading() as db:
        key = db.execute("SELECT value FROM meta WHERE key = 'signing_key'").fetchone()[0]
        token_hash = db.execute("SELECT hash FROM tokens").fetchone()[0]
    assert not [
        secret
        for secret in (used_workspace.token, used_workspace.token[4:], key, token_hash, "signature")
        if secret in text
    ]


async def test_file_has_the_documented_form(used_workspace):
    found = json.loads(used_workspace.export())
    assert (found["format"], found["version"]) == ("ttp-mcp sandbox workspace", 1)
    assert found["clock"] == {"now": "2026-06-24T09:30:00.000Z", "running": False}
    assert found["users"] == [
        {"id": "usr_demo", "name": "Demo User", "organizations": ["org_harbor_cafe", "org_nordlicht"]}
    ]
    cafe = found["organizations"][0]
    assert [medium["content"] is None for medium in cafe["media"]] == [False] * 7 + [True]
    newest = cafe["posts"][-1]
    key = cafe["media"][6]["key"]
    assert newest["mediaUrls"] == [f"/{key}", "https://elsewhere.example/a.jpg"]
    assert newest["platformData"] == {"x": {"deep": [1.5, None, True]}}
    assert [target["status"] for target in newest["targets"]] == ["pending", "pending"]


def test_large_media_are_named_and_not_contained(sandbox, tmp_path):
    """Files above 256 KiB, and files that are missing."""
    with sandbox.store.writing() as db:
        first, second = (row["key"] for row in db.execute("SELECT key FROM media ORDER BY rowid LIMIT 2"))
        db.execute("UPDATE media SET size = 262145 WHERE key = ?", (first,))
    sandbox.storage.path(second).unlink()
    text = sandbox.export()
    media = json.loads(text)["organizations"][0]["media"]
    assert [medium["content"] is None for medium in media[:3]] == [True, True, False]
    reset_data(sandbox, workspace=read_workspace(write_file(tmp_path / "a.json", text)))
    assert sandbox.export() == text


def test_handwritten_file_needs_few_fields(tmp_path):
    """Everything with a natural default may be left out."""
    text = json.dumps(
        {
            "clock": {"now": "2026-12-01T09:00:00Z"},
            "users": [{"id": "me", "name": "Me", "organizations": ["mine"]}],
            "organizations": [
                {
                    "id": "mine",
                    "name": "Mine",
                    "accounts": [{"id": "acc_1", "platform": "bluesky", "name": "me"}],
                    "posts": [{"id": "p1", "content": "Hi", "status": "draft", "targets": [{"accountId": "acc_1"}]}],
                }
            ],
        }
    )
    with Sandbox(workspace=write_file(tmp_path / "a.json", text), clock=ManualClock(NOW)) as sandbox:
        (post,) = json.loads(sandbox.export())["organizations"][0]["posts"]
        assert (post["createdAt"], post["updatedAt"]) == ("2026-06-24T09:30:00.000Z",) * 2


def test_imported_publishing_post_is_finished_by_the_next_worker(tmp_path):
    """No worker holds it in the new sandbox."""
    with Sandbox(clock=ManualClock(NOW)) as sandbox:
        sandbox.clock.move(9 * 24 * 3600)
        (claim, *_) = sandbox.scheduler.claim()
        path = write_file(tmp_path / "a.json", sandbox.export())
    with Sandbox(workspace=path) as other:
        assert f'"id": "{claim.post_id}"' in other.export()
        assert '"status": "publishing"' in other.export()
        other.tick()
        assert '"status": "publishing"' not in other.export()


@pytest.mark.requirement("workspace.same")
async def test_reset_makes_the_same_workspace_every_time(used_workspace):
    """Whatever was there before; with a time, the clock continues from it."""
    at = datetime(2026, 12, 1, 9, tzinfo=UTC)
    found: list[dict[str, Any]] = []
    for _ in range(2):
        reset_data(used_workspace, at=at)
        assert timedelta() <= used_workspace.stored_clock.now() - at < timedelta(minutes=1)
        found.append(json.loads(used_workspace.export()))
    assert found[0] == found[1]
    with Sandbox(clock=ManualClock(at)) as fresh:
        assert json.loads(fresh.export())["organizations"] == found[0]["organizations"]


@pytest.mark.requirement("workspace.same")
def test_reset_without_a_time_follows_the_machine_again(sandbox):
    """As a new folder does."""
    reset_data(sandbox)
    assert abs(sandbox.stored_clock.now() - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.requirement("workspace.same")
def test_file_moves_to_another_time_as_a_whole(sandbox, tmp_path):
    """Each instant by the same distance; a stopped clock stays stopped."""
    with Sandbox(sandbox.folder) as other:
        text = other.export()
        at = NOW + timedelta(days=1000)
        reset_data(other, workspace=read_workspace(write_file(tmp_path / "a.json", text)), at=at)
        assert other.clock.now() == at
        reset_data(other, workspace=read_workspace(write_file(tmp_path / "b.json", other.export())), at=NOW)
        assert other.export() == text


@pytest.mark.requirement("workspace.same")
@pytest.mark.parametrize("ahead", [timedelta(seconds=0.5), timedelta(seconds=59.999), -timedelta(seconds=0.5)])
def test_file_of_a_running_clock_moves_by_whole_minutes(sandbox, tmp_path, ahead):
    """A post at 10:00 stays on the minute, and nothing that happened moves past the new time."""
    sandbox.clock.move(ahead.total_seconds())
    path = write_file(tmp_path / "a.json", sandbox.export())
    at = NOW + timedelta(days=100)
    reset_data(sandbox, workspace=read_workspace(path), at=at)
    assert sandbox.stored_clock.now() == at
    posts = [post for each in json.loads(sandbox.export())["organizations"] for post in each["posts"]]
    assert {post["scheduledAt"][16:] for post in posts if post["scheduledAt"]} == {":00.000Z"}
    assert max(post["createdAt"] for post in posts) <= to_iso(to_ms(at))


@pytest.mark.requirement("workspace.careful")
async def test_reset_keeps_tokens_and_forgets_faults_activity_and_files(used_workspace, tmp_path):
    """A token of a removed user acts as the first one."""
    token = tokens.create_token(used_workspace.store, used_workspace.clock, label="mine")
    faults.schedule_fault(used_workspace.store, "500")
    (used_workspace.storage.folder / "uploads" / "stray" / "deep").mkdir(parents=True)
    (used_workspace.storage.folder / "uploads" / "stray" / "deep" / "file.png").write_bytes(PNG)
    text = used_workspace.export().replace("usr_demo", "usr_other")
    reset_data(used_workspace, workspace=read_workspace(write_file(tmp_path / "a.json", text)))
    caller = tokens.verify_token(used_workspace.store, used_workspace.clock, token)
    assert (caller.user_id, caller.label) == ("usr_other", "mine")
    assert faults.list_faults(used_workspace.store) == []
    with used_workspace.store.reading() as db:
        assert db.execute("SELECT count(*) FROM activity").fetchone()[0] == 0
        known = {row["key"] for row in db.execute("SELECT key FROM media WHERE uploaded_at IS NOT NULL")}
    folder = used_workspace.storage.folder
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == known
    assert not (folder / "uploads" / "stray").exists()
    reset_data(used_workspace, empty=True)
    assert list(folder.rglob("*")) in ([], [folder / "uploads"])


@pytest.mark.requirement("workspace.careful")
def test_reset_is_atomic_for_other_processes(sandbox):
    """Their next read, write and tick work."""
    with Sandbox(sandbox.folder, clock=ManualClock(NOW)) as other:
        with other.store.reading() as db:
            before = db.execute("SELECT count(*) FROM posts").fetchone()[0]
            # Another connection, as another process has one.
            reset_elsewhere(sandbox)
            assert db.execute("SELECT count(*) FROM posts").fetchone()[0] == before
        with other.store.reading() as db:
            assert db.execute("SELECT count(*) FROM posts").fetchone()[0] == 0
        assert other.tick() == 0
        assert other.store.connection().execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert other.store.connection().execute("PRAGMA foreign_key_check").fetchall() == []


def reset_elsewhere(sandbox: Sandbox) -> None:
    """Empty the workspace through another opening of its folder."""
    with Sandbox(sandbox.folder) as third:
        reset_data(third, empty=True)


Change = Callable[[dict[str, Any]], object]


def get_cafe(found: dict[str, Any]) -> dict[str, Any]:
    """The first organization of a file."""
    return found["organizations"][0]


def get_post(found: dict[str, Any]) -> dict[str, Any]:
    """Its fourth post."""
    return get_cafe(found)["posts"][3]


@pytest.mark.requirement("workspace.careful")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda found: found.update(version=2), "version: Input should be 1"),
        (lambda found: found.update(extra=1), "extra: Extra inputs are not permitted"),
        (lambda found: found.pop("clock"), "clock: Field required"),
        (lambda found: found["clock"].update(now="soon"), "clock.now: must be an ISO 8601 time, for example"),
        (lambda found: found["clock"].update(now="1969-01-01T00:00:00Z"), "clock.now: Input should be greater than"),
        (lambda found: get_cafe(found).update(timeZone="Mars/One"), "organizations[0].timeZone: must be an IANA time zone"),
        (lambda found: get_post(found).update(status="out"), "organizations[0].posts[3].status: Input should be"),
        (lambda found: get_cafe(found)["media"][0].update(key="uploads/../../x"), "organizations[0].media[0].key: String"),
        (lambda found: get_cafe(found)["media"][0].update(content="*"), "organizations[0].media[0]: content is not base64"),
        (lambda found: get_cafe(found)["media"][0].update(content="AAAA"), "media[0]: content does not have the size and the sha256"),
        (lambda found: get_post(found).update(scheduledAt=None), "organizations[0].posts[3]: scheduledAt must be set, except for a draft"),
        (
            lambda found: get_post(found).update(id=get_cafe(found)["posts"][1]["id"]),
            "posts[3].id is the same as organizations[0].posts[1].id",
        ),
        (lambda found: get_post(found)["targets"][0].update(accountId="acc"), ": posts[3].targets[0].accountId acc is not an account"),
        (lambda found: get_post(found)["targets"].extend(get_post(found)["targets"][:1]), ".accountId is the same as"),
        (lambda found: get_cafe(found)["publications"][2].update(accountId="acc"), "publications[2].accountId acc is not an account"),
        (lambda found: get_cafe(found)["accounts"].append(get_cafe(found)["accounts"][0]), "accounts[6].id is the same as"),
        (lambda found: found["users"][0].update(organizations=["x"]), "users[0].organizations names x, which is not in the file"),
        (lambda found: found["organizations"].append(found["organizations"][1]), "organizations[2].id is the same as"),
        (lambda found: found.update(users=[], organizations=[]), "not 0 (and 1 more)"),
    ],
)  # fmt: skip
def test_contradictory_file_is_refused_with_the_place(sandbox, tmp_path, change: Change, words):
    """Nothing is changed."""
    text = sandbox.export()
    found = json.loads(text)
    change(found)
    path = write_file(tmp_path / "a.json", json.dumps(found))
    with pytest.raises(WorkspaceProblem) as refusal:
        reset_data(sandbox, workspace=read_workspace(path))
    assert words in str(refusal.value)
    assert str(refusal.value).startswith(f"{path} is not a workspace: ")
    assert sandbox.export() == text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_file_from_windows_tools_is_read(sandbox, tmp_path, encoding):
    """As PowerShell redirects it and Notepad saves it."""
    path = tmp_path / "a.json"
    path.write_bytes(sandbox.export().encode(encoding))
    assert read_workspace(path) == read_workspace(write_file(tmp_path / "b.json", sandbox.export()))


@pytest.mark.requirement("workspace.careful")
def test_file_in_another_encoding_is_refused(tmp_path):
    """It would be read with wrong characters."""
    path = tmp_path / "a.json"
    path.write_bytes(b'{"name": "Caf\xe9"}')
    with pytest.raises(WorkspaceProblem, match="is not a workspace: it is neither UTF-8 nor UTF-16"):
        read_workspace(path)


@pytest.mark.requirement("workspace.careful")
def test_missing_or_invalid_json_file_is_refused(sandbox, tmp_path, monkeypatch):
    """With the line, or the system's reason."""
    with pytest.raises(WorkspaceProblem, match=r"is not a workspace: Invalid JSON: .* at line 1 column 1"):
        read_workspace(write_file(tmp_path / "a.json", "{"))
    with pytest.raises(WorkspaceProblem, match=r"can't be read \(No such file or directory\)"):
        read_workspace(tmp_path / "none.json")
    monkeypatch.setattr("ttp_mcp.sandbox.workspace.file.MOST_FILE_BYTES", 100)
    with pytest.raises(WorkspaceProblem, match="is larger than 0 MiB"):
        read_workspace(write_file(tmp_path / "b.json", sandbox.export()))


@pytest.mark.requirement("workspace.careful")
def test_times_out_of_range_are_refused_and_rolled_back(sandbox, tmp_path):
    """Half of the rows were already written."""
    text = sandbox.export()
    path = write_file(tmp_path / "a.json", text)
    with pytest.raises(WorkspaceProblem, match="would leave the years 1970–9999"):
        reset_data(sandbox, workspace=read_workspace(path), at=datetime(1970, 1, 2, tzinfo=UTC))
    assert sandbox.export() == text


@pytest.mark.requirement("workspace.careful")
def test_sandbox_with_a_bad_file_leaves_the_folder_new(tmp_path):
    """The next one fills it."""
    with pytest.raises(WorkspaceProblem):
        Sandbox(tmp_path / "data", workspace=write_file(tmp_path / "a.json", "[]"))
    with Sandbox(tmp_path / "data", empty=True) as sandbox:
        assert "org_empty" in sandbox.export()


def test_workspace_for_a_used_folder_is_ignored(sandbox, tmp_path):
    """As with the demo workspace."""
    path = write_file(tmp_path / "a.json", sandbox.export())
    with Sandbox(tmp_path / "data", empty=True), Sandbox(tmp_path / "data", workspace=path) as again:
        assert "org_empty" in again.export()


def test_times_without_an_offset_are_utc(tmp_path, sandbox):
    """A file has no user whose zone could apply."""
    text = sandbox.export().replace('"now": "2026-06-24T09:30:00.000Z"', '"now": "2026-06-24T09:30"')
    assert read_workspace(write_file(tmp_path / "a.json", text)).clock.now == NOW.timestamp() * 1000


@pytest.mark.requirement("workspace.careful")
@pytest.mark.parametrize("part", ["posts", "publications"])
def test_file_with_media_that_are_not_urls_is_refused(sandbox, tmp_path, part):
    """They couldn't be listed or exported."""
    found = json.loads(sandbox.export())
    get_cafe(found)[part][0]["mediaUrls"] = ["https://[oops/a.jpg"]
    with pytest.raises(
        WorkspaceProblem, match=rf"{part}\[0\]\.mediaUrls\[0\]: must be a URL, or the path of an upload"
    ):
        read_workspace(write_file(tmp_path / "a.json", json.dumps(found)))


async def test_media_that_are_not_urls_are_shown_and_exported_as_they_are(sandbox):
    """An older folder may contain one."""
    with sandbox.store.writing() as db:
        db.execute("UPDATE posts SET media_urls = ?", (json.dumps(["https://[oops/a.jpg"]),))
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    transport = httpx2.ASGITransport(sandbox.app)
    async with httpx2.AsyncClient(transport=transport, base_url=sandbox.api_url, headers=headers) as api:
        assert (await api.get("/posts")).json()["posts"][0]["mediaUrls"] == ["https://[oops/a.jpg"]
    assert "https://[oops/a.jpg" in sandbox.export()


@pytest.mark.requirement("workspace.careful")
@pytest.mark.parametrize("status", ["scheduled", "publishing"])
@pytest.mark.parametrize("field", ["postId", "id"])
def test_due_post_that_is_already_published_is_refused(sandbox, tmp_path, status, field):
    """The network already has it, or its id."""
    found = json.loads(sandbox.export())
    publication = get_cafe(found)["publications"][0]
    number, post = next(
        (number, post) for number, post in enumerate(get_cafe(found)["posts"]) if post["id"] == publication["postId"]
    )
    post.update(status=status, scheduledAt="2026-06-24T10:00:00Z", publishedAt=None)
    publication.update({"postId": "other"} if field == "id" else {"id": "other"})
    words = (
        rf"organizations\[0\]\.publications\[0\]\.{field} is the same as "
        rf"organizations\[0\]\.posts\[{number}\]\.targets\[\d\] \(still to be published\)\."
    )
    with pytest.raises(WorkspaceProblem, match=words):
        read_workspace(write_file(tmp_path / "a.json", json.dumps(found)))


@pytest.mark.requirement("workspace.careful")
@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("timeZone", "5", "organizations[0].timeZone: Input should be a valid string"),
        ("timeZone", '["UTC"]', "organizations[0].timeZone: Input should be a valid string"),
        ("platformData", '{"a": [1e400]}', "organizations[0].posts[0].platformData: must hold numbers of a size"),
        ("platformData", '{"a": NaN}', "organizations[0].posts[0].platformData: must hold numbers of a size"),
    ],
)
def test_file_with_unstorable_values_is_refused(sandbox, tmp_path, place, value, words):
    """Before anything is changed."""
    found = json.loads(sandbox.export())
    (get_cafe(found) if place == "timeZone" else get_cafe(found)["posts"][0])[place] = "here"
    path = write_file(tmp_path / "a.json", json.dumps(found).replace('"here"', value))
    with pytest.raises(WorkspaceProblem) as refusal:
        read_workspace(path)
    assert str(refusal.value).startswith(f"{path} is not a workspace: {words}")
