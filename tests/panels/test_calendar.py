"""The calendar panel in a strict host: every user action and its effect."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.common.by import By

from tests.panels.conftest import NOW, Stage
from tests.support.browser import needs_chromium

pytestmark = [pytest.mark.browser, pytest.mark.requirement("panels.actions"), needs_chromium]

MENU = "The new menu is here"
PLAN = {
    "posts": [
        {"content": "First of the plan", "platforms": ["linkedin"], "scheduled_at": "2026-11-26T09:00"},
        {"content": "Second of the plan", "platforms": ["linkedin"], "scheduled_at": "2026-11-27T09:00"},
        {"content": "Third of the plan", "platforms": ["linkedin"], "scheduled_at": "2026-11-28T09:00"},
    ]
}


def find_menu_post(stage: Stage) -> dict[str, Any]:
    """The post of Wednesday at 18:00, as the sandbox has it."""
    return next(post for post in stage.posts() if post["content"].startswith(MENU))


def read_time(post: dict[str, Any]) -> datetime:
    """Return the time of a post."""
    return datetime.fromtimestamp(post["scheduled_at"] / 1000, UTC)


def open_menu(stage: Stage, **options: Any) -> None:
    """Open the calendar, and in it the post of Wednesday."""
    stage.open("calendar", "list_posts", **options)
    stage.see("Week of 23 November 2026", MENU)
    stage.press(f"post {find_menu_post(stage)['id']}")
    stage.see("Wed 25 Nov, 18:00", "Copy text")


def find_card(stage: Stage, words: str):
    """Find the button of a post by its words, once everything is loaded."""
    stage.see(words)
    stage.settle()
    return stage.wait(
        lambda: next(
            (each for each in stage.browser.find_elements(By.CSS_SELECTOR, "button.open") if words in each.text), None
        )
    )


def find_day(stage: Stage, day: str):
    """Find the column of a day."""
    return stage.browser.find_element(By.CSS_SELECTOR, f"[data-day='{day}']")


def drag_element(browser: webdriver.Chrome, source, target, *, share: float) -> None:
    """Drag an element to a height within another one, and release it there."""
    ActionChains(browser).move_to_element(source).click_and_hold().move_by_offset(10, 10).perform()
    # The days are a scale of hours by now.
    offset = int((share - 0.5) * target.size["height"])
    ActionChains(browser).move_to_element_with_offset(target, 0, offset).release().perform()


def test_weeks_and_months_are_turned(stage):
    """Each period is read from the server; texts, times and accounts are its own."""
    stage.open("calendar", "list_posts")
    shown = stage.see("Week of 23 November 2026", "Times in Europe/Paris", MENU, "18:00", "Scheduled", "@harbor.cafe")
    assert "Today" in shown
    stage.click("Next week")
    stage.see("Week of 30 November 2026")
    stage.click("Previous week", "Previous week")
    stage.see("Week of 16 November 2026", "Published")
    stage.click("Today", "Month")
    stage.see("November 2026", "Mon", "Sun")
    stage.click("Next month")
    stage.see("December 2026")
    stage.click("Previous month", "Week of Wednesday 25 November 2026")
    stage.see("Week of 23 November 2026", MENU)
    ranges = [(args["after"], args["before"]) for name, args in stage.calls[1:]]
    assert ranges[:2] == [("2026-11-23", "2026-11-29"), ("2026-11-30", "2026-12-06")]
    assert ("2026-10-26", "2026-12-06") in ranges
    assert stage.writes() == []


def test_filters_of_the_call_stay_until_all_is_shown(stage):
    """The list that the model asked for is the list that is shown."""
    stage.open("calendar", "list_posts", arguments={"status": ["draft"]})
    stage.see("only status draft", "No posts this week")
    stage.click("Show all")
    stage.see(MENU)


def test_post_opens_in_full_and_its_text_is_copied(stage):
    """Back leads to where the person was."""
    open_menu(stage)
    assert "spiced pear" in stage.text()
    stage.click("Copy text")
    stage.see("Text copied")
    stage.click("Calendar")
    stage.see("Week of 23 November 2026")
    assert stage.find_focused() == f"post {find_menu_post(stage)['id']}"
    assert stage.writes() == []


def test_dragging_a_post_to_a_day_and_an_hour_reschedules_it_after_a_click(stage):
    """The drop only fills in the form."""
    stage.open("calendar", "list_posts")
    old = find_menu_post(stage)
    card = find_card(stage, MENU)
    drag_element(stage.browser, card, find_day(stage, "2026-11-28"), share=0.4)
    stage.see("Move “", "Keep as it is")
    assert stage.writes() == []
    date, time = (stage.browser.find_element(By.ID, f"move-{kind}").get_property("value") for kind in ("date", "time"))
    assert (date, time[3:]) == ("2026-11-28", "00")
    assert 7 <= int(time[:2]) <= 12
    stage.click("Move")
    stage.see("Move post: done", "Rescheduled: ")
    assert stage.writes() == [("reschedule_post", {"post_id": old["id"], "scheduled_at": f"2026-11-28T{time}"})]
    new = find_menu_post(stage)
    assert new["id"] != old["id"]
    assert f"{read_time(new) + timedelta(hours=1):%Y-%m-%dT%H:%M}" == f"2026-11-28T{time}"
    update = stage.wait(lambda: stage.log()["context"])[-1]["content"][0]["text"]
    assert update.startswith("In the panel the user did this")
    assert new["id"] in update


def test_dragging_in_a_month_keeps_the_time(stage):
    """A day of a month has no hours."""
    stage.open("calendar", "list_posts")
    stage.see(MENU)
    stage.click("Month")
    stage.see("November 2026")
    stage.settle()
    line = stage.wait(
        lambda: stage.browser.find_element(By.CSS_SELECTOR, f"[data-key='post {find_menu_post(stage)['id']}']")
    )
    drag_element(stage.browser, line, find_day(stage, "2026-11-28"), share=0.5)
    stage.see("Move “")
    stage.click("Move")
    stage.see("Move post: done")
    assert stage.writes()[0][1]["scheduled_at"] == "2026-11-28T18:00"


def test_escape_and_keeping_it_change_nothing(stage):
    """A drag that ends elsewhere has no effect."""
    stage.open("calendar", "list_posts")
    card = find_card(stage, MENU)
    ActionChains(stage.browser).move_to_element(card).click_and_hold().move_by_offset(30, 10).send_keys(
        Keys.ESCAPE
    ).release().perform()
    assert not stage.has_button("Move")
    drag_element(stage.browser, find_card(stage, MENU), find_day(stage, "2026-11-28"), share=0.5)
    stage.click("Keep as it is")
    assert not stage.has_button("Move")
    assert stage.writes() == []


@pytest.mark.requirement("panels.accessible")
def test_keyboard_alone_moves_a_post(stage):
    """Tab, Enter and typed fields are enough."""
    stage.open("calendar", "list_posts")
    stage.see(MENU)
    old = find_menu_post(stage)
    stage.settle()
    press_to(stage, f"post {old['id']}")
    press_keys(stage, Keys.ENTER)
    stage.see("Wed 25 Nov, 18:00", "Copy text")
    assert stage.find_focused() == "heading"
    press_to(stage, "change-time")
    press_keys(stage, Keys.ENTER)
    stage.see("Move “")
    assert stage.find_focused() == "move"
    # Backwards from the button: the picker, then the parts of the time.
    for _ in range(3):
        press_keys(stage, Keys.SHIFT + Keys.TAB)
    press_keys(stage, Keys.UP)
    press_to(stage, "move")
    press_keys(stage, Keys.ENTER)
    stage.see("Move post: done")
    ((tool, args),) = stage.writes()
    assert (tool, args["post_id"], args["scheduled_at"][:11]) == ("reschedule_post", old["id"], "2026-11-25T")
    assert args["scheduled_at"] != "2026-11-25T18:00"
    stage.wait(lambda: stage.find_focused() == "notice")


@pytest.mark.requirement("panels.accessible")
def test_keyboard_alone_cancels_a_post(stage):
    """After a question whose safe answer has the focus."""
    stage.open("calendar", "list_posts")
    stage.see(MENU)
    old = find_menu_post(stage)
    stage.settle()
    press_to(stage, f"post {old['id']}")
    press_keys(stage, Keys.ENTER)
    stage.see("Copy text")
    press_to(stage, "cancel")
    press_keys(stage, Keys.ENTER)
    stage.see("Keep it")
    assert stage.find_focused() == "keep"
    press_keys(stage, Keys.SHIFT + Keys.TAB)
    press_keys(stage, Keys.ENTER)
    stage.see("Cancel post: done", "It will not be published.")
    assert stage.writes() == [("delete_post", {"post_id": old["id"]})]
    assert old["id"] not in [post["id"] for post in stage.posts()]


@pytest.mark.requirement("panels.accessible")
def test_keyboard_alone_changes_and_applies_a_plan(stage):
    """Drop a post, then schedule the others."""
    stage.open("calendar", "plan_posts", arguments=PLAN)
    stage.see("3 posts proposed")
    stage.settle()
    press_to(stage, "drop 3")
    press_keys(stage, Keys.ENTER)
    stage.see("Drop post 3: done", "2 posts proposed")
    stage.wait(lambda: stage.find_focused() == "notice")
    press_to(stage, "apply")
    press_keys(stage, Keys.SPACE)
    stage.see("Schedule the plan: done")
    assert [name for name, _ in stage.writes()] == ["plan_posts", "plan_posts", "apply_plan"]


def press_keys(stage: Stage, keys: str) -> None:
    """Press keys where the focus is."""
    if keys.startswith(Keys.SHIFT):
        ActionChains(stage.browser).key_down(Keys.SHIFT).send_keys(keys[1:]).key_up(Keys.SHIFT).perform()
    else:
        ActionChains(stage.browser).send_keys(keys).perform()


def press_to(stage: Stage, key: str) -> None:
    """Press Tab until an element has the focus, once nothing is drawn again: a key that is down would be lost."""
    stage.settle()
    for _ in range(60):
        press_keys(stage, Keys.TAB)
        if stage.find_focused() == key:
            return
    raise AssertionError(f"{key} is not reached")


def test_refusal_is_shown_with_the_tools_text(stage):
    """The model gets it too."""
    open_menu(stage)
    stage.click("Change time")
    stage.browser.execute_script("document.querySelector('#move-date').value = '2026-11-20'")
    stage.click("Move")
    shown = stage.see("Move post: not done", "Post not rescheduled: ")
    assert "is in the past" in shown
    assert find_menu_post(stage)["scheduled_at"] == round(datetime(2026, 11, 25, 17, tzinfo=UTC).timestamp() * 1000)
    assert "Post not rescheduled" in stage.log()["context"][-1]["content"][0]["text"]


def test_incomplete_time_is_not_sent(stage):
    """The field says what is missing."""
    open_menu(stage)
    stage.click("Change time")
    stage.browser.execute_script("document.querySelector('#move-time').value = ''")
    stage.click("Move")
    assert stage.has_button("Keep as it is")
    assert stage.writes() == []


@pytest.mark.parametrize("changes", [{"confirm": "required"}])
def test_confirmation_is_shown_and_given_in_the_panel(stage):
    """If the client can't prompt, the preview is the question and a second click confirms."""
    open_menu(stage)
    stage.click("Cancel post")
    stage.see("Keep it")
    stage.press("cancel-yes")
    stage.see("Cancel post: please confirm", "Delete this post?", MENU)
    assert find_menu_post(stage)
    stage.click("Confirm")
    stage.see("Cancel post: done")
    assert MENU not in [post["content"][: len(MENU)] for post in stage.posts()]
    assert [name for name, _ in stage.writes()] == ["delete_post", "delete_post"]


