"""Where pictures for private AI art come from: settings."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from fedstyle_secure.config import GallerySection, _of


class ArtGallerySection(GallerySection):
    """Where pictures come from."""

    opener: ClassVar[str] = "fedstyle_secure.systems.art.galleries:open_works"

    size: int = Field(
        32, ge=32, le=512, description="Side of the square pictures: the backbone's, in pixels."
    )
    consent: Literal["asked", "stated"] = _of(
        "hub",
        default="asked",
        description="whether each picture must allow generative training, or the data set's owner states "
        "that all artists do.",
    )
    artists: int = _of("atelier", default=8, ge=1, le=100_000, description="private artists.")
    public_artists: int = _of("atelier", default=14, ge=1, le=10_000, description="public artists.")
