"""Best times and totals, compared with an independent calculation."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import httpx2
import pytest

from ttp_mcp.sandbox import ManualClock, Sandbox

pytestmark = pytest.mark.requirement("sandbox.analytics")

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

Publish = Callable[..., None]


@pytest.fixture
def record_publication(empty_workspace: Sandbox, connect_account: Callable[..., str]) -> Publish:
    """Record a publication of the empty workspace, with its engagement."""
    count = 0

    def add(
        at: str | datetime, likes: int = 0, comments: int = 0, shares: int = 0, *, platform: str = "twitter"
    ) -> None:
        nonlocal count
        count += 1
        instant = at if isinstance(at, datetime) else datetime.fromisoformat(at)
        with empty_workspace.store.writing() as db:
            if not db.execute("SELECT 1 FROM accounts WHERE id = ?", (f"acc_{platform}",)).fetchone():
                connect_account(platform)
            db.execute(
                "INSERT INTO publications VALUES (?, ?, 'org_empty', ?, ?, 'Hi', '[]', '[]', 'https://x.example', ?, ?, ?, ?, ?, 0, 1)",
                (
                    f"pub_{count}",
                    f"post_{count}",
                    f"acc_{platform}",
                    platform,
                    round(instant.timestamp() * 1000),
                    likes,
                    comments,
                    shares,
                    7 * likes,
                ),
            )

    return add


def set_zone(empty_workspace: Sandbox, zone: str) -> None:
    """Put the empty workspace into a zone."""
    with empty_workspace.store.writing() as db:
        db.execute("UPDATE organizations SET time_zone = ?", (zone,))


async def read_recommendation(api: httpx2.AsyncClient, platform: str | None = None) -> dict[str, Any]:
    """The recommendation of all platforms or of one."""
    answer = await api.get("/analytics/optimal-times", params={"platform": platform} if platform else None)
    assert answer.status_code == 200
    return answer.json()["recommendation"]


def compute_scores(
    history: list[tuple[str, datetime, int]], key: Callable[[datetime], int], now: datetime
) -> dict[int, Fraction]:
    """Compute scores per key again, in exact fractions, from account, local time and weight of each publication."""
    counted = [each for each in history if timedelta(days=1) <= now - each[1] <= timedelta(days=180)]
    total: dict[int, Fraction] = {}
    number: dict[int, int] = {}
    for account, at, weight in counted:
        own = [other for name, _, other in counted if name == account]
        total[key(at)] = total.get(key(at), Fraction(0)) + Fraction(weight * len(own), sum(own))
        number[key(at)] = number.get(key(at), 0) + 1
    value = {each: (total[each] + 4) / (number[each] + 4) for each in total}
    return {each: value[each] / max(value.values()) for each in value}


def pick_top(scores: dict[int, Fraction], most: int) -> list[tuple[int, float]]:
    """Return the best first; ties keep their order."""
    ranked = sorted(scores, key=lambda each: (-scores[each], each))[:most]
    return [(each, round(float(scores[each]), 2)) for each in ranked]


def read_history(sandbox: Sandbox, platform: str | None = None) -> list[tuple[str, datetime, int]]:
    """All publications of the café, read from the store."""
    with sandbox.store.reading() as db:
        rows = db.execute("SELECT * FROM publications WHERE organization_id = 'org_harbor_cafe'").fetchall()
    zone = ZoneInfo("Europe/Paris")
    return [
        (
            row["account_id"],
            datetime.fromtimestamp(row["published_at"] / 1000, zone),
            row["likes"] + 2 * row["comments"] + 3 * row["shares"],
        )
        for row in rows
        if platform in (None, row["platform"])
    ]


@pytest.mark.parametrize("platform", [None, "instagram", "twitter", "tiktok", "linkedin"])
async def test_best_times_are_those_of_the_method(
    sandbox: Sandbox, api: httpx2.AsyncClient, clock: ManualClock, platform: str | None
) -> None:
    """Same hours, days and scores as the independent calculation over the demo workspace."""
    found = await read_recommendation(api, platform)
    history = read_history(sandbox, platform)
    hours = compute_scores(history, lambda at: at.hour, clock.now())
    days = compute_scores(history, lambda at: at.weekday(), clock.now())
    assert [(each["hour"], each["score"]) for each in found["bestHours"]] == pick_top(hours, 5)
    assert [(each["day"], each["score"]) for each in found["bestDays"]] == [
        (DAYS[day], score) for day, score in pick_top(days, 3)
    ]
    counted = [at for _, at, _ in history if timedelta(days=1) <= clock.now() - at <= timedelta(days=180)]
    assert found["dataPoints"] == len(counted)
    assert found["bestHours"][0]["score"] == found["bestDays"][0]["score"] == 1.0


async def test_example_worked_out_by_hand(empty_api: httpx2.AsyncClient, record_publication: Publish) -> None:
    """Two posts at 18 with 30 and 30, one at 9 with 0: relative 1.5, 1.5, 0; drawn (3 + 4) / 6 and (0 + 4) / 5."""
    record_publication("2026-06-16T18:10:00Z", likes=30)
    record_publication("2026-06-16T18:50:00Z", likes=10, comments=4, shares=4)
    record_publication("2026-06-17T09:00:00Z")
    assert await read_recommendation(empty_api) == {
        "bestHours": [{"hour": 18, "score": 1.0}, {"hour": 9, "score": 0.69}],
        "bestDays": [{"day": "Tuesday", "score": 1.0}, {"day": "Wednesday", "score": 0.69}],
        "dataPoints": 3,
        "message": "Based on 3 posts only; the picture gets clearer from about 20.",
    }


async def test_large_account_does_not_drown_a_small_one(
    empty_api: httpx2.AsyncClient, record_publication: Publish
) -> None:
    """Each is measured by its own mean."""
    record_publication("2026-06-16T08:00:00Z", likes=10_000, platform="tiktok")
    record_publication("2026-06-16T20:00:00Z", likes=9_000, platform="tiktok")
    record_publication("2026-06-16T08:00:00Z", likes=1, platform="linkedin")
    record_publication("2026-06-16T20:00:00Z", likes=5, platform="linkedin")
    assert (await read_recommendation(empty_api))["bestHours"][0]["hour"] == 20


async def test_one_lucky_post_does_not_win(empty_api: httpx2.AsyncClient, record_publication: Publish) -> None:
    """A single post at 2.1 times the average loses to many at 1.8 times."""
    for day in range(1, 11):
        record_publication(f"2026-06-{day:02}T18:00:00Z", likes=180)
        record_publication(f"2026-06-{day:02}T07:00:00Z", likes=17)
    record_publication("2026-06-12T12:00:00Z", likes=210)
    found = await read_recommendation(empty_api)
    assert [each["hour"] for each in found["bestHours"]] == [18, 12, 7]


async def test_account_without_any_engagement_is_even(
    empty_api: httpx2.AsyncClient, record_publication: Publish
) -> None:
    """No division by zero; on a tie the earlier hour comes first."""
    record_publication("2026-06-16T18:00:00Z")
    record_publication("2026-06-16T09:00:00Z")
    found = await read_recommendation(empty_api)
    assert found["bestHours"] == [{"hour": 9, "score": 1.0}, {"hour": 18, "score": 1.0}]


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (0, "No published posts yet. Publish a few, and the best times appear here."),
        (1, "Based on 1 post only; the picture gets clearer from about 20."),
        (19, "Based on 19 posts only; the picture gets clearer from about 20."),
        (20, "Based on 20 posts of the last 180 days."),
    ],
)
async def test_message_says_when_history_is_thin(
    empty_api: httpx2.AsyncClient, record_publication: Publish, count: int, message: str
) -> None:
    """From 20 on it is not."""
    for number in range(count):
        record_publication(datetime(2026, 6, 1, number, tzinfo=UTC), likes=number)
    found = await read_recommendation(empty_api)
    assert (found["dataPoints"], found["message"]) == (count, message)
    assert len(found["bestHours"]) == min(count, 5)


async def test_only_the_last_180_days_and_posts_a_day_old_count(
    empty_api: httpx2.AsyncClient, clock: ManualClock, record_publication: Publish
) -> None:
    """Both ends to the millisecond."""
    now = clock.now()
    for age in (timedelta(days=1), timedelta(days=180)):
        record_publication(now - age, likes=1)
    record_publication(now - timedelta(days=1) + timedelta(milliseconds=1), likes=1)
    record_publication(now - timedelta(days=180) - timedelta(milliseconds=1), likes=1)
    assert (await read_recommendation(empty_api))["dataPoints"] == 2


async def test_hours_and_days_are_those_of_the_organizations_zone(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, record_publication: Publish
) -> None:
    """Tuesday 23:30 in UTC is Wednesday morning in Auckland."""
    set_zone(empty_workspace, "Pacific/Auckland")
    record_publication("2026-06-16T23:30:00Z", likes=3)
    found = await read_recommendation(empty_api)
    assert found["bestHours"] == [{"hour": 11, "score": 1.0}]
    assert found["bestDays"] == [{"day": "Wednesday", "score": 1.0}]


async def test_platform_narrows_the_analysis(empty_api: httpx2.AsyncClient, record_publication: Publish) -> None:
    """An unknown one has no data; an empty one is refused."""
    record_publication("2026-06-16T09:00:00Z", likes=5, platform="linkedin")
    record_publication("2026-06-16T18:00:00Z", likes=5, platform="tiktok")
    assert (await read_recommendation(empty_api, "linkedin"))["bestHours"] == [{"hour": 9, "score": 1.0}]
    assert (await read_recommendation(empty_api, "tiktok"))["dataPoints"] == 1
    assert (await read_recommendation(empty_api, "friendster"))["dataPoints"] == 0
    for query, message in (
        ("platform=", "platform must not be empty."),
        ("platform=%20%09", "platform must not be empty."),
        ("platform=tiktok&platform=linkedin", "A query parameter is given twice."),
        ("plattform=tiktok", "Unknown query parameter: plattform."),
    ):
        answer = await empty_api.get(f"/analytics/optimal-times?{query}")
        assert (answer.status_code, answer.json()["message"]) == (400, message)


async def test_by_account_has_a_recommendation_for_each(sandbox: Sandbox, api: httpx2.AsyncClient) -> None:
    """In the order of the accounts; the points add up to those of all."""
    accounts = (await api.get("/integrations")).json()["integrations"]
    found = (await api.get("/analytics/optimal-times/by-account")).json()["accounts"]
    assert [(each["accountId"], each["platform"]) for each in found] == [
        (each["id"], each["platform"]) for each in accounts
    ]
    assert [each["name"] for each in found] == [each["handle"] or each["name"] for each in accounts]
    assert sum(each["recommendation"]["dataPoints"] for each in found) == (await read_recommendation(api))["dataPoints"]
    for each in found:
        if each["platform"] in ("instagram", "linkedin", "tiktok"):
            assert each["recommendation"] == await read_recommendation(api, each["platform"])


async def test_next_slot_is_a_best_hour_on_a_best_day_to_come(api: httpx2.AsyncClient, clock: ManualClock) -> None:
    """The first such full hour, from wherever in the week one looks."""
    zone = ZoneInfo("Europe/Paris")
    for _ in range(12):
        best = await read_recommendation(api)
        hours = {each["hour"]: each["score"] for each in best["bestHours"]}
        days = {each["day"]: each["score"] for each in best["bestDays"]}
        found = (await api.get("/analytics/next-optimal-time")).json()
        slot = datetime.fromisoformat(found["nextOptimalTime"])
        assert slot > clock.now()
        for hour in list_full_hours(clock.now(), slot):
            local = hour.astimezone(zone)
            assert (local.hour in hours and DAYS[local.weekday()] in days) == (hour == slot)
        local = slot.astimezone(zone)
        # Three figures that are rounded to two digits.
        assert found["score"] == pytest.approx(hours[local.hour] * days[DAYS[local.weekday()]], abs=0.016)
        assert found["message"] == f"The next best slot is {DAYS[local.weekday()]} {local:%H}:00."
        clock.move(15.5 * 3600)


def list_full_hours(after: datetime, last: datetime) -> Iterable[datetime]:
    """The full hours after an instant, up to and with another."""
    slot = after.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    while slot <= last:
        yield slot
        slot += timedelta(hours=1)


async def test_next_slot_is_in_the_future_at_the_full_hour(
    empty_api: httpx2.AsyncClient, clock: ManualClock, record_publication: Publish
) -> None:
    """A slot that begins right now is over; the next one is a week ahead."""
    record_publication("2026-06-17T10:00:00Z", likes=1)
    clock.move(30 * 60 - 1)
    assert (await empty_api.get("/analytics/next-optimal-time")).json()["nextOptimalTime"] == "2026-06-24T10:00:00.000Z"
    clock.move(1)
    assert (await empty_api.get("/analytics/next-optimal-time")).json()["nextOptimalTime"] == "2026-07-01T10:00:00.000Z"


@pytest.mark.parametrize(
    ("now", "history", "slot"),
    [
        # The hour from 2 to 3 on Sunday, 29 March, does not exist: a week later it does.
        ("2026-03-28T11:00:00+01:00", "2026-03-22T02:30:00+01:00", "2026-04-05T00:00:00.000Z"),
        # Across the change the local hour stays: 09:00 is then an hour earlier in UTC.
        ("2026-03-28T11:00:00+01:00", "2026-03-22T09:00:00+01:00", "2026-03-29T07:00:00.000Z"),
        # On Sunday, 25 October, it comes twice: the first, and once that has begun, the second.
        ("2026-10-24T11:00:00+02:00", "2026-10-18T02:30:00+02:00", "2026-10-25T00:00:00.000Z"),
        ("2026-10-25T02:30:00+02:00", "2026-10-18T02:30:00+02:00", "2026-10-25T01:00:00.000Z"),
    ],
)
async def test_next_slot_over_a_change_of_the_clocks(
    empty_workspace: Sandbox,
    empty_api: httpx2.AsyncClient,
    clock: ManualClock,
    record_publication: Publish,
    now: str,
    history: str,
    slot: str,
) -> None:
    """In Paris, with the one best hour on the day of the change."""
    set_zone(empty_workspace, "Europe/Paris")
    clock.move((datetime.fromisoformat(now) - clock.now()).total_seconds())
    record_publication(history, likes=1)
    assert (await empty_api.get("/analytics/next-optimal-time")).json()["nextOptimalTime"] == slot


async def test_next_slot_without_history_is_absent(empty_api: httpx2.AsyncClient) -> None:
    """It isn't guessed."""
    assert (await empty_api.get("/analytics/next-optimal-time")).json() == {
        "success": True,
        "nextOptimalTime": None,
        "score": None,
        "message": "No published posts yet, so there is no best time.",
    }


