"""Membership over rounds: what each round says, and what the rounds say together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from attacks.errors import AttackError
from attacks.membership.federated import (
    alignment,
    clipped_gradients,
    combined_rounds,
    gradient_norm_score,
    picture_gradients,
    round_alignments,
)
from attacks.membership.tracing import traced
from attacks.observation import LocalTraining, Observation, cross_entropy
from attacks.roc import auc


@pytest.fixture
def observed_rounds():
    """A client with 8 of 200 pictures that answers with one step a round, beside others where asked."""

    def build(rounds=6, noise=0.0, clip=None, others=0, seed=0):
        draws = torch.Generator().manual_seed(seed)
        pictures = torch.rand(200, 1, 6, 6, generator=draws)
        targets = torch.randint(0, 4, (200,), generator=draws)
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Flatten(), nn.Linear(36, 24), nn.Tanh(), nn.Linear(24, 4))
        training = LocalTraining(0.1, batch_size=8, clip_norm=clip, noise_std=noise)
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        states, updates = [], []
        for _ in range(rounds):
            states.append(dict(weights))
            groups = [torch.arange(8)] + [50 + 8 * k + torch.arange(8) for k in range(others)]
            update = {name: torch.zeros_like(tensor) for name, tensor in weights.items()}
            for group in groups:
                for k in group:
                    model.load_state_dict(weights)
                    model.zero_grad()
                    cross_entropy(model(pictures[k : k + 1]), targets[k : k + 1]).sum().backward()
                    length = torch.cat([p.grad.reshape(-1) for p in model.parameters()]).norm()
                    factor = 1.0 if clip is None else min(1.0, clip / float(length))
                    for name, p in model.named_parameters():
                        update[name] -= 0.1 * factor * p.grad / 8 / len(groups)
            for tensor in update.values():
                tensor += 0.1 * noise * torch.randn(tensor.shape, generator=draws)
            updates.append(update)
            weights = {name: tensor + update[name] for name, tensor in weights.items()}
        observation = Observation(
            model=model,
            weights=states[0],
            later_weights=tuple(states[1:]),
            updates=tuple(updates),
            training=training,
            loss=cross_entropy,
            picture_shape=(1, 6, 6),
        )
        return observation, pictures, targets

    return build


def areas(observation, pictures, targets, statistic):
    """AUC of each round and of all together: 8 members, 42 others; 20 calibrate, 80 are background."""
    background = (pictures[120:], targets[120:]) if statistic == "traced" else None
    alignments = round_alignments(observation, pictures[:120], targets[:120], statistic, background)
    rounds = np.ones(len(alignments), bool)
    combined = combined_rounds(alignments[:, :50], alignments[:, 100:], rounds).values
    each = [auc(row[:8], row[8:50]) for row in alignments]
    return np.mean(each), auc(combined[:8], combined[8:])


def test_members_of_an_undefended_step_are_found(observed_rounds):
    """Four clients, 8 pictures each, one step: 0.97 by tracing and 0.77 by the cosine, seeds fixed."""
    found = {
        statistic: np.mean([areas(*observed_rounds(1, seed=seed), statistic)[0] for seed in range(4)])
        for statistic in ("cosine", "product", "residual", "traced")
    }
    assert found["traced"] > 0.95
    assert min(found.values()) > 0.65


@pytest.mark.parametrize("statistic", ["residual", "traced"])
def test_rounds_together_beat_a_single_one(observed_rounds, statistic):
    """Under clipping and noise that hide a member in one round; four clients, seeds fixed."""
    found = [
        areas(*observed_rounds(rounds=8, noise=0.05, clip=0.5, seed=seed), statistic) for seed in range(4)
    ]
    alone, together = np.mean(found, axis=0)
    assert together > alone + 0.05


def test_aggregation_hides_some_of_it(observed_rounds):
    for statistic in ("cosine", "traced"):
        alone, among = (
            np.mean([areas(*observed_rounds(1, others=others, seed=seed), statistic)[0] for seed in range(3)])
            for others in (0, 5)
        )
        assert alone > among + 0.1


def test_the_step_is_known_whatever_the_clients_bookkeeping(observed_rounds):
    """The same update, told as a sum with a smaller rate, or as two passes with half of it: same scores."""
    observation, pictures, targets = observed_rounds(1)
    expected = round_alignments(observation, pictures, targets, "residual")
    traced = round_alignments(observation, pictures[:9], targets[:9], "traced", (pictures[99:], targets[99:]))
    for told in (
        LocalTraining(0.1 / 8, batch_size=8, reduction="sum"),
        LocalTraining(0.05, steps=2, epochs=2, batch_size=8),
    ):
        same = replace(observation, training=told)
        assert round_alignments(same, pictures, targets, "residual") == pytest.approx(expected, rel=1e-4)
        found = round_alignments(same, pictures[:9], targets[:9], "traced", (pictures[99:], targets[99:]))
        assert found == pytest.approx(traced, rel=1e-3)


def test_gradients_are_those_of_each_picture_alone(observed_rounds):
    observation, pictures, targets = observed_rounds(rounds=1)
    found = picture_gradients(observation, observation.weights, pictures[:5], targets[:5])
    model = observation.model
    model.load_state_dict(observation.weights)
    for k in range(5):
        model.zero_grad()
        cross_entropy(model(pictures[k : k + 1]), targets[k : k + 1]).sum().backward()
        expected = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
        assert torch.allclose(found[k], expected, atol=1e-6)
    whole = round_alignments(observation, pictures, targets, "product", chunk=64)
    assert whole == pytest.approx(
        round_alignments(observation, pictures, targets, "product", chunk=7), rel=1e-4
    )
    after = gradient_norm_score(observation, pictures, targets)
    moved = {name: tensor + observation.updates[0][name] for name, tensor in observation.weights.items()}
    assert after.values[3] == pytest.approx(
        -float(picture_gradients(observation, moved, pictures[3:4], targets[3:4]).norm()), rel=1e-5
    )


@pytest.mark.parametrize("statistic", ["cosine", "residual", "traced"])
def test_every_round_is_looked_at_from_its_own_weights(observed_rounds, statistic):
    """As if it were the only one; at the first round's weights the last would look different."""
    observation, pictures, targets = observed_rounds(4, clip=0.5)
    observation = replace(observation, training=replace(observation.training, clip_norm=0.5))
    background = (pictures[150:], targets[150:]) if statistic == "traced" else None
    call = pictures[:30], targets[:30], statistic, background
    found = round_alignments(observation, *call)
    assert found.shape == (4, 30)
    for t in range(4):
        alone = replace(
            observation,
            weights=observation.weights_of(t),
            later_weights=(),
            updates=(observation.updates[t],),
        )
        assert found[t] == pytest.approx(round_alignments(alone, *call)[0], rel=1e-5)
    stale = replace(observation, later_weights=(observation.weights,) * 3)
    assert np.abs(round_alignments(stale, *call)[3] / found[3] - 1).max() > 0.01


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_tracing_knows_the_clients_noise(observed_rounds, reduction):
    """One step of 8 pictures: the mean gradient has noise 0.3^2, and its members' number times that counts.

    For a sum the noise is 8 times that of the mean.
    """
    observation, pictures, targets = observed_rounds(1, noise=0.3, clip=0.5)
    if reduction == "sum":
        told = LocalTraining(0.1 / 8, batch_size=8, clip_norm=0.5, noise_std=2.4, reduction="sum")
        observation = replace(observation, training=told)
    around = clipped_gradients(observation, pictures[150:], targets[150:]).numpy()
    gradients = clipped_gradients(observation, pictures[:20], targets[:20]).numpy()
    update = observation.updates[0]
    mean = -torch.cat([update[name].reshape(-1) for name in observation.trainable]).numpy() / 0.1
    found = round_alignments(
        observation, pictures[:20], targets[:20], "traced", (pictures[150:], targets[150:])
    )[0]
    expected = traced(gradients, mean, around, noise_variance=8 * 0.3**2)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-6 * np.abs(expected).max())
    silent = traced(gradients, mean, around)
    assert np.corrcoef(found, silent)[0, 1] < 0.999


