"""The key of a record: every setting either has its own record or changes no response of a handshake."""

import os
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring

from tests.support.windows import has_mode, skip_on_windows
from tests.test_config import VALID
from tests.transports.stdio.handshake_fixture import make_opening, read_answers, record_answer, serve_session
from tests.transports.stdio.stdio_fixture import make_tool_call
from ttp_mcp.cli import build_parser
from ttp_mcp.cli.serve import settings_of
from ttp_mcp.config import SETTINGS
from ttp_mcp.config.login import Login, login_path, save_login
from ttp_mcp.credentials import Token
from ttp_mcp.factory import create_server
from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.transports.stdio import handshake as handshakes
from ttp_mcp.transports.stdio.handshake import find_handshake

TOKEN = "ttp_" + "0123456789abcdef" * 3
OTHER_TOKEN = TOKEN.replace("0", "f")
NAMES = [name for setting in SETTINGS for name in (setting.name, *setting.aliases)]
IN_KEY = [name for name in NAMES if name not in handshakes.TOKEN_VARIABLES | handshakes.REFUSED_VARIABLES]
VALUES = {alias: VALID[setting.name] for setting in SETTINGS for alias in (setting.name, *setting.aliases)}
# Those whose answers differ from those of a start without settings.
CHANGE_ANSWERS = {
    ("TTP_ACCESS", "draft"),
    ("TTP_ACCESS", "read"),
    ("TTP_CONFIRM", "required"),
    ("TTP_TOOLSETS", "posts"),
}


@pytest.fixture
def environ(monkeypatch, tmp_path):
    """The environment of a start, with folders of its own and no keyring."""
    before = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())
    variables = {"TTP_STATE_DIR": str(tmp_path / "state"), "HOME": str(tmp_path), "TZ": "Europe/Paris"}
    variables |= {"XDG_CONFIG_HOME": str(tmp_path / "config"), "LOCALAPPDATA": str(tmp_path / "config")}
    # Names the mutant that is tried.
    variables |= {name: value for name, value in os.environ.items() if name.startswith("MUTANT_")}
    monkeypatch.setattr(os, "environ", variables)
    yield variables
    keyring.set_keyring(before)


@pytest.fixture
def start_handshake(environ):
    """Finds the handshake of a start with these arguments and variables."""

    def find(*words, **variables):
        before = dict(environ)
        environ.update(variables)
        found = find_handshake(words)
        environ.clear()
        environ.update(before)
        return found

    return find


@pytest.fixture
def serve_sessions(environ, tmp_path, sandbox):
    """Serves one session of each era as `ttp-mcp WORDS` does with these variables; the lines of both, and whether they were real."""

    async def run(*words, with_record=True, **variables):
        before = dict(environ)
        environ.update(variables)
        args = build_parser().parse_args(["serve", *words])
        settings = settings_of(args)
        server = create_server(settings, sandbox if args.sandbox else None).server
        sessions = []
        for era in ("legacy", "modern"):
            handshake = find_handshake(words) if with_record and settings.fast_start else None
            sessions.append(await serve_session(server, make_opening(era), tmp_path, handshake))
        environ.clear()
        environ.update(before)
        return [sorted(session.lines) for session in sessions], [session.is_real for session in sessions]

    return run


@pytest.mark.requirement("handshake.key")
async def test_later_start_with_each_setting_answers_as_the_real_server(serve_sessions):
    """All records are in one folder, so a record of other settings would be found."""
    values = [*VALUES.items(), ("TTP_ACCESS", "draft"), ("TTP_CONFIRM", "off"), ("TTP_LOG_LEVEL", "DEBUG")]
    values = [(name, value) for name, value in values if name != "TTP_STATE_DIR"]
    base, _ = await serve_sessions(with_record=False)
    different = set()
    for name, value in values:
        plain, _ = await serve_sessions(with_record=False, **{name: value})
        for _ in range(2):
            answers, is_real = await serve_sessions(**{name: value})
            assert answers == plain, name
        may_replay = name not in {*handshakes.REFUSED_VARIABLES, "TTP_FAST_START"}
        assert is_real == [not may_replay] * 2, name
        if plain != base:
            different.add((name, value))
    assert different == CHANGE_ANSWERS