@pytest.mark.parametrize("changes", [{"confirm": "required"}])
def test_question_of_the_server_can_be_declined(stage):
    """Nothing else is sent."""
    open_menu(stage)
    stage.click("Cancel post")
    stage.press("cancel-yes")
    stage.see("please confirm")
    stage.click("Don't")
    assert not stage.has_button("Confirm")
    assert find_menu_post(stage)
    assert len(stage.writes()) == 1


@pytest.mark.parametrize("changes", [{"access": "read"}])
def test_access_of_the_server_applies_to_panels(stage):
    """A click can't call a tool that isn't registered."""
    open_menu(stage)
    stage.click("Cancel post")
    stage.press("cancel-yes")
    stage.see("Cancel post: not done", "Unknown tool: delete_post")
    assert find_menu_post(stage)


def test_plan_is_shown_changed_and_applied(stage):
    """Dropping a post plans the others again at the times that were shown."""
    stage.open("calendar", "plan_posts", arguments=PLAN)
    stage.see("3 posts proposed", "Nothing is scheduled yet.", "First of the plan", "Proposed", MENU)
    stage.click("Drop post 2 from the plan")
    shown = stage.see("Drop post 2: done", "2 posts proposed")
    assert "Second of the plan" not in shown.partition("2 posts proposed")[2]
    (tool, args) = stage.writes()[-1]
    assert (tool, [post["content"] for post in args["posts"]]) == (
        "plan_posts",
        ["First of the plan", "Third of the plan"],
    )
    assert [post["scheduled_at"] for post in args["posts"]] == [
        "2026-11-26T09:00:00+01:00",
        "2026-11-28T09:00:00+01:00",
    ]
    stage.click("Schedule 2 posts")
    stage.see("Schedule the plan: done", "2 of 2 posts scheduled now")
    contents = [post["content"] for post in stage.posts()]
    assert ("First of the plan" in contents, "Second of the plan" in contents, "Third of the plan" in contents) == (
        True,
        False,
        True,
    )
    assert "apply_plan" in stage.wait(lambda: stage.log()["context"])[-1]["content"][0]["text"]
    assert not stage.has_button("Schedule 2 posts")


