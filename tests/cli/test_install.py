"""`ttp-mcp install` on a machine in a temporary folder."""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from tests.support.windows import WINDOWS, has_mode, needs_links, needs_posix_names, needs_posix_paths
from ttp_mcp import config
from ttp_mcp.cli import build_parser, install
from ttp_mcp.cli.install import Environment, InstallRefused
from ttp_mcp.client_config.clients import CLIENTS
from ttp_mcp.client_config.paths import Machine

pytestmark = pytest.mark.requirement("install.writes")


@pytest.fixture
def environment(tmp_path):
    """A home folder, a state folder and a clock that advances one second per read."""
    ticks = count()
    return Environment(
        Machine("linux", tmp_path / "home", {}),
        ("/opt/bin/ttp-mcp",),
        lambda: datetime(2026, 11, 24, tzinfo=UTC) + timedelta(seconds=next(ticks)),
        ":",
    )


@pytest.fixture
def environment_of_run(environment, monkeypatch):
    """Make `run` use that environment."""
    monkeypatch.setattr(install, "here", lambda environ, *, uvx: environment)
    return environment


def parse_arguments(*line):
    """The command line, parsed as the program parses it."""
    return build_parser().parse_args(["install", *line])


def find_cursor_file(environment):
    """Cursor's file on that machine."""
    return Path(environment.machine.home) / ".cursor" / "mcp.json"


def test_install_writes_a_new_file_and_names_the_next_steps(environment_of_run, capsys):
    """As the user sees it."""
    assert install.run(parse_arguments("cursor")) == 0
    path = find_cursor_file(environment_of_run)
    assert capsys.readouterr().out == (
        f"Cursor now knows this server: {path}\n"
        "Next: ttp-mcp login, with your API token (dashboard: Settings → API).\n"
        "Next: Restart Cursor; Settings, Tools & MCP shows the server.\n"
    )
    assert json.loads(path.read_text())["mcpServers"]["timetopost"]["command"] == "/opt/bin/ttp-mcp"
    assert has_mode(path, 0o600)


def test_install_twice_says_unchanged_and_makes_no_backup(environment_of_run, capsys):
    install.run(parse_arguments("cursor"))
    capsys.readouterr()
    assert install.run(parse_arguments("cursor", "--json")) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["outcome"], report["backup"]) == ("unchanged", None)
    assert [each.name for each in find_cursor_file(environment_of_run).parent.iterdir()] == ["mcp.json"]


def test_install_reports_as_one_line_of_json(environment_of_run, capsys):
    """For scripts."""
    install.run(parse_arguments("vscode", "--json"))
    assert json.loads(capsys.readouterr().out) == {
        "client": "vscode",
        "outcome": "written",
        "path": str(Path(environment_of_run.machine.home) / ".config/Code/User/mcp.json"),
        "backup": None,
        "server": "timetopost",
        "login": None,
        "notes": [],
        "next": "Run 'MCP: List Servers' and start it. VS Code asks for the token once and keeps it safe.",
    }


def test_remove_deletes_the_entry_and_reports_it(environment_of_run, capsys):
    """Also the second time, with nothing left to remove."""
    install.run(parse_arguments("cursor"))
    capsys.readouterr()
    assert install.run(parse_arguments("cursor", "--remove")) == 0
    first = capsys.readouterr().out.splitlines()
    assert first[0].startswith("Cursor no longer knows this server: ")
    assert first[1].startswith("Backup: ")
    assert first[2] == "Next: Restart Cursor to drop the tools."
    assert install.run(parse_arguments("cursor", "--remove")) == 0
    assert capsys.readouterr().out.startswith("Cursor does not know this server, nothing to remove: ")
    assert find_cursor_file(environment_of_run).read_text() == "{}\n"


