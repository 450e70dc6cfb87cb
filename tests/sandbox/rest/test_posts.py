"""Posts: what is accepted, how they are listed, and the effect of deleting."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.support.time_zones import far_from_utc
from ttp_mcp.sandbox import ManualClock, Sandbox

pytestmark = pytest.mark.requirement("sandbox.posts")

LATER = "2026-07-01T15:00:00.000Z"
TARGET = "Target the post by accountIds or by platforms: one of the two."
INVALID_TIME = "scheduledAt must be a valid ISO 8601 timestamp."
PAST = "scheduledAt must be in the future."
NO_URL = "mediaUrls must hold https URLs, as POST /media/presign returns them in publicUrl."


@pytest.fixture
def x_account(connect_account: Callable[..., str]) -> str:
    """An account on X."""
    return connect_account("twitter", "acc_x")


async def create_post(api: httpx2.AsyncClient, **fields: Any) -> dict[str, Any]:
    """The created post."""
    answer = await api.post("/posts", json={"content": "Hello", "accountIds": ["acc_x"], **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()["post"]


@pytest.mark.requirement("sandbox.errors")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/posts"),
        ("POST", "/posts"),
        ("GET", "/posts/p1"),
        ("DELETE", "/posts/p1"),
        ("POST", "/posts/p1/publish"),
    ],
)
async def test_unknown_query_parameter_is_refused(empty_api: httpx2.AsyncClient, method: str, path: str) -> None:
    """If ignored, a filter would seem to work."""
    answer = await empty_api.request(method, path, params={"limit": "5"}, json={} if method == "POST" else None)
    assert (answer.status_code, answer.json()["message"]) == (400, "Unknown query parameter: limit.")


async def read_refusal(api: httpx2.AsyncClient, **fields: Any) -> str:
    """Return the message of a 400; fields given as `...` are left out."""
    body = {"content": "Hello", "accountIds": ["acc_x"], **fields}
    answer = await api.post("/posts", json={name: value for name, value in body.items() if value is not ...})
    assert answer.status_code == 400, answer.text
    assert answer.json()["success"] is False
    return answer.json()["message"]


async def test_post_without_a_time_is_a_draft(empty_api: httpx2.AsyncClient, x_account: str) -> None:
    """201 with every field."""
    post = await create_post(
        empty_api, content="Launch day! 🚀", thread=["More"], mediaUrls=["https://m.example/a.jpg"]
    )
    assert post.pop("id").startswith("cmb8")
    assert post == {
        "content": "Launch day! 🚀",
        "platforms": ["twitter"],
        "accountIds": ["acc_x"],
        "status": "draft",
        "scheduledAt": None,
        "publishedAt": None,
        "mediaUrls": ["https://m.example/a.jpg"],
        "thread": ["More"],
        "platformData": {},
        "createdAt": "2026-06-24T09:30:00.000Z",
        "updatedAt": "2026-06-24T09:30:00.000Z",
        "results": [
            {
                "accountId": "acc_x",
                "platform": "twitter",
                "status": "pending",
                "externalId": None,
                "url": None,
                "error": None,
                "publishedAt": None,
            }
        ],
    }


async def test_post_with_a_time_is_scheduled_and_read_back_the_same(
    empty_api: httpx2.AsyncClient, x_account: str
) -> None:
    """GET returns what POST returned."""
    post = await create_post(empty_api, scheduledAt=LATER, mediaUrls=["https://m.example/a.jpg"])
    assert (post["status"], post["scheduledAt"]) == ("scheduled", LATER)
    assert (await empty_api.get(f"/posts/{post['id']}")).json() == {"success": True, "post": post}


async def test_posts_are_listed_newest_first(empty_api: httpx2.AsyncClient, clock: ManualClock, x_account: str) -> None:
    """By creation, not schedule, also within one millisecond."""
    made = [
        await create_post(empty_api, content=f"{number}", scheduledAt=LATER if number % 2 else "2026-06-24T10:00:00Z")
        for number in range(4)
    ]
    clock.move(5)
    made.append(await create_post(empty_api, content="4"))
    listed = (await empty_api.get("/posts")).json()["posts"]
    assert [post["content"] for post in listed] == ["4", "3", "2", "1", "0"]
    assert listed == made[::-1]


async def test_post_without_targets_is_listed(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, x_account: str
) -> None:
    """An imported post may have none."""
    post = await create_post(empty_api)
    with empty_workspace.store.writing() as db:
        db.execute("DELETE FROM post_targets")
    [listed] = (await empty_api.get("/posts")).json()["posts"]
    assert listed == post | {"platforms": [], "accountIds": [], "results": []}


async def test_demo_workspace_has_posts_in_every_final_status(api: httpx2.AsyncClient) -> None:
    """With a result for each account: where it is, or why it is not."""
    posts = (await api.get("/posts")).json()["posts"]
    assert {post["status"] for post in posts} == {"draft", "scheduled", "published", "partial", "failed"}
    expired = "The connection of @harborcafe_berlin has expired. Reconnect the account in the dashboard."
    outcomes = {"published": {"published"}, "partial": {"published", "failed"}, "failed": {"failed"}}
    for post in posts:
        if post["status"] in outcomes:
            assert {result["status"] for result in post["results"]} == outcomes[post["status"]]
            assert {result["error"] for result in post["results"] if result["status"] == "failed"} <= {expired}
            assert all(bool(result["url"]) == (result["status"] == "published") for result in post["results"])
        assert (post["publishedAt"] is not None) == (post["status"] in ("published", "partial"))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-06-24T09:30:00.001Z", "2026-06-24T09:30:00.001Z"),
        ("2026-07-01T15:00Z", "2026-07-01T15:00:00.000Z"),
        ("2026-07-01T15:00:00+02:00", "2026-07-01T13:00:00.000Z"),
        ("2026-07-01T15:00:00-0430", "2026-07-01T19:30:00.000Z"),
        ("2026-07-01 15:00:00", "2026-07-01T15:00:00.000Z"),
        ("2026-07-01t15:00:00z", "2026-07-01T15:00:00.000Z"),
        ("2026-07-01T15:00:00,5Z", "2026-07-01T15:00:00.500Z"),
        ("2026-07-01T15:00:00.123456789Z", "2026-07-01T15:00:00.123Z"),
        ("2028-02-29T00:00:00Z", "2028-02-29T00:00:00.000Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
    ],
)
async def test_times_are_read_as_iso_8601(empty_api: httpx2.AsyncClient, x_account: str, given: str, kept: str) -> None:
    """Without an offset it is UTC, which is an assumption, wherever the machine is."""
    with far_from_utc():
        assert (await create_post(empty_api, scheduledAt=given))["scheduledAt"] == kept


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("2026-06-24T09:30:00.000Z", PAST),
        ("2026-06-24T09:29:59Z", PAST),
        ("2026-06-24T11:30:00+02:00", PAST),
        ("0001-01-01T00:00:00Z", PAST),
        ("2026-07-01", INVALID_TIME),
        ("2026-07-01T25:00:00Z", INVALID_TIME),
        ("2026-02-29T15:00:00Z", INVALID_TIME),
        ("2026-07-01T15:00:00Z ", INVALID_TIME),
        ("2026-07-01T15:00:00+25:00", INVALID_TIME),
        ("9999-12-31T23:59:59-12:00", INVALID_TIME),
        ("0001-01-01T00:00:00+12:00", INVALID_TIME),
        ("٢٠٢٦-٠٧-٠١T15:00:00Z", INVALID_TIME),
        ("20260701T150000Z", INVALID_TIME),
        ("tomorrow", INVALID_TIME),
        ("", INVALID_TIME),
        (None, INVALID_TIME),
        (1782918000, INVALID_TIME),
        ([LATER], INVALID_TIME),
    ],
)
async def test_past_and_invalid_times_are_refused(
    empty_api: httpx2.AsyncClient, x_account: str, given: object, message: str
) -> None:
    """400, and nothing is created."""
    with far_from_utc():
        assert await read_refusal(empty_api, scheduledAt=given) == message
    assert (await empty_api.get("/posts")).json()["posts"] == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (..., "content is required and must be text."),
        (None, "content is required and must be text."),
        ("", "content is required and must be text."),
        (" \n\t\u00a0\u2003\u0000", "content is required and must be text."),
        (7, "content is required and must be text."),
        ("x" * 100_001, "content has at most 100000 characters."),
    ],
)
async def test_content_is_needed(empty_api: httpx2.AsyncClient, x_account: str, content: object, message: str) -> None:
    """At least one visible character."""
    assert await read_refusal(empty_api, content=content) == message


@pytest.mark.parametrize(
    "content",
    ["'; DROP TABLE posts; --", "a\u0000b", "<script>alert(1)</script>", "👩‍👩‍👧", "\u202eabc", "é" * 280, "x"],
)
async def test_content_is_kept_character_by_character(
    empty_api: httpx2.AsyncClient, x_account: str, content: str
) -> None:
    """Nothing is trimmed, decoded or normalized."""
    assert (await create_post(empty_api, content=content))["content"] == content
    assert (await empty_api.get("/posts")).json()["posts"][0]["content"] == content


@pytest.mark.parametrize(
    ("thread", "message"),
    [
        (["x"] * 25, "thread has at most 24 parts, not 25."),
        (["fine", "x" * 281], "thread part 2 must have 1–280 characters, not 281."),
        (["", "fine"], "thread part 1 must have 1–280 characters, not 0."),
        ("one text", "thread must be a list of texts."),
        (["fine", 2], "thread must be a list of texts."),
        (None, "thread must be a list of texts."),
        ({"0": "x"}, "thread must be a list of texts."),
    ],
)
async def test_thread_has_at_most_24_parts_of_280(
    empty_api: httpx2.AsyncClient, x_account: str, thread: object, message: str
) -> None:
    """The message names the part and its length."""
    assert await read_refusal(empty_api, thread=thread) == message


@pytest.mark.parametrize("thread", [["🙂" * 280] * 24, ["x"], []])
async def test_longest_and_shortest_threads_are_accepted(
    empty_api: httpx2.AsyncClient, x_account: str, thread: list[str]
) -> None:
    """24 parts of 280 code points, or one of one; an empty list is not a thread."""
    assert (await create_post(empty_api, thread=thread))["thread"] == thread


async def test_longest_content_and_lists_are_accepted(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """On a platform without a limit of its own."""
    connect_account("facebook", "a")
    longest, media_urls = "x" * 100_000, [f"https://m.example/{number}.jpg" for number in range(50)]
    post = await create_post(empty_api, content=longest, accountIds=["a"] * 100, mediaUrls=media_urls)
    assert (post["content"], post["accountIds"], post["mediaUrls"]) == (longest, ["a"], media_urls)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"accountIds": ...}, TARGET),
        ({"platforms": ["twitter"]}, TARGET),
        ({"accountIds": []}, "accountIds must be a list of 1–100 texts of 1–2048 characters."),
        ({"accountIds": None}, "accountIds must be a list of 1–100 texts of 1–2048 characters."),
        ({"accountIds": "acc_x"}, "accountIds must be a list of 1–100 texts of 1–2048 characters."),
        ({"accountIds": ["acc_x", 1]}, "accountIds must be a list of 1–100 texts of 1–2048 characters."),
        ({"accountIds": ["acc_x"] * 101}, "accountIds must be a list of 1–100 texts of 1–2048 characters."),
        (
            {"accountIds": ["acc_x", "acc_9"]},
            "Unknown account id: acc_9. GET /integrations lists the connected accounts.",
        ),
        (
            {"accountIds": ["x" * 2048]},
            f"Unknown account id: {'x' * 60}. GET /integrations lists the connected accounts.",
        ),
        ({"accountIds": ..., "platforms": [""]}, "platforms must be a list of 1–100 texts of 1–2048 characters."),
        (
            {"accountIds": ..., "platforms": ["friendster"]},
            "No connected account on platform friendster. Connected: twitter.",
        ),
        (
            {"accountIds": ..., "platforms": ["f" * 41]},
            f"No connected account on platform {'f' * 40}. Connected: twitter.",
        ),
        (
            {"accountIds": ..., "platforms": ["twitter", "tiktok"]},
            "No connected account on platform tiktok. Connected: twitter.",
        ),
        (
            {"accountIds": ..., "platforms": ["Twitter"]},
            "No connected account on platform Twitter. Connected: twitter.",
        ),
    ],
)
async def test_targets_are_account_ids_or_platforms(
    empty_api: httpx2.AsyncClient, x_account: str, fields: dict[str, Any], message: str
) -> None:
    """One of the two, all of them known."""
    assert await read_refusal(empty_api, **fields) == message
    assert (await empty_api.get("/posts")).json()["posts"] == []


async def test_workspace_without_accounts_has_no_targets(empty_api: httpx2.AsyncClient) -> None:
    """The message says that none is connected."""
    found = await read_refusal(empty_api, accountIds=..., platforms=["twitter"])
    assert found == "No connected account on platform twitter. Connected: none."


async def test_account_named_twice_counts_once(
    empty_api: httpx2.AsyncClient, connect_account: Callable[..., str], x_account: str
) -> None:
    """In the order of first naming; a platform means all of its accounts."""
    connect_account("twitter", "acc_x2")
    connect_account("linkedin", "acc_in")
    post = await create_post(empty_api, accountIds=["acc_in", "acc_x", "acc_in"])
    assert (post["accountIds"], post["platforms"]) == (["acc_in", "acc_x"], ["linkedin", "twitter"])
    answer = await empty_api.post("/posts", json={"content": "Hello", "platforms": ["twitter", "linkedin", "twitter"]})
    assert answer.json()["post"]["accountIds"] == ["acc_x", "acc_x2", "acc_in"]
    assert answer.json()["post"]["platforms"] == ["twitter", "linkedin"]
    message = await read_refusal(empty_api, accountIds=..., platforms=["tiktok"])
    assert message == "No connected account on platform tiktok. Connected: twitter, linkedin."


async def test_same_post_twice_is_two_posts(empty_api: httpx2.AsyncClient, x_account: str) -> None:
    """The reference documents no idempotency."""
    first, second = [await create_post(empty_api, scheduledAt=LATER) for _ in range(2)]
    assert first["id"] != second["id"]
    assert len((await empty_api.get("/posts")).json()["posts"]) == 2


@pytest.mark.parametrize(
    ("media_urls", "message"),
    [
        (["http://example.com/a.jpg"], NO_URL),
        (["ftp://example.com/a.jpg"], NO_URL),
        (["https://"], NO_URL),
        (["https:///a.jpg"], NO_URL),
        (["https://user:secret@example.com/a.jpg"], NO_URL),
        (["https://example.com/a b.jpg"], NO_URL),
        (["https://example.com/a.jpg\n"], NO_URL),
        (["https://[::1/a.jpg"], NO_URL),
        (["javascript:alert(1)"], NO_URL),
        (["file:///etc/passwd"], NO_URL),
        (["http://localhost.example.com/a.jpg"], NO_URL),
        (["https://m.example/a.jpg", "a.jpg"], NO_URL),
        (["https://m.example/a.jpg"] * 51, "mediaUrls must be a list of 0–50 texts of 1–2048 characters."),
        (["https://m.example/" + "a" * 2048], "mediaUrls must be a list of 0–50 texts of 1–2048 characters."),
        ("https://m.example/a.jpg", "mediaUrls must be a list of 0–50 texts of 1–2048 characters."),
        (None, "mediaUrls must be a list of 0–50 texts of 1–2048 characters."),
    ],
)
async def test_media_are_https_urls(
    empty_api: httpx2.AsyncClient, x_account: str, media_urls: object, message: str
) -> None:
    """Everything else is refused."""
    assert await read_refusal(empty_api, mediaUrls=media_urls) == message


@pytest.mark.parametrize(
    "url",
    [
        "https://media.timetopost.co/uploads/launch.jpg",
        "https://m.example:8443/a.jpg?v=1#x",
        "https://m.example/café.jpg",
        "http://media.sandbox.localhost/uploads/a.jpg",
        "http://localhost:9000/a.jpg",
        "http://127.0.0.1:9000/a.jpg",
        "http://[::1]:9000/a.jpg",
    ],
)
async def test_media_may_be_hosted_anywhere(empty_api: httpx2.AsyncClient, x_account: str, url: str) -> None:
    """And over http on this machine, where the sandbox's storage is."""
    assert (await create_post(empty_api, mediaUrls=[url]))["mediaUrls"] == [url]


