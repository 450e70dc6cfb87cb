"""A file of the user's, opened only below a folder that they allowed.

The path is walked from the folder, one part at a time and never through a link, and everything afterwards uses the
descriptor that was opened: what was checked is what is read.
"""

import errno
import os
import stat
import sys
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from heapq import nlargest
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from ttp_mcp.media.errors import NAME_CHARACTERS, FileRefused, refuse_file
from ttp_mcp.media.paths import IS_WINDOWS, check_parts, is_absolute, is_presentable, parse_source, split_below
from ttp_mcp.text import quote_words, shorten_line

MOST_BYTES = 5 * 1024**3
EXAMPLE_FOLDER = r"C:\Users\you\Pictures\posts" if IS_WINDOWS else "/path/to/folder"
HOW_TO_ALLOW = f"add TTP_MEDIA_DIRS={EXAMPLE_FOLDER} where this server is configured and restart it"
# A folder that has one of these is a home folder or a copy of one, so it holds more than media.
_HOME_FOLDERS = (".ssh", ".gnupg", ".aws", ".azure", ".config", ".docker", ".kube", ".mozilla", ".password-store")
_MOST_NAMES = 2000
_MOST_DEPTH = 3
_MEDIA_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".mp4", ".m4v", ".mov", ".qt"),
    *(".heic", ".avif", ".webm", ".bmp", ".tif", ".tiff"),
)
_HIDDEN_ATTRIBUTE = 2
_SHARING_VIOLATIONS = (32, 33)
_seek_lock = threading.Lock()


class _Missing(Exception):
    """Raised when no file has the name. The argument is a list of similar names in its folder."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file, open for reading. `name` is its cleaned base name; sizes are bytes, times nanoseconds."""

    descriptor: int
    name: str
    size: int
    mtime_ns: int
    inode: int
    _found: tuple[int, ...] = ()

    @classmethod
    def adopt(cls, descriptor: int, name: str) -> "OpenFile":
        """Use an open file, which is closed with the result; `name` may be any text."""
        found = os.fstat(descriptor)
        return cls(
            descriptor, _shorten_name(name), found.st_size, found.st_mtime_ns, found.st_ino, _identify_file(found)
        )

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
        return _identify_file(os.fstat(self.descriptor)) == self._found

    def copy(self) -> "OpenFile":
        """Return the same file on a descriptor of its own, for a thread that may outlive this one."""
        return OpenFile(os.dup(self.descriptor), self.name, self.size, self.mtime_ns, self.inode, self._found)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_below(source: str, roots: Sequence[Path]) -> OpenFile:
    """Open a file that lies below one of the allowed folders.

    Args:
        source: A path relative to one of the folders, or an absolute path, `~/…` or `file:///…` that lies below one.
        roots: The allowed folders, as configured.

    Raises:
        FileRefused: It was not opened, and why.
    """
    if not roots:
        raise FileRefused(
            f"Not uploaded: no folder on this computer is allowed yet. To allow one, {HOW_TO_ALLOW}; "
            "repeating does not help until then."
        )
    home = _find_home()
    typed = parse_source(source, home.as_posix() if home else None)
    allowed = [(root, _resolve_root(root, number)) for number, root in enumerate(roots, 1)]
    places = _find_places(typed, allowed)
    similar: list[str] = []
    # Try the exact name in every folder before names that only look the same.
    for lookalike in (False, True):
        file, similar = _open_only(typed, places, lookalike=lookalike)
        if file is not None:
            return file
    raise _refuse_missing(typed, similar, [real for _, real in allowed])


def folder_problems(roots: Sequence[Path]) -> list[str]:
    """Return the problems of the allowed folders, without full stops; with any problem, no file is opened."""
    return [found for number, root in enumerate(roots, 1) if isinstance(found := _check_root(root, number), str)]


def _open_only(
    typed: str, places: list[tuple[Path, list[str]]], *, lookalike: bool
) -> tuple[OpenFile | None, list[str]]:
    """Open the only file of this name; if there is none, return similar names in its folders."""
    found: list[OpenFile] = []
    similar: list[str] = []
    try:
        for real, parts in places:
            check_parts(parts)
            try:
                found.append(_check_opened(*_open_parts(real, parts, lookalike=lookalike)))
            except _Missing as problem:
                similar += problem.args[0]
        if len(found) > 1:
            raise refuse_file(typed, "a file of this name is in several allowed folders", "Pass its absolute path")
        return (found.pop() if found else None), similar
    finally:
        for file in found:
            file.close()


def _refuse_missing(typed: str, similar: list[str], folders: list[Path]) -> FileRefused:
    near = f" Similar names there: {quote_words(list(dict.fromkeys(similar))[:5])}." if similar else ""
    newest = _list_newest(folders)
    recent = f" Newest files there: {quote_words(newest)}." if newest else ""
    next_step = f"Check the name.{near}{recent}"
    return refuse_file(typed, "it isn't in the allowed folders", next_step, separator="")


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
    if home is not None and (real == (home := Path(os.path.realpath(home))) or real in home.parents):
        return f"{which} is your home folder or holds it"
    if any((real / name).is_dir() for name in _HOME_FOLDERS):
        return f"{which} holds private folders such as .ssh"
    return real


def _find_places(typed: str, allowed: list[tuple[Path, Path]]) -> list[tuple[Path, list[str]]]:
    """Return each folder that the path may mean, with the parts below it."""
    if not is_absolute(typed):
        return [(real, typed.split("/")) for real in dict.fromkeys(real for _, real in allowed)]
    for root, real in allowed:
        for folder in (root, real):
            if parts := split_below(typed, folder.as_posix()):
                return [(real, parts)]
    raise refuse_file(
        typed, "it lies outside the folders of TTP_MEDIA_DIRS", "Move it into one of them, or have its folder added"
    )


