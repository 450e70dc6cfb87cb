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

_INITIALIZED = "notifications/initialized"
_LISTS = ("prompts/list", "resources/list", "resources/templates/list", "tools/list")
_REQUESTS = {"initialize", "ping", "server/discover", *_LISTS}
# Other metadata, such as a progress token or a trace, differs in each session.
_LASTING_META = "io.modelcontextprotocol/"
# A token changes no answer of the handshake, so nothing is derived from it.
TOKEN_VARIABLES = frozenset({"TTP_API_TOKEN", "TIMETOPOST_API_TOKEN"})
# An invalid one stops the start, and a password could be guessed from a digest.
REFUSED_VARIABLES = frozenset({"TTP_SERVER_KEY", "TTP_STATE_URL"})
# Variable and default of the folder for caches.
_CACHES = {"win32": ("LOCALAPPDATA", "AppData/Local"), "darwin": ("", "Library/Caches")}
_PREFIX = "handshake-"
_MOST_RECORDS = 16
_RECORD_BYTES = 512 * 1024
# Follow no link and wait for no other end of a FIFO; Windows has neither.
_SAFELY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_LINE_BYTES = 64 * 1024
# Interval of the check that the parent process still exists.
_PARENT_SECONDS = 5.0


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
        """Read the record at `path`; answers under another key are never found."""
        self.unread = b""
        """Input that the real server must read before that of the descriptor."""
        self.replayed: list[str | int] = []
        """Ids of requests in `unread` that the client has the answers of."""
        self._path = path
        self._answers = _read_record(path)
        self.can_replay = bool(self._answers)
        self._is_recording = True
        self._pending: dict[str | int, str] = {}
        self._state = self._key = key
        self._shaping: list[tuple[str | int | None, bytes]] = []

    def replay(self, input_fd: int = 0, output_fd: int = 1, *, threads: bool = sys.platform == "win32") -> bool:
        """Answer messages until one needs the real server; False if the input, the output or the parent process ended before.

        With `threads` the input can't be waited for, so a read blocks.
        """
        parent = 0 if threads else os.getppid()
        chunk = b"first"
        try:
            while self._answer_lines(output_fd) and chunk:
                chunk = _read(input_fd, parent)
                self.unread += chunk
        except EOFError:
            return False
        except OSError:
            pass
        if not chunk and not self.unread.strip():
            return False
        self.unread = b"".join(line + b"\n" for _, line in self._shaping) + self.unread
        self.replayed = [request_id for request_id, _ in self._shaping if request_id is not None]
        self._state, self._shaping = self._key, []
        return True

    def _answer_lines(self, output_fd: int) -> bool:
        """Answer all whole lines; False if that needs the real server."""
        while b"\n" in self.unread:
            line, _, rest = self.unread.partition(b"\n")
            if not (message := _parse_message(line)):
                return False
            request_id, _, text = message
            if request_id is not None:
                if not (answer := self._answers.get(self._name(text))):
                    return False
                write_line(output_fd, f'{{"jsonrpc":"2.0","id":{json.dumps(request_id)},"result":{answer}}}'.encode())
            self._shape(message, line)
            self.unread = rest
        return len(self.unread) <= _LINE_BYTES

    @property
    def is_over(self) -> bool:
        """True if no answer has to be reported any more."""
        return not self._is_recording and not self.replayed

    def take_unread(self) -> bytes:
        """Pass the unread input to the real server, which answers it from now on."""
        unread, self.unread = self.unread, b""
        return unread

    def observe(self, line: bytes) -> bool:
        """Note a valid message that the real server received; False from the first one that isn't part of a handshake."""
        message = _parse_message(line)
        if message is None or message[0] in self._pending:
            # Another request may have the id of a pending one, so their answers can't be distinguished.
            self._pending.clear()
            self._is_recording = False
            return False
        request_id, _, text = message
        if request_id is not None:
            self._pending[request_id] = self._name(text)
        self._shape(message, line)
        return True

    def is_answered(self, request_id: str | int, result: object) -> bool:
        """Note an answer of the real server, None for an error; True if the client has it already."""
        name = self._pending.pop(request_id, None)
        if name is not None and result is not None and name not in self._answers:
            answer = self._answers[name] = json.dumps(result, ensure_ascii=False, separators=(",", ":"))
            with suppress(OSError):
                _append_answer(self._path, name, answer)
        if request_id not in self.replayed:
            return False
        self.replayed.remove(request_id)
        return True

    def _name(self, text: str) -> str:
        """Identify an answer by the start, the messages that shaped the session, and its own message."""
        return sha256((self._state + text).encode()).hexdigest()

    def _shape(self, message: tuple[str | int | None, str, str], line: bytes) -> None:
        """Keep what later answers depend on: the first request, which decides the era, and the handshake of 2025."""
        request_id, method, text = message
        has_request = any(earlier is not None for earlier, _ in self._shaping)
        if not has_request or method in ("initialize", _INITIALIZED):
            self._state += text
            self._shaping.append((request_id, line))