def test_print_shows_the_entry_and_writes_nothing(environment_of_run, tmp_path, capsys):
    """For users who edit their settings themselves."""
    assert install.run(parse_arguments("codex", "--sandbox", "--print")) == 0
    assert capsys.readouterr().out.startswith('[mcp_servers.timetopost]\ncommand = "/opt/bin/ttp-mcp"\n')
    assert list(tmp_path.iterdir()) == []


@needs_posix_paths
def test_install_passes_media_folders_as_absolute_paths(environment, tmp_path):
    """The client starts the server in another folder."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    install.install(
        parse_arguments("cursor", "--media-dir", str(tmp_path / "a"), "--media-dir", f"{tmp_path}/a/../b"), environment
    )
    env = json.loads(find_cursor_file(environment).read_text())["mcpServers"]["timetopost"]["env"]
    assert env["TTP_MEDIA_DIRS"] == f"{tmp_path}/a:{tmp_path}/b"


def test_install_uses_the_older_windsurf_file_if_only_that_exists(environment):
    """Users who haven't updated keep a working set-up."""
    older = Path(environment.machine.home) / ".codeium/windsurf/mcp_config.json"
    older.parent.mkdir(parents=True)
    older.write_text("{}")
    report = install.install(parse_arguments("windsurf"), environment)
    assert report.path == str(older)


@needs_links
@pytest.mark.requirement("install.careful")
def test_install_backs_up_and_keeps_mode_mark_and_link(environment, tmp_path):
    """A file of mode 644 with a byte order mark, behind a link into a folder of dotfiles."""
    real = tmp_path / "dotfiles.json"
    real.write_bytes(b'\xef\xbb\xbf{"a": 1}')
    real.chmod(0o644)
    link = find_cursor_file(environment)
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    report = install.install(parse_arguments("cursor"), environment)
    assert link.is_symlink()
    assert real.read_bytes().startswith(b'\xef\xbb\xbf{"a": 1, "mcpServers": ')
    assert has_mode(real, 0o644)
    # Nobody needs the backup but its owner, and it may hold a token that was moved out since.
    assert has_mode(Path(report.backup), 0o600)
    assert Path(report.backup).read_bytes() == b'\xef\xbb\xbf{"a": 1}'
    assert Path(report.backup).name == "dotfiles.json.20261124T000000000000Z.bak"


@pytest.mark.requirement("install.careful")
def test_install_keeps_the_five_newest_backups(environment):
    """So that backups don't accumulate."""
    for _ in range(4):
        install.install(parse_arguments("cursor"), environment)
        install.install(parse_arguments("cursor", "--sandbox"), environment)
    backups = sorted(each.name for each in find_cursor_file(environment).parent.glob("*.bak"))
    assert len(backups) == 5
    assert backups[-1] == "mcp.json.20261124T000007000000Z.bak"


@pytest.mark.requirement("install.careful")
def test_install_does_not_overwrite_what_another_program_just_saved(environment):
    """Claude Code, for example, writes its file constantly."""
    path = find_cursor_file(environment)
    path.parent.mkdir(parents=True)
    path.write_text("{}")

    def edit_during_install():
        path.write_text('{"b": 2}')
        return datetime(2026, 11, 24, tzinfo=UTC)

    racing = Environment(environment.machine, environment.command, edit_during_install, ":")
    with pytest.raises(InstallRefused, match="changed by another program just now"):
        install.install(parse_arguments("cursor"), racing)
    assert path.read_text() == '{"b": 2}'
    assert not list(path.parent.glob(".mcp.json*"))


@pytest.mark.requirement("install.refuses")
@pytest.mark.parametrize("data", [b"{", b"\xff", b" " * (16 * 1024 * 1024 + 1)], ids=["cut", "not text", "huge"])
def test_install_refuses_a_file_it_does_not_understand(environment_of_run, capsys, data):
    """Exit code 1, the reason on standard error, and the same bytes as before."""
    path = find_cursor_file(environment_of_run)
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    assert install.run(parse_arguments("cursor")) == 1
    assert capsys.readouterr().err.startswith(f"Nothing was changed: {path} ")
    assert path.read_bytes() == data
    assert [each.name for each in path.parent.iterdir()] == ["mcp.json"]


