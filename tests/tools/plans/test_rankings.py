"""Rankings of hours from responses whose shape isn't documented."""

import pytest

from tests.tools.conftest import answer_reads
from ttp_mcp.planning.model import Ranking
from ttp_mcp.tools.plans.rankings import parse_rankings, parse_week

pytestmark = pytest.mark.requirement("tools.plans")


def make_reply(hour):
    """Return a recommendation as the API might write it."""
    return {
        "bestHours": [{"hour": hour, "score": 0.5}],
        "bestDays": [{"day": "Friday", "score": 0.25}],
        "dataPoints": 40,
    }


def make_ranking(hour):
    """Return what a recommendation is read as."""
    return Ranking({hour: 0.5}, {4: 0.25}, 40)


ONE, TWO = make_reply(1), make_reply(2)


@pytest.mark.parametrize(
    ("response", "found"),
    [
        ({"accounts": [{"accountId": "a", "integrationId": "b", "id": "c", **ONE}]}, {"a": 1}),
        ({"accounts": [{"integrationId": "b", "id": "c", **ONE}]}, {"b": 1}),
        ({"accounts": [{"id": "c", **ONE}]}, {"c": 1}),
        ({"accounts": [{"accountId": "", "id": "c", **ONE}, {"id": "d", **TWO}]}, {"c": 1, "d": 2}),
        ({"one": [{"id": "c", **ONE}], "two": [{"id": "d", **TWO}]}, {"c": 1, "d": 2}),
        ({"accounts": [{"id": "c", "recommendation": ONE, **TWO}]}, {"c": 1}),
        ({"accounts": [{"id": "c", "recommendation": "none", **TWO}]}, {"c": 2}),
        ({"accounts": [{"id": "c", "recommendation": {"bestDays": []}, **TWO}]}, {}),
        ({"accounts": ["odd", 7, None, ["c"], {"id": "c"}, {"id": 7, **ONE}, {**ONE}]}, {}),
        ({"c": ONE, "d": {"recommendation": TWO}}, {"c": 1, "d": 2}),
        ({"c": {"id": "d", **ONE}}, {"d": 1}),
        ({"data": {"deep": {"c": ONE, "d": {"recommendation": TWO}}}}, {"c": 1, "d": 2}),
        ({"data": {"accounts": [{"id": "c", **ONE}]}}, {"c": 1}),
        ({"c": {**ONE, "last": TWO}}, {"c": 1}),
        ({"c": {"recommendation": ONE, "last": TWO}}, {"c": 1}),
        ({"monday": {"hours": [9], "last": TWO}}, {}),
        ({"success": True, "message": "none", "count": 3, "at": None}, {}),
    ],
)
def test_rankings_are_found_by_account(response, found):
    """In lists, and in objects that an id names; other entries are left out."""
    assert parse_rankings(response) == {account: make_ranking(hour) for account, hour in found.items()}


@pytest.mark.parametrize(
    ("response", "found"),
    [
        ({"schedule": [{"day": "Monday", "hours": [9, 0, 23]}]}, {0: {9: 1.0, 0: 1.0, 23: 1.0}}),
        ({"schedule": [{"day": "Sun", "hours": [{"hour": 10, "score": 2}]}]}, {6: {10: 2.0}}),
        ({"schedule": [{"day": "Monday", "hours": [{"hour": 10}, {"score": 0.5}]}]}, {0: {10: 1.0}}),
        (
            {"schedule": [{"day": "Monday", "hours": [24, -1, "9", None, [9], {"hour": 8, "score": "high"}, 7]}]},
            {0: {7: 1.0}},
        ),
        ({"schedule": [{"day": "Holiday", "hours": [9]}, {"day": 1, "hours": [9]}, {"hours": [9]}]}, {}),
        ({"schedule": [{"day": "Monday", "hours": "9"}, {"day": "Tuesday"}, {"day": "Friday", "hours": []}]}, {4: {}}),
        (
            {"schedule": {"monday": {"day": "Monday", "hours": [9]}, "friday": {"day": "Friday", "hours": [8]}}},
            {0: {9: 1.0}, 4: {8: 1.0}},
        ),
        ({"monday": {"day": "Monday", "hours": [{"day": "Friday", "hours": [8]}]}}, {0: {}}),
        ({"monday": {"day": "Monday", "hours": [9], "last": {"day": "Friday", "hours": [8]}}}, {0: {9: 1.0}}),
        ({"success": True, "count": 3}, {}),
    ],
)
def test_scores_are_found_by_weekday_and_hour(response, found):
    """Hours without a score count the same; entries that aren't hours are left out."""
    assert parse_week(response) == found


@pytest.mark.parametrize(
    ("known", "note"),
    [
        (("linkedin", "twitter"), None),
        (("linkedin",), "Twitter @harborcafe had no ranking of their own and got the organization's."),
        (
            (),
            "Linkedin «Harbor Café» and twitter @harborcafe had no ranking of their own and got the organization's.",
        ),
    ],
)
async def test_account_without_a_ranking_gets_that_of_the_organization(connect_agent, known, note):
    """The answer names it; without such an account the organization's isn't read."""
    replies = {"/analytics/optimal-times": make_reply(12) if note else 500, "/analytics/weekly-schedule": {}}
    async with connect_agent(demo_posts=False, through=answer_reads(replies)) as agent:
        ids = {
            "linkedin": await agent.find_account("linkedin Harbor Café"),
            "twitter": await agent.find_account("twitter @harborcafe"),
        }
        replies["/analytics/optimal-times/by-account"] = {ids[name]: make_reply(9) for name in known}
        posts = [{"content": name, "account_ids": [account]} for name, account in ids.items()]
        text, data = await agent.expect_ok("plan_posts", posts=posts, end="2026-11-27")
    assert [line for line in text.splitlines() if "ranking of their own" in line] == ([note] if note else [])
    times = {each["index"]: each["scheduled_at"][11:16] for each in data["planned"]}
    assert times == {1: "09:00" if "linkedin" in known else "12:00", 2: "09:00" if "twitter" in known else "12:00"}
    assert {each["reason"] for each in data["planned"]} == {"best hour of this account (score 0.50, 40 data points)"}


@pytest.mark.parametrize(
    ("day", "date"), [("Thursday", "2026-11-26"), ("Friday", "2026-11-27"), ("Holiday", "2026-11-25")]
)
async def test_best_hours_of_the_week_choose_among_equal_days(connect_agent, day, date):
    """They are those of all accounts together."""
    ranking = {"bestHours": [{"hour": 9, "score": 1.0}], "dataPoints": 40}
    replies = {"/analytics/weekly-schedule": {"schedule": [{"day": day, "hours": [9]}]}}
    async with connect_agent(demo_posts=False, through=answer_reads(replies)) as agent:
        account = await agent.find_account("linkedin Harbor Café")
        replies["/analytics/optimal-times/by-account"] = {account: ranking}
        _, data = await agent.expect_ok("plan_posts", posts=[{"content": "One", "account_ids": [account]}])
    assert data["planned"][0]["scheduled_at"] == f"{date}T09:00:00+01:00"
