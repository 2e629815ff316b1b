"""Stacked training is the same as one by one, and a cache that never returns another recipe's models."""

import numpy as np
import pytest
import torch
from torch import nn

from attacks.errors import AttackError
from attacks.membership.lira import lira
from attacks.membership.scores import References
from attacks.membership.shadows import Recipe, balanced_sets, stacked_outputs, train_shadows
from attacks.membership.threshold import logit_score
from attacks.observation import cross_entropy

RECIPE = Recipe(
    "head", set_size=20, epochs=3, batch_size=8, learning_rate=0.3, momentum=0.9, weight_decay=1e-3
)


def head(seed):
    made = nn.Linear(6, 3)
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in made.parameters():
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=draws))
    return made


def deep_head(seed):
    draws = torch.Generator().manual_seed(seed)
    made = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3, bias=False))
    with torch.no_grad():
        for tensor in made.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=draws))
    return made


@pytest.fixture
def candidates():
    draws = torch.Generator().manual_seed(0)
    features = torch.randn(40, 6, generator=draws)
    targets = torch.randint(0, 3, (40,), generator=draws)
    return features, targets, balanced_sets(40, 10, 20, np.random.default_rng(0))


@pytest.mark.parametrize("factory", [head, deep_head])
def test_stacked_is_one_by_one(candidates, tmp_path, factory):
    """Beside torch's own optimiser and loss, in a plain loop over models, epochs and batches."""
    features, targets, sets = candidates
    state = train_shadows(factory, cross_entropy, features, targets, sets, RECIPE, tmp_path, group=4)
    for k in range(10):
        model = factory(RECIPE.seed + k)
        optimiser = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9, weight_decay=1e-3)
        draws = torch.Generator().manual_seed(RECIPE.seed + k)
        own = torch.from_numpy(np.flatnonzero(sets[:, k]))
        for _ in range(3):
            for batch in own[torch.randperm(20, generator=draws)].split(8):
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(features[batch]), targets[batch]).backward()
                optimiser.step()
        for name, tensor in model.named_parameters():
            assert torch.allclose(state[name][k], tensor, atol=1e-5)
        outputs = stacked_outputs(factory(0), state, features)[k]
        assert torch.allclose(outputs, model(features), atol=1e-4)


def test_a_stopped_run_goes_on_where_it_stopped_and_ends_the_same(candidates, tmp_path):
    features, targets, sets = candidates
    call = (cross_entropy, features, targets, sets, RECIPE)
    whole = train_shadows(head, *call, tmp_path / "whole", group=3)

    class Killed(Exception):
        pass

    def stop(done, _):
        if done >= 6:
            raise Killed

    with pytest.raises(Killed):
        train_shadows(head, *call, tmp_path / "part", group=3, progress=stop)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "part").iterdir()}
    assert len(kept) == 2
    resumed = train_shadows(head, *call, tmp_path / "part", group=3)
    assert len(list((tmp_path / "part").iterdir())) == 4
    assert all(path.stat().st_mtime_ns == before for path, before in kept.items())
    signals = [
        np.stack([logit_score(out.numpy(), targets.numpy()) for out in stacked_outputs(head(0), s, features)])
        for s in (whole, resumed)
    ]
    scores = [lira(s[0], References(s[1:].T, sets[:, 1:]), "offline").values for s in signals]
    assert (scores[0] == scores[1]).all()


def test_any_change_makes_new_models(candidates, tmp_path):
    features, targets, sets = candidates

    def files_after(recipe=RECIPE, features=features, targets=targets, sets=sets, factory=head):
        train_shadows(factory, cross_entropy, features, targets, sets, recipe, tmp_path)
        return len(list(tmp_path.iterdir()))

    assert files_after() == 1
    assert files_after() == 1
    assert files_after(recipe=Recipe("head", 20, 3, 8, 0.3, 0.9, 2e-3)) == 2
    assert files_after(recipe=Recipe("other", 20, 3, 8, 0.3, 0.9, 1e-3)) == 3
    moved = features.clone()
    moved[7, 2] += 1e-6
    assert files_after(features=moved) == 4
    assert files_after(targets=(targets + (torch.arange(40) == 5)) % 3) == 5
    assert files_after(sets=sets[:, ::-1].copy()) == 6
    assert files_after(factory=lambda seed: head(seed + 1)) == 7


def test_every_set_has_the_victims_size_and_every_candidate_both_sides():
    for n, models, size in ((40, 10, 20), (101, 7, 60), (50, 64, 3)):
        sets = balanced_sets(n, models, size, np.random.default_rng(0))
        assert (sets.sum(0) == size).all()
        inside = sets.sum(1)
        assert inside.max() - inside.min() <= 1
        assert inside.min() >= 1
        assert inside.max() < models
    with pytest.raises(AttackError, match="train more"):
        balanced_sets(100, 3, 20, np.random.default_rng(0))
    with pytest.raises(AttackError, match="must be a whole number"):
        balanced_sets(10, 3, 10, np.random.default_rng(0))


def test_what_is_not_the_victims_recipe_or_cannot_be_stacked_is_refused(candidates, tmp_path):
    features, targets, sets = candidates
    short = sets.copy()
    short[np.flatnonzero(sets[:, 4])[0], 4] = False
    with pytest.raises(AttackError, match="shadow model 4 would train on 19 candidates, the victim on 20"):
        train_shadows(head, cross_entropy, features, targets, short, RECIPE, tmp_path)
    with pytest.raises(AttackError, match="BatchNorm"):
        train_shadows(
            lambda _: nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 3)),
            cross_entropy,
            features,
            targets,
            sets,
            RECIPE,
            tmp_path,
        )
    with pytest.raises(AttackError, match="39 rows of data"):
        train_shadows(head, cross_entropy, features[1:], targets, sets, RECIPE, tmp_path)
    with pytest.raises(AttackError, match="learning_rate"):
        Recipe("head", 20, 3, 8, 0.0)
    with pytest.raises(AttackError, match="epochs must be a whole number of at least 1"):
        Recipe("head", 20, 0, 8, 0.1)
    train_shadows(head, cross_entropy, features, targets, sets, RECIPE, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(AttackError, match="damaged shadow models, delete the file"):
        train_shadows(head, cross_entropy, features, targets, sets, RECIPE, tmp_path)
