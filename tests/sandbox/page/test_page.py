"""The page of the sandbox."""

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import httpx2
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.sandbox.page import text as page_text
from ttp_mcp.sandbox.page.text import is_followable

HARBOR = "/o/org_harbor_cafe"
TEMPLATES = Path(page_text.__file__).with_name("templates")
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> \"'></style></bdi>&lt;"
pytestmark = pytest.mark.requirement("sandbox.page")


def open_visitor(sandbox: Sandbox, host: str = "127.0.0.1:8765") -> httpx2.AsyncClient:
    """A browser without a token."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(sandbox.app), base_url=f"http://{host}")


@pytest.fixture
async def page(sandbox: Sandbox) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser before the demo workspace."""
    async with open_visitor(sandbox) as client:
        yield client


@pytest.fixture
async def empty_page(empty_workspace: Sandbox) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser before the empty workspace."""
    async with open_visitor(empty_workspace) as client:
        yield client


class Reader(HTMLParser):
    """Collect elements with their attributes, and the text between them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.pieces: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        """All text, as a reader sees it."""
        return re.sub(r"\s+", " ", " ".join(self.pieces))

    def links(self) -> list[str]:
        """Where the page leads."""
        return [attributes["href"] or "" for tag, attributes in self.elements if tag == "a" and "href" in attributes]


def add_post(
    sandbox: Sandbox,
    content: str,
    at: datetime | None,
    *,
    organization: str = "org_harbor_cafe",
    status: str = "scheduled",
    accounts: int = 1,
    **more: object,
) -> str:
    """Put a post into the data; returns its id."""
    with sandbox.store.writing() as db:
        number = db.execute("SELECT count(*) FROM posts").fetchone()[0]
        post_id = f"post_{number}"
        due = None if at is None else round(at.timestamp() * 1000)
        values = {"media_urls": [], "thread": [], "platform_data": {}, **more}
        db.execute(
            "INSERT INTO posts (id, organization_id, content, status, scheduled_at, created_at, updated_at, media_urls, thread, "
            "platform_data) VALUES (?, ?, ?, ?, ?, 0, 0, ?, ?, ?)",
            (post_id, organization, content, status, due, *(json.dumps(value) for value in values.values())),
        )
        rows = db.execute(
            "SELECT id FROM accounts WHERE organization_id = ? ORDER BY position LIMIT ?", (organization, accounts)
        ).fetchall()
        db.executemany(
            "INSERT INTO post_targets (post_id, account_id, position, status) VALUES (?, ?, ?, 'pending')",
            [(post_id, row["id"], position) for position, row in enumerate(rows)],
        )
    return post_id


async def read_page(client: httpx2.AsyncClient, path: str, status: int = 200) -> Reader:
    """Fetch a page."""
    answer = await client.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Reader(answer.text)


# The demo workspace


