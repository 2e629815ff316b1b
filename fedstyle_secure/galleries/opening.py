"""From settings to a gallery."""

from __future__ import annotations

from pathlib import Path

from fedstyle_secure.cache import cache_folder
from fedstyle_secure.config import GallerySection
from fedstyle_secure.consent.uses import Purpose
from fedstyle_secure.errors import ConfigError
from fedstyle_secure.galleries.assemble import PICTURES, Reading
from fedstyle_secure.galleries.base import Gallery
from fedstyle_secure.registry import load


def open_gallery(settings: GallerySection) -> Gallery:
    """The gallery that the settings describe. Pictures are read only when a portfolio is asked for.

    Raises:
        ConfigError: A setting that this kind of gallery needs is missing.
        GalleryError: The gallery cannot be listed.
    """
    gallery: Gallery = load(settings.opener)(settings)
    return gallery


def painters(settings: GallerySection, number: int, seed: int) -> Gallery:
    """Painters who are in no gallery, with pictures as the settings want them.

    Args:
        settings: Of the run's gallery.
        number: Private artists.
        seed: Beyond those of settings.
    """
    from fedstyle_secure.galleries.atelier import Atelier

    return Atelier(artists=number, pictures=2, public=0, size=settings.size, seed=seed, test_fraction=0)


def open_pictures(settings: GallerySection, consent: Purpose | None = None, stated: bool = False) -> Gallery:
    """A gallery of square pictures, labelled by style.

    Args:
        settings: Which.
        consent: The use that must be allowed of each picture of artists; None where nobody is asked.
        stated: For a data set of the Hub, whether its owner states that all its artists allow it; what a
            picture itself refuses stays refused.

    Raises:
        ConfigError: A setting that this kind of gallery needs is missing.
        GalleryError: The gallery cannot be listed.
    """
    if settings.source == "atelier":
        from fedstyle_secure.galleries.atelier import Atelier

        return Atelier(
            artists=settings.artists,
            pictures=settings.pictures,
            public=settings.public_artists,
            size=settings.size,
            seed=settings.seed,
            test_fraction=settings.test_fraction,
            cache=cache_folder() / "atelier",
        )
    if settings.source == "folder":
        from fedstyle_secure.galleries.folder import FolderGallery

        return FolderGallery(
            path=folder_of(settings),
            size=settings.size,
            public=settings.public,
            split_column=settings.split_column,
            on_bad=settings.on_bad,
            min_pictures=settings.min_pictures,
            test_fraction=settings.test_fraction,
            seed=settings.seed,
            consent=consent,
        )
    return open_hub(settings, consent=consent, stated=stated)


def folder_of(settings: GallerySection) -> Path:
    """The gallery's folder. Raises ConfigError where the settings name none."""
    if not settings.path:
        raise ConfigError('gallery.path is empty; gallery.source = "folder" needs the gallery\'s folder')
    return Path(settings.path)


def open_hub(
    settings: GallerySection,
    reading: Reading = PICTURES,
    consent: Purpose | None = None,
    stated: bool = False,
) -> Gallery:
    """A gallery of a data set of the Hub.

    Args:
        settings: With a data set's name.
        reading: What becomes of its pictures and labels.
        consent, stated: As `open_pictures`.

    Raises:
        ConfigError: No data set is named.
        GalleryError: It cannot be listed.
    """
    if not settings.dataset:
        raise ConfigError('gallery.dataset is empty; gallery.source = "hub" needs a data set\'s name')
    from fedstyle_secure.galleries.hub import HubGallery

    return HubGallery(
        dataset=settings.dataset,
        artist_column=settings.artist_column,
        image_column=settings.image_column,
        label_column=settings.label_column or None,
        split=settings.dataset_split,
        size=settings.size,
        public=settings.public,
        on_bad=settings.on_bad,
        min_pictures=settings.min_pictures,
        max_artists=settings.max_artists,
        test_fraction=settings.test_fraction,
        seed=settings.seed,
        keep_fraction=settings.keep_fraction,
        reading=reading,
        consent=consent,
        stated=stated,
    )
