"""From settings to a gallery of pictures whose artists agreed to generative training."""

from __future__ import annotations

from fedstyle_secure.cache import cache_folder
from fedstyle_secure.config import GallerySection
from fedstyle_secure.galleries.base import Gallery
from fedstyle_secure.galleries.opening import open_pictures
from fedstyle_secure.systems.art.gallery_settings import ArtGallerySection


def open_works(settings: GallerySection) -> Gallery:
    """The gallery that the settings describe.

    Raises:
        ConfigError: A setting that this kind of gallery needs is missing.
        GalleryError: The gallery cannot be listed.
    """
    if settings.source == "atelier":
        from fedstyle_secure.systems.art.academy import Academy

        return Academy(
            artists=settings.artists,
            pictures=settings.pictures,
            public=settings.public_artists,
            size=settings.size,
            seed=settings.seed,
            test_fraction=settings.test_fraction,
            cache=cache_folder() / "academy",
        )
    stated = isinstance(settings, ArtGallerySection) and settings.consent == "stated"
    return open_pictures(settings, consent="ai_generative_training", stated=stated)
