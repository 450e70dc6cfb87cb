"""Invalid requests, the record of each request, and the date of responses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.sandbox.rest import activity
from ttp_mcp.sandbox.rest.responses import respond_ok

JSON = {"Content-Type": "application/json"}
DRAFT = {"content": "Hello", "accountIds": ["acc_x"]}


def read_error(answer: httpx2.Response) -> tuple[int, str]:
    """Status and message of an answer in the documented shape."""
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert set(body) == {"success", "message"}
    assert body["success"] is False
    return answer.status_code, body["message"]


@pytest.mark.requirement("sandbox.errors")
@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/post",
        "/posts/",
        "/posts/a/b",
        "/Posts",
        "//posts",
        "/posts;x",
        "/analytics",
        "/media",
        "/media/upload",
        "/%F0%9F%9A%80",
    ],
)
async def test_unknown_paths_are_not_found(empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, path: str) -> None:
    """For every method, without a redirect."""
    for method in ("GET", "POST", "DELETE"):
        answer = await empty_api.request(method, httpx2.URL(f"{empty_workspace.api_url}{path}"))
        assert read_error(answer) == (404, "There is nothing at this path.")


@pytest.mark.requirement("sandbox.errors")
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/posts", {"GET", "HEAD", "POST"}),
        ("/posts/cmb8none", {"GET", "HEAD", "DELETE"}),
        ("/integrations", {"GET", "HEAD"}),
        ("/analytics/optimal-times", {"GET", "HEAD"}),
        ("/analytics/optimal-times/by-account", {"GET", "HEAD"}),
        ("/media/presign", {"POST"}),
    ],
)
async def test_other_methods_get_405_with_the_allowed_ones(
    empty_api: httpx2.AsyncClient, path: str, allowed: set[str]
) -> None:
    """405 with all methods of the path, and nothing else is allowed."""
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} - allowed:
        answer = await empty_api.request(method, path)
        assert read_error(answer) == (405, "This path does not take this method.")
        assert set(answer.headers["Allow"].split(", ")) == allowed


@pytest.mark.requirement("sandbox.errors")
async def test_head_answers_like_get(empty_api: httpx2.AsyncClient) -> None:
    """The status and headers of a GET."""
    assert (await empty_api.head("/posts")).status_code == 200
    assert (await empty_api.head("/posts/cmb8none")).status_code == 404


@pytest.mark.requirement("sandbox.errors")
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{}}",
        b"{'content': 'Hello'}",
        b'{"content": NaN}',
        b'{"content": Infinity}',
        b'{"content": 1e999}',
        b'{"platformData": {"a": [-1e999]}}',
        b'{"content": "\\ud800"}',
        b'{"content": "\xff"}',
        b'\xef\xbb\xbf{"content": "Hello"}',
        b'{"content": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 500 + b"1" + b"}" * 500,
    ],
)
async def test_invalid_json_is_refused(empty_api: httpx2.AsyncClient, body: bytes) -> None:
    """Also too deep nesting, too large numbers and NaN."""
    for path in ("/posts", "/media/presign"):
        assert read_error(await empty_api.post(path, content=body, headers=JSON)) == (
            400,
            "The body is not valid JSON.",
        )


@pytest.mark.requirement("sandbox.errors")
@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"7", b"true"])
async def test_body_that_is_not_an_object_is_refused(empty_api: httpx2.AsyncClient, body: bytes) -> None:
    """400."""
    assert read_error(await empty_api.post("/posts", content=body, headers=JSON)) == (
        400,
        "The body must be a JSON object.",
    )


@pytest.mark.requirement("sandbox.errors")
@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"]
)
async def test_other_content_types_are_refused(empty_api: httpx2.AsyncClient, content_type: str) -> None:
    """415 with any body."""
    answer = await empty_api.post("/posts", content=json.dumps(DRAFT), headers={"Content-Type": content_type})
    assert read_error(answer) == (415, "Content-Type must be application/json.")


@pytest.mark.requirement("sandbox.errors")
@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_may_have_parameters(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str], content_type: str
) -> None:
    """Any case, any parameters."""
    connect_account("twitter", "acc_x")
    answer = await empty_api.post("/posts", content=json.dumps(DRAFT), headers={"Content-Type": content_type})
    assert answer.status_code == 201


@pytest.mark.requirement("sandbox.errors")
async def test_body_is_limited_to_1_mib(empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]) -> None:
    """To the byte; a longer one is not read to its end."""
    connect_account("lemmy", "acc_x")
    body = json.dumps(DRAFT).encode()
    fits = body + b" " * (1024 * 1024 - len(body))
    assert (await empty_api.post("/posts", content=fits, headers=JSON)).status_code == 201
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 65536

    for content in (fits + b" ", endless()):
        answer = await empty_api.post("/posts", content=content, headers=JSON)
        assert read_error(answer) == (413, "The body has more than 1048576 bytes.")
    assert sent < 20


@pytest.mark.requirement("sandbox.errors")
async def test_missing_token_is_reported_first(empty_api: httpx2.AsyncClient) -> None:
    """With a token, a foreign organization precedes errors of the body."""
    bad = {"content": b"{", "headers": {"x-ttp-org": "org_others"}}
    assert read_error(await empty_api.post("/posts", **bad))[0] == 403
    del empty_api.headers["Authorization"]
    assert read_error(await empty_api.post("/posts", **bad))[0] == 401


@pytest.mark.requirement("sandbox.errors")
async def test_repeated_query_parameter_is_refused(empty_api: httpx2.AsyncClient) -> None:
    """The reference doesn't say which one counts."""
    answer = await empty_api.get("/analytics/optimal-times?platform=twitter&platform=twitter")
    assert read_error(answer) == (400, "A query parameter is given twice.")


