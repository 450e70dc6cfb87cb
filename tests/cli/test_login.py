"""`ttp-mcp login` and `logout`, and how later starts use the login."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import keyring
import pytest

from tests.cli.conftest import PROGRAM
from tests.processes import make_environment
from tests.support.keyrings import MemoryKeyring
from tests.support.windows import WINDOWS, has_mode, needs_links, needs_modes, needs_root, needs_terminals
from ttp_mcp.cli import main
from ttp_mcp.client_config.clients import CLIENTS
from ttp_mcp.config import load_settings, login_dir, read_environment

pytestmark = pytest.mark.requirement("login.saves")

OTHER = "ttp_" + "0b" * 24
KEYRING = "the Windows Credential Manager" if WINDOWS else "the system's keyring"
VARIABLES = ("LOCALAPPDATA", "TTP_API_TOKEN", "TIMETOPOST_API_TOKEN", "TTP_API_TOKEN_FILE", "TTP_API_URL", "TTP_ORG_ID")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """Its own state folder, Paris time, and no variables from the machine."""
    monkeypatch.setenv("TTP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TTP_TIMEZONE", "Europe/Paris")
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run_command(monkeypatch, capsys, api):
    """Run a command with this standard input and return exit code, stdout and stderr. A login goes to the sandbox."""

    def run(*arguments, given=b"", url=api["api_url"]):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), encoding="utf-8"))
        with monkeypatch.context() as variables:
            if arguments[0] == "login" and url:
                variables.setenv("TTP_API_URL", url)
            code = main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def saved_login(run_command, api):
    """A login for the sandbox; yields its file."""
    assert run_command("login", given=api["token"].encode())[0] == 0
    return find_login_file()


def find_login_file():
    """The login of this test's default profile."""
    return login_dir(read_environment()) / "login.json"


def read_settings(**variables):
    """The settings of a later start."""
    return load_settings({**read_environment(), **variables}, with_login=True)


def test_login_checks_the_token_and_saves_it_privately(run_command, api):
    """It prints the place, the accounts and the next step, never the token."""
    code, out, err = run_command("login", given=api["token"].encode())
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"Logged in: {api['api_url']} accepted the token (fingerprint ")
    assert lines[0].endswith("), organization «Harbor Café».")
    assert lines[1:3] == ["6 connected accounts:", "- instagram @harbor.cafe «Harbor Café»"]
    saved, *notes, step = lines[8:]
    assert (saved, step) == (f"Saved in {find_login_file()}", "Next: ttp-mcp install CLIENT, then restart the client.")
    # Windows has no modes, so a note says who can read the file.
    assert len(notes) == WINDOWS
    assert api["token"] not in out
    assert has_mode(find_login_file(), 0o600)
    assert has_mode(find_login_file().parent, 0o700)
    later = read_settings()
    assert (later.token.reveal(), later.api_url, later.token_source) == (api["token"], api["api_url"], "the login")


@pytest.mark.parametrize(
    ("form", "encoding"),
    [
        (" {}\r\n", "utf-8"),
        ('"{}"\n', "utf-8"),
        ("TTP_API_TOKEN={}\n", "utf-8"),
        ("{}\n", "utf-8-sig"),
        ("{}\r\n", "utf-16"),
        ("{}\r\n", "utf-16-le"),
        ("{}\x00", "utf-8"),
    ],
)
def test_login_reads_what_shells_and_windows_pipe(run_command, api, form, encoding):
    code, out, _ = run_command("login", "--json", given=form.format(api["token"]).encode(encoding))
    assert code == 0
    report = json.loads(out)
    assert (report["outcome"], report["profile"], report["saved_in"]) == ("saved", "default", str(find_login_file()))
    assert read_settings().token.reveal() == api["token"]


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (b"", 2, "Not logged in: no token was entered."),
        (b"\xef\xbb\xbf \r\n", 2, "Not logged in: no token was entered."),
        (b"hello-world", 2, "Not logged in: that isn't an API token: it must begin with ttp_."),
        (b"\xff\xfe\xfa", 2, "Not logged in: standard input can't be read as text."),
        (OTHER.encode(), 3, "Not logged in: the API did not accept the token (401)."),
    ],
    ids=["empty", "blank", "malformed", "binary", "refused"],
)
def test_failed_login_saves_and_echoes_nothing(run_command, api, saved_login, given, code, words):
    """The earlier login stays."""
    before = saved_login.read_bytes()
    found, out, err = run_command("login", given=given)
    assert (found, out) == (code, "")
    assert err.startswith(words)
    assert err.count("\n") == 1
    assert not given or given.decode(errors="replace") not in err
    assert saved_login.read_bytes() == before


