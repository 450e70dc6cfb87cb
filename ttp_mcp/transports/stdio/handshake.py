"""The handshake of a stdio session, answered from the record of an earlier one, without the SDK.

A client's first messages get the same answers at every start of the same program with the same settings. The real server records its
answers, and later processes replay them. Any other message starts the real server in the same process; it first receives the lines
that shaped the session. Any doubt means the real server at once. Every import of this module is paid at every start.
"""

import json
import os
import select
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

_INITIALIZED = "notifications/initialized"
_LISTS = ("prompts/list", "resources/list", "resources/templates/list", "tools/list")
_REQUESTS = {"initialize", "ping", "server/discover", *_LISTS}
# By the type of the id; a notification has none. True isn't an int here.
_METHODS = {int: _REQUESTS, str: _REQUESTS, type(None): {_INITIALIZED}}
# Other metadata, such as a progress token or a trace, differs in each session.
_LASTING_META = "io.modelcontextprotocol/"
# A token changes no answer of the handshake, so nothing is derived from it.
TOKEN_VARIABLES = frozenset({"TTP_API_TOKEN", "TIMETOPOST_API_TOKEN"})
# An invalid one stops the start, and a password could be guessed from a digest.
REFUSED_VARIABLES = frozenset({"TTP_SERVER_KEY", "TTP_STATE_URL"})
# Variable and default of the folder for caches.
_CACHES = {"win32": ("LOCALAPPDATA", "AppData/Local"), "darwin": ("", "Library/Caches")}
_MOST_RECORDS = 16
# Maximum size of a record, and of a line that is read here.
_MOST_BYTES = 512 * 1024
# Follow no link and wait for no other end of a FIFO; Windows has neither.
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
# Asked for only where input can be waited for; each call takes a snapshot of all processes on Windows.
_PARENT = 0 if sys.platform == "win32" else os.getppid()
# Interval of the check that the parent process still exists.
_PARENT_SECONDS = 5.0


def find_handshake(words: Sequence[str]) -> "Handshake | None":
    """Return the handshake of a start with these arguments; None if nothing may be replayed or recorded."""
    with suppress(OSError, RuntimeError):
        if not any(os.environ.get(name) for name in REFUSED_VARIABLES):
            key = _digest_start(words)
            return Handshake(_find_folder() / f"handshake-{key[:16]}", key)
    return None


class Handshake:
    """The first messages of a session. `replay` answers them; afterwards the real server reports messages and answers."""

    def __init__(self, path: Path, key: str) -> None:
        """Read the record at `path`; answers under another key are never found."""
        self.unread = b""
        """Input without an answer. After a replay it isn't empty until the real server takes it."""
        self.replayed: list[str | int] = []
        """Ids of requests that the real server receives although the client has their answers."""
        self._path, self._key = path, key
        self._answers = _read_record(path)
        self.can_replay = bool(self._answers)
        self._pending: dict[str | int | None, str] | None = {}
        self._shaping: list[tuple[str | int | None, str, bytes]] = []

    def replay(self, input_fd: int = 0, output_fd: int = 1, *, threads: bool = sys.platform == "win32") -> bool:
        """Answer messages until one needs the real server; False if the input ended before.

        With `threads` the input can't be waited for, so a read blocks.
        """
        self._input, self._output, self._threads = input_fd, output_fd, threads
        return self._answer_input(self._replay_lines)

    def refuse(self, problem: str) -> None:
        """Answer each request with an error until the input ends, because the real server can't start."""
        self._error = {"code": -32603, "message": f"The server can't start: {problem} Nothing was sent."}
        self._answer_input(self._refuse_lines)

    def _answer_input(self, answer_lines: Callable[[], bool]) -> bool:
        """Read and answer lines. Returns True if the rest needs the real server, False if the input ended before."""
        chunk = b"first"
        with suppress(OSError):
            while answer_lines() and chunk and len(self.unread) <= _MOST_BYTES:
                while not self._threads and not select.select([self._input], [], [], _PARENT_SECONDS)[0]:
                    # Another process may hold the pipe open.
                    if os.getppid() != _PARENT:
                        raise SystemExit
                chunk = os.read(self._input, _MOST_BYTES)
                # The end of input ends the last line.
                self.unread += chunk or b"\n"
        return bool(chunk or self.unread.strip())

    def _replay_lines(self) -> bool:
        """Answer all whole lines; False if that needs the real server."""
        while b"\n" in self.unread:
            line, _, rest = self.unread.partition(b"\n")
            message = _parse_message(line)
            answer = message and self._answers.get(self._name(message[2]))
            if message is None or (message[0] is not None and not answer):
                return False
            if answer:
                self._write(f'{{"jsonrpc":"2.0","id":{json.dumps(message[0])},"result":{answer}}}\n')
            self._shape(message, line)
            self.unread = rest
        return True

    def _refuse_lines(self) -> bool:
        """Answer the requests of all whole lines, unless one of these lines cancels them."""
        *lines, self.unread = self.unread.split(b"\n")
        waiting: list[object] = []
        for line in lines:
            with suppress(ValueError, RecursionError, LookupError, TypeError):
                message = json.loads(line)
                if message["method"] == "notifications/cancelled":
                    waiting.remove(message["params"]["requestId"])
                else:
                    waiting.append(message["id"])
        for request_id in waiting:
            self._write(json.dumps({"jsonrpc": "2.0", "id": request_id, "error": self._error}) + "\n")
        return True

    def _write(self, text: str) -> None:
        rest = memoryview(text.encode())
        while rest:
            try:
                rest = rest[os.write(self._output, rest) :]
            except BlockingIOError:
                select.select([], [self._output], [])

    @property
    def is_over(self) -> bool:
        """True if no answer has to be reported any more."""
        return self._pending is None and not self.replayed

    def take_unread(self) -> bytes:
        """Pass what the real server must read first: the lines that shaped the session, and those without an answer."""
        unread = b"".join(line + b"\n" for *_, line in self._shaping) + self.unread
        self.replayed = [request_id for request_id, *_ in self._shaping if request_id is not None]
        self._shaping, self.unread = [], b""
        return unread

    def observe(self, line: bytes) -> bool:
        """Note a valid message that the real server received; False from the first one that isn't part of a handshake."""
        message = _parse_message(line)
        # Another request may have the id of a pending one, so their answers can't be distinguished.
        if self._pending is None or message is None or message[0] in self._pending:
            self._pending = None
            return False
        self._pending[message[0]] = self._name(message[2])
        self._shape(message, line)
        return True

    def is_answered(self, request_id: str | int, result: object) -> bool:
        """Note an answer of the real server, None for an error; True if the client has it already."""
        name = (self._pending or {}).pop(request_id, None)
        if name and result is not None and name not in self._answers:
            answer = self._answers[name] = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
            with suppress(OSError):
                _record_answer(self._path, name, answer)
        if is_replayed := request_id in self.replayed:
            self.replayed.remove(request_id)
        return is_replayed

    def _name(self, text: str) -> str:
        """Identify an answer by the start, the messages that shaped the session, and its own message."""
        return sha256("".join([self._key, *(earlier for _, earlier, _ in self._shaping), text]).encode()).hexdigest()

    def _shape(self, message: tuple[str | int | None, str, str], line: bytes) -> None:
        """Keep what later answers depend on: the first request, which decides the era, and the handshake of 2025."""
        request_id, method, text = message
        if method in ("initialize", _INITIALIZED) or all(earlier is None for earlier, *_ in self._shaping):
            self._shaping.append((request_id, text, line))


