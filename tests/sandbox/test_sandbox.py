"""The `Sandbox` class as its users' tests use it."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import httpx2
import pytest

from tests.support.windows import needs_modes
from ttp_mcp.sandbox import ManualClock, Sandbox, StoredClock, StoreProblem
from ttp_mcp.sandbox.rest import tokens

pytestmark = pytest.mark.requirement("sandbox.embedded")

NOW = datetime(2026, 6, 24, 9, 30, tzinfo=UTC)


async def read_statuses(sandbox: Sandbox) -> dict[str, str]:
    """Id to status of every post, as the API tells it."""
    transport = httpx2.ASGITransport(sandbox.app)
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    async with httpx2.AsyncClient(transport=transport, base_url=sandbox.api_url, headers=headers) as client:
        return {post["id"]: post["status"] for post in (await client.get("/posts")).json()["posts"]}


async def test_moving_time_publishes_due_posts_without_waiting():
    """As in the docstring."""
    clock = ManualClock(NOW)
    with Sandbox(clock=clock) as sandbox:
        before = await read_statuses(sandbox)
        clock.move(2 * 24 * 3600)
        assert sandbox.tick() == 1
        after = await read_statuses(sandbox)
    changed = {(before[post], after[post]) for post in before if before[post] != after[post]}
    assert changed == {("scheduled", "published")}


async def test_concurrent_sandboxes_are_isolated():
    """Each has its own folder and token."""
    with Sandbox(clock=ManualClock(NOW), empty=True) as first, Sandbox(clock=ManualClock(NOW)) as second:
        assert first.folder != second.folder
        assert await read_statuses(first) == {}
        assert len(await read_statuses(second)) > 100
        assert tokens.verify_token(second.store, second.clock, first.token) is None


def test_temporary_folder_is_removed_and_a_given_one_stays(tmp_path):
    with Sandbox(clock=ManualClock(NOW)) as sandbox:
        temporary = sandbox.folder
        assert temporary.is_dir()
    assert not temporary.exists()
    with Sandbox(tmp_path / "data", clock=ManualClock(NOW)):
        pass
    assert (tmp_path / "data" / "sandbox.db").is_file()


def test_token_ends_with_its_opening(tmp_path):
    """It is created on first access only."""
    with Sandbox(tmp_path, clock=ManualClock(NOW), label="tests") as first:
        assert tokens.list_tokens(first.store) == []
        assert first.token == first.token
        (entry,) = tokens.list_tokens(first.store)
        assert entry["label"] == "tests"
    with Sandbox(tmp_path, clock=ManualClock(NOW)) as second:
        assert tokens.list_tokens(second.store) == []


def test_folder_has_one_shared_clock(tmp_path):
    """Moving it in one opening moves it in the other."""
    with Sandbox(tmp_path) as first, Sandbox(tmp_path) as second:
        assert isinstance(first.clock, StoredClock)
        first.stored_clock.stop_at(NOW)
        first.stored_clock.move(3600)
        assert second.clock.now() == NOW + timedelta(hours=1)


async def test_running_publishes_in_the_background_and_survives_a_failure(tmp_path, monkeypatch, caplog):
    """A momentarily full disk must not end the worker."""
    monkeypatch.setattr("ttp_mcp.sandbox.sandbox.TICK_SECONDS", 0.001)
    clock = ManualClock(NOW)
    with Sandbox(tmp_path, clock=clock) as sandbox:
        tick, failed, done = sandbox.scheduler.tick, anyio.Event(), anyio.Event()

        def failing_once() -> int:
            if not failed.is_set():
                anyio.from_thread.run_sync(failed.set)
                raise OSError(28, "No space left on device")
            anyio.from_thread.run_sync(done.set)
            return tick()

        monkeypatch.setattr(sandbox.scheduler, "tick", failing_once)
        clock.move(2 * 24 * 3600)
        with anyio.fail_after(5):
            async with sandbox.running() as running:
                assert running is sandbox
                await failed.wait()
                await done.wait()
        assert "scheduled" in (await read_statuses(sandbox)).values()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "The sandbox could not publish; it tries again."
    ]


def test_unusable_folder_is_not_left_half_open(tmp_path):
    """The error names the data file."""
    Path(tmp_path / "sandbox.db").write_bytes(b"this is no database, but long enough to look like one" * 100)
    with pytest.raises(StoreProblem, match="can't be opened as sandbox data"):
        Sandbox(tmp_path)


async def test_own_workspace_is_opened_at_the_tests_time(tmp_path):
    """One sandbox's export is another's start."""
    with Sandbox(clock=ManualClock(NOW)) as sandbox:
        Path(tmp_path / "workspace.json").write_text(sandbox.export(), encoding="utf-8")
        expected = await read_statuses(sandbox)
    with Sandbox(workspace=tmp_path / "workspace.json", clock=ManualClock(NOW + timedelta(days=99))) as other:
        assert await read_statuses(other) == expected
        assert other.tick() == 0


@needs_modes
def test_data_are_private_in_a_shared_folder(tmp_path):
    """The database and its log contain the key that signs uploads."""
    tmp_path.chmod(0o755)
    before = os.umask(0o022)
    try:
        with Sandbox(tmp_path):
            modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"sandbox.db": "0o600", "sandbox.db-wal": "0o600", "sandbox.db-shm": "0o600", "media": "0o700"}