def test_login_to_an_unreachable_api_saves_nothing(run_command, api):
    """Nothing listens on the discard port."""
    code, _, err = run_command("login", given=api["token"].encode(), url="http://127.0.0.1:9/api")
    assert code == 7
    assert err.startswith("Not logged in: the API refused the connection.")
    assert not find_login_file().exists()


@needs_terminals
def test_login_asks_without_echo(api, tmp_path):
    """On a real terminal the token is typed and never shown."""
    ours, theirs = os.openpty()
    env = make_environment(
        HOME=str(tmp_path), TTP_API_URL=api["api_url"], PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring"
    )
    with subprocess.Popen(
        [*PROGRAM, "login"], stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
    ) as process:
        os.close(theirs)
        shown = read_until(ours, b"it isn't shown): ")
        os.write(ours, api["token"].encode() + b"\n")
        shown += read_until(ours, None)
        assert process.wait() == 0
    os.close(ours)
    assert b"Saved in " in shown
    assert api["token"].encode() not in shown


# A terminal whose echo nothing can switch off, as some editors have.
ECHOING = """
import io, sys
class Terminal(io.StringIO):
    def isatty(self):
        return True
sys.stdin = Terminal("hello")
from ttp_mcp.cli import main
sys.exit(main(["login"]))
"""


@needs_terminals
def test_login_reads_nothing_from_a_terminal_that_would_show_the_token(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ECHOING],
        env=make_environment(HOME=str(tmp_path)),
        start_new_session=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Not logged in: this terminal would show the token. Pipe it instead: ")


def read_until(terminal, end):
    """Return a terminal's output up to some text, or all of it."""
    shown = b""
    while end is None or end not in shown:
        try:
            shown += os.read(terminal, 4096)
        except OSError:
            # The other end is closed.
            break
    return shown


@pytest.mark.requirement("login.order")
def test_variable_precedes_file_and_file_precedes_login(saved_login, api, tmp_path):
    """Each start reports which one was used."""
    path = tmp_path / "token"
    path.write_text("ttp_" + "0c" * 24)
    path.chmod(0o600)
    file = {"TTP_API_TOKEN_FILE": str(path)}
    by_variable, by_file, by_login = read_settings(TTP_API_TOKEN=OTHER, **file), read_settings(**file), read_settings()
    assert (by_variable.token.reveal(), by_variable.token_source) == (OTHER, "TTP_API_TOKEN")
    assert (by_file.token.reveal(), by_file.token_source) == ("ttp_" + "0c" * 24, "TTP_API_TOKEN_FILE")
    assert (by_login.token.reveal(), by_login.token_source) == (api["token"], "the login")
    # The address of the login is for its own token.
    assert by_variable.api_url == by_file.api_url == "https://timetopost.co/api"


@pytest.mark.requirement("login.order")
def test_unusable_source_is_not_skipped(saved_login, api, tmp_path):
    """Except an empty file, which earlier versions created for the user to fill."""
    path = tmp_path / "token"
    path.touch(mode=0o600)
    assert read_settings(TTP_API_TOKEN_FILE=str(path)).token.reveal() == api["token"]
    for variables in ({"TTP_API_TOKEN": "hello"}, {"TTP_API_TOKEN_FILE": str(tmp_path / "none")}):
        found = read_settings(**variables)
        assert (found.token, found.token_source) == (None, next(iter(variables)))
    saved_login.unlink()
    assert read_settings(TTP_API_TOKEN_FILE=str(path)).token_problem == "TTP_API_TOKEN_FILE names an empty file."


@pytest.mark.requirement("login.order")
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_unreplaced_reference_counts_as_not_set(saved_login, api, client):
    """The entry predates the login and still names a missing variable."""
    if client.fills_in is not None and not client.prompts:
        assert read_settings(TTP_API_TOKEN=client.fills_in).token.reveal() == api["token"]
    assert read_settings(TTP_API_TOKEN="${MY_TOKEN}").token is None


@pytest.mark.requirement("login.order")
def test_variable_that_wins_over_the_login_of_a_profile_is_a_warning(run_command, saved_login, api, caplog):
    """A user who names a profile means its account. A profile without a login has nothing to win over."""
    assert run_command("login", "--profile", "brand-a", given=api["token"].encode())[0] == 0
    for profile in ("", "brand-b"):
        assert read_settings(TTP_PROFILE=profile, TTP_API_TOKEN=OTHER).token.reveal() == OTHER
    assert caplog.messages == []
    assert read_settings(TTP_PROFILE="brand-a", TTP_API_TOKEN=OTHER).token.reveal() == OTHER
    assert caplog.messages == ["TTP_API_TOKEN is set and wins over the login of profile brand-a."]


