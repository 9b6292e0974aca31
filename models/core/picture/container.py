"""What of a picture's file is decoded, and what its structure says before any decoding."""

from dataclasses import dataclass, field
from typing import Literal

MAX_PARTS = 16_384
"""Chunks, segments or blocks of a file; beyond them it is refused unread."""


class UnreadablePicture(ValueError):
    """A file that gives no picture, or none whose greys are known; the message says why."""


class TooManyPixels(UnreadablePicture):
    """A picture that is larger than accepted."""


@dataclass(frozen=True)
class Samples:
    """How the numbers of a file are greys or colours."""

    bits: int = 8
    kind: Literal["unsigned", "signed", "float"] = "unsigned"
    white_is_zero: bool = False
    """Of deep greys, which Pillow does not turn; it turns those of up to 8 bits."""
    low: float | None = None
    """What the file says is black, if it does."""
    high: float | None = None
    """What the file says is white, if it does."""
    transparent: tuple[int, ...] = ()
    """The grey or the colour that is not shown, as the file counts it."""

    @property
    def are_deep(self) -> bool:
        """Whether they are something else than up to 8 unsigned bits."""
        return self.bits > 8 or self.kind != "unsigned"


@dataclass(frozen=True)
class Container:
    """A picture's file without what no pixel needs: texts, profiles, previews, later frames."""

    format: str
    """As Pillow names it."""
    data: bytes
    width: int
    height: int
    orientation: int = 1
    """By its EXIF tag, 1 to 8; 1 is upright."""
    has_more_frames: bool = False
    samples: Samples = field(default_factory=Samples)
