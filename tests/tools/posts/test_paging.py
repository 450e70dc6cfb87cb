"""Pages of a list that changes while it is read."""

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttp_mcp.api import Post
from ttp_mcp.errors import Refusal
from ttp_mcp.tools.posts.paging import Filter, read_page

pytestmark = pytest.mark.requirement("tools.paging")

START = datetime(2026, 11, 24, tzinfo=UTC)
ALL = Filter()


def post(number, due=None, **fields):
    """A post that was made in the minute of its number."""
    made = (START + timedelta(minutes=number)).isoformat()
    scheduled = (START + timedelta(minutes=due)).isoformat() if due is not None else None
    return Post({"id": f"p{number}", "createdAt": made, "scheduledAt": scheduled, "content": "Words"} | fields)


def ids(posts):
    """Their ids."""
    return [each.id for each in posts]


changes = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.integers(0, 200), max_size=4)),
    min_size=1,
    max_size=12,
)


@given(
    count=st.integers(0, 25),
    limit=st.integers(1, 7),
    order=st.sampled_from(["newest", "soonest"]),
    dues=st.lists(st.none() | st.integers(0, 30), min_size=60, max_size=60),
    between=changes,
)
def test_no_post_is_shown_twice_and_none_that_stayed_is_missed(count, limit, order, dues, between):
    """Posts come and go between the pages, also those that the last page ended with."""
    posts = [post(number, dues[number]) for number in reversed(range(count))]
    stayed = set(ids(posts))
    made, cursor, shown = count, None, []
    for turn in range(200):
        try:
            found = read_page(posts, ALL, order, limit, cursor)
        except Refusal as refusal:
            assert "the posts of the last page are gone" in str(refusal)
            return
        shown += ids(found.posts)
        cursor = found.cursor
        if cursor is None:
            break
        added, removed = between[turn % len(between)]
        for position in removed:
            if posts:
                stayed.discard(posts.pop(position % len(posts)).id)
        for _ in range(added):
            if made < 60:
                posts.insert(0, post(made, dues[made]))
                made += 1
    assert len(set(shown)) == len(shown)
    assert stayed <= set(shown)


def test_counts_say_what_matched_and_what_is_left():
    """Of this page and this filter."""
    posts = [post(number, status="draft" if number % 2 else "scheduled") for number in reversed(range(10))]
    first = read_page(posts, Filter(status="draft"), "newest", 2, None)
    second = read_page(posts, Filter(status="draft"), "newest", 2, first.cursor)
    third = read_page(posts, Filter(status="draft"), "newest", 2, second.cursor)
    assert [ids(each.posts) for each in (first, second, third)] == [["p9", "p7"], ["p5", "p3"], ["p1"]]
    assert [(each.matched, each.left) for each in (first, second, third)] == [(5, 3), (5, 1), (5, 0)]
    assert third.cursor is None


def test_last_post_of_a_page_may_go():
    """The page goes on after the one before it."""
    posts = [post(number) for number in reversed(range(6))]
    first = read_page(posts, ALL, "newest", 3, None)
    left = [each for each in posts if each.id not in ("p3", "p4")]
    assert ids(read_page(left, ALL, "newest", 3, first.cursor).posts) == ["p2", "p1", "p0"]


@pytest.mark.parametrize("made", [True, False])
def test_whole_page_may_leave_the_filter(made):
    """Scheduled posts that went out meanwhile still tell where the page ended, with or without a creation time."""
    posts = [
        post(number, status="scheduled", createdAt=post(number).raw["createdAt"] if made else None)
        for number in reversed(range(9))
    ]
    wanted = Filter(status="scheduled")
    first = read_page(posts, wanted, "newest", 3, None)
    later = [
        Post(each.raw | {"status": "published"}) if each.id in ("p8", "p7", "p6", "p4") else each for each in posts
    ]
    assert ids(read_page(later, wanted, "newest", 3, first.cursor).posts) == ["p5", "p3", "p2"]
    none = [Post(each.raw | {"status": "published"}) for each in posts]
    assert ids(read_page(none, wanted, "newest", 3, first.cursor).posts) == []


