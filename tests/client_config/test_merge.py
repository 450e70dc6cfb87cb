"""Adding this server to a client's file and taking it out again."""

import json
import tomllib
from contextlib import nullcontext
from dataclasses import replace

import pytest

from ttp_mcp.client_config.clients import CLIENTS, Launch, find_client
from ttp_mcp.client_config.entry import has_literal_token, list_duplicates, new_entry
from ttp_mcp.client_config.jsonc import InvalidFile
from ttp_mcp.client_config.merge import merge_entry, remove_entry, render_settings

BY_NAME = {client.name: client for client in CLIENTS}
LAUNCH = Launch("/opt/bin/ttp-mcp")
LOGGED_IN = Launch("/opt/bin/ttp-mcp", logged_in=True)
PROFILE = Launch("/opt/bin/ttp-mcp", profile="brand-a")
SANDBOX = Launch("/opt/bin/ttp-mcp", sandbox=True)
ZED = """\
// My Zed settings
{
  "theme": "One Dark", // dark
  /* servers */
  "context_servers": {
    "other": { "command": "x" }, // keep me
  },
}
"""
CODEX = """\
# My settings
model = "gpt-5"   # fast

[mcp_servers.other]
command = "x" # keep me
args = [
  "[not.a.header]", # nor this
]
"""


@pytest.mark.requirement("clients.merge.keeps")
def test_merge_into_zed_keeps_comments_and_trailing_commas():
    """The whole file, as a person would see it afterwards."""
    assert merge_entry(BY_NAME["zed"], ZED, LAUNCH) == ZED.replace(
        "// keep me\n",
        """// keep me
    "timetopost": {
      "command": "/opt/bin/ttp-mcp",
      "args": []
    },
""",
    )


@pytest.mark.requirement("clients.merge.keeps")
def test_merge_into_codex_adds_one_table_at_the_end():
    """TOML tables can stand anywhere, so the end is the place that touches nothing."""
    assert merge_entry(BY_NAME["codex"], CODEX, LAUNCH) == CODEX + (
        "\n[mcp_servers.timetopost]\n"
        'command = "/opt/bin/ttp-mcp"\n'
        "args = []\n"
        'env_vars = ["TTP_API_TOKEN"]\n'
        "startup_timeout_sec = 30\n"
    )


@pytest.mark.requirement("clients.merge.keeps")
def test_merge_into_vscode_adds_a_password_prompt_beside_other_inputs():
    """VS Code asks for the token and keeps it; other people's prompts stay."""
    before = '{\n\t"servers": {},\n\t"inputs": [\n\t\t{ "id": "other" } // mine\n\t]\n}\n'
    after = merge_entry(BY_NAME["vscode"], before, LAUNCH)
    assert '{ "id": "other" }, // mine\n\t\t{\n\t\t\t"type": "promptString"' in after
    assert '"TTP_API_TOKEN": "${input:timetopost-api-token}"' in after
    assert remove_entry(BY_NAME["vscode"], after) == before.replace('\n\t"servers": {},', "")


@pytest.mark.requirement("clients.merge.keeps")
def test_merge_updates_the_command_and_keeps_what_the_person_added():
    """A second install after moving the program must not undo the person's own changes."""
    text = merge_entry(BY_NAME["cursor"], "{}", LAUNCH)
    text = text.replace('"args"', '"disabled": true, // for now\n      "args"').replace(
        '"env": {', '"env": {\n        "TTP_TIMEZONE": "Europe/Paris",'
    )
    moved = merge_entry(BY_NAME["cursor"], text, Launch("/new/ttp-mcp"))
    assert moved == text.replace("/opt/bin/", "/new/")


@pytest.mark.requirement("clients.merge.keeps")
def test_merge_with_sandbox_takes_out_the_way_to_the_token_only():
    """The sandbox needs no token; a folder that was allowed stays allowed."""
    launch = Launch("/opt/bin/ttp-mcp", media_dirs="/home/ada/Pictures")
    text = merge_entry(BY_NAME["cursor"], merge_entry(BY_NAME["cursor"], "{}", launch), SANDBOX)
    assert json.loads(text)["mcpServers"]["timetopost"] == {
        "command": "/opt/bin/ttp-mcp",
        "args": ["--sandbox"],
        "env": {"TTP_MEDIA_DIRS": "/home/ada/Pictures"},
    }


