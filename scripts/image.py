"""Run the steps of the Dockerfile in a plain folder, for machines without an engine.

    python scripts/image.py [--folder DIR]

What is `/` in the image is a new folder here. The base image is this machine with this Python, so this shows that the steps
work on the files that the build gets and that the result starts; not what the base image holds. `ENV`, `WORKDIR`, `COPY`, `RUN`
and `USER` are carried out as far as they need no root of their own.
"""

import argparse
import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
Stage = list[tuple[str, str]]
TOKEN = re.compile(rb"ttp_[0-9a-f]{48}")
# Nothing listens there; the clients of both must be installed all the same.
STORES = ("postgresql://nobody@127.0.0.1:9/nothing",)


def stages(text: str) -> list[Stage]:
    """The stages of a Dockerfile: each a list of instructions with their arguments, lines joined."""
    found: list[Stage] = []
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        name, _, arguments = line.strip().partition(" ")
        if not name:
            continue
        if name == "FROM":
            found.append([])
        found[-1].append((name, arguments.strip()))
    return found


def context(rules: Iterable[str], names: Iterable[str]) -> list[str]:
    """Which of these files reach the build, by the rules of `.dockerignore` that we use: the last that fits decides."""
    ordered = list(rules)
    inside: list[str] = []
    for name in names:
        out = False
        for rule in ordered:
            kept = rule.startswith("!")
            if _fits(rule.removeprefix("!"), name):
                out = not kept
        if not out:
            inside.append(name)
    return inside


def _fits(pattern: str, name: str) -> bool:
    """Whether a file, or a folder above it, fits."""
    parts = name.split("/")
    prefixes = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    if pattern.startswith("**/"):
        return any(fnmatch.fnmatchcase(part, pattern[3:]) for part in parts)
    return any(fnmatch.fnmatchcase(prefix, pattern) for prefix in prefixes if prefix.count("/") == pattern.count("/"))


def prepare(folder: Path) -> Path:
    """The build's context as the allow-list leaves it."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    target = folder / "context"
    for name in context(rules, [name for name in listed if (ROOT / name).is_file()]):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target / name)
    return target


def build(folder: Path) -> dict[str, str]:
    """Carry out both stages below a folder; the environment that the image would have."""
    source = prepare(folder)
    environment = dict(os.environ)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for stage in stages((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        work = folder
        stage_environment: dict[str, str] = {}
        for name, arguments in stage:
            here = {**environment, **stage_environment}
            match name:
                case "ENV":
                    for key, value in re.findall(r"(\w+)=(\S+)", arguments):
                        below = folder / value[1:] if value.startswith("/") and ":" not in value else value
                        stage_environment[key] = value.replace(
                            "/app/bin:$PATH", f"{folder}/app/bin:{os.environ['PATH']}"
                        )
                        if value.startswith("/") and ":" not in value:
                            stage_environment[key] = str(below)
                case "WORKDIR":
                    work = folder / arguments[1:]
                    work.mkdir(parents=True, exist_ok=True)
                case "COPY" if "--from" not in arguments:
                    _copy(source, work, folder, arguments.split())
                case "RUN" if "uv sync" in arguments:
                    # The base image's Python is its only one; here it is the one that runs this.
                    subprocess.run(
                        shlex.split(arguments),
                        cwd=work,
                        env={**here, "UV_PYTHON": sys.executable, "UV_NO_PROGRESS": "1"},
                        stderr=subprocess.DEVNULL,
                        check=True,
                    )
                case "RUN":
                    words = [
                        str(folder / word[1:]) if word.startswith("/") else word for word in shlex.split(arguments)
                    ]
                    subprocess.run(words if os.geteuid() == 0 else _without_owner(words), cwd=work, check=True)
                case _:
                    pass
    shutil.rmtree(folder / "src")
    return {**environment, **stage_environment}


def _copy(source: Path, work: Path, folder: Path, words: list[str]) -> None:
    *names, target = words
    to = folder / target[1:] if target.startswith("/") else work / target
    for name in names:
        if (source / name).is_dir():
            shutil.copytree(source / name, to, dirs_exist_ok=True)
        else:
            file = to / name if target.endswith("/") else to
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, file)


def _without_owner(words: list[str]) -> list[str]:
    return [
        word for index, word in enumerate(words) if word not in ("-o", "-g") and words[index - 1] not in ("-o", "-g")
    ]


def as_user(words: list[str]) -> list[str]:
    """The command as the image's user, where this machine lets us."""
    user = next(arguments for name, arguments in stages((ROOT / "Dockerfile").read_text())[-1] if name == "USER")
    uid, gid = user.split(":")
    if os.geteuid() or not shutil.which("setpriv"):
        return words
    return ["setpriv", "--reuid", uid, "--regid", gid, "--clear-groups", "--no-new-privs", *words]


