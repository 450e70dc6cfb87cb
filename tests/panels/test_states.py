"""Designed states of panels, at every width and in both themes."""

import pytest

from tests.panels.conftest import EXAMPLES, Stage
from tests.panels.test_calendar import PLAN
from tests.panels.test_post import CHECK
from tests.support.browser import needs_chromium

pytestmark = [pytest.mark.browser, pytest.mark.requirement("panels.states"), needs_chromium]

FAILED = {"isError": True, "content": [{"type": "text", "text": "Posts not listed: the API is down. Try again later."}]}


each_panel = pytest.mark.parametrize("panel", EXAMPLES)


@each_panel
def test_panel_is_loading_until_the_answer_is_there(stage: Stage, panel: str) -> None:
    """And says so to screen readers."""
    stage.open_example(panel, hold=True)
    stage.see("Loading")
    assert stage.browser.execute_script("return document.querySelectorAll('[aria-busy=true]').length") == 1
    stage.check_layout(while_loading=True)


@each_panel
def test_failed_call_is_shown_in_its_own_words(stage: Stage, panel: str) -> None:
    """Not as an empty panel."""
    stage.open_example(panel, result=FAILED)
    stage.see("Posts not listed: the API is down. Try again later.")
    stage.check_layout()


@each_panel
def test_cancelled_call_is_shown_as_such(stage: Stage, panel: str) -> None:
    """Nothing happened."""
    stage.open_example(panel, hold=True)
    stage.see("Loading")
    stage.run_in_host("send({method: 'ui/notifications/tool-cancelled', params: {reason: 'stop'}})")
    stage.see("The call was cancelled", "Nothing was changed.")
    stage.check_layout()


def test_calendar_can_be_opened_after_a_failure(stage: Stage) -> None:
    """The person goes on from there."""
    stage.open("calendar", "list_posts", result=FAILED)
    stage.click("Show the calendar")
    stage.see("Week of 23 November 2026")


def test_empty_week_says_what_to_do(stage: Stage) -> None:
    """Not a blank grid."""
    stage.open("calendar", "list_posts", arguments={"text": "no post has these words"})
    stage.see("No posts this week", "Ask in the chat")
    stage.check_layout()


@pytest.mark.parametrize(
    ("panel", "tool", "arguments", "words"),
    [
        ("calendar", "list_posts", {}, "Week of 23 November 2026"),
        ("calendar", "plan_posts", PLAN, "3 posts proposed"),
        ("post", "check_post", CHECK, "As a thread of 2"),
        ("results", "optimal_times", {}, "Wednesday"),
        ("results", "post_results", {"limit": 20, "after": "2026-06-01"}, "impressions"),
        ("results", "engagement_summary", {}, "Likes"),
    ],
)
def test_auto_sized_frame_never_keeps_a_scrollbar(
    stage: Stage, panel: str, tool: str, arguments: dict[str, object], words: str
) -> None:
    """A scrollbar changes the content's height, and must disappear after resizing."""
    stage.open(panel, tool, arguments=arguments, width=1300)
    stage.see(words)
    for width in range(320, 1201, 40):
        stage.set_frame_width(width)
        stage.check_layout()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 400, 640, 800, 820, 1000, 1200])
def test_full_week_and_month_fit(stage: Stage, width: int, theme: str) -> None:
    """60 posts in a week, half of them on one day."""
    for number in range(60):
        day = 24 + (number % 4 if number % 2 else 2)
        stage.add_post(f"Post {number} of a very full week", f"2026-11-{day}T{8 + number % 12:02}:{number:02}")
    stage.open("calendar", "list_posts", width=width, context={"theme": theme})
    stage.see("Week of 23 November 2026", "more")
    stage.check_layout()
    stage.click("Month")
    stage.see("November 2026", "more")
    stage.check_layout()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 640, 1200])
def test_previews_of_every_platform_fit(stage: Stage, width: int, theme: str) -> None:
    """Thread, problems and lengths at every width."""
    post = {
        "content": "A long text with https://example.com/a/very/long/link/that/has/no/space/in/it/at/all and #tags. "
        * 6,
        "thread": ["Second part", "Third part"],
        "platforms": ["twitter", "instagram", "linkedin", "tiktok", "pinterest"],
        "media_urls": [f"http://elsewhere.example/{'long-name' * number}.png" for number in range(1, 6)],
        "platform_data": {"pinterest": {"title": "A pin", "board": "Recipes"}, "tiktok": {"allow_duet": True}},
    }
    stage.open("post", "check_post", arguments=post, width=width, context={"theme": theme})
    stage.see("A pin", "Error: ", "Second part", "characters", "allow_duet")
    stage.check_layout()
