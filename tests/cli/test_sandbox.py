"""`ttp-mcp sandbox` and its controls, over its own data folder."""

import argparse
import io
import json
import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.windows import WINDOWS, needs_links, needs_moves, needs_signals
from ttp_mcp.cli import build_parser, main
from ttp_mcp.cli.sandbox import commands
from ttp_mcp.sandbox import Sandbox
from ttp_mcp.sandbox.rest import faults, tokens, vendor
from ttp_mcp.sandbox.workspace.restore import reset_workspace

pytestmark = pytest.mark.requirement("sandbox-cli.controls")

NOW = datetime(2026, 6, 24, 9, 30, tzinfo=UTC)
Run = Callable[..., str]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder's sandbox, as the environment names it; times are read and shown in Paris."""
    monkeypatch.setenv("TTP_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TTP_TIMEZONE", "Europe/Paris")
    return tmp_path / "state" / "sandbox"


@pytest.fixture
def stopped_workspace(data: Path) -> Path:
    """The demo workspace, with its clock stopped on a Wednesday morning."""
    with Sandbox(data, empty=True) as opened:
        reset_workspace(opened.store, opened.storage, at=NOW)
        opened.stored_clock.stop_at(NOW)
    return data


@pytest.fixture
def other_process(stopped_workspace: Path) -> Iterator[Sandbox]:
    """Another process with the folder open."""
    with Sandbox(stopped_workspace) as sandbox:
        yield sandbox