@pytest.mark.requirement("login.order")
def test_profile_without_a_login_uses_no_other(saved_login):
    found = read_settings(TTP_PROFILE="brand-b")
    assert (found.token, found.token_source) == (None, "the login of profile brand-b")
    assert found.token_problem == (
        "profile brand-b has no login. Run `ttp-mcp login --profile brand-b` and restart this server."
    )


@pytest.mark.requirement("login.order")
def test_doctor_says_which_source_won(run_command, saved_login, api, monkeypatch):
    _, out, _ = run_command("doctor")
    assert re.search(r"token: accepted \(fingerprint \w{8}, from the login\) by http", out)
    monkeypatch.setenv("TTP_API_TOKEN", api["token"])
    monkeypatch.setenv("TTP_API_URL", api["api_url"])
    assert ", from TTP_API_TOKEN) by http" in run_command("doctor")[1]
    assert run_command("login", given=api["token"].encode())[1].count(
        "Warning: TTP_API_TOKEN is set here, and wins over the login wherever it is set."
    )


def let_others_read(path):
    path.chmod(0o640)


def others_may_write(path):
    path.chmod(0o620)


def damage_login(path):
    path.write_text('{"version": 1, "token": "ttp_')


def write_another_version(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))


def write_a_wrong_token(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "token": "hello"}))


def write_an_unsafe_address(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "api_url": "http://example.com/api"}))


def write_an_unsafe_organization(path):
    path.write_text(json.dumps({**json.loads(path.read_text()), "org_id": "org_1\r\nx-other: 1"}))


def enlarge_file(path):
    """A file of a terabyte would fill the memory."""
    os.truncate(path, 2**40)


def put_a_pipe(path):
    """One without a writer would block."""
    path.unlink()
    os.mkfifo(path)


def link_login(path):
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))


def change_owner(path):
    os.chown(path, 12345, -1)


@pytest.mark.requirement("login.fails-closed")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(
            let_others_read,
            "isn't safe to use: its file can be read or written by other users of this computer",
            marks=needs_modes,
        ),
        pytest.param(
            others_may_write,
            "isn't safe to use: its file can be read or written by other users of this computer",
            marks=needs_modes,
        ),
        pytest.param(change_owner, "isn't safe to use: its file belongs to another user", marks=needs_root),
        pytest.param(link_login, "isn't safe to use: its file is a link", marks=needs_links),
        pytest.param(put_a_pipe, "isn't safe to use: its file is not a regular file", marks=needs_modes),
        pytest.param(enlarge_file, "is damaged", marks=needs_modes),
        (damage_login, "is damaged"),
        (write_another_version, "is damaged"),
        (write_a_wrong_token, "is damaged"),
        (write_an_unsafe_address, "is damaged"),
        (write_an_unsafe_organization, "is damaged"),
    ],
)
def test_untrusted_login_is_not_used(run_command, saved_login, api, change, words):
    """Each call gives the reason and the fix; other sources work, and a new login repairs it, except over a link."""
    change(saved_login)
    found = read_settings()
    assert (found.token, found.token_source) == (None, "the login")
    assert found.token_problem == f"the login {words}. Run `ttp-mcp login` and restart this server."
    code, out, err = run_command("call", "list_posts")
    assert (code, out) == (3, "")
    assert f"the login {words}. Run `ttp-mcp login` and restart this server. Nothing was sent." in err
    assert read_settings(TTP_API_TOKEN=OTHER).token.reveal() == OTHER
    code, _, err = run_command("login", given=api["token"].encode())
    if change in (link_login, change_owner, put_a_pipe):
        assert code == 1
        assert f"{saved_login} is a link, not a regular file, or belongs to another user" in err
    else:
        assert code == 0
        assert read_settings().token.reveal() == api["token"]


@needs_links
@pytest.mark.requirement("login.fails-closed")
def test_link_that_takes_the_place_of_a_login_while_it_is_read_is_not_followed(saved_login, monkeypatch):
    link_login(saved_login)
    monkeypatch.setattr(Path, "is_symlink", lambda _: False)
    found = read_settings()
    assert (found.token, found.token_source) == (None, "the login")
    assert found.token_problem.startswith("the login can't be read (")


