"""A private PostgreSQL server from Debian's packages, on a free loopback port and in its own folder.

Standard library only. `.ci/services` runs this module to start and stop the server.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

# With characters that a URL must escape, and a word to search for in results and logs.
PASSWORD = "word-of-honor/%41@:"
MISSING = "PostgreSQL is not installed (Debian: apt-get install postgresql)"
START_SECONDS = 30


class Server:
    """One server. It runs as an unprivileged user if we are root, because PostgreSQL refuses to run as root."""

    def __init__(self, program: Path, *, durable: bool = False, **options: str) -> None:
        self.port = 0
        self.folder = Path(tempfile.mkdtemp(prefix="ttp-mcp-postgresql-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.program = program
        self._durable = durable
        self.options = options
        self._user: dict[str, object] = {}
        if os.getuid() == 0:
            import pwd  # Windows has none

            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._make_cluster()

    @property
    def url(self) -> str:
        """Its URL, for TTP_STATE_URL."""
        return f"postgresql://ttp:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/postgres"

    def start(self) -> "Server":
        """Start it on its previous or a free port, and wait until it responds."""
        for _ in range(5):
            self.port = self.port or _find_free_port()
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    self._command(), cwd=self.folder, stdout=log, stderr=log, start_new_session=True, **self._user
                )
            if self._answers():
                return self
            self.end(signal.SIGKILL)
            self.port = 0
        raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT for a clean shutdown, SIGQUIT or SIGKILL for a crash."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=60)
            self.process = None

    def give(self, file: Path) -> str:
        """Copy a file so that the server owns it and only the server can read it."""
        own = self.folder / file.name
        shutil.copyfile(file, own)
        own.chmod(0o600)
        if self._user:
            shutil.chown(own, self._user["user"], self._user["group"])
        return str(own)

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to each of its processes, to stop or continue them."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            os.kill(each, number)

    def remove(self) -> None:
        """Stop it and delete its folder."""
        self.end()
        shutil.rmtree(self.folder)

    def _command(self) -> list[str]:
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "fsync": "on" if self._durable else "off",
            "max_connections": "60",
            **self.options,
        }
        pairs = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self.program), "-D", str(self.folder / "data"), *pairs]

    def _make_cluster(self) -> None:
        passwords = self.folder / "passwords"
        passwords.write_text(PASSWORD)
        passwords.chmod(0o644)
        command = [str(self.program.with_name("initdb")), "-D", str(self.folder / "data"), "-U", "ttp", "--no-sync"]
        command += ["--auth=scram-sha-256", f"--pwfile={passwords}", "--encoding=UTF8", "--locale=C"]
        subprocess.run(command, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, timeout=120, **self._user)
        passwords.unlink()

    def _answers(self) -> bool:
        """Check whether it responds; False if it has ended, for example because the port was taken."""
        assert self.process is not None
        until = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < until:
            if self._ready():
                return True
            time.sleep(0.02)
        return False

    def _ready(self) -> bool:
        command = [str(self.program.with_name("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0


def find_postgresql() -> Path | None:
    """Return the program of the newest server, or None if none is installed."""
    if sys.platform == "win32":  # Wine shows the files of Linux
        return None
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    return versions[-1] if versions else None


def _find_free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def _start_server(note: Path) -> None:
    program = find_postgresql()
    if program is None:
        print(MISSING, file=sys.stderr)  # noqa: T201 - a program here
        return
    server = Server(program).start()
    assert server.process is not None
    note.write_text(json.dumps({"pid": server.process.pid, "folder": str(server.folder)}))
    print(f"TTP_TEST_POSTGRESQL_URL={server.url}")  # noqa: T201 - a program here


def _stop_server(note: Path) -> None:
    if not note.exists():
        return
    server = json.loads(note.read_text())
    # Its parent process has ended, so it can't be waited for.
    os.kill(server["pid"], signal.SIGINT)
    until = time.monotonic() + START_SECONDS
    while Path(f"/proc/{server['pid']}/cmdline").exists() and time.monotonic() < until:
        time.sleep(0.02)
    shutil.rmtree(server["folder"])
    print("PostgreSQL ended", file=sys.stderr)  # noqa: T201 - a program here
    note.unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Start a private server and print its URL, or stop it.")
    parser.add_argument("action", choices=("start", "stop"))
    parser.add_argument("note", type=Path, help="file that remembers what was started")
    arguments = parser.parse_args()
    _start_server(arguments.note) if arguments.action == "start" else _stop_server(arguments.note)
