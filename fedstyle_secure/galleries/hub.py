"""A gallery from a Hugging Face image dataset, on the Hub or on disk, partitioned by Flower Datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedstyle_secure.consent.uses import Purpose
from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.galleries.assemble import (
    PICTURES,
    SKIP_HINT,
    Artwork,
    OnBad,
    PictureRules,
    Reading,
    allowed_bytes,
    assemble_portfolio,
    check_count,
    is_inside,
    private_artists,
    public_artists,
    unknown_artist,
)
from fedstyle_secure.galleries.base import Gallery, Portfolio, Refused, Skipped
from fedstyle_secure.galleries.names import by_name, check_name
from fedstyle_secure.galleries.pictures import MAX_PIXELS, PictureError, read_picture_bytes
from fedstyle_secure.names import nfc

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from flwr_datasets.partitioner import NaturalIdPartitioner


class HubGallery(Gallery):
    """Artworks of a dataset with an image column and a column that names the artist.

    Only the rows of the artist that is asked for are read, though the whole dataset lies on the same disk:
    this is for simulations. Which pictures are held out follows from their content and `seed`.

    Attributes:
        artists: Private artists, sorted.
        public_artists: Public artists, sorted. All their pictures are for training.
        skipped: Artists left out under `on_bad="skip"` (with an empty name), and rows without an artist.

    Args:
        dataset: Name on the Hub, or a local folder that `datasets.load_dataset` understands (Parquet files,
            or folders of images, whose column is `label`).
        artist_column: Text, whole numbers or class labels; class labels become their names.
        image_column: Images, or the bytes of image files.
        label_column: Labels; None where there are none.
        split: Split of the dataset that is used.
        subset: Configuration of the dataset; None for its default.
        revision: Commit or tag on the Hub, so that a run can be repeated; None for the newest.
        size: Height of the decoded pictures.
        public: Artists whose pictures the platform owns.
        on_bad: "refuse" raises at the first bad artwork; "skip" leaves it out and lists it.
        min_pictures: Fewest training pictures of an artist.
        max_artists: Most private artists, those with the most pictures, equals by name; 0 for all.
        test_fraction: Share of each portfolio held out, each picture by its own content.
        seed: Which pictures these are.
        max_pixels: Largest picture that is decoded.
        keep_fraction: Share of each portfolio that is used, each picture by its own content.
        reading: What is made of an image and its label.
        consent: The use that must be allowed of each image; one of which it is not is left out as if it were
            not there. None: nobody is asked.
        stated: Whether the data set's owner states that all its artists allow that use, so that images need
            not say so themselves; those that refuse it are left out all the same. Without it all images are
            read at once, as who takes part hangs on what they say.

    Raises:
        ConfigError: Flower Datasets is not installed.
        GalleryError: The dataset, the split or a column is missing or of the wrong type, a row has no artist,
            a name holds control characters, a public artist is unknown, an artist has too few pictures, or no
            private artist is left.
    """

    def __init__(
        self,
        dataset: str,
        artist_column: str = "artist",
        image_column: str = "image",
        label_column: str | None = None,
        split: str = "train",
        subset: str | None = None,
        revision: str | None = None,
        size: int = 96,
        public: Sequence[str] = (),
        on_bad: OnBad = "refuse",
        min_pictures: int = 4,
        max_artists: int = 0,
        test_fraction: float = 0.25,
        seed: int = 0,
        max_pixels: int = MAX_PIXELS,
        keep_fraction: float = 1.0,
        reading: Reading = PICTURES,
        consent: Purpose | None = None,
        stated: bool = False,
    ) -> None:
        self.purpose = consent
        self._stated = stated
        self._dataset = dataset
        self._image_column = image_column
        self._label_column = label_column
        self._rules = PictureRules(
            size, on_bad, min_pictures, test_fraction, seed, max_pixels, keep_fraction, reading, consent
        )
        columns = [artist_column, image_column, *([] if label_column is None else [label_column])]
        self._partitioner, unnamed = _load(dataset, subset, revision, split, columns, on_bad)
        rows = self._partitioner.dataset
        labels = rows.features[artist_column]
        rows_of = Counter(rows[artist_column])
        # Asking for the number of partitions is what makes the partitioner look at the column.
        n_artists = self._partitioner.num_partitions
        natural_ids = self._partitioner.partition_id_to_natural_id
        where = f"dataset {dataset!r}: column {artist_column!r}:"
        found = {_label(labels, natural_ids[i]): i for i in range(n_artists)}
        self._ids, misnamed = by_name(found, where, on_bad)
        for column in columns[2:] if reading.check_label is None else ():
            for value in rows.unique(column):
                check_name(_label(rows.features[column], value), f"dataset {dataset!r}: column {column!r}:")
        sizes = {name: rows_of[natural_ids[i]] for name, i in self._ids.items()}
        asked = consent is not None and not stated
        refused = {name: self._refused(name) if asked else [] for name in sizes}
        sizes = {name: size - len(refused[name]) for name, size in sizes.items()}
        self.public_artists = public_artists(public, sizes)
        for name in self.public_artists:
            check_count(name, [False] * sizes[name], min_pictures, refused=refused[name])
        private = sorted(set(sizes) - set(self.public_artists), key=lambda name: (-sizes[name], name))
        splits = {name: [None] * sizes[name] for name in (private[:max_artists] if max_artists else private)}
        self.artists, thin = private_artists(splits, self._rules, f"dataset {dataset!r}", refused)
        self.skipped = (*unnamed, *misnamed, *thin)
        here = {*self.artists, *self.public_artists}
        self.refused = tuple(one for name in sizes if name not in here for one in refused[name])

    def portfolio(self, artist: str) -> Portfolio:
        """Read and decode one artist's rows, in the order of the dataset.

        Names are positions among the artist's rows (`0007`), digests are of the encoded pictures.

        Raises:
            GalleryError: The artist is unknown, a picture is bad and `on_bad` is "refuse", too few are left,
                or a row refers to a file outside the dataset.
        """
        artist = nfc(artist)
        if artist not in self.artists and artist not in self.public_artists:
            raise unknown_artist(artist, (*self.artists, *self.public_artists))
        return assemble_portfolio(artist, self._artworks(artist, artist in self.public_artists), self._rules)

    def _refused(self, artist: str) -> list[Refused]:
        """An artist's images of which the use is not allowed."""
        found: list[Refused] = []
        for artwork in self._artworks(artist, public=False):
            # One that is allowed and bad is judged where portfolios are made.
            allowed_bytes(artist, artwork, self._rules.consent, found)
        return found

    def _artworks(self, artist: str, public: bool) -> list[Artwork]:
        """An artist's rows, not read yet."""
        rows = self._partitioner.load_partition(self._ids[artist])
        labels = [""] * len(rows)
        if self._label_column is not None:
            feature = rows.features[self._label_column]
            labels = [nfc(_label(feature, value)) for value in rows[self._label_column]]
        cells = rows.select_columns([self._image_column])
        folders = _own_folders(self._dataset)
        test = False if public else None
        return [
            Artwork(
                f"{position:04d}",
                partial(_cell_bytes, cells, position, self._image_column, folders, self._rules.max_pixels),
                label,
                test,
                self._stated,
            )
            for position, label in enumerate(labels)
        ]


