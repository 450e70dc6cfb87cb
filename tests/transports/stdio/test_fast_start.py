"""The program as clients start it: the modules that a replayed start loads, its end, and its memory."""

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.processes import make_environment
from tests.support.windows import needs_parents, needs_signals, skip_on_windows
from tests.transports.stdio.handshake_fixture import make_call, make_opening, make_request
from tests.transports.stdio.stdio_fixture import (
    INITIALIZE,
    INITIALIZED,
    PATIENCE,
    Peer,
    make_tool_call,
    read_text,
    to_line,
)

TOOLS = {"jsonrpc": "2.0", "id": "tools", "method": "tools/list"}
OPENING = (INITIALIZE, INITIALIZED, TOOLS)
IDLE_MIB = 25
# Loaded at each start of Python: customization, and .pth files of setuptools and pywin32.
BY_THE_ENVIRONMENT = {"sitecustomize", "usercustomize", "_distutils_hack", "pywin32_bootstrap", "pywin32_system32"}
SIGNALS = [pytest.param(name, marks=needs_signals) for name in ("SIGTERM", "SIGINT", "SIGHUP")]


@contextmanager
def start_program(folder, *words, python=(), **variables):
    """Start `ttp-mcp --sandbox` over pipes."""
    started = subprocess.Popen(
        [sys.executable, *python, "-m", "ttp_mcp", *(words or ["--sandbox"])],
        **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE),
        env=make_environment(TTP_STATE_DIR=str(folder), TZ="UTC", **variables),
    )
    try:
        yield Peer(started)
    finally:
        started.kill()
        for stream in (started.stdin, started.stdout, started.stderr):
            with suppress(BrokenPipeError):
                stream.close()
        started.wait()


def open_session(peer):
    peer.send(*OPENING)
    return peer.answer("start"), peer.answer("tools")


