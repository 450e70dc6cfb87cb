"""One-click links."""

import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest
from deep_links import cursor_link, vscode_link

pytestmark = pytest.mark.requirement("clients.links")


def parse_query(link):
    """The link's query as plain values."""
    return {name: values[0] for name, values in parse_qs(urlsplit(link).query).items()}


@pytest.mark.parametrize("sandbox", [False, True])
def test_cursor_link_decodes_to_the_entry(sandbox):
    """Cursor shows this entry and asks before it is added."""
    found = parse_query(cursor_link(sandbox=sandbox))
    entry = json.loads(base64.b64decode(found["config"], validate=True))
    assert found["name"] == "timetopost"
    assert entry == (
        {"command": "uvx", "args": ["ttp-mcp", "--sandbox"]}
        if sandbox
        else {"command": "uvx", "args": ["ttp-mcp"], "env": {"TTP_API_TOKEN": "${env:TTP_API_TOKEN}"}}
    )


def test_vscode_link_carries_the_prompt_for_the_token():
    """VS Code asks for what the entry refers to."""
    found = parse_query(vscode_link())
    (prompt,) = json.loads(found["inputs"])
    env = json.loads(found["config"])["env"]
    assert env == {"TTP_API_TOKEN": f"${{input:{prompt['id']}}}"}
    assert prompt["password"] is True


def test_vscode_link_to_the_sandbox_asks_for_nothing():
    """The sandbox needs no account."""
    found = parse_query(vscode_link(sandbox=True))
    assert json.loads(found["config"])["args"] == ["ttp-mcp", "--sandbox"]
    assert "inputs" not in found
