"""The `Sandbox` class in tests of its users."""

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


async def statuses(sandbox: Sandbox) -> dict[str, str]:
    """Id to status of every post, as the API tells it."""
    transport = httpx2.ASGITransport(sandbox.app)
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    async with httpx2.AsyncClient(transport=transport, base_url=sandbox.api_url, headers=headers) as client:
        return {post["id"]: post["status"] for post in (await client.get("/posts")).json()["posts"]}


async def test_time_is_moved_and_what_is_due_is_published_without_waiting():
    """As the docstring shows it."""
    clock = ManualClock(NOW)
    with Sandbox(clock=clock) as sandbox:
        before = await statuses(sandbox)
        clock.move(2 * 24 * 3600)
        assert sandbox.tick() == 1
        after = await statuses(sandbox)
    changed = {(before[post], after[post]) for post in before if before[post] != after[post]}
    assert changed == {("scheduled", "published")}


async def test_many_are_open_at_once_and_know_nothing_of_each_other():
    """Each has its own folder and token."""
    with Sandbox(clock=ManualClock(NOW), empty=True) as first, Sandbox(clock=ManualClock(NOW)) as second:
        assert first.folder != second.folder
        assert await statuses(first) == {}
        assert len(await statuses(second)) > 100
        assert tokens.verify_token(second.store, second.clock, first.token) is None


def test_a_temporary_folder_is_removed_and_a_given_one_stays(tmp_path):
    """Closing leaves nothing behind, and not more than was there."""
    with Sandbox(clock=ManualClock(NOW)) as sandbox:
        temporary = sandbox.folder
        assert temporary.is_dir()
    assert not temporary.exists()
    with Sandbox(tmp_path / "data", clock=ManualClock(NOW)):
        pass
    assert (tmp_path / "data" / "sandbox.db").is_file()


def test_the_token_of_an_opening_ends_with_it(tmp_path):
    """It is created on first access, and otherwise never."""
    with Sandbox(tmp_path, clock=ManualClock(NOW), label="tests") as first:
        assert tokens.list_tokens(first.store) == []
        assert first.token == first.token
        (entry,) = tokens.list_tokens(first.store)
        assert entry["label"] == "tests"
    with Sandbox(tmp_path, clock=ManualClock(NOW)) as second:
        assert tokens.list_tokens(second.store) == []


def test_without_a_clock_the_folder_has_one_for_all_who_open_it(tmp_path):
    """Moved in one opening, it is moved in the other."""
    with Sandbox(tmp_path) as first, Sandbox(tmp_path) as second:
        assert isinstance(first.clock, StoredClock)
        first.stored_clock.stop_at(NOW)
        first.stored_clock.move(3600)
        assert second.clock.now() == NOW + timedelta(hours=1)


async def test_running_publishes_in_the_background_and_survives_a_failure(tmp_path, monkeypatch, caplog):
    """A disk that is full for a moment must not end the worker."""
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
        assert "scheduled" in (await statuses(sandbox)).values()
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "The sandbox could not publish; it tries again."
    ]


def test_a_folder_that_can_not_be_used_is_not_left_half_open(tmp_path):
    """The file of the data is named."""
    Path(tmp_path / "sandbox.db").write_bytes(b"this is no database, but long enough to look like one" * 100)
    with pytest.raises(StoreProblem, match="can't be opened as sandbox data"):
        Sandbox(tmp_path)


async def test_a_workspace_of_ones_own_is_opened_at_the_time_of_the_test(tmp_path):
    """What one sandbox exported, another begins with."""
    with Sandbox(clock=ManualClock(NOW)) as sandbox:
        Path(tmp_path / "workspace.json").write_text(sandbox.export(), encoding="utf-8")
        expected = await statuses(sandbox)
    with Sandbox(workspace=tmp_path / "workspace.json", clock=ManualClock(NOW + timedelta(days=99))) as other:
        assert await statuses(other) == expected
        assert other.tick() == 0


@needs_modes
def test_data_in_a_folder_that_others_may_read_are_readable_by_their_owner_alone(tmp_path):
    """The database holds the key that signs uploads; the log beside it holds the same."""
    tmp_path.chmod(0o755)
    before = os.umask(0o022)
    try:
        with Sandbox(tmp_path):
            modes = {path.name: oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"sandbox.db": "0o600", "sandbox.db-wal": "0o600", "sandbox.db-shm": "0o600", "media": "0o700"}
