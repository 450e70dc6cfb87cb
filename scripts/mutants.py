"""Change the code of modules in small ways and see whether their closest tests notice. Prints the kill rate and what survived.

    python scripts/mutants.py                   lists the modules that protect people
    python scripts/mutants.py ledger/claims     tries every mutant of ttp_mcp/ledger/claims.py
    python scripts/mutants.py ledger/claims A B tries only A and B, as they were named in an earlier run; `*` matches any part
    python scripts/mutants.py text times        tries two modules with one start of pytest

mutmut makes the mutants, and `mutants_run.py` runs them, in a copy of the tracked files. Mutants that change nothing a user could
notice are listed with a reason in `tests/equivalent_mutants.toml`. Exit code 1 when others survive. A module takes minutes, so the gate
doesn't run this.
"""

import argparse
import ast
import difflib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MUTMUT = "mutmut==3.8.1"
EQUIVALENT = ROOT / "tests" / "equivalent_mutants.toml"
# Modules that protect people, by folder; a folder means all its files.
PROTECTING = (
    "writes",
    "ledger",
    "ledger/store",
    "api/http",
    "api/retry",
    "api/rate_limit",
    "api/responses",
    "api/upload",
    "api/download",
    "api/hosts",
    "api/ssrf",
    "api/connections",
    "media/files",
    "media/paths",
    "media/metadata",
    "media/images",
    "media/movies",
    "media/scan",
    "config",
    "credentials",
    "text",
    "times",
    "toolkit/arguments",
    "toolkit/confirmation",
    "server/elicitation",
    "tools/posts",
    "tools/plans",
    "transports/stdio",
    "transports/http",
    "sandbox/rest/posts",
    "sandbox/rest/tokens",
    "sandbox/scheduler",
)
# The closest tests of a module or folder, where they aren't in the folder of the same name.
TESTS = {
    "api/connections": tuple(
        f"tests/api/test_{name}.py" for name in ("connections", "requests", "network", "tls_handshake")
    ),
    "api/download": ("tests/api/test_download.py",),
    "api/hosts": ("tests/api/test_upload.py", "tests/api/test_download.py", "tests/api/test_network.py"),
    "api/http": tuple(
        f"tests/api/test_{name}.py" for name in ("requests", "endpoints", "classification", "network", "connections")
    ),
    "api/rate_limit": ("tests/api/test_requests.py", "tests/api/test_classification.py"),
    "api/responses": ("tests/api/test_classification.py",),
    "api/retry": ("tests/api/test_requests.py", "tests/api/test_classification.py"),
    "api/ssrf": ("tests/api/test_ssrf.py",),
    "api/upload": ("tests/api/test_upload.py", "tests/api/test_media.py"),
    "config": ("tests/test_config.py",),
    "config/files": ("tests/cli/test_saved_login.py", "tests/cli/test_install.py"),
    "config/login": ("tests/cli/test_saved_login.py",),
    "config/readers": ("tests/test_readers.py",),
    "config/settings": ("tests/test_config.py", "tests/cli/test_saved_login.py"),
    "config/system_keyring": ("tests/cli/test_saved_login.py",),
    "config/token_source": ("tests/test_config.py", "tests/cli/test_saved_login.py"),
    "credentials": ("tests/test_credentials.py",),
    "ledger": ("tests/ledger/test_writes.py", "tests/ledger/test_ledger.py", "tests/writes/test_duplicates.py"),
    "ledger/confirmations": ("tests/ledger/test_ledger.py",),
    "ledger/media_facts": ("tests/ledger/test_ledger.py",),
    "ledger/plans": ("tests/ledger/test_ledger.py",),
    "ledger/publications": (
        "tests/ledger/test_ledger.py",
        "tests/ledger/test_writes.py",
        "tests/writes/test_publish.py",
    ),
    "ledger/replacements": (
        "tests/ledger/test_ledger.py",
        "tests/ledger/test_writes.py",
        "tests/writes/replacement/test_half_replaced.py",
    ),
    "ledger/store": ("tests/ledger/store",),
    "ledger/store/base": (
        "tests/ledger/store/test_sqlite.py",
        "tests/ledger/store/test_every_store.py",
        "tests/ledger/test_writes.py",
        "tests/ledger/test_ledger.py",
        "tests/writes/test_duplicates.py",
    ),
    "ledger/store/postgresql": tuple(
        f"tests/ledger/store/test_{name}.py" for name in ("every_store", "outages", "urls")
    ),
    "ledger/store/sqlite": ("tests/ledger/store/test_sqlite.py", "tests/ledger/store/test_every_store.py"),
    "media/files": ("tests/media/test_files.py", "tests/media/test_macos.py"),
    "media/images": tuple(f"tests/media/test_{name}.py" for name in ("pictures", "metadata", "probe")),
    "media/metadata": ("tests/media/test_metadata.py", "tests/media/test_probe.py"),
    "media/movies": tuple(f"tests/media/test_{name}.py" for name in ("movies", "metadata", "probe")),
    "media/names": ("tests/media/test_files.py",),
    "media/scan": tuple(f"tests/media/test_{name}.py" for name in ("metadata", "pictures", "probe")),
    "media/paths": ("tests/media/test_paths.py", "tests/media/test_files.py"),
    "sandbox/rest/posts": tuple(
        f"tests/sandbox/rest/test_{name}.py"
        for name in ("posts", "publish", "tokens", "organizations", "platform_rules", "media")
    ),
    "sandbox/rest/tokens": ("tests/sandbox/rest/test_tokens.py", "tests/sandbox/rest/test_publish.py"),
    "sandbox/scheduler": ("tests/sandbox/test_scheduler.py", "tests/sandbox/rest/test_metrics.py"),
    "server": (
        "tests/server/test_elicitation.py",
        "tests/server/test_reconnect.py",
        "tests/transports/http/test_app.py",
    ),
    "server/elicitation": (
        "tests/server/test_elicitation.py",
        "tests/server/test_reconnect.py",
        "tests/toolkit/test_confirmation.py",
        "tests/transports/http/test_app.py",
    ),
    "text": ("tests/test_text.py",),
    "times": ("tests/test_times.py",),
    "toolkit/arguments": ("tests/toolkit/test_arguments.py", "tests/toolkit/test_ranges.py"),
    "toolkit/confirmation": ("tests/toolkit/test_confirmation.py", "tests/tools/posts/test_delete_answers.py"),
    "tools/plans": (
        "tests/tools/plans",
        "tests/tools/posts/test_network_choices.py",
        "tests/tools/posts/test_rights.py",
    ),
    "tools/plans/rankings": ("tests/tools/plans/test_rankings.py", "tests/tools/plans/test_plans.py"),
    "tools/posts": ("tests/tools/posts", "tests/toolkit/test_confirmation.py"),
    "tools/posts/changes": tuple(f"tests/tools/posts/test_{name}.py" for name in ("changes", "reschedule", "check")),
    "tools/posts/check": tuple(
        f"tests/tools/posts/test_{name}.py" for name in ("check", "changes", "answers", "posts")
    ),
    "tools/posts/content_summary": (
        *(f"tests/tools/posts/test_{name}.py" for name in ("answers", "posts", "check", "network_choices")),
        "tests/tools/plans/test_edges.py",
        "tests/tools/plans/test_plans.py",
        "tests/toolkit/test_confirmation.py",
    ),
    "tools/posts/create": (
        *(f"tests/tools/posts/test_{name}.py" for name in ("create_answers", "copies", "posts", "answers")),
        "tests/toolkit/test_confirmation.py",
    ),
    "tools/posts/delete": ("tests/tools/posts/test_delete_answers.py", "tests/toolkit/test_confirmation.py"),
    "tools/posts/get": ("tests/tools/posts/test_posts.py", "tests/tools/posts/test_delete_answers.py"),
    "tools/posts/guards": tuple(
        f"tests/tools/posts/test_{name}.py" for name in ("delete_answers", "publish_answers", "publish")
    ),
    "tools/posts/list": ("tests/tools/posts/test_list.py", "tests/tools/posts/test_posts.py"),
    "tools/posts/network_choices": ("tests/tools/posts/test_network_choices.py", "tests/tools/test_integrations.py"),
    "tools/posts/paging": ("tests/tools/posts/test_paging.py",),
    "tools/posts/prepare": (
        *(
            f"tests/tools/posts/test_{name}.py"
            for name in ("posts", "copies", "answers", "check", "rights", "reschedule", "network_choices")
        ),
        "tests/toolkit/test_confirmation.py",
        "tests/server/test_reconnect.py",
    ),
    "tools/posts/publish": ("tests/tools/posts/test_publish.py", "tests/tools/posts/test_publish_answers.py"),
    "tools/posts/rendering": tuple(f"tests/tools/posts/test_{name}.py" for name in ("rendering", "posts", "publish")),
    "tools/posts/reschedule": (
        "tests/tools/posts/test_reschedule.py",
        "tests/tools/posts/test_reschedule_texts.py",
        "tests/writes/replacement",
        "tests/toolkit/test_confirmation.py",
    ),
    "tools/posts/validation": tuple(
        f"tests/tools/posts/test_{name}.py" for name in ("validation", "check", "posts", "answers", "rights")
    ),
    "transports/http/app": tuple(
        f"tests/transports/http/test_{name}.py"
        for name in ("app", "auth", "options", "body", "health_and_metrics", "tenants", "oauth", "run")
    ),
    "transports/http/body": ("tests/transports/http/test_body.py",),
    "transports/http/health": tuple(f"tests/transports/http/test_{name}.py" for name in ("health_and_metrics", "app")),
    "transports/http/metrics": tuple(f"tests/transports/http/test_{name}.py" for name in ("health_and_metrics", "app")),
    "transports/http/options": ("tests/transports/http/test_options.py",),
    "transports/http/responses": (
        "tests/transports/http/test_auth.py",
        "tests/transports/http/test_health_and_metrics.py",
    ),
    "transports/http/run": tuple(f"tests/transports/http/test_{name}.py" for name in ("shutdown", "run")),
    "transports/http/sse": tuple(f"tests/transports/http/test_{name}.py" for name in ("app", "run")),
    "transports/http/timeouts": tuple(f"tests/transports/http/test_{name}.py" for name in ("timeouts", "run")),
    "transports/http/auth": tuple(
        f"tests/transports/http/test_{name}.py" for name in ("auth", "oauth", "tenants", "app", "health_and_metrics")
    ),
    "transports/http/guard": ("tests/transports/http/test_guard.py",),
    "transports/http/oauth": ("tests/transports/http/test_oauth.py",),
    "transports/http/tenants": ("tests/transports/http/test_tenants.py",),
    "transports/http/jwks": ("tests/transports/http/test_jwks.py", "tests/transports/http/test_oauth.py"),
    "transports/stdio": tuple(f"tests/transports/stdio/test_{name}.py" for name in ("streams", "stdio", "handshake")),
    "transports/stdio/handshake": tuple(
        f"tests/transports/stdio/test_{name}.py" for name in ("handshake", "handshake_key")
    ),
    "transports/stdio/shutdown": ("tests/transports/stdio/test_shutdown.py",),
    "writes": ("tests/writes",),
    "writes/duplicates": ("tests/writes/test_duplicates.py", "tests/writes/test_identity.py"),
    "writes/reconcile": tuple(
        f"tests/writes/test_{name}.py"
        for name in ("search", "matching", "identity", "create", "delete", "publish", "ledger", "cancel", "duplicates")
    ),
    "writes/replacement": ("tests/writes/replacement", "tests/tools/posts/test_reschedule.py"),
    "writes/startup_report": ("tests/writes/test_startup_report.py",),
    "writes/in_flight": (
        *(f"tests/writes/test_{name}.py" for name in ("cancel", "create", "ledger")),
        "tests/writes/replacement",
    ),
    "writes/outcomes": ("tests/writes/test_limits.py", "tests/writes/test_duplicates.py"),
    "writes/publication": ("tests/writes/test_publish.py",),
    "writes/writer": tuple(
        f"tests/writes/{name}.py"
        for name in (
            "test_create",
            "test_delete",
            "test_publish",
            "test_cancel",
            "test_limits",
            "test_ledger",
            "test_duplicates",
            "test_search",
            "test_identity",
            "replacement/test_half_replaced",
        )
    ),
}
# They take seconds each, since they start processes or repeat something hundreds of times.
LEFT_OUT = ("tests/writes/test_history.py", "tests/writes/replacement/test_killed.py")
# A timeout is a loop that doesn't end, which tests notice.
KILLED = ("killed", "timeout")
_SQL = re.compile(
    r"\b(SELECT|FROM|WHERE|CASE WHEN|ORDER BY|INSERT|VALUES|UPDATE|SET|DELETE|LIMIT|BEGIN|COMMIT|ROLLBACK|PRAGMA)\b"
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mutant: its name, and the line before and after."""

    name: str
    before: str
    after: str


def list_modules() -> list[str]:
    """List the modules that protect people, as the command takes them."""
    package = ROOT / "ttp_mcp"
    found: list[str] = []
    for name in PROTECTING:
        files = sorted((package / name).glob("*.py")) if (package / name).is_dir() else [package / f"{name}.py"]
        found += [str(file.relative_to(package).with_suffix("")) for file in files if file.name != "__init__.py"]
    return found


def closest_tests(module: str) -> list[str]:
    """Return the tests that are closest to a module."""
    folder = module
    while folder and folder not in TESTS:
        folder = folder.rpartition("/")[0]
    return list(TESTS.get(folder, (f"tests/{module.rpartition('/')[0]}",)))


def copy_project(folder: Path) -> None:
    """Copy the tracked files."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    # mutmut looks for it, and reads no other setting.
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write('\n[tool.mutmut]\nsource_paths = ["ttp_mcp"]\n')


def run_in_copy(folder: Path, *arguments: str, stdout: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run `mutants_run.py` in the copy, in the environment of the project with mutmut added."""
    command = ["uv", "run", "--project", str(ROOT), "--quiet", "--locked", "--all-extras", "--with", MUTMUT, "python"]
    # Before the project itself, which is installed from its folder.
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(
        [*command, "scripts/mutants_run.py", *arguments],
        cwd=folder,
        env=environment,
        stdout=stdout,
        text=True,
        check=False,
    )


def make_mutants(folder: Path, modules: list[str]) -> dict[str, list[Mutant]]:
    """Put the mutants of modules into the copy."""
    made = run_in_copy(folder, "make", *(f"ttp_mcp/{module}.py" for module in modules), stdout=subprocess.PIPE)
    found = zip(modules, json.loads(made.stdout), strict=True)
    return {module: read_mutants(folder, module, names) for module, names in found}


def run_mutants(folder: Path, names: list[str], tests: list[str], options: argparse.Namespace) -> dict[str, str]:
    """Return the outcome of each mutant."""
    plan = folder / "plan.json"
    plan.write_text(
        json.dumps({"mutants": names, "workers": options.workers, "seconds": options.seconds}), encoding="utf-8"
    )
    run_in_copy(folder, "run", str(plan), *(f"--ignore={name}" for name in LEFT_OUT), *tests, stdout=subprocess.DEVNULL)
    outcomes: dict[str, str] = json.loads(plan.read_text(encoding="utf-8"))
    if set(outcomes) != set(names):
        sys.exit("The tests did not run, or fail without a mutant.")
    return outcomes


def read_mutants(folder: Path, module: str, names: list[str]) -> list[Mutant]:
    """Read the changed lines of mutants."""
    source = (folder / "ttp_mcp" / f"{module}.py").read_text(encoding="utf-8")
    lines = source.splitlines()
    functions = {
        node.name: [line.strip().replace(node.name, "") for line in lines[node.lineno - 1 : node.end_lineno]]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    found: list[Mutant] = []
    for name in names:
        mangled = name.rpartition(".")[2]
        diff = list(difflib.ndiff(functions[f"{mangled.rpartition('__mutmut_')[0]}__mutmut_orig"], functions[mangled]))
        before, after = (" ".join(line[2:] for line in diff if line.startswith(sign)) for sign in "-+")
        found.append(Mutant(name, before, after))
    return found


def name_function(mutant: Mutant) -> str:
    """Return the function of a mutant as the source has it: `module.xǁLedgerǁfinish__mutmut_1` is one of `Ledger.finish`."""
    mangled = mutant.name.rpartition(".")[2].rpartition("__mutmut_")[0]
    return mangled.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")


@cache
def read_equivalent() -> dict[str, list[dict[str, str]]]:
    """Read the mutants that change nothing, by module."""
    return tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))


def find_reason(mutant: Mutant, module: str) -> dict[str, str] | None:
    """Return the entry that says why a mutant changes nothing, if there is one; SQL in another case needs none."""
    if _is_sql_case(mutant):
        return {}
    listed = read_equivalent()
    own = listed.get(module, [])
    for entry in (*listed["*"], *own):
        if "ignored" in entry and _is_equal_without(entry["ignored"], mutant):
            return entry
    found = (name_function(mutant), mutant.before, mutant.after)
    return next((each for each in own if (each.get("function"), each.get("before"), each.get("after")) == found), None)


def _is_equal_without(pattern: str, mutant: Mutant) -> bool:
    return re.sub(pattern, "", mutant.before) == re.sub(pattern, "", mutant.after)


def _is_sql_case(mutant: Mutant) -> bool:
    """Check whether only the case of keywords and names of SQL differs, and not that of values."""
    before, after = (re.findall(r"'[^']*'", line) for line in (mutant.before, mutant.after))
    return before == after and mutant.before.lower() == mutant.after.lower() and bool(_SQL.search(mutant.before))


def try_modules(modules: list[str], patterns: list[str], options: argparse.Namespace) -> int:
    """Try mutants of modules, all if none is named, and print the results; return the survivors that aren't equivalent."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        copy_project(folder)
        made = make_mutants(folder, modules)
        chosen = {module: _choose(made[module], patterns) for module in modules}
        reasons = {module: [find_reason(each, module) for each in chosen[module]] for module in modules}
        tried = {
            module: [each for each, reason in zip(chosen[module], reasons[module], strict=True) if reason is None]
            for module in modules
        }
        tests = list(dict.fromkeys(test for module in modules for test in closest_tests(module)))
        outcomes = run_mutants(folder, [each.name for found in tried.values() for each in found], tests, options)
    for module in modules:
        print_result(module, tried[module], len(chosen[module]), outcomes)
        if not patterns:
            print_outdated(module, reasons[module])
    return sum(outcome not in KILLED for outcome in outcomes.values())


def _choose(mutants: list[Mutant], patterns: list[str]) -> list[Mutant]:
    return [each for each in mutants if any(fnmatchcase(each.name, pattern) for pattern in patterns or ["*"])]


def print_result(module: str, tried: list[Mutant], chosen: int, outcomes: dict[str, str]) -> None:
    """Print the kill rate of a module and its survivors."""
    alive = [mutant for mutant in tried if outcomes[mutant.name] not in KILLED]
    share = 100 * (len(tried) - len(alive)) / len(tried) if tried else 100.0
    timeouts = sum(outcomes[mutant.name] == "timeout" for mutant in tried)
    print(
        f"\n{module}: {len(tried) - len(alive)} of {len(tried)} mutants killed ({share:.1f} %), {timeouts} of them by a timeout, "
        f"{chosen - len(tried)} equivalent"
    )
    for mutant in alive:
        print(f"\n{mutant.name}\n  - {mutant.before}\n  + {mutant.after}")


def print_outdated(module: str, reasons: list[dict[str, str] | None]) -> None:
    """Print the module's entries among the equivalent mutants that are the reason for none of its mutants."""
    for entry in read_equivalent().get(module, []):
        if entry not in reasons:
            print(f"\nNo mutant has this entry of {EQUIVALENT.name}:")
            print(*(f"  {name} = {value}" for name, value in entry.items()), sep="\n")


def main() -> int:
    """List the modules, or try some."""
    parser = argparse.ArgumentParser(description="Change a module in small ways and see whether its tests notice.")
    parser.add_argument(
        "names", nargs="*", help="modules, for example ledger/claims, and mutants of them (none: all); none: the list"
    )
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=600, help="CPU time after which a mutant has survived")
    options = parser.parse_args()
    if not options.names:
        print(*list_modules(), sep="\n")
        return 0
    modules = [name for name in options.names if (ROOT / "ttp_mcp" / f"{name}.py").is_file()]
    if not modules:
        parser.error(f"ttp_mcp/{options.names[0]}.py does not exist")
    patterns = [name for name in options.names if name not in modules]
    return 1 if try_modules(modules, patterns, options) else 0


if __name__ == "__main__":
    sys.exit(main())
