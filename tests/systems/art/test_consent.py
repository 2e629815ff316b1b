"""A refused work changes no bit of anything: not of what leaves, not of an adapter."""

import shutil

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

import fedstyle_secure
from fedstyle_secure.audit.integrity import check_finished
from fedstyle_secure.config import Config
from fedstyle_secure.errors import GalleryError, RunError
from fedstyle_secure.files import read_arrays
from fedstyle_secure.galleries.opening import open_gallery
from fedstyle_secure.system import State
from fedstyle_secure.systems.art.adapters import adapt, own_adapter
from fedstyle_secure.systems.art.drawing import generate

ALLOWED = '[default]\ncawg.ai_generative_training.use = "allowed"\n'
REFUSED = '[works."sketch.png"]\ncawg.ai_generative_training.use = "notAllowed"\n'
RESERVED = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" '
    'plus:DataMining="http://ns.useplus.org/ldf/vocab/DMI-PROHIBITED-GENAIMLTRAINING"/>'
    "</rdf:RDF></x:xmpmeta>"
)


def picture(seed):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def galleries(tmp_path_factory):
    """Two folders that differ in works that are refused: one by a file, one by the picture itself."""
    root = tmp_path_factory.mktemp("consent")
    for artist in range(3):
        home = root / "without" / f"artist-{artist}"
        home.mkdir(parents=True)
        (home / "consent.toml").write_text(ALLOWED)
        for k in range(8):
            picture(10 * artist + k).save(home / f"{k}.png")
    shutil.copytree(root / "without", root / "with")
    home = root / "with" / "artist-0"
    picture(100).save(home / "sketch.png")
    (home / "consent.toml").write_text(ALLOWED + REFUSED)
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", RESERVED)
    picture(101).save(root / "with" / "artist-1" / "reserved.png", pnginfo=info)
    return root


def of_folder(settings, folder):
    """Settings of a gallery in a folder, whose third artist is public."""
    whole = settings(privacy={"dp": "off", "noise_multiplier": "auto"}).model_dump()
    gallery = {"source": "folder", "path": str(folder), "public": "artist-2", "min_pictures": 3}
    return Config.from_dict({**whole, "audit": {}, "gallery": gallery})


@pytest.mark.long
def test_a_refused_work_changes_no_bit_of_what_leaves_or_of_an_adapter(settings, galleries, tmp_path):
    runs = {
        name: fedstyle_secure.train(of_folder(settings, galleries / name), tmp_path / name / "run").folder
        for name in ("with", "without")
    }
    one, other = (State.load(run.product_file) for run in runs.values())
    assert one.digest == other.digest
    # A work that is allowed does: the test can fail.
    assert any(array.any() for array in one.trained.values())
    adapters = [read_arrays(adapt(run, "artist-0"))[0] for run in runs.values()]
    assert all(np.array_equal(adapters[0][name], adapters[1][name]) for name in adapters[0])
    found = runs["with"].manifest()["gallery"]
    assert found["purpose"] == "ai_generative_training"
    assert sorted((row["artist"], row["name"]) for row in found["refused"]) == [
        ("artist-0", "artist-0/sketch.png"), ("artist-1", "artist-1/reserved.png"),
    ]  # fmt: skip
    assert runs["without"].manifest()["gallery"]["refused"] == []
    check_finished(runs["with"])


@pytest.mark.long
def test_an_adapter_draws_no_more_once_one_of_its_works_is_refused(settings, galleries, tmp_path):
    shutil.copytree(galleries / "without", tmp_path / "art")
    run = fedstyle_secure.train(of_folder(settings, tmp_path / "art"), tmp_path / "runs" / "run").folder
    adapt(run, "artist-0")
    assert len(generate(run, 1, 0, artist="artist-0").halves) == 2
    trained = own_adapter(run, "artist-0").works[0].split("/")[-1]
    refusal = f'[works."{trained}"]\ncawg.ai_generative_training.use = "notAllowed"\n'
    (tmp_path / "art" / "artist-0" / "consent.toml").write_text(ALLOWED + refusal)
    with pytest.raises(RunError, match=rf"1 of the \d works .*{trained}.*fedstyle adapt"):
        generate(run, 1, 0, artist="artist-0")
    assert len(generate(run, 1, 0).halves) == 1
    adapt(run, "artist-0")
    assert len(generate(run, 1, 0, artist="artist-0").halves) == 2
    assert not any(name.endswith(trained) for name in own_adapter(run, "artist-0").works)


def test_generative_training_is_off_unless_said(settings, galleries, tmp_path):
    silent = tmp_path / "silent"
    shutil.copytree(galleries / "without", silent)
    (silent / "artist-0" / "consent.toml").unlink()
    with pytest.raises(GalleryError, match="artist-0"):
        open_gallery(of_folder(settings, silent).gallery)
