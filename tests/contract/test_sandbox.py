"""The sandbox's responses against the contract."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest

from ttp_mcp.sandbox import Sandbox
from ttp_mcp.sandbox.rest import organizations, tokens

pytestmark = pytest.mark.requirement("contract.sandbox")

Json = dict[str, Any]
Operations = dict[str, tuple[str, str, Json]]
Resolve = Callable[[Json], Json]
Problems = Callable[[Json, object], list[str]]

DRAFT = {"content": "A thought for later", "platforms": ["linkedin"]}
UPLOAD = {"filename": "launch.jpg", "contentType": "image/jpeg", "size": 3}
BODIES = {"createPost": DRAFT, "presignMedia": UPLOAD}
ACCOUNT_NEEDED = {"listPinterestBoards", "getTiktokCreatorInfo"}


@pytest.fixture
async def http(sandbox: Sandbox) -> AsyncIterator[httpx2.AsyncClient]:
    """Create an HTTP client with a token."""
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(sandbox.app),
        base_url=sandbox.api_url,
        headers={"Authorization": f"Bearer {sandbox.token}"},
    ) as client:
        yield client


@pytest.fixture
def check_response(
    operations: Operations, resolve_reference: Resolve, list_violations: Problems
) -> Callable[[str, httpx2.Response, int], Json]:
    """Check a response against its operation, and return its body."""

    def read(name: str, answer: httpx2.Response, status: int) -> Json:
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/json"
        described = resolve_reference(operations[name][2]["responses"][str(status)])
        assert list_violations(described["content"]["application/json"]["schema"], answer.json()) == []
        for header in described.get("headers", {}):
            assert header.lower() in answer.headers
        return answer.json()

    return read


Check = Callable[[str, httpx2.Response, int], Json]


async def send_request(http: httpx2.AsyncClient, operations: Operations, name: str, **more: Any) -> httpx2.Response:
    """Send one request of an operation, for the newest post that it accepts."""
    method, path, _ = operations[name]
    if "{postId}" in path:
        posts = (await http.get("/posts")).json()["posts"]
        newest = next(post for post in posts if name != "publishPost" or post["status"] in ("draft", "scheduled"))
        path = path.replace("{postId}", newest["id"])
    if name in BODIES and "content" not in more:
        more.setdefault("json", BODIES[name])
    return await http.request(method, path, **more)


async def test_every_operation_responds_as_described(
    http: httpx2.AsyncClient, operations: Operations, check_response: Check
) -> None:
    """On the demo workspace, in sequence."""
    for name in operations:
        check_response(name, await send_request(http, operations, name), 201 if name == "createPost" else 200)


async def test_every_described_field_is_present(
    http: httpx2.AsyncClient, operations: Operations, resolve_reference: Resolve
) -> None:
    """The sandbox sends every field of the contract, documented or not."""
    for name, (_, _, operation) in operations.items():
        status = "201" if name == "createPost" else "200"
        schema = operation["responses"][status]["content"]["application/json"]["schema"]
        body = (await send_request(http, operations, name)).json()
        assert find_missing(schema, body, resolve_reference, name) == []


def find_missing(schema: Json, value: Any, resolve_reference: Resolve, path: str) -> list[str]:
    """Return the paths of described fields that a value lacks."""
    schema = resolve_reference(schema)
    if isinstance(value, list):
        return [
            gap for entry in value[:3] for gap in find_missing(schema["items"], entry, resolve_reference, path + "[]")
        ]
    if not isinstance(value, dict):
        return []
    gaps = [f"{path}.{name}" for name in schema.get("properties", {}) if name not in value]
    for name, field in schema.get("properties", {}).items():
        if name in value:
            gaps += find_missing(field, value[name], resolve_reference, f"{path}.{name}")
    return gaps


async def test_every_operation_without_a_token_is_refused_as_described(
    http: httpx2.AsyncClient, operations: Operations, check_response: Check
) -> None:
    """401 for every request, valid or not."""
    for name in operations:
        refused = await send_request(http, operations, name)  # with the token, for the id of a post
        url = refused.request.url
        del http.headers["Authorization"]
        answer = await http.request(operations[name][0], url, json=BODIES.get(name))
        body = check_response(name, answer, 401)
        assert body == {"success": False, "message": "Missing or invalid API token."}
        http.headers["Authorization"] = refused.request.headers["Authorization"]


async def test_every_operation_refuses_a_foreign_organization_as_described(
    http: httpx2.AsyncClient, operations: Operations, check_response: Check
) -> None:
    """403."""
    for name in operations:
        method, path, _ = operations[name]
        answer = await http.request(
            method, path.replace("{postId}", "any"), json=BODIES.get(name), headers={"x-ttp-org": "org_others"}
        )
        check_response(name, answer, 403)


async def test_every_operation_refuses_an_unknown_query_parameter_as_described(
    http: httpx2.AsyncClient, operations: Operations, check_response: Check
) -> None:
    """400, since an ignored filter would be misleading."""
    for name in operations:
        body = check_response(name, await send_request(http, operations, name, params={"limit": "5"}), 400)
        assert body["message"] == "Unknown query parameter: limit."


async def test_further_errors_are_as_described(
    sandbox: Sandbox, http: httpx2.AsyncClient, operations: Operations, check_response: Check, list_violations: Problems
) -> None:
    """The other statuses that operations list."""
    for name, (method, path, _) in operations.items():
        if "{postId}" in path:
            check_response(name, await http.request(method, path.replace("{postId}", "cmb8nosuchpost")), 404)
        elif name in ACCOUNT_NEEDED:
            check_response(name, await http.request(method, path, headers={"x-ttp-org": "org_nordlicht"}), 404)
    for name in BODIES:
        check_response(name, await send_request(http, operations, name, content=b"{}"), 415)
        big = b'{"content": "' + b"x" * 1024 * 1024 + b'"}'
        json_type = {"Content-Type": "application/json"}
        check_response(name, await send_request(http, operations, name, content=big, headers=json_type), 413)
        check_response(name, await send_request(http, operations, name, content=b"{", headers=json_type), 400)
        check_response(name, await send_request(http, operations, name, json={}), 400)
    post = (await http.post("/posts", json=DRAFT)).json()["post"]["id"]
    with sandbox.store.writing() as db:
        db.execute("UPDATE posts SET status = 'publishing' WHERE id = ?", (post,))
    check_response("deletePost", await http.delete(f"/posts/{post}"), 409)
    check_response("publishPost", await http.post(f"/posts/{post}/publish"), 409)
    idea = {"content": "Needs a picture", "platforms": ["instagram"]}
    idea_id = (await http.post("/posts", json=idea)).json()["post"]["id"]
    check_response("publishPost", await http.post(f"/posts/{idea_id}/publish"), 400)
    organizations.set_plan(sandbox.store, "org_harbor_cafe", "small")
    for name in ("optimalTimes", "optimalTimesByAccount", "nextOptimalTime", "weeklySchedule"):
        check_response(name, await send_request(http, operations, name), 403)
    error = {"$ref": "#/components/schemas/Error"}
    for answer, status in ((await http.get("/nothing"), 404), (await http.put("/posts"), 405)):
        assert answer.status_code == status
        assert list_violations(error, answer.json()) == []


async def test_empty_workspace_responds_as_described(
    operations: Operations, sandbox: Sandbox, check_response: Check, http: httpx2.AsyncClient
) -> None:
    """Without accounts, posts or history every response has its shape."""
    with sandbox.store.writing() as db:
        db.execute("INSERT INTO users VALUES ('usr_new', 'New')")
        db.execute("INSERT INTO organizations VALUES ('org_new', 'New', 'complete', 'UTC')")
        db.execute("INSERT INTO members VALUES ('usr_new', 'org_new', 0)")
    token = tokens.create_token(sandbox.store, sandbox.clock, label="new", user_id="usr_new")
    http.headers["Authorization"] = f"Bearer {token}"
    for name, (method, path, _) in operations.items():
        if method == "GET" and "{" not in path:
            check_response(name, await http.get(path), 404 if name in ACCOUNT_NEEDED else 200)


@pytest.mark.parametrize(
    ("capability", "created", "scheduled", "published"), [("read", 403, 403, 403), ("draft", 201, 403, 403)]
)
async def test_tokens_without_a_capability_are_refused_as_described(
    sandbox: Sandbox,
    http: httpx2.AsyncClient,
    operations: Operations,
    check_response: Check,
    capability: str,
    created: int,
    scheduled: int,
    published: int,
) -> None:
    """403 for requests that need more; `GET /auth/me` lists the capabilities."""
    token = tokens.create_token(sandbox.store, sandbox.clock, label="narrow", capability=capability)
    http.headers["Authorization"] = f"Bearer {token}"
    body = check_response("getMe", await http.get("/auth/me"), 200)
    assert (body["capabilities"][-1], body["canPublish"]) == (capability, False)
    check_response("createPost", await http.post("/posts", json=DRAFT), created)
    check_response(
        "createPost", await http.post("/posts", json={**DRAFT, "scheduledAt": "2027-01-01T10:00:00Z"}), scheduled
    )
    check_response("publishPost", await send_request(http, operations, "publishPost"), published)
    check_response("listPosts", await http.get("/posts"), 200)


async def test_metrics_of_a_published_post_are_as_described(http: httpx2.AsyncClient, check_response: Check) -> None:
    """With figures, or null for a draft."""
    posts = (await http.get("/posts")).json()["posts"]
    for status, has_figures in (("published", True), ("partial", True), ("draft", False)):
        post = next(each for each in posts if each["status"] == status)
        body = check_response("getPostMetrics", await http.get(f"/analytics/metrics/{post['id']}"), 200)
        assert (body["metrics"] is not None, bool(body["accounts"])) == (has_figures, has_figures)
