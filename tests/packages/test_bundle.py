"""The MCPB bundle, which Claude Desktop installs with a double click."""

import json
import re
import struct
import tomllib

import pytest

from tests.packages.conftest import ROOT, load_script, read_text
from ttp_mcp import __version__
from ttp_mcp.tools import every_tool

pytestmark = pytest.mark.requirement("packages.bundle")


@pytest.fixture
def manifest():
    """The parsed manifest."""
    return json.loads(read_text("mcpb/manifest.json"))


@pytest.fixture
def bundle_folder(tmp_path):
    """The bundle's files in a folder."""
    load_script("mcpb").stage(tmp_path)
    return tmp_path


def run_main(*arguments):
    """Return the arguments and environment that the bundle starts the server with."""
    names: dict[str, object] = {"__name__": "bundle"}
    exec(compile(read_text("mcpb/main.py"), "main.py", "exec"), names)
    return names["chosen"](list(arguments))


def test_manifest_lists_exactly_the_servers_tools(manifest):
    """Users decide by this list before they install."""
    assert [tool["name"] for tool in manifest["tools"]] == [tool.name for tool in every_tool()]
    assert manifest["version"] == __version__


def test_manifest_asks_for_the_token_as_a_secret_and_for_folders_by_a_picker(manifest):
    """Nothing is required: with nothing filled in the sandbox can be used."""
    asked = {name: (each["type"], each.get("sensitive", False)) for name, each in manifest["user_config"].items()}
    assert asked == {
        "api_token": ("string", True),
        "media_dirs": ("directory", False),
        "sandbox": ("boolean", False),
        "timezone": ("string", False),
    }
    assert manifest["user_config"]["media_dirs"]["multiple"] is True
    assert not any(each["required"] for each in manifest["user_config"].values())


def test_manifest_options_and_their_uses_match(manifest):
    """The packer doesn't check this."""
    used = set(re.findall(r"\$\{user_config\.(\w+)\}", json.dumps(manifest["server"])))
    assert used == manifest["user_config"].keys()


def test_manifest_puts_no_secret_on_a_command_line(manifest):
    """Every program on the machine could read it."""
    arguments = " ".join(manifest["server"]["mcp_config"]["args"])
    assert "api_token" not in arguments


def test_icon_is_a_square_png_of_128_to_512(bundle_folder):
    """A requirement of the directory."""
    width, height = struct.unpack(">II", (bundle_folder / "icon.png").read_bytes()[16:24])
    assert width == height
    assert 128 <= width <= 512


def test_bundle_contains_only_the_package_and_its_lock(bundle_folder):
    """No tests, caches or developer settings."""
    top = {path.name for path in bundle_folder.iterdir()}
    assert top == {"LICENSE", "icon.png", "main.py", "manifest.json", "pyproject.toml", "ttp_mcp", "uv.lock"}
    staged_files = {
        str(path.relative_to(bundle_folder)) for path in (bundle_folder / "ttp_mcp").rglob("*") if path.is_file()
    }
    assert not [name for name in staged_files if "__pycache__" in name]
    assert {
        "ttp_mcp/sandbox/schema.sql",
        "ttp_mcp/sandbox/page/style.css",
        "ttp_mcp/sandbox/page/templates/base.html",
        "ttp_mcp/platforms/rules.json",
    } <= staged_files


def test_bundles_project_has_our_dependencies_and_needs_no_build(bundle_folder):
    """uv installs them at the first start, as locked."""
    project = tomllib.loads((bundle_folder / "pyproject.toml").read_text())
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dependencies"] == ours["project"]["dependencies"]
    assert project["tool"]["uv"]["package"] is False
    assert 'source = { virtual = "." }' in (bundle_folder / "uv.lock").read_text()


@pytest.mark.parametrize(
    ("arguments", "options", "folders"),
    [
        (("false",), [], None),
        (("true", "/photos", "/videos"), ["--sandbox"], "/photos:/videos"),
        # What the host leaves where nothing was chosen.
        (("${user_config.sandbox}", "${user_config.media_dirs}"), [], None),
        ((), [], None),
    ],
)
def test_start_applies_the_users_choices(monkeypatch, arguments, options, folders):
    """First whether to use the sandbox, then each folder."""
    monkeypatch.setattr("os.pathsep", ":")
    assert run_main(*arguments) == (options, folders)
