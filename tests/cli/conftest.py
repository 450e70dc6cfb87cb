"""Fixtures of the command line's tests."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring

from tests.processes import make_environment
from tests.support.windows import WINDOWS

# Only an installation has the program itself.
PROGRAM = [sys.executable, "-m", "ttp_mcp"] if WINDOWS else [str(Path(sys.executable).with_name("ttp-mcp"))]


@pytest.fixture(autouse=True)
def no_login(monkeypatch, tmp_path):
    """Give each test its own config folder and no keyring, so that it never finds the developer's login."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("TTP_PROFILE", raising=False)
    before = keyring.get_keyring()
    keyring.set_keyring(NoKeyring())
    yield
    keyring.set_keyring(before)


@contextmanager
def serve_sandbox(folder, *reset):
    """Serve a sandbox in its own process; yields `api_url` and `token`. `reset` are flags of `sandbox reset`."""
    run = {"env": make_environment(HOME=str(folder)), "text": True}
    if reset:
        subprocess.run(
            [*PROGRAM, "sandbox", "reset", "--yes", "--data", folder, *reset], check=True, capture_output=True, **run
        )
    command = [*PROGRAM, "sandbox", "serve", "--port", "0", "--json", "--data", folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, **run) as process:
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """A sandbox with the demo workspace, shared by a module's tests, which only read it."""
    with serve_sandbox(tmp_path_factory.mktemp("sandbox")) as facts:
        yield facts
