"""One server entry in a client's settings: read it, check it, build it."""

import re
import tomllib
from collections.abc import Mapping
from typing import cast

from ttp_mcp.client_config import jsonc
from ttp_mcp.client_config.clients import TOKEN_PROMPT_ID, Client, Launch
from ttp_mcp.client_config.jsonc import InvalidFile

# A URL under the key of each client.
_URL_KEYS = ("url", "serverUrl", "httpUrl")
# The argument that names this program, for what starts programs: a module, a package with its version, a path, an image.
_PROGRAM = re.compile(r"(?:.*[/\\])?ttp[-_]mcp(?:\.exe)?(?:[@\[=:][^/\\]*)?")


def refuse_url(client: Client, text: str) -> None:
    """Refuse an entry for a server at a URL: clients reject a mix of URL and command, or keep using the URL.

    Raises:
        InvalidFile: The entry has a URL, or a type other than stdio.
    """
    entry = as_dict(read_entry(client, read_settings(client, text)))
    if any(key in entry for key in _URL_KEYS) or entry.get("type", "stdio") != "stdio":
        raise InvalidFile(
            f"{client.servers}.{client.server_name} connects to a URL. Remove it with "
            f"`ttp-mcp install {client.name} --remove` and run this again"
        )


def list_duplicates(client: Client, text: str) -> list[str]:
    """Return the names of other entries that start ttp-mcp for the same profile."""
    servers = as_dict(read_settings(client, text).get(client.servers))
    own = _profile_of(as_dict(servers.get(client.server_name)))
    others = ((name, as_dict(entry)) for name, entry in servers.items() if name != client.server_name)
    return [name for name, entry in others if _starts_program(entry) and _profile_of(entry) == own]


def list_environments(client: Client, text: str) -> list[tuple[str, dict[str, object]]]:
    """Return name and variables of each entry that starts ttp-mcp."""
    servers = as_dict(read_settings(client, text).get(client.servers))
    entries = ((name, as_dict(entry)) for name, entry in servers.items())
    return [(name, as_dict(entry.get("env"))) for name, entry in entries if _starts_program(entry)]


def _profile_of(entry: Mapping[str, object]) -> object:
    return as_dict(entry.get("env")).get("TTP_PROFILE")


def has_literal_token(client: Client, text: str) -> bool:
    """Check whether the file holds the token itself, which is kept, with a note."""
    return is_literal(env_variables(client, text).get("TTP_API_TOKEN"))


def env_variables(client: Client, text: str) -> dict[str, object]:
    """Return the environment variables of this server's entry."""
    return as_dict(as_dict(read_entry(client, read_settings(client, text))).get("env"))


def is_literal(token: object) -> bool:
    return isinstance(token, str) and token != "" and not token.startswith("$")


