"""One picture's numbers are its own to the last bit, whatever the weights that a platform crafts.

Before records were kept apart, the rows of these encoders changed with the number of pictures: BLAS picks its
kernel by the size of a product. With one OpenBLAS and r = 12 the switch lay between 46 and 47 pictures.
"""

from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.privacy.clipping import GRID, ClippedSum, to_grid
from fedstyle_secure.privacy.dp_sgd import clipped_gradient_sum, record_rows
from fedstyle_secure.systems.style.backbone_encoder import BackboneEncoder
from fedstyle_secure.systems.style.cnn import CnnEncoder
from fedstyle_secure.systems.style.encoder import StyleEncoder
from fedstyle_secure.systems.style.heads import Residuals
from fedstyle_secure.systems.style.losses import PrototypeContrast
from fedstyle_secure.systems.style.prototypes import Styles, picture_rows, unit
from fedstyle_secure.systems.style.stages import InOrder, StageStatistics, without_batches
from fedstyle_secure.systems.style.texture_encoder import TextureEncoder
from fedstyle_secure.systems.style.whitening import Whitening
from fedstyle_secure.textures.statistics import feature_groups

WIDTH = sum(part.stop - part.start for part in feature_groups().values())
KINDS = ["texture", "directed", "backbone", "cnn-head", "cnn-norms", "cnn-all"]


def cancelling(rows: int, along: np.ndarray, size: float, seed: int = 0) -> np.ndarray:
    """float32 (rows, d): products with `along` are zero on paper, and nothing but rounding as computed."""
    drawn = np.random.default_rng(seed).normal(size=(rows, len(along)))
    wide = along.astype(np.float64)
    return ((drawn - np.outer(drawn @ wide / (wide @ wide), wide)) * size).astype(np.float32)


def saturating(rows: int, *, plausible: bool, width: int = WIDTH) -> Whitening:
    """Cuts each feature of every picture at its limit, so that all pictures look the same; the projection
    cancels what is left, and the unit normalisation blows up the rounding."""
    limit = np.random.default_rng(1).uniform(0.5, 1.5, width).astype(np.float32)
    mean, scale, size = (-1e3, 1e3, 1 / np.sqrt(width) / 2) if plausible else (-1e4, 1e30, 1e20)
    fill = (np.full(width, value, np.float32) for value in (mean, scale))
    return Whitening(*fill, limit, cancelling(rows, limit, size))


