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

from tests.packages.conftest import ROOT, read_text
from ttp_mcp import __version__
from ttp_mcp.server.skills import all_skills
from ttp_mcp.tools import every_tool

pytestmark = pytest.mark.requirement("packages.plugins")


def make_schema(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """Return a schema of an object without other keys."""
    return {"type": "object", "properties": properties, "required": [*required], "additionalProperties": False}


TEXT = {"type": "string", "minLength": 1}
URL = {"type": "string", "pattern": "^https://"}
NAME = {"type": "string", "maxLength": 64, "pattern": r"^(?!.*(--|\.\.))[a-z0-9]([a-z0-9.-]*[a-z0-9])?$"}
VERSION = {"const": __version__}
TEXTS = {"type": "array", "items": TEXT}
# Cursor allows name and email, Agent Plugins also a URL; each has name only.
AUTHOR = make_schema(("name",), name=TEXT)
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


def make_servers_schema(**properties: Any) -> dict[str, Any]:
    """Return the schema of the only server."""
    return make_schema(("timetopost",), timetopost=make_schema((*COMMAND, *properties), **COMMAND, **properties))


# Every rule of each format that our files use, and no other key: Agent Plugins and Cursor publish closed schemas (requirements).
SCHEMAS: dict[str, dict[str, Any]] = {
    "plugin/plugin.json": make_schema(
        ("$schema", "name"),
        **ABOUT,
        **{"$schema": {"const": "https://agent-plugins.org/schemas/1.0.0/plugin.schema.json"}},
    ),
    "plugin/mcp.json": make_schema(
        ("$schema", "mcpServers"),
        mcpServers=make_servers_schema(type={"const": "stdio"}),
        **{"$schema": {"const": "https://agent-plugins.org/schemas/1.0.0/mcp.schema.json"}},
    ),
    "plugin/.claude-plugin/plugin.json": make_schema(
        ("name",), **ABOUT, mcpServers=make_servers_schema(), network=make_schema(("hosts",), hosts=TEXTS)
    ),
    "plugin/.cursor-plugin/plugin.json": make_schema(
        ("name",), **ABOUT, displayName=TEXT, skills=TEXT, mcpServers=make_servers_schema()
    ),
    ".claude-plugin/marketplace.json": make_schema(
        ("name", "owner", "plugins"),
        name=NAME,
        owner=AUTHOR,
        metadata=make_schema(description=TEXT),
        plugins={
            "type": "array",
            "minItems": 1,
            "items": make_schema(
                ("name", "source"),
                **{key: ABOUT[key] for key in ("name", "version", "description", "author")},
                source={"type": "string", "pattern": r"^\./"},
                category=TEXT,
            ),
        },
    ),
    "gemini-extension.json": make_schema(
        ("name", "version"),
        name={"type": "string", "pattern": "^[a-zA-Z0-9-]+$"},
        version=VERSION,
        description=TEXT,
        mcpServers=make_servers_schema(),
        settings={
            "type": "array",
            "items": make_schema(
                ("name", "description", "envVar"),
                name=TEXT,
                description=TEXT,
                envVar=TEXT,
                sensitive={"type": "boolean"},
            ),
        },
    ),
    "glama.json": make_schema(
        ("$schema", "maintainers"),
        maintainers=TEXTS,
        **{"$schema": {"const": "https://glama.ai/mcp/schemas/server.json"}},
    ),
    "deploy/docker-catalogue/server.yaml": make_schema(
        ("name", "image", "type", "meta", "about", "source"),
        name=NAME,
        image={"const": f"ghcr.io/timetopost/ttp-mcp:{__version__}"},
        type={"const": "server"},
        meta=make_schema(("category", "tags"), category=TEXT, tags=TEXTS),
        about=make_schema(("title", "description", "icon"), title=TEXT, description=TEXT, icon=URL),
        source=make_schema(("project",), project=URL, branch=TEXT),
        run=make_schema(volumes=TEXTS),
        config=make_schema(
            description=TEXT,
            secrets={
                "type": "array",
                "items": make_schema(("name", "env", "example"), name=TEXT, env=TEXT, example=TEXT),
            },
            env={"type": "array", "items": make_schema(("name", "value"), name=TEXT, example=TEXT, value=TEXT)},
            parameters={"type": "object"},
        ),
    ),
}
WITH_A_SERVER = sorted(name for name, schema in SCHEMAS.items() if "mcpServers" in schema["properties"])


def read_manifest(name: str) -> dict[str, Any]:
    """Return a parsed manifest."""
    return yaml.safe_load(read_text(name)) if name.endswith(".yaml") else json.loads(read_text(name))


@pytest.mark.parametrize("name", SCHEMAS)
def test_manifest_is_valid_in_its_format(name):
    """An unknown key or value makes clients reject the whole file."""
    assert [error.message for error in Draft202012Validator(SCHEMAS[name]).iter_errors(read_manifest(name))] == []


def test_marketplace_points_to_the_plugin():
    """By its name and folder."""
    (listed,) = read_manifest(".claude-plugin/marketplace.json")["plugins"]
    assert (ROOT / listed["source"] / ".claude-plugin" / "plugin.json").is_file()
    assert listed["name"] == read_manifest("plugin/.claude-plugin/plugin.json")["name"]


def test_gemini_extension_asks_for_the_token_as_a_secret():
    """It is kept in the system's keychain."""
    (setting,) = read_manifest("gemini-extension.json")["settings"]
    assert (setting["envVar"], setting["sensitive"]) == ("TTP_API_TOKEN", True)


def test_docker_catalogue_entry_keeps_the_token_secret_and_the_ledger():
    """A container is removed after each use, so the ledger needs a volume."""
    entry = read_manifest("deploy/docker-catalogue/server.yaml")
    assert [each["env"] for each in entry["config"]["secrets"]] == ["TTP_API_TOKEN"]
    assert "TTP_API_TOKEN" not in [each["name"] for each in entry["config"]["env"]]
    (volume,) = entry["run"]["volumes"]
    assert f"TTP_STATE_DIR={volume.partition(':')[2]}\n" in read_text("Dockerfile")


@pytest.mark.parametrize("name", SCHEMAS)
def test_manifest_contains_no_secret(name):
    """Neither a token nor a placeholder for one."""
    text = read_text(name)
    assert not re.search(r"ttp_[0-9a-f]", text)
    assert "env" not in json.dumps([read_manifest(each)["mcpServers"] for each in WITH_A_SERVER])


def test_plugin_has_every_skill_as_the_server_serves_it():
    found = {path.parent.name: path.read_text(encoding="utf-8") for path in (ROOT / "plugin" / "skills").glob("*/*.md")}
    assert found == {skill.name: skill.markdown for skill in all_skills()}


@pytest.mark.parametrize("name", WITH_A_SERVER)
async def test_manifest_starts_the_server(name, tmp_path):
    """From its own folder, in a fresh home, by its command. `uvx` is replaced by what PyPI would install."""
    (server,) = read_manifest(name)["mcpServers"].values()
    assert server["command"] == "uvx"
    assert server["args"][0] == "ttp-mcp"
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "PATH": os.environ["PATH"]}
    arguments = ["-m", "ttp_mcp", *server["args"][1:]]
    parameters = StdioServerParameters(command=sys.executable, args=arguments, env=home, cwd=(ROOT / name).parent)
    async with Client(parameters) as client:
        listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed] == [tool.name for tool in every_tool()]
