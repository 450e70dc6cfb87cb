"""How each MCP client is told about this server: where its file is, what is written there, and how it is taken out.

Everything here is pure: text in, text out. Files are read and written in `ttp_mcp.cli.install`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal, cast

from ttp_mcp.clients import jsonc, places, toml
from ttp_mcp.clients.jsonc import InvalidFile
from ttp_mcp.clients.places import Machine, System

__all__ = [
    "CLIENTS",
    "SERVER_NAME",
    "TOKEN_PROMPT",
    "Client",
    "InvalidFile",
    "Launch",
    "Machine",
    "System",
    "is_remote",
    "literal_token",
    "merge",
    "new_entry",
    "remove",
    "render",
    "variables",
]

# One name for the real API and the sandbox: an assistant that saw both could not tell its two lists of posts apart.
SERVER_NAME = "timetopost"
TOKEN_PROMPT_ID = "timetopost-api-token"  # noqa: S105 - an identifier
TOKEN_PROMPT = {
    "type": "promptString",
    "id": TOKEN_PROMPT_ID,
    "description": "TimeToPost API token (dashboard: Settings → API)",
    "password": True,
}
# What only an entry for a server at a URL has, in the words of all clients: Codex does not start at all when it finds them
# beside a command, and others go on using the URL.
_ADDRESSES = ("url", "serverUrl", "httpUrl")
_REMOTE = (
    *_ADDRESSES,
    "headers",
    "headersHelper",
    "http_headers",
    "http_headers_helper",
    "env_http_headers",
    "bearer_token",
    "bearer_token_env_var",
    "auth",
    "authProviderType",
    "oauth",
    "oauth_resource",
)
# The argument that names this program, for what starts programs: a module, a package with its version, a path, an image.
_PROGRAM = re.compile(r"(?:.*[/\\])?ttp[-_]mcp(?:\.exe)?(?:[@\[=:][^/\\]*)?")


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
        places.claude_desktop,
        next_step="Quit Claude Desktop completely and start it again; the tools are under the + button, Connectors.",
    ),
    Client(
        "claude-code",
        "Claude Code",
        places.claude_code,
        fills_in="${TTP_API_TOKEN:-}",
        typed=True,
        next_step="Start a new session; /mcp shows the server.",
    ),
    Client(
        "cursor",
        "Cursor",
        places.cursor,
        format="jsonc",
        fills_in="${env:TTP_API_TOKEN}",
        next_step="Restart Cursor; Settings, Tools & MCP shows the server.",
    ),
    Client(
        "vscode",
        "VS Code",
        places.vscode,
        servers="servers",
        format="jsonc",
        fills_in=f"${{input:{TOKEN_PROMPT_ID}}}",
        prompts=True,
        typed=True,
        next_step="Run “MCP: List Servers” and start it. VS Code asks for the token once and keeps it safe.",
    ),
    Client(
        "codex",
        "Codex",
        places.codex,
        servers="mcp_servers",
        format="toml",
        next_step="Start a new session; /mcp shows the server.",
    ),
    Client(
        "gemini",
        "Gemini CLI",
        places.gemini,
        format="jsonc",
        fills_in="${TTP_API_TOKEN}",
        next_step="Start Gemini CLI again; /mcp shows the server.",
    ),
    Client(
        "windsurf",
        "Windsurf (Devin Desktop)",
        places.windsurf,
        fills_in="${env:TTP_API_TOKEN}",
        older_path=places.windsurf_before_devin,
        next_step="Restart it, or press Refresh in its MCP settings.",
    ),
    Client(
        "zed",
        "Zed",
        places.zed,
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


def render(client: Client, launch: Launch) -> str:
    """The piece of configuration alone, to be pasted by hand."""
    return merge(client, "" if client.format == "toml" else "{}\n", launch)


def merge(client: Client, text: str, launch: Launch) -> str:
    """The client's file with this server in it; the same text when nothing has to change.

    Raises:
        InvalidFile: The file can't be read, or holds the server in a form that can't be edited without rewriting it.
    """
    if client.format == "toml":
        after = _merge_toml(client, text, launch)
    else:
        after = _checked(client, text, _merge_json(client, text if text.strip() else "{}\n", launch))
    _check_form(client, after)
    return after


def remove(client: Client, text: str) -> str:
    """The client's file without this server, and without the table of servers if that is left empty.

    Raises:
        InvalidFile: The file can't be read, or holds the server in a form that can't be edited without rewriting it.
    """
    path, document, after = (client.servers, SERVER_NAME), _read(client, text), text
    if client.format == "toml":
        after = toml.drop(text, path)
        if _entry(client, _read(client, after)) is not None:
            raise InvalidFile(f"{'.'.join(path)} is not a table of its own; take it out by hand")
    elif _entry(client, document) is not None:
        after = _drop_and_tidy(text, path)
    if client.prompts and (position := _prompt_position(document)) is not None:
        after = _drop_and_tidy(after, ("inputs", str(position)))
    return _checked(client, text, after)


def is_remote(client: Client, text: str) -> bool:
    """Whether the file names a server at a URL; `merge` takes that way to it out, and the person is told."""
    entry = _dict(_entry(client, _read(client, text)))
    return any(key in entry for key in _ADDRESSES) or entry.get("type", "stdio") != "stdio"


def literal_token(client: Client, text: str) -> bool:
    """Whether someone wrote the token itself into the file; it is left alone, and the person is told."""
    return _is_literal(variables(client, text).get("TTP_API_TOKEN"))


def variables(client: Client, text: str) -> dict[str, object]:
    """The environment variables that the file gives this server."""
    return _dict(_dict(_entry(client, _read(client, text))).get("env"))


def _is_literal(token: object) -> bool:
    return isinstance(token, str) and token != "" and not token.startswith("$")


def _read(client: Client, text: str) -> dict[str, object]:
    if client.format == "toml":
        return toml.read(text)
    return jsonc.read(text, strict=client.format == "json") if text.strip() else {}


def _checked(client: Client, before: str, after: str) -> str:
    """The edited text, once it has been read back: whatever is not ours must hold what it held."""
    try:
        same = _others(client, _read(client, before)) == _others(client, _read(client, after))
    except InvalidFile:
        same = False
    if not same:
        raise InvalidFile(f"{client.servers} can't be edited without rewriting the file; do it by hand")
    return after


def _check_form(client: Client, text: str) -> None:
    """A list may stand where the client reads an object; what was put into it would go unread."""
    entry, name = _entry(client, _read(client, text)), f"{client.servers}.{SERVER_NAME}"
    for each, value in ((name, entry), (f"{name}.env", _dict(entry).get("env", {}))):
        if not isinstance(value, dict):
            raise InvalidFile(f"{each} would not be {'a table' if client.format == 'toml' else 'an object'}")


def _others(client: Client, document: dict[str, object]) -> dict[str, object]:
    """A document without this server, its prompt, and the tables that held only them."""
    servers = document.get(client.servers, {})
    rest = {key: value for key, value in document.items() if key not in (client.servers, "inputs")}
    if isinstance(servers, dict):
        known = cast("dict[str, object]", servers)
        rest[client.servers] = {key: value for key, value in known.items() if key != SERVER_NAME}
    inputs = cast("list[object]", document.get("inputs", []))
    position = _prompt_position(document) if client.prompts else None
    return {**rest, "inputs": inputs[:position] + inputs[position + 1 :] if position is not None else inputs}


def _entry(client: Client, document: dict[str, object]) -> object:
    servers = document.get(client.servers)
    return cast("dict[str, object]", servers).get(SERVER_NAME) if isinstance(servers, dict) else None


def _dict(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _args(launch: Launch, present: object = None) -> list[object]:
    """The arguments: how this program is started, the sandbox, and what the person added after that."""
    own = _own_args(_dict(present))
    if not launch.sandbox:
        own = [each for each in own if each != "--sandbox"]
    elif "--sandbox" not in own:
        own = ["--sandbox", *own]
    return [*launch.args, *own]


def _own_args(entry: Mapping[str, object]) -> list[object]:
    """What follows the name of this program. The arguments of another program mean nothing to ours."""
    args = entry.get("args")
    words = [entry.get("command"), *(cast("list[object]", args) if isinstance(args, list) else [])]
    names = [place for place, word in enumerate(words) if isinstance(word, str) and _PROGRAM.fullmatch(word)]
    # Not the first one where another program starts ours: `uvx --from ttp-mcp[redis] ttp-mcp`.
    return words[(0 if 0 in names else names[-1]) + 1 :] if names else []


def _wanted_env(client: Client, launch: Launch, present: Mapping[str, object]) -> dict[str, object]:
    """The variables to be set. A token, or a reference to one, that someone wrote by hand stays what it is."""
    env: dict[str, object] = {}
    if not launch.sandbox:
        token = present.get("TTP_API_TOKEN") or client.fills_in
        if token is not None:
            env["TTP_API_TOKEN"] = token
        if launch.token_file is not None and not client.prompts and not _is_literal(token):
            env["TTP_API_TOKEN_FILE"] = launch.token_file
    if launch.media_dirs is not None:
        env["TTP_MEDIA_DIRS"] = launch.media_dirs
    return env


def new_entry(client: Client, launch: Launch) -> dict[str, object]:
    """What the client's file says of this server when it is new there."""
    entry: dict[str, object] = {"type": "stdio"} if client.typed else {}
    entry |= {"command": launch.command, "args": _args(launch)}
    if env := _wanted_env(client, launch, {}):
        entry["env"] = env
    return entry