@pytest.mark.requirement("clients.merge.keeps")
@pytest.mark.parametrize("env", ['env = { TTP_API_TOKEN_FILE = "/t", MINE = "1" } # c', None])
def test_merge_with_sandbox_into_codex_keeps_other_variables(env):
    """Codex files hold variables inline, or in a table of their own when `codex mcp add` wrote them."""
    table = '\n[mcp_servers.timetopost.env]\nTTP_API_TOKEN_FILE = "/t"\nMINE = "1" # c\n'
    body = '[mcp_servers.timetopost]\ncommand = "old"\nargs = []\nenv_vars = ["TTP_API_TOKEN"]\n'
    after = merge_entry(BY_NAME["codex"], body + (f"{env}\n" if env else table), SANDBOX)
    assert tomllib.loads(after)["mcp_servers"]["timetopost"] == {
        "command": "/opt/bin/ttp-mcp",
        "args": ["--sandbox"],
        "env": {"MINE": "1"},
    }
    assert "# c" in after


@pytest.mark.requirement("clients.merge.keeps")
def test_merge_into_codex_returns_from_the_sandbox_to_the_real_api():
    """The way to the token comes back."""
    sandbox = merge_entry(BY_NAME["codex"], CODEX, SANDBOX)
    entry = tomllib.loads(merge_entry(BY_NAME["codex"], sandbox, LAUNCH))["mcp_servers"]["timetopost"]
    assert entry["args"] == []
    assert entry["env_vars"] == ["TTP_API_TOKEN"]
    assert "env" not in entry
    assert "env" not in tomllib.loads(sandbox)["mcp_servers"]["timetopost"]


@pytest.mark.requirement("clients.merge.keeps")
def test_merge_into_codex_drops_an_empty_table_of_variables():
    """What only led to the token goes with it."""
    filled = '[mcp_servers.timetopost]\ncommand = "x"\nargs = []\nenv = { TTP_API_TOKEN_FILE = "/t" }\n'
    text = merge_entry(BY_NAME["codex"], filled, SANDBOX)
    assert "env" not in tomllib.loads(text)["mcp_servers"]["timetopost"]


@pytest.mark.requirement("clients.merge.idempotent")
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
@pytest.mark.parametrize("launch", [LAUNCH, SANDBOX], ids=["api", "sandbox"])
def test_merge_twice_equals_merge_once(client, launch):
    """The second run finds nothing to do."""
    once = merge_entry(client, "", launch)
    assert merge_entry(client, once, launch) == once


@pytest.mark.requirement("clients.remove.restores")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("zed", ZED),
        ("codex", CODEX),
        ("codex", CODEX.rstrip("\n")),
        ("codex", CODEX.replace("\n", "\r\n")),
        ("codex", ""),
        ("cursor", "{}"),
        ("cursor", '{"mcpServers": {"other": {"command": "x"}}}'),
        ("cursor", '{"a": 1 // c\n}'),
        ("cursor", '{\r\n  "a": 1\r\n}\r\n'),
        ("gemini", "{\n  // nothing yet\n}\n"),
        ("vscode", '{\n\t"servers": {\n\t\t"a": {}\n\t}\n}'),
    ],
)
def test_merge_then_remove_gives_back_the_original_bytes(name, text):
    """Installing leaves no trace once undone."""
    merged = merge_entry(BY_NAME[name], text, LAUNCH)
    assert merged != text
    assert remove_entry(BY_NAME[name], merged) == text


@pytest.mark.requirement("clients.remove.restores")
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_remove_of_a_server_that_is_not_there_changes_nothing(client):
    """Removing can be repeated."""
    text = "" if client.format == "toml" else '{ "a": [1, 2.5, true, null, "x"] }'
    assert remove_entry(client, text) == text
    assert remove_entry(client, "") == ""


@pytest.mark.requirement("clients.remove.restores")
def test_remove_between_other_tables_keeps_both():
    """A table that someone added later stays where it is."""
    later = "\n# later\n[mcp_servers.later]\ncommand = 'y'\n"
    merged = merge_entry(BY_NAME["codex"], CODEX, LAUNCH) + later
    assert remove_entry(BY_NAME["codex"], merged) == CODEX + later