@pytest.fixture
def run_command(data: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that succeeds and return its output."""

    def ran(*line: str) -> str:
        assert commands.run(parse_arguments(*line)) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return ran


@pytest.fixture
def run_refused(data: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command that is refused and return its line, which is the same as in JSON."""

    def ran(*line: str) -> str:
        assert commands.run(parse_arguments(*line)) == 1
        words = capsys.readouterr().err
        assert words.count("\n") == 1
        assert commands.run(parse_arguments(*add_json_flag(line))) == 1
        printed = capsys.readouterr()
        assert printed.err == ""
        assert words.strip().removeprefix("Nothing was changed. ") == json.loads(printed.out)["problem"]
        return words.strip()

    return ran


def add_json_flag(line: Sequence[str]) -> list[str]:
    """The same command with `--json`, before a `--`."""
    end = line.index("--") if "--" in line else len(line)
    return [*line[:end], "--json", *line[end:]]


def parse_arguments(*line: str) -> argparse.Namespace:
    """The command line, parsed as the program parses it."""
    return commands.parse_words(build_parser(), ["sandbox", *line])


def parse_json(printed: str) -> Any:
    """One line of JSON."""
    assert printed.count("\n") == 1
    return json.loads(printed)


def test_token_is_shown_once_listed_and_revoked(run_command, other_process):
    """The list doesn't contain the token itself."""
    token, about, following = run_command("token", "create", "--label", "ci", "--expires-days", "30").splitlines()
    caller = tokens.verify_token(other_process.store, other_process.clock, token)
    assert about == (
        f"This is the only time it is shown. Its id is {caller.token_id}; it expires at 2026-07-24T09:30:00.000Z."
    )
    assert following.startswith("Next: ")
    assert run_command("token", "list") == f"{caller.token_id}  expires at 2026-07-24T09:30:00.000Z  ci\n"
    assert run_command("token", "revoke", caller.token_id) == (
        f"{caller.token_id} is revoked: requests with it get 401 from now on.\n"
    )
    assert tokens.verify_token(other_process.store, other_process.clock, token) is None
    assert run_command("token", "list") == f"{caller.token_id}  is revoked  ci\n"


def test_tokens_as_json(run_command, other_process):
    """With all known fields."""
    made = parse_json(run_command("token", "create", "--json"))
    assert tokens.verify_token(other_process.store, other_process.clock, made.pop("token")) is not None
    expected = {
        "label": "made by hand",
        "capability": "publish",
        "created_at": "2026-06-24T09:30:00.000Z",
        "expires_at": None,
        "revoked_at": None,
    }
    assert made == {"id": made["id"], **expected}
    assert parse_json(run_command("token", "list", "--json")) == {"tokens": [made]}
    assert parse_json(run_command("token", "revoke", made["id"], "--json")) == {"id": made["id"], "revoked": True}


def test_no_tokens_say_how_to_make_one(run_command, stopped_workspace):
    """The commands themselves leave none behind."""
    assert run_command("token", "list") == "No tokens exist. Make one with `ttp-mcp sandbox token create`.\n"


@pytest.mark.requirement("sandbox-cli.careful")
def test_token_refusals(run_refused):
    """An expiry that the reference doesn't list, and an unknown id."""
    assert run_refused("token", "create", "--expires-days", "366") == (
        "Nothing was changed. A token expires after 1–365 days, or never."
    )
    assert run_refused("token", "revoke", "tok_x").startswith("Nothing was changed. Token tok_x doesn't exist.")


def test_clock_moves_forward_and_reports_what_became_due(run_command, other_process):
    """The command publishes, whether a server runs or not."""
    assert run_command("clock").startswith(
        "The sandbox's clock: Wed 24 Jun 2026 11:30 Europe/Paris (09:30Z), standing still, "
    )
    lines = run_command("clock", "+2d1h").splitlines()
    assert lines[0].startswith("The sandbox's clock: Fri 26 Jun 2026 12:30 Europe/Paris (10:30Z), standing still, ")
    assert lines[1] == "Became due: 2 posts."
    assert [line.split()[0] for line in lines[2:]] == ["published", "published"]
    assert lines[2].endswith("The new menu is here: spiced pear, smoked butter, and a coc…")
    assert run_command("clock", "+1m").splitlines()[1:] == ["Nothing became due.", "Next: a post is due in 28 h."]
    with other_process.store.reading() as db:
        due = db.execute(
            "SELECT count(*) FROM posts WHERE status = 'scheduled' AND scheduled_at <= ?", (10**15,)
        ).fetchone()
    assert due[0] == 6


def test_clock_reports_many_posts_and_none(run_command, stopped_workspace):
    """Ten by name, the rest by number; and where nothing is scheduled, nothing is due next."""
    with Sandbox(stopped_workspace) as opened, opened.store.writing() as db:
        row = "(?, 'org_harbor_cafe', 'Again', 'scheduled', ?, 0, 0)"
        values = [(f"p{number}", int(NOW.timestamp() * 1000) + number) for number in range(1, 13)]
        statement = (
            "INSERT INTO posts (id, organization_id, content, status, scheduled_at, created_at, updated_at) VALUES "
        )
        db.executemany(statement + row, values)
    lines = run_command("clock", "+1m").splitlines()
    assert (lines[1], len(lines), lines[-1]) == ("Became due: 12 posts.", 13, "  … and 2 more.")
    facts = parse_json(run_command("clock", "+5w", "--json"))
    assert (facts["now"], facts["running"], len(facts["published"])) == ("2026-07-29T09:31:00.000Z", False, 8)
    assert set(facts["published"][0]) == {"id", "status", "content"}
    assert run_command("clock", "+1s").splitlines()[1:] == ["Nothing became due."]


def test_clock_is_set_moved_back_stopped_and_real(run_command, stopped_workspace):
    """A time without an offset is read in the person's zone; a set clock runs on."""
    assert parse_json(run_command("clock", "2026-12-01T09:00", "--json"))["running"] is True
    assert run_command("clock").startswith("The sandbox's clock: Tue 1 Dec 2026 09:00 Europe/Paris (08:00Z), ")
    assert run_command("clock", "--", "-1d12h").startswith(
        "The sandbox's clock: Sun 29 Nov 2026 21:00 Europe/Paris (20:00Z), "
    )
    assert " standing still, " in run_command("clock", "stop")
    assert " standing still, " in run_command("clock")
    facts = parse_json(run_command("clock", "--json", "real"))
    assert (abs(facts["seconds_ahead"]) <= 1, facts["running"]) == (True, True)
    assert ", the same as this machine's." in run_command("clock")
    assert ", 3 h ahead of this machine's." in run_command("clock", "+3h")
    assert ", 2 days behind this machine's." in run_command("clock", "--", "-51h")


def test_clock_waits_briefly_for_another_process_to_publish(run_command, other_process, monkeypatch):
    """If it still isn't done, the report says so."""
    monkeypatch.setattr("ttp_mcp.cli.sandbox.clock.WAIT_SECONDS", 0.04)
    other_process.stored_clock.move(33 * 3600)
    (claim,) = other_process.scheduler.claim()
    assert run_command("clock", "+1s").splitlines()[1] == "Nothing became due."
    with other_process.store.reading() as db:
        row = db.execute("SELECT status FROM posts WHERE id = ?", (claim.post_id,)).fetchone()
    assert row["status"] == "publishing"
    assert other_process.scheduler.publish(claim) is True


@pytest.mark.requirement("sandbox-cli.careful")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["+3x"], "A distance is written +3h, +1d12h or -30m"),
        (["+"], "A distance is written"),
        (["+3"], "A distance is written"),
        (["+9999999999h"], "A distance is written"),
        (["+99999w"], "The clock stays within the years 2000 to 2100."),
        (["--", "-4000w"], "The clock stays within the years 2000 to 2100."),
        (["tomorrow"], "A time must be ISO 8601, for example 2026-06-25T18:00 (read in Europe/Paris)"),
        (["2026-03-29T02:30"], "2026-03-29 02:30 does not exist in Europe/Paris"),
    ],
)
def test_clock_refusals(run_refused, stopped_workspace, line, words):
    """With a valid example."""
    assert run_refused("clock", *line).startswith(f"Nothing was changed. {words}")