def _stale(client: Client, launch: Launch, present: Mapping[str, object]) -> list[str]:
    """Variables that an earlier run wrote and that the sandbox does not want: the way to the token."""
    ours = {"TTP_API_TOKEN": client.fills_in, "TTP_API_TOKEN_FILE": present.get("TTP_API_TOKEN_FILE")}
    return [name for name, value in ours.items() if launch.sandbox and name in present and present[name] == value]


def _merge_json(client: Client, text: str, launch: Launch) -> str:
    path, document = (client.servers, SERVER_NAME), _read(client, text)
    if client.prompts and not launch.sandbox and not literal_token(client, text):
        text = _put_prompt(text, document)
    if not isinstance(_entry(client, document), dict):
        return jsonc.put(text, path, new_entry(client, launch))
    present, remote = variables(client, text), is_remote(client, text)
    text = jsonc.put(text, (*path, "command"), launch.command)
    text = jsonc.put(text, (*path, "args"), _args(launch, _entry(client, document)))
    if remote:
        text = jsonc.put(text, (*path, "type"), "stdio") if client.typed else jsonc.drop(text, (*path, "type"))
        for key in _REMOTE:
            text = jsonc.drop(text, (*path, key))
    for name in _stale(client, launch, present):
        text = jsonc.drop(text, (*path, "env", name))
    for name, value in _wanted_env(client, launch, present).items():
        text = jsonc.put(text, (*path, "env", name), value)
    return text


