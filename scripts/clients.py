"""Real clients' own command lines against this server: after `ttp-mcp install`, after the client's own `mcp add`, and after
`ttp-mcp install` after an entry for a server at a URL, which it refuses to change and removes when asked. Then the plugin of Claude
Code and the extension of Gemini CLI: validated, installed and started from the repository.

    python scripts/clients.py

Claude Code and Gemini CLI start the server and say that they are connected; Codex lists it without starting it. Each runs in a home
folder of its own with nothing of this machine's in its environment, and asks no model. Needs Node 22 (`.ci/node`).
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".tools" / "clients"
PACKAGES = ("@anthropic-ai/claude-code@2.1.331", "@openai/codex@0.169.0", "@google/gemini-cli@0.61.0")
SERVER = Path(sys.executable).parent / "ttp-mcp"
SECONDS = 120
# What each client's `mcp list` says of a server that is well.
LISTS = {"claude-code": ("claude", "✔ Connected"), "codex": ("codex", "enabled"), "gemini": ("gemini", "Connected")}
ADDS = {
    "claude-code": ("mcp", "add", "--scope", "user", "timetopost", "--", str(SERVER), "--sandbox"),
    "codex": ("mcp", "add", "timetopost", "--", str(SERVER), "--sandbox"),
    "gemini": ("mcp", "add", "--scope", "user", "timetopost", str(SERVER), "--", "--sandbox"),
}
# How each client validates and installs the plugin, and what its `mcp list` calls the server then.
PLUGINS = {
    "claude-code": (
        (
            ("plugin", "validate", "--strict", str(ROOT / "plugin")),
            ("plugin", "validate", str(ROOT)),
            ("plugin", "marketplace", "add", str(ROOT)),
            ("plugin", "install", "timetopost@timetopost"),
        ),
        "plugin:timetopost:timetopost",
    ),
    "gemini": (
        (
            ("extensions", "validate", str(ROOT)),
            ("extensions", "install", "extension", "--consent", "--skip-settings"),
        ),
        "timetopost",
    ),
}
# Nothing listens there.
URL = "http://127.0.0.1:9/mcp"
ADDS_URL = {
    "claude-code": ("mcp", "add", "--scope", "user", "--transport", "http", "timetopost", URL, "--header", "X-A: b"),
    "codex": ("mcp", "add", "timetopost", "--url", URL, "--bearer-token-env-var", "A"),
    "gemini": ("mcp", "add", "--scope", "user", "--transport", "http", "timetopost", URL, "--header", "X-A: b"),
}


def install() -> None:
    """Install the clients, unless they are there."""
    if not (FOLDER / "node_modules" / ".bin" / "gemini").exists():
        command = ["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(FOLDER), *PACKAGES]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def run(home: Path, *command: str) -> str:
    """What a command says in that home folder."""
    node = str(Path(shutil.which("node") or "node").parent)
    environment = {
        "HOME": str(home),
        "PATH": f"{home}:{node}:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "DISABLE_TELEMETRY": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        # Gemini CLI starts no server in an untrusted folder.
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
    }
    done = subprocess.run(
        command,
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return done.stdout + done.stderr


def healthy(home: Path, name: str, server: str = "timetopost") -> str | None:
    """None when the client finds the server well; else what it says."""
    command, word = LISTS[name]
    said = run(home, str(FOLDER / "node_modules" / ".bin" / command), "mcp", "list")
    lines = [line for line in said.splitlines() if line.strip(" ✓✔○").startswith(server)]
    return None if any(word in line for line in lines) else said


def check(name: str) -> list[str]:
    """Complaints about one client."""
    problems: list[str] = []
    command = str(FOLDER / "node_modules" / ".bin" / LISTS[name][0])
    for way in ("ttp-mcp install", "mcp add", "ttp-mcp install after a server at a URL"):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            said = replace_url_entry(home, name, command) if way.endswith("URL") else ""
            added = (command, *ADDS[name]) if way == "mcp add" else (str(SERVER), "install", name, "--sandbox")
            said += run(home, *added)
            problem = healthy(home, name)
            print(f"{name}, {way}: {'found well' if problem is None else 'NOT FOUND WELL'}", flush=True)
            if problem is not None:
                problems.append(f"{name}, {way}:\n{said}\n{problem}")
                continue
            removed = run(home, str(SERVER), "install", name, "--remove")
            if "no longer knows" not in removed or healthy(home, name) is None:
                problems.append(f"{name}, {way}: not removed\n{removed}")
    return problems


def replace_url_entry(home: Path, name: str, command: str) -> str:
    """Let the client add a server at a URL, see `install` refuse to change it, and remove it."""
    said = run(home, command, *ADDS_URL[name])
    refused = run(home, str(SERVER), "install", name, "--sandbox")
    removed = run(home, str(SERVER), "install", name, "--remove")
    if "connects to a URL" not in refused or "no longer knows" not in removed:
        said += f"{refused}\n{removed}\nthe entry with a URL was not refused and removed\n"
    return said


def check_plugin(name: str) -> list[str]:
    """Complaints about one client's plugin. `uvx` is replaced by this package."""
    commands, server = PLUGINS[name]
    command = str(FOLDER / "node_modules" / ".bin" / LISTS[name][0])
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        uvx = home / "uvx"
        uvx.write_text(f'#!/bin/sh\nshift\nexec "{SERVER}" "$@"\n', encoding="utf-8")
        uvx.chmod(0o755)
        # Gemini CLI copies the whole folder that it installs from.
        (home / "extension").mkdir()
        shutil.copy(ROOT / "gemini-extension.json", home / "extension")
        said = "".join(run(home, command, *arguments) for arguments in commands)
        problem = healthy(home, name, server)
        print(f"{name}, plugin: {'found well' if problem is None else 'NOT FOUND WELL'}", flush=True)
        return [] if problem is None else [f"{name}, plugin:\n{said}\n{problem}"]


def main() -> int:
    """Check every client."""
    install()
    problems = [each for name in LISTS for each in check(name)]
    problems += [each for name in PLUGINS for each in check_plugin(name)]
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
