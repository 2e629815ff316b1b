"""Evaluators match before they measure, and count what is missing."""

import pytest
import torch

from attacks.errors import AttackError
from attacks.evaluation import feature_agreement, label_agreement, reconstruction
from attacks.metrics import PSNR_CAP, psnr
from attacks.results import Evidence, Truth


def evidence(**found):
    return Evidence("x", 0.0, True, **found)


def test_a_shuffled_batch_is_measured_picture_by_picture(smooth_pictures):
    truths = smooth_pictures(7)
    bad = truths[[6, 5, 4, 3, 2, 1, 0]].clone()
    bad[0] = 0.5
    found = reconstruction(evidence(pictures=bad), Truth(pictures=truths))
    grey = float(psnr(torch.full_like(truths[6:], 0.5), truths[6:])[0])
    assert (found.value, found.n, found.low, found.high) == (PSNR_CAP, 7, pytest.approx(grey), PSNR_CAP)
    assert found.details["mean PSNR"] == pytest.approx((6 * PSNR_CAP + grey) / 7)
    assert found.details["SSIM"] == pytest.approx(1)
    assert found.baseline < 25


def test_what_is_missing_counts_as_grey(smooth_pictures):
    truths = smooth_pictures(3)
    none = reconstruction(evidence(), Truth(pictures=truths))
    grey = torch.full_like(truths, 0.5)
    assert none.value == pytest.approx(float(psnr(grey, truths).median()))
    assert none.details["guesses"] == 0
    one = reconstruction(evidence(pictures=truths[[1]]), Truth(pictures=truths))
    assert one.details["best PSNR"] == PSNR_CAP
    assert one.value < 30
    # Three values bound no median.
    assert (one.low, one.high, one.confidence) == (None, None, None)


def test_features_are_matched_and_missing_ones_are_zero():
    rows = torch.eye(4)
    found = feature_agreement(evidence(features=3 * rows[[2, 0, 3]]), Truth(features=rows))
    assert found.value == pytest.approx(1)
    assert found.details["worst cosine"] == 0


def test_labels_count_as_often_as_they_occur():
    truth = Truth(targets=torch.tensor([1, 1, 1, 0]))
    found = label_agreement(evidence(features=torch.tensor([[2.0, 1.0, 1.0]])), truth)
    assert found.value == 0.5
    assert found.baseline == pytest.approx((1 + 4 / 3) / 4)


def test_the_truth_must_be_there():
    for evaluator, words in (
        (reconstruction, "true pictures"),
        (feature_agreement, "true features"),
        (label_agreement, "true targets"),
    ):
        with pytest.raises(AttackError, match=words):
            evaluator(evidence(), Truth())


def test_the_truth_does_not_choose_among_guesses(smooth_pictures):
    """Fifty pictures that know nothing and then the truth itself: only the first of them counts."""
    truth, random = smooth_pictures(1), smooth_pictures(50, seed=7)
    first = float(psnr(random[:1], truth))
    found = reconstruction(evidence(pictures=torch.cat([random, truth])), Truth(pictures=truth))
    assert found.value == pytest.approx(first)
    assert found.details["guesses"] == 51
    rows = torch.eye(4)
    features = feature_agreement(evidence(features=rows[[2, 1, 0]]), Truth(features=rows[[0]]))
    assert features.value == 0


def test_the_baseline_is_the_best_of_the_blind_guesses(smooth_pictures):
    truth = smooth_pictures(1)
    near, far = (truth + 0.01).clamp(0, 1), torch.zeros_like(truth)
    found = reconstruction(evidence(), Truth(pictures=truth), {"far": far, "near": near})
    assert found.baseline == pytest.approx(float(psnr(near, truth)))
    assert found.method == "order statistics; baseline: near"
    assert reconstruction(evidence(), Truth(pictures=truth), {"far": far}).method.endswith("own mean colour")


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        (torch.tensor([7]), "0 to 2"),
        (torch.full((2, 3), 0.5), "int64"),
        (torch.tensor([1.0]), "int64"),
        (torch.tensor([-1]), "0 to 2"),
    ],
    ids=str,
)
def test_targets_that_are_no_counted_classes_are_refused(targets, words):
    with pytest.raises(AttackError, match=words):
        label_agreement(evidence(features=torch.ones(1, 3)), Truth(targets=targets))
