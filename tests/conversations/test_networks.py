"""User requests about their networks, over real pipes; also with an API without the vendor's endpoints."""

import subprocess
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.test_serve import start_client
from tests.processes import make_environment
from tests.server.conftest import read_text

pytestmark = pytest.mark.requirement("conversations.networks")

PHOTO, CLIP = "https://example.com/buns.jpg", "https://example.com/buns.mp4"
CHOICES = {"allow_comments": True, "allow_duet": False, "allow_stitch": False, "your_brand": False}


@asynccontextmanager
async def open_agent(folder, *, endpoints="on"):
    """An agent over stdio, with the list of its calls."""
    command = [sys.executable, "-m", "ttp_mcp", "sandbox", "endpoints", endpoints]
    subprocess.run(command, env=make_environment(TTP_STATE_DIR=str(folder)), check=True, capture_output=True)
    async with start_client(folder, "--sandbox", TTP_CONFIRM="off") as client:
        calls = []

        async def call(tool, **arguments):
            calls.append(tool)
            result = await client.call_tool(tool, arguments)
            return result.is_error, read_text(result), result.structured_content

        yield call, calls


def make_time():
    """Return half an hour from now, by the machine's clock, which is the sandbox's."""
    return (datetime.now(UTC) + timedelta(minutes=30)).isoformat(timespec="minutes")


async def test_pin_on_a_board_by_its_name_takes_one_call(tmp_path):
    """User: "Pin this photo to the Recipes board." An ambiguous name sends nothing."""
    async with open_agent(tmp_path) as (call, _):
        post = {"content": "Buns", "platforms": ["pinterest"], "media_urls": [PHOTO], "scheduled_at": make_time()}
        failed, text, _ = await call("create_post", **post, platform_data={"pinterest": {"board": "recipe"}})
        assert failed
        assert "«Recipes» (board-recipes), «Winter recipes» (board-winter-recipes)" in text
        assert not (await call("list_posts", text="Buns", status="scheduled"))[2]["posts"]
        failed, text, data = await call("create_post", **post, platform_data={"pinterest": {"board": "Recipes"}})
        assert (failed, data["outcome"]) == (False, "created")
        assert "Board: «Recipes» (board-recipes)." in text


async def test_tiktok_clip_for_everyone_takes_two_calls(tmp_path):
    """User: "Post this clip to TikTok, everyone may see it." """
    async with open_agent(tmp_path) as (call, calls):
        _, _, options = await call("tiktok_options")
        [account] = options["accounts"]
        privacy = next(level for level in account["privacy"] if "EVERYONE" in level)
        block = {**CHOICES, "privacy": privacy, "branded_content": False, "allow_stitch": account["allow_stitch"]}
        post = {
            "content": "Buns",
            "account_ids": [account["account_id"]],
            "media_urls": [CLIP],
            "scheduled_at": make_time(),
        }
        failed, _, data = await call("create_post", **post, platform_data={"tiktok": block})
        assert (failed, data["outcome"], data["warnings"]) == (False, "created", [])
        assert calls == ["tiktok_options", "create_post"]


async def test_best_posts_of_some_months_take_one_call(tmp_path):
    """User: "What were our three best posts since August?" """
    since = (datetime.now(UTC) - timedelta(days=100)).date().isoformat()
    async with open_agent(tmp_path) as (call, _):
        failed, text, data = await call("post_results", after=since, sort_by="likes", limit=3)
        _, _, everything = await call("post_results", after=since, sort_by="likes", limit=20)
    likes = [post["figures"]["likes"] for post in everything["posts"]]
    assert (failed, data["missing"]) == (False, [])
    assert [post["figures"]["likes"] for post in data["posts"]] == sorted(likes, reverse=True)[:3]
    assert all(post["id"] in text for post in data["posts"])


async def test_publishing_a_draft_now_takes_one_call(tmp_path):
    """User: "Publish that draft now." """
    async with open_agent(tmp_path) as (call, _):
        _, _, draft = await call("create_post", content="Buns", platforms=["linkedin"])
        failed, text, data = await call("publish_post", post_id=draft["post_id"])
        assert (failed, data["outcome"]) == (False, "queued")
        assert "goes out within about a minute" in text
        _, _, again = await call("publish_post", post_id=draft["post_id"])
        assert again["outcome"] in ("already_queued", "already_published")


@pytest.mark.parametrize(("status", "outcome"), [("failed", "queued"), ("partial", "retried")])
async def test_retrying_the_failed_post_takes_two_calls(tmp_path, status, outcome):
    """User: "Try the failed post again." """
    async with open_agent(tmp_path) as (call, calls):
        _, _, listed = await call("list_posts", status=status)
        failed, text, data = await call("publish_post", post_id=listed["posts"][0]["id"])
        assert (failed, data["outcome"]) == (False, outcome)
        assert data["failures"]
        assert text.count("It failed before: twitter @harborcafe_berlin") == 1
        assert calls == ["list_posts", "publish_post"]


async def test_missing_endpoints_are_reported_and_nothing_else_fails(tmp_path):
    """The same requests to an API that has only the endpoints of its reference."""
    lacks = "this TimeToPost account's API has no list of "
    async with open_agent(tmp_path, endpoints="off") as (call, _):
        for tool in ("list_boards", "tiktok_options"):
            failed, text, _ = await call(tool)
            assert (failed, text.count(lacks), text.count("\n")) == (True, 1, 0)
        post = {"content": "Buns", "media_urls": [PHOTO], "scheduled_at": make_time()}
        pin = {**post, "platforms": ["pinterest"]}
        failed, text, _ = await call("create_post", **pin, platform_data={"pinterest": {"board": "Recipes"}})
        assert (failed, lacks in text) == (True, True)
        failed, _, data = await call("create_post", **pin, platform_data={"pinterest": {"board_id": "board-recipes"}})
        assert (failed, lacks in data["warnings"][0]) == (False, True)
        clip = {**post, "platforms": ["tiktok"], "media_urls": [CLIP]}
        block = {**CHOICES, "privacy": "PUBLIC_TO_EVERYONE", "branded_content": False}
        failed, _, data = await call("create_post", **clip, platform_data={"tiktok": block})
        assert (failed, data["outcome"], lacks in data["warnings"][0]) == (False, "created", True)
        lacks = "this TimeToPost account's API has no "
        _, _, draft = await call("create_post", content="Buns tomorrow", platforms=["linkedin"])
        for tool, arguments in (("post_results", {}), ("publish_post", {"post_id": draft["post_id"]})):
            failed, text, _ = await call(tool, **arguments)
            assert (failed, text.count(lacks), text.count(". "), text.count("\n")) == (True, 1, 0, 0)
        _, _, listed = await call("list_posts", status="partial")
        failed, _, data = await call("publish_post", post_id=listed["posts"][0]["id"])
        assert (failed, data["outcome"]) == (False, "retried")
        for tool in ("check_setup", "engagement_summary", "list_integrations"):
            assert not (await call(tool))[0]
