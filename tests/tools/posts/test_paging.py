"""Pages of a list that changes between calls."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttp_mcp.api import Integration, Post
from ttp_mcp.errors import Refusal
from ttp_mcp.text import fold_text
from ttp_mcp.tools.posts.paging import Filter, read_page

pytestmark = pytest.mark.requirement("tools.paging")

START = datetime(2026, 11, 24, tzinfo=UTC)
ALL = Filter()


def make_post(number, due=None, **fields):
    """Return a post created in the minute of its number."""
    made = (START + timedelta(minutes=number)).isoformat()
    scheduled = (START + timedelta(minutes=due)).isoformat() if due is not None else None
    return Post({"id": f"p{number}", "createdAt": made, "scheduledAt": scheduled, "content": "Words"} | fields)


def list_ids(posts):
    """Return their ids."""
    return [each.id for each in posts]


changes = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.integers(0, 200), max_size=4)),
    min_size=1,
    max_size=12,
)


@given(
    count=st.integers(0, 25),
    limit=st.integers(1, 7),
    order=st.sampled_from(["latest", "soonest", "created"]),
    dues=st.lists(st.none() | st.integers(0, 30), min_size=60, max_size=60),
    between=changes,
)
def test_paging_shows_every_remaining_post_once(count, limit, order, dues, between):
    """Posts come and go between pages, also those that ended the last page."""
    posts = [make_post(number, dues[number]) for number in reversed(range(count))]
    stayed = set(list_ids(posts))
    made, cursor, shown = count, None, []
    for turn in range(200):
        try:
            found = read_page(posts, ALL, order, limit, cursor)
        except Refusal as refusal:
            assert "the last post of the page before is gone" in str(refusal)
            return
        shown += list_ids(found.posts)
        cursor = found.cursor
        if cursor is None:
            break
        added, removed = between[turn % len(between)]
        for position in removed:
            if posts:
                stayed.discard(posts.pop(position % len(posts)).id)
        for _ in range(added):
            if made < 60:
                posts.insert(0, make_post(made, dues[made]))
                made += 1
    assert len(set(shown)) == len(shown)
    assert stayed <= set(shown)


def test_counts_are_of_matching_and_remaining_posts():
    """For this page and filter."""
    posts = [make_post(number, status="draft" if number % 2 else "scheduled") for number in reversed(range(10))]
    first = read_page(posts, Filter(statuses=frozenset({"draft"})), "created", 2, None)
    second = read_page(posts, Filter(statuses=frozenset({"draft"})), "created", 2, first.cursor)
    third = read_page(posts, Filter(statuses=frozenset({"draft"})), "created", 2, second.cursor)
    assert [list_ids(each.posts) for each in (first, second, third)] == [["p9", "p7"], ["p5", "p3"], ["p1"]]
    assert [(each.matched, each.left) for each in (first, second, third)] == [(5, 3), (5, 1), (5, 0)]
    assert third.cursor is None


def test_paging_continues_when_the_last_post_is_gone():
    """From its creation time."""
    posts = [make_post(number) for number in reversed(range(6))]
    first = read_page(posts, ALL, "created", 3, None)
    left = [each for each in posts if each.id not in ("p3", "p4")]
    assert list_ids(read_page(left, ALL, "created", 3, first.cursor).posts) == ["p2", "p1", "p0"]


@pytest.mark.parametrize("made", [True, False])
def test_paging_continues_when_a_page_left_the_filter(made):
    """Scheduled posts published since then still mark where the page ended, with or without a creation time."""
    posts = [
        make_post(number, status="scheduled", createdAt=make_post(number).raw["createdAt"] if made else None)
        for number in reversed(range(9))
    ]
    wanted = Filter(statuses=frozenset({"scheduled"}))
    first = read_page(posts, wanted, "created", 3, None)
    later = [
        Post(each.raw | {"status": "published"}) if each.id in ("p8", "p7", "p6", "p4") else each for each in posts
    ]
    assert list_ids(read_page(later, wanted, "created", 3, first.cursor).posts) == ["p5", "p3", "p2"]
    none = [Post(each.raw | {"status": "published"}) for each in posts]
    assert list_ids(read_page(none, wanted, "created", 3, first.cursor).posts) == []


def test_paging_continues_by_creation_time_when_a_page_is_gone():
    """Older posts come next."""
    posts = [make_post(number) for number in reversed(range(6))]
    first = read_page(posts, ALL, "created", 3, None)
    assert list_ids(read_page(posts[3:], ALL, "created", 3, first.cursor).posts) == ["p2", "p1", "p0"]
    assert read_page(posts[:2], ALL, "created", 3, first.cursor).posts == []
    undated = make_post(8, createdAt=None)
    assert list_ids(read_page([undated, *posts[3:]], ALL, "created", 2, first.cursor).posts) == ["p2", "p1"]
    same_moment = make_post(9, createdAt=posts[2].raw["createdAt"])
    assert list_ids(read_page([same_moment, *posts[3:]], ALL, "created", 1, first.cursor).posts) == ["p9"]


def test_cursor_of_an_untraceable_page_is_refused():
    """Guessing could skip or repeat posts."""
    posts = [Post({"id": f"p{number}"}) for number in range(6)]
    first = read_page(posts, ALL, "created", 3, None)
    with pytest.raises(Refusal) as refused:
        read_page(posts[3:], ALL, "created", 3, first.cursor)
    assert str(refused.value) == (
        "Posts not listed: the last post of the page before is gone. Call list_posts again without cursor."
    )


def test_soonest_has_posts_without_a_time_last():
    """Posts with equal times keep their order on every page."""
    posts = [make_post(3, 5), make_post(2), make_post(1, 9), make_post(0, 5)]
    first = read_page(posts, ALL, "soonest", 2, None)
    second = read_page(posts, ALL, "soonest", 2, first.cursor)
    assert list_ids([*first.posts, *second.posts]) in (["p0", "p3", "p1", "p2"], ["p3", "p0", "p1", "p2"])


def test_cursor_past_the_end_shows_nothing():
    """All later posts are gone."""
    posts = [make_post(number, number) for number in reversed(range(4))]
    first = read_page(posts, ALL, "soonest", 2, None)
    found = read_page(posts[2:], ALL, "soonest", 2, first.cursor)
    assert (found.posts, found.left, found.cursor) == ([], 0, None)


@pytest.mark.parametrize(
    ("order", "cursor", "rest"),
    [
        ("latest", "024081.1a20adceb20.d1360a1f", ["p2", "p1"]),
        ("soonest", "04c141.1a20adc00c0.a6313a89", ["p3", "p4"]),
        ("created", "9aa5ad.1a20adceb20.d1360a1f", ["p2", "p1"]),
    ],
)
def test_cursor_of_another_version_shows_the_rest(order, cursor, rest):
    """Servers of two versions share the clients of an address during an update, so the form of a cursor is kept."""
    posts = [make_post(number, number) for number in (4, 3, 2, 1)]
    assert read_page(posts, ALL, order, 2, None).cursor == cursor
    assert list_ids(read_page(posts, ALL, order, 2, cursor).posts) == rest


DIGEST = ALL.digest("created")
INVENTED = (
    "Posts not listed: cursor is not one that list_posts returned. Pass its next_cursor unchanged, or leave cursor out."
)
OF_ANOTHER = (
    "Posts not listed: cursor belongs to another filter or order. Repeat the same arguments, or leave cursor out."
)


@pytest.mark.parametrize(
    ("cursor", "words"),
    [
        ("?", INVENTED),
        ("é", INVENTED),
        (f"{DIGEST}.0", INVENTED),
        (f"{DIGEST}.yesterday.00000000", INVENTED),
        (f"{DIGEST}.{'f' * 13}.00000000", INVENTED),
        ("000000.0.00000000", OF_ANOTHER),
    ],
)
def test_invented_cursor_is_refused(cursor, words):
    """Cursors come from a model."""
    with pytest.raises(Refusal) as refused:
        read_page([make_post(1)], ALL, "created", 1, cursor)
    assert str(refused.value) == words


def make_account(account_id):
    """Return an account on LinkedIn."""
    return Integration(account_id, "linkedin", None, None, None, None, None, None)


def test_cursor_depends_on_every_part_of_the_filter_and_the_order():
    """With another one it would skip or repeat posts."""
    filters = [
        ALL,
        Filter(statuses=frozenset({"draft"})),
        Filter(statuses=frozenset({"draft", "failed"})),
        Filter(platform="linkedin"),
        Filter(accounts=[make_account("a")]),
        Filter(accounts=[make_account("b")]),
        Filter(accounts=[make_account("a"), make_account("b")]),
        Filter(after=START),
        Filter(before=START),
        Filter(text="words"),
    ]
    digests = {each.digest(order) for each in filters for order in ("latest", "soonest", "created")}
    assert len(digests) == 3 * len(filters)
    assert filters[6].digest("created") == Filter(accounts=[make_account("b"), make_account("a")]).digest("created")


def test_cursor_may_have_spaces_around_it():
    """Models add them."""
    posts = [make_post(number) for number in (2, 1)]
    cursor = read_page(posts, ALL, "created", 1, None).cursor
    assert list_ids(read_page(posts, ALL, "created", 1, f" {cursor}\n").posts) == ["p1"]


def test_page_may_end_with_any_id():
    """The API's ids are text, and JSON can hold half of an emoji."""
    posts = [Post({"id": post_id}) for post_id in ("b", "\ud800", "a")]
    cursor = read_page(posts, ALL, "created", 2, None).cursor
    assert list_ids(read_page(posts, ALL, "created", 2, cursor).posts) == ["a"]


