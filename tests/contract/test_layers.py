"""Client and sandbox implement the contract independently, so neither may import the other."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import ttp_mcp

pytestmark = pytest.mark.requirement("contract.apart")

PACKAGE = Path(ttp_mcp.__file__).parent


def list_imports(file: Path) -> Iterator[str]:
    """Return the modules that a file imports; relative imports aren't used here."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, file
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_within(name: str, package: str) -> bool:
    """Check whether a module is a package or in it."""
    return name == package or name.startswith(f"{package}.")


def find_reached(start: Path) -> set[str]:
    """Return our modules that files below a folder import, directly or through others."""
    found: set[str] = set()
    files = list(start.rglob("*.py"))
    while files:
        for name in list_imports(files.pop()):
            if is_within(name, "ttp_mcp") and name not in found:
                found.add(name)
                path = PACKAGE.parent.joinpath(*name.split("."))
                files += [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
    return found


def test_sandbox_imports_nothing_of_ours_outside_itself() -> None:
    """Every module that the sandbox imports is part of the sandbox."""
    assert [name for name in find_reached(PACKAGE / "sandbox") if not is_within(name, "ttp_mcp.sandbox")] == []


def test_client_imports_nothing_of_the_sandbox() -> None:
    """Neither directly nor through another module."""
    found = find_reached(PACKAGE / "api")
    assert [name for name in found if is_within(name, "ttp_mcp.sandbox")] == []
    assert "ttp_mcp.credentials.Token" in found
