"""Structure of JPEG, PNG, GIF and WebP files: shape, rotation, motion, end, and private metadata.

A reader steps from block to block and believes no length that leads beyond the file. It never fails on odd bytes.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import islice

from ttp_mcp.media.metadata import (
    UNREADABLE,
    build_orientation,
    find_private_iptc,
    find_private_text,
    find_private_xmp,
    parse_exif,
)
from ttp_mcp.media.scan import Edit, ReadAt, Scan

_MOST_STEPS = 512
_MOST_CHUNKS = 200_000
# A larger block isn't searched, so it is left out.
_MOST_METADATA = 8 * 1024 * 1024
_READ_BYTES = 64 * 1024
# The next marker in a JPEG's picture data: neither a stuffed byte, a restart nor a filler.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_PNG_METADATA = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")


def scan_jpeg(read_at: ReadAt, size: int) -> Scan:
    """Read a JPEG, segment by segment up to its end."""
    scan, offset = Scan(), 2
    for _ in range(_MOST_STEPS):
        head = read_at(offset, 9)
        if len(head) < 2 or head[0] != 0xFF:
            return scan
        marker = head[1]
        if marker == 0xD9:
            scan.end_at(offset + 2, size)
            return scan
        if marker == 0xFF:
            offset += 1
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:
            offset += 2
        elif (length := int.from_bytes(head[2:4], "big")) < 2:
            return scan
        else:
            end = offset + 2 + length
            _read_segment(scan, read_at, offset, end, head)
            offset = _find_marker(read_at, end, size) if marker == 0xDA else end
    return scan


def _read_segment(scan: Scan, read_at: ReadAt, start: int, end: int, head: bytes) -> None:
    marker = head[1]
    if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
        if len(head) == 9 and scan.width is None:
            scan.height, scan.width = struct.unpack(">HH", head[5:9])
    elif marker in (0xE1, 0xED):
        data = read_at(start + 4, end - start - 4)
        if marker == 0xED:
            scan.leave_out(start, end, find_private_iptc(data))
        elif data.startswith(b"Exif\0\0"):
            _read_exif(scan, data, start, end, _build_exif_segment)
        else:
            scan.leave_out(start, end, find_private_xmp(data))


def _read_exif(scan: Scan, data: bytes, start: int, end: int, build: Callable[[bytes], bytes]) -> None:
    """Note the rotation of an EXIF block; of one with private data only the rotation is kept, in the block that `build` makes."""
    private, orientation = parse_exif(data)
    scan.turned = scan.turned or orientation >= 5
    kept = b"" if orientation == 1 else build(build_orientation(orientation))
    scan.leave_out(start, end, private, kept)


def _build_exif_segment(exif: bytes) -> bytes:
    return b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif


def _find_marker(read_at: ReadAt, offset: int, size: int) -> int:
    """Return the offset of the next marker, or of the file's end."""
    while offset < size:
        block = read_at(offset, min(_READ_BYTES, size - offset))
        if found := _MARKER.search(block):
            return offset + found.start()
        if len(block) < 2:
            break
        # The block's last byte may be the first one of a marker.
        offset += len(block) - 1
    return size


def scan_png(read_at: ReadAt, size: int) -> Scan:
    """Read a PNG, chunk by chunk up to its end."""
    scan, offset = Scan(), 8
    for _ in range(_MOST_CHUNKS):
        head = read_at(offset, 8)
        if len(head) < 8:
            break
        length, kind = struct.unpack(">I4s", head)
        end = offset + length + 12
        if (offset == 8) != (kind == b"IHDR") or end > size:
            # A picture's size is still worth a better message than none.
            _read_png_size(scan, read_at, offset, kind)
            break
        _read_png_chunk(scan, read_at, offset, end, kind)
        if kind == b"IEND":
            scan.end_at(end, size)
            break
        offset = end
    return scan


def _read_png_size(scan: Scan, read_at: ReadAt, offset: int, kind: bytes) -> None:
    if kind == b"IHDR" and len(fields := read_at(offset + 8, 8)) == 8:
        scan.width, scan.height = struct.unpack(">II", fields)


def _read_png_chunk(scan: Scan, read_at: ReadAt, start: int, end: int, kind: bytes) -> None:
    _read_png_size(scan, read_at, start, kind)
    if kind == b"acTL":
        scan.animated = True
    elif kind in _PNG_METADATA and end - start > _MOST_METADATA:
        scan.leave_out(start, end, {UNREADABLE})
    elif kind == b"eXIf":
        _read_exif(scan, read_at(start + 8, end - start - 12), start, end, _build_exif_chunk)
    elif kind in _PNG_METADATA:
        scan.leave_out(start, end, find_private_text(read_at(start + 8, end - start - 12)))


