"""A file of the user's, opened only below a folder that they allowed.

The path is walked from the folder's own descriptor, one component at a time and never through a link, and everything
afterwards uses the descriptor that was opened: what was checked is what is read.
"""

import errno
import os
import re
import stat
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from ttp_mcp.text import quote_text, quote_words, shorten_line

MOST_BYTES = 5 * 1024**3
MOST_PATH_CHARACTERS = 4096
NAME_CHARACTERS = 100
# What lies in a home directory and next to nothing else: a folder that has one of these holds more than media.
_HOME_FOLDERS = (".ssh", ".gnupg", ".aws", ".azure", ".config", ".docker", ".kube", ".mozilla", ".password-store")
# Controls, what reorders or hides text, and what is not text at all.
_FORBIDDEN = re.compile(
    r"[\\\x00-\x1f\x7f-\x9f\u061c\u17b4\u17b5\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufff8\ud800-\udfff"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)
_NEARBY_SEEN = 2000
HOW_TO_ALLOW = "add TTP_MEDIA_DIRS=/path/to/folder where this server is configured and restart it"


class FileRefused(Exception):
    """A local file was not sent. The text is complete, ours, and holds no path beyond what was typed."""


class _Missing(Exception):
    """Nothing of this name is there. The argument lists names that are."""


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A regular file, open for reading. `name` is its cleaned base name; sizes are bytes, times nanoseconds."""

    descriptor: int
    name: str
    size: int
    mtime_ns: int
    inode: int
    _found: tuple[int, ...] = ()

    def read_at(self, offset: int, length: int) -> bytes:
        """Bytes from a place in the file; fewer than asked for only at its end.

        Raises:
            OSError: The file can't be read.
        """
        if sys.platform == "win32":  # pragma: no cover - Windows has no pread
            os.lseek(self.descriptor, offset, os.SEEK_SET)
            return os.read(self.descriptor, length)
        return os.pread(self.descriptor, length, offset)

    def unchanged(self) -> bool:
        """Whether it still is the file that was opened, not written to, replaced or removed since."""
        return _identity(os.fstat(self.descriptor)) == self._found

    def copy(self) -> "OpenFile":
        """The same file on a descriptor of its own, for a thread that may outlive this one."""
        return OpenFile(os.dup(self.descriptor), self.name, self.size, self.mtime_ns, self.inode, self._found)

    def close(self) -> None:
        """Give the descriptor back."""
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
    typed = _typed_path(source)
    allowed = [(root, _real_root(root, number)) for number, root in enumerate(roots, 1)]
    places = _places(typed, allowed)
    missing: list[str] = []
    # The name as it was typed anywhere is meant rather than one that only looks like it.
    for alike in (False, True):
        file, missing = _only(typed, places, alike=alike)
        if file is not None:
            return file
    near = f" Similar names there: {quote_words(list(dict.fromkeys(missing))[:5])}." if missing else ""
    raise _refused(typed, "there is no such file below the allowed folders", f"Check the name.{near}", stop="")


def _only(typed: str, places: list[tuple[Path, list[str]]], *, alike: bool) -> tuple[OpenFile | None, list[str]]:
    """The one file that is there; without one the names in its folders that may be meant."""
    found: list[OpenFile] = []
    missing: list[str] = []
    try:
        for real, parts in places:
            _check_parts(parts)
            try:
                found.append(_open(real, parts, alike=alike))
            except _Missing as problem:
                missing += problem.args[0]
        if len(found) > 1:
            raise _refused(typed, "a file of this name is in several allowed folders", "Pass its absolute path")
        return (found.pop() if found else None), missing
    finally:
        for file in found:
            file.close()


def quote_base_name(typed: str) -> str:
    """Return the last part of a path for an error, or `it` where there is none."""
    name = re.split(r"[/\\]", typed.rstrip("/\\"))[-1]
    return quote_text(name, NAME_CHARACTERS) if name.strip() else "it"


def _refused(typed: str, why: str, what_next: str, stop: str = ";") -> FileRefused:
    return FileRefused(
        f"Not uploaded: {quote_base_name(typed)}: {why}. {what_next}{stop} "
        f"{'r' if stop else 'R'}epeating the same call does not help."
    )


def _typed_path(source: str) -> str:
    """The path that was meant: `file:` and `~` taken off."""
    if len(source) > MOST_PATH_CHARACTERS:
        raise _refused("", f"the path has more than {MOST_PATH_CHARACTERS} characters", "Pass a shorter one")
    if source[:5].lower() == "file:":
        return _file_url_path(source)
    if source.startswith("~/"):
        return f"{Path.home()}{source[1:]}"
    return source


def _file_url_path(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    if parts is None or parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
        raise _refused("it", "a file URL must have the form file:///path", "Pass the path instead")
    return unquote(parts.path, errors="surrogateescape")


def folder_problems(roots: Sequence[Path]) -> list[str]:
    """What is wrong with the allowed folders, one sentence each without its full stop; while there is any, no file is opened."""
    return [found for number, root in enumerate(roots, 1) if isinstance(found := _judged(root, number), str)]


def _real_root(root: Path, number: int) -> Path:
    """An allowed folder without links. It is the user's own choice, so links in it are followed, once."""
    found = _judged(root, number)
    if isinstance(found, str):
        raise _setting_refused(found)
    return found


