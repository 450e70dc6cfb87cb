"""Add this server to a client's settings, and remove it.

Pure functions, text in and text out. `ttp_mcp.cli.install` reads and writes the files.
"""

from ttp_mcp.client_config.clients import Client, Launch
from ttp_mcp.client_config.entry import (
    check_form,
    checked_entry,
    prompt_position,
    read_entry,
    read_settings,
    refuse_url,
)
from ttp_mcp.client_config.merge_json import drop_and_tidy, merge_json
from ttp_mcp.client_config.merge_toml import merge_toml, remove_toml


def render_settings(client: Client, launch: Launch) -> str:
    """Render the entry alone, for pasting by hand."""
    return merge_entry(client, "" if client.format == "toml" else "{}\n", launch)


def merge_entry(client: Client, text: str, launch: Launch) -> str:
    """Add this server to the client's file; the text is unchanged if the entry is up to date.

    Raises:
        InvalidFile: The file can't be read or edited without rewriting it, or its entry is for a server at a URL.
    """
    refuse_url(client, text)
    if client.format == "toml":
        after = merge_toml(client, text, launch)
    else:
        after = checked_entry(client, text, merge_json(client, text if text.strip() else "{}\n", launch))
    check_form(client, after)
    return after


def remove_entry(client: Client, text: str) -> str:
    """Remove this server from the client's file, and the table of servers if it is then empty.

    Raises:
        InvalidFile: The file can't be read or edited without rewriting it, or its entry is for a server at a URL.
    """
    path, document, after = (client.servers, client.server_name), read_settings(client, text), text
    if client.format == "toml":
        after = remove_toml(client, text)
    elif read_entry(client, document) is not None:
        after = drop_and_tidy(text, path)
    if client.prompts and (position := prompt_position(document)) is not None:
        after = drop_and_tidy(after, ("inputs", str(position)))
    return checked_entry(client, text, after)