def test_plan_loses_its_last_post_and_is_empty(stage):
    """Nothing is planned again for that."""
    stage.open("calendar", "plan_posts", arguments={"posts": PLAN["posts"][:1]})
    stage.see("1 post proposed")
    stage.click("Drop post 1 from the plan")
    stage.see("The plan is empty")
    assert [name for name, _ in stage.writes()] == ["plan_posts"]


def test_posts_without_a_time_are_named_with_the_reason(stage):
    """A plan says what it could not place."""
    posts = [*PLAN["posts"][:1], {"content": "x" * 400, "platforms": ["twitter"], "scheduled_at": "2026-11-26T11:00"}]
    stage.open("calendar", "plan_posts", arguments={"posts": posts})
    stage.see("1 post proposed", "Post 2 has no time: ")
    stage.click("Close the plan")
    assert "proposed" not in stage.text()


def test_applied_plan_is_shown_where_its_posts_are(stage):
    """In the week of the first one."""
    planned = stage_plan(stage)
    stage.open("calendar", "apply_plan", arguments={"plan_id": planned})
    stage.see("Plan applied", "3 of 3 posts scheduled now", "Week of 23 November 2026", "Third of the plan")


def stage_plan(stage: Stage) -> str:
    """Make a plan as a model does; its id."""
    stage.open("calendar", "plan_posts", arguments=PLAN)
    shown = stage.see("Nothing is scheduled yet.")
    return shown.partition("Plan ")[2][:12]


