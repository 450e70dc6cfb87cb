"""A saved login, and how later starts use it: without the commands and without an API."""

import json
import logging
import os
import sys
import tempfile
from pathlib import Path

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring

from tests.support.keyrings import MemoryKeyring
from tests.support.windows import WINDOWS, has_mode, needs_links, needs_modes
from ttp_mcp.config import load_settings
from ttp_mcp.config.files import read_private
from ttp_mcp.config.login import (
    Login,
    LoginProblem,
    has_login,
    list_profiles,
    login_path,
    read_login,
    remove_login,
    save_login,
)
from ttp_mcp.credentials import Token

pytestmark = pytest.mark.requirement("login.saves")

TEXT, OTHER = "ttp_" + "0a" * 24, "ttp_" + "0b" * 24
URL = "https://example.com/api"
KEYRING = "the Windows Credential Manager" if WINDOWS else "the system's keyring"
AGAIN = "Run `ttp-mcp login` and restart this server."


@pytest.fixture
def environ(monkeypatch, tmp_path):
    """The variables of a user without a login."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    folder = str(tmp_path / "config")
    return {"XDG_CONFIG_HOME": folder, "LOCALAPPDATA": folder, "TTP_TIMEZONE": "Europe/Paris"}


@pytest.fixture
def login(environ):
    """A login; returns it."""
    saved = Login(Token(TEXT), URL, "org_1")
    assert save_login(environ, saved) == login_path(environ)
    return saved


@pytest.fixture
def system_keyring():
    """A keyring that works."""
    found = MemoryKeyring()
    keyring.set_keyring(found)
    return found


def find_token(environ, **variables):
    """The token of a later start, its source, its file, and its problem."""
    settings = load_settings({**environ, **variables}, with_login=True)
    return (
        settings.token and settings.token.reveal(),
        settings.token_source,
        settings.token_file,
        settings.token_problem,
    )


def read_problem(environ):
    with pytest.raises(LoginProblem) as caught:
        read_login(environ)
    return str(caught.value)


def test_login_is_read_as_it_was_saved(environ, login):
    path = login_path(environ)
    assert read_login(environ) == login
    assert json.loads(path.read_bytes()) == {"version": 1, "api_url": URL, "org_id": "org_1", "token": TEXT}
    assert has_mode(path, 0o600)
    assert has_mode(path.parent, 0o700)
    settings = load_settings(environ, with_login=True)
    assert (settings.token, settings.api_url, settings.org_id) == (login.token, URL, "org_1")
    assert find_token(environ) == (TEXT, "the login", path, None)
    save_login(environ, Login(Token(OTHER), URL))
    assert read_login(environ) == Login(Token(OTHER), URL, None)


@needs_modes
def test_folders_above_a_login_are_made_for_the_user_alone(environ):
    environ["TTP_PROFILE"] = "brand-a"
    save_login(environ, Login(Token(TEXT), URL))
    assert has_mode(login_path(environ).parent, 0o700)


def test_login_is_on_the_disk_before_it_replaces_an_earlier_one(environ, login, monkeypatch, tmp_path):
    """It is written beside the earlier one: a file can't be moved from another file system in one step.

    If the computer stops before, what is left is hidden and has the name of the login.
    """
    path = login_path(environ)
    before, synced, fsync = path.read_bytes(), [], os.fsync

    def observe(handle):
        (beside,) = {each.name for each in path.parent.iterdir()} - {path.name}
        synced.append((os.fstat(handle).st_size, path.read_bytes() == before, beside.startswith(".login.json.")))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", observe)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    save_login(environ, Login(Token(OTHER), URL))
    assert synced == [(path.stat().st_size, True, True)]
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.requirement("login.order")
def test_start_without_a_login_has_no_token_and_no_problem(environ):
    assert not has_login(environ)
    assert read_login(environ) is None
    assert find_token(environ) == (None, None, None, None)
    assert find_token(environ, TTP_API_URL=URL) == (None, None, None, None)


@pytest.mark.requirement("login.order")
def test_login_is_used_only_by_those_who_ask_for_it(environ, login):
    settings = load_settings(environ)
    assert (settings.token, settings.token_source, settings.org_id) == (None, None, None)
    assert settings.api_url == "https://timetopost.co/api"


@pytest.mark.requirement("login.order")
def test_variables_win_over_the_login(environ, login, tmp_path, caplog):
    """A source that can't be used is not skipped, except an empty file."""
    file, empty = tmp_path / "token", tmp_path / "empty"
    file.write_text(OTHER)
    empty.touch()
    for path in (file, empty):
        path.chmod(0o600)
    variable, name = "TTP_API_TOKEN", "TTP_API_TOKEN_FILE"
    assert find_token(environ, TTP_API_TOKEN=OTHER) == (OTHER, variable, None, None)
    assert find_token(environ, TTP_API_TOKEN_FILE=str(file)) == (OTHER, name, file, None)
    assert find_token(environ, TTP_API_TOKEN="hello") == (None, variable, None, "it must begin with ttp_.")
    missing = "TTP_API_TOKEN_FILE names a file that isn't there."
    assert find_token(environ, TTP_API_TOKEN_FILE=str(tmp_path / "none")) == (None, name, None, missing)
    assert find_token(environ, TTP_API_TOKEN_FILE=str(empty)) == (TEXT, "the login", login_path(environ), None)
    login_path(environ).unlink()
    found = find_token(environ, TTP_API_TOKEN_FILE=str(empty))
    assert found == (None, name, None, "TTP_API_TOKEN_FILE names an empty file.")
    assert caplog.messages == []