@pytest.mark.requirement("install.refuses")
def test_install_refuses_a_folder_in_place_of_the_file(environment_of_run, capsys):
    """With --json the reason is in the answer."""
    find_cursor_file(environment_of_run).mkdir(parents=True)
    assert install.run(parse_arguments("cursor", "--json")) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["outcome"] == "refused"
    assert "could not be read" in answer["problem"]


@needs_links
@pytest.mark.requirement("install.refuses")
def test_install_refuses_a_device(environment):
    """Reading a device might never end."""
    link = find_cursor_file(environment)
    link.parent.mkdir(parents=True)
    link.symlink_to("/dev/null")
    with pytest.raises(InstallRefused, match="not a regular file"):
        install.install(parse_arguments("cursor"), environment)


@pytest.mark.requirement("install.refuses")
def test_install_reports_a_file_in_place_of_the_folder(environment, tmp_path):
    """A file is in the place of the client's folder."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".codex").write_text("")
    done = "written" if WINDOWS else "read"
    with pytest.raises(InstallRefused, match=rf"\.codex.config\.toml could not be {done}"):
        install.install(parse_arguments("codex"), environment)


@pytest.mark.requirement("install.refuses")
def test_install_names_the_settings_it_cannot_write(environment):
    """The backup's path is taken."""
    path = find_cursor_file(environment)
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    (path.parent / "mcp.json.20261124T000000000000Z.bak").mkdir()
    with pytest.raises(InstallRefused, match=r"mcp\.json could not be written \(File exists\)"):
        install.install(parse_arguments("cursor"), environment)
    assert path.read_text() == "{}"


@pytest.mark.requirement("install.careful")
def test_install_succeeds_if_an_old_backup_cannot_be_removed(environment):
    """A folder has the name of an old backup."""
    install.install(parse_arguments("cursor"), environment)
    old = find_cursor_file(environment).parent / "mcp.json.00000000T000000000000Z.bak"
    old.mkdir()
    for _ in range(3):
        install.install(parse_arguments("cursor", "--sandbox"), environment)
        install.install(parse_arguments("cursor"), environment)
    assert old.is_dir()


@needs_links
@pytest.mark.requirement("install.refuses")
def test_install_refuses_circular_links(environment_of_run, tmp_path, capsys):
    """In the settings' path and in a media folder's."""
    path = find_cursor_file(environment_of_run)
    path.parent.mkdir(parents=True)
    path.symlink_to(path)
    assert install.run(parse_arguments("cursor")) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"Nothing was changed: {path} ")
    assert said.count("\n") == 1
    for folder in (str(path), "~no-such-user"):
        assert install.run(parse_arguments("zed", "--media-dir", folder)) == 1
        assert capsys.readouterr().err.startswith(f"Nothing was changed: --media-dir {folder} ")


@needs_posix_names
@pytest.mark.requirement("install.refuses")
def test_install_refuses_media_folders_it_cannot_pass_on(environment, tmp_path):
    """One that doesn't exist, and one whose name contains the separator."""
    (tmp_path / "a:b").mkdir()
    with pytest.raises(InstallRefused, match="is not a folder"):
        install.install(parse_arguments("cursor", "--media-dir", str(tmp_path / "none")), environment)
    with pytest.raises(InstallRefused, match="separates folders"):
        install.install(parse_arguments("cursor", "--media-dir", str(tmp_path / "a:b")), environment)


@pytest.mark.requirement("install.refuses")
def test_install_refuses_unencodable_text(environment_of_run, capsys):
    """JSON can contain a lone surrogate, UTF-8 can't."""
    path = find_cursor_file(environment_of_run)
    path.parent.mkdir(parents=True)
    for half in (r"\ud800", r"\udc80"):
        text = f'{{"mcpServers": {{"timetopost": {{"command": "ttp-mcp", "args": ["{half}"]}}}}}}'
        path.write_text(text)
        assert install.run(parse_arguments("cursor", "--sandbox")) == 1
        assert capsys.readouterr().err.startswith(f"Nothing was changed: {path} can't be edited safely (")
        assert path.read_text() == text


