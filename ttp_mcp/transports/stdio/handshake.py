"""The handshake of a stdio session, answered from the record of an earlier one, without the SDK.

A client's first messages get the same answers at every start of the same program with the same settings. The real server records its
answers, and later processes replay them. Any other message starts the real server in the same process; it first receives the lines
that shaped the session. Any doubt means the real server at once. Every import of this module is paid at every start.
"""

import json
import os
import select
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

_LISTS = ("prompts/list", "resources/list", "resources/templates/list", "tools/list")
_REQUESTS = {"initialize", "ping", "server/discover", *_LISTS}
_INITIALIZED = "notifications/initialized"
# Other metadata, such as a progress token or a trace, differs in each session.
_LASTING_META = "io.modelcontextprotocol/"

_VARIABLES = ("TTP_", "TIMETOPOST_")
# A token changes no answer of the handshake, so nothing is derived from it.
TOKEN_VARIABLES = frozenset({"TTP_API_TOKEN", "TIMETOPOST_API_TOKEN"})
# An invalid one stops the start, and a password could be guessed from a digest.
REFUSED_VARIABLES = frozenset({"TTP_SERVER_KEY", "TTP_STATE_URL"})

_PREFIX = "handshake-"
_MOST_RECORDS = 16
_RECORD_BYTES = 512 * 1024
_LINE_BYTES = 64 * 1024
# Interval of the check that the parent process still exists.
_PARENT_SECONDS = 5.0
_DIGEST_BYTES = 64


def find_handshake(words: Sequence[str]) -> "Handshake | None":
    """Return the handshake of a start with these arguments; None if nothing may be replayed or recorded."""
    if any(os.environ.get(name) for name in REFUSED_VARIABLES):
        return None
    try:
        key = _digest_start(words)
        return Handshake(_find_folder() / f"{_PREFIX}{key[:16]}", key)
    except (OSError, RuntimeError):
        return None


class Handshake:
    """The first messages of a session. `replay` answers them; afterwards the real server reports messages and answers."""

    def __init__(self, path: Path, key: str) -> None:
        """Read the record at `path`; one with another key counts as empty."""
        self.unread = b""
        """Input that the real server must read before that of the descriptor."""
        self._path = path
        self._key = key
        self._answers = _read_record(path, key)
        self._pending: dict[str | int, str] = {}
        self.replayed: list[str | int] = []
        """Ids of requests in `unread` that the client has the answers of."""
        self._start()

    def _start(self) -> None:
        self._state = ""
        self._shaping = b""
        self._shaping_ids: list[str | int] = []

    @property
    def can_replay(self) -> bool:
        """True if the record has answers."""
        return bool(self._answers)

    def replay(self, input_fd: int = 0, output_fd: int = 1, *, threads: bool = sys.platform == "win32") -> bool:
        """Answer messages until one needs the real server; False if the input, the output or the parent process ended before.

        With `threads` the input can't be waited for, so a read blocks.
        """
        parent = 0 if threads else os.getppid()
        is_open = True
        try:
            while self._answer_lines(output_fd) and is_open:
                if not threads:
                    _wait_readable(input_fd, parent)
                chunk = os.read(input_fd, _LINE_BYTES)
                self.unread += chunk
                is_open = bool(chunk)
        except EOFError:
            return False
        except OSError:
            pass
        if not is_open and not self.unread.strip():
            return False
        self.unread = self._shaping + self.unread
        self.replayed = self._shaping_ids
        self._start()
        return True

    def observe(self, line: bytes) -> bool:
        """Note a valid message that the real server received; False from the first one that isn't part of a handshake."""
        message = _parse_message(line)
        if message is None or message[0] in self._pending:
            # Another request may have the id of a pending one, so their answers can't be distinguished.
            self._pending.clear()
            return False
        request_id, _, text = message
        name = self._name(text)
        self._shape(message, line)
        if request_id is None:
            self._record(name, "")
        else:
            self._pending[request_id] = name
        return True

    def is_answered(self, request_id: str | int, result: object) -> bool:
        """Note an answer of the real server, None for an error; True if the client has it already."""
        name = self._pending.pop(request_id, None)
        if name is not None and result is not None:
            self._record(name, json.dumps(result, ensure_ascii=False, separators=(",", ":")))
        if request_id not in self.replayed:
            return False
        self.replayed.remove(request_id)
        return True

    def _answer_lines(self, output_fd: int) -> bool:
        """Answer all whole lines; False if that needs the real server."""
        while b"\n" in self.unread:
            line, _, rest = self.unread.partition(b"\n")
            message = _parse_message(line)
            answer = self._answers.get(self._name(message[2])) if message else None
            if message is None or answer is None:
                return False
            self._shape(message, line)
            self.unread = rest
            if message[0] is not None:
                write_line(output_fd, f'{{"jsonrpc":"2.0","id":{json.dumps(message[0])},"result":{answer}}}'.encode())
        return len(self.unread) <= _LINE_BYTES

    def _name(self, text: str) -> str:
        """Identify an answer by its message and by those that shaped the session before."""
        return sha256((self._state + text).encode()).hexdigest()

    def _shape(self, message: tuple[str | int | None, str, str], line: bytes) -> None:
        """Keep what later answers depend on: the first request, which decides the era, and the handshake of 2025."""
        request_id, method, text = message
        if self._shaping_ids and method not in ("initialize", _INITIALIZED):
            return
        self._state += text
        self._shaping += line + b"\n"
        if request_id is not None:
            self._shaping_ids.append(request_id)

    def _record(self, name: str, answer: str) -> None:
        if name in self._answers:
            return
        self._answers[name] = answer
        with suppress(OSError):
            _write_record(self._path, self._key, {**_read_record(self._path, self._key), **self._answers})