@pytest.mark.requirement("sandbox-cli.careful")
def test_time_zone_that_does_not_exist_is_named(run_refused, stopped_workspace, monkeypatch):
    """It is the one setting that these commands read."""
    monkeypatch.setenv("TTP_TIMEZONE", "Mars/One")
    monkeypatch.setenv("TTP_API_URL", "this is not a URL")
    assert run_refused("clock").startswith("Nothing was changed. TTP_TIMEZONE must be an IANA time zone")


def test_plan_is_shown_and_changed(run_command, stopped_workspace):
    """For one organization or for all."""
    assert run_command("plan", "small") == (
        "Harbor Café (org_harbor_cafe) is on the small plan: 30 posts in 30 days, 10 scheduled at once, 3 accounts, "
        "no best times.\n"
    )
    assert run_command("plan").splitlines()[:2] == [
        "org_harbor_cafe  small: 30 posts in 30 days, 10 scheduled at once, 3 accounts, no best times",
        "org_nordlicht  complete: everything, without limits",
    ]
    assert parse_json(run_command("plan", "--json", "--org", "org_nordlicht")) == {
        "organizations": [{"id": "org_nordlicht", "name": "Nordlicht Studio", "plan": "complete"}]
    }
    assert parse_json(run_command("plan", "complete", "--org", "org_harbor_cafe", "--json")) == {
        "organization": "org_harbor_cafe",
        "plan": "complete",
    }


@pytest.mark.requirement("sandbox-cli.careful")
def test_plan_of_an_organization_that_does_not_exist(run_refused):
    """With those that do."""
    assert run_refused("plan", "small", "--org", "org_x") == (
        "Nothing was changed. The sandbox has no organization org_x. It has org_harbor_cafe, org_nordlicht."
    )


def test_vendor_endpoints_are_turned_off_and_on(run_command, other_process):
    """`reset` turns them on too."""
    on = run_command("endpoints").splitlines()
    assert on[0] == "Endpoints that are not in the API reference answer as usual:"
    assert "  POST /posts/{post_id}/publish" in on
    assert on[-1] == "Next: `ttp-mcp sandbox endpoints off` turns them off."
    off = run_command("endpoints", "off").splitlines()
    assert off[0] == "Endpoints that are not in the API reference answer 404:"
    assert off[-1] == "Next: `ttp-mcp sandbox endpoints on` turns them on."
    assert not vendor.has_vendor_endpoints(other_process.store)
    assert parse_json(run_command("endpoints", "--json"))["on"] is False
    run_command("reset", "--yes")
    assert vendor.has_vendor_endpoints(other_process.store)
    run_command("endpoints", "off")
    assert parse_json(run_command("endpoints", "on", "--json")) == {
        "on": True,
        "endpoints": [line.strip() for line in on[1:-1]],
    }


