"""Write everything that is derived: README blocks, pages, schemas, server.json, the MCPB manifest.

    python scripts/generate.py            writes what changed and says what
    python scripts/generate.py --check    writes nothing; exit code 1 and a list of files when something is stale
    python scripts/generate.py --mcpb F   also records the checksum of a built bundle in server.json

Blocks are between `<!-- generated:NAME -->` and `<!-- /generated:NAME -->`; the rest of such a file is written by hand.
"""

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deep_links import cursor_link, vscode_link
from plugin_manifests import REPOSITORY, plugin_documents

from ttp_mcp import __version__
from ttp_mcp.config import SETTINGS, Setting
from ttp_mcp.toolkit.schemas import input_schema
from ttp_mcp.tools import Tool, every_tool

ROOT = Path(__file__).resolve().parents[1]

# What matters to someone who installs from the registry or the bundle; the rest is for hosting.
REGISTRY_SETTINGS = (
    "TTP_API_TOKEN",
    "TTP_ORG_ID",
    "TTP_ACCESS",
    "TTP_CONFIRM",
    "TTP_MEDIA_DIRS",
    "TTP_TIMEZONE",
)
# Effects in words for people who decide whether to allow a tool.
EFFECT_WORDS = {"read": "reads", "draft": "adds, publishes nothing", "publish": "can publish", "remove": "removes"}


class Stale(Exception):
    """A generated block has no place in the file it belongs to."""


def settings_table() -> str:
    """Every setting, as the README and docs/configuration.md show it."""
    rows = ["| variable | meaning | default |", "|---|---|---|"]
    return "\n".join([*rows, *(_settings_row(setting) for setting in SETTINGS)])


def _settings_row(setting: Setting) -> str:
    names = f"`{setting.name}`" + "".join(f", also `{alias}`" for alias in setting.aliases)
    meaning = setting.meaning + (" Secret." if setting.secret else "")
    return f"| {names} | {meaning.replace('|', chr(92) + '|')} | {_default(setting)} |"


def _default(setting: Setting) -> str:
    return f"`{setting.default}`" if setting.choices or setting.default.startswith("https:") else setting.default


def links() -> str:
    """One-click links, for the real API and for the sandbox."""
    return "\n".join(
        f"- {words}: [Cursor]({cursor_link(sandbox=sandbox)}) · [VS Code]({vscode_link(sandbox=sandbox)})"
        for words, sandbox in (("Try it without an account", True), ("With your account", False))
    )


def first_line(tool: Tool) -> str:
    """What a tool does, in one line."""
    return tool.description.splitlines()[0].replace("`", "")


def tools_table() -> str:
    """The tools at a glance."""
    rows = ["| tool | what it does | effect |", "|---|---|---|"]
    return "\n".join([*rows, *(f"| `{t.name}` | {first_line(t)} | {EFFECT_WORDS[t.effect]} |" for t in every_tool())])


def tools_page() -> str:
    """docs/tools.md: each tool with its description and arguments, as agents read them."""
    about = (
        "Generated from the code by `scripts/generate.py`; agents read the same words. The examples run in the tests, over the "
        "demo workspace on 24 November 2026 at 09:02 in Paris; `…` stands for what is left out here."
    )
    sections = (_tool_section(tool) for tool in every_tool())
    return "\n\n".join(["# Tools", about, tools_table(), *sections, hints_section()]) + "\n"


def hints_section() -> str:
    """The annotations of each tool with their justification, as directories ask for them."""
    about = (
        "## Annotations\n\n"
        "MCP clients decide by these hints when to ask you. Each follows from the tool's effect. `openWorldHint` is true for all: "
        "every tool talks to a service on the internet."
    )
    rows = ["| tool | `readOnlyHint` | `destructiveHint` | `idempotentHint` | why |", "|---|---|---|---|---|"]
    for tool in every_tool():
        flags = (tool.hints.read_only, tool.hints.destructive, tool.hints.idempotent)
        rows.append(f"| `{tool.name}` | {' | '.join(str(flag).lower() for flag in flags)} | {tool.hints.why} |")
    return "\n".join([about, "", *rows])


