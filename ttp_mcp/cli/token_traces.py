"""Find the places besides a login where a token is kept."""

from collections.abc import Iterator, Mapping
from contextlib import suppress

from ttp_mcp import config
from ttp_mcp.cli.install import InstallRefused, settings_path, this_machine
from ttp_mcp.client_config import clients, entry
from ttp_mcp.client_config.jsonc import InvalidFile
from ttp_mcp.config.login import has_login, list_profiles


def find_traces(environ: Mapping[str, str]) -> list[str]:
    """Return where tokens are found: variables, other profiles' logins, and settings of clients."""
    names = [name for name in ("TTP_API_TOKEN", "TIMETOPOST_API_TOKEN") if environ.get(name)]
    found = [f"{name}, a variable of this terminal" for name in names]
    if file := environ.get("TTP_API_TOKEN_FILE"):
        found.append(f"{file}, which TTP_API_TOKEN_FILE names")
    found += [f"the login of profile {name}" for name in _other_profiles(environ)]
    for client in clients.CLIENTS:
        found += _find_in_settings(client, environ)
    return found


def _other_profiles(environ: Mapping[str, str]) -> list[str]:
    own = config.read_profile(environ)
    default = [config.DEFAULT_PROFILE] if own and has_login({**environ, "TTP_PROFILE": ""}) else []
    return default + [name for name in list_profiles(environ) if name != own]


def _find_in_settings(client: clients.Client, environ: Mapping[str, str]) -> Iterator[str]:
    # A file that can't be read or understood is not ours to judge.
    with suppress(InstallRefused, InvalidFile, OSError, ValueError):
        path = settings_path(client, this_machine(environ))
        for name, env in entry.list_environments(client, path.read_text(encoding="utf-8-sig")):
            if entry.is_literal(env.get("TTP_API_TOKEN")):
                yield f"{path}, in the entry {name} of {client.title}"
            if file := env.get("TTP_API_TOKEN_FILE"):
                yield f"{file}, which the entry {name} of {client.title} names"
