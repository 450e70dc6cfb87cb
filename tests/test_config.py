"""Settings: what is accepted, what is refused, and that nothing is given away."""

import errno
import importlib.resources
import logging
import os
import sys
import zoneinfo
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.windows import WINDOWS, needs_modes, skip_on_windows
from ttp_mcp import config
from ttp_mcp.api.client import ApiClient
from ttp_mcp.api.http import Http
from ttp_mcp.config import SETTINGS, SettingProblem, load_settings
from ttp_mcp.config.login import has_login
from ttp_mcp.tools import TOOLSETS

TEXT = "ttp_" + "0123456789ab" * 4
# Begins an absolute path.
DRIVE = "C:" if WINDOWS else ""
DATA = "LOCALAPPDATA" if WINDOWS else "XDG_DATA_HOME"
FOLDERS = (Path(f"{DRIVE}/a b"), Path(f"{DRIVE}/c"))


@pytest.mark.requirement("config.values")
def test_defaults_need_no_variable(monkeypatch):
    """Everything but the zone and the folder, which are the machine's."""
    home = {name: str(Path.home()) for name in ("HOME", "USERPROFILE")}
    monkeypatch.setattr(os, "environ", home)
    settings = load_settings()
    assert (settings.token, settings.token_problem, settings.api_url) == (None, None, "https://timetopost.co/api")
    assert (settings.access, settings.confirm, settings.log_level) == ("full", "auto", "WARNING")
    assert (settings.toolsets, settings.media_dirs, settings.max_posts_per_hour) == (None, (), None)
    folder = "AppData/Local" if WINDOWS else ".local/share"
    assert settings.state_dir == Path.home() / folder / "ttp-mcp"
    assert config.state_dir() == settings.state_dir
    assert config.read_environment() == home
    assert config.no_color() is False


@pytest.mark.requirement("config.values")
def test_variables_of_this_process_are_read_unless_others_are_given(monkeypatch, tmp_path):
    monkeypatch.setenv("TTP_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("NO_COLOR", "1")
    assert load_settings().state_dir == config.state_dir() == tmp_path
    assert config.state_dir({}) != tmp_path
    assert (config.no_color(), config.no_color({})) == (True, False)


@pytest.mark.requirement("config.values")
def test_every_setting_is_read():
    """And each alias."""
    settings = load_settings(
        {
            "TIMETOPOST_API_TOKEN": TEXT,
            "TIMETOPOST_API_URL": "HTTP://LocalHost:8765/api/",
            "TIMETOPOST_ORG_ID": "org_1",
            "TTP_ACCESS": "READ",
            "TTP_TOOLSETS": "posts, analytics,",
            "TTP_CONFIRM": "required",
            "TTP_MEDIA_DIRS": f"{DRIVE}/a{os.pathsep}~/b",
            "TTP_TIMEZONE": "Asia/Tokyo",
            "TTP_STATE_DIR": "~/state",
            "TTP_MAX_POSTS_PER_HOUR": "30",
            "TTP_LOG_LEVEL": "debug",
            "TTP_SERVER_KEY": "k" * 32,
            "TTP_ALLOWED_HOSTS": "a.example:443",
            "TTP_STATE_URL": "postgresql://:secret@localhost",
        }
    )
    assert settings.token is not None
    assert (settings.api_url, settings.org_id, settings.access) == ("http://localhost:8765/api", "org_1", "read")
    assert (settings.toolsets, settings.confirm, settings.log_level) == (("posts", "analytics"), "required", "DEBUG")
    assert (settings.media_dirs, settings.state_dir) == ((Path(f"{DRIVE}/a"), Path.home() / "b"), Path.home() / "state")
    assert (settings.zone.key, settings.max_posts_per_hour) == ("Asia/Tokyo", 30)
    assert settings.allowed_hosts == ("a.example:443",)
    assert not any(secret in repr(settings) for secret in ("k" * 32, "secret", TEXT[4:16]))


COUNT = "must be a whole number from 0 to 999999. Change it, or remove it for no limit."
PATH = "must name an absolute path or one below ~. Write the whole path, without variables."


@pytest.mark.requirement("config.values")
@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("TTP_ACCESS", "everything", "must be one of read, draft, full. Change it, or remove it for full."),
        ("TTP_CONFIRM", "maybe", "must be one of auto, required, off. Change it, or remove it for auto."),
        (
            "TTP_LOG_LEVEL",
            "LOUD",
            "must be one of DEBUG, INFO, WARNING, ERROR. Change it, or remove it for WARNING.",
        ),
        ("TTP_FAST_START", "fast", "must be one of on, off. Change it, or remove it for on."),
        ("TTP_TIMEZONE", "Mars/Base", "must be an IANA time zone, for example Europe/Paris."),
        ("TTP_MAX_POSTS_PER_HOUR", "-1", COUNT),
        ("TTP_MAX_POSTS_PER_HOUR", "²", COUNT),
        ("TTP_MAX_POSTS_PER_HOUR", "٣", COUNT),
        ("TTP_MAX_DELETES_PER_HOUR", "many", COUNT),
        ("TTP_MAX_UPLOADS_PER_HOUR", "1000000", COUNT),
        (
            "TTP_TOOLSETS",
            "posts,else",
            "may name posts, integrations, analytics, media, plans, setup. Change it, or remove it for all of them.",
        ),
        (
            "TTP_SERVER_KEY",
            "short",
            (
                "must be at least 32 ASCII characters without blanks or quotes, and not an API token. "
                "Make one with: openssl rand -hex 32"
            ),
        ),
        ("TTP_ORG_ID", "a b", "must be at most 128 ASCII characters without blanks. Change it, or remove it."),
        ("TTP_ORG_ID", "o" * 129, "must be at most 128 ASCII characters without blanks. Change it, or remove it."),
        (
            "TTP_PROFILE",
            "Brand",
            "must be 1 to 32 lower-case letters, digits, - and _, for example brand-a. Change it, or remove it.",
        ),
        ("TTP_STATE_DIR", "folder", PATH),
        ("TTP_MEDIA_DIRS", f"{DRIVE}/a{os.pathsep}folder", PATH),
        (
            "TTP_API_URL",
            "http://a.example",
            (
                "must be an https URL without user, query or fragment (http only for this machine: "
                "localhost, 127.0.0.1 or [::1]), for example https://timetopost.co/api."
            ),
        ),
    ],
)
def test_problem_of_a_setting_is_its_rule_and_the_next_step(name, value, rule):
    with pytest.raises(SettingProblem) as caught:
        load_settings({"TZ": "UTC", name: value})
    assert str(caught.value) == f"{name} {rule}"


