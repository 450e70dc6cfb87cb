"""Run the official conformance suites against the real server class and hold them to what is expected.

    python scripts/conformance.py [--write]

Seven runs: both releases of the suite, both protocol eras, with sessions and streams as the 2025 era has them, stateless with
JSON answers as `ttp-mcp --transport http` serves, and over stdio with and without a replayed handshake. `--write` renews the
tables in docs/conformance.md. Needs Node 22 or later on the path (`.ci/node`).
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HERE = ROOT / "tests" / "conformance"
PAGE = ROOT / "docs" / "conformance.md"
FIRST = "@modelcontextprotocol/conformance@0.1.16"
NEWEST = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
_LINE = re.compile(r"^(?P<verdict>[✓✗]) (?P<name>[a-z0-9-]+): (?P<passed>\d+) passed, (?P<failed>\d+) failed$")
_NOT_SCORED = re.compile(r"^  [✓✗] (?P<name>[a-z0-9-]+) \((?P<reason>[a-z-]+)\)$")
SECONDS = 300
# File of the record, in the folder of a run.
RECORD = "handshake"


@dataclass(frozen=True)
class Run:
    """One suite against one way of serving."""

    name: str
    package: str
    which: tuple[str, ...]
    server: tuple[str, ...]
    title: str


SESSIONS, STATELESS, STDIO = ("server.py",), ("server.py", "--stateless"), ("bridge.py",)
RECORDED = (*STDIO, "--record", RECORD)
RUNS = (
    Run("sessions-2025-first-suite", FIRST, ("--suite", "active"), SESSIONS, "Suite 0.1.16, 2025-11-25, sessions"),
    Run(
        "sessions-2025",
        NEWEST,
        ("--requirements", "2025-11-25"),
        SESSIONS,
        "Suite 0.2.0-alpha.12, 2025-11-25, sessions",
    ),
    Run(
        "sessions-2026", NEWEST, ("--requirements", "2026-07-28"), SESSIONS, "Suite 0.2.0-alpha.12, 2026-07-28, streams"
    ),
    Run(
        "stateless-2025",
        FIRST,
        ("--suite", "active"),
        STATELESS,
        "Suite 0.1.16, 2025-11-25, as we serve (stateless JSON)",
    ),
    Run(
        "stateless-2026",
        NEWEST,
        ("--requirements", "2026-07-28"),
        STATELESS,
        "Suite 0.2.0-alpha.12, 2026-07-28, as we serve (stateless JSON)",
    ),
    Run("stdio-2025", NEWEST, ("--requirements", "2025-11-25"), STDIO, "Suite 0.2.0-alpha.12, 2025-11-25, stdio"),
    Run(
        "stdio-2025-replayed",
        NEWEST,
        ("--requirements", "2025-11-25"),
        RECORDED,
        "Suite 0.2.0-alpha.12, 2025-11-25, stdio with a replayed handshake",
    ),
)


@dataclass(frozen=True)
class Scenario:
    """What the suite says of one scenario."""

    name: str
    passed: int
    failed: int
    scored: bool


@contextmanager
def serving(server: Sequence[str], folder: str) -> Iterator[str]:
    """The server with the fixtures, in a folder for its files; its address."""
    command = [sys.executable, str(HERE / server[0]), *server[1:]]
    # Fixtures fail on purpose, at length.
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def scenarios(run: Run, url: str, folder: str) -> list[Scenario]:
    """Run a suite and read its summary.

    Raises:
        RuntimeError: There is no summary.
    """
    command = ["npx", "-y", run.package, "server", "--url", url, *run.which]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    lines = done.stdout.partition("=== SUMMARY ===")[2].splitlines()
    if not lines:
        raise RuntimeError(f"{run.name}: no summary\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    not_scored = {found["name"] for line in lines if (found := _NOT_SCORED.match(line))}
    return [
        Scenario(found["name"], int(found["passed"]), int(found["failed"]), found["name"] not in not_scored)
        for line in lines
        if (found := _LINE.match(line))
    ]


def surprises(found: Sequence[Scenario], expected: dict[str, str]) -> list[str]:
    """What failed and was not expected to, and the other way round."""
    failed = {each.name for each in found if each.scored and each.failed}
    return [
        *(f"failed: {name}" for name in sorted(failed - expected.keys())),
        *(f"passed, though listed in expected.toml: {name}" for name in sorted(expected.keys() - failed)),
    ]


def table(run: Run, found: Sequence[Scenario], expected: dict[str, str]) -> str:
    """One run as a section of docs/conformance.md."""
    scored = [each for each in found if each.scored]
    passed = sum(not each.failed for each in scored)
    lines = [f"### {run.title}", "", f"{passed} of {len(scored)} scored scenarios pass.", ""]
    lines += ["| scenario | checks passed | result |", "|---|---|---|"]
    for each in found:
        result = "pass" if not each.failed else expected.get(each.name, "fail")
        if not each.scored:
            result = f"{'pass' if not each.failed else 'not offered'} (not scored)"
        lines.append(f"| `{each.name}` | {each.passed} of {each.passed + each.failed} | {result} |")
    return "\n".join(lines)


def main() -> int:
    """Run everything; 1 when something was not as expected."""
    parser = argparse.ArgumentParser(description="Hold the server to the official conformance suites.")
    parser.add_argument("--write", action="store_true", help="renew the tables in docs/conformance.md")
    options = parser.parse_args()
    expected = tomllib.loads((HERE / "expected.toml").read_text(encoding="utf-8"))
    sections: list[str] = []
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for run in RUNS:
            with serving(run.server, folder) as url:
                found = scenarios(run, url, folder)
            if run.server == RECORDED and not (Path(folder) / RECORD).exists():
                wrong.append(f"{run.name}: no handshake recorded")
            sections.append(table(run, found, expected[run.name]))
            said = surprises(found, expected[run.name])
            wrong += [f"{run.name}: {each}" for each in said]
            scored = [each for each in found if each.scored]
            print(f"{run.name}: {sum(not each.failed for each in scored)} of {len(scored)} scored scenarios pass")
    if options.write:
        mark = "<!-- generated:results -->\n"
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(mark)
        after = rest.partition("<!-- /generated:results -->")[2]
        text = before + mark + "\n\n".join(sections) + "\n<!-- /generated:results -->" + after
        PAGE.write_text(text, encoding="utf-8")
    print(json.dumps(wrong, indent=2, ensure_ascii=False) if wrong else "conformance: as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
