"""What a media file's bytes say about it."""

import errno
import struct
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.media_files import (
    build_box,
    build_ftyp,
    build_gif,
    build_jpeg,
    build_movie_header,
    build_mp4,
    build_png,
    build_segment,
    build_track,
    build_webp,
    build_webp_chunk,
    build_webp_header,
)
from ttp_mcp.media.errors import FileRefused
from ttp_mcp.media.facts import MediaFacts
from ttp_mcp.media.probe import EXTENSIONS, examine_file, facts_of, sniff_type

PNG = build_png(640, 480)
GIF = build_gif(320, 200)
WEBP = build_webp(build_webp_header(1920, 1080))
MP4 = build_mp4()
MOV = (
    build_ftyp(b"qt  ")
    + build_box(b"wide", b"")
    + build_box(b"mdat", bytes(100), wide=True)
    + build_box(b"moov", build_movie_header() + build_track(1920, 1080))
)
JPEG = build_jpeg(build_segment(0xE1, bytes(5000)), b"\xff", build_segment(0xDB, bytes(65)), b"\xff\x01")


def make_reader(content):
    """Reads of a file of these bytes, and how many bytes were asked for."""
    asked = []

    def read_at(offset, length):
        asked.append(length)
        return content[offset : offset + length]

    return read_at, asked


def examine_bytes(content, name):
    """The facts of these bytes under this name."""
    return examine_file(make_reader(content)[0], len(content), name)


def read_refusal(content, name):
    """The words of a refusal."""
    with pytest.raises(FileRefused) as caught:
        examine_bytes(content, name)
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
            build_webp(build_webp_chunk(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 0x4000 | 800, 600))),
            "a.webp",
            MediaFacts("image/webp", 0, 800, 600),
        ),
        (
            build_webp(build_webp_chunk(b"VP8L", b"\x2f" + ((99) | (49 << 14)).to_bytes(4, "little") + bytes(5))),
            "a.webp",
            MediaFacts("image/webp", 0, 100, 50),
        ),
        (JPEG, "a.jpg", MediaFacts("image/jpeg", 0, 4000, 3000)),
        (build_jpeg(width=1, height=2), "a.JPEG", MediaFacts("image/jpeg", 0, 1, 2)),
        (MP4, "a.mp4", MediaFacts("video/mp4", 0, 1080, 1920, 12.5)),
        (MOV, "a.mov", MediaFacts("video/quicktime", 0, 1920, 1080, 12.5)),
        (
            build_ftyp(b"mp42")
            + build_box(
                b"moov", build_movie_header(90_000, 90_000 * 7200, version=1) + build_track(3840, 2160, version=1)
            ),
            "a.m4v",
            MediaFacts("video/mp4", 0, 3840, 2160, 7200.0),
        ),
        (
            build_ftyp(b"????", b"none", b"isom") + build_box(b"mdat", b"", length=0),
            "a.mp4",
            MediaFacts("video/mp4", 0),
        ),
        (build_ftyp(b"M4V "), "a.m4v", MediaFacts("video/mp4", 0)),
        (
            build_ftyp(b"isom") + build_box(b"moov", build_movie_header(0, 5) + build_track(5, 0)),
            "a.mp4",
            MediaFacts("video/mp4", 0),
        ),
        (build_ftyp(b"isom") + build_box(b"moov", build_movie_header(5, 0)), "a.mp4", MediaFacts("video/mp4", 0)),
        (
            build_ftyp(b"isom") + build_box(b"moov", build_movie_header(5, 2**32 - 1)),
            "a.mp4",
            MediaFacts("video/mp4", 0),
        ),
        (
            build_ftyp(b"isom") + build_box(b"moov", build_movie_header(5, 2**64 - 1, version=1)),
            "a.mp4",
            MediaFacts("video/mp4", 0),
        ),
        (
            build_ftyp(b"isom")
            + build_box(b"moov", build_box(b"mvhd", b"\0") + build_box(b"trak", build_box(b"tkhd", b"\0"))),
            "a.mp4",
            MediaFacts("video/mp4", 0),
        ),
        (build_ftyp(b"isom") + build_box(b"moov", b"", length=2**31), "a.mp4", MediaFacts("video/mp4", 0)),
        (build_ftyp(b"isom") + build_box(b"moov", b"", length=7) + bytes(20), "a.mp4", MediaFacts("video/mp4", 0)),
        (
            build_ftyp(b"isom") + build_box(b"free", b"") * 600 + build_box(b"moov", build_movie_header()),
            "a.mp4",
            MediaFacts("video/mp4", 0),
        ),
    ],
)
def test_facts_are_read_from_the_movie_header(content, name, facts):
    """Sizes, length, and nothing where the file does not tell."""
    kind = sniff_type(content)
    assert name.rpartition(".")[2].lower() in EXTENSIONS[kind]
    assert facts_of(make_reader(content)[0], len(content), kind) == replace(facts, size_bytes=len(content))