@pytest.mark.requirement("config.values")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TTP_ACCESS", "everything"),
        ("TTP_CONFIRM", "maybe"),
        ("TTP_LOG_LEVEL", "LOUD"),
        ("TTP_TIMEZONE", "Mars/Base"),
        ("TTP_MAX_POSTS_PER_HOUR", "-1"),
        ("TTP_MAX_DELETES_PER_HOUR", "many"),
        ("TTP_MAX_UPLOADS_PER_HOUR", "1000000"),
        ("TTP_SERVER_KEY", "short"),
        ("TTP_SERVER_KEY", TEXT),
        ("TTP_SERVER_KEY", TEXT.upper()),
        ("TTP_SERVER_KEY", "é" * 40),
        ("TTP_ORG_ID", "a b"),
        ("TTP_ORG_ID", "a\r\nx-evil: 1"),
        ("TTP_ORG_ID", "é"),
        *(("TTP_PROFILE", name) for name in ("Brand", "a/b", "../x", "x" * 33, "-x", "a b", "a.b", "é", "..")),
        *(("TTP_PROFILE", device) for device in ("con", "prn", "aux", "nul", "com1", "com9", "lpt0", "lpt9")),
    ],
)
def test_value_that_breaks_its_rule_is_refused_by_name(name, value):
    """And is not repeated."""
    with pytest.raises(SettingProblem) as caught:
        load_settings({name: value})
    assert str(caught.value).startswith(name)
    assert value not in str(caught.value)


VALID = {
    "TTP_API_TOKEN": TEXT,
    "TTP_API_TOKEN_FILE": f"{DRIVE}/secrets/token",
    "TTP_PROFILE": "brand-a",
    "TTP_API_URL": "https://timetopost.co/v2",
    "TTP_ORG_ID": "org_1",
    "TTP_ACCESS": "read",
    "TTP_TOOLSETS": "posts",
    "TTP_CONFIRM": "required",
    "TTP_MEDIA_DIRS": f"{DRIVE}/pictures",
    "TTP_FAST_START": "off",
    "TTP_TIMEZONE": "Asia/Tokyo",
    "TTP_STATE_DIR": f"{DRIVE}/state",
    "TTP_MAX_POSTS_PER_HOUR": "0",
    "TTP_MAX_DELETES_PER_HOUR": "0",
    "TTP_MAX_UPLOADS_PER_HOUR": "0",
    "TTP_LOG_LEVEL": "ERROR",
    "TTP_SERVER_KEY": "k" * 32,
    "TTP_ALLOWED_HOSTS": "a.example",
    "TTP_ALLOWED_ORIGINS": "https://a.example",
    "TTP_OAUTH_ISSUER": "https://login.example",
    "TTP_OAUTH_RESOURCE": "https://mcp.example/mcp",
    "TTP_STATE_URL": "postgresql://u:p%24w%C3%A4@host/db",
}
every_setting = pytest.mark.parametrize("name", [setting.name for setting in SETTINGS])


