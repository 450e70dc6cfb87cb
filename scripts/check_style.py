"""Check that the code stays readable: words, names, sizes. The limits may only go down.

    python scripts/check_style.py [--list]

`--list` prints every place that counts, not only the counts. CONTRIBUTING.md explains the rules.
"""

import argparse
import ast
import re
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ttp_mcp"

LIMITS = {
    "entries at the top of ttp_mcp": 24,
    "lines of the longest file": 400,
    "words to avoid": 3,
    "docstrings with an odd opening": 0,
    "one-word functions, in percent": 4,
    "lines of a function, median": 7,
    "lines of a function, 90th percentile": 22,
}
WORDS = re.compile(
    r"\b(told|nobody|somebody|whoever|so many|so long|meanwhile|stands|mends?|mended|grave|anew|is no|are no|without that)\b",
    re.IGNORECASE,
)
OPENINGS = re.compile(r"(What|Whether|Those|Such|Who|Whose|Which|That|As)\b")

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
DOCUMENTED = (*FUNCTIONS, ast.ClassDef, ast.Module)


@dataclass
class Findings:
    """Measurements of all files, and the places that each counts."""

    longest_file: int = 0
    functions: list[int] = field(default_factory=list)
    module_functions: int = 0
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, path: Path, line: int, text: str) -> None:
        """Note a place."""
        self.places.setdefault(name, []).append(f"{path.relative_to(ROOT)}:{line}: {text.strip()[:100]}")


def read_file(path: Path, found: Findings) -> None:
    """Measure one module."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    found.longest_file = max(found.longest_file, source.count("\n"))
    for number, line in enumerate(source.splitlines(), 1):
        for _ in WORDS.findall(line):
            found.add("words to avoid", path, number, line)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and OPENINGS.match(opening := ast.get_docstring(node) or ""):
            found.add("docstrings with an odd opening", path, getattr(node, "lineno", 1), opening)
        if isinstance(node, FUNCTIONS):
            found.functions.append((node.end_lineno or node.lineno) - node.lineno + 1)
    for node in functions_of(tree):
        found.module_functions += 1
        if "_" not in node.name.strip("_"):
            found.add("one-word functions", path, node.lineno, node.name)


def functions_of(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the functions of a module, without methods and inner ones."""
    yield from (node for node in tree.body if isinstance(node, FUNCTIONS))


def measure() -> tuple[dict[str, float], Findings]:
    """Measure the package: figures by the names of `LIMITS`."""
    found = Findings()
    for path in sorted(PACKAGE.rglob("*.py")):
        read_file(path, found)
    lines = sorted(found.functions)
    figures = {
        "entries at the top of ttp_mcp": len([entry for entry in PACKAGE.iterdir() if entry.name != "__pycache__"]),
        "lines of the longest file": found.longest_file,
        "words to avoid": len(found.places.get("words to avoid", [])),
        "docstrings with an odd opening": len(found.places.get("docstrings with an odd opening", [])),
        "one-word functions, in percent": round(
            100 * len(found.places.get("one-word functions", [])) / found.module_functions, 1
        ),
        "lines of a function, median": statistics.median(lines),
        "lines of a function, 90th percentile": lines[int(len(lines) * 0.9)],
    }
    return figures, found


def main() -> int:
    """Print the figures beside their limits; 1 when one is above its limit."""
    parser = argparse.ArgumentParser(description="Check that the code stays readable.")
    parser.add_argument("--list", action="store_true", help="print every place that counts")
    listed = parser.parse_args().list
    figures, found = measure()
    for name, limit in LIMITS.items():
        mark = " <-- above the limit" if figures[name] > limit else ""
        print(f"{figures[name]:>6g} of {limit:g}: {name}{mark}")
    if listed:
        for name, places in found.places.items():
            print(f"\n{name}:", *places, sep="\n  ")
    return int(any(figures[name] > limit for name, limit in LIMITS.items()))


if __name__ == "__main__":
    sys.exit(main())
