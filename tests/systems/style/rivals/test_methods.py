"""Each rival's updates against naive ones, and against the rival that it becomes in a special case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn import functional as F

from fedstyle_secure.privacy.mechanisms import GaussianSum
from fedstyle_secure.systems.style.rivals import scaffold
from fedstyle_secure.systems.style.rivals.budget import Budget
from fedstyle_secure.systems.style.rivals.central import central_regression, histograms, metric_head
from fedstyle_secure.systems.style.rivals.fedavg import averaged, fedavg, local_steps
from fedstyle_secure.systems.style.rivals.fedproto import fedproto
from fedstyle_secure.systems.style.rivals.fedprox import fedprox, proximal_steps
from fedstyle_secure.systems.style.rivals.learner import Learner
from fedstyle_secure.systems.style.rivals.local import local_only, trained_alone
from fedstyle_secure.systems.style.rivals.moon import TEMPERATURE, ModelContrast, moon
from fedstyle_secure.systems.style.rivals.scaffold import ControlVariates, corrections
from fedstyle_secure.systems.style.rivals.settings import Settings
from fedstyle_secure.systems.style.rivals.start import NEIGHBOURS, encrypted_prototypes, proxies, start
from fedstyle_secure.systems.style.rivals.task import Found, nearest_by_own_heads, nearest_card

SETTINGS = Settings(rate=0.3, rounds=3, steps=2, weight=0.5)
EXACT = GaussianSum(float("inf"), 0.0)


def learner(task, conditions, clip_norm=float("inf"), shared=False, noise=0.0) -> Learner:
    return Learner(task, conditions, GaussianSum(clip_norm, noise), shared=shared)


def loss_of(task, conditions, model, record, term=None, classes=None):
    """A record's loss as it stands in the docstring."""
    d, n = task.dim, task.artists
    head, rows = model[: d * d].view(d, d), model[d * d :].view(n, d)
    rows = rows if classes is None else classes
    z = F.normalize(head @ task.train[record], dim=0)
    anchors = F.normalize(task.anchors @ head.detach().T, dim=1)
    logits = torch.cat([rows @ z, anchors @ z]) / conditions.temperature
    loss = F.cross_entropy(logits[None], task.owners[record][None])
    return loss if term is None else loss + term(z, record)


def naive(task, conditions, models, clip_norm, term=None, classes=None):
    """Autograd a record, clipped one by one."""
    sums = torch.zeros_like(models)
    for record in range(len(task.train)):
        artist = int(task.owners[record])
        model = models[artist].clone().requires_grad_()
        loss_of(task, conditions, model, record, term, classes).backward()
        sums[artist] += model.grad * min(1.0, clip_norm / max(float(model.grad.norm()), 1e-12))
    return sums / conditions.expected_pictures


def some_models(task, artists):
    rng = torch.Generator().manual_seed(1)
    size = task.dim**2 + artists * task.dim
    start = torch.cat([torch.eye(task.dim).flatten(), torch.zeros(artists * task.dim)])
    return start + 0.3 * torch.randn(artists, size, generator=rng)


@pytest.mark.parametrize("clip_norm", [float("inf"), 1.0])
def test_gradients_are_those_of_each_record_clipped_and_added(task, conditions, clip_norm):
    models = some_models(task, 4)
    found = learner(task, conditions, clip_norm).gradient(models)
    torch.testing.assert_close(found, naive(task, conditions, models, clip_norm), rtol=1e-4, atol=1e-5)


def test_gradients_against_prototypes_with_a_pull_are_those_of_each_record(task, conditions):
    models, prototypes = some_models(task, 4), task.means

    def batched(z):
        return 0.7 * (z - prototypes[:, None]).square().sum(2)

    def single(z, record):
        return 0.7 * (z - prototypes[task.owners[record]]).square().sum()

    found = learner(task, conditions, 1.0).gradient(models, batched, classes=prototypes)
    expected = naive(task, conditions, models, 1.0, single, prototypes)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not found[:, task.dim**2 :].any()


