"""How each MCP client is told about this server: where its file is, what is written there, and how it is taken out.

Everything here is pure: text in, text out. Files are read and written in `ttp_mcp.cli.install`.
"""

from ttp_mcp.client_config import toml
from ttp_mcp.client_config.clients import SERVER_NAME, Client, Launch
from ttp_mcp.client_config.entry import check_form, checked_entry, prompt_position, read_entry, read_settings
from ttp_mcp.client_config.jsonc import InvalidFile
from ttp_mcp.client_config.merge_json import drop_and_tidy, merge_json
from ttp_mcp.client_config.merge_toml import merge_toml


def render_settings(client: Client, launch: Launch) -> str:
    """The piece of configuration alone, to be pasted by hand."""
    return merge_entry(client, "" if client.format == "toml" else "{}\n", launch)


def merge_entry(client: Client, text: str, launch: Launch) -> str:
    """The client's file with this server in it; the same text when nothing has to change.

    Raises:
        InvalidFile: The file can't be read, or holds the server in a form that can't be edited without rewriting it.
    """
    if client.format == "toml":
        after = merge_toml(client, text, launch)
    else:
        after = checked_entry(client, text, merge_json(client, text if text.strip() else "{}\n", launch))
    check_form(client, after)
    return after


def remove_entry(client: Client, text: str) -> str:
    """The client's file without this server, and without the table of servers if that is left empty.

    Raises:
        InvalidFile: The file can't be read, or holds the server in a form that can't be edited without rewriting it.
    """
    path, document, after = (client.servers, SERVER_NAME), read_settings(client, text), text
    if client.format == "toml":
        after = toml.drop(text, path)
        if read_entry(client, read_settings(client, after)) is not None:
            raise InvalidFile(f"{'.'.join(path)} is not a table of its own; take it out by hand")
    elif read_entry(client, document) is not None:
        after = drop_and_tidy(text, path)
    if client.prompts and (position := prompt_position(document)) is not None:
        after = drop_and_tidy(after, ("inputs", str(position)))
    return checked_entry(client, text, after)
