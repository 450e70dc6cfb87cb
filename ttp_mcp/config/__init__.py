"""Settings, the saved login and private files: the only reader of the environment."""

from ttp_mcp.config.folders import DEFAULT_PROFILE, login_dir, parse_profile, read_profile, state_dir
from ttp_mcp.config.settings import Settings, load_settings, no_color, read_environment
from ttp_mcp.config.table import SETTINGS, TOOLSETS, Setting
from ttp_mcp.config.values import SettingProblem, clean_value, home_folder, is_loopback_host

__all__ = [
    "DEFAULT_PROFILE",
    "SETTINGS",
    "TOOLSETS",
    "Setting",
    "SettingProblem",
    "Settings",
    "clean_value",
    "home_folder",
    "is_loopback_host",
    "load_settings",
    "login_dir",
    "no_color",
    "parse_profile",
    "read_environment",
    "read_profile",
    "state_dir",
]
