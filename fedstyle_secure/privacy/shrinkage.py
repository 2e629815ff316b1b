"""What is left of a noisy sum once its known noise is taken off; post-processing, so it costs nothing."""

from __future__ import annotations

import numpy as np


def signal_share(noisy: np.ndarray, noise_std: float) -> np.ndarray:
    """How far to trust noisy vectors: 1 without noise, 0 where they are no longer than noise alone.

    The factor of James and Stein (1961), positive part: 1 - d * std^2 / length^2, which lowers the
    expected squared error of a vector of three or more values whatever the signal is.

    Args:
        noisy: Signal plus independent Gaussian noise, shape (..., d).
        noise_std: Deviation of the noise in each value, >= 0.

    Returns:
        float64 in [0, 1], shape (...).

    Example:
        >>> signal_share(np.array([[3.0, 4.0], [0.1, 0.1]]), noise_std=1.0).round(2).tolist()
        [0.92, 0.0]
    """
    energy = np.square(np.asarray(noisy, dtype=np.float64)).sum(axis=-1)
    expected = noisy.shape[-1] * noise_std**2
    share: np.ndarray = np.clip(1 - expected / np.maximum(energy, 1e-300), 0.0, 1.0)
    return share