def test_whole_page_may_go_where_the_api_tells_when_posts_were_made():
    """What is older comes next."""
    posts = [post(number) for number in reversed(range(6))]
    first = read_page(posts, ALL, "newest", 3, None)
    assert ids(read_page(posts[3:], ALL, "newest", 3, first.cursor).posts) == ["p2", "p1", "p0"]


def test_whole_page_that_went_without_a_trace_is_refused():
    """Guessing would miss posts or show them twice."""
    posts = [Post({"id": f"p{number}"}) for number in range(6)]
    first = read_page(posts, ALL, "newest", 3, None)
    with pytest.raises(Refusal, match=r"the posts of the last page are gone\. Call list_posts again without cursor"):
        read_page(posts[3:], ALL, "newest", 3, first.cursor)


def test_soonest_has_posts_without_a_time_last():
    """And equal times by id."""
    posts = [post(3, 5), post(2), post(1, 9), post(0, 5)]
    first = read_page(posts, ALL, "soonest", 2, None)
    second = read_page(posts, ALL, "soonest", 2, first.cursor)
    assert ids([*first.posts, *second.posts]) == ["p0", "p3", "p1", "p2"]


def test_cursor_past_the_end_shows_nothing():
    """Everything after it is gone."""
    posts = [post(number, number) for number in reversed(range(4))]
    first = read_page(posts, ALL, "soonest", 2, None)
    found = read_page(posts[2:], ALL, "soonest", 2, first.cursor)
    assert (found.posts, found.left, found.cursor) == ([], 0, None)


def packed(value):
    """A cursor with this inside."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


MARK = ALL.mark("newest")
AT = START.isoformat()


@pytest.mark.parametrize(
    ("cursor", "words"),
    [
        ("?", "is not one that list_posts gave"),
        ("é", "is not one that list_posts gave"),
        (packed({}), "is not one that list_posts gave"),
        (packed([MARK, "p1", AT]), "is not one that list_posts gave"),
        (packed([MARK, [1], AT]), "is not one that list_posts gave"),
        (packed([MARK, ["p1"], "yesterday"]), "is not one that list_posts gave"),
        (packed([MARK, ["p1"], 7]), "is not one that list_posts gave"),
        (packed([MARK, [], AT]), "belongs to another filter or order"),
        (packed([MARK, ["p1"], "2026-11-24T00:00:00"]), "belongs to another filter or order"),
        (packed(["other", ["p1"], AT]), "belongs to another filter or order"),
    ],
)
def test_cursor_that_was_not_given_is_refused(cursor, words):
    """It comes from a model."""
    with pytest.raises(Refusal, match=words):
        read_page([post(1)], ALL, "newest", 1, cursor)


@given(st.text(max_size=60))
def test_any_text_as_a_cursor_is_refused_in_words(cursor):
    """And never crashes."""
    if cursor:
        with pytest.raises(Refusal):
            read_page([post(1)], ALL, "newest", 1, cursor)


@pytest.mark.requirement("tools.posts.list")
@pytest.mark.parametrize(
    ("fields", "listed"),
    [
        ({"accountIds": ["a"], "platforms": ["twitter"]}, True),
        ({"results": [{"accountId": "a"}]}, True),
        ({"accountIds": ["b"], "platforms": ["linkedin"]}, False),
        ({"platforms": ["tiktok", "LinkedIn"]}, True),
        ({"platforms": ["X"]}, False),
        ({}, False),
    ],
)
def test_post_without_accounts_is_listed_for_those_of_its_platforms(fields, listed):
    """It may be for any of them; where accounts are named, they alone count."""
    wanted = Filter(accounts=frozenset({"a"}), account_platforms=frozenset({"linkedin"}))
    assert read_page([post(1, **fields)], wanted, "newest", 2, None).matched == listed