def read_outcome(name, value):
    """The settings, or the text of the problem."""
    try:
        settings = load_settings({"TZ": "Europe/Paris", name: value})
    except SettingProblem as problem:
        return str(problem)
    return settings.token_problem or settings


@pytest.mark.requirement("config.odd-values")
@every_setting
@pytest.mark.parametrize("value", ["", " ", "\t\r\n", '""', "''", "${user_config.anything}", ' "${user_config.a.b}" '])
def test_setting_that_was_left_empty_is_not_set(name, value):
    assert read_outcome(name, value) == load_settings({"TZ": "Europe/Paris"})


@pytest.mark.requirement("config.odd-values")
@every_setting
@pytest.mark.parametrize("form", ['"{}"', "'{}'", "“{}”", "‘{}’", "`{}`", " {} ", '" {} "', "\ufeff{}", "{}\r\n"])
def test_blanks_and_quotes_around_a_value_are_taken_off(name, form):
    plain = read_outcome(name, VALID[name])
    assert read_outcome(name, form.format(VALID[name])) == plain
    assert plain != load_settings({"TZ": "Europe/Paris"})


PLACEHOLDERS = (
    "${NAME}",
    "${env:NAME}",
    "${NAME:-x}",
    "${NAME-x}",
    "${input:name}",
    "${NAME",
    "$NAME",
    "$env:NAME",
    "$(cat secret)",
    "%NAME%",
    "{{NAME}}",
    "{env:NAME}",
    "{file:NAME}",
    "{input:NAME}",
    "<the value of this setting goes here>",
    "${{ secrets.NAME }}",
)


@pytest.mark.requirement("config.odd-values")
@every_setting
@pytest.mark.parametrize("value", [*PLACEHOLDERS, *(f'"{value}"' for value in PLACEHOLDERS)])
def test_placeholder_that_was_not_replaced_is_never_ignored(name, value):
    """Also for a guard that is off by default: the placeholder shows that it was wanted."""
    for known in (name, *config.SETTINGS[[setting.name for setting in SETTINGS].index(name)].aliases):
        problem = read_outcome(known, value)
        assert isinstance(problem, str)
        assert problem.startswith(f"{known} holds a placeholder that was not replaced. Write the value itself")
        assert value not in problem


@pytest.mark.requirement("config.odd-values")
@pytest.mark.parametrize("name", ["TTP_STATE_DIR", "TTP_MEDIA_DIRS", "TTP_API_TOKEN_FILE"])
@pytest.mark.parametrize(
    "value",
    [
        "${HOME}/state",
        "/a/$USER/state",
        "~/$USER",
        "%APPDATA%\\ttp",
        "/a/%TEMP%/b",
        "%ProgramFiles(x86)%",
        "/a/${NAME:-x}/b",
        "/a/$(whoami)",
        "state",
        "./state",
        "../state",
        pytest.param(
            "~nobody-of-that-name/state", marks=skip_on_windows("Windows takes it for a folder beside the home")
        ),
        "file:///state",
    ],
)
def test_path_is_absolute_and_without_variables(name, value):
    """Else it would mean another folder wherever a client starts the server."""
    problem = read_outcome(name, value)
    assert isinstance(problem, str)
    assert problem.startswith(name)
    assert value not in problem


