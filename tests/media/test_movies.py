"""Boxes of MP4 and MOV files: which are read, kept, blanked, or the reason to refuse the file."""

import struct

import pytest

from tests.support.media_files import build_box, build_ftyp, build_movie_header, build_track
from ttp_mcp.media.errors import FileRefused
from ttp_mcp.media.probe import examine_file

FTYP = build_ftyp(b"isom")
HEADER = build_movie_header()
TRACK = build_track(1920, 1080)
PLACE = build_box(b"\xa9xyz", b"+52.5+013.4/")
CUT = "it ends too early. Copy it again from where it was made"
NO_PICTURE = "it has no video track. Pass a video with a picture"
MOST = 1024 * 1024


def build_film(*boxes, after=b""):
    """Build a film with these boxes in its `moov`."""
    return FTYP + build_box(b"moov", b"".join(boxes)) + build_box(b"mdat", bytes(9)) + after


def examine(content):
    """Examine a film of these bytes."""
    return examine_file(lambda offset, length: content[offset : offset + length], len(content), "a.mp4")


def upload(content):
    """The private things in a film, and the bytes that would be sent."""
    found = examine(content)
    parts, position = [], 0
    for edit in sorted(found.edits, key=lambda edit: edit.start):
        assert position <= edit.start
        parts += [content[position : edit.start], edit.replacement]
        position = edit.stop
    sent = b"".join((*parts, content[position:]))
    assert len(sent) == len(content) == found.facts.size_bytes
    return found.private, sent


def read_shape(content):
    """Width, height, whether it is turned, and seconds."""
    found = examine(content)
    return found.facts.width, found.facts.height, found.turned, found.facts.duration_seconds


def read_refusal(content):
    """The cause of a refusal and its next step."""
    with pytest.raises(FileRefused) as caught:
        examine(content)
    return (
        str(caught.value)
        .removeprefix("Not uploaded: «a.mp4»: ")
        .removesuffix("; repeating the same call does not help.")
    )


def build_turned_track(matrix, *, version=0, width=1920, height=1080):
    """Build a video track with the first, second, fourth and fifth value of its matrix."""
    a, b, c, d = matrix
    start = bytes((version, 0, 0, 7)) + bytes(48 if version else 36)
    header = start + struct.pack(">9i", a, b, 9, c, d, 9, 9, 9, 1 << 30) + struct.pack(">II", width << 16, height << 16)
    return build_box(b"trak", build_box(b"tkhd", header) + build_box(b"mdia", build_box(b"hdlr", bytes(8) + b"vide")))


ONE = 65536


@pytest.mark.requirement("uploads.shape")
@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        ((ONE, 0, 0, ONE), False),
        ((-ONE, 0, 0, -ONE), False),
        ((0, ONE, -ONE, 0), True),
        ((0, -ONE, ONE, 0), True),
        ((0, 0, 0, 0), False),
        ((0, ONE, 0, 0), False),
        ((0, 0, ONE, 0), False),
        ((ONE, ONE, ONE, 0), False),
        ((0, ONE, ONE, ONE), False),
    ],
)
def test_only_a_quarter_turn_swaps_the_dimensions(version, matrix, turned):
    content = build_film(HEADER, build_turned_track(matrix, version=version))
    assert read_shape(content) == ((1080, 1920, True, 12.5) if turned else (1920, 1080, False, 12.5))


@pytest.mark.requirement("uploads.shape")
def test_dimensions_are_those_of_the_first_track_that_has_both():
    """Sound has none; the rotation is that of the same track."""
    sound, half = build_track(0, 0, handler=b"soun", turned=True), build_turned_track((0, 1, 1, 0), height=0)
    later = build_turned_track((0, 1, 1, 0), width=7, height=5)
    other = build_turned_track((0, 1, 1, 0), width=0)
    assert read_shape(build_film(HEADER, sound, half, other, TRACK, later)) == (1920, 1080, False, 12.5)
    assert read_shape(build_film(HEADER, other, TRACK)) == (1920, 1080, False, 12.5)
    assert read_shape(build_film(HEADER, sound, build_turned_track((0, 1, 1, 0)), TRACK)) == (1080, 1920, True, 12.5)
    wide = build_turned_track((1, 0, 0, 1), width=0xFFFF, height=1)
    assert read_shape(build_film(HEADER, wide))[:2] == (0xFFFF, 1)


