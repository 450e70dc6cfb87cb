"""Small whole media files, built piece by piece."""

import struct
import zlib

PNG_START = b"\x89PNG\r\n\x1a\n"


def png_chunk(kind, data=b""):
    """One chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width=640, height=480, *chunks, padding=0):
    """A PNG with further chunks before its picture data, which have `padding` bytes."""
    header = png_chunk(b"IHDR", struct.pack(">II", width, height) + b"\x08\x06\0\0\0")
    return b"".join((PNG_START, header, *chunks, png_chunk(b"IDAT", bytes(padding)), png_chunk(b"IEND")))


def segment(marker, data):
    """One segment of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def jpeg(*segments, width=4000, height=3000, padding=100, after=b""):
    """A JPEG with segments before its frame header, and with bytes after its end."""
    frame = segment(0xC2, struct.pack(">BHH", 8, height, width) + b"\3" * 10)
    scan = segment(0xDA, b"\1\1\0\0\x3f\0") + b"\x55\xff\0\xaa\xff\xd0" + bytes(padding)
    return b"\xff\xd8" + b"".join(segments) + frame + scan + b"\xff\xd9" + after


def webp_chunk(kind, data):
    """One chunk of a WebP."""
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def webp(*chunks):
    """A WebP of these chunks."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_header(width, height, flags=0):
    """The chunk with the size of an extended WebP."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return webp_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + size)


def gif(width=320, height=200, frames=1):
    """A GIF with some frames of one pixel."""
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0" + frame * frames + b"\x3b"


def box(kind, content, *, wide=False, length=None):
    """One box of a movie."""
    if wide:
        return struct.pack(">I4sQ", 1, kind, len(content) + 16) + content
    return struct.pack(">I4s", len(content) + 8 if length is None else length, kind) + content


def ftyp(brand, *compatible):
    """The first box of a movie."""
    return box(b"ftyp", brand + bytes(4) + b"".join(compatible))


def movie_header(scale=1000, length=12_500, *, version=0):
    """The movie header, with the length."""
    if version:
        return box(b"mvhd", b"\1\0\0\0" + bytes(16) + struct.pack(">IQ", scale, length) + bytes(80))
    return box(b"mvhd", bytes(12) + struct.pack(">II", scale, length) + bytes(80))


def track(width, height, *more, version=0, handler=b"vide", turned=False):
    """A track with its header and its handler."""
    matrix = struct.pack(">9i", *((0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30) if turned else (0,) * 9))
    start = bytes((version, 0, 0, 7)) + bytes(48 if version else 36)
    header = box(b"tkhd", start + matrix + struct.pack(">II", width << 16, height << 16))
    return box(b"trak", header + box(b"mdia", box(b"hdlr", bytes(8) + handler + bytes(13))) + b"".join(more))


def mp4(*more, width=1080, height=1920, padding=100):
    """A whole MP4 with sound and picture, with further boxes in its `moov`."""
    tracks = track(0, 0, handler=b"soun") + track(width, height)
    return (
        ftyp(b"isom", b"mp41") + box(b"moov", movie_header() + tracks + b"".join(more)) + box(b"mdat", bytes(padding))
    )


def exif(*tags, order="<", camera=(), place=()):
    """An EXIF block: tags of a directory as (tag, type, value), of the camera's and of the place's."""

    def directory(entries, following=b""):
        packed = b"".join(
            struct.pack(f"{order}HHI", tag, kind, 1)
            + (struct.pack(f"{order}HH", value, 0) if kind == 3 else struct.pack(f"{order}I", value))
            for tag, kind, value in entries
        )
        return struct.pack(f"{order}H", len(entries)) + packed + bytes(4) + following

    entries = list(tags)
    offset = 8 + len(directory(entries)) + 12 * (bool(camera) + bool(place))
    blocks = b""
    for pointer, more in ((0x8769, camera), (0x8825, place)):
        if more:
            entries.append((pointer, 4, offset + len(blocks)))
            blocks += directory(more)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(f"{order}I", 8) + directory(entries, blocks)


TURNED = (0x0112, 3, 6)
POSITION = [(0, 1, 0x302), (2, 5, 0), (4, 5, 0)]
