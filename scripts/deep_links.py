"""One-click links: a web address that opens the client with this server filled in.

None of them carries a token: Cursor reads the variable of that name, VS Code asks for it and keeps it.
"""

import base64
import json
from urllib.parse import quote, urlencode

from ttp_mcp.client_config.clients import SERVER_NAME, TOKEN_PROMPT, Launch, find_client
from ttp_mcp.client_config.entry import new_entry


def cursor_link(*, sandbox: bool = False) -> str:
    """Cursor's install link. Source: cursor.com, "MCP Install Links": name, and the entry as JSON in base64."""
    config = base64.b64encode(_compact(_entry("cursor", sandbox=sandbox)).encode()).decode()
    # The site hands this on to `cursor://anysphere.cursor-deeplink/mcp/install`: GitHub removes links of that scheme.
    return "https://cursor.com/en/install-mcp?" + urlencode({"name": SERVER_NAME, "config": config})


def vscode_link(*, sandbox: bool = False) -> str:
    """VS Code's install link through its redirect page, which GitHub lets through where `vscode:` is removed."""
    query = {"name": SERVER_NAME, "config": _compact(_entry("vscode", sandbox=sandbox))}
    if not sandbox:
        query["inputs"] = _compact([TOKEN_PROMPT])
    return "https://insiders.vscode.dev/redirect/mcp/install?" + urlencode(query, quote_via=quote)


def _entry(name: str, *, sandbox: bool) -> dict[str, object]:
    return new_entry(find_client(name), Launch("uvx", ("ttp-mcp",), sandbox=sandbox))


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
