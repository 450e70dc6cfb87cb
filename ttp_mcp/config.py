"""Settings: the only reader of the environment.

Every variable has one entry in `SETTINGS`, from which the documentation, the registry entry and the error texts are made.
"""

import logging
import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args
from zoneinfo import ZoneInfo

from ttp_mcp.credentials import Token, TokenProblem, parse_token
from ttp_mcp.times import TimeProblem, system_zone, zone_named

Access = Literal["read", "draft", "full"]
Confirm = Literal["auto", "required", "off"]

log = logging.getLogger(__name__)

DEFAULT_API_URL = "https://timetopost.co/api"


# Only what every reader of URLs understands alike: no user, query, fragment, backslash, blank, escape or letter beyond ASCII.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>(?=[^/:]{1,253}(?:[/:]|$))[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
    r"|\[::1\])"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:-]+)*)/*",
    re.IGNORECASE | re.ASCII,
)
_LOOPBACK = ("127.0.0.1", "[::1]", "localhost")
_ORG_ID = re.compile(r"[\x21-\x7e]{1,128}")
# As over HTTP, where what begins so is refused for being a user's API token.
_LIKE_API_TOKEN = re.compile(r"ttp_[0-9a-f]{6}", re.IGNORECASE)


class SettingProblem(ValueError):
    """A setting can't be used; the text names the variable, the rule and what to write instead."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable as the documentation shows it."""

    name: str
    meaning: str
    default: str
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    secret: bool = False


SETTINGS = (
    Setting(
        "TTP_API_TOKEN",
        "Your API token, from Settings → API in the dashboard.",
        "none",
        ("TIMETOPOST_API_TOKEN",),
        secret=True,
    ),
    Setting(
        "TTP_API_TOKEN_FILE",
        "A file that holds the token, instead of the variable; readable by you alone, or a warning says so.",
        "none",
    ),
    Setting(
        "TTP_API_URL",
        "Base URL of the API: https, or http on this machine only.",
        DEFAULT_API_URL,
        ("TIMETOPOST_API_URL",),
    ),
    Setting(
        "TTP_ORG_ID", "Organization to act in, when you belong to several.", "your active one", ("TIMETOPOST_ORG_ID",)
    ),
    Setting(
        "TTP_ACCESS",
        "What the tools may do: `read` looks only, `draft` never publishes or deletes, `full` does everything.",
        "full",
        choices=get_args(Access),
    ),
    Setting("TTP_TOOLSETS", "Groups of tools to offer, separated by commas.", "all"),
    Setting(
        "TTP_CONFIRM",
        "When you are asked first: `auto` before what cannot be taken back, where your client can ask; "
        "`required` before every publish or delete; `off` never.",
        "auto",
        choices=get_args(Confirm),
    ),
    Setting(
        "TTP_MEDIA_DIRS",
        f"Folders that `upload_media` may read, separated by `{os.pathsep}` (`;` on Windows).",
        "none: no file leaves this machine",
    ),
    Setting(
        "TTP_TIMEZONE",
        "IANA time zone for times without an offset, and for display.",
        "the zone of this computer (or `TZ`)",
    ),
    Setting("TTP_STATE_DIR", "Folder of the ledger and the sandbox's data.", "the platform's data folder"),
    Setting("TTP_MAX_POSTS_PER_HOUR", "At most so many posts created an hour.", "no limit"),
    Setting("TTP_MAX_DELETES_PER_HOUR", "At most so many posts deleted an hour.", "no limit"),
    Setting("TTP_MAX_UPLOADS_PER_HOUR", "At most so many uploads an hour; an upload URL counts as one.", "no limit"),
    Setting("TTP_LOG_LEVEL", "Logging to stderr.", "WARNING", choices=("DEBUG", "INFO", "WARNING", "ERROR")),
    Setting(
        "TTP_SERVER_KEY",
        "Over HTTP: the key that clients send as `Authorization: Bearer`; at least 32 characters.",
        "none: loopback only",
        secret=True,
    ),
    Setting(
        "TTP_ALLOWED_HOSTS",
        "Over HTTP: host names (with port) that clients may address, separated by commas.",
        "loopback",
    ),
    Setting("TTP_ALLOWED_ORIGINS", "Over HTTP: web origins that may call, separated by commas.", "none"),
    Setting("TTP_OAUTH_ISSUER", "Over HTTP: issuer of OAuth access tokens; with `TTP_OAUTH_RESOURCE`.", "none"),
    Setting("TTP_OAUTH_RESOURCE", "Over HTTP: this server's public URL, the audience of those tokens.", "none"),
    Setting(
        "TTP_STATE_URL",
        "Shared state of several replicas: `redis://…` or `postgresql://…`.",
        "files in TTP_STATE_DIR",
        secret=True,
    ),
)

_BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the server is told, checked.

    `token_problem` says why there is no usable token. `zone_is_known` is False where the zone was neither set nor found, so that
    it is UTC for want of a better one.
    """

    zone: ZoneInfo
    state_dir: Path
    token: Token | None = None
    token_problem: str | None = None
    api_url: str = DEFAULT_API_URL
    org_id: str | None = None
    access: Access = "full"
    toolsets: tuple[str, ...] | None = None
    confirm: Confirm = "auto"
    media_dirs: tuple[Path, ...] = ()
    log_level: str = "WARNING"
    max_posts_per_hour: int | None = None
    max_deletes_per_hour: int | None = None
    max_uploads_per_hour: int | None = None
    server_key: str | None = field(default=None, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    oauth_issuer: str | None = None
    oauth_resource: str | None = None
    state_url: str | None = field(default=None, repr=False)
    zone_is_known: bool = True

    @property
    def zone_name(self) -> str:
        """IANA name of the zone, for example `Europe/Paris`."""
        return self.zone.key


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check all settings.

    Raises:
        SettingProblem: A value can't be used. A missing or malformed token is not such a case: it becomes `token_problem`.
    """
    environ = os.environ if environ is None else environ
    token, token_problem = _token(environ)
    zone = _zone(environ)
    return Settings(
        zone=zone or ZoneInfo("UTC"),
        zone_is_known=zone is not None,
        state_dir=state_dir(environ),
        token=token,
        token_problem=token_problem,
        api_url=_api_url(environ),
        org_id=_org_id(environ),
        access=cast("Access", _choice(environ, "TTP_ACCESS")),
        toolsets=_list(environ, "TTP_TOOLSETS") or None,
        confirm=cast("Confirm", _choice(environ, "TTP_CONFIRM")),
        media_dirs=tuple(Path(entry).expanduser() for entry in _list(environ, "TTP_MEDIA_DIRS", os.pathsep)),
        log_level=_choice(environ, "TTP_LOG_LEVEL"),
        max_posts_per_hour=_count(environ, "TTP_MAX_POSTS_PER_HOUR"),
        max_deletes_per_hour=_count(environ, "TTP_MAX_DELETES_PER_HOUR"),
        max_uploads_per_hour=_count(environ, "TTP_MAX_UPLOADS_PER_HOUR"),
        server_key=_server_key(environ),
        allowed_hosts=_list(environ, "TTP_ALLOWED_HOSTS"),
        allowed_origins=_list(environ, "TTP_ALLOWED_ORIGINS"),
        oauth_issuer=_text(environ, "TTP_OAUTH_ISSUER"),
        oauth_resource=_text(environ, "TTP_OAUTH_RESOURCE"),
        state_url=_text(environ, "TTP_STATE_URL"),
    )


def state_dir(environ: Mapping[str, str] | None = None) -> Path:
    """The folder of the ledger and the sandbox: `TTP_STATE_DIR`, else the platform's data folder. Not created here."""
    environ = os.environ if environ is None else environ
    if chosen := _text(environ, "TTP_STATE_DIR"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":  # pragma: no cover - Windows only
        return Path(environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "ttp-mcp"
    if sys.platform == "darwin":  # pragma: no cover - macOS only
        return Path.home() / "Library" / "Application Support" / "ttp-mcp"
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "ttp-mcp"


def environment() -> Mapping[str, str]:
    """The environment as it is now, for code that needs a variable which is not a setting of ours (APPDATA)."""
    return dict(os.environ)


def no_color(environ: Mapping[str, str] | None = None) -> bool:
    """True when the person asked for plain output (https://no-color.org)."""
    environ = os.environ if environ is None else environ
    return bool(environ.get("NO_COLOR"))


def _text(environ: Mapping[str, str], name: str) -> str | None:
    for known in (name, *_BY_NAME[name].aliases):
        value = environ.get(known, "").strip()
        # An MCP client that has nothing to fill in passes its own placeholder on.
        if value and not (value.startswith("${") and value.endswith("}")):
            return value
    return None


def _list(environ: Mapping[str, str], name: str, separator: str = ",") -> tuple[str, ...]:
    value = _text(environ, name) or ""
    return tuple(entry.strip() for entry in value.split(separator) if entry.strip())


def _choice(environ: Mapping[str, str], name: str) -> str:
    setting = _BY_NAME[name]
    value = _text(environ, name) or setting.default
    value = value.upper() if setting.default.isupper() else value.lower()
    if value not in setting.choices:
        raise SettingProblem(
            f"{name} must be one of {', '.join(setting.choices)}. Change it, or remove it for {setting.default}."
        )
    return value


def _count(environ: Mapping[str, str], name: str) -> int | None:
    value = _text(environ, name)
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal()) or len(value) > 6:
        raise SettingProblem(f"{name} must be a whole number from 0 to 999999. Change it, or remove it for no limit.")
    return int(value)


def _zone(environ: Mapping[str, str]) -> ZoneInfo | None:
    name = _text(environ, "TTP_TIMEZONE")
    if name is None:
        zone = system_zone(environ.get("TZ", "").strip())
        if zone is None:
            log.warning(
                "The time zone of this machine can't be told, so times without an offset are read in UTC. "
                "Set TTP_TIMEZONE to an IANA name, for example Europe/Paris."
            )
        return zone
    try:
        return zone_named(name)
    except TimeProblem:
        raise SettingProblem("TTP_TIMEZONE must be an IANA time zone, for example Europe/Paris.") from None


def _api_url(environ: Mapping[str, str]) -> str:
    found = _URL.fullmatch(_text(environ, "TTP_API_URL") or DEFAULT_API_URL)
    scheme, host = (found["scheme"].lower(), found["host"].lower()) if found else ("", "")
    if not found or (scheme != "https" and host not in _LOOPBACK) or int(found["port"] or 1) > 65535:
        raise SettingProblem(
            "TTP_API_URL must be an https URL without user, query or fragment (http only for this machine: "
            f"localhost, 127.0.0.1 or [::1]), for example {DEFAULT_API_URL}."
        )
    return f"{scheme}://{host}{':' + found['port'] if found['port'] else ''}{found['path']}"


def _org_id(environ: Mapping[str, str]) -> str | None:
    value = _text(environ, "TTP_ORG_ID")
    if value is not None and not _ORG_ID.fullmatch(value):
        raise SettingProblem("TTP_ORG_ID must be at most 128 ASCII characters without blanks. Change it, or remove it.")
    return value


def _server_key(environ: Mapping[str, str]) -> str | None:
    key = _text(environ, "TTP_SERVER_KEY")
    if key is not None and (len(key) < 32 or not key.isascii() or _LIKE_API_TOKEN.match(key)):
        raise SettingProblem("TTP_SERVER_KEY must be at least 32 ASCII characters and not an API token.")
    return key


def _token(environ: Mapping[str, str]) -> tuple[Token | None, str | None]:
    try:
        text = _text(environ, "TTP_API_TOKEN") or _token_file(environ)
        return (parse_token(text), None) if text else (None, None)
    except TokenProblem as problem:
        return None, str(problem)


def _token_file(environ: Mapping[str, str]) -> str | None:
    name = _text(environ, "TTP_API_TOKEN_FILE")
    if name is None:
        return None
    try:
        mode, text = _ordinary_file(Path(name).expanduser())
    except (OSError, ValueError, RuntimeError):
        raise TokenProblem("TTP_API_TOKEN_FILE names a file that can't be read as text.") from None
    if os.name == "posix" and mode & 0o077:
        log.warning("The file that TTP_API_TOKEN_FILE names can be read by others; make it yours alone: chmod 600.")
    if not text.strip():
        raise TokenProblem("TTP_API_TOKEN_FILE names an empty file.")
    return text.strip()


def _ordinary_file(path: Path) -> tuple[int, str]:
    """Mode and beginning of a file. A pipe or a device would block, and standard input belongs to the client."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise ValueError
    with path.open(encoding="utf-8") as file:
        return mode, file.read(200)
