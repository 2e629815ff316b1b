"""The backbone encoder: stages of a pretrained network, whitened on public pictures, and a linear head."""

from __future__ import annotations

import numpy as np

from fedstyle_secure.systems.style.stages import StageStatistics
from fedstyle_secure.systems.style.whitened import WhitenedEncoder
from fedstyle_secure.systems.style.whitening import Whitening


class BackboneEncoder(WhitenedEncoder):
    """Whitened statistics of a frozen network's stages.

    The network is in the fixed part, so that artists need its architecture and no file.
    """

    def __init__(self, whitening: Whitening, backbone: StageStatistics, rank: int = 0) -> None:
        super().__init__(whitening, rank)
        self.backbone = backbone

    def measure(self, pictures: np.ndarray) -> np.ndarray:
        return self.backbone.measure(pictures)
