"""The gallery: the panels with recorded data, as `ttp-mcp sandbox` serves them."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.resources import files
from pathlib import Path

import httpx2
import pytest
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.browser import AXE, find_violations, needs_chromium, serve_app, set_size
from ttp_mcp.sandbox import Sandbox
from ttp_mcp.server.panels.gallery import create_pages
from ttp_mcp.tools import every_tool

pytestmark = pytest.mark.requirement("panels.gallery")

RECORDED = json.loads(files("ttp_mcp.server.panels.gallery").joinpath("recorded.json").read_text("utf-8"))
EXAMPLES = {each["name"]: each for each in RECORDED["examples"]}
# Words that each example shows.
WORDS = {
    "calendar": "Week of 23 November 2026",
    "plan": "3 posts proposed",
    "post": "Scheduled",
    "check": "As a thread of 2 on X",
    "times": "Wednesday",
    "results": "Most impressions",
    "summary": "Engagement",
}


@pytest.fixture
def origin(demo_folder: Path) -> Iterator[str]:
    """Address of a sandbox with the gallery."""
    with ExitStack() as opened:
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        sandbox = opened.enter_context(Sandbox(demo_folder, api_origin=address, pages=create_pages()))
        opened.enter_context(serve_app(sandbox.app, listener))
        yield address


@pytest.mark.browser
@needs_chromium
@pytest.mark.requirement("panels.accessible")
@pytest.mark.parametrize("name", WORDS)
def test_example_is_shown_without_a_client(browser: webdriver.Chrome, origin: str, name: str) -> None:
    """And says that nothing can be changed."""
    set_size(browser, 1000)
    browser.get("about:blank")
    browser.get_log("browser")
    browser.get(f"{origin}/panels/#{name}")
    wait = WebDriverWait(browser, 10, 0.05)
    text = "return document.querySelector('main')?.innerText ?? ''"
    browser.switch_to.frame("view")
    wait.until(lambda _: WORDS[name] in browser.execute_script(text))
    browser.switch_to.default_content()
    assert EXAMPLES[name]["tool"] in browser.execute_script("return document.querySelector('#call').innerText")
    if AXE.is_file():
        assert find_violations(browser) == []
    assert browser.get_log("browser") == []


@pytest.mark.browser
@needs_chromium
def test_recorded_panel_refuses_to_change_anything(browser: webdriver.Chrome, origin: str) -> None:
    """In words that lead to a client."""
    browser.get("about:blank")
    browser.get(f"{origin}/panels/#plan")
    wait = WebDriverWait(browser, 10, 0.05)
    browser.switch_to.frame("view")
    click = "const apply = document.querySelector('[data-key=apply]'); apply?.click(); return apply !== null"
    wait.until(lambda _: browser.execute_script(click))
    text = "return document.querySelector('main')?.innerText ?? ''"
    wait.until(lambda _: "nothing can be changed here" in browser.execute_script(text))
    browser.switch_to.default_content()


def test_gallery_pages_are_confined(origin: str) -> None:
    """Panels are sandboxed and load nothing; the gallery loads only its own files, under a loopback name."""
    panel = httpx2.get(f"{origin}/panels/view/calendar.html").headers["content-security-policy"]
    assert panel.startswith("sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'")
    assert "script-src 'self';" in httpx2.get(f"{origin}/panels/").headers["content-security-policy"]
    assert httpx2.get(f"{origin}/panels/", headers={"host": "evil.example"}).status_code == 421
    assert httpx2.post(f"{origin}/panels/").status_code == 405


def test_recorded_answers_have_the_shape_of_todays_tools() -> None:
    """Otherwise: python scripts/record_panels.py."""
    outputs = {tool.name: tool.output for tool in every_tool()}
    named = {tool.panel for tool in every_tool() if tool.panel}
    assert {each["panel"] for each in RECORDED["examples"]} == named
    for each in RECORDED["examples"]:
        outputs[each["tool"]].model_validate(each["result"]["structuredContent"])
    for post in RECORDED["posts"].values():
        outputs["get_post"].model_validate(post["structuredContent"])
