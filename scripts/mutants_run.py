"""The part of `scripts/mutants.py` that runs in a copy of the project, where mutmut is installed.

    python mutants_run.py make ttp_mcp/times.py            replaces files by ones with all their mutants, and prints the names
    python mutants_run.py run PLAN tests/test_times.py     tries the mutants that the JSON file PLAN names, and writes their outcomes to it

Starting pytest and collecting tests takes longer than most tests. So one pytest collects the tests, runs them once to see which functions
each one calls, and then forks a process for each mutant. That process runs only tests that call the changed function or start processes,
those first that killed another mutant of it, then quick and different ones, and ends with the first failure.
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
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import pytest

# A test hangs when it takes ten times as much CPU as without a mutant, and this much more.
CPU_SECONDS = 5
# Or this long on the clock for each process that waits for a CPU.
CLOCK_SECONDS = 5
KILLED, SURVIVED, TIMEOUT = "killed", "survived", "timeout"


def make_mutants(files: list[Path]) -> list[list[str]]:
    """Replace source files by ones with all their mutants, of which the environment chooses one; return the names, by file."""
    import libcst as cst
    from mutmut.mutation import file_mutation, mutators

    # One change of a string shows as much as three.
    mutmut_operators = [each for each in mutators.mutation_operators if each[1] != mutators.operator_string]
    file_mutation.mutation_operators = [*mutmut_operators, *list_operators()]
    names: list[list[str]] = []
    for file in files:
        plain, decorators = take_decorators(cst.parse_module(file.read_text(encoding="utf-8")))
        source = plain.code
        # For another system: tests here can't reach it.
        elsewhere = {number for number, line in enumerate(source.splitlines(), 1) if "pragma: no cover" in line}
        changed: Any = file_mutation.mutate_file_contents(str(file), source, coverage_excluded_lines=elsewhere)
        file.write_text(put_decorators(cst.parse_module(changed.code), decorators).code, encoding="utf-8")
        module = ".".join(file.with_suffix("").parts)
        names.append([f"{module}.{name}" for name in changed.mutant_names])
    return names


def take_decorators(module: Any) -> tuple[Any, dict[tuple[str, str], Any]]:
    """Take the decorators from functions, which mutmut would leave alone otherwise; return them by class and function."""
    taken: dict[tuple[str, str], Any] = {}

    def take(owner: str, function: Any) -> Any:
        names = {getattr(each.decorator, "value", "") for each in function.decorators}
        if not names or names <= {"staticmethod", "classmethod"} or "overload" in names:
            return function
        taken[owner, function.name.value] = function.decorators
        return function.with_changes(decorators=[])

    return change_functions(module, take), taken


def put_decorators(module: Any, decorators: dict[tuple[str, str], Any]) -> Any:
    """Put decorators back, outside of what chooses a mutant."""

    def put(owner: str, function: Any) -> Any:
        return function.with_changes(
            decorators=[*decorators.get((owner, function.name.value), ()), *function.decorators]
        )

    return change_functions(module, put)


def change_functions(module: Any, change: Callable[[str, Any], Any]) -> Any:
    """Change each function of a module and each method of its classes."""
    import libcst as cst

    def change_statements(statements: Any, owner: str) -> Iterator[Any]:
        for each in statements:
            if isinstance(each, cst.FunctionDef):
                yield change(owner, each)
            elif isinstance(each, cst.ClassDef) and not owner:
                body = each.body.with_changes(body=[*change_statements(each.body.body, each.name.value)])
                yield each.with_changes(body=body)
            else:
                yield each

    return module.with_changes(body=[*change_statements(module.body, "")])


def list_operators() -> list[tuple[type, Callable[[Any], Iterator[Any]]]]:
    """Operators that mutmut lacks, and that a hurried change amounts to: a step or a part left out, a condition that always holds."""
    import libcst as cst
    from mutmut.mutation.mutators import operator_string

    def change_string(node: Any) -> Iterator[Any]:
        yield from islice(operator_string(node), 1)

    def in_parentheses(node: Any) -> Any:
        return node.with_changes(lpar=[cst.LeftParen(), *node.lpar], rpar=[*node.rpar, cst.RightParen()])

    def force_condition(node: Any) -> Iterator[Any]:
        # A loop that never ends is noticed in any case.
        forced = ((cst.And(), "False"), (cst.Or(), "True")) if isinstance(node, cst.If) else ((cst.And(), "False"),)
        for operator, value in forced:
            condition = in_parentheses(node.test)
            yield node.with_changes(test=cst.BooleanOperation(condition, operator, cst.Name(value)))

    def leave_side(node: Any) -> Iterator[Any]:
        yield in_parentheses(node.left)
        yield in_parentheses(node.right)

    def leave_filters(node: Any) -> Iterator[Any]:
        for number in range(len(node.ifs)):
            yield node.with_changes(ifs=[*node.ifs[:number], *node.ifs[number + 1 :]])

    def leave_elements(node: Any) -> Iterator[Any]:
        for number in range(len(node.elements)):
            rest = [*node.elements[:number], *node.elements[number + 1 :]]
            if isinstance(node, cst.Set) and not rest:
                yield cst.Call(cst.Name("set"))
            elif isinstance(node, cst.Tuple) and not rest:
                yield cst.Tuple([])
            else:
                yield node.with_changes(elements=[each.with_changes(comma=cst.Comma()) for each in rest])

    def leave_handlers(node: Any) -> Iterator[Any]:
        again = cst.IndentedBlock([cst.SimpleStatementLine([cst.Raise()])])
        for number, handler in enumerate(node.handlers):
            changed = [*node.handlers[:number], handler.with_changes(body=again), *node.handlers[number + 1 :]]
            yield node.with_changes(handlers=changed)
        if node.finalbody is not None:
            yield node.with_changes(finalbody=None) if node.handlers else cst.If(cst.Name("True"), node.body)

    def leave_out(node: Any) -> Iterator[Any]:
        if not isinstance(node, cst.Expr) or not isinstance(node.value, cst.BaseString | cst.Yield):
            yield cst.Pass()

    def return_nothing(node: Any) -> Iterator[Any]:
        if node.value is None:
            yield cst.Pass()
        elif not (isinstance(node.value, cst.Name) and node.value.value in ("None", "False")):
            yield node.with_changes(value=None)

    def leave_block(node: Any) -> Iterator[Any]:
        if all(item.asname is None for item in node.items):
            yield cst.If(cst.Name("True"), node.body)

    return [
        (cst.BaseString, change_string),
        (cst.If, force_condition),
        (cst.While, force_condition),
        (cst.BooleanOperation, leave_side),
        (cst.CompFor, leave_filters),
        (cst.Set, leave_elements),
        (cst.List, leave_elements),
        (cst.Tuple, leave_elements),
        (cst.Dict, leave_elements),
        (cst.Try, leave_handlers),
        (cst.Expr, leave_out),
        (cst.Raise, leave_out),
        (cst.Continue, leave_out),
        (cst.Break, leave_out),
        (cst.Return, return_nothing),
        (cst.With, leave_block),
    ]


class MutantRunner:
    """A pytest plugin that tries mutants in place of running the tests once."""

    def __init__(self, names: list[str], workers: int, seconds: float) -> None:
        """Try the mutants of these names, as many at a time as there are `workers`, each for `seconds` of CPU."""
        self.outcomes: dict[str, str] = {}
        self._waiting = list(reversed(names))
        self._modules = {name.rpartition(".")[0] for name in names}
        self._workers = workers
        self._most_seconds = seconds
        self._seconds: dict[str, float] = {}
        # Quick tests are cheap; further examples of the same test cost more each time, since they rarely notice more.
        self._costs: dict[str, float] = {}
        self._callers: defaultdict[str, list[pytest.Item]] = defaultdict(list)
        # Tests that start processes, which may call what the test itself does not.
        self._starting: list[pytest.Item] = []
        self._kills: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._hangs: Counter[str] = Counter()
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
        from mutmut.mutation.trampoline import set_mutant_under_test
        from mutmut.state import state

        called: set[str] = state()._stats
        set_mutant_under_test("stats")
        processes: list[object] = []
        examples = Counter[str]()
        sys.addaudithook(lambda event, _: processes.append(event) if event == "subprocess.Popen" else None)
        # Fixtures of the session stay, for all processes that are forked later.
        for item, following in zip(items, [*items[1:], items[0].session], strict=True):
            called.clear()
            processes.clear()
            self._clear_caches()
            started = _read_cpu_seconds()
            item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
            self._seconds[item.nodeid] = _read_cpu_seconds() - started
            examples[item.nodeid.partition("[")[0]] += 1
            self._costs[item.nodeid] = self._seconds[item.nodeid] * examples[item.nodeid.partition("[")[0]]
            for function in called:
                self._callers[function].append(item)
            if processes:
                self._starting.append(item)
        set_mutant_under_test("")
        self._clear_caches()
        # What exists is not looked at again, so that processes share its memory.
        gc.collect()
        gc.freeze()

    def _clear_caches(self) -> None:
        """Forget what cached functions of the changed modules returned, so that they are called again."""
        for name in self._modules & sys.modules.keys():
            for value in vars(sys.modules[name]).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()

    def _start(self, name: str) -> None:
        """Fork a process that tries a mutant."""
        function = name.rpartition("__mutmut_")[0]
        items = [*dict.fromkeys([*self._callers[function], *self._starting])]
        kills, everywhere = self._kills[function], self._kills[""]
        # A test that hangs costs more than one that fails.
        items = sorted(
            items,
            key=lambda it: (
                self._hangs[it.nodeid],
                -kills[it.nodeid],
                -everywhere[it.nodeid],
                self._costs[it.nodeid],
            ),
        )
        reading, writing = os.pipe()
        with warnings.catch_warnings(action="ignore"):
            pid = os.fork()
        if not pid:
            self._try_mutant(name, items, writing)
        os.close(writing)
        self._running[reading] = (name, pid, time.perf_counter())

    def _try_mutant(self, name: str, items: list[pytest.Item], pipe: int) -> NoReturn:
        """Run tests until one fails, write the outcome and that test's name to the pipe, and end this process."""
        from mutmut.mutation.trampoline import set_mutant_under_test

        os.setpgid(0, 0)
        quiet = os.open(os.devnull, os.O_RDWR)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        # It holds for tests that replace the environment, too.
        set_mutant_under_test(name)
        self._failed = False
        try:
            for item, following in zip(items, [*items[1:], None], strict=True):
                self._set_time_limit(item, pipe)
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
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
        if outcome == TIMEOUT:
            self._hangs[test] += 1
        elif test:
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
    try:
        return int(pytest.main([*options, f"--basetemp={plan.parent / 'basetemp'}", *arguments], plugins=[runner]))
    finally:
        # Also when a fixture of the session can't be cleaned up, because a mutant stopped its server.
        plan.write_text(json.dumps(runner.outcomes), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "make":
        print(json.dumps(make_mutants([Path(name) for name in sys.argv[2:]])))
    else:
        sys.exit(run_tests(Path(sys.argv[2]), sys.argv[3:]))