@pytest.mark.parametrize("order", ["latest", "soonest", "created"])
def test_cursor_is_short(order):
    """A model repeats it character by character."""
    posts = [Post(make_post(number, number).raw | {"id": f"cmb8b028tvasrf40z39si1y{number}"}) for number in (3, 2, 1)]
    assert len(read_page(posts, ALL, order, 1, None).cursor) <= 30


def test_latest_has_posts_without_a_time_last():
    """Otherwise the reverse of soonest."""
    posts = [make_post(3, 5), make_post(2), make_post(1, 9), make_post(0, 1)]
    first = read_page(posts, ALL, "latest", 2, None)
    second = read_page(posts, ALL, "latest", 2, first.cursor)
    assert list_ids([*first.posts, *second.posts]) == ["p1", "p3", "p0", "p2"]


@pytest.mark.requirement("tools.posts.list")
def test_text_is_found_in_the_thread_and_in_any_spelling_of_accents():
    """Case and the composition of accents make no difference."""
    posts = [make_post(2, content="CAFE\u0301 opens"), make_post(1, thread=["At the caf\u00e9"]), make_post(0)]
    found = read_page(posts, Filter(text=fold_text("Caf\u00e9")), "created", 9, None)
    assert list_ids(found.posts) == ["p2", "p1"]