@pytest.mark.parametrize("capability", ["read", "draft"])
def test_token_is_created_with_a_capability(run_command, other_process, capability):
    """To rehearse an agent that may not publish."""
    token = run_command("token", "create", "--can", capability).splitlines()[0]
    assert tokens.verify_token(other_process.store, other_process.clock, token).capabilities[-1] == capability


def test_fault_is_scheduled_listed_and_cleared(run_command, other_process):
    """For another process that serves."""
    assert run_command("fault", "reset-after", "--path", "/posts", "--method", "post").splitlines() == [
        "reset-after hits the next request with POST at /posts: do it, then close the connection without an answer.",
        "`ttp-mcp sandbox fault list` shows what waits, `fault clear` calls it off.",
    ]
    ordered = parse_json(run_command("fault", "delay", "--times", "3", "--seconds", "1.5", "--json"))
    assert ordered == {"id": ordered["id"], "kind": "delay", "times": 3, "seconds": 1.5, "method": None, "path": None}
    assert run_command("fault") == (
        "reset-after hits the next request with POST at /posts\ndelay hits the next 3 requests\n"
    )
    assert [entry.kind for entry in faults.list_faults(other_process.store)] == ["reset-after", "delay"]
    assert parse_json(run_command("fault", "list", "--json"))["faults"][1] == ordered
    assert run_command("fault", "clear") == "No faults are waiting any more (2 cleared).\n"
    assert run_command("fault", "list").startswith("No faults are waiting. Kinds: delay, 429, 500")


def test_fault_at_a_path_is_ordered_by_the_whole_command_line(data, capsys):
    """Its `--path` is not the one of `serve`."""
    assert main(["sandbox", "fault", "reset-after", "--path", "/posts", "--method", "POST"]) == 0
    assert capsys.readouterr().out.startswith("reset-after hits the next request with POST at /posts: ")


@pytest.mark.requirement("sandbox-cli.careful")
def test_fault_refusals_name_what_there_is(run_refused):
    """A kind that does not exist."""
    assert run_refused("fault", "flood").startswith("Nothing was changed. Unknown fault: 'flood'. Known are delay, ")


def test_help_of_fault_names_every_kind(capsys):
    """Written out, so that help needs nothing of the sandbox."""
    with pytest.raises(SystemExit):
        parse_arguments("fault", "--help")
    shown = capsys.readouterr().out.partition("kinds:")[2]
    assert {line.strip().split("  ")[0] for line in shown.strip().splitlines()} == {
        *(set(faults.KINDS) - {"500", "503"}),
        "500, 503",
    }


def test_reset_makes_the_same_workspace_every_time(run_command, data, tmp_path):
    """Two exports are equal except for the running clock."""
    found: list[dict[str, Any]] = []
    for name in ("first.json", "second.json"):
        assert run_command("reset", "--at", "2026-12-01T09:00", "--yes").splitlines() == [
            "The workspace is new: 2 organizations, 8 accounts, 143 posts, 7 media files.",
            "Its clock runs from Tue 1 Dec 2026 09:00 Europe/Paris (08:00Z). Tokens stay valid.",
        ]
        run_command("export", str(tmp_path / name))
        found.append(json.loads((tmp_path / name).read_text(encoding="utf-8")))
        assert found[-1].pop("clock")["now"].startswith("2026-12-01T08:00:")
    assert found[0] == found[1]


def test_export_reset_export_is_identical(run_command, stopped_workspace, tmp_path):
    """With a stopped clock, byte for byte; also on standard output."""
    first = tmp_path / "a.json"
    facts = parse_json(run_command("export", str(first), "--json"))
    assert (facts["file"], facts["organizations"], facts["media_without_content"]) == (str(first), 2, 0)
    assert (
        run_command("reset", "--from", str(first), "--yes")
        .splitlines()[1]
        .startswith("Its clock is stopped at Wed 24 Jun 2026")
    )
    assert run_command("export") == first.read_text(encoding="utf-8")
    assert parse_json(run_command("export", "--json")) == json.loads(first.read_text(encoding="utf-8"))
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "state"}


