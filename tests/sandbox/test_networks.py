"""The simulated networks: deterministic, plausible, and only growing."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttp_mcp.sandbox.networks import SETTLED_HOURS, Engagement, compute_engagement, create_external_id, create_url

pytestmark = pytest.mark.requirement("sandbox.networks")

TUESDAY = datetime(2026, 6, 23, 0, 0, tzinfo=UTC)
PLATFORMS = ("instagram", "twitter", "linkedin", "tiktok", "pinterest", "somewhere_new")
platforms = st.sampled_from(PLATFORMS)
ids = st.text("abcdef0123456789", min_size=1, max_size=12)
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))
ages = st.floats(0, 2 * SETTLED_HOURS)


def make_account(platform: str, account_id: str = "acc", followers: int = 10_000) -> dict[str, object]:
    return {"id": account_id, "platform": platform, "followers": followers}


def list_figures(found: Engagement) -> tuple[int, ...]:
    return found.likes, found.comments, found.shares, found.views


@given(platforms, ids, ids, moments, ages)
def test_figures_are_deterministic(platform: str, account_id: str, post_id: str, at: datetime, age: float) -> None:
    """Two rehearsals over the same workspace see the same figures."""
    first, second = (compute_engagement(make_account(platform, account_id), post_id, at, age) for _ in range(2))
    assert first == second
    assert create_external_id(post_id, account_id) == create_external_id(post_id, account_id)


@given(platforms, ids, moments, ages, ages)
def test_figures_only_grow_with_age(platform: str, post_id: str, at: datetime, one: float, other: float) -> None:
    """None decreases or is negative."""
    younger, older = (
        list_figures(compute_engagement(make_account(platform), post_id, at, age)) for age in sorted((one, other))
    )
    assert all(0 <= before <= after for before, after in zip(younger, older, strict=True))


@given(platforms, ids, moments, st.floats(SETTLED_HOURS, 10 * SETTLED_HOURS))
def test_figures_settle(platform: str, post_id: str, at: datetime, age: float) -> None:
    """After two weeks nothing is added."""
    assert compute_engagement(make_account(platform), post_id, at, age) == compute_engagement(
        make_account(platform), post_id, at, SETTLED_HOURS
    )


@given(platforms, ids, moments, ages)
def test_figures_are_plausible(platform: str, post_id: str, at: datetime, age: float) -> None:
    """More views than likes, more likes than comments."""
    found = compute_engagement(make_account(platform), post_id, at, age)
    assert found.comments <= found.likes <= found.views
    assert found.shares <= found.likes


@pytest.mark.parametrize(
    ("platform", "hour"),
    [("instagram", 18), ("twitter", 9), ("linkedin", 8), ("tiktok", 20), ("pinterest", 21), ("somewhere_new", 12)],
)
def test_each_network_has_its_best_hour(platform: str, hour: int) -> None:
    """Which the analytics should find."""
    views = [
        compute_engagement(make_account(platform), "p", TUESDAY + timedelta(hours=each), 48).views for each in range(24)
    ]
    assert views.index(max(views)) == hour


def test_ids_differ_by_post_and_account() -> None:
    """They look like the networks' ids: digits."""
    found = {create_external_id(post, account_id) for post in ("p1", "p2") for account_id in ("a1", "a2")}
    assert len(found) == 4
    assert all(each.isdigit() for each in found)


def test_addresses_look_real_and_lead_nowhere() -> None:
    """Handles lose their sign; a name without a handle loses its spaces."""
    found = [create_url(platform, "@harbor cafe", "7") for platform in PLATFORMS]
    assert found == [
        "https://instagram.example/p/7",
        "https://x.example/harborcafe/status/7",
        "https://linkedin.example/feed/update/7",
        "https://tiktok.example/@harborcafe/video/7",
        "https://pinterest.example/pin/7",
        "https://network.example/harborcafe/7",
    ]
