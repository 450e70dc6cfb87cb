"""Result of reading a media file's structure, shared by the readers of each type."""

from collections.abc import Callable
from dataclasses import dataclass, field

# Returns bytes from an offset, fewer at the end of the file.
ReadAt = Callable[[int, int], bytes]

TRAILER = "data after the picture"


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes from `start` to `stop` of a file that are replaced in the uploaded copy."""

    start: int
    stop: int
    replacement: bytes = b""


@dataclass(slots=True)
class Scan:
    """Result of a reader. Pixels are as stored; `turned` is true if a viewer swaps them.

    `private` names the metadata that identifies a place, device or person, and `edits` remove it. `damage` is why the file
    can't be shown, or None.
    """

    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    animated: bool = False
    turned: bool = False
    private: list[str] = field(default_factory=list[str])
    edits: list[Edit] = field(default_factory=list[Edit])
    damage: str | None = "it ends too early"

    def end_at(self, end: int, size: int) -> None:
        """Note where the picture ends; what follows it is left out of the upload."""
        self.damage = None
        if end < size:
            self.edits.append(Edit(end, size))
            self.private.append(TRAILER)

    def leave_out(self, start: int, stop: int, found: set[str], replacement: bytes = b"") -> None:
        """Remove a block of metadata if anything private was found in it."""
        if found:
            self.edits.append(Edit(start, stop, replacement))
            self.private += sorted(found)
