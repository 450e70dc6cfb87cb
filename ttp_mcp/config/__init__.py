"""Settings: the only reader of the environment."""

from ttp_mcp.config.settings import (
    SETTINGS,
    TOOLSETS,
    Setting,
    Settings,
    is_loopback_host,
    load_settings,
    no_color,
    read_environment,
    state_dir,
)
from ttp_mcp.config.values import SettingProblem, clean_value

__all__ = [
    "SETTINGS",
    "TOOLSETS",
    "Setting",
    "SettingProblem",
    "Settings",
    "clean_value",
    "is_loopback_host",
    "load_settings",
    "no_color",
    "read_environment",
    "state_dir",
]
