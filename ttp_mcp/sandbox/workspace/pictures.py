"""Small pictures for the demo workspace, drawn in a few colors."""

import hashlib
import struct
import zlib
from collections.abc import Iterable

SIDE = 240

_SCENES = (
    ("morning-cup.png", (243, 224, 200), (120, 72, 40)),
    ("new-menu.png", (206, 224, 235), (40, 84, 120)),
    ("roasting-day.png", (240, 205, 160), (90, 40, 25)),
    ("harbor-evening.png", (60, 80, 130), (245, 170, 90)),
    ("pastry-board.png", (250, 236, 214), (200, 120, 60)),
    ("latte-art.png", (225, 205, 185), (255, 250, 240)),
    ("studio-light.png", (30, 36, 60), (140, 220, 200)),
)

Color = tuple[int, int, int]


def draw_picture(number: int) -> tuple[str, bytes]:
    """Draw a picture. Returns its file name and PNG bytes."""
    name, sky, shape = _SCENES[number % len(_SCENES)]
    rows = (_draw_row(y, sky, shape, number) for y in range(SIDE))
    return name, _encode_png(rows)


def hash_content(content: bytes) -> str:
    """Return the SHA-256, as the storage keeps it."""
    return hashlib.sha256(content).hexdigest()


def _draw_row(y: int, sky: Color, shape: Color, number: int) -> bytes:
    shade = 1 - 0.25 * y / SIDE
    back = bytes(round(part * shade) for part in sky)
    middle, height, radius = SIDE // 2, SIDE * (45 + number * 4) // 100, SIDE * 28 // 100
    reach = radius**2 - (y - height) ** 2
    half = int(reach**0.5) if reach > 0 else 0
    if y > SIDE * 78 // 100:  # a table, or the sea
        half = middle
    front = bytes(shape)
    return back * (middle - half) + front * (2 * half) + back * (SIDE - middle - half)


def _encode_png(rows: Iterable[bytes]) -> bytes:
    raw = b"".join(b"\0" + row for row in rows)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
