"""axe-core on every panel, in its states and both themes."""

import pytest

from tests.panels.conftest import EXAMPLES, Stage
from tests.panels.test_calendar import PLAN, open_menu
from tests.panels.test_post import CHECK
from tests.support.browser import find_violations, needs_axe, needs_chromium

pytestmark = [pytest.mark.browser, pytest.mark.requirement("panels.accessible"), needs_chromium, needs_axe]

themes = pytest.mark.parametrize("theme", ["light", "dark"])


@themes
@pytest.mark.parametrize("width", [320, 1000])
@pytest.mark.parametrize("panel", EXAMPLES)
def test_panel_has_no_violation(stage: Stage, panel: str, width: int, theme: str) -> None:
    """With its answer, without one, and after a failure."""
    context = {"theme": theme}
    stage.see(stage.open_example(panel, width=width, context=context))
    stage.settle()
    assert find_violations(stage.browser) == []
    stage.open_example(panel, hold=True, width=width, context=context)
    stage.see("Loading")
    assert find_violations(stage.browser) == []
    failed = {"isError": True, "content": [{"type": "text", "text": "Not read: the API is down."}]}
    stage.open_example(panel, result=failed, width=width, context=context)
    stage.see("Not read: the API is down.")
    assert find_violations(stage.browser) == []


@themes
@pytest.mark.parametrize(
    ("panel", "tool", "arguments", "words"),
    [
        ("calendar", "plan_posts", PLAN, "3 posts proposed"),
        ("calendar", "list_posts", {"text": "no post has these words"}, "No posts this week"),
        ("post", "check_post", CHECK, "As a thread of 2"),
        ("results", "optimal_times", {}, "Wednesday"),
        ("results", "engagement_summary", {}, "Likes"),
    ],
)
def test_answer_of_each_tool_has_no_violation(
    stage: Stage, panel: str, tool: str, arguments: dict[str, object], words: str, theme: str
) -> None:
    """Plans, empty weeks, problems and charts."""
    stage.open(panel, tool, arguments=arguments, context={"theme": theme})
    stage.see(words)
    stage.settle()
    assert find_violations(stage.browser) == []


def test_questions_notices_and_months_have_no_violation(stage: Stage) -> None:
    """After each click that changes what is shown."""
    open_menu(stage)
    assert find_violations(stage.browser) == []
    stage.click("Change time")
    stage.see("Move “")
    assert find_violations(stage.browser) == []
    stage.click("Keep as it is", "Cancel post")
    stage.see("Keep it")
    assert find_violations(stage.browser) == []
    stage.press("cancel-yes")
    stage.see("Cancel post: done")
    stage.settle()
    assert find_violations(stage.browser) == []
    stage.click("Month")
    stage.see("November 2026")
    stage.settle()
    assert find_violations(stage.browser) == []
