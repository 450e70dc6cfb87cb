"""Panels as resources of the server, and the tools that name them."""

import json
import re
import shutil
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.resources import files
from zoneinfo import ZoneInfo

import pytest
from mcp.client import Client
from mcp.client.extension import advertise
from mcp.shared.exceptions import MCPError

from ttp_mcp.config import Settings
from ttp_mcp.factory import create_server
from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.server.panels import EXTENSION, MIME_TYPE, PANELS, TEXTS, describe_display

pytestmark = pytest.mark.requirement("panels.served")

NOW = datetime(2026, 11, 24, 8, 2, tzinfo=UTC)
TOOLS = {
    "ui://timetopost/calendar.html": {"list_posts", "plan_posts", "apply_plan"},
    "ui://timetopost/post.html": {"get_post", "check_post", "create_post", "reschedule_post"},
    "ui://timetopost/results.html": {"optimal_times", "post_results", "engagement_summary"},
}
panels = pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.name)


@pytest.fixture
def connect_client(demo_folder, tmp_path):
    """Opens a client of a server over the demo workspace. Keywords are settings; `extensions` are the client's."""

    @asynccontextmanager
    async def opened(era="auto", extensions=None, **changes):
        folder = tmp_path / f"sandbox-{len(list(tmp_path.iterdir()))}"
        shutil.copytree(demo_folder, folder)
        settings = Settings(zone=ZoneInfo("Europe/Paris"), state_dir=tmp_path / "state", **changes)
        with Sandbox(folder, clock=ManualClock(NOW)) as sandbox:
            runtime = create_server(settings, sandbox)
            try:
                async with Client(runtime.server, mode=era, extensions=extensions) as client:
                    yield client
            finally:
                await runtime.aclose()

    return opened


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_tools_name_their_panels_and_these_are_resources(connect_client, era):
    """In both protocol eras."""
    async with connect_client(era) as client:
        listed = {each.uri: each for each in (await client.list_resources()).resources if each.uri.startswith("ui:")}
        named: dict[str, set[str]] = {}
        for tool in (await client.list_tools()).tools:
            if tool.meta:
                named.setdefault(tool.meta["ui"]["resourceUri"], set()).add(tool.name)
        read = {uri: (await client.read_resource(uri)).contents for uri in listed}
    assert named == TOOLS
    assert set(listed) == set(TOOLS)
    assert {each.mime_type for each in listed.values()} == {MIME_TYPE} == {"text/html;profile=mcp-app"}
    assert all(each.title and each.description for each in listed.values())
    assert [content.mime_type for (content,) in read.values()] == [MIME_TYPE] * len(listed)
    assert all(content.text.startswith("<!doctype html>") for (content,) in read.values())
    assert all('data-zone="Europe/Paris"' in content.text for (content,) in read.values())


async def test_extension_is_announced_to_clients_that_discover(connect_client):
    """The 2025 initialize has no place for it."""
    async with connect_client() as client:
        assert (client.server_capabilities.extensions or {})[EXTENSION] == {"mimeTypes": [MIME_TYPE]}


async def test_panels_of_tools_that_are_not_offered_are_neither_listed_nor_read(connect_client):
    """As the tools themselves."""
    async with connect_client(toolsets=("integrations",)) as client:
        assert [each.uri for each in (await client.list_resources()).resources] == ["ttp://accounts", "ttp://history"]
        assert EXTENSION not in (client.server_capabilities.extensions or {})
        for uri in ("ui://timetopost/calendar.html", f"{TEXTS}post_1"):
            with pytest.raises(MCPError) as caught:
                await client.read_resource(uri)
            assert caught.value.code == -32602


async def test_answers_are_the_same_with_and_without_the_extension(connect_client):
    """Byte for byte: clients without panels lose nothing, and those with panels pay nothing."""
    calls = (("list_posts", {}), ("optimal_times", {}), ("engagement_summary", {}))
    answers = []
    for extensions in (None, [advertise(EXTENSION, {"mimeTypes": [MIME_TYPE]})]):
        async with connect_client(extensions=extensions) as client:
            answers.append([(await client.call_tool(name, args)).model_dump_json() for name, args in calls])
            answers[-1].append((await client.list_tools()).model_dump_json())
    plain, extended = ([json.loads(each) for each in found] for found in answers)
    # Fences of outside texts are marked differently in each answer.
    assert len(plain) == len(extended)
    assert plain[:2] == extended[:2]
    assert [each.get("structuredContent") for each in plain] == [each.get("structuredContent") for each in extended]
    assert plain[-1] == extended[-1]


@panels
def test_panel_is_one_small_file_with_nothing_from_outside(panel):
    """No library, no address that is loaded, no way to make elements from text."""
    html = panel.render("Europe/Paris")
    assert len(html.encode()) < 60_000
    assert html.count("<script") == html.count("</script>") == 1
    loads = [
        word
        for word in (
            "src=",
            "href=",
            "@import",
            "url(",
            "http://",
            "fetch(",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "setInterval",
        )
        if word in html.replace("http://www.w3.org/2000/svg", "")
    ]
    assert loads == []


def test_colors_are_those_of_the_sandbox_page():
    """Light and dark, each name that both have: the sandbox imports nothing, so that the values are in two files."""
    page, base = (
        files(package).joinpath(name).read_text("utf-8")
        for package, name in (("ttp_mcp.sandbox.page", "style.css"), ("ttp_mcp.server.panels", "base.css"))
    )
    ours, theirs = find_colors(base), find_colors(page)
    shared = ours.keys() & theirs.keys()
    assert len(shared) > 15
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


def find_colors(style):
    """Return each color of a style sheet: light, then dark. Those that a host may replace are the fall-backs."""
    found = {}
    for name, value in re.findall(r"^ +--(\w[\w-]*): (?:var\(--[\w-]+, )?(#[0-9a-f]{6})", style, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def test_zone_cannot_leave_its_attribute():
    """Nothing that is put into the document is markup."""
    assert '"><script' not in PANELS[0].render('"><script>')


def test_pictures_come_from_the_media_host_of_the_api_alone():
    """A sandbox on this machine needs none, and declares none."""
    assert describe_display("https://timetopost.co/api")["csp"] == {"resourceDomains": ["https://media.timetopost.co"]}
    assert "csp" not in describe_display("http://127.0.0.1:8765/api")