def read_status(peer, name):
    """Return a figure from `/proc/PID/status` in MiB."""
    return int(re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{peer.process.pid}/status").read_text())[1]) / 1024


@pytest.fixture(scope="module")
def recorded_session(tmp_path_factory):
    """Return a state folder with the record of one session, and its responses."""
    folder = tmp_path_factory.mktemp("state")
    with start_program(folder) as peer:
        answers = open_session(peer)
        peer.process.stdin.close()
        assert peer.wait() == 0
    return folder, answers


@pytest.mark.requirement("fast-start.idle")
def test_replayed_start_loads_neither_the_sdk_nor_the_server(recorded_session):
    folder, answers = recorded_session
    with start_program(folder, python=["-X", "importtime"]) as peer:
        assert open_session(peer) == answers
        if sys.platform == "linux":
            assert read_status(peer, "VmHWM") <= IDLE_MIB
        peer.process.stdin.close()
        loaded = peer.process.stderr.read().decode()
        assert peer.wait() == 0
    modules = set(re.findall(r"\| +(\S+)$", loaded, re.MULTILINE))
    ours = {name for name in modules if name.startswith("ttp_mcp")}
    assert ours == {
        "ttp_mcp",
        "ttp_mcp.cli",
        "ttp_mcp.process",
        "ttp_mcp.transports",
        "ttp_mcp.transports.stdio",
        "ttp_mcp.transports.stdio.handshake",
    }
    heavy = {"asyncio", "argparse", "logging", "sqlite3", "ssl", "socket", "zoneinfo", "dataclasses", "inspect"}
    heavy |= {"mcp", "mcp_types", "pydantic", "anyio", "httpx2"}
    assert not heavy & modules
    assert {name.partition(".")[0] for name in modules} - sys.stdlib_module_names <= {
        "ttp_mcp",
        "coverage",
        *BY_THE_ENVIRONMENT,
    }


@pytest.mark.requirement("fast-start.idle")
def test_first_call_starts_the_server_and_gets_its_result(recorded_session):
    folder, answers = recorded_session
    with start_program(folder) as peer:
        assert open_session(peer) == answers
        peer.send(make_tool_call(1, "list_integrations"))
        assert "@harborcafe" in read_text(peer.answer(1))
        peer.send(TOOLS)
        assert peer.answer("tools") == answers[1]
        peer.process.stdin.close()
        assert peer.wait() == 0
        assert peer.process.stdout.read() == b""


def end_session(peer, end):
    """End a session: close its input, break its output, or send a signal."""
    if end == "input":
        peer.process.stdin.close()
    elif end == "output":
        peer.process.stdout.close()
        peer.send(TOOLS)
    else:
        peer.process.send_signal(signal.Signals[end])


@pytest.mark.requirement("fast-start.end")
@pytest.mark.parametrize("end", [*SIGNALS, "input", "output"])
def test_idle_process_ends_with_code_0(recorded_session, end):
    folder, answers = recorded_session
    with start_program(folder) as peer:
        assert open_session(peer) == answers
        end_session(peer, end)
        assert peer.wait() == 0
        assert peer.process.stderr.read() == b""


@pytest.mark.requirement("fast-start.end")
@pytest.mark.parametrize("end", [*SIGNALS[:2], "input"])
def test_end_during_the_hand_over_ends_the_process(recorded_session, end):
    """After a signal the call isn't begun; at the end of input it gets its result."""
    folder, _ = recorded_session
    with start_program(folder) as peer:
        open_session(peer)
        peer.send(make_tool_call(1, "list_integrations"))
        if end == "input":
            peer.process.stdin.close()
            assert "@harborcafe" in read_text(peer.answer(1))
        else:
            peer.process.send_signal(signal.Signals[end])
        assert peer.wait() == 0
        assert peer.process.stdout.read() == b""


# Modules whose import ends during the hand-over.
POINTS = ("mcp_types", "ttp_mcp.tools", "ttp_mcp.writes.startup_report")


def wait_for_import(peer, module):
    """Read the output of `-X importtime` until a module is loaded."""
    while not (printed := peer.process.stderr.readline()).endswith(f" {module}\n".encode()):
        assert printed, f"{module} was not loaded"


@needs_signals
@pytest.mark.requirement("fast-start.end")
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("end", ["SIGTERM", "SIGINT", "SIGKILL", "input", "output"])
def test_end_at_any_point_of_the_hand_over_repeats_no_response(recorded_session, point, end):
    """Everything was sent at once. After a signal the call gets no response; at the end of input it does."""
    folder, answers = recorded_session
    with start_program(folder, python=["-X", "importtime"]) as peer:
        peer.send(b"".join(map(to_line, [*OPENING, make_tool_call(1, "list_integrations")])))
        wait_for_import(peer, point)
        if end == "input":
            peer.process.stdin.close()
        elif end == "output":
            peer.process.stdout.close()
        else:
            peer.process.send_signal(getattr(signal, end))
        # Imports continue to print to a pipe that must be read.
        peer.process.stderr.read()
        assert peer.wait() == (-9 if end == "SIGKILL" else 0)
        if end != "output":
            received = [json.loads(each) for each in peer.process.stdout]
            assert received[:2] == list(answers)
            assert [each["id"] for each in received[2:]] == ([1] if end == "input" else [])


@pytest.mark.requirement("fast-start.end")
def test_pipelined_messages_are_answered_in_order(recorded_session):
    folder, answers = recorded_session
    with start_program(folder) as peer:
        peer.send(b"".join(map(to_line, [*OPENING, make_tool_call(1, "list_integrations"), TOOLS])))
        peer.process.stdin.close()
        received = [json.loads(each) for each in peer.process.stdout]
        assert peer.wait() == 0
    assert received[:2] == list(answers)
    assert sorted(str(each["id"]) for each in received[2:]) == ["1", "tools"]


@pytest.fixture(scope="module")
def damaged_folder(tmp_path_factory):
    """Return a state folder with a record of both eras, whose sandbox can't be opened any more."""
    folder = tmp_path_factory.mktemp("damaged")
    for era in ("legacy", "modern"):
        with start_program(folder) as peer:
            peer.send(*make_opening(era))
            peer.answer(4)
            peer.process.stdin.close()
            assert peer.wait() == 0
    for path in (folder / "sandbox").glob("sandbox.db*"):
        path.write_bytes(b"no database" * 100)
    return folder


@pytest.fixture(params=["legacy", "modern"])
def era(request):
    return request.param


@pytest.mark.requirement("fast-start.end")
def test_server_that_cannot_start_responds_to_pending_requests(damaged_folder, era):
    cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 10}}
    calls = [make_call(era, number, "list_posts") for number in (9, 10, "x")]
    with start_program(damaged_folder) as peer:
        peer.send(*make_opening(era), *calls, cancelled, b"[]\n", b"nonsense")
        received, said = peer.process.communicate(timeout=PATIENCE)
        assert peer.wait() == 2
    said = said.decode()
    assert said.startswith("ttp-mcp: --sandbox can't use ")
    answers = [json.loads(each) for each in received.splitlines()]
    assert sorted(answer["id"] for answer in answers if "result" in answer and answer["id"] != "start") == [*range(5)]
    errors = {answer["id"]: answer["error"] for answer in answers if "error" in answer}
    assert list(errors) == [9, "x"]
    text = (
        f"The server can't start: {said.removeprefix('ttp-mcp: ').strip()} Then restart the server. Nothing was sent."
    )
    assert errors[9] == errors["x"] == {"code": -32603, "message": text}


