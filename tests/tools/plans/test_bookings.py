"""What keeps a time of a plan: other posts of the account, and those of the plan itself."""

import pytest

from tests.tools.conftest import answer_reads

pytestmark = pytest.mark.requirement("tools.plans")

AT = {"start": "2026-11-26T10:00", "end": "2026-11-26T10:00"}
NEW = {"content": "New", "account_ids": ["linkedin"]}


def list_planned(data):
    """Return the numbers of the posts that have a time."""
    return [each["index"] for each in data["planned"]]


@pytest.mark.parametrize(
    ("status", "planned"),
    [
        ("scheduled", []),
        ("publishing", []),
        ("published", []),
        ("partial", []),
        ("draft", [1]),
        ("failed", [1]),
    ],
)
async def test_posts_that_are_out_or_will_be_keep_their_time(empty_agent, status, planned):
    """A draft or a failed post has no audience."""
    _, there = await empty_agent.expect_ok(
        "create_post", content="There", account_ids=["linkedin"], scheduled_at="2026-11-26T09:00"
    )
    empty_agent.update_post(there["post_id"], status=status)
    _, data = await empty_agent.expect_ok("plan_posts", posts=[NEW], **AT)
    assert list_planned(data) == planned


@pytest.mark.parametrize(("published", "planned"), [("09:00", []), ("05:59", [1])])
async def test_published_post_counts_from_when_it_was_out(connect_agent, published, planned):
    """That can be hours after its time."""
    post = {"id": "p1", "content": "There", "status": "published", "platforms": ["linkedin"]}
    times = {"scheduledAt": "2026-11-26T06:00:00+01:00", "publishedAt": f"2026-11-26T{published}:00+01:00"}
    async with connect_agent(demo_posts=False, through=answer_reads({"/posts": {"posts": [post | times]}})) as agent:
        _, data = await agent.expect_ok("plan_posts", posts=[NEW], **AT)
    assert list_planned(data) == planned


async def test_post_without_a_time_that_can_be_read_keeps_none(connect_agent):
    """The others do."""
    there = {"id": "p1", "content": "There", "status": "scheduled", "platforms": ["linkedin"], "scheduledAt": "soon"}
    async with connect_agent(demo_posts=False, through=answer_reads({"/posts": {"posts": [there]}})) as agent:
        _, data = await agent.expect_ok("plan_posts", posts=[NEW], **AT)
    assert list_planned(data) == [1]


@pytest.mark.parametrize(("days", "end", "planned"), [(6, "2026-11-30", []), (8, "2026-12-02", [1])])
async def test_posts_of_the_last_week_count_for_the_longest_spacing(empty_agent, clock, days, end, planned):
    _, there = await empty_agent.expect_ok(
        "create_post", content="There", account_ids=["linkedin"], scheduled_at="2026-11-24T10:00"
    )
    clock.move(days * 86_400)
    empty_agent.update_post(there["post_id"], status="published")
    _, data = await empty_agent.expect_ok("plan_posts", posts=[NEW], spacing_minutes=10_080, end=end)
    assert list_planned(data) == planned


@pytest.mark.parametrize("published", ["2026-11-17T08:02:00Z", "2026-11-16T08:02:00Z"])
async def test_older_posts_change_no_time(connect_agent, published):
    """Not even among times that are as good."""
    old = {"id": "p1", "content": "There", "status": "published", "platforms": ["linkedin"], "publishedAt": published}
    times = []
    for posts in ([], [old]):
        replies: dict[str, object] = {"/posts": {"posts": posts}, "/analytics/optimal-times/by-account": 500}
        async with connect_agent(demo_posts=False, through=answer_reads(replies)) as agent:
            _, data = await agent.expect_ok("plan_posts", posts=[NEW])
        times.append(data["planned"][0]["scheduled_at"])
    assert times[0] == times[1]


@pytest.mark.parametrize(
    ("posts", "warnings"),
    [
        ([("One", "10:00"), ("Two", "10:59")], {2: ["Post 1 is 59 min apart on the same account."]}),
        ([("One", "10:00"), ("Two", "11:00")], {}),
        ([("One", "10:59"), ("Two", "10:00")], {2: ["Post 1 is 59 min apart on the same account."]}),
        (
            [("One", "10:40"), ("Two", "10:20"), ("Three", "10:30")],
            {
                2: ["Post 1 is 20 min apart on the same account."],
                3: ["Post 2 is 10 min apart on the same account.", "Post 1 is 10 min apart on the same account."],
            },
        ),
        ([("One", "10:00"), ("One", "10:20")], {2: ["It says the same as post 1 on the same account."]}),
        ([("One", "10:00"), ("One", "15:00")], {2: ["It says the same as post 1 on the same account."]}),
        ([("One", None), ("Two", "10:00")], {2: ["Post 1 is 15 min apart on the same account."]}),
        ([("One", "10:00"), ("Two", None)], {2: ["Post 1 is 15 min apart on the same account."]}),
        ([("One", None), ("Two", None)], {}),
    ],
)
async def test_fixed_times_of_a_plan_that_are_less_than_an_hour_apart_are_noted(empty_agent, posts, warnings):
    """The user chose them. Free ones keep the spacing that was asked for."""
    free = {"earliest": "2026-11-26T09:45", "latest": "2026-11-26T10:15"}
    _, data = await empty_agent.expect_ok(
        "plan_posts",
        posts=[
            {"content": text, "account_ids": ["linkedin"]} | ({"scheduled_at": f"2026-11-26T{at}"} if at else free)
            for text, at in posts
        ],
        spacing_minutes=15,
    )
    assert {each["index"]: each["warnings"] for each in data["planned"] if each["warnings"]} == warnings
    assert len(data["planned"]) == len(posts)


async def test_posts_on_different_accounts_or_with_different_threads_are_not_compared(empty_agent):
    twitter = await empty_agent.find_account("twitter @harborcafe")
    same = {"content": "One", "scheduled_at": "2026-11-26T10:00"}
    posts = [
        {**same, "account_ids": ["linkedin"]},
        {**same, "account_ids": [twitter]},
        {**same, "account_ids": [twitter], "thread": ["Two"], "scheduled_at": "2026-11-26T12:00"},
    ]
    _, data = await empty_agent.expect_ok("plan_posts", posts=posts)
    assert [each["warnings"] for each in data["planned"]] == [[], [], []]


@pytest.mark.parametrize("given", ["7:00", " 07:00 "])
async def test_spaces_around_a_time_of_day_do_not_matter(empty_agent, given):
    _, data = await empty_agent.expect_ok("plan_posts", posts=[NEW], quiet_from="08:00", quiet_until=given)
    assert data["planned"][0]["scheduled_at"][11:13] == "07"


async def test_window_is_seven_days_from_its_start(empty_agent):
    """Where no end is passed; the start is now where none is passed either."""
    posts = [{**NEW, "content": str(number)} for number in range(10)]
    for start, first, last in (("2026-12-01T12:00", "2026-12-01", "2026-12-08"), (None, "2026-11-24", "2026-12-01")):
        _, data = await empty_agent.expect_ok("plan_posts", posts=posts, at_most_per_day=1, start=start)
        dates = [each["scheduled_at"][:10] for each in data["planned"]]
        assert (dates[0], dates[-1], len(dates), len(data["unplanned"])) == (first, last, 8, 2)
