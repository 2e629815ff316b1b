"""The membership attacks that a model's signals allow, each as one function of the victim's signals.

Each judges the same candidates, so that the same function attacks the audited model and its positive control.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from attacks.auditing.blind import blind_features
from attacks.auditing.data import Records
from attacks.auditing.references import Pool, lira_signal, probability
from attacks.auditing.signals import Signals
from attacks.errors import AttackError
from attacks.membership.encoder import view_agreement
from attacks.membership.lira import lira
from attacks.membership.quantile import fit_quantile
from attacks.membership.rmia import rmia
from attacks.membership.scores import MembershipScores, References
from attacks.membership.threshold import entropy_score, loss_score, modified_entropy_score

Scorer = Callable[[Signals], MembershipScores]
"""Scores of all n candidates from a victim's signals of all n; NaN where it judges none."""

FEWEST_ELSEWHERE = 20
"""Records from elsewhere that RMIA and the quantile attack need."""

_QUANTILE_FPR = 0.1


@dataclass(frozen=True, eq=False)
class Board:
    """What an adversary has beside the victim.

    Attributes:
        records: All n candidates, and after them records from elsewhere.
        judged: bool (n,), candidates; the rest is from elsewhere, and surely not in the training.
        apart: bool (n,), those of the candidates that attacks which need records from elsewhere leave out, as
            they are taken for them.
        pool: Reference models' signals of all n, or None.
        seed: Of the attacks' own draws.
    """

    records: Records
    judged: np.ndarray
    apart: np.ndarray
    pool: Pool | None
    seed: int

    @property
    def elsewhere(self) -> np.ndarray:
        """bool (n,): what serves as records from elsewhere."""
        found: np.ndarray = ~self.judged | self.apart
        return found


def scorers(like: Signals, board: Board) -> dict[str, Scorer | str]:
    """The attacks that apply, by name, each a function or the reason why it is not run.

    Args:
        like: The victim's signals, which say what kind of model it is.
        board: What the adversary has.
    """
    found: dict[str, Scorer | str] = {}
    if like.views is not None:
        found["agreement of views"] = lambda s: view_agreement(_views(s))
    else:
        found["loss threshold"] = lambda s: _of("loss threshold", loss_score(s.losses))
    if like.logits is not None:
        found["entropy threshold"] = lambda s: _of("entropy threshold", entropy_score(_logits(s)))
        found["modified entropy threshold"] = lambda s: _of(
            "modified entropy threshold", modified_entropy_score(_logits(s), _labels(s))
        )
        found["margin threshold"] = lambda s: _of("margin threshold", _margin(_logits(s), _labels(s)))
    few = int(board.elsewhere.sum())
    lacking = "" if few >= FEWEST_ELSEWHERE else (
        f"needs {FEWEST_ELSEWHERE} records from elsewhere, and there are {few}: give population="
    )  # fmt: skip
    found["quantile regression"] = lacking or (lambda s: _quantile(s, board))
    none = "no reference models: give fit=, your own training, or references="
    found["LiRA"] = none if board.pool is None else (lambda s: _lira(s, board))
    found["RMIA"] = none if board.pool is None else lacking or (lambda s: _rmia(s, board))
    if like.logits is None:
        found["RMIA"] = "it compares probabilities of labels, and this model gives none"
    return found


def _of(name: str, values: np.ndarray) -> MembershipScores:
    return MembershipScores.of(name, values)


def _logits(signals: Signals) -> np.ndarray:
    assert signals.logits is not None
    return signals.logits


def _labels(signals: Signals) -> np.ndarray:
    assert signals.labels is not None
    return signals.labels


def _margin(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The label's logit less the largest other one."""
    rows, others = np.arange(len(labels)), logits.copy()
    others[rows, labels] = -np.inf
    margin: np.ndarray = logits[rows, labels] - others.max(1)
    return margin


def _views(signals: Signals) -> np.ndarray:
    assert signals.views is not None
    return signals.views


def _among(name: str, board: Board, scores: MembershipScores, places: np.ndarray) -> MembershipScores:
    """Scores of some candidates among all; the others were not judged."""
    values, scored = np.full(len(board.judged), np.nan), np.zeros(len(board.judged), bool)
    values[places], scored[places] = scores.values, scores.scored
    counts = None
    if scores.counts is not None:
        counts = np.zeros(len(board.judged), int)
        counts[places] = scores.counts
    return MembershipScores(name, values, scored, scores.notes, counts)


def _references(board: Board, signal: Callable[[Signals], np.ndarray], places: np.ndarray) -> References:
    assert board.pool is not None
    columns = np.column_stack([signal(one.at(places)) for one in board.pool.signals])
    return References(columns, board.pool.trained_on[places])


def _mode(references: References) -> str:
    """Online where every candidate has models on both sides."""
    both = (references.count(True) > 0) & (references.count(False) > 0)
    return "online" if both.all() else "offline"


def _lira(signals: Signals, board: Board) -> MembershipScores:
    places = np.flatnonzero(board.judged)
    references = _references(board, lira_signal, places)
    mode = _mode(references)
    found = lira(lira_signal(signals.at(places)), references, "online" if mode == "online" else "offline")
    return _among("LiRA", board, found, places)


def _rmia(signals: Signals, board: Board) -> MembershipScores:
    places, apart = np.flatnonzero(board.judged & ~board.apart), np.flatnonzero(board.elsewhere)
    references, elsewhere = (_references(board, probability, part) for part in (places, apart))
    mode = _mode(references)
    found = rmia(
        probability(signals.at(places)), references, probability(signals.at(apart)), elsewhere,
        "online" if mode == "online" else "offline",
    )  # fmt: skip
    return _among("RMIA", board, found, places)


def _quantile(signals: Signals, board: Board) -> MembershipScores:
    places, apart = np.flatnonzero(board.judged & ~board.apart), np.flatnonzero(board.elsewhere)
    signal, features = lira_signal(signals), hardness(board)
    threshold = fit_quantile(signal[apart], features[apart], _QUANTILE_FPR, np.random.default_rng(board.seed))
    return _among("quantile regression", board, threshold.score(signal[places], features[places]), places)


def hardness(board: Board) -> np.ndarray:
    """What tells a record's hardness without the victim, (n, 1): what models without it say, or the leading
    direction of its simple numbers."""
    if board.pool is not None:
        every = np.ones(len(board.judged), bool)
        mean = _references(board, lira_signal, every).mean(False)
        if np.isfinite(mean).all():
            return mean[:, None]
    features = blind_features(board.records)
    _, _, axes = np.linalg.svd(features, full_matrices=False)
    leading: np.ndarray = features @ axes[:1].T
    return leading


def refused(scorer: Scorer, signals: Signals) -> MembershipScores | str:
    """Scores, or why there are none."""
    try:
        return scorer(signals)
    except AttackError as error:
        return str(error)
