"""What a media file is, from its own bytes: type, width and height, length.

Reads a few kilobytes at known places and believes no size that a file claims. A library would do more than the six types
the API takes, and the maintained ones need a whole file in memory or a newer Python.
"""

import struct
from collections.abc import Callable

from ttp_mcp.media.facts import MediaFacts
from ttp_mcp.media.files import FileRefused
from ttp_mcp.text import quote_text

ReadAt = Callable[[int, int], bytes]

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
_STEPS = 512
_SMALL_BOX_BYTES = 256


def examine(read_at: ReadAt, size: int, name: str) -> MediaFacts:
    """The facts of a file that may be uploaded.

    Args:
        read_at: Gives bytes from an offset, fewer at the end of the file.
        size: Size of the file in bytes.
        name: Base name of the file, for its extension and for the words.

    Raises:
        FileRefused: It is not of a type that the API takes, or is named as another type.
    """
    shown = quote_text(name, 100)
    try:
        kind = sniff(read_at(0, HEAD_BYTES))
        if kind not in EXTENSIONS:
            raise _not_taken(shown, kind)
        extension = name.rpartition(".")[2].lower()
        if extension not in EXTENSIONS[kind]:
            raise FileRefused(
                f"Not uploaded: {shown}: its bytes are {kind}, which its name does not say. "
                f"Give it a name that ends in .{EXTENSIONS[kind][0]}; repeating the same call does not help."
            )
        facts = facts_of(read_at, size, kind)
    except OSError:
        raise FileRefused(
            f"Not uploaded: {shown}: it could not be read. Check the disk; nothing was sent, repeating is safe."
        ) from None
    if kind.startswith("image/") and not (facts.width and facts.height):
        raise FileRefused(
            f"Not uploaded: {shown}: it begins like {kind} and has no readable picture size, so it is damaged or not a "
            "picture. Export it again; repeating the same call does not help."
        )
    return facts


def _not_taken(shown: str, kind: str | None) -> FileRefused:
    if kind is None:
        why = "its bytes are no image or video that the API takes (JPEG, PNG, GIF, WebP, MP4, MOV). Pass one of these"
    else:
        why = f"its bytes are {kind}, which the API does not take. Convert it to {INSTEAD[kind]}"
    return FileRefused(f"Not uploaded: {shown}: {why}; repeating the same call does not help.")


def sniff(head: bytes) -> str | None:
    """The type that the first 64 bytes show, or None. Not every type found is one that the API takes."""
    if head[4:8] == b"ftyp":
        return _brand(head)
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


def _brand(head: bytes) -> str | None:
    """The type of a file in the ISO base format: its main brand decides, else the first compatible one that is known."""
    length = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[start : start + 4] for start in range(16, length, 4))]
    if brands[0].startswith((b"3gp", b"3g2")):
        return "video/3gpp"
    return next((_BRANDS[brand] for brand in brands if brand in _BRANDS), None)


def facts_of(read_at: ReadAt, size: int, kind: str) -> MediaFacts:
    """Width, height and duration as the header gives them. Never fails on odd bytes; a file error passes through."""
    reader = {
        "image/png": _png,
        "image/gif": _gif,
        "image/webp": _webp,
        "image/jpeg": _jpeg,
        "video/mp4": _movie,
        "video/quicktime": _movie,
    }[kind]
    width, height, seconds = reader(read_at, size)
    if not (width and height):
        width = height = None
    return MediaFacts(kind, size, width, height, seconds)


_Found = tuple[int | None, int | None, float | None]
_NOTHING: _Found = (None, None, None)


def _png(read_at: ReadAt, _: int) -> _Found:
    head = read_at(12, 12)
    if len(head) < 12 or head[:4] != b"IHDR":
        return _NOTHING
    return *struct.unpack(">II", head[4:]), None


def _gif(read_at: ReadAt, _: int) -> _Found:
    head = read_at(6, 4)
    return (*struct.unpack("<HH", head), None) if len(head) == 4 else _NOTHING


def _webp(read_at: ReadAt, _: int) -> _Found:
    head = read_at(12, 18)
    if len(head) < 18:
        return _NOTHING
    chunk, data = head[:4], head[8:]
    if chunk == b"VP8X":
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1, None
    if chunk == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", data[6:10])
        return width & 0x3FFF, height & 0x3FFF, None
    if chunk == b"VP8L" and data[0] == 0x2F:
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, None
    return _NOTHING


def _jpeg(read_at: ReadAt, _: int) -> _Found:
    """The first frame header: segments before it are stepped over, not read."""
    offset = 2
    for _step in range(_STEPS):
        head = read_at(offset, 9)
        if len(head) < 4 or head[0] != 0xFF:
            return _NOTHING
        marker = head[1]
        if marker == 0xFF:
            offset += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            offset += 2
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if len(head) < 9:
                return _NOTHING
            height, width = struct.unpack(">HH", head[5:9])
            return width, height, None
        else:
            offset += 2 + int.from_bytes(head[2:4], "big")
    return _NOTHING


def _movie(read_at: ReadAt, size: int) -> _Found:
    """Length from the movie header, width and height from the first track that has them; the movie box may be at the end."""
    width = height = seconds = None
    pending = [(0, size, b"")]
    steps = 0
    while pending and steps < _STEPS:
        offset, end, inside = pending.pop()
        steps += 1
        kind, start, stop = _box(read_at, offset, end)
        if kind is None:
            continue
        pending.append((stop, end, inside))
        if (inside, kind) in ((b"", b"moov"), (b"moov", b"trak")):
            pending.append((start, stop, kind))
        elif (inside, kind) == (b"moov", b"mvhd"):
            seconds = _length(read_at(start, min(stop - start, _SMALL_BOX_BYTES)))
        elif (inside, kind) == (b"trak", b"tkhd") and not (width and height):
            width, height = _track_size(read_at(start, min(stop - start, _SMALL_BOX_BYTES)))
    return width, height, seconds


def _box(read_at: ReadAt, offset: int, end: int) -> tuple[bytes | None, int, int]:
    """Kind, first byte of the content, and end of a box; no kind when there is none within bounds."""
    head = read_at(offset, 16) if offset + 8 <= end else b""
    if len(head) < 8:
        return None, 0, 0
    length, kind = struct.unpack(">I4s", head[:8])
    skipped = 8
    if length == 1:
        length, skipped = int.from_bytes(head[8:16], "big"), 16
    elif length == 0:
        length = end - offset
    if length < skipped or offset + length > end:
        return None, 0, 0
    return kind, offset + skipped, offset + length


def _length(box: bytes) -> float | None:
    """Seconds of a movie header of either version."""
    wide = box[:1] == b"\1"
    fields = box[20:32] if wide else box[12:20]
    if len(fields) < (12 if wide else 8):
        return None
    scale, length = struct.unpack(">IQ" if wide else ">II", fields)
    unknown = length == (2**64 - 1 if wide else 2**32 - 1)
    return None if unknown or not scale or not length else round(length / scale, 3)


def _track_size(box: bytes) -> tuple[int | None, int | None]:
    """Pixels of a track header of either version, which holds them as 16.16 fixed point; none for sound."""
    start = 88 if box[:1] == b"\1" else 76
    fields = box[start : start + 8]
    if len(fields) < 8:
        return None, None
    width, height = struct.unpack(">II", fields)
    return width >> 16 or None, height >> 16 or None
