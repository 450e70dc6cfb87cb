"""What clients see of each tool, byte for byte; `just snapshots` updates it. Read the diff as an agent would."""

import hashlib
import json
from pathlib import Path

import pytest

from ttp_mcp.server.instructions import INSTRUCTIONS, SANDBOX_NOTE
from ttp_mcp.server.rendering import render_tool
from ttp_mcp.tools import every_tool

pytestmark = pytest.mark.requirement("tools.snapshots")

FOLDER = Path(__file__).parents[1] / "snapshots"
DIGEST = "digest.txt"


def list_snapshots() -> dict[str, str]:
    """Return every snapshot file with its expected text, tools in listed order."""
    found = {f"tools/{tool.name}.json": format_schema(tool) for tool in every_tool()} | {
        "instructions.txt": INSTRUCTIONS
    }
    digest = hashlib.sha256("".join(f"{name}\n{text}\n" for name, text in found.items()).encode()).hexdigest()
    return found | {DIGEST: f"sha256 {digest}\n"}


def format_schema(tool) -> str:
    """Return a tool as clients see it, formatted for people."""
    described = render_tool(tool).model_dump(mode="json", by_alias=True, exclude_none=True)
    return json.dumps(described, ensure_ascii=False, indent=2) + "\n"


@pytest.fixture
def is_update(request) -> bool:
    """Whether to write instead of comparing."""
    return request.config.getoption("--update-snapshots")


@pytest.mark.parametrize("name", list(list_snapshots()))
def test_clients_see_the_reviewed_snapshots(name, is_update):
    """A changed description changes what agents do, so it must not change by accident."""
    path = FOLDER / name
    if is_update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(list_snapshots()[name].encode())
    assert path.read_bytes().decode() == list_snapshots()[name], "review the difference, then: just snapshots"


def test_every_snapshot_belongs_to_a_tool(is_update):
    there = {path.relative_to(FOLDER).as_posix(): path for path in FOLDER.rglob("*") if path.is_file()}
    for name in there.keys() - list_snapshots().keys() if is_update else ():
        there.pop(name).unlink()
    assert there.keys() <= list_snapshots().keys()


async def test_snapshots_match_the_protocol(agent):
    """In the same order."""
    listed = (await agent.client.list_tools()).tools
    shown = [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in listed]
    assert shown == [json.loads(format_schema(tool)) for tool in every_tool()]
    assert agent.client.instructions == f"{SANDBOX_NOTE}\n{INSTRUCTIONS}"