def test_export_reports_media_that_are_too_large_and_what_to_do_next(run_command, stopped_workspace, tmp_path):
    """They are named in the file and not contained."""
    with Sandbox(stopped_workspace) as opened, opened.store.writing() as db:
        db.execute("UPDATE media SET size = 300000 WHERE rowid = 1")
    lines = run_command("export", str(tmp_path / "a.json")).splitlines()
    assert lines[1:] == [
        "1 media are larger than 256 KiB: named in the file, not contained.",
        f"Next: `ttp-mcp sandbox reset --from {tmp_path / 'a.json'}` makes it again.",
    ]


def test_reset_to_an_empty_workspace(run_command, stopped_workspace):
    """One of each is said as one."""
    assert run_command("reset", "--empty", "--yes").splitlines()[0] == (
        "The workspace is new: 1 organization, 0 accounts, 0 posts, 0 media files."
    )


@pytest.mark.requirement("sandbox-cli.careful")
def test_reset_of_a_new_folder_needs_no_confirmation(run_command, data):
    assert parse_json(run_command("reset", "--empty", "--json"))["posts"] == 0


@pytest.mark.requirement("sandbox-cli.careful")
def test_reset_in_a_script_needs_yes(run_refused, stopped_workspace):
    """Without a terminal, it can't ask."""
    assert (
        run_refused("reset")
        == f"Nothing was changed. Reset replaces everything in {stopped_workspace}. Pass --yes to agree."
    )


@pytest.mark.requirement("sandbox-cli.careful")
@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("Yes\n", 0), ("\n", 1), ("no\n", 1), ("", 1)])
def test_reset_asks_at_a_terminal(stopped_workspace, monkeypatch, capsys, answer, code):
    """Only yes counts."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert commands.run(parse_arguments("reset", "--empty")) == code
    printed = capsys.readouterr()
    assert printed.out.startswith(f"Replace everything in {stopped_workspace}? Tokens stay. [y/N] ")
    assert printed.err == ("" if code == 0 else "Nothing was changed. You did not agree.\n")


@pytest.mark.requirement("sandbox-cli.careful")
def test_reset_from_a_bad_file_names_the_place_and_loses_nothing(run_command, run_refused, stopped_workspace, tmp_path):
    """The old data stay."""
    before = run_command("export")
    found = json.loads(before)
    found["organizations"][1]["posts"][2]["status"] = "out"
    (tmp_path / "bad.json").write_text(json.dumps(found), encoding="utf-8")
    assert run_refused("reset", "--yes", "--from", str(tmp_path / "bad.json")).startswith(
        f"Nothing was changed. {tmp_path / 'bad.json'} is not a workspace: organizations[1].posts[2].status: Input should be"
    )
    assert run_command("export") == before


@pytest.mark.requirement("sandbox-cli.careful")
def test_unreadable_data_are_kept_beside_the_new_ones(run_command, run_refused, data):
    """Every other command refuses and names reset."""
    data.mkdir(parents=True)
    broken = b"this is no database, but long enough to look like one" * 100
    (data / "sandbox.db").write_bytes(broken)
    assert "run `ttp-mcp sandbox reset`" in run_refused("clock")
    run_command("reset", "--yes")
    (kept,) = data.glob("sandbox.db.*.unreadable")
    assert kept.read_bytes() == broken
    run_command("clock")


@pytest.mark.requirement("sandbox-cli.careful")
def test_unwritable_files_are_named(run_refused, stopped_workspace, tmp_path):
    """An export's folder, and the data folder."""
    beyond = tmp_path / "none" / "a.json"
    assert run_refused("export", str(beyond)) == (
        f"Nothing was changed. {beyond} can't be written (No such file or directory)."
    )
    # The words of Windows are in its user's language.
    cause = "" if WINDOWS else "Is a directory)"
    assert f"can't be written ({cause}" in run_refused("export", str(tmp_path))
    (tmp_path / "file").write_text("")
    assert run_refused("clock", "--data", str(tmp_path / "file")).startswith(
        f"Nothing was changed. {tmp_path / 'file'} can't be used ({'' if WINDOWS else 'File exists).'}"
    )