@pytest.mark.requirement("fast-start.end")
def test_server_that_cannot_start_answers_a_client_that_has_closed_stderr(damaged_folder, era):
    with start_program(damaged_folder) as peer:
        peer.process.stderr.close()
        peer.send(*make_opening(era), make_call(era, 9, "list_posts"))
        assert "--sandbox can't use " in peer.answer(9)["error"]["message"]
        peer.process.stdin.close()
        assert peer.wait() == 2


@pytest.mark.requirement("fast-start.end")
@pytest.mark.parametrize("end", [*SIGNALS, "input", "output"])
def test_server_that_cannot_start_answers_until_the_client_leaves(damaged_folder, era, end):
    """A client whose handshake was replayed takes the server for connected, so each later request gets the reason too."""
    with start_program(damaged_folder) as peer:
        peer.send(*make_opening(era), make_call(era, "first", "list_posts"))
        error = peer.answer("first")["error"]
        assert peer.process.stderr.readline().startswith(b"ttp-mcp: --sandbox can't use ")
        later = [make_call(era, "later", "list_posts"), TOOLS, make_request("last", "ping")]
        for message in (INITIALIZED, *later):
            peer.send(message)
        assert [peer.answer(message["id"])["error"] for message in later] == [error] * 3
        end_session(peer, end)
        assert peer.wait() == (2 if end in ("input", "output") else 0)
        assert end == "output" or not peer.read(PATIENCE)


BREAKABLE = """
import os, sys
if "BROKEN" in os.environ:
    sys.modules[os.environ["BROKEN"]] = None
from ttp_mcp.cli import main
sys.exit(main(["--sandbox"]))
"""


@pytest.mark.requirement("fast-start.end")
@pytest.mark.parametrize("module", ["ttp_mcp.cli.serve", "ttp_mcp.factory", "ttp_mcp.writes.startup_report"])
def test_start_that_fails_by_a_bug_responds_to_pending_requests(tmp_path, era, module):
    """For example an installation without one of its modules."""
    python = ["-c", BREAKABLE]
    with start_program(tmp_path, python=python) as peer:
        peer.send(*make_opening(era))
        peer.answer(4)
        peer.process.stdin.close()
        assert peer.wait() == 0
    with start_program(tmp_path, python=python, BROKEN=module) as peer:
        peer.send(*make_opening(era), make_call(era, 9, "list_posts"))
        received, said = peer.process.communicate(timeout=PATIENCE)
        assert peer.wait() == 1
    assert module in said.decode()
    answers = [json.loads(each) for each in received.splitlines()]
    assert [answer["id"] for answer in answers if "error" in answer] == [9]
    assert answers[-1]["error"]["message"] == (
        "The server can't start: it made a mistake of its own, which it printed to stderr. Report it. Nothing was sent."
    )


