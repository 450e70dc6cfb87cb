"""A pytest plugin for `scripts/mutants.py`: run the tests first that killed a mutant of the same function, and end those that hang."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest

# Far more than a test takes on a busy machine.
TEST_SECONDS = 20
KILLED_EXIT_CODE, TIMEOUT_EXIT_CODE = 1, 36
# Tests that failed in this process.
_failed: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort by kills of mutants of this function, then by all kills, else as the files have them."""
    kills = [line.split(" ", 1) for line in _read_kills()]
    everywhere = Counter(test for _, test in kills)
    here = Counter(test for function, test in kills if function == _name_function())
    items.sort(key=lambda item: (-here[item.nodeid], -everywhere[item.nodeid]))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note which test killed the mutant."""
    if report.failed and _name_function():
        _failed.append(report.nodeid)
        with _path().open("a", encoding="utf-8") as file:
            file.write(f"{_name_function()} {report.nodeid}\n")


def pytest_runtest_logfinish(nodeid: str) -> None:
    """End the process after a test that failed: the end of pytest takes as long as a test. Its servers are ended by pytest."""
    if _failed and "ledger/store" not in nodeid:
        os._exit(KILLED_EXIT_CODE)


def pytest_runtest_setup() -> None:
    """Start the time limit of a test."""
    if _name_function():
        signal.signal(signal.SIGALRM, _end_process)
        signal.alarm(TEST_SECONDS)


def _end_process(*_: object) -> None:
    os._exit(TIMEOUT_EXIT_CODE)


def _name_function() -> str:
    """Return the function of the mutant; empty while mutmut looks which test runs which function."""
    return os.environ.get("MUTANT_UNDER_TEST", "").rpartition("__mutmut_")[0]


def _path() -> Path:
    return Path(os.environ["MUTANT_KILLS"])


def _read_kills() -> list[str]:
    return _path().read_text(encoding="utf-8").splitlines() if _path().exists() else []
