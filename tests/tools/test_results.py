"""Results of posts: selected, ranked, summed; missing figures are reported."""

import json

import anyio
import pytest
from inline_snapshot import snapshot

from tests.tools.conftest import Agent, send_reply
from ttp_mcp.sandbox.rest.vendor import set_vendor_endpoints
from ttp_mcp.tools import results
from ttp_mcp.tools.figures import Figures, add_figures

pytestmark = pytest.mark.requirement("tools.results")

COUNTS = ("impressions", "likes", "comments", "shares", "saves", "views", "clicks")


class Metrics:
    """Answer metrics of single posts, and count requests, in total and concurrent."""

    def __init__(self, app) -> None:
        self.app = app
        self.replies: dict[str, object] = {}
        self.asked: list[str] = []
        self.at_once = self.most_at_once = 0

    async def __call__(self, scope, receive, send) -> None:
        prefix, _, post_id = scope["path"].rpartition("/")
        if prefix != "/api/analytics/metrics":
            await self.app(scope, receive, send)
            return
        self.asked.append(post_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await anyio.lowlevel.checkpoint()
        reply = self.replies.get(post_id)
        try:
            if reply == "never":
                await anyio.sleep_forever()
            elif isinstance(reply, int):
                await send_reply(send, reply, {"success": False, "message": "Not now."})
            elif reply is not None:
                await send_reply(send, 200, reply)
            else:
                await self.app(scope, receive, send)
        finally:
            self.at_once -= 1


def list_published(agent: Agent, count: int) -> list[str]:
    """Return the ids of the last published posts, newest first."""
    with agent.sandbox.store.reading() as db:
        rows = db.execute(
            "SELECT id FROM posts WHERE organization_id = 'org_harbor_cafe' AND status IN ('published', 'partial') "
            "ORDER BY scheduled_at DESC LIMIT ?",
            (count,),
        ).fetchall()
    return [row["id"] for row in rows]


def sum_figures(agent: Agent, ids: list[str]) -> dict[str, int]:
    """Sum the stored figures of posts."""
    with agent.sandbox.store.reading() as db:
        row = db.execute(
            "SELECT sum(likes) AS likes, sum(comments) AS comments, sum(shares) AS shares, sum(views) AS views FROM publications "
            f"WHERE post_id IN ({', '.join('?' * len(ids))})",
            ids,
        ).fetchone()
    return dict(row)


def make_figures(**counts: int) -> dict[str, object]:
    """Return a reply with these figures, without those of accounts."""
    return {"metrics": counts, "accounts": []}


async def test_last_posts_are_ranked_by_impressions(agent):
    text, data = await agent.expect_ok("post_results", limit=3)
    assert [post["id"] for post in data["posts"]] != list_published(agent, 3)
    assert {post["id"] for post in data["posts"]} == set(list_published(agent, 3))
    ranks = [post["figures"]["impressions"] for post in data["posts"]]
    assert ranks == sorted(ranks, reverse=True)
    assert agent.format_text(text) == snapshot("""\
Results of 3 published posts, most impressions first. Showing 3; now Tue 24 Nov 2026 09:02 Europe/Paris
    (08:02Z). Figures count from the publication to the API's last sync.
1. «Both bars open at ten today, after our team breakfast ☕ See you then.» <post 1>, Thu 19 Nov 2026 18:00
    (2026-11-19T17:00Z), instagram @harbor.cafe, https://instagram.example/p/11006186544742872514
   impressions 8,654, likes 310, comments 33, shares 21, saves 63, views 6,406, clicks 112, rate 4.9 %
2. «A second life for coffee sacks: the shopping bags are here.» <post 2>, Sun 22 Nov 2026 14:30
    (2026-11-22T13:30Z), instagram @harbor.cafe, https://instagram.example/p/10054757647496855678
   impressions 2,390, likes 115, comments 10, shares 5, saves 6, views 1,978, clicks 47, rate 5.7 %
3. «Today's soup is leek and potato. Today's mood is the same.» <post 3>, Fri 20 Nov 2026 08:30
    (2026-11-20T07:30Z), pinterest @harborcafe, https://pinterest.example/pin/6854706963446233337
   impressions 211, likes 5, comments 0, shares 0, saves 1, views 156, clicks 2, rate 2.8 %
Total of 3 posts: impressions 11,255, likes 430, comments 43, shares 26, saves 70, views 8,540, clicks 161,
    rate 5.1 %
instagram @harbor.cafe, 2 posts: impressions 11,044, likes 425, comments 43, shares 26, saves 69, views 8,384,
    clicks 159, rate 5.1 %
pinterest @harborcafe, 1 post: impressions 211, likes 5, comments 0, shares 0, saves 1, views 156, clicks 2,
    rate 2.8 %\
""")


async def test_every_figure_ranks_a_window(agent):
    """Totals cover the whole window, however many are shown."""
    for figure in (*COUNTS, "rate"):
        _, data = await agent.expect_ok("post_results", after="2026-11-01", sort_by=figure, limit=5)
        shown = [post["figures"][figure] for post in data["posts"]]
        assert shown == sorted(shown, reverse=True)
        assert (len(shown), data["sorted_by"]) == (5, figure)
    assert data["totals"]["posts"] > 5


async def test_totals_are_those_of_the_networks(agent):
    ids = list_published(agent, 20)
    _, data = await agent.expect_ok("post_results", post_ids=ids)
    totals = data["totals"]
    assert {name: totals["figures"][name] for name in ("likes", "comments", "shares", "views")} == sum_figures(
        agent, ids
    )
    for groups in (totals["platforms"], totals["accounts"]):
        for name in COUNTS:
            assert sum(group["figures"][name] for group in groups) == totals["figures"][name]
    rate = sum(post["figures"]["rate"] * post["figures"]["impressions"] for post in data["posts"])
    assert totals["figures"]["rate"] == pytest.approx(rate / totals["figures"]["impressions"], abs=1e-4)


async def test_post_has_its_text_time_platforms_and_link(agent):
    post_id = list_published(agent, 1)[0]
    text, data = await agent.expect_ok("post_results", post_ids=[post_id])
    (post,) = data["posts"]
    wire = agent.read_row(post_id)
    assert post["text"] == wire["content"][:80]
    assert post["published_at"].endswith("+01:00")
    assert post["platforms"]
    assert post["link"].startswith("https://")
    assert f"«{post['text']}» {post_id}" in text
    assert post["link"] in text
    assert {each["platform"] for each in post["accounts"]} == set(post["platforms"])


async def test_missing_figures_are_not_zero(empty_agent):
    """They come with the first sync."""
    _, made = await empty_agent.expect_ok("create_post", content="New", platforms=["linkedin"], scheduled_at="now")
    empty_agent.sandbox.clock.move(180)
    empty_agent.sandbox.tick()
    text, data = await empty_agent.expect_ok("post_results")
    (post,) = data["posts"]
    assert post["id"] == made["post_id"]
    assert "figures" not in post
    assert data["totals"] == {"posts": 0, "platforms": [], "accounts": []}
    assert "1 post without figures yet, which is not zero" in text
    assert text.splitlines()[2] == "   no figures yet"


async def test_empty_window_is_reported(agent):
    text, data = await agent.expect_ok("post_results", after="2020-01-01", before="2020-02-01")
    assert text == "No post was published in that time (now Tue 24 Nov 2026 09:02 Europe/Paris (08:02Z))."
    assert (data["posts"], data["missing"]) == ([], [])


async def test_window_reads_at_most_100_posts_four_at_once(connect_agent, monkeypatch):
    """The rest is named, with the call that reads it."""
    monkeypatch.setattr(results, "MOST_ASKED", 10)
    async with connect_agent(through=Metrics) as agent:
        text, data = await agent.expect_ok("post_results", after="2026-01-01", limit=1)
        api = agent.sandbox.app
        assert api.most_at_once <= 4
        assert set(api.asked) == set(list_published(agent, 10))
        (missing,) = data["missing"]
        left = len(list_published(agent, 1000)) - 10
        assert missing["reason"].startswith(
            f"{left} older posts of this window were not read, because one call reads at most 10"
        )
        assert f"Missing: {missing['reason']}." in text
        before = missing["reason"].rpartition("before ")[2]
        _, rest = await agent.expect_ok("post_results", after="2026-01-01", before=before)
        assert set(api.asked[10:]) == set(list_published(agent, 20)[10:])
        assert rest["totals"]["posts"] == 10
    assert data["totals"]["posts"] == 10


async def test_posts_without_results_are_named(agent):
    _, draft = await agent.expect_ok("create_post", content="Draft", platforms=["linkedin"])
    _, moved = await agent.expect_ok("reschedule_post", post_id=draft["post_id"], scheduled_at="2026-12-01T10:00")
    out = list_published(agent, 1)
    ids = [moved["post_id"], draft["post_id"], "nowhere", *out]
    _, data = await agent.expect_ok("post_results", post_ids=ids)
    assert [post["id"] for post in data["posts"]] == out
    assert data["missing"] == [
        {"post_id": moved["post_id"], "reason": "is scheduled, so it has no results"},
        {"post_id": draft["post_id"], "reason": f"was replaced by {moved['post_id']} when it was rescheduled"},
        {"post_id": "nowhere", "reason": "is not a post of this organization"},
    ]


async def test_failure_of_one_post_leaves_the_others(connect_agent):
    async with connect_agent(through=Metrics) as agent:
        first, second = list_published(agent, 2)
        agent.sandbox.app.replies[first] = 500
        text, data = await agent.expect_ok("post_results", post_ids=[first, second])
    assert [post["id"] for post in data["posts"]] == [second]
    (missing,) = data["missing"]
    assert missing["post_id"] == first
    assert "failed (500)" in missing["reason"]
    assert f"Missing: {first} the API" in text


async def test_failure_of_all_posts_is_an_error(connect_agent):
    async with connect_agent(through=Metrics) as agent:
        first, second = list_published(agent, 2)
        agent.sandbox.app.replies |= {first: 500, second: 500}
        words = await agent.expect_error("post_results", post_ids=[first, second])
    assert words.startswith("Results not read: the API, or a gateway before it, failed (500).")


async def test_slow_posts_are_reported_missing(connect_agent, monkeypatch):
    """The rest is returned."""
    monkeypatch.setattr(results, "DEADLINE_SECONDS", 0)
    async with connect_agent(through=Metrics) as agent:
        first, second = list_published(agent, 2)
        agent.sandbox.app.replies[first] = "never"
        _, data = await agent.expect_ok("post_results", post_ids=[first, second])
    assert {"post_id": first, "reason": "the time of this call was over"} in data["missing"]
    assert len(data["posts"]) + len(data["missing"]) == 2


async def test_missing_endpoint_is_reported_in_one_sentence(agent):
    set_vendor_endpoints(agent.sandbox.store, on=False)
    words = await agent.expect_error("post_results", after="2026-08-01")
    assert agent.format_text(words) == snapshot("""\
Results not read: this TimeToPost account's API has no figures of single posts (404); nothing was changed, and
    retrying won't help.\
""")


async def test_ids_and_a_window_are_refused_together(agent):
    words = await agent.expect_error("post_results", post_ids=["p1"], after="2026-08-01")
    assert words == "Results not read: pass post_ids, or a window by after and before, and not both. Nothing was sent."


@pytest.mark.parametrize(
    ("reply", "shown", "accounts"),
    [
        (make_figures(likes=3), {"likes": 3}, 1),
        ({"metrics": None, "accounts": [{"accountId": "a", "platform": "x", "likes": 2}]}, {"likes": 2}, 1),
        ({"metrics": {"replies": 4, "engagementRate": 7.5}}, {"comments": 4, "rate": 7.5}, 1),
        ({"metrics": {}}, None, 0),
        (
            {"metrics": {"likes": "12", "views": "1,204", "clicks": None, "shares": True, "saves": [1]}},
            {"likes": 12},
            1,
        ),
        (
            {"metrics": {"likes": -3, "views": 1e300, "clicks": "NaN", "saves": 2.0, "engagementRate": -0.1}},
            {"saves": 2},
            1,
        ),
        ({"metrics": {"likes": 10**15 - 1, "reach": 5, "engagementRate": "Infinity"}}, {"likes": 10**15 - 1}, 1),
        ({"data": {"likes": 4}}, {"likes": 4}, 1),
        ({"metrics": [{"accountId": "a", "likes": 2}, {"accountId": "a", "likes": None}, "odd"]}, {"likes": 2}, 1),
    ],
)
async def test_figures_missing_from_the_api_stay_unknown(connect_agent, reply, shown, accounts):
    """With one account, the post's figures are that account's."""
    async with connect_agent(through=Metrics) as agent:
        post_id = next(
            each for each in list_published(agent, 50) if len(json.loads(agent.read_row(each)["media_urls"])) < 9
        )
        with agent.sandbox.store.writing() as db:
            db.execute("DELETE FROM post_targets WHERE post_id = ? AND position > 0", (post_id,))
        agent.sandbox.app.replies[post_id] = reply
        text, data = await agent.expect_ok("post_results", post_ids=[post_id])
    (post,) = data["posts"]
    assert post.get("figures") == shown
    assert len(post["accounts"]) == accounts
    if "rate" in (shown or {}):
        assert "rate 7.5 (on the API's own scale)" in text


async def test_posts_without_the_figure_come_after_those_with_it(connect_agent):
    async with connect_agent(through=Metrics) as agent:
        ids = list_published(agent, 4)
        replies = [
            make_figures(likes=1),
            make_figures(clicks=900),
            {"metrics": None, "accounts": []},
            make_figures(clicks=0, likes=9),
        ]
        agent.sandbox.app.replies |= dict(zip(ids, replies, strict=True))
        _, data = await agent.expect_ok("post_results", post_ids=ids, sort_by="likes")
    assert [post["id"] for post in data["posts"]] == [ids[3], ids[0], ids[1], ids[2]]


def test_sum_of_unknown_figures_is_unknown():
    assert add_figures([]) is None
    assert add_figures([Figures(likes=1), Figures(likes=2, rate=0.5)]) == Figures(likes=3)
