"""Every behaviour test names what it holds, and everything that is named is held."""

import ast
import tomllib
from pathlib import Path

TESTS = Path(__file__).parent


def list_requirements() -> dict[str, dict[str, str]]:
    """Requirement ids of all requirements files, with what must hold and its source."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(TESTS.rglob("requirements*.toml")):
        for name, facts in tomllib.loads(path.read_text(encoding="utf-8")).items():
            assert name not in found, f"{name} is described twice"
            found[name] = facts
    return found


def find_marks(path: Path) -> set[str]:
    """Requirement ids that the marks of a test module name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        argument.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "requirement"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }


def test_every_test_module_names_requirements_that_are_described_and_none_is_left_over():
    modules = [path for path in TESTS.rglob("test_*.py") if path != Path(__file__)]
    silent = [str(path.relative_to(TESTS)) for path in modules if not find_marks(path)]
    used = set().union(*(find_marks(path) for path in modules))
    assert silent == []
    assert used - list_requirements().keys() == set()
    assert list_requirements().keys() - used == set()


def test_every_requirement_says_what_holds_and_where_it_comes_from():
    incomplete = [
        name
        for name, facts in list_requirements().items()
        if not facts.get("holds", "").endswith(".")
        or not facts.get("source", "").startswith(("reference", "vendor", "decision", "assumption"))
    ]
    assert incomplete == []
