"""Small complete media files, built from their parts."""

import struct
import zlib

PNG_START = b"\x89PNG\r\n\x1a\n"


def build_png_chunk(kind, data=b""):
    """Build a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def build_png(width=640, height=480, *chunks, padding=0):
    """Build a PNG with more chunks before its image data, which has `padding` bytes."""
    header = build_png_chunk(b"IHDR", struct.pack(">II", width, height) + b"\x08\x06\0\0\0")
    return b"".join((PNG_START, header, *chunks, build_png_chunk(b"IDAT", bytes(padding)), build_png_chunk(b"IEND")))


def build_segment(marker, data):
    """Build a segment of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def build_jpeg(*segments, width=4000, height=3000, padding=100, after=b""):
    """Build a JPEG with segments before its frame header and bytes after its end."""
    frame = build_segment(0xC2, struct.pack(">BHH", 8, height, width) + b"\3" * 10)
    scan = build_segment(0xDA, b"\1\1\0\0\x3f\0") + b"\x55\xff\0\xaa\xff\xd0" + bytes(padding)
    return b"\xff\xd8" + b"".join(segments) + frame + scan + b"\xff\xd9" + after


def build_webp_chunk(kind, data):
    """Build a chunk of a WebP."""
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def build_webp(*chunks):
    """Build a WebP from chunks."""
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def build_webp_header(width, height, flags=0):
    """Build the chunk with the size of an extended WebP."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return build_webp_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + size)


def build_gif(width=320, height=200, frames=1):
    """Build a GIF with frames of one pixel."""
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\0\0\0" + frame * frames + b"\x3b"


def build_box(kind, content, *, wide=False, length=None):
    """Build a box of a movie."""
    if wide:
        return struct.pack(">I4sQ", 1, kind, len(content) + 16) + content
    return struct.pack(">I4s", len(content) + 8 if length is None else length, kind) + content


def build_ftyp(brand, *compatible):
    """Build the first box of a movie."""
    return build_box(b"ftyp", brand + bytes(4) + b"".join(compatible))


def build_movie_header(scale=1000, length=12_500, *, version=0):
    """Build the movie header, with the duration."""
    if version:
        return build_box(b"mvhd", b"\1\0\0\0" + bytes(16) + struct.pack(">IQ", scale, length) + bytes(80))
    return build_box(b"mvhd", bytes(12) + struct.pack(">II", scale, length) + bytes(80))


def build_track(width, height, *more, version=0, handler=b"vide", turned=False):
    """Build a track with its header and handler."""
    matrix = struct.pack(">9i", *((0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30) if turned else (0,) * 9))
    start = bytes((version, 0, 0, 7)) + bytes(48 if version else 36)
    header = build_box(b"tkhd", start + matrix + struct.pack(">II", width << 16, height << 16))
    return build_box(
        b"trak", header + build_box(b"mdia", build_box(b"hdlr", bytes(8) + handler + bytes(13))) + b"".join(more)
    )


def build_mp4(*more, width=1080, height=1920, padding=100):
    """Build a complete MP4 with audio and video, and more boxes in its `moov`."""
    tracks = build_track(0, 0, handler=b"soun") + build_track(width, height)
    return (
        build_ftyp(b"isom", b"mp41")
        + build_box(b"moov", build_movie_header() + tracks + b"".join(more))
        + build_box(b"mdat", bytes(padding))
    )


def build_exif(*tags, order="<", camera=(), place=()):
    """Build an EXIF block from tags (tag, type, value) of the main, camera and GPS directories."""

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