@lru_cache
def crafted(kind: str, dim: int) -> StyleEncoder:
    """An encoder whose every product cancels for the vector that all pictures are drawn near to."""
    torch.manual_seed(0)
    if kind in ("texture", "directed"):
        rank = max(2, dim // 2) if kind == "directed" else 0
        encoder: StyleEncoder = TextureEncoder(saturating(dim, plausible=False), rank)
    elif kind == "backbone":
        layers = [nn.Conv2d(3, 16, 3, 2), nn.Sequential(nn.BatchNorm2d(16), nn.Conv2d(16, 24, 3, 2))]
        network = StageStatistics(without_batches(InOrder(layers)), 48, (0.5,) * 3, (0.2,) * 3)
        with torch.no_grad():
            # Sums that overflow, cancel and are not numbers.
            network.stages.parts[0].weight.mul_(1e30)
            network.stages.parts[1][1].weight.mul_(1e9)
        whitening = saturating(dim, plausible=False, width=sum(network.widths))
        encoder = BackboneEncoder(whitening, network)
    else:
        encoder = CnnEncoder(dim, kind.removeprefix("cnn-"))
        with torch.no_grad():
            bias = encoder.projection.bias
            bias.copy_(torch.randn(dim) * 1e5)
            encoder.projection.weight.mul_(1e-6)
            features = torch.nn.functional.normalize(bias, dim=0).numpy()
    along = features if kind.startswith("cnn") else centre(encoder)
    with torch.no_grad():
        cancels = torch.from_numpy(cancelling(dim, along, 1.0, seed=2))
        if kind == "directed":
            # Whatever a platform sends in their place: a base that cancels, directions of any length.
            encoder.head.base.copy_(cancels.T)
            encoder.head.directions.copy_(torch.randn_like(encoder.head.directions) * 1e8)
            encoder.head.core.copy_(torch.randn_like(encoder.head.core) * 1e-3)
        else:
            encoder.head.weight.copy_(cancels)
    return encoder.eval()


def centre(encoder: StyleEncoder) -> np.ndarray:
    return encoder.prepare(some_pictures(1))[0].numpy()


@lru_cache
def some_pictures(n: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


@lru_cache
def loss_of(encoder: StyleEncoder, dim: int) -> PrototypeContrast:
    anchors = torch.from_numpy(unit(np.random.default_rng(4).normal(size=(7, dim)).astype(np.float32)))
    return PrototypeContrast(lambda: encoder.place(anchors.numpy()), 0.1, 0.1)


def numbers(encoder: StyleEncoder, dim: int, pictures: np.ndarray) -> Iterator[np.ndarray]:
    """All that an artist computes of each picture: arrays (n, ...)."""
    prepared = encoder.prepare(pictures)
    yield prepared.numpy()
    released = encoder.released(prepared)
    yield released
    yield encoder.embed(prepared)
    towards = cancelling(5, encoder.released(encoder.prepare(some_pictures(1)))[0], 1e20, seed=5)
    assigned = Styles(tuple("abcde"), towards, by_label=False).assign(released, ("",) * len(pictures))
    yield assigned
    yield picture_rows(released, assigned, 5)
    yield np.stack(list(Residuals(released, towards[assigned], 0.5)))
    targets = torch.zeros(len(pictures), 2, dtype=torch.int64)
    targets[:, 1] = -1
    encoder.train()
    yield np.stack(list(record_rows(encoder, loss_of(encoder, dim), prepared[:, None], targets)))
    encoder.eval()


@pytest.mark.long
@pytest.mark.parametrize("dim", [8, 12, 24, 64])
@pytest.mark.parametrize("kind", KINDS)
def test_a_pictures_numbers_are_the_same_alone_and_in_any_company(kind, dim):
    encoder, pictures = crafted(kind, dim), some_pictures(16)
    each = (numbers(encoder, dim, picture[None]) for picture in pictures)
    alone = [np.concatenate(found) for found in zip(*each, strict=True)]
    rng = np.random.default_rng(0)
    for n in (2, 3, 7, 16):
        order = rng.permutation(16)[:n]
        for found, wanted in zip(numbers(encoder, dim, pictures[order]), alone, strict=True):
            assert np.array_equal(found, wanted[order], equal_nan=True)


@pytest.mark.parametrize("kind", KINDS)
def test_one_more_picture_moves_the_clipped_sum_by_its_clip_norm_at_most(kind):
    """A fourth picture that joined a step of three moved it by 4.57 clip norms."""
    encoder, dim = crafted(kind, 12), 12
    inputs = encoder.prepare(some_pictures(9))[:, None]
    targets = torch.tensor([[0, -1]] * len(inputs))
    encoder.train()
    sums = [
        clipped_gradient_sum(encoder, loss_of(encoder, dim), inputs[:n], targets[:n], 1.0) for n in range(10)
    ]
    encoder.eval()
    moved = [float((more - less).norm()) for less, more in pairwise(sums)]
    assert max(moved) <= 1 + 1e-9
    assert max(moved) > 0.99, "the bound is reached, or nothing was clipped"


def whitened_alike(rows: int, sizes) -> bool:
    features = np.random.default_rng(6).normal(size=(max(sizes), WIDTH)).astype(np.float32)
    for whitening in (saturating(rows, plausible=False), saturating(rows, plausible=True)):
        alone = np.concatenate([whitening.apply(one[None]) for one in features])
        # Nothing but rounding, and blown up: else there would be nothing that company could change.
        assert np.linalg.norm(alone, axis=1).max() > 1e-3
        if not all(np.array_equal(whitening.apply(features[:n]), alone[:n]) for n in sizes):
            return False
    return True


@pytest.mark.parametrize("rows", [8, 10, 12, 24, 64])
def test_no_number_of_pictures_changes_how_a_crafted_whitening_rounds(rows):
    """Switches of two OpenBLAS kernels lie among these sizes."""
    assert whitened_alike(rows, (2, 9, 24, 46, 47, 56))


@pytest.mark.slow
@pytest.mark.parametrize("rows", range(1, 129))
def test_no_number_of_pictures_up_to_300_changes_how_a_crafted_whitening_rounds(rows):
    assert whitened_alike(rows, range(1, 301))


@pytest.mark.parametrize("row", [np.ones(1), np.ones((1, 5)), np.float64(1.0), np.ones(6)])
def test_a_row_of_another_shape_is_refused(row):
    """One value was clipped to C and then added to all five: 2.2 C."""
    with pytest.raises(PrivacyError, match=r"a row must be of shape \(5,\)"):
        ClippedSum(5, 1.0).add(row)


@given(
    st.lists(st.lists(st.floats(width=32), min_size=5, max_size=5), min_size=1, max_size=8),
    st.floats(1e-6, 1e6),
    st.integers(0, 7),
)
@settings(deadline=None)
def test_a_row_moves_the_integers_by_its_bound_and_no_order_moves_them_at_all(rows, clip, which):
    """Also for rows with NaN, infinity, numbers that underflow or overflow when squared."""
    rows = np.array(rows, np.float32)
    steps = [to_grid(row, clip) for row in rows]
    for step in steps:
        assert sum(int(v) ** 2 for v in step) <= GRID**2

    def total(given):
        added = ClippedSum(5, clip)
        for row in given:
            added.add(row)
        return added.released(0.0) * (GRID / clip)

    assert np.array_equal(total(rows), total(rows[::-1]))
    without = np.delete(rows, which % len(rows), axis=0)
    moved = [round(v) for v in total(rows) - total(without)]
    assert sum(v * v for v in moved) <= GRID**2


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=40), st.floats(1e-3, 1e3))
@settings(deadline=None)
def test_a_clipped_row_is_the_row_but_for_its_length_and_the_grid(row, clip):
    row = np.array(row, np.float64)
    length = np.linalg.norm(row)
    expected = row * min(1.0, clip / length) if length else row
    assert np.abs(to_grid(row, clip) * (clip / GRID) - expected).max() <= clip * 2.0**-29


def test_longer_rows_are_cut_in_order():
    lengths = [np.linalg.norm(to_grid(np.full(3, v), 1.0)) for v in (0.1, 0.2, 0.5, 5.0)]
    assert all(a < b for a, b in pairwise(lengths[:3]))
    assert lengths[3] <= GRID
