"""A time for each of many posts."""

import dataclasses
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from inline_snapshot import snapshot

from ttp_mcp.planning.calendar import draw_calendar
from ttp_mcp.planning.model import Booking, PostRequest, Ranking
from ttp_mcp.planning.planner import SLOT_LEAD, make_plan, make_plan_id, serialize_plan

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 24, 8, 2, tzinfo=UTC)
KNOWN = Ranking.from_pairs(
    [(18, 0.92), (12, 0.85), (9, 0.6)], [("Tuesday", 0.8), ("thursday", 0.7), ("Someday", 1)], 64
)


def make_time(day, hour, minute=0, zone=PARIS):
    """An instant in November 2026, or later with days above 30."""
    local = datetime(2026, 11, 1, hour, minute, tzinfo=zone) + timedelta(days=day - 1)
    return local.astimezone(UTC)


def plan_posts(wishes, **changes):
    """A plan from Tuesday 24 November, 9:02 in Paris, for seven days."""
    arguments = {
        "now": NOW,
        "start": NOW,
        "end": NOW + timedelta(days=7),
        "zone": PARIS,
        "quiet_from": time(22),
        "quiet_until": time(7),
        "spacing_minutes": 240,
        "at_most_per_day": None,
        "hours": {"acc_1": KNOWN},
    }
    return make_plan(wishes, **(arguments | changes))


def make_requests(count, *account_ids, **bounds):
    """Some posts for the same accounts."""
    return [
        PostRequest(index, account_ids or ("acc_1",), content=f"Post {index + 1}", **bounds) for index in range(count)
    ]


def list_times(made_plan, zone=PARIS):
    """The local times of a plan, by index."""
    by_index = sorted(made_plan.scheduled, key=lambda each: each.post.index)
    return [f"{each.at.astimezone(zone):%a %d %H:%M}" for each in by_index]


@pytest.mark.requirement("planning.best")
def test_posts_get_the_best_hour_of_the_best_days_in_list_order():
    """Tuesday and Thursday are the account's best days; a day gets its second post only when others are used."""
    result = plan_posts(make_requests(3))
    assert list_times(result)[0:2] == ["Tue 24 18:00", "Thu 26 18:00"]
    assert [each.post.index for each in result.scheduled] == [0, 1, 2]
    assert result.scheduled[0].reason == "best hour of this account (score 0.92, 64 data points)"
    assert len({each.at.date() for each in plan_posts(make_requests(7)).scheduled}) == 7


@pytest.mark.requirement("planning.best")
def test_taken_hour_gives_the_second_best_and_says_what_takes_it():
    """The booked post is named, as is a planned one."""
    bounds = {"earliest": make_time(24, 10), "latest": make_time(24, 22)}
    booked = [Booking("acc_1", make_time(24, 18, 10), "cmb8x2k4p0031"), Booking("acc_2", make_time(24, 12), "other")]
    (placed,) = plan_posts(make_requests(1, **bounds), booked=booked).scheduled
    assert placed.at == make_time(24, 12)
    expected = "second-best hour of this account (score 0.85, 64 data points); 18:00 is taken by cmb8x2k4p0031"
    assert placed.reason == expected
    reasons = [each.reason for each in plan_posts(make_requests(2, **bounds)).scheduled]
    assert reasons[0].endswith("; 18:00 is taken by post 2")