def _tool_section(tool: Tool) -> str:
    hints = f"Group `{tool.toolset}`. Effect: {EFFECT_WORDS[tool.effect]}."
    parts = [f"## `{tool.name}`: {tool.title}", tool.description, hints, _arguments(tool), _example(tool)]
    return "\n\n".join(parts)


def _example(tool: Tool) -> str:
    """The worked example of docs/examples.json, which the tests run over the sandbox."""
    found = json.loads((ROOT / "docs" / "examples.json").read_text(encoding="utf-8"))["examples"]
    example = next((each for each in found if each["tool"] == tool.name), None)
    if example is None:
        raise Stale(f"docs/examples.json has no example of {tool.name}")
    arguments = json.dumps(example["arguments"], ensure_ascii=False, indent=2)
    call = f"Called with\n\n```json\n{arguments}\n```\n\nit answers" if example["arguments"] else "Called, it answers"
    return "\n".join([call, "", "```text", *example["answer"], "```"])


def _arguments(tool: Tool) -> str:
    schema = input_schema(tool.input)
    properties: dict[str, dict[str, Any]] = schema.get("properties", {})
    if not properties:
        return "No arguments."
    required = schema.get("required", [])
    rows = ["| argument | type | meaning |", "|---|---|---|"]
    for name, field in properties.items():
        kind = field.get("type", "any") + ("" if name in required else ", optional")
        meaning = str(field.get("description", "")).replace("|", r"\|").replace("\n", " ")
        rows.append(f"| `{name}` | {kind} | {meaning} |")
    return "\n".join(rows)


def configuration_page() -> str:
    """docs/configuration.md."""
    return f"""# Configuration

Generated from `ttp_mcp/config/table.py` by `scripts/generate.py`.

Everything is set by environment variables, in your shell or in the `env` part of a client's configuration. A flag of the
same name (`--log-level` for `TTP_LOG_LEVEL`) wins over its variable, except that secrets have no flag: a command line can
be read by every program on the machine.

{settings_table()}

A value that can't be used stops the server at start with one line that names the variable and what to write, exit code 2. A missing
or misspelt token does not: the server starts, lists its tools, and each call says what is wrong.

The token is taken from the first of these that has one, and `ttp-mcp doctor` says which it was: `TTP_API_TOKEN`,
`TTP_API_TOKEN_FILE`, then what `ttp-mcp login` saved for the profile, with its API and its organization
([installation](install.md#the-token)).

## Odd values

One rule for every variable. A setting that restricts the server is never ignored.

| value | what happens |
|---|---|
| empty, blanks only, `""` | not set: the default |
| `${{user_config.NAME}}` | not set: the bundle passes this on for a field that you left empty |
| `${{TTP_API_TOKEN}}`, `${{env:TTP_API_TOKEN}}` or `${{TTP_API_TOKEN:-}}` as the token | not set: the client had no such variable |
| another placeholder: `${{NAME}}`, `${{NAME:-x}}`, `$NAME`, `%NAME%`, `{{{{NAME}}}}`, `<NAME>` | start stops; for a token each call fails |
| in quotes: `"read"`, `'read'` | the quotes are taken off, also those of entries of a list |
| another case: `READ`, `Posts`, `europe/paris` | understood |
| `all` in `TTP_TOOLSETS` | every group |
| `0` as a limit | none are allowed |
| `,` in a list | the start stops: it lists nothing |
| a relative path, or one with `$NAME` or `%NAME%` | the start stops: it would be another folder wherever a client starts the server |
| a token after `Bearer` or `TTP_API_TOKEN=`, with a byte order mark, or in a file as UTF-16 | understood |
| a key that can't be sent as a bearer value | the start stops |
"""


