"""Ranges of time in arguments, through the tools that take them."""

import pytest

pytestmark = pytest.mark.requirement("tools.ranges")

FRIDAY = {"content": "On Friday evening", "platforms": ["linkedin"], "scheduled_at": "2026-11-27T18:00"}


@pytest.mark.parametrize(
    ("bounds", "matched"),
    [
        ({"after": "2026-11-23", "before": "2026-11-27"}, 1),
        ({"after": "2026-11-27", "before": "2026-11-27"}, 1),
        ({"before": "2026-11-27T18:00"}, 1),
        ({"before": "2026-11-27T17:59"}, 0),
        ({"before": "2026-11-26"}, 0),
        ({"after": "2026-11-28"}, 0),
    ],
)
async def test_date_alone_is_the_whole_day(empty_agent, bounds, matched):
    await empty_agent.expect_ok("create_post", **FRIDAY)
    _, data = await empty_agent.expect_ok("list_posts", **bounds)
    assert data["matched"] == matched


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        (
            "list_posts",
            {"after": "2026-11-27", "before": "2026-11-26"},
            "Posts not listed: before (Thu 26 Nov 2026 23:59 ",
        ),
        (
            "plan_posts",
            {"posts": [{"content": "x", "platforms": ["linkedin"]}], "start": "2026-12-05", "end": "2026-12-01"},
            "Posts not planned: end (Tue 1 Dec 2026 23:59 ",
        ),
        (
            "plan_posts",
            {"posts": [{"content": "x", "platforms": ["linkedin"], "earliest": "2026-12-05", "latest": "2026-12-01"}]},
            "Posts not planned: post 1: latest (Tue 1 Dec 2026 23:59 ",
        ),
    ],
)
async def test_end_before_its_start_is_refused(empty_agent, tool, arguments, words):
    refusal = await empty_agent.expect_error(tool, **arguments)
    assert refusal.startswith(words)
    assert " is earlier than " in refusal
