"""Blocks of JPEG, PNG, GIF and WebP files: which are read, kept, left out, or the reason to refuse the file."""

import struct

import pytest

from tests.support.media_files import (
    POSITION,
    TURNED,
    build_exif,
    build_gif,
    build_jpeg,
    build_png,
    build_png_chunk,
    build_segment,
    build_webp,
    build_webp_chunk,
    build_webp_header,
)
from ttp_mcp.media.errors import FileRefused
from ttp_mcp.media.probe import examine_file

pytestmark = pytest.mark.requirement("uploads.privacy")

PLACE = build_exif(place=POSITION)
PLACE_SEGMENT = build_segment(0xE1, b"Exif\0\0" + PLACE)
# Data set of the city, and of the author.
CITY, AUTHOR = b"\x1c\x02\x5a", b"\x1c\x02\x50"
PIXELS = build_webp_chunk(b"VP8 ", bytes(30))
TRAILER = "data after the picture"
CUT = "it ends too early. Copy it again from where it was made"
MOST = 8 * 1024 * 1024


def examine(content, name, reads=None):
    """Examine a file of these bytes, and note each read."""

    def read_at(offset, length):
        # A file refuses it.
        assert length >= 0
        if reads is not None:
            reads.append(length)
        return content[offset : offset + length]

    return examine_file(read_at, len(content), name)


def upload(content, name):
    """The private things in a file, and the bytes that would be sent."""
    found = examine(content, name)
    for edit in sorted(found.edits, key=lambda edit: edit.start, reverse=True):
        content = content[: edit.start] + edit.replacement + content[edit.stop :]
    assert len(content) == found.facts.size_bytes
    return found.private, content


def read_size(content, name):
    facts = examine(content, name).facts
    return facts.width, facts.height


def read_refusal(content, name):
    """The cause of a refusal and its next step."""
    with pytest.raises(FileRefused) as caught:
        examine(content, name)
    return (
        str(caught.value)
        .removeprefix(f"Not uploaded: «{name}»: ")
        .removesuffix("; repeating the same call does not help.")
    )


def build_frame(marker, width, height):
    """Build a segment of a JPEG that has the content of a frame header."""
    return build_segment(marker, struct.pack(">BHH", 8, height, width) + b"\3" * 10)


@pytest.mark.requirement("uploads.shape")
@pytest.mark.parametrize("marker", range(0xC0, 0xD0))
def test_each_frame_header_of_a_jpeg_has_its_dimensions(marker):
    """Tables of Huffman and arithmetic codes have markers among those of frames; so has one for extensions."""
    size = (400, 300) if marker in (0xC4, 0xC8, 0xCC) else (80, 60)
    assert read_size(build_jpeg(build_frame(marker, 80, 60), width=400, height=300), "a.jpg") == size


@pytest.mark.parametrize("marker", [0x01, *range(0xD0, 0xD9)])
def test_marker_without_a_segment_hides_no_metadata_of_a_jpeg(marker):
    """It has no length; fillers may precede any marker."""
    alone = bytes((0xFF, 0xFF, marker))
    assert upload(build_jpeg(alone, PLACE_SEGMENT), "a.jpg") == (["the place"], build_jpeg(alone))


def test_segment_without_content_hides_no_metadata_of_a_jpeg():
    empty = build_segment(0xFE, b"")
    assert upload(build_jpeg(empty, PLACE_SEGMENT), "a.jpg") == (["the place"], build_jpeg(empty))


def test_metadata_after_the_first_scan_of_a_jpeg_is_left_out():
    """A progressive picture has several scans, and tables between them."""
    whole = build_jpeg()
    scan = build_segment(0xDA, b"\1\1\0\0\x3f\0") + b"\x55\xff\0\xaa\xff\xd7"
    content = whole[:-2] + PLACE_SEGMENT + build_segment(0xC4, b"x") + scan + PLACE_SEGMENT + b"\xff\xd9"
    private, sent = upload(content, "a.jpg")
    assert private == ["the place"]
    assert sent == content.replace(PLACE_SEGMENT, b"")


@pytest.mark.requirement("uploads.whole_file")
@pytest.mark.parametrize("odd", [b"\0", b"\0\xd9", b"\0\xff\xd9"])
def test_jpeg_with_other_bytes_between_its_segments_is_refused(odd):
    """What follows can't be checked for metadata."""
    frame = build_frame(0xC2, 40, 30)
    assert read_refusal(b"\xff\xd8" + frame + odd + PLACE_SEGMENT + b"\xff\xd9", "a.jpg") == CUT


