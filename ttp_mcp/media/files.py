"""A file of the user's, opened only below a folder that they allowed.

The path is walked from the folder, one part at a time and never through a link, and everything afterwards uses the
descriptor that was opened: what was checked is what is read.
"""

import errno
import os
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from ttp_mcp.media.errors import HIDDEN_PROBLEM, NAME_CHARACTERS, FileRefused, refuse_file
from ttp_mcp.media.folders import Folder, HiddenFolder, PosixFolder, is_hidden
from ttp_mcp.media.names import find_lookalike, find_similar, list_newest
from ttp_mcp.media.paths import SYSTEM, System, check_parts, is_absolute, parse_source, split_below
from ttp_mcp.process import is_held
from ttp_mcp.text import quote_words, shorten_line

MOST_BYTES = 5 * 1024**3
EXAMPLE_FOLDER = r"C:\Users\you\Pictures\posts" if SYSTEM == "windows" else "/path/to/folder"
HOW_TO_ALLOW = f"add TTP_MEDIA_DIRS={EXAMPLE_FOLDER} where this server is configured and restart it"
# A folder that has one of these is a home folder or a copy of one, so it holds more than media.
_HOME_FOLDERS = (".ssh", ".gnupg", ".aws", ".azure", ".config", ".docker", ".kube", ".mozilla", ".password-store")
_MACOS_PERMISSION = (
    "In System Settings, Privacy & Security, Files and Folders, allow it for the program that starts this server"
)
_seek_lock = threading.Lock()


class _Missing(Exception):
    """Raised when no file has the name. The argument is a list of similar names in its folder."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file, open for reading. `name` is its cleaned base name, `size` is in bytes."""

    descriptor: int
    name: str
    size: int
    _found: tuple[int, ...]

    @classmethod
    def adopt(cls, descriptor: int, name: str) -> "OpenFile":
        """Use an open file, which is closed with the result; `name` may be any text."""
        found = os.fstat(descriptor)
        return cls(descriptor, _shorten_name(name), found.st_size, _identify_state(found))

    def read_at(self, offset: int, length: int) -> bytes:
        """Read bytes from an offset; fewer than asked for only at the end.

        Raises:
            OSError: The file can't be read.
        """
        if sys.platform == "win32":  # pragma: no cover - Windows has no pread, and copies share their position
            with _seek_lock:
                os.lseek(self.descriptor, offset, os.SEEK_SET)
                return os.read(self.descriptor, length)
        return os.pread(self.descriptor, length, offset)

    def is_unchanged(self) -> bool:
        """Check that the file was not written to, replaced or removed since it was opened."""
        return _identify_state(os.fstat(self.descriptor)) == self._found

    def copy(self) -> Self:
        """Return the same file on a descriptor of its own, for a thread that may outlive this one."""
        return replace(self, descriptor=os.dup(self.descriptor))

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_below(source: str, roots: Sequence[Path], *, system: System = SYSTEM) -> OpenFile:
    """Open a file that lies below one of the allowed folders.

    `source` is relative to one of the folders, or an absolute path, `~/…` or `file:///…` that lies below one.

    Raises:
        FileRefused: It was not opened, and why.
    """
    if not roots:
        raise FileRefused(
            f"Not uploaded: no folder on this computer is allowed yet. To allow one, {HOW_TO_ALLOW}; "
            "repeating does not help until then."
        )
    home = _find_home()
    typed = parse_source(source, home.as_posix() if home else None, system=system)
    allowed = [(root, _resolve_root(root, number)) for number, root in enumerate(roots, 1)]
    folders, parts = _split_path(typed, allowed, system)
    check_parts(parts, system=system)
    similar: list[str] = []
    # Try the exact name in every folder before names that only look the same.
    for lookalike in (False, True):
        file, similar = _open_only(folders, parts, lookalike=lookalike, system=system)
        if file is not None:
            return file
    raise _refuse_missing(typed, similar, [real for _, real in allowed])


