"""The post panel in a strict host: previews, lengths, problems and actions."""

from typing import Any

import pytest
from selenium.webdriver import Keys

from tests.panels.conftest import Stage
from tests.panels.test_calendar import press_keys, press_to
from tests.support.browser import needs_chromium

pytestmark = [pytest.mark.browser, pytest.mark.requirement("panels.actions"), needs_chromium]

# The opacity of the middle of each image.
PAINTED = """
return [...document.querySelectorAll("canvas")].map(each =>
  each.getContext("2d").getImageData(each.width / 2, each.height / 2, 1, 1).data[3]);
"""
# Too long for X, and without the media that Instagram needs.
WORDS = "Our winter menu is here: pear tart, spiced buns and #cortado by @harbor.cafe. " * 5
CHECK = {"content": WORDS, "platforms": ["twitter", "linkedin", "instagram"], "scheduled_at": "2026-11-26T10:00"}


def find_newest(stage: Stage, status: str) -> dict[str, Any]:
    """Return the post of a status that was made last."""
    return max(stage.posts(status), key=lambda post: post["sequence"])


def find_scheduled(stage: Stage) -> dict[str, Any]:
    """Return a scheduled post with media."""
    return next(post for post in stage.posts() if post["media_urls"] != "[]")


def test_scheduled_post_is_shown_as_each_platform_shows_it(stage: Stage) -> None:
    """With its images, read through the server, and its lengths as the platforms count."""
    post = find_scheduled(stage)
    stage.open("post", "get_post", arguments={"post_id": post["id"]})
    stage.see("characters", "Scheduled", "Times in Europe/Paris", "Harbor Café")
    stage.wait(lambda: set(stage.browser.execute_script(PAINTED)) == {255})
    assert stage.writes() == []


def test_thread_is_shown_part_by_part_on_x_alone(stage: Stage) -> None:
    """Other platforms get the first text."""
    args = {"content": "Part one", "thread": ["Part two", "Part three"], "account_ids": ["@harborcafe"]}
    stage.open("post", "check_post", arguments={**args, "platforms": ["twitter"]})
    stage.see("1 of 3", "Part one", "3 of 3", "Part three", "Preview. Nothing was sent.", "10 of 280 characters")


def test_check_shows_lengths_problems_and_a_thread_that_fits(stage: Stage) -> None:
    """What is too long is said in numbers, and the proposal is checked by a click."""
    stage.open("post", "check_post", arguments=CHECK)
    stage.see("Error: X: content has", "too many", "Instagram needs at least one image", "As a thread of 2 on X")
    assert "of 3000 characters" in stage.text()
    assert not stage.has_button("Schedule it")
    stage.click("Check it as a thread")
    stage.see("Check as a thread: done", "1 of 2", "2 of 2")
    assert "X: content has" not in stage.text()
    ((tool, args),) = [call for call in stage.calls if "thread" in call[1]]
    assert (tool, len(args["thread"]), args["scheduled_at"]) == ("check_post", 1, "2026-11-26T10:00")


def test_text_is_folded_where_the_network_folds_it(stage: Stage) -> None:
    """And unfolded by a click."""
    stage.open("post", "check_post", arguments=CHECK)
    stage.see("of 3000 characters")
    more = stage.button("More of the text on LinkedIn")
    assert more.get_attribute("aria-expanded") == "false"
    before = len(stage.text())
    stage.click("More of the text on LinkedIn")
    stage.button("Less of the text on LinkedIn")
    assert len(stage.text()) > before


def test_checked_post_is_scheduled_by_a_click(stage: Stage) -> None:
    """With the arguments that were checked."""
    args = {"content": "Fresh from the panel", "platforms": ["linkedin"], "scheduled_at": "2026-11-26T10:00"}
    stage.open("post", "check_post", arguments=args)
    stage.see("20 of 3000 characters")
    assert stage.writes() == []
    stage.click("Schedule it")
    stage.see("Schedule it: done", "Scheduled", "Cancel post")
    assert stage.writes() == [("create_post", args)]
    assert find_newest(stage, "scheduled")["content"] == "Fresh from the panel"
    assert "create_post" in stage.wait(lambda: stage.log()["context"])[-1]["content"][0]["text"]