def _parse_message(line: bytes) -> tuple[str | int | None, str, str] | None:
    """Return id, method and the whole message except its id; None if the message isn't part of a handshake."""
    try:
        message = json.loads(line.decode())
        method, request_id = message["method"], message.pop("id", None)
        is_lasting = all(name.startswith(_LASTING_META) for name in message.get("params", {}).get("_meta", {}))
        # Half a surrogate pair is repaired by the real server.
        str(request_id).encode()
        # Type by type: True counts as an int.
        is_known = (
            method in _REQUESTS if type(request_id) in (int, str) else (method, request_id) == (_INITIALIZED, None)
        )
        return (request_id, method, json.dumps(message, sort_keys=True)) if is_lasting and is_known else None
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None


def _read(fd: int, parent: int) -> bytes:
    """Wait for input and read it. Raises EOFError if the parent process ends: another process may hold the pipe open."""
    while parent and not select.select([fd], [], [], _PARENT_SECONDS)[0]:
        if os.getppid() != parent:
            raise EOFError
    return os.read(fd, _LINE_BYTES)


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
    variable, default = _CACHES.get(sys.platform, ("XDG_CACHE_HOME", ".cache"))
    for name, inner in (("TTP_STATE_DIR", ""), (variable, "ttp-mcp")):
        if (chosen := Path(os.environ.get(name, ""))).is_absolute():
            return chosen / inner
    return Path.home() / default / "ttp-mcp"


def _digest_start(words: Sequence[str]) -> str:
    """Digest everything that an answer may depend on: program, distributions, Python and its flags, arguments and settings."""
    names = sorted({*os.environ} - TOKEN_VARIABLES)
    settings = [(name, os.environ[name]) for name in names if name.startswith(("TTP_", "TIMETOPOST_"))]
    # Optimized Python drops docstrings, which are descriptions of tools.
    python = sys.version, sys.flags, sys.platform, sys.path
    code = sorted((entry.path, entry.stat().st_mtime_ns, entry.stat().st_size) for entry in _list_code())
    return sha256(repr((python, words, settings, code)).encode()).hexdigest()


def _list_code() -> Iterator[os.DirEntry[str]]:
    """List the files of the package, and the folder of each distribution, which has its version in its name."""
    folders = [str(Path(__file__).parents[2])]
    for folder in folders:
        for entry in os.scandir(folder):
            if not entry.is_dir():
                yield entry
            elif entry.name != "__pycache__":
                folders.append(entry.path)
    for folder in filter(os.path.isdir, sys.path):
        yield from (entry for entry in os.scandir(folder) if entry.name.endswith((".dist-info", ".egg-info")))


def _read_record(path: Path) -> dict[str, str]:
    """Return the answers of a record by their names. One that is damaged, too long or not the user's alone is removed."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | _SAFELY), "rb") as file:
            found = os.fstat(file.fileno())
            if found.st_size > _RECORD_BYTES or not _is_private(found):
                raise ValueError
            return dict(map(_parse_line, file))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        with suppress(OSError):
            path.unlink()
        return {}


def _append_answer(path: Path, name: str, answer: str) -> None:
    """Add an answer to a record in one write, and remove the oldest records. A full one begins again."""
    line = f"{name}\t{answer}\t{_digest_answer(name, answer)}\n".encode()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and path.stat().st_size + len(line) > _RECORD_BYTES:
        path.unlink()
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _SAFELY, 0o600)
    try:
        os.write(file, line)
    finally:
        os.close(file)
    records = sorted(path.parent.glob(f"{_PREFIX}*"), key=lambda each: each.stat().st_mtime_ns)
    for old in records[:-_MOST_RECORDS]:
        old.unlink(missing_ok=True)


def _parse_line(line: bytes) -> tuple[str, str]:
    """Return the name and the answer of a line. Raises ValueError if a byte is missing or changed."""
    name, answer, digest = line.decode().split("\t")
    if digest != f"{_digest_answer(name, answer)}\n":
        raise ValueError
    return name, answer


def _digest_answer(name: str, answer: str) -> str:
    return sha256(f"{name} {answer}".encode()).hexdigest()


def _is_private(found: os.stat_result) -> bool:
    is_ours = os.name != "posix" or (found.st_uid == os.geteuid() and not found.st_mode & 0o077)
    return is_ours and stat.S_ISREG(found.st_mode)
