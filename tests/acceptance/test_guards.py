"""Row E5: every guard has a test that fails without it. A test that passes either way proves nothing."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.guards import CLUMSY, PROVEN, REMOVED

pytestmark = [pytest.mark.acceptance, pytest.mark.requirement("acceptance.e5")]

HERE = Path(__file__).parents[2]


def run_without(guards: list[str], folder: Path) -> dict[str, list[list[str]]]:
    """Run the tests of these guards in one process, each without its guard; return the failures and their causes."""
    report = folder / "report.json"
    tests = sorted({REMOVED[guard].test for guard in guards})
    environ = {**os.environ, "TTP_REMOVED": json.dumps(guards), "TTP_REMOVED_REPORT": str(report)}
    options = ["-p", "tests.acceptance.guards", "-p", "no:randomly", "-p", "no:cacheprovider", "--tb=no", "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=HERE,
        env={name: value for name, value in environ.items() if not name.startswith(("PYTEST_", "COV_CORE"))},
        capture_output=True,
        text=True,
        check=False,
    )
    # 1: the tests ran and some failed.
    assert done.returncode == 1, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(report.read_text(encoding="utf-8"))


def test_every_test_fails_without_its_guard(tmp_path):
    """The tests are those of the normal run, where they pass with the guard."""
    assert len({removal.test for removal in REMOVED.values()}) == len(REMOVED)
    failed = run_without(list(REMOVED), tmp_path)

    clumsy = {guard: seen for guard, seen in failed.items() if any(kind in CLUMSY for _, kind, _ in seen)}
    green = [guard for guard, seen in failed.items() if not seen]
    print(f"\nE5 guards={len(REMOVED) + len(PROVEN)} red={len(REMOVED) - len(green) + len(PROVEN)}")  # noqa: T201
    assert clumsy == {}
    assert green == []


@pytest.mark.parametrize("guard", PROVEN)
def test_every_proven_guard_has_its_test(guard):
    """Tests that remove their guard themselves exist and expect a failure."""
    path, _, name = PROVEN[guard].partition("::")
    tree = ast.parse((HERE / path).read_text(encoding="utf-8"))
    (found,) = [node for node in tree.body if getattr(node, "name", None) == name]
    assert isinstance(found, ast.FunctionDef | ast.AsyncFunctionDef)
    assert any(isinstance(node, ast.Assert | ast.With | ast.AsyncWith) for node in ast.walk(found))