async def test_list_of_media_may_be_empty(empty_api: httpx2.AsyncClient, x_account: str) -> None:
    """Like leaving it out."""
    assert (await create_post(empty_api, mediaUrls=[]))["mediaUrls"] == []


async def test_unknown_fields_are_refused_by_name(empty_api: httpx2.AsyncClient, x_account: str) -> None:
    """A misspelled scheduledAt must not silently create a draft."""
    known = "content, accountIds, platforms, mediaUrls, thread, scheduledAt, platformData"
    assert await read_refusal(empty_api, scheduled_at=LATER) == f"Unknown field: scheduled_at. Known are {known}."
    assert await read_refusal(empty_api, **{"z" * 100: 1}) == f"Unknown field: {'z' * 60}. Known are {known}."


@pytest.mark.parametrize("data", [None, [], "text", 7])
async def test_platform_data_is_an_object(empty_api: httpx2.AsyncClient, x_account: str, data: object) -> None:
    """Anything else is refused."""
    assert await read_refusal(empty_api, platformData=data) == "platformData must be an object."


async def test_platform_data_of_other_platforms_is_kept(empty_api: httpx2.AsyncClient, x_account: str) -> None:
    """The list of platforms is open."""
    data = {"mastodon": {"visibility": "unlisted", "deep": [{"er": None}]}}
    assert (await create_post(empty_api, platformData=data))["platformData"] == data