@pytest.mark.requirement("clients.remove.restores")
def test_remove_between_other_servers_keeps_both():
    """The same in JSON, where the comma has to go with it."""
    merged = merge_entry(BY_NAME["cursor"], '{\n  "mcpServers": {\n    "a": {}\n  }\n}', SANDBOX)
    more = merged.replace('"--sandbox"\n      ]\n    }', '"--sandbox"\n      ]\n    },\n    "b": {}')
    assert remove_entry(BY_NAME["cursor"], more) == '{\n  "mcpServers": {\n    "a": {},\n    "b": {}\n  }\n}'


@pytest.mark.requirement("clients.invalid")
@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("cursor", "{", "line 1: a key in double quotes is missing"),
        ("cursor", '{"a" 1}', "line 1: a colon is missing"),
        ("cursor", '{"a": }', "line 1: a value is missing or misspelt"),
        ("cursor", '{"a": 1\n"b": 2}', "line 2: a comma is missing"),
        ("cursor", '{"a": [1\n2]}', "line 2: a comma is missing"),
        ("cursor", '{"a": 1-2}', "line 1: a value is misspelt"),
        ("cursor", '{"a": 1, "a": 2}', "line 1: the same key is there twice"),
        ("cursor", "{} {}", "line 1: something follows the end of the document"),
        ("cursor", "[]", "line 1: the file does not hold an object in braces"),
        ("cursor", '{"a": ' + "[" * 200 + "]" * 200 + "}", "line 1: nested too deeply"),
        ("cursor", '{"mcpServers": 1}', "mcpServers is neither an object nor a list"),
        ("claude-desktop", "{\n// c\n}", "line 1: a comment, which this client does not allow"),
        ("claude-desktop", '{"a": 1,}', "line 1: a comma before a closing bracket, which this client does not allow"),
        ("vscode", '{"inputs": {}}', "inputs is not a list"),
        ("codex", "a = \n", "line 1: not valid TOML"),
        ("codex", "mcp_servers = 1", "mcp_servers is not a table"),
        ("codex", "a = [", "the end: not valid TOML"),
        ("codex", "mcp_servers.timetopost = 1", "mcp_servers.timetopost would not be a table"),
    ],
)
def test_merge_into_an_invalid_file_is_refused_with_the_line(name, text, problem):
    """The error names the line."""
    with pytest.raises(InvalidFile, match=problem):
        merge_entry(BY_NAME[name], text, LAUNCH)


@pytest.mark.requirement("clients.remove.restores")
def test_remove_of_a_table_that_someone_put_tightly_between_others():
    """No blank line around it: only its own lines go."""
    text = "[a]\nb = 1\n[mcp_servers.timetopost]\ncommand = 'x'\n[c]\nd = 2\n"
    assert remove_entry(BY_NAME["codex"], text) == "[a]\nb = 1\n[c]\nd = 2\n"


@pytest.mark.requirement("clients.remove.restores")
def test_remove_leaves_a_table_of_servers_that_has_other_content():
    """Nothing of ours can be in it."""
    assert remove_entry(BY_NAME["cursor"], '{"mcpServers": 1}') == '{"mcpServers": 1}'


OTHER_FORMS = {
    "dotted": "mcp_servers.timetopost.command = 'x' # ours\nmcp_servers.other.command = 'y'\n",
    "inline servers": "mcp_servers = { timetopost = { command = 'x' }, other = { command = 'y' } } # all\n",
    "inline entry": "[mcp_servers]\ntimetopost = { command = 'x' }\nother = { command = 'y' } # keep\n[z]\na = 1\n",
    "dotted env": "[mcp_servers.timetopost]\ncommand = 'x'\nenv.MINE = '1' # c\n[mcp_servers.other]\ncommand = 'y'\n",
    "apart": "[mcp_servers.timetopost]\ncommand = 'x'\n[mcp_servers.other]\ncommand = 'y'\n"
    "[mcp_servers.timetopost.env]\nMINE = '1'\n",
}