@pytest.mark.requirement("handshake.key")
@pytest.mark.parametrize("words", [["--sandbox"], ["--profile", "brand-b"], ["--log-level", "DEBUG"]])
async def test_later_start_with_each_argument_answers_as_the_real_server(serve_sessions, words):
    await serve_sessions()
    plain, _ = await serve_sessions(*words, with_record=False)
    assert await serve_sessions(*words) == (plain, [True, True])
    assert await serve_sessions(*words) == (plain, [False, False])


@pytest.mark.requirement("handshake.key")
def test_each_setting_but_a_token_has_a_record_of_its_own(start_handshake):
    record_answer(start_handshake())
    assert start_handshake().can_replay
    assert start_handshake(**dict.fromkeys(handshakes.TOKEN_VARIABLES, "")).can_replay
    for name in IN_KEY:
        for value in (VALUES[name], ""):
            assert not start_handshake(**{name: value}).can_replay, name
    record_answer(start_handshake(TTP_A_LATER_SETTING="1"))
    assert not start_handshake(TTP_ANOTHER_SETTING="1").can_replay


def save_other_login(environ):
    save_login(environ, Login(Token(OTHER_TOKEN), "https://api.example/v2", "org_2"))


def damage_login(environ):
    save_login(environ, Login(Token(TOKEN), "https://timetopost.co/api"))
    login_path(environ).write_text("{")


def save_profile(environ):
    save_login({**environ, "TTP_PROFILE": "brand-b"}, Login(Token(TOKEN), "https://timetopost.co/api"))


def fill_state_folder(environ):
    with Sandbox(Path(environ["TTP_STATE_DIR"]) / "sandbox"):
        pass


NOT_IN_KEY = {
    "logged in": lambda environ: save_login(environ, Login(Token(TOKEN), "https://timetopost.co/api")),
    "logged in elsewhere": save_other_login,
    "damaged login": damage_login,
    "another profile": save_profile,
    "state": fill_state_folder,
    **{
        f"{name}={value}": lambda environ, name=name, value=value: environ.update({name: value})
        for name, value in [
            ("TZ", "Asia/Tokyo"),
            ("TZ", "Nowhere/Unknown"),
            ("LANG", "de_DE.UTF-8"),
            ("LC_ALL", "C"),
            ("LANGUAGE", "tr"),
            ("NO_COLOR", "1"),
            ("COLUMNS", "40"),
            ("HTTPS_PROXY", "http://127.0.0.1:9"),
            ("SSL_CERT_FILE", "/nonexistent"),
            ("OTEL_SERVICE_NAME", "x"),
            ("USER", "other"),
        ]
    },
}


@pytest.mark.requirement("handshake.key")
@pytest.mark.parametrize("change", NOT_IN_KEY.values(), ids=NOT_IN_KEY)
async def test_settings_outside_the_key_change_no_response(serve_sessions, environ, change):
    await serve_sessions()
    change(environ)
    plain, _ = await serve_sessions(with_record=False)
    assert await serve_sessions() == (plain, [False, False])


@pytest.mark.requirement("handshake.key")
@pytest.mark.parametrize("value", [TOKEN, OTHER_TOKEN, "malformed", "${TTP_API_TOKEN}", "your token here", '"', " "])
async def test_no_response_depends_on_a_token(serve_sessions, value):
    """Nor on its form or source."""
    without, _ = await serve_sessions(with_record=False)
    await serve_sessions(TTP_API_TOKEN=TOKEN)
    for name in sorted(handshakes.TOKEN_VARIABLES):
        answers, _ = await serve_sessions(**{name: value})
        assert answers == without
    assert (await serve_sessions(TTP_API_TOKEN=OTHER_TOKEN))[1] == [False, False]


