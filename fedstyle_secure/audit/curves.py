"""The figures behind a drawn curve, as a JSON file beside the picture: at each threshold, who is named.

Scores are those of pictures that the file does not name; the truth is in the counts alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fedstyle_secure.errors import AuditError
from fedstyle_secure.files import read_json, write_json

if TYPE_CHECKING:
    from attacks.plots import AttackScores

FORMAT = 1


@dataclass(frozen=True)
class Curve:
    """Corners of a ROC curve, from nobody named to everybody; a member is whoever scores at least as much.

    Attributes:
        members: How many scores of members, >= 1.
        non_members: How many of others, >= 1.
        thresholds: (k,), falling; the first is None: above every score.
        fpr: (k,), share of non-members accused, in [0, 1], from 0 to 1.
        tpr: (k,), share of members named, in [0, 1], from 0 to 1.
        low: (k,), lower end of the TPR's interval at each threshold by itself (Clopper and Pearson 1934).
        high: (k,), upper end.
        fpr_high: (k,), upper end of the FPR's interval, made alike.
    """

    members: int
    non_members: int
    thresholds: tuple[float | None, ...]
    fpr: tuple[float, ...]
    tpr: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    fpr_high: tuple[float, ...]

    @classmethod
    def of(cls, scores: AttackScores, confidence: float) -> Self:
        """The curve of scores, with intervals at a confidence in (0, 1)."""
        from attacks.intervals import clopper_pearson
        from attacks.plots import roc_band

        curve, band, others = scores.curve, roc_band(scores, confidence), len(scores.non_members)
        accused = (round(rate * others) for rate in curve.fpr.tolist())
        return cls(
            members=len(scores.members),
            non_members=others,
            thresholds=(None, *map(float, curve.thresholds[1:])),
            fpr=tuple(map(float, curve.fpr)),
            tpr=tuple(map(float, curve.tpr)),
            low=tuple(map(float, band.low)),
            high=tuple(map(float, band.high)),
            fpr_high=tuple(clopper_pearson(number, others, confidence)[1] for number in accused),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read back what was written. Raises ValueError, TypeError or KeyError where it is no curve."""
        found = cls(
            members=int(values["members"]),
            non_members=int(values["non_members"]),
            thresholds=(None, *map(float, values["thresholds"][1:])),
            fpr=_shares(values["fpr"]),
            tpr=_shares(values["tpr"]),
            low=_shares(values["low"]),
            high=_shares(values["high"]),
            fpr_high=_shares(values["fpr_high"]),
        )
        columns = (found.thresholds, found.fpr, found.tpr, found.low, found.high, found.fpr_high)
        lengths = {len(column) for column in columns}
        if len(lengths) != 1 or lengths == {0} or min(found.members, found.non_members) < 1:
            raise ValueError("its columns are not of one length, or stand on no scores")
        if list(found.fpr) != sorted(found.fpr) or list(found.tpr) != sorted(found.tpr):
            raise ValueError("its rates fall")
        return found

    def best_at(self, fpr: float) -> int:
        """The last corner whose FPR is not above a share in [0, 1]."""
        return max(i for i, rate in enumerate(self.fpr) if rate <= fpr or i == 0)


@dataclass(frozen=True)
class CurveFile:
    """A curve, what limits it, and the same attack where nothing is defended.

    Attributes:
        confidence: Of each interval, in (0, 1).
        run: Of the run.
        allowed: (k,), at each corner's FPR the largest TPR that the guarantee allows; None: none follows.
        allowed_at_most: (k,), the same at the upper end of the FPR's interval; None with it.
        undefended: The positive control's.
    """

    confidence: float
    run: Curve
    allowed: tuple[float, ...] | None
    allowed_at_most: tuple[float, ...] | None
    undefended: Curve

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, {"format": FORMAT, **asdict(self)})

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file. Raises AuditError naming it where it is missing, damaged or of another format."""
        values = read_json(path, dict, AuditError)
        try:
            if values["format"] != FORMAT:
                raise ValueError(f"format {values['format']!r} is not known")
            limits = [values["allowed"], values["allowed_at_most"]]
            allowed, at_most = (None if limit is None else _shares(limit) for limit in limits)
            found = cls(
                confidence=float(values["confidence"]),
                run=Curve.from_dict(values["run"]),
                allowed=allowed,
                allowed_at_most=at_most,
                undefended=Curve.from_dict(values["undefended"]),
            )
            if {limit and len(limit) for limit in (allowed, at_most)} not in ({None}, {len(found.run.fpr)}):
                raise ValueError("its limits are not as long as its curve")
        except (KeyError, TypeError, ValueError) as error:
            raise AuditError(f"{path}: is no curve: {error}") from None
        return found


def curve_file(picture: str) -> str:
    """The name of the figures behind a picture of a curve."""
    return f"{Path(picture).stem}.json"


def _shares(values: Sequence[Any]) -> tuple[float, ...]:
    found = tuple(float(value) for value in values)
    if not all(math.isfinite(value) and 0 <= value <= 1 for value in found):
        raise ValueError("a share is not between 0 and 1")
    return found
