"""The examples of docs/tools.md, run one after the other over the demo workspace.

docs/examples.json holds them: `keep` names what a call returned, so that later calls can pass it on and answers show it; in an
answer `…` matches anything, and lines after the last one are not shown. `first` is a call that an example needs before it.
"""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import mcp_types as types
import pytest
from mcp.client import Client

from tests.support.media_files import build_png
from ttp_mcp.config import Settings
from ttp_mcp.factory import create_server
from ttp_mcp.sandbox import ManualClock, Sandbox
from ttp_mcp.tools import every_tool

pytestmark = pytest.mark.requirement("docs.examples")

DOCS = Path(__file__).parents[2] / "docs"
PNG = build_png(1080, 1350, padding=420_000)


def read_examples() -> dict[str, Any]:
    """The file of the examples."""
    return json.loads((DOCS / "examples.json").read_text(encoding="utf-8"))


def exchange_names(text: str, names: dict[str, str]) -> str:
    """A text with one kind of name in place of the other."""
    # The longest first: one URL can begin with another.
    for given in sorted(names, key=len, reverse=True):
        text = text.replace(given, names[given])
    return text


def is_match(shown: str, line: str) -> bool:
    """Whether a line is as it is printed."""
    return re.fullmatch(".*".join(re.escape(part) for part in shown.split("…")), line) is not None


def list_lines(text: str) -> list[str]:
    """The lines of an answer without what is random."""
    return re.sub(r"(</?text) [\w-]{22}>", r"\1>", text).splitlines()


async def test_examples_run_and_answer_as_they_are_printed(tmp_path):
    """In the order of the file, each building on those before it."""
    found = read_examples()
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "photo.png").write_bytes(PNG)
    settings = Settings(zone=ZoneInfo(found["zone"]), state_dir=tmp_path / "state", media_dirs=(folder,))
    with Sandbox(clock=ManualClock(datetime.fromisoformat(found["now"]))) as sandbox:
        runtime = create_server(settings, sandbox)
        real: dict[str, str] = {}
        try:
            async with Client(runtime.server) as client:
                answers = [await run_example(client, example, real) for example in found["examples"]]
        finally:
            await runtime.aclose()
    for example, lines in zip(found["examples"], answers, strict=True):
        assert example["answer"], lines
        wrong = [
            (shown, line) for shown, line in zip(example["answer"], lines, strict=False) if not is_match(shown, line)
        ]
        assert wrong == [], example["tool"]
        assert len(example["answer"]) <= len(lines)


async def run_example(client: Client, example: dict[str, Any], real: dict[str, str]) -> list[str]:
    """The answer of an example with the names of the documentation; `real` has what they stand for."""
    if "first" in example:
        await run_example(client, example["first"], real)
    arguments = json.loads(exchange_names(json.dumps(example["arguments"]), real))
    result = await client.call_tool(example["tool"], arguments)
    text = "\n".join(block.text for block in result.content if isinstance(block, types.TextContent))
    assert not result.is_error, text
    real |= {name: result.structured_content[field] for field, name in example.get("keep", {}).items()}
    return list_lines(exchange_names(text, {value: name for name, value in real.items()}))


def test_every_tool_has_one_example():
    """And there is none of a tool that is gone."""
    assert sorted(example["tool"] for example in read_examples()["examples"]) == sorted(
        tool.name for tool in every_tool()
    )


def test_examples_are_printed_in_the_documentation():
    """Where a reader looks for them."""
    page = (DOCS / "tools.md").read_text(encoding="utf-8")
    for example in read_examples()["examples"]:
        for line in example["answer"]:
            assert line in page, example["tool"]
