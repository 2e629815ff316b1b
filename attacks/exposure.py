"""Exposure of planted secrets: by how many bits a model ranks them above others that it never saw.

Carlini et al. 2019, The Secret Sharer. A canary word is drawn uniformly from a space R before training; a
model that knows nothing of it ranks it uniformly, so that an exposure of x bits has probability 2^-x.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import log_ndtr
from scipy.stats import binom

from attacks.bounds import Bonferroni, Bound, Strategy, Terms
from attacks.errors import AttackError
from attacks.one_run import one_run_epsilon
from attacks.ranges import real, whole, wholes

_MANY = Bonferroni(25)


def random_words(count: int, letters: int, alphabet: int, rng: np.random.Generator) -> np.ndarray:
    """Canary words, int64 (count, 1 + letters) as CTC targets: uniform over alphabet^letters words.

    Args:
        count: >= 1.
        letters: Of each, >= 1.
        alphabet: Letters to choose from, classes 1 to alphabet, >= 2.
        rng: Draws; who is to guess must not know its seed.

    Example:
        >>> random_words(2, letters=3, alphabet=36, rng=np.random.default_rng(0))[:, 0].tolist()
        [3, 3]
    """
    whole("count", count, 1)
    whole("letters", letters, 1)
    whole("alphabet", alphabet, 2)
    drawn = rng.integers(1, alphabet + 1, (count, letters))
    return np.concatenate([np.full((count, 1), letters), drawn], axis=1)


def exposure(ranks: np.ndarray, space: int) -> np.ndarray:
    """log2 |R| - log2 rank, float64 (n,), in bits (definition 3 there).

    Args:
        ranks: int (n,), 1 to `space`: how many of the space's words, itself among them, score as well.
        space: |R|, >= 2.

    Example:
        >>> exposure(np.array([1, 4, 8]), space=8).tolist()
        [3.0, 1.0, 0.0]
    """
    whole("space", space, 2)
    found: np.ndarray = math.log2(space) - np.log2(wholes("ranks", ranks, 1, space).astype(np.float64))
    return found


def sampled_exposure(losses: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Exposure by sampling (section 4.4 there), float64 (n,): the rank among words drawn from the same space.

    A canary counts as one of its references, so that the figure is at most log2(m + 1) and, for a canary that
    the model never saw, at least x bits with probability at most 2^-x. Ties count against it.

    Args:
        losses: Of the canaries (n,), finite; a perplexity's logarithm will do.
        references: Losses (m,) of words from the same space that nobody trained on, or (n, m) with some of
            each canary's own: the same picture with other words, say.

    Example:
        >>> sampled_exposure(np.array([0.1, 9.0]), references=np.arange(1.0, 8.0)).tolist()
        [3.0, 0.0]
    """
    losses, references = _losses(losses, references)
    ranks = 1 + (references <= losses[:, None]).sum(axis=1)
    return exposure(ranks, references.shape[1] + 1)


def extrapolated_exposure(losses: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Exposure beyond the sample, float64 (n,): -log2 of the lower tail of a normal through references.

    An estimate without a proof, for canaries below all of their references. The paper fits a skew normal; a
    normal takes no fit that can fail, and is as good where log-losses are near symmetric.

    Args:
        losses: As for `sampled_exposure`.
        references: Likewise, m >= 2 of them that are not all equal.

    Example:
        >>> extrapolated_exposure(np.array([-1.0]), np.array([-1.0, 1.0])).round(2).tolist()
        [2.06]
    """
    losses, references = _losses(losses, references)
    spread = references.std(axis=1, ddof=1) if references.shape[1] > 1 else np.zeros(1)
    if not (spread > 0).all():
        raise AttackError("references of equal losses say nothing of smaller ones")
    found: np.ndarray = -log_ndtr((losses - references.mean(axis=1)) / spread) / math.log(2)
    return found


def exposure_p_value(exposures: np.ndarray, bits: float) -> float:
    """Probability that so many canaries, or more, reach `bits` though the model saw none of them.

    Each does with probability 2^-bits at most, apart from the others as far as their ranks are: where they
    share references, take each one's own.

    Args:
        exposures: (n,), as from `exposure` or `sampled_exposure`.
        bits: Fixed beforehand, > 0.

    Example:
        >>> round(exposure_p_value(np.array([4.0, 0.3]), bits=4.0), 6)  # 1 - (1 - 1 / 16)^2
        0.121094
    """
    values = np.asarray(exposures, np.float64)
    real("bits", bits, "(0, inf)")
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise AttackError(f"exposures must be finite (n,), not {values.shape}")
    return float(binom.sf(int((values >= bits).sum()) - 1, len(values), 2.0**-bits))


def exposure_epsilon(
    exposures_in: np.ndarray, exposures_out: np.ndarray, terms: Terms, strategy: Strategy = _MANY
) -> Bound:
    """Lower bound on epsilon from many canary words, each in by its own fair coin, in one run.

    Exposure is a score like any other, and one that is calibrated for each word; the bound is that of
    `one_run_epsilon`, with as many guessed out as in. What is proved depends on the coins alone: not on how
    references were drawn, nor on the size of the space.

    Args:
        exposures_in: (n_in,), of canaries whose coin said in.
        exposures_out: (n_out,), of all others that had a coin.
        terms: Delta, adjacency, unit, confidence.
        strategy: How the threshold is chosen.

    Example:
        >>> terms = Terms(delta=0.0, adjacency="add-remove", unit="artwork")
        >>> rng = np.random.default_rng(0)
        >>> exposure_epsilon(rng.uniform(9, 10, 100), rng.uniform(0, 3, 100), terms).epsilon > 2
        True
    """
    return one_run_epsilon(exposures_in, exposures_out, terms, strategy, guesses="both")


def _losses(losses: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 (n,) and (n or 1, m)."""
    losses, references = np.asarray(losses, np.float64), np.asarray(references, np.float64)
    if references.ndim == 1:
        references = references[None]
    right = losses.ndim == 1 and references.ndim == 2 and references.size
    if not right or len(references) not in (1, len(losses)):
        raise AttackError(
            f"losses must be (n,) and references (m,) or (n, m), not {losses.shape} and {references.shape}"
        )
    if not (np.isfinite(losses).all() and np.isfinite(references).all()):
        raise AttackError("losses must be finite")
    return losses, references
