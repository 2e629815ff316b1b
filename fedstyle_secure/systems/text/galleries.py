"""From settings to a gallery of word crops, labelled by their texts."""

from __future__ import annotations

from fedstyle_secure.cache import cache_folder
from fedstyle_secure.config import GallerySection
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.galleries.base import Gallery
from fedstyle_secure.galleries.opening import folder_of, open_hub
from fedstyle_secure.systems.text.crops import WORDS


def open_words(settings: GallerySection) -> Gallery:
    """The gallery of crops that the settings describe.

    Raises:
        ConfigError: A setting that this kind of gallery needs is missing.
        GalleryError: The gallery cannot be listed.
    """
    if settings.source == "atelier":
        from fedstyle_secure.systems.text.letterer import Letterer

        return Letterer(
            artists=settings.artists,
            pictures=settings.pictures,
            public=settings.public_artists,
            seed=settings.seed,
            test_fraction=settings.test_fraction,
            cache=cache_folder() / "letterer",
        )
    if settings.source == "folder":
        from fedstyle_secure.systems.text.folders import WordFolder

        return WordFolder(
            path=folder_of(settings),
            public=settings.public,
            split_column=settings.split_column,
            on_bad=settings.on_bad,
            min_pictures=settings.min_pictures,
            test_fraction=settings.test_fraction,
            seed=settings.seed,
        )
    if not settings.label_column:
        raise ConfigError("gallery.label_column is empty; text needs the column of the words")
    return open_hub(settings, WORDS)


def strangers(settings: GallerySection, number: int, seed: int) -> Gallery:
    """Letterers who are in no gallery, with two crops each.

    Args:
        settings: Of the run's gallery.
        number: Private artists.
        seed: Beyond those of settings.
    """
    from fedstyle_secure.systems.text.letterer import Letterer

    return Letterer(artists=number, pictures=2, public=0, seed=seed, test_fraction=0)
