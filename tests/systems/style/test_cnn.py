"""The convolutional encoder: small, without batch statistics, and better after public learning."""

import numpy as np
import pytest
import torch
from torch import nn

from attacks.sensitivity import probe_sensitivity
from fedstyle_secure.errors import ConfigError, FederationError
from fedstyle_secure.galleries.atelier import Atelier
from fedstyle_secure.privacy.dp_sgd import clipped_gradient_sum
from fedstyle_secure.system import split_arrays
from fedstyle_secure.systems.style.cnn import CnnEncoder, CnnTrunk, image_tensor, pretrain
from fedstyle_secure.systems.style.encoders import encoder_from_arrays, fit_encoder, prepare_views
from fedstyle_secure.systems.style.losses import InBatchContrast, PrototypeContrast
from fedstyle_secure.systems.style.settings import StyleSection


def arrays_of(encoder):
    fixed, trained = split_arrays(encoder)
    return fixed | trained


PUBLIC = [
    Atelier(artists=1, pictures=12, public=4, size=64).portfolio(f"public-{s}-1")
    for s in ("impasto", "woodcut")
]


def test_it_is_light_and_knows_no_batch():
    encoder = CnnEncoder(dim=128, train="all")
    assert sum(p.numel() for p in encoder.parameters()) < 300_000
    assert not [m for m in encoder.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    pictures = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
    together = encoder.embed_pictures(pictures)
    alone = np.concatenate([encoder.embed_pictures(p[None]) for p in pictures])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("train", "trained"),
    [("head", {"head.weight"}), ("norms", None), ("all", None)],
)
def test_only_what_is_set_trains(train, trained):
    names = set(split_arrays(CnnEncoder(dim=8, train=train))[1])
    if train == "norms":
        trained = {"head.weight"} | {
            n for n in dict(CnnTrunk().named_parameters(prefix="trunk")) if "norm" in n
        }
    if train == "all":
        trained = set(dict(CnnEncoder(dim=8, train=train).named_parameters()))
    assert names == trained


def test_the_frozen_trunk_gives_what_the_whole_network_gives():
    torch.manual_seed(0)
    whole, frozen = CnnEncoder(8, "all"), CnnEncoder(8, "head")
    frozen.load_state_dict(whole.state_dict())
    pictures = PUBLIC[0].pictures
    assert np.allclose(whole.embed_pictures(pictures), frozen.embed_pictures(pictures), atol=1e-5)


def test_image_tensor_maps_bytes_to_the_unit_range():
    pictures = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1).repeat(3, axis=3)
    assert image_tensor(pictures).flatten().tolist() == [-1, -1, -1, 1, 1, 1]


def disagreement(encoder):
    """Contrast loss between the two halves of each picture; log(2n - 1) where nothing was learned."""
    pictures = np.concatenate([p.pictures for p in PUBLIC])
    halves = np.concatenate([pictures[:, :32, :32], pictures[:, 32:, 32:]])
    embeddings = torch.from_numpy(encoder.embed_pictures(np.ascontiguousarray(halves)))
    return float(InBatchContrast(0.1)(embeddings, torch.arange(len(pictures)).repeat(2)).mean())


@pytest.mark.long
def test_public_learning_brings_patches_of_a_picture_together_and_keeps_what_trains():
    torch.manual_seed(0)
    encoder = CnnEncoder(16, "head")
    pretrain(encoder, [p.pictures for p in PUBLIC], steps=0, temperature=0.1, seed=0)
    before = disagreement(encoder)
    pretrain(encoder, [p.pictures for p in PUBLIC], steps=40, temperature=0.1, seed=0)
    assert disagreement(encoder) < before - 0.3
    assert set(split_arrays(encoder)[1]) == {"head.weight"}


def test_public_learning_follows_from_the_seed_alone():
    style = StyleSection(encoder="cnn", dim=8, pretrain_steps=2, practice_artists=0)
    a, b, c = (arrays_of(fit_encoder(style, PUBLIC, seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert not np.array_equal(a["projection.weight"], c["projection.weight"])


def test_the_first_view_is_the_picture_itself():
    encoder = CnnEncoder(8, "head")
    views = prepare_views(encoder, PUBLIC[0].pictures, 3, "seed 0")
    assert views.shape == (12, 3, 8)
    assert torch.equal(views[:, 0], encoder.prepare(PUBLIC[0].pictures))
    assert not torch.allclose(views[:, 0], views[:, 1], atol=1e-3)


@pytest.mark.long
@pytest.mark.parametrize("adjacency", ["add-remove", "replace"])
def test_with_views_one_picture_still_moves_the_clipped_sum_by_the_bound_at_most(adjacency):
    encoder = CnnEncoder(8, "head").train()
    anchors = torch.nn.functional.normalize(torch.randn(3, 8), dim=1)
    loss = PrototypeContrast(lambda: anchors, 0.1, 0.1)

    def clipped_sum(batch):
        pictures = np.clip(batch, 0, 255).astype(np.uint8)
        inputs = prepare_views(encoder, pictures, 3, "seed 0")
        targets = torch.tensor([[0, -1]]).repeat(len(pictures), 1)
        return clipped_gradient_sum(encoder, loss, inputs, targets, 1.0).numpy()

    pool = np.concatenate([p.pictures for p in PUBLIC]).astype(np.float32)
    bound = 1.0 if adjacency == "add-remove" else 2.0
    report = probe_sensitivity(clipped_sum, pool, bound, adjacency, np.random.default_rng(0), 20, 4)
    assert report.holds, report


def test_weights_from_a_peer_are_checked_by_name_and_shape():
    style = StyleSection(encoder="cnn", dim=8)
    good = arrays_of(CnnEncoder(8, "head"))
    assert np.array_equal(arrays_of(encoder_from_arrays(style, good))["head.weight"], good["head.weight"])
    for bad, text in [
        ({k: v for k, v in good.items() if k != "head.weight"}, "'head.weight' is missing"),
        (good | {"extra": np.zeros(1, np.float32)}, "'extra' is missing or foreign"),
        (good | {"head.weight": np.zeros((8, 3), np.float32)}, "'head.weight' is \\(8, 3\\)"),
        (
            good | {"head.weight": np.full((8, 8), np.nan, np.float32)},
            "'head.weight' is not finite",
        ),
    ]:
        with pytest.raises(FederationError, match=text):
            encoder_from_arrays(style, bad)


def test_without_public_pictures_there_is_no_encoder():
    with pytest.raises(ConfigError, match="public pictures"):
        fit_encoder(StyleSection(), [], 0)