@pytest.mark.requirement("sandbox-cli.careful")
def test_names_of_files_are_reported_as_written(run_refused, stopped_workspace, tmp_path, monkeypatch):
    """A sentence that begins with one has no capital."""
    monkeypatch.chdir(tmp_path)
    for name in ("bad.json", "bad", "my plan"):
        Path(name).write_text("{}", encoding="utf-8")
        assert run_refused("reset", "--yes", "--from", name).startswith(
            f"Nothing was changed. {name} is not a workspace: "
        )
        assert run_refused("clock", "--data", name).startswith(f"Nothing was changed. {name} can't be used ")


@needs_links
def test_export_to_a_link_writes_what_it_points_to(run_command, run_refused, stopped_workspace, tmp_path):
    """The link stays; a dangling one is refused."""
    real, link = tmp_path / "real.json", tmp_path / "link.json"
    link.symlink_to(real)
    assert run_command("export", str(link)).startswith(f"Written to {link}: ")
    assert link.is_symlink()
    assert run_command("export") == real.read_text(encoding="utf-8")
    circle = tmp_path / "circle.json"
    circle.symlink_to(circle)
    assert run_refused("export", str(circle)).startswith(f"Nothing was changed. {circle} can't be written (")
    assert circle.is_symlink()


def test_data_names_another_folder_before_and_after_the_command(run_command, tmp_path):
    """Several at once, each with its own."""
    run_command("reset", "--data", str(tmp_path / "one"), "--empty")
    run_command("reset", "--data", str(tmp_path / "two"))
    assert (
        parse_json(run_command("plan", "--data", str(tmp_path / "one"), "--json"))["organizations"][0]["id"]
        == "org_empty"
    )
    assert (
        parse_json(run_command("plan", "--data", str(tmp_path / "two"), "--json"))["organizations"][0]["id"]
        == "org_harbor_cafe"
    )


class Screen(io.StringIO):
    """A terminal whose user presses Ctrl+C as soon as there is output."""

    def flush(self) -> None:
        """What is printed is there to be read now."""
        if self.getvalue():
            signal.raise_signal(signal.SIGINT)


@pytest.mark.requirement("sandbox-cli.serve")
def test_sandbox_prints_its_address_and_ends_with_ctrl_c(data, monkeypatch):
    """Signal handlers are restored."""
    screen, before = Screen(), signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(sys, "stdout", screen)
    assert commands.run(parse_arguments("--port", "0")) == 0
    monkeypatch.undo()
    lines = screen.getvalue().splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "The sandbox answers at http",
        "Page",
        "Panels with recorded data",
        "Token, until this ends",
        "Try",
        "Data",
    ]
    assert lines[5] == f"Data: {data}. Ctrl+C ends it; the data stay."
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.requirement("sandbox-cli.careful")
def test_sandbox_refuses_other_machines_and_taken_ports(run_refused):
    """In one line."""
    assert run_refused("--host", "0.0.0.0").startswith("The sandbox is only for this machine: 0.0.0.0 is not one of ")
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = str(other.getsockname()[1])
        assert run_refused("--port", port).startswith(f"Port {port} is taken, perhaps by another sandbox.")
        assert run_refused("--port", "0", "--storage-port", port).startswith(f"Port {port} is taken")


@pytest.mark.requirement("sandbox-cli.careful")
@pytest.mark.parametrize("port", ["65536", "-1", "http"])
def test_sandbox_refuses_anything_but_a_port(port, capsys):
    """As every wrong word on the command line."""
    with pytest.raises(SystemExit) as exit_:
        parse_arguments(f"--port={port}")
    assert exit_.value.code == 2
    assert f"'{port}' is not a port from 0 to 65535" in capsys.readouterr().err