ENDS = [(point, "") for point in POINTS] + [(POINTS[-1], end) for end in ("input", "output", "SIGTERM", "SIGKILL")]


@needs_signals
@pytest.mark.requirement("fast-start.end")
@pytest.mark.parametrize(("point", "end"), ENDS)
def test_failed_start_responds_to_requests_that_arrived_until_then(damaged_folder, era, point, end):
    """Also to a request that is longer than a pipe, however the session ends in the meantime."""
    asked = [
        make_call(era, number, "create_post", content="x" * size) for number, size in ((9, 1), (10, 200_000), (11, 1))
    ]
    number_replayed = len(make_opening(era)) - (era == "legacy")
    with start_program(damaged_folder, python=["-X", "importtime"]) as peer:
        peer.send(*make_opening(era), asked[0])
        wait_for_import(peer, point)
        sending = threading.Thread(target=send_all, args=(peer, asked[1:]))
        reading = threading.Thread(target=peer.process.stderr.read)
        sending.start()
        reading.start()
        if end == "input":
            sending.join()
            peer.process.stdin.close()
        elif end == "output":
            peer.process.stdout.close()
        elif end:
            peer.process.send_signal(getattr(signal, end))
        received = []
        if not end:
            received = [json.loads(peer.process.stdout.readline()) for _ in range(number_replayed + len(asked))]
            sending.join()
            peer.process.stdin.close()
        if end != "output":
            received += [json.loads(each) for each in peer.process.stdout]
        assert peer.wait() == {"SIGTERM": 0, "SIGKILL": -9}.get(end, 2)
        sending.join()
        reading.join()
    number_answered = Counter(answer["id"] for answer in received if "error" in answer)
    assert number_answered == ({} if end in ("output", "SIGTERM", "SIGKILL") else {9: 1, 10: 1, 11: 1})
    assert len([answer for answer in received if "result" in answer]) == (0 if end == "output" else number_replayed)


def send_all(peer, messages):
    """Send messages until the process stops reading."""
    with suppress(BrokenPipeError):
        peer.send(*messages)


@pytest.mark.requirement("fast-start.end")
def test_call_cancelled_during_the_hand_over_gets_no_response(recorded_session):
    folder, _ = recorded_session
    with start_program(folder) as peer:
        open_session(peer)
        cancelled = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        peer.send(
            to_line(make_tool_call(1, "list_integrations"))
            + to_line(cancelled)
            + to_line(make_tool_call(2, "list_integrations"))
        )
        assert "@harborcafe" in read_text(peer.answer(2))
        peer.process.stdin.close()
        assert peer.wait() == 0
        assert not peer.read(1)


@needs_parents
@pytest.mark.requirement("fast-start.end")
@pytest.mark.parametrize("can_start", [True, False])
def test_idle_process_ends_with_the_process_that_started_it(recorded_session, damaged_folder, can_start):
    """Even if its input is still open."""
    folder = recorded_session[0] if can_start else damaged_folder
    waiting, release = os.pipe()
    # Python sets LC_CTYPE if nothing else does, which changes a flag of its child process and thus the key of the record.
    start = "os.environ.pop('LC_CTYPE', None); subprocess.Popen([sys.executable, '-m', 'ttp_mcp', '--sandbox'])"
    script = f"import os, subprocess, sys; {start}; os.read({waiting}, 1)"
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    variables = make_environment(TTP_STATE_DIR=str(folder), TZ="UTC")
    with subprocess.Popen([sys.executable, "-c", script], pass_fds=[waiting], env=variables, **pipes) as parent:
        peer = Peer(parent)
        peer.send(*(OPENING if can_start else [*make_opening("legacy"), make_tool_call("tools", "list_posts")]))
        assert ("error" in peer.answer("tools")) is not can_start
        os.close(release)
        # Its end of the output closes with the server.
        assert select.select([parent.stdout], [], [], PATIENCE)[0]
        assert parent.stdout.read() == b""
    os.close(waiting)