def folder_problems(roots: Sequence[Path]) -> list[str]:
    """Return the problems of the allowed folders, without full stops; with any problem, no file is opened."""
    return [found for number, root in enumerate(roots, 1) if isinstance(found := _check_root(root, number), str)]


def _open_only(
    folders: list[Path], parts: list[str], *, lookalike: bool, system: System
) -> tuple[OpenFile | None, list[str]]:
    """Open the only file of this name; if there is none, return similar names in its folders."""
    found: list[OpenFile] = []
    similar: list[str] = []
    try:
        for folder in folders:
            try:
                found.append(_check_opened(*_open_parts(folder, parts, lookalike=lookalike, system=system)))
            except _Missing as problem:
                similar += problem.args[0]
        if len(found) > 1:
            raise refuse_file(parts[-1], "a file of this name is in several allowed folders", "Pass its absolute path")
        return (found.pop() if found else None), similar
    finally:
        for file in found:
            file.close()


def _refuse_missing(typed: str, similar: list[str], folders: list[Path]) -> FileRefused:
    near = f". Similar names there: {quote_words(list(dict.fromkeys(similar))[:5])}" if similar else ""
    newest = list_newest(folders)
    recent = f". Newest files there: {quote_words(newest)}" if newest else ""
    return refuse_file(typed, f"it isn't in the allowed folders{near}{recent}", "Check the name")


def _find_home() -> Path | None:
    """Return the user's home folder without links; None if the environment names none."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def _resolve_root(root: Path, number: int) -> Path:
    """Resolve an allowed folder. It is the user's own choice, so links in it are followed, once."""
    found = _check_root(root, number)
    if isinstance(found, str):
        raise FileRefused(
            f"Not uploaded: {found}. Name a folder that holds only media, for example TTP_MEDIA_DIRS={EXAMPLE_FOLDER}, "
            "and restart this server; repeating does not help until then."
        )
    return found


def _check_root(root: Path, number: int) -> Path | str:
    """Return an allowed folder without links, or its problem."""
    which = f"entry {number} of TTP_MEDIA_DIRS"
    if str(root)[:1] in ("'", '"'):
        return f"{which} is in quotes, which have to be left out"
    if not root.is_absolute():
        return f"{which} is not an absolute path"
    try:
        real = root.resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return f"{which} does not exist or can't be read"
    if not real.is_dir():
        return f"{which} is not a folder"
    if not os.access(real, os.R_OK | os.X_OK):
        return f"{which} does not exist or can't be read"
    home = _find_home()
    if home is not None and _is_same_or_above(real, Path(os.path.realpath(home))):
        return f"{which} is your home folder or holds it"
    if any((real / name).is_dir() for name in _HOME_FOLDERS):
        return f"{which} holds private folders such as .ssh"
    return real


def _is_same_or_above(folder: Path, below: Path) -> bool:
    """Compare by file, since a folder can have several paths: in another case, or mounted twice."""
    return any(_is_same(folder, each) for each in (below, *below.parents))


def _is_same(one: Path, other: Path) -> bool:
    with suppress(OSError):
        return one.samefile(other)
    # The allowed folder exists, so what can't be looked up is another one.
    return False


def _split_path(typed: str, allowed: list[tuple[Path, Path]], system: System) -> tuple[list[Path], list[str]]:
    """Return the folders that the path may be in, and its parts below them."""
    if not is_absolute(typed, system=system):
        return list(dict.fromkeys(real for _, real in allowed)), typed.split("/")
    for spelling in _list_spellings(typed):
        for root, real in allowed:
            for folder in (root, real):
                if parts := split_below(spelling, folder.as_posix(), system=system):
                    return [real], parts
    raise refuse_file(
        typed, "it lies outside the folders of TTP_MEDIA_DIRS", "Move it into one of them, or have its folder added"
    )


