"""Plugins and directory entries: valid by the rules of each format, without a secret, and able to start the server."""

import json
import os
import re
import sys
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from mcp import StdioServerParameters
from mcp.client import Client

from tests.packages.conftest import ROOT, text_of
from ttp_mcp import __version__
from ttp_mcp.server.skills import all_skills
from ttp_mcp.tools import every_tool

pytestmark = pytest.mark.requirement("packages.plugins")


def closed(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """Return a schema of an object without other keys."""
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


TEXT = {"type": "string", "minLength": 1}
URL = {"type": "string", "pattern": "^https://"}
NAME = {"type": "string", "maxLength": 64, "pattern": r"^(?!.*(--|\.\.))[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"}
VERSION = {"const": __version__}
TEXTS = {"type": "array", "items": TEXT}
# Cursor allows name and email, Agent Plugins also a URL; each has name only.
AUTHOR = closed(("name",), name=TEXT)
ABOUT = {
    "name": NAME,
    "version": VERSION,
    "description": TEXT,
    "author": AUTHOR,
    "homepage": URL,
    "repository": URL,
    "license": TEXT,
    "keywords": TEXTS,
}
COMMAND = {"command": {"const": "uvx"}, "args": TEXTS}


def servers(**properties: Any) -> dict[str, Any]:
    """Return the schema of the only server."""
    return closed(("timetopost",), timetopost=closed((*COMMAND, *properties), **COMMAND, **properties))


# Every rule of each format that our files use, and no other key: Agent Plugins and Cursor publish closed schemas (requirements).
SCHEMAS: dict[str, dict[str, Any]] = {
    "plugin/plugin.json": closed(
        ("$schema", "name"),
        **ABOUT,
        **{"$schema": {"const": "https://agent-plugins.org/schemas/1.0.0/plugin.schema.json"}},
    ),
    "plugin/mcp.json": closed(
        ("$schema", "mcpServers"),
        mcpServers=servers(type={"const": "stdio"}),
        **{"$schema": {"const": "https://agent-plugins.org/schemas/1.0.0/mcp.schema.json"}},
    ),
    "plugin/.claude-plugin/plugin.json": closed(
        ("name",), **ABOUT, mcpServers=servers(), network=closed(("hosts",), hosts=TEXTS)
    ),
    "plugin/.cursor-plugin/plugin.json": closed(
        ("name",), **ABOUT, displayName=TEXT, skills=TEXT, mcpServers=servers()
    ),
    ".claude-plugin/marketplace.json": closed(
        ("name", "owner", "plugins"),
        name=NAME,
        owner=AUTHOR,
        metadata=closed(description=TEXT),
        plugins={
            "type": "array",
            "minItems": 1,
            "items": closed(
                ("name", "source"),
                **{key: ABOUT[key] for key in ("name", "version", "description", "author")},
                source={"type": "string", "pattern": r"^\./"},
                category=TEXT,
            ),
        },
    ),
    "gemini-extension.json": closed(
        ("name", "version"),
        name={"type": "string", "pattern": "^[a-zA-Z0-9-]+$"},
        version=VERSION,
        description=TEXT,
        mcpServers=servers(),
        settings={
            "type": "array",
            "items": closed(
                ("name", "description", "envVar"),
                name=TEXT,
                description=TEXT,
                envVar=TEXT,
                sensitive={"type": "boolean"},
            ),
        },
    ),
    "glama.json": closed(
        ("$schema", "maintainers"),
        maintainers=TEXTS,
        **{"$schema": {"const": "https://glama.ai/mcp/schemas/server.json"}},
    ),
    "deploy/docker-catalogue/server.yaml": closed(
        ("name", "image", "type", "meta", "about", "source"),
        name=NAME,
        image={"const": f"ghcr.io/timetopost/ttp-mcp:{__version__}"},
        type={"const": "server"},
        meta=closed(("category", "tags"), category=TEXT, tags=TEXTS),
        about=closed(("title", "description", "icon"), title=TEXT, description=TEXT, icon=URL),
        source=closed(("project",), project=URL, branch=TEXT),
        run=closed(volumes=TEXTS),
        config=closed(
            description=TEXT,
            secrets={"type": "array", "items": closed(("name", "env", "example"), name=TEXT, env=TEXT, example=TEXT)},
            env={"type": "array", "items": closed(("name", "value"), name=TEXT, example=TEXT, value=TEXT)},
            parameters={"type": "object"},
        ),
    ),
}
WITH_A_SERVER = sorted(name for name, schema in SCHEMAS.items() if "mcpServers" in schema["properties"])


def read(name: str) -> dict[str, Any]:
    """Return a parsed manifest."""
    return yaml.safe_load(text_of(name)) if name.endswith(".yaml") else json.loads(text_of(name))


@pytest.mark.parametrize("name", SCHEMAS)
def test_manifest_is_valid_in_its_format(name):
    """An unknown key or value makes clients reject the whole file."""
    assert [error.message for error in Draft202012Validator(SCHEMAS[name]).iter_errors(read(name))] == []


def test_marketplace_points_to_the_plugin():
    """By its name and folder."""
    (listed,) = read(".claude-plugin/marketplace.json")["plugins"]
    assert (ROOT / listed["source"] / ".claude-plugin" / "plugin.json").is_file()
    assert listed["name"] == read("plugin/.claude-plugin/plugin.json")["name"]


def test_gemini_extension_asks_for_the_token_as_a_secret():
    """It is kept in the system's keychain."""
    (setting,) = read("gemini-extension.json")["settings"]
    assert (setting["envVar"], setting["sensitive"]) == ("TTP_API_TOKEN", True)


def test_docker_catalogue_entry_keeps_the_token_secret_and_the_ledger():
    """A container is removed after each use, so the ledger needs a volume."""
    entry = read("deploy/docker-catalogue/server.yaml")
    assert [each["env"] for each in entry["config"]["secrets"]] == ["TTP_API_TOKEN"]
    assert "TTP_API_TOKEN" not in [each["name"] for each in entry["config"]["env"]]
    (volume,) = entry["run"]["volumes"]
    assert f"TTP_STATE_DIR={volume.partition(':')[2]}\n" in text_of("Dockerfile")


@pytest.mark.parametrize("name", SCHEMAS)
def test_manifest_contains_no_secret(name):
    """Neither a token nor a placeholder for one."""
    text = text_of(name)
    assert not re.search(r"ttp_[0-9a-f]", text)
    assert "env" not in json.dumps([read(each)["mcpServers"] for each in WITH_A_SERVER])


def test_plugin_has_every_skill_as_the_server_serves_it():
    found = {path.parent.name: path.read_text(encoding="utf-8") for path in (ROOT / "plugin" / "skills").glob("*/*.md")}
    assert found == {skill.name: skill.markdown for skill in all_skills()}


@pytest.mark.parametrize("name", WITH_A_SERVER)
async def test_manifest_starts_the_server(name, tmp_path):
    """From its own folder, in a fresh home, by its command. `uvx` is replaced by what PyPI would install."""
    (server,) = read(name)["mcpServers"].values()
    assert server["command"] == "uvx"
    assert server["args"][0] == "ttp-mcp"
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "PATH": os.environ["PATH"]}
    arguments = ["-m", "ttp_mcp", *server["args"][1:]]
    parameters = StdioServerParameters(command=sys.executable, args=arguments, env=home, cwd=(ROOT / name).parent)
    async with Client(parameters) as client:
        listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed] == [tool.name for tool in every_tool()]
