"""server.json, the server's entry in the MCP registry."""

import json
from typing import Any

import pytest
from jsonschema import Draft7Validator, FormatChecker

from tests.packages.conftest import load_script, read_text
from ttp_mcp import __version__
from ttp_mcp.config import SETTINGS

pytestmark = pytest.mark.requirement("packages.registry")

# The schema allows keys that it does not know; the registry would drop or refuse them.
KEYS = {
    "": {"$schema", "name", "title", "description", "version", "websiteUrl", "repository", "packages"},
    "repository": {"url", "source"},
    "packages": {
        "registryType",
        "identifier",
        "version",
        "runtimeHint",
        "fileSha256",
        "transport",
        "environmentVariables",
    },
    "transport": {"type"},
    "environmentVariables": {"name", "description", "isRequired", "isSecret", "default", "choices"},
}


@pytest.fixture
def server() -> dict[str, Any]:
    """The parsed file."""
    return json.loads(read_text("server.json"))


def list_packages(server) -> dict[str, dict[str, Any]]:
    """The packages by kind."""
    return {each["registryType"]: each for each in server["packages"]}


def test_server_json_is_valid_under_the_registrys_schema(server):
    """Version 2025-12-11, which the file names."""
    schema = json.loads(read_text("tests/packages/data/server.schema.json"))
    assert server["$schema"] == schema["$id"]
    assert [
        error.message for error in Draft7Validator(schema, format_checker=FormatChecker()).iter_errors(server)
    ] == []


def test_server_json_has_only_known_keys(server):
    """At every level."""
    unknown: list[str] = []

    def look(node: Any, where: str) -> None:
        if isinstance(node, list):
            for each in node:
                look(each, where)
        elif isinstance(node, dict):
            unknown.extend(f"{where}.{key}" for key in node.keys() - KEYS[where])
            for key, value in node.items():
                if isinstance(value, dict | list) and key != "choices":
                    look(value, key)

    look(server, "")
    assert unknown == []


def test_server_json_names_this_version_everywhere(server):
    """Another version would install something other than it describes."""
    found = list_packages(server)
    assert server["version"] == __version__
    assert found["pypi"]["version"] == __version__
    assert found["oci"]["identifier"].endswith(f":{__version__}")
    assert "version" not in found["oci"]
    assert found["mcpb"]["identifier"].endswith(f"/v{__version__}/ttp-mcp-{__version__}.mcpb")


def test_readme_and_image_carry_the_servers_name(server):
    """By this the registry checks that package and name have one owner."""
    assert f"<!-- mcp-name: {server['name']} -->" in read_text("README.md")
    assert f'io.modelcontextprotocol.server.name="{server["name"]}"' in read_text("Dockerfile")


def test_only_secrets_are_marked_as_secret(server):
    """Clients keep them in their secret store."""
    secret = {setting.name for setting in SETTINGS if setting.secret}
    for kind in ("pypi", "oci"):
        variables = list_packages(server)[kind]["environmentVariables"]
        assert {each["name"] for each in variables if each["isSecret"]} == secret & {each["name"] for each in variables}
        assert "TTP_API_TOKEN" in secret


def test_unreleased_bundle_has_no_checksum(server):
    """`scripts/release.py` fills it in; any earlier one would match no published bundle."""
    assert "fileSha256" not in list_packages(server)["mcpb"]


@pytest.mark.parametrize("named", [None, "0" * 64, "a" * 64], ids=["missing", "zeros", "of another file"])
def test_release_with_a_wrong_checksum_is_refused(server, tmp_path, named):
    release, bundle = load_script("release"), tmp_path / "ttp-mcp.mcpb"
    bundle.write_bytes(b"a bundle")
    right = json.loads(load_script("generate").server_json(read_text("server.json"), bundle))
    release.check_server(right, bundle)
    if named is not None:
        list_packages(server)["mcpb"]["fileSha256"] = named
    with pytest.raises(release.ReleaseRefused, match="names the checksum"):
        release.check_server(server, bundle)


def test_checksum_of_a_bundle_is_recorded(server, tmp_path):
    """As in a release."""
    bundle = tmp_path / "ttp-mcp.mcpb"
    bundle.write_bytes(b"a bundle")
    generate = load_script("generate")
    renewed = json.loads(generate.server_json(read_text("server.json"), bundle))
    assert list_packages(renewed)["mcpb"]["fileSha256"] == (
        "cd98c950d629c66548537b4ecd68dab3e8cf59974ba6e40df5a1a7354b39db5f"
    )
    assert list_packages(renewed)["pypi"] == list_packages(server)["pypi"]
