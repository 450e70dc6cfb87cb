"""Merge an entry into a TOML settings file."""

from typing import cast

from ttp_mcp.client_config import toml
from ttp_mcp.client_config.clients import SERVER_NAME, Client, Launch
from ttp_mcp.client_config.entry import (
    REMOTE,
    args_of,
    as_dict,
    checked_entry,
    env_variables,
    is_remote,
    is_stale,
    literal_token,
    read_entry,
    wanted_env,
)
from ttp_mcp.client_config.jsonc import InvalidFile


def merge_toml(client: Client, text: str, launch: Launch) -> str:
    path = (client.servers, SERVER_NAME)
    entry = read_entry(client, toml.read(text))
    if entry is None:
        env = wanted_env(client, launch, {})
        # Codex passes no variable on unless it is named; and its start-up limit of 10 s is short for a first uvx run.
        values: dict[str, object] = {"command": launch.command, "args": args_of(launch)}
        values |= {} if launch.sandbox else {"env_vars": ["TTP_API_TOKEN"]}
        values |= {"startup_timeout_sec": 30, **({"env": env} if env else {})}
        return checked_entry(client, text, toml.put(text, path, values))
    if not toml.has_table(text, path):
        raise InvalidFile(f"{'.'.join(path)} is not a table of its own; take it out by hand and run this again")
    after = toml.put(text, path, {"command": launch.command, "args": args_of(launch, entry)})
    if is_remote(client, text):
        after = _toml_started(client, after)
    return checked_entry(client, text, _toml_env(client, after, launch))


def _toml_started(client: Client, text: str) -> str:
    path = (client.servers, SERVER_NAME)
    for key in (*REMOTE, "type"):
        # Headers can be a table of their own.
        text = toml.drop(toml.drop_key(text, path, key), (*path, key))
    left = cast("dict[str, object]", read_entry(client, toml.read(text)))
    if any(key in left for key in REMOTE):
        raise InvalidFile(
            f"{'.'.join(path)} has a URL or headers as dotted keys; take it out by hand and run this again"
        )
    return text if "startup_timeout_sec" in left else toml.put(text, path, {"startup_timeout_sec": 30})


def _toml_env(client: Client, text: str, launch: Launch) -> str:
    path = (client.servers, SERVER_NAME)
    present = env_variables(client, text)
    stale = is_stale(client, launch, present)
    wanted = {name: value for name, value in present.items() if name not in stale}
    wanted |= wanted_env(client, launch, present)
    if toml.has_table(text, (*path, "env")):
        for name in present.keys() - wanted.keys():
            text = toml.drop_key(text, (*path, "env"), name)
        text = toml.put(text, (*path, "env"), wanted)
    elif wanted != present:
        text = toml.put(text, path, {"env": wanted}) if wanted else toml.drop_key(text, path, "env")
    passed_on = as_dict(read_entry(client, toml.read(text))).get("env_vars")
    if launch.sandbox:
        return toml.drop_key(text, path, "env_vars") if passed_on == ["TTP_API_TOKEN"] else text
    if passed_on is not None or literal_token(client, text):
        return text
    return toml.put(text, path, {"env_vars": ["TTP_API_TOKEN"]})
