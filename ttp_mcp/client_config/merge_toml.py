"""Merge an entry into a TOML settings file, and remove it; tomlkit keeps comments, order and line breaks."""

import re
from collections.abc import Mapping, MutableMapping
from typing import Any, cast

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import InlineTable, Table

from ttp_mcp.client_config.clients import Client, Launch
from ttp_mcp.client_config.entry import (
    args_of,
    as_dict,
    checked_entry,
    env_variables,
    has_literal_token,
    list_stale,
    parse_toml,
    read_entry,
    wanted_env,
)
from ttp_mcp.client_config.jsonc import InvalidFile, find_line_break

# Blank lines and comments after the last key: they belong to the next table.
_TRAILING_LINES = re.compile(r"(?<=\n)(?:[ \t]*(?:#[^\n]*)?\n)*[ \t]*(?:#[^\n]*)?\Z")


def merge_toml(client: Client, text: str, launch: Launch) -> str:
    """Add the entry to the file, or update it."""
    entry = read_entry(client, parse_toml(text))
    if entry is None:
        return checked_entry(client, text, _add_entry(client, text, launch))
    if not isinstance(entry, dict):
        raise InvalidFile(f"{client.servers}.{client.server_name} would not be a table")
    document = _parse_document(text)
    _update_entry(client, cast("Any", document)[client.servers][client.server_name], text, launch)
    return checked_entry(client, text, document.as_string())


def remove_toml(client: Client, text: str) -> str:
    """Remove the entry from the file, if it is there."""
    if read_entry(client, parse_toml(text)) is None:
        return text
    document = _parse_document(text)
    servers = cast("Any", document)[client.servers]
    if isinstance(entry := servers[client.server_name], Table):
        trivia = entry.trivia
        header = f"{trivia.indent}[{entry.display_name}]{trivia.comment_ws}{trivia.comment}{trivia.trail}"
        block = _TRAILING_LINES.sub("", header + entry.as_string())
        if block in text:
            return _cut_block(text, block)
    del servers[client.server_name]
    return document.as_string()


def _parse_document(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError:
        raise InvalidFile("its TOML can't be edited without rewriting the file") from None


def _add_entry(client: Client, text: str, launch: Launch) -> str:
    values: dict[str, object] = {"command": launch.command, "args": args_of(launch)}
    # Codex passes on only the variables named here, and its default limit of 10 s is too short for a first uvx run.
    values |= {"env_vars": ["TTP_API_TOKEN"]} if launch.needs_token else {}
    values["startup_timeout_sec"] = 30
    if env := wanted_env(client, launch, {}):
        values["env"] = _to_inline_table(env)
    newline = find_line_break(text)
    block = tomlkit.dumps({client.servers: {client.server_name: values}}).replace("\n", newline)
    # A file without a last line break gets one, a file with one gets a blank line: removal then restores either.
    appended = text + (newline if text else "") + block
    try:
        parse_toml(appended)
    except InvalidFile:
        return _add_inline(client, text, values)
    return appended


def _add_inline(client: Client, text: str, values: Mapping[str, object]) -> str:
    """Add the entry where the servers are an inline table, which no header can extend."""
    document = _parse_document(text)
    servers = cast("Any", document).get(client.servers)
    if not isinstance(servers, MutableMapping):
        raise InvalidFile(f"{client.servers} is not a table")
    servers[client.server_name] = _to_inline_table(values)
    return document.as_string()


def _update_entry(client: Client, entry: Any, text: str, launch: Launch) -> None:
    before = as_dict(read_entry(client, parse_toml(text)))
    # First: adding a key moves the tables below the entry.
    _update_env(client, entry, text, launch)
    _set_key(entry, "command", launch.command, text)
    _set_key(entry, "args", args_of(launch, before), text)
    passed_on = before.get("env_vars")
    if not launch.needs_token:
        if passed_on == ["TTP_API_TOKEN"]:
            del entry["env_vars"]
    elif passed_on is None and not has_literal_token(client, text):
        _set_key(entry, "env_vars", ["TTP_API_TOKEN"], text)


def _update_env(client: Client, entry: Any, text: str, launch: Launch) -> None:
    present = env_variables(client, text)
    wanted = wanted_env(client, launch, present)
    if "env" not in entry:
        if wanted:
            _set_key(entry, "env", _to_inline_table(wanted), text)
        return
    env = entry["env"]
    for name in list_stale(client, launch, present):
        del env[name]
    for name, value in wanted.items():
        _set_key(env, name, value, text)
    if isinstance(env, InlineTable) and not env:
        del entry["env"]


def _set_key(table: Any, key: str, value: object, text: str) -> None:
    """Set a key if its value differs; a new one goes after the last key, before the comments of the next table."""
    if key in table:
        if table[key] != value:
            table[key] = value
        return
    item = tomlkit.item(value)
    if not isinstance(table, InlineTable):
        item.trivia.trail = find_line_break(text)
    body: list[Any] = table.value.body if isinstance(table, Table) else []
    keys = [index for index, (name, each) in enumerate(body) if name is not None and not isinstance(each, Table)]
    rest = body[keys[-1] + 1 :] if keys else []
    del body[len(body) - len(rest) :]
    table[key] = item
    body.extend(rest)


def _to_inline_table(values: Mapping[str, object]) -> InlineTable:
    table: Any = tomlkit.inline_table()
    table.update(values)
    return table


def _cut_block(text: str, block: str) -> str:
    before, _, after = text.partition(block)
    # The blank line that was added before the block.
    if not after or re.search(r"\n\r?\n\Z", before):
        before = re.sub(r"\r?\n\Z", "", before)
    return before + after