def check(folder: Path, environment: dict[str, str]) -> None:
    """Start what was built, as its user, over stdio, over HTTP, and as the Kubernetes deployment does.

    Raises:
        RuntimeError: Something is not as it should be.
    """
    compiled = list((folder / "app").rglob("ttp_mcp/__pycache__/factory.*.pyc"))
    if not compiled:
        raise RuntimeError("no bytecode was compiled")
    if any(TOKEN.search(path.read_bytes()) for path in folder.rglob("*") if path.is_file()):
        raise RuntimeError("a token lies in the image")
    server = str(folder / "app" / "bin" / "ttp-mcp")
    shown = subprocess.run(as_user([server, "--version"]), env=environment, capture_output=True, text=True, check=True)
    print(shown.stdout.strip())
    port = "18099"
    command = as_user([server, "--sandbox", "--transport", "http", "--port", port])
    with subprocess.Popen(command, env=environment, cwd=folder / "data", stderr=subprocess.PIPE, text=True) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/healthz", process)
            health = folder / "app" / "healthcheck.py"
            code = (
                "import runpy, sys; check = runpy.run_path(sys.argv[1])['healthy']; "
                f"sys.exit(0 if check(['--transport', 'http', '--port', '{port}']) else 1)"
            )
            python = str(folder / "app" / "bin" / "python")
            subprocess.run(as_user([python, "-c", code, str(health)]), env=environment, check=True)
            status = Path(f"/proc/{process.pid}/status").read_text()
            print("runs as", re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE)[1], "and is healthy")
        finally:
            process.terminate()
    for store in STORES:
        check_deployed(folder, environment, store)


def deployed(folder: Path, *, store: str, port: str) -> tuple[list[str], dict[str, str]]:
    """Arguments and variables of the Kubernetes deployment, with this store, this port, and placeholders for the other secrets."""
    manifest = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "deployment.yaml").read_text(encoding="utf-8"))
    container = manifest["spec"]["template"]["spec"]["containers"][0]
    arguments = list(container["args"])
    arguments[arguments.index("--port") + 1] = port
    secrets = {"TTP_SERVER_KEY": "k" * 40, "TTP_STATE_URL": store}
    environment = {each["name"]: each.get("value") or secrets[each["name"]] for each in container["env"]}
    mounted = environment["TTP_API_TOKEN_FILE"]
    return arguments, {**environment, "TTP_API_TOKEN_FILE": str(folder / mounted.removeprefix("/"))}


def check_deployed(folder: Path, environment: dict[str, str], store: str) -> None:
    """Start it as the deployment does, with a store that is away: it serves, and is not ready.

    Raises:
        RuntimeError: It does not start, or says that it is ready.
    """
    port = "18098"
    arguments, own = deployed(folder, store=store, port=port)
    token = Path(own["TTP_API_TOKEN_FILE"])
    token.parent.mkdir(exist_ok=True)
    token.write_text("ttp_" + "0" * 48)
    token.chmod(0o600)
    # As whoever runs this: its own user may not reach this machine's Python, and then gets another of the same name.
    command = [str(folder / "app" / "bin" / "ttp-mcp"), *arguments]
    with subprocess.Popen(
        command, env={**environment, **own}, cwd=folder / "data", stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/healthz", process)
            ready = _status(f"http://127.0.0.1:{port}/readyz")
        finally:
            process.terminate()
    token.unlink()
    if ready != 503:
        raise RuntimeError(f"without its store ({store}) it answers /readyz with {ready}")
    print("serves as the deployment starts it, and is not ready while its store is away:", store.partition(":")[0])


def _status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as refused:
        return refused.code


def _wait(url: str, process: "subprocess.Popen[str]") -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(f"it does not start: {process.stderr.read()}") from None
            time.sleep(0.1)
    raise RuntimeError("it does not answer")


def main() -> int:
    """Build and check."""
    parser = argparse.ArgumentParser(description="Run the Dockerfile's steps in a plain folder.")
    parser.add_argument("--folder", type=Path, help="build here and leave it (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        # Its user must be able to come in.
        folder.chmod(0o755)
        environment = build(folder)
        check(folder, environment)
    return 0


if __name__ == "__main__":
    sys.exit(main())
