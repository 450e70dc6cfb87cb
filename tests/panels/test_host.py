"""Panels and their host: the handshake, what wasn't offered, and strangers."""

import pytest

from tests.panels.conftest import Stage
from tests.support.browser import needs_chromium

pytestmark = [pytest.mark.browser, pytest.mark.requirement("panels.host"), needs_chromium]

# Panel, the tool that opens it, and words that it then shows.
OPENED = [("calendar", "list_posts", "Week of 23 November 2026")]
each_panel = pytest.mark.parametrize(("panel", "tool", "words"), OPENED)


@each_panel
def test_panel_waits_for_the_handshake_and_reports_its_size(stage: Stage, panel: str, tool: str, words: str) -> None:
    """The host shows the frame only after `initialized`; nothing is sent before, and nothing that isn't offered."""
    stage.open(panel, tool)
    stage.see(words)
    stage.settle()
    log = stage.log()
    assert (log["early"], log["refused"], log["foreign"]) == ([], [], 0)
    assert log["sizes"][-1]["height"] > 100


@each_panel
def test_panel_asks_for_nothing_that_was_not_offered(stage: Stage, panel: str, tool: str, words: str) -> None:
    """Without capabilities it shows the answer that it got, and offers no action."""
    stage.open(panel, tool, capabilities={})
    stage.see(words)
    log = stage.log()
    assert (log["refused"], log["context"], log["links"]) == ([], [], [])
    assert [name for name, _ in stage.calls] == [tool]
    assert not stage.has_button("Today")


@each_panel
def test_messages_of_other_windows_are_ignored(stage: Stage, panel: str, tool: str, words: str) -> None:
    """Only the parent window is the host."""
    stage.open(panel, tool)
    stage.see(words)
    stage.settle()
    stage.browser.execute_async_script(
        "window.addEventListener('message', () => arguments[0](), {once: true});"
        "window.postMessage({jsonrpc: '2.0', method: 'ui/notifications/tool-cancelled', params: {}}, '*');"
    )
    assert words in stage.text()


@each_panel
def test_host_pings_themes_and_ends_a_panel(stage: Stage, panel: str, tool: str, words: str) -> None:
    """Requests of the host get an answer, and a changed theme is applied."""
    stage.open(panel, tool)
    stage.see(words)
    for number, method in enumerate(("ping", "ui/resource-teardown", "ui/unknown")):
        stage.in_host("send({id: arguments[0], method: arguments[1], params: {}})", 100 + number, method)
    answers = stage.wait(lambda: (found := stage.log()["answers"])[2:] and found)
    assert [each.get("result", each.get("error", {}).get("code")) for each in answers] == [{}, {}, -32601]
    stage.in_host(
        "send({method: 'ui/notifications/host-context-changed', params: {theme: 'dark', styles: {variables: "
        "{'--color-background-primary': 'rgb(1, 2, 3)'}}}})"
    )
    ground = "return getComputedStyle(document.body).backgroundColor"
    stage.wait(lambda: stage.browser.execute_script(ground) == "rgb(1, 2, 3)")
    assert stage.browser.execute_script("return document.documentElement.dataset.theme") == "dark"


def test_panel_opened_without_a_host_says_where_it_belongs(stage: Stage) -> None:
    """As a file in a browser."""
    stage.browser.get(f"{stage.origin}/view/calendar")
    stage.see("This is a panel of an MCP client")
