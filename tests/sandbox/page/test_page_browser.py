"""The page in Chromium, with the real servers on two ports of this machine."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from selenium import webdriver

from tests.support.browser import find_violations, needs_axe, needs_chromium, open_browser, serve_app, set_size
from ttp_mcp.sandbox import ManualClock, Sandbox

HOSTILE = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><b id=owned>'\"></style>"
)
RIGHT_TO_LEFT = "مرحبا \u202eevil\u2066 " + "W" * 900 + " 👩‍👩‍👧‍👦"
PATHS = (
    "",
    "/week",
    "/month",
    "/drafts",
    "/accounts",
    "/media",
    "/feeds",
    "/best-times",
    "/activity",
    "/day/2026-06-24",
)
# Everything that is asked of a page, in one round trip.
FACTS = """
const all = selector => [...document.querySelectorAll(selector)];
const named = node => node.getAttribute('aria-label') || node.textContent.trim() || node.querySelector('img[alt]:not([alt=""])');
const levels = all('h1,h2,h3,h4,h5,h6').map(node => Number(node.tagName[1]));
return {
  title: document.title,
  lang: document.documentElement.lang,
  tooWide: document.documentElement.scrollWidth - window.innerWidth,
  headings: levels.filter(level => level === 1).length,
  skipped: levels.some((level, at) => at > 0 && level > levels[at - 1] + 1),
  withoutAlt: all('img:not([alt])').length,
  broken: all('img').filter(node => node.loading !== 'lazy' && !(node.complete && node.naturalWidth)).length,
  nameless: all('a, button').filter(node => !named(node)).length,
  tables: all('table').filter(node => !node.caption || node.querySelector('th:not([scope])')).length,
  landmarks: ['main', 'header', 'nav', 'footer'].filter(name => !document.querySelector(name)).length,
  spilled: all('.status, .when, time, .mark, h1, h2, h3').filter(node => {
    const box = node.closest('.card, .cell, .account, .publication, .panel, .scroll, .day, main');
    return box && node.getBoundingClientRect().right > box.getBoundingClientRect().right + 1;
  }).length,
  intruders: all('#owned, script, main style, [onerror], [style]').length,
  copies: all('[id]').length - new Set(all('[id]').map(node => node.id)).size,
};
"""
EXPECTED = {
    "lang": "en",
    "headings": 1,
    "skipped": False,
    "withoutAlt": 0,
    "broken": 0,
    "nameless": 0,
    "tables": 0,
    "landmarks": 0,
    "spilled": 0,
    "intruders": 0,
    "copies": 0,
}

pytestmark = [pytest.mark.browser, pytest.mark.requirement("sandbox.page.browser"), needs_chromium]


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[str]:
    """Address of a demo workspace that also holds hostile words."""
    clock = ManualClock(datetime(2026, 6, 24, 9, 30, tzinfo=UTC))
    with ExitStack() as opened:
        listeners = [opened.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        api, storage = [f"http://127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
        sandbox = opened.enter_context(Sandbox(tmp_path / "data", clock=clock, api_origin=api, storage_origin=storage))
        fill_workspace(sandbox)
        opened.enter_context(serve_app(sandbox.app, listeners[0]))
        opened.enter_context(serve_app(sandbox.storage_app, listeners[1]))
        yield api


def fill_workspace(sandbox: Sandbox) -> None:
    """Put hostile text into every place that can hold text."""
    at = round((sandbox.clock.now() + timedelta(hours=3)).timestamp() * 1000)
    with sandbox.store.writing() as db:
        account = db.execute("SELECT id FROM accounts WHERE organization_id = 'org_harbor_cafe' LIMIT 1").fetchone()[
            "id"
        ]
        for number, words in enumerate((HOSTILE, RIGHT_TO_LEFT)):
            db.execute(
                "INSERT INTO posts (id, organization_id, content, status, scheduled_at, created_at, updated_at, thread, media_urls) "
                "VALUES (?, 'org_harbor_cafe', ?, 'scheduled', ?, 0, 0, json_array(?), json_array('https://elsewhere.example/x.png'))",
                (f"hostile_{number}", words, at, words[:280]),
            )
            db.execute(
                "INSERT INTO post_targets (post_id, account_id, position, status, error) VALUES (?, ?, 0, 'failed', ?)",
                (f"hostile_{number}", account, words),
            )
            db.execute(
                "INSERT INTO activity (at, organization_id, token_label, method, path, status, summary) "
                "VALUES (?, 'org_harbor_cafe', ?, 'GET', ?, 200, ?)",
                (at, words, words, words),
            )
        db.execute(
            "UPDATE publications SET content = ? WHERE published_at = (SELECT max(published_at) FROM publications)",
            (HOSTILE + RIGHT_TO_LEFT,),
        )
        db.execute("UPDATE accounts SET name = ?, handle = ? WHERE platform = 'tiktok'", (HOSTILE, RIGHT_TO_LEFT))


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """Chromium with an empty profile."""
    with open_browser(tmp_path / "profile") as driver:
        yield driver


def test_every_page_fits_and_stays_harmless(browser: webdriver.Chrome, origin: str) -> None:
    """Wide, narrow and dark: nothing to scroll sideways, nothing logged, nothing run, a name for everything."""
    base = f"{origin}/o/org_harbor_cafe"
    pages = [*(f"{base}{path}" for path in PATHS), f"{base}/posts/hostile_0", f"{base}/posts/hostile_1", f"{origin}/"]
    for width, scheme in ((1440, "light"), (360, "dark")):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        for page in pages:
            browser.get(page)
            found = browser.execute_script(FACTS)
            assert found.pop("title").endswith("TimeToPost sandbox"), page
            assert found.pop("tooWide") <= 0, (page, width)
            assert (page, found) == (page, EXPECTED)
            assert (page, browser.get_log("browser")) == (page, [])


def test_pages_fit_around_layout_breakpoints(browser: webdriver.Chrome, origin: str) -> None:
    """Nothing overflows its box."""
    for width in (320, 740, 830, 840, 1080, 1100, 1340, 1350, 1600, 2200):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
        )
        for path in ("", "/week", "/month", "/best-times"):
            browser.get(f"{origin}/o/org_harbor_cafe{path}")
            found = browser.execute_script(FACTS)
            assert (path, width, found["tooWide"] <= 0, found["spilled"]) == (path, width, True, 0)


def test_empty_pages_and_refusals_fit_too(browser: webdriver.Chrome, origin: str) -> None:
    """A missing page is a page of its own."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    browser.get(f"{origin}/o/org_nordlicht/week/2031-01-01")
    assert browser.execute_script(FACTS)["tooWide"] <= 0
    browser.get(f"{origin}/nowhere")
    found = browser.execute_script(FACTS)
    assert (found["headings"], found["tooWide"] <= 0) == (1, True)


@needs_axe
@pytest.mark.requirement("panels.accessible")
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
def test_no_page_has_an_accessibility_violation(
    browser: webdriver.Chrome, origin: str, width: int, scheme: str
) -> None:
    """axe-core on every page, including a missing one."""
    set_size(browser, width)
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    base = f"{origin}/o/org_harbor_cafe"
    for page in [*(f"{base}{path}" for path in PATHS), f"{base}/posts/hostile_0", f"{origin}/nowhere"]:
        browser.get(page)
        assert (page, find_violations(browser)) == (page, [])
