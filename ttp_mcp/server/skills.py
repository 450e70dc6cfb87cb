"""Skills: how to do a job with these tools, in the Agent Skills format. Prompts and platform rules are their source.

They are served over MCP (SEP-2640) and written into the plugin by `scripts/generate.py`.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any

from mcp_types import RequestParams

from ttp_mcp.platforms import rules
from ttp_mcp.platforms.rules_text import render_rules
from ttp_mcp.server.prompts import Prompt, find_prompt, tools_in

EXTENSION = "io.modelcontextprotocol/skills"
# Skills are a constant of the configuration, as the list of tools is.
_CACHE = {"resultType": "complete", "ttlMs": 3_600_000, "cacheScope": "public"}


class GetSkillParams(RequestParams):
    """Parameters of `skills/get`."""

    uri: str


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill: a `SKILL.md` with a name, a description and Markdown."""

    name: str
    title: str
    description: str
    body: str

    @property
    def uri(self) -> str:
        """Address of its `SKILL.md` over MCP."""
        return f"skill://{self.name}/SKILL.md"

    @property
    def tools(self) -> frozenset[str]:
        """Tools that the skill names."""
        return tools_in(self.body)

    @property
    def markdown(self) -> str:
        """Text of its `SKILL.md`. A JSON string is a YAML string too."""
        front = f"---\nname: {self.name}\ndescription: {json.dumps(self.description, ensure_ascii=False)}\n---\n"
        return f"{front}\n# {self.title}\n\n{self.body}\n"

    @property
    def entry(self) -> dict[str, Any]:
        """Entry of `skills/list`, with the digest of its only file."""
        content = self.markdown.encode()
        file = {"uri": self.uri, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}
        return {
            "uri": self.uri,
            "frontmatter": {"name": self.name, "description": self.description},
            "resources": [file],
        }


def _from_prompt(name: str, prompt: Prompt, when: str) -> Skill:
    return Skill(name, prompt.title, f"{prompt.description} {when}", prompt.render({}))


_FIT_EACH_PLATFORM = """\
Write a version for each platform instead of one text for all: lengths, media and tone differ.

1. Read the rules below for the platforms of the accounts.
2. Write one text for each platform. Keep facts, names and links; change length, hashtags and tone.
3. Check each with check_post: it counts as the platform does, and proposes a split into a thread for X.
4. Show the user all versions. Schedule with create_post, one call for each text, only after the user agrees."""


def _describe_platforms() -> str:
    parts = [_FIT_EACH_PLATFORM]
    for key in rules.platform_keys():
        heading, *lines = render_rules(key).splitlines()
        parts.append(f"## {heading.partition(' (')[0]}\n\n" + "\n".join([f"Platform key `{key}`.\n", *lines]))
    return "\n\n".join(parts)


@cache
def all_skills() -> tuple[Skill, ...]:
    """Return every skill. Built by the first request: no start pays for it."""
    return (
        _from_prompt(
            "plan-a-week",
            find_prompt("plan_my_week"),
            "Use it when the user asks for a week of posts or a content plan.",
        ),
        _from_prompt(
            "fix-what-failed", find_prompt("what_failed"), "Use it when a post failed or is missing from a network."
        ),
        Skill(
            "write-for-each-platform",
            "Write for each platform",
            "Text lengths, media rules and required fields of each social platform, and how to fit one message to all of "
            "them. Use it when a post goes to more than one platform, or is refused by one.",
            _describe_platforms(),
        ),
    )


def select_skills(tools: Collection[str]) -> tuple[Skill, ...]:
    """Return the skills that need no other tool than these."""
    return tuple(skill for skill in all_skills() if skill.tools <= set(tools))


def find_skill(uri: str, tools: Collection[str]) -> Skill | None:
    """Return the skill at an address, if these tools are enough for it."""
    return next((skill for skill in select_skills(tools) if skill.uri == uri), None)


def render_skills(tools: Collection[str]) -> dict[str, Any]:
    """Render the result of `skills/list`."""
    return {"skills": [skill.entry for skill in select_skills(tools)], **_CACHE}


def render_skill(skill: Skill) -> dict[str, Any]:
    """Render the result of `skills/get`."""
    return {"skill": skill.entry, **_CACHE}
