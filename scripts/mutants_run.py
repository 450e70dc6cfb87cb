"""The part of `scripts/mutants.py` that runs in a copy of the project, where mutmut is installed.

    python mutants_run.py make ttp_mcp/times.py            replaces files by ones with all their mutants, and prints the names
    python mutants_run.py run PLAN tests/test_times.py     tries the mutants that the JSON file PLAN names, and writes their outcomes to it

Starting pytest and collecting tests takes longer than most tests. So one pytest collects the tests, runs them once to see which functions
each one calls, and then forks a process for each mutant. That process runs only tests that call the changed function, those first that
killed another mutant of it, then quick and different ones, and ends with the first failure.
"""

import gc
import json
import os
import select
import signal
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import pytest

# A test hangs when it takes ten times as much CPU as without a mutant, and this much more.
CPU_SECONDS = 5
# Or this long on the clock for each process that waits for a CPU.
CLOCK_SECONDS = 20
KILLED, SURVIVED, TIMEOUT = "killed", "survived", "timeout"


def make_mutants(files: list[Path]) -> list[list[str]]:
    """Replace source files by ones with all their mutants, of which the environment chooses one; return the names, by file."""
    from mutmut.mutation import file_mutation

    file_mutation.mutation_operators = [*file_mutation.mutation_operators, *list_operators()]
    names: list[list[str]] = []
    for file in files:
        source = file.read_text(encoding="utf-8")
        # For another system: tests here can't reach it.
        elsewhere = {number for number, line in enumerate(source.splitlines(), 1) if "pragma: no cover" in line}
        changed: Any = file_mutation.mutate_file_contents(str(file), source, coverage_excluded_lines=elsewhere)
        file.write_text(changed.code, encoding="utf-8")
        module = ".".join(file.with_suffix("").parts)
        names.append([f"{module}.{name}" for name in changed.mutant_names])
    return names


def list_operators() -> list[tuple[type, Callable[[Any], Iterator[Any]]]]:
    """Operators that mutmut lacks, and that a hurried change amounts to: a step or a guard left out, a condition that always holds."""
    import libcst as cst

    def force_condition(node: Any) -> Iterator[Any]:
        condition = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        for operator, value in ((cst.And(), "False"), (cst.Or(), "True")):
            yield node.with_changes(test=cst.BooleanOperation(left=condition, operator=operator, right=cst.Name(value)))

    def leave_out(node: Any) -> Iterator[Any]:
        if not isinstance(node, cst.Expr) or not isinstance(node.value, cst.BaseString | cst.Yield):
            yield cst.Pass()

    def return_nothing(node: Any) -> Iterator[Any]:
        if node.value is not None and not (isinstance(node.value, cst.Name) and node.value.value in ("None", "False")):
            yield node.with_changes(value=None)

    def leave_block(node: Any) -> Iterator[Any]:
        if all(item.asname is None for item in node.items):
            yield cst.If(cst.Name("True"), node.body)

    return [
        (cst.If, force_condition),
        (cst.Expr, leave_out),
        (cst.Raise, leave_out),
        (cst.Return, return_nothing),
        (cst.With, leave_block),
    ]