async def test_first_of_several_problems_is_reported(empty_api: httpx2.AsyncClient, x_account: str) -> None:
    """Form before time, time before targets, targets before what a platform takes."""
    long = "x" * 281
    assert (await read_refusal(empty_api, a=1, content="")).startswith("Unknown field: a.")
    assert (await read_refusal(empty_api, content="", scheduledAt="never")).startswith("content is required")
    assert await read_refusal(empty_api, content=long, scheduledAt="never", accountIds=["acc_9"]) == INVALID_TIME
    assert (
        await read_refusal(empty_api, content=long, accountIds=["acc_9"])
        == "Unknown account id: acc_9. GET /integrations lists the connected accounts."
    )
    assert (
        await read_refusal(empty_api, content=long)
        == "content is too long for X: 281 of 280 characters. Shorten it, or leave X out."
    )


async def test_draft_and_scheduled_post_are_gone_after_deleting(empty_api: httpx2.AsyncClient, x_account: str) -> None:
    """Not listed, not found, not deleted a second time; the other stays."""
    for scheduled in ({}, {"scheduledAt": LATER}):
        kept, gone = await create_post(empty_api), await create_post(empty_api, **scheduled)
        assert (await empty_api.delete(f"/posts/{gone['id']}")).json() == {"success": True, "id": gone["id"]}
        assert (await empty_api.get(f"/posts/{gone['id']}")).status_code == 404
        assert (await empty_api.delete(f"/posts/{gone['id']}")).status_code == 404
        assert (await empty_api.get(f"/posts/{kept['id']}")).status_code == 200


