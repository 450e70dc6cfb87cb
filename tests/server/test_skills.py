"""Skills over MCP (SEP-2640): listed, looked up and read as files, from the same source as prompts and plugins."""

import hashlib
from typing import Any, Literal

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import Request, RequestParams, Result

from tests.server.conftest import ERAS
from ttp_mcp.server.prompts import find_prompt
from ttp_mcp.server.skills import EXTENSION, all_skills
from ttp_mcp.tools import every_tool

pytestmark = pytest.mark.requirement("server.skills")

eras = pytest.mark.parametrize("era", ERAS)


class ListSkills(Request[RequestParams | None, Literal["skills/list"]]):
    """A request for the list."""

    method: Literal["skills/list"] = "skills/list"
    params: RequestParams | None = None


class SkillParams(RequestParams):
    """The address of a skill."""

    uri: str


class GetSkill(Request[SkillParams, Literal["skills/get"]]):
    """A request for one skill."""

    method: Literal["skills/get"] = "skills/get"
    params: SkillParams


class Listed(Result):
    """The list of skills."""

    skills: list[dict[str, Any]]


class Found(Result):
    """One skill."""

    skill: dict[str, Any]


async def list_skills(connection) -> list[dict[str, Any]]:
    """Return the listed skills."""
    return (await connection.client.session.send_request(ListSkills(), Listed)).skills


async def get_skill(connection, uri) -> dict[str, Any]:
    """Return one skill."""
    return (await connection.client.session.send_request(GetSkill(params=SkillParams(uri=uri)), Found)).skill


@eras
async def test_listed_digests_match_the_files(connect_client, era):
    """Clients check size and digest of what they read."""
    async with connect_client(era) as connection:
        # The protocol of 2025 has no field for extensions.
        assert era == "legacy" or EXTENSION in connection.client.server_capabilities.extensions
        found = await list_skills(connection)
        files = [(await connection.client.read_resource(each["uri"])).contents for each in found]
    assert [each["frontmatter"]["name"] for each in found] == [
        "plan-a-week",
        "fix-what-failed",
        "write-for-each-platform",
    ]
    for skill, (file,) in zip(found, files, strict=True):
        content = file.text.encode()
        assert skill["resources"] == [
            {"uri": skill["uri"], "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}
        ]
        assert file.mime_type == "text/markdown"
        assert file.text.startswith(f"---\nname: {skill['frontmatter']['name']}\ndescription: ")


@eras
async def test_skill_is_found_by_its_address(connect_client, era):
    """An unknown address is a quoted error."""
    async with connect_client(era) as connection:
        listed = await list_skills(connection)
        assert await get_skill(connection, listed[0]["uri"]) == listed[0]
        with pytest.raises(MCPError) as caught:
            await get_skill(connection, "skill://no-such\u202e-skill/SKILL.md")
    assert caught.value.code == -32602
    assert caught.value.message == "Unknown skill: «skill://no-such-skill/SKILL.md»."


async def test_only_skills_whose_tools_are_offered_are_served(connect_client):
    """`read` access offers neither create_post nor apply_plan."""
    async with connect_client(access="read") as connection:
        assert await list_skills(connection) == []
        with pytest.raises(MCPError, match="Unknown skill"):
            await get_skill(connection, "skill://plan-a-week/SKILL.md")
        with pytest.raises(MCPError, match="Unknown resource"):
            await connection.client.read_resource("skill://plan-a-week/SKILL.md")


def test_skills_name_only_tools_that_exist():
    """Every word with an underscore is a tool."""
    known = {tool.name for tool in every_tool()}
    assert all(skill.tools and skill.tools <= known for skill in all_skills())


def test_skills_have_the_steps_of_their_prompts():
    """Both come from one source."""
    plan, failed, _ = all_skills()
    assert find_prompt("plan_my_week").lines[-1] in plan.body
    assert find_prompt("what_failed").lines[-1] in failed.body


def test_skills_fit_the_agent_skills_format():
    """Names and descriptions within its limits, and the platform rules in full."""
    for skill in all_skills():
        assert len(skill.description) <= 1024
        assert skill.name.replace("-", "").isalnum()
        assert skill.name.islower()
    assert "280 weighted characters" in all_skills()[2].body
    assert "platform_data.tiktok.privacy" in all_skills()[2].body
