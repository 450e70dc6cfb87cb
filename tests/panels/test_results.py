"""The results panel in a strict host: heat map, charts, and another figure by a click."""

import pytest
from selenium.webdriver import Keys

from tests.panels.conftest import Stage
from tests.panels.test_calendar import press_keys, press_to
from tests.support.browser import needs_chromium

pytestmark = [pytest.mark.browser, pytest.mark.requirement("panels.results"), needs_chromium]

WIDTHS = "return [...document.querySelectorAll('.bars .fill')].map(each => Math.round(parseFloat(each.style.width)))"


def make_answer(data: dict[str, object]) -> dict[str, object]:
    """Return a tool's result with this structured content."""
    return {"content": [{"type": "text", "text": "…"}], "structuredContent": data}


def test_best_times_are_a_heat_map_with_their_figures(stage: Stage) -> None:
    """Each square is the product of two scores; the figures are there as text too."""
    stage.open("results", "optimal_times")
    stage.see("Best times", "From 128 data points.", "does not state the time zone", "18:00", "Wednesday", "1.00")
    heats = stage.browser.execute_script(
        "return [...document.querySelectorAll('.heat-row:not(.scale)')].map(row =>"
        " [...row.querySelectorAll('.heat')].map(each => Number(each.className.slice(-1))))"
    )
    assert [len(row) for row in heats] == [24] * 7
    assert (heats[2][18], heats[2][8], heats[2][3], heats[0][18]) == (5, 5, 0, 0)
    assert stage.browser.execute_script("return document.querySelector('[role=img]').getAttribute('aria-label')")
    stage.check_layout()


def test_best_times_without_data_say_so(stage: Stage) -> None:
    """With the API's own words."""
    data = {"best_hours": [], "best_days": [], "data_points": 0, "message": "Not enough data.", "time_zone": "x"}
    stage.open("results", "optimal_times", result=make_answer(data))
    stage.see("Not enough posts yet", "The API says: Not enough data.")
    stage.check_layout()


def test_posts_are_ranked_and_sorted_again_by_a_click(stage: Stage) -> None:
    """By the server, with the arguments of the call."""
    stage.open("results", "post_results", arguments={"limit": 3})
    stage.see("Most impressions", "8,654", "Both bars open at ten", "Thu 19 Nov, 18:00", "11,255")
    widths = stage.browser.execute_script(WIDTHS)
    assert widths[0] == 100
    assert widths[:3] == sorted(widths[:3], reverse=True)
    stage.click("Engagement rate")
    stage.see("Most engagement rate", "5.7 %")
    assert stage.calls[-1] == ("post_results", {"limit": 3, "sort_by": "rate"})
    assert stage.button("Engagement rate").get_attribute("aria-pressed") == "true"
    assert stage.find_focused() == "by rate"
    assert stage.writes() == []
    stage.check_layout()


def test_missing_figures_are_not_shown_as_zero(stage: Stage) -> None:
    """And posts that could not be read are named."""
    post = {"id": "p", "text": "Just out", "platforms": ["linkedin"], "accounts": []}
    totals = {"posts": 0, "platforms": [], "accounts": []}
    missing = [{"post_id": "q", "reason": "is a draft, so it has no results"}]
    data = {"sorted_by": "likes", "posts": [post], "totals": totals, "missing": missing}
    stage.open("results", "post_results", result=make_answer(data))
    shown = stage.see("no figures yet", "1 post without figures yet, which is not zero", "q: is a draft")
    assert "\n0\n" not in shown
    stage.check_layout()


def test_refused_sort_is_shown_and_keeps_the_figures(stage: Stage) -> None:
    """In the tool's own words."""
    stage.open(
        "results", "post_results", arguments={"limit": 3, "after": "never"}, result=make_answer(make_ranking(stage))
    )
    stage.see("Most impressions")
    stage.click("Likes")
    stage.see("Results not loaded", "Results not read: ", "Most impressions")


def make_ranking(stage: Stage) -> dict[str, object]:
    """Return figures of one post."""
    figures = {"impressions": 1204, "likes": 61}
    assert stage.posts()
    post = {"id": "p", "text": "A post", "platforms": ["linkedin"], "figures": figures, "accounts": []}
    totals = {"posts": 1, "figures": figures, "platforms": [], "accounts": []}
    return {"sorted_by": "impressions", "posts": [post], "totals": totals, "missing": []}


def test_summary_shows_every_number_of_the_reply(stage: Stage) -> None:
    """Its shape is undocumented."""
    stage.open("results", "engagement_summary")
    stage.see("Engagement", "327,437", "Likes")
    reply = {"byPlatform": {"linkedin": {"totalLikes": 7, "note": "x"}}, "days": [{"views": 3}], "rate": 0.25}
    stage.open("results", "engagement_summary", result=make_answer({"reply": reply}))
    stage.see("By platform · Linkedin", "Total likes", "7", "Days · 0", "0.25")
    stage.open("results", "engagement_summary", result=make_answer({"reply": {}}))
    stage.see("No figures")
    stage.check_layout()


@pytest.mark.requirement("panels.states")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 640, 1200])
@pytest.mark.parametrize("tool", ["optimal_times", "post_results", "engagement_summary"])
def test_results_fit(stage: Stage, tool: str, width: int, theme: str) -> None:
    """At every width, in both themes."""
    arguments = {"limit": 20, "after": "2026-06-01"} if tool == "post_results" else {}
    stage.open("results", tool, arguments=arguments, width=width, context={"theme": theme})
    stage.see({"optimal_times": "Wednesday", "post_results": "impressions", "engagement_summary": "Likes"}[tool])
    stage.check_layout()


@pytest.mark.requirement("panels.text")
def test_hostile_figures_stay_text(stage: Stage) -> None:
    """Names of a reply too."""
    markup = "<img src=x onerror=\"document.title='owned'\">"
    stage.open("results", "engagement_summary", result=make_answer({"reply": {markup: {markup: 1}}}))
    stage.see("<img src=x")
    data = make_ranking(stage)
    data["posts"] = [{**data["posts"][0], "text": markup, "link": "javascript:alert(1)"}]  # pyright: ignore # JSON
    stage.open("results", "post_results", result=make_answer(data))
    stage.see("<img src=x", "javascript:alert(1)")
    assert not stage.has_button("Open post")
    assert stage.browser.execute_script("return [document.title, document.querySelectorAll('main img').length]") == [
        "Results",
        0,
    ]


@pytest.mark.requirement("panels.accessible")
def test_keyboard_alone_sorts_results_and_opens_a_post(stage: Stage) -> None:
    """The focus stays on the figure."""
    stage.open("results", "post_results", arguments={"limit": 3})
    stage.see("Most impressions")
    press_to(stage, "by likes")
    press_keys(stage, Keys.ENTER)
    stage.see("Most likes")
    assert stage.find_focused() == "by likes"
    link = stage.button("Open post").get_attribute("data-key")
    assert link
    press_to(stage, link)
    press_keys(stage, Keys.ENTER)
    assert stage.wait(lambda: stage.log()["links"])[0] == link.removeprefix("link ")
