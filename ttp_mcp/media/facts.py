"""Properties of a media file, as its own bytes give them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """Properties of a media file. A property that the file doesn't give is None.

    Width and height are pixels as a viewer shows them, after rotation. An image with more than one frame is animated.
    """

    content_type: str
    size_bytes: int
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None
    animated: bool = False

    @property
    def is_video(self) -> bool:
        """True for a video, False for an image, animated or not."""
        return self.content_type.startswith("video/")
