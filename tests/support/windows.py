"""Marks for tests that Windows can't run, with reasons, and checks that differ there."""

import os
import stat
import sys
from pathlib import Path

import pytest

WINDOWS = sys.platform == "win32"


def has_mode(path: Path, mode: int) -> bool:
    """Check a file's mode; Windows has none."""
    return WINDOWS or stat.S_IMODE(path.stat().st_mode) == mode


def skip_on_windows(reason: str) -> pytest.MarkDecorator:
    """Skip a test on Windows."""
    return pytest.mark.skipif(WINDOWS, reason=reason)


waits_for_pipes = skip_on_windows("the event loop of Windows can't wait for pipes")
needs_modes = skip_on_windows("Windows has no modes of files")
needs_fifos = skip_on_windows("Windows has no named pipes among files")
needs_links = skip_on_windows("Windows makes no links without a privilege")
needs_signals = skip_on_windows("Windows ends a process at a signal without running any of its code")
needs_parents = skip_on_windows("on Windows a process keeps the number of a parent that has ended")
needs_terminals = skip_on_windows("Windows has no pseudo-terminals of POSIX")
needs_descriptors = skip_on_windows("sockets and directories of Windows are not descriptors")
needs_posix_names = skip_on_windows("Windows has no such names")
needs_posix_paths = skip_on_windows("written as a POSIX path")
needs_moves = skip_on_windows("Windows can't move or remove a file that is open")
needs_root = pytest.mark.skipif(WINDOWS or os.geteuid() != 0, reason="only root can give a file away")