@pytest.mark.parametrize("clip", [None, 0.5, 1e3])
def test_clipped_gradients_are_clipped_as_the_client_clips(observed_rounds, clip):
    """One picture at a time, at the first round's weights; where the norm is small nothing happens."""
    observation, pictures, targets = observed_rounds(2, clip=clip)
    found = clipped_gradients(observation, pictures[:12], targets[:12])
    whole = picture_gradients(observation, observation.weights, pictures[:12], targets[:12])
    lengths = whole.norm(dim=1)
    assert lengths.min() > 0.5
    if clip != 0.5:
        assert torch.equal(found, whole)
        return
    assert found.norm(dim=1).numpy() == pytest.approx(np.full(12, 0.5), rel=1e-5)
    assert torch.allclose(found / 0.5, whole / lengths[:, None], atol=1e-6)


def test_alignments_by_hand():
    g, d = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.0]]), torch.tensor([-2.0, 0.0])
    assert alignment(g, d, "product").tolist() == [2, 0, -6]
    assert alignment(g, d, "cosine").tolist() == [1, 0, -1]
    left = [float(d.square().sum() - (d + 0.5 * row).square().sum()) for row in g]
    assert alignment(g, d, "residual", 0.5).tolist() == pytest.approx(left)
    assert alignment(g, torch.zeros(2), "cosine").tolist() == [0, 0, 0]


