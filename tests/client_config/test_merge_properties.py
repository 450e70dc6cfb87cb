"""Properties of the two editors over generated files."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttp_mcp.client_config.clients import CLIENTS, Launch
from ttp_mcp.client_config.jsonc import drop_member, put_member, read_object
from ttp_mcp.client_config.merge import merge_entry, remove_entry

ZED = next(client for client in CLIENTS if client.name == "zed")
CODEX = next(client for client in CLIENTS if client.name == "codex")
LAUNCH = Launch("/opt/bin/ttp-mcp")

NAMES = st.text('abcdé \\"/*', min_size=1, max_size=6)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), NAMES, st.just("// not a comment"))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
SPACE = st.sampled_from(["", " ", "\n", "\n\t", ' // c " { ,\n', " /* c } */ ", "\n  // d\n  "])


@st.composite
def jsonc_files(draw):
    """A file with comments and blank space wherever the format allows them, and perhaps trailing commas."""

    def item(key, value):
        name = "" if key is None else json.dumps(key, ensure_ascii=False) + draw(SPACE) + ":" + draw(SPACE)
        return draw(SPACE) + name + text(value)

    def text(value):
        if not isinstance(value, dict | list) or not value:
            return json.dumps(value, ensure_ascii=False)
        pairs = value.items() if isinstance(value, dict) else [(None, each) for each in value]
        opening, closing = "{}" if isinstance(value, dict) else "[]"
        body = ",".join(item(key, each) + draw(SPACE) for key, each in pairs)
        return opening + body + draw(st.sampled_from(["", ",", ",\n"])) + draw(SPACE) + closing

    document = draw(st.dictionaries(NAMES, VALUES, max_size=4))
    if draw(st.booleans()):
        document["context_servers"] = draw(st.dictionaries(NAMES, VALUES, min_size=1, max_size=3))
    return draw(SPACE) + text(document) + draw(SPACE)


@pytest.mark.requirement("clients.remove.restores")
@given(jsonc_files())
def test_merge_then_remove_restores_every_generated_jsonc_file(text):
    """Whatever the layout, undoing gives the very same bytes."""
    merged = merge_entry(ZED, text, LAUNCH)
    assert read_object(merged)["context_servers"]["timetopost"]["command"] == "/opt/bin/ttp-mcp"
    assert remove_entry(ZED, merged) == text


@pytest.mark.requirement("clients.merge.keeps")
@given(jsonc_files(), NAMES, VALUES)
def test_put_changes_one_member_of_a_generated_file(text, key, value):
    """Reading the edited text gives the old document with that one member set."""
    assert read_object(put_member(text, (key,), value)) == read_object(text) | {key: value}


@pytest.mark.requirement("clients.merge.keeps")
@given(jsonc_files())
def test_drop_of_a_member_that_is_missing_returns_the_same_text(text):
    """No member, no change."""
    assert drop_member(text, ("no", "such", "member")) == text


LINES = st.lists(
    st.sampled_from(
        [
            "",
            "# comment [x]",
            '{key} = "[a] # b"',
            "{key} = [\n  1, # one\n  2,\n]",
            '{key} = """\n[not a table]\n"""',
            "{key} = '''it's\n[neither]'''",
            "[table.{key}]  # header",
            "[mcp_servers.{key}]\ncommand = 'x'",
            "[[list.{key}]]\na = {{ b = 1 }}",
            "   ",
        ]
    ),
    max_size=8,
)


@pytest.mark.requirement("clients.remove.restores")
@given(LINES, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_merge_then_remove_restores_every_generated_toml_file(lines, newline, ends):
    """The same for TOML, with and without a last line break."""
    text = "\n".join(line.format(key=f"k{number}") for number, line in enumerate(lines))
    text = (text + "\n" * (ends and bool(lines))).replace("\n", newline)
    merged = merge_entry(CODEX, text, LAUNCH)
    assert merge_entry(CODEX, merged, LAUNCH) == merged
    assert remove_entry(CODEX, merged) == text