@given(st.text(max_size=60))
def test_any_text_as_a_cursor_is_refused(cursor):
    """It never crashes."""
    if cursor:
        with pytest.raises(Refusal):
            read_page([make_post(1)], ALL, "created", 1, cursor)


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
    """It may be for any of them; named accounts take precedence."""
    wanted = Filter(accounts=[make_account("a")])
    assert read_page([make_post(1, **fields)], wanted, "created", 2, None).matched == listed


def minute(number, **more):
    """Return a time of that day."""
    return START + timedelta(minutes=number, **more)


MOMENT = {"milliseconds": 1}


@pytest.mark.requirement("tools.posts.list")
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(platform="twitter"), ["p1", "p2"]),
        (Filter(platform="linkedin"), ["p3"]),
        (Filter(after=minute(10)), ["p2", "p3", "p4"]),
        (Filter(after=minute(10, **MOMENT)), ["p3", "p4"]),
        (Filter(before=minute(20)), ["p2", "p3"]),
        (Filter(before=minute(20) - timedelta(**MOMENT)), ["p2"]),
        (Filter(after=minute(10, **MOMENT), before=minute(30) - timedelta(**MOMENT)), ["p3"]),
        (Filter(after=minute(20), before=minute(30)), ["p3", "p4"]),
        (Filter(after=minute(31)), []),
        (Filter(platform="twitter", after=minute(10)), ["p2"]),
    ],
)
def test_filter_by_platform_and_time_includes_both_ends(wanted, found):
    """The scheduled time comes before the published one; a post without either is in no range."""
    posts = [
        make_post(1, platforms=["twitter"]),
        make_post(2, 10, platforms=["X"]),
        make_post(3, platforms=["linkedin"], publishedAt=minute(20).isoformat()),
        make_post(4, 30, publishedAt=minute(31).isoformat()),
    ]
    assert list_ids(read_page(posts, wanted, "created", 9, None).posts) == found