async def test_first_page_shows_what_needs_care_and_the_week(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """A newcomer's first view."""
    add_post(sandbox, "Tomorrow at the harbor", datetime(2026, 6, 25, 10, tzinfo=UTC))
    add_post(sandbox, "Not everywhere", datetime(2026, 6, 24, 8, tzinfo=UTC), status="partial")
    with sandbox.store.reading() as db:
        [waiting] = db.execute(
            "SELECT count(*) FROM posts WHERE status = 'scheduled' AND organization_id = 'org_harbor_cafe'"
        ).fetchone()
    found = await read_page(page, "/")
    assert "Sandbox – nothing here is public" in found.text.replace("Sandbox  –", "Sandbox –")
    assert "Wed 24 Jun, 11:30" in found.text
    assert "Europe/Paris" in found.text
    assert "@harborcafe_berlin on X has lost its connection" in found.text
    assert "Wed 24 Jun, 10:00 Partial Not everywhere" in found.text
    assert "12:00 Scheduled Tomorrow at the harbor" in found.text
    assert f"{HARBOR}/week/2026-06-22" in found.links()
    assert f"Scheduled {waiting} waiting now" in found.text
    assert "Nordlicht Studio" in found.text
    assert [tag for tag, _ in found.elements].count("h1") == 1


async def test_every_page_of_the_navigation_answers(page: httpx2.AsyncClient) -> None:
    """Each marks its place."""
    first = await read_page(page, HARBOR)
    links = [link for link in first.links() if link.startswith(HARBOR)]
    assert len(links) > 20
    for link in dict.fromkeys(links):
        found = await read_page(page, link)
        tags = [tag for tag, _ in found.elements]
        assert tags.count("h1") == 1
        assert tags.count("main") == 1
        assert all("alt" in attributes for tag, attributes in found.elements if tag == "img")


async def test_week_shows_seven_days_with_today_marked(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """Any day selects its week; times are local."""
    add_post(sandbox, "Roasting day", datetime(2026, 6, 26, 5, 15, tzinfo=UTC))
    found = await read_page(page, f"{HARBOR}/week/2026-06-25")
    assert "22 Jun – 28 Jun 2026" in found.text
    assert "Today" in found.text
    assert "07:15 Scheduled Roasting day" in found.text
    assert {f"{HARBOR}/week/2026-06-18", f"{HARBOR}/week/2026-07-02"}.isdisjoint(found.links())
    assert {f"{HARBOR}/week/2026-06-15", f"{HARBOR}/week/2026-06-29"} <= set(found.links())
    assert (await read_page(page, f"{HARBOR}/week")).text == (await read_page(page, f"{HARBOR}/week/2026-06-24")).text


async def test_month_shows_whole_weeks(page: httpx2.AsyncClient) -> None:
    """June 2026 begins on a Monday and ends on a Tuesday: 35 days."""
    found = await read_page(page, f"{HARBOR}/month/2026-06")
    days = [
        attributes["href"]
        for _, attributes in found.elements
        if (attributes.get("href") or "").startswith(f"{HARBOR}/day/")
    ]
    assert days[0] == f"{HARBOR}/day/2026-06-01"
    assert days[-1] == f"{HARBOR}/day/2026-07-05"
    assert len(set(days)) == 35
    assert {f"{HARBOR}/month/2026-05", f"{HARBOR}/month/2026-07"} <= set(found.links())
    assert (await read_page(page, f"{HARBOR}/month")).text == found.text


async def test_day_of_the_clock_change_holds_its_25_hours(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """The last minute of 25 October in Paris is 22:59 UTC."""
    add_post(sandbox, "The last minute", datetime(2026, 10, 25, 22, 59, tzinfo=UTC))
    add_post(sandbox, "The next day", datetime(2026, 10, 25, 23, 0, tzinfo=UTC))
    found = await read_page(page, f"{HARBOR}/day/2026-10-25")
    assert "23:59 Scheduled The last minute" in found.text
    assert "The next day" not in found.text


async def test_thread_is_shown_whole(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """With its parts in order, and the platform data."""
    post_id = add_post(
        sandbox,
        "One",
        datetime(2026, 6, 26, 9, tzinfo=UTC),
        thread=["Two", "Three"],
        platform_data={"tiktok": {"privacy": "SELF_ONLY"}},
    )
    found = await read_page(page, f"{HARBOR}/posts/{post_id}")
    assert "Thread Scheduled for Fri 26 Jun, 11:00 Text One Two Three" in found.text
    assert '"privacy": "SELF_ONLY"' in found.text
    assert "2026-06-26 09:00:00 UTC" in found.text
    assert "Thread of 3" in (await read_page(page, f"{HARBOR}/week")).text


async def test_partial_post_shows_the_result_on_each_account(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """Where it went with its figures, and why not to the other."""
    with sandbox.store.reading() as db:
        post_id = db.execute("SELECT id FROM posts WHERE status = 'partial'").fetchone()["id"]
    found = await read_page(page, f"{HARBOR}/posts/{post_id}")
    assert "Partial was due" in found.text
    assert "The connection of @harborcafe_berlin has expired. Reconnect the account" in found.text
    assert any(link.startswith("https://instagram.example/p/") for link in found.links())
    assert any(attributes.get("alt") for tag, attributes in found.elements if tag == "img")


@pytest.mark.requirement("sandbox.metrics")
async def test_post_shows_the_figures_of_the_api(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """Of each account and in total; a dash before the first sync."""
    own = {"Authorization": f"Bearer {sandbox.token}"}
    posts = (await page.get("/api/posts", headers=own)).json()["posts"]
    post_id = next(post["id"] for post in posts if post["status"] == "published" and len(post["accountIds"]) == 2)
    answer = (await page.get(f"/api/analytics/metrics/{post_id}", headers=own)).json()
    found = await read_page(page, f"{HARBOR}/posts/{post_id}")
    for part in (*answer["accounts"], answer["metrics"]):
        figures = [f"{name.capitalize()} {part[name]:,}" for name in ("views", "likes", "comments", "shares", "saves")]
        assert " ".join(figures) in found.text
        assert f"Impressions {part['impressions']:,} Rate {100 * part['engagementRate']:.1f} %" in found.text
    with sandbox.store.writing() as db:
        db.execute("UPDATE publications SET measured_at = published_at WHERE post_id = ?", (post_id,))
    assert "Views – Likes –" in (await read_page(page, f"{HARBOR}/posts/{post_id}")).text


async def test_drafts_are_listed_and_shown(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """They have no time."""
    post_id = add_post(sandbox, "An idea", None, status="draft")
    found = await read_page(page, f"{HARBOR}/drafts")
    assert "No time yet Draft An idea" in found.text
    assert "Draft without a time" in (await read_page(page, f"{HARBOR}/posts/{post_id}")).text


async def test_accounts_show_their_health(page: httpx2.AsyncClient) -> None:
    """The expired one says what to do."""
    found = await read_page(page, f"{HARBOR}/accounts")
    assert "6 accounts. 1 connection expired." in found.text
    assert "Expired Posts to this account fail." in found.text
    assert found.text.count("Connected until") == 5
    # The address that answers name for reconnecting an account.
    assert (await read_page(page, "/dashboard/settings?tab=integrations")).text == found.text
    healthy = await read_page(page, "/o/org_nordlicht/accounts")
    assert "All connections are in order." in healthy.text


async def test_account_that_never_expires_shows_no_end(
    empty_page: httpx2.AsyncClient, connect_account: Callable[..., str]
) -> None:
    """This one has published nothing."""
    connect_account("mastodon")
    found = await read_page(empty_page, "/o/org_empty/accounts")
    assert "1 account. All connections are in order." in found.text
    assert "Followers 1,000 Renews itself yes Last published never Id acc_mastodon" in found.text


async def test_media_are_shown_from_the_storage(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """Pictures, videos, and what was never uploaded."""
    now = round(sandbox.clock.now().timestamp() * 1000)
    rows = [
        ("a/film.mp4", "film.mp4", "video/mp4", 3_400_000, now + 1, now),
        ("a/big.mp4", "big.mp4", "video/mp4", 2_500_000_000, now + 1, now),
        ("a/tiny.gif", "tiny.gif", "image/gif", 43, now + 1, now),
        ("a/waits.png", "waits.png", "image/png", 25_000, now + 1, None),
        ("a/late.png", "late.png", "image/png", 2500, now, None),
    ]
    with sandbox.store.writing() as db:
        db.executemany(
            "INSERT INTO media (key, organization_id, filename, content_type, size, created_at, expires_at, uploaded_at) "
            f"VALUES (?, 'org_harbor_cafe', ?, ?, ?, {now}, ?, ?)",
            rows,
        )
    found = await read_page(page, f"{HARBOR}/media")
    assert "film.mp4 3.4 MB" in found.text
    assert "big.mp4 2.5 GB" in found.text
    assert "tiny.gif 43 bytes" in found.text
    assert "Waiting for its upload waits.png 25 KB" in found.text
    assert "Never uploaded: the time for it ran out late.png 2.5 KB" in found.text
    sources = {attributes["src"] for tag, attributes in found.elements if tag in ("img", "video")}
    assert f"{sandbox.storage.origin}/a/film.mp4" in sources
    assert f"{sandbox.storage.origin}/a/waits.png" not in sources


async def test_pictures_are_found_from_any_port(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """A data folder outlives the origin it was filled under; files elsewhere are linked, not loaded."""
    with sandbox.store.writing() as db:
        key = db.execute("SELECT key FROM media WHERE organization_id = 'org_harbor_cafe' ORDER BY key").fetchone()[
            "key"
        ]
        db.execute(
            "INSERT INTO media VALUES ('a/film.mp4', 'org_harbor_cafe', 'film.mp4', 'video/mp4', 1, 0, 0, 0, NULL)"
        )
    at = datetime(2026, 6, 26, 9, tzinfo=UTC)
    post_id = add_post(sandbox, "Moved", at, media_urls=[f"http://127.0.0.1:1/{key}", "https://cdn.example/x.png"])
    add_post(sandbox, "Film", at, media_urls=["http://127.0.0.1:1/a/film.mp4"])
    add_post(sandbox, "Elsewhere", at, media_urls=["https://[broken", "https://cdn.example/"])
    week = await read_page(page, f"{HARBOR}/week")
    assert "Film video" in week.text
    assert "Elsewhere file" in week.text
    found = await read_page(page, f"{HARBOR}/posts/{post_id}")
    sources = [attributes["src"] for tag, attributes in found.elements if tag == "img"]
    assert sources == ["/page/icon.svg", f"{sandbox.storage.origin}/{key}"]
    assert "https://cdn.example/x.png" in found.links()


async def test_feeds_show_what_a_follower_sees(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """Of all accounts or one, page by page, and also what was deleted here."""
    with sandbox.store.writing() as db:
        account = db.execute("SELECT id FROM accounts WHERE handle = '@harborcafe' AND platform = 'twitter'").fetchone()
        newest = db.execute("SELECT * FROM publications ORDER BY published_at DESC LIMIT 1").fetchone()
        db.execute("DELETE FROM posts WHERE id = ?", (newest["post_id"],))
        db.execute(
            "UPDATE publications SET likes = 1, thread = '[\"And more\"]' WHERE organization_id = 'org_harbor_cafe' AND "
            "published_at = ?",
            (newest["published_at"],),
        )
    found = await read_page(page, f"{HARBOR}/feeds")
    assert "Deleted in TimeToPost; the network still shows it." in found.text
    assert "like 1 " in found.text
    assert "And more" in found.text
    assert [tag for tag, _ in found.elements].count("article") == 20
    assert f"{HARBOR}/feeds?page=2" in found.links()
    second = await read_page(page, f"{HARBOR}/feeds?page=2")
    assert {f"{HARBOR}/feeds", f"{HARBOR}/feeds?page=1", f"{HARBOR}/feeds?page=3"} <= set(second.links())
    assert "There is nothing older" in (await read_page(page, f"{HARBOR}/feeds?page=99")).text
    one = await read_page(page, f"{HARBOR}/feeds/{account['id']}")
    assert "X, 3,900 followers. The network is simulated." in one.text
    assert "TikTok ·" not in one.text


async def test_best_times_are_those_of_the_analytics(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """The same hours and days as the API answers, beside a table of all."""
    answer = await page.get("/api/analytics/optimal-times", headers={"Authorization": f"Bearer {sandbox.token}"})
    best = answer.json()["recommendation"]
    found = await read_page(page, f"{HARBOR}/best-times")
    for entry in best["bestHours"]:
        assert f"{entry['hour']:02}:00 {entry['score']:.2f}" in found.text
    assert f"{best['bestDays'][0]['day']} 1.00" in found.text
    assert best["message"] in found.text
    cells = [attributes for tag, attributes in found.elements if tag == "td"]
    assert len(cells) % 7 == 0
    assert sum(cell["class"] == "h5" for cell in cells) >= 1
    assert " 100 " in found.text


async def test_single_publication_colors_one_field(
    empty_workspace: Sandbox, empty_page: httpx2.AsyncClient, connect_account: Callable[..., str], clock: ManualClock
) -> None:
    account = connect_account("mastodon")
    add_post(empty_workspace, "Once", clock.now() + timedelta(hours=1), organization="org_empty")
    clock.move(7200)
    empty_workspace.tick()
    clock.move(3 * 86400)
    found = await read_page(empty_page, "/o/org_empty/best-times")
    assert [cell["class"] for tag, cell in found.elements if tag == "td"].count("h5") == 1
    assert "Mastodon · Wed 24 Jun" in (await read_page(empty_page, f"/o/org_empty/feeds/{account}")).text.replace(
        "Mastodon @acc_mastodon", "Mastodon"
    )


async def test_plan_without_best_times_says_so(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """As the API refuses them."""
    with sandbox.store.writing() as db:
        db.execute("UPDATE organizations SET plan = 'small'")
    assert "The small plan does not include them." in (await read_page(page, f"{HARBOR}/best-times")).text


async def test_activity_shows_requests_and_their_outcomes(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """Done, refused and failed; also what no token was accepted for."""
    own = {"Authorization": f"Bearer {sandbox.token}"}
    await page.get("/api/posts", headers=own)
    await page.get("/api/posts")
    await page.get("/api/posts", headers={**own, "x-ttp-org": "org_nordlicht"})
    with sandbox.store.writing() as db:
        db.execute(
            "INSERT INTO activity (at, organization_id, token_label, method, path, status, summary) "
            "VALUES (0, 'org_harbor_cafe', NULL, 'GET', '/api/x', 503, 'Read x')"
        )
    found = await read_page(page, f"{HARBOR}/activity")
    assert "List posts GET /api/posts Done (200) sandbox" in found.text
    assert "List posts GET /api/posts Refused (401) none accepted" in found.text
    assert "Thu 1 Jan 1970, 01:00 Read x GET /api/x Failed (503)" in found.text
    assert found.text.count("Done (200)") == 1


# Nothing, and very much


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "No requests yet"),
        ("/week", "Nothing is planned this week"),
        ("/month", "Nothing in this month"),
        ("/day/2026-06-24", "No posts on this day"),
        ("/drafts", "No drafts"),
        ("/accounts", "No accounts yet"),
        ("/media", "No files here"),
        ("/feeds", "Nothing is published here"),
        ("/best-times", "No history yet"),
        ("/activity", "No requests yet"),
    ],
)
async def test_empty_workspace_explains_the_first_steps(empty_page: httpx2.AsyncClient, path: str, words: str) -> None:
    assert words in (await read_page(empty_page, f"/o/org_empty{path}")).text


async def test_crowded_week_shows_the_first_and_counts_the_rest(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """500 posts on one day: eight in the week, three in the month, all of them page by page."""
    start = datetime(2026, 8, 5, 6, tzinfo=UTC)
    for number in range(500):
        add_post(sandbox, f"Post {number}", start + timedelta(minutes=number), accounts=6)
    week = await read_page(page, f"{HARBOR}/week/2026-08-05")
    assert [tag for tag, _ in week.elements].count("article") == 8
    assert "and 492 more" in week.text
    assert "and 2 more" in week.text
    assert "and 497 more" in (await read_page(page, f"{HARBOR}/month/2026-08")).text
    last = await read_page(page, f"{HARBOR}/day/2026-08-05?page=9")
    assert "Post 499" in last.text
    assert "Page 9 of 9" in last.text
    assert f"{HARBOR}/day/2026-08-05?page=8" in last.links()
    assert f"{HARBOR}/day/2026-08-05?page=10" not in last.links()
    assert "No posts on this page" in (await read_page(page, f"{HARBOR}/day/2026-08-05?page=10")).text
    first = await read_page(page, f"{HARBOR}/day/2026-08-05?page=none")
    assert "Page 1 of 9" in first.text


async def test_workspace_without_problems_lists_none(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    assert "Needs your attention" not in (await read_page(page, "/o/org_nordlicht")).text


async def test_failed_post_or_expired_account_alone_needs_care(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    with sandbox.store.writing() as db:
        db.execute("UPDATE posts SET status = 'published' WHERE status IN ('failed', 'partial')")
    assert "Needs your attention" in (await read_page(page, HARBOR)).text


# Text stays text


@pytest.mark.requirement("sandbox.page.text")
async def test_hostile_words_stay_text_on_every_page(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """In posts, threads, names, file names, labels, paths and platform data."""
    at = sandbox.clock.now() + timedelta(hours=2)
    urls = ["javascript:alert(1)", 'https://cdn.example/"><script>alert(3)</script>']
    post_id = add_post(
        sandbox, HOSTILE, at, thread=[HOSTILE], media_urls=urls, platform_data={HOSTILE: HOSTILE}, status="scheduled"
    )
    add_post(sandbox, HOSTILE, None, status='"><script>')
    with sandbox.store.writing() as db:
        db.execute("UPDATE organizations SET name = ?", (HOSTILE,))
        db.execute("UPDATE accounts SET name = ?, handle = ?, platform = ?", (HOSTILE, HOSTILE, "<b>x"))
        db.execute("UPDATE publications SET content = ?, url = 'javascript:alert(1)', platform = '<i>'", (HOSTILE,))
        db.execute("UPDATE media SET filename = ?", (HOSTILE,))
        db.execute("UPDATE post_targets SET error = ?, url = 'data:text/html,x', status = 'failed'", (HOSTILE,))
        db.execute(
            "INSERT INTO activity (at, organization_id, token_label, method, path, status, summary) "
            "VALUES (0, 'org_harbor_cafe', ?, 'GET', ?, 200, ?)",
            (HOSTILE, HOSTILE, HOSTILE),
        )
    paths = ("", "/week", "/month", "/drafts", "/accounts", "/media", "/feeds", "/best-times", "/activity")
    for path in (*paths, "/day/2026-06-24", f"/posts/{post_id}"):
        found = await read_page(page, f"{HARBOR}{path}")
        tags = {tag for tag, _ in found.elements}
        assert tags.isdisjoint({"script", "style", "i", "b", "iframe"})
        attributes = [(name, value or "") for _, entry in found.elements for name, value in entry.items()]
        assert not [name for name, _ in attributes if name.startswith("on") or name == "style"]
        assert all(is_followable(value) for name, value in attributes if name in ("href", "src"))
        assert "<script>alert(1)</script>" in found.text


WORDS = st.text(
    st.one_of(
        st.characters(exclude_categories=[]),
        st.sampled_from("<>\"'&=/\\ `:;\u202e\u2066\u2069\x00\x1b\r\n"),
    )
)


@pytest.fixture(scope="module")
def shared_workspace() -> Iterator[Sandbox]:
    """A workspace that all examples of a property write to."""
    with Sandbox(clock=ManualClock(datetime(2026, 6, 24, 9, 30, tzinfo=UTC)), empty=True) as opened:
        with opened.store.writing() as db:
            db.execute(
                "INSERT INTO accounts VALUES ('acc', 'org_empty', 0, 'x', 'x', 'x', 'connected', NULL, 1, 1000, 0)"
            )
        add_post(opened, "x", None, organization="org_empty", status="draft")
        yield opened


@pytest.mark.requirement("sandbox.page.text")
@settings(max_examples=60, deadline=None)
@given(words=WORDS)
@example(words=HOSTILE)
@example(words="\u202egnp.exe\u2066\x00")
async def test_any_text_adds_neither_elements_nor_attributes(shared_workspace: Sandbox, words: str) -> None:
    """Texts of posts, names, errors and platforms don't change the elements of the page."""
    stored = words.encode("utf-8", "replace").decode()

    async def read_post(text: str) -> Reader:
        with shared_workspace.store.writing() as db:
            db.execute("UPDATE posts SET content = ?, platform_data = ?", (text, json.dumps({"x": text})))
            db.execute("UPDATE accounts SET name = ?, handle = ?", (text, text))
            db.execute("UPDATE post_targets SET error = ?, status = 'failed'", (text,))
            db.execute("UPDATE organizations SET name = ?", (text,))
        async with open_visitor(shared_workspace) as client:
            return await read_page(client, "/o/org_empty/posts/post_0")

    plain, found = await read_post("x"), await read_post(stored or "x")
    assert found.elements == plain.elements
    title = found.text.partition("·")[0]
    assert not re.search("[\u202a-\u202e\u2066-\u2069\x00-\x08]", title)


@pytest.mark.requirement("sandbox.page.text")
async def test_bidirectional_overrides_stay_inside_their_element(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """An override in a post ends with it; titles and labels contain none."""
    post_id = add_post(sandbox, "\u202egnp.exe", None, status="draft")
    with sandbox.store.writing() as db:
        db.execute("UPDATE media SET filename = '\u202egnp.exe'")
    html = (await page.get(f"{HARBOR}/posts/{post_id}")).text
    assert '<div dir="auto" class="text">\u202egnp.exe</div>' in html
    assert "<title>Post: gnp.exe" in html
    media = (await page.get(f"{HARBOR}/media")).text
    assert 'alt="Image gnp.exe"' in media
    assert '<bdi dir="auto">\u202egnp.exe</bdi>' in media


@pytest.mark.requirement("sandbox.page.text")
@pytest.mark.parametrize(
    ("address", "is_followed"),
    [
        ("https://example.com/a?b=c#d", True),
        ("HTTP://example.com", True),
        ("/o/x?page=2", True),
        ("#content", True),
        ("//evil.example", False),
        ("/\\evil.example", False),
        ("https:///x", False),
        ("https:\\\\x", False),
        ("javascript:alert(1)", False),
        (" javascript:alert(1)", False),
        ("java\nscript:alert(1)", False),
        ("java\x01script:alert(1)", False),
        ("data:text/html,x", False),
        ("vbscript:x", False),
        ("x.html", False),
    ],
)
async def test_only_web_addresses_are_followed(
    sandbox: Sandbox, page: httpx2.AsyncClient, address: str, is_followed: bool
) -> None:
    """Others are shown as text."""
    post_id = add_post(sandbox, "Out", sandbox.clock.now())
    with sandbox.store.writing() as db:
        db.execute("UPDATE post_targets SET url = ? WHERE post_id = ?", (address, post_id))
    found = await read_page(page, f"{HARBOR}/posts/{post_id}")
    outward = [entry["href"] for tag, entry in found.elements if tag == "a" and "rel" in entry]
    assert outward == ([address] if is_followed else [])
    assert is_followable(address) is is_followed


@pytest.mark.requirement("sandbox.page.text")
@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.html")), ids=lambda path: path.name)
def test_template_escapes_everything_and_runs_nothing(path: Path) -> None:
    """No value is marked as safe, each attribute is quoted, and there is no script, style or handler."""
    source = path.read_text(encoding="utf-8")
    assert not re.search(r"\|\s*safe\b|autoescape|Markup", source)
    assert not re.search(r"\s[\w-]+=\s*\{\{", source)
    assert not re.search(r"<(script|style|iframe|object|embed|base)\b|\s(on\w+|style|srcdoc|srcset)=", source)


@pytest.mark.requirement("sandbox.page")
def test_api_needs_no_template_engine(tmp_path: Path) -> None:
    """It is imported when the first page is served."""
    script = (
        "import sys\n"
        "from ttp_mcp.sandbox import Sandbox\n"
        "with Sandbox(empty=True) as sandbox:\n"
        "    assert sandbox.app\n"
        "print('jinja2' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "False\n"


# Who may look


@pytest.mark.requirement("sandbox.page.private")
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8765", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:8765", 200),
        ("127.8.8.8", 200),
        ("[::1]:8765", 200),
        ("sandbox.localhost", 200),
        ("demo.internal:8765", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("demo.internal.evil.example", 421),
        ("192.168.1.9:8765", 421),
        ("notlocalhost", 421),
        ("[", 421),
        ("", 421),
    ],
)
async def test_page_answers_only_to_names_of_this_machine(clock: ManualClock, host: str, status: int) -> None:
    """A site that points its name here (DNS rebinding) can read neither pages nor files."""
    with Sandbox(clock=clock, empty=True, api_origin="http://demo.internal:8765") as sandbox:
        async with open_visitor(sandbox) as client:
            for path in ("/", "/page/style.css", "/nowhere"):
                answer = await client.get(path, headers={"Host": host})
                assert answer.status_code == (404 if (path, status) == ("/nowhere", 200) else status)
                assert ("My workspace" in answer.text) is ((path, status) == ("/", 200))


@pytest.mark.requirement("sandbox.page.private")
async def test_page_of_another_organization_does_not_show_a_post(page: httpx2.AsyncClient, sandbox: Sandbox) -> None:
    """Ids of one organization are unknown in the other."""
    with sandbox.store.reading() as db:
        post = db.execute("SELECT id FROM posts WHERE organization_id = 'org_harbor_cafe' LIMIT 1").fetchone()["id"]
        account = db.execute("SELECT id FROM accounts WHERE organization_id = 'org_harbor_cafe'").fetchone()["id"]
        key = db.execute("SELECT key FROM media WHERE organization_id = 'org_harbor_cafe'").fetchone()["key"]
    await read_page(page, f"{HARBOR}/posts/{post}")
    await read_page(page, f"/o/org_nordlicht/posts/{post}", 404)
    await read_page(page, f"/o/org_nordlicht/feeds/{account}", 404)
    other = add_post(
        sandbox, "Borrowed", None, organization="org_nordlicht", media_urls=[sandbox.storage.public_url(key)]
    )
    found = await read_page(page, f"/o/org_nordlicht/posts/{other}")
    assert not [attributes for tag, attributes in found.elements if tag == "img" and key in (attributes["src"] or "")]


@pytest.mark.requirement("sandbox.page.private")
@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/apis",
        "/favicon.ico",
        "/o/org_unknown",
        "/o/org_harbor_cafe/week/yesterday",
        "/o/org_harbor_cafe/week/2026-02-30",
        "/o/org_harbor_cafe/week/1900-01-01",
        "/o/org_harbor_cafe/day/9999-12-31",
        "/o/org_harbor_cafe/month/2026-13",
        "/o/org_harbor_cafe/posts/none",
    ],
)
async def test_unknown_page_links_back(page: httpx2.AsyncClient, path: str) -> None:
    """HTML for people."""
    found = await read_page(page, path, 404)
    assert "Nothing is here" in found.text
    assert found.links() == ["/"]


@pytest.mark.requirement("sandbox.page.private")
@pytest.mark.parametrize("path", ["/api", "/api/", "/api/nowhere"])
async def test_unknown_path_of_the_api_keeps_its_own_shape(page: httpx2.AsyncClient, path: str) -> None:
    """JSON for programs."""
    answer = await page.get(path)
    assert answer.status_code == 404
    assert answer.json()["success"] is False


@pytest.mark.requirement("sandbox.page.private")
async def test_wrong_method_of_the_api_is_still_405(page: httpx2.AsyncClient) -> None:
    """The page does not shadow it."""
    assert (await page.get("/api/media/presign")).status_code == 405


@pytest.mark.requirement("sandbox.page.private")
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_page_only_reads(page: httpx2.AsyncClient, method: str) -> None:
    """No form has a target."""
    assert (await page.request(method, HARBOR)).status_code == 405


async def test_post_at_the_end_of_time_is_shown(sandbox: Sandbox, page: httpx2.AsyncClient) -> None:
    """The API takes any future time; in Paris this one is after the last date."""
    post_id = add_post(sandbox, "Finally", datetime(9999, 12, 31, 23, 59, tzinfo=UTC))
    found = await read_page(page, f"{HARBOR}/posts/{post_id}")
    assert "Fri 31 Dec 9999, 23:59" in found.text


async def test_edges_of_the_calendar_end(page: httpx2.AsyncClient) -> None:
    """The first and last week have no neighbor beyond."""
    for path in ("week/1971-01-01", "month/1971-01", "day/1971-01-01", "week/9998-12-31", "month/9998-12"):
        found = await read_page(page, f"{HARBOR}/{path}")
        for link in found.links():
            await read_page(page, link)


@pytest.mark.requirement("sandbox.page.private")
async def test_headers_restrict_the_page(page: httpx2.AsyncClient, sandbox: Sandbox) -> None:
    """No script, frame or form; nothing from elsewhere but the storage's pictures; the style is cached by its hash."""
    answer = await page.get("/")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert f"img-src 'self' {sandbox.storage.origin};" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
    [style] = [
        entry["href"] for tag, entry in Reader(answer.text).elements if tag == "link" and entry["rel"] == "stylesheet"
    ]
    assert re.fullmatch(r"/page/style\.css\?v=[0-9a-f]{12}", style or "")
    css = await page.get(style or "")
    assert css.headers["content-type"] == "text/css; charset=utf-8"
    assert css.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert "url(" not in css.text
    assert "@import" not in css.text
    assert (await page.get("/page/icon.svg")).headers["content-type"] == "image/svg+xml"


@pytest.mark.requirement("sandbox.page.private")
async def test_page_shows_neither_token_nor_signature(page: httpx2.AsyncClient, sandbox: Sandbox) -> None:
    """Not even in a post that quotes one."""
    signed = sandbox.storage.upload_url("a/b.png", "image/png", 1, 2)
    post_id = add_post(sandbox, f"{sandbox.token} {signed}", None, media_urls=[signed])
    await page.get(f"/api/posts/{sandbox.token}", headers={"Authorization": f"Bearer {sandbox.token}"})
    signature = signed.rpartition("=")[2]
    for path in (f"/posts/{post_id}", "/drafts", "/activity", ""):
        text = (await page.get(f"{HARBOR}{path}")).text
        assert sandbox.token[:16] not in text
        assert signature[:16] not in text
    assert "ttp_…" in text


# Legible


def compute_luminance(color: str) -> float:
    """Relative luminance of #rrggbb, as WCAG defines it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_contrasts_with_its_background(page: httpx2.AsyncClient, scheme: str) -> None:
    """At least 4.5 to 1 for each pair of colors in the stylesheet."""
    css = (await page.get("/page/style.css")).text
    light, dark = re.findall(r":root \{([^}]*#[^}]*)\}", css)[:2]
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light if scheme == "light" else dark))
    grounds = ("ground", "surface", "sunken")
    pairs = [(words, behind) for words in ("ink", "quiet", "accent") for behind in grounds]
    pairs += [(words, "surface") for words in ("green", "blue", "violet", "amber", "red")]
    pairs += [(words, "red-soft") for words in ("ink", "quiet", "accent", "red")]
    pairs += [("accent", "accent-soft"), ("surface", "accent"), ("banner-ink", "banner")]
    pairs += [("heat-ink", f"h{level}") for level in range(4)] + [("heat-ink-strong", f"h{level}") for level in (4, 5)]
    for words, behind in pairs:
        darker, lighter = sorted((compute_luminance(colors[words]), compute_luminance(colors[behind])))
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (words, behind)
