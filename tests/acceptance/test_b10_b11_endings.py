"""Rows B10 and B11: every way to end with writes in flight, and a stderr that nobody reads."""

import os
import random
import signal
import subprocess
import time

import pytest

from tests.server.stdio_fixture import call, line, lost_writes, process, text_of

pytestmark = pytest.mark.acceptance

FULL = os.environ.get("TTP_ACCEPTANCE") == "full"
SEED = int(os.environ.get("TTP_SEED", "20261124"))
ROUNDS = 50 if FULL else 10
WRITES = 3


def close_input(peer):
    peer.process.stdin.close()


def terminate(peer):
    peer.process.send_signal(signal.SIGTERM)


def interrupt(peer):
    peer.process.send_signal(signal.SIGINT)


def break_output(peer):
    """The server notices at its next answer."""
    peer.process.stdout.close()
    peer.send(call("last", "read"))


def end_once(path, ending, chance):
    """Begin some writes, end at a random moment, and say what came of it."""
    with process(path) as peer:
        writes = [call(number, "write", number=number, seconds=chance.uniform(0.05, 0.6)) for number in range(WRITES)]
        # The end of input waits for reads too; every other end lets go of them.
        peer.send(*writes, call("read", "slow_read", seconds=0.6 if ending is close_input else 30))
        # Until the first write is under way; then a random part of its time.
        begun_by = time.monotonic() + 30
        while not path.exists():
            assert time.monotonic() < begun_by
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.5))
        started = time.monotonic()
        ending(peer)
        begun = {int(entry.split()[1]) for entry in path.read_text().splitlines() if entry.startswith("begun")}
        answered = set()
        if ending is not break_output:
            answered = {number for number in begun if text_of(peer.answer(number)) == f"written {number}"}
        code = peer.wait()
        seconds = time.monotonic() - started
        stderr = peer.process.stderr.read()
    return begun, answered, code, seconds, stderr


@pytest.mark.requirement("acceptance.b10")
@pytest.mark.parametrize("ending", [close_input, terminate, interrupt, break_output])
def test_every_end_leaves_each_write_with_an_outcome_and_code_0(tmp_path, ending):
    """Writes are answered where somebody can hear it, and no traceback is written."""
    chance = random.Random(f"{SEED} {ending.__name__}")
    begun_in_all, answered_in_all, longest = 0, 0, 0.0
    for number in range(ROUNDS):
        path = tmp_path / f"outcomes-{number}"
        begun, answered, code, seconds, stderr = end_once(path, ending, chance)
        assert (code, stderr) == (0, b""), f"round {number}, seed {SEED}"
        assert lost_writes(path) == set(), f"round {number}, seed {SEED}"
        assert answered == (set() if ending is break_output else begun), f"round {number}, seed {SEED}"
        begun_in_all += len(begun)
        answered_in_all += len(answered)
        longest = max(longest, seconds)
    print(  # noqa: T201 - each row prints its counts
        f"\nB10 {ending.__name__}: {ROUNDS} ends, seed {SEED}, {begun_in_all} writes begun, 0 without outcome, "
        f"{answered_in_all} answered, longest end {longest:.2f} s"
    )
    assert longest <= 10.5


@pytest.mark.requirement("acceptance.b10")
@pytest.mark.parametrize("ending", [terminate, interrupt, break_output])
def test_without_the_drain_writes_are_lost(tmp_path, ending):
    """The guard removed: with no time to drain, what was in flight has no outcome."""
    path = tmp_path / "outcomes"
    with process(path, "--drain", "0") as peer:
        peer.send(call(1, "write", number=1, seconds=20))
        while not path.exists():
            time.sleep(0.001)
        ending(peer)
        assert peer.wait() == 0
    print(f"\nB10 without the drain, {ending.__name__}: {len(lost_writes(path))} of 1 write lost")  # noqa: T201
    assert lost_writes(path) == {"1"}


def answered_calls(peer, calls, tool, patience):
    """How many of so many calls, 50 at a time, are answered before one is not; and the seconds that each 50 took."""
    seconds = []
    for start in range(0, calls, 50):
        numbers = range(start, min(start + 50, calls))
        begun = time.monotonic()
        peer.send(b"".join(line(call(number, tool)) for number in numbers))
        for number in numbers:
            try:
                peer.answer(number, patience)
            except AssertionError:
                return number, seconds
        seconds.append(time.monotonic() - begun)
    return calls, seconds


def slowest_hundredth(seconds):
    """The 99th percentile."""
    return sorted(seconds)[len(seconds) * 99 // 100]


@pytest.mark.requirement("acceptance.b11")
def test_ten_thousand_calls_are_answered_while_nobody_reads_stderr(tmp_path):
    """At DEBUG, with a warning of 200 bytes for each call; beside it, for the figures, a stderr that is always read."""
    calls = 10_000
    with process(tmp_path / "o", "--level", "DEBUG", stderr=subprocess.DEVNULL) as peer:
        _, read = answered_calls(peer, calls, "noisy", 30)
    with process(tmp_path / "o", "--level", "DEBUG") as peer:
        answered, unread = answered_calls(peer, calls, "noisy", 30)
        peer.process.stdin.close()
        code = peer.wait()
        kept = len(peer.process.stderr.read())
    print(  # noqa: T201 - each row prints its counts
        f"\nB11: {answered} of {calls} calls answered, {kept} bytes in the pipe that nobody read, exit {code}; "
        f"p99 of 50 calls {slowest_hundredth(unread) * 1000:.0f} ms, {slowest_hundredth(read) * 1000:.0f} ms when read"
    )
    assert answered == calls
    assert code == 0


@pytest.mark.requirement("acceptance.b11")
def test_a_log_that_waits_for_its_reader_stops_the_server(tmp_path):
    """The guard removed: with an ordinary handler the calls stop once the pipe is full."""
    calls = 1_000
    with process(tmp_path / "o", "--blocking-log") as peer:
        answered, _ = answered_calls(peer, calls, "noisy", 3)
    print(f"\nB11 with a handler that waits: {answered} of {calls} calls answered")  # noqa: T201
    assert answered < calls