@pytest.mark.requirement("config.odd-values")
@pytest.mark.parametrize(
    ("name", "value", "field", "read"),
    [
        ("TTP_ACCESS", "READ", "access", "read"),
        ("TTP_ACCESS", '"Draft"', "access", "draft"),
        ("TTP_CONFIRM", "Required", "confirm", "required"),
        ("TTP_LOG_LEVEL", "info", "log_level", "INFO"),
        ("TTP_TOOLSETS", "all", "toolsets", None),
        ("TTP_TOOLSETS", "ALL", "toolsets", None),
        ("TTP_TOOLSETS", "posts,all", "toolsets", None),
        ("TTP_TOOLSETS", ",".join((*config.TOOLSETS, "all")), "toolsets", None),
        ("TTP_TOOLSETS", ",".join(config.TOOLSETS), "toolsets", config.TOOLSETS),
        ("TTP_TOOLSETS", "Posts, 'media'", "toolsets", ("posts", "media")),
        ("TTP_TIMEZONE", "europe/PARIS", "zone", ZoneInfo("Europe/Paris")),
        ("TTP_MEDIA_DIRS", f'"{DRIVE}/a b"{os.pathsep}"{DRIVE}/c"{os.pathsep}', "media_dirs", FOLDERS),
        ("TTP_MEDIA_DIRS", f'"{DRIVE}/a b"{os.pathsep}"{DRIVE}/c"', "media_dirs", FOLDERS),
        ("TTP_TOOLSETS", '"posts","media"', "toolsets", ("posts", "media")),
        ("TTP_MAX_POSTS_PER_HOUR", "0", "max_posts_per_hour", 0),
        ("TTP_MAX_DELETES_PER_HOUR", "0", "max_deletes_per_hour", 0),
        ("TTP_MAX_UPLOADS_PER_HOUR", "0", "max_uploads_per_hour", 0),
        ("TTP_MAX_UPLOADS_PER_HOUR", "999999", "max_uploads_per_hour", 999999),
        ("TTP_ORG_ID", "o" * 128, "org_id", "o" * 128),
        ("TTP_FAST_START", "OFF", "fast_start", False),
        *(("TTP_SERVER_KEY", key + "k" * 32, "server_key", key + "k" * 32) for key in ("<a>", "$a!", "%a%", "{env:a}")),
        (
            "TTP_ALLOWED_ORIGINS",
            "https://a.example, https://b.example",
            "allowed_origins",
            (
                "https://a.example",
                "https://b.example",
            ),
        ),
        ("TTP_STATE_URL", "postgresql://u:a$b%25c@h/d", "state_url", "postgresql://u:a$b%25c@h/d"),
        ("TTP_OAUTH_ISSUER", "https://a.example/%C3%A4", "oauth_issuer", "https://a.example/%C3%A4"),
    ],
)
def test_value_that_is_clear_is_understood(name, value, field, read):
    settings = read_outcome(name, value)
    assert not isinstance(settings, str)
    assert getattr(settings, field) == read


@pytest.mark.requirement("config.odd-values")
@pytest.mark.skipif(sys.platform != "linux", reason="a file system that knows a name in its own case only")
def test_zone_in_its_own_case_is_not_looked_up_in_the_list(monkeypatch):
    """The list lacks some that exist, such as posix/Europe/Paris."""
    monkeypatch.setattr("ttp_mcp.config.settings.available_timezones", set)
    assert load_settings({"TTP_TIMEZONE": "Europe/Paris"}).zone.key == "Europe/Paris"


def test_zone_has_its_own_case_where_the_file_system_ignores_it(tmp_path, monkeypatch):
    """As on macOS, which would find its file by any spelling."""
    data = (importlib.resources.files("tzdata") / "zoneinfo" / "Asia" / "Tokyo").read_bytes()
    for name in ("Asia/Tokyo", "asia/TOKYO"):
        # Where the file system ignores the case there is one of each.
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr("ttp_mcp.config.settings.available_timezones", lambda: {"Asia/Tokyo"})
    zoneinfo.reset_tzpath([tmp_path])
    try:
        assert load_settings({"TTP_TIMEZONE": "asia/TOKYO"}).zone.key == "Asia/Tokyo"
    finally:
        zoneinfo.reset_tzpath()


@pytest.mark.requirement("config.values")
def test_zone_whose_file_is_damaged_is_refused(tmp_path):
    (tmp_path / "Mars").mkdir()
    (tmp_path / "Mars" / "Base").write_bytes(b"TZif?")
    zoneinfo.reset_tzpath([tmp_path])
    try:
        with pytest.raises(SettingProblem, match=r"^TTP_TIMEZONE must be an IANA time zone"):
            load_settings({"TTP_TIMEZONE": "Mars/Base"})
    finally:
        zoneinfo.reset_tzpath()


@pytest.mark.requirement("config.odd-values")
@pytest.mark.parametrize("name", ["TTP_TOOLSETS", "TTP_ALLOWED_HOSTS", "TTP_ALLOWED_ORIGINS"])
@pytest.mark.parametrize("value", [",", " , ,", '","'])
def test_list_without_an_entry_is_refused(name, value):
    """Its separators say that something was meant."""
    assert read_outcome(name, value) == f"{name} lists nothing. Write at least one entry, or remove {name}."


@pytest.mark.requirement("config.odd-values")
@pytest.mark.parametrize(
    "key", ["a" * 31, "a" * 20 + " " + "b" * 20, '"' + "a" * 40, "a" * 40 + "'", "a" * 40 + "\n" + "b"]
)
def test_key_that_cannot_be_a_key_is_refused(key):
    """A key that clients can't send as a bearer value would lock everybody out, or be ignored."""
    problem = read_outcome("TTP_SERVER_KEY", key)
    assert isinstance(problem, str)
    assert problem.startswith("TTP_SERVER_KEY must be at least 32 ASCII characters without blanks or quotes")