@needs_signals
@pytest.mark.requirement("sandbox-cli.serve")
def test_two_processes_share_one_folder_over_http(data):
    """Changes in one are visible in the other; a control command reaches both. They exit with 0."""
    line = [sys.executable, "-m", "ttp_mcp", "sandbox"]
    # Told to measure one module, coverage loads asyncio twice there, and then nothing catches a cancellation.
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_"))}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environ}
    started = [subprocess.Popen([*line, "--port", "0", "--json"], **pipes) for _ in range(2)]
    try:
        first, second = (json.loads(process.stdout.readline()) for process in started)
        assert set(first) == {"api_url", "token", "page_url"}
        with httpx2.Client(trust_env=False, timeout=30) as client:
            post = {"content": "Seen by both", "platforms": ["linkedin"]}
            made = client.post(f"{first['api_url']}/posts", json=post, headers=make_header(first)).json()["post"]
            shown = client.get(f"{second['api_url']}/posts/{made['id']}", headers=make_header(second)).json()["post"]
            assert shown == made
            assert client.get(second["page_url"]).status_code == 200
            subprocess.run([*line, "fault", "503"], check=True, timeout=60, **pipes)
            assert client.get(f"{second['api_url']}/posts", headers=make_header(second)).status_code == 503
            assert client.get(f"{first['api_url']}/posts", headers=make_header(first)).status_code == 200
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        ended = [(*process.communicate(timeout=60), process.returncode) for process in started]
    assert [error for _, error, _ in ended] == ["", ""]
    assert [code for _, _, code in ended] == [0, 0]


def make_header(facts: dict[str, str]) -> dict[str, str]:
    """The header of a request to one of them."""
    return {"Authorization": f"Bearer {facts['token']}"}


DOCUMENT = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line[2:])[1:] for line in DOCUMENT.splitlines() if line.startswith("$ ttp-mcp")]


def test_every_command_of_the_documentation_runs(run_command, data, tmp_path, monkeypatch):
    """In the order of the page, except serving and installing, which have their own tests."""
    monkeypatch.chdir(tmp_path)
    ran = [line[1:] for line in COMMANDS if line[0] == "sandbox" and len(line) > 1 and "ID" not in line]
    for line in ran:
        run_command(*line)
    assert len(ran) > 20


@pytest.mark.requirement("sandbox.embedded")
@pytest.mark.parametrize("example", re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL))
async def test_every_test_of_the_documentation_passes(example):
    """As a reader would paste it."""
    names: dict[str, Any] = {}
    exec(example, names)
    (test,) = (value for name, value in names.items() if name.startswith("test_"))
    await test()


def test_clock_reports_its_move_despite_a_failed_post(run_command, other_process):
    """The others were published."""
    with other_process.store.writing() as db:
        db.execute(
            "INSERT INTO publications SELECT 'taken', p.id, p.organization_id, t.account_id, 'x', '', '[]', '[]', '', 0, 0, 0, 0, 0, 0, 1 "
            "FROM posts p JOIN post_targets t ON t.post_id = p.id WHERE p.status = 'scheduled' ORDER BY p.scheduled_at, t.position LIMIT 1"
        )
    lines = run_command("clock", "+2d1h").splitlines()
    assert lines[0].startswith("The sandbox's clock: Fri 26 Jun 2026 12:30 Europe/Paris (10:30Z), standing still, ")
    assert [line.split()[0] for line in lines[2:4]] == ["publishing", "published"]
    assert lines[4] == (
        "The clock was moved, but 1 post could not be published (UNIQUE constraint failed: publications.post_id, "
        "publications.account_id); tried again in a minute."
    )
    assert parse_json(run_command("clock", "--json"))["problems"] == []