def _judged(root: Path, number: int) -> Path | str:
    """An allowed folder without links, or what is wrong with it."""
    which = f"entry {number} of TTP_MEDIA_DIRS"
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
    home = Path(os.path.realpath(Path.home()))
    if real == home or real in home.parents:
        return f"{which} is your home folder or holds it"
    if any((real / name).is_dir() for name in _HOME_FOLDERS):
        return f"{which} holds private folders such as .ssh"
    return real


def _setting_refused(why: str) -> FileRefused:
    return FileRefused(
        f"Not uploaded: {why}. Name a folder that holds only media, for example TTP_MEDIA_DIRS=/path/to/folder, "
        "and restart this server; repeating does not help until then."
    )


def _places(typed: str, allowed: list[tuple[Path, Path]]) -> list[tuple[Path, list[str]]]:
    """Where a path can be meant: the folder, and the components below it."""
    if not os.path.isabs(typed):  # noqa: PTH117 - a Path would drop the empty and `.` parts that are refused
        return [(real, typed.split("/")) for real in dict.fromkeys(real for _, real in allowed)]
    for root, real in allowed:
        for prefix in (f"{root}/", f"{real}/"):
            if typed.startswith(prefix):
                return [(real, typed.removeprefix(prefix).split("/"))]
    raise _refused(
        typed, "it lies outside the folders of TTP_MEDIA_DIRS", "Move it into one of them, or have its folder added"
    )


def _check_parts(parts: list[str]) -> None:
    name = parts[-1] or "it"
    for part in parts:
        if _FORBIDDEN.search(part):
            raise _refused(name, "the path holds a backslash, a control or an invisible character", "Rename the file")
        if part in ("", ".", ".."):
            raise _refused(name, "the path has an empty, . or .. part", "Pass the plain path below the allowed folder")
        if part.startswith("."):
            raise _refused(name, "hidden files and folders are never read", "Move the file to a visible folder")


def _open(root: Path, parts: list[str], *, alike: bool) -> OpenFile:
    if sys.platform == "win32":  # pragma: no cover - Windows only
        return _opened(_open_without_walking(root, parts), parts[-1])
    return _opened(*_walk(root, parts, alike=alike))


def _walk(root: Path, parts: list[str], *, alike: bool) -> tuple[int, str]:
    """The descriptor of a file below a folder, no component of which is a link, and its name as it is stored there.

    Args:
        root: The folder.
        parts: The components below it.
        alike: Whether the file may be one whose name only reads the same.
    """
    plain = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    name = step = parts[-1]
    folder = os.open(root, plain | os.O_DIRECTORY)
    try:
        for step in parts[:-1]:
            below = os.open(step, plain | os.O_DIRECTORY, dir_fd=folder)
            os.close(folder)
            folder = below
        step = name
        stored = (_namesake(folder, name) if alike else None) or name
        # Without blocking: opening a FIFO would otherwise wait for a writer, for ever.
        return os.open(stored, plain | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=folder), stored
    except FileNotFoundError:
        raise _Missing(_nearby(folder, step)) from None
    except OSError as error:
        raise _refused(name, *_why(error)) from None
    finally:
        os.close(folder)


