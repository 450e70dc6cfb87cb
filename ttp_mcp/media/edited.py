"""A file with some of its bytes replaced while it is sent; the file itself stays as it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ttp_mcp.media.files import OpenFile
from ttp_mcp.media.scan import Edit


@dataclass(frozen=True, slots=True)
class EditedFile(OpenFile):
    """An open file, without the bytes that are not to be uploaded: ranges of the file, and new bytes."""

    _pieces: tuple[range | bytes, ...] = ()

    @classmethod
    def edit(cls, file: OpenFile, edits: Sequence[Edit]) -> "EditedFile":
        """Edit an open file, whose descriptor is shared; edits must not overlap."""
        pieces = tuple(_cut_pieces(file.size, sorted(edits, key=lambda edit: edit.start)))
        return cls(file.descriptor, file.name, sum(map(len, pieces)), file._found, pieces)

    def read_at(self, offset: int, length: int) -> bytes:
        """Read bytes from an offset of the edited file.

        Raises:
            OSError: The file can't be read.
        """
        wanted = range(offset, min(offset + length, self.size))
        found: list[bytes] = []
        start = 0
        for piece in self._pieces:
            low, high = max(wanted.start - start, 0), min(wanted.stop - start, len(piece))
            if low < high:
                part = piece[low:high]
                found.append(part if isinstance(part, bytes) else OpenFile.read_at(self, part.start, len(part)))
            start += len(piece)
        return b"".join(found)


def _cut_pieces(size: int, edits: Sequence[Edit]) -> Iterator[range | bytes]:
    position = 0
    for edit in edits:
        yield range(position, edit.start)
        yield edit.replacement
        position = edit.stop
    yield range(position, size)