@pytest.mark.requirement("sandbox-cli.careful")
def test_reset_leaves_locked_data_alone(run_refused, stopped_workspace, monkeypatch):
    """They are intact and only locked for the moment."""
    monkeypatch.setattr("ttp_mcp.sandbox.store.BUSY_SECONDS", 0.05)
    with closing(sqlite3.connect(stopped_workspace / "sandbox.db", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE meta SET value = value")
        assert run_refused("reset", "--yes").startswith(
            "Nothing was changed. sandbox.db can't be opened as sandbox data (database is locked). Check "
        )
    assert list(stopped_workspace.glob("*.unreadable*")) == []


@pytest.mark.requirement("sandbox-cli.careful")
def test_reset_leaves_another_programs_database_alone(run_refused, data):
    """It is intact, and isn't ours."""
    data.mkdir(parents=True)
    with closing(sqlite3.connect(data / "sandbox.db")) as other:
        other.execute("CREATE TABLE posts (text TEXT)")
    assert run_refused("reset", "--yes").endswith("Move it away, or name another folder.")
    assert list(data.glob("*.unreadable*")) == []


@needs_moves
@pytest.mark.requirement("sandbox-cli.careful")
def test_reset_reports_moved_data_and_lost_tokens(run_command, stopped_workspace):
    """The log is beside the moved database, under the name that SQLite looks for."""
    run_command("token", "create")
    (stopped_workspace / "media" / "uploads" / "mine.png").write_bytes(b"mine")
    with closing(sqlite3.connect(stopped_workspace / "sandbox.db", isolation_level=None)) as newer:
        newer.execute("PRAGMA user_version = 99")
        lines = run_command("reset", "--yes").splitlines()
    (kept,) = stopped_workspace.glob("sandbox.db.*.unreadable")
    assert (
        stopped_workspace / kept.name.replace("sandbox.db", "media") / "uploads" / "mine.png"
    ).read_bytes() == b"mine"
    assert lines[1].endswith("Z).")
    assert lines[2:] == [
        f"The old data could not be opened; they were moved to {kept}, the media to media.… beside it.",
        "Their tokens are gone with them: make new ones with `ttp-mcp sandbox token create`.",
    ]
    assert run_command("token", "list").startswith("No tokens exist.")
    with closing(sqlite3.connect(kept)) as newer:
        assert newer.execute("SELECT count(*) FROM tokens").fetchone() == (1,)
    assert parse_json(run_command("reset", "--yes", "--json"))["kept"] is None
    (stopped_workspace / "sandbox.db").write_bytes(b"no database" * 1000)
    assert Path(parse_json(run_command("reset", "--yes", "--json"))["kept"]).read_bytes() == b"no database" * 1000


@pytest.mark.requirement("sandbox-cli.careful")
@pytest.mark.parametrize("option", [["--from", "bad.json"], ["--at", "soon"]])
def test_refused_reset_leaves_unreadable_data_in_place(run_refused, data, monkeypatch, option):
    """Its message says that nothing changed."""
    data.mkdir(parents=True)
    monkeypatch.chdir(data)
    (data / "bad.json").write_text("[]")
    (data / "sandbox.db").write_bytes(b"no database" * 1000)
    assert run_refused("reset", "--yes", *option).startswith("Nothing was changed. ")
    assert {path.name: path.stat().st_size for path in data.iterdir()} == {"bad.json": 2, "sandbox.db": 11_000}


@pytest.mark.requirement("sandbox-cli.careful")
def test_reset_question_says_whether_tokens_stay(data, monkeypatch, capsys):
    """Tokens of unreadable data are lost."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    data.mkdir(parents=True)
    (data / "sandbox.db").write_bytes(b"no database" * 1000)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert commands.run(parse_arguments("reset")) == 1
    assert capsys.readouterr().out == (
        f"Replace everything in {data}? They can't be opened; tokens go with them. [y/N] "
    )
    assert [path.name for path in data.iterdir()] == ["sandbox.db"]


@pytest.mark.requirement("sandbox-cli.careful")
def test_reset_to_a_time_out_of_range_is_refused(run_command, run_refused, stopped_workspace, tmp_path):
    """Its posts would be before 1970."""
    before = run_command("export")
    found = json.loads(before)
    found["clock"]["now"] = "9000-01-01T00:00:00Z"
    (tmp_path / "far.json").write_text(json.dumps(found), encoding="utf-8")
    assert run_refused("reset", "--yes", "--from", str(tmp_path / "far.json"), "--at", "2026-12-01T09:00") == (
        "Nothing was changed. The times of the file can't be moved that far: they would leave the years 1970–9999."
    )
    assert run_command("export") == before