@pytest.mark.requirement("login.fails-closed")
def test_token_of_a_login_is_never_sent_to_another_address(saved_login, api):
    """A variable that names another API prevents the start."""
    other = read_settings(TTP_API_URL="https://example.com/api")
    assert other.token is None
    assert other.token_problem.startswith(
        "the login is for another address than TTP_API_URL. Remove TTP_API_URL, or run "
    )
    assert read_settings(TTP_API_URL=api["api_url"]).token.reveal() == api["token"]


@pytest.mark.requirement("login.fails-closed")
def test_sandbox_and_multi_tenant_servers_do_not_use_the_login(run_command, saved_login, monkeypatch):
    """Neither its token, organization nor errors."""
    saved_login.write_text("{")
    assert run_command("call", "--sandbox", "list_posts", '{"limit": 1}')[0] == 0
    code, _, err = run_command("--transport", "http", "--multi-tenant", "--host", "0.0.0.0")
    assert code == 2
    assert err.startswith("ttp-mcp: --host 0.0.0.0 lets others connect")


def test_organization_is_part_of_the_login(run_command, api):
    """It applies at once and at later starts, unless TTP_ORG_ID names another."""
    code, _, err = run_command("login", "--org", "org_of_others", given=api["token"].encode())
    assert code == 4
    assert "403" in err
    code, out, _ = run_command("login", "--org", "org_harbor_cafe", given=api["token"].encode())
    assert code == 0
    assert "organization «Harbor Café»" in out.splitlines()[0]
    assert read_settings().org_id == "org_harbor_cafe"
    assert read_settings(TTP_ORG_ID="org_2").org_id == "org_2"
    assert read_settings(TTP_API_TOKEN=OTHER).org_id is None
    assert run_command("login", "--org", "${ORG}", given=api["token"].encode())[0] == 2


@pytest.mark.requirement("login.logout")
def test_logout_removes_the_login_and_lists_other_tokens(run_command, saved_login, api, monkeypatch, tmp_path):
    """In variables, other profiles, and clients' settings."""
    run_command("login", "--profile", "brand-a", given=api["token"].encode())
    cursor = tmp_path / "home" / ".cursor" / "mcp.json"
    cursor.parent.mkdir(parents=True)
    entries = {
        "timetopost": {"command": "ttp-mcp", "env": {"TTP_API_TOKEN": OTHER}},
        "mine": {"command": "uvx", "args": ["ttp-mcp"], "env": {"TTP_API_TOKEN_FILE": "/run/token"}},
    }
    cursor.write_text(json.dumps({"mcpServers": entries}))
    monkeypatch.setenv("TTP_API_TOKEN", OTHER)
    code, out, _ = run_command("logout")
    assert code == 0
    assert not saved_login.exists()
    assert out.splitlines() == [
        "The login is removed.",
        "A token is still in TTP_API_TOKEN, a variable of this terminal",
        "A token is still in the login of profile brand-a",
        f"A token is still in {cursor}, in the entry timetopost of Cursor",
        "A token is still in /run/token, which the entry mine of Cursor names",
        "The token itself stays valid until you revoke it in the dashboard: Settings → API.",
    ]
    code, out, _ = run_command("logout", "--json", "--profile", "brand-a")
    assert (code, json.loads(out)["outcome"]) == (0, "removed")
    assert run_command("logout")[1].startswith("There was no login to remove.")


@pytest.mark.requirement("login.logout")
@pytest.mark.parametrize("change", [damage_login, let_others_read, link_login])
def test_logout_removes_an_unreadable_login(run_command, saved_login, change):
    """A link is removed, its target stays."""
    change(saved_login)
    assert run_command("logout")[0] == 0
    assert not os.path.lexists(saved_login)
    assert saved_login.with_name("moved").exists() is (change is link_login)


@pytest.fixture
def system_keyring():
    """A keyring that works."""
    found = MemoryKeyring()
    keyring.set_keyring(found)
    return found


@pytest.mark.requirement("login.keyring")
def test_token_is_kept_in_the_systems_keyring(run_command, api, system_keyring):
    """The file has only the entry's name; a second login and a logout leave no entry behind."""
    for _ in range(2):
        code, out, _ = run_command("login", given=api["token"].encode())
        assert code == 0
        assert f"Saved in {KEYRING}" in out
        assert list(system_keyring.entries.values()) == [api["token"]]
    assert api["token"] not in find_login_file().read_text()
    assert read_settings().token.reveal() == api["token"]
    assert run_command("logout")[0] == 0
    assert system_keyring.entries == {}


