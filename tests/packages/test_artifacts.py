"""Wheel and sdist, and the server installed from the wheel alone. Slow: builds, and installs the dependencies."""

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import httpx2
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from tests.cli.conftest import serve_sandbox
from tests.packages.conftest import ROOT, UV, needs_uv
from tests.support.login import CLIENTS, Home
from tests.transports.http.conftest import make_request
from ttp_mcp import __version__
from ttp_mcp.tools import every_tool

pytestmark = [pytest.mark.slow, pytest.mark.requirement("packages.artifacts"), needs_uv]

TOKEN = re.compile(rb"ttp_[0-9a-f]{48}")
DATA = {
    "ttp_mcp/py.typed",
    "ttp_mcp/platforms/unicode.json",
    "ttp_mcp/platforms/rules.json",
    "ttp_mcp/sandbox/page/icon.svg",
    "ttp_mcp/sandbox/page/style.css",
    "ttp_mcp/sandbox/schema.sql",
} | {str(path.relative_to(ROOT)) for path in (ROOT / "ttp_mcp/sandbox/page/templates").iterdir()}
LIST = (UV, "pip", "list", "--quiet", "--format", "json")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REQUIREMENTS = [
    Requirement(each)
    for each in (
        *PROJECT["dependencies"],
        *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
    )
]
# The lower bound of each direct dependency that has one and is for this system, and what is locked.
LOWEST = {
    requirement.name: Version(bound.version)
    for requirement in REQUIREMENTS
    if requirement.marker is None or requirement.marker.evaluate()
    for bound in requirement.specifier
    if bound.operator == ">="
}
LOCKED = {
    each["name"]: each["version"]
    for each in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
    if "version" in each
}
CALLS: dict[str, dict[str, object]] = {
    "list_integrations": {},
    "list_boards": {},
    "tiktok_options": {},
    "list_posts": {},
    "optimal_times": {},
    "optimal_times_by_account": {},
    "next_optimal_time": {},
    "weekly_schedule": {},
    "engagement_summary": {},
    "post_results": {"after": "2026-08-01", "limit": 3},
    "presign_media": {"filename": "photo.png", "content_type": "image/png", "size_bytes": 1000},
}


def run_command(*command, **more):
    """Run a command that is expected to succeed and return its output."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False, **more)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def dist_folder(tmp_path_factory) -> Path:
    """A folder with the wheel and the sdist of this repository; the wheel is built from the sdist, as for a release."""
    folder = tmp_path_factory.mktemp("dist")
    run_command(UV, "build", "--quiet", "--out-dir", folder, ROOT)
    return folder


@pytest.fixture(scope="session")
def wheel(dist_folder) -> Path:
    """The wheel."""
    return next(dist_folder.glob("*.whl"))


def choose_python(which: str) -> str:
    """The oldest supported Python, or the newest on this machine."""
    versions = ("3.11",) if which == "oldest" else ("3.14", "3.13", "3.12")
    found = next((path for version in versions if (path := find_python(version))), None)
    if found is None:
        pytest.skip(f"no Python {' or '.join(versions)} on this machine")
    return found


def find_python(version: str) -> str | None:
    """Return the path of a Python of this version."""
    done = subprocess.run(
        [UV, "python", "find", "--no-python-downloads", version], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return done.stdout.strip()
    # uv does not look into the versions of pyenv that are not switched on.
    kept = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return str(kept[-1]) if kept else None


def test_wheel_contains_only_the_package_and_its_data(wheel):
    """No tests, settings or scripts."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"ttp_mcp-{__version__}.dist-info/METADATA").decode()
    assert names >= DATA
    assert {name.partition("/")[0] for name in names} == {"ttp_mcp", f"ttp_mcp-{__version__}.dist-info"}
    assert {Path(name).suffix for name in names if name.startswith("ttp_mcp/")} <= {
        ".py",
        ".typed",
        ".json",
        ".css",
        ".html",
        ".js",
        ".svg",
        ".sql",
    }
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "ttp_mcp").rglob("*.py")}
    assert modules <= names
    assert "mcp-name: co.timetopost/ttp-mcp" in metadata
    assert "License-Expression: MIT" in metadata


