"""Merge an entry into a JSON or JSONC settings file."""

from ttp_mcp.client_config import jsonc
from ttp_mcp.client_config.clients import TOKEN_PROMPT, Client, Launch
from ttp_mcp.client_config.entry import (
    args_of,
    env_variables,
    has_literal_token,
    inputs_of,
    list_stale,
    new_entry,
    prompt_position,
    read_entry,
    read_settings,
    wanted_env,
)


def merge_json(client: Client, text: str, launch: Launch) -> str:
    path, document = (client.servers, client.server_name), read_settings(client, text)
    if client.prompts and launch.needs_token and not has_literal_token(client, text):
        text = _put_prompt(text, document)
    if not isinstance(read_entry(client, document), dict):
        return jsonc.put_member(text, path, new_entry(client, launch))
    present = env_variables(client, text)
    text = jsonc.put_member(text, (*path, "command"), launch.command)
    text = jsonc.put_member(text, (*path, "args"), args_of(launch, read_entry(client, document)))
    for name in list_stale(client, launch, present):
        text = jsonc.drop_member(text, (*path, "env", name))
    for name, value in wanted_env(client, launch, present).items():
        text = jsonc.put_member(text, (*path, "env", name), value)
    return text


def _put_prompt(text: str, document: dict[str, object]) -> str:
    if "inputs" not in document:
        return jsonc.put_member(text, ("inputs",), [TOKEN_PROMPT])
    if prompt_position(document) is not None:
        return text
    return jsonc.put_member(text, ("inputs", str(len(inputs_of(document)))), TOKEN_PROMPT)


def drop_and_tidy(text: str, path: tuple[str, ...]) -> str:
    text = jsonc.drop_member(text, path)
    return jsonc.drop_member(text, path[:1]) if jsonc.is_bare(text, path[:1]) else text