@pytest.mark.requirement("config.odd-values")
def test_computer_without_a_home_folder_is_one_line(monkeypatch):
    def no_home(_):
        raise RuntimeError

    monkeypatch.setattr(Path, "home", classmethod(no_home))
    with pytest.raises(SettingProblem) as caught:
        load_settings({})
    assert str(caught.value) == (
        "No home folder: HOME or USERPROFILE is not set. Set it, or for a server TTP_STATE_DIR to an absolute path."
    )
    assert load_settings({"TTP_STATE_DIR": f"{DRIVE}/state"}, with_login=True).state_dir == Path(f"{DRIVE}/state")
    assert not has_login({})


@pytest.mark.requirement("config.odd-values")
def test_relative_data_folder_of_the_system_is_ignored():
    """As the XDG specification says."""
    assert config.state_dir({DATA: "${HOME}/data"}) == config.state_dir({})


@pytest.mark.skipif(sys.platform == "win32", reason="written as POSIX paths")
@pytest.mark.requirement("config.odd-values")
@pytest.mark.parametrize(
    ("platform", "environ", "state", "login"),
    [
        ("linux", {}, "~/.local/share/ttp-mcp", "~/.config/ttp-mcp"),
        ("linux", {"XDG_DATA_HOME": "/data", "XDG_CONFIG_HOME": "/etc"}, "/data/ttp-mcp", "/etc/ttp-mcp"),
        ("darwin", {"XDG_DATA_HOME": "/data"}, *["~/Library/Application Support/ttp-mcp"] * 2),
        ("win32", {}, *["~/AppData/Local/ttp-mcp"] * 2),
        ("win32", {"LOCALAPPDATA": "/local", "XDG_DATA_HOME": "/data"}, *["/local/ttp-mcp"] * 2),
    ],
)
def test_folders_are_where_each_system_keeps_such_files(monkeypatch, platform, environ, state, login):
    monkeypatch.setattr(sys, "platform", platform)
    for profile, below in ((None, ""), ("default", ""), ("brand-a", "profiles/brand-a")):
        named = environ if profile is None else {**environ, "TTP_PROFILE": profile}
        assert config.state_dir(named) == Path(state).expanduser() / below
        assert config.login_dir(named) == Path(login).expanduser() / below
    assert config.state_dir({**environ, "TTP_STATE_DIR": "/s", "TTP_PROFILE": "b"}) == Path("/s/profiles/b")


@pytest.mark.requirement("config.values")
def test_this_machine_has_three_names():
    assert all(map(config.is_loopback_host, ("localhost", "127.0.0.1", "::1", "[::1]")))
    assert not any(map(config.is_loopback_host, ("XlocalhostX", "localhost.example", "127.0.0.2", "LOCALHOST", "")))


@pytest.mark.requirement("config.odd-values")
def test_part_of_a_value_is_a_placeholder_unless_it_is_a_secret():
    with pytest.raises(SettingProblem):
        config.clean_value("--path", "/a/$USER/b")
    assert config.clean_value("TTP_SERVER_KEY", "/a/$USER/b", secret=True) == "/a/$USER/b"
    for each in ("/a/$_NAME", "/a/${NAME", "/a/$(id)/b", "/a/%_NAME%/b"):
        with pytest.raises(SettingProblem):
            config.clean_value("--path", each)
    for each in ("a${NAME}b", "a{{NAME}}b"):
        with pytest.raises(SettingProblem):
            config.clean_value("TTP_SERVER_KEY", each, secret=True)
    for each in ("a$NAME", "%NAME%b", "a<b>c", "a{env:NAME}", "$NAME-"):
        assert config.clean_value("TTP_SERVER_KEY", each, secret=True) == each


@pytest.mark.requirement("config.odd-values")
def test_groups_of_tools_are_those_that_exist():
    assert list(config.TOOLSETS) == [toolset.name for toolset in TOOLSETS]