class _Folder(Protocol):
    """A folder that was reached without a link."""

    def enter(self, name: str) -> "_Folder": ...

    def open_file(self, name: str) -> int: ...

    def names(self) -> Iterator[str]: ...

    def close(self) -> None: ...


class _PosixFolder:
    """A folder by its descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def open(cls, root: Path) -> "_PosixFolder":
        return cls(os.open(root, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY))

    def enter(self, name: str) -> "_PosixFolder":
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY
        return _PosixFolder(os.open(name, flags, dir_fd=self._descriptor))

    def open_file(self, name: str) -> int:
        # Without O_NONBLOCK, opening a FIFO would wait for a writer.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
        return os.open(name, flags, dir_fd=self._descriptor)

    def names(self) -> Iterator[str]:
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                yield entry.name

    def close(self) -> None:
        os.close(self._descriptor)


def _open_root(root: Path) -> _Folder:
    if sys.platform == "win32":  # pragma: no cover - Windows only
        from ttp_mcp.media.windows import WindowsFolder

        return WindowsFolder.open(root)
    return _PosixFolder.open(root)


def _open_parts(root: Path, parts: list[str], *, lookalike: bool) -> tuple[int, str]:
    """Open a file below a folder, no part of which is a link; returns its descriptor and stored name.

    Args:
        root: The folder.
        parts: The parts below it.
        lookalike: Also accept a file whose name only looks the same.
    """
    name = step = parts[-1]
    folder = _open_root(root)
    try:
        for step in parts[:-1]:
            below = folder.enter(step)
            folder.close()
            folder = below
        step = name
        stored = (_find_lookalike(folder, name) if lookalike else None) or name
        return folder.open_file(stored), stored
    except FileNotFoundError:
        raise _Missing(_find_similar(folder, step)) from None
    except OSError as error:
        raise refuse_file(name, *_explain_error(error)) from None
    finally:
        folder.close()


def _explain_error(error: OSError) -> tuple[str, str]:
    """Return the cause of a failed open, and the next step."""
    if getattr(error, "winerror", None) in _SHARING_VIOLATIONS:
        return "another program holds it", "Close it there"
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
    found = os.fstat(descriptor)
    problem = _find_problem(found)
    if problem:
        os.close(descriptor)
        raise refuse_file(name, *problem)
    return OpenFile.adopt(descriptor, name)


def _find_problem(found: os.stat_result) -> tuple[str, str] | None:
    """Return why a file can't be sent, and the next step."""
    if not stat.S_ISREG(found.st_mode):
        return "it is not a regular file", "Pass an image or a video"
    if getattr(found, "st_file_attributes", 0) & _HIDDEN_ATTRIBUTE:
        return "hidden files and folders are never read", "Pass a copy in a visible folder"
    # A second name of a file can be one of a secret elsewhere on the disk.
    if found.st_nlink != 1:
        return "it is a hard link", "Pass a copy of it"
    if found.st_size == 0:
        return "it is empty", "Pass an image or a video"
    if found.st_size > MOST_BYTES:
        return f"it has {found.st_size} bytes and at most {MOST_BYTES} can be sent", "Make it smaller"
    return None


def _identify_file(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev, found.st_nlink)


def _shorten_name(name: str) -> str:
    """Return a name for the API: one line, not too long, with its extension."""
    stem, dot, extension = name.rpartition(".")
    if len(name) <= NAME_CHARACTERS:
        return shorten_line(name, 1000)
    return f"{stem[: NAME_CHARACTERS - 12]}{dot}{extension[:10]}"


def _find_lookalike(folder: _Folder, name: str) -> str | None:
    """Find the one name in a folder that looks the same; several are refused, since nothing that is typed can tell them apart.

    macOS puts a narrow space into the names of screenshots and stores accents apart from their letters; what a person or a
    model types, and what an answer shows, has neither.
    """
    wanted = _normalize_name(name)
    found = [each for each in folder.names() if _normalize_name(each) == wanted and is_presentable(each)]
    if len(found) > 1:
        shown = quote_words(sorted(found)[:5])
        raise refuse_file(name, f"{len(found)} names there read the same ({shown})", "Rename the file that is meant")
    return found[0] if found else None


def _normalize_name(name: str) -> str:
    """Return a name with one kind of single spaces and composed letters."""
    return " ".join(unicodedata.normalize("NFKC", name).split())


def _find_similar(folder: _Folder, name: str) -> list[str]:
    """Return up to five names in a folder that the caller may have meant."""
    names = {each.casefold(): each for each in islice(folder.names(), _MOST_NAMES) if is_presentable(each)}
    return [shorten_line(names[near], NAME_CHARACTERS) for near in get_close_matches(name.casefold(), names, n=5)]


def _list_newest(folders: Sequence[Path]) -> list[str]:
    """Return the five newest media files of the allowed folders, as paths that can be passed."""
    found = islice((each for folder in dict.fromkeys(folders) for each in _list_media(folder, "", 0)), _MOST_NAMES)
    return [shorten_line(path, NAME_CHARACTERS) for _, path in nlargest(5, found)]


def _list_media(folder: Path, prefix: str, depth: int) -> Iterator[tuple[int, str]]:
    """Yield modification time and path of each visible media file in a folder; links are skipped."""
    with suppress(OSError), os.scandir(folder / prefix) as entries:
        for entry in islice(entries, _MOST_NAMES):
            if not is_presentable(entry.name) or entry.is_symlink():
                continue
            path = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if depth + 1 < _MOST_DEPTH:
                    yield from _list_media(folder, f"{path}/", depth + 1)
            elif entry.name.lower().endswith(_MEDIA_SUFFIXES):
                yield entry.stat(follow_symlinks=False).st_mtime_ns, path