@pytest.mark.parametrize(
    ("metadata", "private"),
    [
        (build_segment(0xED, b"Photoshop 3.0\0" + CITY), ["the place"]),
        (build_segment(0xED, b"Photoshop 3.0\0" + CITY[:2]), []),
        (build_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0GPSLatitude"), ["the place"]),
        (build_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0GPSLatitud"), []),
        (build_segment(0xE1, b"another form of XMP\0GPSLatitude"), ["the place"]),
        (build_segment(0xE2, b"ICC_PROFILE\0GPSLatitude" + CITY), []),
    ],
)
def test_metadata_of_a_jpeg_is_searched_up_to_its_last_byte(metadata, private):
    """And no further: a comment after it is another segment."""
    first, comment = build_segment(0xDB, bytes(65)), build_segment(0xFE, AUTHOR + b"e")
    sent = build_jpeg(first, *([] if private else [metadata]), comment)
    assert upload(build_jpeg(first, metadata, comment), "a.jpg") == (private, sent)


@pytest.mark.requirement("uploads.shape")
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(10))
def test_rotation_is_read_from_the_end_of_its_block(kind, orientation):
    """Some programs leave out what follows the last entry of a directory."""
    block = build_exif((0x0112, 3, orientation))[:-4]
    content = make_picture(kind, block)
    assert read_size(content, f"a.{kind}") == ((900, 1200) if 5 <= orientation <= 8 else (1200, 900))
    assert upload(content, f"a.{kind}") == ([], content)


@pytest.mark.requirement("uploads.shape")
@pytest.mark.parametrize("blocks", [[TURNED, (0x0112, 3, 1)], [(0x0112, 3, 1), TURNED]])
def test_rotation_of_any_block_counts(blocks):
    segments = [build_segment(0xE1, b"Exif\0\0" + build_exif(block)) for block in blocks]
    assert read_size(build_jpeg(*segments, width=4, height=3), "a.jpg") == (3, 4)


def make_picture(kind, *blocks):
    """A picture of a type with these EXIF blocks, 1200 pixels wide and 900 high as stored."""
    if kind == "jpg":
        return build_jpeg(*(build_segment(0xE1, b"Exif\0\0" + block) for block in blocks), width=1200, height=900)
    if kind == "png":
        return build_png(1200, 900, *(build_png_chunk(b"eXIf", block) for block in blocks))
    return build_webp(
        build_webp_header(1200, 900, flags=0x08), PIXELS, *(build_webp_chunk(b"EXIF", block) for block in blocks)
    )


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    ("tags", "kept"),
    [([(0x0112, 3, 1)], None), ([(0x0112, 3, 2)], (0x0112, 3, 2)), ([(0x0112, 3, 9)], None)],
)
def test_private_exif_is_replaced_by_its_rotation(kind, tags, kept):
    """A mirrored picture stays mirrored. A picture may have several blocks."""
    block = build_exif(*tags, place=POSITION)
    private, sent = upload(make_picture(kind, block, block), f"a.{kind}")
    plain = make_picture(kind, *([] if kept is None else [build_exif(kept)] * 2))
    if kind == "webp" and kept is None:
        plain = build_webp(build_webp_header(1200, 900), PIXELS)
    assert (private, sent) == (["the place"], plain)


@pytest.mark.requirement("uploads.facts")
def test_size_of_a_png_that_is_cut_is_read():
    """So the error says that the file is cut off; without a size it isn't known to be a picture."""
    whole = build_png(640, 480)
    assert read_refusal(whole[:24], "a.png") == CUT
    assert read_refusal(whole[:23], "a.png").startswith("it begins like image/png and has no readable picture size")


@pytest.mark.requirement("uploads.whole_file")
@pytest.mark.parametrize(
    "content",
    [
        build_png(640, 480, build_png_chunk(b"IHDR", struct.pack(">II", 1, 1) + bytes(5))),
        build_png(640, 480)[:-1],
        build_png(640, 480)[:-12],
        build_png(640, 480)[:-8] + build_png(640, 480)[-4:],
    ],
)
def test_png_of_which_a_chunk_is_wrong_is_refused(content):
    """A second header, or an end that is cut."""
    assert read_refusal(content, "a.png") == CUT


def test_chunks_after_the_end_of_a_png_are_not_read():
    """They are left out as a whole."""
    more = build_png_chunk(b"tEXt", b"Author\0Ann") + build_png_chunk(b"IEND")
    assert upload(build_png() + more, "a.png") == ([TRAILER], build_png())