@pytest.mark.requirement("sandbox.errors")
async def test_aborted_request_does_nothing(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """The client left before the end of its body."""
    connect_account("twitter", "acc_x")
    messages = [
        {"type": "http.request", "body": json.dumps(DRAFT).encode(), "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/api/posts",
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            (b"authorization", f"Bearer {empty_workspace.token}".encode()),
        ],
    }
    await empty_workspace.app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert (await empty_api.get("/posts")).json()["posts"] == []


@pytest.mark.requirement("sandbox.errors")
async def test_internal_failure_has_the_documented_shape(empty_workspace: Sandbox) -> None:
    """A missing table, which the response doesn't reveal."""
    headers = {"Authorization": f"Bearer {empty_workspace.token}"}
    transport = httpx2.ASGITransport(empty_workspace.app, raise_app_exceptions=False)
    with empty_workspace.store.writing() as db:
        db.execute("DROP TABLE publications")
    async with httpx2.AsyncClient(transport=transport, base_url=empty_workspace.api_url, headers=headers) as api:
        answer = await api.get("/analytics/engagement-summary")
    assert read_error(answer) == (500, "The sandbox failed; its log says why.")


@pytest.mark.requirement("sandbox.errors")
async def test_every_response_has_the_sandboxs_date(empty_api: httpx2.AsyncClient, clock: ManualClock) -> None:
    """Exactly once, also on refusals, so that clients learn the sandbox's time."""
    for path in ("/posts", "/nothing", "/posts/cmb8none"):
        assert (await empty_api.get(path)).headers.get_list("Date") == ["Wed, 24 Jun 2026 09:30:00 GMT"]
    clock.move(86400)
    assert (await empty_api.get("/posts")).headers["Date"] == "Thu, 25 Jun 2026 09:30:00 GMT"


@pytest.mark.requirement("sandbox.activity")
async def test_every_request_is_recorded(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """Who, what and the outcome."""
    connect_account("twitter", "acc_x")
    made = (await empty_api.post("/posts", json=DRAFT)).json()["post"]["id"]
    await empty_api.get("/posts")
    await empty_api.get(f"/posts/{made}")
    await empty_api.delete(f"/posts/{made}")
    await empty_api.get("/integrations")
    await empty_api.post("/media/presign", json={"filename": "a.png", "contentType": "image/png", "size": 1})
    await empty_api.post("/posts", content=b"{", headers=JSON)
    await empty_api.get("/posts", headers={"x-ttp-org": "org_others"})
    await empty_api.get("/posts", headers={"Authorization": "Bearer nobody"})
    with empty_workspace.store.reading() as db:
        notes = [
            tuple(row)
            for row in db.execute(
                "SELECT organization_id, token_label, method, status, summary FROM activity ORDER BY id"
            )
        ]
    assert notes == [
        ("org_empty", "sandbox", "POST", 201, "Create a post: Hello"),
        ("org_empty", "sandbox", "GET", 200, "List posts"),
        ("org_empty", "sandbox", "GET", 200, f"Read posts/{made}"),
        ("org_empty", "sandbox", "DELETE", 200, "Delete a post"),
        ("org_empty", "sandbox", "GET", 200, "List accounts"),
        ("org_empty", "sandbox", "POST", 200, "Prepare an upload: a.png"),
        ("org_empty", "sandbox", "POST", 400, "Create a post"),
        (None, "sandbox", "GET", 403, "List posts"),
        (None, None, "GET", 401, "List posts"),
    ]


@pytest.mark.requirement("sandbox.activity")
async def test_records_contain_no_secret_and_are_limited(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient
) -> None:
    """No token or upload URL; texts are cut; the last 1,000 requests are kept."""
    with empty_workspace.store.writing() as db:
        db.execute("INSERT INTO activity (id, at, method, path, status, summary) VALUES (1, 0, 'GET', '/', 200, 'Old')")
        db.execute(
            "INSERT INTO activity (id, at, method, path, status, summary) VALUES (1000, 0, 'GET', '/', 200, 'Old')"
        )
    upload = {"filename": "x" * 200 + ".png", "contentType": "image/png", "size": 1}
    url = (await empty_api.post("/media/presign", json=upload)).json()["uploadUrl"]
    await empty_api.get("/posts/" + "y" * 500)
    await empty_api.post("/posts", json={"content": 7})
    with empty_workspace.store.reading() as db:
        notes = [tuple(row) for row in db.execute("SELECT id, path, summary FROM activity ORDER BY id")]
    assert [number for number, _, _ in notes] == [1000, 1001, 1002, 1003]
    assert notes[1][2] == "Prepare an upload: " + "x" * 120
    assert len(notes[2][1]) == 200
    assert notes[3][2] == "Create a post"
    for secret in (empty_workspace.token, url, url.rpartition("signature=")[2]):
        assert secret not in repr(notes)


@pytest.mark.requirement("sandbox.activity")
async def test_failed_record_does_not_change_the_response(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """A created post is reported as created."""
    connect_account("twitter", "acc_x")
    with empty_workspace.store.writing() as db:
        db.execute("DROP TABLE activity")
    assert (await empty_api.post("/posts", json=DRAFT)).status_code == 201
    assert len((await empty_api.get("/posts")).json()["posts"]) == 1


@pytest.mark.requirement("sandbox.activity")
async def test_durability_is_restored_after_a_record(tmp_path: Path, clock: ManualClock) -> None:
    """Records are written without fsync, posts aren't."""
    with Sandbox(tmp_path, clock=clock, empty=True) as sandbox:
        activity.record_request(
            sandbox.store,
            clock,
            organization_id=None,
            token_label=None,
            method="GET",
            path="/",
            answer=respond_ok(),
            body={},
        )
        assert sandbox.store.connection().execute("PRAGMA synchronous").fetchone()[0] == 2