def _load(
    dataset: str, subset: str | None, revision: str | None, split: str, columns: Sequence[str], on_bad: OnBad
) -> tuple[NaturalIdPartitioner, list[Skipped]]:
    """The partitioner, with its dataset, and the rows without an artist."""
    try:
        from datasets import DatasetDict
        from datasets.exceptions import DatasetsError
        from flwr_datasets import FederatedDataset
        from flwr_datasets.partitioner import NaturalIdPartitioner
    except ImportError as error:
        raise ConfigError(
            'gallery.source = "hub" needs Flower Datasets: pip install "fedstyle-secure[hub]"'
        ) from error
    unnamed: list[Skipped] = []

    def prepare(splits: DatasetDict) -> DatasetDict:
        if split not in splits:
            raise GalleryError(f"dataset {dataset!r} has no split {split!r}; valid: {', '.join(splits)}")
        rows = _checked_columns(splits[split], dataset, columns)
        rows, gaps = _named_rows(rows, columns[0])
        if gaps and on_bad == "refuse":
            raise GalleryError(
                f"dataset {dataset!r}: {len(gaps)} rows have no {columns[0]}, the first is row {gaps[0]}; "
                f"name the artist, or {SKIP_HINT}"
            )
        unnamed.extend(Skipped("", f"row {gap}", f"has no {columns[0]}") for gap in gaps)
        return DatasetDict({split: rows})

    federated = FederatedDataset(
        dataset=dataset,
        subset=subset,
        preprocessor=prepare,
        partitioners={split: NaturalIdPartitioner(partition_by=columns[0])},
        shuffle=False,
        **({} if revision is None else {"revision": revision}),
    )
    try:
        # `FederatedDataset.load_partition` would report its use to a server of Flower's; this does not.
        return federated.partitioners[split], unnamed
    except (OSError, ValueError, DatasetsError) as error:
        detail = (str(error).splitlines() or [""])[0]
        raise GalleryError(
            f"dataset {dataset!r} cannot be loaded ({type(error).__name__}: {detail}); "
            "valid: a name on the Hugging Face Hub or a local folder"
        ) from error