@pytest.mark.requirement("install.token")
def test_token_in_the_client_file_is_kept_with_a_note(environment_of_run, capsys):
    """Set-ups from an old guide continue to work."""
    path = find_cursor_file(environment_of_run)
    path.parent.mkdir(parents=True)
    entry = {"command": "x", "env": {"TTP_API_TOKEN": "ttp_" + "0" * 48}}
    path.write_text(json.dumps({"mcpServers": {"timetopost": entry}}))
    install.run(parse_arguments("cursor"))
    said = capsys.readouterr().out
    assert "Warning: This file contains the token itself." in said
    assert "0" * 48 not in said


@pytest.mark.requirement("install.refuses")
def test_install_over_an_entry_with_a_url_names_the_command_that_removes_it(environment_of_run, capsys):
    """The file stays as it is."""
    path = find_cursor_file(environment_of_run)
    path.parent.mkdir(parents=True)
    path.write_text('{"mcpServers": {"timetopost": {"url": "https://mcp.example/mcp"}}}')
    assert install.run(parse_arguments("cursor")) == 1
    assert "`ttp-mcp install cursor --remove`" in capsys.readouterr().err
    assert "mcp.example" in path.read_text()


@pytest.mark.requirement("install.writes")
@pytest.mark.parametrize("other", [{"command": "uvx", "args": ["ttp-mcp"]}, {"command": "C:\\bin\\ttp-mcp.exe"}])
def test_install_names_another_entry_that_starts_this_program(environment_of_run, capsys, other):
    """Two entries would show every tool twice."""
    path = find_cursor_file(environment_of_run)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"mcpServers": {"TimeToPost": other, "else": {"command": "x"}}}))
    install.run(parse_arguments("cursor"))
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Warning: ")]
    assert notes == [
        "Warning: Another entry, 'TimeToPost', also starts ttp-mcp, which shows every tool twice. Remove one of the two."
    ]


@needs_posix_paths
@pytest.mark.requirement("install.token")
@pytest.mark.parametrize("name", ["claude-desktop", "zed"])
def test_token_in_the_file_of_a_client_without_references_is_kept(environment, tmp_path, name):
    """No login is needed."""
    client = next(client for client in CLIENTS if client.name == name)
    path = Path(client.path(environment.machine))
    path.parent.mkdir(parents=True)
    token = "ttp_" + "a" * 48
    path.write_text(
        json.dumps({client.servers: {"timetopost": {"command": "ttp-mcp", "env": {"TTP_API_TOKEN": token}}}})
    )
    report = install.install(parse_arguments(name, "--media-dir", str(tmp_path)), environment)
    env = json.loads(path.read_text())[client.servers]["timetopost"]["env"]
    assert env == {"TTP_API_TOKEN": token, "TTP_MEDIA_DIRS": str(tmp_path)}
    assert report.login is None
    assert report.notes[0].startswith("This file contains the token itself.")


@pytest.mark.requirement("install.token")
def test_install_after_a_login_needs_only_a_restart(environment):
    """No variable and no prompt."""
    environment = replace(environment, logged_in=True)
    for name in ("cursor", "vscode", "codex"):
        report = install.install(parse_arguments(name), environment)
        assert report.login is None
        assert "token" not in Path(report.path).read_text().lower()
        assert "token" not in report.next


