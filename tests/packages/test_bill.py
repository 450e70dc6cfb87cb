"""The bill of materials."""

import json
import subprocess

import pytest

from tests.packages.conftest import ROOT, UV, load_script, needs_uv

pytestmark = [pytest.mark.requirement("packages.bill"), needs_uv]


def test_bill_lists_every_locked_runtime_package(tmp_path):
    """With the version in the lock, and no development dependency."""
    load_script("sbom").write(tmp_path / "sbom.json")
    bill = json.loads((tmp_path / "sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    listed = {(each["name"], each["version"]) for each in bill["components"]}
    exported = subprocess.run(
        [
            UV,
            "export",
            "--quiet",
            "--locked",
            "--offline",
            "--no-dev",
            "--no-emit-project",
            "--no-hashes",
            "--no-annotate",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    locked = {
        tuple(line.partition(";")[0].strip().split("=="))
        for line in exported.splitlines()
        if line and not line.startswith("#")
    }
    assert locked <= listed
    assert ("mcp", next(version for name, version in listed if name == "mcp")) in locked
    assert not {"pytest", "ruff"} & {name for name, _ in listed}
