"""Paths of media files as people and agents write them. Opens no file, so Windows paths are tested everywhere."""

import re
import sys
import unicodedata
from typing import Literal
from urllib.parse import unquote, urlsplit

from ttp_mcp.media.errors import HIDDEN_PROBLEM, refuse_file

System = Literal["windows", "macos", "linux"]
SYSTEM: System = "windows" if sys.platform == "win32" else "macos" if sys.platform == "darwin" else "linux"
MOST_PATH_CHARACTERS = 4096
_QUOTES = ("''", '""', "``", "“”", "‘’", "«»")
# "Copy as path" in a Windows dialog puts an invisible mark before the drive.
_OUTER_MARKS = "\u202a\u202c"
_DRIVE = re.compile(r"[A-Za-z]:/")
_DRIVE_ONLY = re.compile(r"[A-Za-z]:(?!/)")
# Names that Windows takes for a device in every folder, also with an extension.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[1-9¹²³]) *(?:\.|$)", re.IGNORECASE)
# Links of macOS, which has these folders in /private.
_PRIVATE = re.compile(r"^/private(?=/(?:var|tmp|etc)(?:/|$))", re.IGNORECASE)
# %USERPROFILE%\, $HOME/, ${HOME}/ and $env:USERPROFILE\, which a shell would have replaced.
_VARIABLE = re.compile(r"(?:%\w+%|\$(?:env:)?[A-Za-z]\w*|\$\{[\w:]+\})[/\\]")
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[/\\]|\\\\")
# Control characters, characters that reorder or hide text, and lone surrogates.
_HIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u17b4\u17b5\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufff8\ud800-\udfff"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)


def parse_source(source: str, home: str | None, *, system: System = SYSTEM) -> str:
    """Return the path that was meant, with `/` between its parts.

    Outer blanks, one pair of quotes and `./` at the beginning are removed, `file:` URLs and `~/` are resolved, and shell escapes
    are undone.

    Raises:
        FileRefused: The path is too long, begins with a variable, or is a URL of another form.
    """
    if len(source) > MOST_PATH_CHARACTERS:
        raise refuse_file("", f"the path has more than {MOST_PATH_CHARACTERS} characters", "Pass a shorter one")
    typed = _strip_quotes(_strip_marks(source))
    if _VARIABLE.match(typed):
        raise refuse_file(typed, "the path begins with a variable, which isn't replaced here", "Pass the whole path")
    resolve = _parse_file_url if typed[:5].lower() == "file:" else _undo_escapes
    typed = resolve(typed, system=system)
    if system == "windows":
        typed = _use_slashes(typed)
    if home and typed.startswith("~/"):
        return f"{home.rstrip('/')}{typed[1:]}"
    return re.sub(r"^(?:\./+)+(?=[^/~])", "", typed)


def is_absolute(typed: str, *, system: System = SYSTEM) -> bool:
    """Check whether a parsed path is absolute."""
    return bool(_DRIVE.match(typed) or typed.startswith("//")) if system == "windows" else typed.startswith("/")


def split_below(typed: str, folder: str, *, system: System = SYSTEM) -> list[str] | None:
    """Split an absolute path into its parts below a folder; None if it isn't below it.

    Ignoring case opens no other folder: the parts are opened below the folder as it was configured.
    """
    wanted, parts = _split_parts(folder.rstrip("/"), system), _split_parts(typed, system)
    above, below = parts[: len(wanted)], parts[len(wanted) :]
    # The usual file systems of Windows and macOS find a file by its name in any case.
    same = above == wanted or (system != "linux" and list(map(_fold_part, above)) == list(map(_fold_part, wanted)))
    return below if same and below else None


