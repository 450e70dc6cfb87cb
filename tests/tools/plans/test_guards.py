"""Guards of plans: confirmation in required mode, and the minimum lead before a time."""

import pytest

from tests.tools.conftest import find_code

LATER = [
    {"content": f"Post {number}", "platforms": ["linkedin"], "scheduled_at": f"2026-11-2{number + 5}T10:00"}
    for number in range(2)
]
eras = pytest.mark.parametrize("mode", ["auto", "legacy"])


async def make_plan(agent, posts=LATER):
    """Return the id of a plan."""
    _, data = await agent.expect_ok("plan_posts", posts=posts)
    return data["plan_id"]


@pytest.mark.requirement("tools.plans.confirmed")
@eras
@pytest.mark.parametrize("answer", [False, "cancel"])
async def test_declined_plan_is_not_applied_in_required_mode(connect_agent, mode, answer):
    async with connect_agent(answer=answer, mode=mode, confirm="required", demo_posts=False) as agent:
        words = await agent.expect_error("apply_plan", plan_id=await make_plan(agent))
        assert "declined" in words
        assert agent.list_posts() == []


@pytest.mark.requirement("tools.plans.confirmed")
@eras
@pytest.mark.parametrize("answer", [False, "cancel"])
async def test_declined_plan_is_not_undone_in_required_mode(connect_agent, mode, answer):
    answers = [True, answer]

    async with connect_agent(answer=lambda: answers.pop(0), mode=mode, confirm="required", demo_posts=False) as agent:
        plan_id = await make_plan(agent)
        await agent.expect_ok("apply_plan", plan_id=plan_id)
        words = await agent.expect_error("undo_plan", plan_id=plan_id)
        assert "declined" in words
        assert len(agent.list_posts()) == 2


@pytest.mark.requirement("tools.plans.confirmed")
async def test_code_for_pending_posts_covers_no_others(connect_agent):
    """A post that was applied and then deleted is pending again, and the user didn't see it."""
    async with connect_agent(confirm="required", max_posts_per_hour=1, demo_posts=False) as agent:
        plan_id = await make_plan(agent)
        code = find_code(await agent.expect_error("apply_plan", plan_id=plan_id))
        _, data = await agent.expect_ok("apply_plan", plan_id=plan_id, confirmation=code)
        assert [step["outcome"] for step in data["steps"]] == ["created", "stopped"]
        for_the_rest = find_code(await agent.expect_error("apply_plan", plan_id=plan_id))
        post_id = data["steps"][0]["post_id"]
        delete = find_code(await agent.expect_error("delete_post", post_id=post_id))
        await agent.expect_ok("delete_post", post_id=post_id, confirmation=delete)
        words = await agent.expect_error("apply_plan", plan_id=plan_id, confirmation=for_the_rest)
        assert "or for other arguments" in words
        assert agent.list_posts() == []


@pytest.mark.requirement("tools.plans.confirmed")
async def test_code_for_a_plan_covers_no_other_plan(connect_agent):
    """Both have as many posts at the same times."""
    async with connect_agent(confirm="required", demo_posts=False) as agent:
        shown = await make_plan(agent)
        other = await make_plan(agent, [{**post, "content": f"Not {post['content']}"} for post in LATER])
        code = find_code(await agent.expect_error("apply_plan", plan_id=shown))
        words = await agent.expect_error("apply_plan", plan_id=other, confirmation=code)
        assert "or for other arguments" in words
        assert agent.list_posts() == []


@pytest.mark.requirement("tools.plans.lead")
@pytest.mark.parametrize(("seconds", "sent"), [(240, True), (241, False), (299, False)])
async def test_post_due_within_a_minute_is_not_applied(empty_agent, clock, seconds, sent):
    """It would reach the API too late. The plan is made at 09:02:00, the post is due at 09:07:00."""
    posts = [{"content": "Soon", "platforms": ["linkedin"], "scheduled_at": "2026-11-24T09:07"}]
    plan_id = await make_plan(empty_agent, posts)
    clock.move(seconds)
    if sent:
        await empty_agent.expect_ok("apply_plan", plan_id=plan_id)
    else:
        assert "has passed or is too close" in await empty_agent.expect_error("apply_plan", plan_id=plan_id)
    assert len(empty_agent.list_posts()) == sent


@pytest.mark.requirement("tools.plans.lead")
@eras
async def test_plan_is_not_applied_in_part_after_a_slow_confirmation(connect_agent, clock, mode):
    """The user agreed to all of its posts."""

    def answer():
        clock.move(280)
        return True

    posts = [{"content": "Soon", "platforms": ["linkedin"], "scheduled_at": "2026-11-24T09:07"}, LATER[0]]
    async with connect_agent(answer=answer, mode=mode, demo_posts=False) as agent:
        words = await agent.expect_error("apply_plan", plan_id=await make_plan(agent, posts))
        assert words.endswith(
            "has passed or is too close (1 of 2 posts). Call plan_posts again for the posts that are left; nothing was sent."
        )
        assert agent.list_posts() == []


@pytest.mark.requirement("tools.plans.lead")
async def test_post_that_becomes_late_during_apply_is_not_sent(connect_agent, clock):
    """The first create takes five minutes."""

    def through(app):
        async def slow(scope, receive, send):
            await app(scope, receive, send)
            if (scope["method"], scope["path"]) == ("POST", "/api/posts"):
                clock.move(310)

        return slow

    posts = [
        {"content": f"At {minute}", "platforms": ["linkedin"], "scheduled_at": f"2026-11-24T09:{minute}"}
        for minute in ("07", "08")
    ]
    async with connect_agent(demo_posts=False, confirm="off", through=through) as agent:
        _, data = await agent.expect_ok("apply_plan", plan_id=await make_plan(agent, posts))
        assert [(step["outcome"], step.get("reason")) for step in data["steps"]] == [
            ("created", None),
            ("refused", "its time has passed or is too close; plan_posts finds another"),
        ]
        assert [content for content, _ in agent.list_posts()] == ["At 07"]
