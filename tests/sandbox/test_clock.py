"""The sandbox's present: real, moved or stopped, and the same for every process over a folder."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from ttp_mcp.sandbox.clock import ManualClock, StoredClock, from_ms, to_iso, to_ms
from ttp_mcp.sandbox.store import Store

pytestmark = pytest.mark.requirement("sandbox.clock")

NOW = datetime(2026, 6, 24, 9, 30, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """New data."""
    with closing(Store(tmp_path / "sandbox.db")) as opened:
        yield opened


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """Replacement of the machine's clock."""
    found = ManualClock(NOW)
    monkeypatch.setattr(time, "time_ns", lambda: to_ms(found.now()) * 1_000_000)
    return found


def test_manual_clock_only_moves_when_it_is_moved() -> None:
    """In UTC, from any zone."""
    clock = ManualClock(NOW.astimezone(timezone(timedelta(hours=2))))
    assert (clock.now(), clock.now().tzinfo) == (NOW, UTC)
    clock.move(90.5)
    clock.move(-0.5)
    assert clock.now() == NOW + timedelta(seconds=90)


def test_stored_clock_follows_the_machine(store: Store, machine: ManualClock) -> None:
    """Unless it was moved."""
    clock = StoredClock(store)
    assert clock.now() == NOW
    machine.move(60)
    assert clock.now() == NOW + timedelta(minutes=1)


def test_moved_clock_runs_on_by_that_much(store: Store, machine: ManualClock) -> None:
    """Moves add up, also back."""
    clock = StoredClock(store)
    clock.move(3 * 3600)
    clock.move(-0.25)
    machine.move(60)
    assert clock.now() == NOW + timedelta(hours=3, minutes=1, seconds=-0.25)


def test_stopped_clock_can_be_moved(store: Store, machine: ManualClock) -> None:
    """It moves from the time at which it was stopped."""
    clock = StoredClock(store)
    clock.stop_at(NOW + timedelta(days=1))
    machine.move(60)
    assert clock.now() == NOW + timedelta(days=1)
    clock.move(3600)
    machine.move(60)
    assert clock.now() == NOW + timedelta(days=1, hours=1)


def test_clock_that_is_set_runs_on_from_there(store: Store, machine: ManualClock) -> None:
    """Also when it was stopped before."""
    clock = StoredClock(store)
    clock.stop_at(NOW)
    clock.set(NOW + timedelta(days=30))
    assert clock.now() == NOW + timedelta(days=30)
    machine.move(60)
    assert clock.now() == NOW + timedelta(days=30, minutes=1)


@pytest.mark.parametrize("stopped", [False, True])
def test_clock_can_be_made_real_again(store: Store, machine: ManualClock, stopped: bool) -> None:
    """Nothing of what was done to it is left."""
    clock = StoredClock(store)
    clock.move(3600)
    if stopped:
        clock.stop_at(NOW)
    clock.follow_machine()
    machine.move(60)
    assert clock.now() == NOW + timedelta(minutes=1)


def test_all_processes_over_a_folder_have_the_same_present(store: Store) -> None:
    """Moved in one, it is moved in the other at once."""
    clock = StoredClock(store)
    clock.stop_at(NOW)
    script = (
        "import sys, pathlib\n"
        "from ttp_mcp.sandbox.store import Store\n"
        "from ttp_mcp.sandbox.clock import StoredClock\n"
        "clock = StoredClock(Store(pathlib.Path(sys.argv[1])))\n"
        "for line in sys.stdin:\n"
        "    clock.move(float(line))\n"
        "    print(clock.now().isoformat(), flush=True)\n"
    )
    command = [sys.executable, "-c", script, str(store.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write("60\n")
        other.stdin.flush()
        assert other.stdout.readline().strip() == (NOW + timedelta(minutes=1)).isoformat()
        assert clock.now() == NOW + timedelta(minutes=1)
        clock.move(60)
        other.stdin.write("0\n")
        other.stdin.flush()
        assert other.stdout.readline().strip() == (NOW + timedelta(minutes=2)).isoformat()
        other.stdin.close()


def test_instants_are_kept_to_the_millisecond() -> None:
    """As the API writes them."""
    instant = NOW + timedelta(milliseconds=1)
    assert from_ms(to_ms(instant)) == instant
    assert to_iso(to_ms(instant)) == "2026-06-24T09:30:00.001Z"
    assert to_iso(None) is None


@pytest.mark.parametrize("milliseconds", [0, 1, 999, 1_782_293_400_001, 253_402_300_799_999, -1])
def test_conversion_to_an_instant_is_exact(milliseconds: int) -> None:
    """To the last day that a datetime holds."""
    instant = from_ms(milliseconds)
    assert instant.microsecond % 1000 == 0
    assert to_ms(instant) == milliseconds
