"""Rotation, private metadata and damage of media files."""

import struct
import zlib

import pytest

from tests.support.media_files import (
    POSITION,
    TURNED,
    build_box,
    build_exif,
    build_ftyp,
    build_gif,
    build_jpeg,
    build_movie_header,
    build_mp4,
    build_png,
    build_png_chunk,
    build_segment,
    build_track,
    build_webp,
    build_webp_chunk,
    build_webp_header,
)
from ttp_mcp.media.edited import EditedFile
from ttp_mcp.media.errors import FileRefused
from ttp_mcp.media.files import open_below
from ttp_mcp.media.probe import examine_file

XMP = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description "
PIXELS = build_webp_chunk(b"VP8 ", bytes(30))


def make_picture(kind, block):
    """A picture of a type with this EXIF block, 1200 pixels wide and 900 high as stored."""
    if kind == "jpg":
        return build_jpeg(build_segment(0xE1, b"Exif\0\0" + block), width=1200, height=900)
    if kind == "png":
        return build_png(1200, 900, build_png_chunk(b"eXIf", block))
    return build_webp(build_webp_header(1200, 900, flags=0x08), PIXELS, build_webp_chunk(b"EXIF", block))


@pytest.fixture
def prepare_upload(tmp_path):
    """Write a file and examine it: the examination, and the bytes that would be sent."""

    def run(name, content):
        (tmp_path / name).write_bytes(content)
        with open_below(name, [tmp_path]) as file:
            found = examine_file(file.read_at, file.size, file.name)
            source = EditedFile.edit(file, found.edits)
            sent = source.read_at(0, source.size + 1)
            assert len(sent) == source.size == found.facts.size_bytes
            # Any way of reading it gives the same bytes.
            assert b"".join(source.read_at(offset, 7) for offset in range(0, source.size, 7)) == sent
            return found, sent

    return run


@pytest.mark.requirement("uploads.shape")
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8, 9])
def test_dimensions_are_those_a_viewer_shows(prepare_upload, kind, order, orientation):
    """EXIF swaps them for rotations 5 to 8."""
    found, _ = prepare_upload(f"a.{kind}", make_picture(kind, build_exif((0x0112, 3, orientation), order=order)))
    turned = orientation in (6, 8)
    assert found.turned == turned
    assert (found.facts.width, found.facts.height) == ((900, 1200) if turned else (1200, 900))


@pytest.mark.requirement("uploads.shape")
def test_rotated_video_has_its_displayed_dimensions(prepare_upload):
    """Phones store every video in landscape and rotate it by the track's matrix."""
    film = (
        build_ftyp(b"isom")
        + build_box(b"moov", build_movie_header() + build_track(1920, 1080, turned=True))
        + build_box(b"mdat", bytes(9))
    )
    found, _ = prepare_upload("a.mp4", film)
    assert (found.facts.width, found.facts.height, found.turned) == (1080, 1920, True)


@pytest.mark.requirement("uploads.shape")
def test_first_frame_header_has_the_dimensions(prepare_upload):
    """A later one is of a smaller layer."""
    layer = build_segment(0xC1, struct.pack(">BHH", 8, 75, 100) + b"\3" * 10)
    content = build_jpeg(width=400, height=300)
    found, _ = prepare_upload("a.jpg", content[:-2] + layer + content[-2:])
    assert (found.facts.width, found.facts.height) == (400, 300)


@pytest.mark.requirement("uploads.shape")
@pytest.mark.parametrize(
    ("name", "content", "animated"),
    [
        ("a.gif", build_gif(frames=1), False),
        ("a.gif", build_gif(frames=2), True),
        ("a.png", build_png(1, 1), False),
        ("a.png", build_png(1, 1, build_png_chunk(b"acTL", bytes(8))), True),
        ("a.webp", build_webp(build_webp_header(9, 9), PIXELS), False),
        ("a.webp", build_webp(build_webp_header(9, 9, flags=0x02), PIXELS), True),
    ],
)
def test_animation_is_detected(prepare_upload, name, content, animated):
    """A GIF needs a second frame; PNG and WebP declare it in their header."""
    assert prepare_upload(name, content)[0].facts.animated is animated


