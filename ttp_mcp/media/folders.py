"""Folders on the way to a file: opened one by one and never through a link."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

# FILE_ATTRIBUTE_HIDDEN of Windows, UF_HIDDEN of macOS.
_HIDDEN_ATTRIBUTE = 2
_HIDDEN_FLAG = 0x8000


class HiddenFolder(OSError):
    """A folder that Windows or macOS hides."""


class Folder(Protocol):
    """A folder that was reached without a link."""

    def enter(self, name: str) -> "Folder":
        """Open a folder in this one.

        Raises:
            HiddenFolder: It is hidden.
        """
        ...

    def open_file(self, name: str) -> int:
        """Open a file in this folder; returns its descriptor."""
        ...

    def names(self) -> Iterator[str]:
        """Yield the names in this folder."""
        ...

    def close(self) -> None:
        """Release the folder."""
        ...


class PosixFolder:
    """A folder by its descriptor."""

    def __init__(self, descriptor: int) -> None:
        """Use the descriptor of a folder."""
        self._descriptor = descriptor

    @classmethod
    def open(cls, root: Path) -> "PosixFolder":
        """Open a folder that has no link in its path."""
        return cls(os.open(root, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY))

    def enter(self, name: str) -> "PosixFolder":
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY
        return PosixFolder(refuse_hidden(os.open(name, flags, dir_fd=self._descriptor)))

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


def is_hidden(found: os.stat_result) -> bool:
    """Check for the mark by which Windows and macOS hide a file or folder."""
    attributes, flags = getattr(found, "st_file_attributes", 0), getattr(found, "st_flags", 0)
    return bool(attributes & _HIDDEN_ATTRIBUTE or flags & _HIDDEN_FLAG)


def refuse_hidden(descriptor: int) -> int:
    """Return the descriptor of a folder, or close it.

    Raises:
        HiddenFolder: It is hidden.
    """
    if is_hidden(os.fstat(descriptor)):
        os.close(descriptor)
        raise HiddenFolder(errno.EPERM, "hidden")
    return descriptor