@pytest.mark.requirement("uploads.facts")
def test_large_film_with_its_header_at_the_end_needs_few_reads():
    """The rest is skipped."""
    film = (
        build_ftyp(b"isom")
        + build_box(b"mdat", bytes(2_000_000))
        + build_box(b"moov", build_movie_header() + build_track(1280, 720))
    )
    read_at, asked = make_reader(film)
    assert examine_file(read_at, len(film), "film.mp4").facts == MediaFacts("video/mp4", len(film), 1280, 720, 12.5)
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
        build_webp(build_webp_chunk(b"VP8 ", bytes(10))),
        build_webp(build_webp_chunk(b"ICCP", bytes(10))),
        b"\xff\xd8\xff",
        JPEG[:5085],
        b"\xff\xd8" + build_segment(0xE1, b"") * 600,
        b"\xff\xd8\xff\xe0\0\x04no picture here at all",
    ],
)
def test_picture_without_a_readable_size_is_refused(content):
    """It is truncated, damaged, or another format with the same start."""
    kind = sniff_type(content)
    assert "has no readable picture size" in read_refusal(content, f"a.{EXTENSIONS[kind][0]}")


@pytest.mark.requirement("uploads.types")
@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (build_ftyp(b"avif"), "image/avif"),
        (build_ftyp(b"heic", b"isom"), "image/heic"),
        (build_ftyp(b"3gp5", b"isom"), "video/3gpp"),
        (build_ftyp(b"M4A "), "audio/mp4"),
        (b"\x1a\x45\xdf\xa3\x01webm", "video/webm"),
        (b"RIFF\0\0\0\0AVI LIST", "video/x-msvideo"),
        (b"BM" + bytes(60), "image/bmp"),
        (b"II*\0" + bytes(60), "image/tiff"),
        (b"MM\0*" + bytes(60), "image/tiff"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'>", "image/svg+xml"),
    ],
)
def test_unsupported_type_is_refused_with_a_conversion(content, kind):
    """The error names the detected type."""
    words = read_refusal(content, "thing.jpg")
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
        build_ftyp(b"zzzz"),
        b"\0",
    ],
)
def test_anything_else_is_refused_under_any_name(content):
    """A key named like a picture isn't sent."""
    assert "aren't an image or video that the API takes (JPEG, PNG, GIF, WebP, MP4, MOV)" in read_refusal(
        content, "photo.jpg"
    )


@pytest.mark.requirement("uploads.types")
@pytest.mark.parametrize(
    ("content", "name"), [(PNG, "a.txt"), (JPEG, "a"), (MP4, "a.mkv"), (MOV, ".mov2"), (GIF, "png")]
)
def test_name_of_no_media_file_is_refused_with_the_right_extension(content, name):
    """A file without the extension of an image or a video isn't uploaded, even if its bytes are one."""
    kind = sniff_type(content)
    assert read_refusal(content, name) == (
        f"Not uploaded: «{name}»: its bytes are {kind}, which its name does not say. "
        f"Give it a name that ends in .{EXTENSIONS[kind][0]}; repeating the same call does not help."
    )


@pytest.mark.requirement("uploads.words")
def test_file_of_which_another_program_holds_a_part_is_named_as_such():
    """Windows opens it and refuses to read it."""

    def locked(offset, length):
        raise PermissionError(errno.EACCES, "Permission denied")

    with pytest.raises(FileRefused) as caught:
        examine_file(locked, 10, "a.png")
    assert str(caught.value) == (
        "Not uploaded: «a.png»: another program holds it. Close it there; nothing was sent, repeating is safe."
    )


@pytest.mark.requirement("uploads.words")
def test_file_that_cannot_be_read_is_refused_without_the_systems_words():
    """An error of the disk names paths."""

    def broken(offset, length):
        raise OSError(5, "Input/output error", "/home/someone/a.png")

    with pytest.raises(FileRefused, match=r"^Not uploaded: «a\.png»: it could not be read\. Check the disk"):
        examine_file(broken, 10, "a.png")


@pytest.mark.requirement("uploads.types")
def test_type_follows_from_the_first_bytes():
    """Every type has its signature."""
    assert [sniff_type(content) for content in (PNG, GIF, WEBP, JPEG, MP4, MOV, b"")] == [
        "image/png",
        "image/gif",
        "image/webp",
        "image/jpeg",
        "video/mp4",
        "video/quicktime",
        None,
    ]


STARTS = st.sampled_from([b"", PNG, GIF, WEBP, JPEG, MP4, MOV, b"\xff\xd8", b"RIFF....WEBP", build_ftyp(b"isom")])


@pytest.mark.requirement("uploads.facts")
@given(start=STARTS, cut=st.integers(0, 200), more=st.binary(max_size=300), kind=st.sampled_from(sorted(EXTENSIONS)))
def test_any_bytes_give_facts_with_bounded_reads(start, cut, more, kind):
    """Whatever a file claims, few bytes are read and nothing fails."""
    content = start[: len(start) - cut] + more
    read_at, asked = make_reader(content)
    facts = facts_of(read_at, len(content), kind)
    assert facts.content_type == kind
    assert (facts.width is None) == (facts.height is None)
    assert sum(asked) <= 1024 * 17
    sniff_type(content[:64])


@pytest.mark.requirement("uploads.facts")
@given(
    flips=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=8), film=st.sampled_from([MP4, MOV])
)
def test_damaged_film_gives_facts_with_bounded_reads(flips, film):
    """False lengths, nested boxes, counts beyond the file."""
    content = bytearray(film)
    for place, value in flips:
        content[place % len(content)] = value
    read_at, asked = make_reader(bytes(content))
    facts_of(read_at, len(content), "video/mp4")
    assert sum(asked) <= 1024 * 17