def test_sdist_contains_what_a_test_run_needs(dist_folder):
    """Tests, contract, lock."""
    with tarfile.open(next(dist_folder.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "uv.lock", "README.md", "LICENSE", "server.json", "contract/openapi.yaml"} <= names
    assert "tests/conftest.py" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".git/", ".venv", ".tools"))]


def test_artifacts_contain_no_token(dist_folder, wheel):
    """No string has the form of a real one; tests write theirs as a sum."""
    with zipfile.ZipFile(wheel) as archive:
        found = [name for name in archive.namelist() if TOKEN.search(archive.read(name))]
    with tarfile.open(next(dist_folder.glob("*.tar.gz"))) as archive:
        found += [
            member.name for member in archive if member.isfile() and TOKEN.search(archive.extractfile(member).read())
        ]
    assert found == []


@pytest.mark.requirement("packages.clean")
@pytest.mark.parametrize("resolution", ["lowest-direct", "highest"])
@pytest.mark.parametrize("python", ["oldest", "newest"])
def test_server_installed_from_the_wheel_answers(wheel, tmp_path, python, resolution):
    """In an environment with the wheel and its dependencies only."""
    run_command(UV, "venv", "--quiet", "--python", choose_python(python), tmp_path / "venv")
    interpreter = tmp_path / "venv" / "bin" / "python"
    # The wheel would be the only direct requirement of itself, so what it depends on is resolved from its source.
    install = (UV, "pip", "install", "--quiet", "--python", interpreter)
    run_command(*install, "--resolution", resolution, "--all-extras", "-r", ROOT / "pyproject.toml")
    run_command(*install, "--no-deps", wheel)
    versions = {each["name"]: each["version"] for each in json.loads(run_command(*LIST, "--python", interpreter))}
    if resolution == "lowest-direct":
        assert {name: Version(versions[name]) for name in LOWEST} == LOWEST
        assert sum(version < Version(LOCKED[name]) for name, version in LOWEST.items()) > len(LOWEST) / 2
    else:
        assert all(Version(versions[name]) >= version for name, version in LOWEST.items())
        assert sum(Version(versions[name]) > version for name, version in LOWEST.items()) > len(LOWEST) / 2
    modules = "ttp_mcp.ledger.store.sqlite, ttp_mcp.ledger.store.postgresql, ttp_mcp.transports.http.oauth"
    run_command(interpreter, "-c", f"import {modules}")
    assert call_over_http(tmp_path / "venv" / "bin" / "ttp-mcp", tmp_path) == (401, 200)
    server = tmp_path / "venv" / "bin" / "ttp-mcp"
    assert run_command(server, "--version").strip() == f"ttp-mcp {__version__}"
    answers = run_conversation([server, "--sandbox"], tmp_path)
    assert [tool["name"] for tool in answers[2]["tools"]] == [tool.name for tool in every_tool()]
    failed = [name for number, name in CALLS_IN_ORDER.items() if answers[number].get("isError")]
    assert failed == []
    check_panels(answers)


