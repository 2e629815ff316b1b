from __future__ import annotations

import builtins
import hashlib
import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedstyle_secure.config import GallerySection
from fedstyle_secure.errors import ConfigError, GalleryError
from fedstyle_secure.galleries.assemble import chosen
from fedstyle_secure.galleries.hub import HubGallery
from fedstyle_secure.galleries.opening import open_gallery

REASON = "the extra `hub` (flwr-datasets) is not installed"


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def offline(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hugging Face libraries with empty caches, no network, and Flower's reports turned into failures."""
    cache = tmp_path_factory.mktemp("cache")
    for name, value in {"HF_HOME": cache, "HF_HUB_OFFLINE": 1, "HF_DATASETS_OFFLINE": 1}.items():
        monkeypatch.setenv(name, str(value))
    pytest.importorskip("flwr_datasets", reason=REASON)
    import datasets.config
    import flwr_datasets.federated_dataset
    import huggingface_hub.constants

    # The libraries read the variables when they are imported, which may have been before this test.
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", cache / "datasets/downloads")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

    def report(*_: object) -> None:
        raise AssertionError("Flower Datasets would report its use")

    monkeypatch.setattr(flwr_datasets.federated_dataset, "event", report)


def write(folder: Path, rows: list[dict[str, Any]], image: str = "image", **labels: list[str]) -> str:
    """A dataset of one Parquet file, with columns of class labels as given."""
    import datasets

    kinds = {column: datasets.ClassLabel(names=names) for column, names in labels.items()}
    columns = {column: [row[column] for row in rows] for column in rows[0]}
    data = datasets.Dataset.from_dict(columns).cast_column(image, datasets.Image())
    for column, kind in kinds.items():
        data = data.cast_column(column, kind)
    folder.mkdir()
    data.to_parquet(folder / "train.parquet")
    return str(folder)


def rows_for(**counts: int) -> list[dict[str, Any]]:
    """Rows of artists in turn, so that no artist's rows are together."""
    waiting = [(artist, i) for i in range(max(counts.values())) for artist in counts if i < counts[artist]]
    return [
        {"image": {"bytes": picture(n), "path": None}, "artist": artist}
        for n, (artist, _) in enumerate(waiting)
    ]


@pytest.fixture
def dataset(tmp_path: Path, offline: None) -> str:
    return write(tmp_path / "set", rows_for(carl=6, anna=8, bela=7))


def test_artists_and_portfolios(dataset: str) -> None:
    gallery = HubGallery(dataset, size=20, public=["carl"])
    assert gallery.artists == ("anna", "bela")
    assert gallery.public_artists == ("carl",)
    anna = gallery.portfolio("anna")
    sources = [row["image"]["bytes"] for row in rows_for(carl=6, anna=8, bela=7) if row["artist"] == "anna"]
    assert anna.names == tuple(f"{i:04d}" for i in range(8))
    assert anna.sha256 == tuple(hashlib.sha256(source).hexdigest() for source in sources)
    assert np.array_equal(anna.pictures[5], np.asarray(Image.open(io.BytesIO(sources[5]))))
    assert anna.labels == ("",) * 8
    assert anna.test.tolist() == [chosen(digest, 0.25, 0, "test") for digest in anna.sha256]
    assert gallery.portfolio("carl").test.sum() == 0


def test_it_repeats_exactly_and_the_seed_moves_the_split(dataset: str) -> None:
    digests = [HubGallery(dataset, size=20, seed=seed).portfolio("bela").digest() for seed in (0, 0, 1, 2, 3)]
    assert digests[0] == digests[1]
    assert len(set(digests)) > 1


def test_class_labels_become_names(tmp_path: Path, offline: None) -> None:
    rows = [row | {"artist": i % 2, "school": i % 3 - 1} for i, row in enumerate(rows_for(x=16))]
    path = write(tmp_path / "set", rows, artist=["Zoë", "Adam"], school=["etching", "pastel"])
    gallery = HubGallery(path, size=20, label_column="school")
    assert gallery.artists == ("Adam", "Zoë")
    assert gallery.portfolio("Zoë").labels == ("", "pastel", "etching", "", "pastel", "etching", "", "pastel")


def test_whole_numbers_become_text(tmp_path: Path, offline: None) -> None:
    path = write(tmp_path / "set", [row | {"artist": 7} for row in rows_for(x=8)])
    assert HubGallery(path, size=20).artists == ("7",)


def test_a_folder_of_images(tmp_path: Path, offline: None) -> None:
    for a, artist in enumerate(("anna", "bela")):
        (tmp_path / "set" / artist).mkdir(parents=True)
        for i in range(6):
            (tmp_path / "set" / artist / f"{i}.png").write_bytes(picture(10 * a + i))
    gallery = HubGallery(str(tmp_path / "set"), artist_column="label", size=20)
    assert gallery.artists == ("anna", "bela")
    bela = gallery.portfolio("bela")
    assert set(bela.sha256) == {hashlib.sha256(picture(10 + i)).hexdigest() for i in range(6)}


def test_raw_bytes_without_metadata_are_images_too(tmp_path: Path, offline: None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = [picture(i) for i in range(8)]
    (tmp_path / "set").mkdir()
    cells = [{"bytes": file, "path": None} for file in files]
    pq.write_table(
        pa.table({"image": cells, "raw": files, "artist": ["anna"] * 8}), tmp_path / "set/train.parquet"
    )
    first = HubGallery(str(tmp_path / "set"), size=20).portfolio("anna")
    second = HubGallery(str(tmp_path / "set"), image_column="raw", size=20).portfolio("anna")
    assert first.digest() == second.digest()


def test_the_artists_with_most_pictures_are_chosen(tmp_path: Path, offline: None) -> None:
    path = write(tmp_path / "set", rows_for(dora=6, carl=6, bela=9, anna=5, emil=12))
    assert HubGallery(path, size=20, max_artists=2).artists == ("bela", "emil")
    assert HubGallery(path, size=20, max_artists=3).artists == ("bela", "carl", "emil")
    gallery = HubGallery(path, size=20, max_artists=2, public=["emil"])
    assert (gallery.artists, gallery.public_artists) == (("bela", "carl"), ("emil",))


def test_a_share_of_the_pictures_is_used_each_by_its_own_content(tmp_path: Path, offline: None) -> None:
    """A row more, wherever it stands, changes neither who of the others is used nor their sides; before,
    a limit on the number was drawn by position."""
    rows = rows_for(anna=24)
    used = []
    for number, without in enumerate((None, 0, 5, 23)):
        some = [row for i, row in enumerate(rows) if i != without]
        path = write(tmp_path / f"set{number}", some)
        anna = HubGallery(path, size=20, keep_fraction=0.6, min_pictures=2).portfolio("anna")
        used.append(dict(zip(anna.sha256, anna.test.tolist(), strict=True)))
        assert anna.names == tuple(sorted(anna.names))
    whole = used[0]
    assert 8 <= len(whole) <= 20
    for fewer in used[1:]:
        assert fewer.items() <= whole.items()
        assert len(whole) - len(fewer) <= 1
    assert len({len(one) for one in used}) == 2


# --- What is refused ---


def refused(*parts: str, portfolio: str = "", **options: Any) -> None:
    with pytest.raises(GalleryError) as caught:
        HubGallery(size=20, **options).portfolio(portfolio)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for part in parts:
        assert part in message


def test_missing_columns_and_splits(dataset: str) -> None:
    refused(
        "no column 'painter'", "columns present: 'image', 'artist'", dataset=dataset, artist_column="painter"
    )
    refused("no column 'photo'", "'image'", dataset=dataset, image_column="photo")
    refused("no column 'school'", dataset=dataset, label_column="school")
    refused("no split 'test'", "valid: train", dataset=dataset, split="test")


def test_columns_of_the_wrong_type(dataset: str) -> None:
    refused("column 'artist' holds", "valid: images", dataset=dataset, image_column="artist")
    refused("column 'image' holds", "valid: text", dataset=dataset, artist_column="image")


def test_datasets_that_cannot_be_loaded(tmp_path: Path, offline: None) -> None:
    (tmp_path / "empty").mkdir()
    refused("empty", "cannot be loaded", dataset=str(tmp_path / "empty"))
    refused("none", "cannot be loaded", dataset=str(tmp_path / "none"))
    refused("'someone/pictures' cannot be loaded", "Hub", dataset="someone/pictures")


def test_a_damaged_parquet_file(tmp_path: Path, offline: None) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/train.parquet").write_bytes(b"PAR1 no PAR1")
    refused("cannot be loaded", dataset=str(tmp_path / "set"))


def test_unknown_artists(dataset: str) -> None:
    refused("public artist 'karl'", "did you mean 'carl'", dataset=dataset, public=["karl"])
    refused("artist 'ana'", "did you mean 'anna'", dataset=dataset, portfolio="ana")


def test_too_few_pictures(dataset: str) -> None:
    refused("'carl' has 6 training pictures", "gallery.min_pictures = 7", dataset=dataset, min_pictures=7)
    gallery = HubGallery(dataset, size=20, min_pictures=7, on_bad="skip")
    assert gallery.artists == ("anna", "bela")
    assert gallery.skipped[0].artist == "carl"
    refused("no private artist left", dataset=dataset, min_pictures=9, on_bad="skip")
    refused("'carl' has 6", dataset=dataset, min_pictures=7, on_bad="skip", public=["carl"])


@pytest.mark.parametrize("column", ["artist", "school"])
@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize(
    ("name", "problem"),
    [("Ann\u202e", "U+202E (RIGHT-TO-LEFT OVERRIDE)"), ("a\nb", "U+000A"), ("葛飾北斎", "")],
)
def test_names_that_turn_lines_around_or_forge_them(
    tmp_path: Path, offline: None, column: str, classes: bool, name: str, problem: str
) -> None:
    """As text and as class labels, of artists and of styles; any script is valid."""
    rows = [
        row
        | {"artist": "Bela", "school": "etching"}
        | {column: (i % 2) if classes else ("Bela", name)[i % 2]}
        for i, row in enumerate(rows_for(x=16))
    ]
    path = write(tmp_path / "set", rows, **({column: ["Bela", name]} if classes else {}))
    if problem:
        refused(
            f"column '{column}': {name!r} holds {problem}", "valid: any", dataset=path, label_column="school"
        )
        return
    gallery = HubGallery(path, size=20, label_column="school")
    styles = {style for artist in gallery.artists for style in gallery.portfolio(artist).labels}
    assert {"Bela", name} == (set(gallery.artists) if column == "artist" else styles)


def test_rows_without_an_artist(tmp_path: Path, offline: None) -> None:
    rows = rows_for(anna=8)
    rows[3]["artist"], rows[5]["artist"] = None, " "
    path = write(tmp_path / "set", rows)
    refused("2 rows have no artist", "row 3", 'gallery.on_bad = "skip"', dataset=path)
    gallery = HubGallery(path, size=20, on_bad="skip")
    assert gallery.artists == ("anna",)
    assert [s.name for s in gallery.skipped] == ["row 3", "row 5"]
    assert len(gallery.portfolio("anna").names) == 6


def test_bad_and_doubled_pictures(tmp_path: Path, offline: None) -> None:
    rows = rows_for(anna=10)
    rows[2]["image"]["bytes"] = rows[2]["image"]["bytes"][:300]
    rows[4]["image"] = None
    rows[7]["image"] = rows[6]["image"]
    path = write(tmp_path / "set", rows)
    refused("'anna'", "'0002'", "damaged or cut short", dataset=path, portfolio="anna")
    anna = HubGallery(path, size=20, on_bad="skip").portfolio("anna")
    assert anna.names == ("0000", "0001", "0003", "0005", "0006", "0008", "0009")
    assert [s.name for s in anna.skipped] == ["0002", "0004", "0007"]
    assert "no image" in anna.skipped[1].reason
    assert "'0006'" in anna.skipped[2].reason


@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
def test_a_path_to_a_file_outside_the_dataset_is_always_refused(
    tmp_path: Path, offline: None, on_bad: str
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "secret.png").write_bytes(picture(99))
    (tmp_path / "set").mkdir()
    cells = [{"bytes": picture(i), "path": None} for i in range(8)]
    cells[5] = {"bytes": None, "path": str(tmp_path / "secret.png")}
    pq.write_table(pa.table({"image": cells, "artist": ["anna"] * 8}), tmp_path / "set/train.parquet")
    refused(
        "secret.png", "outside the dataset", dataset=str(tmp_path / "set"), portfolio="anna", on_bad=on_bad
    )


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] in ("datasets", "flwr_datasets"):
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r'pip install "fedstyle-secure\[hub\]"'):
        HubGallery("someone/pictures")


def test_importing_the_module_loads_neither_library() -> None:
    import subprocess

    code = (
        "import sys, fedstyle_secure.galleries.hub; "
        "print([m for m in ('datasets', 'flwr_datasets', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_settings_of_a_run_reach_the_data_set(offline: None, tmp_path: Path) -> None:
    dataset = write(tmp_path / "set", rows_for(ann=9, bo=12, cy=8, few=1))
    section = GallerySection.model_validate(
        {
            "source": "hub",
            "dataset": dataset,
            "size": 32,
            "public": "cy",
            "max_artists": 2,
            "keep_fraction": 0.9,
            "test_fraction": 0.5,
        }
    )
    gallery = open_gallery(section)
    assert (gallery.artists, gallery.public_artists) == (("ann", "bo"), ("cy",))
    portfolio = gallery.portfolio("bo")
    assert portfolio.pictures.shape[1:] == (32, 32, 3)
    assert all(chosen(digest, 0.9, 0, "keep") for digest in portfolio.sha256)
    assert portfolio.test.tolist() == [chosen(digest, 0.5, 0, "test") for digest in portfolio.sha256]
