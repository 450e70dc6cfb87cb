"""Results of posts, publishing now, and retrying."""

import pytest

from tests.conversations.conftest import Conversation
from ttp_mcp.sandbox.rest.vendor import set_vendor_endpoints


def turn_off(conversation: Conversation) -> None:
    """Simulate an API without the vendor's endpoints."""
    set_vendor_endpoints(conversation.agent.sandbox.store, on=False)


async def make_draft(conversation: Conversation) -> str:
    """Return the id of a draft from an earlier conversation."""
    _, data = await conversation.agent.expect_ok("create_post", content="The new oven is here", platforms=["linkedin"])
    return data["post_id"]


@pytest.mark.requirement("conversations.results")
async def test_three_best_posts_since_august_take_one_call(conversation):
    """User: "What were our three best posts since August?" """
    reply = await conversation.call("post_results", after="2026-08-01", sort_by="likes", limit=3)
    with conversation.agent.sandbox.store.reading() as db:
        rows = db.execute(
            "SELECT p.id, sum(u.likes) AS likes FROM posts p JOIN publications u ON u.post_id = p.id "
            "WHERE p.organization_id = 'org_harbor_cafe' AND p.scheduled_at >= 1785535200000 GROUP BY p.id "
            "ORDER BY likes DESC LIMIT 3"
        ).fetchall()
    best = [(row["id"], row["likes"]) for row in rows]
    assert [(post["id"], post["figures"]["likes"]) for post in reply.data["posts"]] == best
    assert all(post["link"] in reply.text and post["text"] in reply.text for post in reply.data["posts"])
    assert reply.data["missing"] == []
    assert conversation.calls == ["post_results"]


@pytest.mark.requirement("conversations.results")
async def test_publishing_a_draft_now_takes_one_call(conversation):
    """User: "Publish that draft now." """
    post_id = await make_draft(conversation)
    reply = await conversation.call("publish_post", post_id=post_id)
    conversation.agent.sandbox.clock.move(60)
    conversation.agent.sandbox.tick()
    assert reply.data["outcome"] == "queued"
    assert conversation.posts()[post_id]["status"] == "published"
    assert conversation.calls == ["publish_post"]


@pytest.mark.requirement("conversations.results")
@pytest.mark.parametrize("status", ["failed", "partial"])
async def test_retrying_the_failed_post_takes_two_calls(conversation, status):
    """User: "I reconnected the Berlin account. Try the failed post again." """
    with conversation.agent.sandbox.store.writing() as db:
        db.execute("UPDATE accounts SET status = 'connected', has_refresh_capability = 1")
    listed = await conversation.call("list_posts", status=status)
    (post,) = listed.data["posts"]
    reply = await conversation.call("publish_post", post_id=post["id"])
    conversation.agent.sandbox.clock.move(200)
    conversation.agent.sandbox.tick()
    sent = reply.data.get("new_post_id", post["id"])
    assert conversation.posts()[sent]["status"] == "published"
    with conversation.agent.sandbox.store.reading() as db:
        rows = db.execute(
            "SELECT account_id, count(*) AS n FROM publications WHERE post_id IN (?, ?) GROUP BY account_id",
            (sent, post["id"]),
        ).fetchall()
    assert {row["n"] for row in rows} == {1}
    assert {row["account_id"] for row in rows} == set(post["account_ids"])
    assert conversation.calls == ["list_posts", "publish_post"]


@pytest.mark.requirement("conversations.without_vendor")
async def test_missing_endpoints_are_reported_in_one_sentence(conversation):
    """The same requests; nothing else breaks."""
    post_id = await make_draft(conversation)
    turn_off(conversation)
    for tool, arguments in (("post_results", {"after": "2026-08-01"}), ("publish_post", {"post_id": post_id})):
        for _ in range(2):
            words = await conversation.agent.expect_error(tool, **arguments)
            assert "this TimeToPost account's API has no " in words
            assert words.count(". ") == 0
    assert conversation.posts()[post_id]["status"] == "draft"
    # The sentence's way around it.
    await conversation.call("reschedule_post", post_id=post_id, scheduled_at="now")
    await conversation.call("engagement_summary")
    await conversation.call("list_posts", status="failed")
    (partial,) = (await conversation.call("list_posts", status="partial")).data["posts"]
    reply = await conversation.call("publish_post", post_id=partial["id"])
    assert reply.data["outcome"] == "retried"
