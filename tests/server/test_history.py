"""The history of writes, as a resource and on the command line."""

import json

import pytest

from tests.server.conftest import ERAS
from ttp_mcp.cli import main

pytestmark = pytest.mark.requirement("history.shows")

POST = {"content": "Pear season", "account_ids": ["linkedin"], "scheduled_at": "2026-12-01T10:00+01:00"}


async def read_lines(connection):
    """Return the lines of the resource."""
    return (await connection.client.read_resource("ttp://history")).contents[0].text.splitlines()


@pytest.mark.parametrize("era", ERAS)
async def test_history_lists_writes_latest_first_without_content(connect_client, clock, era):
    async with connect_client(era, confirm="off") as connection:
        assert await read_lines(connection) == [
            "Nothing was created, changed, deleted or published through this server."
        ]
        old = (await connection.call("create_post", **POST)).structured_content["post_id"]
        clock.move(60)
        moved = await connection.call("reschedule_post", post_id=old, scheduled_at="2026-12-02T10:00+01:00")
        new = moved.structured_content["post_id"]
        clock.move(60)
        await connection.call("delete_post", post_id=new)
        await connection.call("presign_media", filename="a.png", content_type="image/png", size_bytes=10)
        text = await read_lines(connection)
    assert text[0] == "5 writes, latest first; times in Europe/Paris."
    replaced = f"{new} for linkedin «Harbor Café», in place of {old}"
    assert sorted(text[1:]) == sorted(
        [
            "done         Tue 24 Nov 2026 09:04 (2026-11-24T08:04Z)  upload a file (presign_media)",
            f"done         Tue 24 Nov 2026 09:04 (2026-11-24T08:04Z)  delete {new} for linkedin «Harbor Café» (delete_post)",
            f"done         Tue 24 Nov 2026 09:03 (2026-11-24T08:03Z)  delete {old} for linkedin «Harbor Café» (reschedule_post)",
            f"done         Tue 24 Nov 2026 09:03 (2026-11-24T08:03Z)  change {replaced} (reschedule_post)",
            f"done         Tue 24 Nov 2026 09:02 (2026-11-24T08:02Z)  create {old} for linkedin «Harbor Café» (create_post)",
        ]
    )
    assert "Pear season" not in "\n".join(text)


async def test_unknown_outcomes_come_first_and_writes_in_progress_are_marked(connect_client, clock):
    """One delete that another process started and never finished, and one that it just started."""
    async with connect_client() as connection:
        ledger = connection.runtime.app.ledger
        await ledger.begin_delete("cm1", None, tool="delete_post")
        clock.move(3600)
        await connection.call("create_post", **POST)
        await ledger.begin_delete("cm2", None, tool="delete_post")
        text = await read_lines(connection)
    assert text[0] == "3 writes, latest first; times in Europe/Paris."
    assert text[1] == "1 write with an unknown outcome, listed first: they may have happened. list_posts shows it."
    assert (
        text[2]
        == "unknown      Tue 24 Nov 2026 09:02 (2026-11-24T08:02Z)  delete cm1 for unknown accounts (delete_post)"
    )
    assert text[3].startswith("in progress  Tue 24 Nov 2026 10:02 (2026-11-24T09:02Z)  delete cm2 ")
    assert text[4].startswith("done ")


async def test_failed_write_is_listed_as_not_done(connect_client, clock):
    """Hourly limits don't count it; the history lists it, at the time at which it was asked for."""
    async with connect_client() as connection:
        ledger = connection.runtime.app.ledger
        write = await ledger.begin_upload(tool="upload_media")
        clock.move(90)
        await ledger.finish(write, "not_done")
        assert (await read_lines(connection))[
            1
        ] == "not done     Tue 24 Nov 2026 09:02 (2026-11-24T08:02Z)  upload a file (upload_media)"


@pytest.fixture
def run_command(monkeypatch, tmp_path, capsys, logging_restored):
    """Run the command line over its own sandbox and return exit code, stdout and stderr."""
    monkeypatch.setenv("TTP_STATE_DIR", str(tmp_path / "cli"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("TTP_TIMEZONE", "UTC")
    for name in ("TTP_API_TOKEN", "TIMETOPOST_API_TOKEN", "TTP_API_TOKEN_FILE", "TTP_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        code = main(arguments)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def test_history_command_shows_a_limited_list_and_the_total(run_command):
    for text in ("One", "Two", "Three"):
        draft = json.dumps({"content": text, "account_ids": ["linkedin"]})
        assert run_command("call", "--sandbox", "create_post", draft)[0] == 0
    code, out, err = run_command("history", "--sandbox", "--json", "--limit", "2")
    assert (code, err, out.count("\n")) == (0, "", 1)
    history = json.loads(out)
    assert (history["total"], history["unknown"], len(history["writes"])) == (3, 0, 2)
    assert history["writes"][0]["accounts"] == ["linkedin «Harbor Café»"]
    code, out, _ = run_command("history", "--sandbox", "--limit", "2")
    assert code == 0
    assert out.startswith("3 writes, 2 of them shown, latest first; times in UTC.\n")
    assert json.loads(run_command("history", "--sandbox", "--json", "--since", "2099-01-01")[1])["total"] == 0


def test_history_command_reports_errors_in_one_line(run_command):
    """A time, the token, a number."""
    code, _, err = run_command("history", "--sandbox", "--since", "yesterday")
    assert code == 2
    assert err.startswith("ttp-mcp: --since: a time must be ISO 8601, for example ")
    code, out, err = run_command("history")
    assert (code, out) == (3, "")
    assert err == (
        "History not read: no API token is set. The history of a token needs that token. Run `ttp-mcp login`.\n"
    )
    with pytest.raises(SystemExit) as left:
        run_command("history", "--limit", "0")
    assert left.value.code == 2
