"""The figures behind a drawn curve: those of the scores, kept and read back."""

import numpy as np
import pytest

from attacks.intervals import clopper_pearson
from attacks.plots import AttackScores
from attacks.roc import auc
from fedstyle_secure.audit.curves import Curve, CurveFile, curve_file
from fedstyle_secure.errors import AuditError

SCORES = AttackScores(np.array([0.9, 0.8, 0.8, 0.1]), np.array([0.8, 0.3, 0.2, 0.1, 0.0]))


def test_a_curve_says_what_the_scores_say():
    curve = Curve.of(SCORES, 0.95)
    assert (curve.members, curve.non_members) == (4, 5)
    assert curve.thresholds[0] is None
    for threshold, fpr, tpr in zip(curve.thresholds[1:], curve.fpr[1:], curve.tpr[1:], strict=True):
        assert tpr == np.mean(SCORES.members >= threshold)
        assert fpr == np.mean(SCORES.non_members >= threshold)
    for i, (fpr, tpr) in enumerate(zip(curve.fpr, curve.tpr, strict=True)):
        assert (curve.low[i], curve.high[i]) == pytest.approx(clopper_pearson(round(4 * tpr), 4, 0.95))
        assert curve.fpr_high[i] == pytest.approx(clopper_pearson(round(5 * fpr), 5, 0.95)[1])
    area = sum(
        (b - a) * (c + d) / 2
        for a, b, c, d in zip(curve.fpr, curve.fpr[1:], curve.tpr, curve.tpr[1:], strict=False)
    )
    assert area == pytest.approx(auc(SCORES.members, SCORES.non_members))


def test_the_best_corner_accuses_no_more_than_asked():
    curve = Curve.of(SCORES, 0.95)
    for rate in (0.0, 0.19, 0.2, 0.5, 1.0):
        best = curve.best_at(rate)
        assert curve.fpr[best] <= rate
        assert all(
            tpr <= curve.tpr[best] for fpr, tpr in zip(curve.fpr, curve.tpr, strict=True) if fpr <= rate
        )
    assert curve.best_at(1.0) == len(curve.fpr) - 1


@pytest.mark.parametrize("limit", [None, 1.0])
def test_a_file_is_read_as_it_was_written(tmp_path, limit):
    curve = Curve.of(SCORES, 0.95)
    allowed = limit and (limit,) * len(curve.fpr)
    file = CurveFile(0.95, curve, allowed, allowed, curve)
    file.write(tmp_path / curve_file("roc.png"))
    assert CurveFile.read(tmp_path / "roc.json") == file


def test_a_file_that_is_none_is_named(tmp_path):
    for text in ("", "[]", "{}", '{"format": 1}', '{"format": 2}'):
        (tmp_path / "roc.json").write_text(text)
        with pytest.raises(AuditError, match=r"roc\.json"):
            CurveFile.read(tmp_path / "roc.json")