@pytest.mark.requirement("uploads.shape")
@pytest.mark.parametrize("version", [0, 1])
def test_track_header_that_is_cut_has_no_dimensions(version):
    size = 88 + 12 * version - 4
    header = bytes((version, 0, 0, 7)) + bytes(size - 12) + struct.pack(">II", 640 << 16, 480 << 16)
    handler = build_box(b"mdia", build_box(b"hdlr", bytes(8) + b"vide"))
    for cut, expected in ((-9, (640, 480)), (0, (640, 480)), (1, (None, None)), (8, (None, None)), (40, (None, None))):
        track = build_box(b"trak", build_box(b"tkhd", (header + bytes(9))[: len(header) - cut]) + handler)
        assert read_shape(build_film(HEADER, track)) == (*expected, False, 12.5)


@pytest.mark.requirement("uploads.facts")
@pytest.mark.parametrize(
    ("scale", "length", "version", "seconds"),
    [
        (3, 1, 0, 0.333),
        (3, 2, 1, 0.667),
        (1, 2**32 - 2, 0, 2.0**32 - 2),
        (1, 2**32 - 1, 0, None),
        (1, 2**32 - 1, 1, 2.0**32 - 1),
        (2**32 - 1, 2**64 - 2, 1, 4294967297.0),
        (1, 2**64 - 1, 1, None),
        (0, 5, 0, None),
        (5, 0, 0, None),
    ],
)
def test_length_is_rounded_to_milliseconds_unless_it_is_unknown(scale, length, version, seconds):
    assert read_shape(build_film(build_movie_header(scale, length, version=version), TRACK))[3] == seconds


@pytest.mark.requirement("uploads.facts")
@pytest.mark.parametrize(("version", "size"), [(0, 20), (1, 32)])
def test_movie_header_that_is_cut_has_no_length(version, size):
    content = build_movie_header(1000, 12_500, version=version)[8:]
    assert read_shape(build_film(build_box(b"mvhd", content[:size]), TRACK))[3] == 12.5
    assert read_shape(build_film(build_box(b"mvhd", content[: size - 1]), TRACK))[3] is None


@pytest.mark.requirement("uploads.facts")
def test_boxes_with_a_long_length_are_read():
    track = build_box(b"trak", TRACK[8:], wide=True)
    moov = build_box(b"moov", build_box(b"mvhd", HEADER[8:], wide=True) + track, wide=True)
    content = FTYP + build_box(b"mdat", bytes(9), wide=True) + moov
    assert read_shape(content) == (1920, 1080, False, 12.5)
    assert upload(content) == ([], content)


@pytest.mark.requirement("uploads.facts")
def test_box_without_a_length_extends_to_the_end_of_what_holds_it():
    inner = build_box(b"trak", TRACK[8:], length=0)
    content = FTYP + build_box(b"mdat", bytes(9)) + build_box(b"moov", HEADER + inner, length=0)
    assert read_shape(content) == (1920, 1080, False, 12.5)


@pytest.mark.requirement("uploads.whole_file")
@pytest.mark.parametrize(
    "wrong",
    [
        build_box(b"free", b"", length=7),
        build_box(b"free", bytes(20), length=29),
        build_box(b"free", bytes(20), length=2**32 - 1),
        struct.pack(">I4sQ", 1, b"free", 15),
        struct.pack(">I4sQ", 1, b"free", 17),
        b"\0\0\0\x08fre",
    ],
)
def test_wrong_box_within_another_ends_only_its_reading(wrong):
    """The film is whole: the box that holds it has its length."""
    film = build_film(HEADER, TRACK, wrong)
    assert read_shape(film) == (1920, 1080, False, 12.5)
    place = build_box(b"udta", PLACE)
    assert upload(build_film(HEADER, TRACK, wrong) + build_box(b"meta", PLACE))[0] == ["the place"]
    assert upload(build_film(HEADER, build_track(9, 9, place), wrong))[0] == ["the place"]


@pytest.mark.requirement("uploads.whole_file")
def test_film_with_more_boxes_than_are_read_is_accepted():
    """A recording in fragments; its header is before them."""
    content = build_film(HEADER, TRACK, after=build_box(b"free", b"") * 600)
    assert read_shape(content) == (1920, 1080, False, 12.5)


@pytest.mark.requirement("uploads.whole_file")
@pytest.mark.parametrize(
    ("end", "is_whole"),
    [
        (build_box(b"free", b""), True),
        (build_box(b"mdat", bytes(8), length=17), False),
        (build_box(b"mdat", b"", length=9), False),
        (build_box(b"m4 t", bytes(8), length=17), True),
        (struct.pack(">I4sQ", 1, b"mdat", 16), True),
        (struct.pack(">I4sQ", 1, b"mdat", 17), False),
        (struct.pack(">I4sQ", 1, b"mdat", 2**40), False),
        (struct.pack(">I4sQ", 1, b"mdat", 2**56 + 16), False),
        (struct.pack(">I4sI", 1, b"mdat", 2**31), False),
        (b"\0\0\0\7mdat", True),
        (b"\0\0\0\7mda", True),
        (build_box(b" dat", bytes(8), length=17), True),
        (b"\0\0\0\x08mda", False),
        (b"\0\0\0\x08", True),
        (b"mdat", True),
        (b"mdatmdat", False),
    ],
)
def test_film_whose_last_box_is_cut_is_refused(end, is_whole):
    """A few bytes that aren't a box are a trailer."""
    content = build_film(HEADER, TRACK, after=end)
    if is_whole:
        assert upload(content) == ([], content)
    else:
        assert read_refusal(content) == CUT


