"""Settings, read from the environment and checked. A setting that restricts the server is never ignored."""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from zoneinfo import ZoneInfo, available_timezones

from ttp_mcp.config.folders import read_profile, state_dir
from ttp_mcp.config.table import BY_NAME, DEFAULT_API_URL, TOOLSETS, Access, Confirm, read_text
from ttp_mcp.config.token_source import find_credential
from ttp_mcp.config.values import SettingProblem, parse_api_url, parse_org_id, strip_quotes, to_path
from ttp_mcp.credentials import Token
from ttp_mcp.times import TimeProblem, describe_fixed_offset, detect_zone, find_zone

log = logging.getLogger(__name__)

# Printable, without blanks and quotes, and not an API token: the HTTP transport rejects API tokens in Authorization.
_SERVER_KEY = re.compile(r"(?!(?i:ttp_[0-9a-f]{6}))[\x21\x23-\x26\x28-\x7e]{32,}")


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked.

    `token_problem` is why the token can't be used, `token_source` where it is from, `token_file` the file that holds it.
    `zone_is_known` is False if the zone was neither set nor detected; the zone is UTC then.
    """

    zone: ZoneInfo
    state_dir: Path
    token: Token | None = None
    token_problem: str | None = None
    token_source: str | None = None
    token_file: Path | None = None
    profile: str | None = None
    api_url: str = DEFAULT_API_URL
    org_id: str | None = None
    access: Access = "full"
    toolsets: tuple[str, ...] | None = None
    confirm: Confirm = "auto"
    media_dirs: tuple[Path, ...] = ()
    fast_start: bool = True
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


def load_settings(environ: Mapping[str, str] | None = None, *, with_login: bool = False) -> Settings:
    """Read and check all settings.

    Args:
        environ: Variables (default: those of this process).
        with_login: Use what `ttp-mcp login` saved if no variable holds a token.

    Raises:
        SettingProblem: A value can't be used. A missing or malformed token is not such a case: it becomes `token_problem`.
    """
    environ = os.environ if environ is None else environ
    zone, api_url = _read_zone(environ), _read_parsed(environ, "TTP_API_URL", parse_api_url)
    found = find_credential(environ, api_url, with_login=with_login)
    login = found.login
    return Settings(
        zone=zone or ZoneInfo("UTC"),
        zone_is_known=zone is not None,
        state_dir=state_dir(environ),
        token=found.token,
        token_problem=found.problem,
        token_source=found.source,
        token_file=found.file,
        profile=read_profile(environ),
        api_url=api_url or (login.api_url if login else DEFAULT_API_URL),
        org_id=_read_parsed(environ, "TTP_ORG_ID", parse_org_id) or (login.org_id if login else None),
        access=cast("Access", _read_choice(environ, "TTP_ACCESS")),
        toolsets=_read_toolsets(environ),
        confirm=cast("Confirm", _read_choice(environ, "TTP_CONFIRM")),
        media_dirs=tuple(
            to_path("TTP_MEDIA_DIRS", entry) for entry in _read_list(environ, "TTP_MEDIA_DIRS", os.pathsep)
        ),
        fast_start=_read_choice(environ, "TTP_FAST_START") == "on",
        log_level=_read_choice(environ, "TTP_LOG_LEVEL"),
        max_posts_per_hour=_read_count(environ, "TTP_MAX_POSTS_PER_HOUR"),
        max_deletes_per_hour=_read_count(environ, "TTP_MAX_DELETES_PER_HOUR"),
        max_uploads_per_hour=_read_count(environ, "TTP_MAX_UPLOADS_PER_HOUR"),
        server_key=_read_server_key(environ),
        allowed_hosts=_read_list(environ, "TTP_ALLOWED_HOSTS"),
        allowed_origins=_read_list(environ, "TTP_ALLOWED_ORIGINS"),
        oauth_issuer=read_text(environ, "TTP_OAUTH_ISSUER"),
        oauth_resource=read_text(environ, "TTP_OAUTH_RESOURCE"),
        state_url=read_text(environ, "TTP_STATE_URL"),
    )


def read_environment() -> Mapping[str, str]:
    """Return the current environment, for code that needs a variable which is not one of our settings (APPDATA)."""
    return dict(os.environ)


def no_color(environ: Mapping[str, str] | None = None) -> bool:
    """Check whether the user wants plain output (https://no-color.org)."""
    environ = os.environ if environ is None else environ
    return bool(environ.get("NO_COLOR"))


def _read_list(environ: Mapping[str, str], name: str, separator: str = ",") -> tuple[str, ...]:
    value = read_text(environ, name)
    if value is None:
        return ()
    entries = tuple(strip_quotes(entry.strip()) for entry in value.split(separator) if entry.strip())
    if not entries:
        raise SettingProblem(f"{name} lists nothing. Write at least one entry, or remove {name}.")
    return entries


def _read_choice(environ: Mapping[str, str], name: str) -> str:
    setting = BY_NAME[name]
    value = read_text(environ, name) or setting.default
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
    value = read_text(environ, name)
    if value is None:
        return None
    if not (value.isascii() and value.isdecimal()) or len(value) > 6:
        raise SettingProblem(f"{name} must be a whole number from 0 to 999999. Change it, or remove it for no limit.")
    return int(value)


def _read_zone(environ: Mapping[str, str]) -> ZoneInfo | None:
    name = read_text(environ, "TTP_TIMEZONE")
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
    # File systems of Windows and macOS find a name in any case, and the zone would keep it as it was written.
    if sys.platform == "linux":
        with contextlib.suppress(TimeProblem):
            return find_zone(name)
    try:
        return find_zone(next(zone for zone in available_timezones() if zone.lower() == name.lower()))
    except (StopIteration, TimeProblem):
        raise SettingProblem("TTP_TIMEZONE must be an IANA time zone, for example Europe/Paris.") from None


def _read_parsed(environ: Mapping[str, str], name: str, parse: Callable[[str, str], str]) -> str | None:
    value = read_text(environ, name)
    return None if value is None else parse(name, value)


def _read_server_key(environ: Mapping[str, str]) -> str | None:
    key = read_text(environ, "TTP_SERVER_KEY")
    if key is not None and not _SERVER_KEY.fullmatch(key):
        raise SettingProblem(
            "TTP_SERVER_KEY must be at least 32 ASCII characters without blanks or quotes, and not an API token. "
            "Make one with: openssl rand -hex 32"
        )
    return key
