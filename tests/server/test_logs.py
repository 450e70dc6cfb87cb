"""Logging: one redacted line per record, which never blocks on its reader."""

import asyncio
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import warnings
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.server.mcpserver import MCPServer

from tests.support.windows import needs_descriptors, skip_on_windows
from ttp_mcp.logs import LineFormatter, StderrHandler, configure_logging

TOKEN = "ttp_" + "0123456789ab" * 4
needs_full_pipes = skip_on_windows("a full pipe of Windows never says so")
names_devices = skip_on_windows("Windows has no numbers or paths of devices")


@pytest.fixture
def pipe():
    """A pipe whose reading end doesn't block."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


@contextmanager
def configure_logs(pipe):
    """Log to a pipe at INFO and yield a function for the lines. Not a fixture: pytest adds its handlers later."""
    reading, writing = pipe
    undo = configure_logging("INFO", fd=writing)
    try:
        yield lambda: logging.getLogger().handlers[0].flush() or os.read(reading, 1 << 20).decode().splitlines()
    finally:
        undo()


def make_record(text, *arguments, **more):
    return logging.LogRecord("small", logging.WARNING, "file.py", 1, text, arguments, more.get("exc_info"))


def make_error(text):
    try:
        raise ValueError(text)
    except ValueError as error:
        return error


# The line


@pytest.mark.requirement("logs.one-line")
def test_record_is_one_line_with_its_time_in_utc():
    """Time, level, logger and text."""
    entry = make_record("two\nlines\tand \x1b[31mred \u202e")
    entry.created, entry.msecs = 0, 7
    assert LineFormatter().format(entry) == (
        "1970-01-01T00:00:00.007Z WARNING small: two\\nlines\\tand \\x1b[31mred \\u202e"
    )


@pytest.mark.requirement("logs.redaction")
@given(st.text(), st.text(), st.booleans())
def test_no_secret_is_in_any_part_of_a_line(before, after, in_traceback):
    """Message, arguments and traceback are redacted the same way, and contain no line end."""
    secret = f"{before} {TOKEN} https://store.example/f?X-Amz-Signature=5e6f7a8b {after}"
    error = make_error(secret)
    found = (ValueError, error, error.__traceback__) if in_traceback else None
    text = LineFormatter().format(make_record("%s", "" if in_traceback else secret, exc_info=found))
    assert TOKEN not in text
    assert "5e6f7a8b" not in text
    assert not re.search("[\x00-\x1f]", text)
    assert ("Traceback" in text) >= in_traceback


@pytest.mark.requirement("logs.one-line")
@given(st.text(min_size=1, max_size=7), st.integers(900, 2000))
def test_long_record_keeps_its_start_and_end(piece, times):
    """A pipe writes 4,096 bytes atomically; the end of a traceback says most."""
    reading, writing = os.pipe()
    try:
        handler = StderrHandler(writing)
        handler.emit(make_record("begin " + piece * times * 4 + " end"))
        handler.close()
        written = os.read(reading, 1 << 16)
    finally:
        os.close(reading)
        os.close(writing)
    assert len(written) <= 4096
    assert b"begin " in written
    assert written.endswith(b" end\n")
    written.decode()


# Where records come from


@pytest.mark.requirement("logs.redaction")
def test_warnings_and_unhandled_exceptions_are_logged_the_same_way(pipe):
    """From the main thread, other threads and finalizers; none writes to stderr directly."""
    error = make_error(f"bad {TOKEN}")
    with warnings.catch_warnings(), configure_logs(pipe) as lines:
        warnings.simplefilter("always")
        warnings.warn(f"careful {TOKEN}", UserWarning, stacklevel=1)
        sys.excepthook(ValueError, error, error.__traceback__)
        sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
        thread = threading.Thread(target=lambda: (_ for _ in ()).throw(error))
        thread.start()
        thread.join()
        threading.excepthook(threading.ExceptHookArgs((ValueError, None, None, None)))
        sys.unraisablehook(type("Found", (), {"exc_value": error, "object": "a finalizer"}))
        found = lines()
    assert [line.split(" ")[1:3] for line in found] == [
        ["WARNING", "py.warnings:"],
        ["CRITICAL", "ttp_mcp.logs:"],
        ["WARNING", "ttp_mcp.logs:"],
        ["CRITICAL", "ttp_mcp.logs:"],
        ["ERROR", "ttp_mcp.logs:"],
    ]
    assert TOKEN not in "".join(found)
    assert "Traceback" in found[1]


@pytest.mark.requirement("logs.redaction")
def test_finalizer_at_interpreter_exit_prints_nothing():
    """Redaction is gone by then, and the hook itself must not fail."""
    program = """if True:
        import logging
        from ttp_mcp.logs import configure_logging

        class Late:
            def __del__(self):
                raise ValueError("late")

        logging.late = Late()
        configure_logging()
    """
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert ended.stderr == b""


@pytest.mark.requirement("logs.redaction")
def test_event_loop_exception_is_one_redacted_line(pipe):
    """asyncio logs exceptions that weren't awaited."""

    async def scenario():
        asyncio.get_running_loop().call_exception_handler({"message": "lost", "exception": make_error(TOKEN)})

    with configure_logs(pipe) as lines:
        asyncio.run(scenario())
        (line,) = lines()
    assert "asyncio: lost" in line
    assert TOKEN not in line


