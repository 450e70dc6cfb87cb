"""The login that `ttp-mcp login` saves for later starts: token, API and organization of a profile, in one private file.

The token itself is in the system's keyring if there is one that this installation can use (docs/decisions/0013-login.md).
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ttp_mcp.config import system_keyring
from ttp_mcp.config.files import UnsafeFile, read_private, write_private
from ttp_mcp.config.folders import login_dir
from ttp_mcp.config.values import SettingProblem, parse_api_url, parse_org_id
from ttp_mcp.credentials import Token

FILE = "login.json"


class LoginProblem(Exception):
    """A login can't be read or saved. `str()` is the cause, as a sentence."""


@dataclass(frozen=True, slots=True)
class Login:
    """A token with the API that it is for. `org_id` is None for the active organization."""

    token: Token
    api_url: str
    org_id: str | None = None


def login_command(profile: str | None) -> str:
    """Return the command that saves a login for a profile."""
    return f"ttp-mcp login --profile {profile}" if profile else "ttp-mcp login"


def login_path(environ: Mapping[str, str]) -> Path:
    """Return the file of the profile's login.

    Raises:
        SettingProblem: The user has no home folder, or `TTP_PROFILE` is malformed.
    """
    return login_dir(environ) / FILE


def has_login(environ: Mapping[str, str]) -> bool:
    """Check whether the profile has a login, usable or not."""
    try:
        return login_path(environ).is_file()
    except (SettingProblem, OSError):
        return False


def read_login(environ: Mapping[str, str]) -> Login | None:
    """Return the profile's login, or None.

    Raises:
        LoginProblem: There is one that can't be used.
    """
    try:
        path = login_path(environ)
    except SettingProblem:
        # A user without a home folder has never logged in.
        return None
    try:
        content = read_private(path)
        return None if content is None else _parse_login(json.loads(content))
    except UnsafeFile as problem:
        raise LoginProblem(f"the login isn't safe to use: {problem}.") from None
    except OSError as problem:
        raise LoginProblem(f"the login can't be read ({problem.strerror}).") from None
    except system_keyring.KeyringProblem as problem:
        raise LoginProblem(f"the login is in {system_keyring.name_keyring()}: {problem}.") from None
    # A token of the wrong form is a ValueError too.
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise LoginProblem("the login is damaged.") from None


def save_login(environ: Mapping[str, str], login: Login) -> Path | None:
    """Save the profile's login, in place of an earlier one. Returns the file that has the token; None if a keyring has it.

    Raises:
        LoginProblem: It can't be saved; an earlier login is as before.
        SettingProblem: The user has no home folder, or `TTP_PROFILE` is malformed.
    """
    path = login_path(environ)
    old, new = _find_keyring_entry(path), system_keyring.save(login.token.reveal())
    kept = {"token": login.token.reveal()} if new is None else {"keyring": new}
    record = {"version": 1, "api_url": login.api_url, "org_id": login.org_id, **kept}
    try:
        write_private(path, json.dumps(record).encode())
    except (UnsafeFile, OSError) as problem:
        system_keyring.remove(new)
        raise LoginProblem(_describe_write_problem(path, problem)) from None
    system_keyring.remove(old)
    return path if new is None else None


def remove_login(environ: Mapping[str, str]) -> bool:
    """Remove the profile's login, also one that can't be read; False if there was none.

    Raises:
        LoginProblem: It can't be removed.
        SettingProblem: The user has no home folder, or `TTP_PROFILE` is malformed.
    """
    path = login_path(environ)
    entry = _find_keyring_entry(path)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as problem:
        raise LoginProblem(_describe_write_problem(path, problem)) from None
    if not system_keyring.remove(entry):
        keyring = system_keyring.name_keyring()
        raise LoginProblem(f"the login's file is removed, but not its entry in {keyring}, named ttp-mcp.")
    return True


def list_profiles(environ: Mapping[str, str]) -> list[str]:
    """Return the names of the profiles that have a login, other than the default one."""
    with suppress(SettingProblem, OSError):
        base = login_dir({**environ, "TTP_PROFILE": ""})
        return sorted(path.parent.name for path in base.glob(f"profiles/*/{FILE}"))
    return []


def _parse_login(record: dict[str, Any]) -> Login:
    if record["version"] != 1:
        raise ValueError
    token = system_keyring.read(record["keyring"]) if "keyring" in record else record["token"]
    org_id = record["org_id"]
    return Login(
        Token(token), parse_api_url("", record["api_url"]), None if org_id is None else parse_org_id("", org_id)
    )


def _find_keyring_entry(path: Path) -> str | None:
    with suppress(UnsafeFile, OSError, ValueError, AttributeError, RecursionError):
        entry = json.loads(read_private(path) or b"{}").get("keyring")
        return entry if isinstance(entry, str) else None
    return None


def _describe_write_problem(path: Path, problem: Exception) -> str:
    cause = f"{path} ({problem.strerror})" if isinstance(problem, OSError) else str(problem)
    return f"the login's file can't be changed: {cause}. Move it away or make its folder writable, then try again."
