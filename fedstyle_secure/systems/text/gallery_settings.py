"""Where crops of words come from: settings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from fedstyle_secure.config import GallerySection, _of
from fedstyle_secure.systems.text.crops import HEIGHT, WIDTH


class TextGallerySection(GallerySection):
    """Where crops of words come from."""

    opener: ClassVar[str] = "fedstyle_secure.systems.text.galleries:open_words"
    strangers: ClassVar[str] = "fedstyle_secure.systems.text.galleries:strangers"
    # A crop under another text would be a mislabelled one.
    strangers_keep_labels: ClassVar[bool] = True

    size: int = Field(
        HEIGHT, ge=HEIGHT, le=HEIGHT, description="Height of a crop, in pixels; it is four times as wide."
    )
    artists: int = _of("atelier", default=8, ge=1, le=100_000, description="private artists.")
    pictures: int = _of("atelier", default=500, ge=2, le=10_000, description="crops an artist.")
    public_artists: int = _of("atelier", default=4, ge=1, le=10_000, description="public artists.")
    label_column: str = _of("hub", default="text", description="column of the words.")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of a crop."""
        return HEIGHT, WIDTH