@pytest.mark.requirement("handshake.key")
async def test_no_response_depends_on_the_time(serve_sessions, settings, tmp_path):
    """Nor on posts, which are dated from the day of the workspace."""
    taken = []
    for days in (0, 40, 400):
        with Sandbox(clock=ManualClock(datetime(2026, 11, 24, 8, 2, tzinfo=UTC) + timedelta(days=days))) as sandbox:
            server = create_server(settings, sandbox, now=sandbox.clock.now).server
            taken.append(
                [(await serve_session(server, make_opening(era), tmp_path, None)).lines for era in ("legacy", "modern")]
            )
    assert taken[0] == taken[1] == taken[2]


@pytest.mark.requirement("handshake.key")
def test_start_of_another_python_or_with_other_flags_has_another_record(start_handshake, monkeypatch):
    """`python -OO` drops docstrings, which are the descriptions of tools."""
    record_answer(start_handshake())
    assert not start_handshake("--transport", "http").can_replay
    for name, value in (
        ("version", "3.99.0"),
        ("platform", "other"),
        ("flags", (*sys.flags[:3], 2, *sys.flags[4:])),
        ("path", [*sys.path, "/elsewhere"]),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(sys, name, value)
            assert not start_handshake().can_replay, name
    assert start_handshake().can_replay


@pytest.mark.requirement("handshake.key")
def test_another_version_of_the_program_or_of_any_distribution_has_another_record(
    start_handshake, tmp_path, monkeypatch
):
    site = tmp_path / "site"
    (site / "mcp-2.3.0.dist-info").mkdir(parents=True)
    monkeypatch.syspath_prepend(site)
    record_answer(start_handshake())
    (site / "mcp-2.3.0.dist-info").rename(site / "mcp-2.3.1.dist-info")
    assert not start_handshake().can_replay
    (site / "mcp-2.3.1.dist-info").rename(site / "mcp-2.3.0.dist-info")
    assert start_handshake().can_replay
    (site / "a_plugin-1.0.dist-info").mkdir()
    assert not start_handshake().can_replay
    (site / "a_plugin-1.0.dist-info").rmdir()
    (site / "an_old_plugin-1.0.egg-info").mkdir()
    assert not start_handshake().can_replay
    (site / "an_old_plugin-1.0.egg-info").rmdir()
    (site / "a_cache").mkdir()
    assert start_handshake().can_replay
    os.utime(site / "mcp-2.3.0.dist-info", (1, 1))  # installed again under the same version
    assert not start_handshake().can_replay
    module = tmp_path / "ttp_mcp" / "transports" / "stdio" / "handshake.py"
    module.parent.mkdir(parents=True)
    module.touch()
    monkeypatch.setattr(handshakes, "__file__", str(module))
    record_answer(start_handshake())
    (module.parent / "__pycache__").mkdir()
    (module.parent / "__pycache__" / "handshake.pyc").touch()
    assert start_handshake().can_replay
    for place in (tmp_path / "ttp_mcp", module.parent):
        (place / "rules.json").touch()
        assert not start_handshake().can_replay
        (place / "rules.json").unlink()
    assert start_handshake().can_replay
    before = module.stat()
    module.write_text("# changed in the same moment")
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not start_handshake().can_replay


@pytest.mark.requirement("handshake.no-secret")
def test_token_changes_no_record_and_other_secrets_forbid_one(start_handshake):
    record_answer(start_handshake(TTP_API_TOKEN=TOKEN))
    assert start_handshake(TTP_API_TOKEN=OTHER_TOKEN).can_replay
    assert start_handshake(TTP_SERVER_KEY="k" * 40) is None
    assert start_handshake(TTP_STATE_URL="postgresql://user:password@host/db") is None
    secrets = {name for setting in SETTINGS if setting.secret for name in (setting.name, *setting.aliases)}
    assert secrets == handshakes.TOKEN_VARIABLES | handshakes.REFUSED_VARIABLES


@pytest.mark.requirement("handshake.no-secret")
async def test_record_contains_only_what_every_user_gets(start_handshake, tmp_path, settings, sandbox):
    """It is the same with and without a token and posts."""
    record_answer(start_handshake(TTP_API_TOKEN=TOKEN, TTP_ORG_ID="org_private"))
    (path,) = (tmp_path / "state").iterdir()
    assert not any(secret in path.read_bytes() for secret in (TOKEN[4:].encode(), b"org_private"))

    async def record(name, messages, server):
        await serve_session(server, messages, tmp_path, handshakes.Handshake(tmp_path / name, "key"))
        return read_answers(tmp_path / name)

    with_posts = create_server(settings, sandbox).server
    with Sandbox(empty=True) as empty:
        without_posts = create_server(settings, empty).server
        expected = await record("empty", make_opening("legacy"), without_posts)
    assert await record("posts", make_opening("legacy"), with_posts) == expected
    one, other = (create_server(replace(settings, token=token)).server for token in (Token(TOKEN), None))
    assert await record("token", make_opening("legacy"), one) == await record("none", make_opening("legacy"), other)


@pytest.mark.requirement("handshake.no-secret")
async def test_response_of_a_call_is_never_recorded(tmp_path, settings, sandbox):
    """Although it is in flight with the lists, under the id of one of them."""
    server = create_server(settings, sandbox).server
    path = tmp_path / "record"
    await serve_session(server, make_opening("legacy"), tmp_path, handshakes.Handshake(path, "key"))
    known = read_answers(path)
    path.unlink()
    for number in range(6):
        messages = [
            *make_opening("legacy"),
            make_tool_call(number, "list_posts"),
            make_tool_call("start", "list_integrations"),
        ]
        await serve_session(server, messages, tmp_path, handshakes.Handshake(path, "key"))
        assert read_answers(path) <= known
    await serve_session(server, make_opening("legacy"), tmp_path, handshakes.Handshake(path, "key"))
    assert read_answers(path) == known


@pytest.mark.requirement("handshake.record")
def test_records_of_old_settings_are_removed(start_handshake, tmp_path):
    for number in range(20):
        record_answer(start_handshake(TTP_ORG_ID=f"org_{number}"))
    assert len(list((tmp_path / "state").iterdir())) == 16
    assert [start_handshake(TTP_ORG_ID=f"org_{number}").can_replay for number in range(20)] == [False] * 4 + [True] * 16
    assert has_mode(tmp_path / "state", 0o700)


@pytest.mark.requirement("handshake.record")
@pytest.mark.skipif(sys.platform != "linux", reason="names Linux's folders")
@pytest.mark.parametrize("state_folder", ["", "state", "${HOME}/state"])
def test_without_a_state_folder_the_record_is_in_the_folder_for_caches(start_handshake, tmp_path, state_folder):
    record_answer(start_handshake(TTP_STATE_DIR=state_folder, XDG_CACHE_HOME=str(tmp_path / "cache")))
    assert len(list((tmp_path / "cache" / "ttp-mcp").iterdir())) == 1


@pytest.mark.requirement("handshake.record")
@skip_on_windows("paths of POSIX")
@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {}, ".cache"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, ".cache"),
        ("darwin", {"XDG_CACHE_HOME": "/nonexistent"}, "Library/Caches"),
        ("win32", {"LOCALAPPDATA": ""}, "AppData/Local"),
        ("win32", {}, "config"),
    ],
)
def test_folder_for_caches_is_that_of_the_platform(
    start_handshake, environ, tmp_path, monkeypatch, platform, variables, folder
):
    monkeypatch.setattr(sys, "platform", platform)
    del environ["TTP_STATE_DIR"]
    record_answer(start_handshake(**variables))
    assert len(list((tmp_path / folder / "ttp-mcp").glob("handshake-*"))) == 1


@pytest.mark.requirement("handshake.record")
def test_program_without_files_of_its_own_has_no_record(start_handshake, tmp_path, monkeypatch):
    """For example a zip file."""
    monkeypatch.setattr(handshakes, "__file__", str(tmp_path / "ttp-mcp.pyz" / "ttp_mcp" / "stdio" / "handshake.py"))
    assert start_handshake() is None


@pytest.mark.requirement("handshake.record")
def test_missing_home_folder_means_no_record(start_handshake, monkeypatch):
    """Without an error: the real server starts at once."""

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(handshakes.Path, "home", no_home)
    assert start_handshake(TTP_STATE_DIR="", LOCALAPPDATA="") is None
