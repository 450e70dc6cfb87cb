"""Profiles, and the folders in which this program keeps its files. Nothing is created here."""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from ttp_mcp.config.table import read_text
from ttp_mcp.config.values import SettingProblem, home_folder, to_path

# The profile of a user who names none; its files are in the folders themselves.
DEFAULT_PROFILE = "default"
# Lower case only: two names never meet in one folder of a file system that ignores case. The excluded names are Windows devices.
_PROFILE = re.compile(r"(?!(?:con|prn|aux|nul|com[0-9]|lpt[0-9])$)[a-z0-9][a-z0-9_-]{0,31}")


def read_profile(environ: Mapping[str, str]) -> str | None:
    """Return the name in `TTP_PROFILE`; None for the default profile.

    Raises:
        SettingProblem: It can't be a profile's name.
    """
    name = read_text(environ, "TTP_PROFILE")
    return None if name is None else parse_profile("TTP_PROFILE", name)


def parse_profile(source: str, name: str) -> str | None:
    """Return a profile's name; None for the default profile.

    Raises:
        SettingProblem: It can't be a profile's name.
    """
    if not _PROFILE.fullmatch(name):
        raise SettingProblem(
            f"{source} must be 1 to 32 lower-case letters, digits, - and _, for example brand-a. Change it, or remove it."
        )
    return None if name == DEFAULT_PROFILE else name


def state_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Return the profile's folder for the ledger and the sandbox: in `TTP_STATE_DIR`, else in the platform's data folder.

    Raises:
        SettingProblem: `TTP_STATE_DIR` is not an absolute path, the user has no home folder, or `TTP_PROFILE` is malformed.
    """
    environ = os.environ if environ is None else environ
    chosen = read_text(environ, "TTP_STATE_DIR")
    base = to_path("TTP_STATE_DIR", chosen) if chosen else _platform_folder(environ, "XDG_DATA_HOME", ".local/share")
    return _of_profile(base, environ)


def login_dir(environ: Mapping[str, str]) -> Path:
    """Return the profile's folder for the login, in the platform's config folder.

    On Windows it is the local one: a roaming folder is copied to other machines.

    Raises:
        SettingProblem: The user has no home folder, or `TTP_PROFILE` is malformed.
    """
    return _of_profile(_platform_folder(environ, "XDG_CONFIG_HOME", ".config"), environ)


def _of_profile(base: Path, environ: Mapping[str, str]) -> Path:
    profile = read_profile(environ)
    return base if profile is None else base / "profiles" / profile


def _platform_folder(environ: Mapping[str, str], variable: str, below_home: str) -> Path:
    if sys.platform == "darwin":  # pragma: no cover - macOS only
        return home_folder() / "Library" / "Application Support" / "ttp-mcp"
    if sys.platform == "win32":
        variable, below_home = "LOCALAPPDATA", "AppData/Local"
    folder = Path(environ.get(variable, ""))
    # The XDG specification: a relative path is invalid and must be ignored.
    return (folder if folder.is_absolute() else home_folder() / below_home) / "ttp-mcp"
