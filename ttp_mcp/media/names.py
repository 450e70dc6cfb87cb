"""Names in the allowed folders: those that read the same as a typed one, and those to suggest."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from heapq import nlargest
from itertools import islice
from pathlib import Path

from ttp_mcp.media.errors import NAME_CHARACTERS, refuse_file
from ttp_mcp.media.folders import Folder
from ttp_mcp.media.paths import is_presentable
from ttp_mcp.text import quote_words, shorten_line

_MOST_NAMES = 2000
_MOST_DEPTH = 3
_MEDIA_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".mp4", ".m4v", ".mov", ".qt"),
    *(".heic", ".avif", ".webm", ".bmp", ".tif", ".tiff"),
)


def find_lookalike(folder: Folder, name: str, *, is_file: bool) -> str | None:
    """Find the one name in a folder that looks the same; several are refused, since nothing that is typed can tell them apart.

    macOS puts a narrow space into the names of screenshots and stores accents apart from their letters; what a person or a
    model types, and what an answer shows, has neither. Folders only differ by the accents.
    """
    normalize = _normalize_name if is_file else _compose_name
    wanted = normalize(name)
    found = [each for each in folder.names() if normalize(each) == wanted and is_presentable(each)]
    if len(found) > 1:
        shown = quote_words(sorted(found)[:5])
        kind = "file" if is_file else "folder"
        raise refuse_file(name, f"{len(found)} names there read the same ({shown})", f"Rename the {kind} that is meant")
    return found[0] if found else None


def _compose_name(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _normalize_name(name: str) -> str:
    """Return a name with one kind of single spaces and composed letters."""
    return " ".join(unicodedata.normalize("NFKC", name).split())


def find_similar(folder: Folder, name: str) -> list[str]:
    """Return up to five names in a folder that the caller may have meant."""
    names = {each.casefold(): each for each in islice(folder.names(), _MOST_NAMES) if is_presentable(each)}
    return [shorten_line(names[near], NAME_CHARACTERS) for near in get_close_matches(name.casefold(), names, n=5)]


def list_newest(folders: Sequence[Path]) -> list[str]:
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
