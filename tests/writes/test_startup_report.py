"""The startup report: unfinished writes of earlier processes, in the log of a new one."""

import asyncio
import logging
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ttp_mcp.api import Post
from ttp_mcp.ledger.ledger import Ledger
from ttp_mcp.ledger.records import Write, scope_of
from ttp_mcp.ledger.store.sqlite import SqliteStore
from ttp_mcp.writes import startup_report

pytestmark = pytest.mark.requirement("ledger.reported-at-start")


def list_warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the logged warnings in order."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


async def test_report_is_empty_without_unfinished_writes(harness, caplog: pytest.LogCaptureFixture) -> None:
    """A finished write and a missing ledger log nothing."""
    await harness.writes.create(harness.post(), tool="create_post")
    await startup_report.report_unfinished_writes(harness.ledger, sleep=harness.time.sleep)

    assert list_warnings(caplog) == []


async def test_open_write_is_reported_at_once_and_again_once_its_process_has_ended(harness, caplog) -> None:
    """Each check logs only new findings. A write that began after the start is this process's own."""
    early = await harness.ledger.begin_create(harness.post("Early"), tool="create_post")
    assert isinstance(early, Write)
    harness.time.clock.move(100)
    await harness.ledger.begin_delete("cm1", None, tool="delete_post")
    await harness.ledger.replacements.begin("cm2", harness.post("New"))
    new = await harness.ledger.begin_create(harness.post("New"), tool="reschedule_post", replaces="cm2")
    await harness.ledger.finish(new, "created", Post({"id": "cm3"}))
    harness.time.clock.move(1)
    await harness.ledger.begin_delete("own", None, tool="delete_post")

    await startup_report.report_unfinished_writes(harness.ledger, sleep=harness.time.sleep)

    assert [line.removesuffix(". check_setup says more.") for line in list_warnings(caplog)] == [
        (
            "2 writes are unfinished: a delete of 2026-11-24T10:01:40.000Z (cm1) is still open; "
            "a create of 2026-11-24T10:00:00.000Z (create_post) may have happened"
        ),
        "One write is unfinished: a delete of 2026-11-24T10:01:40.000Z (cm1) may have happened",
        "One write is unfinished: cm2 was being replaced at 2026-11-24T10:01:40.000Z, cm3 was created for it, both may exist",
    ]
    assert "Early" not in caplog.text


async def test_many_unfinished_writes_are_one_line(harness, caplog) -> None:
    """Ten of 13 are named, newest first, so the replacement isn't."""
    await harness.ledger.replacements.begin("cm0", harness.post("New"))
    for number in range(12):
        await harness.ledger.begin_delete(f"cm{number}", None, tool="delete_post")
    harness.time.clock.move(timedelta(hours=1).total_seconds())

    await startup_report.report_unfinished_writes(harness.ledger, sleep=harness.time.sleep)

    (line,) = list_warnings(caplog)
    assert line.startswith("13 writes are unfinished: a delete of ")
    assert line.count("; ") == 9
    assert "a replacement may have been created" not in line


async def test_replacement_without_a_create_is_reported(harness, caplog) -> None:
    """The crash was before or during the create."""
    await harness.ledger.replacements.begin("cm0", harness.post("New"))
    harness.time.clock.move(timedelta(hours=1).total_seconds())

    await startup_report.report_unfinished_writes(harness.ledger, sleep=harness.time.sleep)

    assert (
        "cm0 was being replaced at 2026-11-24T10:00:00.000Z, a replacement may have been created"
        in list_warnings(caplog)[0]
    )


@pytest.mark.parametrize(("length", "shown"), [(60, "{0}" * 60), (61, "{0}" * 59 + "…")])
async def test_ids_are_cut_to_60_characters(harness, caplog, length: int, shown: str) -> None:
    """They are what an agent or the API made up."""
    deleted, old, new = (letter * length for letter in "don")
    await harness.ledger.begin_delete(deleted, None, tool="delete_post")
    await harness.ledger.replacements.begin(old, harness.post("New"))
    write = await harness.ledger.begin_create(harness.post("New"), tool="reschedule_post", replaces=old)
    await harness.ledger.finish(write, "created", Post({"id": new}))
    harness.time.clock.move(timedelta(hours=1).total_seconds())

    await startup_report.report_unfinished_writes(harness.ledger, sleep=harness.time.sleep)

    deleted, old, new = (shown.format(letter) for letter in "don")
    (line,) = list_warnings(caplog)
    assert line == (
        f"2 writes are unfinished: a delete of 2026-11-24T10:00:00.000Z ({deleted}) may have happened; {old} was being replaced "
        f"at 2026-11-24T10:00:00.000Z, {new} was created for it, both may exist. check_setup says more."
    )


async def test_ledger_that_cannot_be_read_is_left_to_the_first_write(tmp_path: Path, harness, caplog) -> None:
    """Nothing is logged, since reads don't need the ledger."""
    (tmp_path / "ledger.db").write_bytes(b"no database at all, but long enough to be one" * 100)
    state = SqliteStore(tmp_path)
    await startup_report.report_unfinished_writes(Ledger(state, "one"), sleep=harness.time.sleep)
    await state.aclose()

    assert list_warnings(caplog) == []


async def test_failed_check_does_not_stop_later_ones(tmp_path: Path, harness, caplog) -> None:
    """The file is damaged at the first check and repaired by the second."""
    await harness.ledger.begin_delete("cm1", None, tool="delete_post")
    await harness.state.aclose()
    harness.time.clock.move(timedelta(hours=1).total_seconds())
    whole = harness.state.path.rename(tmp_path / "whole")
    harness.state.path.write_bytes(b"no database at all, but long enough to be one" * 100)

    async def sleep(seconds: float) -> None:
        if seconds == startup_report.WAITS_SECONDS[1]:
            whole.replace(harness.state.path)
        await harness.time.sleep(seconds)

    await startup_report.report_unfinished_writes(harness.ledger, sleep=sleep)

    (line,) = list_warnings(caplog)
    assert "a delete of 2026-11-24T10:00:00.000Z (cm1) may have happened" in line


async def test_server_logs_the_report_to_stderr(tmp_path: Path) -> None:
    """The line appears shortly after the start of the program over stdio, without a call."""
    state = SqliteStore(tmp_path)
    url = "https://api.example/api"
    past = datetime.now(UTC) - timedelta(hours=1)
    await Ledger(state, scope_of(url, None, None), lambda: past).begin_delete("cm1", None, tool="delete_post")
    await state.aclose()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("TTP_", "TIMETOPOST_"))}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ttp_mcp"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environ, "TTP_STATE_DIR": str(tmp_path), "TTP_API_URL": url},
    )
    assert process.stderr
    try:
        line = await asyncio.wait_for(process.stderr.readline(), 300)
    finally:
        await asyncio.wait_for(process.communicate(b""), 300)

    assert b"WARNING ttp_mcp.writes.startup_report: One write is unfinished: a delete of " in line