def parse_toml(text: str) -> dict[str, object]:
    """Parse a TOML file.

    Raises:
        InvalidFile: Not TOML; the message names the line.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as problem:
        found = re.search(r"line \d+", str(problem))
        raise InvalidFile(f"{found[0] if found else 'the end'}: not valid TOML") from None


def read_settings(client: Client, text: str) -> dict[str, object]:
    if client.format == "toml":
        return parse_toml(text)
    return jsonc.read_object(text, strict=client.format == "json") if text.strip() else {}


def checked_entry(client: Client, before: str, after: str) -> str:
    """Return the edited text after checking that everything else in it is unchanged."""
    try:
        same = other_entries(client, read_settings(client, before)) == other_entries(
            client, read_settings(client, after)
        )
    except InvalidFile:
        same = False
    if not same:
        raise InvalidFile(f"{client.servers} can't be edited without rewriting the file; do it by hand")
    return after


def check_form(client: Client, text: str) -> None:
    """Refuse a list where the client expects an object, since it would ignore additions to it."""
    entry, name = read_entry(client, read_settings(client, text)), f"{client.servers}.{client.server_name}"
    for each, value in ((name, entry), (f"{name}.env", as_dict(entry).get("env", {}))):
        if not isinstance(value, dict):
            raise InvalidFile(f"{each} would not be {'a table' if client.format == 'toml' else 'an object'}")


def other_entries(client: Client, document: dict[str, object]) -> dict[str, object]:
    """Return a document without this server, its prompt, and the tables that contained only them."""
    servers = document.get(client.servers, {})
    rest = {key: value for key, value in document.items() if key not in (client.servers, "inputs")}
    if isinstance(servers, dict):
        known = cast("dict[str, object]", servers)
        rest[client.servers] = {key: value for key, value in known.items() if key != client.server_name}
    inputs = cast("list[object]", document.get("inputs", []))
    position = prompt_position(document) if client.prompts else None
    return {**rest, "inputs": inputs[:position] + inputs[position + 1 :] if position is not None else inputs}


def read_entry(client: Client, document: dict[str, object]) -> object:
    servers = document.get(client.servers)
    return cast("dict[str, object]", servers).get(client.server_name) if isinstance(servers, dict) else None


def as_dict(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def args_of(launch: Launch, present: object = None) -> list[object]:
    """Return the arguments: how this program is started, the sandbox, and what the user added."""
    own = own_args(as_dict(present))
    if not launch.sandbox:
        own = [each for each in own if each != "--sandbox"]
    elif "--sandbox" not in own:
        own = ["--sandbox", *own]
    return [*launch.args, *own]


def own_args(entry: Mapping[str, object]) -> list[object]:
    """Return the arguments after the name of this program; those of another program aren't ours."""
    words = _command_line(entry)
    names = [place for place, word in enumerate(words) if isinstance(word, str) and _PROGRAM.fullmatch(word)]
    # Not the first one where another program starts ours: `uvx --from ttp-mcp[postgresql] ttp-mcp`.
    return words[(0 if 0 in names else names[-1]) + 1 :] if names else []


def _command_line(entry: Mapping[str, object]) -> list[object]:
    args = entry.get("args")
    return [entry.get("command"), *(cast("list[object]", args) if isinstance(args, list) else [])]


def _starts_program(entry: Mapping[str, object]) -> bool:
    return any(isinstance(word, str) and _PROGRAM.fullmatch(word) for word in _command_line(entry))


def wanted_env(client: Client, launch: Launch, present: Mapping[str, object]) -> dict[str, object]:
    """Return the variables to be set. A token, or a reference to one, that the user wrote stays what it is."""
    env: dict[str, object] = {}
    token = present.get("TTP_API_TOKEN") or client.fills_in
    if launch.needs_token and token is not None:
        env["TTP_API_TOKEN"] = token
    if launch.profile is not None:
        env["TTP_PROFILE"] = launch.profile
    if launch.media_dirs is not None:
        env["TTP_MEDIA_DIRS"] = launch.media_dirs
    return env


def new_entry(client: Client, launch: Launch) -> dict[str, object]:
    """Return a new entry for this server."""
    entry: dict[str, object] = {"type": "stdio"} if client.typed else {}
    entry |= {"command": launch.command, "args": args_of(launch)}
    if env := wanted_env(client, launch, {}):
        entry["env"] = env
    return entry


def list_stale(client: Client, launch: Launch, present: Mapping[str, object]) -> list[str]:
    """Return the variables of an earlier run that lead to a token which isn't needed any more."""
    stale: dict[str, object] = {} if launch.needs_token else {"TTP_API_TOKEN": client.fills_in}
    if launch.sandbox:
        stale["TTP_API_TOKEN_FILE"] = present.get("TTP_API_TOKEN_FILE")
    return [name for name, value in stale.items() if name in present and present[name] == value]


def prompt_position(document: dict[str, object]) -> int | None:
    ids = [
        cast("dict[str, object]", item).get("id") if isinstance(item, dict) else None for item in inputs_of(document)
    ]
    return ids.index(TOKEN_PROMPT_ID) if TOKEN_PROMPT_ID in ids else None


def inputs_of(document: dict[str, object]) -> list[object]:
    inputs = document.get("inputs", [])
    if not isinstance(inputs, list):
        raise InvalidFile("inputs is not a list")
    return cast("list[object]", inputs)
