"""Other users of this computer who may read a file: by its mode, or on Windows by its access list."""

import os
import re
import shlex
import stat
import sys
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath

# Groups of an access list in Windows' SDDL, with the names that users know.
_GROUPS = {
    "WD": "Everyone",
    "AU": "Authenticated Users",
    "BU": "Users",
    "IU": "Interactive Users",
    "BG": "Guests",
    "AN": "Anonymous",
}
_ALLOWED = re.compile(r"\(A;([^;]*);([^;]*);[^;]*;[^;]*;([A-Z]{2})\)")
# FILE_READ_DATA, GENERIC_ALL and GENERIC_READ as bits, and as letters.
_READ_BITS = 0x1 | 0x10000000 | 0x80000000
_READ_LETTERS = {"FA", "FR", "GA", "GR", "CC"}


def find_other_readers(path: Path) -> list[str]:
    """Return the groups of other users who may read a file; empty if there are none, or if that can't be found out."""
    try:
        if sys.platform == "win32":  # pragma: no cover - Windows only
            return parse_readers(_read_access_list(path))
        return ["other users"] if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) else []
    except OSError:
        return []


def parse_readers(sddl: str) -> list[str]:
    """Return the groups that an access list of Windows allows to read. Entries that deny are ignored, since they are rare."""
    if "D:NO_ACCESS_CONTROL" in sddl:
        return ["Everyone"]
    # An entry with IO is only for what is created below a folder.
    found = [
        _GROUPS.get(who) for flags, rights, who in _ALLOWED.findall(sddl) if "IO" not in flags and _can_read(rights)
    ]
    return list(dict.fromkeys(name for name in found if name))


def how_to_make_private(path: Path | str, *, with_folder: bool = False) -> str:
    """Return the command that lets only its owner read a file.

    Args:
        path: The file.
        with_folder: Files beside it count too. On Windows they inherit the access list of their folder.
    """
    if sys.platform == "win32":  # pragma: no cover - Windows only
        return build_icacls(path, os.environ, with_folder=with_folder)
    return f"chmod 600 {shlex.quote(str(path))}"


def build_icacls(path: Path | str, environ: Mapping[str, str], *, with_folder: bool = False) -> str:
    """Return the command of Windows for a file or its folder, for the command prompt and for PowerShell alike."""
    user = environ.get("USERNAME")
    # Without a name, the owner of each file.
    who = "\\".join(filter(None, (environ.get("USERDOMAIN"), user))) if user else "*S-1-3-4"
    place, rights = (PureWindowsPath(path).parent, "(OI)(CI)F") if with_folder else (path, "F")
    return f'icacls "{place}" /inheritance:r /grant:r "{who}:{rights}"'


def _can_read(rights: str) -> bool:
    if rights.startswith("0x"):
        return bool(int(rights, 16) & _READ_BITS)
    return bool(_READ_LETTERS & set(re.findall("..", rights)))


if sys.platform == "win32":  # pragma: no cover - Windows only

    def _read_access_list(path: Path) -> str:
        """Return the access list of a file as SDDL."""
        import ctypes

        advapi, kernel = ctypes.WinDLL("advapi32"), ctypes.WinDLL("kernel32")
        file_object, access_list, revision = 1, 4, 1
        descriptor, text = ctypes.c_void_p(), ctypes.c_wchar_p()
        advapi.GetNamedSecurityInfoW.argtypes = [ctypes.c_wchar_p, *[ctypes.c_uint] * 2, *[ctypes.c_void_p] * 5]
        if code := advapi.GetNamedSecurityInfoW(
            str(path), file_object, access_list, None, None, None, None, ctypes.byref(descriptor)
        ):
            raise ctypes.WinError(code)
        try:
            if not advapi.ConvertSecurityDescriptorToStringSecurityDescriptorW(
                descriptor, revision, access_list, ctypes.byref(text), None
            ):
                raise ctypes.WinError()
            return text.value or ""
        finally:
            kernel.LocalFree.argtypes = [ctypes.c_void_p]
            kernel.LocalFree(descriptor)
            kernel.LocalFree(text)