def test_chunk_of_a_png_is_searched_up_to_its_last_byte():
    """And no further. Chunks of other kinds hold no text."""
    text, profile = build_png_chunk(b"tEXt", b"Comment\0Hello"), build_png_chunk(b"iCCP", b"Location")
    author = build_png_chunk(b"iCCP", b"Author\0Ann")
    content = build_png(9, 9, text, profile, author)
    assert upload(content, "a.png") == ([], content)
    place = build_png_chunk(b"tEXt", b"Comment\0GPSLatitude")
    assert upload(build_png(9, 9, text, place, author), "a.png") == (["the place"], build_png(9, 9, text, author))


def test_exif_of_a_png_is_read_up_to_its_last_byte():
    """A directory in the next chunk isn't one of the block."""
    block = b"MM\0*" + struct.pack(">I", 18)
    artist = build_png_chunk(b"tEXt", struct.pack(">HHII", 0x013B, 2, 1, 0))
    content = build_png(9, 9, build_png_chunk(b"eXIf", block), artist)
    assert upload(content, "a.png") == ([], content)


@pytest.mark.parametrize("kind", [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP"])
def test_metadata_of_a_png_that_is_too_large_to_search_is_left_out(kind):
    """It may contain anything."""
    whole = build_png(9, 9, build_png_chunk(kind, bytes(MOST - 12)))
    assert upload(whole, "a.png") == ([], whole)
    larger = build_png(9, 9, build_png_chunk(kind, bytes(MOST - 11)))
    expected = ([], larger) if kind == b"iCCP" else (["unreadable metadata"], build_png(9, 9))
    assert upload(larger, "a.png") == expected


@pytest.mark.parametrize("kind", [b"XMP ", b"EXIF", b"ICCP"])
def test_metadata_of_a_webp_that_is_too_large_to_search_is_left_out(kind):
    whole = build_webp(PIXELS_OF_A_SIZE, build_webp_chunk(kind, bytes(MOST)))
    assert upload(whole, "a.webp") == ([], whole)
    larger = build_webp(PIXELS_OF_A_SIZE, build_webp_chunk(kind, bytes(MOST + 2)))
    expected = ([], larger) if kind == b"ICCP" else (["unreadable metadata"], build_webp(PIXELS_OF_A_SIZE))
    assert upload(larger, "a.webp") == expected


def build_lossy(width, height):
    """Build the chunk of a WebP with pixels, whose upper two bits of the size are a scale."""
    return build_webp_chunk(b"VP8 ", b"\xff\xff\xff\x9d\x01\x2a" + struct.pack("<HH", 0xC000 | width, 0x4000 | height))


def build_lossless(width, height):
    """Build the chunk of a WebP with lossless pixels, where one bit above the size says that some are transparent."""
    bits = (width - 1) | (height - 1) << 14 | 1 << 28
    return build_webp_chunk(b"VP8L", b"\x2f" + bits.to_bytes(4, "little") + bytes(5))


PIXELS_OF_A_SIZE = build_lossy(16, 12)


@pytest.mark.requirement("uploads.shape")
@pytest.mark.parametrize(
    ("content", "size"),
    [
        (build_webp(build_lossy(0x3FFF, 0x2FFE)), (0x3FFF, 0x2FFE)),
        (build_webp(build_lossless(0x4000, 0x3001)), (0x4000, 0x3001)),
        (build_webp(build_lossless(1, 1)), (1, 1)),
        (build_webp(build_webp_header(0x1000000, 0xABCDEF), build_lossy(7, 7)), (0x1000000, 0xABCDEF)),
        (build_webp(build_webp_header(1, 1), build_lossless(7, 7)), (1, 1)),
        (build_webp(build_lossy(4, 3), build_lossy(7, 7)), (4, 3)),
    ],
)
def test_first_chunk_of_a_webp_has_its_dimensions(content, size):
    """An extended file states the canvas; its frames may be smaller."""
    assert read_size(content, "a.webp") == size


@pytest.mark.requirement("uploads.types")
@pytest.mark.parametrize(
    "chunk",
    [
        build_webp_chunk(b"VP8 ", b"\x2f\0\0\x9d\x01\x2b" + b"\4\0\3\0"),
        build_webp_chunk(b"VP8L", b"\0\0\0\x9d\x01\x2a" + b"\4\0\3\0"),
        build_webp_chunk(b"ICCP", b"\x2f\0\0\x9d\x01\x2a" + b"\4\0\3\0"),
        build_lossless(4, 3).replace(b"\x2f", b"\x2e", 1),
        build_webp_chunk(b"VP8L", b"\x2f" + bytes(3)),
        build_webp_chunk(b"VP8X", bytes(9))[:-1],
    ],
)
def test_webp_without_a_readable_size_is_refused(chunk):
    assert read_refusal(build_webp(chunk), "a.webp").startswith(
        "it begins like image/webp and has no readable picture size"
    )


@pytest.mark.parametrize("length", range(12, 21))
def test_webp_that_ends_within_its_first_chunk_is_refused(length):
    with pytest.raises(FileRefused):
        examine((b"RIFF\x22\0\0\0WEBPVP8X" + bytes(10))[:length], "a.webp")


def test_webp_that_ends_with_an_empty_chunk_is_whole():
    content = build_webp(PIXELS_OF_A_SIZE, build_webp_chunk(b"XMP ", b""))
    assert upload(content, "a.webp") == ([], content)


@pytest.mark.parametrize("padding", [0, 1])
def test_length_of_a_webp_may_lack_one_byte_of_padding(padding):
    """The length may include the padding byte or not; further bytes are damage."""
    whole = build_webp(PIXELS_OF_A_SIZE)
    for more in range(4):
        claims = b"RIFF" + struct.pack("<I", len(whole) - 8 + more) + whole[8:] + bytes(more + padding)
        if more < 2:
            assert upload(claims, "a.webp") == ([TRAILER] * padding, claims[: len(whole) + more])
        else:
            assert read_refusal(claims, "a.webp") == CUT


@pytest.mark.requirement("uploads.whole_file")
def test_webp_that_is_shorter_than_it_claims_is_refused():
    whole = build_webp(build_webp_header(9, 9), PIXELS)
    for cut in (1, 2, 3, 30):
        assert read_refusal(whole[:-cut], "a.webp") == CUT
    claims = b"RIFF" + struct.pack("<I", len(whole) - 7) + whole[8:]
    assert read_refusal(claims, "a.webp") == CUT


@pytest.mark.parametrize(("flags", "animated"), [(0x3F, True), (0x3D, False)])
@pytest.mark.parametrize(
    ("chunks", "kept", "gone"),
    [
        ([build_webp_chunk(b"EXIF", PLACE)], [], 0x08),
        ([build_webp_chunk(b"XMP ", b"GPSLatitude")], [], 0x04),
        ([build_webp_chunk(b"EXIF", PLACE), build_webp_chunk(b"XMP ", b"GPSLatitude")], [], 0x0C),
        (
            [build_webp_chunk(b"EXIF", build_exif(TURNED, place=POSITION)), build_webp_chunk(b"XMP ", b"GPSLatitude")],
            [build_webp_chunk(b"EXIF", build_exif(TURNED))],
            0x04,
        ),
        ([build_webp_chunk(b"XMP ", b"Title")], [build_webp_chunk(b"XMP ", b"Title")], 0),
    ],
)
@pytest.mark.parametrize("after", [b"", b"EXIF and more"])
def test_header_of_a_webp_names_the_chunks_that_are_left(flags, animated, chunks, kept, gone, after):
    """Some programs refuse a file whose flags or length are wrong. What follows the picture isn't part of its length."""
    content = build_webp(build_webp_header(9, 9, flags=flags), PIXELS, *chunks) + after
    expected = build_webp(build_webp_header(9, 9, flags=flags & ~gone), PIXELS, *kept)
    private, sent = upload(content, "a.webp")
    assert sent == expected
    assert private == [*(["the place"] if gone else []), *([TRAILER] if after else [])]
    assert examine(content, "a.webp").facts.animated is animated


def test_private_metadata_of_a_webp_without_flags_is_left_out():
    """A simple file has no header to correct."""
    content = build_webp(PIXELS_OF_A_SIZE, build_webp_chunk(b"EXIF", PLACE), build_webp_chunk(b"XMP ", b"dc:creator"))
    assert upload(content, "a.webp") == (["the place", "names of people"], build_webp(PIXELS_OF_A_SIZE))


def test_chunk_of_a_webp_is_searched_up_to_its_last_byte():
    """And no further."""
    title, profile = build_webp_chunk(b"XMP ", b"Title"), build_webp_chunk(b"ICCP", b"Location")
    content = build_webp(PIXELS_OF_A_SIZE, title, profile)
    assert upload(content, "a.webp") == ([], content)
    place = build_webp_chunk(b"XMP ", b"GPSLatitude!"[:-1])
    assert upload(build_webp(PIXELS_OF_A_SIZE, place, profile), "a.webp") == (
        ["the place"],
        build_webp(PIXELS_OF_A_SIZE, profile),
    )
    block = build_webp_chunk(b"EXIF", b"II*\0" + struct.pack("<I", 14))
    artist = build_webp_chunk(b"ICCP", struct.pack("<HHHII", 1, 0x013B, 2, 1, 0)[:14])
    content = build_webp(PIXELS_OF_A_SIZE, block, artist)
    assert upload(content, "a.webp") == ([], content)


def build_palette_gif(depth, frames, *, local=True, extensions=1):
    """Build a GIF whose colors are in a table before all frames, and in one before each."""
    colors = bytes(3 << depth + 1)
    # Without a table its depth means nothing.
    colors_of_frame = bytes((0x80 | depth,)) + colors if local else bytes((depth,))
    frame = b"\x2c" + bytes(8) + colors_of_frame + b"\x02\x02\x44\x01\x00"
    extension = b"\x21\xf9\x04\0\0\0\0\0" * extensions
    head = struct.pack("<HHBBB", 320, 200, 0xF0 | depth, 0, 0)
    return b"GIF89a" + head + colors + (extension + frame) * frames + b"\x3b"


@pytest.mark.requirement("uploads.shape")
@pytest.mark.parametrize("depth", range(8))
@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("extensions", [0, 2])
def test_frames_of_a_gif_with_colors_are_counted(depth, frames, local, extensions):
    """Its tables have up to 256 colors; a GIF with one frame is a picture."""
    content = build_palette_gif(depth, frames, local=local, extensions=extensions)
    assert examine(content, "a.gif").facts.animated is (frames > 1)
    assert read_size(content, "a.gif") == (320, 200)


@pytest.mark.requirement("uploads.shape")
@pytest.mark.parametrize("blocks", [[255] * 3, [255] * 300, [1, 2, 3], [254] * 257, [255] * 256])
def test_data_of_a_frame_is_skipped_in_blocks(blocks):
    """Also across the border of two reads."""
    frame = b"\x2c" + bytes(9) + b"\x02" + b"".join(bytes((size,)) + b"\x2c" * size for size in blocks) + b"\0"
    for frames in (1, 2):
        content = build_gif(frames=0)[:-1] + frame * frames + b"\x3b"
        reads = []
        assert examine(content, "a.gif", reads).facts.animated is (frames > 1)
        assert len(reads) < 20


@pytest.mark.requirement("uploads.facts")
@pytest.mark.parametrize("rest", [b"\x2c\0\0", b"\x2c" + bytes(8), b"\x2c" + bytes(9), b"\x2c" + bytes(10) + b"\5"])
def test_gif_that_is_cut_in_a_frame_is_read_as_far_as_it_goes(rest):
    """Its last byte is that of an end by accident."""
    content = build_gif()[:-1] + rest + b"\x3b"
    assert examine(content, "a.gif").facts.animated is (len(rest) >= 9)
    assert not examine(build_gif(frames=0)[:-1] + rest + b"\x3b", "a.gif").facts.animated


@pytest.mark.requirement("uploads.shape")
def test_frame_after_the_end_of_a_gif_does_not_count():
    assert not examine(build_gif() + bytes(2) + build_gif()[13:], "a.gif").facts.animated


@pytest.mark.requirement("uploads.whole_file")
@pytest.mark.parametrize(("zeros", "is_whole"), [(0, True), (1, True), (63, True), (64, False)])
def test_end_of_a_gif_may_be_filled_up_with_zeros(zeros, is_whole):
    content = build_gif() + bytes(zeros)
    if is_whole:
        assert upload(content, "a.gif") == ([], content)
    else:
        assert read_refusal(content, "a.gif") == CUT


@pytest.mark.requirement("uploads.whole_file")
def test_only_zeros_may_follow_the_end_of_a_gif():
    for more in (b"X", b"\0X", b"\x3c"):
        assert read_refusal(build_gif() + more, "a.gif") == CUT


@pytest.mark.requirement("uploads.whole_file")
def test_header_of_a_gif_is_not_taken_for_its_end():
    examine(build_gif(frames=0), "a.gif")
    assert read_refusal(b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0x3B), "a.gif") == CUT
    assert read_refusal(b"GIF89a" + struct.pack("<HHBB", 9, 9, 0, 0), "a.gif").startswith("it begins like image/gif")
