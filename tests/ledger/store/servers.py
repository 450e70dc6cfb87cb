"""Private Redis and PostgreSQL servers out of Debian's packages: on a free loopback port, in a folder of their own.

Standard library only. As a program it is what `.ci/services` starts and stops servers with.
"""

import argparse
import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import quote

# With characters that a URL must escape, and a word to search answers and logs for.
PASSWORD = "word-of-honor/%41@:"
MISSING = {
    "redis": "redis-server is not installed (Debian: apt-get install redis-server)",
    "postgresql": "PostgreSQL is not installed (Debian: apt-get install postgresql)",
}
START_SECONDS = 30


class Server:
    """One server. It belongs to an unprivileged user when we are root, since PostgreSQL refuses to run as root."""

    def __init__(self, kind: str, program: Path, *, durable: bool = False, **options: str) -> None:
        self.kind = kind
        self.port = 0
        self.folder = Path(tempfile.mkdtemp(prefix=f"ttp-mcp-{kind}-"))
        self.process: subprocess.Popen[bytes] | None = None
        self.program = program
        self._durable = durable
        self.options = options
        self._user: dict[str, object] = {}
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres" if kind == "postgresql" else "redis")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        if kind == "postgresql":
            self._make_cluster()

    @property
    def url(self) -> str:
        """Where it is, as TTP_STATE_URL takes it."""
        password = quote(PASSWORD, safe="")
        if self.kind == "redis":
            return f"redis://:{password}@127.0.0.1:{self.port}/0"
        return f"postgresql://ttp:{password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> "Server":
        """Start it, where it was before or on a free port, and wait until it answers."""
        for _ in range(5):
            self.port = self.port or _free_port()
            with (self.folder / "log").open("ab") as log:
                self.process = subprocess.Popen(
                    self._command(), cwd=self.folder, stdout=log, stderr=log, start_new_session=True, **self._user
                )
            if self._answers():
                return self
            self.end(signal.SIGKILL)
            self.port = 0
        raise RuntimeError(f"{self.kind} did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT in good order, SIGQUIT or SIGKILL as in a crash."""
        if self.process is not None:
            for _ in range(12):
                self.process.send_signal(how)
                # Redis overhears the wish while it writes its first append-only file.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(timeout=5)
                    break
            else:
                raise RuntimeError(f"{self.kind} does not end")
            self.process = None

    def give(self, file: Path) -> str:
        """A copy of a file that is the server's own and that nobody else may read."""
        own = self.folder / file.name
        shutil.copyfile(file, own)
        own.chmod(0o600)
        if self._user:
            shutil.chown(own, self._user["user"], self._user["group"])
        return str(own)

    def signal_all(self, number: signal.Signals) -> None:
        """Stop or continue every process of it."""
        assert self.process is not None
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            os.kill(each, number)

    def remove(self) -> None:
        """End it and take its folder away."""
        self.end()
        shutil.rmtree(self.folder)

    def _command(self) -> list[str]:
        if self.kind == "redis":
            sync = "always" if self._durable else "everysec"
            options = {"bind": "127.0.0.1", "port": str(self.port), "dir": str(self.folder), "requirepass": PASSWORD}
            options |= {"appendonly": "yes", "appendfsync": sync, "save": "", **self.options}
            if options.pop("tls", None) == "only":
                options |= {"port": "0", "tls-port": str(self.port)}
            return [str(self.program), *(part for name, value in options.items() for part in (f"--{name}", value))]
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
        """Whether it answers; False when it ended instead, for example since somebody took the port."""
        assert self.process is not None
        until = time.monotonic() + START_SECONDS
        while self.process.poll() is None and time.monotonic() < until:
            if self._ready():
                return True
            time.sleep(0.02)
        return False

    def _ready(self) -> bool:
        if self.kind == "postgresql":
            command = [str(self.program.with_name("pg_isready")), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            return subprocess.run(command, check=False).returncode == 0
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as opened:
                if "tls" in self.options:
                    return True
                auth = f"*2\r\n$4\r\nAUTH\r\n${len(PASSWORD)}\r\n{PASSWORD}\r\n"
                opened.sendall(f"{auth}PING\r\nINFO persistence\r\n".encode())
                answers = opened.makefile("rb")
                if [answers.readline(), answers.readline()] != [b"+OK\r\n", b"+PONG\r\n"]:
                    return False
                # A crash while the first append-only file is being made would lose what was committed meanwhile.
                persistence = answers.read(int(answers.readline().removeprefix(b"$")))
                return b"aof_rewrite_in_progress:0" in persistence and b"aof_rewrite_scheduled:0" in persistence
        except OSError:
            return False


def find(kind: str) -> Path | None:
    """The program of a server; None where it is not installed."""
    if kind == "redis":
        found = shutil.which("redis-server")
        return Path(found) if found else None
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
    return versions[-1] if versions else None


def _free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def _start(note: Path) -> None:
    running: dict[str, object] = {}
    for kind in MISSING:
        program = find(kind)
        if program is None:
            print(MISSING[kind], file=sys.stderr)  # noqa: T201 - a program here
            continue
        server = Server(kind, program).start()
        assert server.process is not None
        running[kind] = {"pid": server.process.pid, "folder": str(server.folder)}
        print(f"TTP_TEST_{kind.upper()}_URL={server.url}")  # noqa: T201 - a program here
    note.write_text(json.dumps(running))


def _stop(note: Path) -> None:
    for kind, server in json.loads(note.read_text()).items():
        # They were started by a process that is gone, so nobody waits for them but by asking.
        os.kill(server["pid"], signal.SIGINT)
        until = time.monotonic() + START_SECONDS
        while Path(f"/proc/{server['pid']}/cmdline").exists() and time.monotonic() < until:
            time.sleep(0.02)
        shutil.rmtree(server["folder"])
        print(f"{kind} ended", file=sys.stderr)  # noqa: T201 - a program here
    note.unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Start private servers and print their URLs, or stop them.")
    parser.add_argument("action", choices=("start", "stop"))
    parser.add_argument("note", type=Path, help="file that remembers what was started")
    arguments = parser.parse_args()
    _start(arguments.note) if arguments.action == "start" else _stop(arguments.note)
