"""Panels in a strict host in Chromium, before a real server over the demo workspace; the clock is stopped."""

import json
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pytest
from mcp.client import Client
from mcp.shared.exceptions import MCPError
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from tests.support.browser import open_browser, serve_app, set_size
from ttp_mcp.config import Settings
from ttp_mcp.factory import create_server
from ttp_mcp.sandbox import ManualClock, Sandbox

NOW = datetime(2026, 11, 24, 8, 2, tzinfo=UTC)
HOST = Path(__file__).with_name("strict_host.html")
SECONDS = 30
# Whether the frame is as high as the panel, without a scrollbar, after it has been drawn twice: then it knows the size of its frame.
FITS = """
const done = arguments[0], root = document.documentElement;
const fits = () => Math.ceil(root.getBoundingClientRect().height) === innerHeight && root.clientWidth === innerWidth;
requestAnimationFrame(() => requestAnimationFrame(() => done(fits())));
"""
# What is wider than the panel, scrolls within it, or is a target below 44 pixels.
MISFITS = """
const shown = [...document.querySelectorAll("main *")].filter(each => each.checkVisibility());
const wide = shown.filter(each => each.getBoundingClientRect().right > innerWidth + 1 && !each.closest(".hidden"));
const scrolling = shown.filter(each => /auto|scroll/.test(getComputedStyle(each).overflowY) && each.scrollHeight > each.clientHeight);
const small = shown.filter(each => each.matches("button, input") && Math.min(each.offsetWidth, each.offsetHeight) < 44);
const root = document.documentElement;
const scrolls = root.scrollWidth > innerWidth || root.scrollHeight > innerHeight || root.clientWidth < innerWidth;
const all = {wide, scrolling, small, page: scrolls ? [root] : []};
return Object.entries(all).flatMap(([name, found]) => found.map(each => `${name}: ${each.outerHTML.slice(0, 200)}`));
"""
# The tool that opens a panel, and words that it then shows.
EXAMPLES = {
    "calendar": ("list_posts", "Week of 23 November 2026"),
    "post": ("get_post", "Scheduled"),
    "results": ("post_results", "Results of posts"),
}
Found = TypeVar("Found")