@pytest.mark.requirement("config.values")
@pytest.mark.parametrize(
    "url",
    [
        *("http://timetopost.co/api", "ftp://127.0.0.1/", "file:///etc/passwd", "timetopost.co/api", "//timetopost.co"),
        *(
            "https://",
            "https:///api",
            "https://user@timetopost.co",
            "https://user:pass@timetopost.co",
            "https://@timetopost.co",
        ),
        *(
            "https://timetopost.co/?",
            "https://timetopost.co/api?a=b",
            "https://timetopost.co/#",
            "https://timetopost.co#@evil",
        ),
        *(
            "https://timetopost.co\\@evil.example",
            "https://timetopost.co/\\evil",
            "https://time topost.co",
            "https://a/b c",
        ),
        *(
            "https://timetopost.co/\r\nx",
            "https://timetopost.co\t/",
            "https://timetopost.co/\x00",
            "https://tіmetopost.co",
        ),
        *("https://timetopost。co", "https://127。0。0。1", "https://timetopost.co/%2e%2e", "https://time%74opost.co"),
        *(
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.1/",
            "http://0/",
            "http://0.0.0.0/",
        ),
        *(
            "http://127.0.0.1.evil.example/",
            "http://localhost.evil.example/",
            "http://host.localhost/",
            "http://localhost./",
        ),
        *(
            "http://[::ffff:127.0.0.1]/",
            "http://[::]/",
            "http://[::1%25eth0]/",
            "http://169.254.169.254/",
            "https://[::1",
        ),
        *(
            "https://timetopost.co:0/",
            "https://timetopost.co:65536/",
            "https://timetopost.co:x/",
            "https://timetopost.co:/",
        ),
        *("https://a..b", "https://-a.example", "https://a-.example", "https://" + "a" * 64 + ".example"),
        *("https://" + "a." * 130 + "example",),
    ],
)
def test_base_url_that_could_mislead_is_refused(url):
    """The token goes where this says."""
    with pytest.raises(SettingProblem, match="TTP_API_URL must be an https URL"):
        load_settings({"TTP_API_URL": url})


@pytest.mark.requirement("config.values")
@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("https://timetopost.co/api/", "https://timetopost.co/api"),
        ("HTTPS://TimeToPost.co:443/Api//", "https://timetopost.co:443/Api"),
        ("http://127.0.0.1:8765", "http://127.0.0.1:8765"),
        ("http://[::1]:8765/api", "http://[::1]:8765/api"),
        ("http://localhost", "http://localhost"),
        ("https://a.example:65535", "https://a.example:65535"),
        ("https://xn--bcher-kva.example/a-b_c/~d", "https://xn--bcher-kva.example/a-b_c/~d"),
        ("https://0a-b9.0-a.9/AZaz09", "https://0a-b9.0-a.9/AZaz09"),
        *((f"https://{each}.9", f"https://{each}.9") for each in ("a", "0", "a0", "0a", "a-0", "0-a", "x.0-a", "x.a0")),
        *((f"https://a.example/{each}", f"https://a.example/{each}") for each in "Az0._~!$&'()*+,;=:-"),
        (f"https://{'a.' * 126}b", f"https://{'a.' * 126}b"),
        ("${user_config.api_url}", "https://timetopost.co/api"),
    ],
)
def test_base_url_is_normalized(url, read):
    """Scheme and host in lower case, since others compare them."""
    assert load_settings({"TTP_API_URL": url}).api_url == read


@pytest.mark.requirement("config.values")
@given(st.from_regex(r"https?://[a-z0-9.\[\]:@-]{1,20}(:\d{1,5})?(/[ -~]{0,8})?", fullmatch=True))
def test_accepted_base_url_means_the_same_to_the_client(url):
    """Whatever is accepted has one host, as every reader of URLs sees it."""
    try:
        accepted = load_settings({"TTP_API_URL": url}).api_url
    except SettingProblem:
        return
    seen = httpx2.URL(accepted)
    assert accepted.startswith(f"{seen.scheme}://")
    assert accepted[len(seen.scheme) + 3 :].startswith((seen.raw_host.decode(), f"[{seen.raw_host.decode()}]"))
    assert (seen.userinfo, seen.query, seen.fragment) == (b"", b"", "")
    assert ApiClient(Http(base_url=accepted, token=None)).base_url == accepted


@pytest.mark.requirement("config.token")
@pytest.mark.parametrize("value", ["hello", "ttp_short", TEXT + "0", "Basic " + TEXT])
def test_malformed_token_does_not_stop_the_start(value):
    """It becomes a problem that each call tells."""
    settings = load_settings({"TTP_API_TOKEN": value})
    assert settings.token is None
    assert settings.token_problem is not None
    assert value not in settings.token_problem


@pytest.mark.requirement("config.token")
def test_token_that_a_bundle_left_empty_is_not_set():
    """And the alias is still looked at."""
    assert load_settings({"TTP_API_TOKEN": "${user_config.api_token}"}).token_problem is None
    assert load_settings({"TTP_API_TOKEN": "${user_config.api_token}", "TIMETOPOST_API_TOKEN": TEXT}).token is not None


