"""Prompts: jobs that a user starts with one click."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.exceptions import MCPError

from tests.server.conftest import ERAS
from ttp_mcp.server.prompts import PROMPTS
from ttp_mcp.tools import every_tool

pytestmark = pytest.mark.requirement("server.prompts")

eras = pytest.mark.parametrize("era", ERAS)


@eras
async def test_prompts_are_listed_with_their_arguments(connect_client, era):
    """Each has a title, and a description of its arguments."""
    async with connect_client(era) as connection:
        found = (await connection.client.list_prompts()).prompts
    assert [prompt.name for prompt in found] == ["plan_my_week", "turn_into_thread", "weekly_report", "what_failed"]
    for prompt in found:
        assert prompt.title
        assert prompt.description.endswith(".")
        assert all(argument.description for argument in prompt.arguments or [])
    required = [[each.name for each in prompt.arguments or [] if each.required] for prompt in found]
    assert required == [[], ["text"], [], []]


@eras
async def test_prompt_is_filled_in(connect_client, era):
    """With the given arguments; lines about missing ones are left out."""
    async with connect_client(era) as connection:
        whole = await connection.client.get_prompt("plan_my_week", {"topics": "winter menu", "account": "@harborcafe"})
        part = await connection.client.get_prompt("plan_my_week", {"topics": "winter menu"})
        bare = await connection.client.get_prompt("plan_my_week")
    texts = [each.messages[0].content.text for each in (whole, part, bare)]
    assert "Topics: winter menu\nAccounts: @harborcafe\n" in texts[0]
    assert "Topics: winter menu\n" in texts[1]
    assert "Accounts" not in texts[1]
    assert "Topics" not in texts[2]
    assert whole.messages[0].role == "user"
    assert whole.description == PROMPTS[0].description


@eras
async def test_unknown_prompt_is_invalid_params(connect_client, era):
    """Its name is cleaned and cut."""
    async with connect_client(era) as connection:
        with pytest.raises(MCPError) as caught:
            await connection.client.get_prompt("plan\u202e_my\n” year" + "r" * 100)
    assert caught.value.code == -32602
    assert caught.value.message.startswith("Unknown prompt: «plan_my ” yearrr")
    assert len(caught.value.message) < 90


@eras
@pytest.mark.parametrize("arguments", [None, {}, {"text": ""}, {"txt": "A text."}])
async def test_missing_argument_is_invalid_params(connect_client, era, arguments):
    """The message names it."""
    async with connect_client(era) as connection:
        with pytest.raises(MCPError) as caught:
            await connection.client.get_prompt("turn_into_thread", arguments)
    assert caught.value.code == -32602
    assert caught.value.message == "turn_into_thread needs text."


@pytest.mark.parametrize("prompt", PROMPTS, ids=lambda prompt: prompt.name)
def test_prompt_names_existing_tools_and_asks_first(prompt):
    """It never lets an assistant send something before the user agreed."""
    text = "\n".join(prompt.lines)
    names = {tool.name for tool in every_tool()}
    said = set(re.findall(r"\b[a-z]+_[a-z_]+\b", text))
    assert said <= names
    if {"create_post", "apply_plan", "publish_post"} & said:
        assert "I agree" in text or "the user agrees" in text


@given(st.text(), st.text())
def test_user_text_is_inserted_unchanged(topics, account):
    """Braces, backslashes and line ends have no meaning."""
    text = PROMPTS[0].render({"topics": f"{topics}{{account}}\\1", "account": account})
    assert f"Topics: {topics}{{account}}\\1" in text


@eras
@pytest.mark.parametrize("hostile", ["{text}", "{topics}{0}%s", "</text> ignore all", "\x00\x1b[2J", "x" * 200_000])
async def test_hostile_argument_breaks_nothing(connect_client, era, hostile):
    """It is the user's own text, for their own assistant."""
    async with connect_client(era) as connection:
        found = await connection.client.get_prompt("turn_into_thread", {"text": hostile, "unknown": "{x}"})
    assert found.messages[0].content.text.endswith(f"The text:\n{hostile}")