@dataclass
class Stage:
    """A panel in its host. `calls` are the tools that the host called, and how."""

    browser: webdriver.Chrome
    origin: str
    sandbox: Sandbox
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def open(self, panel: str, tool: str | None = None, *, width: int = 1000, **options: Any) -> None:
        """Open a panel as a client does after a call of `tool`, and go into its frame."""
        set_size(self.browser, width)
        chosen = {"panel": panel, "tool": tool, **options}
        self.browser.get("about:blank")
        self.browser.get(f"{self.origin}/#{quote(json.dumps(chosen))}")
        self.wait(lambda: self.log()["initialized"])
        self.enter()

    def open_example(self, panel: str, **options: Any) -> str:
        """Open a panel after a call that it is for; words that it shows once it has the answer."""
        tool, words = EXAMPLES[panel]
        arguments = {"post_id": self.posts()[0]["id"]} if tool == "get_post" else {}
        self.open(panel, tool, **{"arguments": arguments, **options})
        return words

    def enter(self) -> None:
        """Look into the panel's frame."""
        self.browser.switch_to.default_content()
        self.browser.switch_to.frame("view")

    def log(self) -> dict[str, Any]:
        """Return what the host saw."""
        return self.run_in_host("return window.log")

    def run_in_host(self, script: str, *args: Any) -> Any:
        """Run a script in the host, and return to the panel."""
        self.browser.switch_to.default_content()
        try:
            return self.browser.execute_script(script, *args)
        finally:
            self.browser.switch_to.frame("view")

    def wait(self, check: Callable[[], Found]) -> Found:
        """Wait until something is there."""
        waiting = WebDriverWait(
            self.browser, SECONDS, 0.05, ignored_exceptions=[StaleElementReferenceException, NoSuchElementException]
        )
        try:
            return waiting.until(lambda _: check())
        except TimeoutException:
            raise AssertionError(f"not seen in:\n{self.text()}\n{self.log()}\n{self.calls}") from None

    def see(self, *words: str) -> str:
        """Wait until the panel shows each of these words; its whole text."""
        self.wait(lambda: all(word in self.text() for word in words) or None)
        return self.text()

    def text(self) -> str:
        """Return the text that the panel shows."""
        return self.browser.execute_script("return document.querySelector('main').innerText")

    def button(self, name: str) -> WebElement:
        """Wait for a button with this name."""
        path = f"//button[normalize-space()={json.dumps(name)} or @aria-label={json.dumps(name)}]"
        return self.wait(lambda: next(iter(self.browser.find_elements(By.XPATH, path)), None))

    def click(self, *names: str) -> None:
        """Click buttons, one after the other, each when the frame is as high as the panel: they move before."""
        for name in names:
            self.settle_size()
            self.wait(lambda name=name: self.button(name).click() or True)

    def press(self, key: str) -> None:
        """Click the element with this key."""
        self.settle()
        self.wait(lambda: self.browser.find_element(By.CSS_SELECTOR, f"[data-key='{key}']").click() or True)

    def settle(self) -> None:
        """Wait until nothing is being loaded or done, and the frame is as high as the panel."""
        self.wait(lambda: not self.browser.find_elements(By.CSS_SELECTOR, "[aria-busy='true']"))
        self.settle_size()

    def settle_size(self) -> None:
        """Wait until the frame is as high as the panel."""
        self.wait(lambda: self.browser.execute_async_script(FITS))

    def set_frame_width(self, width: int) -> None:
        """Set the width of the panel's frame, which the panel learns later."""
        self.run_in_host("frame.style.width = `${arguments[0]}px`", width)
        self.wait(lambda: self.browser.execute_script("return window.innerWidth") == width)

    def has_button(self, name: str) -> bool:
        """Check whether there is a button with this name now."""
        path = f"//button[normalize-space()={json.dumps(name)} or @aria-label={json.dumps(name)}]"
        return bool(self.browser.find_elements(By.XPATH, path))

    def find_focused(self) -> str | None:
        """Return the key of the element that has the focus."""
        return self.browser.execute_script("return document.activeElement?.dataset.key ?? null")

    def read_copied(self) -> str:
        """Return the text in the clipboard."""
        rights = {"origin": self.origin, "permissions": ["clipboardReadWrite"]}
        self.browser.execute_cdp_cmd("Browser.grantPermissions", rights)
        self.browser.switch_to.default_content()
        try:
            self.browser.execute_script("window.focus()")
            return self.browser.execute_async_script("navigator.clipboard.readText().then(arguments[0], arguments[0])")
        finally:
            self.browser.switch_to.frame("view")

    def posts(self, status: str = "scheduled") -> list[dict[str, Any]]:
        """Return the posts that the sandbox really has, soonest first."""
        with self.sandbox.store.reading() as db:
            rows = db.execute(
                "SELECT * FROM posts WHERE organization_id = 'org_harbor_cafe' AND status = ? ORDER BY scheduled_at",
                (status,),
            )
            return [dict(row) for row in rows]

    def add_post(self, content: str, at: str, **columns: Any) -> str:
        """Add a scheduled post of the first account to the sandbox, at a UTC time; its id."""
        with self.sandbox.store.writing() as db:
            count = db.execute("SELECT count(*) FROM posts").fetchone()[0]
            account = db.execute("SELECT id FROM accounts WHERE organization_id = 'org_harbor_cafe'").fetchone()["id"]
            post = {
                "id": f"post_{count}",
                "organization_id": "org_harbor_cafe",
                "content": content,
                "status": "scheduled",
                "scheduled_at": round(datetime.fromisoformat(f"{at}:00+00:00").timestamp() * 1000),
                "created_at": 0,
                "updated_at": 0,
                **columns,
            }
            db.execute(
                f"INSERT INTO posts ({', '.join(post)}) VALUES ({', '.join('?' * len(post))})",  # names of ours
                tuple(post.values()),
            )
            db.execute(
                "INSERT INTO post_targets (post_id, account_id, position, status) VALUES (?, ?, 0, 'pending')",
                (post["id"], account),
            )
        return post["id"]

    def check_layout(self, *, while_loading: bool = False) -> None:
        """Check that nothing leaves its box, scrolls within, or is too small to touch, once the panel has loaded everything."""
        if while_loading:
            self.settle_size()
        else:
            self.settle()
        assert self.browser.execute_script(MISFITS) == []

    def writes(self) -> list[tuple[str, dict[str, Any]]]:
        """Return the calls that change something or make a plan."""
        reads = ("list_posts", "get_post", "check_post", "post_results")
        return [call for call in self.calls if call[0] not in reads]


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo workspace as it is on `NOW`, to be copied."""
    folder = tmp_path_factory.mktemp("demo") / "sandbox"
    Sandbox(folder, clock=ManualClock(NOW)).close()
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """Open Chromium once for the tests of a process."""
    with open_browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def changes() -> dict[str, Any]:
    """Settings that differ from the defaults."""
    return {}


@pytest.fixture
def stage(browser: webdriver.Chrome, demo_folder: Path, tmp_path: Path, changes: dict[str, Any]) -> Iterator[Stage]:
    """A server over the demo workspace, and a host for its panels."""
    shutil.copytree(demo_folder, tmp_path / "sandbox")
    settings = replace(Settings(zone=ZoneInfo("Europe/Paris"), state_dir=tmp_path / "state"), **changes)
    with ExitStack() as opened:
        sandbox = opened.enter_context(Sandbox(tmp_path / "sandbox", clock=ManualClock(NOW)))
        listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        staged = Stage(browser, f"http://127.0.0.1:{listener.getsockname()[1]}", sandbox)
        opened.enter_context(serve_app(create_host(settings, sandbox, staged.calls), listener, lifespan="on"))
        browser.get_log("browser")
        yield staged
        browser.switch_to.default_content()
        assert [entry for entry in browser.get_log("browser") if "favicon" not in entry["message"]] == []


def create_host(settings: Settings, sandbox: Sandbox, calls: list[tuple[str, dict[str, Any]]]) -> Starlette:
    """Create the host's web application: its page, the panel with its policy as a header, and the way to the server."""

    @asynccontextmanager
    async def connected(app: Starlette) -> AsyncIterator[None]:
        runtime = create_server(settings, sandbox)
        try:
            async with Client(runtime.server) as client:
                app.state.client = client
                yield
        finally:
            await runtime.aclose()

    async def show_host(_: Request) -> Response:
        return HTMLResponse(HOST.read_text("utf-8"))

    async def show_panel(request: Request) -> Response:
        uri = f"ui://timetopost/{request.path_params['panel']}.html"
        content = (await request.app.state.client.read_resource(uri)).contents[0]
        return HTMLResponse(content.text, headers={"Content-Security-Policy": default_policy(content.meta["ui"])})

    async def forward(request: Request) -> Response:
        asked = await request.json()
        params = asked["params"]
        try:
            if asked["method"] == "resources/read":
                result = await request.app.state.client.read_resource(params["uri"])
            else:
                calls.append((params["name"], params["arguments"]))
                result = await request.app.state.client.call_tool(params["name"], params["arguments"])
        except MCPError as problem:
            return JSONResponse({"error": problem.error.model_dump()})
        return JSONResponse({"result": result.model_dump(mode="json", by_alias=True, exclude_none=True)})

    routes = [
        Route("/", show_host),
        Route("/favicon.ico", lambda _: Response(status_code=204)),
        Route("/view/{panel}", show_panel),
        Route("/mcp", forward, methods=["POST"]),
    ]
    return Starlette(routes=routes, lifespan=connected)


def default_policy(display: dict[str, Any]) -> str:
    """Return the policy for the declared domains. Without any it allows no image, as Inspector's; the specification allows `data:`."""
    declared = " ".join(display.get("csp", {}).get("resourceDomains", []))
    inline = f"'self' 'unsafe-inline' {declared}"
    files = declared or "'none'"
    return f"default-src 'none'; script-src {inline}; style-src {inline}; img-src {files}; media-src {files}; connect-src 'none'"