@pytest.mark.requirement("planning.best")
def test_reasons_say_what_else_keeps_a_post_from_the_best_hour():
    """Quiet hours, bounds, the neighbourhood of another post, or that the day would be full."""
    early = {"latest": make_time(24, 13)}
    assert plan_posts(make_requests(1, **early)).scheduled[0].reason.endswith("; 18:00 is out of bounds that day")
    quiet = {"quiet_from": time(17), "quiet_until": time(9)}
    assert plan_posts(make_requests(1), **quiet).scheduled[0].reason.endswith("; 18:00 is in quiet hours")
    booked = [Booking("acc_1", make_time(24, 20, 30), "later")]
    today = {"earliest": make_time(24, 10), "latest": make_time(24, 22)}
    assert (
        plan_posts(make_requests(1, **today), booked=booked)
        .scheduled[0]
        .reason.endswith("; 18:00 is too close to later")
    )
    only_night = {"earliest": make_time(24, 7), "latest": make_time(25, 8), "index": 0, "account_ids": ("acc_1",)}
    (placed,) = plan_posts([PostRequest(**only_night)], hours={"acc_1": Ranking({23: 1.0})}).scheduled
    assert placed.reason == "outside the best hours of this account; 23:00 is in quiet hours"
    many = Ranking({hour: 1 - hour / 100 for hour in range(10, 17)}, data_points=None)
    (placed,) = plan_posts(
        make_requests(1, earliest=make_time(25, 16), latest=make_time(25, 16)), hours={"acc_1": many}
    ).scheduled
    assert placed.reason == "7th-best hour of this account (score 0.84); 10:00 is out of bounds that day"


@pytest.mark.requirement("planning.best")
def test_weekly_hours_lead_to_another_hour_although_the_best_one_is_free():
    """They count for all accounts, beside each account's own history."""
    (placed,) = plan_posts(
        make_requests(1, earliest=make_time(25, 8), latest=make_time(25, 22)), weekly={2: {12: 0.9}}
    ).scheduled
    assert placed.at == make_time(25, 12)
    assert placed.reason == "second-best hour of this account (score 0.85, 64 data points)"


@pytest.mark.requirement("planning.best")
def test_scores_that_are_not_numbers_are_left_out():
    """JSON can hold NaN and infinity, and an API any hour."""
    odd = Ranking.from_pairs([(18, 0.9), (12, float("nan")), (30, 1.0)], [("Monday", float("inf"))], 64)
    assert odd == Ranking({18: 0.9}, {}, 64)
    bounds = {"earliest": make_time(25, 8), "latest": make_time(25, 22)}
    (placed,) = plan_posts(make_requests(1, **bounds), hours={"acc_1": odd}, weekly={2: {9: float("nan")}}).scheduled
    assert placed.at == make_time(25, 18)


@pytest.mark.requirement("planning.accounts")
def test_post_has_one_instant_for_all_of_its_accounts():
    """By the mean of their scores; an account twice counts once."""
    other = Ranking({10: 0.9, 18: 0.5}, data_points=20)
    result = plan_posts(
        make_requests(1, "acc_1", "acc_2", "acc_1", latest=make_time(24, 21)), hours={"acc_1": KNOWN, "acc_2": other}
    )
    assert result.scheduled[0].at == make_time(24, 18)
    assert result.scheduled[0].reason == "best hour of these 2 accounts (mean score 0.71)"
    half = plan_posts(make_requests(1, "acc_1", "acc_new", latest=make_time(24, 21)))
    assert half.scheduled[0].reason == "best hour of these 2 accounts (score 0.92, 64 data points)"


@pytest.mark.requirement("planning.thin")
@pytest.mark.parametrize(
    ("ranking", "reason"),
    [
        (None, "no history of this account, so spread evenly over common hours"),
        (Ranking({3: 1.0}, data_points=9), "only 9 data points of this account, so spread evenly over common hours"),
        (Ranking({}, data_points=64), "no history of this account, so spread evenly over common hours"),
    ],
)
def test_without_history_posts_are_spread_over_the_window_at_common_hours(ranking, reason):
    """The first and the last day first, then the middle; noon or six."""
    result = plan_posts(make_requests(3), hours={"acc_1": ranking} if ranking else {})
    days = [each.at.astimezone(PARIS).day for each in result.scheduled]
    assert min(later - earlier for earlier, later in pairwise(days)) >= 2
    assert {each.at.astimezone(PARIS).hour for each in result.scheduled} <= {12, 18}
    assert {each.reason for each in result.scheduled} == {reason}