@pytest.mark.requirement("config.token")
@pytest.mark.parametrize("environ", [{"TTP_API_TOKEN": "${input:token}"}, {"TTP_API_TOKEN_FILE": "${HOME}/token"}])
def test_placeholder_instead_of_a_token_is_a_problem_that_each_call_reports(environ):
    settings = load_settings(environ)
    assert settings.token is None
    assert settings.token_problem is not None
    assert settings.token_problem.startswith(f"{next(iter(environ))} holds a placeholder that was not replaced.")


@pytest.mark.requirement("config.token")
@pytest.mark.parametrize(
    "text",
    [
        f'"{TEXT}"',
        f"'{TEXT}'",
        f"“{TEXT}”",
        f"Bearer {TEXT}",
        f"bearer  {TEXT}",
        f"Authorization: Bearer {TEXT}",
        f"TTP_API_TOKEN={TEXT}",
        f'export TTP_API_TOKEN="{TEXT}"',
        f"TIMETOPOST_API_TOKEN = {TEXT}",
        f"\ufeff{TEXT}",
        f"  {TEXT}\r\n",
    ],
)
def test_token_is_found_within_what_was_copied_with_it(tmp_path, text):
    """In the variable and in the file."""
    path = tmp_path / "token"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    for environ in ({"TTP_API_TOKEN": text}, {"TTP_API_TOKEN_FILE": str(path)}):
        token = load_settings(environ).token
        assert token is not None
        assert token.reveal() == TEXT


@pytest.mark.requirement("config.token")
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_token_file_of_windows_tools_is_read(tmp_path, encoding):
    """Notepad writes a byte order mark, Windows PowerShell UTF-16."""
    path = tmp_path / "token"
    mark = "\ufeff" if encoding.endswith("e") else ""
    path.write_bytes(f"{mark}{TEXT}\r\n".encode(encoding))
    path.chmod(0o600)
    settings = load_settings({"TTP_API_TOKEN_FILE": str(path)})
    assert settings.token_problem is None
    assert settings.token is not None


@needs_modes
@pytest.mark.requirement("config.token")
@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_token_file_of_others_is_read_and_warned_of(tmp_path, caplog, mode, warned):
    """The warning names the variable, never the path or the token."""
    path = tmp_path / "token"
    path.write_text(TEXT + "\n", encoding="utf-8")
    path.chmod(mode)
    with caplog.at_level(logging.WARNING):
        settings = load_settings({"TTP_API_TOKEN_FILE": str(path)})
    assert settings.token is not None
    warning = "The file that TTP_API_TOKEN_FILE names can be read by other users. Run: chmod 600 FILE"
    assert [record.getMessage() for record in caplog.records] == [warning] * warned


@pytest.mark.requirement("config.token")
def test_warning_names_each_group_that_may_read_the_token_file(tmp_path, caplog, monkeypatch):
    """As on Windows."""
    (tmp_path / "token").write_text(TEXT)
    monkeypatch.setattr("ttp_mcp.config.token_source.find_other_readers", lambda _: ["Everyone", "Users"])
    load_settings({"TTP_API_TOKEN_FILE": str(tmp_path / "token")})
    (message,) = caplog.messages
    assert message.startswith("The file that TTP_API_TOKEN_FILE names can be read by Everyone, Users. Run: ")


@pytest.mark.requirement("config.token")
def test_file_that_is_not_ordinary_text_is_a_problem_and_does_not_block(tmp_path):
    """A pipe without a writer, a folder, a device, no text; an empty file is no token, and a missing one is named as missing."""
    pipe, binary, empty = tmp_path / "pipe", tmp_path / "binary", tmp_path / "empty"
    if not WINDOWS:
        os.mkfifo(pipe)
    binary.write_bytes(b"\xff\xfe\xfa")
    empty.write_bytes(b"\n")
    empty.chmod(0o600)
    posix = (pipe, "/dev/zero", f"/{'x' * 300}")
    for path in (binary, tmp_path, f"{DRIVE}/a\x00b", *((f"{DRIVE}/CON",) if WINDOWS else posix)):
        settings = load_settings({"TTP_API_TOKEN_FILE": str(path)})
        assert settings.token_problem == "TTP_API_TOKEN_FILE names a file that can't be read as text."
    missing = load_settings({"TTP_API_TOKEN_FILE": str(tmp_path / "none")}).token_problem
    assert missing == "TTP_API_TOKEN_FILE names a file that isn't there."
    for path in ("token", "./token", *(() if WINDOWS else ("~nobody-of-that-name/x",))):
        problem = load_settings({"TTP_API_TOKEN_FILE": path}).token_problem
        assert problem is not None
        assert problem.startswith("TTP_API_TOKEN_FILE must name an absolute path or one below ~.")
    assert load_settings({"TTP_API_TOKEN_FILE": str(empty)}).token_problem == "TTP_API_TOKEN_FILE names an empty file."


