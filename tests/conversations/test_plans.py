"""Requests of a user for several posts at once."""

import pytest

DATES = ("2026-11-30", "2026-12-01", "2026-12-02", "2026-12-03", "2026-12-04")


@pytest.mark.requirement("conversations.fixed_times")
async def test_five_posts_at_fixed_times_take_two_calls(conversation):
    """User: "Post these five on LinkedIn, every weekday of next week at 7:30." """
    texts = [f"Tip {number} for better coffee" for number in range(1, 6)]
    times = [f"{date}T07:30" for date in DATES]
    posts = [
        {"content": text, "platforms": ["linkedin"], "scheduled_at": when}
        for text, when in zip(texts, times, strict=True)
    ]
    plan = await conversation.call("plan_posts", posts=posts)
    done = await conversation.call("apply_plan", plan_id=plan.data["plan_id"])
    assert conversation.calls == ["plan_posts", "apply_plan"]
    sent = [(post["content"], post["due"], post["status"]) for post in conversation.added()]
    assert sent == [(text, when, "scheduled") for text, when in zip(texts, times, strict=True)]
    assert all(text in done.text for text in texts)
    assert conversation.removed() == []
