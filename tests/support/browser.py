"""Chromium, and servers for it on this machine."""

import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from starlette.types import ASGIApp

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
AXE = Path(__file__).parents[2] / ".tools" / "axe" / "node_modules" / "axe-core" / "axe.min.js"

needs_chromium = pytest.mark.skipif(
    not (shutil.which(CHROMIUM) and shutil.which(DRIVER)),
    reason=f"needs Chromium: {CHROMIUM} and {DRIVER} (Debian: chromium, chromium-driver)",
)
needs_axe = pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: run .ci/axe")


@contextmanager
def serve_app(app: ASGIApp, listener: socket.socket, *, lifespan: str = "off") -> Iterator[None]:
    """Serve an application behind a socket that listens already, so that a request waits for it instead of failing."""
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan=lifespan))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def open_browser(profile: Path) -> Iterator[webdriver.Chrome]:
    """Open Chromium with an empty profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def set_size(browser: webdriver.Chrome, width: int, height: int = 900) -> None:
    """Set the size of the window's content."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )


def find_violations(browser: webdriver.Chrome) -> list[str]:
    """Run axe-core in the current frame: rule and element of each violation."""
    browser.execute_script(AXE.read_text("utf-8"))
    found = browser.execute_async_script(
        "const done = arguments[0];"
        "axe.run(document, {iframes: false}).then(result => done(result.violations), error => done(String(error)))"
    )
    assert isinstance(found, list), found
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary'][:300]}" for each in found for node in each["nodes"]
    ]
