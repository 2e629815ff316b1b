"""Weights by hashing: the map, what it does to gradients, and that it moves nothing before it trains."""

import copy
import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedstyle_secure.hashing import HashingSection, buckets, hash_weights
from fedstyle_secure.privacy.clipping import ClippedSum
from fedstyle_secure.privacy.dp_sgd import clipped_gradient_sum, record_rows
from fedstyle_secure.privacy.picture_loss import PictureLoss


class Squares(PictureLoss):
    name = "squares"

    def __call__(self, embeddings, targets):
        return (embeddings - targets[:, None]).square().sum(dim=1)


def network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(6, 20), nn.Tanh(), nn.Linear(20, 5))


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


SMALL = HashingSection(ratio=0.25, least=50)


def matrix(values: int, size: int, name: str, seed: int = 0) -> np.ndarray:
    """S as a matrix (values, size), from the map alone."""
    places, signs = buckets(seed, name, values, size)
    dense = np.zeros((values, size))
    dense[np.arange(values), places] = signs
    return dense


def test_the_map_is_the_same_on_every_machine():
    # From the bytes of SHAKE-256 in plain integers, whatever order this machine has.
    places, signs = buckets(7, "letters.weight", 8, 5)
    stream = hashlib.shake_256(b"7\nletters.weight").digest(64)
    words = [int.from_bytes(stream[8 * i : 8 * i + 8], "little") for i in range(8)]
    assert places.tolist() == [(word >> 1) % 5 for word in words] == [3, 2, 3, 1, 4, 0, 4, 2]
    assert signs.tolist() == [1.0 if word % 2 else -1.0 for word in words]


@given(seed=st.integers(0, 2**31 - 1), values=st.integers(1, 3000), size=st.integers(1, 400))
@settings(deadline=None, max_examples=40)
def test_places_and_signs_are_what_they_say(seed, values, size):
    places, signs = buckets(seed, "x", values, size)
    assert places.shape == signs.shape == (values,)
    assert 0 <= places.min() <= places.max() < size
    assert set(np.unique(signs)) <= {-1.0, 1.0}
    # A prefix of a longer layer of the same name has the same map: nothing hangs on the length.
    assert np.array_equal(buckets(seed, "x", values + 5, size)[0][:values], places)


def test_buckets_and_signs_are_even():
    # 40,000 draws into 10 buckets and 2 signs: each count is within 5 deviations (false alarm 2e-5 in all).
    places, signs = buckets(1, "even", 40_000, 10)
    counts = np.bincount(places * 2 + (signs > 0), minlength=20)
    assert np.abs(counts - 2000).max() < 5 * np.sqrt(2000)


def test_another_name_or_seed_is_another_map():
    first = buckets(0, "a", 1000, 50)[0]
    assert np.mean(first == buckets(0, "b", 1000, 50)[0]) < 0.1
    assert np.mean(first == buckets(1, "a", 1000, 50)[0]) < 0.1


def test_a_hashed_module_computes_what_it_did_and_trains_fewer_values():
    plain = network()
    hashed = copy.deepcopy(plain)
    hash_weights(hashed, SMALL, names(plain))
    inputs = torch.randn(4, 6)
    assert torch.equal(plain(inputs), hashed(inputs))
    # 120 and 100 weights become 30 and 25; biases of 20 and 5 stay.
    assert sum(p.numel() for p in hashed.parameters()) == 30 + 20 + 25 + 5
    assert {name for name in hashed.state_dict() if "places" in name} == set()


def test_with_a_ratio_of_one_nothing_happens():
    module = network()
    before = names(module)
    hash_weights(module, HashingSection(), before)
    assert names(module) == before


def test_with_the_base_zero_weights_are_as_large_as_they_were():
    torch.manual_seed(0)
    wide = nn.Linear(200, 200, bias=False)
    deviation = float(wide.weight.detach().std())
    hash_weights(wide, HashingSection(ratio=0.125, base="zero"), ["weight"])
    numbers = dict(wide.named_parameters())["parametrizations.weight.original"]
    assert len(numbers) == 5000
    assert float(wide.weight.detach().std()) == pytest.approx(deviation, rel=0.1)
    # Every weight is its bucket's number, or that with the other sign.
    places, signs = buckets(0, "weight", 40_000, 5000)
    assert torch.equal(wide.weight.flatten(), numbers[places] * torch.from_numpy(signs))


def test_rows_of_a_hashed_module_are_hashed_rows():
    plain = network()
    hashed = copy.deepcopy(plain)
    hash_weights(hashed, SMALL, names(plain))
    inputs, targets = torch.randn(5, 1, 6), torch.arange(5)
    whole = np.stack(list(record_rows(plain, Squares(), inputs, targets)))
    short = np.stack(list(record_rows(hashed, Squares(), inputs, targets)))
    pieces, start, shapes = {}, 0, {n: p.numel() for n, p in plain.named_parameters()}
    for name, count in shapes.items():
        pieces[name] = whole[:, start : start + count]
        start += count
    wanted = {}
    for name, _ in hashed.named_parameters():
        if "parametrizations" in name:
            layer = name.replace("parametrizations.", "").replace(".original", "")
            size = -(-shapes[layer] // 4)
            wanted[name] = pieces[layer] @ matrix(shapes[layer], size, layer)
        else:
            wanted[name] = pieces[name]
    expected = np.concatenate([wanted[name] for name, _ in hashed.named_parameters()], axis=1)
    assert np.allclose(short, expected, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_no_record_moves_a_hashed_clipped_sum_by_more_than_the_clip(seed):
    module = network()
    hash_weights(module, SMALL, names(module))
    draws = torch.Generator().manual_seed(seed)
    inputs = 10 * torch.randn(4, 1, 6, generator=draws)
    targets = torch.randint(-50, 50, (4,), generator=draws)
    everything = clipped_gradient_sum(module, Squares(), inputs, targets, 0.5).numpy()
    without = clipped_gradient_sum(module, Squares(), inputs[1:], targets[1:], 0.5).numpy()
    assert np.linalg.norm(everything - without) <= 0.5 + 1e-12


def test_hashing_after_the_clip_would_break_it():
    """The planted bug: rows that are clipped first and hashed then can be longer than the clip, as weights of
    one bucket add up. So the order is what the bound stands on."""
    clip, size = 1.0, 30
    places, signs = buckets(0, "0.weight", 120, size)
    row = np.where(places == places[0], signs, 0.0)
    first = ClippedSum(120, clip)
    first.add(row)
    hashed = first.released(0.0) @ matrix(120, size, "0.weight")
    assert np.linalg.norm(hashed) > 1.5 * clip
