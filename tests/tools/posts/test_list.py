"""Words of list_posts, and the values that its filters take."""

import pytest

from tests.tools.conftest import answer_reads
from ttp_mcp.platforms.rules import platform_keys

pytestmark = pytest.mark.requirement("tools.posts.list")

NOW = "now Tue 24 Nov 2026 09:02 Europe/Paris (08:02Z)"


def make_posts(*statuses, **fields):
    """Return posts p1, p2… of these statuses, as the API lists them."""
    return {"/posts": [{"id": f"p{number}", "status": status} | fields for number, status in enumerate(statuses, 1)]}


@pytest.mark.parametrize(
    ("statuses", "arguments", "heading"),
    [
        (["draft"], {}, f"The organization has 1 post: 1 draft. Showing 1 of 1, latest first; {NOW}."),
        (
            ["draft", "failed", "draft"],
            {"order": "soonest", "limit": 2},
            f"The organization has 3 posts: 2 draft, 1 failed. Showing 2 of 3, soonest first; {NOW}.",
        ),
        (
            ["draft", "failed"],
            {"order": "created", "status": "failed"},
            f"The organization has 2 posts: 1 draft, 1 failed. Showing 1 of 1, newest created first; {NOW}.",
        ),
        (
            [*"abcdefgh", "i", "i"],
            {"status": "draft"},
            f"The organization has 10 posts: 2 i, 1 a, 1 b, 1 c, 1 d, 1 e, 1 f, 1 g. None matches ({NOW}).",
        ),
    ],
)
async def test_heading_counts_all_posts_and_those_shown(connect_agent, statuses, arguments, heading):
    """At most eight statuses, the most frequent first; the data has all."""
    async with connect_agent(through=answer_reads(make_posts(*statuses))) as agent:
        text, data = await agent.expect_ok("list_posts", **arguments)
    assert text.splitlines()[0] == heading
    assert data["by_status"] == {status: statuses.count(status) for status in statuses}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"status": "archived"}, ["p2"]),
        ({"status": ","}, ["p1", "p2"]),
        ({"status": [" ", ","]}, ["p1", "p2"]),
        ({"status": ["archived,draft"]}, ["p1", "p2"]),
        ({"status": ["archived", "any"]}, ["p1", "p2"]),
        ({"platform": " "}, ["p1", "p2"]),
        ({"platform": " ANY "}, ["p1", "p2"]),
        ({"platform": "friendster"}, ["p1", "p2"]),
        ({"platform": "orkut"}, []),
        ({"after": "", "before": ""}, ["p1", "p2"]),
        ({"after": "", "before": "2026-11-26"}, []),
    ],
)
async def test_filters_take_what_the_api_knows(connect_agent, arguments, found):
    """Statuses and platforms that it has added; blank and general words mean all."""
    replies = make_posts("draft", "archived", platforms=["Friendster"], createdAt="2026-11-24T08:00:00Z")
    replies["/integrations"] = [{"id": "a", "platform": "Orkut"}]
    async with connect_agent(through=answer_reads(replies)) as agent:
        _, data = await agent.expect_ok("list_posts", order="created", **arguments)
    assert [each["id"] for each in data["posts"]] == found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"status": "z" * 31 + ",draft," + "y" * 31},
            f"«{'y' * 29}…» is not a status. Pass archived, draft, failed, partial, published, publishing, scheduled, or leave status out.",
        ),
        (
            {"platform": "f" * 31},
            f"«{'f' * 29}…» is not a platform. Pass {', '.join(platform_keys())}, or leave platform out.",
        ),
        ({"account": "nobody"}, "no account «nobody». Connected: a (orkut a). Nothing was sent."),
    ],
)
async def test_unknown_value_is_refused_with_the_known_ones(connect_agent, arguments, words):
    replies = make_posts("archived") | {"/integrations": [{"id": "a", "platform": "Orkut"}]}
    async with connect_agent(through=answer_reads(replies)) as agent:
        assert await agent.expect_error("list_posts", **arguments) == f"Posts not listed: {words}"


async def test_account_that_cannot_publish_is_named_after_the_posts(agent):
    text, data = await agent.expect_ok("list_posts", account="twitter @harborcafe_berlin")
    (warning,) = data["warnings"]
    assert warning.startswith("twitter @harborcafe_berlin (")
    assert text.splitlines().count(f"Warning: {warning}") == 1


@pytest.mark.parametrize("arguments", [{}, {"account": "us"}])
async def test_doubt_about_accounts_is_stated_only_for_a_filter(connect_agent, arguments):
    """One of the posts names its account, the other doesn't."""
    posts = [{"id": "p1", "status": "draft", "accountIds": ["a"]}, {"id": "p2", "status": "draft"}]
    posts[1]["platforms"] = ["linkedin"]
    replies = {"/posts": posts, "/integrations": [{"id": "a", "platform": "linkedin", "name": "Us"}]}
    async with connect_agent(through=answer_reads(replies)) as agent:
        text, data = await agent.expect_ok("list_posts", **arguments)
    assert data["matched"] == 2
    doubt = "Where only a platform is named, the API doesn't say for which of its accounts the post is."
    assert text.endswith(f"\n{doubt}") == bool(arguments)