def test_fedavg_is_the_mean_of_what_artists_make_of_the_model(task, conditions):
    model = learner(task, conditions).start()
    for _ in range(SETTINGS.rounds):
        own = model.expand(4, -1).clone()
        for _ in range(SETTINGS.steps):
            own = own - SETTINGS.rate * naive(task, conditions, own, float("inf"))
        model = own.mean(0)
    found = averaged(learner(task, conditions), SETTINGS, local_steps)
    torch.testing.assert_close(found, model, rtol=1e-4, atol=1e-5)


def test_fedavg_of_one_artist_is_local_training(alone, conditions):
    shared = averaged(learner(alone, conditions), SETTINGS, local_steps)
    torch.testing.assert_close(shared[None], trained_alone(learner(alone, conditions), SETTINGS))
    assert not torch.equal(shared, learner(alone, conditions).start())


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_fedprox_and_moon_without_their_term_are_fedavg(task, conditions, scale):
    conditions, settings = replace(conditions, budget=Budget(scale)), replace(SETTINGS, weight=0.0)
    expected = fedavg(task, settings, conditions)
    for method in (fedprox, moon):
        found = method(task, settings, conditions)
        assert (found.ranks == expected.ranks).all()
        assert found.leaks == expected.leaks


def test_fedprox_pulls_a_local_model_back(task, conditions):
    at = learner(task, conditions)
    first = at.copies(at.start()) - 0.3 * at.gradient(at.copies(at.start()))
    expected = first - 0.3 * (at.gradient(first) + 0.5 * (first - at.start()))
    torch.testing.assert_close(proximal_steps(at, SETTINGS, at.start()), expected)


def test_moons_second_round_contrasts_with_the_model_before(task, conditions):
    at, settings = learner(task, conditions), replace(SETTINGS, steps=1)
    local = ModelContrast(shared=False)
    before = local(at, settings, at.start())
    shared = before.mean(0)

    def term(z, record):
        def under(model):
            head = model[: task.dim**2].view(task.dim, task.dim)
            return F.normalize(head @ task.train[record], dim=0)

        a = (z @ under(shared) / TEMPERATURE).exp()
        b = (z @ under(before[task.owners[record]]) / TEMPERATURE).exp()
        return -settings.weight * torch.log(a / (a + b))

    own = shared.expand(4, -1).clone()
    expected = own - settings.rate * naive(task, conditions, own, float("inf"), term)
    torch.testing.assert_close(local(at, settings, shared), expected, rtol=1e-4, atol=1e-5)


def test_with_shared_noise_moon_looks_at_no_single_artists_model(task, conditions):
    at, local = learner(task, conditions), ModelContrast(shared=True)
    local(at, SETTINGS, at.start())
    torch.testing.assert_close(local._previous, at.copies(at.start()))


def test_scaffolds_corrections_add_up_to_zero_and_move_steps(task, conditions):
    at = learner(task, conditions)
    controls = at.gradient(at.copies(at.start()))
    torch.testing.assert_close(
        corrections(controls).sum(0), torch.zeros(controls.shape[1]), atol=1e-5, rtol=0
    )

    local = ControlVariates()
    torch.testing.assert_close(local(at, SETTINGS, at.start()), local_steps(at, SETTINGS, at.start()))
    own = at.copies(at.start())
    for _ in range(SETTINGS.steps):
        own = own - SETTINGS.rate * (at.gradient(own) - controls + controls.mean(0))
    torch.testing.assert_close(local(at, SETTINGS, at.start()), own)


def test_scaffold_with_one_step_a_round_is_fedavg(task, conditions):
    settings = replace(SETTINGS, steps=1)
    found = averaged(learner(task, conditions), settings, ControlVariates())
    torch.testing.assert_close(found, averaged(learner(task, conditions), settings, local_steps))
    assert (
        scaffold.scaffold(task, settings, conditions).ranks == fedavg(task, settings, conditions).ranks
    ).all()


def test_fedproto_and_local_training_without_steps_are_the_start(task, conditions):
    settings = replace(SETTINGS, rate=1e-9)
    expected = start(task, settings, conditions)
    for method in (fedproto, local_only):
        assert (method(task, settings, conditions).ranks == expected.ranks).all()


