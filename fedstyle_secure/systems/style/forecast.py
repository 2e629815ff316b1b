"""What noise will leave of the style sums, told before anything is released."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np

from fedstyle_secure.errors import PrivacyError
from fedstyle_secure.systems.style.prototypes import COUNT_SCALE

_LOG = logging.getLogger("fedstyle_secure")

USELESS = 0.5
"""Below this predicted cosine a noisy style says more about its noise than about the artists."""

_USUAL_ALIGNMENT = 0.7
"""Cosine between two artists of one style where the public set has no two of them."""


def forecast(artists: int, noise_std: float, public: Sequence[np.ndarray], styles: int) -> float:
    """Predicted cosine between a style's noisy sum over artists and the true one.

    How many styles an artist has, and how alike two artists of a style are, is measured on the platform's
    own pictures, so the forecast costs no privacy.

    Args:
        artists: Length of the roster.
        noise_std: Deviation of the noise in each value of the sum, in units of a picture's embedding.
        public: The public artists' mean rows, each (styles * (d + 1),).
        styles: Number of styles.
    """
    rows = np.stack(public).reshape(len(public), styles, -1)
    weights, sums = rows[:, :, -1] / COUNT_SCALE, rows[:, :, :-1]
    lengths = np.linalg.norm(sums, axis=2)
    spread = float(np.clip(np.mean(1 / np.square(weights).sum(axis=1)), 1, styles))
    coherence = float(lengths.sum() / max(weights.sum(), 1e-12))
    directions = sums / np.maximum(lengths, 1e-12)[:, :, None]
    cosines = np.einsum("asd,bsd->abs", directions, directions)
    pairs = weights[:, None, :] * weights[None, :, :]
    pairs[np.arange(len(rows)), np.arange(len(rows))] = 0
    alignment = float((pairs * cosines).sum() / pairs.sum()) if pairs.sum() > 0 else _USUAL_ALIGNMENT
    return predicted_cosine(
        artists,
        styles,
        spread,
        sums.shape[2],
        noise_std,
        # A mean over styles is shorter than a picture: its parts add up to 1 in weight, not in squares.
        clip_norm=max(coherence, 1e-6) / np.sqrt(spread),
        alignment=float(np.clip(alignment, 0, 1)),
    )


def announce(cosine: float, artists: int) -> None:
    """Log a forecast; a warning where it is below USELESS."""
    text = f"predicted cosine of a noisy style sum over {artists} artists with the true one: {cosine:.2f}"
    if cosine < USELESS:
        _LOG.warning(
            "%s. The noise hides the styles: more artists, fewer styles or dimensions, or a larger epsilon "
            "would help; as it is, expect no more than the public prototypes.",
            text,
        )
    else:
        _LOG.info("%s", text)


def predicted_cosine(
    artists: int,
    styles: int,
    styles_per_artist: float,
    dim: int,
    noise_deviation: float,
    clip_norm: float = 1.0,
    alignment: float = 0.7,
) -> float:
    """Expected cosine between a style's noisy sum over artists and its true one, by a formula.

    k = artists * styles_per_artist / styles artists contribute to a style, each a vector of squared length
    clip_norm^2 / styles_per_artist, and any two of them have the cosine `alignment`:
    S^2 = clip_norm^2 / styles_per_artist * (k + k (k - 1) alignment), N^2 = dim * noise_deviation^2,
    cosine S / sqrt(S^2 + N^2).

    Args:
        artists: In the sum, >= 1.
        styles: Of the vocabulary, >= 1.
        styles_per_artist: Styles that an artist's vector is spread over, in [1, styles].
        dim: Values a style, >= 1.
        noise_deviation: Of the noise in each value of the sum, >= 0 (`DistributedSum.deviation`).
        clip_norm: Length of an artist's whole vector, > 0.
        alignment: Mean cosine between two artists' vectors of one style, in [0, 1].

    Returns:
        In (0, 1].
    """
    if artists < 1 or dim < 1 or not 1 <= styles_per_artist <= styles:
        raise PrivacyError(
            f"no prediction for {artists} artists, {styles_per_artist:g} of {styles} styles, {dim} values"
        )
    if not (0 <= noise_deviation < math.inf and 0 < clip_norm < math.inf and 0 <= alignment <= 1):
        raise PrivacyError(
            f"no prediction for noise {noise_deviation}, clip norm {clip_norm}, alignment {alignment}"
        )
    k = artists * styles_per_artist / styles
    signal = clip_norm * math.sqrt((k + k * (k - 1) * alignment) / styles_per_artist)
    return signal / math.hypot(signal, math.sqrt(dim) * noise_deviation)