def check_parts(parts: list[str], *, system: System = SYSTEM) -> None:
    """Check that a path below an allowed folder is plain.

    Raises:
        FileRefused: A part is empty, `.`, `..`, hidden, or has a character or form that no path may have.
    """
    path, name = "/".join(parts), parts[-1]
    if found := _HIDDEN.search(path):
        cause = f"the path has a control or an invisible character (U+{ord(found[0]):04X})"
        raise refuse_file(name, cause, "Pass it without; if the file's own name has it, pass a copy with a plain name")
    if "\\" in path:
        if _WINDOWS_PATH.match(path):
            raise refuse_file(
                path, "this is a path of Windows, and this server runs on another system", "Pass its path here"
            )
        raise refuse_file(name, "the path has a backslash", "Write / between its parts")
    problem = _find_windows_problem(parts) if system == "windows" else _find_problem(parts)
    if problem:
        raise refuse_file(name, *problem)


def _find_problem(parts: list[str]) -> tuple[str, str] | None:
    """Return why no system may open a path, and the next step."""
    if {"", ".", ".."} & set(parts):
        return "the path has an empty, . or .. part", "Pass the plain path below the allowed folder"
    if any(part.startswith(".") for part in parts):
        return HIDDEN_PROBLEM
    return None


def _find_windows_problem(parts: list[str]) -> tuple[str, str] | None:
    """Return what in a path has a meaning of its own on Windows, and the next step."""
    if not parts[0] or _DRIVE_ONLY.match(parts[0]):
        cause = "the path has a drive without a folder" if parts[0] else "the path has no drive"
        return cause, r"Pass the whole path, for example C:\folder\photo.jpg"
    if problem := _find_problem(parts):
        return problem
    if any(":" in part for part in parts):
        return "the path has a colon after its drive", "Pass the plain path of the file"
    if any(_DEVICE.match(part) for part in parts):
        return "a part of the path is the name of a device of Windows", "Pass a file and folders with other names"
    if any(part[-1] in ". " for part in parts):
        return "a part of the path ends with a dot or a blank", "Pass a file and folders with other names"
    return None


def is_presentable(name: str) -> bool:
    """Check whether a file's name may be shown and passed back."""
    return not name.startswith(".") and "\\" not in name and not _HIDDEN.search(name)


def _strip_marks(text: str) -> str:
    return text.strip().strip(_OUTER_MARKS).strip()


def _strip_quotes(typed: str) -> str:
    quoted = len(typed) > 2 and typed[0] + typed[-1] in _QUOTES
    return _strip_marks(typed[1:-1]) if quoted else typed


def _undo_escapes(typed: str, *, system: System) -> str:
    """Undo the escapes of a POSIX shell, or the doubled separators of JSON on Windows."""
    if system != "windows":
        return re.sub(r"\\([^A-Za-z0-9])", r"\1", typed)
    return typed.replace("\\\\", "\\") if re.match(r"[A-Za-z]:\\\\", typed) else typed


def _use_slashes(typed: str) -> str:
    typed = typed.replace("\\", "/")
    if typed[:8].upper() == "//?/UNC/":
        return f"//{typed[8:]}"
    return typed[4:] if typed.startswith("//?/") and _DRIVE.match(typed[4:]) else typed


def _parse_file_url(url: str, *, system: System) -> str:
    try:
        parts = urlsplit(url.replace("\\", "/") if system == "windows" else url)
    except ValueError:
        parts = None
    is_local = parts is not None and parts.netloc.lower() in ("", "localhost")
    if parts is None or parts.query or parts.fragment or (not is_local and system != "windows"):
        raise refuse_file("", "a file URL must have the form file:///path", "Pass the path instead")
    path = unquote(parts.path, errors="surrogateescape")
    if _DRIVE_ONLY.fullmatch(parts.netloc):
        # file://C:/… is a common slip.
        return f"{parts.netloc}{path}"
    if not is_local:
        return f"//{parts.netloc}{path}"
    return path[1:] if system == "windows" and _DRIVE.match(path[1:].replace("\\", "/")) else path


def _split_parts(path: str, system: System) -> list[str]:
    return (_PRIVATE.sub("", path) if system == "macos" else path).split("/")


def _fold_part(part: str) -> str:
    return unicodedata.normalize("NFC", part).lower()
