"""A smoke test of the server on CPython for Windows under Wine; `.ci/windows` runs it.

Usage: python -m tests.windows.smoke PYTHON_EXE [PART]

Each part runs in a process of its own with its own state, two at a time, and is ended after `PART_SECONDS`.
"""

import faulthandler
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from tests.support.media_files import build_png
from tests.windows.client import Server, read_text

# Far more than any part takes, even on a machine that is busy with twenty other programs.
PART_SECONDS = 600
# A server waits ten seconds for its writes; half of that leaves time for a slow machine.
WRITE_SECONDS = 5
FOLDER = "C:\\pics äö"
# Every form of path that a Windows user may write, and whether it is uploaded.
PATHS = {
    f"{FOLDER}\\my photo.png": True,
    "C:/pics äö/my photo.png": True,
    "file:///C:/pics%20%C3%A4%C3%B6/my%20photo.png": True,
    "c:\\PICS äö\\MY PHOTO.PNG": True,
    f'"{FOLDER}\\my photo.png"': True,
    f"\\\\?\\{FOLDER}\\my photo.png": True,
    "my photo.png": True,
    f"{FOLDER}\\my photo.png:evil": False,
    "CON": False,
    "my photo.png ": True,  # blanks around a path are stripped, as everywhere
    "my photo.png.": False,
    "link.png": False,
    "linked/photo.png": False,
    "..\\windows\\system.ini": False,
    "C:\\windows\\system.ini": False,
}
WINDOWS = ["wine64", sys.argv[1]]
DRIVE = Path(os.environ["WINEPREFIX"]) / "drive_c"
STATE = f"ttp state {'-'.join(sys.argv[2:])}"
ENVIRONMENT = {**os.environ, "TTP_MEDIA_DIRS": FOLDER, "TTP_STATE_DIR": f"C:\\{STATE}", "TTP_TIMEZONE": "UTC"}


def start_server(**variables: str) -> Server:
    """Start a server."""
    return Server(WINDOWS, {**ENVIRONMENT, **variables})


def make_time(days: int) -> str:
    """Return a time in the future."""
    return (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="minutes")


def delay_writes(seconds: int) -> None:
    """Delay the sandbox's response to each create."""
    command = [*WINDOWS, "-m", "ttp_mcp", "sandbox", "fault", "delay", "--method=POST", "--path=/posts", "--times=100"]
    subprocess.run([*command, f"--seconds={seconds}"], env=ENVIRONMENT, check=True, stdin=-1, stdout=-1, stderr=-1)


def upload_every_path() -> None:
    """Upload a file by every form of its path."""
    folder = DRIVE / FOLDER[3:]
    (DRIVE / "secret").mkdir(exist_ok=True)
    (DRIVE / "secret" / "photo.png").write_bytes(build_png(padding=2000))
    folder.mkdir(exist_ok=True)
    (folder / "my photo.png").write_bytes(build_png(padding=1000))
    # Wine shows links of Linux to Windows programs.
    for name, target in (("link.png", DRIVE / "secret" / "photo.png"), ("linked", DRIVE / "secret")):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
    server = start_server()
    for source, is_uploaded in PATHS.items():
        answer = server.call_for_text("upload_media", source=source)
        assert answer.startswith("Uploaded «" if is_uploaded else "Not uploaded: "), (source, answer)
    assert server.close() == 0


def call_every_tool() -> None:
    """Call every tool that the server lists."""
    server = start_server()
    called = {"upload_media"}

    def call(tool: str, **arguments: object) -> dict:
        called.add(tool)
        return server.call(tool, **arguments)

    post = {"content": "On Windows.", "account_ids": ["linkedin"], "scheduled_at": make_time(2)}
    for tool in ("list_integrations", "check_setup", "list_posts", "optimal_times", "optimal_times_by_account"):
        call(tool)
    for tool in (
        "next_optimal_time",
        "weekly_schedule",
        "engagement_summary",
        "post_results",
        "list_boards",
        "tiktok_options",
    ):
        call(tool)
    call("presign_media", filename="a.png", content_type="image/png", size_bytes=10)
    call("check_post", **post)
    post_id = call("create_post", **post)["post_id"]
    call("get_post", post_id=post_id)
    moved = call("reschedule_post", post_id=post_id, scheduled_at=make_time(3))
    call("delete_post", post_id=moved["post_id"])
    draft = call("create_post", content="Now.", account_ids=["linkedin"])
    call("publish_post", post_id=draft["post_id"])
    plan = call("plan_posts", posts=[{"content": "Planned.", "account_ids": ["linkedin"]}])
    call("apply_plan", plan_id=plan["plan_id"])
    call("undo_plan", plan_id=plan["plan_id"])
    listed = {tool["name"] for tool in server.request("tools/list", {})["result"]["tools"]}
    assert called == listed, called ^ listed
    assert server.close() == 0