def environment_variables() -> list[dict[str, object]]:
    """The registry's description of the settings."""
    chosen = {setting.name: setting for setting in SETTINGS}
    variables: list[dict[str, object]] = []
    for name in REGISTRY_SETTINGS:
        setting = chosen[name]
        entry: dict[str, object] = {"name": name, "description": setting.meaning.replace("`", ""), "isRequired": False}
        entry["isSecret"] = setting.secret
        if setting.choices:
            entry |= {"default": setting.default, "choices": list(setting.choices)}
        variables.append(entry)
    return variables


def server_json(text: str, bundle: Path | None = None) -> str:
    """server.json with this version everywhere, and the checksum of a bundle when one is given."""
    server = json.loads(text)
    server["version"] = __version__
    for package in server["packages"]:
        match package["registryType"]:
            case "pypi":
                package["version"] = __version__
            case "oci":
                package["identifier"] = re.sub(r":[^:/]+$", f":{__version__}", package["identifier"])
            case _:
                package["identifier"] = f"{REPOSITORY}/releases/download/v{__version__}/ttp-mcp-{__version__}.mcpb"
                package.pop("fileSha256", None)
                if bundle is not None:
                    package["fileSha256"] = hashlib.sha256(bundle.read_bytes()).hexdigest()
        if package["registryType"] != "mcpb":
            # The bundle asks for its settings itself, through user_config.
            package["environmentVariables"] = environment_variables()
    return json.dumps(server, ensure_ascii=False, indent=2) + "\n"


def manifest_json(text: str) -> str:
    """The bundle's manifest with this version and the tools that the server lists."""
    manifest = json.loads(text)
    manifest["version"] = __version__
    manifest["tools"] = [{"name": tool.name, "description": first_line(tool)} for tool in every_tool()]
    return json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"


def kustomization(text: str) -> str:
    """The Kubernetes manifests with this version's image."""
    return re.sub(r"(?<=newTag: )\S+", __version__, text)


def blocks(text: str, contents: Mapping[str, Callable[[], str]]) -> str:
    """A file with its generated blocks renewed.

    Raises:
        Stale: A block's marks are missing.
    """
    for name, content in contents.items():
        start, end = f"<!-- generated:{name} -->\n", f"<!-- /generated:{name} -->"
        before, found, rest = text.partition(start)
        _, found_end, after = rest.partition(end)
        if not (found and found_end):
            raise Stale(f"no block “{name}” (write {start.strip()} and {end} where it belongs)")
        text = before + start + content() + "\n" + end + after
    return text


def documents(bundle: Path | None = None) -> dict[str, Callable[[str], str]]:
    """What is generated: path → function from the present text to the right one."""
    readme = {"links": links, "tools": tools_table, "settings": settings_table}
    return {
        "README.md": lambda text: blocks(text, readme),
        "docs/configuration.md": lambda _: configuration_page(),
        "docs/tools.md": lambda _: tools_page(),
        "server.json": lambda text: server_json(text, bundle),
        "mcpb/manifest.json": manifest_json,
        "deploy/kubernetes/kustomization.yaml": kustomization,
        **plugin_documents(),
    }


def stale(root: Path, bundle: Path | None = None) -> dict[str, str]:
    """Files whose text is not what would be generated: path → the right text, or for a missing block, the problem."""
    found: dict[str, str] = {}
    for name, function in documents(bundle).items():
        path = root / name
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if (right := function(text)) != text:
            found[name] = right
    return found


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Write, or check; 0 when everything was or is now up to date."""
    parser = argparse.ArgumentParser(description="Write everything that is derived from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when something is stale")
    parser.add_argument("--mcpb", type=Path, metavar="FILE", help="record this bundle's checksum in server.json")
    options = parser.parse_args(arguments)
    try:
        found = stale(root, options.mcpb)
    except Stale as problem:
        print(f"README.md: {problem}", file=sys.stderr)
        return 1
    for name, text in found.items():
        print(f"{'stale' if options.check else 'written'}: {name}")
        if not options.check:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
    return 1 if found and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
