"""Lines of a byte stream."""

from collections import deque


class Lines:
    """Splits bytes into lines, however they are chunked, and keeps no more of a line than the limit."""

    __slots__ = ("_is_skipping", "_limit", "_part", "waiting")

    def __init__(self, limit: int) -> None:
        """Keep no line of more than `limit` bytes, its newline not counted."""
        self.waiting: deque[bytes | None] = deque()
        """Lines without their newline, oldest first; None replaces one that was too long. Empty lines are left out."""
        self._limit = limit
        self._part = bytearray()
        self._is_skipping = False

    def feed(self, chunk: bytes) -> None:
        """Add the next bytes."""
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._add(piece)
            self.end()
        self._add(rest)

    def end(self) -> None:
        """End the current line, as a newline does."""
        if self._is_skipping:
            self.waiting.append(None)
        elif self._part.strip():
            self.waiting.append(bytes(self._part))
        self._part = bytearray()
        self._is_skipping = False

    def drop(self) -> None:
        """Discard everything that has not been taken."""
        self.waiting.clear()
        self._part = bytearray()

    def _add(self, piece: bytes) -> None:
        if self._is_skipping:
            return
        if len(self._part) + len(piece) > self._limit:
            self._part = bytearray()
            self._is_skipping = True
        else:
            self._part += piece
