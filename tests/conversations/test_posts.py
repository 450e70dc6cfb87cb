"""User questions about their posts."""

from collections import Counter

import pytest


@pytest.mark.requirement("conversations.posts")
async def test_counts_by_state_take_one_call(conversation):
    """User: "How many posts do I have in each state?" """
    listed = await conversation.call("list_posts", limit=1)
    counts = Counter(post["status"] for post in conversation.posts().values())
    assert listed.data["by_status"] == counts
    assert all(f"{count} {status}" in listed.text for status, count in counts.items())
    assert conversation.calls == ["list_posts"]


@pytest.mark.requirement("conversations.posts")
async def test_failures_of_the_week_and_their_reasons_take_one_call(conversation):
    """User: "What failed in the last seven days, and why?" """
    listed = await conversation.call("list_posts", status="failed, partial", after="2026-11-17", before="2026-11-24")
    assert listed.data["posts"]
    for post in listed.data["posts"]:
        for failure in post["failures"]:
            assert failure["error"]
            assert f"- {failure['account']}: failed. API said: «{failure['error']}»" in listed.text
    assert conversation.calls == ["list_posts"]
