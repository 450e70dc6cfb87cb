"""Where each client keeps its settings, per operating system."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import Literal

System = Literal["linux", "macos", "windows"]


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts that the paths depend on. `environ` is read for XDG_CONFIG_HOME, APPDATA, CODEX_HOME and CLAUDE_CONFIG_DIR.

    `claude_packages` are the settings folders of Claude Desktop as packaged for Windows (MSIX), whose programs are given a
    copy of %APPDATA% of their own.
    """

    system: System
    home: PurePath
    environ: Mapping[str, str]
    claude_packages: Sequence[PurePath] = ()

    @property
    def settings(self) -> PurePath:
        """Return the folder in which desktop programs keep their settings."""
        match self.system:
            case "linux":
                return self._named("XDG_CONFIG_HOME") or self.home / ".config"
            case "macos":
                return self.home / "Library" / "Application Support"
            case _:
                return self._named("APPDATA") or self.home / "AppData" / "Roaming"

    @property
    def dot_config(self) -> PurePath:
        """Return `~/.config`, which some programs use on macOS too; on Windows the settings folder."""
        return self.home / ".config" if self.system == "macos" else self.settings

    def folder(self, variable: str, default: str) -> PurePath:
        """Return the folder that a variable names, else one below the home folder."""
        return self._named(variable) or self.home / default

    def _named(self, variable: str) -> PurePath | None:
        text = self.environ.get(variable, "")
        path = PureWindowsPath(text) if self.system == "windows" else PurePosixPath(text)
        # The XDG rules say that a relative path is to be ignored; a relative one would be wrong for the others too.
        return path if path.is_absolute() else None


def claude_desktop(machine: Machine) -> PurePath:
    """Source: modelcontextprotocol.io, "Connect to local servers". On Linux, what ports of it use.

    The package for Windows: anthropics/claude-code, issues 25579 and 26073. Of several packages none is known to be used.
    """
    packaged = machine.claude_packages if len(machine.claude_packages) == 1 else ()
    folder = next(iter(packaged), machine.settings / "Claude")
    return folder / "claude_desktop_config.json"


def claude_code(machine: Machine) -> PurePath:
    """Source: Claude Code, "MCP installation scopes": user scope."""
    return machine.folder("CLAUDE_CONFIG_DIR", "") / ".claude.json"


def cursor(machine: Machine) -> PurePath:
    """Source: Cursor, "Model Context Protocol": global configuration."""
    return machine.home / ".cursor" / "mcp.json"


def vscode(machine: Machine) -> PurePath:
    """Source: VS Code, "MCP servers in VS Code": user profile."""
    return machine.settings / "Code" / "User" / "mcp.json"


def codex(machine: Machine) -> PurePath:
    """Source: Codex, "Model Context Protocol": shared by its command line, editor extension and app."""
    return machine.folder("CODEX_HOME", ".codex") / "config.toml"


def gemini(machine: Machine) -> PurePath:
    """Source: Gemini CLI, "Configuration": user settings file."""
    return machine.home / ".gemini" / "settings.json"


def windsurf(machine: Machine) -> PurePath:
    """Devin Desktop, the name of Windsurf since June 2026. Source: its documentation, "MCP"."""
    return machine.dot_config / "devin" / "mcp_config.json"


def windsurf_before_devin(machine: Machine) -> PurePath:
    """Windsurf with Cascade. Source: docs.windsurf.com, "Model Context Protocol"."""
    return machine.home / ".codeium" / "windsurf" / "mcp_config.json"


def zed(machine: Machine) -> PurePath:
    """Source: Zed, "Configuring Zed"."""
    name = "Zed" if machine.system == "windows" else "zed"
    return machine.dot_config / name / "settings.json"