def _list_spellings(typed: str) -> Iterator[str]:
    """Yield an absolute path, and on Windows the same with long names in place of those such as `PROGRA~1`."""
    yield typed
    # Asking for the path of a share would connect to its server.
    if sys.platform == "win32" and "~" in typed and not typed.startswith("//"):  # pragma: no cover - Windows only
        from ttp_mcp.media.windows import expand_path

        yield expand_path(typed)


def _open_root(root: Path) -> Folder:
    if sys.platform == "win32":  # pragma: no cover - Windows only
        from ttp_mcp.media.windows import WindowsFolder

        return WindowsFolder.open(root)
    return PosixFolder.open(root)


def _open_parts(root: Path, parts: list[str], *, lookalike: bool, system: System) -> tuple[int, str]:
    """Open a file below a folder, no part of which is a link; returns its descriptor and stored name."""
    try:
        return _walk_folders(_open_root(root), parts, lookalike=lookalike)
    except OSError as error:
        raise _refuse_error(parts[-1], error, system) from None


def _walk_folders(folder: Folder, parts: list[str], *, lookalike: bool) -> tuple[int, str]:
    name = step = parts[-1]
    try:
        for step in parts[:-1]:
            below = folder.enter((find_lookalike(folder, step, is_file=False) if lookalike else None) or step)
            folder.close()
            folder = below
        step = name
        stored = (find_lookalike(folder, name, is_file=True) if lookalike else None) or name
        return folder.open_file(stored), stored
    except FileNotFoundError:
        raise _Missing(find_similar(folder, step)) from None
    finally:
        folder.close()


def _refuse_error(name: str, error: OSError, system: System) -> FileRefused:
    if is_held(error):
        return refuse_file(name, "another program holds it", "Close it there", is_safe=True)
    if system == "macos" and error.errno == errno.EPERM and not isinstance(error, HiddenFolder):
        # macOS keeps Desktop, Documents and Downloads from programs that the user didn't let in; modes fail with EACCES.
        return refuse_file(name, "macOS keeps this program out of its folder", _MACOS_PERMISSION, is_safe=True)
    return refuse_file(name, *_explain_error(error))


def _explain_error(error: OSError) -> tuple[str, str]:
    """Return the cause of a failed open, and the next step."""
    if isinstance(error, HiddenFolder):
        return HIDDEN_PROBLEM
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "a part of its path is a link, or not a folder", "Pass the path of the file itself"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "this server may not read it", "Change its permissions"
    if error.errno == errno.ENAMETOOLONG:
        return "its name is too long", "Check the path"
    if error.errno == errno.ENXIO:
        return "it is not a regular file", "Pass an image or a video"
    return "it could not be opened", "Check the file"


def _check_opened(descriptor: int, name: str) -> OpenFile:
    """Check what was opened; the descriptor is closed if it can't be used."""
    if problem := _find_problem(os.fstat(descriptor)):
        os.close(descriptor)
        raise refuse_file(name, *problem)
    return OpenFile.adopt(descriptor, name)


def _find_problem(found: os.stat_result) -> tuple[str, str] | None:
    """Return why a file can't be sent, and the next step."""
    if not stat.S_ISREG(found.st_mode):
        return "it is not a regular file", "Pass an image or a video"
    if is_hidden(found):
        return HIDDEN_PROBLEM
    # A second name of a file can be one of a secret elsewhere on the disk.
    if found.st_nlink != 1:
        return "it is a hard link", "Pass a copy of it"
    if found.st_size == 0:
        return "it is empty", "Pass an image or a video"
    if found.st_size > MOST_BYTES:
        return f"it has {found.st_size} bytes and at most {MOST_BYTES} can be sent", "Make it smaller"
    return None


def _identify_state(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_nlink)


def _shorten_name(name: str) -> str:
    """Return a name for the API: one line, not too long, with its extension."""
    stem, dot, extension = name.rpartition(".")
    if len(name) <= NAME_CHARACTERS:
        return shorten_line(name, 1000)
    return f"{stem[: NAME_CHARACTERS - 12]}{dot}{extension[:10]}"