@pytest.mark.requirement("planning.constrained")
def test_most_constrained_post_chooses_first():
    """The last of the list can only go at one time, which the first would have taken."""
    free, bound = make_requests(1)[0], PostRequest(1, ("acc_1",), earliest=make_time(24, 18), latest=make_time(24, 18))
    result = plan_posts([free, bound], end=make_time(24, 21), start=make_time(24, 14))
    assert list_times(result) == ["Tue 24 14:00", "Tue 24 18:00"]


@pytest.mark.requirement("planning.unplaced")
@pytest.mark.parametrize(
    ("bounds", "changes", "words"),
    [
        ({}, {"end": NOW + timedelta(minutes=9)}, "the window has no quarter hour"),
        ({}, {"end": NOW - timedelta(days=1)}, "the window has no quarter hour"),
        ({"latest": NOW}, {}, "its earliest and latest leave no quarter hour"),
        (
            {"earliest": make_time(25, 12), "latest": make_time(25, 11)},
            {},
            "its earliest and latest leave no quarter hour",
        ),
        ({"earliest": make_time(24, 23), "latest": make_time(25, 6)}, {}, "quiet hours 22:00–07:00"),
        ({}, {"spacing_minutes": 100_000, "booked": [Booking("acc_1", NOW, "old")]}, "closer than 100000 minutes"),
        (
            {"latest": make_time(24, 21)},
            {"at_most_per_day": 1, "booked": [Booking("acc_1", make_time(24, 1), "x")]},
            "has at_most_per_day (1)",
        ),
    ],
)
def test_unplaced_post_says_what_would_help(bounds, changes, words):
    """The others get a time."""
    (unplaced,) = plan_posts(make_requests(1, **bounds), **changes).unscheduled
    assert words in unplaced.reason
    mixed = plan_posts([PostRequest(0, ("acc_1",), **bounds), PostRequest(1, ("acc_9",), content="free")], **changes)
    assert [each.post.index for each in mixed.unscheduled if each.post.index == 0] == [0]
    assert len(mixed.scheduled) == (0 if "window" in words.partition("leave")[0] else 1)


@pytest.mark.requirement("planning.unplaced")
def test_post_without_accounts_is_not_placed():
    """It says which argument names them."""
    (unplaced,) = plan_posts([PostRequest(0, ())]).unscheduled
    assert "account_ids" in unplaced.reason


@pytest.mark.requirement("planning.bounds")
def test_clock_changes_do_not_shift_posts():
    """On 29 March 2026 two o'clock doesn't exist in Paris; six in the evening is still six."""
    now = datetime(2026, 3, 28, 20, tzinfo=UTC)
    result = plan_posts(make_requests(2), now=now, start=now, end=now + timedelta(days=2), spacing_minutes=60)
    assert [f"{each.at:%d %H:%M}" for each in result.scheduled] == ["29 16:00", "30 16:00"]
    night = plan_posts(
        make_requests(8),
        now=now,
        start=now,
        end=now + timedelta(hours=8),
        spacing_minutes=15,
        quiet_from=time(3),
        quiet_until=time(1),
    )
    assert {each.at.astimezone(PARIS).hour for each in night.scheduled} == {1}


@pytest.mark.requirement("planning.bounds")
def test_first_time_is_at_least_five_minutes_ahead():
    """At 9:11 that is 9:30."""
    now = make_time(24, 9, 11)
    (placed,) = plan_posts(
        make_requests(1), now=now, start=now - timedelta(hours=1), end=make_time(24, 9, 30)
    ).scheduled
    assert placed.at == make_time(24, 9, 30)


@pytest.mark.requirement("planning.bounds")
def test_window_longer_than_a_year_is_cut():
    """So that a wrong year costs no memory."""
    far = plan_posts(make_requests(1, earliest=NOW + timedelta(days=367)), end=NOW + timedelta(days=30_000))
    assert "its earliest and latest leave no quarter hour" in far.unscheduled[0].reason