def test_servers_clock_is_used_instead_of_the_browsers(stage):
    """The sandbox is in 2026, wherever the browser is."""
    assert NOW.year == 2026
    stage.open("calendar", "list_posts")
    assert "Tue 24\nToday" in stage.see("Today")


def test_second_click_while_a_call_runs_sends_nothing(stage):
    """Neither the same action nor another one."""
    open_menu(stage)
    stage.click("Cancel post")
    stage.see("Keep it")
    both = "const [yes, other] = arguments[0].map(key => document.querySelector(`[data-key='${key}']`));"
    stage.browser.execute_script(f"{both} yes.click(); yes.click(); other.click()", ["cancel-yes", "change-time"])
    stage.see("Cancel post: done")
    stage.settle()
    assert [name for name, _ in stage.writes()] == ["delete_post"]
    assert "Move “" not in stage.text()


def test_each_action_is_reported_with_those_before_it(stage):
    """An update of the model's context replaces the one before."""
    open_menu(stage)
    stage.click("Change time")
    stage.browser.execute_script("document.querySelector('#move-date').value = '2026-11-20'")
    stage.click("Move")
    stage.see("Move post: not done")
    stage.click("Cancel post")
    stage.press("cancel-yes")
    stage.see("Cancel post: done")
    first, second = (each["content"][0]["text"] for each in stage.log()["context"])
    assert "Cancel post" not in first
    assert second.index("Move post (reschedule_post") < second.index("Cancel post (delete_post")
    assert "is in the past" in second


def test_hour_that_a_clock_change_repeats_or_skips(stage):
    """Both times of a repeated hour are in their day; a skipped one is refused in the server's words."""
    for number, at in enumerate(("2026-10-25T00:30", "2026-10-25T01:30")):
        stage.add_post(f"Half past two, time {number}", at)
    stage.open("calendar", "list_posts", arguments={"after": "2026-10-19", "before": "2026-10-25"})
    stage.see("Week of 19 October 2026", "Times in Europe/Paris", "time 0", "time 1")
    # The week may still be drawn again when its posts are loaded.
    stage.wait(lambda: find_day(stage, "2026-10-25").text.count("02:30") == 2)
    stage.click("Next week")
    stage.see("Week of 26 October 2026")
    open_menu(stage)
    stage.click("Change time")
    fields = "for (const [id, value] of arguments[0]) document.querySelector(`#move-${id}`).value = value"
    stage.browser.execute_script(fields, [["date", "2027-03-28"], ["time", "02:30"]])
    stage.click("Move")
    stage.see("Move post: not done", "02:30")


@pytest.mark.requirement("panels.accessible")
def test_keyboard_alone_turns_the_calendar_and_copies_a_text(stage):
    """Weeks, months, and the text of a post."""
    stage.open("calendar", "list_posts")
    stage.see(MENU)
    for key, words in (("next", "Week of 30 November"), ("today", MENU), ("month", "Mon\nTue\nWed")):
        press_to(stage, key)
        press_keys(stage, Keys.ENTER)
        stage.see(words)
    stage.settle()
    press_keys(stage, Keys.SHIFT + Keys.TAB)
    assert stage.find_focused() == "week"
    press_keys(stage, Keys.ENTER)
    stage.see("Week of 23 November 2026", MENU)
    press_to(stage, f"post {find_menu_post(stage)['id']}")
    press_keys(stage, Keys.ENTER)
    stage.see("Copy text")
    press_to(stage, "copy")
    press_keys(stage, Keys.SPACE)
    stage.see("Text copied")
    assert stage.read_copied().startswith(MENU)
    press_to(stage, "back")
    press_keys(stage, Keys.ENTER)
    stage.see("Week of 23 November 2026")
