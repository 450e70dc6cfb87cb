"""Every setting as data: documentation, the registry's entry and the readers below are derived from it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from ttp_mcp.config.values import clean_value

Access = Literal["read", "draft", "full"]
Confirm = Literal["auto", "required", "off"]

DEFAULT_API_URL = "https://timetopost.co/api"
TOOLSETS = ("posts", "integrations", "analytics", "media", "plans", "setup")


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
        "what `ttp-mcp login` saved",
        ("TIMETOPOST_API_TOKEN",),
        secret=True,
    ),
    Setting(
        "TTP_API_TOKEN_FILE",
        "A file that holds the token, instead of the variable; readable by you alone, or a warning says so.",
        "none",
    ),
    Setting(
        "TTP_PROFILE",
        "Name of a profile with its own login and state folder, for several accounts or organizations side by side.",
        "the default profile",
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
        "When you are asked first: `auto` before irreversible actions, if your client can ask; "
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
    Setting(
        "TTP_FAST_START",
        "Over stdio: `on` answers a client's first messages from a record of an earlier start and loads the rest when it is "
        "needed; `off` neither replays nor records.",
        "on",
        choices=("on", "off"),
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

BY_NAME = {setting.name: setting for setting in SETTINGS}


def read_text(environ: Mapping[str, str], name: str) -> str | None:
    """Return the value of a setting, from its variable or an alias; None if none is set.

    Raises:
        SettingProblem: It is a placeholder that was never replaced.
    """
    setting = BY_NAME[name]
    for known in (name, *setting.aliases):
        value = clean_value(known, environ.get(known, ""), secret=setting.secret)
        if value is not None:
            return value
    return None
