"""A file with some of its bytes replaced while it is sent; the file itself stays as it is."""

from collections.abc import Sequence

from ttp_mcp.media.files import OpenFile
from ttp_mcp.media.scan import Edit


class EditedFile:
    """An open file, without the bytes that are not to be uploaded."""

    def __init__(self, file: OpenFile, edits: Sequence[Edit]) -> None:
        """Use an open file, which stays the caller's to close; edits must not overlap."""
        self._file = file
        self._edits = edits
        self._pieces = list(_cut_pieces(file.size, sorted(edits, key=lambda edit: edit.start)))
        self.size = sum(len(piece) for piece in self._pieces)

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
                found.append(self._read_piece(piece[low:high]))
            start += len(piece)
        return b"".join(found)

    def is_unchanged(self) -> bool:
        """Check that the file was not changed since it was opened."""
        return self._file.is_unchanged()

    def copy(self) -> "EditedFile":
        """Return the same on a descriptor of its own."""
        return EditedFile(self._file.copy(), self._edits)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_piece(self, piece: range | bytes) -> bytes:
        return piece if isinstance(piece, bytes) else self._file.read_at(piece.start, len(piece))


def _cut_pieces(size: int, edits: Sequence[Edit]) -> "list[range | bytes]":
    """Return the edited file as ranges of the file and new bytes."""
    pieces: list[range | bytes] = []
    position = 0
    for edit in edits:
        pieces += [range(position, edit.start), edit.replacement]
        position = edit.stop
    return [*pieces, range(position, size)]