def test_checked_change_is_made_by_a_click(stage: Stage) -> None:
    """What the change leaves out is shown from the post."""
    post = find_scheduled(stage)
    args = {"post_id": post["id"], "content": "Another text for it"}
    stage.open("post", "check_post", arguments=args)
    stage.see("Another text for it", "Nothing was sent")
    assert stage.browser.execute_script("return document.querySelectorAll('.media').length") > 0
    stage.click("Change the post")
    stage.see("Change the post: done", "Another text for it", "Change time")
    assert stage.writes() == [("reschedule_post", args)]


def test_created_and_changed_posts_are_shown_as_they_are_stored(stage: Stage) -> None:
    """Below the tool's own words."""
    stage.open("post", "create_post", arguments={"content": "A draft of the model", "platforms": ["linkedin"]})
    stage.see("Post created", "Draft saved: ", "Draft", "20 of 3000 characters", "Set a time")
    post_id = find_newest(stage, "draft")["id"]
    stage.open("post", "reschedule_post", arguments={"post_id": post_id, "scheduled_at": "2026-11-27T10:00"})
    stage.see("Post changed", "Rescheduled: ", "Fri 27 Nov, 10:00")


def test_post_is_moved_copied_and_deleted(stage: Stage) -> None:
    """The panel follows the post, whose id changes."""
    post = find_scheduled(stage)
    stage.open("post", "get_post", arguments={"post_id": post["id"]})
    stage.see("Copy text", "characters")
    stage.click("Copy text")
    stage.see("Text copied")
    stage.click("Change time")
    stage.browser.execute_script("document.querySelector('#move-date').value = '2026-11-28'")
    stage.click("Move")
    stage.see("Move post: done", "Sat 28 Nov")
    stage.settle()
    stage.click("Cancel post")
    stage.press("cancel-yes")
    stage.see("Cancel post: done", "The post is deleted")
    assert [name for name, _ in stage.writes()] == ["reschedule_post", "delete_post"]
    assert stage.writes()[1][1]["post_id"] != post["id"]


def test_results_and_links_of_a_failed_post_are_shown(stage: Stage) -> None:
    """A link leaves through the host, and only as https."""
    post = find_newest(stage, "partial")
    stage.open("post", "get_post", arguments={"post_id": post["id"]})
    stage.see("Partial", "The connection of @harborcafe_berlin has expired", "Open post")
    stage.click("Open post")
    assert stage.wait(lambda: stage.log()["links"])[0].startswith("https://instagram.example/")
    stage.open("post", "get_post", arguments={"post_id": post["id"]}, capabilities={"serverTools": {}})
    stage.see("https://instagram.example/")
    assert not stage.has_button("Open post")


def test_images_that_the_policy_keeps_out_are_named(stage: Stage) -> None:
    """Foreign hosts are not contacted."""
    args = {"content": "With a picture", "platforms": ["linkedin"], "media_urls": ["http://elsewhere.example/cat.png"]}
    stage.open("post", "check_post", arguments=args)
    stage.see("cat.png", "not shown here")


@pytest.mark.requirement("panels.accessible")
def test_keyboard_alone_checks_a_thread_and_schedules_it(stage: Stage) -> None:
    """Tab and Enter are enough."""
    stage.open("post", "check_post", arguments={**CHECK, "platforms": ["twitter"]})
    stage.see("As a thread of 2 on X")
    stage.settle()
    press_to(stage, "thread")
    press_keys(stage, Keys.ENTER)
    stage.see("Check as a thread: done", "2 of 2")
    press_to(stage, "send")
    press_keys(stage, Keys.ENTER)
    stage.see("Schedule it: done", "Cancel post")
    assert len(stage.writes()) == 1


@pytest.mark.requirement("panels.text")
def test_right_to_left_text_is_shown_from_the_right(stage: Stage) -> None:
    """It keeps its own direction within other text."""
    text = "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd"
    stage.open("post", "check_post", arguments={"content": text, "platforms": ["linkedin"]})
    stage.see(text)
    assert stage.browser.execute_script("return getComputedStyle(document.querySelector('.text')).direction") == "rtl"