async def test_weekly_schedule_has_the_three_best_hours_of_each_day(
    sandbox: Sandbox, api: httpx2.AsyncClient, clock: ManualClock
) -> None:
    """By the clock, each with the score of its hour among that day's times that of the day."""
    schedule = (await api.get("/analytics/weekly-schedule")).json()["schedule"]
    assert [each["day"] for each in schedule] == DAYS
    history = read_history(sandbox)
    days = compute_scores(history, lambda at: at.weekday(), clock.now())
    counted = [each for each in history if timedelta(days=1) <= clock.now() - each[1] <= timedelta(days=180)]
    means = {
        name: Fraction(sum(w for n, _, w in counted if n == name), sum(n == name for n, _, _ in counted))
        for name, _, _ in counted
    }
    for number, each in enumerate(schedule):
        value: dict[int, Fraction] = {}
        for hour in range(24):
            found = [weight / means[name] for name, at, weight in counted if (at.weekday(), at.hour) == (number, hour)]
            if found:
                value[hour] = (sum(found) + 4) / (len(found) + 4)
        best = max(value.values())
        three = sorted(value, key=lambda hour: (-value[hour], hour))[:3]
        assert [entry["hour"] for entry in each["hours"]] == sorted(three)
        for entry in each["hours"]:
            assert entry["score"] == round(float(value[entry["hour"]] / best * days[number]), 2)