@pytest.mark.requirement("login.order")
@pytest.mark.parametrize(
    "reference", ["${TTP_API_TOKEN}", "${env:TTP_API_TOKEN}", "${TTP_API_TOKEN:-}", " ${env:TTP_API_TOKEN:-} "]
)
def test_reference_that_a_client_left_as_it_is_counts_as_not_set(environ, login, tmp_path, reference):
    """The alias and the file are still looked at."""
    assert find_token(environ, TTP_API_TOKEN=reference)[:2] == (TEXT, "the login")
    found = find_token(environ, TTP_API_TOKEN=reference, TIMETOPOST_API_TOKEN=OTHER)
    assert found == (OTHER, "TTP_API_TOKEN", None, None)


@pytest.mark.requirement("login.order")
def test_variable_that_wins_over_the_login_of_a_profile_is_named(environ, login, caplog):
    """Without a profile, or a login of it, nothing is surprising."""
    save_login({**environ, "TTP_PROFILE": "brand-a"}, login)
    for profile in ("", "brand-b"):
        find_token(environ, TTP_PROFILE=profile, TTP_API_TOKEN=OTHER)
    assert caplog.messages == []
    assert find_token(environ, TTP_PROFILE="brand-a", TTP_API_TOKEN=OTHER) == (OTHER, "TTP_API_TOKEN", None, None)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "TTP_API_TOKEN is set and wins over the login of profile brand-a.")
    ]


@pytest.mark.requirement("login.order")
def test_profile_has_a_login_of_its_own(environ, login):
    named = {**environ, "TTP_PROFILE": "brand-a"}
    source = "the login of profile brand-a"
    again = "Run `ttp-mcp login --profile brand-a` and restart this server."
    assert find_token(named) == (None, source, None, f"profile brand-a has no login. {again}")
    save_login(named, Login(Token(OTHER), URL))
    assert find_token(named) == (OTHER, source, login_path(named), None)
    assert load_settings(named, with_login=True).profile == "brand-a"
    login_path(named).write_text("{")
    assert find_token(named) == (None, source, None, f"the login is damaged. {again}")
    assert find_token(environ)[0] == TEXT


@pytest.mark.requirement("login.fails-closed")
def test_login_for_another_address_is_not_used(environ, login):
    other = {"TTP_API_URL": "https://example.com/other"}
    assert find_token(environ, **other) == (
        None,
        "the login",
        None,
        "the login is for another address than TTP_API_URL. Remove TTP_API_URL, or run `ttp-mcp login` with it.",
    )
    # Nor is the rest of it.
    settings = load_settings({**environ, **other}, with_login=True)
    assert (settings.api_url, settings.org_id) == (other["TTP_API_URL"], None)
    assert find_token(environ, TTP_API_URL=URL)[0] == TEXT
    named = {**environ, "TTP_PROFILE": "brand-a"}
    save_login(named, login)
    assert find_token(named, **other)[3] == (
        "the login of profile brand-a is for another address than TTP_API_URL. Remove TTP_API_URL, or run "
        "`ttp-mcp login --profile brand-a` with it."
    )


