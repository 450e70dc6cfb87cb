"""Publishing a post now: once, resolved by its status, and retried only for accounts where it failed."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.virtual_time import START
from ttp_mcp.api import EndpointMissing, Post, ValidationFailed
from ttp_mcp.ledger.store.base import LedgerProblem
from ttp_mcp.sandbox.rest.vendor import set_vendor_endpoints
from ttp_mcp.writes.outcomes import HourlyLimits, LimitReached, Published
from ttp_mcp.writes.publication import find_accounts_with, has_started, is_due, list_delivered, list_failed


async def make_draft(harness) -> Post:
    post = await harness.api.posts.create(harness.post(at=None))
    harness.faults.writes.clear()
    return post


@pytest.mark.requirement("writes.publish")
@pytest.mark.parametrize(
    ("fault", "outcome", "status"),
    [
        ("none", "queued", "scheduled"),
        ("lost after commit", "queued", "scheduled"),
        ("commits late", "queued", "scheduled"),
        ("502 after commit", "queued", "scheduled"),
        ("page after commit", "queued", "scheduled"),
        ("404 page after commit", "queued", "scheduled"),
        ("lost before commit", "unknown", "draft"),
        ("404 page", "unknown", "draft"),
    ],
)
async def test_lost_response_is_resolved_by_the_status_of_the_post(
    harness, fault: str, outcome: str, status: str
) -> None:
    post = await make_draft(harness)
    harness.faults.script = [fault]

    published = await harness.writes.publish(post, tool="publish_post")

    assert (published.cause is None) == (fault == "none")
    assert published == Published(outcome, START, published.post, cause=published.cause)
    assert (published.post.id, published.post.status) == (post.id, status)
    assert (await harness.api.posts.get(post.id)).status == status
    assert harness.faults.writes == ["POST"]
    assert await harness.outcomes() == [outcome]


@pytest.mark.requirement("writes.publish")
async def test_response_without_the_post_leaves_it_as_it_was_read(harness) -> None:
    post = await make_draft(harness)
    harness.faults.script = ["done without a post"]

    assert await harness.writes.publish(post, tool="publish_post") == Published("queued", START, post)


@pytest.mark.requirement("writes.publish")
async def test_publish_is_unknown_while_the_api_is_unavailable(harness) -> None:
    """The result has the post as it was before."""
    post = await make_draft(harness)
    harness.faults.script = ["lost after commit"]
    harness.faults.reads_fail = True

    published = await harness.writes.publish(post, tool="publish_post")

    assert published == Published("unknown", START, post, cause=published.cause)


@pytest.mark.requirement("writes.publish")
@pytest.mark.parametrize(("before", "outcome"), [("draft", "queued"), ("failed", "unknown")])
async def test_failed_status_proves_a_publish_only_if_it_is_new(harness, before: str, outcome: str) -> None:
    post = await make_draft(harness)
    set_status(harness, post, before)
    post = await harness.api.posts.get(post.id)

    async def fail() -> None:
        set_status(harness, post, "failed")

    harness.time.plan(0.1, fail)
    harness.faults.script = ["lost before commit"]

    published = await harness.writes.publish(post, tool="publish_post")

    assert (published.outcome, published.post.status) == (outcome, "failed")


def set_status(harness, post: Post, status: str) -> None:
    with harness.sandbox.store.writing() as db:
        db.execute("UPDATE posts SET status = ? WHERE id = ?", (status, post.id))


@pytest.mark.requirement("writes.publish")
@pytest.mark.parametrize(("fault", "state"), [("none", "queued"), ("lost before commit", "unknown")])
async def test_second_publish_is_not_sent_while_the_first_may_arrive(harness, fault: str, state: str) -> None:
    post = await make_draft(harness)
    harness.faults.script = [fault]
    first = await harness.writes.publish(post, tool="publish_post")

    again = await harness.make_writer().publish(post, tool="publish_post")

    assert again == Published("already_queued", first.at, post, state)
    assert harness.faults.writes == ["POST"]


@pytest.mark.requirement("writes.publish")
async def test_publish_that_did_not_arrive_can_be_sent_90_seconds_later(harness) -> None:
    """By then the status of the post shows that nothing happened."""
    post = await make_draft(harness)
    harness.faults.script = ["lost before commit"]
    await harness.writes.publish(post, tool="publish_post")
    harness.time.clock.move(90)

    again = await harness.writes.publish(await harness.api.posts.get(post.id), tool="publish_post")

    assert again.outcome == "queued"
    assert harness.faults.writes == ["POST", "POST"]


@pytest.mark.requirement("writes.publish")
async def test_refused_publish_leaves_no_trace_that_blocks(harness) -> None:
    post = await make_draft(harness)
    harness.faults.script = ["409"]
    with pytest.raises(ValidationFailed):
        await harness.writes.publish(post, tool="publish_post")

    again = await harness.writes.publish(post, tool="publish_post")

    assert again.outcome == "queued"
    assert sorted(await harness.outcomes()) == ["not_done", "queued"]


@pytest.mark.requirement("writes.publish")
async def test_api_without_the_endpoint_changes_nothing(harness) -> None:
    post = await make_draft(harness)
    set_vendor_endpoints(harness.sandbox.store, on=False)

    with pytest.raises(EndpointMissing):
        await harness.writes.publish(post, tool="publish_post")

    assert await harness.outcomes() == ["not_done"]
    assert (await harness.api.posts.get(post.id)).status == "draft"


@pytest.mark.requirement("writes.publish")
async def test_publish_that_cannot_be_recorded_is_not_sent(harness, monkeypatch: pytest.MonkeyPatch) -> None:
    post = await make_draft(harness)

    async def fail(*_: object) -> str:
        raise LedgerProblem("the disk is full")

    monkeypatch.setattr(harness.state, "commit", fail)
    with pytest.raises(LedgerProblem):
        await harness.writes.publish(post, tool="publish_post")

    assert harness.faults.writes == []


@pytest.mark.requirement("writes.limits")
async def test_limit_of_posts_an_hour_counts_publishes(harness) -> None:
    """A create and a publish count as two."""
    writes = harness.make_writer(limits=HourlyLimits(posts=2))
    post = (await writes.create(harness.post(at=None), tool="create_post")).post
    await writes.publish(post, tool="publish_post")

    with pytest.raises(LimitReached, match="TTP_MAX_POSTS_PER_HOUR allows 2"):
        await writes.create(harness.post("Another"), tool="create_post")
    harness.time.clock.move(100)
    with pytest.raises(LimitReached):
        await writes.publish(post, tool="publish_post")


@pytest.mark.requirement("writes.retry")
async def test_retry_for_the_same_accounts_is_made_once_at_any_time(harness) -> None:
    old = await make_draft(harness)
    first = await harness.writes.create(harness.post(), tool="publish_post", retries=old.id)
    later = replace(harness.post(), scheduled_at=START + timedelta(days=3))

    again = await harness.make_writer().create(later, tool="publish_post", retries=old.id)

    assert (again.outcome, again.post_id) == ("already_created", first.post_id)
    assert harness.faults.writes == ["POST"]


@pytest.mark.requirement("writes.retry")
async def test_retry_whose_post_was_deleted_can_be_made_again(harness) -> None:
    old = await make_draft(harness)
    first = await harness.writes.create(harness.post(), tool="publish_post", retries=old.id)
    await harness.writes.delete(first.post_id, tool="delete_post")

    again = await harness.writes.create(harness.post(), tool="publish_post", retries=old.id)

    assert again.outcome == "created"


def make_post(post_id: str, status: str, results: dict[str, str], created: str, **fields: object) -> Post:
    raw = {"id": post_id, "content": "Same", "status": status, "createdAt": f"2026-11-{created}T10:00:00Z", **fields}
    return Post({**raw, "results": [{"accountId": name, "status": each} for name, each in results.items()]})


@pytest.mark.requirement("writes.retry")
@pytest.mark.parametrize(
    ("other", "served"),
    [
        (make_post("p2", "scheduled", {"b": "pending"}, "21"), {"b": "p2"}),
        (make_post("p2", "partial", {"b": "failed", "c": "published"}, "21"), {"c": "p2"}),
        (make_post("p2", "failed", {"b": "failed"}, "21"), {}),
        (make_post("p2", "draft", {"b": "pending"}, "21"), {}),
        # A text that is sent every week.
        (make_post("p0", "published", {"b": "published"}, "13"), {}),
        (make_post("p2", "published", {"b": "published"}, "21", content="Other"), {}),
        (make_post("p1", "partial", {"b": "published"}, "21"), {}),
    ],
)
def test_accounts_with_an_equal_post_are_found(other: Post, served: dict[str, str]) -> None:
    post = make_post("p1", "partial", {"a": "published", "b": "failed", "c": "failed"}, "20")

    assert find_accounts_with(post, [other], ["b", "c"]) == served


@pytest.mark.requirement("writes.retry")
def test_repeat_is_found_among_other_posts_of_the_same_moment() -> None:
    post = make_post("p1", "partial", {"a": "published", "b": "failed"}, "20")
    unrelated = make_post("p3", "published", {"b": "published"}, "21", content="Other")
    repeat = make_post("p2", "scheduled", {"b": "pending"}, "20")

    assert find_accounts_with(post, [post, unrelated, repeat], ["a", "b"]) == {"b": "p2"}


@pytest.mark.requirement("writes.publish")
@pytest.mark.parametrize(
    ("status", "seconds", "due"),
    [
        ("scheduled", -1, True),
        ("scheduled", 60, True),
        ("scheduled", 60.001, False),
        ("scheduled", -600, True),
        ("scheduled", -600.001, False),
        ("scheduled", None, False),
        ("draft", -1, False),
    ],
)
def test_scheduled_post_is_due_within_one_tick(status: str, seconds: float | None, due: bool) -> None:
    at = {} if seconds is None else {"scheduledAt": (START + timedelta(seconds=seconds)).isoformat()}

    assert is_due(make_post("p1", status, {}, "20", **at), START) == due


@pytest.mark.requirement("writes.retry")
@pytest.mark.parametrize(("created", "other_created"), [("20", None), (None, "20"), (None, None)])
def test_repeat_counts_if_the_api_shows_no_creation_time(created: str | None, other_created: str | None) -> None:
    post, other = (
        make_post("p1", "partial", {"b": "failed"}, "20"),
        make_post("p2", "scheduled", {"b": "pending"}, "20"),
    )
    for each, day in ((post, created), (other, other_created)):
        each.raw["createdAt"] = day and f"2026-11-{day}T10:00:00Z"

    assert find_accounts_with(post, [other], ["b"]) == {"b": "p2"}


@pytest.mark.requirement("writes.publish")
@pytest.mark.parametrize(("status", "started"), [
    ("publishing", True), ("published", True), ("partial", True), ("draft", False), ("scheduled", False)
])  # fmt: skip
def test_status_that_follows_a_request_proves_it(status: str, started: bool) -> None:
    draft, after = (make_post("p1", each, {}, "20") for each in ("draft", status))

    assert has_started(draft, after, START) == started


@pytest.mark.requirement("writes.publish")
def test_unchanged_failed_status_proves_nothing() -> None:
    failed, draft = (make_post("p1", status, {"a": "failed"}, "20") for status in ("failed", "draft"))

    assert not has_started(failed, failed, START)
    assert has_started(draft, failed, START)


@pytest.mark.requirement("writes.retry")
def test_account_with_a_link_has_the_post_in_any_status() -> None:
    results = [
        {"accountId": "a", "status": "failed", "url": "https://x.example/1"},
        {"accountId": "b", "status": "failed"},
        {"accountId": "c", "status": "published"},
        {"accountId": "d", "status": "pending", "externalId": "9"},
        {"accountId": "e", "status": "pending"},
    ]
    post = Post({"results": results})

    assert [each.account_id for each in list_failed(post)] == ["b"]
    assert [each.account_id for each in list_delivered(post)] == ["a", "c", "d"]