@pytest.mark.requirement("logs.ours-win")
def test_server_built_later_adds_no_handler_and_http_loggers_are_quiet(pipe):
    """The SDK configures logging in its constructor; our handler stays the only one."""
    with configure_logs(pipe) as lines:
        MCPServer("later", log_level="DEBUG")
        (handler,) = logging.getLogger().handlers
        assert isinstance(handler, StderrHandler)
        for name in ("httpx2", "httpcore2.connection"):
            logging.getLogger(name).info("GET https://store.example/?sig=1")
        logging.getLogger("small").info("said")
        logging.getLogger("small").debug("not said")
        (line,) = lines()
    assert line.endswith("INFO small: said")


@pytest.mark.requirement("logs.ours-win")
def test_undo_restores_previous_logging(pipe):
    """Handlers, level and hooks."""
    root = logging.getLogger()
    before = (root.handlers.copy(), root.level, sys.excepthook, threading.excepthook, sys.unraisablehook)
    undo = configure_logging("DEBUG", fd=pipe[1])
    assert root.level == logging.DEBUG
    undo()
    assert (root.handlers, root.level, sys.excepthook, threading.excepthook, sys.unraisablehook) == before


@pytest.mark.requirement("logs.never-block")
def test_record_that_cannot_be_formatted_is_named_without_raising(pipe):
    """For wrong arguments the line names the logger, not the content."""
    with configure_logs(pipe) as lines:
        logging.getLogger("small").warning("%d", TOKEN)
        found = lines()
    assert found == ["A log record of small could not be formatted: TypeError"]


# A reader that does not read


def fill_pipe(writing):
    """Fill a pipe and return how many bytes it took."""
    os.set_blocking(writing, False)
    count = 0
    while True:
        try:
            count += os.write(writing, b"x" * 4096)
        except BlockingIOError:
            os.set_blocking(writing, True)
            return count


@needs_full_pipes
@pytest.mark.requirement("logs.never-block")
def test_lines_beyond_the_pipe_and_the_queue_are_dropped_and_counted(pipe):
    """One line is being written and two are queued; once read, the number of lost lines follows."""
    reading, writing = pipe
    full = fill_pipe(writing)
    handler = StderrHandler(writing, most_lines=2)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.emit(make_record("line 0"))
    while not handler.queue.empty():
        os.sched_yield()
    for number in range(1, 5):
        handler.emit(make_record(f"line {number}"))
    assert os.read(reading, full) == b"x" * full
    handler.flush()
    handler.emit(make_record("line 5"))
    handler.close()
    assert os.read(reading, 1 << 16).decode().splitlines() == [
        "line 0", "line 1", "line 2", "2 lines dropped: stderr was not read", "line 5",
    ]  # fmt: skip


@needs_full_pipes
@pytest.mark.requirement("logs.never-block")
def test_closing_does_not_wait_for_a_reader(pipe):
    """The process ends with lines unread; nothing is written afterwards."""
    _, writing = pipe
    fill_pipe(writing)
    handler = StderrHandler(writing)
    handler.emit(make_record("unread"))
    handler.close()
    handler.emit(make_record("too late"))


