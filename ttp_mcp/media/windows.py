"""Folders and files of Windows: opened first, then the handle is asked for its real path.

The path that is opened is literal (`\\\\?\\…`), so device names, streams and trailing dots have no meaning of their own.
"""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":  # pragma: no cover - runs on Windows only
    import ctypes
    import msvcrt
    from ctypes import wintypes

    from ttp_mcp.media.folders import refuse_hidden

    _GENERIC_READ = 0x80000000
    _SHARE_ALL = 7
    _OPEN_EXISTING = 3
    # Without this flag a folder can't be opened.
    _BACKUP_SEMANTICS = 0x02000000
    _INVALID_HANDLE = ctypes.c_void_p(-1).value
    _NAME_SURROGATE = 0x20000000
    _BAD_NAMES = (123, 161)

    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _kernel.CreateFileW.restype = wintypes.HANDLE
    _kernel.CreateFileW.argtypes = [
        wintypes.LPCWSTR,
        wintypes.DWORD,
        wintypes.DWORD,
        wintypes.LPVOID,
        wintypes.DWORD,
        wintypes.DWORD,
        wintypes.HANDLE,
    ]
    _kernel.GetFinalPathNameByHandleW.argtypes = [
        wintypes.HANDLE,
        wintypes.LPWSTR,
        wintypes.DWORD,
        wintypes.DWORD,
    ]
    _kernel.GetLongPathNameW.argtypes = [wintypes.LPCWSTR, wintypes.LPWSTR, wintypes.DWORD]
    _kernel.CloseHandle.argtypes = [wintypes.HANDLE]

    class WindowsFolder:
        """A folder whose path was compared with the one that its handle gives."""

        def __init__(self, path: str) -> None:
            """Use a literal path without links."""
            self._path = path

        @classmethod
        def open(cls, root: Path) -> "WindowsFolder":
            """Open a folder that has no link in its path."""
            return cls(_literal(str(root)))

        def enter(self, name: str) -> "WindowsFolder":
            """Open a folder in this one."""
            below = self._below(name)
            os.close(refuse_hidden(_open(below)))
            return WindowsFolder(below)

        def open_file(self, name: str) -> int:
            """Open a file in this folder; returns its descriptor."""
            return _open(self._below(name))

        def names(self) -> Iterator[str]:
            """Yield the names in this folder."""
            with os.scandir(self._path) as entries:
                for entry in entries:
                    yield entry.name

        def close(self) -> None:
            """Do nothing: no handle is kept."""

        def _below(self, name: str) -> str:
            path = f"{self._path.rstrip(os.sep)}\\{name}"
            return _expand_short_names(path) if "~" in name else path

    def expand_path(path: str) -> str:
        """Return an absolute path on a drive, written with `/`, with long names in place of short ones."""
        return _expand_short_names(_literal(path.replace("/", "\\")))[4:].replace("\\", "/")

    def _literal(path: str) -> str:
        if path.startswith("\\\\?\\"):
            return path
        return f"\\\\?\\UNC{path[1:]}" if path.startswith("\\\\") else f"\\\\?\\{path}"

    def _open(path: str) -> int:
        """Open a file or folder for reading, if no part of its path is a link."""
        if os.lstat(path).st_reparse_tag & _NAME_SURROGATE:
            raise _link()
        handle = _kernel.CreateFileW(path, _GENERIC_READ, _SHARE_ALL, None, _OPEN_EXISTING, _BACKUP_SEMANTICS, None)
        if handle == _INVALID_HANDLE:
            raise _last_error()
        try:
            if _real_path(handle).casefold() != path.casefold():
                raise _link()
            return msvcrt.open_osfhandle(handle, os.O_RDONLY | os.O_BINARY)
        except BaseException:
            _kernel.CloseHandle(handle)
            raise

    def _real_path(handle: int) -> str:
        return _text(lambda buffer, size: _kernel.GetFinalPathNameByHandleW(handle, buffer, size, 0))

    def _expand_short_names(path: str) -> str:
        """Return a literal path with long names; itself if it isn't there."""
        # Wine expands no literal paths.
        plain = f"\\\\{path[8:]}" if path.startswith("\\\\?\\UNC\\") else path[4:]
        with suppress(OSError):
            return _literal(_text(lambda buffer, size: _kernel.GetLongPathNameW(plain, buffer, size)))
        return path

    def _text(call: Callable[[object, int], int]) -> str:
        buffer = ctypes.create_unicode_buffer(32768)
        if not 0 < call(buffer, len(buffer)) < len(buffer):
            raise _last_error()
        return buffer.value

    def _last_error() -> OSError:
        code = ctypes.get_last_error()
        return FileNotFoundError(errno.ENOENT, "no such name") if code in _BAD_NAMES else ctypes.WinError(code)

    def _link() -> OSError:
        return OSError(errno.ELOOP, "a link")