def send_bad_lines() -> None:
    """An overlong line and lines without a message get an error; the next call succeeds."""
    server = start_server()
    for line, code in ((b'{"a":"' + b"a" * (8 << 20) + b'"}', -32600), (b"{not json", -32700), (b"[]", -32600)):
        server.write(line)
        response = server.read()
        assert response["error"]["code"] == code, response
    server.write(b'{"jsonrpc":"2.0","id":"r","method":"ping"}\r')
    assert server.read() == {"jsonrpc": "2.0", "id": "r", "result": {}}
    assert server.close() == 0


def leave_stderr_unread() -> None:
    """A process keeps running when its log fills an unread pipe."""
    command = [*WINDOWS, "-m", "tests.windows.noise"]
    process = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1)
    assert process.stdout.readline().strip() == b"logged"
    assert process.wait() == 0


def replay_the_handshake() -> None:
    """The second start replays the record of the first, hands over to the real server at a call, and exits when its input closes."""
    first = start_server()
    tools = first.request("tools/list", {})
    assert first.close() == 0
    second = Server([*WINDOWS, "-X", "importtime"], ENVIRONMENT)
    assert second.request("tools/list", {}) == tools
    assert second.close() == 0
    modules = second.process.stderr.read()
    assert b"ttp_mcp.process" in modules
    assert b"ttp_mcp.factory" not in modules
    third = start_server()
    assert third.request("tools/list", {}) == tools
    assert "linkedin" in third.call_for_text("list_integrations")
    assert third.close() == 0


def end_the_parent_in_a_replay() -> None:
    """A process that only replays exits with its parent, whose end closes its input."""
    start_server().close()
    parent = subprocess.Popen([*WINDOWS, "-m", "tests.windows.parent"], env=ENVIRONMENT, stdin=-1, stdout=-1, stderr=-1)
    assert parent.stdout.readline().strip() == b"answered", parent.stderr.read()
    parent.stdin.close()
    # The server holds the other end of this pipe.
    assert parent.stderr.read() == b""


def close_input_in_a_write(seconds: int, expected: str) -> None:
    """A write in flight when the input closes gets its result; one that takes too long is abandoned."""
    delay_writes(seconds)
    server = start_server()
    # Loads the modules of a write.
    server.call("list_integrations")
    write = server.begin("create_post", content="At the end.", account_ids=["linkedin"], scheduled_at=make_time(4))
    server.process.stdin.close()
    answer = read_text(server.finish(write))
    assert answer.startswith(expected), answer
    assert server.process.wait() == 0


def press_ctrl_c_in_a_write(transport: str) -> None:
    """A write in flight at Ctrl+C gets its result, and the server exits with 0."""
    delay_writes(WRITE_SECONDS)
    child, terminal = pty.fork()
    if child == 0:
        command = [*WINDOWS, "-m", "tests.windows.console", "typed", make_time(5), transport]
        os.execvpe("wine64", command, ENVIRONMENT)
    try:
        read_until(terminal, b"ready")
        os.write(terminal, b"\x03")
        shown = read_until(terminal, b".")
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(terminal)
    assert b"answer Scheduled, exit code 0." in shown, shown


