"""Fixtures and settings for every test."""

import logging
import signal
import sys
import threading
from collections.abc import Iterator

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


@pytest.fixture
def anyio_backend() -> str:
    """All asynchronous tests run on asyncio, as the server does."""
    return "asyncio"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-snapshots` rewrites the files in tests/snapshots."""
    parser.addoption("--update-snapshots", action="store_true", help="renew the files in tests/snapshots")


@pytest.fixture(autouse=True)
def logging_stays_as_it_was() -> Iterator[None]:
    """Whoever sets up logging puts it back: another test reads what is logged."""
    before = _levels()
    yield
    changed = {name: (before[name], level) for name, level in _levels().items() if before.get(name, level) != level}
    for name, (level, _) in changed.items():
        logging.getLogger(name).setLevel(level)
    assert changed == {}


@pytest.fixture
def logging_put_back(logging_stays_as_it_was: None) -> Iterator[None]:
    """For tests that serve in this process: serving sets up logging for good, since its process ends with it."""
    root = logging.getLogger()
    handlers, level, levels = root.handlers.copy(), root.level, _levels()
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


def _levels() -> dict[str, int]:
    """The level of each logger that the HTTP client uses."""
    return {name: logging.getLogger(name).level for name in ("httpx2", "httpcore2", "httpx", "httpcore")}
