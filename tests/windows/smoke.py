"""A smoke test of the server on CPython for Windows under Wine; `.ci/windows` runs it.

Usage: python -m tests.windows.smoke PYTHON_EXE
"""

import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.media_files import png
from tests.windows.client import Server, text_of

FOLDER = "C:\\pics äö"
STATE = "C:\\ttp state"
# Every form of a path that a Windows user writes, and whether it is uploaded.
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
    "my photo.png ": True,  # blanks around a path are cut, as everywhere
    "my photo.png.": False,
    "link.png": False,
    "linked/photo.png": False,
    "..\\windows\\system.ini": False,
    "C:\\windows\\system.ini": False,
}
WINDOWS = ["wine64", sys.argv[1]]
DRIVE = Path(os.environ["WINEPREFIX"]) / "drive_c"
ENVIRONMENT = {**os.environ, "TTP_MEDIA_DIRS": FOLDER, "TTP_STATE_DIR": STATE, "TTP_TIMEZONE": "UTC"}


def start(**variables: str) -> Server:
    """Start a server."""
    return Server(WINDOWS, environment={**ENVIRONMENT, **variables})


def make_time(days: int) -> str:
    """Return a time in the future."""
    return (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="minutes")


def delay_next_write(seconds: int) -> None:
    """Let the sandbox answer the next create late."""
    command = ["-m", "ttp_mcp", "sandbox", "fault", "delay", f"--seconds={seconds}", "--method=POST", "--path=/posts"]
    subprocess.run([*WINDOWS, *command], env=ENVIRONMENT, check=True, stdin=-1, stdout=-1, stderr=-1, timeout=120)


def upload_every_path(server: Server) -> None:
    """Upload a file by every form of its path."""
    for source, is_uploaded in PATHS.items():
        answer = server.call_for_text("upload_media", source=source)
        assert answer.startswith("Uploaded «" if is_uploaded else "Not uploaded: "), (source, answer)


def call_every_tool(server: Server) -> None:
    """Call every tool that the server lists."""
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


def send_bad_lines(server: Server) -> None:
    """A line that is too long and lines without a message get an error, and the next call an answer."""
    for line, code in ((b'{"a":"' + b"a" * (8 << 20) + b'"}', -32600), (b"{not json", -32700), (b"[]", -32600)):
        server.write(line)
        response = server.read()
        assert response["error"]["code"] == code, response
    server.write(b'{"jsonrpc":"2.0","id":"r","method":"ping"}\r')
    assert server.read() == {"jsonrpc": "2.0", "id": "r", "result": {}}


def leave_stderr_unread() -> None:
    """A process goes on when its log fills a pipe that is not read."""
    command = [*WINDOWS, "-m", "tests.windows.noise"]
    process = subprocess.Popen(command, stdin=-1, stdout=-1, stderr=-1)
    assert process.stdout.readline().strip() == b"logged"
    assert process.wait(60) == 0


def close_input_in_a_write() -> None:
    """A write that is in flight when the input closes is answered."""
    delay_next_write(3)
    server = start()
    write = server.begin("create_post", content="At the end.", account_ids=["linkedin"], scheduled_at=make_time(4))
    server.process.stdin.close()
    answer = text_of(server.finish(write))
    assert answer.startswith("Scheduled"), answer
    assert server.process.wait(60) == 0


def close_input_while_the_api_is_silent() -> None:
    """The write is abandoned before the process has to end, and answered."""
    delay_next_write(60)
    server = start()
    write = server.begin("create_post", content="In silence.", account_ids=["linkedin"], scheduled_at=make_time(6))
    server.process.stdin.close()
    answer = text_of(server.finish(write))
    assert answer.startswith("Unknown whether"), answer
    assert server.process.wait(60) == 0


def press_ctrl_c_in_a_write() -> None:
    """A write that is in flight at Ctrl+C is answered, and the server exits with 0; over stdio and over HTTP."""
    for transport in ("stdio", "http"):
        delay_next_write(5)
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
        assert b"answer Scheduled, exit code 0." in shown, (transport, shown)


def send_console_events_in_a_write() -> None:
    """Ctrl+Break lets a write finish; a closed console ends even a silent one within the five seconds that Windows allows."""
    for days, (event, transport, seconds, answer) in enumerate(
        (
            ("break", "stdio", 3, "Scheduled"),
            ("break", "http", 3, "Scheduled"),
            ("close", "stdio", 2, "Scheduled"),
            ("close", "stdio", 60, "Unknown whether the post"),
        ),
        10,
    ):
        delay_next_write(seconds)
        command = [*WINDOWS, "-m", "tests.windows.console", event, make_time(days), transport]
        ended = subprocess.run(command, env=ENVIRONMENT, stdin=-1, stdout=-1, stderr=-1, timeout=120)
        assert f"answer {answer}, exit code 0." in ended.stdout.decode(), (event, transport, seconds, ended)


def check_who_can_read_the_ledger() -> None:
    """check_setup warns of a ledger that others can read; Wine shows the access of a file as its mode on Linux."""
    ledger = DRIVE / "ttp state" / "ledger.db"
    for mode, is_warned in ((0o644, True), (0o600, False)):
        ledger.chmod(mode)
        server = start()
        answer = server.call_for_text("check_setup")
        assert ("ledger.db can be read by Everyone" in answer) is is_warned, answer
        assert server.close() == 0


def share_state_in_postgresql() -> None:
    """A server whose state is in PostgreSQL finds its earlier post."""
    url = os.environ.get("TTP_TEST_POSTGRESQL_URL")
    if url is None:
        return
    post = {"content": f"Shared {time.time_ns()}.", "account_ids": ["linkedin"], "scheduled_at": make_time(8)}
    for outcome in ("created", "already_created"):
        server = start(TTP_STATE_URL=url)
        created = server.call("create_post", **post)
        assert created["outcome"] == outcome, created
        assert server.close() == 0


def read_until(terminal: int, end: bytes) -> bytes:
    """Read a terminal up to some text."""
    shown = b""
    while end not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        try:
            shown += os.read(terminal, 65536)
        except OSError:
            raise AssertionError(shown) from None
    return shown


def make_files() -> None:
    """Make the media folder, with links that Wine shows to Windows programs, and begin with no state."""
    shutil.rmtree(DRIVE / "ttp state", ignore_errors=True)
    folder = DRIVE / FOLDER[3:]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "my photo.png").write_bytes(png(padding=1000))
    (DRIVE / "secret").mkdir(exist_ok=True)
    (DRIVE / "secret" / "photo.png").write_bytes(png(padding=2000))
    (folder / "link.png").symlink_to(DRIVE / "secret" / "photo.png")
    (folder / "linked").symlink_to(DRIVE / "secret")


def run(part: Callable[..., None], *arguments: Server) -> None:
    """Run one part and print its name and duration."""
    begun = time.monotonic()
    part(*arguments)
    print(f"smoke: {part.__name__} ({time.monotonic() - begun:.1f} s)", flush=True)  # noqa: T201 - the job's result


def main() -> None:
    """Run each part."""
    make_files()
    server = start()
    for part in (upload_every_path, call_every_tool, send_bad_lines):
        run(part, server)
    assert server.close() == 0
    for part in (
        *(leave_stderr_unread, close_input_in_a_write, close_input_while_the_api_is_silent, press_ctrl_c_in_a_write),
        *(send_console_events_in_a_write, check_who_can_read_the_ledger, share_state_in_postgresql),
    ):
        run(part)


main()
