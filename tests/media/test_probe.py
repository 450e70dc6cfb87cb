"""What a media file says of itself."""

import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ttp_mcp.media.facts import MediaFacts
from ttp_mcp.media.files import FileRefused
from ttp_mcp.media.probe import EXTENSIONS, examine, facts_of, sniff

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 640, 480) + b"\x08\x06\0\0\0"
GIF = b"GIF89a" + struct.pack("<HH", 320, 200) + b"\0\0\0"


def webp(chunk, data):
    """A WebP file with one chunk."""
    body = b"WEBP" + chunk + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body


WEBP = webp(b"VP8X", b"\0\0\0\0" + (1919).to_bytes(3, "little") + (1079).to_bytes(3, "little"))


def jpeg(*before, width=4000, height=3000):
    """A JPEG up to its frame header, with segments before that."""
    frame = b"\xff\xc2" + struct.pack(">HBHH", 17, 8, height, width) + b"\3" * 10
    return b"\xff\xd8" + b"".join(before) + frame


def segment(marker, data):
    """One JPEG segment."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(data) + 2) + data


def box(kind, content, *, wide=False, length=None):
    """One box of the ISO base format."""
    if wide:
        return struct.pack(">I4sQ", 1, kind, len(content) + 16) + content
    return struct.pack(">I4s", len(content) + 8 if length is None else length, kind) + content


def header(scale=1000, length=12_500, *, version=0):
    """A movie header."""
    if version:
        return box(b"mvhd", b"\1\0\0\0" + bytes(16) + struct.pack(">IQ", scale, length) + bytes(80))
    return box(b"mvhd", bytes(12) + struct.pack(">II", scale, length) + bytes(80))


def track(width, height, *, version=0):
    """A track with its header."""
    return box(
        b"trak",
        box(
            b"tkhd",
            bytes((version, 0, 0, 7)) + bytes(84 if version else 72) + struct.pack(">II", width << 16, height << 16),
        ),
    )


def ftyp(brand, *compatible):
    """The first box."""
    return box(b"ftyp", brand + bytes(4) + b"".join(compatible))


MP4 = ftyp(b"isom", b"mp41") + box(b"moov", header() + track(0, 0) + track(1080, 1920)) + box(b"mdat", bytes(100))
MOV = (
    ftyp(b"qt  ") + box(b"wide", b"") + box(b"mdat", bytes(100), wide=True) + box(b"moov", header() + track(1920, 1080))
)
JPEG = jpeg(segment(0xE1, bytes(5000)), b"\xff", segment(0xDB, bytes(65)), b"\xff\x01")


def reading(content):
    """Reads of a file of these bytes, and how many bytes were asked for."""
    asked = []

    def read_at(offset, length):
        asked.append(length)
        return content[offset : offset + length]

    return read_at, asked


def examined(content, name):
    """The facts of these bytes under this name."""
    return examine(reading(content)[0], len(content), name)


def refusal(content, name):
    """The words of a refusal."""
    with pytest.raises(FileRefused) as caught:
        examined(content, name)
    return str(caught.value)


@pytest.mark.requirement("uploads.facts")
@pytest.mark.parametrize(
    ("content", "name", "facts"),
    [
        (PNG, "a.png", MediaFacts("image/png", 0, 640, 480)),
        (GIF, "a.gif", MediaFacts("image/gif", 0, 320, 200)),
        (GIF.replace(b"89a", b"87a"), "a.GIF", MediaFacts("image/gif", 0, 320, 200)),
        (WEBP, "a.webp", MediaFacts("image/webp", 0, 1920, 1080)),
        (
            webp(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 0x4000 | 800, 600)),
            "a.webp",
            MediaFacts("image/webp", 0, 800, 600),
        ),
        (
            webp(b"VP8L", b"\x2f" + ((99) | (49 << 14)).to_bytes(4, "little") + bytes(5)),
            "a.webp",
            MediaFacts("image/webp", 0, 100, 50),
        ),
        (JPEG, "a.jpg", MediaFacts("image/jpeg", 0, 4000, 3000)),
        (jpeg(width=1, height=2), "a.JPEG", MediaFacts("image/jpeg", 0, 1, 2)),
        (MP4, "a.mp4", MediaFacts("video/mp4", 0, 1080, 1920, 12.5)),
        (MOV, "a.mov", MediaFacts("video/quicktime", 0, 1920, 1080, 12.5)),
        (
            ftyp(b"mp42") + box(b"moov", header(90_000, 90_000 * 7200, version=1) + track(3840, 2160, version=1)),
            "a.m4v",
            MediaFacts("video/mp4", 0, 3840, 2160, 7200.0),
        ),
        (ftyp(b"????", b"none", b"isom") + box(b"mdat", b"", length=0), "a.mp4", MediaFacts("video/mp4", 0)),
        (ftyp(b"M4V "), "a.m4v", MediaFacts("video/mp4", 0)),
        (ftyp(b"isom") + box(b"moov", header(0, 5) + track(5, 0)), "a.mp4", MediaFacts("video/mp4", 0)),
        (ftyp(b"isom") + box(b"moov", header(5, 0)), "a.mp4", MediaFacts("video/mp4", 0)),
        (ftyp(b"isom") + box(b"moov", header(5, 2**32 - 1)), "a.mp4", MediaFacts("video/mp4", 0)),
        (ftyp(b"isom") + box(b"moov", header(5, 2**64 - 1, version=1)), "a.mp4", MediaFacts("video/mp4", 0)),
        (
            ftyp(b"isom") + box(b"moov", box(b"mvhd", b"\0") + box(b"trak", box(b"tkhd", b"\0"))),
            "a.mp4",
            MediaFacts("video/mp4", 0),
        ),
        (ftyp(b"isom") + box(b"moov", b"", length=2**31), "a.mp4", MediaFacts("video/mp4", 0)),
        (ftyp(b"isom") + box(b"moov", b"", length=7) + bytes(20), "a.mp4", MediaFacts("video/mp4", 0)),
        (ftyp(b"isom") + box(b"free", b"") * 600 + box(b"moov", header()), "a.mp4", MediaFacts("video/mp4", 0)),
    ],
)
def test_facts_are_read_from_the_header(content, name, facts):
    """Sizes, length, and nothing where the file does not tell."""
    assert examined(content, name) == replace(facts, size_bytes=len(content))


@pytest.mark.requirement("uploads.facts")
def test_few_bytes_are_read_of_a_large_film_whose_header_is_at_the_end():
    """What lies between is stepped over."""
    film = ftyp(b"isom") + box(b"mdat", bytes(2_000_000)) + box(b"moov", header() + track(1280, 720))
    read_at, asked = reading(film)
    assert examine(read_at, len(film), "film.mp4") == MediaFacts("video/mp4", len(film), 1280, 720, 12.5)
    assert sum(asked) < 1000


@pytest.mark.requirement("uploads.types")
@pytest.mark.parametrize(
    "content",
    [
        PNG[:20],
        PNG.replace(b"IHDR", b"IDAT"),
        PNG.replace(struct.pack(">II", 640, 480), bytes(8)),
        GIF[:8],
        WEBP[:20],
        webp(b"VP8 ", bytes(10)),
        webp(b"ICCP", bytes(10)),
        b"\xff\xd8\xff",
        JPEG[:5085],
        b"\xff\xd8" + segment(0xE1, b"") * 600,
        b"\xff\xd8\xff\xe0\0\x04no picture here at all",
    ],
)
def test_picture_without_a_readable_size_is_refused(content):
    """It is cut off, damaged, or something else that begins like a picture."""
    kind = sniff(content)
    assert "has no readable picture size" in refusal(content, f"a.{EXTENSIONS[kind][0]}")


@pytest.mark.requirement("uploads.types")
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (ftyp(b"avif"), "image/avif"),
        (ftyp(b"heic", b"isom"), "image/heic"),
        (ftyp(b"3gp5", b"isom"), "video/3gpp"),
        (ftyp(b"M4A "), "audio/mp4"),
        (b"\x1a\x45\xdf\xa3\x01webm", "video/webm"),
        (b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo"),
        (b"BM" + bytes(60), "image/bmp"),
        (b"II*\0" + bytes(60), "image/tiff"),
        (b"MM\0*" + bytes(60), "image/tiff"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "image/svg+xml"),
    ],
)
def test_type_that_the_api_does_not_take_is_refused_with_what_to_do(content, kind):
    """The words name the type that was found and what to convert it to."""
    words = refusal(content, "thing.jpg")
    assert f"its bytes are {kind}, which the API does not take. Convert it to " in words


@pytest.mark.requirement("uploads.types")
@pytest.mark.parametrize(
    "content",
    [
        b"-----BEGIN OPENSSH PRIVATE KEY-----",
        b"TTP_API_TOKEN=ttp_0",
        b"SQLite format 3\0",
        b"%PDF-1.7",
        b"PK\3\4",
        b"\x7fELF",
        b"<!doctype html>",
        b"#!/bin/sh",
        b"RIFF\0\0\0\0WAVEfmt ",
        ftyp(b"zzzz"),
        b"\0",
    ],
)
def test_anything_else_is_refused_under_any_name(content):
    """A key that is called a picture stays where it is."""
    assert "no image or video that the API takes (JPEG, PNG, GIF, WebP, MP4, MOV)" in refusal(content, "photo.jpg")


@pytest.mark.requirement("uploads.types")
@pytest.mark.parametrize(
    ("content", "name"), [(PNG, "a.jpg"), (JPEG, "a"), (MP4, "a.mov"), (MOV, "a.mp4"), (GIF, "png")]
)
def test_extension_of_another_type_is_refused_with_the_right_one(content, name):
    """What the bytes are is what the name has to say."""
    kind = sniff(content)
    assert refusal(content, name) == (
        f"Not uploaded: «{name}»: its bytes are {kind}, which its name does not say. "
        f"Give it a name that ends in .{EXTENSIONS[kind][0]}; repeating the same call does not help."
    )


@pytest.mark.requirement("uploads.words")
def test_file_that_cannot_be_read_is_refused_without_the_systems_words():
    """An error of the disk names paths."""

    def broken(offset, length):
        raise OSError(5, "Input/output error", "/home/someone/a.png")

    with pytest.raises(FileRefused, match=r"^Not uploaded: «a\.png»: it could not be read\. Check the disk"):
        examine(broken, 10, "a.png")


@pytest.mark.requirement("uploads.types")
def test_type_of_the_first_bytes_is_no_guess():
    """Every type has its signature."""
    assert [sniff(content) for content in (PNG, GIF, WEBP, JPEG, MP4, MOV, b"")] == [
        "image/png",
        "image/gif",
        "image/webp",
        "image/jpeg",
        "video/mp4",
        "video/quicktime",
        None,
    ]


STARTS = st.sampled_from([b"", PNG, GIF, WEBP, JPEG, MP4, MOV, b"\xff\xd8", b"RIFF....WEBP", ftyp(b"isom")])


@pytest.mark.requirement("uploads.facts")
@given(start=STARTS, cut=st.integers(0, 200), more=st.binary(max_size=300), kind=st.sampled_from(sorted(EXTENSIONS)))
def test_any_bytes_give_facts_with_bounded_reads(start, cut, more, kind):
    """Whatever a file claims of itself, little is read and nothing breaks."""
    content = start[: len(start) - cut] + more
    read_at, asked = reading(content)
    facts = facts_of(read_at, len(content), kind)
    assert facts.content_type == kind
    assert (facts.width is None) == (facts.height is None)
    assert sum(asked) <= 1024 * 17
    sniff(content[:64])


@pytest.mark.requirement("uploads.facts")
@given(
    flips=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8), film=st.sampled_from([MP4, MOV])
)
def test_a_damaged_film_gives_facts_with_bounded_reads(flips, film):
    """Lengths that lie, boxes in boxes, counts beyond the file."""
    content = bytearray(film)
    for place, value in flips:
        content[place % len(content)] = value
    read_at, asked = reading(bytes(content))
    facts_of(read_at, len(content), "video/mp4")
    assert sum(asked) <= 1024 * 17