@needs_full_pipes
@pytest.mark.requirement("logs.never-block")
async def test_waiting_lines_arrive_as_soon_as_stderr_is_read(pipe):
    """No further record is needed."""
    reading, writing = pipe
    full = fill_pipe(writing)
    handler = StderrHandler(writing)
    handler.setFormatter(logging.Formatter("%(message)s"))
    for number in range(100):
        handler.emit(make_record(f"{number} " + "y" * 3000))
    received = b""
    with anyio.fail_after(5):
        while not received.endswith(b"y\n") or b"\n99 " not in received:
            await anyio.wait_readable(reading)
            received += os.read(reading, 1 << 16)
    handler.close()
    assert [line.split(b" ")[0] for line in received[full:].splitlines()] == [b"%d" % number for number in range(100)]


@pytest.mark.requirement("logs.never-block")
@pytest.mark.parametrize("blocking", [True, False])
def test_logging_continues_while_stderr_is_not_read(pipe, blocking):
    """As with a client that ignores stderr; another program may have made the pipe non-blocking."""
    reading, writing = pipe
    os.set_blocking(writing, blocking)
    handler = StderrHandler(writing)
    for number in range(3000):
        handler.emit(make_record(f"{number} " + "y" * 200))
    handler.close()
    first = os.read(reading, 1 << 20).splitlines()[0]
    assert b"WARNING small: 0 y" in first


@needs_descriptors
@pytest.mark.requirement("logs.never-block")
def test_line_written_in_parts_is_not_torn():
    """A TCP socket may take half a line; the rest precedes anything else."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 6000)
        undo = configure_logging("WARNING", fd=ours.fileno())
        handler = logging.getLogger().handlers[0]
        for number in range(900):
            handler.emit(make_record(f"{number} " + "z" * 3900))
        for _ in range(900):
            handler.emit(make_record("lost, since all of this is more than socket and queue hold"))
        received = b""
        while b" 899 " not in received or not received.endswith(b"\n"):
            received += theirs.recv(1 << 20)
            handler.flush()
        undo()
    lines = [line.split(" ") for line in received.decode().splitlines() if line.endswith("z")]
    assert [int(words[3]) for words in lines] == list(range(900))
    assert {len(words[4]) for words in lines} == {3900}


@pytest.mark.requirement("logs.never-block")
def test_closed_stderr_is_not_an_error():
    """Lines are lost, the server keeps running."""
    reading, writing = os.pipe()
    os.close(reading)
    handler = StderrHandler(writing)
    handler.emit(make_record("lost"))
    handler.close()
    os.close(writing)


# The process


@pytest.mark.requirement("logs.core-dumps")
@pytest.mark.skipif(sys.platform != "linux", reason="Linux has both limits")
def test_core_dumps_and_memory_access_are_forbidden_and_logging_works():
    """Both limits are set, and stderr can still be reopened."""
    script = (
        "import ctypes, logging, resource\n"
        "from ttp_mcp.logs import configure_logging\nfrom ttp_mcp.process import forbid_core_dumps\n"
        "forbid_core_dumps()\n"
        "configure_logging()\n"
        "logging.warning('%s %s', resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.endswith("WARNING root: (0, 0) 0\n")


@names_devices
@pytest.mark.requirement("logs.never-block")
def test_process_without_stderr_can_log():
    """The null device takes descriptor 2 before another file gets it."""
    script = (
        "import os; os.close(2)\n"
        "import logging\n"
        "from ttp_mcp.logs import configure_logging\n"
        "configure_logging()\n"
        "logging.warning('nobody')\n"
        "print(os.readlink('/proc/self/fd/2'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "/dev/null\n"


@names_devices
@pytest.mark.requirement("logs.never-block")
def test_closed_descriptor_becomes_the_null_device():
    """Whatever its number: logged lines are discarded and nothing is raised."""
    closed = 987
    undo = configure_logging(fd=closed)
    logging.getLogger("small").warning("nobody")
    undo()
    assert os.fstat(closed).st_rdev == Path(os.devnull).stat().st_rdev
    os.close(closed)
