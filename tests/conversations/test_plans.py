"""Requests of a user for several posts at once."""

import pytest

DATES = ("2026-11-30", "2026-12-01", "2026-12-02", "2026-12-03", "2026-12-04")


@pytest.mark.requirement("conversations.fixed_times")
async def test_five_posts_at_fixed_times_take_two_calls(conversation):
    """User: "Post these five on LinkedIn, every weekday of next week at 7:30." """
    posts = [
        {
            "content": f"Tip {number} for better coffee",
            "platforms": ["linkedin"],
            "earliest": f"{date}T07:30",
            "latest": f"{date}T07:30",
        }
        for number, date in enumerate(DATES, 1)
    ]
    plan = await conversation.call("plan_posts", posts=posts, end=DATES[-1])
    await conversation.call("apply_plan", plan_id=plan.data["plan_id"])
    assert conversation.calls == ["plan_posts", "apply_plan"]
    assert {(post["content"], post["due"], post["status"]) for post in conversation.added()} == {
        (f"Tip {number} for better coffee", f"{date}T07:30", "scheduled") for number, date in enumerate(DATES, 1)
    }
    assert conversation.removed() == []
