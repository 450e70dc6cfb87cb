"""Paths of media files as people and agents write them. Opens no file, so Windows paths are tested everywhere."""

import re
import sys
import unicodedata
from urllib.parse import unquote, urlsplit

from ttp_mcp.media.errors import refuse_file

MOST_PATH_CHARACTERS = 4096
IS_WINDOWS = sys.platform == "win32"
# The usual file systems of both find a file by its name in any case.
_IGNORES_CASE = sys.platform in ("win32", "darwin")
_QUOTES = ("''", '""', "``", "“”", "‘’", "«»")
# "Copy as path" in a Windows dialog puts an invisible mark before the drive.
_OUTER_MARKS = "\u202a\u202c"
_DRIVE = re.compile(r"[A-Za-z]:/")
_WINDOWS_PATH = re.compile(r"[A-Za-z]:[/\\]|\\\\")
# Control characters, characters that reorder or hide text, and lone surrogates.
_HIDDEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u17b4\u17b5\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufff8\ud800-\udfff"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff]"
)


def parse_source(source: str, home: str | None, *, windows: bool = IS_WINDOWS) -> str:
    """Return the path that was meant, with `/` between its parts.

    Outer blanks, one pair of quotes and `./` at the beginning are removed, `file:` URLs and `~/` are resolved, and shell escapes
    are undone.

    Args:
        source: The path as it was typed.
        home: The user's home folder, if it is known.
        windows: True to read Windows paths.

    Raises:
        FileRefused: The path is too long, or a URL of another form.
    """
    if len(source) > MOST_PATH_CHARACTERS:
        raise refuse_file("", f"the path has more than {MOST_PATH_CHARACTERS} characters", "Pass a shorter one")
    typed = _strip_quotes(_strip_marks(source))
    if typed[:5].lower() == "file:":
        typed = _parse_file_url(typed, windows=windows)
    elif "\\" in typed:
        typed = _undo_escapes(typed, windows=windows)
    if windows:
        typed = _use_slashes(typed)
    if home and typed.startswith("~/"):
        return f"{home.rstrip('/')}{typed[1:]}"
    return re.sub(r"^(?:\./+)+(?=[^/~])", "", typed)


def is_absolute(typed: str, *, windows: bool = IS_WINDOWS) -> bool:
    """Check whether a parsed path is absolute."""
    return bool(_DRIVE.match(typed) or typed.startswith("//")) if windows else typed.startswith("/")


def split_below(typed: str, folder: str, *, ignore_case: bool = _IGNORES_CASE) -> list[str] | None:
    """Split an absolute path into its parts below a folder; None if it isn't below it.

    Ignoring case opens no other folder: the parts are opened below the folder as it was configured.
    """
    wanted, parts = folder.rstrip("/").split("/"), typed.split("/")
    above, below = parts[: len(wanted)], parts[len(wanted) :]
    same = above == wanted or (ignore_case and list(map(_fold_part, above)) == list(map(_fold_part, wanted)))
    return below if same and below else None


def check_parts(parts: list[str], *, windows: bool = IS_WINDOWS) -> None:
    """Check that a path below an allowed folder is plain.

    Raises:
        FileRefused: A part is empty, `.`, `..`, hidden, or has a character that no path may have.
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
    if windows and ":" in path:
        raise refuse_file(name, "the path has a colon after its drive", "Pass the plain path of the file")
    if {"", ".", ".."} & set(parts):
        raise refuse_file(name, "the path has an empty, . or .. part", "Pass the plain path below the allowed folder")
    if any(part.startswith(".") for part in parts):
        raise refuse_file(name, "hidden files and folders are never read", "Pass a copy in a visible folder")


def is_presentable(name: str) -> bool:
    """Check whether a file's name may be shown and passed back."""
    return not name.startswith(".") and "\\" not in name and not _HIDDEN.search(name)


def _strip_marks(text: str) -> str:
    return text.strip().strip(_OUTER_MARKS).strip()


def _strip_quotes(typed: str) -> str:
    quoted = len(typed) > 2 and typed[0] + typed[-1] in _QUOTES
    return _strip_marks(typed[1:-1]) if quoted else typed


def _undo_escapes(typed: str, *, windows: bool) -> str:
    """Undo the escapes of a POSIX shell, or the doubled separators of JSON on Windows."""
    if not windows:
        return re.sub(r"\\([^A-Za-z0-9])", r"\1", typed)
    return typed.replace("\\\\", "\\") if re.match(r"[A-Za-z]:\\\\", typed) else typed


def _use_slashes(typed: str) -> str:
    typed = typed.replace("\\", "/")
    if typed[:8].upper() == "//?/UNC/":
        return f"//{typed[8:]}"
    return typed[4:] if typed.startswith("//?/") else typed


def _parse_file_url(url: str, *, windows: bool) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    share = parts is not None and windows and parts.netloc not in ("", "localhost")
    if parts is None or parts.query or parts.fragment or (parts.netloc not in ("", "localhost") and not share):
        raise refuse_file("", "a file URL must have the form file:///path", "Pass the path instead")
    path = unquote(parts.path, errors="surrogateescape")
    if share:
        return f"//{parts.netloc}{path}"
    return path[1:] if windows and _DRIVE.match(path[1:].replace("\\", "/")) else path


def _fold_part(part: str) -> str:
    return unicodedata.normalize("NFC", part).lower()
