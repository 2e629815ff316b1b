"""A judge of pictures that is not the model: it names them, and places them where distances mean something.

Whether pictures show a style is a property of a set, and a model that judges its own pictures is no judge.
This one sees nothing of the model: fixed statistics of pictures, and a linear discriminant learned from
pictures with labels that the model never saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from attacks.intervals import clopper_pearson
from fedstyle_secure.textures.statistics import texture_features

DIMENSIONS = 48
"""Of the place of a picture: the larger part of what differs, and few enough for sets of some dozens."""

_WITHOUT = ("scattering", "runs")
"""Statistics that cost a quarter of the time, and do not help to tell schools apart."""

_CUT = 3.0
"""Deviations at which standardised statistics are cut."""

_NAMING = 384
"""Largest number of principal components that pictures are named by."""

_SHRINKAGE = 0.01
"""Of the covariance within labels towards its mean variance (Ledoit & Wolf 2004)."""


@dataclass(frozen=True)
class Share:
    """A share of pictures with its interval.

    Attributes:
        value: In [0, 1].
        low: Lower end of the interval (Clopper & Pearson 1934).
        high: Upper end.
        confidence: Of the interval.
        n: Pictures.
    """

    value: float
    low: float
    high: float
    confidence: float
    n: int


@dataclass(frozen=True, eq=False)
class Judge:
    """Names pictures and places them.

    Attributes:
        names: What it can say, sorted.
    """

    names: tuple[str, ...]
    _components: Pipeline
    _discriminant: LinearDiscriminantAnalysis

    @classmethod
    def fit(cls, pictures: np.ndarray, labels: Sequence[str]) -> Judge:
        """A judge that has learned from pictures.

        Many artists of a few pictures teach a school better than a few artists of many.

        Args:
            pictures: uint8 (n, s, s, 3), s from 32; none that the model which is to be judged saw.
            labels: One a picture, of at least two sorts, each twice or more.

        Raises:
            ValueError: There are too few labels or pictures; says which.
        """
        return cls.fit_statistics(statistics(pictures), labels)

    @classmethod
    def fit_statistics(cls, measured: np.ndarray, labels: Sequence[str]) -> Judge:
        """The same from `statistics` of pictures, where they were kept."""
        names, counts = np.unique(np.array(labels, str), return_counts=True)
        if len(labels) != len(measured):
            raise ValueError(f"{len(measured)} pictures have {len(labels)} labels; valid is one each")
        if len(names) < 2 or counts.min() < 2:
            raise ValueError("a judge learns from at least two labels with at least two pictures each")
        components = make_pipeline(
            StandardScaler(),
            FunctionTransformer(np.clip, kw_args={"a_min": -_CUT, "a_max": _CUT}),
            PCA(min(_NAMING, len(measured) - 1, measured.shape[1]), svd_solver="full"),
        )
        found = components.fit_transform(measured.astype(np.float64))
        discriminant = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=_SHRINKAGE)
        return cls(tuple(names.tolist()), components, discriminant.fit(found, np.array(labels, str)))

    def features(self, pictures: np.ndarray) -> npt.NDArray[np.float64]:
        """Places of pictures uint8 (n, s, s, 3): float64 (n, d), d at most `DIMENSIONS`.

        The first principal components of the statistics, each with deviation 1 over the pictures that the
        judge learned from, which is the unit of distances.
        """
        deviations = np.sqrt(self._components[-1].explained_variance_[:DIMENSIONS])
        places: npt.NDArray[np.float64] = self._found(pictures)[:, :DIMENSIONS] / np.maximum(deviations, 1e-6)
        return places

    def named(self, pictures: np.ndarray) -> npt.NDArray[np.str_]:
        """The likeliest of `names` for each of pictures uint8 (n, s, s, 3): texts (n,)."""
        if not len(pictures):
            return np.zeros(0, str)
        named: npt.NDArray[np.str_] = self._discriminant.predict(self._found(pictures))
        return named

    def shares(self, pictures: np.ndarray, asked: Sequence[str], confidence: float = 0.95) -> Share:
        """How many pictures it names as they were asked to be.

        What one gets without looking is one over the number of names, if all are asked for equally often;
        what a perfect model gets is the figure of real pictures.

        Args:
            pictures: uint8 (n, s, s, 3), n >= 1, made apart from each other.
            asked: One of `names` a picture.
            confidence: Of the interval, which counts pictures: another judge would be another draw.

        Raises:
            ValueError: A name is none of `names`, or there is not one for each picture.
        """
        if strange := sorted(set(asked) - set(self.names)):
            raise ValueError(f"the judge cannot say {strange[0]!r}; it knows {', '.join(self.names)}")
        if len(asked) != len(pictures) or not len(asked):
            raise ValueError(f"{len(pictures)} pictures have {len(asked)} names; valid is one each, >= 1")
        hits, n = int((self.named(pictures) == np.array(asked, str)).sum()), len(asked)
        return Share(hits / n, *clopper_pearson(hits, n, confidence), confidence, n)

    def _found(self, pictures: np.ndarray) -> npt.NDArray[np.float64]:
        if not len(pictures):
            return np.zeros((0, self._components[-1].n_components_))
        found: npt.NDArray[np.float64] = self._components.transform(statistics(pictures).astype(np.float64))
        return found


def statistics(pictures: np.ndarray) -> npt.NDArray[np.float32]:
    """What the judge looks at, float32 (n, d), of pictures uint8 (n, s, s, 3), each by itself."""
    return texture_features(pictures, _WITHOUT)