@pytest.mark.requirement("login.keyring")
@pytest.mark.parametrize(
    ("platform", "name"), [("darwin", "your macOS keychain"), ("win32", "the Windows Credential Manager")]
)
def test_keyring_is_named_as_its_users_know_it(run_command, api, system_keyring, monkeypatch, platform, name):
    """macOS also asks which program may read it, and a background server can't show that."""
    monkeypatch.setattr(sys, "platform", platform)
    out = run_command("login", given=api["token"].encode())[1]
    assert f"Saved in {name}" in out
    assert ("macOS asks once whether Python may use the entry" in out) == (platform == "darwin")
    assert "by administrators" not in out
    system_keyring.locked = True
    assert f"the login is in {name}: it is locked, or refused access." in read_settings().token_problem


@pytest.mark.requirement("login.keyring")
@pytest.mark.parametrize(("priority", "is_used"), [(1, True), (0.5, False)])
def test_keyring_that_writes_plain_files_is_not_used(run_command, api, system_keyring, monkeypatch, priority, is_used):
    """Its priority is below 1, and its file may be open to others."""
    monkeypatch.setattr(MemoryKeyring, "priority", priority)
    assert run_command("login", given=api["token"].encode())[0] == 0
    assert list(system_keyring.entries.values()) == ([api["token"]] if is_used else [])
    assert (api["token"] in find_login_file().read_text()) is not is_used


class Unable:
    """Its service isn't there."""

    @property
    def priority(self):
        raise RuntimeError


@pytest.mark.requirement("login.keyring")
def test_installation_without_a_usable_keyring_saves_to_the_file(run_command, api, monkeypatch):
    """The package is missing, or its backend can't start."""
    with monkeypatch.context() as change:
        change.setattr(keyring, "get_keyring", Unable)
        assert f"Saved in {find_login_file()}" in run_command("login", given=api["token"].encode())[1]
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert f"Saved in {find_login_file()}" in run_command("login", given=api["token"].encode())[1]
    assert read_settings().token.reveal() == api["token"]


@pytest.mark.requirement("login.keyring")
def test_logout_reports_an_entry_that_it_cannot_reach(run_command, api, system_keyring):
    """An entry that is gone already needs no removal."""
    run_command("login", given=api["token"].encode())
    system_keyring.entries.clear()
    assert run_command("logout")[0] == 0
    run_command("login", given=api["token"].encode())
    keyring.set_keyring(keyring.backends.fail.Keyring())
    code, _, err = run_command("logout")
    assert code == 1
    assert f"the login's file is removed, but not its entry in {KEYRING}, named ttp-mcp" in err


@pytest.mark.requirement("login.keyring")
def test_keyring_that_refuses_to_save_leaves_the_token_to_the_file(run_command, api, system_keyring):
    system_keyring.locked = True
    assert f"Saved in {find_login_file()}" in run_command("login", given=api["token"].encode())[1]
    assert read_settings().token.reveal() == api["token"]


@needs_links
@pytest.mark.requirement("login.keyring")
def test_login_that_cannot_be_saved_leaves_the_keyring_as_it_was(run_command, api, system_keyring):
    run_command("login", given=api["token"].encode())
    entries = dict(system_keyring.entries)
    link_login(find_login_file())
    assert run_command("login", given=api["token"].encode())[0] == 1
    assert system_keyring.entries == entries


@pytest.mark.requirement("login.keyring")
def test_missing_keyring_backend_falls_back_to_the_file(api, tmp_path):
    """A variable of the `keyring` package names it."""
    done = subprocess.run(
        [*PROGRAM, "login"],
        input=api["token"],
        env=make_environment(HOME=str(tmp_path), TTP_API_URL=api["api_url"], PYTHON_KEYRING_BACKEND="nonsense.Keyring"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Saved in {tmp_path}" in done.stdout


@pytest.mark.requirement("login.keyring")
def test_unreadable_keyring_fails_closed(run_command, api, system_keyring):
    """Locked, emptied, or missing for this installation."""
    run_command("login", given=api["token"].encode())
    system_keyring.locked = True
    problem = read_settings().token_problem
    assert problem.startswith(f"the login is in {KEYRING}: it is locked, or refused access. Run `ttp-mcp login`")
    code, _, err = run_command("logout")
    assert code == 1
    assert f"not its entry in {KEYRING}, named ttp-mcp" in err
    system_keyring.locked = False
    run_command("login", given=api["token"].encode())
    system_keyring.entries.clear()
    assert read_settings().token_problem.startswith(f"the login is in {KEYRING}: its entry is gone.")
    keyring.set_keyring(keyring.backends.fail.Keyring())
    assert "lacks the extra `keyring`, or finds no keyring" in read_settings().token_problem
