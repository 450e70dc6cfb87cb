"""Build the MCPB bundle: stage what it needs, then let the official packer check and pack it.

    python scripts/mcpb.py [--out dist]         writes dist/ttp-mcp-VERSION.mcpb
    python scripts/mcpb.py --stage FOLDER       only stages, for a look or a test

The bundle holds the package as source and the lock file; the host's uv brings Python and the locked dependencies at the
first start. Compiled dependencies (pydantic) rule out one bundle with everything inside for all systems.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

from ttp_mcp import __version__

ROOT = Path(__file__).resolve().parents[1]
PACKER = "@anthropic-ai/mcpb@2.1.2"


def stage(folder: Path) -> None:
    """Lay out the bundle's files in an empty folder."""
    shutil.copytree(ROOT / "ttp_mcp", folder / "ttp_mcp", ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for name in ("manifest.json", "main.py", "icon.png"):
        shutil.copyfile(ROOT / "mcpb" / name, folder / name)
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
    (folder / "pyproject.toml").write_text(project(), encoding="utf-8")
    (folder / "uv.lock").write_text(lock(), encoding="utf-8")


def project() -> str:
    """The bundle's pyproject.toml: our dependencies alone, so that nothing is built and no test tool is installed."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dependencies = "".join(f'  "{each}",\n' for each in data["dependencies"])
    return (
        f'[project]\nname = "{data["name"]}"\nversion = "{__version__}"\n'
        f'requires-python = "{data["requires-python"]}"\ndependencies = [\n{dependencies}]\n\n'
        "[tool.uv]\npackage = false\n"
    )


def lock() -> str:
    """The project's lock, in which the project itself is no longer something to build."""
    text = (ROOT / "uv.lock").read_text(encoding="utf-8")
    return re.sub(r'^source = \{ editable = "\." \}$', 'source = { virtual = "." }', text, flags=re.MULTILINE)


def pack(folder: Path, bundle: Path) -> None:
    """Check the staged manifest and write the bundle, both with the official packer."""
    npx = shutil.which("npx") or "npx"
    bundle.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([npx, "-y", PACKER, "validate", str(folder / "manifest.json")], check=True)
    subprocess.run([npx, "-y", PACKER, "pack", str(folder), str(bundle)], check=True)
    repack(bundle)


def repack(bundle: Path) -> None:
    """Write the bundle again, in the order of names and without times, so that equal files give equal bytes."""
    with zipfile.ZipFile(bundle) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("/")}
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)


def main() -> int:
    """Build the bundle."""
    parser = argparse.ArgumentParser(description="Build the MCPB bundle.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the bundle (default: dist)")
    parser.add_argument("--stage", type=Path, metavar="FOLDER", help="stage into this empty folder, and stop")
    options = parser.parse_args()
    if options.stage:
        options.stage.mkdir(parents=True, exist_ok=True)
        stage(options.stage)
        return 0
    with tempfile.TemporaryDirectory() as name:
        stage(Path(name))
        pack(Path(name), options.out / f"ttp-mcp-{__version__}.mcpb")
    return 0


if __name__ == "__main__":
    sys.exit(main())
