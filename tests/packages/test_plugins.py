"""Plugins and directory entries: valid by the rules of each format, without a secret, and able to start the server."""

import json
import os
import re
import sys
from typing import Any

import pytest
import yaml
from mcp import StdioServerParameters
from mcp.client import Client

from tests.packages.conftest import ROOT, text_of
from ttp_mcp import __version__
from ttp_mcp.server.skills import all_skills
from ttp_mcp.tools import every_tool

pytestmark = pytest.mark.requirement("packages.plugins")

# What each format allows at its top level. Agent Plugins and Cursor publish closed schemas.
KEYS = {
    "plugin/plugin.json": {
        "$schema",
        "name",
        "version",
        "description",
        "author",
        "homepage",
        "repository",
        "license",
        "keywords",
        "extensions",
    },
    "plugin/mcp.json": {"$schema", "mcpServers"},
    "plugin/.claude-plugin/plugin.json": {
        "name",
        "version",
        "description",
        "author",
        "homepage",
        "repository",
        "license",
        "keywords",
        "mcpServers",
        "network",
    },
    "plugin/.cursor-plugin/plugin.json": {
        "name",
        "displayName",
        "version",
        "description",
        "author",
        "homepage",
        "repository",
        "license",
        "keywords",
        "skills",
        "mcpServers",
    },
    ".claude-plugin/marketplace.json": {"name", "owner", "metadata", "plugins"},
    "gemini-extension.json": {"name", "version", "description", "mcpServers", "settings"},
    "glama.json": {"$schema", "maintainers"},
}
WITH_A_SERVER = sorted(name for name, keys in KEYS.items() if "mcpServers" in keys)


def read(name: str) -> dict[str, Any]:
    """A manifest, read."""
    return json.loads(text_of(name))


@pytest.mark.parametrize("name", KEYS)
def test_manifest_has_only_keys_of_its_format(name):
    """A closed schema refuses any other."""
    assert read(name).keys() <= KEYS[name]


@pytest.mark.parametrize("name", [name for name in KEYS if "version" in KEYS[name]])
def test_manifest_has_this_version_and_a_valid_name(name):
    """Names as the strictest of the formats takes them."""
    manifest = read(name)
    assert manifest["version"] == __version__
    assert re.fullmatch(r"(?!.*(?:--|\.\.))[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?", manifest["name"])


def test_agent_plugin_names_the_published_schemas():
    """Clients choose their rules by these addresses."""
    assert read("plugin/plugin.json")["$schema"] == "https://agent-plugins.org/schemas/1.0.0/plugin.schema.json"
    servers = read("plugin/mcp.json")
    assert servers["$schema"] == "https://agent-plugins.org/schemas/1.0.0/mcp.schema.json"
    assert servers["mcpServers"]["timetopost"].keys() == {"type", "command", "args"}
    assert servers["mcpServers"]["timetopost"]["type"] == "stdio"


def test_authors_have_only_a_name():
    """Cursor allows name and email, Agent Plugins name, email and url."""
    assert all(read(name)["author"].keys() == {"name"} for name in KEYS if "author" in KEYS[name])


def test_marketplace_points_to_the_plugin():
    """Its name and folder are those of the plugin."""
    (listed,) = read(".claude-plugin/marketplace.json")["plugins"]
    assert (ROOT / listed["source"] / ".claude-plugin" / "plugin.json").is_file()
    assert listed["name"] == read("plugin/.claude-plugin/plugin.json")["name"]


def test_gemini_extension_asks_for_the_token_as_a_secret():
    """It goes to the system's keychain."""
    (setting,) = read("gemini-extension.json")["settings"]
    assert (setting["envVar"], setting["sensitive"]) == ("TTP_API_TOKEN", True)


def test_docker_catalogue_entry_names_this_image_and_the_token_as_a_secret():
    """And only as a secret."""
    entry = yaml.safe_load(text_of("deploy/docker-catalogue/server.yaml"))
    assert entry["image"].endswith(f":{__version__}")
    assert [each["env"] for each in entry["config"]["secrets"]] == ["TTP_API_TOKEN"]
    assert "TTP_API_TOKEN" not in [each["name"] for each in entry["config"]["env"]]


@pytest.mark.parametrize("name", [*KEYS, "deploy/docker-catalogue/server.yaml"])
def test_manifest_holds_no_secret(name):
    """Neither a token nor a place for one."""
    text = text_of(name)
    assert not re.search(r"ttp_[0-9a-f]", text)
    assert "env" not in json.dumps([read(each)["mcpServers"] for each in WITH_A_SERVER])


def test_plugin_has_every_skill_as_the_server_serves_it():
    """One source."""
    found = {path.parent.name: path.read_text(encoding="utf-8") for path in (ROOT / "plugin" / "skills").glob("*/*.md")}
    assert found == {skill.name: skill.markdown for skill in all_skills()}


@pytest.mark.parametrize("name", WITH_A_SERVER)
async def test_manifest_starts_the_server(name, tmp_path):
    """From its own folder, in a fresh home, with nothing but its command. `uvx` stands for what PyPI would give."""
    (server,) = read(name)["mcpServers"].values()
    assert server["command"] == "uvx"
    assert server["args"][0] == "ttp-mcp"
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "PATH": os.environ["PATH"]}
    arguments = ["-m", "ttp_mcp", *server["args"][1:]]
    parameters = StdioServerParameters(command=sys.executable, args=arguments, env=home, cwd=(ROOT / name).parent)
    async with Client(parameters) as client:
        listed = (await client.list_tools()).tools
    assert [tool.name for tool in listed] == [tool.name for tool in every_tool()]