async def test_weekly_schedule_without_history_is_seven_empty_days(empty_api: httpx2.AsyncClient) -> None:
    """The shape stays."""
    schedule = (await empty_api.get("/analytics/weekly-schedule")).json()["schedule"]
    assert schedule == [{"day": day, "hours": []} for day in DAYS]


async def test_summary_is_the_sum_of_what_is_published(sandbox: Sandbox, api: httpx2.AsyncClient) -> None:
    """A post on several accounts counts once."""
    with sandbox.store.reading() as db:
        rows = db.execute("SELECT * FROM publications WHERE organization_id = 'org_harbor_cafe'").fetchall()
    found = (await api.get("/analytics/engagement-summary")).json()["summary"]
    assert found["posts"] == len({row["post_id"] for row in rows}) < len(rows)
    for figure in ("likes", "comments", "shares", "views"):
        assert found[figure] == sum(row[figure] for row in rows) > 0


async def test_summary_without_posts_is_zero(empty_api: httpx2.AsyncClient) -> None:
    """Numbers, not null."""
    found = (await empty_api.get("/analytics/engagement-summary")).json()["summary"]
    assert found == {"posts": 0, "likes": 0, "comments": 0, "shares": 0, "views": 0}


async def test_figures_grow_with_time(
    empty_workspace: Sandbox, empty_api: httpx2.AsyncClient, clock: ManualClock, connect_account: Callable[..., str]
) -> None:
    """A new post gains engagement, and counts for the best times a day later."""
    connect_account("twitter")
    post = {"content": "Hello", "platforms": ["twitter"], "scheduledAt": "2026-06-24T10:00:00Z"}
    assert (await empty_api.post("/posts", json=post)).status_code == 201
    views, points = [], []
    for hours in (0, 1, 3, 12, 24, 72):
        clock.move(hours * 3600)
        empty_workspace.tick()
        views.append((await empty_api.get("/analytics/engagement-summary")).json()["summary"]["views"])
        points.append((await read_recommendation(empty_api))["dataPoints"])
    assert views[0] == 0 < views[1] < views[2] < views[3] < views[4]
    assert points == [0, 0, 0, 0, 1, 1]
    assert (await read_recommendation(empty_api))["bestHours"] == [{"hour": 10, "score": 1.0}]