def send_console_event_in_a_write(event: str, transport: str, seconds: int, expected: str) -> None:
    """Ctrl+Break lets a write finish; a closed console ends even a hanging write within the five seconds that Windows allows."""
    delay_writes(seconds)
    command = [*WINDOWS, "-m", "tests.windows.console", event, make_time(6), transport]
    ended = subprocess.run(command, env=ENVIRONMENT, stdin=-1, stdout=-1, stderr=-1)
    assert f"answer {expected}, exit code 0." in ended.stdout.decode(), ended


def check_who_can_read_the_ledger() -> None:
    """check_setup warns of a ledger that others can read; Wine shows a file's Linux mode as its access rights."""
    server = start_server()
    server.call("create_post", content="A draft.", account_ids=["linkedin"])
    for mode, is_warned in ((0o644, True), (0o600, False)):
        (DRIVE / STATE / "ledger.db").chmod(mode)
        answer = server.call_for_text("check_setup")
        assert ("ledger.db can be read by Everyone" in answer) is is_warned, answer
    assert server.close() == 0


def share_state_in_postgresql() -> None:
    """A server whose state is in PostgreSQL finds its earlier post."""
    url = os.environ["TTP_TEST_POSTGRESQL_URL"]
    post = {"content": f"Shared {time.time_ns()}.", "account_ids": ["linkedin"], "scheduled_at": make_time(8)}
    for outcome in ("created", "already_created"):
        server = start_server(TTP_STATE_URL=url)
        created = server.call("create_post", **post)
        assert created["outcome"] == outcome, created
        assert server.close() == 0


def read_until(terminal: int, end: bytes) -> bytes:
    """Read a terminal up to some text."""
    shown = b""
    while end not in shown:
        select.select([terminal], [], [])
        try:
            shown += os.read(terminal, 65536)
        except OSError:
            raise AssertionError(shown) from None
    return shown


UNKNOWN = "Unknown whether the post"
# Longest first.
PARTS: dict[str, Callable[[], None]] = {
    "close-input-in-a-silent-write": partial(close_input_in_a_write, 60, "Unknown whether"),
    "ctrl-c-stdio": partial(press_ctrl_c_in_a_write, "stdio"),
    "ctrl-c-http": partial(press_ctrl_c_in_a_write, "http"),
    "ctrl-break-stdio": partial(send_console_event_in_a_write, "break", "stdio", WRITE_SECONDS, "Scheduled"),
    "ctrl-break-http": partial(send_console_event_in_a_write, "break", "http", WRITE_SECONDS, "Scheduled"),
    "closed-console-in-a-silent-write": partial(send_console_event_in_a_write, "close", "stdio", 60, UNKNOWN),
    "close-input-in-a-write": partial(close_input_in_a_write, 3, "Scheduled"),
    "replayed-handshake": replay_the_handshake,
    "parent-ends-in-a-replay": end_the_parent_in_a_replay,
    "unread-stderr": leave_stderr_unread,
    "readers-of-the-ledger": check_who_can_read_the_ledger,
    "every-tool": call_every_tool,
    "every-path": upload_every_path,
    "bad-lines": send_bad_lines,
}
if "TTP_TEST_POSTGRESQL_URL" in os.environ:
    PARTS["postgresql"] = share_state_in_postgresql


def run_part(name: str) -> bool:
    """Run one part in a process of its own and print its duration, or why it failed."""
    begun = time.monotonic()
    command = [sys.executable, "-m", "tests.windows.smoke", sys.argv[1], name]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=-1, stderr=subprocess.STDOUT)
    seconds = time.monotonic() - begun
    result = f"failed:\n{ended.stdout.decode()}" if ended.returncode else "passed"
    print(f"smoke: {name} ({seconds:.1f} s) {result}", flush=True)  # noqa: T201 - the job's result
    return ended.returncode == 0


def main() -> int:
    """Run the part of the command line in this process, or all of them."""
    if name := "".join(sys.argv[2:]):
        # Its Windows processes end with the Wine server.
        faulthandler.dump_traceback_later(PART_SECONDS, exit=True)
        shutil.rmtree(DRIVE / STATE, ignore_errors=True)
        PARTS[name]()
        return 0
    with ThreadPoolExecutor(2) as threads:
        return 0 if all(list(threads.map(run_part, PARTS))) else 1


sys.exit(main())