@pytest.mark.requirement("uploads.privacy")
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("block", "label"),
    [
        ({"place": POSITION}, "the place"),
        ({"camera": [(0xA431, 2, 0)]}, "serial numbers"),
        ({"camera": [(0xA430, 2, 0)]}, "names of people"),
        ({"camera": [(0x927C, 7, 0)]}, "the camera maker's notes"),
    ],
)
def test_private_exif_is_left_out_and_rotation_stays(prepare_upload, kind, order, block, label):
    """Nothing else of the file changes."""
    found, sent = prepare_upload(f"a.{kind}", make_picture(kind, build_exif(TURNED, order=order, **block)))
    assert found.private == [label]
    again, unchanged = prepare_upload(f"sent.{kind}", sent)
    assert (again.private, unchanged) == ([], sent)
    assert (again.turned, again.facts.width, again.facts.height) == (True, 900, 1200)
    assert sent == make_picture(kind, build_exif(TURNED))


@pytest.mark.requirement("uploads.privacy")
@pytest.mark.parametrize(
    ("label", "tags"),
    [
        ("names of people", (0x013B, 0x8298, 0x9C9D, 0xA430)),
        ("serial numbers", (0xA431, 0xA435, 0xC62F)),
        ("the camera maker's notes", (0x927C,)),
    ],
)
def test_each_private_tag_is_left_out_of_either_directory(prepare_upload, label, tags):
    """Programs write some of them into the first directory and into the camera's."""
    for tag in tags:
        for block in (build_exif((tag, 2, 0)), build_exif(camera=[(tag, 2, 0)])):
            found, sent = prepare_upload("a.jpg", make_picture("jpg", block))
            assert (found.private, sent) == ([label], build_jpeg(width=1200, height=900))


@pytest.mark.requirement("uploads.privacy")
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_private_exif_without_rotation_leaves_no_trace(prepare_upload, kind):
    """Also the flags and the length of a WebP fit."""
    _, sent = prepare_upload(f"a.{kind}", make_picture(kind, build_exif(place=POSITION)))
    assert (
        sent
        == {
            "jpg": build_jpeg(width=1200, height=900),
            "png": build_png(1200, 900),
            "webp": build_webp(build_webp_header(1200, 900), PIXELS),
        }[kind]
    )


@pytest.mark.requirement("uploads.privacy")
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_harmless_exif_is_kept(prepare_upload, kind):
    """Camera model, date, and an empty location block."""
    content = make_picture(kind, build_exif((0x0110, 2, 0), TURNED, place=[(0, 1, 0x302)]))
    found, sent = prepare_upload(f"a.{kind}", content)
    assert (found.private, sent) == ([], content)


@pytest.mark.requirement("uploads.privacy")
@pytest.mark.parametrize(
    ("text", "label"),
    [
        *(
            (text, "the place")
            for text in (
                *(
                    b"exif:GPSLatitude='52,31N'",
                    b"exif:GPSLongitude='1'",
                    b"exif:GPSDestBearing='1'",
                    b"Iptc4xmpCore:Location='x'",
                ),
                *(b"photoshop:City='Berlin'", b"photoshop:State='x'", b"photoshop:Country='x'"),
            )
        ),
        (b"aux:SerialNumber='123'", "serial numbers"),
        *(
            (text, "names of people")
            for text in (
                *(b"dc:creator='Ann'", b"dc:rights='Ann'", b"xmpRights:Owner='Ann'", b"aux:OwnerName='Ann'"),
                *(b"Iptc4xmpExt:PersonInImage='Ann'", b"MPReg:PersonDisplayName='Ann'", b"mwg-rs:Name='Ann'"),
            )
        ),
    ],
)
def test_private_xmp_is_left_out(prepare_upload, text, label):
    """In each type that has it."""
    icc = build_segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(20))
    plain = build_png_chunk(b"tEXt", b"Comment\0Hello")
    for name, content, expected in (
        ("a.jpg", build_jpeg(icc, build_segment(0xE1, XMP + text)), build_jpeg(icc)),
        (
            "a.jpg",
            build_jpeg(icc, build_segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + text)),
            build_jpeg(icc),
        ),
        (
            "a.png",
            build_png(1, 1, plain, build_png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + text)),
            build_png(1, 1, plain),
        ),
        (
            "a.webp",
            build_webp(build_webp_header(9, 9, flags=0x14), PIXELS, build_webp_chunk(b"XMP ", text)),
            build_webp(build_webp_header(9, 9, flags=0x10), PIXELS),
        ),
    ):
        found, sent = prepare_upload(name, content)
        assert (found.private, sent) == ([label], expected)