def _build_exif_chunk(exif: bytes) -> bytes:
    return struct.pack(">I", len(exif)) + b"eXIf" + exif + struct.pack(">I", zlib.crc32(b"eXIf" + exif))


def scan_gif(read_at: ReadAt, size: int) -> Scan:
    """Read a GIF: its shape, whether it has a second frame, and its end."""
    scan = Scan()
    head = read_at(6, 7)
    if len(head) < 7:
        return scan
    scan.width, scan.height = struct.unpack("<HH", head[:4])
    # Some programs fill up the end with zeros.
    if read_at(max(size - 64, 13), 64).rstrip(b"\0").endswith(b"\x3b"):
        scan.damage = None
    frames = _find_gif_frames(read_at, 13 + _color_table_bytes(head[4]), size)
    scan.animated = len(list(islice(frames, 2))) == 2
    return scan


def _color_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _find_gif_frames(read_at: ReadAt, offset: int, size: int) -> Iterator[int]:
    """Yield the offset of each frame of a GIF."""
    for _ in range(_MOST_STEPS):
        head = read_at(offset, 10)
        if head[:1] == b"\x2c" and len(head) == 10:
            yield offset
            offset = _skip_gif_blocks(read_at, offset + 11 + _color_table_bytes(head[9]), size)
        elif head[:1] == b"\x21":
            offset = _skip_gif_blocks(read_at, offset + 2, size)
        else:
            return


def _skip_gif_blocks(read_at: ReadAt, offset: int, size: int) -> int:
    """Return the offset after a run of data blocks, which ends with an empty one."""
    block, position = b"", 0
    while True:
        if position >= len(block):
            offset, position = offset + position, 0
            block = read_at(offset, min(_READ_BYTES, size - offset)) if offset < size else b""
            if not block:
                return offset
        length = block[position]
        position += length + 1
        if not length:
            return offset + position


def scan_webp(read_at: ReadAt, size: int) -> Scan:
    """Read a WebP, chunk by chunk up to the length that it claims."""
    scan, offset = Scan(), 12
    end = 8 + int.from_bytes(read_at(4, 4), "little")
    for _ in range(_MOST_CHUNKS):
        if offset + 8 > min(end, size):
            break
        kind, length = struct.unpack("<4sI", read_at(offset, 8).ljust(8, b"\0"))
        after = offset + 8 + length
        # The last chunk may lack its padding.
        after += length % 2 if after != end else 0
        _read_webp_chunk(scan, read_at, offset, after, kind)
        offset = after
    if end - 1 <= offset <= end <= size:
        scan.end_at(end, size)
    if scan.edits:
        _correct_webp_header(scan, read_at, end)
    return scan


def _read_webp_chunk(scan: Scan, read_at: ReadAt, offset: int, after: int, kind: bytes) -> None:
    length = after - offset - 8
    if kind in (b"VP8X", b"VP8 ", b"VP8L"):
        data = read_at(offset + 8, 10)
        if kind == b"VP8X" and len(data) == 10:
            scan.animated = bool(data[0] & 0x02)
        if scan.width is None:
            scan.width, scan.height = _webp_size(kind, data)
    elif kind in (b"EXIF", b"XMP ") and length > _MOST_METADATA:
        scan.leave_out(offset, after, {UNREADABLE})
    elif kind == b"EXIF":
        _read_exif(
            scan, read_at(offset + 8, length), offset, after, lambda exif: b"EXIF" + struct.pack("<I", len(exif)) + exif
        )
    elif kind == b"XMP ":
        scan.leave_out(offset, after, find_private_xmp(read_at(offset + 8, length)))


def _webp_size(kind: bytes, data: bytes) -> tuple[int | None, int | None]:
    if len(data) < 10:
        return None, None
    if kind == b"VP8X":
        return int.from_bytes(data[4:7], "little") + 1, int.from_bytes(data[7:10], "little") + 1
    if kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", data[6:10])
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L" and data[0] == 0x2F:
        bits = int.from_bytes(data[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None, None


def _correct_webp_header(scan: Scan, read_at: ReadAt, end: int) -> None:
    """Make the header's length and flags agree with the chunks that are left."""
    inside = [edit for edit in scan.edits if edit.stop <= end]
    length = end - 8 + sum(len(edit.replacement) - (edit.stop - edit.start) for edit in inside)
    scan.edits.append(Edit(4, 8, struct.pack("<I", length)))
    head = read_at(12, 9)
    if head[:4] == b"VP8X":
        gone = {read_at(edit.start, 4) for edit in inside if not edit.replacement}
        flags = head[8] & ~(0x08 if b"EXIF" in gone else 0) & ~(0x04 if b"XMP " in gone else 0)
        scan.edits.append(Edit(20, 21, bytes((flags,))))
