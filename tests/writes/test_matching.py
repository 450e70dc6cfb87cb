"""Comparison of the API's posts with the one that was sent."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ttp_mcp.api import Post, PostCreate
from ttp_mcp.writes.reconcile import is_equal

START = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
DUE = START + timedelta(days=2)


SENT = PostCreate(
    "Hello\nworld",
    account_ids=("a", "b"),
    media_urls=("https://example.com/1.png",),
    thread=("two",),
    scheduled_at=DUE,
    platform_data={"pinterest": {"boardId": "7"}},
)


FOUND = {
    "id": "p",
    "content": "Hello\r\nworld ",
    "accountIds": ["b", "a"],
    "mediaUrls": ["https://example.com/1.png"],
    "thread": ["two"],
    "scheduledAt": "2026-11-26T10:00:00.900Z",
    "platformData": {"pinterest": {"boardId": "7"}, "added": 1},
}


@pytest.mark.requirement("writes.matching")
@pytest.mark.parametrize("missing", ["accountIds", "thread", "platformData"])
def test_fields_that_the_api_does_not_show_are_not_compared(missing: str) -> None:
    """The reference documents neither accounts, thread nor platform data."""
    assert is_equal(SENT, Post(FOUND))
    assert is_equal(SENT, Post({key: value for key, value in FOUND.items() if key != missing}))


@pytest.mark.requirement("writes.matching")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content", "Hello world"),
        ("accountIds", ["a"]),
        ("mediaUrls", []),
        ("thread", ["three"]),
        ("scheduledAt", "2026-11-26T10:00:01Z"),
        ("scheduledAt", None),
        ("platformData", {"pinterest": {"boardId": "8"}}),
    ],
)
def test_fields_that_the_api_shows_must_match(name: str, value: object) -> None:
    """One difference is enough."""
    assert not is_equal(SENT, Post({**FOUND, name: value}))


@pytest.mark.requirement("writes.matching")
def test_accounts_are_read_from_the_results_too_and_platforms_by_name() -> None:
    """Accounts may be in either place; a post to platforms is compared by platform."""
    results = {**FOUND, "accountIds": None, "results": [{"accountId": "a"}, {"accountId": "c"}]}
    to_platform = replace(SENT, account_ids=(), platforms=("Pinterest",))

    assert not is_equal(SENT, Post(results))
    assert is_equal(to_platform, Post({**FOUND, "platforms": ["pinterest"]}))
    assert not is_equal(to_platform, Post({**FOUND, "platforms": ["twitter"]}))