@pytest.mark.requirement("uploads.whole_file")
@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (FTYP + TRACK, CUT),
        (FTYP + build_box(b"free", build_box(b"moov", HEADER + TRACK)), CUT),
        (FTYP + build_box(b"mdat", bytes(9)) + build_box(b"moov", b""), NO_PICTURE),
        (build_film(HEADER), NO_PICTURE),
        (
            build_film(HEADER, build_box(b"hdlr", bytes(8) + b"vide")),
            NO_PICTURE,
        ),
        (
            build_film(HEADER, build_box(b"trak", build_box(b"hdlr", bytes(8) + b"vide"))),
            NO_PICTURE,
        ),
        (
            build_film(HEADER, build_box(b"trak", build_box(b"mdia", build_box(b"hdlr", bytes(9) + b"vide")))),
            NO_PICTURE,
        ),
    ],
)
def test_film_needs_a_video_track_where_players_look_for_it(content, cause):
    assert read_refusal(content) == cause


@pytest.mark.requirement("uploads.facts")
def test_headers_elsewhere_are_not_read():
    """Boxes have a meaning only in their place."""
    other = build_box(b"mvhd", build_movie_header(1, 1)[8:])
    film = build_film(HEADER, build_track(1920, 1080, other), TRACK[8:]) + other
    assert read_shape(film) == (1920, 1080, False, 12.5)


@pytest.mark.requirement("uploads.privacy")
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("words", [b"\xa9xyz", b"loci", b"com.apple.quicktime.location.ISO6709", b"\xa9xy"])
@pytest.mark.parametrize("holder", ["moov", "trak", "file"])
def test_metadata_that_names_a_place_is_blanked_and_other_metadata_kept(wide, words, holder):
    """No byte moves, and what is around it stays."""
    boxes = [build_box(kind, bytes(5) + words, wide=wide) for kind in (b"meta", b"udta")]
    title = build_box(b"udta", b"title")
    for box in boxes if holder != "file" else boxes[:1]:
        content = {
            "moov": build_film(HEADER, TRACK, title, box, title),
            "trak": build_film(HEADER, build_track(9, 9, title, box, title)),
            "file": build_film(HEADER, TRACK, after=title + box + title),
        }[holder]
        head = 16 if wide else 8
        blank = box[:4] + b"free" + box[8:head] + bytes(len(box) - head)
        if words == b"\xa9xy":
            assert upload(content) == ([], content)
        else:
            assert upload(content) == (["the place"], content.replace(box, blank))


@pytest.mark.requirement("uploads.privacy")
@pytest.mark.parametrize("size", [0, MOST])
def test_pictures_of_a_film_are_never_searched(size):
    """By accident they may contain the name of a place's box."""
    content = FTYP + build_box(b"mdat", b"loci" + bytes(size)) + build_box(b"moov", HEADER + TRACK)
    assert upload(content) == ([], content)


@pytest.mark.requirement("uploads.privacy")
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("beyond", [0, 1, MOST - 1, MOST, MOST + 3])
def test_metadata_that_is_too_large_to_search_is_blanked(wide, beyond):
    """It may contain anything. A film with a large cover has such a box."""
    box = build_box(b"udta", b"x" * (MOST + beyond), wide=wide)
    content = build_film(HEADER, TRACK, box)
    if beyond:
        head = 16 if wide else 8
        blank = box[:4] + b"free" + box[8:head] + bytes(len(box) - head)
        assert upload(content) == (["unreadable metadata"], content.replace(box, blank))
    else:
        assert upload(content) == ([], content)


@pytest.mark.requirement("uploads.privacy")
def test_gigabytes_of_metadata_take_no_memory():
    """The zeros in their place are shared."""
    size = 4 * 1024**3
    start = build_film(HEADER, TRACK)
    head = struct.pack(">I4sQ", 1, b"meta", size)

    def read_at(offset, length):
        assert length <= MOST
        return (start + head)[offset : offset + length].ljust(min(length, len(start) + size - offset), b"\0")

    found = examine_file(read_at, len(start) + size, "a.mp4")
    assert found.private == ["unreadable metadata"]
    assert len({id(edit.replacement) for edit in found.edits}) <= 3
    assert sum(len(edit.replacement) for edit in found.edits[1:]) == size - len(head)