RECORD = {"version": 1, "api_url": URL, "org_id": None, "token": TEXT}


@pytest.mark.requirement("login.fails-closed")
@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"\xff",
        b"{",
        b"[" * 9999,
        b"[]",
        b"5",
        *(json.dumps({**RECORD, **wrong}).encode() for wrong in ({"version": 2}, {"version": "1"}, {"token": "hello"})),
        *(json.dumps({**RECORD, **wrong}).encode() for wrong in ({"token": 5}, {"token": None})),
        *(json.dumps({**RECORD, "api_url": wrong}).encode() for wrong in ("http://example.com", "", None)),
        *(json.dumps({**RECORD, "org_id": wrong}).encode() for wrong in ("a b", "", 5)),
        *(json.dumps({key: RECORD[key] for key in RECORD if key != gone}).encode() for gone in RECORD),
        json.dumps(RECORD).encode() + b" " * 10_000 + b"!",
    ],
)
def test_damaged_login_is_not_used(environ, login, record):
    """Another login repairs it, and a logout removes it."""
    path = login_path(environ)
    path.write_bytes(record)
    if record.endswith(b"!"):
        # Only its beginning is read: a file of a terabyte would fill the memory.
        assert read_login(environ) == Login(Token(TEXT), URL)
        return
    assert find_token(environ) == (None, "the login", None, f"the login is damaged. {AGAIN}")
    assert has_login(environ)
    save_login(environ, login)
    assert read_login(environ) == login
    path.write_bytes(record)
    assert remove_login(environ)
    assert not path.exists()


@pytest.mark.requirement("login.fails-closed")
def test_login_that_names_no_entry_of_a_keyring_can_be_removed(environ, login):
    """Its entry isn't a name, so none is left behind."""
    login_path(environ).write_text(json.dumps({**RECORD, "keyring": 5}))
    assert remove_login(environ)


@needs_modes
@pytest.mark.requirement("login.fails-closed")
@pytest.mark.parametrize("mode", [0o601, 0o602, 0o604, 0o610, 0o620, 0o640])
def test_login_that_others_can_reach_is_not_used(environ, login, mode):
    login_path(environ).chmod(mode)
    assert read_problem(environ) == (
        "the login isn't safe to use: its file can be read or written by other users of this computer."
    )


@needs_modes
@pytest.mark.requirement("login.saves")
def test_file_is_read_where_modes_and_owners_mean_nothing(environ, login, monkeypatch):
    """As on Windows, whose files look as if all users could read them."""
    path = login_path(environ)
    path.chmod(0o666)
    with monkeypatch.context() as change:
        change.setattr(os, "name", "nt")
        change.delattr(os, "geteuid")
        content = read_private(path)
    assert content == path.read_bytes()


@needs_modes
@pytest.mark.requirement("login.fails-closed")
def test_login_of_another_user_is_neither_used_nor_replaced(environ, login, monkeypatch):
    path = login_path(environ)
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert read_problem(environ) == "the login isn't safe to use: its file belongs to another user."
    with pytest.raises(LoginProblem) as caught:
        save_login(environ, login)
    assert str(caught.value) == (
        f"the login's file can't be changed: {path} is a link, not a regular file, or belongs to another user. "
        "Move it away or make its folder writable, then try again."
    )


@needs_links
@pytest.mark.requirement("login.fails-closed")
@pytest.mark.parametrize("is_dangling", [False, True])
def test_link_in_place_of_a_login_is_neither_used_nor_replaced(environ, login, tmp_path, is_dangling):
    path = login_path(environ)
    target = tmp_path / "target"
    path.rename(target)
    path.symlink_to(tmp_path / "none" if is_dangling else target)
    assert read_problem(environ) == "the login isn't safe to use: its file is a link."
    with pytest.raises(LoginProblem, match="is a link, not a regular file"):
        save_login(environ, login)
    assert path.is_symlink()
    assert json.loads(target.read_bytes())["token"] == TEXT