@pytest.mark.requirement("fast-start.off")
@pytest.mark.parametrize(("words", "variables"), [((), {"TTP_FAST_START": "off"}), ((), {"TTP_FAST_START": '"OFF"'})])
def test_nothing_is_recorded_when_switched_off(tmp_path, words, variables):
    with start_program(tmp_path, *words, **variables) as peer:
        open_session(peer)
        peer.process.stdin.close()
        assert peer.wait() == 0
    assert not list(tmp_path.glob("handshake-*"))


@pytest.mark.requirement("fast-start.off")
def test_setting_that_became_invalid_stops_the_start(recorded_session):
    folder, _ = recorded_session
    with start_program(folder, TTP_ACCESS="everything") as peer:
        assert peer.wait() == 2
        assert peer.process.stderr.read().startswith(b"ttp-mcp: TTP_ACCESS ")


LOADED = """
import sys
import mcp.server.lowlevel
before = {*sys.modules}
from importlib import import_module
for name in ("cli.serve", "factory", "logs", "transports.stdio.transport", "writes.startup_report"):
    import_module(f"ttp_mcp.{name}")
print(*sorted({*sys.modules} - before), sep="\\n")
"""
# Our packages for other commands, for other transports, or for the first call.
ELSEWHERE = {"client_config", "sandbox", "cli.call", "cli.install", "cli.login", "cli.sandbox", "transports.http"}
ELSEWHERE |= {"ledger.store.postgresql", "ledger.store.sqlite"}


@pytest.mark.requirement("fast-start.lean")
def test_server_loads_nothing_beyond_the_sdk_that_stdio_does_not_need():
    """The SDK itself always loads a web server, auth and an HTTP client."""
    output = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True).stdout
    modules = {*output.split()}
    ours = {name.removeprefix("ttp_mcp.") for name in modules if name.startswith("ttp_mcp.")}
    assert not [name for name in ours for other in ELSEWHERE if name == other or name.startswith(f"{other}.")]
    foreign = {name for name in modules if not name.startswith(("_", "ttp_mcp"))}
    assert foreign <= {"argparse", "difflib", "gc", "statistics"}


# Our packages and modules that a server needs to list its tools and to report unfinished writes.
BEFORE_CALL = {
    "api",
    "cli",
    "config",
    "credentials",
    "errors",
    "ledger",
    "logs",
    "media",
    "planning",
    "platforms",
    "process",
}
BEFORE_CALL |= {"server", "text", "times", "toolkit", "tools", "transports", "writes"}
# Modules of Python that those load beside the SDK's packages.
BESIDE_SDK = {"argparse", "ctypes", "difflib", "gc", "resource", "runpy", "sqlite3", "statistics", "ttp_mcp"}
# Modules that a call to the API loads. The second half are optional extras of the HTTP client, if they are installed.
HTTP_CLIENT = {"h11", "httpcore2", "truststore", "ctypes"}
HTTP_CLIENT |= {"attr", "attrs", "h2", "hpack", "hyperframe", "outcome", "socksio", "sortedcontainers", "trio"}


def list_packages(modules):
    """Return the packages of modules, without private ones."""
    return {name.partition(".")[0] for name in modules if not name.startswith("_")}


def list_imported(text):
    """Return the modules that `-X importtime` lists, even those that aren't installed."""
    return {*re.findall(r"\| +(\S+)$", text, re.MULTILINE)}


