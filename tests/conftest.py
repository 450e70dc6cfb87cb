"""Fixtures and settings for every test."""

import gc
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import settings

# No time limit for an example: the machine may be busy, and a test must not know.
settings.register_profile("here", deadline=None)
settings.load_profile("here")
# A shell's nohup and its `&` have these ignored, and the programs that tests start would inherit that.
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

MEMORY = Path("/dev/shm")
FREE_BYTES = 2 << 30


def keep_files_in_memory() -> None:
    """Put temporary files into memory: on a disk each of the many thousand transactions waits for it."""
    is_asked = "TMPDIR" not in os.environ and sys.platform != "win32"  # Wine shows the folder of Linux
    if is_asked and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > FREE_BYTES:
        tempfile.tempdir = os.environ["TMPDIR"] = str(MEMORY)


keep_files_in_memory()


@pytest.fixture
def anyio_backend() -> str:
    """All asynchronous tests run on asyncio, as the server does."""
    return "asyncio"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-snapshots` rewrites the files in tests/snapshots."""
    parser.addoption("--update-snapshots", action="store_true", help="renew the files in tests/snapshots")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the tests that take seconds, so that no process is left with one of them when the others have ended."""
    items.sort(key=lambda item: not (item.get_closest_marker("acceptance") or item.get_closest_marker("browser")))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Use one process more than there are processors: some tests mostly wait."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    """Let a process that has ended take over tests of another: modules stay whole, and so do their servers and browsers."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getoption("dist") == "load" else None


def pytest_collection_finish() -> None:
    """Keep what is loaded by now out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def schemas_checked_once() -> Iterator[None]:
    """Check each tool's output schema once: every client of the SDK does it again, and tests make thousands of clients."""
    validator = jsonschema.Draft202012Validator
    before, check = validator.__dict__["check_schema"], validator.check_schema

    @cache
    def check_text(text: str) -> None:
        check(json.loads(text))

    validator.check_schema = lambda schema, *_: check_text(json.dumps(schema))
    yield
    validator.check_schema = before


@pytest.fixture(autouse=True)
def logging_unchanged() -> Iterator[None]:
    """Whoever sets up logging puts it back: another test reads what is logged."""
    before = _read_levels()
    yield
    changed = {
        name: (before[name], level) for name, level in _read_levels().items() if before.get(name, level) != level
    }
    for name, (level, _) in changed.items():
        logging.getLogger(name).setLevel(level)
    assert changed == {}


@pytest.fixture
def logging_restored(logging_unchanged: None) -> Iterator[None]:
    """For tests that serve in this process: serving sets up logging for good, since its process ends with it."""
    root = logging.getLogger()
    handlers, level, levels = root.handlers.copy(), root.level, _read_levels()
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook
    yield
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def _read_levels() -> dict[str, int]:
    """The level of each logger that the HTTP client uses."""
    return {name: logging.getLogger(name).level for name in ("httpx2", "httpcore2", "httpx", "httpcore")}