@pytest.mark.requirement("clients.merge.keeps")
@pytest.mark.parametrize("text", OTHER_FORMS.values(), ids=OTHER_FORMS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_codex_entry_in_any_toml_form_is_updated_and_removed(text, newline):
    """Dotted keys, inline tables and tables in several places."""
    text = text.replace("\n", newline)
    updated = merge_entry(BY_NAME["codex"], text, LAUNCH)
    assert read_entry(BY_NAME["codex"], updated)["command"] == "/opt/bin/ttp-mcp"
    assert read_entry(BY_NAME["codex"], updated)["env_vars"] == ["TTP_API_TOKEN"]
    assert merge_entry(BY_NAME["codex"], updated, LAUNCH) == updated
    assert updated.count("\n") == updated.count(newline)
    removed = tomllib.loads(remove_entry(BY_NAME["codex"], updated))
    assert removed["mcp_servers"] == {"other": {"command": "y"}}


@pytest.mark.requirement("clients.merge.keeps")
def test_codex_entry_is_added_to_an_inline_table():
    """No header can extend an inline table."""
    after = merge_entry(BY_NAME["codex"], "mcp_servers = { a = {} } # mine\n", SANDBOX)
    assert read_entry(BY_NAME["codex"], after)["args"] == ["--sandbox"]
    assert after.endswith(" # mine\n")
    assert tomllib.loads(remove_entry(BY_NAME["codex"], after)) == {"mcp_servers": {"a": {}}}


@pytest.mark.requirement("clients.merge.keeps")
def test_codex_update_keeps_comments_in_place():
    """A new key goes before the comments of the next table."""
    text = (
        "[mcp_servers.timetopost] # ours\ncommand = 'x' # path\nargs = []\n\n# env\n[mcp_servers.timetopost.env]\n"
        "MINE = '1'\n\n# other\n[mcp_servers.other]\ncommand = 'y'\n"
    )
    assert merge_entry(BY_NAME["codex"], text, LAUNCH) == text.replace("'x' #", '"/opt/bin/ttp-mcp" #').replace(
        "args = []\n", 'args = []\nenv_vars = ["TTP_API_TOKEN"]\n'
    )


@pytest.mark.requirement("clients.token")
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_configuration_of_each_client_never_holds_the_token(client):
    """Before a login a prompt or a reference that the client replaces, after it nothing at all."""
    text = render_settings(client, LAUNCH)
    assert "ttp_" not in text.replace("ttp_mcp", "")
    assert (client.fills_in or "timetopost") in text
    assert not any("TOKEN" in render_settings(client, launch) for launch in (SANDBOX, LOGGED_IN, PROFILE))


@pytest.mark.requirement("clients.token")
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_install_after_a_login_removes_the_reference_and_nothing_else(client):
    before = merge_entry(client, "", replace(LAUNCH, media_dirs="/tmp"))
    after = read_entry(client, merge_entry(client, before, LOGGED_IN))
    assert after["env"] == {"TTP_MEDIA_DIRS": "/tmp"}
    assert "env_vars" not in after
    named = write_entry(client, command="/opt/bin/ttp-mcp", env={"TTP_API_TOKEN_FILE": "/t"})
    assert read_entry(client, merge_entry(client, named, LOGGED_IN))["env"] == {"TTP_API_TOKEN_FILE": "/t"}


@pytest.mark.requirement("clients.profiles")
@pytest.mark.parametrize("name", BY_NAME)
def test_each_profile_has_an_entry_of_its_own(name):
    """The default entry, its prompt and the other profiles' entries stay byte for byte."""
    client, brand_a, brand_b = (find_client(name, profile) for profile in (None, "brand-a", "brand-b"))
    default = merge_entry(client, "", LAUNCH)
    with_a = merge_entry(brand_a, default, PROFILE)
    both = merge_entry(brand_b, with_a, replace(PROFILE, profile="brand-b"))
    servers = (tomllib.loads(both) if client.format == "toml" else json.loads(both))[client.servers]
    assert list(servers) == ["timetopost", "timetopost-brand-a", "timetopost-brand-b"]
    assert servers["timetopost"] == read_entry(client, default)
    assert servers["timetopost-brand-a"]["env"] == {"TTP_PROFILE": "brand-a"}
    assert [list_duplicates(each, both) for each in (client, brand_a, brand_b)] == [[], [], []]
    assert remove_entry(brand_b, both) == with_a
    assert remove_entry(brand_a, with_a) == default


@pytest.mark.requirement("clients.token")
def test_token_that_someone_wrote_into_the_file_is_left_there_and_seen():
    """Taking it away would cut a working set-up off."""
    token = "ttp_" + "0" * 48
    text = json.dumps({"mcpServers": {"timetopost": {"command": "x", "env": {"TTP_API_TOKEN": token}}}})
    after = merge_entry(BY_NAME["cursor"], text, LAUNCH)
    assert json.loads(after)["mcpServers"]["timetopost"]["env"]["TTP_API_TOKEN"] == token
    assert has_literal_token(BY_NAME["cursor"], after)
    assert not has_literal_token(BY_NAME["cursor"], merge_entry(BY_NAME["cursor"], "{}", LAUNCH))
    assert not has_literal_token(BY_NAME["cursor"], "{}")


def write_entry(client, **entry):
    """A file in which someone wrote an entry by hand."""
    if client.format == "toml":
        return "[mcp_servers.timetopost]\n" + "".join(f"{key} = {to_toml(value)}\n" for key, value in entry.items())
    return json.dumps({client.servers: {"timetopost": entry}})


def to_toml(value):
    """Text, lists and tables in TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {json.dumps(each)}" for key, each in value.items()) + " }"
    return json.dumps(value)


@pytest.mark.requirement("clients.token")
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_token_by_hand_stays_the_only_way_to_it(client):
    """With another folder, in the sandbox and back: no empty file takes its place, in any client."""
    by_hand = {"TTP_API_TOKEN": "ttp_" + "a" * 48}
    before = write_entry(client, command="/opt/bin/ttp-mcp", args=[], env=by_hand)
    launch = replace(LAUNCH, media_dirs="/tmp")
    for text in (
        merge_entry(client, before, launch),
        merge_entry(client, merge_entry(client, before, SANDBOX), launch),
    ):
        assert read_entry(client, text)["env"] == {**by_hand, "TTP_MEDIA_DIRS": "/tmp"}
        assert "env_vars" not in read_entry(client, text)
        assert "inputs" not in text
        assert has_literal_token(client, text)
        assert merge_entry(client, text, launch) == text


@pytest.mark.requirement("clients.token")
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_reference_to_a_token_by_hand_stays(client):
    """It is not ours to change."""
    before = write_entry(client, command="/opt/bin/ttp-mcp", env={"TTP_API_TOKEN": "${env:MY_TOKEN}"})
    env = read_entry(client, merge_entry(client, before, LAUNCH))["env"]
    assert env == {"TTP_API_TOKEN": "${env:MY_TOKEN}"}


@pytest.mark.requirement("clients.merge.keeps")
@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("/old/ttp-mcp", []),
        ("C:\\bin\\ttp-mcp.exe", ["--sandbox"]),
        ("/old/python", ["-m", "ttp_mcp"]),
        ("uvx", ["ttp-mcp@1.2.3"]),
        ("uvx", ["--from", "ttp-mcp[postgresql]==1.2.3", "ttp-mcp"]),
        ("docker", ["run", "-i", "-v", "ttp-mcp:/data", "ghcr.io/timetopost/ttp-mcp:1", "--sandbox"]),
    ],
    ids=["script", "windows", "module", "uvx", "uvx from", "docker"],
)
def test_arguments_that_the_person_added_stay(client, command, args):
    """Whatever started this program before, for the API, for the sandbox and back."""
    own = ["--log-level", "DEBUG"]
    before = write_entry(client, command=command, args=[*args, *own])
    uvx = replace(LAUNCH, command="uvx", args=("ttp-mcp",))
    api, sandbox = merge_entry(client, before, uvx), merge_entry(client, before, SANDBOX)
    assert read_entry(client, api)["args"] == ["ttp-mcp", *own]
    assert read_entry(client, sandbox)["args"] == ["--sandbox", *own]
    assert read_entry(client, merge_entry(client, api, SANDBOX))["args"] == ["--sandbox", *own]
    assert read_entry(client, merge_entry(client, sandbox, LAUNCH))["args"] == own


@pytest.mark.requirement("clients.merge.keeps")
@pytest.mark.parametrize("args", [["mcp-remote", "https://mcp.example/mcp"], "mcp-remote", [1]])
def test_arguments_of_another_program_go_with_it(args):
    """They would stop ours at its start."""
    before = write_entry(BY_NAME["cursor"], command="npx", args=args)
    assert read_entry(BY_NAME["cursor"], merge_entry(BY_NAME["cursor"], before, LAUNCH))["args"] == []


@pytest.mark.requirement("clients.merge.keeps")
def test_order_of_the_persons_arguments_stays():
    """The sandbox flag stays in its place, and a value isn't taken for the program's name."""
    args = ["--path", "/ttp-mcp", "--sandbox"]
    before = write_entry(BY_NAME["codex"], command="/opt/bin/ttp-mcp", args=args, env_vars=["MINE"])
    assert merge_entry(BY_NAME["codex"], before, SANDBOX) == before


@pytest.mark.requirement("clients.merge.keeps")
def test_new_entry_says_its_type_where_the_client_asks_for_one():
    """VS Code and Claude Code read `type`; others do not know it."""
    assert new_entry(BY_NAME["vscode"], SANDBOX)["type"] == "stdio"
    assert "type" not in new_entry(BY_NAME["cursor"], SANDBOX)


URL = "https://mcp.example/mcp"
REMOTE = {
    "claude-desktop": {"url": URL, "headers": {"Authorization": "Bearer x"}},
    "claude-code": {"type": "http", "url": URL, "headers": {"Authorization": "Bearer x"}, "headersHelper": "x"},
    "cursor": {"type": "http", "url": URL, "headers": {"Authorization": "Bearer x"}, "auth": {"CLIENT_ID": "x"}},
    "vscode": {"type": "sse", "url": URL, "headers": {"Authorization": "Bearer x"}},
    "gemini": {"httpUrl": URL, "headers": {"Authorization": "Bearer x"}, "authProviderType": "x", "oauth": {}},
    "windsurf": {"serverUrl": URL, "headers": {"Authorization": "Bearer x"}},
    "zed": {"type": "http", "url": URL, "headers": {"Authorization": "Bearer x"}},
    "codex": {"url": URL, "http_headers": {"Authorization": "Bearer x"}},
}


def read_entry(client, text):
    """What the file says of this server."""
    return (tomllib.loads(text) if client.format == "toml" else json.loads(text))[client.servers]["timetopost"]


@pytest.mark.requirement("clients.merge.remote")
@pytest.mark.parametrize("name", REMOTE)
@pytest.mark.parametrize("launch", [LAUNCH, SANDBOX], ids=["api", "sandbox"])
def test_merge_refuses_an_entry_with_a_url(name, launch):
    """Removing the entry first makes way for the new one."""
    client = BY_NAME[name]
    before = write_entry(client, **REMOTE[name])
    with pytest.raises(InvalidFile, match=f"connects to a URL. Remove it with `ttp-mcp install {name} --remove`"):
        merge_entry(client, before, launch)
    removed = remove_entry(client, before)
    assert read_entry(client, merge_entry(client, removed, launch))["command"] == launch.command


@pytest.mark.requirement("clients.merge.remote")
@pytest.mark.parametrize(("kind", "refused"), [("sse", True), ("stdio", False)])
def test_merge_refuses_any_type_but_stdio(kind, refused):
    """An entry may name its type before its URL."""
    text = write_entry(BY_NAME["claude-code"], type=kind, command="x")
    with pytest.raises(InvalidFile, match="connects to a URL") if refused else nullcontext():
        merge_entry(BY_NAME["claude-code"], text, LAUNCH)


@pytest.mark.requirement("clients.invalid")
@pytest.mark.parametrize(
    ("name", "text", "launch"),
    [
        ("cursor", '{"mcpServers": []}', LAUNCH),
        ("cursor", '{"mcpServers": []}', SANDBOX),
        ("cursor", '{"mcpServers": {"timetopost": {"command": "ttp-mcp", "env": []}}}', LAUNCH),
        ("cursor", '{"mcpServers": {"timetopost": {"command": "ttp-mcp", "env": []}}}', SANDBOX),
        ("codex", '[mcp_servers.timetopost]\ncommand = "ttp-mcp"\nenv = []\n', SANDBOX),
    ],
)
def test_merge_refuses_a_list_where_a_client_reads_an_object(name, text, launch):
    """Written into the list, the server would be said to be known and never start."""
    with pytest.raises(InvalidFile, match=r"^(mcpServers|mcp_servers)\.timetopost(\.env)? would not be "):
        merge_entry(BY_NAME[name], text, launch)
