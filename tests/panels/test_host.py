"""Panels and their host: the handshake, what wasn't offered, and strangers."""

import pytest

from tests.panels.conftest import EXAMPLES, Stage
from tests.panels.test_calendar import PLAN, open_menu
from tests.support.browser import needs_chromium

pytestmark = [pytest.mark.browser, pytest.mark.requirement("panels.host"), needs_chromium]

each_panel = pytest.mark.parametrize("panel", EXAMPLES)


@each_panel
def test_panel_waits_for_the_handshake_and_reports_its_size(stage: Stage, panel: str) -> None:
    """The host shows the frame only after `initialized`; nothing is sent before, and nothing that isn't offered."""
    stage.see(stage.open_example(panel))
    stage.settle()
    log = stage.log()
    assert (log["early"], log["refused"], log["foreign"]) == ([], [], 0)
    assert log["sizes"][-1]["height"] > 100


@each_panel
def test_panel_asks_for_nothing_that_was_not_offered(stage: Stage, panel: str) -> None:
    """Without capabilities it shows the answer that it got, and offers no action."""
    stage.see(stage.open_example(panel, capabilities={}))
    log = stage.log()
    assert (log["refused"], log["context"], log["links"]) == ([], [], [])
    assert [name for name, _ in stage.calls] == [EXAMPLES[panel][0]]
    assert not any(map(stage.has_button, ("Today", "Change time", "Cancel post")))


@each_panel
def test_messages_of_other_windows_are_ignored(stage: Stage, panel: str) -> None:
    """Only the parent window is the host."""
    words = stage.open_example(panel)
    stage.see(words)
    stage.settle()
    stage.browser.execute_async_script(
        "window.addEventListener('message', () => arguments[0](), {once: true});"
        "window.postMessage({jsonrpc: '2.0', method: 'ui/notifications/tool-cancelled', params: {}}, '*');"
    )
    assert words in stage.text()


@each_panel
def test_host_pings_themes_and_ends_a_panel(stage: Stage, panel: str) -> None:
    """Requests of the host get an answer, and a changed theme is applied."""
    stage.see(stage.open_example(panel))
    for number, method in enumerate(("ping", "ui/resource-teardown", "ui/unknown")):
        stage.run_in_host("send({id: arguments[0], method: arguments[1], params: {}})", 100 + number, method)
    answers = stage.wait(lambda: (found := stage.log()["answers"])[2:] and found)
    assert [each.get("result", each.get("error", {}).get("code")) for each in answers] == [{}, {}, -32601]
    stage.run_in_host(
        "send({method: 'ui/notifications/host-context-changed', params: {theme: 'dark', styles: {variables: "
        "{'--color-background-primary': 'rgb(1, 2, 3)'}}}})"
    )
    ground = "return getComputedStyle(document.body).backgroundColor"
    stage.wait(lambda: stage.browser.execute_script(ground) == "rgb(1, 2, 3)")
    assert stage.browser.execute_script("return document.documentElement.dataset.theme") == "dark"


@each_panel
def test_panel_opened_without_a_host_says_where_it_belongs(stage: Stage, panel: str) -> None:
    """As a file in a browser."""
    stage.browser.get(f"{stage.origin}/view/{panel}")
    stage.see("This is a panel of an MCP client")


def test_arguments_may_be_sent_after_the_result(stage: Stage) -> None:
    """Both panels that need them wait for them."""
    stage.open("calendar", "plan_posts", arguments=PLAN, input="late")
    stage.see("3 posts proposed", "First of the plan", "Drop")
    stage.open("post", "check_post", arguments={"content": "Late words", "platforms": ["linkedin"]}, input="late")
    stage.see("Late words", "10 of 3000 characters")


def test_plan_without_arguments_is_scheduled_as_it_is(stage: Stage) -> None:
    """Its texts are not known, so no post of it can be dropped."""
    stage.open("calendar", "plan_posts", arguments=PLAN, input="never")
    stage.see("3 posts proposed", "Post 1", "Proposed")
    assert not stage.has_button("Drop post 1 from the plan")
    stage.click("Schedule 3 posts")
    stage.see("Schedule the plan: done", "First of the plan")


@each_panel
def test_unfinished_arguments_change_nothing(stage: Stage, panel: str) -> None:
    """They come while the model writes."""
    stage.open_example(panel, hold=True)
    stage.run_in_host(
        "send({method: 'ui/notifications/tool-input-partial', params: {arguments: {posts: [{}], content: 1}}})"
    )
    stage.settle_size()
    assert "Loading" in stage.text()


def test_action_is_not_reported_to_a_host_without_a_way_for_it(stage: Stage) -> None:
    """It is done all the same."""
    open_menu(stage, capabilities={"serverTools": {}})
    stage.click("Cancel post")
    stage.press("cancel-yes")
    stage.see("Cancel post: done")
    assert (stage.log()["context"], stage.log()["refused"]) == ([], [])
