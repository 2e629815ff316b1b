"""Models that learned by heart are told at AUC 1, those that know the law alone at chance, LiRA fits."""

from functools import partial

import numpy as np
import pytest
import torch

from attacks.diffusion.draws import Draws
from attacks.diffusion.ideal import memoriser, normal_law
from attacks.diffusion.membership import error_scores, membership
from attacks.diffusion.model import Denoiser
from attacks.diffusion.signals import denoising_losses, proximal_errors, step_errors
from attacks.errors import AttackError
from attacks.membership.lira import lira
from attacks.membership.scores import References, evaluate_membership
from attacks.roc import auc, null_deviation

MEMBER = np.arange(60) < 30


def signals(schedule, k=6):
    draws = Draws.make(schedule, (3, 4, 4), k, 0, span=(0.1, 0.9))
    return {
        "loss": partial(denoising_losses, draws=draws),
        "PIA": partial(proximal_errors, time=30),
        "SecMI": partial(step_errors, time=20, stride=5),
    }


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_a_model_that_learned_by_heart_is_told_without_fail(schedule, normal_pictures, kind):
    works, plan = normal_pictures(90, 0), schedule(kind)
    model, reference = memoriser(works[:30], plan, 0.3), memoriser(works[60:], plan, 0.3)
    for name, signal in signals(plan).items():
        found = membership(name, signal, model, reference, works[:60], MEMBER, rates=(0.1,))
        assert found.won, name
        assert found.calibrated[0].value == 1.0, name
        assert found.calibrated[1].value == 1.0, name
        assert found.calibrated[0].baseline == found.raw[0].baseline == found.control.baseline


def test_a_model_that_knows_the_law_alone_tells_nobody(schedule, normal_pictures):
    """20 worlds, raw and calibrated: more than 4 beyond 5 % limits has 0.3 % by chance, 1.6 % for all six."""
    plan = schedule()
    law = normal_law(torch.zeros(3, 4, 4), torch.eye(48), plan)
    beyond = dict.fromkeys([(name, kind) for name in signals(plan) for kind in ("raw", "calibrated")], 0)
    for seed in range(20):
        works, reference = normal_pictures(60, seed), memoriser(normal_pictures(30, 99 + seed), plan, 0.5)
        for name, signal in signals(plan, k=2).items():
            errors = signal(law, works)
            for kind, others in (("raw", None), ("calibrated", signal(reference, works))):
                values = error_scores(name, errors, others).values
                apart = abs(auc(values[MEMBER], values[~MEMBER]) - 0.5)
                beyond[name, kind] += apart > 1.96 * null_deviation(30, 30)
    assert max(beyond.values()) <= 4, beyond


def test_calibration_finds_what_difficulty_hides(schedule):
    """Pictures of very different contrast, and a model that is one part in ten by heart."""
    draws = torch.Generator().manual_seed(0)
    contrast = torch.rand(160, 1, 1, 1, generator=draws) * 2 + 0.3
    works, plan = contrast * torch.randn(160, 3, 4, 4, generator=draws), schedule()
    reference = memoriser(works[60:], plan, 0.9)
    by_heart = memoriser(works[:30], plan)
    model = Denoiser(lambda x, t: 0.9 * reference.predict(x, t) + 0.1 * by_heart.predict(x, t), plan)
    signal = signals(plan)["loss"]
    found = {
        how: membership("a", signal, model, reference, works[:60], MEMBER, how)
        for how in ("ratio", "difference")
    }
    for one in found.values():
        assert one.won
        assert one.raw[0].value < 0.7
        assert one.calibrated[0].value > 0.95
        assert one.calibrated[0].low > one.calibrated[0].baseline


def test_at_times_that_show_nothing_the_control_does_not_win(schedule, normal_pictures):
    """Pure noise is left of the pictures: even a model that learned them by heart cannot be told."""
    works, plan = normal_pictures(90, 0), schedule("epsilon")
    blind = Draws.make(plan, (3, 4, 4), 2, 0, span=(0.99, 1.0))
    model, reference = memoriser(works[:30], plan), memoriser(works[60:], plan, 0.5)
    signal = partial(denoising_losses, draws=blind)
    found = membership("loss", signal, model, reference, works[:60], MEMBER)
    assert not found.won or found.control.value < 1


def test_lira_takes_scores_of_shadow_adapters_as_they_are(schedule, normal_pictures):
    """Shadows of the victim's recipe on random halves; ratio scores are what LiRA takes."""
    works, plan, rng = normal_pictures(120, 0), schedule(), np.random.default_rng(0)
    signal, backbone = signals(plan)["loss"], memoriser(works[60:], plan, 1.0)
    others = signal(backbone, works[:60])

    def scores_of(inside):
        adapted = memoriser(torch.cat([works[60:], works[:60][torch.from_numpy(inside)]]), plan, 1.0)
        return error_scores("loss", signal(adapted, works[:60]), others).values

    inside = rng.random((60, 8)) < 0.5
    references = References(np.stack([scores_of(column) for column in inside.T], axis=1), inside)
    truth = rng.permutation(MEMBER)
    found = lira(scores_of(truth), references, "online")
    (area, *_) = evaluate_membership(found, truth, rates=())
    assert area.value > 0.95


def test_scores_of_one_draw_and_of_ties():
    errors, reference = np.array([0.0, 1e-20, 1.0, 1.0]), np.array([0.0, 1e-14, 1.0, 2.0])
    scores = error_scores("a", errors, reference).values
    assert scores[:3].tolist() == [0, 0, 0], "below rounding all errors are alike"
    assert scores[3] == pytest.approx(np.log(2))
    assert error_scores("a", errors, reference, "difference").values[3] == 1.0
    assert np.array_equal(error_scores("a", errors[:, None]).values, error_scores("a", errors).values)


def test_what_cannot_be_compared_is_refused(schedule, normal_pictures):
    with pytest.raises(AttackError, match="picture 1, draw 0"):
        error_scores("a", np.array([1.0, np.nan]))
    with pytest.raises(AttackError, match=">= 0"):
        error_scores("a", np.array([1.0, -1.0]))
    with pytest.raises(AttackError, match="one or more"):
        error_scores("a", np.zeros((0, 3)))
    with pytest.raises(AttackError, match="asked the same"):
        error_scores("a", np.ones((4, 3)), np.ones((4, 2)))
    with pytest.raises(AttackError, match="same model"):
        error_scores("a", np.ones((4, 3)), np.ones((4, 3)))
    with pytest.raises(AttackError, match="how"):
        error_scores("a", np.ones(4), np.zeros(4), "quotient")
    works = normal_pictures(4, 0)
    one, other = (memoriser(works[:2], schedule(kind)) for kind in ("epsilon", "sample"))
    signal = partial(proximal_errors, time=30)
    with pytest.raises(AttackError, match="cannot be compared"):
        membership("a", signal, one, other, works, np.arange(4) < 2)
    with pytest.raises(AttackError, match="is_member"):
        membership("a", signal, one, one, works, np.arange(4))
    with pytest.raises(AttackError, match="members"):
        membership("a", signal, one, memoriser(works[2:], schedule("epsilon")), works, np.ones(4, bool))
