"""Examine a media file's bytes: type, dimensions, duration, animation, damage and private metadata."""

import errno
from collections.abc import Sequence
from dataclasses import dataclass

from ttp_mcp.media.errors import FileRefused, refuse_file
from ttp_mcp.media.facts import MediaFacts
from ttp_mcp.media.images import scan_gif, scan_jpeg, scan_png, scan_webp
from ttp_mcp.media.movies import scan_movie
from ttp_mcp.media.scan import Edit, ReadAt, Scan

EXTENSIONS = {
    "image/jpeg": ("jpg", "jpeg", "jpe", "jfif"),
    "image/png": ("png",),
    "image/gif": ("gif",),
    "image/webp": ("webp",),
    "video/mp4": ("mp4", "m4v"),
    "video/quicktime": ("mov", "qt"),
}
# Known and not taken: what to make of it instead.
INSTEAD = {
    "image/avif": "JPEG or PNG",
    "image/heic": "JPEG (phones can export it)",
    "image/bmp": "PNG",
    "image/tiff": "JPEG or PNG",
    "image/svg+xml": "PNG",
    "video/webm": "MP4",
    "video/x-msvideo": "MP4",
    "video/3gpp": "MP4",
    "audio/mp4": "MP4 video",
}
_BRANDS = {
    b"qt  ": "video/quicktime",
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"hevc": "image/heic",
    b"mif1": "image/heic",
    b"msf1": "image/heic",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"M4P ": "audio/mp4",
    b"M4V ": "video/mp4",
} | dict.fromkeys(
    b"isom iso2 iso3 iso4 iso5 iso6 iso7 iso8 iso9 mp41 mp42 avc1 dash M4VH M4VP MSNV mmp4 XAVC".split(), "video/mp4"
)
HEAD_BYTES = 64
_READERS = {
    "image/png": scan_png,
    "image/gif": scan_gif,
    "image/webp": scan_webp,
    "image/jpeg": scan_jpeg,
    "video/mp4": scan_movie,
    "video/quicktime": scan_movie,
}


@dataclass(frozen=True, slots=True)
class Examination:
    """A file that may be uploaded under `name`, with an extension of its type.

    `turned` is true if the file says that its picture is shown turned by 90 degrees, `private` names the metadata that is left
    out of the upload by `edits`.
    """

    name: str
    facts: MediaFacts
    turned: bool
    private: Sequence[str]
    edits: Sequence[Edit]


def examine_file(read_at: ReadAt, size: int, name: str) -> Examination:
    """Examine a file that is to be uploaded.

    Raises:
        FileRefused: It is not of a type that the API takes, is not named as a media file, or is damaged.
    """
    try:
        kind = sniff_type(read_at(0, HEAD_BYTES))
        if kind not in EXTENSIONS:
            raise _refuse_type(name, kind)
        sent_name = _correct_extension(name, kind)
        scan = _READERS[kind](read_at, size)
    except OSError as error:
        # Only a lock of another program on a part of the file, on Windows, refuses access to what is open.
        if error.errno == errno.EACCES:
            raise refuse_file(name, "another program holds it", "Close it there", is_safe=True) from None
        raise refuse_file(name, "it could not be read", "Check the disk", is_safe=True) from None
    facts = _to_facts(kind, size, scan)
    _check_damage(name, facts, scan.damage)
    return Examination(sent_name, facts, scan.turned, list(dict.fromkeys(scan.private)), scan.edits)


def facts_of(read_at: ReadAt, size: int, kind: str) -> MediaFacts:
    """Read the properties of a file of a known type. Never fails on odd bytes; a file error passes through."""
    return _to_facts(kind, size, _READERS[kind](read_at, size))


def _to_facts(kind: str, size: int, scan: Scan) -> MediaFacts:
    width, height = (scan.height, scan.width) if scan.turned else (scan.width, scan.height)
    if not (width and height):
        width = height = None
    sent = size + sum(len(edit.replacement) - (edit.stop - edit.start) for edit in scan.edits)
    return MediaFacts(kind, sent, width, height, scan.seconds, scan.animated)


def _correct_extension(name: str, kind: str) -> str:
    """Return the name with an extension of its type. A file that isn't named as media is refused."""
    stem, _, extension = name.rpartition(".")
    if extension.lower() in EXTENSIONS[kind]:
        return name
    if not stem or not has_media_extension(name):
        cause = f"its bytes are {kind}, which its name does not say"
        raise refuse_file(name, cause, f"Give it a name that ends in .{EXTENSIONS[kind][0]}")
    return f"{stem}.{EXTENSIONS[kind][0]}"


def has_media_extension(name: str) -> bool:
    """Check whether a name ends like one of a type that the API takes."""
    return any(name.rpartition(".")[2].lower() in each for each in EXTENSIONS.values()) and "." in name


def _check_damage(name: str, facts: MediaFacts, damage: str | None) -> None:
    if not facts.is_video and not facts.width:
        cause = (
            f"it begins like {facts.content_type} and has no readable picture size, so it is damaged or not a picture"
        )
        raise refuse_file(name, cause, "Export it again")
    if damage:
        next_step = "Copy it again from where it was made" if "ends" in damage else "Pass a video with a picture"
        raise refuse_file(name, damage, next_step)


def _refuse_type(name: str, kind: str | None) -> FileRefused:
    if kind is None:
        cause = "its bytes aren't an image or video that the API takes (JPEG, PNG, GIF, WebP, MP4, MOV)"
        return refuse_file(name, cause, "Pass one of these")
    return refuse_file(name, f"its bytes are {kind}, which the API does not take", f"Convert it to {INSTEAD[kind]}")


def sniff_type(head: bytes) -> str | None:
    """Return the type that the first 64 bytes show, or None. The API doesn't take every type."""
    if head[4:8] == b"ftyp":
        return _read_brand(head)
    if head[:4] == b"RIFF":
        return {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}.get(head[8:12])
    for start, kind in (
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
        (b"\x1a\x45\xdf\xa3", "video/webm"),
        (b"BM", "image/bmp"),
        (b"II*\0", "image/tiff"),
        (b"MM\0*", "image/tiff"),
        (b"<svg", "image/svg+xml"),
    ):
        if head.startswith(start):
            return kind
    return None


def _read_brand(head: bytes) -> str | None:
    """The type of a file in the ISO base format: its main brand decides, else the first compatible one that is known."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[start : start + 4] for start in range(16, length, 4))]
    if brands[0].startswith((b"3gp", b"3g2")):
        return "video/3gpp"
    return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)