def _put_prompt(text: str, document: dict[str, object]) -> str:
    if "inputs" not in document:
        return jsonc.put(text, ("inputs",), [TOKEN_PROMPT])
    if _prompt_position(document) is not None:
        return text
    return jsonc.put(text, ("inputs", str(len(_inputs(document)))), TOKEN_PROMPT)


def _prompt_position(document: dict[str, object]) -> int | None:
    ids = [cast("dict[str, object]", item).get("id") if isinstance(item, dict) else None for item in _inputs(document)]
    return ids.index(TOKEN_PROMPT_ID) if TOKEN_PROMPT_ID in ids else None


def _inputs(document: dict[str, object]) -> list[object]:
    inputs = document.get("inputs", [])
    if not isinstance(inputs, list):
        raise InvalidFile("inputs is not a list")
    return cast("list[object]", inputs)


def _drop_and_tidy(text: str, path: tuple[str, ...]) -> str:
    text = jsonc.drop(text, path)
    return jsonc.drop(text, path[:1]) if jsonc.is_bare(text, path[:1]) else text


def _merge_toml(client: Client, text: str, launch: Launch) -> str:
    path = (client.servers, SERVER_NAME)
    entry = _entry(client, toml.read(text))
    if entry is None:
        env = _wanted_env(client, launch, {})
        # Codex passes no variable on unless it is named; and its start-up limit of 10 s is short for a first uvx run.
        values: dict[str, object] = {"command": launch.command, "args": _args(launch)}
        values |= {} if launch.sandbox else {"env_vars": ["TTP_API_TOKEN"]}
        values |= {"startup_timeout_sec": 30, **({"env": env} if env else {})}
        return _checked(client, text, toml.put(text, path, values))
    if not toml.has_table(text, path):
        raise InvalidFile(f"{'.'.join(path)} is not a table of its own; take it out by hand and run this again")
    after = toml.put(text, path, {"command": launch.command, "args": _args(launch, entry)})
    if is_remote(client, text):
        after = _toml_started(client, after)
    return _checked(client, text, _toml_env(client, after, launch))


def _toml_started(client: Client, text: str) -> str:
    path = (client.servers, SERVER_NAME)
    for key in (*_REMOTE, "type"):
        # Headers can be a table of their own.
        text = toml.drop(toml.drop_key(text, path, key), (*path, key))
    left = cast("dict[str, object]", _entry(client, toml.read(text)))
    if any(key in left for key in _REMOTE):
        raise InvalidFile(
            f"{'.'.join(path)} has a URL or headers as dotted keys; take it out by hand and run this again"
        )
    return text if "startup_timeout_sec" in left else toml.put(text, path, {"startup_timeout_sec": 30})


def _toml_env(client: Client, text: str, launch: Launch) -> str:
    path = (client.servers, SERVER_NAME)
    present = variables(client, text)
    stale = _stale(client, launch, present)
    wanted = {name: value for name, value in present.items() if name not in stale}
    wanted |= _wanted_env(client, launch, present)
    if toml.has_table(text, (*path, "env")):
        for name in present.keys() - wanted.keys():
            text = toml.drop_key(text, (*path, "env"), name)
        text = toml.put(text, (*path, "env"), wanted)
    elif wanted != present:
        text = toml.put(text, path, {"env": wanted}) if wanted else toml.drop_key(text, path, "env")
    passed_on = _dict(_entry(client, toml.read(text))).get("env_vars")
    if launch.sandbox:
        return toml.drop_key(text, path, "env_vars") if passed_on == ["TTP_API_TOKEN"] else text
    if passed_on is not None or literal_token(client, text):
        return text
    return toml.put(text, path, {"env_vars": ["TTP_API_TOKEN"]})
