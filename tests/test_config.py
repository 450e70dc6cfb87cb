"""Settings: what is accepted, what is refused, and that nothing is given away."""

import logging
import os
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttp_mcp import config
from ttp_mcp.api.client import ApiClient
from ttp_mcp.config import SETTINGS, SettingProblem, load

TEXT = "ttp_" + "0123456789ab" * 4


@pytest.mark.requirement("config.values")
def test_defaults_need_no_variable(monkeypatch):
    """Everything but the zone and the folder, which are the machine's."""
    monkeypatch.setattr(os, "environ", {})
    settings = load()
    assert (settings.token, settings.token_problem, settings.api_url) == (None, None, "https://timetopost.co/api")
    assert (settings.access, settings.confirm, settings.log_level) == ("full", "auto", "WARNING")
    assert (settings.toolsets, settings.media_dirs, settings.max_posts_per_hour) == (None, (), None)
    assert settings.state_dir == Path.home() / ".local" / "share" / "ttp-mcp"
    assert settings.zone_name == settings.zone.key
    assert config.environment() == {}
    assert config.no_color() is False


@pytest.mark.requirement("config.values")
def test_every_setting_is_read():
    """And each alias."""
    settings = load(
        {
            "TIMETOPOST_API_TOKEN": TEXT,
            "TIMETOPOST_API_URL": "HTTP://LocalHost:8765/api/",
            "TIMETOPOST_ORG_ID": "org_1",
            "TTP_ACCESS": "READ",
            "TTP_TOOLSETS": "posts, analytics,",
            "TTP_CONFIRM": "required",
            "TTP_MEDIA_DIRS": f"/a{os.pathsep}~/b",
            "TTP_TIMEZONE": "Asia/Tokyo",
            "TTP_STATE_DIR": "~/state",
            "TTP_MAX_POSTS_PER_HOUR": "30",
            "TTP_LOG_LEVEL": "debug",
            "TTP_SERVER_KEY": "k" * 32,
            "TTP_ALLOWED_HOSTS": "a.example:443",
            "TTP_STATE_URL": "redis://:secret@localhost",
        }
    )
    assert settings.token is not None
    assert (settings.api_url, settings.org_id, settings.access) == ("http://localhost:8765/api", "org_1", "read")
    assert (settings.toolsets, settings.confirm, settings.log_level) == (("posts", "analytics"), "required", "DEBUG")
    assert (settings.media_dirs, settings.state_dir) == ((Path("/a"), Path.home() / "b"), Path.home() / "state")
    assert (settings.zone_name, settings.max_posts_per_hour) == ("Asia/Tokyo", 30)
    assert settings.allowed_hosts == ("a.example:443",)
    assert not any(secret in repr(settings) for secret in ("k" * 32, "secret", TEXT[4:16]))


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
    ],
)
def test_value_that_breaks_its_rule_is_refused_by_name(name, value):
    """And is not repeated."""
    with pytest.raises(SettingProblem) as caught:
        load({name: value})
    assert str(caught.value).startswith(name)
    assert value not in str(caught.value)


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
        load({"TTP_API_URL": url})


@pytest.mark.requirement("config.values")
@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("https://timetopost.co/api/", "https://timetopost.co/api"),
        ("HTTPS://TimeToPost.co:443/Api//", "https://timetopost.co:443/Api"),
        ("http://127.0.0.1:8765", "http://127.0.0.1:8765"),
        ("http://[::1]:8765/api", "http://[::1]:8765/api"),
        ("http://localhost", "http://localhost"),
        ("https://xn--bcher-kva.example/a-b_c/~d", "https://xn--bcher-kva.example/a-b_c/~d"),
        ("${TTP_API_URL}", "https://timetopost.co/api"),
    ],
)
def test_base_url_is_normalized(url, read):
    """Scheme and host in lower case, since others compare them."""
    assert load({"TTP_API_URL": url}).api_url == read


@pytest.mark.requirement("config.values")
@given(st.from_regex(r"https?://[a-z0-9.\[\]:@-]{1,20}(:\d{1,5})?(/[ -~]{0,8})?", fullmatch=True))
def test_accepted_base_url_means_the_same_to_the_client(url):
    """Whatever is accepted has one host, as every reader of URLs sees it."""
    try:
        accepted = load({"TTP_API_URL": url}).api_url
    except SettingProblem:
        return
    seen = httpx2.URL(accepted)
    assert accepted.startswith(f"{seen.scheme}://")
    assert accepted[len(seen.scheme) + 3 :].startswith((seen.raw_host.decode(), f"[{seen.raw_host.decode()}]"))
    assert (seen.userinfo, seen.query, seen.fragment) == (b"", b"", "")
    assert ApiClient(base_url=accepted, token=None).base_url == accepted


@pytest.mark.requirement("config.token")
@pytest.mark.parametrize("value", ["hello", "ttp_short", TEXT + "0", "Basic " + TEXT])
def test_malformed_token_does_not_stop_the_start(value):
    """It becomes a problem that each call tells."""
    settings = load({"TTP_API_TOKEN": value})
    assert settings.token is None
    assert settings.token_problem is not None
    assert value not in settings.token_problem


@pytest.mark.requirement("config.token")
def test_placeholder_of_a_client_is_no_token():
    """And the alias is still looked at."""
    assert load({"TTP_API_TOKEN": "${input:token}"}).token_problem is None
    assert load({"TTP_API_TOKEN": "${input:token}", "TIMETOPOST_API_TOKEN": TEXT}).token is not None


@pytest.mark.requirement("config.token")
@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_token_file_of_others_is_read_and_warned_of(tmp_path, caplog, mode, warned):
    """The warning names the variable, never the path or the token."""
    path = tmp_path / "token"
    path.write_text(TEXT + "\n", encoding="utf-8")
    path.chmod(mode)
    with caplog.at_level(logging.WARNING):
        settings = load({"TTP_API_TOKEN_FILE": str(path)})
    assert settings.token is not None
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == warned
    assert not any(str(tmp_path) in message or TEXT[4:16] in message for message in messages)


@pytest.mark.requirement("config.token")
def test_what_is_no_ordinary_text_file_is_a_problem_and_does_not_block(tmp_path):
    """A pipe that nobody writes to, a folder, a device, nothing, no text; an empty file is no token."""
    pipe, binary, empty = tmp_path / "pipe", tmp_path / "binary", tmp_path / "empty"
    os.mkfifo(pipe)
    binary.write_bytes(b"\xff\xfe")
    empty.write_bytes(b"\n")
    empty.chmod(0o600)
    for path in (pipe, binary, tmp_path, "/dev/zero", tmp_path / "none", "a\x00b", "~nobody-of-that-name/x"):
        settings = load({"TTP_API_TOKEN_FILE": str(path)})
        assert settings.token_problem == "TTP_API_TOKEN_FILE names a file that can't be read as text."
    assert load({"TTP_API_TOKEN_FILE": str(empty)}).token_problem == "TTP_API_TOKEN_FILE names an empty file."


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
    assert config.state_dir({"XDG_DATA_HOME": "/data"}) == Path("/data/ttp-mcp")
    assert config.no_color({"NO_COLOR": "1"}) is True


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
    settings = load(environ)
    assert (settings.zone_name, settings.zone_is_known) == (name, known)
    warning = (
        "The time zone of this machine can't be told, so times without an offset are read in UTC. Set TTP_TIMEZONE to an "
        "IANA name, for example Europe/Paris."
    )
    assert [record.getMessage() for record in caplog.records] == ([] if known else [warning])
