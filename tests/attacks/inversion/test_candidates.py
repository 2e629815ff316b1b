"""A word named among candidates by its gradient: found in clear, hashed or not, and at chance under noise."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call, grad

from attacks.errors import AttackError
from attacks.identification import identification_rate, rank_of_target
from attacks.inversion.candidates import best_of_each, candidate_scores
from attacks.inversion.objectives import UpdateDistance
from attacks.text.ctc import ctc_loss

FRAMES, WIDTH, CLASSES, CANDIDATES, TARGETS = 12, 8, 11, 20, 24


@pytest.fixture(scope="module")
def world():
    """A small reader, and renderings of twenty words of six letters; the victim's differ a little."""
    draws = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(WIDTH, 16), nn.Tanh(), nn.Linear(16, CLASSES))
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=draws))
    letters = torch.randint(1, CLASSES, (CANDIDATES, 6), generator=draws)
    words = torch.cat([torch.full((CANDIDATES, 1), 6), letters], dim=1)
    shapes = torch.randn(CLASSES, WIDTH, generator=draws)
    rendered = shapes[letters.repeat_interleave(2, dim=1)]
    drawn = rendered + 0.3 * torch.randn(rendered.shape, generator=draws)
    return [[gradient(model, *pair) for pair in zip(x, words, strict=True)] for x in (rendered, drawn)]


def gradient(model, picture, word):
    weights = {name: p.detach() for name, p in model.named_parameters()}

    def loss(w):
        return ctc_loss(functional_call(model, w, (picture[None],)), word[None])[0]

    return grad(loss)(weights)


def ranks(world, noise, kind, buckets=0):
    public, private = world
    draws = torch.Generator().manual_seed(1)
    if buckets:
        sizes = {n: g.numel() for n, g in public[0].items()}
        maps = {
            n: (
                torch.randint(0, max(1, size // buckets), (size,), generator=draws),
                torch.randint(0, 2, (size,), generator=draws) * 2.0 - 1,
            )
            for n, size in sizes.items()
        }
        public, private = ([hashed(g, maps) for g in rows] for rows in (public, private))
    found = []
    for target in [*range(CANDIDATES), *range(TARGETS - CANDIDATES)]:
        seen = {n: g + noise * torch.randn(g.shape, generator=draws) for n, g in private[target].items()}
        distance = UpdateDistance(kind, seen, dict.fromkeys(seen, 1.0), deviation=noise)
        found.append(rank_of_target(candidate_scores(distance, public, lambda g: g), target))
    return np.array(found)


def hashed(gradients, maps):
    """S'g of a signed hash that everybody knows."""
    return {
        n: torch.zeros(int(maps[n][0].max()) + 1).index_add(0, maps[n][0], g.flatten() * maps[n][1])
        for n, g in gradients.items()
    }


@pytest.mark.parametrize("buckets", [0, 8])
def test_the_word_is_named_in_clear_and_hashing_hides_nothing(world, buckets):
    assert (ranks(world, 0.0, "cosine", buckets) == 1).mean() > 0.9


def test_under_large_noise_the_word_is_named_no_more_than_by_chance(world):
    """At 0.995, chance lies outside its interval once in 200 seeds; this one is fixed."""
    result = identification_rate("words", ranks(world, 100.0, "likelihood"), CANDIDATES, 0.995)
    assert result.low <= 1 / CANDIDATES <= result.high


def test_under_some_noise_the_likelihood_names_it(world):
    assert (ranks(world, 0.2, "likelihood") == 1).mean() > 0.8


def test_a_word_has_its_best_rendering():
    assert best_of_each(torch.tensor([0.1, 0.9, 0.4, 0.2]), [1, 0, 1, 1]).tolist() == pytest.approx(
        [0.9, 0.4]
    )


@pytest.mark.parametrize("owners", [[0, 2], [0], [-1, 0]])
def test_owners_are_checked(owners):
    with pytest.raises(AttackError, match="owners"):
        best_of_each(torch.zeros(2), owners)


def test_there_must_be_candidates():
    distance = UpdateDistance("cosine", {"w": torch.ones(1)}, {"w": 1.0})
    with pytest.raises(AttackError, match="no candidates"):
        candidate_scores(distance, [], lambda _: {})