@pytest.mark.requirement("login.fails-closed")
def test_folder_in_place_of_a_login_is_neither_used_nor_replaced(environ, login):
    path = login_path(environ)
    path.unlink()
    path.mkdir()
    assert not has_login(environ)
    problem = read_problem(environ)
    if not WINDOWS:
        assert problem == "the login can't be read (Is a directory)."
    with pytest.raises(LoginProblem, match="is a link, not a regular file"):
        save_login(environ, login)
    with pytest.raises(LoginProblem) as caught:
        remove_login(environ)
    cause = "" if WINDOWS else " (Is a directory). Move it away or make its folder writable, then try again."
    assert str(caught.value).startswith(f"the login's file can't be changed: {path}{cause}")
    assert path.is_dir()


@needs_modes
@pytest.mark.requirement("login.fails-closed")
def test_pipe_in_place_of_a_login_blocks_nothing(environ, login):
    """It has no writer."""
    path = login_path(environ)
    path.unlink()
    os.mkfifo(path, 0o600)
    assert read_problem(environ) == "the login isn't safe to use: its file is not a regular file."


@needs_modes
@pytest.mark.requirement("login.fails-closed")
def test_file_in_place_of_the_logins_folder_is_no_login(environ, tmp_path):
    """It can't be saved there; the error names the file and the cause."""
    (tmp_path / "config").touch()
    assert read_login(environ) is None
    assert not has_login(environ)
    assert list_profiles(environ) == []
    with pytest.raises(LoginProblem) as caught:
        save_login(environ, Login(Token(TEXT), URL))
    assert str(caught.value) == (
        f"the login's file can't be changed: {login_path(environ)} (Not a directory). "
        "Move it away or make its folder writable, then try again."
    )


@needs_modes
@pytest.mark.requirement("login.fails-closed")
def test_folder_that_cannot_be_looked_up_has_no_login(environ):
    """Its name is too long."""
    environ["XDG_CONFIG_HOME"] = f"/{'x' * 300}"
    assert not has_login(environ)
    assert list_profiles(environ) == []
    assert read_problem(environ) == "the login can't be read (File name too long)."


@pytest.mark.requirement("login.logout")
def test_removal_says_whether_there_was_a_login(environ, login):
    assert remove_login(environ)
    assert not has_login(environ)
    assert not remove_login(environ)


@pytest.mark.requirement("login.logout")
def test_profiles_with_a_login_are_listed_by_name(environ, login):
    """From any profile; the default one has no name."""
    assert list_profiles(environ) == []
    for name in ("b", "a", "c"):
        save_login({**environ, "TTP_PROFILE": name}, login)
    login_path({**environ, "TTP_PROFILE": "c"}).unlink()
    assert list_profiles(environ) == list_profiles({**environ, "TTP_PROFILE": "a"}) == ["a", "b"]


@pytest.mark.skipif(sys.platform == "darwin", reason="the folder is below the home folder there")
@pytest.mark.requirement("login.logout")
def test_user_without_a_home_folder_has_no_login(environ, login, monkeypatch):
    def no_home(_):
        raise RuntimeError

    monkeypatch.setattr(Path, "home", classmethod(no_home))
    assert read_login(environ) == login
    assert (has_login({}), read_login({}), list_profiles({})) == (False, None, [])


@pytest.mark.requirement("login.keyring")
def test_keyring_has_the_token_and_the_file_its_entry(environ, system_keyring):
    login = Login(Token(TEXT), URL, "org_1")
    assert save_login(environ, login) is None
    ((service, entry),) = system_keyring.entries
    assert service == "ttp-mcp"
    assert len(entry) == 16
    path = login_path(environ)
    assert json.loads(path.read_bytes()) == {"version": 1, "api_url": URL, "org_id": "org_1", "keyring": entry}
    assert read_login(environ) == login
    assert find_token(environ) == (TEXT, "the login", path, None)
    save_login(environ, Login(Token(OTHER), URL))
    assert list(system_keyring.entries.values()) == [OTHER]
    assert (service, entry) not in system_keyring.entries
    assert remove_login(environ)
    assert system_keyring.entries == {}


@pytest.mark.requirement("login.keyring")
def test_login_in_the_file_replaces_one_in_the_keyring(environ, system_keyring):
    """A keyring that was locked in the meantime keeps the old entry, and the login works."""
    save_login(environ, Login(Token(TEXT), URL))
    system_keyring.locked = True
    assert save_login(environ, Login(Token(OTHER), URL)) == login_path(environ)
    assert find_token(environ)[0] == OTHER


