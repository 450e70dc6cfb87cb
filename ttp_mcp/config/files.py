"""Files that this program writes: in one step, and those with a secret readable by the user alone."""

import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

# Refuse a link in place of the file, and don't wait for the other end of a pipe; Windows has no such flags.
_PLAIN_FILE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_PRIVATE_BYTES = 10_000


class UnsafeFile(Exception):
    """A file with a secret that others may have read or written. `str()` is the cause."""


def write_atomically(path: Path, data: bytes, mode: int = 0o600, *, check: Callable[[], None] | None = None) -> None:
    """Write a file in one step: beside it first, then under its name.

    Args:
        path: The file. A link is replaced, not followed.
        data: Its whole content.
        mode: Its permissions.
        check: Called just before the file is replaced; may raise to prevent it.

    Raises:
        OSError: It can't be written; a file that was there is as before.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        if check is not None:
            check()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_new(path: Path, data: bytes) -> None:
    """Write a file that must not exist yet, for the user alone.

    Raises:
        OSError: It exists, or can't be written.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that holds a secret, in a folder of its own.

    Raises:
        UnsafeFile: A link or another user's file is in its place.
        OSError: It can't be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileNotFoundError):
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or not _is_own(found):
            raise UnsafeFile(f"{path} is a link, not a regular file, or belongs to another user")
    write_atomically(path, data)


def read_private(path: Path) -> bytes | None:
    """Read a file that holds a secret; None if it isn't there.

    Raises:
        UnsafeFile: Others may have read or written it.
        OSError: It can't be read.
    """
    if path.is_symlink():
        raise UnsafeFile("its file is a link")
    try:
        handle = os.open(path, os.O_RDONLY | _PLAIN_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise UnsafeFile("its file is not a regular file")
        if not _is_own(found):
            raise UnsafeFile("its file belongs to another user")
        if os.name == "posix" and found.st_mode & 0o077:
            raise UnsafeFile("its file can be read or written by other users of this computer")
        return file.read(_PRIVATE_BYTES)


def _is_own(found: os.stat_result) -> bool:
    return os.name != "posix" or found.st_uid == os.geteuid()