@pytest.mark.requirement("uploads.privacy")
def test_harmless_xmp_is_kept(prepare_upload):
    """A panorama needs it to be shown as one."""
    content = build_jpeg(build_segment(0xE1, XMP + b"GPano:ProjectionType='equirectangular'"))
    assert prepare_upload("a.jpg", content)[1] == content


@pytest.mark.requirement("uploads.privacy")
@pytest.mark.parametrize(
    ("chunk", "label"),
    [
        *(
            (build_png_chunk(kind, keyword + b"\0Ann"), "names of people")
            for kind in (b"tEXt", b"zTXt", b"iTXt")
            for keyword in (b"Author", b"Artist", b"Copyright", b"Owner")
        ),
        (build_png_chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(b"x")), "unreadable metadata"),
        (build_png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"x")), "unreadable metadata"),
    ],
)
def test_private_text_of_a_png_is_left_out(prepare_upload, chunk, label):
    """An unreadable profile may contain anything."""
    found, sent = prepare_upload("a.png", build_png(1, 1, chunk))
    assert (found.private, sent) == ([label], build_png(1, 1))


@pytest.mark.requirement("uploads.privacy")
@pytest.mark.parametrize(
    ("dataset", "label"),
    [
        *((b"\x1c\x02%c\0\6Berlin" % number, "the place") for number in (26, 27, 90, 92, 95, 100, 101)),
        *((b"\x1c\x02%c\0\3Ann" % number, "names of people") for number in (80, 85, 110, 116, 122)),
    ],
)
def test_private_iptc_is_left_out(prepare_upload, dataset, label):
    """As Photoshop writes it."""
    found, sent = prepare_upload(
        "a.jpg", build_jpeg(build_segment(0xED, b"Photoshop 3.0\x008BIM\4\4\0\0\0\0\0\x0b" + dataset))
    )
    assert (found.private, sent) == ([label], build_jpeg())


@pytest.mark.requirement("uploads.privacy")
def test_data_after_a_picture_is_left_out(prepare_upload):
    """Phones append films and second pictures with metadata of their own."""
    extended = build_webp(build_webp_header(9, 9), PIXELS)
    # The marker of the end is at the border of two reads.
    large = build_jpeg(padding=64 * 1024 - 7)
    for name, whole, more in (
        ("a.jpg", build_jpeg(), build_jpeg()),
        ("a.jpg", large, b"x"),
        ("a.png", build_png(), b"x"),
        ("a.webp", extended, b"xy"),
    ):
        found, sent = prepare_upload(name, whole + more)
        assert (found.private, sent) == (["data after the picture"], whole)


@pytest.mark.requirement("uploads.shape")
@pytest.mark.parametrize("offset", [0, 7, 8, 9, 10, 2**32 - 1])
def test_exif_directory_beyond_its_block_is_ignored(prepare_upload, offset):
    """The block has ten bytes, and a directory begins with two."""
    content = make_picture("jpg", b"II*\0" + struct.pack("<I", offset) + b"\0\0")
    found, sent = prepare_upload("a.jpg", content)
    assert (found.private, found.turned, sent) == ([], False, content)


@pytest.mark.requirement("uploads.privacy")
@pytest.mark.parametrize(
    ("block", "private"),
    [
        # The directory ends with its last entry, and not with the offset of another one.
        (build_exif(place=POSITION)[:-4], ["the place"]),
        (build_exif(place=POSITION)[:-5], ["the place"]),
        (build_exif(camera=[(0xA431, 2, 0)], place=[(2, 5, 0)])[:-5], ["serial numbers"]),
        (build_exif(camera=[(0xA431, 2, 0)])[:-4], ["serial numbers"]),
        # An entry that the directory doesn't count.
        (build_exif((0x0112, 3, 1))[:-4] + build_exif((0x013B, 2, 0))[10:], []),
        (b"IX" + build_exif(place=POSITION, order=">")[2:], []),
        (build_exif()[:7], []),
    ],
)
def test_exif_that_breaks_off_is_read_as_far_as_it_goes(prepare_upload, block, private):
    """A block of an unknown byte order isn't read."""
    content = make_picture("jpg", block)
    found, sent = prepare_upload("a.jpg", content)
    assert (found.private, sent) == (private, build_jpeg(width=1200, height=900) if private else content)