async def test_deleted_post_is_never_published(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, clock: ManualClock, x_account: str
) -> None:
    """Deleting before it fires cancels it."""
    post = await create_post(empty_api, scheduledAt="2026-06-24T10:00:00Z")
    await empty_api.delete(f"/posts/{post['id']}")
    clock.move(3600)
    assert empty_workspace.tick() == 0
    with empty_workspace.store.reading() as db:
        assert db.execute("SELECT count(*) FROM publications").fetchone()[0] == 0


@pytest.mark.requirement("sandbox.posts.later")
@pytest.mark.parametrize("status", ["published", "partial", "failed"])
async def test_deleting_a_published_post_leaves_the_networks(
    sandbox: Sandbox, api: httpx2.AsyncClient, status: str
) -> None:
    """Its publications and their engagement stay."""
    posts = (await api.get("/posts")).json()["posts"]
    post = next(post for post in posts if post["status"] == status)
    before = (await api.get("/analytics/engagement-summary")).json()
    assert (await api.delete(f"/posts/{post['id']}")).status_code == 200
    assert (await api.get(f"/posts/{post['id']}")).status_code == 404
    assert (await api.get("/analytics/engagement-summary")).json() == before
    with sandbox.store.reading() as db:
        out = db.execute("SELECT count(*) FROM publications WHERE post_id = ?", (post["id"],)).fetchone()[0]
    assert out == sum(result["status"] == "published" for result in post["results"])