@pytest.mark.requirement("login.keyring")
def test_each_problem_of_a_keyring_has_its_cause(environ, system_keyring):
    save_login(environ, Login(Token(TEXT), URL))
    system_keyring.locked = True
    assert read_problem(environ) == f"the login is in {KEYRING}: it is locked, or refused access."
    system_keyring.locked = False
    (key,) = system_keyring.entries
    system_keyring.entries[key] = "hello"
    assert read_problem(environ) == "the login is damaged."
    system_keyring.entries.clear()
    assert read_problem(environ) == f"the login is in {KEYRING}: its entry is gone."
    keyring.set_keyring(NoKeyring())
    assert read_problem(environ) == (
        f"the login is in {KEYRING}: this installation lacks the extra `keyring`, or finds no keyring."
    )
    assert find_token(environ)[3] == f"{read_problem(environ)} {AGAIN}"


@pytest.mark.requirement("login.keyring")
@pytest.mark.parametrize(
    ("platform", "name"),
    [
        ("darwin", "your macOS keychain"),
        ("win32", "the Windows Credential Manager"),
        ("linux", "the system's keyring"),
    ],
)
def test_keyring_has_the_name_that_its_users_know(environ, system_keyring, monkeypatch, platform, name):
    monkeypatch.setattr(sys, "platform", platform)
    save_login(environ, Login(Token(TEXT), URL))
    system_keyring.locked = True
    assert read_problem(environ) == f"the login is in {name}: it is locked, or refused access."


@pytest.mark.requirement("login.keyring")
@pytest.mark.parametrize("problem", ["gone", "locked", "no keyring", "no package"])
def test_removal_reports_an_entry_that_stays(environ, system_keyring, monkeypatch, problem):
    """One that is gone already needs none. The file is removed in any case."""
    save_login(environ, Login(Token(TEXT), URL))
    if problem == "gone":
        system_keyring.entries.clear()
    elif problem == "locked":
        system_keyring.locked = True
    elif problem == "no keyring":
        keyring.set_keyring(NoKeyring())
    else:
        monkeypatch.setitem(sys.modules, "keyring", None)
    if problem == "gone":
        assert remove_login(environ)
    else:
        with pytest.raises(LoginProblem) as caught:
            remove_login(environ)
        assert str(caught.value) == (f"the login's file is removed, but not its entry in {KEYRING}, named ttp-mcp.")
    assert not has_login(environ)


@pytest.mark.requirement("login.keyring")
@pytest.mark.parametrize(("priority", "is_used"), [(5, True), (1, True), (0.9, False)])
def test_only_a_keyring_of_the_system_is_used(environ, system_keyring, monkeypatch, priority, is_used):
    """Below 1 are those that write plain files."""
    monkeypatch.setattr(MemoryKeyring, "priority", priority)
    file = save_login(environ, Login(Token(TEXT), URL))
    assert file == (None if is_used else login_path(environ))
    assert list(system_keyring.entries.values()) == ([TEXT] if is_used else [])
    assert read_login(environ) == Login(Token(TEXT), URL)


class Unable:
    """Its service isn't there."""

    @property
    def priority(self):
        raise RuntimeError


@pytest.mark.requirement("login.keyring")
@pytest.mark.parametrize("package", ["missing", "broken"])
def test_file_has_the_token_where_no_keyring_can_be_used(environ, monkeypatch, package):
    if package == "missing":
        monkeypatch.setitem(sys.modules, "keyring", None)
    else:
        monkeypatch.setattr(keyring, "get_keyring", Unable)
    login = Login(Token(TEXT), URL)
    assert save_login(environ, login) == login_path(environ)
    assert read_login(environ) == login
    assert remove_login(environ)


@needs_modes
@pytest.mark.requirement("login.keyring")
def test_login_that_cannot_be_saved_leaves_file_and_keyring_as_they_were(environ, system_keyring, monkeypatch):
    """A full disk, for example."""
    save_login(environ, Login(Token(TEXT), URL))
    path = login_path(environ)
    before, entries = path.read_bytes(), dict(system_keyring.entries)

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LoginProblem) as caught:
        save_login(environ, Login(Token(OTHER), URL))
    assert str(caught.value) == (
        f"the login's file can't be changed: {path} (No space left on device). "
        "Move it away or make its folder writable, then try again."
    )
    assert (path.read_bytes(), system_keyring.entries) == (before, entries)
    assert list(path.parent.iterdir()) == [path]
    assert find_token(environ)[0] == TEXT