def _checked_columns(rows: Dataset, dataset: str, columns: Sequence[str]) -> Dataset:
    """The rows with image files left encoded.

    Raises:
        GalleryError: A column is missing or of another type.
    """
    from datasets import ClassLabel, Image, Value

    artist_column, image_column = columns[:2]
    missing = [column for column in columns if column not in rows.features]
    if missing:
        raise GalleryError(
            f"dataset {dataset!r} has no column {', '.join(map(repr, missing))}; "
            f"columns present: {', '.join(map(repr, rows.features))}"
        )
    for column in (artist_column, *columns[2:]):
        feature = rows.features[column]
        plain = isinstance(feature, Value) and ("string" in feature.dtype or "int" in feature.dtype)
        if not plain and not isinstance(feature, ClassLabel):
            raise GalleryError(
                f"dataset {dataset!r}: column {column!r} holds {feature}; "
                "valid: text, whole numbers or class labels"
            )
    image = rows.features[image_column]
    encoded = isinstance(image, Value) and "binary" in image.dtype
    if not (isinstance(image, Image) or encoded or (isinstance(image, dict) and "bytes" in image)):
        raise GalleryError(
            f"dataset {dataset!r}: column {image_column!r} holds {image}; "
            "valid: images or the bytes of image files"
        )
    return rows.cast_column(image_column, Image(decode=False))


def _named_rows(rows: Dataset, artist_column: str) -> tuple[Dataset, list[int]]:
    """The rows that name an artist, and the numbers of those that do not."""
    feature = rows.features[artist_column]
    named = [bool(_label(feature, value).strip()) for value in rows[artist_column]]
    gaps = [i for i, good in enumerate(named) if not good]
    if not gaps:
        return rows, gaps
    return rows.select([i for i, good in enumerate(named) if good]), gaps


def _label(feature: Any, value: Any) -> str:
    """A value of a label column as text; "" where there is none, for which class labels have -1."""
    from datasets import ClassLabel

    if value is None:
        return ""
    if isinstance(feature, ClassLabel):
        return str(feature.int2str(value)) if value >= 0 else ""
    return str(value)


def _own_folders(dataset: str) -> list[Path]:
    """Where a dataset's files may lie: its own folder, and the caches of the Hugging Face libraries."""
    from datasets import config
    from huggingface_hub.constants import HF_HUB_CACHE

    own = [Path(dataset)] if Path(dataset).is_dir() else []
    return [*own, Path(config.HF_DATASETS_CACHE), Path(config.DOWNLOADED_DATASETS_PATH), Path(HF_HUB_CACHE)]


def _cell_bytes(
    cells: Dataset, position: int, image_column: str, folders: Sequence[Path], max_pixels: int
) -> bytes:
    cell = cells[position][image_column]
    if cell is None or (cell["bytes"] is None and cell["path"] is None):
        raise PictureError("has no image in its row")
    if cell["bytes"] is not None:
        return bytes(cell["bytes"])
    path = Path(cell["path"])
    # A dataset is made by others: a path in it must not make us read any file of this machine.
    if not any(is_inside(path, folder) for folder in folders):
        raise GalleryError(f"{str(path)!r} lies outside the dataset; valid: files inside it, or image bytes")
    return read_picture_bytes(path, max_pixels)
