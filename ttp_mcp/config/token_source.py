"""The API token, from the first source that has one: `TTP_API_TOKEN`, `TTP_API_TOKEN_FILE`, then the login."""

import codecs
import logging
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ttp_mcp.config.folders import read_profile
from ttp_mcp.config.login import Login, LoginProblem, has_login, login_command, login_path, read_login
from ttp_mcp.config.readers import find_other_readers, how_to_make_private
from ttp_mcp.config.table import read_text
from ttp_mcp.config.values import SettingProblem, to_path
from ttp_mcp.credentials import Token, TokenProblem, parse_token
from ttp_mcp.process import is_held

log = logging.getLogger(__name__)

_TOKEN_FILE_BYTES = 1000
# A reference that `install` wrote, and that its client left as it is: the variable isn't set where the client was started.
_UNSET_REFERENCE = re.compile(r"\s*\$\{(?:env:)?TTP_API_TOKEN(?::-)?\}\s*")


@dataclass(frozen=True, slots=True)
class Credential:
    """The token, or why there is none that can be used. `login` is set if the token is from it, `file` if it is from a file."""

    token: Token | None = None
    problem: str | None = None
    source: str | None = None
    login: Login | None = None
    file: Path | None = None


# `install` of earlier versions made this file, for the user to fill; a login takes its place.
_EMPTY_FILE = "TTP_API_TOKEN_FILE names an empty file."


def find_credential(environ: Mapping[str, str], api_url: str | None, *, with_login: bool) -> Credential:
    """Return the token from the first source that has one. A source with something unusable is not skipped.

    Args:
        environ: Variables.
        api_url: What `TTP_API_URL` names. A login is never sent to another address than its own.
        with_login: Look for a login too.

    Raises:
        SettingProblem: `TTP_PROFILE` can't be a profile's name.
    """
    found = _find_in_variables(environ)
    if not with_login or found.problem not in (None, _EMPTY_FILE):
        return found
    if found.token is None:
        return _find_in_login(environ, api_url) or found
    if (profile := read_profile(environ)) and has_login(environ):
        log.warning("%s is set and wins over the login of profile %s.", found.source, profile)
    return found


def decode_pasted(content: bytes) -> str:
    """Decode UTF-8, or UTF-16 as Windows PowerShell writes it, with a byte order mark or without.

    Raises:
        ValueError: It is neither.
    """
    is_marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_marked else "utf-8-sig").replace("\0", "")


def _find_in_variables(environ: Mapping[str, str]) -> Credential:
    source = "TTP_API_TOKEN"
    if _UNSET_REFERENCE.fullmatch(environ.get(source, "")):
        environ = {**environ, source: ""}
    file = None
    try:
        text = read_text(environ, source)
        if text is None:
            source = "TTP_API_TOKEN_FILE"
            if name := read_text(environ, source):
                file = to_path(source, name)
                text = _read_token_file(file)
        return Credential(parse_token(text), source=source, file=file) if text else Credential()
    except (TokenProblem, SettingProblem) as problem:
        return Credential(problem=str(problem), source=source)


def _find_in_login(environ: Mapping[str, str], api_url: str | None) -> Credential | None:
    profile = read_profile(environ)
    source = f"the login of profile {profile}" if profile else "the login"
    command = login_command(profile)
    try:
        login = read_login(environ)
    except LoginProblem as problem:
        return Credential(problem=f"{problem} Run `{command}` and restart this server.", source=source)
    if login is None:
        missing = f"profile {profile} has no login. Run `{command}` and restart this server."
        return Credential(problem=missing, source=source) if profile else None
    if api_url not in (None, login.api_url):
        other = f"{source} is for another address than TTP_API_URL. Remove TTP_API_URL, or run `{command}` with it."
        return Credential(problem=other, source=source)
    return Credential(login.token, source=source, login=login, file=login_path(environ))


def _read_token_file(path: Path) -> str:
    try:
        content = _read_ordinary_file(path)
        text = decode_pasted(content).strip()
    except FileNotFoundError:
        raise TokenProblem("TTP_API_TOKEN_FILE names a file that isn't there.") from None
    except (OSError, ValueError) as problem:
        if isinstance(problem, OSError) and is_held(problem):
            raise TokenProblem("TTP_API_TOKEN_FILE names a file that another program holds. Close it there.") from None
        raise TokenProblem("TTP_API_TOKEN_FILE names a file that can't be read as text.") from None
    if readers := find_other_readers(path):
        names, command = ", ".join(readers), how_to_make_private("FILE")
        log.warning("The file that TTP_API_TOKEN_FILE names can be read by %s. Run: %s", names, command)
    if not text:
        raise TokenProblem(_EMPTY_FILE)
    return text


def _read_ordinary_file(path: Path) -> bytes:
    """Return the beginning of a file. A pipe or a device would block, and standard input belongs to the client."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError
    with path.open("rb") as file:
        return file.read(_TOKEN_FILE_BYTES)