@pytest.mark.requirement("fast-start.lean")
@skip_on_windows("under Wine the last lines of a program reach a file late")
def test_loaded_packages_before_and_at_the_first_call(tmp_path):
    """Only the HTTP client's connections are loaded by the call."""
    timed = [sys.executable, "-X", "importtime"]
    sdk = list_imported(
        subprocess.run([*timed, "-c", "import mcp.server.lowlevel"], capture_output=True, text=True).stderr
    )
    variables = {"TTP_API_TOKEN": "ttp_" + "0123456789abcdef" * 3, "TTP_API_URL": "http://127.0.0.1:1/api"}
    variables |= {"TTP_STATE_DIR": str(tmp_path), "TTP_FAST_START": "off", "TZ": "UTC"}
    pipes = dict.fromkeys(("stdin", "stdout"), subprocess.PIPE)
    with (tmp_path / "errors").open("wb") as errors:
        started = subprocess.Popen([*timed, "-m", "ttp_mcp"], env=make_environment(**variables), stderr=errors, **pipes)
    with started:
        peer = Peer(started)
        open_session(peer)
        before = list_imported((tmp_path / "errors").read_text())
        peer.send(make_tool_call(1, "list_integrations"))
        assert read_text(peer.answer(1)).startswith("Accounts not listed: the API refused the connection.")
        at_call = list_imported((tmp_path / "errors").read_text()) - before
        started.stdin.close()
    assert {name.split(".")[1] for name in before if name.startswith("ttp_mcp.")} == BEFORE_CALL
    elsewhere = ELSEWHERE - {"ledger.store.sqlite"}
    assert not [name for name in before for other in elsewhere if f"{name}.".startswith(f"ttp_mcp.{other}.")]
    assert list_packages(before) - list_packages(sdk) - BY_THE_ENVIRONMENT <= BESIDE_SDK
    assert list_packages(at_call) <= HTTP_CLIENT | {"ttp_mcp"}
    assert {name.rpartition(".")[0] for name in at_call if name.startswith("ttp_mcp")} <= {"ttp_mcp.api"}


FULL_DISK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
from ttp_mcp.cli import main
sys.exit(main([]))
"""


@pytest.mark.requirement("handshake.record")
@pytest.mark.skipif(sys.platform != "linux", reason="limits and folders of Linux")
@pytest.mark.parametrize("folder", ["full", "read-only", "missing"])
def test_home_folder_that_cannot_be_written_shows_no_error(tmp_path, folder):
    python = ["-c", FULL_DISK] if folder == "full" else ["-c", "from ttp_mcp.cli import main; main([])"]
    tmp_path.chmod(0o500)
    home = "/proc/none" if folder == "missing" else str(tmp_path)
    for _ in range(2):
        with start_program(home, python=python, HOME=home) as peer:
            start, tools = open_session(peer)
            assert start["result"]["serverInfo"]["name"]
            assert tools["result"]["tools"]
            peer.process.stdin.close()
            assert peer.process.stderr.read() == b""
            assert peer.wait() == 0


RECORDING = """
import os, signal, sys
from pathlib import Path
from ttp_mcp.transports.stdio.handshake import Handshake
path = Path(sys.argv[1])

def record(stop):
    files, changes = None, 0
    def trace(*_):
        nonlocal files, changes
        before, files = files, {each.name: each.read_bytes() for each in path.parent.iterdir()}
        changes += files != before
        if changes == stop:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace
    handshake = Handshake(path, "key")
    sys.settrace(trace)
    for number, method in enumerate(("ping", "tools/list")):
        handshake.observe(b'{"id":%d,"method":"%s"}' % (number, method.encode()))
        handshake.is_answered(number, {"text": "x" * 100})
    sys.settrace(None)
    os._exit(0)

def kill(stop):
    child = os.fork()
    if not child:
        record(stop)
    return os.waitpid(child, 0)[1]

stop, status = 0, 1
while status:
    stop += 1
    status = kill(stop)
    answers = path.read_bytes().count(b"\\n") if path.exists() else 0
    print(answers, int(Handshake(path, "key").can_replay))
    path.unlink(missing_ok=True)
print(len(list(path.parent.iterdir())))
"""


@pytest.mark.requirement("handshake.record")
@skip_on_windows("Windows has no fork")
def test_record_is_complete_or_absent_wherever_the_process_is_killed(tmp_path):
    """Send SIGKILL before each line of Python after which the files have changed, while two responses are recorded."""
    path = tmp_path / "handshake-record"
    printed = subprocess.run(
        [sys.executable, "-c", RECORDING, str(path)], capture_output=True, text=True, check=True
    ).stdout
    *states, left = printed.splitlines()
    assert states[0] == "0 0"
    assert states[-1] == "2 1"
    assert {*states} == {"0 0", "1 1", "2 1"}
    assert left == "0"