@pytest.mark.requirement("install.token")
def test_token_file_is_kept_with_a_note(environment):
    """It takes precedence over a login, and the note says how to change that."""
    path = find_cursor_file(environment)
    path.parent.mkdir(parents=True)
    entry = {"command": "ttp-mcp", "env": {"TTP_API_TOKEN_FILE": "/run/secrets/token"}}
    path.write_text(json.dumps({"mcpServers": {"timetopost": entry}}))
    report = install.install(parse_arguments("cursor"), replace(environment, logged_in=True))
    assert json.loads(path.read_text())["mcpServers"]["timetopost"]["env"] == entry["env"]
    assert (report.login, report.outcome) == (None, "written")
    assert report.notes[0].startswith("TTP_API_TOKEN_FILE in this entry was kept, and wins over a login.")


@pytest.mark.requirement("install.token")
def test_profile_gets_its_own_entry_and_login(environment_of_run, monkeypatch, capsys):
    """The default entry stays."""
    install.run(parse_arguments("cursor"))
    capsys.readouterr()
    monkeypatch.setattr(install, "here", lambda environ, *, uvx: replace(environment_of_run, profile="brand-a"))
    assert install.run(parse_arguments("cursor")) == 0
    path = find_cursor_file(environment_of_run)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"Cursor now knows timetopost-brand-a: {path}"
    assert said[2] == "Next: ttp-mcp login --profile brand-a, with your API token (dashboard: Settings → API)."
    servers = json.loads(path.read_text())["mcpServers"]
    assert servers["timetopost-brand-a"]["env"] == {"TTP_PROFILE": "brand-a"}
    assert "timetopost" in servers


@pytest.mark.requirement("install.command")
def test_command_is_the_script_beside_the_interpreter(tmp_path):
    """With an absolute path, so that a desktop program finds it."""
    (tmp_path / "ttp-mcp").write_text("")
    assert install.start_command(tmp_path / "python", lambda name: None, uvx=False) == (str(tmp_path / "ttp-mcp"),)


@pytest.mark.requirement("install.command")
def test_command_without_a_script_runs_the_module(tmp_path):
    """A checkout that was never installed."""
    python = tmp_path / "python"
    assert install.start_command(python, lambda name: None, uvx=False) == (str(python), "-m", "ttp_mcp")


@pytest.mark.requirement("install.command")
@pytest.mark.parametrize(
    ("python", "uvx"), [("/home/ada/.cache/uv/archive-v0/abc/bin/python", False), ("/usr/bin/python", True)]
)
def test_command_from_a_cache_is_uvx(python, uvx):
    """uv may clean its cache, which would remove the script."""
    assert install.start_command(Path(python), lambda name: f"/bin/{name}", uvx=uvx) == ("/bin/uvx", "ttp-mcp")
    assert install.start_command(Path(python), lambda name: None, uvx=uvx) == ("uvx", "ttp-mcp")


@pytest.mark.requirement("install.command")
def test_here_describes_this_machine():
    """The real one, without changes."""
    found = install.here(config.read_environment())
    assert found.machine.home == Path.home()
    assert found.now().tzinfo is UTC
    assert Path(found.command[0]).is_absolute()


def test_here_finds_claude_desktop_as_a_windows_package(monkeypatch, tmp_path):
    """Simulated with a folder of the same name."""
    settings = tmp_path / "Packages" / "Claude_pzs8sxrjxfjjc" / "LocalCache" / "Roaming" / "Claude"
    settings.mkdir(parents=True)
    (tmp_path / "Packages" / "Claude_without").mkdir()
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    if not WINDOWS:
        assert install.here(config.read_environment()).machine.claude_packages == ()
    monkeypatch.setattr(sys, "platform", "win32")
    found = install.here(config.read_environment()).machine
    assert found.claude_packages == (settings,)
    assert CLIENTS[0].path(found) == settings / "claude_desktop_config.json"


@pytest.mark.requirement("install.refuses")
def test_install_reports_an_invalid_setting(monkeypatch, capsys):
    """The name can't be a folder's."""
    monkeypatch.setenv("TTP_PROFILE", "Brand A")
    assert install.run(parse_arguments("cursor")) == 1
    assert capsys.readouterr().err.startswith("Nothing was changed: TTP_PROFILE must be 1 to 32 lower-case letters")