def _why(error: OSError) -> tuple[str, str]:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "a part of its path is a link, or not a folder", "Pass the path of the file itself"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "this server may not read it", "Change its permissions"
    if error.errno == errno.ENAMETOOLONG:
        return "its name is too long", "Rename the file"
    if error.errno == errno.ENXIO:
        return "it is not a regular file", "Pass an image or a video"
    return "it could not be opened", "Check the file"


def _opened(descriptor: int, name: str) -> OpenFile:
    """Check what was opened; the descriptor is closed when it will not do."""
    found = os.fstat(descriptor)
    problem = _problem(found)
    if problem:
        os.close(descriptor)
        raise _refused(name, *problem)
    return OpenFile(descriptor, _sent_name(name), found.st_size, found.st_mtime_ns, found.st_ino, _identity(found))


def _problem(found: os.stat_result) -> tuple[str, str] | None:
    if not stat.S_ISREG(found.st_mode):
        return "it is not a regular file", "Pass an image or a video"
    # A second name of a file can be one of a secret elsewhere on the disk.
    if found.st_nlink != 1:
        return "it is a hard link", "Pass a copy of it"
    if found.st_size == 0:
        return "it is empty", "Pass an image or a video"
    if found.st_size > MOST_BYTES:
        return f"it has {found.st_size} bytes and at most {MOST_BYTES} can be sent", "Make it smaller"
    return None


def _identity(found: os.stat_result) -> tuple[int, ...]:
    return (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev, found.st_nlink)


def _sent_name(name: str) -> str:
    """The name as the API is told it: one line, not too long, its extension kept."""
    stem, dot, extension = name.rpartition(".")
    return (
        shorten_line(name, 1000)
        if len(name) <= NAME_CHARACTERS
        else f"{stem[: NAME_CHARACTERS - 12]}{dot}{extension[:10]}"
    )


def _namesake(folder: int, name: str) -> str | None:
    """The one name in a folder that reads the same; several are refused, since nothing that is typed can tell them apart.

    macOS puts a narrow space into the names of screenshots and stores accents apart from their letters; what a person or a
    model types, and what an answer shows, has neither.
    """
    wanted = _as_read(name)
    with os.scandir(folder) as entries:
        found = [entry.name for entry in entries if _as_read(entry.name) == wanted and _may_be_told(entry.name)]
    if len(found) > 1:
        shown = quote_words(sorted(found)[:5])
        raise _refused(name, f"{len(found)} names there read the same ({shown})", "Rename the file that is meant")
    return found[0] if found else None


def _as_read(name: str) -> str:
    """The name without what can't be seen: kinds of spaces, how many of them, and how letters are put together."""
    return " ".join(unicodedata.normalize("NFKC", name).split())


def _may_be_told(name: str) -> bool:
    return not name.startswith(".") and not _FORBIDDEN.search(name)


def _nearby(folder: int, name: str) -> list[str]:
    """Up to five names in the same folder that the caller may have meant."""
    with os.scandir(folder) as entries:
        seen = [entry.name for _, entry in zip(range(_NEARBY_SEEN), entries, strict=False)]
    names = {each.casefold(): each for each in seen if _may_be_told(each)}
    return [shorten_line(names[near], NAME_CHARACTERS) for near in get_close_matches(name.casefold(), names, n=5)]


def _open_without_walking(
    root: Path, parts: list[str]
) -> int:  # pragma: no cover - for Windows, which can't open below a descriptor
    """The descriptor of a file, after checking that its path resolves to itself. Weaker: a link swapped in between is followed."""
    path = root.joinpath(*parts)
    try:
        resolved = path.resolve(strict=True)
        reparse = any(
            os.lstat(step).st_file_attributes & 0x400 for step in (path, *path.parents) if root in step.parents
        )  # type: ignore[attr-defined]
        if not resolved.is_relative_to(root) or reparse:
            raise _refused(parts[-1], "a part of its path is a link", "Pass the path of the file itself")
        return os.open(resolved, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise _Missing([]) from None
    except OSError as error:
        raise _refused(parts[-1], *_why(error)) from None