@skip_on_windows("Windows would write the whole file")
@pytest.mark.requirement("config.token")
def test_only_the_beginning_of_a_token_file_is_read(tmp_path):
    """A file of a terabyte, named by mistake, would fill the memory."""
    path = tmp_path / "token"
    path.write_text(TEXT)
    path.chmod(0o600)
    os.truncate(path, 2**40)
    settings = load_settings({"TTP_API_TOKEN_FILE": str(path)})
    assert (settings.token_problem, settings.token and settings.token.reveal()) == (None, TEXT)


@pytest.mark.requirement("config.token")
def test_token_file_that_another_program_holds_is_named_as_such(tmp_path, monkeypatch):
    """Windows refuses to open it then."""
    path = tmp_path / "token"
    path.write_text(TEXT)

    def opening(*_, **__):
        error = PermissionError(errno.EACCES, "in use")
        error.winerror = 32
        raise error

    monkeypatch.setattr(Path, "open", opening)
    assert load_settings({"TTP_API_TOKEN_FILE": str(path)}).token_problem == (
        "TTP_API_TOKEN_FILE names a file that another program holds. Close it there."
    )


@pytest.mark.requirement("config.token")
def test_file_of_the_token_is_known_for_its_readers(tmp_path):
    """A variable has none."""
    path = tmp_path / "token"
    path.write_text(TEXT)
    path.chmod(0o600)
    assert load_settings({"TTP_API_TOKEN_FILE": str(path)}).token_file == path
    assert load_settings({"TTP_API_TOKEN": TEXT, "TTP_API_TOKEN_FILE": str(path)}).token_file is None


@pytest.mark.requirement("config.values")
def test_settings_are_documented_once():
    """The documentation and the registry entry are made of this list."""
    names = [setting.name for setting in SETTINGS]
    assert len(names) == len(set(names))
    assert {setting.name for setting in SETTINGS if setting.secret} == {
        "TTP_API_TOKEN",
        "TTP_SERVER_KEY",
        "TTP_STATE_URL",
    }
    assert config.state_dir({DATA: f"{DRIVE}/data"}) == Path(f"{DRIVE}/data/ttp-mcp")
    assert config.no_color({"NO_COLOR": "1"}) is True
    assert config.no_color({"NO_COLOR": ""}) is False


@pytest.mark.requirement("times.system-zone")
@pytest.mark.parametrize(
    ("environ", "name", "known"),
    [
        ({"TZ": "America/New_York"}, "America/New_York", True),
        ({"TZ": " :America/New_York "}, "America/New_York", True),
        ({"TZ": "America/New_York", "TTP_TIMEZONE": "Asia/Tokyo"}, "Asia/Tokyo", True),
        ({"TZ": "<-03>3"}, "UTC", False),
        ({"TZ": "<-03>3", "TTP_TIMEZONE": "UTC"}, "UTC", True),
    ],
)
def test_zone_is_that_of_the_session_or_utc_with_a_warning(caplog, environ, name, known):
    """A time without an offset must not be read in another zone than the user's without a word."""
    settings = load_settings(environ)
    assert (settings.zone.key, settings.zone_is_known) == (name, known)
    warning = (
        "This machine's time zone can't be detected, so times without an offset are read in UTC. Set TTP_TIMEZONE to an "
        "IANA name, for example Europe/Paris."
    )
    assert [record.getMessage() for record in caplog.records] == ([] if known else [warning])


@pytest.mark.requirement("times.system-zone")
@pytest.mark.parametrize("unset", ["", " "])
def test_session_without_a_zone_has_that_of_the_computer(unset):
    without, found = load_settings({}), load_settings({"TZ": unset})
    assert (without.zone, without.zone_is_known) == (found.zone, found.zone_is_known)


@pytest.mark.requirement("times.system-zone")
@pytest.mark.parametrize("environ", [{"TTP_TIMEZONE": "EST"}, {"TTP_TIMEZONE": "est"}, {"TZ": "EST"}])
def test_zone_without_summer_time_is_a_warning_that_names_its_neighbour(caplog, environ):
    """In July 10:00 EST is 11:00 in New York."""
    assert load_settings(environ).zone.key == "EST"
    (record,) = caplog.records
    assert record.getMessage() == (
        "Times without an offset are read in EST. EST has no summer time: set TTP_TIMEZONE to America/New_York if you mean "
        "local time there."
    )
