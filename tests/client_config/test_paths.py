"""Where each client keeps its settings."""

from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest

from ttp_mcp.client_config.clients import CLIENTS
from ttp_mcp.client_config.paths import Machine, windsurf_before_devin

pytestmark = pytest.mark.requirement("clients.paths")

LINUX = Machine("linux", PurePosixPath("/home/ada"), {})
MACOS = Machine("macos", PurePosixPath("/Users/ada"), {})
WINDOWS = Machine("windows", PureWindowsPath(r"C:\Users\ada"), {"APPDATA": r"C:\Users\ada\AppData\Roaming"})

TABLE = {
    "claude-desktop": (
        "/home/ada/.config/Claude/claude_desktop_config.json",
        "/Users/ada/Library/Application Support/Claude/claude_desktop_config.json",
        r"C:\Users\ada\AppData\Roaming\Claude\claude_desktop_config.json",
    ),
    "claude-code": ("/home/ada/.claude.json", "/Users/ada/.claude.json", r"C:\Users\ada\.claude.json"),
    "cursor": ("/home/ada/.cursor/mcp.json", "/Users/ada/.cursor/mcp.json", r"C:\Users\ada\.cursor\mcp.json"),
    "vscode": (
        "/home/ada/.config/Code/User/mcp.json",
        "/Users/ada/Library/Application Support/Code/User/mcp.json",
        r"C:\Users\ada\AppData\Roaming\Code\User\mcp.json",
    ),
    "codex": ("/home/ada/.codex/config.toml", "/Users/ada/.codex/config.toml", r"C:\Users\ada\.codex\config.toml"),
    "gemini": (
        "/home/ada/.gemini/settings.json",
        "/Users/ada/.gemini/settings.json",
        r"C:\Users\ada\.gemini\settings.json",
    ),
    "windsurf": (
        "/home/ada/.config/devin/mcp_config.json",
        "/Users/ada/.config/devin/mcp_config.json",
        r"C:\Users\ada\AppData\Roaming\devin\mcp_config.json",
    ),
    "zed": (
        "/home/ada/.config/zed/settings.json",
        "/Users/ada/.config/zed/settings.json",
        r"C:\Users\ada\AppData\Roaming\Zed\settings.json",
    ),
}


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_path_of_a_client_follows_the_operating_system(client):
    """The table above is the clients' own documentation, one row a client."""
    assert tuple(str(client.path(machine)) for machine in (LINUX, MACOS, WINDOWS)) == TABLE[client.name]


def test_path_follows_the_variables_that_clients_honour():
    """A moved folder is found through the variable that moved it."""
    environ = {"XDG_CONFIG_HOME": "/etc/ada", "CODEX_HOME": "/codex", "CLAUDE_CONFIG_DIR": "/claude"}
    machine = Machine("linux", PurePosixPath("/home/ada"), environ)
    paths = {client.name: str(client.path(machine)) for client in CLIENTS}
    assert paths["zed"] == "/etc/ada/zed/settings.json"
    assert paths["codex"] == "/codex/config.toml"
    assert paths["claude-code"] == "/claude/.claude.json"


def test_path_ignores_a_relative_folder_in_a_variable():
    """A relative folder would depend on where the command was run."""
    machine = Machine("linux", PurePosixPath("/home/ada"), {"XDG_CONFIG_HOME": "settings"})
    assert str(CLIENTS[0].path(machine)).startswith("/home/ada/.config/")


def test_path_on_windows_without_appdata_is_below_the_home_folder():
    """APPDATA can be missing in a bare service environment."""
    machine = Machine("windows", PureWindowsPath(r"C:\Users\ada"), {})
    assert str(CLIENTS[0].path(machine)).startswith(r"C:\Users\ada\AppData\Roaming\Claude")


@pytest.mark.parametrize(
    ("publishers", "folder"),
    [
        ([], r"AppData\Roaming\Claude"),
        (["x"], r"AppData\Local\Packages\Claude_x\LocalCache\Roaming\Claude"),
        (["x", "y"], r"AppData\Roaming\Claude"),
    ],
)
def test_path_of_claude_desktop_from_a_package_is_in_that_package(publishers, folder):
    """Where there is one: of two, neither is known to be the one that is used."""
    home = PureWindowsPath(r"C:\Users\ada")
    packages = [home / rf"AppData\Local\Packages\Claude_{each}\LocalCache\Roaming\Claude" for each in publishers]
    path = CLIENTS[0].path(Machine("windows", home, {}, packages))
    assert path == home / folder / "claude_desktop_config.json"


def test_path_of_windsurf_before_its_new_name_is_known():
    """People who have not updated still have the old file."""
    assert str(windsurf_before_devin(LINUX)) == "/home/ada/.codeium/windsurf/mcp_config.json"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_documentation_has_the_path_of_a_client_on_each_system(client):
    """For users who edit the file by hand."""
    linux, macos, windows = TABLE[client.name]
    windows = windows.replace(r"C:\Users\ada\AppData\Roaming", "%APPDATA%").replace(r"C:\Users\ada", "~")
    shown = (macos.replace("/Users/ada", "~"), linux.replace("/home/ada", "~"), windows)
    text = (Path(__file__).parents[2] / "docs/install.md").read_text(encoding="utf-8")
    assert "| {} |\n".format(" | ".join(f"`{path}`" for path in shown)) in text


@pytest.mark.parametrize("page", ["README.md", "docs/install.md"])
def test_first_lines_about_install_name_every_client(page):
    """Users find only the clients that are named there."""
    text = (Path(__file__).parents[2] / page).read_text(encoding="utf-8")
    first, *others = (client.name for client in CLIENTS)
    assert f"\nttp-mcp install {first}  # or: {', '.join(others)}\n" in text