class MutantRunner:
    """A pytest plugin that tries mutants in place of running the tests once."""

    def __init__(self, names: list[str], workers: int, seconds: float) -> None:
        """Try the mutants of these names, as many at a time as there are `workers`, each for `seconds` of CPU."""
        self.outcomes: dict[str, str] = {}
        self._waiting = list(reversed(names))
        self._workers = workers
        self._most_seconds = seconds
        self._seconds: dict[str, float] = {}
        # Quick tests are cheap; further examples of the same test cost more each time, since they rarely notice more.
        self._costs: dict[str, float] = {}
        self._callers: defaultdict[str, list[pytest.Item]] = defaultdict(list)
        # Tests that start processes: these may call what no test calls itself.
        self._starting: list[pytest.Item] = []
        self._kills: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._failed = False
        # Mutants under way, by the pipe to which their process writes.
        self._running: dict[int, tuple[str, int, float]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note that a test failed."""
        self._failed = self._failed or report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests without a mutant, then with each."""
        if session.testsfailed:
            return True
        self._observe(session.items)
        while not session.testsfailed and (self._waiting or self._running):
            while self._waiting and len(self._running) < self._workers:
                self._start(self._waiting.pop())
            for pipe in select.select(list(self._running), [], [])[0]:
                self._finish(pipe)
        return True

    def _observe(self, items: list[pytest.Item]) -> None:
        """Run each test once, and note its time and the functions it calls."""
        from mutmut.state import state

        called: set[str] = state()._stats
        os.environ["MUTANT_UNDER_TEST"] = "stats"
        processes: list[object] = []
        examples = Counter[str]()
        sys.addaudithook(lambda event, _: processes.append(event) if event == "subprocess.Popen" else None)
        for item, following in zip(items, [*items[1:], None], strict=True):
            called.clear()
            processes.clear()
            started = _read_cpu_seconds()
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            self._seconds[item.nodeid] = _read_cpu_seconds() - started
            examples[item.nodeid.partition("[")[0]] += 1
            self._costs[item.nodeid] = self._seconds[item.nodeid] * examples[item.nodeid.partition("[")[0]]
            for function in called:
                self._callers[function].append(item)
            if processes:
                self._starting.append(item)
        os.environ["MUTANT_UNDER_TEST"] = ""
        # What exists is not looked at again, so that processes share its memory.
        gc.collect()
        gc.freeze()

    def _start(self, name: str) -> None:
        """Fork a process that tries a mutant."""
        function = name.rpartition("__mutmut_")[0]
        items = self._callers.get(function) or self._starting
        kills, everywhere = self._kills[function], self._kills[""]
        items = sorted(items, key=lambda it: (-kills[it.nodeid], -everywhere[it.nodeid], self._costs[it.nodeid]))
        reading, writing = os.pipe()
        with warnings.catch_warnings(action="ignore"):
            pid = os.fork()
        if not pid:
            self._try_mutant(name, items, writing)
        os.close(writing)
        self._running[reading] = (name, pid, time.perf_counter())

    def _try_mutant(self, name: str, items: list[pytest.Item], pipe: int) -> NoReturn:
        """Run tests until one fails, write the outcome and that test's name to the pipe, and end this process."""
        os.setpgid(0, 0)
        quiet = os.open(os.devnull, os.O_RDWR)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os.environ["MUTANT_UNDER_TEST"] = name
        self._failed = False
        try:
            for item in items:
                self._set_time_limit(item, pipe)
                item.ihook.pytest_runtest_protocol(item=item, nextitem=None)
                if self._failed:
                    _end_process(pipe, f"{KILLED} {item.nodeid}")
                if _read_cpu_seconds() > self._most_seconds:
                    break
        except BaseException:  # noqa: BLE001 - pytest itself failed; this process must end here in any case
            _end_process(pipe, f"{KILLED} ")
        _end_process(pipe, f"{SURVIVED} ")

    def _set_time_limit(self, item: pytest.Item, pipe: int) -> None:
        longest = 10 * self._seconds[item.nodeid]
        for number, timer, seconds in (
            (signal.SIGALRM, signal.ITIMER_REAL, (CLOCK_SECONDS + longest) * max(1, os.getloadavg()[0])),
            (signal.SIGPROF, signal.ITIMER_PROF, CPU_SECONDS + longest),
        ):
            signal.signal(number, lambda *_: _end_process(pipe, f"{TIMEOUT} {item.nodeid}"))
            signal.setitimer(timer, seconds)

    def _finish(self, pipe: int) -> None:
        """Note the outcome of a mutant, and end what its process started."""
        name, pid, started = self._running.pop(pipe)
        outcome, _, test = os.read(pipe, 10_000).decode().partition(" ")
        os.close(pipe)
        _, _, usage = os.wait4(pid, 0)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        self.outcomes[name] = outcome or KILLED
        if test:
            self._kills[name.rpartition("__mutmut_")[0]][test] += 1
            self._kills[""][test] += 1
        print(
            f"{name} {outcome} {time.perf_counter() - started:.1f} s, {usage.ru_utime + usage.ru_stime:.2f} s of CPU {test}",
            file=sys.stderr,
            flush=True,
        )


def _read_cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def _end_process(pipe: int, outcome: str) -> NoReturn:
    os.write(pipe, outcome.encode())
    os._exit(0)


def run_tests(plan: Path, arguments: list[str]) -> int:
    """Try the mutants of a plan, and write the outcomes to it."""
    wanted = json.loads(plan.read_text(encoding="utf-8"))
    runner = MutantRunner(wanted["mutants"], wanted["workers"], wanted["seconds"])
    options = [
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        "-n",
        "0",
        "-s",
        "--tb=no",
        "--assert=plain",
        "-m",
        "not slow and not browser",
    ]
    code = pytest.main([*options, f"--basetemp={plan.parent / 'basetemp'}", *arguments], plugins=[runner])
    plan.write_text(json.dumps(runner.outcomes), encoding="utf-8")
    return int(code)


if __name__ == "__main__":
    if sys.argv[1] == "make":
        print(json.dumps(make_mutants([Path(name) for name in sys.argv[2:]])))
    else:
        sys.exit(run_tests(Path(sys.argv[2]), sys.argv[3:]))
