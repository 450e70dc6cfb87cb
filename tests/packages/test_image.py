"""The container image, checked without an engine; `.ci/packages` also runs its steps in a plain folder."""

import fnmatch
import re
import subprocess
from pathlib import Path

import pytest

from tests.packages.conftest import ROOT, load_script, read_text

pytestmark = pytest.mark.requirement("packages.image")

CACHES = ("**/__pycache__", "**/*.pyc")


@pytest.fixture
def stages():
    """Return the stages of the Dockerfile, each a list of (instruction, arguments)."""
    return load_script("image").stages(read_text("Dockerfile"))


def list_arguments(stage, instruction):
    """Return the arguments of each such instruction."""
    return [arguments for name, arguments in stage if name == instruction]


def test_image_has_two_stages_and_the_second_has_no_build_tools(stages):
    build, final = stages
    assert any("/uv" in each for each in list_arguments(build, "COPY"))
    assert not any("uv" in each for each in list_arguments(final, "COPY") + list_arguments(final, "RUN"))


def test_image_is_built_from_the_lock_with_bytecode(stages):
    """The first start without bytecode costs more than three times as much."""
    build, _ = stages
    runs = [each for each in list_arguments(build, "RUN") if "uv sync" in each]
    assert runs
    assert all("--locked" in each and "--no-dev" in each for each in runs)
    # The manifests always name a store, so its client must be there.
    assert all("--all-extras" in each for each in runs)
    assert "--no-editable" in runs[-1]
    assert any("UV_COMPILE_BYTECODE=1" in each for each in list_arguments(build, "ENV"))


def test_base_images_are_pinned(stages):
    """By the tag of a full version."""
    froms = [list_arguments(stage, "FROM")[0] for stage in stages]
    froms += [found[1] for each in list_arguments(stages[0], "COPY") if (found := re.search(r"--from=(\S+)", each))]
    assert all(re.search(r":\d+\.\d+\.\d+", each) for each in froms), froms


def test_image_runs_as_a_numeric_user_that_is_not_root(stages):
    """Kubernetes can't verify that a user name isn't root."""
    _, final = stages
    (user,) = list_arguments(final, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_image_starts_with_stdio_and_takes_arguments(stages):
    """Without a shell in between, so signals reach the server."""
    _, final = stages
    assert list_arguments(final, "ENTRYPOINT") == ['["ttp-mcp"]']
    assert list_arguments(final, "CMD") == []
    assert "/app/healthcheck.py" in list_arguments(final, "HEALTHCHECK")[0]


def test_no_secret_is_an_argument_or_setting_of_the_build(stages):
    """Layers and history keep them."""
    for stage in stages:
        assert list_arguments(stage, "ARG") == []
        assert not re.search(r"TOKEN|KEY|SECRET|PASSWORD", " ".join(list_arguments(stage, "ENV")))


def test_image_is_started_as_the_deployment_starts_it():
    """`.ci/packages` uses the same arguments and variables, with values for secrets and mounted files."""
    arguments, environment = load_script("image").deployed(
        Path("/tmp/image"), store="postgresql://127.0.0.1:1/0", port="9"
    )
    assert arguments[:2] == ["--transport", "http"]
    assert arguments[arguments.index("--port") + 1] == "9"
    assert environment["TTP_STATE_URL"] == "postgresql://127.0.0.1:1/0"
    assert environment["TTP_API_TOKEN_FILE"] == "/tmp/image/secrets/api-token"
    assert len(environment["TTP_SERVER_KEY"]) >= 32


@pytest.mark.requirement("packages.image.context")
def test_context_is_an_allow_list_of_what_the_build_copies(stages):
    """Everything is excluded first; what is included is copied, and vice versa."""
    lines = [line for line in read_text(".dockerignore").splitlines() if line and not line.startswith("#")]
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert lines[0] == "*"
    assert [line for line in lines[1:] if not line.startswith("!")] == list(CACHES)
    copied = {
        source.rstrip("/")
        for stage in stages
        for each in list_arguments(stage, "COPY")
        if "--from" not in each
        for source in each.split()[:-1]
    }
    assert {source for source in copied if not source.startswith("ttp_mcp/")} == allowed


@pytest.mark.requirement("packages.image.context")
def test_context_contains_no_settings_tests_or_history(tmp_path):
    """Checked against the files of this repository."""
    lines = [line for line in read_text(".dockerignore").splitlines() if line and not line.startswith("#")]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    names = [*listed, ".env", ".git/config", "ttp_mcp/__pycache__/a.pyc", "token"]
    inside = load_script("image").context(lines, names)
    assert {Path(name).parts[0] for name in inside} <= {
        "ttp_mcp",
        "deploy",
        "pyproject.toml",
        "uv.lock",
        "README.md",
        "LICENSE",
    }
    assert not [name for name in inside if fnmatch.fnmatch(name, "*.pyc")]


@pytest.mark.requirement("packages.image.health")
@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        (["python", "/app/bin/ttp-mcp"], None),
        (["ttp-mcp", "--sandbox"], None),
        (["ttp-mcp", "--transport", "stdio"], None),
        (["ttp-mcp", "--transport", "http"], "http://127.0.0.1:8000/healthz"),
        (["ttp-mcp", "--transport=sse", "--port=9000"], "http://127.0.0.1:9000/healthz"),
        (["ttp-mcp", "--port", "9000", "--transport", "http", "--host", "0.0.0.0"], "http://127.0.0.1:9000/healthz"),
    ],
)
def test_health_check_calls_the_servers_address(arguments, url):
    """Read from the command line of the first process."""
    names: dict[str, object] = {"__name__": "healthcheck"}
    exec(compile(read_text("deploy/healthcheck.py"), "healthcheck.py", "exec"), names)
    assert names["health_url"](arguments) == url


@pytest.mark.requirement("packages.image.health")
def test_health_check_fails_where_nothing_answers():
    """On a port that was free a moment ago."""
    import socket

    names: dict[str, object] = {"__name__": "healthcheck"}
    exec(compile(read_text("deploy/healthcheck.py"), "healthcheck.py", "exec"), names)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert not names["healthy"](["ttp-mcp", "--transport", "http", "--port", str(taken.getsockname()[1])])
    assert names["healthy"](["ttp-mcp"])
