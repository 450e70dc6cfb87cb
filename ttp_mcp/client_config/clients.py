"""The supported MCP clients, as data."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Literal

from ttp_mcp.client_config import paths
from ttp_mcp.client_config.paths import Machine

# One name for the real API and the sandbox: an assistant that saw both could not tell its two lists of posts apart.
SERVER_NAME = "timetopost"
TOKEN_PROMPT_ID = "timetopost-api-token"  # noqa: S105 - an identifier
TOKEN_PROMPT = {
    "type": "promptString",
    "id": TOKEN_PROMPT_ID,
    "description": "TimeToPost API token (dashboard: Settings → API)",
    "password": True,
}


@dataclass(frozen=True, slots=True)
class Client:
    """One MCP client.

    `server_name` is the name of our entry. `fills_in` is what goes into `TTP_API_TOKEN`: a reference that the client itself
    replaces, never the token; `None` where it has no such form. `prompts`: the client asks for the token and keeps it.
    """

    name: str
    title: str
    path: Callable[[Machine], PurePath]
    servers: str = "mcpServers"
    format: Literal["json", "jsonc", "toml"] = "json"
    fills_in: str | None = None
    prompts: bool = False
    typed: bool = False
    older_path: Callable[[Machine], PurePath] | None = None
    next_step: str = ""
    server_name: str = SERVER_NAME


CLIENTS = (
    Client(
        "claude-desktop",
        "Claude Desktop",
        paths.claude_desktop,
        next_step="Quit Claude Desktop completely and start it again; the tools are under the + button, Connectors.",
    ),
    Client(
        "claude-code",
        "Claude Code",
        paths.claude_code,
        fills_in="${TTP_API_TOKEN:-}",
        typed=True,
        next_step="Start a new session; /mcp shows the server.",
    ),
    Client(
        "cursor",
        "Cursor",
        paths.cursor,
        format="jsonc",
        fills_in="${env:TTP_API_TOKEN}",
        next_step="Restart Cursor; Settings, Tools & MCP shows the server.",
    ),
    Client(
        "vscode",
        "VS Code",
        paths.vscode,
        servers="servers",
        format="jsonc",
        fills_in=f"${{input:{TOKEN_PROMPT_ID}}}",
        prompts=True,
        typed=True,
        next_step="Run 'MCP: List Servers' and start it.",
    ),
    Client(
        "codex",
        "Codex",
        paths.codex,
        servers="mcp_servers",
        format="toml",
        next_step="Start a new session; /mcp shows the server.",
    ),
    Client(
        "gemini",
        "Gemini CLI",
        paths.gemini,
        format="jsonc",
        fills_in="${TTP_API_TOKEN}",
        next_step="Start Gemini CLI again; /mcp shows the server.",
    ),
    Client(
        "windsurf",
        "Windsurf (Devin Desktop)",
        paths.windsurf,
        fills_in="${env:TTP_API_TOKEN}",
        older_path=paths.windsurf_before_devin,
        next_step="Restart it, or press Refresh in its MCP settings.",
    ),
    Client(
        "zed",
        "Zed",
        paths.zed,
        servers="context_servers",
        format="jsonc",
        next_step="Zed starts the server at once; the Agent Panel's settings show it.",
    ),
)


@dataclass(frozen=True, slots=True)
class Launch:
    """How the client starts the server.

    `media_dirs` are absolute folders, already joined with the separator of the client's system; `None` leaves the entry's own.
    `profile` is the one that the server acts for. `logged_in`: the server finds the token itself.
    """

    command: str
    args: tuple[str, ...] = ()
    sandbox: bool = False
    media_dirs: str | None = None
    profile: str | None = None
    logged_in: bool = False

    @property
    def needs_token(self) -> bool:
        """Check whether the entry has to lead to a token. That of a profile is in its login alone."""
        return not (self.sandbox or self.logged_in or self.profile)


def find_client(name: str, profile: str | None = None) -> Client:
    """Return a client; a profile has an entry of its own there."""
    client = next(client for client in CLIENTS if client.name == name)
    if profile is None:
        return client
    # What a client passes on or asks for is one token, which would be that of every profile.
    return replace(client, server_name=f"{SERVER_NAME}-{profile}", fills_in=None, prompts=False)