@pytest.mark.requirement("planning.calendar")
def test_calendar_reads_as_a_table_with_reasons():
    """Names where they are known, texts cut and cleaned, each reason once, and the posts without a time at the end."""
    text = "New\u200b «winter» 👨‍👩‍👧 menu\nwith soup and everything that is warm"
    result = plan_posts(
        [
            PostRequest(0, ("acc_1",), content=text, latest=make_time(24, 22)),
            PostRequest(1, ("acc_2", "acc_3"), content="Hi", earliest=make_time(25, 9), latest=make_time(25, 9)),
            PostRequest(2, ("acc_1",), content="Late", latest=NOW),
        ]
    )
    assert draw_calendar(result, PARIS, {"acc_1": "instagram @harbor.cafe"}) == snapshot("""\
Tue 24 Nov  18:00  post 1  «New ‹winter› 👨\u200d👩\u200d👧 menu with so…»  instagram @harbor.cafe
Wed 25 Nov  09:00  post 2  «Hi»                                acc_2, acc_3

Why these times:
- post 1: best hour of this account (score 0.92, 64 data points)
- post 2: no history of these 2 accounts, so spread evenly over common hours

Without a time:
- post 3: its earliest and latest leave no quarter hour in the window; widen them or the window

Days without a post:
- Thu 26 Nov – Tue 1 Dec: outside earliest and latest of the posts\
""")
    assert draw_calendar(plan_posts([]), PARIS) == ""


FULL = PostRequest(
    0,
    ("acc_1", "acc_2"),
    content="Hello",
    platforms=("twitter", "threads"),
    media_urls=("https://a.example/1.jpg", "https://a.example/2.jpg"),
    thread=("one", "two"),
    platform_data={"pinterest": {"boardId": "b", "title": "t"}},
)


@pytest.mark.requirement("planning.id")
@pytest.mark.parametrize(
    "change",
    [
        {"content": "Hello!"},
        {"account_ids": ("acc_1",)},
        {"platforms": ("twitter",)},
        {"media_urls": FULL.media_urls[::-1]},
        {"thread": ("two", "one")},
        {"platform_data": {"pinterest": {"boardId": "c", "title": "t"}}},
        {"latest": make_time(24, 12)},
    ],
)
def test_plan_id_changes_with_each_part_of_the_plan(change):
    """Text, targets, media, thread, platform data, and the instant that a bound leads to."""
    assert make_plan_id(plan_posts([FULL])) != make_plan_id(plan_posts([dataclasses.replace(FULL, **change)]))


@pytest.mark.requirement("planning.id")
def test_plan_id_ignores_meaningless_order():
    """Of accounts, platforms, keys, and posts."""
    other = PostRequest(1, ("acc_3",), content="Other", latest=make_time(25, 12))
    shuffled = dataclasses.replace(
        FULL,
        account_ids=FULL.account_ids[::-1],
        platforms=FULL.platforms[::-1],
        platform_data={"pinterest": {"title": "t", "boardId": "b"}},
    )
    one, same = plan_posts([FULL, other]), plan_posts([other, shuffled])
    assert make_plan_id(one) == make_plan_id(same)
    assert len(make_plan_id(one)) == 12
    assert serialize_plan(one) == serialize_plan(same)


ACCOUNTS = st.lists(st.sampled_from(["acc_1", "acc_2", "acc_3"]), min_size=0, max_size=3).map(tuple)
INSTANTS = st.integers(-60, 60 * 24 * 4).map(lambda minutes: NOW + timedelta(minutes=minutes))
RANKINGS = st.builds(
    Ranking,
    st.dictionaries(st.integers(0, 23), st.floats(0, 100), max_size=5),
    st.dictionaries(st.integers(0, 6), st.floats(0, 1), max_size=3),
    st.none() | st.integers(0, 100),
)
SETTINGS = st.fixed_dictionaries(
    {
        "now": st.integers(0, 59).map(lambda minutes: NOW + timedelta(minutes=minutes)),
        "start": INSTANTS,
        "end": INSTANTS,
        "zone": st.sampled_from([PARIS, ZoneInfo("Asia/Kathmandu"), ZoneInfo("America/New_York"), ZoneInfo("UTC")]),
        "quiet_from": st.times().map(lambda wall: wall.replace(tzinfo=None)),
        "quiet_until": st.times().map(lambda wall: wall.replace(tzinfo=None)),
        "spacing_minutes": st.integers(0, 600),
        "at_most_per_day": st.none() | st.integers(1, 3),
        "hours": st.dictionaries(st.sampled_from(["acc_1", "acc_2"]), RANKINGS),
        "booked": st.lists(
            st.builds(Booking, st.sampled_from(["acc_1", "acc_2"]), INSTANTS, st.text("ab", min_size=1)), max_size=4
        ),
        "weekly": st.none() | st.dictionaries(st.integers(0, 6), st.dictionaries(st.integers(0, 23), st.floats(0, 5))),
    }
)
LISTS = st.lists(st.tuples(ACCOUNTS, st.none() | INSTANTS, st.none() | INSTANTS), max_size=8).map(
    lambda all_bounds: [PostRequest(index, *bounds, content=f"p{index}") for index, bounds in enumerate(all_bounds)]
)


