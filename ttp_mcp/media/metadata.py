"""Metadata of pictures (EXIF, XMP, IPTC): rotation, and what identifies a place, a device or a person."""

import re
import struct

PLACE = "the place"
SERIAL = "serial numbers"
NAMES = "names of people"
MAKER = "the camera maker's notes"
UNREADABLE = "unreadable metadata"

_ORIENTATION = 0x0112
_EXIF_IFD = 0x8769
_GPS_IFD = 0x8825
_TAGS = {
    0x013B: NAMES,  # artist
    0x8298: NAMES,  # copyright
    0x9C9D: NAMES,  # author, as Windows writes it
    0xA430: NAMES,  # owner of the camera
    0xA431: SERIAL,  # body
    0xA435: SERIAL,  # lens
    0xC62F: SERIAL,  # camera
    0x927C: MAKER,
}
_MOST_ENTRIES = 500
# Type and value of a tag that isn't there.
_MISSING = (0, 0)
_XMP = (
    (PLACE, re.compile(rb"GPS(?:Latitude|Longitude|Dest)|Location|photoshop:(?:City|State|Country)")),
    (SERIAL, re.compile(rb"SerialNumber")),
    (NAMES, re.compile(rb"OwnerName|dc:creator|dc:rights|Rights:Owner|PersonInImage|PersonDisplayName|mwg-rs:Name")),
)
_IPTC = (
    (PLACE, re.compile(rb"\x1c\x02[\x1a\x1b\x5a\x5c\x5f\x64\x65]")),
    (NAMES, re.compile(rb"\x1c\x02[\x50\x55\x6e\x74\x7a]")),
)
_PNG_NAMES = (b"author", b"artist", b"copyright", b"owner")


def parse_exif(block: bytes) -> tuple[set[str], int]:
    """Read an EXIF block, with or without its prefix: the private things found, and the rotation (1 to 8, 1 for none).

    Odd bytes give what could be read.
    """
    block = block.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return set(), 1
    first = _read_ifd(block, order, int.from_bytes(block[4:8], "little" if order == "<" else "big"))
    camera = _read_ifd(block, order, first.get(_EXIF_IFD, _MISSING)[1])
    place = _read_ifd(block, order, first.get(_GPS_IFD, _MISSING)[1])
    private = {_TAGS[tag] for tag in (*first, *camera) if tag in _TAGS}
    # Some programs write a block that holds only the version of the standard (tag 0).
    if set(place) - {0}:
        private.add(PLACE)
    kind, value = first.get(_ORIENTATION, _MISSING)
    return private, value if kind == 3 and 1 < value <= 8 else 1


def build_orientation(orientation: int) -> bytes:
    """Build an EXIF block with nothing but the rotation."""
    entry = struct.pack("<HHIHH", _ORIENTATION, 3, 1, orientation, 0)
    return b"II*\0\x08\0\0\0\x01\0" + entry + bytes(4)


def _read_ifd(block: bytes, order: str, offset: int) -> dict[int, tuple[int, int]]:
    """Return type and value of each tag of a directory; a value may be an offset."""
    if not 8 <= offset <= len(block) - 2:
        return {}
    (count,) = struct.unpack_from(f"{order}H", block, offset)
    found: dict[int, tuple[int, int]] = {}
    for number in range(min(count, _MOST_ENTRIES)):
        start = offset + 2 + 12 * number
        if start + 12 > len(block):
            break
        tag, kind, _ = struct.unpack_from(f"{order}HHI", block, start)
        (value,) = struct.unpack_from(f"{order}{'H' if kind == 3 else 'I'}", block, start + 8)
        found[tag] = (kind, value)
    return found


def find_private_xmp(packet: bytes) -> set[str]:
    """Return the private things that an XMP packet names."""
    return {label for label, pattern in _XMP if pattern.search(packet)}


def find_private_iptc(block: bytes) -> set[str]:
    """Return the private things that an IPTC block names."""
    return {label for label, pattern in _IPTC if pattern.search(block)}


def find_private_text(chunk: bytes) -> set[str]:
    """Return the private things that a text chunk of a PNG names."""
    keyword = chunk.partition(b"\0")[0].lower()
    if keyword.startswith(b"raw profile type"):
        return {UNREADABLE}
    if keyword in _PNG_NAMES:
        return {NAMES}
    # The flag after the keyword says whether an international text is compressed.
    if keyword == b"xml:com.adobe.xmp" and chunk[len(keyword) + 1 : len(keyword) + 2] == b"\1":
        return {UNREADABLE}
    return find_private_xmp(chunk)
