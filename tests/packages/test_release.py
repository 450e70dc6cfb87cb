"""The release, built twice."""

import hashlib
import subprocess

import pytest

from tests.packages.conftest import ROOT, load_script, needs_uv
from ttp_mcp import __version__

pytestmark = [
    pytest.mark.requirement("packages.release"),
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="a release is built from a commit"),
]

FILES = {
    "SHA256SUMS",
    "server.json",
    f"ttp-mcp-{__version__}-image-context.tar.gz",
    f"ttp-mcp-{__version__}-plugin.zip",
    f"ttp-mcp-{__version__}.cdx.json",
    f"ttp-mcp-{__version__}.mcpb",
    f"ttp_mcp-{__version__}-py3-none-any.whl",
    f"ttp_mcp-{__version__}.tar.gz",
}


@needs_uv
@pytest.mark.slow
def test_two_builds_of_one_commit_have_the_same_bytes(tmp_path, monkeypatch):
    node = subprocess.run([ROOT / ".ci" / "node"], capture_output=True, text=True, check=True).stdout.strip()
    monkeypatch.setenv("PATH", node, prepend=":")
    monkeypatch.syspath_prepend(ROOT / "scripts")
    release = load_script("release")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    one, two = (
        {path.name: path.read_bytes() for path in release.build(tmp_path / name, head.stdout.strip())}
        for name in ("one", "two")
    )
    assert set(one) == FILES
    assert [name for name in sorted(FILES) if one[name] != two[name]] == []
    sums = dict(reversed(line.split("  ")) for line in one["SHA256SUMS"].decode().splitlines())
    assert sums == {name: hashlib.sha256(one[name]).hexdigest() for name in FILES - {"SHA256SUMS"}}


def test_release_is_not_built_into_a_folder_with_files(tmp_path):
    """Files of an earlier build would be published too."""
    (tmp_path / "old.whl").touch()
    release = load_script("release")
    with pytest.raises(release.ReleaseRefused, match="is not empty"):
        release.build(tmp_path)