@pytest.mark.requirement("uploads.privacy")
@pytest.mark.parametrize(
    ("orientation", "kept"),
    [((3, 0), 1), ((3, 2), 2), ((3, 8), 8), ((3, 9), 1), ((4, 6), 1)],
)
def test_only_a_known_rotation_is_kept(prepare_upload, orientation, kept):
    """It is a short number from 1 to 8."""
    _, sent = prepare_upload("a.jpg", make_picture("jpg", build_exif((0x0112, *orientation), place=POSITION)))
    plain = build_jpeg(width=1200, height=900)
    assert sent == (plain if kept == 1 else make_picture("jpg", build_exif((0x0112, 3, kept))))


@pytest.mark.requirement("uploads.privacy")
def test_harmless_text_of_a_png_is_kept(prepare_upload):
    content = build_png(1, 1, build_png_chunk(b"tEXt", b"Comment\0\1"), build_png_chunk(b"tEXt", b"Author's note\0x"))
    assert prepare_upload("a.png", content)[1] == content


PLACE = build_box(b"\xa9xyz", b"\0\x12\x15\xc7+52.5+013.4/")


@pytest.mark.requirement("uploads.privacy")
@pytest.mark.parametrize(
    ("holder", "kind"),
    [("moov", b"udta"), ("moov", b"meta"), ("trak", b"udta"), ("trak", b"meta"), ("file", b"meta")],
)
def test_location_of_a_video_is_blanked_wherever_it_is(prepare_upload, holder, kind):
    """The film, each track and the file may have one."""
    more = build_box(kind, PLACE)
    film = build_mp4(*([more] if holder == "moov" else [build_track(9, 9, more)] if holder == "trak" else []))
    content = film + more if holder == "file" else film
    found, sent = prepare_upload("a.mp4", content)
    assert (found.private, PLACE in sent) == (["the place"], False)


@pytest.mark.requirement("uploads.shape")
def test_first_video_track_has_the_dimensions(prepare_upload):
    """A later one may be a cover or an alternative."""
    assert prepare_upload("a.mp4", build_mp4(build_track(160, 120)))[0].facts.width == 1080


@pytest.mark.requirement("uploads.facts")
def test_film_of_many_boxes_is_read(prepare_upload):
    """A recording in fragments has hundreds of them."""
    content = build_ftyp(b"isom") + build_box(b"free", b"") * 400 + build_mp4()[len(build_ftyp(b"isom", b"mp41")) :]
    assert prepare_upload("a.mp4", content)[0].facts.height == 1920


@pytest.mark.requirement("uploads.facts")
def test_film_whose_picture_is_the_last_box_that_is_read_is_accepted(prepare_upload):
    """At most 512 boxes are read, and what follows isn't called damaged."""
    handler = build_box(b"hdlr", bytes(8) + b"vide" + bytes(12))
    movie = build_box(b"moov", build_box(b"trak", build_box(b"mdia", handler)))
    content = build_ftyp(b"isom") + build_box(b"free", b"") * 507 + movie
    assert prepare_upload("a.mp4", content)[1] == content


@pytest.mark.requirement("uploads.privacy")
@pytest.mark.parametrize(
    "content",
    [
        build_box(b"udta", build_box(b"\xa9xyz", b"\0\x12\x15\xc7+52.5+013.4/")),
        build_box(b"udta", build_box(b"loci", bytes(40)), wide=True),
        build_box(b"meta", build_box(b"keys", b"com.apple.quicktime.location.ISO6709")),
    ],
)
def test_location_of_a_video_is_blanked_in_place(prepare_upload, content):
    """Other boxes refer to positions in the file by offset."""
    whole = build_mp4(content)
    found, sent = prepare_upload("a.mp4", whole)
    assert found.private == ["the place"]
    assert len(sent) == len(whole)
    start = whole.index(content)
    header = 16 if content.startswith(b"\0\0\0\1") else 8
    blank = content[:4] + b"free" + content[8:header] + bytes(len(content) - header)
    assert sent == whole[:start] + blank + whole[start + len(content) :]
    assert prepare_upload("sent.mp4", sent)[0].facts == found.facts