def _parse_message(line: bytes) -> tuple[str | int | None, str, str] | None:
    """Return id, method and the whole message except its id; None if the message isn't part of a handshake."""
    with suppress(ValueError, RecursionError, LookupError, TypeError, AttributeError):
        message = json.loads(line.decode())
        method, request_id = message["method"], message.pop("id", None)
        is_lasting = all(name.startswith(_LASTING_META) for name in message.get("params", {}).get("_meta", {}))
        # Half a surrogate pair is repaired by the real server.
        str(request_id).encode()
        if is_lasting and method in _METHODS[type(request_id)]:
            return request_id, method, json.dumps(message, sort_keys=True)
    return None


def _find_folder() -> Path:
    """Return `TTP_STATE_DIR`, else the platform's folder for caches. It is found without the settings, which take longer to load."""
    variable, default = _CACHES.get(sys.platform, ("XDG_CACHE_HOME", ".cache"))
    chosen = Path(os.environ.get("TTP_STATE_DIR", "")), Path(os.environ.get(variable, "")) / "ttp-mcp"
    return next((folder for folder in chosen if folder.is_absolute()), None) or Path.home() / default / "ttp-mcp"


def _digest_start(words: Sequence[str]) -> str:
    """Digest everything that an answer may depend on: program, distributions, Python and its flags, arguments and settings."""
    names = sorted({*os.environ} - TOKEN_VARIABLES)
    settings = [(name, os.environ[name]) for name in names if name.startswith(("TTP_", "TIMETOPOST_"))]
    code = sorted((entry.path, entry.stat().st_mtime_ns, entry.stat().st_size) for entry in _list_code())
    # Among the flags is the one that drops docstrings, which are descriptions of tools.
    python = sys.version, sys.flags, sys.platform, sys.path
    return sha256(repr((python, words, settings, code)).encode()).hexdigest()


def _list_code() -> list[os.DirEntry[str]]:
    """List the files of the package, and the folder of each distribution, which has its version in its name."""
    found = [entry for folder in filter(os.path.isdir, sys.path) for entry in os.scandir(folder)]
    found = [entry for entry in found if entry.name.endswith((".dist-info", ".egg-info"))]
    folders: list[str | os.DirEntry[str]] = [str(Path(__file__).parents[2])]
    for folder in folders:
        for entry in os.scandir(folder):
            if entry.name != "__pycache__":
                (folders if entry.is_dir() else found).append(entry)
    return found


def _read_record(path: Path) -> dict[str, str]:
    """Return the answers of a record by their names; none if it is damaged, too long or not the user's alone."""
    with suppress(OSError), os.fdopen(os.open(path, os.O_RDONLY | _SAFELY), "rb") as file:
        digest, _, text = file.read(_MOST_BYTES).partition(b"\n")
        if _is_private(os.fstat(file.fileno())) and digest == _digest_record(text):
            return dict(line.split("\t") for line in text.decode().split("\n"))
    return {}


def _record_answer(path: Path, name: str, answer: str) -> None:
    """Add an answer to a record in one step, and remove the oldest records. A full one begins again."""
    text = "\n".join(map("\t".join, {**_read_record(path), name: answer}.items())).encode()
    if len(text) > _MOST_BYTES - 100:
        text = f"{name}\t{answer}".encode()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{path.name}.new")
    temporary.unlink(missing_ok=True)
    with open(temporary, "xb", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
        file.write(_digest_record(text) + b"\n" + text)
    temporary.replace(path)
    for old in sorted(path.parent.glob("handshake-*"), key=lambda each: each.stat().st_mtime_ns)[:-_MOST_RECORDS]:
        old.unlink()


def _digest_record(text: bytes) -> bytes:
    return sha256(text).hexdigest().encode()


def _is_private(found: os.stat_result) -> bool:
    return os.name != "posix" or (found.st_uid == os.geteuid() and not found.st_mode & 0o077)
