"""Settings: the only reader of the environment.

Every variable has one entry in `SETTINGS`; documentation and the registry entry are generated from it. `clean_value` is the one rule
for placeholders, quotes and empty values. A setting that restricts the server is never ignored.
"""

import codecs
import contextlib
import logging
import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast, get_args
from zoneinfo import ZoneInfo, available_timezones

from ttp_mcp.config.values import SettingProblem, clean_value, home_folder, strip_quotes, to_path
from ttp_mcp.credentials import Token, TokenProblem, parse_token
from ttp_mcp.times import TimeProblem, describe_fixed_offset, detect_zone, find_zone

Access = Literal["read", "draft", "full"]
Confirm = Literal["auto", "required", "off"]

log = logging.getLogger(__name__)

DEFAULT_API_URL = "https://timetopost.co/api"
TOOLSETS = ("posts", "integrations", "analytics", "media", "plans", "setup")

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
# Printable, without blanks and quotes, and not an API token: the HTTP transport rejects API tokens in Authorization.
_SERVER_KEY = re.compile(r"(?!(?i:ttp_[0-9a-f]{6}))[\x21\x23-\x26\x28-\x7e]{32,}")

_TOKEN_FILE_BYTES = 1000


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
    Setting(
        "TTP_TOOLSETS",
        f"Groups of tools to offer, separated by commas: {', '.join(f'`{name}`' for name in TOOLSETS)}.",
        "all",
    ),
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
    Setting("TTP_MAX_POSTS_PER_HOUR", "Maximum posts created per hour; 0 allows none.", "no limit"),
    Setting("TTP_MAX_DELETES_PER_HOUR", "Maximum posts deleted per hour; 0 allows none.", "no limit"),
    Setting(
        "TTP_MAX_UPLOADS_PER_HOUR", "Maximum uploads per hour; 0 allows none. An upload URL counts as one.", "no limit"
    ),
    Setting("TTP_LOG_LEVEL", "Logging to stderr.", "WARNING", choices=("DEBUG", "INFO", "WARNING", "ERROR")),
    Setting(
        "TTP_SERVER_KEY",
        "Over HTTP: the key that clients send as `Authorization: Bearer`; at least 32 characters.",
        "none: this machine only",
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
        "Shared state of several replicas: `postgresql://…`.",
        "files in TTP_STATE_DIR",
        secret=True,
    ),
)

_BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked.

    `token_problem` is why the token can't be used. `zone_is_known` is False if the zone was neither set nor detected; the zone
    is UTC then.
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


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check all settings.

    Raises:
        SettingProblem: A value can't be used. A missing or malformed token is not such a case: it becomes `token_problem`.
    """
    environ = os.environ if environ is None else environ
    token, token_problem = _read_token(environ)
    zone = _read_zone(environ)
    return Settings(
        zone=zone or ZoneInfo("UTC"),
        zone_is_known=zone is not None,
        state_dir=state_dir(environ),
        token=token,
        token_problem=token_problem,
        api_url=_read_api_url(environ),
        org_id=_read_org_id(environ),
        access=cast("Access", _read_choice(environ, "TTP_ACCESS")),
        toolsets=_read_toolsets(environ),
        confirm=cast("Confirm", _read_choice(environ, "TTP_CONFIRM")),
        media_dirs=tuple(
            to_path("TTP_MEDIA_DIRS", entry) for entry in _read_list(environ, "TTP_MEDIA_DIRS", os.pathsep)
        ),
        log_level=_read_choice(environ, "TTP_LOG_LEVEL"),
        max_posts_per_hour=_read_count(environ, "TTP_MAX_POSTS_PER_HOUR"),
        max_deletes_per_hour=_read_count(environ, "TTP_MAX_DELETES_PER_HOUR"),
        max_uploads_per_hour=_read_count(environ, "TTP_MAX_UPLOADS_PER_HOUR"),
        server_key=_read_server_key(environ),
        allowed_hosts=_read_list(environ, "TTP_ALLOWED_HOSTS"),
        allowed_origins=_read_list(environ, "TTP_ALLOWED_ORIGINS"),
        oauth_issuer=_read_text(environ, "TTP_OAUTH_ISSUER"),
        oauth_resource=_read_text(environ, "TTP_OAUTH_RESOURCE"),
        state_url=_read_text(environ, "TTP_STATE_URL"),
    )


def state_dir(environ: Mapping[str, str] | None = None) -> Path:
    """Folder of the ledger and the sandbox: `TTP_STATE_DIR`, else the platform's data folder. Not created here.

    Raises:
        SettingProblem: `TTP_STATE_DIR` is not an absolute path, or the user has no home folder.
    """
    environ = os.environ if environ is None else environ
    if chosen := _read_text(environ, "TTP_STATE_DIR"):
        return to_path("TTP_STATE_DIR", chosen)
    if sys.platform == "darwin":  # pragma: no cover - macOS only
        return home_folder() / "Library" / "Application Support" / "ttp-mcp"
    name, below_home = (
        ("LOCALAPPDATA", "AppData/Local") if sys.platform == "win32" else ("XDG_DATA_HOME", ".local/share")
    )
    folder = Path(environ.get(name, ""))
    # The XDG specification: a relative path is invalid and must be ignored.
    return (folder if folder.is_absolute() else home_folder() / below_home) / "ttp-mcp"


def is_loopback_host(host: str) -> bool:
    """Check whether a host is this machine: localhost, 127.0.0.1 or ::1, in brackets or not."""
    return host.strip("[]") in ("localhost", "127.0.0.1", "::1")


def read_environment() -> Mapping[str, str]:
    """Return the current environment, for code that needs a variable which is not one of our settings (APPDATA)."""
    return dict(os.environ)


def no_color(environ: Mapping[str, str] | None = None) -> bool:
    """Check whether the user wants plain output (https://no-color.org)."""
    environ = os.environ if environ is None else environ
    return bool(environ.get("NO_COLOR"))


def _read_text(environ: Mapping[str, str], name: str) -> str | None:
    setting = _BY_NAME[name]
    for known in (name, *setting.aliases):
        value = clean_value(known, environ.get(known, ""), secret=setting.secret)
        if value is not None:
            return value
    return None


def _read_list(environ: Mapping[str, str], name: str, separator: str = ",") -> tuple[str, ...]:
    value = _read_text(environ, name)
    if value is None:
        return ()
    entries = tuple(strip_quotes(entry.strip()) for entry in value.split(separator) if entry.strip())
    if not entries:
        raise SettingProblem(f"{name} lists nothing. Write at least one entry, or remove {name}.")
    return entries


def _read_choice(environ: Mapping[str, str], name: str) -> str:
    setting = _BY_NAME[name]
    value = _read_text(environ, name) or setting.default
    value = value.upper() if setting.default.isupper() else value.lower()
    if value not in setting.choices:
        raise SettingProblem(
            f"{name} must be one of {', '.join(setting.choices)}. Change it, or remove it for {setting.default}."
        )
    return value


def _read_toolsets(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    names = tuple(name.lower() for name in _read_list(environ, "TTP_TOOLSETS"))
    if not {*names} <= {*TOOLSETS, "all"}:
        raise SettingProblem(f"TTP_TOOLSETS may name {', '.join(TOOLSETS)}. Change it, or remove it for all of them.")
    return None if not names or "all" in names else names


def _read_count(environ: Mapping[str, str], name: str) -> int | None:
    value = _read_text(environ, name)
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal()) or len(value) > 6:
        raise SettingProblem(f"{name} must be a whole number from 0 to 999999. Change it, or remove it for no limit.")
    return int(value)


def _read_zone(environ: Mapping[str, str]) -> ZoneInfo | None:
    name = _read_text(environ, "TTP_TIMEZONE")
    zone = _find_zone_in_any_case(name) if name else detect_zone(environ.get("TZ", "").strip())
    if zone is None:
        log.warning(
            "This machine's time zone can't be detected, so times without an offset are read in UTC. "
            "Set TTP_TIMEZONE to an IANA name, for example Europe/Paris."
        )
    elif notice := describe_fixed_offset(zone.key):
        log.warning("Times without an offset are read in %s. %s", zone.key, notice)
    return zone


def _find_zone_in_any_case(name: str) -> ZoneInfo:
    with contextlib.suppress(TimeProblem):
        return find_zone(name)
    try:
        return find_zone(next(zone for zone in available_timezones() if zone.lower() == name.lower()))
    except (StopIteration, TimeProblem):
        raise SettingProblem("TTP_TIMEZONE must be an IANA time zone, for example Europe/Paris.") from None


def _read_api_url(environ: Mapping[str, str]) -> str:
    found = _URL.fullmatch(_read_text(environ, "TTP_API_URL") or DEFAULT_API_URL)
    scheme, host = (found["scheme"].lower(), found["host"].lower()) if found else ("", "")
    if not found or (scheme != "https" and not is_loopback_host(host)) or int(found["port"] or 1) > 65535:
        raise SettingProblem(
            "TTP_API_URL must be an https URL without user, query or fragment (http only for this machine: "
            f"localhost, 127.0.0.1 or [::1]), for example {DEFAULT_API_URL}."
        )
    return f"{scheme}://{host}{':' + found['port'] if found['port'] else ''}{found['path']}"


def _read_org_id(environ: Mapping[str, str]) -> str | None:
    value = _read_text(environ, "TTP_ORG_ID")
    if value is not None and not _ORG_ID.fullmatch(value):
        raise SettingProblem("TTP_ORG_ID must be at most 128 ASCII characters without blanks. Change it, or remove it.")
    return value


def _read_server_key(environ: Mapping[str, str]) -> str | None:
    key = _read_text(environ, "TTP_SERVER_KEY")
    if key is not None and not _SERVER_KEY.fullmatch(key):
        raise SettingProblem(
            "TTP_SERVER_KEY must be at least 32 ASCII characters without blanks or quotes, and not an API token. "
            "Make one with: openssl rand -hex 32"
        )
    return key


def _read_token(environ: Mapping[str, str]) -> tuple[Token | None, str | None]:
    try:
        text = _read_text(environ, "TTP_API_TOKEN") or _read_token_file(environ)
        return (parse_token(text), None) if text else (None, None)
    except (TokenProblem, SettingProblem) as problem:
        return None, str(problem)


def _read_token_file(environ: Mapping[str, str]) -> str | None:
    name = _read_text(environ, "TTP_API_TOKEN_FILE")
    if name is None:
        return None
    try:
        mode, content = _read_ordinary_file(to_path("TTP_API_TOKEN_FILE", name))
        text = _decode_marked(content).strip()
    except FileNotFoundError:
        raise TokenProblem("TTP_API_TOKEN_FILE names a file that isn't there.") from None
    except SettingProblem:
        raise
    except (OSError, ValueError):
        raise TokenProblem("TTP_API_TOKEN_FILE names a file that can't be read as text.") from None
    if os.name == "posix" and mode & 0o077:
        log.warning("The file that TTP_API_TOKEN_FILE names can be read by others; make it yours alone: chmod 600.")
    if not text:
        raise TokenProblem("TTP_API_TOKEN_FILE names an empty file.")
    return text


def _read_ordinary_file(path: Path) -> tuple[int, bytes]:
    """Return mode and beginning of a file. A pipe or a device would block, and standard input belongs to the client."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise ValueError
    with path.open("rb") as file:
        return mode, file.read(_TOKEN_FILE_BYTES)


def _decode_marked(content: bytes) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark, as Windows PowerShell writes it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return content.decode("utf-8-sig")