def test_an_artists_own_noise_and_a_shared_one_have_the_stated_deviations(task, conditions):
    own = learner(task, conditions, 2.0, noise=3.0)
    exact = learner(task, conditions, 2.0)
    models = own.copies(own.start())
    noise = torch.stack([own.gradient(models) - exact.gradient(models) for _ in range(200)])
    assert float(noise.std()) == pytest.approx(3 * 2 / 5, rel=0.03)

    shared = learner(task, replace(conditions, colluders=1), 2.0, shared=True, noise=3.0)
    torch.testing.assert_close(shared.gradient(models), exact.gradient(models))
    zeros = torch.zeros_like(models)
    noise = torch.stack([shared.mean(zeros, rate=0.5) for _ in range(800)])
    assert float(noise.std()) == pytest.approx(0.5 * 3 * 2 / (5 * 4) * (4 / 3) ** 0.5, rel=0.03)


def test_practice_among_more_artists_has_the_noise_of_the_roster_in_a_mean(task, conditions):
    """Four artists in place of two: the mean of their own noises would be less by the root of two."""
    at = Learner(task, replace(conditions, roster=2), GaussianSum(1.0, 3.0), shared=False)
    exact, models = learner(task, conditions, 1.0), at.copies(at.start())
    noise = torch.stack([(at.gradient(models) - exact.gradient(models)).mean(0) for _ in range(400)])
    assert float(noise.std()) == pytest.approx(3 / 5 / 2**0.5, rel=0.03)


def test_central_regression_is_scikit_learns(task, conditions):
    found = central_regression(task, Settings(inverse_penalty=3.0), conditions)
    fitted = LogisticRegression(C=3.0, max_iter=2000).fit(task.train.numpy(), task.owners.numpy())
    assert ((found.ranks == 1) == (fitted.predict(task.test.numpy()) == task.test_owners)).all()
    assert found.leaks is None


def test_a_step_of_the_central_head_is_the_gradient_of_all_pictures(task, conditions):
    head = torch.eye(task.dim, requires_grad=True)
    F.cross_entropy(F.normalize(task.train @ head.T, dim=1) @ task.means.T / 0.1, task.owners).backward()
    found = metric_head(task, Settings(rate=0.2, rounds=1), conditions)
    torch.testing.assert_close(found, torch.eye(task.dim) - 0.2 * head.grad)


def test_histograms_count_colours():
    pictures = np.zeros((2, 2, 2, 3), np.uint8)
    pictures[1, 0] = (255, 128, 0)
    expected = np.zeros((2, 64))
    expected[0, 0] = 1
    expected[1, [0, 3 * 16 + 2 * 4]] = np.sqrt(0.5)
    np.testing.assert_allclose(histograms(pictures, 4), expected)


def test_proxies_lie_between_an_artist_and_its_neighbours(task):
    found = proxies(task.means, task.anchors)
    assert (found.norm(dim=1) - 1).abs().max() < 1e-5
    cosines = (found * task.means).sum(1)
    assert (cosines < 1 - 1e-4).all()
    assert (cosines > 0).all()
    assert len(task.anchors) < NEIGHBOURS, "pools smaller than that are taken whole"


def test_encrypted_sums_find_nobody_and_are_nearer_to_no_artist_than_its_card(task, conditions):
    found = encrypted_prototypes(task, Settings(), conditions)
    assert found.ranks is None
    assert found.leaks < start(task, Settings(), conditions).leaks == pytest.approx(1)


def test_cards_are_placed_by_the_head_that_pictures_are_asked_under(task):
    head = torch.diag(torch.tensor([3.0, 1, 1, 1, 1, 0.1]))
    found = nearest_card(task, head, 7 * task.means)
    assert isinstance(found, Found)
    for place in range(len(task.test)):
        cosines = F.cosine_similarity(head @ task.test[place], task.means @ head.T)
        rank = int((cosines >= cosines[task.test_owners[place]]).sum())
        assert found.ranks[place] == rank


def test_own_heads_look_at_a_picture_each_and_rank_by_their_own_card(task):
    heads = torch.randn(4, task.dim, task.dim, generator=torch.Generator().manual_seed(2))
    found = nearest_by_own_heads(task, heads, 3 * task.means)
    for place in range(len(task.test)):
        cosines = torch.stack(
            [F.cosine_similarity(heads[k] @ task.test[place], task.means[k], dim=0) for k in range(4)]
        )
        assert found.ranks[place] == int((cosines >= cosines[task.test_owners[place]]).sum())
