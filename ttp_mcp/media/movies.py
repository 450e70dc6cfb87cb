"""Structure of MP4 and MOV files: shape, length, completeness, and the place where they were recorded."""

import struct

from ttp_mcp.media.metadata import PLACE, UNREADABLE
from ttp_mcp.media.scan import Edit, ReadAt, Scan

_MOST_STEPS = 512
_SMALL_BOX_BYTES = 256
_MOST_METADATA = 1024 * 1024
_PLACES = (b"\xa9xyz", b"loci", b"com.apple.quicktime.location.ISO6709")


def scan_movie(read_at: ReadAt, size: int) -> Scan:
    """Read the boxes of a movie; the one with its tracks may be at the end.

    The length is that of the movie header, width and height are those of the first track that has them.
    """
    scan, kinds, is_cut = Scan(), set[bytes](), False
    pending = [(0, size, b"")]
    for _ in range(_MOST_STEPS):
        if not pending:
            break
        offset, end, inside = pending.pop()
        kind, start, stop = _read_box_head(read_at, offset, end)
        if kind is None:
            # The end of the file's own boxes comes last, and decides.
            is_cut = _claims_more(read_at, offset, size)
            continue
        kinds.add(kind)
        pending.append((stop, end, inside))
        if (inside, kind) in ((b"", b"moov"), (b"moov", b"trak"), (b"trak", b"mdia")):
            pending.append((start, stop, kind))
        elif _read_box(scan, read_at, (inside, kind), start, stop) == b"vide":
            kinds.add(b"vide")
    if not is_cut and b"moov" in kinds:
        scan.damage = None if b"vide" in kinds else "it has no video track"
    return scan


def _read_box(scan: Scan, read_at: ReadAt, path: tuple[bytes, bytes], start: int, stop: int) -> bytes:
    """Note what a box says; returns the kind of media of a track's handler."""
    content = read_at(start, min(stop - start, _SMALL_BOX_BYTES)) if path in _READ else b""
    if path == (b"moov", b"mvhd"):
        scan.seconds = _read_duration(content)
    elif path == (b"trak", b"tkhd") and not (scan.width and scan.height):
        scan.width, scan.height = _track_size(content)
        scan.turned = _is_turned(content)
    elif path == (b"mdia", b"hdlr"):
        return content[8:12]
    elif path in _METADATA:
        _remove_place(scan, read_at, path[1], start, stop)
    return b""


_READ = {(b"moov", b"mvhd"), (b"trak", b"tkhd"), (b"mdia", b"hdlr")}
_METADATA = {(b"moov", b"udta"), (b"moov", b"meta"), (b"trak", b"udta"), (b"trak", b"meta"), (b"", b"meta")}


def _remove_place(scan: Scan, read_at: ReadAt, kind: bytes, start: int, stop: int) -> None:
    """Blank a metadata box that names a place, or is too large to search. No byte moves, so offsets in other boxes stay right."""
    found = UNREADABLE
    if stop - start <= _MOST_METADATA:
        content = read_at(start, stop - start)
        if not any(place in content for place in _PLACES):
            return
        found = PLACE
    # A 64-bit length is between kind and content.
    named_at = start - 4 if read_at(start - 4, 4) == kind else start - 12
    scan.edits.append(Edit(named_at, named_at + 4, b"free"))
    # Pieces share their zeros, since a box can have gigabytes.
    zeros = bytes(_MOST_METADATA)
    for at in range(start, stop, _MOST_METADATA):
        scan.edits.append(Edit(at, min(at + _MOST_METADATA, stop), zeros[: stop - at]))
    scan.private.append(found)


def _read_box_head(read_at: ReadAt, offset: int, end: int) -> tuple[bytes | None, int, int]:
    """Kind, first byte of the content, and end of a box; no kind when there is none within bounds."""
    head = read_at(offset, 16)
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


def _claims_more(read_at: ReadAt, offset: int, size: int) -> bool:
    """Check whether a top-level box claims bytes beyond the end of the file. Bytes that some programs append aren't a box."""
    head = read_at(offset, 16)
    length = int.from_bytes(head[8:16] if head[:4] == b"\0\0\0\1" else head[:4], "big")
    return head[4:8].isalnum() and offset + length > size


def _read_duration(box: bytes) -> float | None:
    """Seconds of a movie header of either version."""
    wide = box[:1] == b"\1"
    fields = box[20:32] if wide else box[12:20]
    if len(fields) < (12 if wide else 8):
        return None
    scale, length = struct.unpack(">IQ" if wide else ">II", fields)
    unknown = length == (2**64 - 1 if wide else 2**32 - 1)
    return None if unknown or not scale or not length else round(length / scale, 3)


def _track_size(box: bytes) -> tuple[int | None, int | None]:
    """Pixels of a track header of either version, which holds them as 16.16 fixed point; zero for sound."""
    start = 88 if box[:1] == b"\1" else 76
    fields = box[start : start + 8]
    if len(fields) < 8:
        return None, None
    width, height = struct.unpack(">II", fields)
    return width >> 16, height >> 16


def _is_turned(box: bytes) -> bool:
    """Check whether a track's matrix turns the picture by 90 or 270 degrees."""
    start = 52 if box[:1] == b"\1" else 40
    fields = box[start : start + 20]
    if len(fields) < 20:
        return False
    a, b, _, c, d = struct.unpack(">5i", fields)
    return not a and not d and bool(b) and bool(c)