def test_a_round_with_a_zero_update_contributes_exactly_nothing():
    rng = np.random.default_rng(0)
    candidates, elsewhere = rng.standard_normal((5, 20)), rng.standard_normal((5, 50))
    with_zero = np.insert(candidates, 2, 0.0, axis=0), np.insert(elsewhere, 2, 0.0, axis=0)
    expected = combined_rounds(candidates, elsewhere, np.ones(5, bool))
    found = combined_rounds(*with_zero, np.ones(6, bool))
    assert (found.values == expected.values).all()
    assert found.notes[0] == "5 of 6 rounds say anything"
    by_hand = (candidates - elsewhere.mean(1)[:, None]) / elsewhere.std(1, ddof=1)[:, None]
    assert expected.values == pytest.approx(by_hand.sum(0) / np.sqrt(5))


def test_only_the_artists_own_rounds_count():
    rng = np.random.default_rng(0)
    candidates, elsewhere = rng.standard_normal((4, 3)), rng.standard_normal((4, 50))
    took_part = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 1, 0]], bool)
    found = combined_rounds(candidates, elsewhere, took_part)
    assert found.scored.tolist() == [True, True, False]
    assert "1 of 3 candidates took part in none" in found.notes[1]
    own = combined_rounds(candidates[[0, 1, 3]][:, :1], elsewhere[[0, 1, 3]], np.ones(3, bool))
    assert found.values[0] == pytest.approx(own.values[0])


def test_scores_of_outsiders_are_standard_normal():
    """Calibrated on 500 (an error of 0.045): 4000 others, mean 0 within 0.2, deviation 1 within 0.1."""
    rng = np.random.default_rng(0)
    levels = np.array([0.0, 5.0, -100.0])[:, None]
    scales = np.array([1.0, 1e-6, 30.0])[:, None]
    values = combined_rounds(
        levels + scales * rng.standard_normal((3, 4000)),
        levels + scales * rng.standard_normal((3, 500)),
        np.ones(3, bool),
    ).values
    assert abs(values.mean()) < 0.2
    assert values.std() == pytest.approx(1, abs=0.1)


def test_bad_input_is_refused(observed_rounds):
    with pytest.raises(AttackError, match="at least 2 pictures"):
        combined_rounds(np.ones((2, 3)), np.ones((2, 1)), np.ones(2, bool))
    with pytest.raises(AttackError, match="took_part must be bool"):
        combined_rounds(np.ones((2, 3)), np.ones((2, 4)), np.ones(3, bool))
    with pytest.raises(AttackError, match="not finite"):
        combined_rounds(np.full((2, 3), np.nan), np.ones((2, 4)), np.ones(2, bool))
    with pytest.raises(AttackError, match="statistic"):
        alignment(torch.ones(2, 2), torch.ones(2), "dot")
    with pytest.raises(AttackError, match="step"):
        alignment(torch.ones(2, 2), torch.ones(2), "residual", 0.0)
    observation, pictures, targets = observed_rounds(rounds=1)
    scalar = replace(observation, loss=lambda outputs, targets: cross_entropy(outputs, targets).mean())
    with pytest.raises(AttackError, match="one value a picture"):
        round_alignments(scalar, pictures, targets, "cosine")
    with pytest.raises(AttackError, match="needs an observation with updates"):
        clipped_gradients(replace(observation, updates=(), later_weights=()), pictures, targets)
    with pytest.raises(AttackError, match="needs a background"):
        round_alignments(observation, pictures, targets, "traced")
    with pytest.raises(AttackError, match="with 3 targets"):
        round_alignments(observation, pictures[:4], targets[:3], "cosine")