def is_quiet(local, quiet_from, quiet_until):
    """Whether a minute of the day lies in the quiet hours, minute by minute rather than by comparing."""
    span = (count_seconds(quiet_until) - count_seconds(quiet_from)) % (24 * 3600)
    return (count_seconds(local) - count_seconds(quiet_from)) % (24 * 3600) < span


def count_seconds(wall):
    """Seconds since midnight, with fractions."""
    return wall.hour * 3600 + wall.minute * 60 + wall.second + wall.microsecond / 1e6


@pytest.mark.requirement("planning.bounds")
@limits(deadline=None)
@given(LISTS, SETTINGS)
def test_every_plan_keeps_every_bound(posts, settings):
    """Never in the past, outside the window or a post's bounds, in quiet hours, too close, or on a full day."""
    result = plan_posts(posts, **settings)
    zone, taken, per_day = settings["zone"], [(each.account_id, each.at) for each in settings["booked"]], {}
    for each in result.scheduled:
        assert each.at >= settings["now"] + SLOT_LEAD
        assert settings["start"] <= each.at <= settings["end"]
        assert (each.post.earliest or each.at) <= each.at <= (each.post.latest or each.at)
        local = each.at.astimezone(zone)
        assert not is_quiet(local.time(), settings["quiet_from"], settings["quiet_until"])
        assert local.minute % 15 == local.second == local.microsecond == 0
        for account_id in set(each.post.account_ids):
            distances = [abs(each.at - other) for account, other in taken if account == account_id]
            assert all(distance >= timedelta(minutes=max(settings["spacing_minutes"], 1)) for distance in distances)
            taken.append((account_id, each.at))
    if most := settings["at_most_per_day"]:
        for account_id, instant in taken:
            per_day.setdefault((account_id, instant.astimezone(zone).date()), []).append(instant)
        planned = {
            (account, each.at.astimezone(zone).date()) for each in result.scheduled for account in each.post.account_ids
        }
        assert all(len(per_day[day]) <= most for day in planned)


@pytest.mark.requirement("planning.unplaced")
@limits(deadline=None)
@given(LISTS, SETTINGS)
def test_every_post_is_placed_or_has_a_reason(posts, settings):
    """Exactly once, and each says why."""
    result = plan_posts(posts, **settings)
    both = [*result.scheduled, *result.unscheduled]
    assert sorted(each.post.index for each in both) == [post.index for post in posts]
    assert all(each.reason for each in both)


@pytest.mark.requirement("planning.deterministic")
@limits(deadline=None)
@given(LISTS, SETTINGS, st.randoms())
def test_plan_is_independent_of_input_order(posts, settings, random):
    """Of posts, bookings and all mappings."""
    shuffled = dict(settings, hours=dict(reversed(settings["hours"].items())), booked=list(settings["booked"]))
    others = list(posts)
    random.shuffle(others)
    random.shuffle(shuffled["booked"])
    result = plan_posts(posts, **settings)
    assert plan_posts(others, **shuffled) == result
    assert make_plan_id(plan_posts(others, **shuffled)) == make_plan_id(result)
