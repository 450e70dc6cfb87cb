"""The supported MCP clients, as data."""

from collections.abc import Callable
from dataclasses import dataclass
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

    `fills_in` is what goes into `TTP_API_TOKEN`: a reference that the client itself replaces, never the token; `None`
    where it has no such form. `prompts`: the client asks for the token and keeps it, so that no token file is needed.
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
        next_step="Run 'MCP: List Servers' and start it. VS Code asks for the token once and keeps it safe.",
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
    """How the client is to start the server.

    `media_dirs` are absolute folders, already joined with the separator of the client's system; `None` leaves what is
    there. `token_file` is where the person keeps the token when the client can't.
    """

    command: str
    args: tuple[str, ...] = ()
    sandbox: bool = False
    media_dirs: str | None = None
    token_file: str | None = None
