"""Rules for every value of a setting or flag: blanks, quotes, placeholders that were never replaced, paths."""

import re
from pathlib import Path

# A bundle passes this on for a field that the user left empty.
_LEFT_EMPTY = re.compile(r"\$\{user_config\.[^}]*\}")
# A secret may contain `$` and `%`, so only unmistakable placeholders count there. Two hexadecimal digits are a URL escape.
_SECRET_PLACEHOLDER = re.compile(
    r"\$\{[^}]*\}|\{\{[^}]*\}\}|^(?:\$\{.*|\$\w+|\$env:\w+|\$\(.*\)|%\w+%|\{(?:env|file|input):.*\}|<.*>)$",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    _SECRET_PLACEHOLDER.pattern + r"|\$[A-Z_{(]|%(?![0-9A-F]{2}%)[A-Z_]\w*(?:\([^)]*\))?%", re.IGNORECASE
)
# Only what every reader of URLs understands alike: no user, query, fragment, backslash, blank, escape or letter beyond ASCII.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>(?=[^/:]{1,253}(?:[/:]|$))[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
    r"|\[::1\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:-]+)*)/*",
    re.IGNORECASE | re.ASCII,
)
_ORG_ID = re.compile(r"[\x21-\x7e]{1,128}")
_QUOTES = ('""', "''", "“”", "‘’", "``")


class SettingProblem(ValueError):
    """A setting can't be used; the text names the variable, the rule and what to write instead."""


def clean_value(name: str, value: str, *, secret: bool = False) -> str | None:
    """Take blanks and one pair of quotes off a value. None if nothing was set.

    Args:
        name: Variable or flag, for the error.
        value: As it was passed.
        secret: Allow `$` and `%` within the value.

    Raises:
        SettingProblem: The value is a placeholder that was never replaced.
    """
    value = strip_quotes(value.strip().removeprefix("\ufeff"))
    if not value or _LEFT_EMPTY.fullmatch(value):
        return None
    if (_SECRET_PLACEHOLDER if secret else _PLACEHOLDER).search(value):
        raise SettingProblem(
            f"{name} holds a placeholder that was not replaced. Write the value itself, or remove {name} from the settings."
        )
    return value


def strip_quotes(value: str) -> str:
    """Take one pair of quotes off, unless it holds further quotes."""
    inner = value[1:-1]
    is_quoted = len(value) >= 2 and value[0] + value[-1] in _QUOTES and value[-1] not in inner
    return inner.strip() if is_quoted else value


def home_folder() -> Path:
    """Return the user's home folder.

    Raises:
        SettingProblem: The environment names none.
    """
    try:
        return Path.home()
    except RuntimeError:
        raise SettingProblem(
            "No home folder: HOME or USERPROFILE is not set. Set it, or for a server TTP_STATE_DIR to an absolute path."
        ) from None


def to_path(name: str, text: str) -> Path:
    """Return an absolute path; `~` is the home folder.

    Raises:
        SettingProblem: The path is relative, so it would depend on the folder that the client starts in.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        path = Path()
    if not path.is_absolute():
        raise SettingProblem(
            f"{name} must name an absolute path or one below ~. Write the whole path, without variables."
        )
    return path


def is_loopback_host(host: str) -> bool:
    """Check whether a host is this machine: localhost, 127.0.0.1 or ::1, in brackets or not."""
    return host.strip("[]") in ("localhost", "127.0.0.1", "::1")


def parse_api_url(name: str, text: str) -> str:
    """Return the base URL of the API in its normal form.

    Raises:
        SettingProblem: It is not https, nor http on this machine, or holds a user, query or fragment.
    """
    found = _URL.fullmatch(text)
    scheme, host = (found["scheme"].lower(), found["host"].lower()) if found else ("", "")
    if not found or (scheme != "https" and not is_loopback_host(host)) or int(found["port"] or 1) > 65535:
        raise SettingProblem(
            f"{name} must be an https URL without user, query or fragment (http only for this machine: "
            "localhost, 127.0.0.1 or [::1]), for example https://timetopost.co/api."
        )
    return f"{scheme}://{host}{':' + found['port'] if found['port'] else ''}{found['path']}"


def parse_org_id(name: str, text: str) -> str:
    """Return an organization's id.

    Raises:
        SettingProblem: It can't be sent in a header.
    """
    if not _ORG_ID.fullmatch(text):
        raise SettingProblem(f"{name} must be at most 128 ASCII characters without blanks. Change it, or remove it.")
    return text
