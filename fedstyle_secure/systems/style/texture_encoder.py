"""The texture encoder: a fixed bank of statistics, whitened on public pictures, and a linear head."""

from __future__ import annotations

import numpy as np

from fedstyle_secure.systems.style.whitened import WhitenedEncoder
from fedstyle_secure.textures.statistics import texture_features


class TextureEncoder(WhitenedEncoder):
    """Whitened texture features."""

    def measure(self, pictures: np.ndarray) -> np.ndarray:
        return texture_features(pictures)
