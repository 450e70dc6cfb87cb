"""The contract, read once, and checks of requests and responses against it."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from jsonschema import Draft202012Validator, FormatChecker

from tests.support.workspaces import open_workspace
from ttp_mcp.sandbox import ManualClock, Sandbox

CONTRACT = Path(__file__).parents[2] / "contract" / "openapi.yaml"


@pytest.fixture(scope="session")
def contract() -> dict[str, Any]:
    """The document; tests must not change it."""
    return yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def resolve_reference(contract: dict[str, Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return an object of the document, or the target of its `$ref`."""

    def resolve(node: dict[str, Any]) -> dict[str, Any]:
        found: Any = contract
        if "$ref" not in node:
            return node
        for step in node["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        return found

    return resolve


@pytest.fixture(scope="session")
def operations(contract: dict[str, Any]) -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Return method, path and operation by operation id."""
    return {
        operation["operationId"]: (method.upper(), path, operation)
        for path, item in contract["paths"].items()
        for method, operation in item.items()
    }


@pytest.fixture(scope="session")
def list_violations(contract: dict[str, Any]) -> Callable[[dict[str, Any], object], list[str]]:
    """List the violations of a schema of the document by a value."""
    formats = FormatChecker()
    formats.checks("date-time", raises=ValueError)(is_instant)
    formats.checks("uri", raises=ValueError)(is_uri)

    def check(schema: dict[str, Any], value: object) -> list[str]:
        rooted = {**schema, "components": contract["components"]}
        validator = Draft202012Validator(rooted, format_checker=formats)
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]

    return check


def is_instant(value: object) -> bool:
    """Check for an ISO 8601 instant with an offset; the type is checked elsewhere."""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def is_uri(value: object) -> bool:
    """Check for an absolute URL."""
    return not isinstance(value, str) or all(urlsplit(value)[:2])


@pytest.fixture
def clock() -> ManualClock:
    """A manual clock on a Wednesday morning."""
    return ManualClock(datetime(2026, 6, 24, 9, 30, tzinfo=UTC))


@pytest.fixture
def sandbox(clock: ManualClock, tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox with the demo workspace."""
    with open_workspace(tmp_path / "sandbox", clock) as opened:
        yield opened
