"""A smoke test of the server on CPython for Windows under Wine, over pipes; `.ci/windows` runs it.

Usage: python tests/windows/smoke.py PYTHON_EXE
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.media_files import png

FOLDER = "C:\\pics äö"
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
    "..\\windows\\system.ini": False,
    "C:\\windows\\system.ini": False,
}


class Server:
    """The server in its sandbox, as a client on Windows starts it."""

    def __init__(self, python: str) -> None:
        """Start it."""
        environment = {**os.environ, "TTP_MEDIA_DIRS": FOLDER, "TTP_STATE_DIR": "C:\\ttp-state"}
        self.process = subprocess.Popen(
            ["wine64", python, "-m", "ttp_mcp", "--sandbox"], stdin=-1, stdout=-1, stderr=-1, env=environment
        )
        self.send({"id": 0, "method": "initialize", "params": INITIALIZE})
        self.receive()
        self.send({"method": "notifications/initialized"})

    def send(self, message: dict) -> None:
        """Write one message."""
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self) -> dict:
        """Read one message."""
        return json.loads(self.process.stdout.readline())

    def upload(self, source: str) -> str:
        """Upload a file; the text of the answer."""
        self.send(
            {"id": 1, "method": "tools/call", "params": {"name": "upload_media", "arguments": {"source": source}}}
        )
        return self.receive()["result"]["content"][0]["text"]


INITIALIZE = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "smoke", "version": "1"}}


def main() -> None:
    """Upload by every form of path, then close the input."""
    folder = Path(os.environ["WINEPREFIX"]) / "drive_c" / "pics äö"
    folder.mkdir(exist_ok=True)
    (folder / "my photo.png").write_bytes(png(padding=1000))
    server = Server(sys.argv[1])
    for source, uploaded in PATHS.items():
        answer = server.upload(source)
        assert answer.startswith("Uploaded «" if uploaded else "Not uploaded: "), (source, answer)
    server.process.stdin.close()
    assert server.process.wait(20) == 0
    print(f"smoke: {len(PATHS)} paths as expected, exit 0")  # noqa: T201 - the job's result


main()