@pytest.mark.requirement("uploads.whole_file")
@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("a.jpg", build_jpeg(build_segment(0xE1, b"Exif\0\0" + build_exif(TURNED)), padding=100_000)),
        ("a.png", build_png(9, 9, padding=1000)),
        ("a.gif", build_gif(frames=3)),
        ("a.webp", build_webp(build_webp_header(9, 9), build_webp_chunk(b"VP8 ", bytes(1000)))),
        ("a.mp4", build_mp4(padding=1000)),
        (
            "a.mov",
            build_ftyp(b"qt  ")
            + build_box(b"mdat", bytes(1000))
            + build_box(b"moov", build_movie_header() + build_track(9, 9)),
        ),
    ],
)
def test_truncated_file_is_refused(prepare_upload, name, whole):
    """At every length from half of it on."""
    assert prepare_upload(name, whole)[1] == whole
    for length in {len(whole) // 2, len(whole) * 9 // 10, len(whole) - 20, len(whole) - 2, len(whole) - 1}:
        with pytest.raises(FileRefused) as caught:
            prepare_upload(name, whole[:length])
        assert str(caught.value) == (
            f"Not uploaded: «{name}»: it ends too early. Copy it again from where it was made; repeating the same call does "
            "not help."
        )


@pytest.mark.requirement("uploads.whole_file")
@pytest.mark.parametrize("beyond", [1, 2, 1000])
def test_webp_block_that_is_longer_than_the_file_is_refused(prepare_upload, beyond):
    """What follows the block would be left out with it, the picture included."""
    place = build_exif(place=POSITION)
    block = b"EXIF" + struct.pack("<I", len(place) + len(PIXELS) + beyond) + place
    with pytest.raises(FileRefused, match=r"«a\.webp»: it ends too early"):
        prepare_upload("a.webp", build_webp(build_webp_header(9, 9), block, PIXELS))


@pytest.mark.requirement("uploads.privacy")
def test_private_exif_of_an_odd_length_is_left_out_of_a_webp_that_ends_without_its_padding(prepare_upload):
    block = build_webp_chunk(b"EXIF", build_exif(place=POSITION) + b"\0")
    found, sent = prepare_upload("a.webp", build_webp(build_webp_header(9, 9, flags=0x08), PIXELS, block[:-1]))
    assert found.private == ["the place"]
    assert sent == build_webp(build_webp_header(9, 9), PIXELS)


@pytest.mark.requirement("uploads.whole_file")
@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (build_ftyp(b"isom") + build_box(b"mdat", bytes(100)), "it ends too early"),
        (build_ftyp(b"isom") + build_box(b"moov", b"", length=7) + bytes(20), "it ends too early"),
        (
            build_ftyp(b"isom") + build_box(b"moov", build_movie_header() + build_track(0, 0, handler=b"soun")),
            "it has no video track",
        ),
    ],
)
def test_video_without_its_index_or_without_a_picture_is_refused(prepare_upload, content, cause):
    """A recording that was interrupted, and sound alone."""
    with pytest.raises(FileRefused, match=f"«a.mp4»: {cause}"):
        prepare_upload("a.mp4", content)


@pytest.mark.requirement("uploads.whole_file")
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.mp4", build_mp4() + b"\0\0\0"),
        ("a.mp4", build_mp4() + bytes(100)),
        ("a.mp4", build_mp4() + b"SEFT\1\2\3\4\xff\xfe"),
        (
            "a.mp4",
            build_ftyp(b"isom")
            + build_box(b"moov", build_movie_header() + build_track(9, 9))
            + build_box(b"mdat", bytes(9), length=0),
        ),
        ("a.gif", build_gif() + bytes(10)),
    ],
)
def test_unusual_but_complete_file_is_accepted(prepare_upload, name, content):
    """Padding, a trailer that isn't a box, a box that extends to the end."""
    assert prepare_upload(name, content)[1] == content


@pytest.mark.requirement("uploads.types")
@pytest.mark.parametrize(
    ("name", "content", "sent_as"),
    [
        ("photo.jpg", build_png(), "photo.png"),
        ("photo.JPG", build_jpeg(), "photo.JPG"),
        ("film.mov", build_mp4(), "film.mp4"),
        ("my.photo.webp", build_gif(), "my.photo.gif"),
        ("動画.mp4", build_mp4(), "動画.mp4"),
        ("写真.png", build_jpeg(), "写真.jpg"),
    ],
)
def test_extension_follows_the_type(prepare_upload, name, content, sent_as):
    """The URL's extension comes from it, and in a chat a file can't be renamed."""
    assert prepare_upload(name, content)[0].name == sent_as


@pytest.mark.requirement("uploads.facts")
def test_segment_length_below_its_minimum_ends_the_reading(prepare_upload):
    """Such a length doesn't even cover itself."""
    for length in (b"\0\0", b"\0\1"):
        with pytest.raises(FileRefused, match="has no readable picture size"):
            prepare_upload("a.jpg", build_jpeg()[:2] + b"\xff\xe1" + length + struct.pack(">I", 1))
