"""Publishing a post now, and the token that may not."""

import re
from collections.abc import Callable

import httpx2
import pytest

from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.sandbox.rest import organizations, tokens
from ttp_mcp.sandbox.rest.app import ENDPOINTS
from ttp_mcp.sandbox.rest.vendor import set_vendor_endpoints

pytestmark = pytest.mark.requirement("sandbox.posts.publish")


async def create_post(api: httpx2.AsyncClient, platform: str = "linkedin", **more: object) -> str:
    """Create a post; returns its id."""
    answer = await api.post("/posts", json={"content": "A thought", "platforms": [platform], **more})
    return answer.json()["post"]["id"]


async def read_post(api: httpx2.AsyncClient, post_id: str) -> dict[str, object]:
    """One post."""
    return (await api.get(f"/posts/{post_id}")).json()["post"]


@pytest.mark.parametrize("scheduled_at", [None, "2026-12-24T18:00:00Z"])
async def test_draft_or_scheduled_post_is_published_at_the_next_tick(
    sandbox: Sandbox, api: httpx2.AsyncClient, scheduled_at: str | None
) -> None:
    """Until then it is scheduled for now. It keeps its media."""
    media_urls = ["https://m.example/a.jpg"]
    post_id = await create_post(
        api, "instagram", mediaUrls=media_urls, **({"scheduledAt": scheduled_at} if scheduled_at else {})
    )
    answer = (await api.post(f"/posts/{post_id}/publish")).json()["post"]
    assert (answer["status"], answer["scheduledAt"]) == ("scheduled", "2026-06-24T09:30:00.000Z")
    assert answer["mediaUrls"] == media_urls
    assert sandbox.tick() == 1
    post = await read_post(api, post_id)
    assert (post["status"], post["publishedAt"]) == ("published", "2026-06-24T09:30:00.000Z")


async def test_failed_post_is_retried(sandbox: Sandbox, api: httpx2.AsyncClient, clock: ManualClock) -> None:
    """Without the errors of the first attempt."""
    with sandbox.store.writing() as db:
        db.execute("UPDATE accounts SET status = 'expired' WHERE platform = 'linkedin'")
    post_id = await create_post(api, scheduledAt="2026-06-24T10:00:00Z")
    clock.move(3600)
    sandbox.tick()
    assert (await read_post(api, post_id))["status"] == "failed"
    with sandbox.store.writing() as db:
        db.execute("UPDATE accounts SET status = 'connected' WHERE platform = 'linkedin'")
    answer = (await api.post(f"/posts/{post_id}/publish")).json()["post"]
    assert [(result["status"], result["error"]) for result in answer["results"]] == [("pending", None)]
    sandbox.tick()
    post = await read_post(api, post_id)
    assert (post["status"], post["publishedAt"]) == ("published", "2026-06-24T10:30:00.000Z")


@pytest.mark.parametrize("status", ["publishing", "published", "partial"])
async def test_post_that_reached_an_account_is_not_published_again(
    sandbox: Sandbox, api: httpx2.AsyncClient, status: str
) -> None:
    """409, so that nothing appears twice."""
    post_id = await create_post(api)
    with sandbox.store.writing() as db:
        db.execute("UPDATE posts SET status = ? WHERE id = ?", (status, post_id))
    answer = await api.post(f"/posts/{post_id}/publish")
    assert (answer.status_code, answer.json()["message"]) == (
        409,
        f"The post is {status}: only a draft, scheduled or failed post can be published.",
    )


async def test_published_twice_at_once_it_goes_out_once(sandbox: Sandbox, api: httpx2.AsyncClient) -> None:
    """A second request before the tick changes nothing."""
    post_id = await create_post(api)
    for _ in range(2):
        assert (await api.post(f"/posts/{post_id}/publish")).status_code == 200
    assert (sandbox.tick(), sandbox.tick()) == (1, 0)
    with sandbox.store.reading() as db:
        assert db.execute("SELECT count(*) FROM publications WHERE post_id = ?", (post_id,)).fetchone()[0] == 1


async def test_draft_that_lacks_what_a_platform_needs_is_refused(api: httpx2.AsyncClient) -> None:
    """A draft may be incomplete, a published post may not."""
    post_id = await create_post(api, "instagram")
    answer = await api.post(f"/posts/{post_id}/publish")
    assert (answer.status_code, answer.json()["message"]) == (
        400,
        "Instagram needs at least one image or video: add mediaUrls.",
    )
    assert (await read_post(api, post_id))["status"] == "draft"