@pytest.mark.requirement("login.clients")
def test_wheel_needs_one_login_for_three_clients(wheel, tmp_path):
    """In a fresh home each client starts, lists and calls without variables, and no settings file has the token."""
    run_command(UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv")
    run_command(UV, "pip", "install", "--quiet", "--python", tmp_path / "venv" / "bin" / "python", wheel)
    home = Home(tmp_path / "home", tmp_path / "venv" / "bin" / "ttp-mcp")
    with serve_sandbox(tmp_path / "sandbox") as api:
        home.login(api)
        for name in CLIENTS:
            entry = home.install(name)
            assert entry["command"] == str(home.program[0])
            with home.start_server(entry) as client:
                assert len(client.request("tools/list")["tools"]) == len(every_tool())
                assert client.call("list_posts", limit=1)["posts"]
            assert api["token"] not in client.seen
        assert home.find_files(api["token"]) == [".config/ttp-mcp/login.json"]


def call_over_http(server, folder) -> tuple[int, int]:
    """Return the status of a call without the server key, and with it."""
    key = "k" * 40
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TTP_", "PYTHON", "COV"))}
    with subprocess.Popen(
        [server, "--sandbox", "--transport", "http", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**environment, "TTP_STATE_DIR": str(folder / "http"), "TTP_SERVER_KEY": key},
    ) as process:
        try:
            line = process.stderr.readline()
            assert " at http://" in line, line + process.stderr.read()
            url = line.split(" at ")[1].split(" ")[0]
            sent = make_request("tools/call", {"name": "list_posts", "arguments": {}})
            refused = httpx2.post(url, **sent, timeout=60)
            sent["headers"]["authorization"] = f"Bearer {key}"
            served = httpx2.post(url, **sent, timeout=60)
        finally:
            process.terminate()
    assert served.json()["result"].get("isError", False) is False
    return refused.status_code, served.status_code


CALLS_IN_ORDER = dict(enumerate(CALLS, start=3))
PANELS = [f"ui://timetopost/{name}.html" for name in ("calendar", "post", "results")]
RESOURCES = 100


def check_panels(answers) -> None:
    """Check that each panel is listed, and read as one page with its styles and script."""
    listed = {each["uri"] for each in answers[RESOURCES]["resources"]}
    assert listed >= set(PANELS)
    for number, uri in enumerate(PANELS, start=RESOURCES + 1):
        (content,) = answers[number]["contents"]
        assert (content["uri"], content["mimeType"]) == (uri, "text/html;profile=mcp-app")
        assert content["text"].startswith("<!doctype html>")
        assert "<style>" in content["text"]
        assert "startPanel(" in content["text"]


def run_conversation(command, state) -> dict[int, dict]:
    """Initialize, list, call, and read the panels; return the results by number."""
    messages = [
        {
            "id": 1,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "package test", "version": "1"},
            },
        },
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/list", "params": {}},
        *(
            {"id": number, "method": "tools/call", "params": {"name": name, "arguments": CALLS[name]}}
            for number, name in CALLS_IN_ORDER.items()
        ),
        {"id": RESOURCES, "method": "resources/list", "params": {}},
        *(
            {"id": number, "method": "resources/read", "params": {"uri": uri}}
            for number, uri in enumerate(PANELS, start=RESOURCES + 1)
        ),
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("TTP_", "PYTHON", "COV"))}
    with subprocess.Popen(
        [*map(str, command)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=state,
        env={**environment, "TTP_STATE_DIR": str(state / "state")},
    ) as process:
        answers: dict[int, dict] = {}
        for message in messages:
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            process.stdin.flush()
            while "id" in message and message["id"] not in answers:
                line = process.stdout.readline()
                assert line, process.stderr.read().decode()
                answer = json.loads(line)
                if "id" in answer:
                    assert "error" not in answer, answer
                    answers[answer["id"]] = answer["result"]
        process.stdin.close()
        process.wait(timeout=30)
    return answers


@pytest.mark.requirement("packages.bundle.starts")
def test_packed_bundle_starts_after_unpacking(tmp_path):
    """Packed by the official packer, and started like a host does."""
    node = subprocess.run([ROOT / ".ci" / "node"], capture_output=True, text=True, check=True).stdout.strip()
    path = f"{node}:{os.environ['PATH']}"
    run_command(sys.executable, "scripts/mcpb.py", "--out", tmp_path, cwd=ROOT, env={**os.environ, "PATH": path})
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(next(tmp_path.glob("*.mcpb"))) as archive:
        archive.extractall(unpacked)
    manifest = json.loads((unpacked / "manifest.json").read_text())
    config = manifest["server"]["mcp_config"]
    chosen = {
        "${__dirname}": str(unpacked),
        "${user_config.sandbox}": "true",
        "${user_config.media_dirs}": str(tmp_path),
    }
    command = [UV, *(chosen.get(each, each) for each in config["args"])]
    answers = run_conversation(command, tmp_path)
    assert [tool["name"] for tool in answers[2]["tools"]] == [tool["name"] for tool in manifest["tools"]]
    assert not any(each.get("isError") for each in answers.values())
    check_panels(answers)