@pytest.mark.requirement("sandbox.posts.later")
async def test_deleting_a_publishing_post_is_refused(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, clock: ManualClock, x_account: str
) -> None:
    """409 between the worker's claim and its end; afterwards it can be deleted."""
    post = await create_post(empty_api, scheduledAt="2026-06-24T10:00:00Z")
    clock.move(3600)
    [claim] = empty_workspace.scheduler.claim()
    answer = await empty_api.delete(f"/posts/{post['id']}")
    assert answer.status_code == 409
    assert answer.json()["message"] == (
        "The post is being published right now and can't be deleted. Try again in a minute."
    )
    assert (await empty_api.get(f"/posts/{post['id']}")).json()["post"]["status"] == "publishing"
    assert empty_workspace.scheduler.publish(claim)
    assert (await empty_api.delete(f"/posts/{post['id']}")).status_code == 200


async def test_post_is_published_when_due(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, clock: ManualClock, x_account: str
) -> None:
    """With the result on its account."""
    post = await create_post(empty_api, scheduledAt="2026-06-24T10:00:00Z")
    clock.move(30 * 60)
    assert empty_workspace.tick() == 1
    found = (await empty_api.get(f"/posts/{post['id']}")).json()["post"]
    assert (found["status"], found["publishedAt"]) == ("published", "2026-06-24T10:00:00.000Z")
    [result] = found["results"]
    assert (result["status"], result["publishedAt"]) == ("published", "2026-06-24T10:00:00.000Z")
    assert result["externalId"]


@pytest.mark.parametrize("post_id", ["cmb8none", "' OR 1=1 --", "%00", "..%2Fposts", "é", "x" * 2000])
async def test_unknown_ids_are_not_found(empty_api: httpx2.AsyncClient, post_id: str) -> None:
    """Whatever characters they contain."""
    for method in ("GET", "DELETE"):
        answer = await empty_api.request(method, f"/posts/{post_id}")
        assert answer.status_code == 404
        assert answer.json()["success"] is False


@pytest.mark.parametrize("host", ["ex℀mple.com", "exa＃mple.com"])
async def test_media_url_with_an_ambiguous_host_is_refused(
    empty_api: httpx2.AsyncClient, x_account: str, host: str
) -> None:
    """A client that fetches `℀` normalizes it to `a/c`."""
    assert await read_refusal(empty_api, mediaUrls=[f"https://{host}/a.jpg"]) == NO_URL