def _parse_message(line: bytes) -> tuple[str | int | None, str, str] | None:
    """Return id, method and the whole message except its id; None if the message isn't part of a handshake."""
    try:
        message = json.loads(line.decode())
        method, request_id = message["method"], message.pop("id", None)
        is_lasting = all(name.startswith(_LASTING_META) for name in message.get("params", {}).get("_meta", {}))
        text = json.dumps(message, sort_keys=True)
        # Half a surrogate pair is repaired by the real server.
        str(request_id).encode()
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
    # Type by type: True counts as an int, and a list can't be looked up.
    is_request = type(method) is str and method in _REQUESTS and type(request_id) in (int, str)
    is_notification = method == _INITIALIZED and request_id is None
    return (request_id, method, text) if is_lasting and (is_request or is_notification) else None


def _wait_readable(fd: int, parent: int) -> None:
    """Wait for input. Raises EOFError if the parent process ends: another process may hold the pipe open."""
    while not select.select([fd], [], [], _PARENT_SECONDS)[0]:
        if os.getppid() != parent:
            raise EOFError


def write_line(fd: int, line: bytes) -> None:
    """Write a whole line. Raises EOFError if the output is broken."""
    rest = memoryview(line + b"\n")
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            select.select([], [fd], [])
        except OSError:
            raise EOFError from None


def _find_folder() -> Path:
    """Return `TTP_STATE_DIR`, else the platform's folder for caches. It is found without the settings, which take longer to load."""
    chosen = Path(os.environ.get("TTP_STATE_DIR", ""))
    if chosen.is_absolute():
        return chosen
    if sys.platform == "darwin":  # pragma: no cover - macOS only
        return Path.home() / "Library" / "Caches" / "ttp-mcp"
    is_windows = sys.platform == "win32"
    cache = Path(os.environ.get("LOCALAPPDATA" if is_windows else "XDG_CACHE_HOME", ""))
    return (cache if cache.is_absolute() else Path.home() / ("AppData/Local" if is_windows else ".cache")) / "ttp-mcp"


def _digest_start(words: Sequence[str]) -> str:
    """Digest everything that an answer may depend on: program, distributions, Python and its flags, arguments and settings."""
    names = sorted({*os.environ} - TOKEN_VARIABLES)
    settings = [(name, os.environ[name]) for name in names if name.startswith(_VARIABLES)]
    # Optimized Python drops docstrings, which are descriptions of tools.
    python = sys.version, sys.flags, sys.platform, sys.path
    code = list(_list_files(str(Path(__file__).parents[2]))), list(_list_distributions())
    return sha256(repr((python, words, settings, code)).encode()).hexdigest()


def _list_files(folder: str) -> Iterator[tuple[str, int, int]]:
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if not entry.is_dir():
                found = entry.stat()
                yield entry.path, found.st_mtime_ns, found.st_size
            elif entry.name != "__pycache__":
                yield from _list_files(entry.path)


def _list_distributions() -> Iterator[tuple[str, int]]:
    """List what is installed, with its version in its name, and when it was installed."""
    for folder in filter(os.path.isdir, sys.path):
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if entry.name.endswith((".dist-info", ".egg-info"))]
            yield from sorted((entry.path, entry.stat().st_mtime_ns) for entry in found)


def _read_record(path: Path, key: str) -> dict[str, str]:
    """Return the answers of a record; none if it isn't the user's alone, is damaged, or was written under another key."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            content = file.read(_RECORD_BYTES) if _is_private(os.fstat(file.fileno())) else b""
        digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        return json.loads(body) if digest == _digest_record(key, body) else {}
    except (OSError, ValueError):
        return {}


def _write_record(path: Path, key: str, answers: dict[str, str]) -> None:
    """Write a record in one step, without its oldest answers if it gets too long, and remove the oldest records."""
    while len(body := json.dumps(answers).encode()) > _RECORD_BYTES - _DIGEST_BYTES:
        del answers[next(iter(answers))]
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        temporary.touch(0o600, exist_ok=False)
        temporary.write_bytes(_digest_record(key, body) + body)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    records = sorted(path.parent.glob(f"{_PREFIX}*"), key=lambda each: each.stat().st_mtime_ns)
    for old in records[:-_MOST_RECORDS]:
        old.unlink(missing_ok=True)


def _digest_record(key: str, body: bytes) -> bytes:
    return sha256(key.encode() + body).hexdigest().encode()


def _is_private(found: os.stat_result) -> bool:
    is_ours = os.name != "posix" or (found.st_uid == os.geteuid() and not found.st_mode & 0o077)
    return is_ours and stat.S_ISREG(found.st_mode)
