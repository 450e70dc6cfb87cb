"""Build everything that a release publishes, from a commit alone: the same commit gives the same bytes.

    python scripts/release.py [--out dist/release]    the commit that is checked out; refuses a tree with changes

Writes wheel, sdist, bundle, image context, plugin, bill of materials, server.json with the bundle's checksum, and SHA256SUMS.
"""

import argparse
import gzip
import hashlib
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PLUGIN = ("plugin", ".claude-plugin", "gemini-extension.json", "LICENSE")


class ReleaseRefused(Exception):
    """Nothing may be published; `str()` is the reason."""


def build(out: Path, commit: str = "HEAD") -> list[Path]:
    """Build the release of a commit into an empty folder, and return its files."""
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise ReleaseRefused(f"{out} is not empty. Remove it, or name another folder with --out.")
    # A name such as HEAD may move while this runs.
    commit = _run("git", "rev-parse", f"{commit}^{{commit}}").strip()
    epoch = _run("git", "log", "-1", "--format=%ct", commit).strip()
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "source"
        export(commit, source)
        environment = {
            **os.environ,
            "SOURCE_DATE_EPOCH": epoch,
            "PYTHONPATH": str(source),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        version = _run(
            sys.executable, "-c", "import ttp_mcp; print(ttp_mcp.__version__)", cwd=source, env=environment
        ).strip()
        bundle = out / f"ttp-mcp-{version}.mcpb"
        uv = os.environ.get("UV") or "uv"
        _run(uv, "build", "--quiet", "--out-dir", str(out), cwd=source, env=environment)
        # uv build writes a .gitignore that isn't part of the release.
        (out / ".gitignore").unlink(missing_ok=True)
        _run(sys.executable, "scripts/mcpb.py", "--out", str(out), cwd=source, env=environment)
        bill = out / f"ttp-mcp-{version}.cdx.json"
        _run(sys.executable, "scripts/sbom.py", "--out", str(bill), cwd=source, env=environment)
        _run(sys.executable, "scripts/generate.py", "--mcpb", str(bundle), cwd=source, env=environment)
        (out / "server.json").write_bytes((source / "server.json").read_bytes())
        write_tar(out / f"ttp-mcp-{version}-image-context.tar.gz", source, _image_context(source), int(epoch))
        write_zip(out / f"ttp-mcp-{version}-plugin.zip", source, _files_below(source, PLUGIN))
    check_server(json.loads((out / "server.json").read_text(encoding="utf-8")), bundle)
    files = sorted(path for path in out.iterdir() if path.is_file())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    (out / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")
    return [*files, out / "SHA256SUMS"]


def check_server(server: Mapping[str, Any], bundle: Path) -> None:
    """Refuse a registry entry that doesn't name the bundle's own checksum.

    Raises:
        ReleaseRefused: The checksum is missing, zeros, or another file's.
    """
    right = hashlib.sha256(bundle.read_bytes()).hexdigest()
    named = [package.get("fileSha256") for package in server["packages"] if package["registryType"] == "mcpb"]
    if named != [right]:
        raise ReleaseRefused(f"server.json names the checksum {named} for {bundle.name}, whose checksum is {right}.")


def check_tree() -> None:
    """Refuse a tree with changes, which the release would not contain.

    Raises:
        ReleaseRefused: There are some.
    """
    if changed := _run("git", "status", "--porcelain"):
        raise ReleaseRefused(
            f"the tree has changes that no commit holds:\n{changed}Commit or remove them, then run this again."
        )


def export(commit: str, folder: Path) -> None:
    """Write the files of a commit into a folder."""
    folder.mkdir()
    archive = subprocess.run(
        ["git", "archive", "--format=tar", commit], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")


def write_zip(path: Path, root: Path, names: Iterable[str]) -> None:
    """Write files as a zip archive that depends on their names and bytes alone."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(names):
            entry = zipfile.ZipInfo(name)
            entry.external_attr, entry.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(entry, (root / name).read_bytes())


def write_tar(path: Path, root: Path, names: Iterable[str], seconds: int) -> None:
    """Write files as a tar.gz archive that depends on their names and bytes, and the time, alone."""
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=seconds) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name in sorted(names):
            data = (root / name).read_bytes()
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(data), seconds, 0o644
            archive.addfile(entry, BytesIO(data))


def _image_context(source: Path) -> list[str]:
    # The module beside this one, which also runs the image's steps.
    from image import context

    rules = [line.strip() for line in (source / ".dockerignore").read_text(encoding="utf-8").splitlines()]
    names = context([rule for rule in rules if rule and not rule.startswith("#")], _files_below(source, ["."]))
    return [*names, "Dockerfile"] if "Dockerfile" not in names else names


def _files_below(root: Path, names: Iterable[str]) -> list[str]:
    found: list[Path] = []
    for name in names:
        path = root / name
        found += [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path]
    return [path.relative_to(root).as_posix() for path in found if "__pycache__" not in path.parts]


def _run(*command: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ReleaseRefused(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def main() -> int:
    """Build the release; 1 if it may not be published."""
    parser = argparse.ArgumentParser(description="Build everything that a release publishes.")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "dist" / "release", help="empty folder (default: dist/release)"
    )
    options = parser.parse_args()
    try:
        check_tree()
        for path in build(options.out.resolve()):
            print(path)
    except ReleaseRefused as problem:
        print(f"No release: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