async def test_imported_draft_with_a_thread_that_its_platform_lacks_is_refused(
    sandbox: Sandbox, api: httpx2.AsyncClient
) -> None:
    """No part of it would be published."""
    post_id = await create_post(api)
    with sandbox.store.writing() as db:
        db.execute("UPDATE posts SET thread = '[\"More\"]' WHERE id = ?", (post_id,))
    answer = await api.post(f"/posts/{post_id}/publish")
    assert (answer.status_code, answer.json()["message"]) == (
        400,
        "thread is for X only: target a twitter account, or leave thread out.",
    )


async def test_draft_counts_towards_the_scheduled_posts_of_the_plan(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """A scheduled one is counted already."""
    connect_account("linkedin")
    waiting = [await create_post(empty_api, scheduledAt="2026-12-24T18:00:00Z") for _ in range(10)]
    draft = await create_post(empty_api)
    organizations.set_plan(empty_workspace.store, "org_empty", "small")
    answer = await empty_api.post(f"/posts/{draft}/publish")
    assert (answer.status_code, answer.json()["message"]) == (
        403,
        "Your plan allows 10 scheduled posts at once; 10 are waiting.",
    )
    assert (await empty_api.post(f"/posts/{waiting[0]}/publish")).status_code == 200


@pytest.mark.requirement("sandbox.tokens")
@pytest.mark.parametrize(
    ("capability", "refused"),
    [
        ("read", ["create", "schedule", "publish", "delete", "presign"]),
        ("draft", ["schedule", "publish"]),
        ("publish", []),
    ],
)
async def test_token_does_what_its_capability_allows(
    sandbox: Sandbox, api: httpx2.AsyncClient, capability: str, refused: list[str]
) -> None:
    """403 for the rest, which says what it may do."""
    post_id, other = await create_post(api), await create_post(api)
    token = tokens.create_token(sandbox.store, sandbox.clock, label="narrow", capability=capability)
    api.headers["Authorization"] = f"Bearer {token}"
    body = {"content": "A thought", "platforms": ["linkedin"]}
    upload = {"filename": "a.png", "contentType": "image/png", "size": 3}
    answers = {
        "create": await api.post("/posts", json=body),
        "schedule": await api.post("/posts", json={**body, "scheduledAt": "2026-12-24T18:00:00Z"}),
        "publish": await api.post(f"/posts/{post_id}/publish"),
        "delete": await api.delete(f"/posts/{other}"),
        "presign": await api.post("/media/presign", json=upload),
        "read": await api.get("/posts"),
    }
    assert [name for name, answer in answers.items() if answer.status_code == 403] == refused
    for name in refused:
        assert "its capabilities are read" in answers[name].json()["message"]
    caller = tokens.verify_token(sandbox.store, sandbox.clock, token)
    (entry,) = [each for each in tokens.list_tokens(sandbox.store) if each["label"] == "narrow"]
    allowed = tokens.CAPABILITIES[: tokens.CAPABILITIES.index(capability) + 1]
    assert caller == tokens.Caller(entry["id"] or "", "usr_demo", "narrow", allowed)
    assert re.fullmatch("tok_[0-9a-f]{16}", caller.token_id)


@pytest.mark.requirement("sandbox.tokens")
def test_capability_must_be_a_known_one(sandbox: Sandbox) -> None:
    """A slip makes no token."""
    with pytest.raises(ValueError, match=r"^A token may read, draft or publish\.$"):
        tokens.create_token(sandbox.store, sandbox.clock, label="odd", capability="admin")


@pytest.mark.requirement("sandbox.vendor")
async def test_vendor_endpoints_can_be_turned_off(sandbox: Sandbox, api: httpx2.AsyncClient) -> None:
    """They then answer as a path that does not exist, and the others as before."""
    post_id = await create_post(api)

    async def statuses() -> set[int]:
        return {
            (await api.request(endpoint.method, endpoint.path.replace("{post_id}", post_id))).status_code
            for endpoint in ENDPOINTS
            if endpoint.vendor
        }

    set_vendor_endpoints(sandbox.store, on=False)
    assert await statuses() == {404}
    missing = await api.get("/auth/me")
    assert missing.json() == (await api.get("/no/such/path")).json()
    assert (await api.get(f"/posts/{post_id}")).json()["post"]["status"] == "draft"
    set_vendor_endpoints(sandbox.store, on=True)
    assert await statuses() == {200}


@pytest.mark.requirement("sandbox.activity")
async def test_publishing_is_noted_in_words(sandbox: Sandbox, api: httpx2.AsyncClient) -> None:
    """Beside the path."""
    await api.post(f"/posts/{await create_post(api)}/publish")
    with sandbox.store.reading() as db:
        row = db.execute("SELECT summary, path FROM activity ORDER BY id DESC LIMIT 1").fetchone()
    assert row["summary"] == "Publish a post"
    assert re.fullmatch(r"/api/posts/\w+/publish", row["path"])
